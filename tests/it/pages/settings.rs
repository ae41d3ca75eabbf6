//! The token for Cloudflare, as a person gives it on the page.

use serde_json::{Value, json};

use super::Browser;
use crate::support::cloudflare::{ACCOUNT, Fault, TOKEN, Trouble};
use crate::support::master::TestMaster;

async fn give(browser: &Browser<'_>, account: &str, token: &str) -> crate::support::asking::Answer {
    browser.submit("/settings", "/settings/token", &[("account_id", account), ("token", token)]).await
}

#[actix_web::test]
async fn a_token_that_is_given_on_the_page_is_looked_at_and_used_at_once() {
    // given: a master that only plans, and a host whose labels ask for a route
    let master = TestMaster::without_cloudflare().await;
    let browser = Browser::signed_in(&master).await;
    let (key, id) = master.new_agent("web-1").await;
    let page = browser.get("/settings").await.text;
    assert!(page.contains("There is none yet") && page.contains("name=\"token\""), "{page}");
    let service_tokens = "/api/v3/access/service-tokens";
    assert_eq!(master.admin_get(service_tokens).expect(409).await.json()["code"], "no_cloudflare_token");

    // when: one is given that Cloudflare does not take
    let trouble = Trouble::Refused { status: 401, code: 10000, message: "Authentication error".into() };
    master.standin.inject(Fault::any(trouble).always());
    let refused = give(&browser, ACCOUNT, "a-wrong-token").await;
    // then: nothing is kept
    assert_eq!(refused.status, 400, "{}", refused.text);
    assert!(
        refused.text.contains("The token was not taken") && refused.text.contains(ACCOUNT),
        "{}",
        refused.text
    );
    assert!(!refused.text.contains("a-wrong-token") && !master.master.has_cloudflare());
    master.standin.heal();

    // when: a good one is given that lacks a right
    master.standin.take_right("DNS ");
    let taken = give(&browser, ACCOUNT, TOKEN).await;
    // then: it is used, and what it lacks is named
    assert_eq!((taken.status, taken.header("location")), (303, "/settings#token"), "{}", taken.text);
    let page = browser.get("/settings").await.text;
    for words in ["It was given here", "DNS Write", "token lacks it", "Give another token"] {
        assert!(page.contains(words), "`{words}` is missing: {page}");
    }
    assert!(!page.contains(TOKEN));
    assert_eq!(master.get("/readyz").expect(200).await.json()["cloudflare"], true);
    master.standin.give_rights_back();
    master.enroll(&id, "edge-1").await;
    let labels = json!({ "dockflare.enable": "true", "dockflare.hostname": "app.example.com", "dockflare.service": "http://app:80" });
    let start =
        json!({ "type": "container_start", "container": { "id": "c1", "name": "shop", "labels": labels } });
    master.post(&format!("/api/v2/agents/{id}/events")).key(&key).json(start).expect(202).await;
    master
        .until_services("it is published", |rules| rules.iter().any(|rule| rule["status"] == "active"))
        .await;
    assert!(browser.get("/cloudflare").await.text.contains("of 300 at once"));
    assert_eq!(master.admin_get(service_tokens).expect(200).await.json()["service_tokens"], json!([]));
    let limits = master.admin_get("/api/v3/cloudflare/limits").expect(200).await.json();
    assert_eq!(limits["limits"][0]["used"], 1, "{limits}");

    // when: another one takes its place, for this account and for another
    assert_eq!(give(&browser, ACCOUNT, TOKEN).await.status, 303);
    let other = give(&browser, "another-account", TOKEN).await;
    // then
    assert!(
        other.status == 400 && other.text.contains("would leave what it made there behind"),
        "{}",
        other.text
    );
    let record = master.admin_get("/api/v3/events?type=setting_changed&actor=ann").expect(200).await.json();
    let set: Vec<&Value> =
        record["events"].as_array().unwrap().iter().map(|row| &row["event"]["value"]).collect();
    assert_eq!(set, [&json!(ACCOUNT), &json!(ACCOUNT)]);
    assert!(!record.to_string().contains(TOKEN));
    master.stop().await;
}

#[actix_web::test]
async fn what_can_be_no_token_is_refused_and_one_of_the_settings_stays() {
    let master = TestMaster::without_cloudflare().await;
    let browser = Browser::signed_in(&master).await;
    for (account, token, words) in [
        ("", TOKEN, "The account id has 1 to 32"),
        ("a b", TOKEN, "The account id has 1 to 32"),
        (ACCOUNT, "", "The token has 1 to 512"),
        (ACCOUNT, "two words", "The token has 1 to 512"),
    ] {
        let refused = give(&browser, account, token).await;
        assert!(refused.status == 400 && refused.text.contains(words), "{account}: {}", refused.text);
    }
    assert!(master.standin.calls().is_empty(), "nobody was asked");
    master.stop().await;

    let master = TestMaster::start().await;
    let browser = Browser::signed_in(&master).await;
    let page = browser.get("/settings").await.text;
    assert!(page.contains("given by CF_API_TOKEN") && !page.contains("name=\"token\""), "{page}");
    let refused = give(&browser, ACCOUNT, TOKEN).await;
    assert!(refused.status == 400 && refused.text.contains("change it there"), "{}", refused.text);
    master.stop().await;
}
