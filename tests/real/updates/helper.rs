//! `lightship host-helper`: a real service of root on a real socket, asked by root, by its agent's user and by others.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use chrono::{TimeDelta, Utc};
use lightship::domain::id::{AgentId, CommandId};
use lightship::domain::order::{KeyOffer, Order, SignedOrder, SigningKey};
use lightship::domain::update::{Changes, PlanAsk, RunOutcome, RunProgress, Wanted};
use lightship::updates::{Errand, Hands, HelperHands, KeyWas};
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::apt_install::NO_ENGINE;
use super::apt_root::AptRoot;
use super::orders::{AgentHost, Site};
use super::text;
use super::verbs::{PackageHost, until_said, until_there, verb};
use crate::support::ship::{Rig, binary};
use crate::support::until::until;

const NOBODY: &str = "65534";
const NOBODYS_ID: u32 = 65_534;

/// A helper of root on a host with its own packages. Dropping it ends it.
pub(super) struct Helper<R: PackageHost = AptRoot> {
    pub(super) root: R,
    process: std::process::Child,
}

impl<R: PackageHost> Drop for Helper<R> {
    fn drop(&mut self) {
        self.kill();
    }
}

pub(super) fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32])
}

pub(super) fn offer(seed: u8) -> KeyOffer {
    KeyOffer { key: key(seed).public(), endorsed: Vec::new() }
}

pub(super) fn agent() -> AgentId {
    AgentId::new("a1")
}

/// Starts this program as the helper of this root. `before` is a program that it is handed to, with that program's own
/// arguments.
fn begun(root: &impl PackageHost, program: &Path, before: &[&str]) -> std::process::Child {
    let program = text(program);
    let helper = root.path("helper");
    let whole = [before, &[&program, "--state-dir", &helper, "host-helper"]].concat();
    let mut process = Command::new(whole[0])
        .args(&whole[1..])
        .envs(root.environment())
        .env("DOCKER_HOST", NO_ENGINE)
        .env("LIGHTSHIP__UPDATES__HELPER_SOCKET", root.path("run/helper.sock"))
        .env("LIGHTSHIP__UPDATES__HELPER_USER", "nobody")
        .env("LIGHTSHIP__UPDATES__HELPER_GROUP", NOBODY)
        .env("LIGHTSHIP__UPDATES__POLICY_FILE", root.path("policy.toml"))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    process.stderr = process.stdout.take().map(|out| std::os::fd::OwnedFd::from(out).into());
    until_said(&mut process, "helper of the agent");
    process
}

impl Helper {
    /// One on a host that has t-lib 1.0 and is offered 1.1; nobody's agent may ask it.
    fn start() -> Self {
        let root = AptRoot::with(&["t-lib"]);
        root.package("t-lib", "1.1", "");
        root.publish();
        root.apt(&["update"]);
        Self::on(root)
    }
}

impl<R: PackageHost> Helper<R> {
    pub(super) fn on(root: R) -> Self {
        Self::handed_to(root, &[])
    }

    fn of(root: R, program: &Path) -> Self {
        Self::run(root, program, &[])
    }

    /// One that is started by another program.
    pub(super) fn handed_to(root: R, before: &[&str]) -> Self {
        Self::run(root, &binary(), before)
    }

    fn run(root: R, program: &Path, before: &[&str]) -> Self {
        // Whoever makes the way to its socket must let the agent in.
        std::fs::set_permissions(root.path(""), std::fs::Permissions::from_mode(0o755)).unwrap();
        let process = begun(&root, program, before);
        Self { root, process }
    }

    /// `kill -9`, also of one that was killed already.
    pub(super) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Starts it again after it was killed.
    pub(super) fn begin(&mut self) {
        self.process = begun(&self.root, &binary(), &[]);
    }

    fn socket(&self) -> PathBuf {
        self.root.path("run/helper.sock").into()
    }

    pub(super) fn hands(&self) -> HelperHands {
        HelperHands::at(&self.socket())
    }

    pub(super) async fn carry_out(
        &self,
        order: SignedOrder,
    ) -> Result<lightship::domain::update::Run, String> {
        self.hands().carry_out(errand(order), Arc::new(|_| ())).await.map_err(|refusal| refusal.to_string())
    }

    pub(super) async fn planned(&self) -> Changes {
        self.hands().plan(&PlanAsk::install(Wanted::All)).await.unwrap().changes
    }

    /// What a user hears who asks for the status.
    fn asked_by(&self, user: &str) -> String {
        // A question is its length in four bytes, and then the word `"status"`.
        let ask = r#"use IO::Socket::UNIX; my $s = IO::Socket::UNIX->new(Peer => $ARGV[0]) or die "no way: $!";
            my $q = '"status"'; print $s pack("N", length $q), $q; $s->flush; local $/; print substr(<$s>, 4)"#;
        let asked = Command::new("setpriv")
            .args(["--reuid", user, "--regid", NOBODY, "--clear-groups", "perl", "-e", ask])
            .arg(self.socket())
            .output()
            .unwrap();
        format!("{}{}", String::from_utf8_lossy(&asked.stdout), String::from_utf8_lossy(&asked.stderr))
    }
}

impl<R: PackageHost> AgentHost for Helper<R> {
    fn agent(&self) -> Rig {
        self.root
            .rig()
            .user(NOBODYS_ID)
            .env("DOCKER_HOST", NO_ENGINE)
            .env("LIGHTSHIP__UPDATES__CHECK_PACKAGES", "always")
            .env("LIGHTSHIP__UPDATES__HELPER_SOCKET", self.root.path("run/helper.sock"))
    }
}

fn errand(order: SignedOrder) -> Errand {
    Errand { order, agent: agent(), ahead: None, expired: None }
}

pub(super) fn order(id: &str, number: u64, ask: PlanAsk, changes: Changes) -> Order {
    let now = Utc::now();
    let expires_at = now + TimeDelta::hours(1);
    Order {
        id: CommandId::new(id),
        agent: agent(),
        number,
        ask,
        changes,
        by: "ann".into(),
        issued_at: now,
        expires_at,
    }
}

#[test]
fn only_root_and_the_user_of_the_agent_are_listened_to() {
    let helper = Helper::start();
    let about = std::fs::metadata(helper.socket()).unwrap();
    assert_eq!((about.permissions().mode() & 0o777, about.gid()), (0o660, 65534));
    let kept = std::fs::metadata(helper.root.at("helper")).unwrap();
    assert_eq!((kept.permissions().mode() & 0o777, kept.uid()), (0o700, 0));

    assert!(helper.asked_by(NOBODY).contains("installs_packages"), "{}", helper.asked_by(NOBODY));
    assert!(helper.asked_by("0").contains("installs_packages"));
    let other = helper.asked_by("12345");
    assert!(other.contains("the user 12345 may not ask here") && other.contains("helper_user"), "{other}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_known_by_the_helper_itself_and_carried_out_once() {
    let mut helper = Helper::start();
    let changes = helper.planned().await;
    let whole = order("c1", 5, PlanAsk::install(Wanted::All), changes.clone());
    let signed = whole.sign(&key(1));
    assert!(helper.carry_out(signed.clone()).await.unwrap_err().contains("knows no key"));
    assert_eq!(helper.hands().offer_key(&offer(1), &agent()).await.unwrap().was, KeyWas::First);
    assert_eq!(helper.hands().offer_key(&offer(2), &agent()).await.unwrap().was, KeyWas::Refused);

    for (order, word) in [
        (whole.sign(&key(2)), "signed with the key"),
        (SignedOrder { content: signed.content.replace("1.1", "1.2"), ..signed.clone() }, "altered"),
        (Order { agent: AgentId::new("a2"), ..whole.clone() }.sign(&key(1)), "for the agent a2"),
        (Order { expires_at: Utc::now(), ..whole.clone() }.sign(&key(1)), "expired"),
    ] {
        let refusal = helper.carry_out(order).await.unwrap_err();
        assert!(refusal.contains(word), "{word}: {refusal}");
    }
    assert_eq!(helper.root.installed(), ["t-lib 1.0 ii"], "nothing was changed");

    let run = helper.carry_out(signed.clone()).await.unwrap();
    assert_eq!((run.outcome.as_ref(), run.by.as_str()), (Some(&RunOutcome::Verified), "ann"));
    assert_eq!(helper.root.installed(), ["t-lib 1.1 ii"]);
    assert_eq!(helper.hands().untold(&agent()).await.unwrap(), std::slice::from_ref(&run.id));

    // What it knows outlives it.
    helper.kill();
    helper.begin();
    assert_eq!(helper.carry_out(signed).await.unwrap().id, run.id, "it tells how the run ended");
    let older = order("c2", 5, PlanAsk::install(Wanted::All), changes).sign(&key(1));
    assert!(helper.carry_out(older).await.unwrap_err().contains("used before"));
    let ask = PlanAsk::undo(run.id, Vec::new());
    let back = helper.hands().plan(&ask).await.unwrap().changes;
    let undone = helper.carry_out(order("c3", 6, ask, back).sign(&key(1))).await.unwrap();
    assert_eq!(
        (undone.outcome, helper.root.installed()),
        (Some(RunOutcome::Verified), vec!["t-lib 1.0 ii".to_owned()])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_is_not_root_has_the_helper_do_what_its_master_ordered_and_take_it_back() {
    let mut site = Site::start(Helper::start()).await;
    let agent = site.agent.as_ref().unwrap().pid();
    assert_eq!(std::fs::metadata(format!("/proc/{agent}")).unwrap().uid(), NOBODYS_ID);
    let over = site.carry_out().await;

    assert_eq!(over["status"], "verified", "{over}");
    assert_eq!(site.root.root.installed(), ["t-lib 1.1 ii"]);
    let run = site.run(&over["run"]).await;
    assert!(run["log"].as_str().is_some_and(|log| log.contains("t-lib")), "the helper's log is told: {run}");

    let (request, back) = site.ask(json!({ "run": { "agent": site.id, "id": over["run"] } })).await;
    let over = site.until_over(&site.approve(&request, &back).await).await;
    assert_eq!(over["status"], "verified", "{over}");
    assert_eq!(site.root.root.installed(), ["t-lib 1.0 ii"]);

    // Without the helper it says why it can do nothing, and what would help.
    site.root.kill();
    let (_, asked) = site.master.post("/api/v3/plans", json!({ "agents": [site.id], "what": "all" })).await;
    let path = format!("/api/v3/plans/{}", asked["request"].as_str().unwrap());
    let failed = until("the host says that it cannot", async || {
        let answer = site.master.get(&path).await;
        answer["failed"].as_array().and_then(|failed| failed.first().cloned())
    })
    .await;
    assert!(failed.to_string().contains("host-helper"), "{failed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_policy_of_the_host_and_what_is_there_now_bind_the_helper() {
    let helper = Helper::start();
    helper.hands().offer_key(&offer(1), &agent()).await.unwrap();
    let changes = helper.planned().await;
    let signed =
        |id: &str, number| order(id, number, PlanAsk::install(Wanted::All), changes.clone()).sign(&key(1));
    std::fs::write(helper.root.at("policy.toml"), "deny = ['t-*']").unwrap();
    let refusal = helper.carry_out(signed("c1", 1)).await.unwrap_err();
    assert!(refusal.contains("`t-*` is denied"), "{refusal}");
    std::fs::remove_file(helper.root.at("policy.toml")).unwrap();

    helper.root.package("t-lib", "1.2", "");
    helper.root.publish();
    helper.hands().refresh().await.unwrap();
    let refusal = helper.carry_out(signed("c2", 2)).await.unwrap_err();

    assert!(refusal.contains("t-lib: upgrade 1.0 → 1.2, planned was upgrade 1.0 → 1.1"), "{refusal}");
    assert_eq!(helper.root.installed(), ["t-lib 1.0 ii"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_helper_that_is_replaced_in_the_middle_of_dpkg_cuts_nothing_off() {
    let root = AptRoot::with(&["t-slow"]);
    let wait = format!("touch {0}/begun; while [ ! -e {0}/go ]; do sleep 0.1; done", root.at(""));
    root.package_that_runs("t-slow", "1.1", &wait);
    root.publish();
    root.apt(&["update"]);
    let mut helper = Helper::on(root);
    helper.hands().offer_key(&offer(1), &agent()).await.unwrap();
    let changes = helper.planned().await;
    let signed = order("c1", 1, PlanAsk::install(Wanted::All), changes).sign(&key(1));
    let (steps, hands, errand) = (Arc::new(Mutex::new(Vec::new())), helper.hands(), errand(signed));
    let sink = Arc::clone(&steps);
    let told = Arc::new(move |said: RunProgress| sink.lock().push(said.step.unwrap_or_default()));
    // One call, over both lives of the helper.
    let asked = tokio::spawn(async move { hands.carry_out(errand, told).await });
    let begun = helper.root.at("begun");
    tokio::task::spawn_blocking(move || until_there(&begun)).await.unwrap();

    helper.kill();
    helper.begin();
    assert_ne!(helper.root.audit(), "", "dpkg is in the middle");
    std::fs::write(helper.root.at("go"), "").unwrap();

    let run = asked.await.unwrap().unwrap();
    assert_eq!(
        (run.outcome, helper.root.installed()),
        (Some(RunOutcome::Verified), vec!["t-slow 1.1 ii".to_owned()])
    );
    assert!(steps.lock().iter().any(|step| step == "apt.apply"), "{:?}", steps.lock());
    assert_eq!(helper.root.audit(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn root_knows_the_runs_of_the_helper_waits_for_them_goes_on_with_them_and_takes_them_back() {
    // given: a helper in the middle of dpkg
    let root = AptRoot::with(&["t-slow"]);
    let wait = format!("touch {0}/begun; while [ ! -e {0}/go ]; do sleep 0.1; done", root.at(""));
    root.package_that_runs("t-slow", "1.1", &wait);
    root.publish();
    root.apt(&["update"]);
    let mut helper = Helper::on(root);
    helper.hands().offer_key(&offer(1), &agent()).await.unwrap();
    let changes = helper.planned().await;
    let plan = changes.id().to_string();
    let signed = order("c1", 1, PlanAsk::install(Wanted::All), changes).sign(&key(1));
    let (hands, errand) = (helper.hands(), errand(signed.clone()));
    let asked = tokio::spawn(async move { hands.carry_out(errand, Arc::new(|_| ())).await });
    let begun = helper.root.at("begun");
    tokio::task::spawn_blocking(move || until_there(&begun)).await.unwrap();
    let rig = helper.root.rig().env("DOCKER_HOST", NO_ENGINE);
    let rig = rig.env("LIGHTSHIP__UPDATES__HELPER_STATE_DIR", helper.root.at("helper"));
    let listed = || {
        let (code, said, errors) = verb(&rig, &["history", "--json"]);
        assert_eq!(code, 0, "{errors}");
        said["runs"].as_array().unwrap().clone()
    };

    // then: it is seen, and nothing else changes the host
    let [run] = &listed()[..] else { panic!("one run: {:?}", listed()) };
    assert_eq!((&run["by"], &run["outcome"]), (&json!("ann"), &Value::Null));
    let id = run["id"].as_str().unwrap();
    for words in [&["install", "--all", "--yes"][..], &["rollback", id, "--yes"]] {
        let (code, _, errors) = verb(&rig, words);
        assert!(code == 1 && errors.contains("another run is under way"), "{words:?}: {errors}");
    }

    // when: the helper dies, and root goes on with its run
    helper.kill();
    asked.abort();
    std::fs::write(helper.root.at("go"), "").unwrap();
    let (code, said, errors) = verb(&rig, &["install", "--plan", &plan, "--yes", "--json"]);

    // then: that is done, in the record of the helper, which tells it like any other
    assert_eq!(code, 0, "{said} {errors}");
    assert_eq!((&said["run"]["id"], &said["run"]["outcome"]), (&json!(id), &json!("verified")));
    assert_eq!(helper.root.installed(), ["t-slow 1.1 ii"]);

    // when: it is taken back
    let (code, said, errors) = verb(&rig, &["rollback", id, "--yes", "--json"]);

    // then
    assert_eq!(code, 0, "{said} {errors}");
    assert_eq!((helper.root.installed(), helper.root.audit()), (vec!["t-slow 1.0 ii".into()], String::new()));
    let runs = listed();
    assert_eq!((runs.len(), &runs[1]["undone_by"]), (2, &runs[0]["id"]));
    let (_, one, _) = verb(&rig, &["history", id, "--json"]);
    assert!(one["log"].as_str().is_some_and(|log| log.contains("t-slow")), "{one}");
    let own = std::fs::read_dir(helper.root.at("state/runs")).into_iter().flatten().flatten();
    let own: Vec<_> = own.map(|entry| entry.file_name()).filter(|name| name != ".lock").collect();
    assert!(own.is_empty(), "nothing is recorded twice: {own:?}");
    helper.begin();
    let untold = helper.hands().untold(&agent()).await.unwrap();
    assert_eq!(
        untold.iter().map(ToString::to_string).collect::<Vec<_>>(),
        [id, runs[0]["id"].as_str().unwrap()]
    );
    assert_eq!(helper.carry_out(signed).await.unwrap().id.to_string(), id, "the order is done");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_helper_whose_program_was_replaced_under_it_has_apt_held_by_the_new_one() {
    // given: one that nobody started anew when its program was upgraded
    let root = AptRoot::with(&["t-lib"]);
    root.package("t-lib", "1.1", "");
    root.publish();
    root.apt(&["update"]);
    let program = PathBuf::from(root.at("lightship"));
    std::fs::copy(binary(), &program).unwrap();
    let helper = Helper::of(root, &program);
    std::fs::copy(binary(), helper.root.at("lightship.new")).unwrap();
    std::fs::rename(helper.root.at("lightship.new"), &program).unwrap();
    helper.hands().offer_key(&offer(1), &agent()).await.unwrap();
    let changes = helper.planned().await;

    let run =
        helper.carry_out(order("c1", 1, PlanAsk::install(Wanted::All), changes).sign(&key(1))).await.unwrap();

    assert_eq!(
        (run.outcome, helper.root.installed()),
        (Some(RunOutcome::Verified), vec!["t-lib 1.1 ii".to_owned()])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_that_a_service_manager_opened_is_taken_over() {
    let root = AptRoot::with(&["t-lib"]);
    let socket = root.at("handed.sock");
    let hand_over = r#"use IO::Socket::UNIX; use POSIX; $^F = 9;
        my $s = IO::Socket::UNIX->new(Local => shift, Listen => 5) or die "no socket: $!";
        POSIX::dup2(fileno $s, 3) unless fileno $s == 3; $ENV{LISTEN_PID} = $$; $ENV{LISTEN_FDS} = 1; exec @ARGV"#;
    let mut process = Command::new("perl")
        .args(["-e", hand_over, &socket])
        .arg(binary())
        .args(["--state-dir", &root.at("helper"), "host-helper"])
        .env("APT_CONFIG", text(&root.config()))
        .env("DOCKER_HOST", NO_ENGINE)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();

    let status = until("the helper listens", async || {
        let hands = HelperHands::at(socket.as_ref());
        let status = if hands.is_there() { Some(hands.status().await) } else { None };
        status.filter(|status| status.problem.is_none())
    })
    .await;

    process.kill().unwrap();
    process.wait().unwrap();
    assert!(status.installs_packages.yes, "{status:?}");
    assert!(!status.replaces_containers.yes, "there is no Engine");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_trusts_another_key_by_its_fingerprint() {
    let helper = Helper::start();
    helper.hands().offer_key(&offer(1), &agent()).await.unwrap();
    helper.hands().offer_key(&offer(2), &agent()).await.unwrap();
    let rig: Rig = helper.root.rig().env("LIGHTSHIP__UPDATES__HELPER_STATE_DIR", helper.root.at("helper"));
    let (_, keys, _) = verb(&rig, &["trust-key", "--show", "--json"]);
    let of_helper = |keys: &Value| {
        keys["keys"].as_array().unwrap().iter().find(|one| !one["trusted"].is_null()).unwrap().clone()
    };
    let (first, second) =
        (key(1).public().fingerprint().to_string(), key(2).public().fingerprint().to_string());
    assert_eq!(
        (&of_helper(&keys)["trusted"], &of_helper(&keys)["refused"]),
        (&first.clone().into(), &second.clone().into())
    );

    let (code, _, errors) = verb(&rig, &["trust-key", "0000-0000-0000-0000-0000-0000-0000-0000"]);
    assert!(code == 1 && errors.contains("no master showed the key"), "{errors}");
    let (code, _, errors) = verb(&rig, &["trust-key"]);
    assert!(code == 1 && errors.contains("`lightship trust-key --show`"), "{errors}");
    let (code, _, errors) = verb(&rig, &["trust-key", &second]);
    assert_eq!(code, 0, "{errors}");
    let (code, said, errors) = rig.verb(&["trust-key", &second.to_uppercase()]);
    assert!(code == 0 && said.contains("were trusted already"), "{said}{errors}");

    let status = helper.hands().status().await;
    assert_eq!(status.key.map(|key| key.to_string()), Some(second));
}
