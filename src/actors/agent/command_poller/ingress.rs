//! `update_tunnel_config`: from the rules of an old master to the ingress list of a tunnel.

use std::cmp::Reverse;

use serde_json::{Value, json};

/// Writes the active rules of `rules` as an ingress list that ends with a catch-all.
///
/// Specific rules come first (exact names before wildcards, longer paths before shorter ones): Cloudflare takes
/// the first rule that fits, and the object they come in has no order to keep. `None` if `rules` is no object.
pub(super) fn ingress(rules: &Value) -> Option<Value> {
    let text = |rule: &Value, field: &str| {
        rule.get(field).and_then(Value::as_str).map(str::trim).filter(|t| !t.is_empty()).map(str::to_owned)
    };
    let mut active: Vec<(String, String, Option<String>)> = rules
        .as_object()?
        .values()
        .filter(|rule| text(rule, "status").as_deref() == Some("active"))
        .filter_map(|rule| Some((text(rule, "hostname")?, text(rule, "service")?, text(rule, "path"))))
        .collect();
    active.sort_by_cached_key(|(hostname, _, path)| {
        (hostname.starts_with('*'), Reverse(path.as_ref().map_or(0, String::len)), hostname.clone())
    });
    let mut list: Vec<Value> = active
        .into_iter()
        .map(|(hostname, service, path)| {
            let mut rule = json!({ "hostname": hostname, "service": service });
            if let Some(path) = path {
                rule["path"] = json!(path);
            }
            rule
        })
        .collect();
    list.push(json!({ "service": "http_status:404" }));
    Some(Value::Array(list))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn active_rules_are_written_most_specific_first() {
        let rules = json!({
            "a": {"status": "active", "hostname": "*.example.test", "service": "http://w:1"},
            "b": {"status": "pending_deletion", "hostname": "gone.example.test", "service": "http://g:1"},
            "c": {"status": "active", "hostname": "a.example.test", "service": "http://a:1", "path": null},
            "d": {"status": "active", "hostname": "a.example.test", "service": "http://a:2", "path": "/api"},
            "e": {"status": null, "hostname": "x.example.test", "service": "http://x:1"},
        });
        assert_eq!(
            ingress(&rules).unwrap(),
            json!([
                {"hostname": "a.example.test", "service": "http://a:2", "path": "/api"},
                {"hostname": "a.example.test", "service": "http://a:1"},
                {"hostname": "*.example.test", "service": "http://w:1"},
                {"service": "http_status:404"},
            ])
        );
    }

    #[test]
    fn rules_that_are_no_object_are_refused() {
        assert_eq!(ingress(&json!([])), None);
        assert_eq!(ingress(&Value::Null), None);
        assert_eq!(ingress(&json!({})), Some(json!([{"service": "http_status:404"}])));
    }
}
