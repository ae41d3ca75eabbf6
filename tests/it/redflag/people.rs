//! RedFlag's API for people and scripts.

use reqwest::Method;
use serde_json::{Value, json};

use super::{FlagAgent, apt, unlimited};
use crate::support::master::{ADMIN, TestMaster};

fn names(answer: &Value) -> Vec<&str> {
    answer["updates"].as_array().unwrap().iter().map(|one| one["package_name"].as_str().unwrap()).collect()
}

#[actix_web::test]
async fn updates_are_filtered_sorted_and_paged_under_both_names() {
    let master = unlimited().await;
    let (one, other) = (FlagAgent::join(&master, "web-1").await, FlagAgent::join(&master, "web-2").await);
    let mut items: Vec<Value> = (0..5).map(|n| apt(&format!("pkg-{n}"), "2")).collect();
    items[3]["severity"] = json!("critical");
    one.scan("", "Found 5 APT updates", json!(items)).await;
    let dnf = json!({"package_type": "dnf", "package_name": "glibc", "current_version": "2.40",
        "available_version": "rawhide", "severity": "high", "repository_source": "2.41-3.fc43"});
    other.scan("", "Found 1 DNF updates", json!([dnf])).await;
    let get =
        async |query: &str| master.admin_get(&format!("/api/v1/updates?{query}")).expect(200).await.json();

    let all = get("").await;
    assert_eq!((&all["total"], &all["page"], &all["page_size"]), (&json!(6), &json!(1), &json!(50)));
    assert_eq!(names(&all)[0], "pkg-3", "the worst first");
    for (by, same) in [
        (format!("agent_id={}", other.id), format!("agent={}", other.id)),
        ("package_type=dnf".to_owned(), "type=dnf".to_owned()),
        ("severity=important".to_owned(), "severity=high".to_owned()),
    ] {
        assert_eq!(names(&get(&by).await), ["glibc"], "{by}");
        assert_eq!(names(&get(&same).await), ["glibc"], "{same}");
    }
    // Columns that came swapped are put right.
    let glibc = &get("search=GLIB").await["updates"][0];
    assert_eq!(
        (&glibc["available_version"], &glibc["repository_source"]),
        (&json!("2.41-3.fc43"), &json!("rawhide"))
    );
    let by_name = "sort_by=package_name&page_size=4";
    let mut paged: Vec<String> = Vec::new();
    for page in 1..=2 {
        let answer = get(&format!("{by_name}&page={page}")).await;
        paged.extend(names(&answer).into_iter().map(str::to_owned));
    }
    assert_eq!(paged, ["glibc", "pkg-0", "pkg-1", "pkg-2", "pkg-3", "pkg-4"]);
    let mut reversed: Vec<String> = Vec::new();
    for page in 1..=2 {
        let answer = get(&format!("{by_name}&sort_order=desc&page={page}")).await;
        reversed.extend(names(&answer).into_iter().map(str::to_owned));
    }
    paged.reverse();
    assert_eq!(reversed, paged);
    for (query, word) in [
        ("status=bent", "`status`"),
        ("type=snap", "`package_type`"),
        ("sort_by=moon", "`sort_by`"),
        ("sort_order=up", "`sort_order`"),
        ("page=x", "`page`"),
    ] {
        let refused = master.admin_get(&format!("/api/v1/updates?{query}")).expect(400).await.json();
        assert!(refused["error"].as_str().unwrap().contains(word), "{query}: {refused}");
    }
    let id = all["updates"][0]["id"].as_str().unwrap();
    assert_eq!(
        master.admin_get(&format!("/api/v1/updates/{id}")).expect(200).await.json(),
        all["updates"][0]
    );
    assert_eq!((&all["stats"]["critical_updates"], &all["stats"]["high_updates"]), (&json!(1), &json!(1)));
    master.stop().await;
}

#[actix_web::test]
async fn sums_count_what_is_there() {
    let master = unlimited().await;
    let agent = FlagAgent::join(&master, "web-1").await;
    agent.scan("", "Found 2 APT updates", json!([apt("a", "2"), apt("b", "2")])).await;
    let sums = master.admin_get("/api/v1/stats/summary").expect(200).await.json();
    for (field, value) in [
        ("total_agents", json!(1)),
        ("online_agents", json!(1)),
        ("offline_agents", json!(0)),
        ("pending_updates", json!(2)),
        ("medium_updates", json!(2)),
        ("failed_updates", json!(0)),
    ] {
        assert_eq!(sums[field], value, "{field}");
    }
    assert_eq!((&sums["updates_by_type"]["apt"], &sums["updates_by_type"]["dnf"]), (&json!(2), &json!(0)));
    master.stop().await;
}

#[actix_web::test]
async fn an_agent_is_told_to_check_in_often_for_a_while_and_as_before() {
    let master = unlimited().await;
    let agent = FlagAgent::join(&master, "web-1").await;
    let path = format!("/api/v1/agents/{}/heartbeat", agent.id);
    for (body, message, kind, params) in [
        (
            json!({"enabled": true}),
            "heartbeat enabled command sent",
            "enable_heartbeat",
            json!({"duration_minutes": 10}),
        ),
        (
            json!({"enabled": true, "duration_minutes": 60}),
            "heartbeat enabled command sent",
            "enable_heartbeat",
            json!({"duration_minutes": 60}),
        ),
        (
            json!({"enabled": false, "duration_minutes": -1}),
            "heartbeat disabled command sent",
            "disable_heartbeat",
            json!({}),
        ),
    ] {
        // when
        let told = master.admin_post(&path, body.clone()).expect(200).await.json();
        // then
        assert_eq!((&told["message"], &told["enabled"]), (&json!(message), &body["enabled"]));
        let command = agent.check_in().await.remove(0);
        assert_eq!(
            (&command["id"], &command["type"], &command["params"]),
            (&told["command_id"], &json!(kind), &params)
        );
        let done = json!({"command_id": command["id"], "action": kind, "result": "success", "exit_code": 0});
        agent.post("/logs", done, 200).await;
    }
    assert_eq!(agent.check_in().await, Vec::<Value>::new());
    let recent = master.admin_get("/api/v1/commands/recent").expect(200).await.json();
    assert!(
        recent["commands"].as_array().unwrap().iter().all(|one| one["status"] == "completed"),
        "{recent}"
    );
    // What its agent would take for something else is refused, and so is what another agent does not know.
    for body in [
        json!({}),
        json!({"enabled": true, "duration_minutes": -1}),
        json!({"enabled": true, "duration_minutes": 61}),
    ] {
        master.admin_post(&path, body).expect(400).await;
    }
    let (_, native, _) = master.new_native_agent("ours").await;
    master.admin_post(&format!("/api/v3/agents/{native}/approve"), json!({})).expect(200).await;
    let other = format!("/api/v1/agents/{native}/heartbeat");
    let refused = master.admin_post(&other, json!({"enabled": true})).expect(409).await.json();
    assert_eq!(refused["code"], "cannot_hurry");
    master.stop().await;
}

#[actix_web::test]
async fn history_holds_commands_and_logs_with_filters_that_work() {
    let master = unlimited().await;
    let (one, other) = (FlagAgent::join(&master, "web-1").await, FlagAgent::join(&master, "web-2").await);
    for agent in [&one, &other] {
        master.admin_post(&format!("/api/v1/agents/{}/scan", agent.id), json!({})).expect(200).await;
    }
    let command = one.check_in().await[0]["id"].as_str().unwrap().to_owned();
    one.post("/logs", super::log(&command, "success", "Found 0 APT updates"), 200).await;
    other.post("/logs", json!({"command_id": "", "action": "", "result": "failure", "stderr": "no network", "exit_code": 7}), 200).await;
    let get = async |query: &str| master.admin_get(&format!("/api/v1/logs?{query}")).expect(200).await.json();
    let count = |answer: &Value| answer["logs"].as_array().unwrap().len();
    let all = get("").await;
    assert_eq!((count(&all), &all["total"]), (4, &json!(4)));
    for (query, expected) in [
        (format!("agent_id={}", one.id), 2),
        ("action=scan_updates".to_owned(), 3),
        ("result=success".to_owned(), 2),
        ("result=failed".to_owned(), 1),
        ("since=2020-01-01T00:00:00Z".to_owned(), 4),
        ("since=2999-01-01T00:00:00Z".to_owned(), 0),
        ("page=2&page_size=3".to_owned(), 1),
    ] {
        assert_eq!(count(&get(&query).await), expected, "{query}");
    }
    let failed = &get("result=failed").await["logs"][0];
    assert_eq!(
        (&failed["action"], &failed["stderr"], &failed["exit_code"]),
        (&json!("unknown"), &json!("no network"), &json!(7))
    );
    assert_eq!(failed["hostname"], "web-2");
    master.admin_get("/api/v1/logs?since=yesterday").expect(400).await;
    master.stop().await;
}

#[actix_web::test]
async fn a_command_is_cancelled_and_asked_for_again() {
    let master = unlimited().await;
    let agent = FlagAgent::join(&master, "web-1").await;
    let scan = format!("/api/v1/agents/{}/scan", agent.id);
    let asked = master.admin_post(&scan, json!({})).expect(200).await.json();
    let id = asked["command_id"].as_str().unwrap().to_owned();
    // One that waits already is the same.
    assert_eq!(
        master.admin_post(&scan, json!({})).expect(200).await.json()["command_id"],
        asked["command_id"]
    );
    let retry = format!("/api/v1/commands/{id}/retry");
    master.admin_post(&retry, json!({})).expect(400).await;
    master.admin_post(&format!("/api/v1/commands/{id}/cancel"), json!({})).expect(200).await;
    master.admin_post(&format!("/api/v1/commands/{id}/cancel"), json!({})).expect(400).await;
    assert!(agent.check_in().await.is_empty());
    let recent = master.admin_get("/api/v1/commands/recent").expect(200).await.json();
    assert_eq!(recent["commands"][0]["status"], "cancelled");
    assert_eq!(master.admin_get("/api/v1/commands/active").expect(200).await.json()["count"], 0);
    let again = master.admin_post(&retry, json!({})).expect(200).await.json();
    assert_eq!(agent.check_in().await[0]["id"], again["new_id"]);
    master.stop().await;
}

#[actix_web::test]
async fn limits_and_the_time_zone_are_kept() {
    let master = TestMaster::start().await;
    let path = "/api/v1/admin/rate-limits";
    let mut settings = master.admin_get(path).expect(200).await.json()["settings"].clone();
    assert_eq!(
        settings["agent_registration"],
        json!({"requests": 5, "window": 60_000_000_000_u64, "enabled": true})
    );
    settings["agent_reports"]["requests"] = json!(7);
    let put = |body: &Value| master.ask(Method::PUT, path).key(ADMIN).json(body.clone());
    put(&settings).expect(200).await;
    assert_eq!(master.admin_get(path).expect(200).await.json()["settings"]["agent_reports"]["requests"], 7);
    // What stands in the database is in force after a start.
    let mut stored = settings.clone();
    stored["agent_reports"]["requests"] = json!(8);
    master.master.change_setting("redflag.rate_limits", stored, "test").await.unwrap();
    master.state.recall_rates().await.unwrap();
    assert_eq!(master.admin_get(path).expect(200).await.json()["settings"]["agent_reports"]["requests"], 8);
    settings["agent_registration"]["requests"] = json!(11);
    put(&settings).expect(400).await;
    let stats = master.admin_get(&format!("{path}/stats")).expect(200).await.json();
    assert_eq!((&stats["total_configured_limits"], &stats["enabled_limits"]), (&json!(6), &json!(6)));
    master.admin_post(&format!("{path}/reset"), json!({})).expect(200).await;
    assert_eq!(master.admin_get(path).expect(200).await.json()["settings"]["agent_reports"]["requests"], 30);

    let zone = "/api/v1/settings/timezone";
    assert_eq!(master.admin_get(zone).expect(200).await.json()["timezone"], "UTC");
    master.ask(Method::PUT, zone).key(ADMIN).json(json!({"timezone": "Europe/Berlin"})).expect(200).await;
    assert_eq!(master.admin_get(zone).expect(200).await.json()["timezone"], "Europe/Berlin");
    master.ask(Method::PUT, zone).key(ADMIN).json(json!({"timezone": "Moon"})).expect(400).await;
    master.stop().await;
}
