//! Whom an access token lets in, and whom no more.

use std::sync::atomic::{AtomicU8, Ordering};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::TimeDelta;
use lightship::clock::Clock;
use lightship::domain::role::Role;
use reqwest::Method;
use serde_json::{Value, json};

use super::{FlagAgent, REGISTER, behind_a_proxy, unlimited, unlimited_on};
use crate::pages::{Browser, PASSWORD};
use crate::support::master::{ADMIN, TestMaster};

async fn status(master: &TestMaster, access: &str, id: &str) -> u16 {
    master.get(&format!("/api/v1/agents/{id}/commands")).key(access).send().await.status
}

#[actix_web::test]
async fn tokens_of_nobody_of_others_and_of_yesterday_are_refused() {
    let clock = Clock::moved("2026-01-31T12:00:00Z".parse().unwrap());
    let (master, other) = (
        unlimited_on(clock.clone()).await,
        TestMaster::build(true, |settings| {
            settings.jwt_secret = "the-secret-of-another-master".to_owned().into();
        })
        .await,
    );
    let agent = FlagAgent::join(&master, "web-1").await;
    let (theirs, their_id) = other.new_redflag_agent("web-1").await;
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let claims = agent.access.split('.').nth(1).unwrap();
    let none = format!("{}.{claims}.", part(json!({"alg": "none", "typ": "JWT"})));
    let signature = agent.access.rsplit('.').next().unwrap();
    let altered = format!(
        "{}.{}.{signature}",
        agent.access.split('.').next().unwrap(),
        part(
            json!({"agent_id": agent.id, "key_id": "x", "aud": "lightship-agent", "iat": 0, "exp": 9_999_999_999_u64})
        )
    );
    for (bad, what) in [
        (none.as_str(), "alg none"),
        (&altered, "altered"),
        (&theirs, "of another master"),
        ("", "none"),
        ("a.b.c", "no token"),
        (ADMIN, "the admin token"),
        (&agent.refresh, "a refresh token"),
    ] {
        assert_eq!(status(&master, bad, &agent.id).await, 401, "{what}");
    }
    assert_eq!(status(&master, &theirs, &their_id).await, 401);
    assert_eq!(status(&master, &agent.access, &agent.id).await, 200);
    clock.jump(TimeDelta::hours(25));
    assert_eq!(status(&master, &agent.access, &agent.id).await, 401, "of yesterday");
    // U20: the same agent goes on with its refresh token.
    let renewed = agent.renew(&agent.refresh, false).await.json()["token"].as_str().unwrap().to_owned();
    assert_eq!(status(&master, &renewed, &agent.id).await, 200);
    let agents = master.admin_get("/api/v1/agents").expect(200).await.json();
    assert_eq!((&agents["total"], &agents["agents"][0]["id"]), (&json!(1), &json!(agent.id)));
    master.stop().await;
    other.stop().await;
}

#[actix_web::test]
async fn the_paths_agent_must_be_the_tokens() {
    let master = unlimited().await;
    let (one, other) = (FlagAgent::join(&master, "web-1").await, FlagAgent::join(&master, "web-2").await);
    for (method, rest) in [
        (Method::GET, "/commands"),
        (Method::POST, "/updates"),
        (Method::POST, "/logs"),
        (Method::POST, "/dependencies"),
        (Method::POST, "/system-info"),
        (Method::POST, "/rapid-mode"),
        (Method::DELETE, ""),
    ] {
        let path = format!("/api/v1/agents/{}{rest}", other.id);
        let refused = master.ask(method, &path).key(&one.access).json(json!({})).expect(403).await.json();
        assert_eq!(refused["code"], "key_mismatch", "{path}");
    }
    assert_eq!(status(&master, &other.access, &other.id).await, 200, "nothing happened to it");
    master.stop().await;
}

#[actix_web::test]
async fn a_command_of_another_agent_is_neither_finished_nor_named() {
    let master = unlimited().await;
    let (one, other) = (FlagAgent::join(&master, "web-1").await, FlagAgent::join(&master, "web-2").await);
    master.admin_post(&format!("/api/v1/agents/{}/scan", other.id), json!({})).expect(200).await;
    let command = other.check_in().await[0]["id"].as_str().unwrap().to_owned();
    one.post("/logs", super::log(&command, "success", "Found 0 APT updates"), 404).await;
    let recent = master.admin_get("/api/v1/commands/recent").expect(200).await.json();
    assert_eq!(recent["commands"][0]["status"], "sent");
    other.post("/logs", super::log(&command, "failure", "APT scan failed: x"), 200).await;
    let recent = master.admin_get("/api/v1/commands/recent").expect(200).await.json();
    assert_eq!(recent["commands"][0]["status"], "failed");
    master.stop().await;
}

#[actix_web::test]
async fn an_agent_that_is_removed_or_revoked_is_refused_at_once() {
    let master = unlimited().await;
    let key_of = async |agent: &FlagAgent<'_>| agent.seen().await["key_id"].as_str().unwrap().to_owned();
    let [removed, revoked, by_key, left] = [
        FlagAgent::join(&master, "a").await,
        FlagAgent::join(&master, "b").await,
        FlagAgent::join(&master, "c").await,
        FlagAgent::join(&master, "d").await,
    ];
    let key = key_of(&by_key).await;
    master.admin_post(&format!("/api/v2/agents/{}/remove", removed.id), json!({})).expect(200).await;
    master.admin_post(&format!("/api/v3/agents/{}/revoke", revoked.id), json!({})).expect(200).await;
    master.admin_post("/api/v2/agents/revoke-key", json!({"key_id": key})).expect(200).await;
    let own = format!("/api/v1/agents/{}", left.id);
    master.ask(Method::DELETE, &own).key(&left.access).expect(200).await;
    for (agent, what) in
        [(&removed, "removed"), (&revoked, "revoked"), (&by_key, "its key revoked"), (&left, "gone")]
    {
        assert_eq!(status(&master, &agent.access, &agent.id).await, 401, "{what}");
        assert_eq!(agent.renew(&agent.refresh, false).await.status, 401, "{what}");
    }
    master.stop().await;
}

#[actix_web::test]
async fn tokens_of_agents_and_people_open_nothing_of_each_other() {
    let master = unlimited().await;
    let agent = FlagAgent::join(&master, "web-1").await;
    Browser::with_role(&master, Role::Admin).await;
    let person = master.log_in("admin", PASSWORD).await;
    for path in [
        "/api/v1/agents",
        "/api/v1/updates",
        "/api/v2/agents",
        "/api/v3/events",
        "/api/v1/admin/registration-tokens",
    ] {
        master.get(path).key(&agent.access).expect(401).await;
        master.get(path).key(&person).expect(200).await;
    }
    assert_eq!(status(&master, &person, &agent.id).await, 401);
    // A person's token may leave the scheme out, as scripts for RedFlag do.
    master.get("/api/v1/agents").header("authorization", &person).expect(200).await;
    master.stop().await;
}

#[actix_web::test]
async fn a_persons_token_follows_the_role_and_ends_with_the_password() {
    let master = unlimited().await;
    for role in [Role::Viewer, Role::Operator, Role::Admin] {
        Browser::with_role(&master, role).await;
    }
    let viewer = master.log_in("viewer", PASSWORD).await;
    let operator = master.log_in("operator", PASSWORD).await;
    master.get("/api/v1/agents").key(&viewer).expect(200).await;
    let refused = master.get("/api/v1/admin/registration-tokens").key(&operator).expect(403).await.json();
    assert_eq!(refused["code"], "forbidden");
    let verified = master.get("/api/v1/auth/verify").key(&operator).expect(200).await.json();
    assert_eq!((&verified["valid"], &verified["user"]["role"]), (&json!(true), &json!("user")));
    master
        .admin_post("/api/v3/admins/viewer/password", json!({"password": "another calm sea"}))
        .expect(200)
        .await;
    master.get("/api/v1/agents").key(&viewer).expect(401).await;
    // Whoever has only the token cannot set the password with it.
    let admin = master.log_in("admin", PASSWORD).await;
    let path = "/api/v3/admins/admin/password";
    master.post(path).key(&admin).json(json!({"password": "yet another sea"})).expect(400).await;
    master.stop().await;
}

#[actix_web::test]
async fn guesses_at_a_password_wait_as_on_the_page() {
    let master = unlimited().await;
    Browser::with_role(&master, Role::Admin).await;
    let guess = async |password: &str| {
        let body = json!({"username": "admin", "password": password});
        master.post("/api/v1/auth/login").json(body).send().await
    };
    for _ in 0..5 {
        let refused = guess("wrong").await;
        assert_eq!((refused.status, &refused.json()["error"]), (401, &json!("invalid username or password")));
    }
    let waits = guess(PASSWORD).await;
    assert_eq!((waits.status, &waits.json()["code"]), (429, &json!("too_many_attempts")));
    master.stop().await;
}

#[actix_web::test]
async fn callers_are_limited_by_address_or_agent_with_the_headers_that_say_so() {
    let master = behind_a_proxy().await;
    let login = |from: &str| {
        let body = json!({"username": "nobody", "password": "x"});
        master.post("/api/v1/auth/login").header("x-forwarded-for", from).json(body).send()
    };
    for left in (0..20).rev() {
        let answer = login("10.1.1.1").await;
        assert_eq!(answer.header("x-ratelimit-limit"), "20");
        assert_eq!(answer.header("x-ratelimit-remaining"), left.to_string());
    }
    let refused = login("10.1.1.1").await;
    assert_eq!(refused.status, 429);
    assert!(!refused.header("retry-after").is_empty() && !refused.header("x-ratelimit-reset").is_empty());
    let body = refused.json();
    assert_eq!(
        (&body["error"], &body["limit"], &body["window"]),
        (&json!("Rate limit exceeded"), &json!(20), &json!("1m0s"))
    );
    assert!(body["reset_time"].is_string() && body["code"] == "rate_limited", "{body}");
    assert_ne!(login("10.1.1.2").await.status, 429, "another address has its own");

    // Reports are counted for each agent, whatever the path it names: a foreign one was refused before.
    let (one, one_id) = master.new_redflag_agent("web-1").await;
    let (other, other_id) = master.new_redflag_agent("web-2").await;
    let info = async |access: &str, id: &str| {
        master
            .post(&format!("/api/v1/agents/{id}/system-info"))
            .key(access)
            .json(json!({}))
            .send()
            .await
            .status
    };
    for _ in 0..30 {
        assert_eq!(info(&other, &one_id).await, 403);
        assert_eq!(info(&one, &one_id).await, 200);
    }
    assert_eq!(info(&one, &one_id).await, 429);
    assert_eq!(info(&other, &other_id).await, 200);
    master.stop().await;
}

#[actix_web::test]
async fn whoever_is_not_let_in_is_told_nothing_of_what_else_is_wrong() {
    let master = behind_a_proxy().await;
    // Each from another address, so that wrong tokens are not counted together.
    let asked = AtomicU8::new(0);
    let from_another = |path: &str| {
        let address = format!("10.0.0.{}", asked.fetch_add(1, Ordering::Relaxed));
        master.post(path).header("x-forwarded-for", &address)
    };
    let agent = FlagAgent::join(&master, "web-1").await;
    let (_, token) = master.make_token(1).await;
    let wrong = "0".repeat(64);
    let own = |rest: &str| format!("/api/v1/agents/{}{rest}", agent.id);
    let paths = [
        REGISTER.to_owned(),
        own("/updates"),
        own("/logs"),
        own("/dependencies"),
        own("/system-info"),
        own("/rapid-mode"),
        own("/scan"),
        own("/update"),
        "/api/v1/updates".to_owned(),
        "/api/v1/updates/approve".to_owned(),
        "/api/v1/admin/registration-tokens".to_owned(),
        "/api/v2/agents/register".to_owned(),
    ];
    for path in &paths {
        for body in ["{", "[]", "not json at all", ""] {
            let answer = from_another(path).key(&wrong).raw(body).send().await;
            assert_eq!(answer.status, 401, "{path} {body:?}: {}", answer.text);
        }
        let as_text = from_another(path).key(&wrong).header("content-type", "text/plain").body("x");
        let as_text = as_text.send().await;
        assert_eq!(as_text.status, 401, "{path}: {}", as_text.text);
    }
    // With a token in the body that one is looked at before the other fields.
    let in_body = json!({ "registration_token": wrong, "hostname": 7 });
    from_another(REGISTER).json(in_body).expect(401).await;
    // Whoever is let in is told.
    from_another(REGISTER).key(&token).raw("{").expect(400).await;
    let in_body = json!({ "registration_token": token, "hostname": 7 });
    let refused = from_another(REGISTER).json(in_body).expect(400).await;
    assert!(refused.text.contains("`hostname`"), "{}", refused.text);
    from_another(REGISTER).json(json!({})).expect(401).await;
    master.stop().await;
}
