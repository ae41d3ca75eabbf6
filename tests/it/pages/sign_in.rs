//! Who gets in: the first run, signing in and out, guessing.

use std::sync::Mutex;

use secrecy::ExposeSecret;
use serde_json::json;

use super::{Browser, PASSWORD, token_of};
use crate::support::master::TestMaster;

#[actix_web::test]
async fn the_first_run_link_works_once() {
    let master = TestMaster::start().await;
    let browser = Browser::new(&master);
    assert_eq!(browser.get("/").await.header("location"), "/setup");
    assert_eq!(browser.get("/login").await.header("location"), "/setup");
    let closed = browser.get("/setup?token=guess").await;
    assert!(closed.status == 200 && !closed.text.contains("<form"), "{}", closed.text);

    let token = master.state.open_setup().expose_secret().to_owned();
    let link = format!("/setup?token={token}");
    let fill = |name: &'static str, password: &'static str, again: &'static str| {
        let token = token.clone();
        let (browser, link) = (&browser, link.clone());
        async move {
            let fields =
                [("token", token.as_str()), ("name", name), ("password", password), ("again", again)];
            browser.submit(&link, "/setup", &fields).await
        }
    };
    assert!(fill("ann", "short", "short").await.text.contains("10 characters or more"));
    assert!(fill("ann", PASSWORD, "something else").await.text.contains("not the same"));
    assert_eq!(fill(" ann", PASSWORD, PASSWORD).await.status, 400);
    let done = fill("ann", PASSWORD, PASSWORD).await;
    assert_eq!((done.status, done.header("location")), (303, "/"));
    assert!(browser.get("/").await.text.contains("No agents yet"));

    let second = Browser::new(&master);
    assert_eq!(second.get(&link).await.header("location"), "/login");
    assert_eq!(second.sign_in("ann", PASSWORD).await.header("location"), "/agents");
    master.stop().await;
}

#[actix_web::test]
async fn the_set_up_form_needs_the_token_of_the_link() {
    let master = TestMaster::start().await;
    let browser = Browser::new(&master);
    let token = master.state.open_setup().expose_secret().to_owned();
    let fields = [("token", "guess"), ("name", "eve"), ("password", PASSWORD), ("again", PASSWORD)];
    let page = format!("/setup?token={token}");
    assert_eq!(browser.submit(&page, "/setup", &fields).await.status, 403);
    assert_eq!(browser.get("/").await.header("location"), "/setup");

    // Who guesses is kept out after a while, and who has the link is not.
    for _ in 0..4 {
        assert_eq!(browser.submit(&page, "/setup", &fields).await.status, 403);
    }
    assert_eq!(browser.submit(&page, "/setup", &fields).await.status, 429);
    let fields = [("token", token.as_str()), ("name", "ann"), ("password", PASSWORD), ("again", PASSWORD)];
    assert_eq!(browser.submit(&page, "/setup", &fields).await.status, 303);
    master.stop().await;
}

#[actix_web::test]
async fn a_wrong_password_says_no_more_than_an_unknown_name() {
    let master = TestMaster::start().await;
    Browser::signed_in(&master).await;
    let stranger = Browser::new(&master);
    let (wrong, unknown) =
        (stranger.sign_in("ann", "wrong password").await, stranger.sign_in("bob", PASSWORD).await);
    assert_eq!((wrong.status, unknown.status), (401, 401));
    for answer in [wrong, unknown] {
        assert!(answer.text.contains("Name or password is wrong."), "{}", answer.text);
    }
    assert_eq!(stranger.get("/agents").await.header("location"), "/login?next=%2Fagents");
    master.stop().await;
}

#[actix_web::test]
async fn guessing_is_locked_out_and_the_owner_is_not() {
    let master = TestMaster::start().await;
    let owner = Browser::signed_in(&master).await;
    let guesser = Browser::new(&master);
    for _ in 0..5 {
        assert_eq!(guesser.sign_in("ann", "wrong password").await.status, 401);
    }
    let locked = guesser.sign_in("ann", PASSWORD).await;
    assert_eq!(locked.status, 429);
    assert!(locked.text.contains("Try again in"), "{}", locked.text);

    // The session goes on, and the browser that signed in before may sign in again, from the same address.
    assert_eq!(owner.get("/").await.status, 200);
    owner.cookies.lock().unwrap().remove("lightship_session");
    assert_eq!(owner.sign_in("ann", PASSWORD).await.status, 303);
    master.stop().await;
}

#[actix_web::test]
async fn behind_a_proxy_that_is_not_trusted_a_guesser_locks_out_itself_and_is_told_why() {
    // given: two that a proxy names, with browsers that were never here
    let master = TestMaster::start().await;
    Browser::signed_in(&master).await;
    let try_as = async |address: &str, password: &str| {
        let browser = Browser::new(&master);
        let page = browser.get("/login").await;
        let token = token_of(&page);
        let fields = [("csrf", token.as_str()), ("name", "ann"), ("password", password), ("next", "/")];
        let asking = master.post("/login").header("cookie", &browser.cookie_header());
        asking.header("x-forwarded-for", address).form(&fields).send().await
    };
    // when
    for _ in 0..5 {
        assert_eq!(try_as("203.0.113.5", "wrong password").await.status, 401);
    }
    let locked = try_as("203.0.113.5", PASSWORD).await;
    // then
    assert_eq!(locked.status, 429);
    assert!(locked.text.contains("security.trusted_proxies"), "{}", locked.text);
    assert_eq!(try_as("203.0.113.6", PASSWORD).await.status, 303);
    master.stop().await;
}

#[actix_web::test]
async fn forty_sign_ins_at_once_leave_a_place_to_a_browser_that_was_here_before() {
    // given
    let proxy = "127.0.0.1".parse().unwrap();
    let master = TestMaster::build(true, |settings| settings.trusted_proxies = vec![proxy]).await;
    let owner = Browser::signed_in(&master).await;
    let guessers: Vec<_> = (0..40).map(|_| Browser::new(&master)).collect();
    let mut tokens = Vec::new();
    for guesser in &guessers {
        tokens.push(token_of(&guesser.get("/login").await));
    }
    let own_token = token_of(&owner.get("/").await);
    // when: forty addresses guess, and the owner signs in among them
    let guess = async |n: usize| {
        let fields =
            [("csrf", tokens[n].as_str()), ("name", "ann"), ("password", "wrong password"), ("next", "/")];
        let asking = master.post("/login").header("cookie", &guessers[n].cookie_header());
        asking.header("x-forwarded-for", &format!("203.0.113.{n}")).form(&fields).send().await.status
    };
    let crowd = futures_util::future::join_all((0..40).map(guess));
    let fields = [("csrf", own_token.as_str()), ("name", "ann"), ("password", PASSWORD), ("next", "/")];
    let (statuses, signed_in) = tokio::join!(crowd, owner.post("/login", &fields));
    // then
    assert_eq!(signed_in.status, 303, "{}", signed_in.text);
    assert!(
        statuses.contains(&401) && statuses.iter().all(|status| [401, 503].contains(status)),
        "{statuses:?}"
    );
    master.stop().await;
}

#[actix_web::test]
async fn guesses_made_at_once_are_counted_one_by_one() {
    let master = TestMaster::start().await;
    Browser::signed_in(&master).await;
    let guessers: Vec<_> = (0..30).map(|_| Browser::new(&master)).collect();
    let answers =
        futures_util::future::join_all(guessers.iter().map(|one| one.sign_in("ann", "wrong password"))).await;
    let of = |status: u16| answers.iter().filter(|answer| answer.status == status).count();
    // Nobody waits in a queue of any length: who finds it full is told so.
    assert_eq!(of(401) + of(429) + of(503), 30);
    assert!((1..=5).contains(&of(401)), "{} were compared", of(401));
    master.stop().await;
}

#[actix_web::test]
async fn a_name_that_nobody_can_have_is_refused_unseen() {
    let master = TestMaster::start().await;
    Browser::signed_in(&master).await;
    let stranger = Browser::new(&master);
    for _ in 0..8 {
        assert_eq!(stranger.sign_in(&"x".repeat(65), PASSWORD).await.status, 401);
    }
    master.stop().await;
}

#[actix_web::test]
async fn a_copied_cookie_opens_nothing_after_its_session_was_signed_out() {
    // given: two browsers, and a copy of the first one's cookie with the token of a page
    let master = TestMaster::start().await;
    let browser = Browser::signed_in(&master).await;
    let other = Browser::new(&master);
    assert_eq!(other.sign_in("ann", PASSWORD).await.status, 303);
    let page = browser.get("/agents").await;
    let token = token_of(&page);
    let thief = Browser { master: &master, cookies: Mutex::new(browser.cookies.lock().unwrap().clone()) };
    assert_eq!(thief.get("/").await.status, 200, "until then it is the session");
    // when
    browser.submit("/", "/logout", &[]).await;
    // then
    assert_eq!(thief.get("/").await.status, 303);
    assert_eq!(thief.get("/live").await.status, 303);
    let made = thief.post("/agents/keys", &[("csrf", &token), ("owner", "thief")]).await;
    assert_eq!(made.status, 303, "{}", made.text);
    assert_eq!(made.header("location"), "/login?next=%2F");
    let cookies = thief.cookie_header();
    let api = |path: &str, body| {
        master.post(path).header("cookie", &cookies).header("x-csrf-token", &token).json(body)
    };
    api("/api/v2/agents/generate-key", json!({ "owner": "thief" })).expect(401).await;
    let password = json!({ "password": "another long password", "current_password": PASSWORD });
    api("/api/v3/admins/ann/password", password).expect(401).await;
    let keys = master.admin_get("/api/v2/agents").expect(200).await.json()["agent_keys"].clone();
    assert_eq!(keys, json!({}));
    // and others stay signed in
    assert_eq!(other.get("/").await.status, 200);
    master.stop().await;
}

#[actix_web::test]
async fn a_browser_changes_a_password_only_with_the_one_it_was_signed_in_with() {
    // given
    let master = TestMaster::start().await;
    let browser = Browser::signed_in(&master).await;
    let token = token_of(&browser.get("/").await);
    let set = async |body| {
        let asking = master.post("/api/v3/admins/ann/password").header("cookie", &browser.cookie_header());
        asking.header("x-csrf-token", &token).json(body).send().await
    };
    // when, then
    let new = "another long password";
    assert_eq!(set(json!({ "password": new })).await.status, 400);
    for _ in 0..5 {
        let refused = set(json!({ "password": new, "current_password": "a guess of mine" })).await;
        assert_eq!((refused.status, &refused.json()["code"]), (403, &json!("wrong_password")));
    }
    assert_eq!(set(json!({ "password": new, "current_password": PASSWORD })).await.status, 429);
    assert_eq!(browser.get("/").await.status, 200, "nothing was changed");
    master.stop().await;
}

#[actix_web::test]
async fn a_browser_that_knows_its_password_changes_it() {
    let master = TestMaster::start().await;
    let browser = Browser::signed_in(&master).await;
    let token = token_of(&browser.get("/").await);
    let body = json!({ "password": "another long password", "current_password": PASSWORD });
    let asking = master.post("/api/v3/admins/ann/password").header("cookie", &browser.cookie_header());
    asking.header("x-csrf-token", &token).json(body).expect(200).await;
    assert_eq!(Browser::new(&master).sign_in("ann", PASSWORD).await.status, 401);
    assert_eq!(Browser::new(&master).sign_in("ann", "another long password").await.status, 303);
    master.stop().await;
}

#[actix_web::test]
async fn a_new_password_ends_all_sessions() {
    let master = TestMaster::start().await;
    let other = Browser::signed_in(&master).await;
    let set = |name: &str, password: &str| {
        master.admin_post(&format!("/api/v3/admins/{name}/password"), json!({ "password": password }))
    };
    set("bob", "another long password").expect(404).await;
    set("ann", "short").expect(400).await;
    assert_eq!(other.get("/").await.status, 200);
    set("ann", "another long password").expect(200).await;
    assert_eq!(other.get("/").await.status, 303);
    assert_eq!(Browser::new(&master).sign_in("ann", "another long password").await.status, 303);
    master.stop().await;
}

#[actix_web::test]
async fn a_script_is_told_where_to_sign_in() {
    let master = TestMaster::start().await;
    Browser::signed_in(&master).await;
    let answer = master.get("/fragments/overview").header("hx-request", "true").expect(204).await;
    assert_eq!(answer.header("hx-redirect"), "/login?next=%2F");
    master.stop().await;
}
