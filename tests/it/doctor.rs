//! The master looks at its token: what it may is seen by reading, and what it lacks is named as Cloudflare's form does.

use serde_json::{Value, json};

use crate::pages::Browser;
use crate::support::cloudflare::{ACCOUNT, Fault, TOKEN, Trouble};
use crate::support::master::TestMaster;

const DNS: &str = "Right `DNS Write`, zone example.com";
const TUNNEL: &str = "Right `Cloudflare Tunnel Write`";
const APPS: &str = "Right `Access: Apps and Policies Write`";

async fn checks(master: &TestMaster) -> (Value, Vec<Value>) {
    let answer = master.admin_get("/api/v3/doctor").expect(200).await;
    assert!(!answer.text.contains(TOKEN), "the token is never shown");
    let answer = answer.json();
    (answer["verdict"].clone(), answer["families"][0]["checks"].as_array().unwrap().clone())
}

fn check<'a>(checks: &'a [Value], name: &str) -> &'a Value {
    checks.iter().find(|check| check["name"] == name).unwrap_or_else(|| panic!("no `{name}`: {checks:#?}"))
}

/// A host whose only container asks for this name, with these labels beside it.
async fn publish(master: &TestMaster, name: &str, more: &[(&str, &str)], state: &str) {
    let (key, id) = master.new_agent("web-1").await;
    master.enroll(&id, "edge-1").await;
    let mut labels = json!({ "dockflare.enable": "true", "dockflare.hostname": name, "dockflare.service": "http://app:80" });
    for (label, value) in more {
        labels[*label] = json!(value);
    }
    let report = json!({ "type": "status_report", "container": { "containers": [{ "id": "c1", "name": "app", "labels": labels }] } });
    master.post(&format!("/api/v2/agents/{id}/events")).key(&key).json(report).expect(202).await;
    master.until_services(state, |rules| rules.iter().any(|rule| rule["status"] == state)).await;
}

#[actix_web::test]
async fn a_token_that_has_what_is_needed_is_fine_once_something_was_written_with_it() {
    // given
    let master = TestMaster::start().await;
    let before = master.standin.state().records.len();
    // when: nobody published anything yet
    let (verdict, found) = checks(&master).await;
    // then: reading shows reading, and nothing was written
    assert_eq!(verdict, "not_checked", "{found:#?}");
    let writing = check(&found, "Rights to write");
    assert!(writing["detail"].as_str().unwrap().contains("DNS Write"), "{writing}");
    assert_eq!(check(&found, "API token")["verdict"], "fine");
    assert!(check(&found, "Account")["detail"].as_str().unwrap().contains(ACCOUNT));
    assert!(check(&found, "Zones")["detail"].as_str().unwrap().contains("example.com"));
    assert_eq!(master.standin.state().records.len(), before);
    assert!(master.standin.calls().iter().all(|call| call.method == "GET"), "only reads");
    // and when a route was published
    publish(&master, "app.example.com", &[], "active").await;
    let (verdict, found) = checks(&master).await;
    assert_eq!(verdict, "fine", "{found:#?}");
    master.stop().await;
}

#[actix_web::test]
async fn the_right_to_read_members_is_needed_only_where_the_owner_is_let_in() {
    let master = TestMaster::start().await;
    master.standin.take_right("Account Settings");
    publish(&master, "app.example.com", &[], "active").await;
    let (verdict, found) = checks(&master).await;
    let members = check(&found, "Right `Account Settings Read`");
    assert_eq!((&verdict, &members["verdict"]), (&json!("fine"), &json!("fine")), "{members}");
    assert!(members["detail"].as_str().unwrap().contains("`publish.account_owner_email`"), "{members}");
    master.stop().await;

    let master = TestMaster::start().await;
    master.standin.take_right("Account Settings");
    master.standin.add_identity_provider("PIN", "onetimepin");
    publish(&master, "app.example.com", &[("dockflare.access.policy", "authenticate")], "blocked").await;
    let (verdict, found) = checks(&master).await;
    let members = check(&found, "Right `Account Settings Read`");
    assert_eq!((&verdict, &members["verdict"]), (&json!("problem"), &json!("problem")), "{members}");
    let way_out = members["way_out"].as_str().unwrap();
    assert!(way_out.contains("`Account / Account Settings / Read`"), "{way_out}");
    master.stop().await;
}

#[actix_web::test]
async fn a_limit_that_is_near_is_shown() {
    let master = TestMaster::start().await;
    for number in 0..49 {
        master.standin.add_service_token(&format!("t{number}"));
    }
    let (verdict, found) = checks(&master).await;
    let tokens = check(&found, "Limit of service tokens");
    assert_eq!((&verdict, &tokens["verdict"]), (&json!("problem"), &json!("problem")), "{tokens}");
    assert!(tokens["detail"].as_str().unwrap().contains("49 of 50"), "{tokens}");
    assert!(tokens["way_out"].as_str().unwrap().contains("`cloudflare.max_service_tokens`"), "{tokens}");
    assert_eq!(check(&found, "Limit of tunnels")["verdict"], "fine");
    master.stop().await;
}

#[actix_web::test]
async fn a_right_that_was_taken_away_is_named_as_the_form_names_it() {
    let master = TestMaster::start().await;
    publish(&master, "app.example.com", &[], "active").await;
    for (taken, name) in [(&["DNS "][..], DNS), (&["Cloudflare"], TUNNEL), (&["Zone Zone Read"], "Zones")] {
        taken.iter().for_each(|right| master.standin.take_right(right));
        let (verdict, found) = checks(&master).await;
        let lacking = check(&found, name);
        assert_eq!((&verdict, &lacking["verdict"]), (&json!("problem"), &json!("problem")), "{lacking}");
        assert!(lacking["way_out"].as_str().unwrap().contains("dash.cloudflare.com"), "{lacking}");
        assert_eq!(check(&found, "API token")["verdict"], "fine", "the token itself is good");
        master.standin.give_rights_back();
    }
    master.stop().await;
    // Only to write: who may not, may not read the token of a tunnel either. Each look takes of the calls that are left for
    // what is in the background.
    let master = TestMaster::start().await;
    publish(&master, "app.example.com", &[], "active").await;
    for right in [
        "Cloudflare One Connectors Write",
        "Cloudflare One Connector: cloudflared Write",
        "Cloudflare Tunnel Write",
    ] {
        master.standin.take_right(right);
    }
    let (_, found) = checks(&master).await;
    assert_eq!(check(&found, TUNNEL)["verdict"], "problem", "{found:#?}");
    assert_eq!(
        master.get("/readyz").expect(200).await.json()["cloudflare"],
        true,
        "the token is not refused"
    );
    master.stop().await;
}

#[actix_web::test]
async fn rights_for_access_are_a_problem_only_where_a_container_asks_for_protection() {
    for (labels, verdict) in [(&[][..], "fine"), (&[("dockflare.access.policy", "authenticate")], "problem")]
    {
        let master = TestMaster::start().await;
        let state = if labels.is_empty() { "active" } else { "blocked" };
        publish(&master, "app.example.com", labels, state).await;
        master.standin.take_right("Access: ");
        let (_, found) = checks(&master).await;
        assert_eq!(check(&found, APPS)["verdict"], verdict, "{found:#?}");
        master.stop().await;
    }
}

#[actix_web::test]
async fn tokens_of_accounts_and_tokens_that_are_refused_are_told_apart() {
    let master = TestMaster::start().await;
    master.standin.state().has_account_token = true;
    let (_, found) = checks(&master).await;
    assert!(check(&found, "API token")["detail"].as_str().unwrap().contains("the account owns it"));
    master.standin.state().has_account_token = false;

    let refused = Trouble::Refused { status: 401, code: 10000, message: "Authentication error".into() };
    master.standin.inject(Fault::any(refused).always());
    let (verdict, found) = checks(&master).await;
    assert_eq!((&verdict, &check(&found, "API token")["verdict"]), (&json!("problem"), &json!("problem")));
    let rights: Vec<_> =
        found.iter().filter(|check| check["name"].as_str().unwrap().starts_with("Right")).collect();
    assert_eq!(rights.len(), 2, "of what nothing here needs nothing is said: {found:#?}");
    assert!(rights.iter().all(|check| check["verdict"] == "not_checked"), "{found:#?}");
    master.standin.heal();

    master.standin.inject(Fault::any(Trouble::ServerError).always());
    let (_, found) = checks(&master).await;
    assert_eq!(
        check(&found, "Zones")["verdict"],
        "not_checked",
        "trouble of theirs says nothing: {found:#?}"
    );
    master.standin.heal();
    master.stop().await;
}

#[actix_web::test]
async fn the_system_page_looks_at_the_token_when_a_person_wants_it() {
    let master = TestMaster::start().await;
    let browser = Browser::signed_in(&master).await;
    assert!(browser.get("/settings").await.text.contains("Nobody looked at it since"));
    assert!(master.standin.calls().is_empty(), "showing the page asks nobody");

    master.standin.take_right("DNS ");
    let sent = browser.submit("/settings", "/settings/check-token", &[]).await;
    assert_eq!(sent.status, 303, "{}", sent.text);

    let page = browser.get("/settings").await.text;
    for words in ["DNS Write", "problem", "token lacks it", "Check now"] {
        assert!(page.contains(words), "`{words}` is missing: {page}");
    }
    assert!(!page.contains(TOKEN));
    master.stop().await;

    let without = TestMaster::without_cloudflare().await;
    let (verdict, found) = checks(&without).await;
    assert_eq!(verdict, "not_checked");
    assert!(check(&found, "API token")["detail"].as_str().unwrap().contains("none is set"));
    without.stop().await;
}
