//! What registries say to the master, and whose account it has there.

use lightship::db::read::EventFilter;
use lightship::db::registry_logins::login_secret;
use lightship::db::{events, secrets};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::support::asking::Answer;
use crate::support::master::{ADMIN, TestMaster};
use crate::support::until::until;

const PUSH: &str = "push-token-of-the-tests-0123456789";
const EVENTS: &str = "/api/v3/registries/events";
const LOGINS: &str = "/api/v3/registries/logins";

async fn hearing() -> TestMaster {
    TestMaster::build(false, |settings| settings.push_token = Some(PUSH.to_owned().into())).await
}

/// A message of docker-registry about one tag.
fn notification(repository: &str, tag: &str) -> Value {
    json!({ "events": [{ "id": "1", "action": "push", "request": { "host": "reg.example:5000", "method": "PUT" },
        "target": { "mediaType": "application/vnd.oci.image.index.v1+json", "repository": repository, "tag": tag,
            "digest": format!("sha256:{}", "0".repeat(64)) } }] })
}

/// A host with an agent of ours on which this image runs; its key and its id and session.
async fn running(master: &TestMaster, name: &str, image: &str) -> (String, String, String) {
    let (key, id, session) = master.new_native_agent(name).await;
    master.admin_post(&format!("/api/v3/agents/{id}/approve"), json!({})).expect(200).await;
    let checked = json!({ "kind": "docker_image", "ok": true, "is_complete": true, "digest": "d", "count": 1, "pending": 0 });
    let item = json!({ "name": image, "standing": "same", "severity": "moderate", "containers": ["c1"] });
    let findings = json!({ "kind": "findings", "findings": { "checked": checked, "items": [item] } });
    let batch = json!({ "session": session, "first_seq": 0, "sent_at": null, "items": [findings] });
    let path = format!("/api/v3/agents/{id}/reports");
    master.post(&path).key(&key).header("lightship-session", &session).json(batch).expect(202).await;
    (key, id, session)
}

#[actix_web::test]
async fn a_push_has_a_host_that_runs_the_image_look_within_seconds() {
    let master = hearing().await;
    let (key, id, session) = running(&master, "web-1", "reg.example:5000/team/app:1").await;
    // as docker-registry sends it
    let kind = "application/vnd.docker.distribution.events.v1+json";
    let answer = master.post(EVENTS).key(PUSH).header("content-type", kind);
    let answer = answer.body(notification("team/app", "1").to_string()).expect(202).await.json();
    assert_eq!(
        (&answer["images"], &answer["left_out"]),
        (&json!(["reg.example:5000/team/app:1"]), &json!(0))
    );
    // then
    let path = format!("/api/v3/agents/{id}/commands");
    let told = until("it is told to look", || async {
        let asking = master.get(&path).key(&key).header("lightship-session", &session);
        let commands = asking.expect(200).await.json()["commands"].clone();
        commands.as_array().filter(|commands| !commands.is_empty()).cloned()
    })
    .await;
    assert_eq!((told.len(), &told[0]["action"]), (1, &json!("scan_updates")), "{told:?}");
    master.stop().await;
}

#[actix_web::test]
async fn registries_are_heard_with_their_token_alone_and_not_before_there_is_one() {
    let master = TestMaster::without_cloudflare().await;
    for asking in [master.post(EVENTS), master.post(EVENTS).key(ADMIN), master.post(EVENTS).key(PUSH)] {
        let refused = asking.json(notification("app", "1")).expect(409).await.json();
        let words = refused["error"].as_str().unwrap();
        assert!(
            words.contains("LIGHTSHIP__REGISTRY__PUSH_TOKEN") && words.contains("registry.push_token"),
            "{words}"
        );
    }
    master.stop().await;
    let master = hearing().await;
    for asking in [
        master.post(EVENTS),
        master.post(&format!("{EVENTS}?token={PUSH}")),
        master.post(EVENTS).header("x-push-token", PUSH),
        master.post(EVENTS).key("push-token-of-the-tests-012345678"),
        master.post(EVENTS).key(ADMIN),
    ] {
        let refused = asking.json(notification("app", "1")).expect(401).await;
        assert_eq!(refused.json()["code"], "unauthenticated");
        assert!(!refused.text.contains(PUSH), "{}", refused.text);
    }
    // And it opens nothing else.
    master.get("/api/v3/updates").key(PUSH).expect(401).await;
    let told = |answer: Answer| answer.json()["error"].as_str().unwrap().to_owned();
    let odd = master.post(EVENTS).key(PUSH).json(json!({ "hello": "there" })).expect(400).await;
    assert!(told(odd).contains("docker-registry"));
    master.post(EVENTS).key(PUSH).raw("{").expect(400).await;
    master.post(EVENTS).key(PUSH).raw("[".repeat(100)).expect(400).await;
    master.post(EVENTS).key(PUSH).raw(vec![b' '; (1 << 20) + 1]).expect(413).await;
    master.stop().await;
}

async fn logins(master: &TestMaster) -> Vec<Value> {
    master.admin_get(LOGINS).expect(200).await.json()["logins"].as_array().unwrap().clone()
}

#[actix_web::test]
async fn a_login_is_set_replaced_and_forgotten_and_its_password_is_never_seen_again() {
    const FIRST: &str = "a-password-that-nobody-sees";
    const SECOND: &str = "another-one-that-nobody-sees";
    let master = TestMaster::without_cloudflare().await;
    let put = async |registry: &str, username: &str, password: &str| {
        let body = json!({ "username": username, "password": password });
        let path = format!("{LOGINS}/{registry}");
        master.ask(reqwest::Method::PUT, &path).key(ADMIN).json(body).send().await
    };
    let kept = async || {
        let found = secrets::find_secret(&master.db, &login_secret("reg.example:5000")).await.unwrap();
        found.map(|secret| secret.expose_secret().to_owned())
    };
    assert_eq!(put("Reg.Example:5000", "bob", FIRST).await.status, 200);
    assert_eq!(kept().await.as_deref(), Some(FIRST));
    assert_eq!(put("reg.example:5000", "eve", SECOND).await.status, 200);
    assert_eq!(put("index.docker.io", "bob", FIRST).await.status, 200);
    // then
    let listed = logins(&master).await;
    let told: Vec<_> =
        listed.iter().map(|login| (login["registry"].as_str(), login["username"].as_str())).collect();
    assert_eq!(told, [(Some("docker.io"), Some("bob")), (Some("reg.example:5000"), Some("eve"))]);
    assert!(
        listed.iter().all(|login| login["set_by"] == "token" && login["set_at"].is_string()),
        "{listed:?}"
    );
    assert_eq!(kept().await.as_deref(), Some(SECOND));
    // What makes no sense is named and changes nothing.
    let long = "x".repeat(20_000);
    for (registry, username, password, field) in [
        ("registry", "bob", "pw", "registry"),
        ("localhost:5000", "bob", "pw", "registry"),
        ("ghcr.io", "", "pw", "username"),
        ("ghcr.io", "a:b", "pw", "username"),
        ("ghcr.io", "bob", "", "password"),
        ("ghcr.io", "bob", &long, "password"),
    ] {
        let refused = put(registry, username, password).await;
        assert_eq!(refused.status, 400, "{registry} {username}: {}", refused.text);
        assert!(
            refused.json()["error"].as_str().unwrap().starts_with(&format!("field `{field}`")),
            "{}",
            refused.text
        );
    }
    assert_eq!(logins(&master).await, listed);
    // when one is forgotten
    let forget = async |registry: &str| {
        master.ask(reqwest::Method::DELETE, &format!("{LOGINS}/{registry}")).key(ADMIN).send().await.status
    };
    assert_eq!(forget("reg.example:5000").await, 200);
    assert_eq!(forget("reg.example:5000").await, 404);
    assert_eq!((logins(&master).await.len(), kept().await), (1, None));
    // then each is on record with who did it, and no password is anywhere
    let record = events::list_events(&master.db, &EventFilter::default(), 1_000).await.unwrap();
    let record: Vec<(String, String)> =
        record.iter().map(|row| (serde_json::to_string(&row.event).unwrap(), row.actor.clone())).collect();
    let of_logins =
        record.iter().filter(|(event, actor)| event.contains("registry_login_") && actor == "token");
    assert_eq!(of_logins.count(), 4, "{record:?}");
    let answers = master.answers.lock().unwrap().clone();
    for (what, text) in record.iter().chain(&answers) {
        assert!(
            ![FIRST, SECOND].iter().any(|password| text.contains(password) || what.contains(password)),
            "{what}"
        );
    }
    master.stop().await;
}
