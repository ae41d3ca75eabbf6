//! The Access page in a real browser: a group is made without JSON, a container asks for it, and both are shown; a service
//! token is made, and its secret is seen once.

use serde_json::json;
use tempfile::TempDir;
use thirtyfour::prelude::*;

use crate::browser::{
    Driver, PASSWORD, hindrances, is_for_everybody, press, shoot, surplus, type_in, until_shown,
};
use crate::raw_client::RawClient;
use crate::scene::subfolder;
use crate::support::cloudflare::{ACCOUNT, CloudflareStandIn, TOKEN};
use crate::support::ship::Rig;
use crate::support::until::until;

#[tokio::test(flavor = "multi_thread")]
async fn a_person_makes_a_group_and_sees_what_it_protects() {
    // Given a master that somebody can sign in to.
    let dir = TempDir::new().unwrap();
    let mut master = Rig::new("master", &subfolder(&dir, "master")).start();
    let driver = Driver::start();
    let browser = signed_in(&driver, &dir, &master.said("first run: open ")).await;

    // When a group is made, first with a mistake.
    browser.goto(format!("{}/access", master.url())).await.unwrap();
    until_shown(&browser, "Make a group").await;
    assert_eq!(hindrances(&browser).await, Vec::<String>::new());
    type_in(&browser, "id", "staff").await;
    type_in(&browser, "name", "Staff").await;
    type_in(&browser, "include-1", "ada@example.com\n@example.org\nnobody").await;
    type_in(&browser, "require-1", "login method Google").await;
    type_in(&browser, "exclude-1", "country DE").await;
    press(&browser, "Make group").await;
    until_shown(&browser, "anyone of, line 3: nobody cannot be read").await;
    assert_eq!(hindrances(&browser).await, Vec::<String>::new());
    shoot(&browser, "15-access-refused").await;
    let box_of = |name: &str| browser.find(By::Name(name.to_owned()));
    let include = box_of("include-1").await.unwrap();
    include.clear().await.unwrap();
    include.send_keys("ada@example.com\n@example.org").await.unwrap();
    press(&browser, "Make group").await;

    // Then it is there in words, and by whom.
    until_shown(
        &browser,
        "Lets in anyone of ada@example.com, @example.org, who also signs in with Google, except from DE",
    )
    .await;
    until_shown(&browser, "by ada").await;

    // When a container asks for it, then the open page names its route without a reload.
    until_shown(&browser, "No route asks for it").await;
    let agent = RawClient::register(&master, "raw-1").await;
    let (status, body) = master.post("/api/v3/agents/raw-1/approve", json!({})).await;
    assert_eq!(status, 200, "{body}");
    let labels = json!({ "dockflare.enable": "true", "dockflare.hostname": "shop.example.com",
        "dockflare.service": "http://shop:80", "dockflare.access.group": "staff" });
    let container = json!({ "id": "shop00000000", "name": "shop", "status": "running", "labels": labels });
    agent.event(json!({ "type": "status_report", "container": { "containers": [container] } })).await;
    until_shown(&browser, "Asked for by shop.example.com").await;
    assert_eq!(hindrances(&browser).await, Vec::<String>::new());
    shoot(&browser, "16-access").await;

    // And nothing of it is hidden on a telephone.
    browser.set_window_rect(0, 0, 390, 844).await.unwrap();
    assert_eq!(surplus(&browser).await, 0);
    shoot(&browser, "17-access-telephone").await;
    browser.find(By::Id("set")).await.unwrap().scroll_into_view().await.unwrap();
    shoot(&browser, "18-access-telephone-form").await;
    browser.set_window_rect(0, 0, 1280, 1000).await.unwrap();

    // When it is changed so that everyone comes in, then the page asks first.
    press_in_list(&browser, "edit-staff").await;
    until_shown(&browser, "Change staff").await;
    shoot(&browser, "19-access-edit").await;
    for (name, text) in [("include-1", "everyone"), ("require-1", "")] {
        let field = browser.find(By::Name(name)).await.unwrap();
        field.clear().await.unwrap();
        field.send_keys(text).await.unwrap();
    }
    press(&browser, "Change group").await;
    until_shown(&browser, "Open this group to everyone?").await;
    assert_eq!(hindrances(&browser).await, Vec::<String>::new());
    shoot(&browser, "20-access-open").await;
    press(&browser, "Open it to everyone").await;
    until("it is open", || async {
        (master.get("/api/v3/access/groups/staff").await["is_open_to_everyone"] == true).then_some(())
    })
    .await;
    until_shown(&browser, "Lets in everyone, except from DE").await;

    // And the routes say what protects each.
    browser.goto(format!("{}/routes", master.url())).await.unwrap();
    until_shown(&browser, "Protection: Group staff").await;
    assert_eq!(hindrances(&browser).await, Vec::<String>::new());
    shoot(&browser, "21-routes-protected").await;

    // When it is removed, then a question comes first, and a no changes nothing.
    browser.goto(format!("{}/access", master.url())).await.unwrap();
    press_in_list(&browser, "remove-staff").await;
    let question = browser.get_alert_text().await.unwrap();
    assert!(question.contains("Every route that asks for it is closed"), "{question}");
    browser.dismiss_alert().await.unwrap();
    assert_eq!(master.get("/api/v3/access/groups/staff").await["id"], "staff");
    press_in_list(&browser, "remove-staff").await;
    browser.accept_alert().await.unwrap();
    until("it is gone", || async {
        (master.get("/api/v3/access/groups/staff").await["code"] == "group_not_found").then_some(())
    })
    .await;
    browser.quit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_makes_and_rotates_a_service_token_and_sees_each_secret_once() {
    // Given an account with a token that is over.
    let (standin, dir) = (CloudflareStandIn::start(), TempDir::new().unwrap());
    let old = standin.add_service_token("old");
    standin.expire_service_token(&old);
    let rig = Rig::new("master", &subfolder(&dir, "master"))
        .env("CF_API_BASE_URL", standin.base_url())
        .env("CF_API_TOKEN", TOKEN)
        .env("CF_ACCOUNT_ID", ACCOUNT);
    let mut master = rig.start();
    let driver = Driver::start();
    let browser = signed_in(&driver, &dir, &master.said("first run: open ")).await;

    // When one is made.
    browser.goto(format!("{}/access", master.url())).await.unwrap();
    until_shown(&browser, "expired").await;
    let name = By::Css("form[action='/access/tokens'] [name='name']");
    browser.find(name).await.unwrap().send_keys("ci").await.unwrap();
    press(&browser, "Make service token").await;

    // Then its secret is on the page that follows, and on no other.
    until_shown(&browser, "The secret is shown only now").await;
    let id = standin.service_tokens("ci")[0]["id"].as_str().unwrap().to_owned();
    let secret = shown_secret(&browser).await;
    assert_eq!(standin.secret_of(&id), Some(secret.clone()));
    is_for_everybody(&browser, "22-service-token-made").await;
    browser.goto(format!("{}/access", master.url())).await.unwrap();
    until_shown(&browser, "Service tokens").await;
    assert!(!browser.source().await.unwrap().contains(&secret));
    is_for_everybody(&browser, "23-service-tokens").await;

    // When it is rotated, then a question comes first, and another secret is shown.
    press_in_list(&browser, &format!("rotate-token-{id}")).await;
    let question = browser.get_alert_text().await.unwrap();
    assert!(question.contains("come in no more until they have the new one"), "{question}");
    browser.accept_alert().await.unwrap();
    until_shown(&browser, "Another secret for ci").await;
    let second = shown_secret(&browser).await;
    assert_ne!(second, secret);
    assert_eq!(standin.secret_of(&id), Some(second));
    browser.quit().await.unwrap();
}

/// A browser whose person has just made the first administrator.
async fn signed_in(driver: &Driver, dir: &TempDir, set_up: &str) -> WebDriver {
    let browser = driver.browser(&subfolder(dir, "profile")).await;
    browser.goto(set_up).await.unwrap();
    type_in(&browser, "name", "ada").await;
    type_in(&browser, "password", PASSWORD).await;
    type_in(&browser, "again", PASSWORD).await;
    press(&browser, "Create administrator").await;
    until_shown(&browser, "Overview").await;
    browser
}

async fn shown_secret(browser: &WebDriver) -> String {
    browser.find(By::Id("client-secret")).await.unwrap().text().await.unwrap()
}

/// Presses what has this id in the list, which is live: it may be put in its place anew at just that moment.
async fn press_in_list(browser: &WebDriver, id: &str) {
    until("it is pressed", || async { browser.find(By::Id(id)).await.ok()?.click().await.ok() }).await;
}
