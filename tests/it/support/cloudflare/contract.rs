//! The API's contract: which operations there are, and what their requests and answers look like.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use jsonschema::Validator;
use serde_json::{Map, Value, json};

use super::ops::{self, Op};

/// The published document, and what was written by hand beside it.
const DOCUMENTS: [&str; 2] = [
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/contracts/cloudflare-openapi.json")),
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/contracts/cloudflare-additions.json")),
];
const SCHEMAS: &str = "#/components/schemas/";

/// One operation of the contract.
pub(super) struct Operation {
    pub op: Option<Op>,
    pub method: String,
    pub template: String,
    /// Any one of these rights of a token is enough; none is needed if there are none.
    pub rights: Vec<String>,
    /// The status of a success.
    pub status: u16,
    parameters: Vec<Value>,
    request: Option<Shape>,
    answer: Option<Shape>,
}

/// A schema whose validators are built when first needed.
struct Shape {
    schema: Value,
    branches: OnceLock<Vec<Branch>>,
}

/// One of the alternatives of a body. Records and applications are told apart by `type`, so that a wrong body is
/// compared with what it meant to be, not with all twenty kinds.
struct Branch {
    kinds: Vec<Value>,
    validator: Validator,
}

/// Both documents, read once per process.
pub(super) struct Contract {
    operations: Vec<Operation>,
    schemas: Map<String, Value>,
}

impl Contract {
    pub fn get() -> &'static Self {
        static CONTRACT: OnceLock<Contract> = OnceLock::new();
        CONTRACT.get_or_init(Self::read)
    }

    fn read() -> Self {
        let (mut operations, mut schemas) = (Vec::<Operation>::new(), Map::new());
        for text in DOCUMENTS {
            let mut document: Value = serde_json::from_str(text).expect("the contract is JSON");
            to_json_schema(&mut document);
            for (name, schema) in document["components"]["schemas"].as_object().expect("schemas") {
                assert!(schemas.insert(name.clone(), schema.clone()).is_none(), "`{name}` is there twice");
            }
            for (template, methods) in document["paths"].as_object().expect("paths") {
                for (method, operation) in methods.as_object().expect("methods") {
                    let is_known = |known: &Operation| known.method == *method && known.template == *template;
                    assert!(!operations.iter().any(is_known), "{method} {template} is there twice");
                    operations.push(Operation::read(method, template, operation));
                }
            }
        }
        Self { operations, schemas }
    }

    /// Builds the validators of everything that is carried out.
    pub fn warm(&self) {
        for operation in self.operations.iter().filter(|operation| operation.op.is_some()) {
            for shape in operation.request.iter().chain(&operation.answer) {
                shape.branches(&self.schemas);
            }
        }
    }

    /// Returns the operation of a path, with the values of its parameters in order.
    pub fn find(&self, method: &str, path: &str) -> Option<(&Operation, Vec<String>)> {
        let method = method.to_ascii_lowercase();
        self.operations
            .iter()
            .filter(|operation| operation.method == method)
            .filter_map(|operation| Some((operation, values(&operation.template, path)?)))
            // `/user/tokens/verify` fits fixed parts best; a template with fewer parameters wins.
            .min_by_key(|(_, values)| values.len())
    }

    /// Says what is wrong with a request.
    pub fn check_request(
        &self,
        operation: &Operation,
        values: &[String],
        query: &BTreeMap<String, String>,
        body: Option<&Value>,
    ) -> Vec<String> {
        let mut wrong = operation.check_path(values);
        wrong.extend(operation.check_query(query));
        match (&operation.request, body) {
            (Some(shape), Some(body)) => wrong.extend(shape.check(&self.schemas, body)),
            (Some(_), None) => wrong.push("the JSON body is missing".into()),
            (None, Some(_)) => wrong.push("a body where none is described".into()),
            (None, None) => {}
        }
        wrong
    }

    /// Says what is wrong with a successful answer of ours.
    pub fn check_answer(&self, operation: &Operation, body: &Value) -> Vec<String> {
        operation.answer.as_ref().map(|shape| shape.check(&self.schemas, body)).unwrap_or_default()
    }
}

impl Operation {
    fn read(method: &str, template: &str, operation: &Value) -> Self {
        let shape = |content: &Value| {
            let schema = content["content"]["application/json"]["schema"].clone();
            (!schema.is_null()).then(|| Shape { schema, branches: OnceLock::new() })
        };
        let responses = operation["responses"].as_object().expect("responses");
        let (status, success) =
            responses.iter().find(|(status, _)| status.starts_with('2')).expect("what a success looks like");
        let rights = operation["x-api-token-group"].as_array().into_iter().flatten();
        Self {
            op: ops::op(method, template),
            method: method.to_owned(),
            template: template.to_owned(),
            rights: rights.filter_map(|right| right.as_str().map(str::to_owned)).collect(),
            status: status.parse().expect("a status"),
            parameters: operation["parameters"].as_array().cloned().unwrap_or_default(),
            request: shape(&operation["requestBody"]),
            answer: shape(success),
        }
    }

    fn check_path(&self, values: &[String]) -> Vec<String> {
        let described = self.parameters.iter().filter(|parameter| parameter["in"] == "path");
        let too_long = described.zip(values).filter(|(parameter, value)| {
            parameter["schema"]["maxLength"].as_u64().is_some_and(|max| value.len() as u64 > max)
        });
        too_long.map(|(parameter, value)| format!("{} `{value}` is too long", parameter["name"])).collect()
    }

    fn check_query(&self, query: &BTreeMap<String, String>) -> Vec<String> {
        let check = |(name, value): (&String, &String)| {
            let described = self.parameters.iter().find(|p| p["in"] == "query" && p["name"] == name.as_str());
            let Some(parameter) = described else { return Some(format!("unknown query parameter `{name}`")) };
            let schema = &parameter["schema"];
            let fits = match schema["type"].as_str() {
                Some("boolean") => value == "true" || value == "false",
                Some("number" | "integer") => value.parse::<f64>().is_ok_and(|number| {
                    number >= schema["minimum"].as_f64().unwrap_or(f64::MIN)
                        && number <= schema["maximum"].as_f64().unwrap_or(f64::MAX)
                }),
                _ => schema["enum"].as_array().is_none_or(|allowed| allowed.contains(&json!(value))),
            };
            (!fits).then(|| format!("query parameter `{name}` must not be `{value}`"))
        };
        query.iter().filter_map(check).collect()
    }
}

impl Shape {
    fn check(&self, schemas: &Map<String, Value>, body: &Value) -> Vec<String> {
        let branches = self.branches(schemas);
        let branch = match branches {
            [only] => Some(only),
            [first, ..] if branches.iter().all(|branch| branch.kinds.is_empty()) => {
                Some(branches.iter().find(|branch| branch.validator.is_valid(body)).unwrap_or(first))
            }
            several => several.iter().find(|branch| branch.kinds.contains(&body["type"])),
        };
        let Some(branch) = branch else { return vec![format!("`type` {} is not known", body["type"])] };
        let errors = branch.validator.iter_errors(body);
        errors.map(|error| format!("{}: {error}", error.instance_path())).collect()
    }

    fn branches(&self, schemas: &Map<String, Value>) -> &[Branch] {
        self.branches.get_or_init(|| {
            let alternatives = match self.schema["anyOf"].as_array() {
                Some(alternatives) => alternatives.clone(),
                None => vec![self.schema.clone()],
            };
            alternatives.iter().map(|schema| Branch::build(schema, schemas)).collect()
        })
    }
}

impl Branch {
    fn build(schema: &Value, schemas: &Map<String, Value>) -> Self {
        let target = schema["$ref"].as_str().and_then(|name| schemas.get(name.trim_start_matches(SCHEMAS)));
        let kinds =
            target.unwrap_or(schema)["properties"]["type"]["enum"].as_array().cloned().unwrap_or_default();
        let mut needed = BTreeMap::new();
        collect(schema, schemas, &mut needed);
        let root = json!({ "allOf": [schema], "components": { "schemas": needed } });
        let validator = jsonschema::draft202012::new(&root).expect("the contract's schemas are valid");
        Self { kinds, validator }
    }
}

/// Gathers the schemas that `value` refers to, so that a validator is built from them alone.
fn collect(value: &Value, schemas: &Map<String, Value>, needed: &mut BTreeMap<String, Value>) {
    let mut names = BTreeSet::new();
    references(value, &mut names);
    for name in names {
        if let Some(schema) = schemas.get(&name)
            && !needed.contains_key(&name)
        {
            needed.insert(name, schema.clone());
            collect(schema, schemas, needed);
        }
    }
}

fn references(value: &Value, names: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            if let Some(name) = fields.get("$ref").and_then(Value::as_str) {
                names.insert(name.trim_start_matches(SCHEMAS).to_owned());
            }
            fields.values().for_each(|field| references(field, names));
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, names)),
        _ => {}
    }
}

/// `nullable` is OpenAPI 3.0 and means nothing to JSON Schema: says the same in its words.
fn to_json_schema(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.values_mut().for_each(to_json_schema);
            if fields.get("nullable") == Some(&Value::Bool(true)) {
                allow_null(fields);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(to_json_schema),
        _ => {}
    }
}

fn allow_null(fields: &mut Map<String, Value>) {
    fields.remove("nullable");
    if let Some(Value::Array(allowed)) = fields.get_mut("enum") {
        allowed.push(Value::Null);
    }
    if let Some(kind) = fields.remove("type") {
        fields.insert("type".into(), json!([kind, "null"]));
    } else if !fields.is_empty() {
        let rest = Value::Object(std::mem::take(fields));
        fields.insert("anyOf".into(), json!([rest, { "type": "null" }]));
    }
}

fn values(template: &str, path: &str) -> Option<Vec<String>> {
    let (mut wanted, mut given) = (template.split('/'), path.split('/'));
    let mut values = Vec::new();
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return Some(values),
            (Some(part), Some(value)) if part.starts_with('{') && !value.is_empty() => {
                values.push(value.to_owned());
            }
            (Some(part), Some(value)) if part == value => {}
            _ => return None,
        }
    }
}
