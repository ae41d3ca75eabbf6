//! Rules that people make: routes that belong to no container.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::access::AccessAsk;
use super::expression::check_expression;
use super::hostname::parse_hostname;
use super::id::{GroupId, TunnelId};
use super::origin::{kind, parse_service, takes};
use super::origin_option::{OPTIONS, checked, inner_fields, own_fields};
use super::path::{EXPRESSION, is_expression, kept_path, normalise_path};
use super::route::{AccessCheck, OriginRequest, RouteKey, Service};

/// Most rules that people may make in all.
pub const MAX_RULES: usize = 2_000;

/// A rule that a person made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ManualRule {
    /// The tunnel that it is in.
    pub tunnel_id: TunnelId,
    /// What it publishes, and where to.
    #[serde(flatten)]
    pub spec: Service,
}

/// Returns the key of a rule as DockFlare writes it.
pub fn key_text(key: &RouteKey) -> String {
    format!("{}|{}", key.hostname, key.path)
}

/// What a person wrote for a rule.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RuleDraft {
    /// Public name.
    pub hostname: String,
    /// Path; empty for all of the name. Behind a `~`: a regular expression, written as it is.
    pub path: String,
    /// Where requests go.
    pub service: String,
    /// Zone of the record, if it is not to be found by the name.
    pub zone_name: Option<String>,
    /// Options of the connector.
    pub origin_request: OriginRequest,
    /// What protects it.
    pub access: AccessAsk,
}

impl RuleDraft {
    /// Returns what it asks for, as it is kept; or all that is wrong with it.
    pub fn check(&self) -> Result<Service, Vec<String>> {
        let mut bad = Vec::new();
        let hostname = noted("hostname", parse_hostname(&self.hostname), &mut bad);
        let path = noted("path", parse_rule_path(&self.path), &mut bad);
        let service = noted("service", parse_service(&self.service), &mut bad);
        let zone = self.zone_name.as_deref().map(str::trim).filter(|name| !name.is_empty());
        let zone_name = match zone.map(parse_hostname).transpose() {
            Ok(name) => name,
            Err(error) => {
                bad.push(format!("`zone_name`: {error}"));
                None
            }
        };
        let origin_request = match checked(&self.origin_request, &self.access) {
            Ok(options) => options,
            Err(reasons) => {
                bad.extend(reasons);
                OriginRequest::default()
            }
        };
        if let AccessAsk::Unreadable { reasons } = &self.access {
            bad.push(format!("`access`: {}", reasons.join("; ")));
        }
        if let AccessAsk::Groups { groups } = &self.access {
            let checked = groups.iter().map(|group| GroupId::parse(group.as_str()));
            bad.extend(checked.filter_map(Result::err).map(|error| format!("`access`: {error}")));
        }
        if path.as_deref().is_some_and(is_expression) && !self.access.is_public() {
            bad.push(
                "`access`: Cloudflare Access protects a path and what is below it, and no regular expression; write the \
                 path alone"
                    .to_owned(),
            );
        }
        match (hostname, path, service) {
            (Some(hostname), Some(path), Some(service)) if bad.is_empty() => Ok(Service {
                key: RouteKey { hostname, path },
                service,
                origin_request,
                zone_name,
                access: self.access.clone(),
            }),
            _ => Err(bad),
        }
    }
}

/// Names the options of a rule that its service has no use for.
pub fn without_effect(rule: &Service) -> Vec<String> {
    let idle = OPTIONS
        .iter()
        .filter(|option| option.text(&rule.origin_request).is_some() && !takes(&rule.service, option.wish));
    idle.map(|option| format!("`{}` has no effect on a `{}` service", option.field, kind(&rule.service)))
        .collect()
}

/// Reads what Cloudflare calls `originRequest`; fails with all that nobody knows. In a check of tokens that would be a check
/// that is not made.
pub fn read_origin_request(value: &Value) -> Result<OriginRequest, Vec<String>> {
    let Value::Object(given) = value else {
        return Err(vec!["`origin_request`: an object of options belongs here".to_owned()]);
    };
    let known: Vec<&str> = own_fields().collect();
    let mut bad = not_among("", given, &known);
    for (name, value) in given {
        let inner: Vec<&str> = inner_fields(name).collect();
        if let Some(fields) = value.as_object().filter(|_| !inner.is_empty()) {
            bad.extend(not_among(&format!("{name}."), fields, &inner));
        }
    }
    let mut read = OriginRequest::default();
    for (name, value) in given.iter().filter(|(name, _)| known.contains(&name.as_str())) {
        match one_option(name, value) {
            Some(one) => read.take_from(one),
            None => bad.push(format!("`{name}`: this value is none that it can have")),
        }
    }
    if bad.is_empty() { Ok(read) } else { Err(bad) }
}

fn not_among(within: &str, given: &Map<String, Value>, known: &[&str]) -> Vec<String> {
    let unknown = given.keys().filter(|name| !known.contains(&name.as_str()));
    let said = |name: &String| {
        format!("`{within}{}`: no such option; known are {}", super::text::repeated(name), known.join(", "))
    };
    unknown.map(said).collect()
}

/// Returns what a rule in a tunnel asks for that somebody else made, so that it can be taken over as it is; or why it cannot.
///
/// Options that are not ours, or that have a value which nobody could choose here, are left out: they stay in the rule.
pub fn as_manual(there: &Map<String, Value>) -> Result<Service, String> {
    let text = |field: &str| there.get(field).and_then(Value::as_str).unwrap_or_default();
    if matches!(text("hostname"), "" | "*") {
        return Err("it is for every hostname, and a rule here has one".to_owned());
    }
    let hostname = parse_hostname(text("hostname")).map_err(|error| error.to_string())?;
    let service = parse_service(text("service")).map_err(|error| error.to_string())?;
    let options = there.get("originRequest").and_then(Value::as_object);
    let mut origin_request = OriginRequest::default();
    for one in options.into_iter().flatten().filter_map(|(name, value)| one_option(name, value)) {
        // A check that leaves something open is completed for routes with an application of their own, and this has none.
        if let Ok(good) = checked(&one, &AccessAsk::Nothing)
            && !good.access.as_ref().is_some_and(AccessCheck::is_open)
        {
            origin_request.take_from(good);
        }
    }
    Ok(Service {
        key: RouteKey { hostname, path: kept_path(text("path")) },
        service,
        origin_request,
        zone_name: None,
        access: AccessAsk::Nothing,
    })
}

/// Reads one option by Cloudflare's name; none if it is not ours, or its value is of another kind.
fn one_option(name: &str, value: &Value) -> Option<OriginRequest> {
    if !own_fields().any(|own| own == name) {
        return None;
    }
    let one = Map::from_iter([(name.to_owned(), value.clone())]);
    serde_json::from_value(Value::Object(one)).ok()
}

fn parse_rule_path(text: &str) -> Result<String, String> {
    match text.trim_start().strip_prefix(EXPRESSION) {
        None => normalise_path(text).map_err(|error| {
            format!("{error}; behind a `{EXPRESSION}` a regular expression is written as it is")
        }),
        // A blank counts: somebody else may have written one, and the rule was taken over with it.
        Some(pattern) => check_expression(pattern).map(|()| kept_path(pattern)),
    }
}

fn noted<E: ToString>(field: &str, read: Result<String, E>, bad: &mut Vec<String>) -> Option<String> {
    read.map_err(|error| bad.push(format!("`{field}`: {}", error.to_string()))).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::ingress::IngressRule;
    use super::*;

    fn draft(hostname: &str, path: &str, service: &str) -> RuleDraft {
        RuleDraft {
            hostname: hostname.into(),
            path: path.into(),
            service: service.into(),
            ..RuleDraft::default()
        }
    }

    #[test]
    fn what_a_person_writes_is_kept_in_one_form() {
        let given = RuleDraft {
            zone_name: Some("Example.com ".into()),
            ..draft("NAS.Example.com.", "files/", "https://10.0.0.5:5001/")
        };
        let rule = given.check().unwrap();
        assert_eq!(
            (rule.key.to_string().as_str(), rule.service.as_str()),
            ("nas.example.com/files", "https://10.0.0.5:5001")
        );
        assert_eq!(rule.zone_name.as_deref(), Some("example.com"));
        for (path, kept, pattern) in [
            ("", "", None),
            ("/api", "/api", Some("^/api(/|$)")),
            ("~^/(api|ws)", "~^/(api|ws)", Some("^/(api|ws)")),
            (" ~/api ", "~/api ", Some("/api ")),
            ("~ /api", "~ /api", Some(" /api")),
            // This is how a path is written anyway.
            ("~^/api(/|$)", "/api", Some("^/api(/|$)")),
            ("~", "", None),
        ] {
            let rule = draft("a.example.com", path, "http://app").check().unwrap();
            assert_eq!(rule.key.path, kept, "{path}");
            assert_eq!(IngressRule::new(&rule).path.as_deref(), pattern, "{path}");
        }
    }

    #[test]
    fn everything_that_is_wrong_is_said_at_once() {
        let mut given = draft("my app", "/a?b", "app:80");
        given.origin_request.connect_timeout = Some(0);
        given.zone_name = Some("a b".into());
        let said = given.check().unwrap_err().join("\n");
        for words in ["`hostname`: ", "`path`: ", "`service`: ", "`zone_name`: ", "`connectTimeout`: "] {
            assert!(said.contains(words), "{said}");
        }
        let expression = draft("a.example.com", "~(", "http://app").check().unwrap_err();
        assert!(expression[0].contains("regular expression"), "{expression:?}");
        let with_access =
            RuleDraft { access: AccessAsk::Inherit, ..draft("a.example.com", "~^/(a|b)", "http://app") };
        assert!(with_access.check().unwrap_err()[0].contains("no regular expression"));
        let unreadable = AccessAsk::Unreadable { reasons: vec!["so".into()] };
        assert!(
            RuleDraft { access: unreadable, ..draft("a.example.com", "", "http://app") }.check().is_err()
        );
    }

    #[test]
    fn options_are_read_by_cloudflares_names_and_others_are_refused() {
        let good = json!({"connectTimeout": 10, "noTLSVerify": true, "access": {"required": true, "teamName": "t", "audTag": ["aa"]}});
        let read = read_origin_request(&good).unwrap();
        assert_eq!(serde_json::to_value(read).unwrap(), good);
        for (bad, words) in [
            (json!({"connect_timeout": 10}), "`connect_timeout`: no such option; known are noTLSVerify"),
            (json!({"connectTimeout": "10s"}), "`connectTimeout`: this value"),
            (json!({"connectTimeout": -1}), "`connectTimeout`: this value"),
            (
                json!({"access": {"require": true, "teamName": "t", "audTag": ["aa"]}}),
                "`access.require`: no such option; known are required, teamName, audTag",
            ),
            (json!([1]), "an object"),
        ] {
            let said = read_origin_request(&bad).unwrap_err().join("; ");
            assert!(said.contains(words), "{said}");
        }
    }

    #[test]
    fn what_has_no_effect_is_named() {
        let mut given = draft("db.example.com", "", "tcp://db:5432");
        given.origin_request =
            OriginRequest { no_tls_verify: Some(true), connect_timeout: Some(3), ..OriginRequest::default() };
        assert_eq!(
            without_effect(&given.check().unwrap()),
            ["`noTLSVerify` has no effect on a `tcp://` service"]
        );
    }

    #[test]
    fn a_rule_of_others_is_read_as_it_is_or_it_is_said_why_not() {
        for (there, key) in [
            (json!({"hostname": "a.example.com", "service": "http://a"}), "a.example.com"),
            (
                json!({"hostname": "a.example.com", "path": "^/api(/|$)", "service": "http://a"}),
                "a.example.com/api",
            ),
            (
                json!({"hostname": "a.example.com", "path": "/api", "service": "http://a"}),
                "a.example.com~/api",
            ),
            (
                json!({"hostname": "a.example.com", "path": "\\.jpg ", "service": "ws://a"}),
                "a.example.com~\\.jpg ",
            ),
            (
                json!({"hostname": "*.example.com", "path": "\\.jpg$", "service": "ws://a"}),
                "*.example.com~\\.jpg$",
            ),
        ] {
            assert_eq!(as_manual(there.as_object().unwrap()).unwrap().key.to_string(), key);
        }
        for (there, words) in [
            (json!({"path": "/health", "service": "http://a"}), "every hostname"),
            (json!({"hostname": "a_b.example.com", "service": "http://a"}), "not allowed in a hostname"),
            (json!({"hostname": "a.example.com", "service": "ftp://a"}), "must begin with"),
        ] {
            let said = as_manual(there.as_object().unwrap()).unwrap_err();
            assert!(said.contains(words), "{said}");
        }
        let odd = json!({"hostname": "a.example.com", "service": "http://a", "originRequest": {"connectTimeout": 0, "tlsTimeout": 5, "bastionMode": true, "caPool": 7}});
        let read = as_manual(odd.as_object().unwrap()).unwrap();
        assert_eq!(read.origin_request, OriginRequest { tls_timeout: Some(5), ..OriginRequest::default() });
    }

    proptest! {
        #[test]
        fn what_is_kept_reads_back_as_it_was(hostname in "(\\*\\.)?[ab]{1,3}\\.io", path in "~?[\\^/a-c.|()$ ]{0,9}", service in "(http|tcp|unix)://?[a-c]{1,3}(:[1-9]{1,4})?") {
            if let Ok(rule) = draft(&hostname, &path, &service).check() {
                let again = draft(&rule.key.hostname, &rule.key.path, &rule.service).check();
                prop_assert_eq!(again, Ok(rule));
            }
        }

        #[test]
        fn a_rule_that_is_taken_over_is_written_in_the_same_way(path in "[\\^/a-c.|$]{0,9}", timeout in proptest::option::of(0_u32..3)) {
            let mut there = json!({"hostname": "a.example.com", "service": "http://a"});
            if !path.is_empty() {
                there["path"] = path.clone().into();
            }
            if let Some(timeout) = timeout {
                there["originRequest"] = json!({"connectTimeout": timeout, "bastionMode": false});
            }
            let rule = IngressRule::new(&as_manual(there.as_object().unwrap()).unwrap());
            prop_assert_eq!(rule.as_adopted(there.as_object().unwrap()), there);
        }
    }
}
