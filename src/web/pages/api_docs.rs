//! The API as people read it, made of its own description: no script, and nothing fetched from elsewhere.

use actix_web::HttpResponse;
use askama::Template;
use serde_json::{Map, Value};
use utoipa::OpenApi;

use super::{Shell, SignedIn, page};
use crate::web::error::ApiError;
use crate::web::openapi::Description;

#[derive(Template)]
#[template(path = "api_docs.html")]
struct DocsPage {
    shell: Shell,
    groups: Vec<Group>,
    shapes: Vec<Shape>,
}

/// Operations about one thing.
struct Group {
    name: String,
    operations: Vec<Operation>,
}

struct Operation {
    method: String,
    path: String,
    summary: String,
    callers: String,
    inputs: Vec<Input>,
    body: Option<Reference>,
    answers: String,
}

/// A parameter, or a field of a shape.
struct Input {
    name: String,
    place: String,
    is_required: bool,
    words: String,
}

/// What is sent, as a type; with the name of a shape on the same page if it is one.
struct Reference {
    word: String,
    shape: Option<String>,
}

struct Shape {
    name: String,
    words: String,
    fields: Vec<Input>,
}

/// `GET /api/docs`.
#[utoipa::path(get, path = "/api/docs", tag = "pages", responses((status = 200), (status = 303)), security(("session" = [])))]
pub async fn show(person: SignedIn) -> Result<HttpResponse, ApiError> {
    let described = serde_json::to_value(Description::openapi()).map_err(ApiError::internal)?;
    let (groups, shapes) = (groups(&described), shapes(&described));
    page(&DocsPage { shell: Shell::new(&person, "/api/docs"), groups, shapes })
}

fn groups(described: &Value) -> Vec<Group> {
    let mut groups = Vec::<Group>::new();
    for (path, methods) in members(&described["paths"]) {
        for (method, about) in members(methods) {
            let name = text(&about["tags"][0]);
            let operation = operation(method, path, about);
            match groups.iter_mut().find(|group| group.name == name) {
                Some(group) => group.operations.push(operation),
                None => groups.push(Group { name, operations: vec![operation] }),
            }
        }
    }
    groups.sort_by(|one, other| one.name.cmp(&other.name));
    groups
}

fn operation(method: &str, path: &str, about: &Value) -> Operation {
    let words = [text(&about["summary"]), text(&about["description"])];
    Operation {
        method: method.to_ascii_uppercase(),
        path: path.to_owned(),
        // The first words of every handler name its route, which stands beside them.
        summary: words.join(" ").split_once(": ").map(|(_, said)| said.trim().to_owned()).unwrap_or_default(),
        callers: callers(&about["security"]),
        inputs: list(&about["parameters"]).iter().map(parameter).collect(),
        body: members(&about["requestBody"]["content"])
            .next()
            .map(|(media, content)| reference(media, &content["schema"])),
        answers: members(&about["responses"])
            .map(|(code, answer)| format!("{code} {}", text(&answer["description"])).trim().to_owned())
            .collect::<Vec<_>>()
            .join(", "),
    }
}

fn callers(security: &Value) -> String {
    let named: Vec<&str> = list(security).iter().flat_map(members).map(|(name, _)| caller(name)).collect();
    if named.is_empty() { "anyone".to_owned() } else { named.join(" or ") }
}

fn caller(scheme: &str) -> &str {
    match scheme {
        "agent_key" => "an agent with its key",
        "admin_token" => "the admin token, or a person's access token",
        "redflag_access" => "an agent with RedFlag's access token",
        "session" => "a signed-in person",
        other => other,
    }
}

fn parameter(about: &Value) -> Input {
    Input {
        name: text(&about["name"]),
        place: text(&about["in"]),
        is_required: about["required"] == true,
        words: text(&about["description"]),
    }
}

fn reference(media: &str, schema: &Value) -> Reference {
    match schema["$ref"].as_str().and_then(|path| path.rsplit('/').next()) {
        Some(shape) => Reference { word: media.to_owned(), shape: Some(shape.to_owned()) },
        None => Reference { word: format!("{media}, {}", type_word(schema)), shape: None },
    }
}

fn shapes(described: &Value) -> Vec<Shape> {
    let shape = |(name, schema): (&str, &Value)| {
        let required = list(&schema["required"]);
        let fields = members(&schema["properties"]).map(|(field, about)| Input {
            name: field.to_owned(),
            place: type_word(about),
            is_required: required.iter().any(|name| name == field),
            words: text(&about["description"]),
        });
        Shape { name: name.to_owned(), words: text(&schema["description"]), fields: fields.collect() }
    };
    members(&described["components"]["schemas"]).map(shape).collect()
}

/// A type in a word or two: `string`, `list of integer`, the name of a shape.
fn type_word(schema: &Value) -> String {
    if let Some(path) = schema["$ref"].as_str() {
        return path.rsplit('/').next().unwrap_or_default().to_owned();
    }
    let choices = [&schema["oneOf"], &schema["anyOf"]].into_iter().flat_map(list);
    let choices: Vec<String> =
        choices.map(type_word).filter(|word| !matches!(word.as_str(), "null" | "")).collect();
    if !choices.is_empty() {
        return choices.join(" or ");
    }
    let word = match &schema["type"] {
        Value::Array(types) => types.iter().find(|word| *word != "null").map(text).unwrap_or_default(),
        one => text(one),
    };
    match word.as_str() {
        "array" => format!("list of {}", type_word(&schema["items"])),
        "" => "any".to_owned(),
        _ => word,
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn members(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    value.as_object().into_iter().flat_map(Map::iter).map(|(name, value)| (name.as_str(), value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_is_shown_with_who_may_call_it() {
        let described = serde_json::to_value(Description::openapi()).unwrap();
        let all: usize = members(&described["paths"]).map(|(_, methods)| members(methods).count()).sum();
        let groups = groups(&described);
        let shown: Vec<&Operation> = groups.iter().flat_map(|group| &group.operations).collect();
        assert_eq!(shown.len(), all);
        for operation in &shown {
            assert!(!operation.callers.is_empty() && !operation.answers.is_empty(), "{}", operation.path);
        }
        let find = |method: &str, path: &str| {
            shown.iter().find(|one| one.method == method && one.path == path).unwrap()
        };
        assert_eq!(find("GET", "/healthz").callers, "anyone");
        let updates = find("GET", "/api/v3/updates");
        assert!(updates.inputs.iter().any(|input| input.name == "severity" && !input.words.is_empty()));
        let body = find("POST", "/api/v3/updates/decisions").body.as_ref().unwrap();
        assert_eq!(body.shape.as_deref(), Some("DecisionBody"));
        assert!(
            shapes(&described).iter().any(|shape| shape.name == "DecisionBody" && !shape.fields.is_empty())
        );
    }
}
