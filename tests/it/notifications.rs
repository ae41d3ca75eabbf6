//! What people are told: by whom, when, once, and without a word that opens anything.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Local, TimeDelta, Utc};
use lightship::actors::master::{Master, MasterParts, MasterSettings};
use lightship::actors::supervision::{Root, Tree};
use lightship::chance::Chance;
use lightship::clock::Clock;
use lightship::db::conditions::hearings;
use lightship::db::notifications::{
    list_conditions, list_notices, list_open_messages, notification_place, target_secret,
};
use lightship::db::read::{EventFilter, list_messages};
use lightship::db::{Batch, Db, Expected, SecretKey, events, secrets};
use lightship::domain::event::{Stream, UpdateEvent};
use lightship::domain::id::{AgentId, TargetId};
use lightship::domain::notify::read_target;
use lightship::domain::update::{PlanId, RunId, RunOutcome};
use lightship::io::{Io, IoRuntime};
use lightship::notify::Sender;
use reqwest::Method;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::support::asking::Answer;
use crate::support::cloudflare::Moment;
use crate::support::inbox::{Inbox, MailServer, Reply};
use crate::support::master::{ADMIN, TestMaster};
use crate::support::until::{until, until_equal};

const TARGETS: &str = "/api/v3/notifications/targets";
const OUTBOX: &str = "/api/v3/notifications/outbox";

/// Rounds follow one another at once, and silence is short. A jump of less than half a minute is no leap of the clock.
fn quick() -> MasterSettings {
    MasterSettings {
        offline_after: Duration::from_secs(20),
        sweep_every: Duration::from_millis(50),
        notify_window: Duration::from_secs(10),
        notify_rests: Duration::from_millis(10),
        notify_look_again: Duration::from_millis(50),
        notify_retry: Duration::from_millis(50),
        ..MasterSettings::default()
    }
}

/// Everything is told as soon as it is seen.
fn at_once() -> MasterSettings {
    MasterSettings { notify_window: Duration::ZERO, ..quick() }
}

fn start() -> DateTime<Utc> {
    "2027-01-15T12:00:00Z".parse().unwrap()
}

async fn put(master: &TestMaster, id: &str, target: Value) -> Answer {
    master.ask(Method::PUT, &format!("{TARGETS}/{id}")).key(ADMIN).json(target).send().await
}

/// Makes a webhook, and waits until what happens from now on is told.
async fn hook(master: &TestMaster, inbox: &Inbox, more: Value) {
    let mut target = json!({ "kind": "webhook", "url": inbox.url("/hook") });
    target.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let made = put(master, "hook", target).await;
    assert_eq!(made.status, 200, "{}", made.text);
    until("the record is followed", || async { notification_place(&master.db).await.unwrap() }).await;
}

async fn targets(master: &TestMaster) -> Vec<Value> {
    master.admin_get(TARGETS).expect(200).await.json()["targets"].as_array().unwrap().clone()
}

async fn state(master: &TestMaster) -> Value {
    targets(master).await[0]["state"].clone()
}

async fn until_waiting(master: &TestMaster, count: u64) {
    until_equal("so many wait", json!(count), || async { state(master).await["waiting"].clone() }).await;
}

async fn outbox(master: &TestMaster) -> Vec<Value> {
    master.admin_get(OUTBOX).expect(200).await.json()["messages"].as_array().unwrap().clone()
}

/// Agents with their keys, all of which were heard.
async fn agents(master: &TestMaster, count: usize) -> Vec<(String, String)> {
    let mut agents = Vec::new();
    for number in 0..count {
        agents.push(master.new_agent(&format!("host-{number:02}")).await);
    }
    agents
}

async fn speak(master: &TestMaster, agents: &[(String, String)]) {
    for (key, id) in agents {
        master.get(&format!("/api/v2/agents/{id}/commands")).key(key).expect(200).await;
    }
}

#[actix_web::test]
async fn thirty_hosts_that_are_lost_are_one_message_and_their_return_is_one_more() {
    let (master, inbox) =
        (TestMaster::with_actors_on_clock(quick(), Clock::moved(start())).await, Inbox::start().await);
    let agents = agents(&master, 30).await;
    speak(&master, &agents).await;
    hook(&master, &inbox, json!({})).await;
    // when
    master.clock().jump(TimeDelta::seconds(25));
    until_waiting(&master, 30).await;
    master.clock().jump(TimeDelta::seconds(15));
    // then
    let lost = inbox.until_posts(1).await.remove(0);
    assert_eq!(lost.body["title"], "30 agents are offline");
    assert_eq!((&lost.body["topic"], &lost.body["turn"]), (&json!("agent_offline"), &json!("began")));
    assert_eq!((&lost.body["total"], lost.body["notices"].as_array().unwrap().len()), (&json!(30), 20));
    assert!(lost.body["text"].as_str().unwrap().contains("host-00: not heard since 2027-01-15"), "{lost:?}");
    // when
    speak(&master, &agents).await;
    until_waiting(&master, 30).await;
    master.clock().jump(TimeDelta::seconds(15));
    // then
    inbox.until_posts(2).await;
    assert_eq!(inbox.titles(), ["30 agents are offline", "30 agents are back"]);
    // That it arrived is written down after it did.
    until_equal("both are sent", json!(["sent", "sent"]), || async {
        outbox(&master).await.iter().map(|row| row["state"].clone()).collect()
    })
    .await;
    master.stop().await;
}

#[actix_web::test]
async fn an_agent_that_is_back_before_anybody_was_told_is_not_told_at_all() {
    let (master, inbox) =
        (TestMaster::with_actors_on_clock(quick(), Clock::moved(start())).await, Inbox::start().await);
    let agents = agents(&master, 2).await;
    speak(&master, &agents).await;
    hook(&master, &inbox, json!({})).await;
    master.clock().jump(TimeDelta::seconds(25));
    until_waiting(&master, 2).await;
    // when one is back
    speak(&master, &agents[..1]).await;
    until_waiting(&master, 1).await;
    master.clock().jump(TimeDelta::seconds(15));
    // then only the other one is told
    inbox.until_posts(1).await;
    assert_eq!(inbox.titles(), ["Agent host-01 is offline"]);
    // And one that was removed is not back.
    let id = &agents[1].1;
    master.admin_post(&format!("/api/v2/agents/{id}/remove"), json!({})).expect(200).await;
    until("it is not known any more", || async {
        let known = list_conditions(&master.db).await.unwrap();
        known.is_empty().then_some(())
    })
    .await;
    assert_eq!((state(&master).await["waiting"].clone(), inbox.posts().len()), (json!(0), 1));
    master.stop().await;
}

#[actix_web::test]
async fn in_quiet_hours_nothing_is_sent_but_a_test_and_what_is_still_so_is_told_after_them() {
    let clock = Clock::moved(start());
    let (master, inbox) =
        (TestMaster::with_actors_on_clock(quick(), clock.clone()).await, Inbox::start().await);
    let agents = agents(&master, 2).await;
    speak(&master, &agents).await;
    let on_the_wall = |minutes: i64| {
        let time = clock.now().with_timezone(&Local) + TimeDelta::minutes(minutes);
        time.format("%H:%M").to_string()
    };
    let hours = format!("{}-{}", on_the_wall(-60), on_the_wall(2));
    hook(&master, &inbox, json!({ "quiet_hours": hours })).await;
    master.clock().jump(TimeDelta::seconds(25));
    until_waiting(&master, 2).await;
    speak(&master, &agents[..1]).await;
    until_waiting(&master, 1).await;
    // when the window is over
    master.clock().jump(TimeDelta::seconds(15));
    let tested = master.admin_post(&format!("{TARGETS}/hook/test"), json!({})).send().await;
    // then only the test is there
    assert_eq!(tested.status, 200, "{}", tested.text);
    assert_eq!(inbox.titles(), ["Test message of Lightship"]);
    until_waiting(&master, 1).await;
    // when the hours end, in steps that are no leap
    for _ in 0..8 {
        speak(&master, &agents[..1]).await;
        master.clock().jump(TimeDelta::seconds(15));
    }
    // then
    inbox.until_posts(2).await;
    assert_eq!(inbox.titles()[1], "Agent host-01 is offline");
    master.stop().await;
}

#[actix_web::test]
async fn a_dead_target_is_shown_as_such_tried_again_and_told_everything_when_it_is_back() {
    let (master, inbox) = (TestMaster::with_actors(at_once()).await, Inbox::start().await);
    inbox.reply(Reply::Status(503, r#"{"error":"closed for repairs"}"#.into()));
    hook(&master, &inbox, json!({})).await;
    let (one, two) = (master.new_agent("web-1").await, master.new_agent("web-2").await);
    // when
    failed_run(&master.db, &one.1, 1).await;
    until("it is tried more than once", || async { (inbox.posts().len() > 2).then_some(()) }).await;
    failed_run(&master.db, &two.1, 2).await;
    failed_run(&master.db, &two.1, 3).await;
    // then
    let failing = state(&master).await;
    assert_eq!(
        (&failing["is_failing"], failing["error"].as_str().unwrap()),
        (&json!(true), "it answered 503: closed for repairs")
    );
    assert!(failing["failing_since"].is_string() && failing["failures"].as_u64() > Some(1), "{failing}");
    until_waiting(&master, 3).await;
    assert_eq!(outbox(&master).await.len(), 1, "one is on its way, and the others wait for it");
    // when
    inbox.reply(Reply::Status(200, String::new()));
    // then
    until_waiting(&master, 0).await;
    let state = state(&master).await;
    assert_eq!(
        (&state["is_failing"], &state["error"], &state["failures"]),
        (&json!(false), &Value::Null, &json!(0))
    );
    assert!(state["last_sent_at"].is_string(), "{state}");
    let sent: Vec<String> =
        outbox(&master).await.iter().map(|row| row["title"].as_str().unwrap().to_owned()).collect();
    assert_eq!(sent, ["2 updates failed or were undone", "An update of web-1 failed or was undone"]);
    // Each has one id, however often it came.
    let ids: std::collections::BTreeSet<String> =
        inbox.posts().iter().map(|post| post.headers["idempotency-key"].clone()).collect();
    assert_eq!(ids.len(), 2);
    master.stop().await;
}

#[actix_web::test]
async fn a_message_that_its_target_does_not_want_is_given_up_and_those_behind_it_go_on() {
    let (master, inbox) = (TestMaster::with_actors(at_once()).await, Inbox::start().await);
    let (_, agent) = master.new_agent("web-1").await;
    inbox.reply(Reply::Status(422, r#"{"error":"no such topic"}"#.into()));
    hook(&master, &inbox, json!({})).await;
    // when
    failed_run(&master.db, &agent, 1).await;
    until("it is given up", || async {
        outbox(&master).await.iter().any(|row| row["state"] == "failed").then_some(())
    })
    .await;
    // then
    let given_up = outbox(&master).await.remove(0);
    assert_eq!(
        (&given_up["attempts"], &given_up["error"]),
        (&json!(5), &json!("it answered 422: no such topic"))
    );
    assert!(given_up["settled_at"].is_string(), "{given_up}");
    // when another one comes
    inbox.reply(Reply::Status(200, String::new()));
    failed_run(&master.db, &agent, 2).await;
    // then
    until("the next one is sent", || async {
        outbox(&master).await.iter().any(|row| row["state"] == "sent").then_some(())
    })
    .await;
    master.stop().await;
}

#[actix_web::test]
async fn whoever_was_not_told_of_a_beginning_is_not_told_of_its_end() {
    let (master, inbox) =
        (TestMaster::with_actors_on_clock(quick(), Clock::moved(start())).await, Inbox::start().await);
    let agents = agents(&master, 2).await;
    speak(&master, &agents).await;
    // given: one is offline before there is anybody to tell
    master.clock().jump(TimeDelta::seconds(15));
    speak(&master, &agents[1..]).await;
    master.clock().jump(TimeDelta::seconds(10));
    until("it is offline", || async {
        let silent = hearings(&master.db, &Default::default()).await.unwrap();
        (silent.len() == 1).then_some(())
    })
    .await;
    hook(&master, &inbox, json!({})).await;
    until("that is known", || async {
        (list_conditions(&master.db).await.unwrap().len() == 1).then_some(())
    })
    .await;
    // when it is back, and the other one is lost
    speak(&master, &agents[..1]).await;
    master.clock().jump(TimeDelta::seconds(15));
    speak(&master, &agents[..1]).await;
    until_waiting(&master, 1).await;
    master.clock().jump(TimeDelta::seconds(15));
    speak(&master, &agents[..1]).await;
    // then
    inbox.until_posts(1).await;
    assert_eq!(inbox.titles(), ["Agent host-01 is offline"]);
    master.stop().await;
}

/// A run that failed on a host.
async fn failed_run(db: &Db, agent: &str, number: i64) {
    let (agent_id, at) = (AgentId::new(agent), start() + TimeDelta::seconds(number));
    let event = UpdateEvent::RunEnded {
        agent_id: agent_id.clone(),
        run_id: RunId::new(at, "abcd"),
        plan_id: PlanId::stored("plan"),
        approval_id: None,
        undoes: None,
        begun_by: "ada".into(),
        started_at: at,
        ended_at: at,
        outcome: RunOutcome::Failed { reason: "dpkg ended with 1".into() },
    };
    db.commit(Batch::new("test", at).append(Stream::updates(&agent_id), Expected::Head, vec![event]))
        .await
        .unwrap();
}

#[actix_web::test]
async fn what_opens_a_target_is_never_seen_again() {
    const FIRST: &str = "a-secret-that-nobody-sees";
    const SECOND: &str = "another-one-that-nobody-sees";
    let (master, inbox) = (TestMaster::with_actors(at_once()).await, Inbox::start().await);
    let kept = async |id: &str| {
        let found = secrets::find_secret(&master.db, &target_secret(&TargetId::new(id))).await.unwrap();
        found.map(|secret| secret.expose_secret().to_owned())
    };
    let bearer = format!("Bearer {SECOND}");
    for (target, echo) in [
        (
            json!({ "kind": "webhook", "url": inbox.url(&format!("/{FIRST}")), "authorization": bearer }),
            SECOND,
        ),
        (
            json!({ "kind": "telegram", "server": inbox.url(""), "chat_id": "1", "token": format!("1:{FIRST}") }),
            FIRST,
        ),
        (json!({ "kind": "gotify", "server": inbox.url(""), "token": FIRST }), FIRST),
        (json!({ "kind": "ntfy", "server": inbox.url(""), "topic": FIRST, "token": SECOND }), SECOND),
    ] {
        // Set, changed without it, told, tested where it works and where it does not, listed, removed.
        assert_eq!(put(&master, "one", target.clone()).await.status, 200);
        assert!(kept("one").await.unwrap().contains(FIRST));
        let told = targets(&master).await.remove(0);
        assert_eq!(put(&master, "one", told).await.status, 200);
        assert!(kept("one").await.unwrap().contains(FIRST));
        inbox.reply(Reply::Status(200, "{}".into()));
        master.admin_post(&format!("{TARGETS}/one/test"), json!({})).expect(200).await;
        let last = inbox.posts().pop().unwrap();
        assert!(format!("{last:?}").contains(FIRST), "{target}: {last:?}");
        let echo =
            format!("{{\"error\":\"no such {FIRST} and {echo} at {}\"}}", inbox.url(&format!("/{FIRST}")));
        inbox.reply(Reply::Status(404, echo));
        let refused = master.admin_post(&format!("{TARGETS}/one/test"), json!({})).expect(502).await;
        assert!(refused.text.contains("it answered 404: no such …"), "{}", refused.text);
        let gone = master.ask(Method::DELETE, &format!("{TARGETS}/one")).key(ADMIN).send().await;
        assert_eq!((gone.status, kept("one").await), (200, None));
        assert!(outbox(&master).await.is_empty());
    }
    // What cannot be read is refused, and repeats nothing.
    let refused = put(&master, "one", json!({ "kind": "webhook", "url": format!("x:{FIRST}") })).await;
    assert_eq!((refused.status, &refused.json()["code"]), (400, &json!("invalid")));
    for gone in [
        master.ask(Method::DELETE, &format!("{TARGETS}/one")).key(ADMIN).send().await,
        master.admin_post(&format!("{TARGETS}/one/test"), json!({})).send().await,
        master.admin_post(&format!("{TARGETS}/Not%20An%20Id/test"), json!({})).send().await,
    ] {
        assert_eq!((gone.status, &gone.json()["code"]), (404, &json!("target_not_found")));
    }
    // then each is on record with who did it, and no secret is anywhere
    let record = events::list_events(&master.db, &EventFilter::default(), 1_000).await.unwrap();
    let record: Vec<(String, String)> =
        record.iter().map(|row| (serde_json::to_string(&row.event).unwrap(), row.actor.clone())).collect();
    let of_targets =
        record.iter().filter(|(event, actor)| event.contains("notify_target_") && actor == "token");
    assert_eq!(of_targets.count(), 12, "{record:?}");
    let answers = master.answers.lock().unwrap().clone();
    for (what, text) in record.iter().chain(&answers) {
        let shows = |secret: &&&str| text.contains(**secret) || what.contains(**secret);
        assert!(![FIRST, SECOND].iter().any(|secret| shows(&secret)), "{what}: {text}");
    }
    master.stop().await;
}

#[actix_web::test]
async fn a_mail_is_sent_as_mail_servers_take_it() {
    let (master, server) = (TestMaster::with_actors(at_once()).await, MailServer::start().await);
    let target = json!({
        "kind": "email", "host": "127.0.0.1", "port": server.address.port(), "encryption": "none",
        "from": "lightship@example.com", "to": ["ops@example.com", "oncall@example.com"], "name": "Büro",
    });
    assert_eq!(put(&master, "mail", target.clone()).await.status, 200);
    // when
    master.admin_post(&format!("{TARGETS}/mail/test"), json!({})).expect(200).await;
    // then
    let mail = server.mails().remove(0);
    assert_eq!(mail.from, "lightship@example.com");
    assert_eq!(mail.to, ["ops@example.com", "oncall@example.com"]);
    let id = outbox(&master).await[0]["id"].as_str().unwrap().to_owned();
    for header in [
        "From: lightship@example.com".to_owned(),
        "To: ops@example.com, oncall@example.com".to_owned(),
        "Subject: Test message of Lightship".to_owned(),
        format!("Message-ID: <{id}@example.com>"),
        "Content-Type: text/plain; charset=utf-8".to_owned(),
    ] {
        assert!(mail.data.contains(&header), "{header}: {}", mail.data);
    }
    assert_eq!(mail.auth, None);
    // A server that does not want it is heard.
    server.answer_recipients("550 5.1.1 No such user here");
    let refused = master.admin_post(&format!("{TARGETS}/mail/test"), json!({})).expect(502).await.json();
    assert_eq!(refused["code"], "target_failed");
    assert!(refused["error"].as_str().unwrap().contains("No such user here"), "{refused}");
    // One that offers no encryption is told nothing if that was asked for.
    let mut sealed = target;
    sealed["encryption"] = json!("starttls");
    assert_eq!(put(&master, "mail", sealed).await.status, 200);
    let refused = master.admin_post(&format!("{TARGETS}/mail/test"), json!({})).expect(502).await.json();
    assert!(refused["error"].as_str().unwrap().contains("it offers no encryption"), "{refused}");
    assert_eq!(server.mails().len(), 1);
    master.stop().await;
}

#[actix_web::test]
async fn a_target_leads_where_it_was_set_to_and_nowhere_else() {
    let (master, inbox) = (TestMaster::with_actors(at_once()).await, Inbox::start().await);
    hook(&master, &inbox, json!({})).await;
    // An answer that points elsewhere, one without an end, and none at all.
    inbox.reply(Reply::Status(307, String::new()));
    let refused = master.admin_post(&format!("{TARGETS}/hook/test"), json!({})).expect(502).await.json();
    assert!(refused["error"].as_str().unwrap().contains("set the address it leads to"), "{refused}");
    inbox.reply(Reply::Status(500, "x".repeat(1 << 20)));
    let refused = master.admin_post(&format!("{TARGETS}/hook/test"), json!({})).expect(502).await.json();
    assert!(refused["error"].as_str().unwrap().len() < 400, "{refused}");
    drop(inbox);
    let refused = master.admin_post(&format!("{TARGETS}/hook/test"), json!({})).expect(502).await.json();
    assert!(refused["error"].as_str().unwrap().contains("refused"), "{refused}");
    master.stop().await;
}

#[actix_web::test]
async fn a_conflict_and_a_route_without_a_login_are_told() {
    let (master, inbox) = (TestMaster::with_actors(at_once()).await, Inbox::start().await);
    hook(&master, &inbox, json!({})).await;
    let (one, two) = (master.new_agent("web-1").await, master.new_agent("web-2").await);
    master.enroll(&one.1, "edge-1").await;
    master.enroll(&two.1, "edge-2").await;
    let report = |hostname: &str| {
        let labels = json!({ "dockflare.enable": "true", "dockflare.hostname": hostname, "dockflare.service": "http://app:80" });
        json!({ "type": "status_report", "container": { "containers": [{ "id": "c1", "name": "app", "labels": labels }] } })
    };
    let tell = async |(key, id): &(String, String), report: Value| {
        master.post(&format!("/api/v2/agents/{id}/events")).key(key).json(report).expect(202).await;
    };
    // when
    tell(&one, report("app.example.com")).await;
    // then
    let open = inbox.until_posts(1).await.remove(0);
    assert_eq!(open.body["title"], "app.example.com is public without a login");
    assert!(open.body["text"].as_str().unwrap().contains("no label asks for a login"), "{open:?}");
    // when another host asks for the same name
    tell(&two, report("app.example.com")).await;
    // then
    let conflict = inbox.until_posts(2).await.remove(1);
    assert_eq!(conflict.body["title"], "Conflict over app.example.com");
    assert!(conflict.body["text"].as_str().unwrap().contains("asked for by web-2"), "{conflict:?}");
    // when it does so no more
    tell(&two, json!({ "type": "status_report", "container": { "containers": [] } })).await;
    // then
    inbox.until_posts(3).await;
    assert_eq!(inbox.titles()[2], "The conflict over app.example.com is over");
    master.stop().await;
}

#[actix_web::test]
async fn a_tunnel_that_is_down_and_up_again_is_told() {
    let (master, inbox) = (TestMaster::with_actors(at_once()).await, Inbox::start().await);
    hook(&master, &inbox, json!({ "about": ["tunnel_down"] })).await;
    let (key, id, session) = master.new_native_agent("web-1").await;
    master.enroll(&id, "edge-1").await;
    let report = async |number: u64, health: &str, reason: Value| {
        let tunnel = json!({ "health": health, "name": "edge-1", "reason": reason });
        let items = json!([{ "kind": "tunnel", "tunnel": tunnel }]);
        let body = json!({ "session": session, "first_seq": number, "sent_at": "2026-11-21T21:00:00Z", "items": items });
        let asking = master.post(&format!("/api/v3/agents/{id}/reports")).key(&key);
        let answer = asking.header("lightship-session", &session).json(body).send().await;
        assert!(answer.status < 300, "{}", answer.text);
    };
    report(1, "running", Value::Null).await;
    report(2, "degraded", json!("no connection to the edge")).await;
    let down = inbox.until_posts(1).await.remove(0);
    assert_eq!(down.body["title"], "Tunnel edge-1 is down");
    assert!(down.body["text"].as_str().unwrap().contains("web-1: no connection to the edge"), "{down:?}");
    report(3, "running", Value::Null).await;
    inbox.until_posts(2).await;
    assert_eq!(inbox.titles()[1], "Tunnel edge-1 is up again");
    master.stop().await;
}

#[actix_web::test]
async fn what_somebody_else_wrote_to_a_tunnel_is_told() {
    let (master, inbox) = (TestMaster::with_actors(at_once()).await, Inbox::start().await);
    hook(&master, &inbox, json!({ "about": ["drift"] })).await;
    let (key, id) = master.new_agent("web-1").await;
    master.enroll(&id, "edge-1").await;
    let run = async |names: &[&str]| {
        let container = |name: &&str| {
            let labels = json!({ "dockflare.enable": "true", "dockflare.hostname": format!("{name}.example.com"),
                "dockflare.service": "http://app:80" });
            json!({ "id": format!("id-of-{name}"), "name": name, "labels": labels })
        };
        let list: Vec<Value> = names.iter().map(container).collect();
        let report = json!({ "type": "status_report", "container": { "containers": list } });
        master.post(&format!("/api/v2/agents/{id}/events")).key(&key).json(report).expect(202).await;
        master
            .until_services("all are published", |rules| {
                rules.len() == names.len() && rules.iter().all(|rule| rule["status"] == "active")
            })
            .await;
    };
    run(&["one"]).await;
    // when
    let theirs = json!({ "hostname": "theirs.example.com", "service": "http://theirs:80" });
    master.standin.second_writer(Moment::BeforePut, theirs);
    run(&["one", "two"]).await;
    // then
    let told = inbox.until_posts(1).await.remove(0);
    assert_eq!(told.body["title"], "Others changed tunnel edge-1");
    assert!(told.body["text"].as_str().unwrap().contains("between our read and our write"), "{told:?}");
    master.stop().await;
}

#[actix_web::test]
async fn a_registration_token_that_ends_soon_is_told_once() {
    let clock = Clock::moved(start());
    let (master, inbox) = (TestMaster::with_actors_on_clock(at_once(), clock).await, Inbox::start().await);
    hook(&master, &inbox, json!({})).await;
    master.make_token(2).await;
    master.make_token(1).await;
    master.clock().jump(TimeDelta::hours(17));
    master.admin_post(&format!("{TARGETS}/hook/test"), json!({})).expect(200).await;
    assert_eq!(inbox.titles(), ["Test message of Lightship"], "a quarter of its day is left");
    // when
    master.clock().jump(TimeDelta::hours(2));
    // then
    let told = inbox.until_posts(2).await.remove(1);
    assert_eq!(
        (&told.body["title"], &told.body["topic"]),
        (&json!("2 tokens expire soon"), &json!("key_expiring"))
    );
    assert!(told.body["text"].as_str().unwrap().contains("with 0 of 2 seats taken"), "{told:?}");
    master.clock().jump(TimeDelta::hours(1));
    master.admin_post(&format!("{TARGETS}/hook/test"), json!({})).expect(200).await;
    assert_eq!(inbox.posts().len(), 3);
    // When the last target goes, nothing is followed any more.
    let gone = master.ask(Method::DELETE, &format!("{TARGETS}/hook")).key(ADMIN).send().await;
    assert_eq!(gone.status, 200);
    until("nothing is followed", || async {
        let is_off = notification_place(&master.db).await.unwrap().is_none();
        (is_off && list_conditions(&master.db).await.unwrap().is_empty()).then_some(())
    })
    .await;
    master.stop().await;
}

/// A master without pages that can be stopped and started again on the same database.
struct Process {
    master: Master,
    root: Root,
    io: IoRuntime,
}

impl Process {
    async fn start(folder: &std::path::Path, clock: Clock, settings: MasterSettings) -> Self {
        let (io, chance) = (IoRuntime::start().unwrap(), Chance::system());
        let db = open(folder, io.io()).await;
        let tree = Tree::new(clock.clone(), chance.clone(), |_| {});
        let parts = MasterParts {
            db,
            cloudflare: None,
            take_token: None,
            default_zone: None,
            account: None,
            writer: None,
            registries: None,
            messenger: Some(Arc::new(Sender::new(io.io()).unwrap())),
            settings,
            clock,
            chance,
            tree: tree.clone(),
            arbiters: Vec::new(),
        };
        let (spec, master) = Master::start(parts).await.unwrap();
        Self { master, root: Root::start(tree, "master", spec).await, io }
    }

    async fn hook(&self, inbox: &Inbox) {
        let draft = read_target("hook", json!({ "kind": "webhook", "url": inbox.url("/hook") })).unwrap();
        self.master.set_target(draft, "ada").await.unwrap();
        until("the record is followed", || async { notification_place(&self.master.db).await.unwrap() })
            .await;
    }

    async fn stop(self) {
        self.root.shutdown(Duration::from_secs(10)).await;
        self.master.db.close().await.unwrap();
        drop(self.io);
    }
}

async fn open(folder: &std::path::Path, io: Io) -> Db {
    let file = || format!("sqlite://{}?mode=rwc", folder.join("lightship.db").display());
    let url = crate::support::database::url_for(folder).unwrap_or_else(file);
    let db = Db::open(&url, io).await.unwrap();
    db.become_writer().await.unwrap();
    db.migrate().await.unwrap();
    let key = SecretKey::load(&folder.join("secret.key"), None, Chance::system()).unwrap();
    db.unlock_secrets(key).await.unwrap();
    db
}

#[actix_web::test]
async fn a_restart_loses_nothing_that_was_to_be_told_and_tells_nothing_twice() {
    rustls::crypto::ring::default_provider().install_default().ok();
    let (folder, clock, inbox) = (tempfile::tempdir().unwrap(), Clock::moved(start()), Inbox::start().await);
    let process = Process::start(folder.path(), clock.clone(), quick()).await;
    process.hook(&inbox).await;
    // Something is seen, and the window is still open.
    failed_run(&process.master.db, "web-1", 1).await;
    until("it waits", || async {
        let waiting = list_notices(&process.master.db).await.unwrap();
        (waiting.len() == 1).then_some(())
    })
    .await;
    // when the master is away while something else happens, and the window ends
    process.stop().await;
    assert_eq!(inbox.posts().len(), 0);
    let io = IoRuntime::start().unwrap();
    let db = open(folder.path(), io.io()).await;
    failed_run(&db, "web-2", 2).await;
    db.close().await.unwrap();
    clock.jump(TimeDelta::seconds(15));
    let process = Process::start(folder.path(), clock.clone(), quick()).await;
    // then what waited is sent together with what nobody had seen
    let post = inbox.until_posts(1).await.remove(0);
    assert_eq!(post.body["title"], "2 updates failed or were undone");
    let named: Vec<&Value> =
        post.body["notices"].as_array().unwrap().iter().map(|one| &one["name"]).collect();
    assert_eq!(named, ["web-1", "web-2"]);
    // when it starts again
    until("all is settled", || async {
        list_open_messages(&process.master.db).await.unwrap().is_empty().then_some(())
    })
    .await;
    process.stop().await;
    let process = Process::start(folder.path(), clock.clone(), quick()).await;
    // then a third thing is all that comes
    failed_run(&process.master.db, "web-3", 3).await;
    inbox.until_posts(2).await;
    assert_eq!(inbox.titles()[1], "An update of web-3 failed or was undone");
    assert_eq!(list_messages(&process.master.db, None, 10).await.unwrap().len(), 2);
    process.stop().await;
}

#[actix_web::test]
async fn a_message_whose_outcome_nobody_knows_is_sent_again_with_the_key_it_had() {
    rustls::crypto::ring::default_provider().install_default().ok();
    let (folder, inbox) = (tempfile::tempdir().unwrap(), Inbox::start().await);
    let process = Process::start(folder.path(), Clock::system(), at_once()).await;
    process.hook(&inbox).await;
    // given a target that got the message and says nothing
    inbox.reply(Reply::Hold);
    failed_run(&process.master.db, "web-1", 1).await;
    inbox.until_posts(1).await;
    // when the master ends before it hears
    process.stop().await;
    inbox.reply(Reply::Status(200, String::new()));
    let process = Process::start(folder.path(), Clock::system(), at_once()).await;
    // then
    let posts = inbox.until_posts(2).await;
    assert_eq!(posts[0].headers["idempotency-key"], posts[1].headers["idempotency-key"]);
    assert_eq!(posts[0].body, posts[1].body);
    until("all is settled", || async {
        list_open_messages(&process.master.db).await.unwrap().is_empty().then_some(())
    })
    .await;
    assert_eq!(list_messages(&process.master.db, None, 10).await.unwrap()[0].attempts, 2);
    process.stop().await;
}
