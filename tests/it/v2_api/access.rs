//! Who may call what, how often, and what no answer shows.

use reqwest::Method;
use serde_json::{Value, json};

use super::{REGISTER, publish_into_a_foreign_tunnel};
use crate::pages::Browser;
use crate::support::cloudflare::{ACCOUNT, TOKEN};
use crate::support::master::{ADMIN, TestMaster};

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
async fn a_word_of_the_paths_is_no_agents_id() {
    let master = TestMaster::start().await;
    let (_, key) = master.make_key("web-1").await;
    for word in ["keys", "register", "generate-key", "revoke-key"] {
        let refused = master.post(REGISTER).key(&key).json(json!({ "agent_id": word })).expect(400).await;
        assert!(refused.text.contains("choose another id"), "{}", refused.text);
    }
    master.post(REGISTER).key(&key).json(json!({ "agent_id": "keys-1" })).expect(201).await;
    master.stop().await;
}

#[actix_web::test]
async fn an_agent_that_nobody_enrolled_may_send_a_tenth_of_what_others_may() {
    // given
    let master = TestMaster::start().await;
    let (key, id) = master.new_agent("web-1").await;
    let events = format!("/api/v2/agents/{id}/events");
    let heartbeat = |size: usize| format!("{{\"type\":\"heartbeat\"{}}}", " ".repeat(size));
    let send = async |body: String| master.post(&events).key(&key).raw(body).send().await;
    // when, then
    assert_eq!(send(heartbeat(800_000)).await.status, 202);
    let refused = send(heartbeat(900_000)).await;
    assert_eq!(refused.status, 413);
    assert!(refused.text.contains("before it is enrolled"), "{}", refused.text);
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut packed, heartbeat(900_000).as_bytes()).unwrap();
    let asking = master.post(&events).key(&key).header("content-encoding", "gzip");
    asking.raw(packed.finish().unwrap()).expect(413).await;
    master.enroll(&id, "edge-1").await;
    assert_eq!(send(heartbeat(900_000)).await.status, 202);
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
    for refused in [
        put(&account, &other_key).expect(403).await,
        put("None", &key).expect(403).await,
        put(&account, "nope").expect(401).await,
        master.get("/accounts").expect(401).await,
        master.get("/accounts/x").key(&key).expect(404).await,
    ] {
        let body = refused.json();
        assert_eq!((&body["success"], &body["result"]), (&json!(false), &Value::Null), "{body}");
        assert_eq!((&body["errors"][0]["code"], &body["messages"]), (&json!(refused.status), &json!([])));
        assert!(body["errors"][0]["message"].as_str().is_some_and(|words| !words.is_empty()), "{body}");
    }
    let (_, config) = master.standin.config(&tunnel);
    assert!(!config.to_string().contains("evil"), "what an agent sends is never passed through: {config}");
    master.stop().await;
}

#[actix_web::test]
async fn a_write_to_a_tunnel_that_waits_for_a_person_is_not_called_a_success() {
    let master = TestMaster::start().await;
    let (tunnel, key, _) = publish_into_a_foreign_tunnel(&master).await;
    let path = format!("/accounts/{ACCOUNT}/cfd_tunnel/{tunnel}/configurations");
    let put = || master.ask(Method::PUT, &path).key(&key).json(json!({ "config": { "ingress": [] } }));

    let refused = put().expect(409).await.json();
    assert_eq!(refused["success"], false);
    let words = refused["errors"][0]["message"].as_str().unwrap();
    assert!(words.contains("`shared`") && words.contains("until you confirm"), "{words}");

    master.admin_post("/api/v3/apply", json!({ "yes": true })).expect(200).await;
    assert_eq!(put().expect(200).await.json()["success"], true);
    master.stop().await;
}

#[actix_web::test]
async fn two_hosts_on_one_key_are_two_agents_and_the_second_needs_a_seat() {
    // given
    let master = TestMaster::start().await;
    let (key_id, key) = master.make_key("web-1").await;
    let hello = |host: &str| json!({ "display_name": host, "lightship": { "protocols": [3], "host": host } });
    let id = master.register(&key, hello("web-1")).await;

    // when
    let second = master.register(&key, hello("web-2")).await;

    // then
    assert_ne!(second, id);
    assert_eq!(master.register(&key, hello("web-1")).await, id, "it keeps its own");
    let agents = master.admin_get("/api/v2/agents").expect(200).await.json()["agents"].clone();
    assert_eq!(agents[&id]["problem"], Value::Null);
    let problem = agents[&second]["problem"].as_str().unwrap_or_default();
    assert!(problem.contains("uses the key of `web-1`") && problem.contains("seat"), "{problem}");
    let enroll = format!("/api/v2/agents/{second}/enroll");
    let refused = master.admin_post(&enroll, json!({ "tunnel_name": "far" })).expect(409).await.json();
    assert!(refused["message"].as_str().unwrap().contains(&key_id), "{refused}");
    let seats = format!("/api/v3/keys/{key_id}/seats");
    master.admin_post(&seats, json!({ "seats": 0 })).expect(400).await;
    master.admin_post("/api/v3/keys/nope/seats", json!({ "seats": 2 })).expect(404).await;
    let seated = master.admin_post(&seats, json!({ "seats": 2 })).expect(200).await.json();
    assert_eq!(seated["agents"], json!([id, second]));
    master.admin_post(&enroll, json!({ "tunnel_name": "far" })).expect(200).await;
    let keys = master.admin_get("/api/v2/agents").expect(200).await.json()["agent_keys"].clone();
    assert_eq!(keys[&key_id]["seats"], 2);
    master.stop().await;
}

#[actix_web::test]
async fn two_hosts_with_one_id_are_shown() {
    let master = TestMaster::start().await;
    let (_, key) = master.make_key("web-1").await;
    let hello = |id: Option<&str>, host: &str| {
        let ours = json!({ "protocols": [3], "host": host });
        json!({ "agent_id": id, "display_name": "web", "lightship": ours })
    };
    let id = master.register(&key, hello(None, "web-1")).await;
    for _ in 0..3 {
        master.register(&key, hello(Some(&id), "web-2")).await;
        master.register(&key, hello(Some(&id), "web-1")).await;
    }
    let record = master.admin_get("/api/v2/agents").expect(200).await.json()["agents"][&id].clone();
    let problem = record["problem"].as_str().unwrap_or_default().to_owned();
    assert!(problem.contains("web-1") && problem.contains("web-2"), "{record}");
    master.stop().await;
}

#[actix_web::test]
async fn two_dockflare_agents_on_one_key_behind_one_address_are_shown_by_what_they_run() {
    // given: they say the same of themselves
    let master = TestMaster::start().await;
    let (key, id) = master.new_agent("web").await;
    let path = format!("/api/v2/agents/{id}/events");
    let list = async |host: &str| {
        let app = json!({ "id": host.repeat(64), "name": format!("app-{host}"), "labels": {} });
        let report = json!({ "type": "status_report", "container": { "containers": [app] } });
        master.post(&path).key(&key).json(report).expect(202).await;
    };
    let problem = async || {
        let record = master.admin_get("/api/v2/agents").expect(200).await.json()["agents"][&id].clone();
        record["problem"].as_str().unwrap_or_default().to_owned()
    };
    // when
    for host in ["a", "b", "a", "b", "a"] {
        list(host).await;
        assert_eq!(problem().await, "", "it may be one host so far");
    }
    list("b").await;
    // then
    let problem = problem().await;
    assert!(problem.contains("`app-a` (aaaaaaaaaaaa)") && problem.contains("`app-b`"), "{problem}");
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
    let browser = Browser::signed_in(&master).await;
    for path in ["/", "/agents", "/routes", "/system", &format!("/agents/{id}")] {
        assert_eq!(browser.get(path).await.status, 200, "{path}");
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
