//! The Notifications page in a real browser: a target is added without JSON, tested, and an agent that goes is told.

use tempfile::TempDir;
use thirtyfour::prelude::*;

use crate::browser::{Driver, PASSWORD, hindrances, press, shoot, surplus, type_in, until_shown};
use crate::scene::subfolder;
use crate::support::inbox::{Inbox, Reply};
use crate::support::ship::Rig;
use crate::support::until::until;

#[tokio::test(flavor = "multi_thread")]
async fn a_person_adds_a_target_and_sees_its_test_arrive() {
    // Given a master that somebody can sign in to, and a place where messages arrive.
    let (dir, inbox) = (TempDir::new().unwrap(), Inbox::start().await);
    let mut master = Rig::new("master", &subfolder(&dir, "master")).start();
    let set_up = master.said("first run: open ");
    let driver = Driver::start();
    let browser = driver.browser(&subfolder(&dir, "profile")).await;
    browser.goto(&set_up).await.unwrap();
    type_in(&browser, "name", "ada").await;
    type_in(&browser, "password", PASSWORD).await;
    type_in(&browser, "again", PASSWORD).await;
    press(&browser, "Create administrator").await;

    // When a target is added, first with a mistake.
    browser.goto(format!("{}/notifications", master.url())).await.unwrap();
    until_shown(&browser, "Nobody is told yet").await;
    assert_eq!(hindrances(&browser).await, Vec::<String>::new());
    shoot(&browser, "30-notifications-empty").await;
    browser.find(By::Id("add-gotify")).await.unwrap().click().await.unwrap();
    until_shown(&browser, "Add Gotify").await;
    assert_eq!(hindrances(&browser).await, Vec::<String>::new());
    type_in(&browser, "id", "phone").await;
    type_in(&browser, "name", "Phone of Ada").await;
    type_in(&browser, "server", "push.example.com").await;
    type_in(&browser, "token", "a-token-that-nobody-sees").await;
    type_in(&browser, "quiet_hours", "22:00-07:00").await;
    press(&browser, "Add target").await;
    until_shown(&browser, "it is no address of the web").await;
    assert_eq!(hindrances(&browser).await, Vec::<String>::new());
    shoot(&browser, "31-notifications-refused").await;
    let server = browser.find(By::Name("server")).await.unwrap();
    server.clear().await.unwrap();
    server.send_keys(inbox.url("/gotify")).await.unwrap();
    type_in(&browser, "token", "a-token-that-nobody-sees").await;
    press(&browser, "Add target").await;

    // Then it is there, and nothing was sent.
    until_shown(&browser, "Phone of Ada phone").await;
    until_shown(&browser, "nothing sent yet").await;
    until_shown(&browser, "quiet from 22:00-07:00").await;
    assert_eq!(hindrances(&browser).await, Vec::<String>::new());

    // When its test is pressed, then the message arrives, and the page says so.
    press_in_list(&browser, "test-phone").await;
    until_shown(&browser, "Phone of Ada took the test message").await;
    let post = inbox.until_posts(1).await.remove(0);
    assert_eq!(
        (post.path.as_str(), post.headers["x-gotify-key"].as_str()),
        ("/gotify/message", "a-token-that-nobody-sees")
    );
    assert_eq!(post.body["title"], "Test message of Lightship");
    assert!(
        post.body["message"].as_str().unwrap().contains("target Phone of Ada, tested by ada"),
        "{post:?}"
    );
    until_shown(&browser, "works").await;
    assert_eq!(hindrances(&browser).await, Vec::<String>::new());
    shoot(&browser, "32-notifications").await;

    // When it does not arrive, then the page says why.
    inbox.reply(Reply::Status(
        401,
        r#"{"error":"Unauthorized","errorDescription":"you need a valid token"}"#.into(),
    ));
    press_in_list(&browser, "test-phone").await;
    until_shown(
        &browser,
        "it answered 401: you need a valid token; check the token; it is the one of an application",
    )
    .await;
    until_shown(&browser, "failing").await;
    assert_eq!(hindrances(&browser).await, Vec::<String>::new());
    shoot(&browser, "33-notifications-failing").await;

    // And nothing of it is hidden on a telephone.
    browser.set_window_rect(0, 0, 390, 844).await.unwrap();
    assert_eq!(surplus(&browser).await, 0);
    shoot(&browser, "34-notifications-telephone").await;
    browser.goto(format!("{}/notifications?edit=phone", master.url())).await.unwrap();
    until_shown(&browser, "Change phone").await;
    assert_eq!(surplus(&browser).await, 0);
    assert_eq!(hindrances(&browser).await, Vec::<String>::new());
    browser.find(By::Id("set")).await.unwrap().scroll_into_view().await.unwrap();
    shoot(&browser, "35-notifications-telephone-form").await;
    browser.set_window_rect(0, 0, 1280, 1000).await.unwrap();

    // When it is removed, then a question comes first.
    browser.goto(format!("{}/notifications", master.url())).await.unwrap();
    press_in_list(&browser, "remove-phone").await;
    let question = browser.get_alert_text().await.unwrap();
    assert!(question.contains("Nobody is told there any more"), "{question}");
    browser.accept_alert().await.unwrap();
    until_shown(&browser, "Nobody is told yet").await;
    assert_eq!(master.get("/api/v3/notifications/targets").await["targets"].as_array().unwrap().len(), 0);
    assert!(!master.log().contains("a-token-that-nobody-sees"), "{}", master.log());
    browser.quit().await.unwrap();
}

/// Presses what has this id in the list, which is live: it may be put in its place anew at just that moment.
async fn press_in_list(browser: &WebDriver, id: &str) {
    until("it is pressed", || async { browser.find(By::Id(id)).await.ok()?.click().await.ok() }).await;
}
