//! The native dialect: sessions, numbered batches, long polls, leases, results.

use std::io::Write;
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::support::asking::Answer;
use crate::support::master::{Asking, LABEL_PREFIX, TestMaster};
use crate::support::until::{until, until_equal};

struct Native<'a> {
    master: &'a TestMaster,
    key: String,
    id: String,
    session: String,
}

impl<'a> Native<'a> {
    async fn join(master: &'a TestMaster, name: &str) -> Self {
        let (key, id, session) = master.new_native_agent(name).await;
        Self { master, key, id, session }
    }

    fn with_session(&self, asking: Asking<'a>) -> Asking<'a> {
        asking.key(&self.key).header("lightship-session", &self.session)
    }

    fn post(&self, path: &str) -> Asking<'a> {
        self.with_session(self.master.post(&format!("/api/v3/agents/{}/{path}", self.id)))
    }

    fn batch(&self, first_seq: u64, items: Value) -> Value {
        json!({ "session": self.session, "first_seq": first_seq, "sent_at": "2026-11-21T21:00:00Z", "items": items })
    }

    async fn poll(&self, wait: u64) -> Answer {
        let path = format!("/api/v3/agents/{}/commands?wait={wait}&max=10", self.id);
        self.with_session(self.master.get(&path)).send().await
    }

    /// Does something while a poll is parked: it is once the agent was heard with that request.
    fn once_parked<T>(&self, act: impl AsyncFnOnce() -> T) -> impl Future<Output = T> {
        let slot = self.master.master.directory.slot_named(&self.id).unwrap();
        // The poll may come in the same millisecond as what was heard before.
        let before = slot.last_seen().unwrap() - TimeDelta::seconds(1);
        slot.touch(before);
        async move {
            until("the poll is heard", || async { (slot.last_seen() != Some(before)).then_some(()) }).await;
            act().await
        }
    }
}

fn container(hostname: &str) -> Value {
    json!({ "id": "c".repeat(64), "name": "app", "labels": {
        "dockflare.enable": "true", "dockflare.hostname": hostname, "dockflare.service": "http://app:80" } })
}

#[actix_web::test]
async fn a_batch_is_taken_in_once_and_answered_twice() {
    let master = TestMaster::start().await;
    let agent = Native::join(&master, "web-1").await;
    master.enroll(&agent.id, "edge-1").await;
    let batch = agent.batch(0, json!([{ "kind": "heartbeat" }, { "kind": "container_seen", "container": container("a.example.com") }]));

    for _ in 0..2 {
        let answer = agent.post("reports").json(batch.clone()).expect(202).await.json();
        assert_eq!(answer, json!({ "next_seq": 2 }));
    }

    master.until_services("one route", |rules| rules.len() == 1).await;
    let claims = events_of(&master, &agent.id, "route_claimed").await;
    assert_eq!(claims, 1);
    master.stop().await;
}

async fn events_of(master: &TestMaster, id: &str, kind: &str) -> usize {
    let events =
        master.admin_get(&format!("/api/v3/events?stream=agent/{id}&limit=1000")).expect(200).await.json();
    let list = events["events"].as_array().unwrap().clone();
    list.iter().filter(|row| row.to_string().contains(&format!("\"{kind}\""))).count()
}

#[actix_web::test]
async fn compressed_batches_are_read() {
    let master = TestMaster::start().await;
    let agent = Native::join(&master, "web-1").await;
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packed.write_all(agent.batch(0, json!([{ "kind": "heartbeat" }])).to_string().as_bytes()).unwrap();
    let asking = agent.post("reports").header("content-encoding", "gzip").raw(packed.finish().unwrap());
    assert_eq!(asking.expect(202).await.json(), json!({ "next_seq": 1 }));
    master.stop().await;
}

#[actix_web::test]
async fn a_session_that_is_over_sends_the_agent_back_to_register() {
    let master = TestMaster::start().await;
    let agent = Native::join(&master, "web-1").await;
    let hello = json!({ "display_name": "web-1", "lightship": { "protocols": [3], "host": "web-1" } });
    let again = master.post("/api/v2/agents/register").key(&agent.key).json(hello).expect(200).await.json();
    let fresh = again["lightship"]["session"].as_str().unwrap().to_owned();
    assert_ne!(fresh, agent.session);
    assert_eq!(again["lightship"]["label_prefix"], LABEL_PREFIX);

    let batch = agent.batch(0, json!([{ "kind": "heartbeat" }]));
    let refused = agent.post("reports").json(batch.clone()).expect(409).await.json();
    assert_eq!(refused["code"], "session_unknown");
    assert_eq!(agent.poll(0).await.json()["code"], "session_unknown");
    let path = format!("/api/v3/agents/{}/reports", agent.id);
    assert_eq!(
        master.post(&path).key(&agent.key).json(batch.clone()).expect(409).await.json()["code"],
        "session_unknown"
    );
    // The body has to be of the session of the header, too.
    let mixed = master.post(&path).key(&agent.key).header("lightship-session", &fresh).json(batch);
    assert_eq!(mixed.expect(409).await.json()["code"], "session_unknown");
    master.stop().await;
}

#[actix_web::test]
async fn an_agent_that_does_not_ask_for_it_gets_no_session() {
    let master = TestMaster::start().await;
    let (_, key) = master.make_key("py").await;
    for body in [json!({}), json!({ "lightship": { "protocols": [2, 4] } }), json!({ "lightship": "x" })] {
        let answer = master.post("/api/v2/agents/register").key(&key).json(body).send().await.json();
        assert!(answer.get("lightship").is_none(), "{answer}");
    }
    master.stop().await;
}

#[actix_web::test]
async fn a_parked_poll_gets_the_command_when_it_is_queued() {
    let master = TestMaster::start().await;
    let agent = Native::join(&master, "web-1").await;
    let queueing = agent.once_parked(async || {
        master.enroll(&agent.id, "edge-1").await;
        Instant::now()
    });
    let (answer, queued) = tokio::join!(agent.poll(50), queueing);
    assert!(queued.elapsed() < Duration::from_secs(20), "the poll did not wake");

    assert_eq!(answer.status, 200);
    let command = answer.json()["commands"][0].clone();
    assert_eq!((&command["action"], &command["attempt"]), (&json!("start_tunnel"), &json!(1)));
    assert!(command["token"].is_string() && command["lease_seconds"].as_u64().unwrap() > 0, "{command}");
    // Leased: nobody else gets it meanwhile.
    assert_eq!(agent.poll(0).await.json(), json!({ "commands": [] }));

    let id = command["id"].as_str().unwrap();
    agent.post(&format!("commands/{id}/ack")).expect(200).await;
    let done = json!({ "succeeded": true, "message": "runs", "finished_at": "2026-11-21T21:00:00Z" });
    for _ in 0..2 {
        agent.post(&format!("commands/{id}/result")).json(done.clone()).expect(200).await;
    }
    assert_eq!(events_of(&master, &agent.id, "command_finished").await, 1);
    master.stop().await;
}

#[actix_web::test]
async fn an_empty_list_ends_the_wait() {
    let master = TestMaster::start().await;
    let agent = Native::join(&master, "web-1").await;
    let begun = Instant::now();
    assert_eq!(agent.poll(1).await.json(), json!({ "commands": [] }));
    assert!((1..10).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
    master.stop().await;
}

#[actix_web::test]
async fn a_server_that_stops_answers_its_parked_polls() {
    let master = TestMaster::start().await;
    let agent = Native::join(&master, "web-1").await;
    let begun = Instant::now();
    let ending = agent.once_parked(async || master.state.end_streams());
    let (answer, ()) = tokio::join!(agent.poll(50), ending);
    assert_eq!((answer.status, answer.json()), (200, json!({ "commands": [] })));
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    master.stop().await;
}

#[actix_web::test]
async fn a_parked_poll_is_refused_at_once_when_its_key_is_revoked() {
    for with_command in [false, true] {
        let master = TestMaster::start().await;
        let agent = Native::join(&master, "web-1").await;
        let begun = Instant::now();
        let revoking = agent.once_parked(async || {
            master.admin_post("/api/v2/agents/revoke-key", json!({ "key": agent.key })).expect(200).await;
            if with_command {
                // It is heard again with another key; what it gets then is not for the poll of the old one.
                let path = format!("/api/v2/agents/{}/roll-key", agent.id);
                master.admin_post(&path, json!({})).expect(200).await;
                master.enroll(&agent.id, "edge-1").await;
            }
        });
        let (answer, ()) = tokio::join!(agent.poll(50), revoking);
        assert_eq!((answer.status, &answer.json()["code"]), (401, &json!("key_revoked")), "{}", answer.text);
        assert!(!answer.text.contains("token") && !answer.text.contains("start_tunnel"), "{}", answer.text);
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
        assert_eq!(agent.poll(0).await.status, 401);
        master.stop().await;
    }
}

#[actix_web::test]
async fn a_removed_agent_comes_back_for_its_last_command_and_nothing_else() {
    // given: an agent that was away when it was removed
    let master = TestMaster::start().await;
    let (key, id) = master.new_agent("web-1").await;
    master.enroll(&id, "edge-1").await;
    master.admin_post(&format!("/api/v2/agents/{id}/remove"), json!({})).expect(200).await;
    // when it registers, as every agent of ours does after a start
    let hello =
        json!({ "agent_id": id, "display_name": "x", "lightship": { "protocols": [3], "host": "x" } });
    let answer = master.post("/api/v2/agents/register").key(&key).json(hello).expect(200).await.json();
    let session = answer["lightship"]["session"].as_str().unwrap().to_owned();
    assert_eq!((&answer["agent_id"], &answer["agent"]["status"]), (&json!(id), &json!("removed")));
    let agent = Native { master: &master, key, id, session };
    // then: it is heard, and only the stop counts
    let batch =
        agent.batch(0, json!([{ "kind": "container_seen", "container": container("a.example.com") }]));
    assert_eq!(agent.post("reports").json(batch).expect(202).await.json(), json!({ "next_seq": 1 }));
    master.get("/accounts").key(&agent.key).expect(401).await;
    let commands = agent.poll(0).await.json()["commands"].clone();
    assert_eq!((commands.as_array().unwrap().len(), &commands[0]["action"]), (1, &json!("stop_tunnel")));
    assert!(agent.poll(0).await.status == 200, "it has not said yet that it stopped");
    let stop = commands[0]["id"].as_str().unwrap();
    let done = json!({ "succeeded": true, "message": "stopped", "finished_at": "2026-11-21T21:00:00Z" });
    agent.post(&format!("commands/{stop}/result")).json(done).expect(200).await;
    until_equal("its key", 401, async || agent.poll(0).await.status).await;
    let left = master.admin_get("/api/v2/agents").expect(200).await.json();
    assert!(left["agents"].get(&agent.id).is_none(), "{left}");
    assert_eq!(master.admin_get("/api/v2/services").expect(200).await.json(), json!({ "services": [] }));
    master.stop().await;
}

#[actix_web::test]
async fn native_routes_refuse_in_their_own_words() {
    let master = TestMaster::start().await;
    let agent = Native::join(&master, "web-1").await;
    let other = Native::join(&master, "web-2").await;
    let reports = format!("/api/v3/agents/{}/reports", agent.id);
    let code = |answer: Answer| {
        let body = answer.json();
        assert!(body["error"].is_string(), "{body}");
        body["code"].as_str().unwrap().to_owned()
    };
    assert_eq!(code(master.post(&reports).json(json!({})).expect(401).await), "unauthenticated");
    assert_eq!(code(master.post(&reports).key(&other.key).json(json!({})).expect(403).await), "key_mismatch");
    let nobody = master.post("/api/v3/agents/nobody/reports").key(&agent.key).json(json!({}));
    assert_eq!(code(nobody.expect(404).await), "agent_not_found");
    assert_eq!(code(agent.post("reports").body("{}").expect(415).await), "unsupported_media_type");
    assert_eq!(code(agent.post("reports").raw("{").expect(400).await), "invalid_json");
    assert_eq!(code(agent.post("reports").raw("{}").expect(400).await), "invalid_body");
    assert_eq!(code(agent.post("commands/nope/ack").expect(404).await), "command_not_found");
    assert_eq!(code(agent.post("commands/a%20b/ack").expect(400).await), "invalid_body");
    assert_eq!(code(master.get("/api/v3/nothing").expect(404).await), "not_found");
    assert_eq!(code(master.get(&reports).expect(405).await), "method_not_allowed");
    master.stop().await;
}

#[actix_web::test]
async fn questions_about_images_are_answered_in_their_order_and_what_is_no_name_is_refused() {
    let master = TestMaster::start().await;
    let agent = Native::join(&master, "web-1").await;
    let ask = |registry: &str, wants_tags: bool| {
        json!({ "registry": registry, "repository": "team/app", "tag": "1.0",
            "platform": { "os": "linux", "architecture": "amd64" }, "wants_content": true, "wants_tags": wants_tags })
    };

    let body = json!({ "asks": [ask("localhost:5000", false), ask("ghcr.io", true)] });
    let answers = agent.post("images").json(body).expect(200).await.json();
    let odd =
        agent.post("images").json(json!({ "asks": [ask("ghcr.io/../x", false)] })).expect(400).await.json();

    // This master asks nobody, so the agent is told to ask by itself.
    let list = answers["answers"].as_array().unwrap();
    assert_eq!(list.len(), 2, "{answers}");
    assert!(list.iter().all(|answer| answer["content"]["refused"]["cause"] == "not_reachable"), "{answers}");
    assert_eq!(
        (&list[0]["tags"], &list[1]["tags"]["refused"]["cause"]),
        (&json!("not_asked"), &json!("not_reachable"))
    );
    assert_eq!(odd["code"], "invalid_body");
    master.stop().await;
}
