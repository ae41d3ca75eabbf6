//! A container that asks for protection never stands open by itself.

use lightship::actors::master::MasterSettings;
use lightship::domain::publish::ACCESS_SETTING;
use serde_json::{Map, Value, json};

use crate::pages::Browser;
use crate::support::master::TestMaster;

/// Containers with a label about protection: both prefixes, plain and numbered, well spelt and not.
const PROTECTED: [(&str, &str, &str); 5] = [
    ("plain", "dockflare.", "access.policy"),
    ("other", "cloudflare.tunnel.", "access.group"),
    ("first", "dockflare.0.", "access.policy"),
    ("second", "cloudflare.tunnel.0.", "access.groups"),
    ("typo", "dockflare.", "acess.policy"),
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
        PROTECTED.iter().map(|(name, prefix, suffix)| container(name, prefix, Some(suffix))).collect();
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
    for (name, ..) in PROTECTED {
        let blocked = route(name);
        assert_eq!(blocked["state"], "blocked", "{blocked}");
        assert!(master.standin.records(&hostname(name)).is_empty(), "{name}");
        let list = services["services"].as_array().unwrap();
        let rule = list.iter().find(|rule| rule["hostname"] == hostname(name)).unwrap();
        for reason in [&blocked["reason"], &rule["reason"]] {
            let reason = reason.as_str().unwrap();
            assert!(reason.contains("`access.*`") && reason.contains(ACCESS_SETTING), "{reason}");
        }
        assert!(page.contains(&hostname(name)), "{name}");
    }
    assert_eq!(page.matches("which is not built yet").count(), PROTECTED.len(), "{page}");
    assert!(page.contains(ACCESS_SETTING));
    master.stop().await;
}

#[actix_web::test]
async fn an_operator_may_have_them_published_without_protection() {
    // given
    let settings = MasterSettings { publish_unprotected: true, ..MasterSettings::default() };
    let master = TestMaster::with_actors(settings).await;
    // when
    let tunnel = reported(&master).await;
    // then
    let route = settled(&master).await;
    for name in PROTECTED.iter().map(|(name, ..)| *name).chain(["open"]) {
        assert_eq!(route(name)["state"], "published", "{}", route(name));
        assert_eq!(master.standin.records(&hostname(name)).len(), 1, "{name}");
    }
    assert_eq!(master.standin.hostnames(&tunnel).len(), 6);
    master.stop().await;
}
