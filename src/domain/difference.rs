//! What differs between two states of one thing, field by field.

use serde_json::{Map, Value};

use super::text::beginning;

/// Most fields that are told apart.
const MOST: usize = 200;
/// Most characters of a value that a sentence shows.
const MOST_CHARACTERS: usize = 300;

/// A field that is not as it was.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Difference {
    /// Which field; a field in a field has a point between the names.
    pub field: String,
    /// What it was; none if it was not there.
    pub before: Option<String>,
    /// What it is; none if it is not there any more.
    pub after: Option<String>,
}

/// Returns what differs, in the order of the fields after, then of those that are gone. Lists are compared as a whole.
pub fn differences(before: &Value, after: &Value) -> Vec<Difference> {
    let (before, after) = (fields(before), fields(after));
    let was = |name: &str| before.iter().find(|(known, _)| known == name).map(|(_, text)| text);
    let is = |name: &str| after.iter().any(|(known, _)| known == name);
    let changed = after.iter().filter(|(name, text)| was(name) != Some(text)).map(|(name, text)| {
        Difference { field: name.clone(), before: was(name).cloned(), after: Some(text.clone()) }
    });
    let gone = before.iter().filter(|(name, _)| !is(name)).map(|(name, text)| Difference {
        field: name.clone(),
        before: Some(text.clone()),
        after: None,
    });
    changed.chain(gone).take(MOST).collect()
}

/// Returns the fields of a value with their texts, those of inner objects too.
pub fn fields(value: &Value) -> Vec<(String, String)> {
    let mut found = Vec::new();
    match value {
        Value::Object(inner) => add(inner, "", &mut found),
        Value::Null => {}
        other => found.push((String::new(), shown(other))),
    }
    found
}

fn add(object: &Map<String, Value>, above: &str, found: &mut Vec<(String, String)>) {
    for (name, value) in object {
        let name = if above.is_empty() { name.clone() } else { format!("{above}.{name}") };
        match value {
            Value::Object(inner) => add(inner, &name, found),
            Value::Null => {}
            other => found.push((name, shown(other))),
        }
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Says of each field that differs what it is and what it becomes; inner objects are compared as a whole.
pub fn in_words(before: &Map<String, Value>, after: &Map<String, Value>) -> Vec<String> {
    let mut fields: Vec<&String> = before.keys().chain(after.keys()).collect();
    fields.sort();
    fields.dedup();
    let differs = fields.into_iter().filter_map(|field| {
        let (old, new) = (before.get(field), after.get(field));
        (old != new).then(|| format!("{field}: {} becomes {}", quoted(old), quoted(new)))
    });
    differs.collect()
}

fn quoted(value: Option<&Value>) -> String {
    value.map_or_else(
        || "nothing".to_owned(),
        |value| format!("`{}`", beginning(&value.to_string(), MOST_CHARACTERS)),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_field_that_differs_is_said_and_no_other() {
        let before = json!({ "a": 1, "b": "x", "gone": true });
        let after = json!({ "a": 1, "b": "y", "new": [1] });
        let said = in_words(before.as_object().unwrap(), after.as_object().unwrap());
        assert_eq!(
            said,
            ["b: `\"x\"` becomes `\"y\"`", "gone: `true` becomes nothing", "new: nothing becomes `[1]`"]
        );
    }

    fn told(before: &Value, after: &Value) -> Vec<(String, Option<String>, Option<String>)> {
        differences(before, after).into_iter().map(|one| (one.field, one.before, one.after)).collect()
    }

    #[test]
    fn fields_that_came_changed_and_went_are_told_and_others_are_not() {
        let before = json!({ "a": 1, "b": { "c": "x", "d": [1, 2] }, "gone": true, "none": null });
        let after = json!({ "a": 1, "b": { "c": "y", "d": [1, 2] }, "new": "n" });
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            told(&before, &after),
            [
                ("b.c".to_owned(), some("x"), some("y")),
                ("new".to_owned(), None, some("n")),
                ("gone".to_owned(), some("true"), None),
            ]
        );
        assert!(told(&after, &after).is_empty());
        assert_eq!(told(&Value::Null, &json!("x")), [(String::new(), None, some("x"))]);
    }

    #[test]
    fn of_very_many_differences_the_first_are_told() {
        let many: Map<String, Value> = (0..1_000).map(|n| (format!("f{n}"), json!(n))).collect();
        assert_eq!(differences(&Value::Null, &Value::Object(many)).len(), MOST);
    }
}
