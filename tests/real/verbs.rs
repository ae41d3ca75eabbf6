//! Verbs of the command line: what they say and how they end.

mod access;
mod administrators;
mod adopt;
mod fleet;
mod notify;
mod rules;
mod way;

use std::path::PathBuf;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::raw_client::RawClient;
use crate::scene::{Scene, subfolder};
use crate::support::cloudflare::{CloudflareStandIn, Fault, Op, TOKEN, Trouble};
use crate::support::ship::{ADMIN_TOKEN, Rig, Ship};
use crate::support::until::until;

#[test]
fn a_wrong_command_line_is_a_failure_and_never_looks_like_pending_changes() {
    let dir = tempfile::tempdir().unwrap();
    let rig = Rig::new("master", dir.path());
    for (args, code, said) in [
        (&["plan", "--bogus"][..], 1, "unexpected argument '--bogus'"),
        (&["no-such-verb"], 1, "unrecognized subcommand 'no-such-verb'"),
        (&[], 1, "Usage: lightship"),
        (&["--help"], 0, "Exit codes: 0 ok"),
        (&["plan", "--help"], 0, "Usage: lightship plan"),
        (&["--version"], 0, "lightship "),
        (&["runs", "--host", "web-1", "list"], 1, "as in `lightship runs list --host"),
        (&["runs", "--running", "list"], 1, "write that word first"),
        (&["runs", "--max", "1", "list"], 1, "write that word first"),
        (&["runs", "--max", "50", "show", "web-1", "x"], 1, "write that word first"),
        (&["updates", "--agent", "x", "held"], 1, "as in `lightship updates list --kind"),
        (&["updates", "--exit-code", "list"], 1, "write that word first"),
    ] {
        let (ended, out, errors) = rig.verb(args);
        assert_eq!(ended, code, "{args:?}: {out}{errors}");
        let heard = if code == 0 { out } else { errors };
        assert!(heard.contains(said), "{args:?}: {heard}");
    }
}

#[test]
fn a_reader_of_a_database_that_is_not_there_makes_none() {
    let dir = tempfile::tempdir().unwrap();
    let rig = Rig::new("master", dir.path());

    let (code, _, said) = rig.verb(&["events"]);

    assert_eq!(code, 1);
    assert!(said.contains("there is no database `") && said.contains("LIGHTSHIP_STATE_DIR"), "{said}");
    assert!(!dir.path().join("lightship.db").exists());
}

/// A master that publishes, and two ways to order it: over its socket, and from elsewhere by address and token.
struct Desk {
    master: Ship,
    near: Rig,
    far: Rig,
    standin: CloudflareStandIn,
    tunnel: String,
    _dir: TempDir,
}

impl Desk {
    /// The account has a tunnel `shared` that holds a rule of somebody else.
    fn start() -> Self {
        let standin = CloudflareStandIn::start();
        let tunnel = standin.add_tunnel("shared", "cloudflare");
        let theirs = json!({ "hostname": "theirs.example.com", "service": "http://theirs:80" });
        standin.write_config(&tunnel, json!({ "ingress": [theirs, { "service": "http_status:404" }] }));
        let dir = TempDir::new().unwrap();
        let near = Rig::new("master", &subfolder(&dir, "master")).cloudflare(&standin);
        let master = near.start();
        // The token of the socket's user is wrong, so what works there works without it.
        let near = near.env("LIGHTSHIP_ADMIN_TOKEN", "not-the-token");
        let far = Rig::new("master", &subfolder(&dir, "elsewhere"));
        Self { master, near, far, standin, tunnel, _dir: dir }
    }

    /// Over the socket: asserts the exit code; returns standard output and standard error.
    fn near(&self, code: i32, args: &[&str]) -> (String, String) {
        ended(code, args, self.near.verb(args))
    }

    /// The same from elsewhere.
    fn far(&self, code: i32, args: &[&str]) -> (String, String) {
        let args = [&["--master", self.master.url()][..], args].concat();
        ended(code, &args, self.far.verb(&args))
    }

    /// An agent `raw-1` with a key from the command line, enrolled from there.
    async fn enrolled(&self) -> RawClient {
        let (key, said) = self.near(0, &["keys", "create", "--owner", "lab"]);
        assert!(said.contains("not shown again") && said.contains("DOCKFLARE_API_KEY"), "{said}");
        let agent = RawClient::register_with(&self.master, "raw-1", key.trim().to_owned()).await;
        self.far(0, &["agents", "enroll", "raw-1", "--tunnel", "shared"]);
        agent
    }

    /// Id and facts of the key that was made for `owner`.
    fn key_of(&self, owner: &str) -> (String, Value) {
        let (list, _) = self.near(0, &["keys", "--json"]);
        let keys: Value = serde_json::from_str(&list).unwrap();
        let found = keys.as_object().unwrap().iter().find(|(_, key)| key["owner"] == owner);
        found.map(|(id, key)| (id.clone(), key.clone())).unwrap()
    }
}

fn ended(code: i32, args: &[&str], (end, out, errors): (i32, String, String)) -> (String, String) {
    assert_eq!(end, code, "{args:?}: {out}{errors}");
    (out, errors)
}

fn container(name: &str) -> (String, String) {
    (name.to_owned(), format!("{name}.example.com"))
}

#[tokio::test]
async fn what_a_connector_wrote_last_is_shown_without_its_token_and_who_has_none_says_so() {
    // given: an agent whose connector runs, and one of DockFlare
    let scene = Scene::enrolled().await;
    let token = scene.token("edge");
    scene.until_one_connector(&token).await;
    let dir = TempDir::new().unwrap();
    let far = Rig::new("master", dir.path());
    let verb = |args: &[&str]| far.verb(&[&["--master", scene.master().url()][..], args].concat());

    // when, then
    let (code, out, errors) = verb(&["agents", "log", &scene.agent_id]);
    assert_eq!(code, 0, "{errors}");
    assert!(out.contains("INF Starting tunnel tunnelID=") && !out.contains(&token), "{out}");
    let answer = scene.master().get(&format!("/api/v3/agents/{}/connector-log", scene.agent_id)).await;
    assert_eq!((&answer["status"], &answer["reason"]), (&json!("succeeded"), &Value::Null), "{answer}");

    let _raw = RawClient::register(scene.master(), "raw-1").await;
    let (code, _, errors) = verb(&["agents", "log", "raw-1"]);
    assert!(code == 1 && errors.contains("it waits for a person's yes"), "{errors}");
    let enrol = json!({ "tunnel_name": "other" });
    let (status, body) = scene.master().post("/api/v2/agents/raw-1/enroll", enrol).await;
    assert_eq!(status, 200, "{body}");
    let (code, _, errors) = verb(&["agents", "log", "raw-1"]);
    assert!(code == 1 && errors.contains("runs DockFlare's agent, which tells no log"), "{errors}");
    let (code, _, errors) = verb(&["agents", "log", "nobody"]);
    assert!(code == 1 && errors.contains("there is no agent `nobody`"), "{errors}");
}

#[tokio::test]
async fn what_waits_is_planned_then_applied_and_what_is_in_the_way_is_named() {
    let desk = Desk::start();
    let agent = desk.enrolled().await;
    agent.status_report(&[container("app")]).await;
    desk.master.until_route("app.example.com", "waiting").await;

    let (_, said) = desk.far(2, &["plan"]);
    for words in ["tunnel `shared` holds what is not ours", "theirs.example.com", "lightship apply --yes"] {
        assert!(said.contains(words), "`{words}` is missing: {said}");
    }
    let (_, said) = desk.near(1, &["apply"]);
    assert!(said.contains("lightship plan") && said.contains("lightship apply --yes"), "{said}");
    assert_eq!(desk.standin.hostnames(&desk.tunnel), ["theirs.example.com"], "nothing was confirmed");

    let (out, _) = desk.far(0, &["apply", "--yes"]);
    assert!(out.contains("confirmed 1 tunnel"), "{out}");
    desk.master.until_route("app.example.com", "published").await;
    let mut hosts = desk.standin.hostnames(&desk.tunnel);
    hosts.sort();
    assert_eq!(hosts, ["app.example.com", "theirs.example.com"]);
    desk.near(0, &["plan"]);

    desk.standin.add_record("example.com", "A", "taken.example.com", "192.0.2.7");
    agent.status_report(&[container("app"), container("taken")]).await;
    desk.master.until_route("taken.example.com", "blocked").await;
    let (_, said) = desk.near(3, &["apply", "--yes"]);
    assert!(said.contains("blocked: taken.example.com: "), "{said}");
    assert_eq!(desk.standin.records("taken.example.com")[0].content, "192.0.2.7", "it stays");

    desk.standin.inject(Fault::on(Op::PutConfig, Trouble::ServerError).always());
    agent.status_report(&[container("app"), container("late")]).await;
    desk.master.until_route("late.example.com", "failed").await;
    for (code, args) in [(3, &["apply", "--yes"][..]), (2, &["plan"])] {
        let (_, said) = desk.near(code, args);
        let line = "failed: late.example.com: Cloudflare refused `put tunnel configuration`";
        assert!(said.contains(line), "{args:?}: {said}");
    }
    desk.standin.heal();
}

#[tokio::test]
async fn agents_and_keys_are_managed_from_the_command_line() {
    let desk = Desk::start();
    let agent = desk.enrolled().await;

    let (_, said) = desk.near(1, &["agents", "enroll", "nope", "--tunnel", "edge"]);
    assert!(said.contains("there is no agent `nope`; `lightship agents` lists"), "{said}");
    desk.near(0, &["agents", "rename", "raw-1", "Front door"]);
    let (list, _) = desk.far(0, &["agents"]);
    assert!(list.contains("raw-1") && list.contains("Front door") && list.contains("shared"), "{list}");

    let (_, said) = desk.far(0, &["agents", "limit", "raw-1", "--hostname-pattern", "*.lab.example.com"]);
    assert!(said.contains("may claim *.lab.example.com only"), "{said}");
    agent.status_report(&[container("app")]).await;
    until("the name is refused", || async {
        let answer = desk.master.get("/api/v3/routes").await;
        answer["routes"].as_array()?.iter().find(|route| route["state"] == "conflict").map(|_| ())
    })
    .await;
    let (_, said) = desk.near(0, &["agents", "limit", "raw-1", "--any-hostname"]);
    assert!(said.contains("any hostname"), "{said}");

    let (key, _) = desk.far(0, &["agents", "roll-key", "raw-1"]);
    let renewed = RawClient::with_key(&desk.master, "raw-1", key.trim().to_owned());
    let body = json!({ "agent_id": "raw-1" });
    assert_eq!(renewed.post("register", body.clone()).await.0, 200);
    assert_eq!(
        agent.post("register", body).await.0,
        401,
        "the old key ended with the first use of the new one"
    );

    let (spare, _) = desk.far(0, &["keys", "create", "--owner", "spare"]);
    let (list, _) = desk.near(0, &["keys", "list"]);
    assert!(list.contains("lab") && list.contains("spare") && !list.contains(spare.trim()), "{list}");
    desk.far(0, &["keys", "revoke", &desk.key_of("spare").0]);
    assert_eq!(desk.key_of("spare").1["status"], "revoked");
}

#[tokio::test]
async fn names_are_moved_from_the_command_line_to_a_tunnel_whose_connector_was_not_seen() {
    // given
    let desk = Desk::start();
    let agent = desk.enrolled().await;
    agent.status_report(&[container("app")]).await;
    desk.master.until_route("app.example.com", "waiting").await;
    desk.far(0, &["apply", "--yes"]);
    desk.master.until_route("app.example.com", "published").await;
    desk.far(0, &["agents", "enroll", "raw-1", "--tunnel", "new"]);
    let leads_to = |tunnel: &str| {
        let target = format!("{tunnel}.cfargotunnel.com");
        desk.standin.records("app.example.com").iter().any(|record| record.content == target)
    };
    assert!(leads_to(&desk.tunnel), "no connector was seen in the new one");
    // when
    let (_, refused) = desk.near(1, &["agents", "move", "nope"]);
    let (_, said) = desk.far(0, &["agents", "move", "raw-1"]);
    // then
    assert!(refused.contains("there is no agent `nope`; `lightship agents` lists"), "{refused}");
    assert!(said.contains("are in its new tunnel, or on their way"), "{said}");
    let id_of = |name: &str| {
        let state = desk.standin.state();
        state.tunnels.iter().find(|tunnel| tunnel.name == name).map(|tunnel| tunnel.id.clone())
    };
    let new = id_of("new").unwrap();
    until("the name leads to the new tunnel", || async { leads_to(&new).then_some(()) }).await;
}

#[tokio::test]
async fn a_second_host_with_a_key_is_named_and_allowed_a_seat_from_the_command_line() {
    // given
    let desk = Desk::start();
    let (key, _) = desk.near(0, &["keys", "create", "--owner", "lab"]);
    let url = format!("{}/api/v2/agents/register", desk.master.url());
    for host in ["web-1", "web-2"] {
        let hello = json!({ "display_name": host, "lightship": { "protocols": [3], "host": host } });
        let answer = reqwest::Client::new().post(&url).bearer_auth(key.trim()).json(&hello).send().await;
        assert_eq!(answer.unwrap().status().as_u16(), 201, "{host}");
    }
    // when
    let (list, told) = desk.near(0, &["agents", "--json"]);
    let (_, shown) = desk.near(0, &["agents"]);
    let agents: Value = serde_json::from_str(&list).unwrap();
    let second =
        agents.as_object().unwrap().iter().find(|(_, agent)| agent["display_name"] == "web-2").unwrap().0;
    let (_, refused) = desk.near(1, &["agents", "enroll", second, "--tunnel", "far"]);
    let (key_id, _) = desk.key_of("lab");
    let (_, allowed) = desk.near(0, &["keys", "seats", &key_id, "2"]);
    // then
    assert!(shown.contains("web-2: uses the key of `web-1`") && !shown.contains("web-1: "), "{shown}");
    assert_eq!(told, "", "what scripts read has it in its fields");
    assert!(refused.contains(&format!("lightship keys seats {key_id} NUMBER")), "{refused}");
    assert!(allowed.contains("has 2 seats now"), "{allowed}");
    desk.near(0, &["agents", "enroll", second, "--tunnel", "far"]);
}

#[test]
fn the_settings_are_shown_with_their_origins_and_without_secrets() {
    let standin = CloudflareStandIn::start();
    let dir = TempDir::new().unwrap();
    let file: PathBuf = dir.path().join("lightship.toml");
    std::fs::write(&file, "[publish]\ngrace_period_seconds = 77\n").unwrap();
    let rig = Rig::new("master", dir.path())
        .cloudflare(&standin)
        .env("DOCKFLARE_MASTER_URL", "http://ship:pa55word@master:8080/");

    let args = ["config", "--config", file.to_str().unwrap()];
    let (out, errors) = ended(0, &args, rig.verb(&args));
    let (json, _) = ended(0, &["--json"], rig.verb(&[&args[..], &["--json"]].concat()));

    let origin_of = |key: &str| out.lines().find(|line| line.trim_start().starts_with(key)).unwrap_or("");
    for (key, origin) in [
        ("cloudflare.api_token", "CF_API_TOKEN"),
        ("admin.token", "LIGHTSHIP_ADMIN_TOKEN"),
        ("publish.grace_period_seconds", "lightship.toml"),
        ("publish.agent_timeout_seconds", "default"),
    ] {
        assert!(origin_of(key).contains(origin), "{key} from {origin}:\n{out}");
    }
    assert!(out.contains("http://ship:***@master:8080/"), "{out}");
    for secret in [TOKEN, ADMIN_TOKEN, "pa55word"] {
        assert!(!format!("{out}{errors}{json}").contains(secret), "a secret is shown:\n{out}");
    }
}

#[test]
fn a_wrong_token_and_a_missing_master_fail_with_the_way_out() {
    let desk = Desk::start();
    let stranger = desk.far.clone().env("LIGHTSHIP_ADMIN_TOKEN", "not-the-token");
    let args = ["--master", desk.master.url(), "plan"];

    let (_, said) = ended(1, &args, stranger.verb(&args));
    assert!(said.contains("refused the admin token; set LIGHTSHIP_ADMIN_TOKEN"), "{said}");
    for verb in ["plan", "agents", "keys", "routes"] {
        let (_, said) = ended(1, &[verb], desk.far.verb(&[verb]));
        assert!(said.contains("no master answers at") && said.contains("--master"), "{verb}: {said}");
    }
}
