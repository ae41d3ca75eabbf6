//! The story of a route and the look at the token, in a real browser. Screenshots go to `target/screenshots`.

use tempfile::TempDir;
use thirtyfour::prelude::*;

use crate::browser::{Driver, PASSWORD, hindrances, press, shoot, surplus, type_in, until_shown};
use crate::raw_client::RawClient;
use crate::scene::subfolder;
use crate::support::cloudflare::CloudflareStandIn;
use crate::support::ship::Rig;
use crate::support::until::until;

#[tokio::test(flavor = "multi_thread")]
async fn a_person_follows_a_route_to_its_story_and_looks_at_the_token() {
    // given: a published route, one that another host wants, and a right that is missing
    let (standin, dir) = (CloudflareStandIn::start(), TempDir::new().unwrap());
    let mut master = Rig::new("master", &subfolder(&dir, "master")).cloudflare(&standin).start();
    let set_up = master.said("first run: open ");
    let first = RawClient::enrolled(&master, "raw-1", "edge-1").await;
    first.status_report(&[("shop".to_owned(), "app.example.com/api".to_owned())]).await;
    master.until_route("app.example.com/api", "published").await;
    let second = RawClient::enrolled(&master, "raw-2", "edge-2").await;
    second.status_report(&[("copy".to_owned(), "app.example.com/api".to_owned())]).await;
    let driver = Driver::start();
    let browser = driver.browser(&subfolder(&dir, "profile")).await;
    browser.goto(&set_up).await.unwrap();
    type_in(&browser, "name", "ada").await;
    type_in(&browser, "password", PASSWORD).await;
    type_in(&browser, "again", PASSWORD).await;
    press(&browser, "Create administrator").await;
    until_shown(&browser, "Overview").await;

    // when: the link beside the route is followed
    browser.goto(format!("{}/routes", master.url())).await.unwrap();
    until("the route has a link to its story", || async {
        let link = "//main//a[starts-with(normalize-space(.), 'Its story')]";
        browser.find(By::XPath(link)).await.ok()?.click().await.ok()
    })
    .await;

    // then: the story of both hosts, and nothing that hinders
    for words in
        ["What it waits for", "On raw raw-1", "On raw raw-2", "Zone and record", "app.example.com/api"]
    {
        until_shown(&browser, words).await;
    }
    assert_eq!(hindrances(&browser).await, Vec::<String>::new());
    shoot(&browser, "story-1-of-a-route").await;
    browser.set_window_rect(0, 0, 400, 800).await.unwrap();
    assert_eq!(surplus(&browser).await, 0, "nothing stands beside the screen of a telephone");
    shoot(&browser, "story-2-telephone").await;
    browser.set_window_rect(0, 0, 1_280, 1_000).await.unwrap();

    // and when: the token is looked at
    standin.take_right("DNS ");
    browser.goto(format!("{}/settings", master.url())).await.unwrap();
    until_shown(&browser, "Nobody looked at it since").await;
    press(&browser, "Check now").await;
    until_shown(&browser, "DNS Write").await;
    until_shown(&browser, "token lacks it").await;
    assert_eq!(hindrances(&browser).await, Vec::<String>::new());
    shoot(&browser, "story-3-token").await;
    standin.give_rights_back();
    browser.quit().await.unwrap();
}
