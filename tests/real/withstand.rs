//! What the program does when its files or its callers are not as they should be.

use std::path::{Path, PathBuf};

use serde_json::json;
use tempfile::TempDir;

use crate::raw_client::RawClient;
use crate::scene::{Scene, subfolder};
use crate::support::cloudflare::CloudflareStandIn;
use crate::support::ship::{ADMIN_TOKEN, Rig};
use crate::support::until::until_equal;

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_damaged_database_is_named_and_left_as_it_is() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("lightship.db");
    let garbage = b"SQLite format 3\0 but nothing after it is".repeat(400);
    std::fs::write(&path, &garbage).unwrap();
    for args in [&["master"][..], &["standalone"], &["events"], &["migrate"], &["migrate", "--rebuild"]] {
        let (code, _, said) = Rig::new("master", dir.path()).verb(args);
        assert_eq!(code, 1, "{args:?}: {said}");
        for words in ["is damaged", text(&path), "left as it is", "backup"] {
            assert!(said.contains(words), "{args:?} does not say `{words}`: {said}");
        }
    }
    assert_eq!(std::fs::read(&path).unwrap(), garbage);
}

#[tokio::test]
async fn damaged_files_of_an_agent_are_kept_aside_and_named() {
    // given
    let mut scene = Scene::enrolled().await;
    let id = scene.agent_id.clone();
    let connector = scene.until_one_connector(&scene.token("edge")).await;
    scene.kill_agent();
    let garbage: &[u8] = b"\xff\xfe{\"half\": ";
    for file in ["agent_id.txt", "tunnel_state.json"] {
        std::fs::write(scene.agent_dir().join(file), garbage).unwrap();
    }
    // when
    scene.start_agent();
    // then: it is the same agent, and the connector was never touched
    let path = scene.agent_dir().join("agent_id.txt");
    until_equal("it has its id again", id.clone(), || async {
        std::fs::read_to_string(&path).unwrap_or_default()
    })
    .await;
    let agents = scene.master().get("/api/v2/agents").await;
    assert_eq!(agents["agents"].as_object().unwrap().keys().collect::<Vec<_>>(), [&id]);
    let log = scene.agent.as_ref().unwrap().log();
    let kept: Vec<PathBuf> = std::fs::read_dir(scene.agent_dir())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| std::fs::read(path).is_ok_and(|bytes| bytes == garbage))
        .collect();
    assert_eq!(kept.len(), 2, "{kept:?}");
    for path in kept {
        assert!(log.contains(text(&path)), "the log names {path:?}:\n{log}");
    }
    assert_eq!(scene.until_one_connector(&scene.token("edge")).await, connector);
    // and a new order makes it whole
    let path = format!("/api/v2/agents/{id}/redeploy-tunnel");
    assert_eq!(scene.master().post(&path, json!({})).await.0, 200);
    scene.until_done("restart_tunnel", 1).await;
}

#[tokio::test]
async fn five_hundred_containers_in_one_report_are_published() {
    let standin = CloudflareStandIn::start();
    let tunnel = standin.add_tunnel("edge", "cloudflare");
    let dir = TempDir::new().unwrap();
    let master = Rig::new("master", dir.path()).cloudflare(&standin).start();
    let agent = RawClient::enrolled(&master, "raw-1", "edge").await;
    // Five paths for each name: right after a first start more than 150 calls in a row wait for our own budget.
    let address = |n: usize| format!("app-{:03}.example.com/{}", n / 5, n % 5);
    let containers: Vec<_> = (0..500).map(|n| (format!("app-{n:03}"), address(n))).collect();

    agent.status_report(&containers).await;

    // The page of five hundred routes is asked for only when it can be right: asking costs the master time.
    until_equal("every name has its record", 100, || async { standin.state().records.len() }).await;
    until_equal("all are published", 500, || async {
        master.routes().await.values().filter(|state| *state == "published").count()
    })
    .await;
    assert_eq!(standin.hostnames(&tunnel).len(), 500);
    assert_eq!(standin.state().records.len(), 100);
}

#[tokio::test]
async fn a_database_that_was_lived_in_is_rebuilt_from_its_events() {
    // given: some history
    let standin = CloudflareStandIn::start();
    let dir = TempDir::new().unwrap();
    let rig = Rig::new("master", &subfolder(&dir, "master")).cloudflare(&standin);
    let master = rig.start();
    let one = RawClient::enrolled(&master, "raw-1", "one").await;
    let two = RawClient::enrolled(&master, "raw-2", "two").await;
    let gone = RawClient::enrolled(&master, "raw-3", "three").await;
    let host = |n: u32| (format!("app-{n}"), format!("app-{n}.example.com"));
    one.status_report(&[host(1), host(2), host(3)]).await;
    two.status_report(&[host(3), host(4)]).await;
    one.status_report(&[host(1), host(3)]).await;
    assert_eq!(one.commands().await.len(), 1);
    let rename = json!({ "display_name": "Zwei 🚢" });
    assert_eq!(master.post("/api/v2/agents/raw-2/rename", rename).await.0, 200);
    assert_eq!(master.post(&format!("/api/v2/agents/{}/remove", gone.id), json!({})).await.0, 200);
    master.until_route("app-1.example.com", "published").await;
    master.until_route("app-2.example.com", "pending_deletion").await;
    master.until_route("app-4.example.com", "published").await;
    let refused = rig.verb(&["migrate", "--rebuild"]);
    assert_eq!(refused.0, 1, "{refused:?}");
    assert!(refused.2.contains(&format!("in use by process {}", master.pid())), "{refused:?}");
    assert!(master.stop().success());
    let before = tables(&dir.path().join("master/lightship.db")).await;
    // when
    let (code, said, errors) = rig.verb(&["migrate", "--rebuild"]);
    // then
    assert_eq!(code, 0, "{errors}");
    assert!(said.contains("derived again from"), "{said}");
    assert_eq!(tables(&dir.path().join("master/lightship.db")).await, before);
    let (code, said, errors) = rig.verb(&["events", "--verify"]);
    assert_eq!(code, 0, "{said}{errors}");
    let master = rig.start();
    master.until_route("app-1.example.com", "published").await;
    master.until_route("app-2.example.com", "pending_deletion").await;
    assert!(!master.log().contains(ADMIN_TOKEN));
}

/// Every row of every table that is derived from events, in words.
async fn tables(path: &Path) -> Vec<String> {
    use sea_orm::{Database, FromQueryResult, JsonValue, Statement};

    let db = Database::connect(format!("sqlite://{}?mode=ro", path.display())).await.unwrap();
    let mut rows = Vec::new();
    for table in ["agents", "agent_keys", "commands", "routes", "claims", "tunnels", "admins", "settings"] {
        let statement = Statement::from_string(db.get_database_backend(), format!("SELECT * FROM {table}"));
        let found = JsonValue::find_by_statement(statement).all(&db).await.unwrap();
        let mut found: Vec<String> = found.iter().map(|row| format!("{table}: {row}")).collect();
        found.sort();
        rows.extend(found);
    }
    assert!(rows.len() > 10, "{rows:#?}");
    db.close().await.unwrap();
    rows
}
