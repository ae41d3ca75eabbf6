//! Refresh tokens: renewed, replaced, stolen (U20).

use chrono::TimeDelta;
use lightship::clock::Clock;
use serde_json::json;

use super::{FlagAgent, unlimited, unlimited_on};
use crate::support::asking::Answer;

fn next_of(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["refresh_token"].as_str().unwrap().to_owned()
}

#[actix_web::test]
async fn an_agent_of_redflags_keeps_its_token_as_long_as_it_uses_it() {
    let clock = Clock::moved("2026-01-31T12:00:00Z".parse().unwrap());
    let master = unlimited_on(clock.clone()).await;
    let agent = FlagAgent::join(&master, "web-1").await;
    for _ in 0..4 {
        clock.jump(TimeDelta::days(80));
        let renewed = agent.renew(&agent.refresh, false).await;
        assert_eq!((renewed.status, renewed.json().get("refresh_token")), (200, None));
        assert_eq!(renewed.header("cache-control"), "no-store");
    }
    clock.jump(TimeDelta::days(91));
    assert_eq!(agent.renew(&agent.refresh, false).await.status, 401);
    master.stop().await;
}

#[actix_web::test]
async fn old_and_new_both_work_until_the_new_one_was_used() {
    let master = unlimited().await;
    let agent = FlagAgent::join(&master, "web-1").await;
    // The answer with the first one is cut: the host knows the old one only.
    let lost = next_of(&agent.renew(&agent.refresh, true).await);
    let second = next_of(&agent.renew(&agent.refresh, true).await);
    assert_ne!(lost, second);
    let third = next_of(&agent.renew(&second, true).await);
    assert_eq!(agent.renew(&third, true).await.status, 200);
    let seen = agent.seen().await;
    assert_eq!((&seen["credential"]["rotated"], &seen["standing"]), (&json!(true), &json!("enrolled")));
    let agents = master.admin_get("/api/v1/agents").expect(200).await.json();
    assert_eq!(
        (&agents["total"], &agents["agents"][0]["id"]),
        (&json!(1), &json!(agent.id)),
        "one registration"
    );
    master.stop().await;
}

#[actix_web::test]
async fn a_stolen_token_used_twice_ends_what_came_from_it_and_is_shown() {
    let master = unlimited().await;
    for thief_is_first in [true, false] {
        // given: a copy of the token, and both use it
        let agent = FlagAgent::join(&master, "web-1").await;
        let bystander = FlagAgent::join(&master, "web-2").await;
        let copy = agent.refresh.clone();
        let mine = next_of(&agent.renew(&agent.refresh, true).await);
        let access = agent.renew(&mine, true).await.json()["token"].as_str().unwrap().to_owned();
        let (first, second) = if thief_is_first { (&copy, &mine) } else { (&copy, &copy) };
        // when: the one that was replaced comes again
        assert_eq!(agent.renew(first, true).await.status, 401);
        // then: nothing of the family opens anything, access that was given included
        assert_eq!(agent.renew(second, true).await.status, 401);
        assert_eq!(agent.renew(&mine, false).await.status, 401);
        for token in [&access, &agent.access] {
            master.get(&format!("/api/v1/agents/{}/commands", agent.id)).key(token).expect(401).await;
        }
        let seen = agent.seen().await;
        assert_eq!(seen["standing"], "revoked");
        let problem = seen["problem"].as_str().unwrap();
        assert!(problem.contains("used again after it was replaced"), "{problem}");
        let ours = master.admin_get("/api/v2/agents").expect(200).await.json();
        assert_eq!(ours["agents"][&agent.id]["problem"], json!(problem));
        assert_eq!(bystander.renew(&bystander.refresh, false).await.status, 200);
        // and it is in the record, once
        let path = format!("/api/v3/events?stream=agent/{}&limit=100", agent.id);
        let events = master.admin_get(&path).expect(200).await.text;
        assert_eq!(events.matches("agent_credential_reused").count(), 1, "{events}");
    }
    master.stop().await;
}

#[actix_web::test]
async fn wrong_tokens_and_others_agents_are_refused_alike() {
    let master = unlimited().await;
    let (one, other) = (FlagAgent::join(&master, "web-1").await, FlagAgent::join(&master, "web-2").await);
    let renew = async |id: &str, token: &str| {
        let body = json!({"agent_id": id, "refresh_token": token});
        let answer = master.post("/api/v1/agents/renew").json(body).send().await;
        (answer.status, answer.json()["code"].clone())
    };
    for (id, token) in
        [(&one.id, &other.refresh), (&other.id, &"0".repeat(64)), (&"nobody".to_owned(), &one.refresh)]
    {
        assert_eq!(renew(id, token).await, (401, json!("token_refused")));
    }
    assert_eq!(renew(&one.id, &one.refresh).await.0, 200);
    master.stop().await;
}
