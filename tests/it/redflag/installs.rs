//! Installing over RedFlag's API: its own agents in their own commands, and agents of ours by plans.

use chrono::{DateTime, TimeDelta};

use super::*;
use crate::plan_host::{Host, upgrade};
use crate::support::until::until;

/// An agent with one pending update; returns it with the update's id.
async fn with_update<'a>(master: &'a TestMaster, name: &str) -> (FlagAgent<'a>, String) {
    let agent = FlagAgent::join(master, name).await;
    agent.scan("", "Found 1 APT updates", json!([apt("bash", "2")])).await;
    let all = master.admin_get(&format!("/api/v1/agents/{}/updates", agent.id)).expect(200).await.json();
    let id = all["updates"][0]["id"].as_str().unwrap().to_owned();
    (agent, id)
}

fn said(command: &Value, action: &str, result: &str) -> Value {
    json!({ "command_id": command["id"], "action": action, "result": result, "stdout": "", "stderr": "no room",
        "exit_code": if result == "success" { 0 } else { 1 }, "duration_seconds": 3 })
}

fn brings(id: &str, dependencies: &[&str]) -> Value {
    json!({ "package_name": "bash", "package_type": "apt", "update_id": id, "dependencies": dependencies })
}

async fn state(agent: &FlagAgent<'_>) -> String {
    agent.updates("status=").await.first().map(|(_, state)| state.clone()).unwrap_or_default()
}

async fn state_of(master: &TestMaster, id: &str) -> Value {
    master.admin_get(&format!("/api/v1/updates/{id}")).expect(200).await.json()["status"].clone()
}

#[actix_web::test]
async fn an_unmodified_agent_installs_what_was_approved_and_a_scan_is_what_proves_it() {
    let master = unlimited().await;
    let (agent, id) = with_update(&master, "web-1").await;

    let approved =
        master.admin_post(&format!("/api/v1/updates/{id}/approve"), json!({})).expect(200).await.json();

    assert_eq!((&approved["message"], state(&agent).await.as_str()), (&json!("update approved"), "approved"));
    let [dry_run] = &agent.check_in().await[..] else { panic!("one command") };
    assert_eq!(dry_run["id"], approved["command_id"]);
    assert_eq!(dry_run["type"], "dry_run_update");
    let params = json!({ "update_id": id, "package_type": "apt", "package_name": "bash" });
    assert_eq!(dry_run["params"], params);

    let answer = agent.post("/dependencies", brings(&id, &[]), 200).await.json();
    agent.post("/logs", said(dry_run, "dry_run", "success"), 200).await;
    let [install] = &agent.check_in().await[..] else { panic!("one command") };
    assert_eq!(
        (&install["id"], install["type"].as_str()),
        (&answer["command_id"], Some("confirm_dependencies"))
    );
    assert_eq!(install["params"]["dependencies"], json!([]));
    assert_eq!(state(&agent).await, "installing");

    // It leaves the action empty when something came along.
    agent.post("/logs", said(install, "", "success"), 200).await;
    assert_eq!(state(&agent).await, "installing", "its word is not proof");
    let [scan] = &agent.check_in().await[..] else { panic!("it is told to look") };
    assert_eq!(scan["type"], "scan_updates");
    agent.scan(scan["id"].as_str().unwrap(), "Found 1 APT updates", json!([apt("curl", "2")])).await;
    assert_eq!(state_of(&master, &id).await, "updated");
    master.stop().await;
}

#[actix_web::test]
async fn what_is_called_a_success_and_still_pending_has_failed() {
    let master = unlimited().await;
    let (agent, id) = with_update(&master, "web-1").await;
    master.admin_post(&format!("/api/v1/updates/{id}/install"), json!({})).expect(200).await;
    agent.check_in().await;
    agent.post("/dependencies", brings(&id, &[]), 200).await;
    let install = agent.check_in().await.remove(0);
    agent.post("/logs", said(&install, "upgrade", "success"), 200).await;

    agent.scan("", "Found 1 APT updates", json!([apt("bash", "2")])).await;

    assert_eq!(state_of(&master, &id).await, "failed");
    master.stop().await;
}

#[actix_web::test]
async fn what_comes_along_waits_for_a_yes_of_its_own() {
    let master = unlimited().await;
    let (agent, id) = with_update(&master, "web-1").await;
    let confirm = format!("/api/v1/updates/{id}/confirm-dependencies");
    master.admin_post(&confirm, json!({})).expect(409).await;
    master.admin_post(&format!("/api/v1/updates/{id}/approve"), json!({})).expect(200).await;
    agent.check_in().await;

    agent.post("/dependencies", brings(&id, &["libc6", "readline"]), 200).await;

    assert_eq!(state(&agent).await, "pending_dependencies");
    assert!(agent.check_in().await.is_empty(), "nothing is installed without a yes");
    let confirmed = master.admin_post(&confirm, json!({})).expect(200).await.json();
    let [install] = &agent.check_in().await[..] else { panic!("one command") };
    assert_eq!(install["id"], confirmed["command_id"]);
    assert_eq!(install["params"]["dependencies"], json!(["libc6", "readline"]));
    agent.post("/logs", said(install, "install_with_dependencies", "failed"), 200).await;
    assert_eq!(state(&agent).await, "failed");
    let commands = master.admin_get("/api/v1/commands/recent").expect(200).await.json();
    let shown = &commands["commands"][0];
    assert_eq!((&shown["package_name"], &shown["package_type"]), (&json!("bash"), &json!("apt")));
    // It is asked again by its retry, from the beginning.
    let retry = format!("/api/v1/commands/{}/retry", confirmed["command_id"].as_str().unwrap());
    master.admin_post(&retry, json!({})).expect(200).await;
    assert_eq!(agent.check_in().await[0]["type"], "dry_run_update");
    master.stop().await;
}

#[actix_web::test]
async fn a_dry_run_that_failed_leaves_the_update_pending_and_a_word_about_what_nobody_wanted_installs_nothing()
 {
    let master = unlimited().await;
    let (agent, id) = with_update(&master, "web-1").await;
    agent.post("/dependencies", brings(&id, &[]), 200).await;
    assert!(agent.check_in().await.is_empty());

    master.admin_post(&format!("/api/v1/updates/{id}/approve"), json!({})).expect(200).await;
    let dry_run = agent.check_in().await.remove(0);
    agent.post("/logs", said(&dry_run, "dry_run", "failed"), 200).await;

    assert_eq!(state(&agent).await, "pending");
    master.stop().await;
}

#[actix_web::test]
async fn what_an_agent_says_nothing_of_is_over_and_can_be_approved_again() {
    let clock = Clock::moved(DateTime::from_timestamp(1_800_000_000, 0).unwrap());
    let master = unlimited_on(clock.clone()).await;
    let (agent, id) = with_update(&master, "web-1").await;
    let approve = async || {
        let path = format!("/api/v1/updates/{id}/approve");
        master.admin_post(&path, json!({})).expect(200).await.json()["command_id"].clone()
    };
    let over = async |expected: &str| {
        until(&format!("it is {expected}"), async || {
            (state_of(&master, &id).await == expected).then_some(())
        })
        .await;
    };
    // when: the agent has the question, and is silent
    let first = approve().await;
    assert_eq!(agent.check_in().await.len(), 1);
    clock.jump(TimeDelta::hours(2) + TimeDelta::seconds(1));
    over("pending").await;

    // when: it has the order to install, and is silent
    let second = approve().await;
    assert_ne!(first, second);
    agent.check_in().await;
    agent.post("/dependencies", brings(&id, &[]), 200).await;
    assert_eq!(agent.check_in().await[0]["type"], "confirm_dependencies");
    assert_eq!(state_of(&master, &id).await, "installing");
    clock.jump(TimeDelta::hours(2) + TimeDelta::seconds(1));
    over("failed").await;
    approve().await;
    assert_eq!(state_of(&master, &id).await, "approved");
    master.stop().await;
}

#[actix_web::test]
async fn many_of_a_host_of_ours_are_one_question_and_what_it_leaves_as_it_is_stays_pending() {
    // given: more updates than a host takes tasks
    let master = unlimited().await;
    let host = Host::new(&master, "web-1").await;
    let names: Vec<String> = (0..40).map(|number| format!("lib{number:02}")).collect();
    host.has_newer_of(&names).await;
    let updates = master.admin_get("/api/v3/updates?limit=100").expect(200).await.json();
    let ids: Vec<&str> =
        updates["updates"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), 40);
    // when
    let done =
        master.admin_post("/api/v1/updates/approve", json!({ "update_ids": ids })).expect(200).await.json();
    // then: one command, for all of them
    assert_eq!((&done["count"], done["command_ids"].as_array().unwrap().len()), (&json!(40), 1), "{done}");
    let (gone, changed) = names.split_first().unwrap();
    let changes: Vec<Value> = changed.iter().map(|name| upgrade(name, "1.1")).collect();
    host.answers(json!(changes), json!({})).await;
    host.fetch("carry_out_plan").await;
    let states = master.admin_get("/api/v3/updates?limit=100&state=any").expect(200).await.json();
    let state_of = |name: &str| {
        let all = states["updates"].as_array().unwrap();
        all.iter().find(|one| one["name"] == name).unwrap()["state"].clone()
    };
    assert_eq!((state_of(gone), state_of(&changed[0])), (json!("discovered"), json!("approved")));
    master.stop().await;
}

#[actix_web::test]
async fn many_are_approved_together_and_those_that_cannot_be_are_named() {
    let master = unlimited().await;
    let (agent, id) = with_update(&master, "web-1").await;
    let body = json!({ "update_ids": [id, "00000000-0000-0000-0000-000000000000"] });
    let done = master.admin_post("/api/v1/updates/approve", body).expect(200).await.json();
    assert_eq!((&done["count"], done["left"].as_array().unwrap().len()), (&json!(1), 1));
    assert_eq!(agent.check_in().await.len(), 1);
    master.admin_post("/api/v1/updates/approve", json!({})).expect(400).await;
    master.stop().await;
}

#[actix_web::test]
async fn a_host_is_updated_as_a_whole_or_by_one_package() {
    let master = unlimited().await;
    let agent = FlagAgent::join(&master, "web-1").await;
    agent.scan("", "Found 2 APT updates", json!([apt("bash", "2"), apt("curl", "2")])).await;
    let path = format!("/api/v1/agents/{}/update", agent.id);
    // given: what does not say what is meant
    for (body, field) in [
        (json!({}), "`action`"),
        (json!({ "action": "update_some" }), "`action`"),
        (json!({ "action": "update_package", "package_name": "bash" }), "`package_name`"),
        (json!({ "action": "update_all", "package_type": "yum" }), "`package_type`"),
    ] {
        let refused = master.admin_post(&path, body).expect(400).await;
        assert!(refused.text.contains(field), "{}", refused.text);
    }
    master.admin_post(&path, json!({ "action": "update_all", "package_type": "dnf" })).expect(409).await;
    assert_eq!(agent.check_in().await, Vec::<Value>::new());
    // when: one is meant, and then all
    let one = json!({ "package_type": "apt", "package_name": "curl", "action": "update_package" });
    let one = master.admin_post(&path, one).expect(200).await.json();
    assert_eq!((&one["action"], &one["package"]), (&json!("update_package"), &json!("curl")));
    let all = master.admin_post(&path, json!({ "action": "update_all" })).expect(200).await.json();
    // then: each is told to the agent once
    let told = agent.check_in().await;
    let ids: Vec<&Value> = told.iter().map(|command| &command["id"]).collect();
    assert_eq!(ids.len(), 2, "{told:?}");
    assert!(ids.contains(&&one["command_id"]) && ids.contains(&&all["command_id"]), "{one} {all} {told:?}");
    assert!(told.iter().all(|command| command["type"] == "dry_run_update"), "{told:?}");
    let known = master.admin_post(&path, json!({ "action": "update_approved" })).expect(200).await.json();
    assert_eq!(known["command_ids"].as_array().unwrap().len(), 2, "{known}");
    assert_eq!(agent.check_in().await, Vec::<Value>::new(), "what is under way is not told again");
    master.stop().await;
}

#[actix_web::test]
async fn each_of_many_that_are_approved_together_is_installed_confirmed_or_over() {
    // given: more than a host's answers that are kept
    let clock = Clock::moved(DateTime::from_timestamp(1_800_000_000, 0).unwrap());
    let master = unlimited_on(clock.clone()).await;
    let agent = FlagAgent::join(&master, "web-1").await;
    let items: Vec<Value> = (0..30).map(|number| apt(&format!("lib{number:02}"), "2")).collect();
    agent.scan("", "Found 30 APT updates", json!(items)).await;
    let path = format!("/api/v1/agents/{}/updates?page_size=1000", agent.id);
    let all = master.admin_get(&path).expect(200).await.json();
    let ids: Vec<&str> =
        all["updates"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap()).collect();
    let done =
        master.admin_post("/api/v1/updates/approve", json!({ "update_ids": ids })).expect(200).await.json();
    assert_eq!((&done["count"], &done["left"]), (&json!(30), &json!([])), "{done}");
    let fetched = async |expected: usize| {
        let mut told = Vec::new();
        while told.len() < expected {
            let some = agent.check_in().await;
            assert!(!some.is_empty(), "{} of {expected}: {told:?}", told.len());
            told.extend(some);
        }
        told
    };
    // when: of every third nothing is said, of another third that something comes along
    for (number, dry_run) in fetched(30).await.iter().enumerate() {
        let dependencies: &[&str] = match number % 3 {
            0 => continue,
            1 => &[],
            _ => &["libc6"],
        };
        let params = &dry_run["params"];
        let brings = json!({ "package_name": params["package_name"], "package_type": "apt",
            "update_id": params["update_id"], "dependencies": dependencies });
        agent.post("/dependencies", brings, 200).await;
        agent.post("/logs", said(dry_run, "dry_run", "success"), 200).await;
    }
    // then
    let installs = fetched(10).await;
    assert!(installs.iter().all(|one| one["type"] == "confirm_dependencies"), "{installs:?}");
    let mut waiting = Vec::new();
    for id in &ids {
        if state_of(&master, id).await == "pending_dependencies" {
            waiting.push(*id);
        }
    }
    assert_eq!(waiting.len(), 10);
    for id in waiting {
        let confirm = format!("/api/v1/updates/{id}/confirm-dependencies");
        master.admin_post(&confirm, json!({})).expect(200).await;
    }
    fetched(10).await;
    clock.jump(TimeDelta::hours(2) + TimeDelta::seconds(1));
    until("those of which nothing was said are over", async || {
        let states: Vec<String> = agent.updates("").await.into_iter().map(|(_, state)| state).collect();
        let count = |word: &str| states.iter().filter(|state| *state == word).count();
        (count("pending") == 10 && count("failed") == 20).then_some(())
    })
    .await;
    master.stop().await;
}

#[actix_web::test]
async fn a_late_word_about_what_is_over_says_nothing_of_what_was_approved_after_it() {
    let clock = Clock::moved(DateTime::from_timestamp(1_800_000_000, 0).unwrap());
    let master = unlimited_on(clock.clone()).await;
    let (agent, id) = with_update(&master, "web-1").await;
    let approve = async || {
        master.admin_post(&format!("/api/v1/updates/{id}/approve"), json!({})).expect(200).await;
        agent.check_in().await.remove(0)
    };
    // given: a dry run that failed, and one after it
    let first = approve().await;
    agent.post("/logs", said(&first, "dry_run", "failed"), 200).await;
    assert_eq!(state(&agent).await, "pending");
    approve().await;
    // when: the first one is looked at, and heard of again
    clock.jump(TimeDelta::minutes(1));
    agent.post("/logs", said(&first, "dry_run", "failed"), 200).await;
    assert_eq!(state(&agent).await, "approved");
    // given: an install that nobody heard of, and what was approved anew
    agent.post("/dependencies", brings(&id, &[]), 200).await;
    let install = agent.check_in().await.remove(0);
    clock.jump(TimeDelta::hours(2) + TimeDelta::seconds(1));
    until("it is over", async || (state_of(&master, &id).await == "failed").then_some(())).await;
    approve().await;
    // when
    agent.post("/logs", said(&install, "upgrade", "failed"), 200).await;
    assert_eq!(state(&agent).await, "approved");
    master.stop().await;
}
