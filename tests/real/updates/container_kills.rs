//! Runs that are killed: the program, or the Engine, at every part of a replacement, whatever form it has.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use bollard::models::{
    ContainerCreateBody, ContainerInspectResponse, HostConfig, NetworkCreateRequest, RestartPolicy,
    RestartPolicyNameEnum,
};
use serde_json::{Value, json};

use super::containers::{Host, lasting, outcome, well};
use crate::support::ship::binary;

/// How a container is replaced, which follows from what it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Form {
    /// The old one is stopped first.
    StopFirst,
    /// The old one is gone with its stop.
    Remove,
    /// The new one serves beside the old one first.
    Beside,
}

impl Form {
    fn says(self) -> &'static str {
        match self {
            Self::StopFirst => "starts the new container",
            Self::Remove => "stops the old container",
            Self::Beside => "starts the new container beside the old one",
        }
    }

    /// Runs what the tag holds now.
    pub(super) async fn run(self, host: &Host) -> ContainerInspectResponse {
        let body = match self {
            Self::StopFirst => ContainerCreateBody::default(),
            Self::Remove => {
                let host_config = HostConfig { auto_remove: Some(true), ..Default::default() };
                let volumes = Some(vec!["/data".to_owned()]);
                ContainerCreateBody { host_config: Some(host_config), volumes, ..Default::default() }
            }
            Self::Beside => published(),
        };
        host.run("app", body).await
    }

    async fn prepare(self, host: &Host) {
        if self == Self::Beside {
            let request = NetworkCreateRequest { name: "edge".into(), ..Default::default() };
            host.engine.client().create_network(request).await.unwrap();
        }
    }
}

/// What must be the same before and after, but for what the Engine chose.
fn its_own(container: &ContainerInspectResponse) -> Value {
    let mut own = lasting(container);
    own["hostname"].take();
    if own["restart"] == "" {
        own["restart"] = "no".into();
    }
    if own["networks"]["edge"].is_object() {
        // It went by its own name there while it was not its own.
        own["networks"]["edge"]["aliases"].take();
    }
    own
}

/// On a network of its own, with a route that leads to it by its name.
fn published() -> ContainerCreateBody {
    let labels = [("enable", "true"), ("hostname", "app.example.com"), ("service", "http://app:8080")];
    ContainerCreateBody {
        labels: Some(HashMap::from(
            labels.map(|(key, value)| (format!("dockflare.{key}"), value.to_owned())),
        )),
        host_config: Some(HostConfig { network_mode: Some("edge".into()), ..Default::default() }),
        ..Default::default()
    }
}

pub(super) fn begin(host: &Host, args: &[&str]) -> Child {
    begin_with(host, &[], args)
}

/// Begins a verb that is handed to another program, named with its own arguments.
pub(super) fn begin_with(host: &Host, before: &[&str], args: &[&str]) -> Child {
    let program = binary();
    let whole = [before, &[program.to_str().unwrap()], args].concat();
    let mut verb = Command::new(whole[0]);
    verb.args(&whole[1..])
        .env_clear()
        .env("PATH", "/nonexistent")
        .env("LIGHTSHIP_STATE_DIR", host.state.path());
    verb.env("DOCKER_HOST", host.engine.docker_host());
    verb.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Kills it as soon as it says this.
fn kill_at(mut child: Child, words: &str) {
    let mut said = Vec::new();
    for line in BufReader::new(child.stderr.take().unwrap()).lines() {
        let line = line.unwrap();
        if line.contains(words) {
            child.kill().unwrap();
            child.wait().unwrap();
            return;
        }
        said.push(line);
    }
    panic!("it never said {words:?}: {said:#?}");
}

/// All that a run says when a part of it begins, as a run that nobody disturbs says it.
pub(super) async fn parts(host: &Host, form: Form) -> Vec<String> {
    form.prepare(host).await;
    host.push("app", "before", &well()).await;
    form.run(host).await;
    host.push("app", "after", &well()).await;
    let (id, _) = host.plan(&["app"]);
    let (code, _, errors) = host.verb(&["install", "--plan", &id, "--yes"]);
    assert_eq!(code, 0, "{errors}");
    host.engine.remove("app").await;
    let is_part = |line: &&str| line.contains("docker_image.") || line.contains("app: ");
    let parts: Vec<String> = errors.lines().filter(is_part).map(|line| line.trim().to_owned()).collect();
    assert!(parts.len() > 5 && parts.iter().any(|part| part.ends_with(form.says())), "{errors}");
    parts
}

#[tokio::test]
async fn a_run_that_is_killed_anywhere_goes_on_with_the_same_plan_and_exactly_one_runs() {
    killed(Form::StopFirst, true).await;
}

#[tokio::test]
async fn a_run_that_is_killed_anywhere_is_taken_back_and_exactly_the_old_one_runs() {
    killed(Form::StopFirst, false).await;
}

#[tokio::test]
async fn one_that_removes_itself_is_there_once_wherever_the_run_is_killed() {
    killed(Form::Remove, true).await;
}

#[tokio::test]
async fn one_that_removes_itself_is_made_anew_from_its_record_wherever_the_run_is_killed() {
    killed(Form::Remove, false).await;
}

#[tokio::test]
async fn of_two_that_serve_side_by_side_the_new_one_stays_wherever_the_run_is_killed() {
    killed(Form::Beside, true).await;
}

#[tokio::test]
async fn of_two_that_serve_side_by_side_the_old_one_comes_back_wherever_the_run_is_killed() {
    killed(Form::Beside, false).await;
}

async fn killed(form: Form, goes_on: bool) {
    let host = Host::start().await;
    let parts = parts(&host, form).await;
    for (count, part) in parts.iter().enumerate() {
        host.push("app", &format!("{count}.0"), &well()).await;
        let before = form.run(&host).await;
        host.push("app", &format!("{count}.1"), &well()).await;
        let (id, _) = host.plan(&["app"]);

        kill_at(begin(&host, &["install", "--plan", &id, "--yes"]), part);

        let up = host.running().await.iter().filter(|line| line.ends_with(" running")).count();
        assert!(up <= 1 || form == Form::Beside, "{part}: never both");
        assert!(up >= 1 || form != Form::Beside, "{part}: never none");
        let (_, history, _) = host.verb(&["history", "--json"]);
        let run = history["runs"][0].clone();
        if goes_on {
            let (code, out, errors) = host.verb(&["install", "--plan", &id, "--yes"]);
            assert!(code == 0 || run["outcome"] == "verified", "{part}: {out} {errors}");
            assert_ne!(host.look("app").await.image, before.image, "{part}");
        } else {
            let (code, out, errors) = host.verb(&["rollback", run["id"].as_str().unwrap(), "--yes"]);
            assert_eq!(code, 0, "{part}: {out} {errors}");
            assert_eq!(host.look("app").await.image, before.image, "{part}");
        }
        assert_eq!(host.running().await, ["app running"], "{part}");
        let after = host.look("app").await;
        assert_eq!(&host.image_id("app").await, after.image.as_ref().unwrap(), "{part}: its name");
        assert_eq!(its_own(&after), its_own(&before), "{part}");
        assert_eq!(after.host_config.unwrap().auto_remove, before.host_config.unwrap().auto_remove, "{part}");
        host.engine.remove("app").await;
    }
    println!("killed at each of these, lost none, doubled none: {}", parts.join(", "));
    host.clear().await;
}

#[tokio::test]
async fn a_run_that_is_killed_on_its_way_back_comes_back_with_the_same_plan_or_a_rollback() {
    let host = Host::start().await;
    host.push("app", "1.0", &well()).await;
    let before = host.run("app", ContainerCreateBody::default()).await;
    host.push("app", "1.1", &json!({ "Cmd": ["/bin/sh", "-c", "exit 3"] })).await;
    for part in ["app: removes the new container", "app: starts the old container again"] {
        for goes_on in [true, false] {
            let (id, _) = host.plan(&["app"]);

            kill_at(begin(&host, &["install", "--plan", &id, "--yes"]), part);

            let (_, history, _) = host.verb(&["history", "--json"]);
            let run = history["runs"][0].clone();
            if goes_on && run["outcome"].is_null() {
                let (code, run, errors) = host.verb(&["install", "--plan", &id, "--yes", "--json"]);
                let (word, reason) = outcome(&run);
                assert_eq!((code, word), (1, "rolled_back"), "{part}: {reason} {errors}");
                assert!(reason.contains("exit code 3"), "{part}: {reason}");
            } else {
                let (code, out, errors) = host.verb(&["rollback", run["id"].as_str().unwrap(), "--yes"]);
                assert_eq!(code, 0, "{part}: {out} {errors}");
            }
            assert_eq!(host.look("app").await.id, before.id, "{part}");
            assert_eq!(host.running().await, ["app running"], "{part}");
        }
    }
    host.clear().await;
}

#[tokio::test]
async fn an_engine_that_is_killed_at_any_part_leaves_exactly_one_and_the_same_plan_or_a_rollback_ends_it() {
    let policy = RestartPolicy { name: Some(RestartPolicyNameEnum::ALWAYS), maximum_retry_count: None };
    let always = || {
        let host_config = HostConfig { restart_policy: Some(policy.clone()), ..Default::default() };
        ContainerCreateBody { host_config: Some(host_config), ..Default::default() }
    };
    let mut host = Host::start().await;
    let all = parts(&host, Form::StopFirst).await;
    let parts = all.iter().filter(|part| part.contains("app: "));
    let mut seen = Vec::new();
    for (count, part) in parts.enumerate() {
        host.push("app", &format!("{count}.0"), &well()).await;
        let before = host.run("app", always()).await;
        host.push("app", &format!("{count}.1"), &well()).await;
        let (id, _) = host.plan(&["app"]);
        let mut child = begin(&host, &["install", "--plan", &id, "--yes"]);
        let rest = until_said(&mut child, part);

        host.engine.kill_daemon().await;
        host.engine.start_daemon().await;

        let said = rest.join().unwrap();
        child.wait().unwrap();
        let up = host.running().await.iter().filter(|line| line.ends_with(" running")).count();
        assert!(up <= 1, "{part}: never both; {said:#?}");
        let (_, history, _) = host.verb(&["history", "--json"]);
        let run = history["runs"][0].clone();
        let goes_on = count % 2 == 0;
        if goes_on && run["outcome"] != "verified" {
            // What was put back is no open run any more; the plan is the same.
            let (code, out, errors) = host.verb(&["install", "--plan", &id, "--yes"]);
            assert_eq!(code, 0, "{part}: {out} {errors} {said:#?}");
        } else if !goes_on && run["outcome"] != "rolled_back" {
            let (code, out, errors) = host.verb(&["rollback", run["id"].as_str().unwrap(), "--yes"]);
            assert_eq!(code, 0, "{part}: {out} {errors} {said:#?}");
        }
        let after = host.look("app").await;
        assert_eq!(after.image != before.image, goes_on, "{part}: {run}");
        assert_eq!(its_own(&after), its_own(&before), "{part}");
        assert_eq!(host.running().await, ["app running"], "{part}");
        seen.push(format!("{part} -> {}", run["outcome"]));
        host.engine.remove("app").await;
    }
    println!("the Engine was killed at each of these, lost none, doubled none: {}", seen.join(", "));
    host.clear().await;
}

/// Returns as soon as it says this; the rest of what it says comes with its end.
pub(super) fn until_said(child: &mut Child, words: &str) -> std::thread::JoinHandle<Vec<String>> {
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let is_said = lines.by_ref().map_while(Result::ok).any(|line| line.contains(words));
    assert!(is_said, "it never said {words:?}");
    std::thread::spawn(move || lines.map_while(Result::ok).collect())
}
