//! A RedFlag agent's day, call by call, in the form in which its reference writes them.

use reqwest::Method;
use serde_json::{Value, json};

use super::{FlagAgent, REGISTER, apt, hello, log, report, unlimited};
use crate::support::master::{ADMIN, TestMaster};
use crate::support::until::until_equal;

/// What is sent, and what has to come back: `"*"` is any text, `"#"` any number; fields beside those named are free.
struct Exchange {
    method: Method,
    path: &'static str,
    body: Option<Value>,
    status: u16,
    answer: Value,
}

/// The recorded exchanges, in order; `ID` is the agent's id and `COMMAND` that of the scan.
fn recorded() -> Vec<Exchange> {
    let exchange = |method: Method, path, body: Value, status, answer| Exchange {
        method,
        path,
        body: (!body.is_null()).then_some(body),
        status,
        answer,
    };
    let (get, post) = (Method::GET, Method::POST);
    vec![
        // Hourly system information, first at the start.
        exchange(
            post.clone(),
            "/api/v1/agents/ID/system-info",
            json!({"timestamp": "2026-01-31T12:00:00Z", "cpu_model": "Xeon", "cpu_cores": 4, "cpu_threads": 4,
                "memory_total": 8_589_934_592_u64, "disk_total": 107_374_182_400_u64, "disk_used": 53_687_091_200_u64,
                "ip_address": "10.0.0.7", "processes": 120, "uptime": "up 3 days",
                "metadata": {"hostname": "web-1", "os_type": "linux", "os_version": "Debian GNU/Linux 12 (bookworm)",
                    "os_architecture": "amd64", "disk_mount": "/", "disk_filesystem": "ext4",
                    "collected_at": "2026-01-31T12:00:00Z"}}),
            200,
            json!({"message": "system info updated successfully"}),
        ),
        // A check-in with a body, and one without.
        exchange(
            get.clone(),
            "/api/v1/agents/ID/commands",
            json!({"memory_percent": 41.5, "memory_used_gb": 3.3, "memory_total_gb": 8.0, "disk_percent": 50.0,
                "uptime": "up 3 days", "version": "0.1.18", "metadata": {"rapid_polling_enabled": false}}),
            200,
            json!({"commands": []}),
        ),
        exchange(get.clone(), "/api/v1/agents/ID/commands", Value::Null, 200, json!({"commands": []})),
        // A person asks for a scan.
        exchange(
            post.clone(),
            "admin:/api/v1/agents/ID/scan",
            json!({}),
            200,
            json!({"message": "scan triggered", "command_id": "*"}),
        ),
        exchange(
            get.clone(),
            "/api/v1/agents/ID/commands",
            Value::Null,
            200,
            json!({"commands": [{"id": "*", "type": "scan_updates", "params": {}}],
                "rapid_polling": {"enabled": true, "until": "*"}}),
        ),
        // The log comes before the report.
        exchange(
            post.clone(),
            "/api/v1/agents/ID/logs",
            log(
                "COMMAND",
                "success",
                "Scan Results:\nFound 2 APT updates\nDNF scanner not available\n\nTotal Updates Found: 2",
            ),
            200,
            json!({"message": "log recorded"}),
        ),
        exchange(
            post.clone(),
            "/api/v1/agents/ID/updates",
            report("COMMAND", json!([apt("openssl", "3.0.17"), apt("curl", "7.88.1-10")])),
            200,
            json!({"message": "update events recorded", "count": 2, "command_id": "COMMAND"}),
        ),
        // What is handed over is handed over once.
        exchange(get, "/api/v1/agents/ID/commands", Value::Null, 200, json!({"commands": []})),
        exchange(
            post.clone(),
            "/api/v1/agents/ID/rapid-mode",
            json!({"duration_minutes": 10, "enabled": true}),
            200,
            json!({"message": "*", "enabled": true, "duration_minutes": 10, "rapid_polling_until": "*"}),
        ),
        exchange(
            post,
            "/api/v1/agents/ID/dependencies",
            json!({"package_name": "openssl", "package_type": "apt", "update_id": "u-1", "dependencies": ["libssl3"],
                "dry_run_result": {"success": true, "exit_code": 0, "duration_seconds": 2, "is_dry_run": true}}),
            200,
            json!({"message": "*"}),
        ),
        exchange(
            Method::DELETE,
            "/api/v1/agents/ID",
            Value::Null,
            200,
            json!({"message": "agent unregistered successfully", "agent_id": "ID", "hostname": "web-1"}),
        ),
    ]
}

/// True if `answer` is what was recorded.
fn is_like(answer: &Value, recorded: &Value) -> bool {
    match recorded {
        Value::String(text) if text == "*" => answer.is_string(),
        Value::Object(fields) => fields.iter().all(|(name, value)| is_like(&answer[name], value)),
        Value::Array(items) => answer.as_array().is_some_and(|own| {
            own.len() == items.len() && own.iter().zip(items).all(|(one, other)| is_like(one, other))
        }),
        other => answer == other,
    }
}

fn filled(value: &Value, id: &str, command: &str) -> Value {
    serde_json::from_str(
        &value.to_string().replace("\"ID\"", &format!("\"{id}\"")).replace("COMMAND", command),
    )
    .unwrap()
}

#[actix_web::test]
async fn an_unmodified_agent_registers_reports_and_leaves_as_recorded() {
    let master = unlimited().await;
    let agent = FlagAgent::join(&master, "web-1").await;
    let mut command = String::new();
    for exchange in recorded() {
        let path = exchange.path.replace("ID", &agent.id);
        let (path, key) = match path.strip_prefix("admin:") {
            Some(path) => (path.to_owned(), ADMIN),
            None => (path, agent.access.as_str()),
        };
        let mut asking = master.ask(exchange.method.clone(), &path).key(key);
        if let Some(body) = &exchange.body {
            asking = asking.json(filled(body, &agent.id, &command));
        }
        let answer = asking.expect(exchange.status).await.json();
        let expected = filled(&exchange.answer, &agent.id, &command);
        assert!(is_like(&answer, &expected), "{} {path}: {answer} is not like {expected}", exchange.method);
        if let Some(id) = answer["command_id"].as_str().filter(|_| command.is_empty()) {
            command = id.to_owned();
        }
    }
    master.stop().await;
}

#[actix_web::test]
async fn a_registration_is_answered_as_upstream_and_makes_an_ordinary_agent() {
    let master = unlimited().await;
    let (_, token) = master.make_token(2).await;
    // In the header, in the body, or as real agents do in both.
    let mut in_body = hello("web-1");
    in_body["registration_token"] = json!(token);
    let answer = master.post(REGISTER).json(in_body).expect(200).await;
    assert_eq!(answer.header("cache-control"), "no-store");
    let given = answer.json();
    let id = given["agent_id"].as_str().unwrap().to_owned();
    assert_eq!(given["refresh_token"].as_str().unwrap().len(), 64);
    assert_eq!(given["config"]["check_in_interval"], 300);
    assert_eq!(given["config"]["server_url"], json!(master.address.to_string()));

    let ours = master.admin_get("/api/v2/agents").expect(200).await.json()["agents"][&id].clone();
    assert_eq!((&ours["status"], &ours["display_name"]), (&json!("enrolled"), &json!("web-1")));
    let seen = master.admin_get(&format!("/api/v1/agents/{id}")).expect(200).await.json();
    for (field, value) in [
        ("hostname", json!("web-1")),
        ("os_type", json!("linux")),
        ("os_version", json!("Debian GNU/Linux 12 (bookworm)")),
        ("os_architecture", json!("amd64")),
        ("agent_version", json!("0.1.18")),
        ("status", json!("online")),
    ] {
        assert_eq!(seen[field], value, "{field}");
    }
    assert_eq!(seen["metadata"]["cpu_cores"], 4);
    assert_eq!(
        (&seen["credential"]["rotated"], &seen["credential"]["bound_to"]),
        (&json!(false), &json!("machine"))
    );
    // It has no tunnel, and cannot have one.
    let refused = master
        .admin_post(&format!("/api/v2/agents/{id}/enroll"), json!({"tunnel_name": "edge"}))
        .expect(400)
        .await;
    assert!(refused.text.contains("runs RedFlag's agent"), "{}", refused.text);
    master.stop().await;
}

#[actix_web::test]
async fn an_unmodified_agents_updates_are_kept_by_kind_and_decisions_outlive_scans() {
    let master = unlimited().await;
    let agent = FlagAgent::join(&master, "web-1").await;
    let path = format!("/api/v1/agents/{}/scan", agent.id);
    let command = async || {
        master.admin_post(&path, json!({})).expect(200).await;
        let given = agent.check_in().await;
        given[0]["id"].as_str().unwrap().to_owned()
    };
    // given
    let first = command().await;
    let winget = json!({"package_type": "winget", "package_name": "Firefox", "current_version": "1", "available_version": "2", "severity": "low"});
    agent
        .scan(
            &first,
            "Found 2 APT updates\nFound 1 Winget package updates",
            json!([apt("curl", "2"), apt("openssl", "3"), winget]),
        )
        .await;
    let pending = |names: &[&str]| {
        names.iter().map(|name| ((*name).to_owned(), "pending".to_owned())).collect::<Vec<_>>()
    };
    assert_eq!(agent.updates("").await, pending(&["Firefox", "curl", "openssl"]));
    let state = master.admin_get("/api/v1/commands/recent").expect(200).await.json()["commands"][0].clone();
    assert_eq!((&state["status"], &state["command_type"]), (&json!("completed"), &json!("scan_updates")));
    // when: a person rejects one, and the next scan finds it again and misses another
    let all = master.admin_get("/api/v1/updates?search=curl").expect(200).await.json();
    let curl = all["updates"][0]["id"].as_str().unwrap().to_owned();
    master.admin_post(&format!("/api/v1/updates/{curl}/reject"), json!({})).expect(200).await;
    let second = command().await;
    agent
        .scan(&second, "Found 1 APT updates\nWinget scan failed: exit status 1", json!([apt("curl", "2")]))
        .await;
    // then: the kind that failed keeps what was known of it
    assert_eq!(agent.updates("").await, pending(&["Firefox"]));
    assert_eq!(agent.updates("status=ignored").await, [("curl".to_owned(), "ignored".to_owned())]);
    assert_eq!(agent.updates("status=updated").await, [("openssl".to_owned(), "updated".to_owned())]);
    // and a newer version is a new thing to decide about
    let third = command().await;
    agent.scan(&third, "Found 1 APT updates", json!([apt("curl", "3")])).await;
    assert_eq!(agent.updates("").await, pending(&["Firefox", "curl"]));
    master.stop().await;
}

#[actix_web::test]
async fn a_scan_that_finds_nothing_closes_what_was_pending_only_if_it_is_known_to_have_looked() {
    let master = unlimited().await;
    for (said, result, is_closed) in [
        // Of each scanner it says how many it found.
        ("Scan Results:\nFound 0 APT updates\nDNF scanner not available", "success", true),
        ("Scan Errors:\nAPT scan failed: exit status 100", "failure", false),
        ("APT scanner not available", "success", false),
        // A log without a word about scanners, and no report until the next check-in.
        ("No updates found", "success", true),
        ("No updates found, with errors", "success", false),
        ("No updates found", "failure", false),
    ] {
        let agent = FlagAgent::join(&master, "web-1").await;
        agent.scan("", "Found 1 APT updates", json!([apt("curl", "2")])).await;
        assert_eq!(agent.updates("").await.len(), 1);
        let before = if said.contains("not available") { "DNF scanner: Found 0 DNF updates\n" } else { "" };
        agent.post("/logs", log("", result, &format!("{before}{said}")), 200).await;
        agent.check_in().await;
        assert_eq!(agent.updates("").await.is_empty(), is_closed, "{said:?} ({result})");
        let id = agent.id.clone();
        master.ask(Method::DELETE, &format!("/api/v1/agents/{id}")).key(ADMIN).expect(200).await;
    }
    master.stop().await;
}

#[actix_web::test]
async fn a_report_that_came_after_a_silent_log_is_what_counts() {
    let master = unlimited().await;
    let agent = FlagAgent::join(&master, "web-1").await;
    agent.scan("", "scan done", json!([apt("curl", "2")])).await;
    agent.check_in().await;
    assert_eq!(agent.updates("").await.len(), 1, "the report came before the check-in");
    master.stop().await;
}

#[actix_web::test]
async fn a_machine_that_calls_itself_otherwise_is_shown_as_a_problem() {
    let master = unlimited().await;
    let agent = FlagAgent::join(&master, "web-1").await;
    agent.post("/system-info", json!({"metadata": {"hostname": "copy-of-web-1"}}), 200).await;
    let problem = agent.seen().await["problem"].as_str().unwrap().to_owned();
    assert!(problem.contains("`copy-of-web-1`") && problem.contains("`web-1`"), "{problem}");
    master.stop().await;
}

#[actix_web::test]
async fn a_native_agent_is_told_to_scan_in_its_own_words() {
    let master = TestMaster::start().await;
    let (key, id, session) = master.new_native_agent("web-1").await;
    let scan = format!("/api/v1/agents/{id}/scan");
    let early = master.admin_post(&scan, json!({})).expect(409).await;
    assert!(early.text.contains("approve it first"), "{}", early.text);
    master.admin_post(&format!("/api/v3/agents/{id}/approve"), json!({})).expect(200).await;
    master.admin_post(&scan, json!({})).expect(200).await;
    let path = format!("/api/v3/agents/{id}/commands?wait=0");
    let given = master.get(&path).key(&key).header("lightship-session", &session).expect(200).await.json();
    let command = &given["commands"][0];
    assert_eq!((&command["action"], &command["lease_seconds"]), (&json!("scan_updates"), &json!(600)));
    // An agent of DockFlare's knows nothing of updates.
    let (_, old) = master.new_agent("web-2").await;
    let refused =
        master.admin_post(&format!("/api/v1/agents/{old}/scan"), json!({})).expect(409).await.json();
    assert_eq!(refused["code"], "cannot_scan");
    master.stop().await;
}

#[actix_web::test]
async fn an_agent_that_checks_in_every_five_minutes_is_online() {
    let clock = lightship::clock::Clock::moved("2026-01-31T12:00:00Z".parse().unwrap());
    let master = super::unlimited_on(clock.clone()).await;
    let agent = FlagAgent::join(&master, "web-1").await;
    clock.jump(chrono::TimeDelta::seconds(330));
    until_equal("its standing", json!("online"), async || agent.seen().await["status"].clone()).await;
    clock.jump(chrono::TimeDelta::seconds(400));
    until_equal("its standing", json!("offline"), async || agent.seen().await["status"].clone()).await;
    agent.check_in().await;
    assert_eq!(agent.seen().await["status"], "online");
    master.stop().await;
}
