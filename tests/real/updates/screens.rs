//! An update of each kind, followed in a browser by the screens alone: found, looked at, approved, verified, taken back.
//! Screenshots go to `target/screenshots`.

use thirtyfour::prelude::*;

use super::apt_install;
use super::containers::{Host, well};
use super::dnf_install;
use super::orders::{AgentHost, Site};
use crate::browser::{Driver, PASSWORD, hindrances, press, shoot, surplus, type_in, until_shown};
use crate::scene::subfolder;
use crate::support::until::until;

/// Follows a link once the page shows it: a page that updates itself may replace it meanwhile.
async fn follow(browser: &WebDriver, words: &str) {
    until(&format!("the page has a link `{words}`"), || async {
        let link = format!("//main//a[contains(normalize-space(.), '{words}')]");
        let found = browser.find(By::XPath(link)).await.ok()?;
        found.click().await.ok()
    })
    .await;
}

/// Presses a button once the page shows it.
async fn press_soon(browser: &WebDriver, words: &str) {
    until(&format!("the page has a button `{words}`"), || async {
        let button = format!("//main//button[contains(normalize-space(.), '{words}')]");
        browser.find(By::XPath(button)).await.ok()?.click().await.ok()
    })
    .await;
}

/// Ticks the first box that fits.
async fn tick(browser: &WebDriver, selector: &'static str) {
    until(&format!("the box `{selector}` is ticked"), || async {
        let tick = browser.find(By::Css(selector)).await.ok()?;
        if !tick.is_selected().await.ok()? {
            tick.click().await.ok()?;
        }
        tick.is_selected().await.ok()?.then_some(())
    })
    .await;
}

/// Opens the master's pages as a person who just set it up.
async fn sign_up<H: AgentHost>(site: &mut Site<H>, browser: &WebDriver) {
    let set_up = site.master.said("first run: open ");
    browser.goto(&set_up).await.unwrap();
    type_in(browser, "name", "ada").await;
    type_in(browser, "password", PASSWORD).await;
    type_in(browser, "again", PASSWORD).await;
    press(browser, "Create administrator").await;
    until_shown(browser, "Overview").await;
}

/// From the list of updates to the end of the run that takes it back. `found` is how the list calls the update, `changed` what
/// the plan names.
async fn follow_one<H: AgentHost>(mut site: Site<H>, kind: &str, found: &str, changed: &str) -> Site<H> {
    let dir = tempfile::TempDir::new().unwrap();
    let driver = Driver::start();
    let browser = driver.browser(&subfolder(&dir, "profile")).await;
    sign_up(&mut site, &browser).await;
    let shot = |number: u8, what: &str| format!("updates-{kind}-{number}-{what}");

    // Found.
    browser.goto(format!("{}/updates", site.master.url())).await.unwrap();
    until_shown(&browser, found).await;
    shoot(&browser, &shot(1, "found")).await;
    follow(&browser, found).await;

    // Chosen, looked at, approved.
    tick(&browser, "main input[type=checkbox]").await;
    tick(&browser, "#restart-services").await;
    shoot(&browser, &shot(1, "chosen")).await;
    press_soon(&browser, "See what would change").await;
    until_shown(&browser, "and for a restart of the services").await;
    until_shown(&browser, changed).await;
    // The question names it too.
    until_shown(&browser, "Approve").await;
    shoot(&browser, &shot(2, "plan")).await;
    assert_eq!(hindrances(&browser).await, Vec::<String>::new());
    press_soon(&browser, "Approve").await;
    until_shown(&browser, "verified").await;
    shoot(&browser, &shot(3, "verified")).await;

    // Its run, and the way back.
    follow(&browser, "Its run").await;
    until_shown(&browser, "By").await;
    shoot(&browser, &shot(4, "run")).await;
    assert_eq!(hindrances(&browser).await, Vec::<String>::new());
    press_soon(&browser, "Take back").await;
    until_shown(&browser, "What would change").await;
    press_soon(&browser, "Approve").await;
    until_shown(&browser, "verified").await;
    shoot(&browser, &shot(5, "taken-back")).await;

    browser.set_window_rect(0, 0, 400, 800).await.unwrap();
    browser.goto(format!("{}/runs", site.master.url())).await.unwrap();
    until_shown(&browser, "Taken back:").await;
    assert_eq!(surplus(&browser).await, 0, "nothing stands beside the screen of a telephone");
    shoot(&browser, &shot(6, "history-telephone")).await;
    browser.quit().await.unwrap();
    site
}

#[tokio::test(flavor = "multi_thread")]
async fn a_package_of_apt_is_followed_by_the_screens_alone() {
    let site = follow_one(Site::start(apt_install::host()).await, "apt", "t-app", "t-new").await;
    assert_eq!(site.root.installed(), apt_install::BEFORE);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_package_of_dnf_is_followed_by_the_screens_alone() {
    let site = follow_one(Site::start(dnf_install::host()).await, "dnf", "t-app", "t-new").await;
    assert_eq!(site.root.installed(), dnf_install::BEFORE);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_is_followed_by_the_screens_alone() {
    let host = Host::start().await;
    host.push("app", "1.0", &well()).await;
    host.run("app", Default::default()).await;
    let before = host.look("app").await.image;
    host.push("app", "2.0", &well()).await;
    let site = follow_one(Site::start(host).await, "image", "/team/app", "app").await;
    assert_eq!(site.root.look("app").await.image, before);
    let Site { agent, root, .. } = site;
    drop(agent);
    root.clear().await;
}
