//! Registration tokens and their seats.

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use super::{FlagAgent, REGISTER, hello, unlimited, unlimited_on};
use crate::support::master::{ADMIN, TestMaster};
use crate::support::until::until;

const TOKENS: &str = "/api/v1/admin/registration-tokens";

#[actix_web::test]
async fn of_hosts_that_come_at_once_exactly_as_many_are_let_in_as_there_are_seats() {
    let master = unlimited().await;
    for (round, seats) in (0..12).map(|round| (round, 1 + round % 3)) {
        let (id, token) = master.make_token(seats).await;
        let coming =
            (0..8).map(|n| master.post(REGISTER).key(&token).json(hello(&format!("h{round}-{n}"))).send());
        let answers = join_all(coming).await;
        let let_in = answers.iter().filter(|answer| answer.status == 200).count();
        assert_eq!(let_in, seats as usize, "round {round}");
        assert!(answers.iter().all(|answer| [200, 401].contains(&answer.status)), "{answers:?}");
        let all = master.admin_get(TOKENS).expect(200).await.json();
        let row =
            all["tokens"].as_array().unwrap().iter().find(|row| row["id"] == json!(id)).unwrap().clone();
        assert_eq!((&row["seats_used"], &row["status"]), (&json!(seats), &json!("used")));
    }
    // Who was refused left nothing behind.
    let agents = master.admin_get("/api/v1/agents").expect(200).await.json();
    assert_eq!(agents["total"], json!((0..12).map(|round| 1 + round % 3).sum::<u32>()));
    master.stop().await;
}

#[actix_web::test]
async fn a_token_is_shown_once_and_nowhere_again() {
    let master = unlimited().await;
    let made = master
        .admin_post(
            TOKENS,
            json!({"label": "rack 4", "expires_in": "7d", "max_seats": 2, "metadata": {"site": "north"}}),
        )
        .expect(201)
        .await;
    assert_eq!(made.header("cache-control"), "no-store");
    let (made, token) = (made.json(), made.json()["token"].as_str().unwrap().to_owned());
    assert_eq!(token.len(), 64);
    assert!(made["install_command"].as_str().unwrap().contains(&token));
    FlagAgent::join_with(&master, "web-1", &token).await;
    for path in [
        TOKENS.to_owned(),
        format!("{TOKENS}/active"),
        format!("{TOKENS}/stats"),
        "/api/v1/agents".to_owned(),
        "/api/v2/agents".to_owned(),
        "/api/v3/events?limit=1000".to_owned(),
        "/api/v1/logs".to_owned(),
    ] {
        let answer = master.admin_get(&path).expect(200).await;
        assert!(!answer.text.contains(&token), "{path}");
    }
    let stats = master.admin_get(&format!("{TOKENS}/stats")).expect(200).await.json();
    assert_eq!((&stats["token_stats"]["active"], &stats["agent_usage"]["available"]), (&json!(1), &json!(1)));
    let valid = master.admin_get(&format!("{TOKENS}/validate?token={token}")).expect(200).await.json();
    assert_eq!((&valid["valid"], &valid["token"]["metadata"]["site"]), (&json!(true), &json!("north")));
    master.stop().await;
}

#[actix_web::test]
async fn a_token_that_was_taken_back_or_is_over_lets_nobody_in_and_puts_nobody_out() {
    let clock = lightship::clock::Clock::moved("2026-01-31T12:00:00Z".parse().unwrap());
    let master = super::unlimited_on(clock.clone()).await;
    let (_, by_text) = master.make_token(5).await;
    let (by_id, second) = master.make_token(5).await;
    let (_, over) = master.make_token(5).await;
    let (gone_id, gone) = master.make_token(5).await;
    let inside = FlagAgent::join_with(&master, "web-1", &by_text).await;
    let status =
        async |token: &str| master.post(REGISTER).key(token).json(hello("web-2")).send().await.status;
    assert_eq!(status(&second).await, 200);

    let delete = |path: String| master.ask(Method::DELETE, &path).key(ADMIN);
    delete(format!("{TOKENS}/{by_text}")).json(json!({"reason": "lost"})).expect(200).await;
    delete(format!("{TOKENS}/{by_id}")).expect(200).await;
    delete(format!("{TOKENS}/delete/{gone_id}")).expect(200).await;
    delete(format!("{TOKENS}/delete/{gone_id}")).expect(404).await;
    clock.jump(chrono::TimeDelta::hours(25));
    for (token, why) in
        [(&by_text, "by its text"), (&second, "by its id"), (&over, "over"), (&gone, "deleted")]
    {
        assert_eq!(status(token).await, 401, "{why}");
    }
    for token in ["", "x", &"0".repeat(64), &"z".repeat(600)] {
        assert_eq!(status(token).await, 401, "{token}");
    }
    assert_eq!(inside.renew(&inside.refresh, false).await.status, 200, "who is inside stays");
    let rows = master.admin_get(TOKENS).expect(200).await.json();
    let of = |label: &str| rows["stats"][label].clone();
    assert_eq!((of("revoked"), of("expired"), of("active")), (json!(2), json!(1), json!(0)));
    // Tidying drops what ended without any host, and nothing else.
    let cleaned = master.admin_post(&format!("{TOKENS}/cleanup"), json!({})).expect(200).await.json();
    assert_eq!(cleaned["cleaned"], 1);
    assert_eq!(master.admin_get(TOKENS).expect(200).await.json()["tokens"].as_array().unwrap().len(), 2);
    master.stop().await;
}

#[actix_web::test]
async fn what_a_token_is_to_be_is_checked_and_wrong_wishes_are_named() {
    let master = unlimited().await;
    for (wish, word) in [
        (json!({}), "`label`"),
        (json!({"label": "a", "max_seats": 0}), "`max_seats`"),
        (json!({"label": "a", "expires_in": "169h"}), "`expires_in`"),
        (json!({"label": "a", "expires_in": "soon"}), "`expires_in`"),
        (json!({"label": "a", "metadata": {"x": "y".repeat(5_000)}}), "`metadata`"),
    ] {
        let refused = master.admin_post(TOKENS, wish.clone()).expect(400).await.json();
        assert!(refused["error"].as_str().unwrap().contains(word), "{wish}: {refused}");
    }
    master.stop().await;
}

#[actix_web::test]
async fn an_agent_of_ours_registers_with_a_token_and_is_given_its_key_once() {
    let master = unlimited().await;
    let (_, token) = master.make_token(1).await;
    let hello = json!({"display_name": "web-1", "lightship": {"protocols": [3], "host": "web-1"}});
    let register = |key: &str| master.post("/api/v2/agents/register").key(key).json(hello.clone());
    // when
    let joined = register(&token).expect(201).await;
    assert_eq!(joined.header("cache-control"), "no-store");
    let joined = joined.json();
    let (id, key) = (joined["agent_id"].clone(), joined["lightship"]["key"].as_str().unwrap().to_owned());
    assert_eq!(joined["agent"]["status"], "enrolled");
    // then: the key opens what every key does, and the token nothing more
    let again = register(&key).expect(200).await.json();
    assert_eq!((&again["agent_id"], &again["lightship"]["key"]), (&id, &Value::Null));
    register(&token).expect(401).await;
    // and it can be given a tunnel as any other
    master.enroll(id.as_str().unwrap(), "edge").await;
    // An agent of DockFlare's could not keep a key that it is given.
    let (_, second) = master.make_token(1).await;
    master
        .post("/api/v2/agents/register")
        .key(&second)
        .json(json!({"display_name": "old"}))
        .expect(401)
        .await;
    master.stop().await;
}

#[actix_web::test]
async fn a_token_does_not_open_an_agent_that_is_there_already() {
    let master = TestMaster::start().await;
    let (_, victim) = master.new_agent("web-1").await;
    let (id, token) = master.make_token(1).await;
    let claim = json!({"agent_id": victim, "lightship": {"protocols": [3], "host": "evil"}});
    master.post("/api/v2/agents/register").key(&token).json(claim).expect(403).await;
    let rows = master.admin_get(TOKENS).expect(200).await.json();
    assert_eq!((&rows["tokens"][0]["id"], &rows["tokens"][0]["seats_used"]), (&json!(id), &json!(0)));
    master.stop().await;
}

/// Sends a registration and hangs up without having read a byte of the answer; returns once it was taken in.
async fn register_and_lose_the_answer(master: &TestMaster, path: &str, token: &str, body: &Value) {
    let count = async || {
        let agents = master.admin_get("/api/v1/agents").expect(200).await.json();
        agents["total"].as_u64().unwrap()
    };
    let before = count().await;
    let body = body.to_string();
    let mut stream = tokio::net::TcpStream::connect(master.address).await.unwrap();
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    tokio::io::AsyncWriteExt::write_all(&mut stream, request.as_bytes()).await.unwrap();
    until("the registration is taken in", || async { (count().await > before).then_some(()) }).await;
}

/// What a host of this name says when it registers.
type Form = fn(&str) -> Value;

#[actix_web::test]
async fn a_host_whose_answer_was_lost_is_let_in_again_on_its_seat_and_nobody_else_is() {
    let clock = lightship::clock::Clock::moved("2026-01-31T12:00:00Z".parse().unwrap());
    let master = unlimited_on(clock.clone()).await;
    let ours: Form = |host| json!({"display_name": host, "lightship": {"protocols": [3], "host": host}});
    let forms: [(&str, Form); 2] = [(REGISTER, hello), ("/api/v2/agents/register", ours)];
    for (n, (path, form)) in forms.into_iter().enumerate() {
        let (id, token) = master.make_token(1).await;
        let name = format!("web-{n}");
        register_and_lose_the_answer(&master, path, &token, &form(&name)).await;
        // Another host does not get in by it.
        master.post(path).key(&token).json(form("other")).expect(401).await;

        // when it tries again, and again loses the answer
        let again = master.post(path).key(&token).json(form(&name)).expect(200).await.json();
        let last = master.post(path).key(&token).json(form(&name)).expect(200).await.json();

        // then it is one agent on one seat, and what was given before opens nothing
        assert_eq!(again["agent_id"], last["agent_id"], "{path}");
        let agents = master.admin_get("/api/v1/agents").expect(200).await.json();
        let named =
            agents["agents"].as_array().unwrap().iter().filter(|agent| agent["hostname"] == json!(name));
        assert_eq!(named.count(), 1, "{agents}");
        let tokens = master.admin_get(TOKENS).expect(200).await.json();
        let own =
            tokens["tokens"].as_array().unwrap().iter().find(|row| row["id"] == json!(id)).unwrap().clone();
        assert_eq!(own["seats_used"], 1);
        let agent = last["agent_id"].as_str().unwrap();
        if path == REGISTER {
            let commands = format!("/api/v1/agents/{agent}/commands");
            master.get(&commands).key(again["token"].as_str().unwrap()).expect(401).await;
            master.get(&commands).key(last["token"].as_str().unwrap()).expect(200).await;
        } else {
            let key = |answer: &Value| answer["lightship"]["key"].as_str().unwrap().to_owned();
            master.post(path).key(&key(&again)).json(ours(&name)).expect(401).await;
            master.post(path).key(&key(&last)).json(ours(&name)).expect(200).await;
        }
        // Once its agent spoke, the token opens nothing any more.
        master.post(path).key(&token).json(form(&name)).expect(401).await;
    }
    // Nor after its time, whatever was heard.
    let (_, token) = master.make_token(1).await;
    register_and_lose_the_answer(&master, REGISTER, &token, &hello("late")).await;
    clock.jump(chrono::TimeDelta::hours(25));
    master.post(REGISTER).key(&token).json(hello("late")).expect(401).await;
    master.stop().await;
}
