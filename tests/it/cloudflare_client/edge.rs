//! What the stand-in's edge says: whether a name is reachable, and behind what.

use serde_json::{Value, json};

use super::{app, policy};
use crate::support::cloudflare::{Behind, CloudflareStandIn, Edge, ZONE};

const APP: &str = "http://app:80";

/// A stand-in with one tunnel; `rules` come before the catch-all.
fn scene(rules: &[Value]) -> (CloudflareStandIn, String) {
    let standin = CloudflareStandIn::start();
    let tunnel = standin.add_tunnel("edge", "cloudflare");
    let mut ingress = rules.to_vec();
    ingress.push(json!({ "service": "http_status:404" }));
    standin.write_config(&tunnel, json!({ "ingress": ingress }));
    (standin, tunnel)
}

fn rule(hostname: &str) -> Value {
    json!({ "hostname": hostname, "service": APP })
}

fn point(standin: &CloudflareStandIn, name: &str, tunnel: &str) {
    standin.add_record(ZONE, "CNAME", name, &format!("{tunnel}.cfargotunnel.com"));
}

fn behind(edge: Edge) -> Option<Behind> {
    let Edge::Reaches { behind, .. } = edge else { panic!("reaches a service: {edge:?}") };
    behind
}

#[test]
fn a_name_is_found_as_dns_finds_it() {
    let (standin, tunnel) = scene(&[rule("*.example.com"), rule("example.com")]);
    for name in ["app.example.com", "*.example.com", "*.deep.example.com"] {
        point(&standin, name, &tunnel);
    }
    standin.add_record(ZONE, "TXT", "text.example.com", "a note");
    standin.add_record(ZONE, "A", "old.example.com", "192.0.2.1");
    standin.add_record(ZONE, "TXT", "x.below.example.com", "a note");
    point(&standin, "grey.example.com", &tunnel);
    standin.state().records.last_mut().unwrap().proxied = false;

    for (name, is_found) in [
        ("app.example.com", true),
        ("APP.example.com", true),
        ("any.example.com", true),
        ("a.b.example.com", true),
        ("x.deep.example.com", true),
        ("x.app.example.com", false),
        ("text.example.com", false),
        ("old.example.com", false),
        ("below.example.com", false),
        ("y.below.example.com", false),
        ("grey.example.com", false),
        ("example.com", false),
        ("example.net", false),
    ] {
        let edge = standin.edge(name, "/");
        assert_eq!(matches!(edge, Edge::Reaches { .. }), is_found, "{name}: {edge:?}");
        assert_eq!(edge == Edge::NoRecord, !is_found, "{name}: {edge:?}");
    }
}

#[test]
fn the_first_rule_that_fits_decides() {
    let rules = [
        json!({ "hostname": "app.example.com", "path": "^/admin(/|$)", "service": "http_status:503" }),
        json!({ "hostname": "app.example.com", "path": "^/api", "service": "http://api:80" }),
        json!({ "hostname": "app.example.com", "service": APP }),
        json!({ "hostname": "*.example.com", "service": "http://any:80" }),
    ];
    let (standin, tunnel) = scene(&rules);
    point(&standin, "*.example.com", &tunnel);
    point(&standin, "example.com", &tunnel);

    for (name, path, service) in [
        ("app.example.com", "/", Ok(APP)),
        ("app.example.com", "/apis", Ok("http://api:80")),
        ("app.example.com", "/admin/x", Err(503)),
        ("app.example.com", "/administer", Ok(APP)),
        ("x.y.example.com", "/admin", Ok("http://any:80")),
        ("example.com", "/", Err(404)),
    ] {
        let found = match standin.edge(name, path) {
            Edge::Reaches { service, .. } => Ok(service),
            Edge::Status(status) => Err(status),
            other => panic!("{name}{path}: {other:?}"),
        };
        assert_eq!(found, service.map(str::to_owned), "{name}{path}");
    }
}

#[test]
fn a_tunnel_that_is_gone_or_was_never_configured_reaches_nothing() {
    let (standin, tunnel) = scene(&[rule("app.example.com")]);
    let fresh = standin.add_tunnel("fresh", "cloudflare");
    point(&standin, "app.example.com", &tunnel);
    point(&standin, "fresh.example.com", &fresh);

    assert!(standin.edge("app.example.com", "/").is_open());
    assert_eq!(standin.edge("fresh.example.com", "/"), Edge::NoRule);
    standin.state().tunnel_mut(&tunnel).unwrap().is_deleted = true;
    assert_eq!(standin.edge("app.example.com", "/"), Edge::Status(530));
}

#[test]
fn the_application_that_fits_best_stands_before_a_service() {
    let (standin, tunnel) = scene(&[rule("*.example.com"), rule("example.com")]);
    point(&standin, "*.example.com", &tunnel);
    point(&standin, "example.com", &tunnel);
    for domain in [
        "app.example.com/admin",
        "app.example.com/admin/deep",
        "*.example.com",
        "*.lab.example.com",
        "pre*.example.com",
        "wild.example.com/a*/b",
        "below.example.com/x/*",
    ] {
        standin.add_app(app(domain, &[]));
    }
    let two =
        ["first.example.com", "second.example.com/x"].map(|uri| json!({ "type": "public", "uri": uri }));
    let mut several = app("first.example.com", &[]);
    several["destinations"] = json!(two);
    standin.add_app(several);

    for (name, path, domain) in [
        ("app.example.com", "/admin", Some("app.example.com/admin")),
        ("app.example.com", "/admin/x", Some("app.example.com/admin")),
        ("app.example.com", "/admin/deep/x", Some("app.example.com/admin/deep")),
        ("app.example.com", "/administer", Some("*.example.com")),
        ("app.example.com", "/", Some("*.example.com")),
        ("other.example.com", "/", Some("*.example.com")),
        ("prefix.example.com", "/", Some("pre*.example.com")),
        ("x.lab.example.com", "/", Some("*.lab.example.com")),
        ("wild.example.com", "/ab/c/b", Some("wild.example.com/a*/b")),
        ("wild.example.com", "/a/c", Some("*.example.com")),
        ("below.example.com", "/x/y", Some("below.example.com/x/*")),
        ("below.example.com", "/x", Some("*.example.com")),
        ("second.example.com", "/x/y", Some("second.example.com/x")),
        ("second.example.com", "/y", Some("*.example.com")),
        // A star stands for one label, and never for the zone itself.
        ("a.b.example.com", "/", None),
        ("example.com", "/", None),
    ] {
        let found = behind(standin.edge(name, path)).map(|behind| behind.domain);
        assert_eq!(found.as_deref(), domain, "{name}{path}");
    }
}

#[test]
fn open_is_what_everybody_reaches_without_signing_in() {
    let rules = |decision: &str, include: Value, require: Value| {
        let mut body = policy(decision);
        body["decision"] = json!(decision);
        (body["include"], body["require"]) = (include, require);
        body
    };
    let (everyone, email) =
        (json!([{ "everyone": {} }]), json!([{ "email": { "email": "me@example.com" } }]));
    let (nets, office) =
        (json!([{ "ip": { "ip": "0.0.0.0/0" } }]), json!([{ "ip": { "ip": "192.0.2.0/24" } }]));
    let (none, any_token) = (json!([]), json!([{ "any_valid_service_token": {} }]));
    let allow = rules("allow", email.clone(), none.clone());
    for (policies, is_open) in [
        (vec![], false),
        (vec![allow.clone()], false),
        (vec![rules("allow", everyone.clone(), none.clone())], false),
        (vec![rules("deny", everyone.clone(), none.clone())], false),
        (vec![rules("bypass", everyone.clone(), none.clone())], true),
        (vec![rules("bypass", nets, none.clone())], true),
        (vec![rules("bypass", office.clone(), none.clone())], false),
        (vec![rules("bypass", everyone.clone(), office)], false),
        (vec![rules("bypass", everyone.clone(), everyone.clone())], true),
        (vec![rules("non_identity", any_token, none.clone())], false),
        (vec![rules("non_identity", everyone.clone(), none.clone())], true),
        // It counts before all others, wherever it stands.
        (vec![allow.clone(), rules("bypass", everyone.clone(), none.clone())], true),
        (vec![rules("deny", everyone.clone(), none.clone()), rules("bypass", everyone, none)], true),
    ] {
        let (standin, tunnel) = scene(&[rule("app.example.com")]);
        point(&standin, "app.example.com", &tunnel);
        assert!(standin.edge("app.example.com", "/").is_open(), "nothing stands before it yet");
        let ids: Vec<String> = policies.iter().map(|policy| standin.add_policy(policy.clone())).collect();
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        let id = standin.add_app(app("app.example.com", &ids));

        let edge = standin.edge("app.example.com", "/");

        assert_eq!(edge.is_open(), is_open, "{policies:?}: {edge:?}");
        let behind = behind(edge).expect("an application");
        let names: Vec<_> =
            policies.iter().map(|policy| policy["decision"].as_str().unwrap().to_owned()).collect();
        assert_eq!(
            (behind.app, behind.policies.into_iter().map(|(decision, _)| decision).collect::<Vec<_>>()),
            (id, names)
        );
    }
}

#[test]
fn a_group_that_holds_everybody_opens_too() {
    let (standin, tunnel) = scene(&[rule("app.example.com")]);
    point(&standin, "app.example.com", &tunnel);
    for (include, is_open) in [
        (json!([{ "everyone": {} }]), true),
        (json!([{ "email_domain": { "domain": "example.com" } }]), false),
    ] {
        let group = standin.state().create_group(&json!({ "name": "g", "include": include })).unwrap();
        let mut body = policy("p");
        body["decision"] = json!("bypass");
        body["include"] = json!([{ "group": { "id": group["id"] } }]);
        let id = standin.add_policy(body);
        let app_id = standin.add_app(app("app.example.com", &[&id]));

        assert_eq!(standin.edge("app.example.com", "/").is_open(), is_open, "{include}");
        standin.state().delete_app(&app_id).unwrap();
    }
}

#[test]
fn the_connector_can_keep_everybody_out_whom_access_did_not_see() {
    let checked = |required: bool| json!({ "required": required, "teamName": "us", "audTag": ["x"] });
    for (of_rule, of_all, jwt_required) in [
        (None, None, false),
        (Some(true), None, true),
        (Some(false), None, false),
        (None, Some(true), true),
        // The rule's own word goes before.
        (Some(false), Some(true), false),
    ] {
        let mut rule = rule("app.example.com");
        if let Some(required) = of_rule {
            rule["originRequest"] = json!({ "access": checked(required) });
        }
        let (standin, tunnel) = scene(&[rule]);
        point(&standin, "app.example.com", &tunnel);
        if let Some(required) = of_all {
            let mut config = standin.config(&tunnel).1;
            config["originRequest"] = json!({ "access": checked(required) });
            standin.write_config(&tunnel, config);
        }

        let edge = standin.edge("app.example.com", "/");

        assert_eq!(edge, Edge::Reaches { service: APP.into(), behind: None, jwt_required });
        assert_eq!(edge.is_open(), !jwt_required);
    }
}
