//! The DockFlare dialect: who may register and speak, and what admins do with agents and keys.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::cloudflare::{Fault, Op, TOKEN, Trouble};
use crate::support::master::{ADMIN, TestMaster};
use crate::support::until::until_equal;

const REGISTER: &str = "/api/v2/agents/register";

fn start_event(hostname: &str) -> Value {
    json!({ "type": "container_start", "container": {
        "id": "c".repeat(64), "name": "app", "labels": {
            "dockflare.enable": "true", "dockflare.hostname": hostname, "dockflare.service": "http://app:80" } } })
}

#[actix_web::test]
async fn one_key_is_one_agent() {
    let master = TestMaster::start().await;
    let (_, key) = master.make_key("web-1").await;

    let first = master.post(REGISTER).key(&key).json(json!({})).expect(201).await.json();
    let id = first["agent_id"].as_str().unwrap();
    assert_eq!(first["agent"]["status"], "pending");
    assert_eq!(first["agent"]["display_name"], format!("agent-{}", &id[..8]));

    // A host that lost its file keeps its identity; another id is refused.
    let again = master.post(REGISTER).key(&key).json(json!({})).expect(200).await.json();
    assert_eq!(again["agent_id"], id);
    master.post(REGISTER).key(&key).json(json!({ "agent_id": id })).expect(200).await;
    let refused =
        master.post(REGISTER).key(&key).json(json!({ "agent_id": "other" })).expect(403).await.json();
    assert_eq!(refused, json!({ "status": "error", "message": "API key mismatch for agent." }));
    master.stop().await;
}

#[actix_web::test]
async fn an_unbound_key_adopts_an_id_nobody_has_and_no_other() {
    let master = TestMaster::start().await;
    let (_, taken) = master.new_agent("web-1").await;
    let (_, key) = master.make_key("web-2").await;

    master.post(REGISTER).key(&key).json(json!({ "agent_id": taken })).expect(403).await;
    let adopted =
        master.post(REGISTER).key(&key).json(json!({ "agent_id": "Host_7.lan" })).expect(201).await.json();
    assert_eq!(
        (&adopted["agent_id"], &adopted["agent"]["status"]),
        (&json!("Host_7.lan"), &json!("pending"))
    );
    master.stop().await;
}

#[actix_web::test]
async fn a_caller_is_refused_in_the_order_401_404_403() {
    let master = TestMaster::start().await;
    let ((key, own), (_, other)) = (master.new_agent("web-1").await, master.new_agent("web-2").await);
    let cases = [
        ("nope", own.as_str(), 401, "Missing or invalid Authorization header."),
        (ADMIN, &own, 401, "Missing or invalid Authorization header."),
        ("nope", "nobody", 401, "Missing or invalid Authorization header."),
        (&key, "nobody", 404, "Agent not found."),
        (&key, &other, 403, "API key mismatch for agent."),
    ];
    for (key, id, status, message) in cases {
        let (commands, events) =
            (format!("/api/v2/agents/{id}/commands"), format!("/api/v2/agents/{id}/events"));
        for asking in [master.get(&commands), master.post(&events).json(json!({ "type": "heartbeat" }))] {
            let answer = asking.key(key).expect(status).await.json();
            assert_eq!(answer, json!({ "status": "error", "message": message }));
        }
    }
    for header in ["", "Bearer", "Basic abc", &format!("Bearer {key} x"), &format!("Token {key}")] {
        master
            .get(&format!("/api/v2/agents/{own}/commands"))
            .header("authorization", header)
            .expect(401)
            .await;
    }
    master
        .get(&format!("/api/v2/agents/{own}/commands"))
        .header("authorization", &format!("bEARER {key}"))
        .expect(200)
        .await;
    master.stop().await;
}

#[actix_web::test]
async fn admin_endpoints_take_the_admin_token_and_nothing_else() {
    let master = TestMaster::start().await;
    let (key, id) = master.new_agent("web-1").await;
    let post = |path: &str| (Method::POST, path.replace("ID", &id));
    let get = |path: &str| (Method::GET, path.to_owned());
    let endpoints = [
        post("/api/v2/agents/generate-key"),
        post("/api/v2/agents/revoke-key"),
        (Method::DELETE, "/api/v2/agents/keys/x".to_owned()),
        (Method::DELETE, "/api/v2/agents/keys/revoked".to_owned()),
        get("/api/v2/agents"),
        get("/api/v2/overview"),
        get("/api/v2/services"),
        get("/api/v2/ping"),
        post("/api/v2/agents/ID/enroll"),
        post("/api/v2/agents/ID/remove"),
        post("/api/v2/agents/ID/redeploy-tunnel"),
        post("/api/v2/agents/ID/roll-key"),
        post("/api/v2/agents/ID/rename"),
        post("/api/v3/agents/ID/revoke"),
        post("/api/v3/apply"),
        get("/api/v3/plan"),
        get("/api/v3/routes"),
        get("/api/v3/events"),
        get("/api/v3/tree"),
    ];
    for (method, path) in endpoints {
        for token in [Some(key.as_str()), Some("wrong"), None] {
            let mut asking = master.ask(method.clone(), &path);
            if let Some(token) = token {
                asking = asking.key(token);
            }
            let answer = asking.expect(401).await.json();
            match path.starts_with("/api/v2") {
                true => assert_eq!(answer, json!({ "status": "error", "message": "unauthorized" })),
                false => assert_eq!(answer["code"], "unauthenticated"),
            }
        }
    }
    master.stop().await;
}

#[actix_web::test]
async fn a_key_is_made_revoked_and_dropped() {
    let master = TestMaster::start().await;
    let (key_id, key) = master.make_key("web-1").await;
    let id = master.register(&key, json!({})).await;
    assert_eq!(key.len(), 43);
    let keys = master.admin_get("/api/v2/agents").expect(200).await.json()["agent_keys"].clone();
    assert_eq!((&keys[&key_id]["owner"], &keys[&key_id]["status"]), (&json!("web-1"), &json!("active")));
    assert_eq!(keys[&key_id]["bound_agent_id"], json!(id));

    let path = format!("/api/v2/agents/keys/{key_id}");
    master.ask(Method::DELETE, &path).key(ADMIN).expect(400).await;
    let revoked =
        master.admin_post("/api/v2/agents/revoke-key", json!({ "key_id": key_id })).expect(200).await.json();
    assert_eq!(revoked["affected_agents"], json!([id]));
    master.get(&format!("/api/v2/agents/{id}/commands")).key(&key).expect(401).await;
    master.post(REGISTER).key(&key).json(json!({})).expect(401).await;
    let dropped = master.ask(Method::DELETE, &path).key(ADMIN).expect(200).await.json();
    assert_eq!((&dropped["deleted_key"], &dropped["owner"]), (&json!(key_id), &json!("web-1")));
    master.ask(Method::DELETE, &path).key(ADMIN).expect(404).await;

    // By the key itself, and all at once.
    let (second_id, second) = master.make_key("web-2").await;
    master.admin_post("/api/v2/agents/revoke-key", json!({ "key": second })).expect(200).await;
    let all = master.ask(Method::DELETE, "/api/v2/agents/keys/revoked").key(ADMIN).expect(200).await.json();
    assert_eq!((&all["deleted_count"], &all["deleted_keys"]), (&json!(1), &json!([second_id])));
    master.admin_post("/api/v2/agents/revoke-key", json!({})).expect(400).await;
    master.admin_post("/api/v2/agents/revoke-key", json!({ "key_id": "nope" })).expect(404).await;
    master.ask(Method::GET, "/api/v2/agents/generate-key").key(ADMIN).expect(405).await;
    master.stop().await;
}

#[actix_web::test]
async fn a_key_is_made_with_an_empty_body_a_form_or_json() {
    let master = TestMaster::start().await;
    let path = "/api/v2/agents/generate-key";
    let owner = |answer: crate::support::master::Answer| answer.json()["meta"]["owner"].clone();
    assert_eq!(owner(master.post(path).key(ADMIN).expect(201).await), "");
    assert_eq!(owner(master.post(path).key(ADMIN).form(&[("owner", "web 1")]).expect(201).await), "web 1");
    assert_eq!(owner(master.post(path).key(ADMIN).json(json!({ "owner": "w" })).expect(201).await), "w");
    master.post(path).key(ADMIN).json(json!({ "owner": 5 })).expect(400).await;
    master.post(path).key(ADMIN).json(json!({ "owner": "x".repeat(300) })).expect(400).await;
    master.stop().await;
}

#[actix_web::test]
async fn keys_and_agents_are_limited_to_hostnames() {
    let master = TestMaster::start().await;
    let make = |body: Value| master.admin_post("/api/v2/agents/generate-key", body);
    let patterns = json!(["*.lab.example.com", "app.example.com"]);

    let made = make(json!({ "owner": "lab", "hostname_patterns": patterns })).expect(201).await.json();
    assert_eq!(made["meta"]["hostname_patterns"], patterns);
    let form = [("hostname_patterns", "*.lab.example.com, app.example.com")];
    let by_form = master.post("/api/v2/agents/generate-key").key(ADMIN).form(&form).expect(201).await.json();
    assert_eq!(by_form["meta"]["hostname_patterns"], patterns);
    let refused = make(json!({ "hostname_patterns": ["https://app.example.com"] })).expect(400).await.json();
    let message = refused["message"].as_str().unwrap();
    assert!(message.contains("`https://app.example.com` is no hostname pattern"), "{message}");

    let key = made["key"].as_str().unwrap();
    let id = master.register(key, json!({})).await;
    master.enroll(&id, "edge-1").await;
    let events = format!("/api/v2/agents/{id}/events");
    master.post(&events).key(key).json(start_event("other.example.com")).expect(202).await;
    let services = master.until_services("the refusal", |services| services.len() == 1).await;
    assert_eq!(
        (&services[0]["hostname"], &services[0]["status"]),
        (&json!("other.example.com"), &json!("conflict"))
    );
    assert!(services[0]["reason"].as_str().unwrap().contains("*.lab.example.com"), "{services:?}");

    let limit = format!("/api/v3/agents/{id}/limit");
    master.admin_post(&limit, json!({ "hostname_patterns": ["*.example.com"] })).expect(200).await;
    master.admin_post(&limit, json!({})).expect(400).await;
    master.post(&limit).key(key).json(json!({ "hostname_patterns": [] })).expect(401).await;
    let agents = master.admin_get("/api/v2/agents").expect(200).await.json();
    assert_eq!(agents["agents"][&id]["hostname_patterns"], json!(["*.example.com"]));
    let key_id = made["key_id"].as_str().unwrap();
    assert_eq!(agents["agent_keys"][key_id]["hostname_patterns"], patterns);
    master.stop().await;
}

#[actix_web::test]
async fn enrolling_makes_the_tunnel_and_queues_one_command() {
    let master = TestMaster::start().await;
    let (key, id) = master.new_agent("web-1").await;
    let commands = format!("/api/v2/agents/{id}/commands");

    let first = master.enroll(&id, "edge-1").await;
    let command = &first["command"];
    assert_eq!((&command["action"], &command["tunnel_name"]), (&json!("start_tunnel"), &json!("edge-1")));
    assert!(command.get("token").is_none(), "{command}");
    let second = master.enroll(&id, "edge-1").await;
    assert_eq!(second["command"], *command);

    // A `HEAD` takes nothing; the poll takes it with its token, once.
    master.ask(Method::HEAD, &commands).key(&key).expect(200).await;
    let handed = master.get(&commands).key(&key).expect(200).await;
    assert_eq!(handed.header("cache-control"), "no-store");
    let list = handed.json()["commands"].as_array().unwrap().clone();
    assert_eq!(list.len(), 1, "{list:?}");
    assert!(list[0]["token"].as_str().is_some_and(|token| token.len() > 20));
    assert_eq!(list[0]["tunnel_id"], command["tunnel_id"]);
    assert_eq!(master.get(&commands).key(&key).expect(200).await.json()["commands"], json!([]));
    master.stop().await;
}

#[actix_web::test]
async fn enrolling_says_what_is_wrong() {
    let master = TestMaster::start().await;
    let (_, id) = master.new_agent("web-1").await;
    let (_, other) = master.new_agent("web-2").await;
    let enroll = |id: &str, body: Value| master.admin_post(&format!("/api/v2/agents/{id}/enroll"), body);

    for body in [json!({}), json!({ "tunnel_name": "  " }), json!({ "tunnel_name": 5 })] {
        enroll(&id, body).expect(400).await;
    }
    enroll("nobody", json!({ "tunnel_name": "edge" })).expect(404).await;
    master.standin.add_tunnel("by-hand", "local");
    enroll(&id, json!({ "tunnel_name": "by-hand" })).expect(409).await;
    master.enroll(&other, "edge-2").await;
    enroll(&id, json!({ "tunnel_name": "edge-2" })).expect(409).await;
    master.standin.inject(Fault::on(
        Op::CreateTunnel,
        Trouble::Refused { status: 403, code: 10000, message: "Authentication error".into() },
    ));
    let refused = enroll(&id, json!({ "tunnel_name": "edge-3" })).expect(502).await.json();
    assert!(refused["message"].as_str().unwrap().contains("Authentication error"), "{refused}");
    let record = master.admin_get("/api/v2/agents").expect(200).await.json()["agents"][&id].clone();
    assert_eq!((&record["status"], &record["assigned_tunnel_id"]), (&json!("pending"), &Value::Null));
    master.stop().await;
}

#[actix_web::test]
async fn enrolling_without_a_cloudflare_token_is_a_conflict_that_names_it() {
    let master = TestMaster::without_cloudflare().await;
    let (_, id) = master.new_agent("web-1").await;
    let path = format!("/api/v2/agents/{id}/enroll");
    let refused = master.admin_post(&path, json!({ "tunnel_name": "edge" })).expect(409).await.json();
    assert!(refused["message"].as_str().unwrap().contains("CF_API_TOKEN"), "{refused}");
    master.stop().await;
}

#[actix_web::test]
async fn a_pending_agent_is_heard_and_publishes_only_once_enrolled() {
    let master = TestMaster::start().await;
    let (key, id) = master.new_agent("web-1").await;
    let events = format!("/api/v2/agents/{id}/events");
    master.post(&events).key(&key).json(start_event("app.example.com")).expect(202).await;
    let record = master.admin_get("/api/v2/agents").expect(200).await.json()["agents"][&id].clone();
    assert_eq!(record["last_containers"][0]["name"], "app");
    assert_eq!(master.admin_get("/api/v2/services").expect(200).await.json(), json!({ "services": [] }));

    master.enroll(&id, "edge-1").await;

    let is_active = |rules: &[Value]| rules.len() == 1 && rules[0]["status"] == "active";
    let rules = master.until_services("one active route", is_active).await;
    assert_eq!((&rules[0]["hostname"], &rules[0]["agent_id"]), (&json!("app.example.com"), &json!(id)));
    let tunnel = rules[0]["tunnel_id"].as_str().unwrap();
    assert_eq!(master.standin.hostnames(tunnel), ["app.example.com"]);
    master.stop().await;
}

#[actix_web::test]
async fn plan_and_apply_name_what_waits_and_confirm_it() {
    let master = TestMaster::start().await;
    let (tunnel, id) = publish_into_a_foreign_tunnel(&master).await;

    let plan = master.admin_get("/api/v3/plan").expect(200).await.json();
    let waits = plan["changes"].as_array().unwrap().iter().any(|change| change["state"] == "waiting");
    assert!(waits && plan["waiting"][0]["tunnel_name"] == "shared", "{plan}");
    assert!(master.standin.records("app.example.com").is_empty(), "nothing of a waiting tunnel is written");
    master.admin_post("/api/v3/apply", json!({})).expect(400).await;

    let report = master.admin_post("/api/v3/apply", json!({ "yes": true })).expect(200).await.json();
    assert_eq!((&report["finished"], &report["blocked"]), (&json!(true), &json!([])), "{report}");
    assert_eq!(report["confirmed_tunnels"], json!([tunnel]));
    let mut names = master.standin.hostnames(&tunnel);
    names.sort();
    assert_eq!(names, ["app.example.com", "theirs.example.com"]);
    let routes = master.admin_get("/api/v3/routes").expect(200).await.json()["routes"].clone();
    assert_eq!((&routes[0]["state"], &routes[0]["agent_id"]), (&json!("published"), &json!(id)), "{routes}");
    master.stop().await;
}

/// An agent with one route on a tunnel in which others made a rule; returns tunnel and agent.
pub async fn publish_into_a_foreign_tunnel(master: &TestMaster) -> (String, String) {
    let tunnel = master.standin.add_tunnel("shared", "cloudflare");
    let theirs = json!({ "hostname": "theirs.example.com", "service": "http://theirs:80" });
    master.standin.write_config(&tunnel, json!({ "ingress": [theirs, { "service": "http_status:404" }] }));
    let (key, id) = master.new_agent("web-1").await;
    master.enroll(&id, "shared").await;
    let events = format!("/api/v2/agents/{id}/events");
    master.post(&events).key(&key).json(start_event("app.example.com")).expect(202).await;
    let waits = |rules: &[Value]| rules.len() == 1 && rules[0]["status"] == "waiting";
    master.until_services("one route that waits", waits).await;
    (tunnel, id)
}

#[actix_web::test]
async fn redeploying_needs_a_tunnel_and_sends_the_token_under_its_other_name() {
    let master = TestMaster::start().await;
    let (key, id) = master.new_agent("web-1").await;
    let path = format!("/api/v2/agents/{id}/redeploy-tunnel");
    master.admin_post(&path, json!({})).expect(400).await;
    master.enroll(&id, "edge-1").await;
    let commands = format!("/api/v2/agents/{id}/commands");
    master.get(&commands).key(&key).expect(200).await;

    master.admin_post(&path, json!({})).expect(200).await;

    let command = master.get(&commands).key(&key).expect(200).await.json()["commands"][0].clone();
    assert_eq!(command["action"], "restart_tunnel");
    assert!(command["tunnel_token"].is_string() && command["tunnel_id"].is_string(), "{command}");
    master.stop().await;
}

#[actix_web::test]
async fn a_given_name_outlives_the_agents_own() {
    let master = TestMaster::start().await;
    let (key, id) = master.new_agent("web-1").await;
    master
        .admin_post(&format!("/api/v2/agents/{id}/rename"), json!({ "display_name": "Front door" }))
        .expect(200)
        .await;
    master.register(&key, json!({ "display_name": "web-1", "version": "2.0.0" })).await;
    let record = master.admin_get("/api/v2/agents").expect(200).await.json()["agents"][&id].clone();
    assert_eq!((&record["display_name"], &record["version"]), (&json!("Front door"), &json!("2.0.0")));
    master
        .admin_post(&format!("/api/v2/agents/{id}/rename"), json!({ "display_name": "" }))
        .expect(400)
        .await;
    master.stop().await;
}

#[actix_web::test]
async fn a_rolled_key_overlaps_until_the_new_one_is_used() {
    let master = TestMaster::start().await;
    let (old, id) = master.new_agent("web-1").await;
    let commands = format!("/api/v2/agents/{id}/commands");
    let rolled = master.admin_post(&format!("/api/v2/agents/{id}/roll-key"), json!({})).expect(200).await;
    assert_eq!(rolled.header("cache-control"), "no-store");
    let new = rolled.json()["new_key"].as_str().unwrap().to_owned();

    master.get(&commands).key(&old).expect(200).await;
    assert_eq!(master.register(&new, json!({ "agent_id": id })).await, id);
    master.get(&commands).key(&new).expect(200).await;
    master.get(&commands).key(&old).expect(401).await;
    master.stop().await;
}

#[actix_web::test]
async fn a_removed_agent_fetches_its_last_command_and_is_gone() {
    let master = TestMaster::start().await;
    let (key, id) = master.new_agent("web-1").await;
    master.enroll(&id, "edge-1").await;
    let commands = format!("/api/v2/agents/{id}/commands");
    master.get(&commands).key(&key).expect(200).await;

    master.admin_post(&format!("/api/v2/agents/{id}/remove"), json!({})).expect(200).await;

    master
        .post(&format!("/api/v2/agents/{id}/events"))
        .key(&key)
        .json(json!({ "type": "heartbeat" }))
        .expect(401)
        .await;
    master.post(REGISTER).key(&key).json(json!({ "agent_id": id })).expect(401).await;
    let last = master.get(&commands).key(&key).expect(200).await.json();
    assert_eq!(last["commands"], json!([{ "action": "stop_tunnel" }]));
    // Its key goes once the command is out.
    let gone = async || master.get(&commands).key(&key).send().await.status;
    until_equal("the removed agent's key", 401, gone).await;
    let left = master.admin_get("/api/v2/agents").expect(200).await.json();
    assert!(left["agents"].get(&id).is_none(), "{left}");
    assert_eq!(master.admin_get("/api/v2/services").expect(200).await.json(), json!({ "services": [] }));
    master.stop().await;
}

#[actix_web::test]
async fn doubled_slashes_are_one() {
    let master = TestMaster::start().await;
    let (key, id) = master.new_agent("web-1").await;
    for path in [format!("//api/v2/agents/{id}/events"), format!("/api//v2///agents/{id}/events")] {
        master.post(&path).key(&key).json(json!({ "type": "heartbeat" })).expect(202).await;
    }
    master.stop().await;
}

#[actix_web::test]
async fn the_account_routes_reach_the_callers_own_tunnel_only() {
    let master = TestMaster::start().await;
    let ((key, id), (other_key, _)) = (master.new_agent("web-1").await, master.new_agent("web-2").await);
    let tunnel = master.enroll(&id, "edge-1").await["command"]["tunnel_id"].as_str().unwrap().to_owned();
    let accounts = master.get("/accounts").key(&key).expect(200).await.json();
    let account = accounts["result"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(accounts["success"], true);
    let put = |account: &str, key: &str| {
        let path = format!("/accounts/{account}/cfd_tunnel/{tunnel}/configurations");
        master
            .ask(Method::PUT, &path)
            .key(key)
            .json(json!({ "config": { "ingress": [{ "service": "http://evil" }] } }))
    };

    assert_eq!(put(&account, &key).expect(200).await.json()["success"], true);
    put(&account, &other_key).expect(403).await;
    put("None", &key).expect(403).await;
    put(&account, "nope").expect(401).await;
    master.get("/accounts").expect(401).await;
    let (_, config) = master.standin.config(&tunnel);
    assert!(!config.to_string().contains("evil"), "what an agent sends is never passed through: {config}");
    master.stop().await;
}

#[actix_web::test]
async fn two_hosts_on_one_key_are_shown() {
    let master = TestMaster::start().await;
    let (_, key) = master.make_key("web-1").await;
    let hello =
        |host: &str| json!({ "display_name": "web", "lightship": { "protocols": [3], "host": host } });
    let id = master.register(&key, hello("web-1")).await;
    for _ in 0..3 {
        master.register(&key, hello("web-2")).await;
        master.register(&key, hello("web-1")).await;
    }
    let record = master.admin_get("/api/v2/agents").expect(200).await.json()["agents"][&id].clone();
    let problem = record["problem"].as_str().unwrap_or_default().to_owned();
    assert!(problem.contains("web-1") && problem.contains("web-2"), "{record}");
    master.stop().await;
}

#[actix_web::test]
async fn an_agent_over_its_share_waits_and_others_do_not() {
    let master = TestMaster::build(true, |settings| settings.requests_per_second = 5).await;
    let ((busy, busy_id), (calm, calm_id)) =
        (master.new_agent("web-1").await, master.new_agent("web-2").await);
    let mut statuses = Vec::new();
    for _ in 0..20 {
        let answer = master.get(&format!("/api/v2/agents/{busy_id}/commands")).key(&busy).send().await;
        assert!(answer.status == 200 || !answer.header("retry-after").is_empty(), "{answer:?}");
        statuses.push(answer.status);
    }
    assert!(statuses.contains(&200) && statuses.contains(&429), "{statuses:?}");
    master.get(&format!("/api/v2/agents/{calm_id}/commands")).key(&calm).expect(200).await;
    master.stop().await;
}

#[actix_web::test]
async fn no_secret_is_in_any_answer_but_the_one_that_hands_it_over() {
    let master = TestMaster::start().await;
    let (key, id) = master.new_agent("web-1").await;
    master.enroll(&id, "edge-1").await;
    let commands = format!("/api/v2/agents/{id}/commands");
    let delivered = master.get(&commands).key(&key).expect(200).await.json();
    let tunnel_token = delivered["commands"][0]["token"].as_str().unwrap().to_owned();
    let rolled =
        master.admin_post(&format!("/api/v2/agents/{id}/roll-key"), json!({})).expect(200).await.json();
    let new_key = rolled["new_key"].as_str().unwrap().to_owned();
    master.register(&new_key, json!({ "agent_id": id })).await;
    master.answers.lock().unwrap().clear();

    master.register(&new_key, json!({ "agent_id": id })).await;
    master.enroll(&id, "edge-1").await;
    master.admin_post(&format!("/api/v2/agents/{id}/redeploy-tunnel"), json!({})).expect(200).await;
    master
        .admin_post(
            "/api/v2/agents/revoke-key",
            json!({ "key": "not-a-key-but-long-enough-to-be-one-000000" }),
        )
        .send()
        .await;
    for path in [
        "/api/v2/agents",
        "/api/v2/overview",
        "/api/v2/services",
        "/api/v3/plan",
        "/api/v3/routes",
        "/api/v3/events",
        "/api/v3/tree",
        "/metrics",
        "/readyz",
    ] {
        master.admin_get(path).expect(200).await;
    }
    master.admin_post("/api/v2/agents/revoke-key", json!({ "key": new_key })).expect(200).await;

    let answers = master.answers.lock().unwrap().clone();
    assert!(answers.len() > 12);
    for (what, text) in answers {
        for (name, secret) in [
            ("the old key", &key),
            ("the new key", &new_key),
            ("the tunnel token", &tunnel_token),
            ("the API token", &TOKEN.to_owned()),
            ("the admin token", &ADMIN.to_owned()),
        ] {
            assert!(!text.contains(secret.as_str()), "{what} shows {name}");
        }
    }
    master.stop().await;
}
