//! A newcomer without a terminal: gives the token on the page, makes a rule, looks at the account, finds it again by its name,
//! and sees what was decided. Screenshots go to `target/screenshots`.

use serde_json::json;
use tempfile::TempDir;
use thirtyfour::prelude::*;

use crate::browser::{Driver, PASSWORD, is_for_everybody, press, type_in, until_shown};
use crate::raw_client::RawClient;
use crate::scene::subfolder;
use crate::support::cloudflare::{ACCOUNT, CloudflareStandIn, TOKEN};
use crate::support::ship::Rig;
use crate::support::until::until;

#[tokio::test(flavor = "multi_thread")]
async fn a_newcomer_gives_the_token_and_finds_rule_account_and_record_on_the_pages() {
    // Given a master that knows no token.
    let (standin, dir) = (CloudflareStandIn::start(), TempDir::new().unwrap());
    let rig = Rig::new("master", &subfolder(&dir, "master")).env("CF_API_BASE_URL", standin.base_url());
    let mut master = rig.start();
    let set_up = master.said("first run: open ");
    let driver = Driver::start();
    let browser = driver.browser(&subfolder(&dir, "profile")).await;
    browser.goto(&set_up).await.unwrap();
    type_in(&browser, "name", "ada").await;
    type_in(&browser, "password", PASSWORD).await;
    type_in(&browser, "again", PASSWORD).await;
    press(&browser, "Create administrator").await;
    until_shown(&browser, "Overview").await;

    // When the token is given on the page, then it is looked at and used.
    browser.goto(format!("{}/settings", master.url())).await.unwrap();
    until_shown(&browser, "There is none yet").await;
    is_for_everybody(&browser, "16-settings-first").await;
    type_in(&browser, "account_id", ACCOUNT).await;
    type_in(&browser, "token", TOKEN).await;
    press(&browser, "Look at it and take it").await;
    until_shown(&browser, "It was given here").await;
    assert!(!browser.source().await.unwrap().contains(TOKEN));
    is_for_everybody(&browser, "17-settings-taken").await;

    // When a host publishes, and a rule is made and changed.
    let tunnel = standin.add_tunnel("edge-1", "cloudflare");
    let host = RawClient::enrolled(&master, "raw-1", "edge-1").await;
    host.status_report(&[("shop".to_owned(), "shop.example.com".to_owned())]).await;
    master.until_route("shop.example.com", "published").await;
    for (form, service) in [
        ("/routes/rule", "http://10.0.0.5:5000"),
        ("/routes/rule?key=nas.example.com%7C", "http://10.0.0.6:5000"),
    ] {
        browser.goto(format!("{}{form}", master.url())).await.unwrap();
        for (field, text) in [("hostname", "nas.example.com"), ("service", service), ("tunnel", "edge-1")] {
            let input = browser.find(By::Name(field)).await.unwrap();
            if input.attr("readonly").await.unwrap().is_none() {
                input.clear().await.unwrap();
                input.send_keys(text).await.unwrap();
            }
        }
        press(&browser, " rule").await;
        until("the rule is as it was written", || async {
            let rules = master.get("/api/v3/rules/manual").await;
            rules.to_string().contains(service).then_some(())
        })
        .await;
    }
    master.until_route("nas.example.com", "published").await;
    standin.connect(&tunnel, "its-connector", 1);
    host.event(json!({ "type": "tunnel_status", "container": { "name": "edge-1", "status": "running" } }))
        .await;

    // Then its story is told.
    browser.goto(format!("{}/routes/of?hostname=nas.example.com", master.url())).await.unwrap();
    until_shown(&browser, "Made by a person").await;
    until_shown(&browser, "rules of people, in tunnel edge-1").await;
    is_for_everybody(&browser, "18-story-of-a-rule").await;

    // And the account is shown.
    browser.goto(format!("{}/cloudflare", master.url())).await.unwrap();
    until_shown(&browser, "of 300 at once").await;
    until_shown(&browser, "1 connection, in fra01 1").await;
    is_for_everybody(&browser, "19-cloudflare").await;

    // When a slash is pressed and a part of a name is written, then whatever is called so is found.
    browser.goto(format!("{}/routes", master.url())).await.unwrap();
    until_shown(&browser, "nas.example.com").await;
    let body = browser.find(By::Tag("body")).await.unwrap();
    body.send_keys("/").await.unwrap();
    let place = browser.active_element().await.unwrap();
    assert_eq!(place.attr("name").await.unwrap().as_deref(), Some("q"), "the slash leads to the search");
    place.send_keys("example.com").await.unwrap();
    place.send_keys(Key::Enter + "").await.unwrap();
    until_shown(&browser, "Rules of people").await;
    until_shown(&browser, "shop.example.com").await;
    is_for_everybody(&browser, "20-search").await;

    // When the record is narrowed, then what the rule was before stands beside what it is.
    browser.goto(format!("{}/activity", master.url())).await.unwrap();
    until_shown(&browser, "What was decided").await;
    is_for_everybody(&browser, "21-activity").await;
    let text = browser.find(By::Css("main input[name='name']")).await.unwrap();
    text.send_keys("nas.example").await.unwrap();
    text.send_keys(Key::Enter + "").await.unwrap();
    until_shown(&browser, "10.0.0.5:5000").await;
    let address = browser.current_url().await.unwrap();
    assert!(address.query().unwrap_or_default().contains("name=nas.example"), "{address}");
    let text = browser.find(By::Tag("main")).await.unwrap().text().await.unwrap();
    assert!(!text.contains("shop.example.com"), "{text}");
    is_for_everybody(&browser, "22-activity-narrow").await;
    browser.find(By::Css("main .row-title a")).await.unwrap().click().await.unwrap();
    until_shown(&browser, "Before and after").await;
    until_shown(&browser, "10.0.0.6:5000").await;
    is_for_everybody(&browser, "23-activity-one").await;

    // And the page of the host tells of its connectors.
    browser.goto(format!("{}/agents/raw-1", master.url())).await.unwrap();
    until_shown(&browser, "Connectors of its tunnel").await;
    is_for_everybody(&browser, "24-host").await;
    browser.quit().await.unwrap();

    // When the master is started again, then it publishes with the token that it was given.
    master.kill();
    let master = rig.start();
    let ready = master.get("/readyz").await;
    assert_eq!(ready["cloudflare"], json!(true), "{ready}");
    assert!(!master.log().contains(TOKEN));
    master.until_route("nas.example.com", "published").await;
}
