//! Whether what Cloudflare has is what was sent: defaults that it adds are no difference, and neither is another spelling.

use serde_json::{Map, Value};

use super::selector::Selector;

/// What Cloudflare writes into a thing by itself; it is not sent back.
const ITS_OWN: [&str; 8] =
    ["id", "uid", "aud", "account_id", "created_at", "updated_at", "app_count", "reusable"];

/// True if `found` says what `wanted` does: more only where that is what Cloudflare fills in.
pub(super) fn covers(found: &Value, wanted: &Value) -> bool {
    match (found, wanted) {
        (Value::Object(found), Value::Object(wanted)) => {
            let has = |(name, value): (&String, &Value)| match found.get(name) {
                Some(there) => covers(there, value),
                None => is_unset(value),
            };
            let is_known = |(name, value): (&String, &Value)| wanted.contains_key(name) || is_unset(value);
            wanted.iter().all(has) && found.iter().all(is_known)
        }
        (Value::Array(found), Value::Array(wanted)) => {
            found.len() == wanted.len()
                && found.iter().zip(wanted).all(|(found, wanted)| covers(found, wanted))
        }
        _ => found == wanted,
    }
}

/// True if a value is what Cloudflare fills in for "not set".
fn is_unset(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(values) => values.is_empty(),
        Value::Object(map) => map.values().all(is_unset),
        Value::Bool(true) | Value::Number(_) => false,
    }
}

/// True if two lists of rules are about the same people; their order says nothing.
pub(super) fn is_same_list(found: Option<&Value>, wanted: Option<&Value>) -> bool {
    let list = |value: Option<&Value>| match value {
        Some(Value::Array(rules)) => Some(rules.iter().map(in_one_form).collect::<Vec<_>>()),
        None | Some(Value::Null) => Some(Vec::new()),
        Some(_) => None,
    };
    let (Some(mut found), Some(wanted)) = (list(found), list(wanted)) else { return false };
    found.len() == wanted.len()
        && wanted.iter().all(|wanted| {
            let place = found.iter().position(|found| covers(found, wanted));
            place.map(|place| found.swap_remove(place)).is_some()
        })
}

fn in_one_form(rule: &Value) -> Value {
    let read = rule.as_object().and_then(|rule| Selector::try_from(rule.clone()).ok());
    read.map_or_else(|| rule.clone(), |selector| Value::Object(Map::from(selector.in_one_form())))
}

/// Returns what is there as it may be sent back, for ours to be written over: without what Cloudflare writes by itself, and
/// without what is not set.
pub(super) fn sent_back(there: &Map<String, Value>) -> Map<String, Value> {
    let is_sent = |(name, value): &(&String, &Value)| !value.is_null() && !ITS_OWN.contains(&name.as_str());
    there.iter().filter(is_sent).map(|(name, value)| (name.clone(), value.clone())).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_filled_in_is_no_difference_and_anything_else_is() {
        for (found, wanted, expected) in [
            (json!({"a": 1, "b": null, "c": false, "d": "", "e": [], "f": {}}), json!({"a": 1}), true),
            (json!({"a": 1, "b": true}), json!({"a": 1}), false),
            (json!({"a": 1, "b": 0}), json!({"a": 1}), false),
            (json!({"a": {"x": 1, "y": null}}), json!({"a": {"x": 1}}), true),
            (json!({}), json!({"a": false, "b": []}), true),
            (json!({}), json!({"a": true}), false),
            (json!([1, 2]), json!([2, 1]), false),
            (json!("a"), json!("b"), false),
        ] {
            assert_eq!(covers(&found, &wanted), expected, "{found} {wanted}");
        }
    }

    #[test]
    fn lists_of_rules_are_compared_without_their_order_and_each_rule_once() {
        let (a, b) = (json!({"email": {"email": "a@x.io"}}), json!({"ip": {"ip": "10.0.0.1/32"}}));
        let b_spelt = json!({"ip": {"ip": "10.0.0.1", "more": null}});
        let b_other = json!({"ip": {"ip": "10.0.0.1"}});
        for (found, wanted, expected) in [
            (json!([a, b]), json!([b, a]), true),
            (json!([a, b_other]), json!([b, a]), true),
            (json!([a, a]), json!([a, b]), false),
            (json!([a]), json!([a, a]), false),
            (json!(null), json!([]), true),
            (json!("x"), json!([]), false),
            (json!([{"email": {"email": "A@X.io"}}]), json!([a]), true),
            (json!([{"group": {"id": "g", "odd": true}}]), json!([{"group": {"id": "g"}}]), false),
        ] {
            assert_eq!(is_same_list(Some(&found), Some(&wanted)), expected, "{found} {wanted}");
        }
        assert!(is_same_list(None, Some(&json!([]))));
        // A key that somebody filled with nothing is no difference in a kind that we do not know.
        assert!(is_same_list(
            Some(&json!([{"group": {"id": "g", "n": null}}])),
            Some(&json!([{"group": {"id": "g"}}]))
        ));
        assert!(!is_same_list(Some(&json!([a])), Some(&json!([b_spelt]))));
    }

    #[test]
    fn what_cloudflare_writes_by_itself_is_not_sent_back_and_all_else_is() {
        let there = json!({"id": "i", "aud": "x", "created_at": "t", "note": {"k": [1]}, "unset": null, "off": false});
        let sent = sent_back(there.as_object().unwrap());
        assert_eq!(Value::Object(sent), json!({"note": {"k": [1]}, "off": false}));
    }
}
