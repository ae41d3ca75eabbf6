//! What an admin does with an agent: enrolment, publishing, names, removal.

use lightship::actors::master::RegisterInput;
use lightship::domain::id::AgentId;
use reqwest::Method;
use serde_json::{Value, json};

use super::{REGISTER, publish_into_a_foreign_tunnel, start_event};
use crate::pages::Browser;
use crate::support::cloudflare::{Fault, Op, Trouble};
use crate::support::master::{ADMIN, TestMaster};
use crate::support::until::until_equal;

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
    let taken = enroll(&id, json!({ "tunnel_name": "edge-2" })).expect(409).await.json();
    assert!(taken["message"].as_str().unwrap().contains(&other), "{taken}");
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
async fn a_tunnel_whose_token_could_not_be_fetched_is_found_by_name_the_next_time() {
    let master = TestMaster::start().await;
    let (key, id) = master.new_agent("web-1").await;
    let denied = Trouble::Refused { status: 403, code: 10000, message: "Authentication error".into() };
    master.standin.inject(Fault::on(Op::GetToken, denied));
    let path = format!("/api/v2/agents/{id}/enroll");

    let refused = master.admin_post(&path, json!({ "tunnel_name": "edge" })).expect(502).await.json();

    assert!(refused["message"].as_str().unwrap().contains("Authentication error"), "{refused}");
    let record = master.admin_get("/api/v2/agents").expect(200).await.json()["agents"][&id].clone();
    assert_eq!((&record["status"], &record["assigned_tunnel_id"]), (&json!("pending"), &Value::Null));
    assert_eq!(lightship::db::tunnels::list_tunnels(&master.db, None, 10).await.unwrap(), []);
    let commands = format!("/api/v2/agents/{id}/commands");
    assert_eq!(master.get(&commands).key(&key).expect(200).await.json()["commands"], json!([]));

    let command = master.enroll(&id, "edge").await["command"].clone();
    let made: Vec<String> = master.standin.state().tunnels.iter().map(|tunnel| tunnel.id.clone()).collect();
    assert_eq!((json!(made), &command["action"]), (json!([command["tunnel_id"]]), &json!("start_tunnel")));
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
async fn a_route_is_publishing_while_its_calls_are_under_way() {
    let master = TestMaster::start().await;
    let (key, id) = master.new_agent("web-1").await;
    master.standin.inject(Fault::on(Op::PutConfig, Trouble::NeverAnswers).always());
    master.enroll(&id, "edge-1").await;

    let events = format!("/api/v2/agents/{id}/events");
    master.post(&events).key(&key).json(start_event("app.example.com")).expect(202).await;

    let rules = master.until_services("one route", |rules| rules.len() == 1).await;
    assert_eq!(rules[0]["status"], "publishing");
    let record = master.admin_get("/api/v2/agents").expect(200).await.json()["agents"][&id].clone();
    assert_eq!(record["migration_status"]["last_analysis"]["existing_rules"][0]["status"], "publishing");
    master.stop().await;
}

#[actix_web::test]
async fn a_tunnel_that_was_deleted_is_made_again_by_enrolling_with_its_name() {
    let master = TestMaster::start().await;
    let (key, id) = master.new_agent("web-1").await;
    let old = master.enroll(&id, "edge-1").await["command"]["tunnel_id"].as_str().unwrap().to_owned();
    let event = async |hostname| {
        let events = format!("/api/v2/agents/{id}/events");
        master.post(&events).key(&key).json(start_event(hostname)).expect(202).await;
    };
    let is = |name: &str, word: &str| {
        let expected = (json!(name), json!(word));
        move |rules: &[Value]| {
            rules.iter().any(|rule| (&rule["hostname"], &rule["status"]) == (&expected.0, &expected.1))
        }
    };
    event("app.example.com").await;
    master.until_services("one active route", is("app.example.com", "active")).await;

    master.standin.state().tunnel_mut(&old).unwrap().is_deleted = true;
    event("b.example.com").await;
    let rules = master.until_services("a failed route", is("b.example.com", "failed")).await;
    let failed = rules.iter().find(|rule| rule["hostname"] == "b.example.com").unwrap();
    let reason = failed["reason"].as_str().unwrap();
    assert!(reason.contains("deleted at Cloudflare") && reason.contains("enrol its agent again"), "{reason}");

    let new = master.enroll(&id, "edge-1").await["command"]["tunnel_id"].as_str().unwrap().to_owned();
    assert_ne!(new, old);
    master.until_services("it is active again", is("b.example.com", "active")).await;
    assert!(master.standin.hostnames(&new).contains(&"b.example.com".to_owned()));
    master.stop().await;
}

#[actix_web::test]
async fn plan_and_apply_name_what_waits_and_confirm_it() {
    let master = TestMaster::start().await;
    let (tunnel, _, id) = publish_into_a_foreign_tunnel(&master).await;

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

#[actix_web::test]
async fn what_cloudflare_refuses_is_failed_and_not_applied() {
    let master = TestMaster::start().await;
    publish_into_a_foreign_tunnel(&master).await;
    master.standin.inject(Fault::on(Op::PutConfig, Trouble::ServerError).always());

    let report = master.admin_post("/api/v3/apply", json!({ "yes": true })).expect(200).await.json();

    let failed = &report["failed"][0];
    assert_eq!((&failed["hostname"], &failed["state"]), (&json!("app.example.com"), &json!("failed")));
    assert!(failed["reason"].as_str().is_some_and(|reason| reason.contains("status 500")), "{report}");
    assert_eq!((&report["applied"], &report["finished"]), (&json!([]), &json!(true)), "{report}");
    let plan = master.admin_get("/api/v3/plan").expect(200).await.json();
    assert_eq!(plan["failed"][0]["hostname"], "app.example.com", "{plan}");
    master.standin.heal();
    master.stop().await;
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
    // It may have been away: it registers as usual, and that changes nothing.
    let greeted = master.post(REGISTER).key(&key).json(json!({ "agent_id": id })).expect(200).await.json();
    assert_eq!((&greeted["agent_id"], &greeted["agent"]["status"]), (&json!(id), &json!("removed")));
    // Twice, for the first answer may be cut on its way; then its key goes.
    for _ in 0..2 {
        let last = master.get(&commands).key(&key).expect(200).await.json();
        assert_eq!(last["commands"], json!([{ "action": "stop_tunnel" }]));
    }
    let gone = async || master.get(&commands).key(&key).send().await.status;
    until_equal("the removed agent's key", 401, gone).await;
    let left = master.admin_get("/api/v2/agents").expect(200).await.json();
    assert!(left["agents"].get(&id).is_none(), "{left}");
    assert_eq!(master.admin_get("/api/v2/services").expect(200).await.json(), json!({ "services": [] }));
    master.stop().await;
}

#[actix_web::test]
async fn an_agent_whose_id_is_a_word_of_the_paths_is_managed_like_any_other() {
    let master = TestMaster::start().await;
    let browser = Browser::signed_in(&master).await;
    for word in ["keys", "register", "generate-key", "revoke-key"] {
        // given: it registered before such ids were refused
        let (_, key) = master.make_key(word).await;
        let access = master.master.directory.authenticate(&key).unwrap();
        let input = RegisterInput {
            agent_id: Some(AgentId::new(word)),
            display_name: Some(format!("Host {word}")),
            hostname: None,
            version: None,
            peer: [127, 0, 0, 1].into(),
            native: false,
        };
        master.master.register(access, input).await.unwrap();
        // when, then
        let page = browser.get(&format!("/agents/{word}")).await;
        assert!(page.status == 200 && page.text.contains(&format!("Host {word}")), "{page:?}");
        let live = browser.get(&format!("/fragments/agents/{word}")).await;
        assert!(live.status == 200 && live.text.contains(&format!("<dd>{word}</dd>")), "{live:?}");
        let heartbeat = master.post(&format!("/api/v2/agents/{word}/events")).key(&key);
        heartbeat.json(json!({ "type": "heartbeat" })).expect(202).await;
        let act = async |verb: &str, body: Value| {
            master.admin_post(&format!("/api/v2/agents/{word}/{verb}"), body).expect(200).await
        };
        act("enroll", json!({ "tunnel_name": word })).await;
        act("rename", json!({ "display_name": "Front door" })).await;
        act("redeploy-tunnel", json!({})).await;
        act("roll-key", json!({})).await;
        act("remove", json!({})).await;
        assert_eq!(browser.get(&format!("/agents/{word}")).await.status, 404);
    }
    master.ask(Method::DELETE, "/api/v2/agents/keys/not-there").key(ADMIN).expect(404).await;
    master.stop().await;
}
