//! Commands that people give RedFlag agents, and those that are put away.

use chrono::{DateTime, TimeDelta};
use lightship::actors::master::MasterSettings;

use super::*;
use crate::support::until::until;

fn clock() -> Clock {
    Clock::moved(DateTime::from_timestamp(1_800_000_000, 0).unwrap())
}

fn said(command: &Value, result: &str) -> Value {
    json!({ "command_id": command["id"], "action": command["type"], "result": result, "stdout": "", "stderr": "no",
        "exit_code": if result == "success" { 0 } else { 1 }, "duration_seconds": 1 })
}

#[actix_web::test]
async fn an_agent_is_told_once_to_restart_its_host_and_what_it_says_is_its_end() {
    let master = unlimited().await;
    let agent = FlagAgent::join(&master, "web-1").await;
    let path = format!("/api/v1/agents/{}/reboot", agent.id);
    for (body, words) in [
        (json!({ "delay_minutes": 1_441 }), "within 1440 minutes"),
        (json!({ "message": "two\nlines" }), "on one line"),
        (json!({ "message": "-P" }), "takes for an option"),
    ] {
        let refused = master.admin_post(&path, body).expect(400).await;
        assert!(refused.text.contains(words), "{words}: {}", refused.text);
    }
    assert_eq!(agent.check_in().await, Vec::<Value>::new());

    let wanted = json!({ "delay_minutes": 5, "message": "back soon" });
    let sent = master.admin_post(&path, wanted.clone()).expect(200).await.json();

    assert_eq!(
        (&sent["message"], &sent["hostname"], &sent["agent_id"]),
        (&json!("reboot command sent"), &json!("web-1"), &json!(agent.id))
    );
    let twice = master.admin_post(&path, wanted.clone()).expect(200).await.json();
    assert_eq!(twice["command_id"], sent["command_id"], "it waits already");
    let [told] = &agent.check_in().await[..] else { panic!("one command") };
    assert_eq!(
        (&told["id"], &told["type"], &told["params"]),
        (&sent["command_id"], &json!("reboot"), &wanted)
    );
    assert_eq!(agent.check_in().await, Vec::<Value>::new());
    agent.post("/logs", said(told, "success"), 200).await;
    let recent = master.admin_get("/api/v1/commands/recent").expect(200).await.json();
    assert_eq!(
        (&recent["commands"][0]["command_type"], &recent["commands"][0]["status"]),
        (&json!("reboot"), &json!("completed"))
    );

    // Nothing said, everything is said to the agent: it takes numbers and texts.
    master.admin_post(&path, json!({})).expect(200).await;
    let told = agent.check_in().await.remove(0);
    assert_eq!(told["params"], json!({ "delay_minutes": 1, "message": "Lightship restarts this host" }));
    master.stop().await;
}

#[actix_web::test]
async fn a_restart_that_is_taken_back_is_not_told() {
    let master = unlimited().await;
    let agent = FlagAgent::join(&master, "web-1").await;
    let path = format!("/api/v1/agents/{}/reboot", agent.id);
    let sent = master.admin_post(&path, json!({})).expect(200).await.json();
    let cancel = format!("/api/v1/commands/{}/cancel", sent["command_id"].as_str().unwrap());
    master.admin_post(&cancel, json!({})).expect(200).await;
    assert_eq!(agent.check_in().await, Vec::<Value>::new());
    master.stop().await;
}

#[actix_web::test]
async fn no_host_is_restarted_while_it_installs_or_by_one_person_where_two_have_to_agree() {
    let master = unlimited().await;
    let agent = FlagAgent::join(&master, "web-1").await;
    agent.scan("", "Found 1 APT updates", json!([apt("bash", "2")])).await;
    let path = format!("/api/v1/agents/{}/reboot", agent.id);
    let all = master.admin_get(&format!("/api/v1/agents/{}/updates", agent.id)).expect(200).await.json();
    let id = all["updates"][0]["id"].as_str().unwrap();
    master.admin_post(&format!("/api/v1/updates/{id}/approve"), json!({})).expect(200).await;
    agent.check_in().await;
    let brings =
        json!({ "package_name": "bash", "package_type": "apt", "update_id": id, "dependencies": [] });
    agent.post("/dependencies", brings, 200).await;
    let install = agent.check_in().await.remove(0);

    let refused = master.admin_post(&path, json!({})).expect(409).await.json();

    assert!(refused["error"].as_str().unwrap().contains("is being installed"), "{refused}");
    agent.post("/logs", said(&install, "failed"), 200).await;
    master.admin_post(&path, json!({})).expect(200).await;
    master.stop().await;

    let settings = MasterSettings { second_approval: true, ..MasterSettings::default() };
    let master = TestMaster::with_actors(settings).await;
    let agent = FlagAgent::join(&master, "web-1").await;
    let path = format!("/api/v1/agents/{}/reboot", agent.id);
    let refused = master.admin_post(&path, json!({})).expect(409).await.json();
    assert!(refused["error"].as_str().unwrap().contains("second person"), "{refused}");
    // Nor does one person have anything installed there.
    agent.scan("", "Found 1 APT updates", json!([apt("bash", "2")])).await;
    let all = master.admin_get(&format!("/api/v1/agents/{}/updates", agent.id)).expect(200).await.json();
    let id = all["updates"][0]["id"].as_str().unwrap();
    let refused = master.admin_post(&format!("/api/v1/updates/{id}/approve"), json!({})).expect(409).await;
    assert!(refused.text.contains("`updates.second_approval`"), "{}", refused.text);
    assert_eq!(agent.check_in().await, Vec::<Value>::new());
    master.stop().await;
}

#[actix_web::test]
async fn failed_commands_are_put_away_and_stay_in_the_record() {
    // given: a command that failed, and one that was taken back
    let clock = clock();
    let master = unlimited_on(clock.clone()).await;
    let agent = FlagAgent::join(&master, "web-1").await;
    let scan = format!("/api/v1/agents/{}/scan", agent.id);
    let fail = async || {
        master.admin_post(&scan, json!({})).expect(200).await;
        let command = agent.check_in().await.remove(0);
        agent.post("/logs", log(command["id"].as_str().unwrap(), "failed", ""), 200).await;
        command["id"].clone()
    };
    let old = fail().await;
    let taken_back = master.admin_post(&scan, json!({})).expect(200).await.json()["command_id"].clone();
    let cancel = format!("/api/v1/commands/{}/cancel", taken_back.as_str().unwrap());
    master.admin_post(&cancel, json!({})).expect(200).await;
    let archive = async |query: &str| {
        let path = format!("/api/v1/commands/failed{query}");
        master.ask(Method::DELETE, &path).key(ADMIN).expect(200).await.json()["count"].clone()
    };
    let active = async || {
        let answer = master.admin_get("/api/v1/commands/active").expect(200).await.json();
        answer["commands"].as_array().unwrap().iter().map(|one| one["id"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(archive("").await, 0, "it is not a week old");
    assert_eq!(archive("?all_failed=true&only_retried=true").await, 0);
    assert_eq!(active().await, std::slice::from_ref(&old));

    // when: a week is over, and another one failed
    clock.jump(TimeDelta::days(8));
    let access = agent.renew(&agent.refresh, false).await.json()["token"].as_str().unwrap().to_owned();
    let agent = FlagAgent { access, ..agent };
    master.admin_post(&scan, json!({})).expect(200).await;
    let command = agent.check_in().await.remove(0);
    agent.post("/logs", log(command["id"].as_str().unwrap(), "failed", ""), 200).await;

    // then: the old one goes, the other one with those of any age, and neither is forgotten
    assert_eq!(archive("").await, 1);
    assert_eq!(archive("").await, 0, "once is enough");
    assert_eq!(active().await, [command["id"].clone()]);
    assert_eq!(archive("?older_than_days=0").await, 1);
    assert_eq!(active().await, Vec::<Value>::new());
    let recent = master.admin_get("/api/v1/commands/recent").expect(200).await.json();
    let statuses: Vec<_> = recent["commands"].as_array().unwrap().iter().map(|one| &one["status"]).collect();
    assert_eq!(statuses, ["archived_failed", "cancelled", "archived_failed"], "{recent}");
    let odd = master.ask(Method::DELETE, "/api/v1/commands/failed?older_than_days=x").key(ADMIN).send().await;
    assert_eq!(odd.status, 400);
    master.stop().await;
}

#[actix_web::test]
async fn nothing_is_installed_on_a_host_that_was_told_to_restart_until_that_is_over() {
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
    for id in [&bash, &curl] {
        master.admin_post(&format!("/api/v1/updates/{id}/approve"), json!({})).expect(200).await;
    }
    assert_eq!(agent.check_in().await.len(), 2);
    // given: it called `shutdown`, and waits half an hour
    let path = format!("/api/v1/agents/{}/reboot", agent.id);
    master.admin_post(&path, json!({ "delay_minutes": 30 })).expect(200).await;
    let told = agent.check_in().await.remove(0);
    agent.post("/logs", said(&told, "success"), 200).await;

    // when: it says that nothing comes along, and of the other one that something does
    let brings = |name: &str, id: &str, dependencies: &[&str]| json!({ "package_name": name, "package_type": "apt", "update_id": id, "dependencies": dependencies });
    agent.post("/dependencies", brings("bash", &bash, &[]), 200).await;
    agent.post("/dependencies", brings("curl", &curl, &["libcurl4"]), 200).await;

    // then: the one is put off, and the other one is not confirmed before
    assert_eq!(agent.check_in().await, Vec::<Value>::new(), "it may go down in the middle");
    let shown = master.admin_get(&format!("/api/v1/updates/{bash}")).expect(200).await.json();
    let at: DateTime<chrono::Utc> = serde_json::from_value(shown["scheduled_at"].clone()).unwrap();
    let waits = at - clock.now();
    assert_eq!(shown["status"], "approved");
    assert!(TimeDelta::minutes(34) < waits && waits <= TimeDelta::minutes(35), "{waits}");
    let confirm = format!("/api/v1/updates/{curl}/confirm-dependencies");
    let refused = master.admin_post(&confirm, json!({})).expect(409).await;
    assert!(refused.text.contains("about to start anew"), "{}", refused.text);

    clock.jump(TimeDelta::minutes(35) + TimeDelta::seconds(1));
    let install = until("it is told to install", async || agent.check_in().await.pop()).await;
    assert_eq!(install["params"]["package_name"], "bash");
    master.admin_post(&confirm, json!({})).expect(200).await;
    assert_eq!(agent.check_in().await[0]["params"]["package_name"], "curl");
    master.stop().await;
}
