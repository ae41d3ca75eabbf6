//! Orders of a real master to a real agent that changes its host, with APT and with an Engine: asked, approved, carried out, looked
//! at, taken back.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::apt_install::{AFTER, BEFORE, NO_ENGINE, host, offer};
use super::apt_root::AptRoot;
use super::containers::{Host, ill, well};
use super::rpm_root::RpmRoot;
use super::shell;
use super::verbs::{until_there, verb};
use crate::scene::subfolder;
use crate::support::ship::{Rig, Ship};
use crate::support::until::until;

/// A host whose agent is to be started.
pub(super) trait AgentHost {
    /// Its settings.
    fn agent(&self) -> Rig;
}

impl AgentHost for AptRoot {
    fn agent(&self) -> Rig {
        self.rig()
            .env("DOCKER_HOST", NO_ENGINE)
            .env("LIGHTSHIP__UPDATES__CHECK_PACKAGES", "always")
            .env("LIGHTSHIP__UPDATES__POLICY_FILE", self.at("policy.toml"))
    }
}

impl AgentHost for RpmRoot {
    fn agent(&self) -> Rig {
        self.rig().env("DOCKER_HOST", NO_ENGINE).env("LIGHTSHIP__UPDATES__CHECK_PACKAGES", "always")
    }
}

impl AgentHost for Host {
    fn agent(&self) -> Rig {
        self.rig()
    }
}

/// A master, and a host whose agent it is the master of. Programs come first: they end before what they use.
pub(super) struct Site<H> {
    pub(super) agent: Option<Ship>,
    pub(super) master: Ship,
    pub(super) id: String,
    pub(super) key: String,
    pub(super) root: H,
    _dir: TempDir,
}

impl<H: AgentHost> Site<H> {
    pub(super) async fn start(root: H) -> Self {
        Self::with(root, &[]).await
    }

    /// With these settings of the master.
    pub(super) async fn with(root: H, settings: &[(&str, &str)]) -> Self {
        let mut site = Self::without_agent(root, settings).await;
        site.begin();
        site.join().await;
        site
    }

    /// Starts the agent; one that ran before ended.
    pub(super) fn begin(&mut self) {
        let rig = self.root.agent();
        let rig =
            rig.env("DOCKFLARE_MASTER_URL", self.master.url()).env("DOCKFLARE_API_KEY", self.key.clone());
        self.agent = Some(rig.start());
    }
}

impl<H> Site<H> {
    /// With a master only: what starts the agent is tried too.
    pub(super) async fn without_agent(root: H, settings: &[(&str, &str)]) -> Self {
        let dir = TempDir::new().unwrap();
        let mut rig = Rig::new("master", &subfolder(&dir, "master"));
        for (name, value) in settings {
            rig = rig.env(name, *value);
        }
        let master = rig.start();
        let key = master.new_key().await;
        Self { agent: None, master, id: String::new(), key, root, _dir: dir }
    }

    /// Waits for the agent, and says yes to it.
    pub(super) async fn join(&mut self) {
        self.id = self.master.until_agent("pending").await;
        let path = format!("/api/v3/agents/{}/approve", self.id);
        assert_eq!(self.master.post(&path, json!({})).await.0, 200);
    }

    /// Asks, and waits for the host's answer: the question, and the plans.
    pub(super) async fn ask(&self, body: Value) -> (String, Value) {
        let (status, asked) = self.master.post("/api/v3/plans", body).await;
        assert_eq!(status, 202, "{asked}");
        let request = asked["request"].as_str().unwrap().to_owned();
        let answered = until("the host answered", || async {
            let answer = self.master.get(&format!("/api/v3/plans/{request}")).await;
            (answer["waiting"] == json!([])).then_some(answer)
        })
        .await;
        assert_eq!(answered["failed"], json!([]), "the host could not work it out");
        (request, answered)
    }

    pub(super) async fn ask_for_all(&self) -> (String, Value) {
        self.ask(json!({ "agents": [self.id], "what": "all" })).await
    }

    pub(super) async fn approve(&self, request: &str, plan: &Value) -> String {
        let path = format!("/api/v3/plans/{request}/approve");
        let (status, done) = self.master.post(&path, json!({ "plan": plan["plans"][0]["id"] })).await;
        assert_eq!(status, 202, "{done}");
        done["approval"].as_str().unwrap().to_owned()
    }

    pub(super) async fn approval(&self, id: &str) -> Value {
        self.master.get(&format!("/api/v3/approvals/{id}")).await["approvals"][0].clone()
    }

    /// Waits until nothing more comes of a yes; returns it.
    pub(super) async fn until_over(&self, id: &str) -> Value {
        until(&format!("approval {id} came to its end"), || async {
            let approval = self.approval(id).await;
            (!matches!(approval["status"].as_str(), Some("ordered" | "waiting"))).then_some(approval)
        })
        .await
    }

    /// Asks for everything, approves, and waits for the end.
    pub(super) async fn carry_out(&self) -> Value {
        let (request, plan) = self.ask_for_all().await;
        let id = self.approve(&request, &plan).await;
        self.until_over(&id).await
    }

    pub(super) async fn run(&self, id: &Value) -> Value {
        self.master.get(&format!("/api/v3/runs/{}/{}", self.id, id.as_str().unwrap())).await
    }

    async fn states(&self) -> Vec<String> {
        let listed = self.master.get("/api/v3/updates?kind=apt&state=any").await;
        let text = |update: &Value, key: &str| update[key].as_str().unwrap_or("-").to_owned();
        let all = listed["updates"].as_array().cloned().unwrap_or_default();
        let mut all: Vec<String> =
            all.iter().map(|one| format!("{} {}", text(one, "name"), text(one, "state"))).collect();
        all.sort();
        all
    }

    async fn until_states(&self, expected: &[&str]) {
        until(&format!("updates are {expected:?}"), || async {
            (self.states().await == expected).then_some(())
        })
        .await;
    }
}

fn lines(plan: &Value) -> Vec<String> {
    let word = |change: &Value, key: &str| change[key].as_str().unwrap_or("-").to_owned();
    let changes = plan["plans"][0]["changes"].as_array().cloned().unwrap_or_default();
    changes
        .iter()
        .map(|change| ["operation", "name", "from", "to"].map(|key| word(change, key)).join(" "))
        .collect()
}

#[actix_web::test]
async fn an_approved_plan_is_carried_out_exactly_proved_and_taken_back_by_another() {
    let site = Site::start(host()).await;
    site.until_states(&["t-app discovered", "t-lib discovered"]).await;
    let (request, plan) = site.ask_for_all().await;
    assert_eq!(
        lines(&plan),
        ["upgrade t-app 1.0 1.1", "upgrade t-lib 1.0 1.1", "install t-new - 1.0", "remove t-old 1.0 -"]
    );
    assert_eq!(site.root.installed(), BEFORE, "a question changes nothing");

    let id = site.approve(&request, &plan).await;
    let over = site.until_over(&id).await;

    assert_eq!((over["status"].as_str(), &over["reason"]), (Some("verified"), &Value::Null), "{over}");
    assert_eq!(site.root.installed(), AFTER);
    let run = site.run(&over["run"]).await;
    assert_eq!((&run["by"], &run["order"]), (&json!("token"), &over["command_id"]));
    assert!(run["log"].as_str().unwrap().contains("Setting up t-app"), "{run}");
    assert_eq!(run["changes"], plan["plans"][0]["changes"]);
    site.until_states(&["t-app verified", "t-lib verified"]).await;
    // Both sides tell the same history.
    let (_, history, _) = verb(&site.root.rig(), &["history", "--json"]);
    assert_eq!(
        (history["runs"][0]["id"].clone(), &history["runs"][0]["by"]),
        (over["run"].clone(), &run["by"])
    );

    let back = json!({ "run": { "agent": site.id, "id": over["run"] } });
    let (request, undo) = site.ask(back).await;
    assert_eq!(site.root.installed(), AFTER, "a plan to take back changes nothing either");
    let id = site.approve(&request, &undo).await;
    let undone = site.until_over(&id).await;

    assert_eq!(undone["status"], "verified", "{undone}");
    assert_eq!(site.root.installed(), BEFORE);
    assert_eq!(site.run(&undone["run"]).await["undoes"], over["run"]);
    assert_eq!(site.root.audit(), "");
    // What is on offer again is an update again.
    site.until_states(&["t-app discovered", "t-lib discovered"]).await;
}

#[actix_web::test]
async fn what_the_owner_forbids_or_a_repository_changed_is_refused_with_the_reason_and_changes_nothing() {
    let site = Site::start(host()).await;
    let (request, plan) = site.ask_for_all().await;
    std::fs::write(site.root.at("policy.toml"), "deny = ['t-l*']\n").unwrap();
    let over = site.until_over(&site.approve(&request, &plan).await).await;
    let reason = over["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("t-lib: `t-l*` is denied"), "{over}");
    assert_eq!(site.root.installed(), BEFORE);
    std::fs::remove_file(site.root.at("policy.toml")).unwrap();

    site.root.package("t-lib", "1.2", "");
    offer(&site.root);
    let over = site.until_over(&site.approve(&request, &plan).await).await;
    let reason = over["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("t-lib: upgrade 1.0 → 1.2, planned was upgrade 1.0 → 1.1"), "{over}");
    assert_eq!(site.root.installed(), BEFORE);
    assert!(site.states().await.iter().all(|state| state.ends_with("discovered")));
}

#[actix_web::test]
async fn an_agent_that_is_killed_while_it_installs_brings_the_order_to_its_end_once() {
    let root = host();
    // It waits for a file while dpkg configures it.
    let (begun, goes_on) = (root.at("begun"), root.at("goes-on"));
    let script = format!("touch {begun}; while ! test -e {goes_on}; do sleep 0.05; done");
    root.package_that_runs("t-lib", "1.2", &script);
    offer(&root);
    let mut site = Site::start(root).await;
    let (request, plan) = site.ask(json!({ "agents": [site.id], "names": ["apt:t-lib"] })).await;
    assert_eq!(lines(&plan), ["upgrade t-lib 1.0 1.2"]);
    let id = site.approve(&request, &plan).await;
    until_there(&begun);

    if let Some(agent) = site.agent.take() {
        agent.kill();
    }
    std::fs::write(&goes_on, "").unwrap();
    site.begin();

    let over = site.until_over(&id).await;
    assert_eq!(over["status"], "verified", "{over}");
    assert!(site.root.installed().contains(&"t-lib 1.2 ii".to_owned()));
    let runs = site.master.get("/api/v3/runs").await;
    assert_eq!(runs["total"], 1, "{runs}");
    assert_eq!(site.root.audit(), "");
}

#[actix_web::test]
async fn a_run_that_is_cancelled_ends_between_two_steps_and_says_who_wanted_it() {
    let root = host();
    let (begun, goes_on) = (root.at("begun"), root.at("goes-on"));
    let script = format!("touch {begun}; while ! test -e {goes_on}; do sleep 0.05; done");
    root.package_that_runs("t-lib", "1.2", &script);
    offer(&root);
    let site = Site::start(root).await;
    let (request, plan) = site.ask(json!({ "agents": [site.id], "names": ["apt:t-lib"] })).await;
    let id = site.approve(&request, &plan).await;
    until_there(&begun);
    let run = until("the run is told", || async {
        let runs = site.master.get("/api/v3/runs?running=true").await;
        runs["runs"][0]["id"].as_str().map(str::to_owned)
    })
    .await;
    let path = format!("/api/v3/runs/{}/{run}/cancel", site.id);
    let (status, asked) = site.master.post(&path, json!({})).await;
    assert_eq!(status, 202, "{asked}");
    until_there(&site.root.at(&format!("state/runs/{run}/cancel")));

    // dpkg is never cut off: what it began it ends.
    std::fs::write(&goes_on, "").unwrap();

    let over = site.until_over(&id).await;
    assert_eq!(
        (over["status"].as_str(), &over["reason"]),
        (Some("failed"), &json!("it was cancelled by token"))
    );
    assert_eq!(site.root.audit(), "");
    assert!(site.root.installed().contains(&"t-lib 1.2 ii".to_owned()));
    let (status, _) = site.master.post(&path, json!({})).await;
    assert_eq!(status, 409, "it is at its end");
    // What it did is taken back like any other run.
    let (request, undo) = site.ask(json!({ "run": { "agent": site.id, "id": run } })).await;
    let over = site.until_over(&site.approve(&request, &undo).await).await;
    assert_eq!(over["status"], "verified", "{over}");
    assert_eq!(site.root.installed(), BEFORE);
}

#[actix_web::test]
async fn what_was_done_on_the_host_itself_joins_the_masters_history_once() {
    let mut site = Site::start(host()).await;
    if let Some(agent) = site.agent.take() {
        agent.stop();
    }
    let (code, run, errors) = verb(&site.root.rig(), &["install", "t-lib", "--yes", "--json"]);
    assert_eq!(code, 0, "{errors}");
    site.begin();
    let joined = until("the run joined", || async {
        let runs = site.master.get("/api/v3/runs").await["runs"].as_array().cloned().unwrap_or_default();
        runs.first().cloned()
    })
    .await;
    assert_eq!((&joined["id"], &joined["status"]), (&run["run"]["id"], &json!("verified")));
    assert_eq!(joined["order"], Value::Null);

    // Told again after every start, and known.
    if let Some(agent) = site.agent.take() {
        agent.stop();
    }
    site.begin();
    site.carry_out().await;
    assert_eq!(site.master.get("/api/v3/runs").await["total"], 2);
}

#[actix_web::test]
async fn two_people_have_to_agree_if_that_is_set_and_a_host_that_is_away_waits_for_its_order() {
    let mut site = Site::with(host(), &[("LIGHTSHIP__UPDATES__SECOND_APPROVAL", "true")]).await;
    let (request, plan) = site.ask_for_all().await;
    let id = site.approve(&request, &plan).await;
    assert_eq!(site.approval(&id).await["status"], "waiting");
    let (status, same) = site.master.post(&format!("/api/v3/approvals/{id}/second"), json!({})).await;
    assert_eq!((status, same["code"].as_str()), (409, Some("cannot_approve")), "{same}");
    let (status, _) = site.master.post(&format!("/api/v3/approvals/{id}/withdraw"), json!({})).await;
    assert_eq!(status, 200);
    assert_eq!(site.approval(&id).await["status"], "withdrawn");
    assert_eq!(site.root.installed(), BEFORE);
    if let Some(agent) = site.agent.take() {
        agent.stop();
    }
}

#[actix_web::test]
async fn orders_of_another_master_are_refused_until_root_trusts_its_key() {
    let mut site = Site::start(host()).await;
    let (_, before) = site.ask_for_all().await;
    assert_eq!(before["failed"], json!([]));
    if let Some(agent) = site.agent.take() {
        agent.stop();
    }
    // Somebody stands in the master's place, with the agent's key and another key for orders.
    let dir = TempDir::new().unwrap();
    let other = Rig::new("master", &subfolder(&dir, "other")).start();
    site.key = other.new_key().await;
    site.master = other;
    site.begin();
    site.id = site.master.until_agent("pending").await;
    assert_eq!(site.master.post(&format!("/api/v3/agents/{}/approve", site.id), json!({})).await.0, 200);

    let over = site.carry_out().await;

    let reason = over["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("trusts") && reason.contains("trust-key"), "{over}");
    assert_eq!(site.root.installed(), BEFORE);
    let shown = site.master.get("/api/v3/order-key").await["fingerprint"].as_str().unwrap().to_owned();
    assert!(reason.contains(&shown), "{reason}");
    let (code, _, errors) = site.root.rig().verb(&["trust-key", &shown]);
    assert_eq!(code, 0, "{errors}");
    let begun = Instant::now();
    loop {
        let over = site.carry_out().await;
        if over["status"] == "verified" {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "{over}");
    }
    assert_eq!(site.root.installed(), AFTER);
}

#[actix_web::test]
async fn a_container_is_replaced_by_order_and_an_image_that_fails_is_held_for_the_whole_fleet() {
    let host = Host::start().await;
    host.push("app", "1.0", &well()).await;
    host.run("app", Default::default()).await;
    let site = Site::start(host).await;
    let before = site.root.look("app").await;
    site.root.push("app", "2.0", &well()).await;
    let (request, plan) = site.ask(json!({ "agents": [site.id], "names": ["docker_image:app"] })).await;
    assert_eq!(plan["plans"][0]["changes"][0]["operation"], "replace", "{plan}");

    let over = site.until_over(&site.approve(&request, &plan).await).await;

    assert_eq!(over["status"], "verified", "{over}");
    let after = site.root.look("app").await;
    assert_ne!((&before.id, &before.image), (&after.id, &after.image));
    let back = json!({ "run": { "agent": site.id, "id": over["run"] } });
    let (request, undo) = site.ask(back).await;
    let undone = site.until_over(&site.approve(&request, &undo).await).await;
    assert_eq!(undone["status"], "verified", "{undone}");
    assert_eq!(site.root.look("app").await.image, before.image);

    // One that is never well: the old one is back, and nobody is told to try it again.
    site.root.push("app", "3.0", &ill()).await;
    // What a registry said holds for ten seconds, also for a person who asks again.
    until("the third is found", || async {
        let (status, _) = site.master.post(&format!("/api/v3/agents/{}/scan", site.id), json!({})).await;
        assert_eq!(status, 202);
        let listed = site.master.get("/api/v3/updates?kind=docker_image&state=any").await;
        let shown = listed["updates"][0]["available_version"].as_str()?.starts_with("3.0");
        shown.then_some(())
    })
    .await;
    let (request, plan) = site.ask(json!({ "agents": [site.id], "names": ["docker_image:app"] })).await;
    let over = site.until_over(&site.approve(&request, &plan).await).await;
    assert_eq!(over["status"], "rolled_back", "{}", site.run(&over["run"]).await);
    assert_eq!(site.root.look("app").await.image, before.image);
    let held = site.master.get("/api/v3/held-images").await;
    assert_eq!(held["images"][0]["digest"], plan["plans"][0]["changes"][0]["to"], "{held}");
    let (request, plan) = site.ask(json!({ "agents": [site.id], "names": ["docker_image:app"] })).await;
    let path = format!("/api/v3/plans/{request}/approve");
    let (status, refused) = site.master.post(&path, json!({ "plan": plan["plans"][0]["id"] })).await;
    assert_eq!((status, refused["code"].as_str()), (409, Some("cannot_approve")), "{refused}");
    let digest = held["images"][0]["digest"].as_str().unwrap();
    let (status, _) = site.master.post(&format!("/api/v3/held-images/{digest}/let-go"), json!({})).await;
    assert_eq!(status, 200);
    site.approve(&request, &plan).await;
    let Site { agent, root, .. } = site;
    drop(agent);
    root.clear().await;
}

/// A host whose `shutdown` is a script that notes what it is told.
struct Restartable(AptRoot);

impl AgentHost for Restartable {
    fn agent(&self) -> Rig {
        self.0.agent().env("PATH", format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", self.0.at("bin")))
    }
}

#[actix_web::test]
async fn a_restart_is_ordered_like_a_plan_and_only_where_the_owner_of_the_host_allows_it() {
    let root = AptRoot::with(&["t-lib"]);
    std::fs::create_dir(root.at("bin")).unwrap();
    std::fs::write(root.at("bin/shutdown"), format!("#!/bin/sh\necho \"$*\" >>{}/told\n", root.at("")))
        .unwrap();
    shell("chmod 755 \"$1\"", &[&root.at("bin/shutdown")]);
    let told = root.at("told");
    let site = Site::start(Restartable(root)).await;
    let person = site.root.0.rig().env("LIGHTSHIP_MASTER_URL", site.master.url());
    let asked = ["updates", "plan", "--host", &site.id, "--reboot", "--in", "5", "--json"];
    let (code, plan, errors) = verb(&person, &asked);
    assert_eq!((code, lines(&plan)), (2, vec!["restart host - -".to_owned()]), "{errors}");
    let request = plan["request"].as_str().unwrap().to_owned();

    let refused = site.until_over(&site.approve(&request, &plan).await).await;

    assert_eq!(refused["status"], "withdrawn", "{refused}");
    assert!(refused["reason"].as_str().unwrap().contains("reboot = true"), "{refused}");
    assert!(!std::path::Path::new(&told).exists());

    std::fs::write(site.root.0.at("policy.toml"), "reboot = true").unwrap();
    let path = format!("/api/v1/agents/{}/reboot", site.id);
    let (status, sent) = site.master.post(&path, json!({ "delay_minutes": 7, "message": "back soon" })).await;
    assert_eq!((status, &sent["agent_id"]), (200, &json!(site.id)), "{sent}");
    let ordered = until("the host's `shutdown` is told", || async {
        // The file is there before there is anything in it.
        std::fs::read_to_string(&told).ok().filter(|told| told.ends_with('\n'))
    })
    .await;
    assert_eq!(ordered, "-r -- +7 back soon\n");

    let (_, history, _) = verb(&site.root.0.rig(), &["history", "--json"]);
    let run = history["runs"][0]["id"].as_str().unwrap().to_owned();
    let (status, _) = site.master.post(&format!("/api/v3/runs/{}/{run}/cancel", site.id), json!({})).await;
    assert_eq!(status, 202);
    until("the restart is called off", || async {
        let told = std::fs::read_to_string(&told).unwrap_or_default();
        (told == "-r -- +7 back soon\n-c\n").then_some(())
    })
    .await;
}
