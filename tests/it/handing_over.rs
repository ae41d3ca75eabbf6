//! Protected names that change hands or protection: nobody reaches a service whom its own protection does not let in.

use reqwest::Method;
use serde_json::{Value, json};

use crate::manual_rules::{Host, rule, set, until, until_left, with};
use crate::support::cloudflare::{Edge, Policy};
use crate::support::master::{ADMIN, TestMaster};

const NAME: &str = "nas.example.com";
/// What the container and the rule lead to.
const OLD: &str = "http://web:80";
const NEW: &str = "http://10.0.0.5:5000";

async fn make_group(master: &TestMaster, id: &str) {
    let email = format!("{id}@example.com");
    let group =
        json!({ "policies": [{ "decision": "allow", "include": [{ "email": { "email": email } }] }] });
    let asked = master.ask(Method::PUT, &format!("/api/v3/access/groups/{id}")).key(ADMIN).json(group);
    let answer = asked.send().await;
    assert!(answer.status == 200 || answer.status == 201, "{}: {}", answer.status, answer.json());
}

/// A container on `one` publishes the name for `staff`; there is a group `family` too.
async fn protected(master: &TestMaster) -> (Host, Host) {
    make_group(master, "staff").await;
    make_group(master, "family").await;
    let (one, two) = (Host::new(master, "one").await, Host::new(master, "two").await);
    let labels = json!({
        "dockflare.enable": "true", "dockflare.hostname": NAME, "dockflare.service": OLD,
        "dockflare.access.group": "staff",
    });
    let containers = json!([{ "id": "id-of-web", "name": "web", "labels": labels }]);
    let report = json!({ "type": "status_report", "container": { "containers": containers } });
    master.post(&format!("/api/v2/agents/{}/events", one.id)).key(&one.key).json(report).expect(202).await;
    until(master, NAME, "agent", "active").await;
    (one, two)
}

fn groups(ids: &[&str]) -> Value {
    json!({ "kind": "groups", "groups": ids })
}

/// From now on, after each call, each of these services may be reached behind the policies of just this group.
fn must_be_behind(master: &TestMaster, allowed: &'static [(&'static str, Option<&'static str>)], gap: bool) {
    master.standin.on_change(move |state| {
        let met = state.edge(NAME, "/");
        let Edge::Reaches { service, behind, .. } = &met else {
            return if gap { Ok(()) } else { Err(format!("a visitor met {met:?}")) };
        };
        let Some((_, group)) = allowed.iter().find(|(known, _)| known == service) else {
            return Err(format!("a visitor met {met:?}"));
        };
        let is_right = match (group, behind) {
            // What protected the name before goes last.
            (None, _) => true,
            (Some(group), Some(behind)) => {
                let of_group = |(decision, name): &(String, String)| {
                    decision == "allow" && name.starts_with(&format!("Lightship-AccessGroup-{group} "))
                };
                !behind.policies.is_empty() && behind.policies.iter().all(of_group)
            }
            _ => false,
        };
        if is_right { Ok(()) } else { Err(format!("a visitor met {met:?}")) }
    });
}

#[actix_web::test]
async fn a_protected_name_is_handed_over_without_a_gap_if_its_protection_stays() {
    let master = TestMaster::start().await;
    let (one, _two) = protected(&master).await;
    must_be_behind(&master, &[(OLD, Some("staff")), (NEW, Some("staff"))], false);

    let asked = json!({ "take_over": true, "access": groups(&["staff"]) });
    assert_eq!(set(&master, with(rule(NAME, "edge-two"), asked)).await.status, 201);

    until(&master, NAME, "manual", "active").await;
    until_left(&master, &one.tunnel, NAME).await;
    master.standin.assert_no_violations();
}

#[actix_web::test]
async fn a_name_whose_protection_changes_with_its_tunnel_is_reached_by_nobody_else_meanwhile() {
    for (access, of_new) in [
        (groups(&["family"]), Some("family")),
        (json!({ "kind": "nothing" }), None),
        (groups(&["staff", "family"]), None),
    ] {
        let master = TestMaster::start().await;
        let (one, _two) = protected(&master).await;
        match of_new {
            Some("family") => {
                must_be_behind(&master, &[(OLD, Some("staff")), (NEW, Some("family"))], true);
            }
            _ if access["kind"] == "nothing" => {
                must_be_behind(&master, &[(OLD, Some("staff")), (NEW, None)], true);
            }
            // Behind both: the new service alone is not looked at.
            _ => master.standin.on_change(|state| match state.edge(NAME, "/") {
                Edge::Reaches { service, behind, .. } if service == OLD => match behind {
                    Some(behind) if behind.policies.len() == 1 => Ok(()),
                    other => Err(format!("the old service is behind {other:?}")),
                },
                met if met.is_open() => Err(format!("a visitor met {met:?}")),
                _ => Ok(()),
            }),
        }

        let asked = json!({ "take_over": true, "access": access });
        assert_eq!(set(&master, with(rule(NAME, "edge-two"), asked)).await.status, 201);

        until(&master, NAME, "manual", "active").await;
        until_left(&master, &one.tunnel, NAME).await;
        master.standin.assert_no_violations();
        let met = master.standin.state().edge(NAME, "/");
        assert!(matches!(&met, Edge::Reaches { service, .. } if service == NEW), "{met:?}");
        master.stop().await;
    }
}

#[actix_web::test]
async fn a_name_whose_own_rules_change_with_its_tunnel_lets_nobody_else_in_meanwhile() {
    let own = |email: &str| {
        let policy = json!({ "decision": "allow", "include": [{ "email": { "email": email } }] });
        json!({ "kind": "own", "options": {}, "policies": [policy] })
    };
    let master = TestMaster::start().await;
    let (one, _two) = (Host::new(&master, "one").await, Host::new(&master, "two").await);
    let before = json!({ "service": OLD, "access": own("ann@example.com") });
    let made = set(&master, with(rule(NAME, "edge-one"), before)).await;
    assert_eq!(made.status, 201, "{}", made.json());
    until(&master, NAME, "manual", "active").await;
    // From now on each service lets in whom its own rules say, and nobody else.
    master.standin.on_change(|state| {
        let met = state.edge(NAME, "/");
        let Edge::Reaches { service, .. } = &met else { return Ok(()) };
        let of_this_name = |policy: &&Policy| {
            policy.body["name"].as_str().is_some_and(|name| name.starts_with(&format!("Lightship-{NAME}")))
        };
        let lets_in =
            state.access.policies.iter().find(of_this_name).map(|policy| policy.body["include"].to_string());
        let meant = if service == OLD { "ann@example.com" } else { "bob@example.com" };
        match lets_in {
            Some(include) if !met.is_open() && include.contains(meant) => Ok(()),
            other => Err(format!("{service} lets in {other:?}")),
        }
    });

    let after = json!({ "service": NEW, "access": own("bob@example.com"), "take_over": true });
    let moved = set(&master, with(rule(NAME, "edge-two"), after)).await;
    assert!(moved.status == 200 || moved.status == 201, "{}", moved.json());

    until(&master, NAME, "manual", "active").await;
    until_left(&master, &one.tunnel, NAME).await;
    master
        .standin
        .until(
            "the new service is reached",
            |state| matches!(state.edge(NAME, "/"), Edge::Reaches { service, .. } if service == NEW),
        )
        .await;
    master.standin.assert_no_violations();
}

#[actix_web::test]
async fn a_published_rule_that_is_left_to_an_application_of_its_zone_waits_until_that_is_there() {
    for access in [groups(&["staff"]), json!({ "kind": "nothing" })] {
        // given
        let master = TestMaster::start().await;
        make_group(&master, "staff").await;
        let _host = Host::new(&master, "one").await;
        assert_eq!(set(&master, with(rule(NAME, "edge-one"), json!({ "access": access }))).await.status, 201);
        until(&master, NAME, "manual", "active").await;
        let was_open = master.standin.state().edge(NAME, "/").is_open();
        master.standin.on_change(move |state| match state.edge(NAME, "/") {
            met if met.is_open() && !was_open => Err(format!("a visitor met {met:?}")),
            _ => Ok(()),
        });

        // when
        let asked = json!({ "access": { "kind": "inherit" } });
        let answer = set(&master, with(rule(NAME, "edge-one"), asked)).await;
        assert_eq!(answer.status, 200, "{}", answer.json());

        // then
        let route = until(&master, NAME, "manual", "blocked").await;
        assert!(route["reason"].as_str().unwrap().contains("*.example.com"), "{route}");
        assert!(!master.standin.state().edge(NAME, "/").is_open());
        master.standin.assert_no_violations();
        master.stop().await;
    }
}
