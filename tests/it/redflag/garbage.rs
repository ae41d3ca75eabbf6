//! Garbage on every route that RedFlag's agents call: never a failure of ours, and what is wrong is named.

use reqwest::Method;
use serde_json::{Value, json};

use super::{FlagAgent, REGISTER, apt, hello, log, report, unlimited};
use crate::garbage::{odd_values, places, said};

/// Every route with a body, and one that it takes.
fn targets(agent: &FlagAgent<'_>) -> Vec<(Method, String, Value)> {
    let own = |rest: &str| format!("/api/v1/agents/{}{rest}", agent.id);
    let check_in = json!({"memory_percent": 41.5, "uptime": "up", "version": "0.1.18",
        "metadata": {"rapid_polling_enabled": true, "rapid_polling_until": "2026-01-31T12:00:00Z"}});
    let info = json!({"timestamp": "2026-01-31T12:00:00Z", "cpu_model": "Xeon", "cpu_cores": 4, "memory_total": 1,
        "disk_total": 2, "disk_used": 1, "uptime": "up", "metadata": {"hostname": "web-1", "disk_mount": "/"}});
    let mut item = apt("curl", "2");
    item["cve_list"] = json!(["CVE-2099-1"]);
    let dry_run =
        json!({"package_name": "curl", "package_type": "apt", "update_id": "u", "dependencies": ["a"]});
    vec![
        (Method::GET, own("/commands"), check_in),
        (Method::POST, own("/updates"), report("", json!([item]))),
        (Method::POST, own("/logs"), log("", "success", "Found 1 APT updates")),
        (Method::POST, own("/dependencies"), dry_run),
        (Method::POST, own("/system-info"), info),
        (Method::POST, own("/rapid-mode"), json!({"duration_minutes": 10, "enabled": true})),
        (
            Method::POST,
            "/api/v1/agents/renew".into(),
            json!({"agent_id": agent.id, "refresh_token": "x", "rotate": true}),
        ),
        (Method::POST, REGISTER.into(), hello("web-1")),
    ]
}

#[actix_web::test]
async fn bodies_that_are_no_json_or_too_deep_or_too_large_are_refused_on_every_route() {
    let master = unlimited().await;
    let agent = FlagAgent::join(&master, "web-1").await;
    let (_, token) = master.make_token(1).await;
    let deep = format!(r#"{{"a":{}1{}}}"#, "[".repeat(64), "]".repeat(64));
    for (method, path, _) in targets(&agent) {
        let key = if path == REGISTER { &token } else { &agent.access };
        for (body, word) in [
            (br#"{"type": "#.to_vec(), "ends too early"),
            (b"nonsense".to_vec(), "not JSON"),
            (b"\xff\xfe".to_vec(), "not JSON"),
            (deep.clone().into_bytes(), "64 levels"),
        ] {
            let answer = master.ask(method.clone(), &path).key(key).raw(body).expect(400).await;
            assert!(said(&answer).contains(word), "{path}: {}", answer.text);
        }
        master.ask(method.clone(), &path).key(key).raw(vec![b' '; 10_000_000]).expect(413).await;
        if method == Method::POST {
            let plain = master.ask(method, &path).key(key).header("content-type", "text/plain");
            plain.body("{}").expect(415).await;
        }
    }
    master.stop().await;
}

#[actix_web::test]
async fn an_odd_value_in_any_place_is_taken_or_refused_by_name() {
    let master = unlimited().await;
    let agent = FlagAgent::join(&master, "web-1").await;
    let (_, token) = master.make_token(1_000).await;
    for (method, path, good) in targets(&agent) {
        let key = if path == REGISTER { &token } else { &agent.access };
        let mut all = Vec::new();
        places(&good, "", &mut all);
        for place in all {
            for value in odd_values() {
                let mut body = good.clone();
                *body.pointer_mut(&place).unwrap() = value;
                let answer = master.ask(method.clone(), &path).key(key).json(body.clone()).send().await;
                let shown = || format!("{path} {place}: {} for {:.300}", answer.text, body.to_string());
                assert!([200, 400, 401, 404].contains(&answer.status), "{}: {}", answer.status, shown());
                if answer.status == 400 {
                    assert!(said(&answer).contains('`'), "{}", shown());
                }
            }
        }
    }
    for path in [
        "/api/v1/agents",
        "/api/v1/updates?status=pending",
        "/api/v1/logs",
        "/api/v3/updates",
        "/api/v2/agents",
    ] {
        master.admin_get(path).expect(200).await;
    }
    master.stop().await;
}
