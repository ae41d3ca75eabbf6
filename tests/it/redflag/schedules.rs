//! Updates that are approved for a later time: with RedFlag's own agents, and with ours.

use chrono::{DateTime, TimeDelta, Utc};

use super::*;
use crate::plan_host::{Host, upgrade};
use crate::support::until::until;

fn clock() -> Clock {
    Clock::moved(DateTime::from_timestamp(1_800_000_000, 0).unwrap())
}

/// Approves updates for a time.
async fn approve(master: &TestMaster, ids: &[&str], at: DateTime<Utc>) -> Value {
    let body = json!({ "update_ids": ids, "scheduled_at": at });
    master.admin_post("/api/v1/updates/approve", body).expect(200).await.json()
}

async fn update(master: &TestMaster, id: &str) -> Value {
    master.admin_get(&format!("/api/v1/updates/{id}")).expect(200).await.json()
}

fn brings(id: &str, dependencies: &[&str]) -> Value {
    json!({ "package_name": "bash", "package_type": "apt", "update_id": id, "dependencies": dependencies })
}

async fn with_update<'a>(master: &'a TestMaster, name: &str) -> (FlagAgent<'a>, String) {
    let agent = FlagAgent::join(master, name).await;
    agent.scan("", "Found 1 APT updates", json!([apt("bash", "2")])).await;
    let all = master.admin_get(&format!("/api/v1/agents/{}/updates", agent.id)).expect(200).await.json();
    let id = all["updates"][0]["id"].as_str().unwrap().to_owned();
    (agent, id)
}

#[actix_web::test]
async fn a_redflag_agent_says_at_once_what_comes_along_and_installs_at_the_time() {
    let clock = clock();
    let master = unlimited_on(clock.clone()).await;
    let (agent, id) = with_update(&master, "web-1").await;
    let at = clock.now() + TimeDelta::hours(5);
    let approved = approve(&master, &[&id], at).await;
    assert_eq!((&approved["count"], &approved["left"]), (&json!(1), &json!([])), "{approved}");

    let [dry_run] = &agent.check_in().await[..] else { panic!("one command") };
    assert_eq!(dry_run["type"], "dry_run_update");
    agent.post("/dependencies", brings(&id, &[]), 200).await;

    let shown = update(&master, &id).await;
    assert_eq!(shown["status"], "approved", "{shown}");
    let told: DateTime<Utc> = serde_json::from_value(shown["scheduled_at"].clone()).unwrap();
    assert_eq!(told.timestamp_micros(), at.timestamp_micros());
    assert!(agent.check_in().await.is_empty(), "its time has not come");
    // Asked again for another time it is left as it is.
    let other = approve(&master, &[&id], at + TimeDelta::hours(1)).await;
    assert!(other["left"][0]["error"].as_str().unwrap().contains("was approved before"), "{other}");
    // Nor is it said to be under way where somebody wants it at once.
    let now = master.admin_post(&format!("/api/v1/updates/{id}/install"), json!({})).expect(409).await;
    assert!(now.text.contains("to begin at 2027-01-15"), "{}", now.text);

    clock.jump(TimeDelta::hours(5) + TimeDelta::seconds(1));
    let install = until("it is told to install", async || agent.check_in().await.pop()).await;
    assert_eq!(install["type"], "confirm_dependencies");
    let shown = update(&master, &id).await;
    assert_eq!((&shown["status"], &shown["scheduled_at"]), (&json!("installing"), &Value::Null));
    master.stop().await;
}

#[actix_web::test]
async fn what_comes_along_is_confirmed_before_the_time_and_not_installed_before_it() {
    let clock = clock();
    let master = unlimited_on(clock.clone()).await;
    let (agent, id) = with_update(&master, "web-1").await;
    approve(&master, &[&id], clock.now() + TimeDelta::hours(5)).await;
    agent.check_in().await;
    agent.post("/dependencies", brings(&id, &["libc6"]), 200).await;
    assert_eq!(update(&master, &id).await["status"], "pending_dependencies");

    let confirm = format!("/api/v1/updates/{id}/confirm-dependencies");
    master.admin_post(&confirm, json!({})).expect(200).await;

    assert_eq!(update(&master, &id).await["status"], "approved");
    assert!(agent.check_in().await.is_empty());
    clock.jump(TimeDelta::hours(5) + TimeDelta::seconds(1));
    let install = until("it is told to install", async || agent.check_in().await.pop()).await;
    assert_eq!(install["params"]["dependencies"], json!(["libc6"]));
    master.stop().await;
}

#[actix_web::test]
async fn what_nobody_confirmed_in_time_still_waits_and_what_was_taken_back_is_not_installed() {
    let clock = clock();
    let master = unlimited_on(clock.clone()).await;
    let (waits, waiting) = with_update(&master, "web-1").await;
    let (agent, id) = with_update(&master, "web-2").await;
    let at = clock.now() + TimeDelta::hours(5);
    let approved = approve(&master, &[&id, &waiting], at).await;
    assert_eq!(approved["count"], 2, "{approved}");
    waits.check_in().await;
    waits.post("/dependencies", brings(&waiting, &["libc6"]), 200).await;
    let command = agent.check_in().await.remove(0);
    agent.post("/dependencies", brings(&id, &[]), 200).await;
    let done = json!({ "command_id": command["id"], "action": "dry_run", "result": "success", "stdout": "", "stderr": "",
        "exit_code": 0, "duration_seconds": 1 });
    agent.post("/logs", done, 200).await;

    let cancel = format!("/api/v1/commands/{}/cancel", command["id"].as_str().unwrap());
    master.admin_post(&cancel, json!({})).expect(200).await;
    assert_eq!(update(&master, &id).await["status"], "pending");
    master.admin_post(&cancel, json!({})).expect(400).await;

    clock.jump(TimeDelta::hours(6));
    // The other one's time is over too: a yes to what comes along counts at once.
    let confirm = format!("/api/v1/updates/{waiting}/confirm-dependencies");
    assert_eq!(update(&master, &waiting).await["status"], "pending_dependencies");
    master.admin_post(&confirm, json!({})).expect(200).await;
    assert_eq!(waits.check_in().await[0]["type"], "confirm_dependencies");
    assert!(agent.check_in().await.is_empty(), "what was taken back does not begin");
    master.stop().await;
}

#[actix_web::test]
async fn a_host_of_ours_works_it_out_at_once_and_is_ordered_at_the_time() {
    let clock = clock();
    let master = unlimited_on(clock.clone()).await;
    let host = Host::new(&master, "web-1").await;
    host.has_newer("bash").await;
    let updates = master.admin_get("/api/v3/updates").expect(200).await.json();
    let id = updates["updates"][0]["id"].as_str().unwrap();
    let at = clock.now() + TimeDelta::hours(5);
    let approved = approve(&master, &[id], at).await;
    host.answers(json!([upgrade("bash", "1.1")]), json!({})).await;

    let given =
        async || master.admin_get("/api/v3/approvals").expect(200).await.json()["approvals"][0].clone();
    let row = given().await;
    assert_eq!(row["status"], "scheduled", "{row}");
    let begins: DateTime<Utc> = serde_json::from_value(row["not_before"].clone()).unwrap();
    let ends: DateTime<Utc> = serde_json::from_value(row["expires_at"].clone()).unwrap();
    assert_eq!(begins.timestamp_micros(), at.timestamp_micros());
    assert_eq!(ends - begins, TimeDelta::days(1), "it counts from then on");
    assert!(host.fetch_all().await.is_empty(), "no order before its time");

    clock.jump(TimeDelta::hours(5) + TimeDelta::seconds(1));
    until("the order is there", async || {
        let told = host.fetch_all().await;
        told.iter().any(|command| command["action"] == "carry_out_plan").then_some(())
    })
    .await;
    assert_eq!(given().await["status"], "ordered");

    // Another one is taken back by the name of the command that it was asked with.
    host.has_newer_of(&["bash".into(), "curl".into()]).await;
    let updates = master.admin_get("/api/v3/updates?name=curl").expect(200).await.json();
    let id = updates["updates"][0]["id"].as_str().unwrap();
    let second = approve(&master, &[id], clock.now() + TimeDelta::hours(5)).await;
    host.answers(json!([upgrade("curl", "1.1")]), json!({})).await;
    assert_eq!(given().await["status"], "scheduled");
    let cancel = format!("/api/v1/commands/{}/cancel", second["command_ids"][0].as_str().unwrap());
    master.admin_post(&cancel, json!({})).expect(200).await;
    assert_eq!(given().await["status"], "withdrawn");
    assert_ne!(approved["command_ids"], second["command_ids"]);
    master.stop().await;
}

#[actix_web::test]
async fn a_time_that_is_over_too_far_or_none_is_refused_and_nothing_is_approved() {
    let clock = clock();
    let master = unlimited_on(clock.clone()).await;
    let (agent, id) = with_update(&master, "web-1").await;
    for (at, words) in [
        (json!(clock.now() - TimeDelta::hours(1)), "is over"),
        (json!(clock.now() + TimeDelta::days(8)), "more than 7 days away"),
        (json!("tonight"), "`scheduled_at`"),
    ] {
        let body = json!({ "update_ids": [id], "scheduled_at": at });
        let refused = master.admin_post("/api/v1/updates/approve", body).expect(400).await;
        assert!(refused.text.contains(words) && refused.text.contains("scheduled_at"), "{}", refused.text);
    }
    assert_eq!(update(&master, &id).await["status"], "pending");
    assert!(agent.check_in().await.is_empty());
    let none = json!({ "update_ids": [id], "scheduled_at": null });
    master.admin_post("/api/v1/updates/approve", none).expect(200).await;
    assert_eq!(agent.check_in().await.len(), 1);
    master.stop().await;
}

#[actix_web::test]
async fn what_could_not_be_told_for_a_day_after_its_time_is_not_installed_any_more() {
    let clock = clock();
    let master = unlimited_on(clock.clone()).await;
    let (agent, id) = with_update(&master, "web-1").await;
    approve(&master, &[&id], clock.now() + TimeDelta::hours(5)).await;
    agent.check_in().await;
    agent.post("/dependencies", brings(&id, &[]), 200).await;

    clock.jump(TimeDelta::hours(29) + TimeDelta::seconds(1));

    until("it is pending again", async || {
        let shown = update(&master, &id).await;
        (shown["status"] == "pending" && shown["scheduled_at"].is_null()).then_some(())
    })
    .await;
    let commands = master.admin_get("/api/v1/commands/active").expect(200).await.json();
    assert!(!commands.to_string().contains("confirm_dependencies"), "it was wanted yesterday: {commands}");
    master.stop().await;
}

#[actix_web::test]
async fn what_was_taken_back_does_not_begin_for_what_was_approved_after_it() {
    let clock = clock();
    let master = unlimited_on(clock.clone()).await;
    let agent = FlagAgent::join(&master, "web-1").await;
    agent.scan("", "Found 2 APT updates", json!([apt("bash", "2"), apt("curl", "2")])).await;
    let all = master.admin_get(&format!("/api/v1/agents/{}/updates", agent.id)).expect(200).await.json();
    let id_of = |name: &str| {
        let all = all["updates"].as_array().unwrap();
        all.iter().find(|one| one["package_name"] == name).unwrap()["id"].as_str().unwrap().to_owned()
    };
    let (bash, curl) = (id_of("bash"), id_of("curl"));
    approve(&master, &[&bash], clock.now() + TimeDelta::minutes(50)).await;
    approve(&master, &[&curl], clock.now() + TimeDelta::minutes(51)).await;
    let dry_runs = agent.check_in().await;
    agent.post("/dependencies", brings(&bash, &[]), 200).await;
    let other =
        json!({ "package_name": "curl", "package_type": "apt", "update_id": curl, "dependencies": [] });
    agent.post("/dependencies", other, 200).await;
    // given: the first is taken back while the agent has not said how its dry run went, and is approved for later
    let is_bash = |command: &&Value| command["params"]["package_name"] == "bash";
    let dry_run = dry_runs.iter().find(is_bash).unwrap();
    let cancel = format!("/api/v1/commands/{}/cancel", dry_run["id"].as_str().unwrap());
    master.admin_post(&cancel, json!({})).expect(200).await;
    assert_eq!(update(&master, &bash).await["status"], "pending");
    approve(&master, &[&bash], clock.now() + TimeDelta::hours(8)).await;
    assert_eq!(agent.check_in().await.len(), 1);

    clock.jump(TimeDelta::minutes(52));
    let told = until("what comes after it is told", async || agent.check_in().await.pop()).await;

    assert_eq!(told["params"]["package_name"], "curl");
    assert_eq!(update(&master, &bash).await["status"], "approved");
    assert!(agent.check_in().await.is_empty(), "not before the time of the second yes");
    master.stop().await;
}

#[actix_web::test]
async fn what_is_asked_again_keeps_its_time_and_is_for_a_person_to_decide_once_that_is_over() {
    let clock = clock();
    let master = unlimited_on(clock.clone()).await;
    let (agent, id) = with_update(&master, "web-1").await;
    let at = clock.now() + TimeDelta::hours(5);
    approve(&master, &[&id], at).await;
    let fails = async || {
        let command = agent.check_in().await.remove(0);
        let said = json!({ "command_id": command["id"], "action": "dry_run", "result": "failed", "stdout": "",
            "stderr": "busy", "exit_code": 1, "duration_seconds": 1 });
        agent.post("/logs", said, 200).await;
        let shown = update(&master, &id).await;
        assert_eq!((&shown["status"], &shown["scheduled_at"]), (&json!("pending"), &Value::Null));
        format!("/api/v1/commands/{}/retry", command["id"].as_str().unwrap())
    };
    let retry = fails().await;
    master.admin_post(&retry, json!({})).expect(200).await;

    let shown = update(&master, &id).await;
    let told: DateTime<Utc> = serde_json::from_value(shown["scheduled_at"].clone()).unwrap();
    assert_eq!((&shown["status"], told.timestamp_micros()), (&json!("approved"), at.timestamp_micros()));

    let retry = fails().await;
    clock.jump(TimeDelta::hours(6));
    let refused = master.admin_post(&retry, json!({})).expect(409).await;
    assert!(refused.text.contains("which is over: approve it anew"), "{}", refused.text);
    assert_eq!(update(&master, &id).await["status"], "pending");
    assert!(agent.check_in().await.is_empty());
    master.stop().await;
}
