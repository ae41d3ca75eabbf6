//! A container that asks for protection never stands open by itself.

use serde_json::{Map, Value, json};

use crate::pages::Browser;
use crate::support::master::TestMaster;

/// Why one waits that asks for the account's own way to sign in, and one whose group nobody made.
const NO_PIN: &str = "the account has no one-time PIN";
const NO_GROUP: &str = "group `authenticate` is not known";
/// Containers with a label about protection, and why they wait: both prefixes, plain and numbered, well spelt and not.
const PROTECTED: [(&str, &str, &str, &str); 5] = [
    ("plain", "dockflare.", "access.policy", NO_PIN),
    ("other", "cloudflare.tunnel.", "access.group", NO_GROUP),
    ("first", "dockflare.0.", "access.policy", NO_PIN),
    ("second", "cloudflare.tunnel.0.", "access.groups", NO_GROUP),
    ("typo", "dockflare.", "acess.policy", "cannot be read"),
];

fn hostname(name: &str) -> String {
    format!("{name}.example.com")
}

/// A host with those containers, and one that asks for no protection.
async fn reported(master: &TestMaster) -> String {
    let (key, id) = master.new_agent("web-1").await;
    let tunnel = master.enroll(&id, "edge-1").await["command"]["tunnel_id"].as_str().unwrap().to_owned();
    let container = |name: &str, prefix: &str, protection: Option<&str>| {
        let base = prefix.replace("0.", "");
        let mut labels = Map::new();
        labels.insert(format!("{base}enable"), json!("true"));
        labels.insert(format!("{prefix}hostname"), json!(hostname(name)));
        labels.insert(format!("{prefix}service"), json!("http://app:80"));
        if let Some(suffix) = protection {
            labels.insert(format!("{prefix}{suffix}"), json!("authenticate"));
        }
        json!({ "id": format!("id-of-{name}"), "name": name, "labels": labels })
    };
    let mut list: Vec<Value> =
        PROTECTED.iter().map(|(name, prefix, suffix, _)| container(name, prefix, Some(suffix))).collect();
    list.push(container("open", "dockflare.", None));
    let report = json!({ "type": "status_report", "container": { "containers": list } });
    master.post(&format!("/api/v2/agents/{id}/events")).key(&key).json(report).expect(202).await;
    tunnel
}

/// The route of a container as `/api/v3/routes` has it, once all of them have come to an end.
async fn settled(master: &TestMaster) -> impl Fn(&str) -> Value + use<> {
    let is_settled = |rule: &Value| ["active", "blocked"].iter().any(|word| rule["status"] == *word);
    master.until_services("all settled", |rules| rules.len() == 6 && rules.iter().all(is_settled)).await;
    let routes = master.admin_get("/api/v3/routes").expect(200).await.json()["routes"].clone();
    move |name| {
        routes.as_array().unwrap().iter().find(|route| route["hostname"] == hostname(name)).unwrap().clone()
    }
}

#[actix_web::test]
async fn containers_with_access_labels_are_not_published_and_everybody_says_why() {
    // given
    let master = TestMaster::start().await;
    // when
    let tunnel = reported(&master).await;
    // then
    let route = settled(&master).await;
    assert_eq!(route("open")["state"], "published");
    assert_eq!(master.standin.hostnames(&tunnel), [hostname("open")]);
    let page = Browser::signed_in(&master).await.get("/routes").await.text;
    let services = master.admin_get("/api/v2/services").expect(200).await.json();
    for (name, _, _, why) in PROTECTED {
        let blocked = route(name);
        assert_eq!(blocked["state"], "blocked", "{blocked}");
        assert!(master.standin.records(&hostname(name)).is_empty(), "{name}");
        let list = services["services"].as_array().unwrap();
        let rule = list.iter().find(|rule| rule["hostname"] == hostname(name)).unwrap();
        for reason in [&blocked["reason"], &rule["reason"]] {
            let reason = reason.as_str().unwrap();
            assert!(reason.contains(why), "{reason}");
        }
        assert!(page.contains(&hostname(name)), "{name}");
    }
    for why in [NO_PIN, NO_GROUP, "cannot be read"] {
        let count = PROTECTED.iter().filter(|(.., known)| *known == why).count();
        assert!(page.matches(why.split('`').next().unwrap()).count() >= count, "{why}: {page}");
    }
    master.stop().await;
}

#[actix_web::test]
async fn an_open_route_does_not_answer_for_a_path_that_is_to_be_protected() {
    // given
    let master = TestMaster::start().await;
    let (key, id) = master.new_agent("web-1").await;
    let tunnel = master.enroll(&id, "edge-1").await["command"]["tunnel_id"].as_str().unwrap().to_owned();
    let labels = json!({
        "dockflare.enable": "true", "dockflare.service": "http://app:80",
        "dockflare.0.hostname": "app.example.com",
        "dockflare.1.hostname": "app.example.com", "dockflare.1.path": "/admin",
        "dockflare.1.access.group": "staff",
    });
    let container = json!({ "id": "id-of-app", "name": "app", "labels": labels });
    let report = json!({ "type": "status_report", "container": { "containers": [container] } });
    // when
    master.post(&format!("/api/v2/agents/{id}/events")).key(&key).json(report).expect(202).await;
    // then
    let is_settled = |rule: &Value| ["active", "blocked"].iter().any(|word| rule["status"] == *word);
    master.until_services("all settled", |rules| rules.len() == 2 && rules.iter().all(is_settled)).await;
    let rules = master.standin.config(&tunnel).1["ingress"].clone();
    let told = rules.as_array().unwrap().iter().map(|rule| {
        let text = |field: &str| rule[field].as_str().unwrap_or_default().to_owned();
        format!("{}{} {}", text("hostname"), text("path"), text("service"))
    });
    assert_eq!(
        told.collect::<Vec<_>>(),
        ["app.example.com^/admin(/|$) http_status:503", "app.example.com http://app:80", " http_status:404"]
    );
    assert_eq!(master.standin.records("app.example.com").len(), 1);
    master.stop().await;
}
