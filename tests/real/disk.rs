//! What the program does on a disk that is full or takes nothing, on a real one.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;
use tempfile::TempDir;

use crate::scene::{Scene, labels};
use crate::support::ship::Rig;
use crate::support::until::until;

/// A small disk of its own.
pub struct Disk {
    path: PathBuf,
    _dir: Option<TempDir>,
}

impl Disk {
    fn new(size: &str) -> Self {
        let dir = TempDir::new().unwrap();
        let mut disk = Self::over(dir.path(), size);
        disk._dir = Some(dir);
        disk
    }

    /// In the place of a folder that is there.
    pub fn over(path: &Path, size: &str) -> Self {
        let options = format!("size={size},mode=700");
        run("mount", &["-t", "tmpfs", "-o", &options, "lightship-test", text(path)]);
        Self { path: path.to_owned(), _dir: None }
    }

    fn path(&self) -> &Path {
        &self.path
    }

    fn make_read_only(&self) {
        run("mount", &["-o", "remount,ro", text(self.path())]);
    }

    /// Takes all space that is left.
    pub fn fill(&self) -> PathBuf {
        let path = self.path().join("ballast");
        let mut file = std::fs::File::create(&path).unwrap();
        let block = [0; 4096];
        while std::io::Write::write_all(&mut file, &block).is_ok() {}
        path
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        run("umount", &["--lazy", text(self.path())]);
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn run(program: &str, args: &[&str]) {
    let output = Command::new(program).args(args).output().unwrap();
    assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn agent(dir: &Path) -> Rig {
    // Nobody listens there; these agents are not to come that far.
    Rig::new("agent", dir).env("DOCKFLARE_MASTER_URL", "http://127.0.0.1:9").env("DOCKFLARE_API_KEY", "key")
}

/// Asserts that a role ends with code 1 and words that hold all of `words`.
fn assert_refused(rig: &Rig, role: &str, words: &[&str]) {
    let (code, _, said) = rig.verb(&[role]);
    assert_eq!(code, 1, "{role}: {said}");
    for word in words {
        assert!(said.contains(word), "{role} does not say `{word}`: {said}");
    }
}

#[test]
fn a_state_directory_that_cannot_be_written_is_named_with_the_way_out() {
    let disk = Disk::new("1m");
    disk.make_read_only();
    let state = disk.path().join("state");
    for dir in [disk.path(), state.as_path()] {
        let words = [text(dir), "writable", "LIGHTSHIP_STATE_DIR"];
        let rig = |rig: Rig| rig.env("LIGHTSHIP_STATE_DIR", text(dir));
        for role in ["master", "standalone"] {
            let words = if dir == state { [text(dir), "LIGHTSHIP_STATE_DIR", "may write"] } else { words };
            assert_refused(&rig(Rig::new("master", disk.path())), role, &words);
        }
        let words = if dir == state { [text(dir), "LIGHTSHIP_STATE_DIR", "may write"] } else { words };
        assert_refused(&rig(agent(disk.path())), "agent", &words);
    }
}

#[test]
fn a_full_disk_is_named_at_the_start() {
    let disk = Disk::new("64k");
    let ballast = disk.fill();
    let words = ["no space is left", text(disk.path()), "free some"];
    assert_refused(&Rig::new("master", disk.path()), "master", &words);
    assert_refused(&agent(disk.path()), "agent", &words);
    assert!(std::fs::read_dir(disk.path()).unwrap().any(|entry| entry.unwrap().path() == ballast));
    assert!(!disk.path().join("lightship.db").exists(), "an empty database is none");
}

#[test]
fn a_database_or_a_key_that_was_lost_is_named_and_nothing_is_made_in_its_place() {
    let dir = TempDir::new().unwrap();
    let (database, key) = (dir.path().join("lightship.db"), dir.path().join("secret.key"));
    let rig = Rig::new("master", dir.path());
    assert!(rig.start().stop().success());

    std::fs::rename(&key, dir.path().join("away.key")).unwrap();
    assert_refused(&rig, "master", &[text(&key), "is not there", "put it back"]);
    assert!(!key.exists());

    std::fs::rename(dir.path().join("away.key"), &key).unwrap();
    std::fs::write(&database, "").unwrap();
    assert_refused(&rig, "master", &[text(&database), "is empty", text(&key), "for a fresh start"]);
    assert_eq!(std::fs::metadata(&database).unwrap().len(), 0);
}

#[tokio::test]
async fn a_disk_that_fills_up_costs_answers_and_no_decision() {
    // given
    let disk = Disk::new("4m");
    let master = Rig::new("master", disk.path()).start();
    let known = master.new_key().await;
    // when
    let ballast = disk.fill();
    let (status, refused) = until("a write is refused", || async {
        let (status, body) = master.post("/api/v2/agents/generate-key", json!({ "owner": "x" })).await;
        (status != 201).then_some((status, body))
    })
    .await;
    // then
    assert_eq!(status, 503, "{refused}");
    assert!(refused["message"].as_str().is_some_and(|words| words.contains("space")), "{refused}");
    assert!(refused.get("key").is_none());
    for round in 0..3 {
        let (status, again) = master.post("/api/v2/agents/generate-key", json!({ "owner": "x" })).await;
        assert_eq!(status, 503, "round {round}: {again}");
        assert!(again["message"].as_str().is_some_and(|words| words.contains("space")), "{again}");
    }
    let count = |answer: &serde_json::Value| answer["agent_keys"].as_object().map(serde_json::Map::len);
    let before = count(&master.get("/api/v2/agents").await);
    // and when there is space again
    std::fs::remove_file(ballast).unwrap();
    let late = until("a key can be made again", || async {
        let (status, made) = master.post("/api/v2/agents/generate-key", json!({ "owner": "y" })).await;
        (status == 201).then_some(made["key"].as_str()?.to_owned())
    })
    .await;
    assert_eq!(count(&master.get("/api/v2/agents").await), before.map(|count| count + 1));
    master.kill();
    let master = Rig::new("master", disk.path()).start();
    for (key, agent) in [(known, "a"), (late, "b")] {
        let answer = reqwest::Client::new()
            .post(format!("{}/api/v2/agents/register", master.url()))
            .bearer_auth(key)
            .json(&json!({ "agent_id": agent }));
        assert_eq!(answer.send().await.unwrap().status(), 201, "what was answered with success is kept");
    }
}

#[tokio::test]
async fn an_agent_on_a_full_disk_carries_out_nothing_that_it_cannot_note_and_serves_on() {
    // given
    let disk = Disk::new("1m");
    let mut scene = Scene::enrolled_in(disk.path()).await;
    let token = scene.token("edge");
    let connector = scene.until_one_connector(&token).await;
    let ballast = fill_when_quiet(&disk).await;
    // when
    order_restart(&scene).await;
    // then: the master knows why, the host is watched, and the connector is the one it was
    let reason = until_reason(&scene).await;
    for words in [text(disk.path()), "free some space", "not carried out yet"] {
        assert!(reason.contains(words), "the reason does not say `{words}`: {reason}");
    }
    let log = scene.agent.as_ref().unwrap().log();
    assert!(log.contains("no space is left on its disk"), "{log}");
    scene.engine.run("app-web", &labels("app-web.example.com")).await;
    scene.master().until_route("app-web.example.com", "published").await;
    assert_eq!(scene.until_one_connector(&token).await, connector);
    // and when there is space again, it goes on by itself
    std::fs::remove_file(ballast).unwrap();
    let id = scene.until_done("restart_tunnel", 1).await;
    scene.assert_once(&id).await;
    let replaced = scene.until_one_connector(&token).await;
    assert_ne!(replaced, connector);
    until("nothing is wrong any more", || async { reason_of(&scene).await.is_none().then_some(()) }).await;
    // and an agent that dies on a full disk is refused the start, and touches nothing
    let ballast = fill_when_quiet(&disk).await;
    order_restart(&scene).await;
    until_reason(&scene).await;
    scene.kill_agent();
    let kept =
        || ["agent_id.txt", "tunnel_state.json"].map(|file| std::fs::read(disk.path().join(file)).unwrap());
    let before = kept();
    assert_refused(scene.agent_rig(), "agent", &["no space is left", text(disk.path()), "free some"]);
    assert_eq!(kept(), before);
    assert_eq!(scene.until_one_connector(&token).await, replaced);
    std::fs::remove_file(ballast).unwrap();
    scene.start_agent();
    let id = scene.until_done("restart_tunnel", 2).await;
    scene.assert_once(&id).await;
}

/// Fills the disk once nothing is left that would make room again: results go when the master has them.
async fn fill_when_quiet(disk: &Disk) -> PathBuf {
    until("no result waits", || async {
        let outbox = std::fs::read_dir(disk.path().join("outbox")).unwrap();
        (outbox.count() == 0).then_some(())
    })
    .await;
    disk.fill()
}

async fn order_restart(scene: &Scene) {
    let path = format!("/api/v2/agents/{}/redeploy-tunnel", scene.agent_id);
    let (status, body) = scene.master().post(&path, json!({})).await;
    assert_eq!(status, 200, "{body}");
}

/// What the master shows beside the tunnel.
async fn reason_of(scene: &Scene) -> Option<String> {
    let agents = scene.master().get("/api/v2/agents").await;
    agents["agents"][&scene.agent_id]["tunnel_status"]["reason"].as_str().map(str::to_owned)
}

async fn until_reason(scene: &Scene) -> String {
    until("the master is told why", || async {
        reason_of(scene).await.filter(|reason| reason.contains("no space is left"))
    })
    .await
}
