//! The page on which a person says where people are told what happened.

use lightship::domain::role::Role;
use serde_json::Value;

use super::Browser;
use crate::support::inbox::{Inbox, Reply};
use crate::support::master::TestMaster;

const PLACE: &str = "/notifications";
const SET: &str = "/notifications/targets";

/// The fields of a webhook that is told of everything.
fn fields<'a>(id: &'a str, url: &'a str) -> Vec<(&'a str, &'a str)> {
    let mut fields = vec![
        ("kind", "webhook"),
        ("id", id),
        ("name", "Ops <1>"),
        ("url", url),
        ("authorization", ""),
        ("quiet_hours", ""),
    ];
    for topic in [
        "about-agent_offline",
        "about-tunnel_down",
        "about-conflict",
        "about-drift",
        "about-unprotected",
        "about-update_failed",
        "about-key_expiring",
    ] {
        fields.push((topic, "yes"));
    }
    fields
}

async fn target(master: &TestMaster) -> Value {
    master.admin_get("/api/v3/notifications/targets").expect(200).await.json()["targets"][0].clone()
}

#[actix_web::test]
async fn a_target_is_added_tested_changed_and_removed_without_json() {
    let (master, inbox) = (TestMaster::start().await, Inbox::start().await);
    let browser = Browser::signed_in(&master).await;
    let empty = browser.get(PLACE).await.text;
    assert!(
        empty.contains("Nobody is told yet") && empty.contains("/notifications?kind=telegram#set"),
        "{empty}"
    );
    assert!(empty.contains("aria-current=\"page\">Notifications</a>"), "{empty}");
    let form = browser.get("/notifications?kind=webhook").await.text;
    assert!(form.contains("name=\"url\" maxlength=\"2048\" type=\"password\""), "{form}");
    assert_eq!(form.matches(" checked>").count(), 7, "{form}");
    // when
    let url = inbox.url("/a-secret-path");
    let made = browser.submit(PLACE, SET, &fields("ops", &url)).await;
    // then
    assert_eq!((made.status, made.header("location")), (303, PLACE), "{}", made.text);
    let page = browser.get(PLACE).await.text;
    for words in ["Ops &#60;1&#62;", "<code>ops</code>", "nothing sent yet", "Told of everything"] {
        assert!(page.contains(words), "{words}: {page}");
    }
    assert!(page.contains(&inbox.url("")) && !page.contains("a-secret-path"), "{page}");
    // when
    let tested = browser.submit(PLACE, "/notifications/targets/ops/test", &[]).await;
    // then
    assert_eq!(tested.status, 200, "{}", tested.text);
    assert!(
        tested.text.contains("took the test message") && tested.text.contains("works"),
        "{}",
        tested.text
    );
    assert_eq!(inbox.posts()[0].path, "/a-secret-path");
    assert_eq!(inbox.titles(), ["Test message of Lightship"]);
    // A failing one says why.
    inbox.reply(Reply::Status(410, "gone /a-secret-path".into()));
    let failed = browser.submit(PLACE, "/notifications/targets/ops/test", &[]).await;
    assert_eq!(failed.status, 502);
    assert!(
        failed.text.contains("it answered 410: gone") && failed.text.contains("failing"),
        "{}",
        failed.text
    );
    assert!(!failed.text.contains("a-secret-path"), "{}", failed.text);
    // when it is changed without its address
    let edit = browser.get("/notifications?edit=ops").await.text;
    assert!(edit.contains("Change <code>ops</code>") && edit.contains("stays as it is"), "{edit}");
    let mut changed: Vec<_> =
        fields("ops", "").into_iter().filter(|(name, _)| *name != "about-conflict").collect();
    changed.extend([("is_known", "yes")]);
    changed.retain(|(name, _)| *name != "quiet_hours");
    changed.push(("quiet_hours", "22:00-07:00"));
    assert_eq!(browser.submit(PLACE, SET, &changed).await.status, 303);
    // then
    let now = target(&master).await;
    assert_eq!(
        (now["quiet_hours"].as_str(), now["about"].as_array().unwrap().len()),
        (Some("22:00-07:00"), 6)
    );
    inbox.reply(Reply::Status(200, String::new()));
    assert_eq!(browser.submit(PLACE, "/notifications/targets/ops/test", &[]).await.status, 200);
    // when
    let remove = "/notifications/targets/ops/remove";
    let asked = browser.submit(PLACE, remove, &[]).await;
    assert!(asked.status == 200 && asked.text.contains("Nobody is told there any more"), "{}", asked.text);
    assert_eq!(browser.submit(PLACE, remove, &[("confirmed", "yes")]).await.status, 303);
    // then
    assert_eq!(browser.submit(PLACE, remove, &[("confirmed", "yes")]).await.status, 404);
    assert!(browser.get("/notifications?edit=ops").await.text.contains("There is no target"));
    master.stop().await;
}

#[actix_web::test]
async fn what_is_refused_is_shown_again_without_what_opens_it() {
    let master = TestMaster::start().await;
    let browser = Browser::signed_in(&master).await;
    for (id, url, words) in [
        ("Ops", "https://a.example.com/secret", "the id of a target"),
        ("ops", "no-address-secret", "it is no address of the web"),
        ("ops", "", "<code>url</code> is missing"),
    ] {
        let refused = browser.submit(PLACE, SET, &fields(id, url)).await;
        assert_eq!(refused.status, 400, "{}", refused.text);
        assert!(refused.text.contains(words) && refused.text.contains("Ops &#60;1&#62;"), "{}", refused.text);
        assert!(!refused.text.contains("secret\""), "{}", refused.text);
    }
    assert_eq!(browser.submit(PLACE, SET, &fields("ops", "https://a.example.com/x")).await.status, 303);
    let twice = browser.submit(PLACE, SET, &fields("ops", "https://a.example.com/y")).await;
    assert!(twice.status == 400 && twice.text.contains("is there already"), "{}", twice.text);
    let odd = browser.submit(PLACE, SET, &[("kind", "pager"), ("id", "x")]).await;
    assert!(odd.status == 400 && odd.text.contains("choose one below"), "{}", odd.text);
    // Who may not change it sees it all the same.
    for role in [Role::Viewer, Role::Operator] {
        let browser = Browser::with_role(&master, role).await;
        assert_eq!(browser.get(PLACE).await.status, 200);
        assert_eq!(browser.submit(PLACE, SET, &fields("other", "https://a.example.com/x")).await.status, 403);
    }
    master.stop().await;
}
