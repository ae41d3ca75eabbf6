//! Service tokens: made, rotated and revoked by people, and their secrets seen by nobody else.

use lightship::db::events;
use lightship::db::read::EventFilter;
use reqwest::Method;
use serde_json::{Value, json};

use crate::pages::Browser;
use crate::support::asking::Answer;
use crate::support::cloudflare::{Fault, Op, Trouble};
use crate::support::master::{ADMIN, TestMaster};

const TOKENS: &str = "/api/v3/access/service-tokens";

async fn create(master: &TestMaster, body: Value) -> Answer {
    master.ask(Method::POST, TOKENS).key(ADMIN).json(body).send().await
}

async fn rotate(master: &TestMaster, token: &str) -> Answer {
    master.ask(Method::POST, &format!("{TOKENS}/{token}/rotate")).key(ADMIN).json(json!({})).send().await
}

async fn revoke(master: &TestMaster, token: &str) -> Answer {
    master.ask(Method::DELETE, &format!("{TOKENS}/{token}")).key(ADMIN).send().await
}

async fn list(master: &TestMaster) -> Vec<Value> {
    let listed = master.admin_get(TOKENS).expect(200).await.json();
    listed["service_tokens"].as_array().unwrap().clone()
}

/// A group that programs with this token come in by.
async fn group(master: &TestMaster, id: &str, token: &str) {
    let policy =
        json!({ "decision": "non_identity", "include": [{ "service_token": { "token_id": token } }] });
    let place = format!("/api/v3/access/groups/{id}");
    let made = master.ask(Method::PUT, &place).key(ADMIN).json(json!({ "policies": [policy] })).send().await;
    assert_eq!(made.status, 200, "{}", made.text);
}

/// Types and texts of the events about service tokens, in order, with who did it.
async fn on_record(master: &TestMaster) -> Vec<(String, String, Value)> {
    let rows = events::list_events(&master.db, &EventFilter::default(), 1_000).await.unwrap();
    let told = rows.into_iter().map(|row| (row.actor.clone(), serde_json::to_value(&row.event).unwrap()));
    told.map(|(by, event)| (by, event["type"].as_str().unwrap().to_owned(), event))
        .filter(|(_, kind, _)| kind.starts_with("access_token_"))
        .collect()
}

fn error(answer: &Answer) -> (u16, String, String) {
    let body = answer.json();
    (answer.status, body["code"].as_str().unwrap().to_owned(), body["error"].as_str().unwrap().to_owned())
}

#[actix_web::test]
async fn a_token_is_made_listed_rotated_and_revoked_and_its_secret_is_told_once() {
    // given
    let master = TestMaster::start().await;
    // when
    let made = create(&master, json!({ "name": " ci ", "duration": "24h" })).await;
    // then
    assert_eq!((made.status, made.header("cache-control")), (201, "no-store"), "{}", made.text);
    let made = made.json();
    let id = made["id"].as_str().unwrap();
    assert_eq!((&made["name"], &made["duration"]), (&json!("ci"), &json!("24h")));
    let first = made["client_secret"].as_str().unwrap().to_owned();
    assert_eq!(master.standin.secret_of(id), Some(first.clone()));
    group(&master, "robots", "CI").await;
    let [listed] = list(&master).await.try_into().unwrap();
    assert_eq!((&listed["id"], &listed["client_id"]), (&made["id"], &made["client_id"]));
    assert_eq!((&listed["groups"], &listed["is_expired"]), (&json!(["robots"]), &json!(false)));
    assert!(listed.get("client_secret").is_none(), "{listed}");
    // when
    let rotated = rotate(&master, "ci").await;
    // then
    assert_eq!((rotated.status, rotated.header("cache-control")), (200, "no-store"), "{}", rotated.text);
    let second = rotated.json()["client_secret"].as_str().unwrap().to_owned();
    assert_ne!(first, second);
    assert_eq!(master.standin.secret_of(id), Some(second));
    // when: a group names it
    let (status, code, words) = error(&revoke(&master, id).await);
    // then
    assert_eq!((status, code.as_str()), (409, "service_token_in_use"));
    assert!(words.contains("`robots`"), "{words}");
    assert_eq!(master.standin.service_tokens("ci").len(), 1);
    // when: none does any more
    master.ask(Method::DELETE, "/api/v3/access/groups/robots").key(ADMIN).expect(200).await;
    assert_eq!(revoke(&master, id).await.status, 200);
    // then
    assert_eq!(list(&master).await, Vec::<Value>::new());
    let (status, code, _) = error(&revoke(&master, id).await);
    assert_eq!((status, code.as_str()), (404, "service_token_not_found"));
    let record = on_record(&master).await;
    let kinds: Vec<&str> = record.iter().map(|(_, kind, _)| kind.as_str()).collect();
    assert_eq!(kinds, ["access_token_created", "access_token_rotated", "access_token_revoked"]);
    assert!(record.iter().all(|(by, _, event)| by == "token" && event["name"] == "ci"), "{record:?}");
    let everything = format!(
        "{record:?}{}{}",
        master.admin_get("/api/v3/events").expect(200).await.text,
        master.admin_get(TOKENS).expect(200).await.text
    );
    for secret in master.standin.service_secrets() {
        assert!(!everything.contains(&secret), "a secret is in what everybody reads");
    }
    master.stop().await;
}

#[actix_web::test]
async fn a_name_that_is_taken_and_what_is_no_token_are_refused_before_anything_is_made() {
    let master = TestMaster::start().await;
    master.standin.add_service_token("Deploy");
    let before = master.standin.state().access.service_tokens.clone();
    for (body, status, code, words) in [
        (json!({ "name": "deploy" }), 409, "service_token_exists", "lightship access tokens rotate"),
        (json!({}), 400, "invalid", "name of a service token"),
        (json!({ "name": "x", "duration": "1d" }), 400, "invalid", "`d` is no unit"),
        (json!({ "name": "x", "duration": "1s" }), 400, "invalid", "a minute"),
    ] {
        let (told, word, reason) = error(&create(&master, body.clone()).await);
        assert_eq!((told, word.as_str()), (status, code), "{body}: {reason}");
        assert!(reason.contains(words), "{body}: {reason}");
    }
    assert_eq!(master.standin.state().access.service_tokens, before);
    assert!(on_record(&master).await.is_empty());
    master.stop().await;
}

#[actix_web::test]
async fn a_lost_answer_is_looked_after_and_nobody_is_told_that_it_went_well() {
    let master = TestMaster::start().await;
    // The call took effect.
    master.standin.inject(Fault::on(Op::CreateServiceToken, Trouble::ServerError).after_effect());
    let (status, code, words) = error(&create(&master, json!({ "name": "lost" })).await);
    let id = master.standin.service_tokens("lost")[0]["id"].as_str().unwrap().to_owned();
    assert_eq!((status, code.as_str()), (502, "cloudflare_failed"), "{words}");
    for part in ["nobody has its secret", &format!("lightship access tokens revoke {id}")] {
        assert!(words.contains(part), "{words}");
    }
    assert_eq!(on_record(&master).await.len(), 1, "it was made all the same");
    // It did not.
    master.standin.inject(Fault::on(Op::CreateServiceToken, Trouble::ServerError));
    let (_, _, words) = error(&create(&master, json!({ "name": "never" })).await);
    assert!(words.contains("was not made"), "{words}");
    assert!(master.standin.service_tokens("never").is_empty());
    // Nobody can say: the look and the count before it are answered, the look after it is not.
    master.standin.inject(Fault::on(Op::CreateServiceToken, Trouble::ServerError).after_effect());
    let is_answered = Trouble::Slow(std::time::Duration::ZERO);
    master.standin.inject(Fault::on(Op::ListServiceTokens, is_answered).times(2));
    master.standin.inject(Fault::on(Op::ListServiceTokens, Trouble::ServerError));
    let (_, _, words) = error(&create(&master, json!({ "name": "unknown" })).await);
    assert!(words.contains("is not known") && words.contains("lightship access tokens list"), "{words}");
    master.standin.heal();
    // A rotation whose answer is lost may have ended the secret before it.
    master.standin.inject(Fault::on(Op::RotateServiceToken, Trouble::ServerError).after_effect());
    let (status, _, words) = error(&rotate(&master, "lost").await);
    assert!(status == 502 && words.contains("rotate it again"), "{words}");
    let (_, kind, event) = on_record(&master).await.pop().unwrap();
    assert_eq!((kind.as_str(), &event["is_unconfirmed"]), ("access_token_rotated", &json!(true)));
    // One that is gone in spite of a lost answer is gone.
    master.standin.inject(Fault::on(Op::DeleteServiceToken, Trouble::ServerError).after_effect());
    assert_eq!(revoke(&master, "lost").await.status, 200);
    assert!(master.standin.service_tokens("lost").is_empty());
    master.stop().await;
}

#[actix_web::test]
async fn a_token_that_somebody_elses_policy_names_stays_with_cloudflares_words() {
    let master = TestMaster::start().await;
    let id = master.standin.add_service_token("theirs");
    let include = json!([{ "service_token": { "token_id": id } }]);
    master.standin.add_policy(json!({ "name": "p", "decision": "non_identity", "include": include }));
    let (status, code, words) = error(&revoke(&master, &id).await);
    assert_eq!((status, code.as_str()), (502, "cloudflare_failed"));
    assert!(words.contains("used by a policy"), "{words}");
    assert_eq!(master.standin.service_tokens("theirs").len(), 1);
    master.stop().await;
}

#[actix_web::test]
async fn two_tokens_of_one_name_are_told_apart_by_their_ids() {
    let master = TestMaster::start().await;
    let (one, other) = (master.standin.add_service_token("twin"), master.standin.add_service_token("twin"));
    let (status, code, words) = error(&rotate(&master, "twin").await);
    assert_eq!((status, code.as_str()), (404, "service_token_not_found"));
    assert!(words.contains("by its id"), "{words}");
    assert_eq!(revoke(&master, &one).await.status, 200);
    let left = list(&master).await;
    assert_eq!((left.len(), &left[0]["id"]), (1, &json!(other)));
    master.stop().await;
}

#[actix_web::test]
async fn a_missing_right_is_named_and_without_a_token_for_cloudflare_it_says_so() {
    let master = TestMaster::start().await;
    master.standin.take_right("Access: Service Tokens Write");
    assert_eq!(list(&master).await, Vec::<Value>::new());
    let (status, _, words) = error(&create(&master, json!({ "name": "ci" })).await);
    assert!(status == 502 && words.contains("`Access: Service Tokens Write`"), "{words}");
    master.stop().await;

    let master = TestMaster::start().await;
    master.standin.take_right("Access: Service Tokens");
    let told = master.admin_get(TOKENS).send().await;
    let (status, _, words) = error(&told);
    assert!(status == 502 && words.contains("`Access: Service Tokens Read`"), "{words}");
    let page = Browser::signed_in(&master).await.get("/access").await.text;
    assert!(page.contains("Access: Service Tokens Read"), "{page}");
    master.stop().await;

    let master = TestMaster::without_cloudflare().await;
    assert_eq!(create(&master, json!({ "name": "ci" })).await.json()["code"], "no_cloudflare_token");
    let page = Browser::signed_in(&master).await.get("/access").await.text;
    assert!(page.contains("CF_API_TOKEN") && !page.contains("make-service-token"), "{page}");
    master.stop().await;
}

#[actix_web::test]
async fn the_page_lists_makes_rotates_and_revokes_and_shows_a_secret_once() {
    let master = TestMaster::start().await;
    let browser = Browser::signed_in(&master).await;
    let expired = master.standin.add_service_token("old <1>");
    master.standin.expire_service_token(&expired);
    // when
    let made = browser.submit("/access", "/access/tokens", &[("name", "ci"), ("duration", "8760h")]).await;
    // then
    assert_eq!(made.status, 200, "{}", made.text);
    let id = master.standin.service_tokens("ci")[0]["id"].as_str().unwrap().to_owned();
    let secret = master.standin.secret_of(&id).unwrap();
    assert!(made.text.contains(&secret) && made.text.contains("shown only now"), "{}", made.text);
    assert_eq!(made.header("cache-control"), "no-store");
    let page = browser.get("/access").await.text;
    assert!(!page.contains(&secret), "a reload does not show it");
    for words in ["old &#60;1&#62;", "expired", "no group", &format!("/access/tokens/{id}/revoke")] {
        assert!(page.contains(words), "{words}: {page}");
    }
    // when: the name is taken
    let refused = browser.submit("/access", "/access/tokens", &[("name", "CI"), ("duration", "")]).await;
    assert!(refused.status == 409 && refused.text.contains("There is a service token"), "{}", refused.text);
    let refused = browser.submit("/access", "/access/tokens", &[("name", "x"), ("duration", "1d")]).await;
    assert!(refused.status == 400 && refused.text.contains("is no unit"), "{}", refused.text);
    // when: another secret
    let place = format!("/access/tokens/{id}/rotate");
    let asked = browser.submit("/access", &place, &[]).await;
    assert!(
        asked.text.contains("Make another secret") && master.standin.secret_of(&id) == Some(secret.clone())
    );
    let rotated = browser.submit("/access", &place, &[("confirmed", "yes")]).await;
    let second = master.standin.secret_of(&id).unwrap();
    assert!(second != secret && rotated.text.contains(&second), "{}", rotated.text);
    // when: it goes
    let place = format!("/access/tokens/{id}/revoke");
    assert!(browser.submit("/access", &place, &[]).await.text.contains("Revoke service token"));
    let gone = browser.submit("/access", &place, &[("confirmed", "yes")]).await;
    assert_eq!((gone.status, gone.header("location")), (303, "/access"), "{}", gone.text);
    assert!(master.standin.service_tokens("ci").is_empty());
    assert_eq!(on_record(&master).await.len(), 3);
    master.stop().await;
}

#[actix_web::test]
async fn the_limits_of_the_account_are_told() {
    let master = TestMaster::start().await;
    master.standin.add_service_token("ci");
    let told = master.admin_get("/api/v3/cloudflare/limits").expect(200).await.json();
    let of = |kind: &str| {
        let all = told["limits"].as_array().unwrap();
        all.iter().find(|one| one["kind"] == kind).unwrap_or_else(|| panic!("{told}")).clone()
    };
    assert_eq!(
        of("service_tokens"),
        json!({ "kind": "service_tokens", "limit": 50, "used": 1, "reason": null })
    );
    for (kind, limit) in [("tunnels", 1_000), ("applications", 500), ("policies", 500)] {
        assert_eq!((&of(kind)["limit"], &of(kind)["used"]), (&json!(limit), &json!(0)), "{told}");
    }
    master.stop().await;
}
