//! The page on which a person says who may reach what is published.

use lightship::domain::role::Role;
use serde_json::{Value, json};

use super::Browser;
use crate::access_groups::asking;
use crate::support::asking::Answer;
use crate::support::master::TestMaster;

const SET: &str = "/access/groups";

/// The fields of a group of one policy.
fn fields<'a>(id: &'a str, decision: &'a str, include: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        ("id", id),
        ("name", "Staff <1>"),
        ("session_duration", "8h"),
        ("allowed_idps", ""),
        ("decision-1", decision),
        ("include-1", include),
        ("require-1", "login method Google"),
        ("exclude-1", "country DE"),
        ("decision-2", "allow"),
        ("include-2", ""),
        ("require-2", ""),
        ("exclude-2", ""),
    ]
}

async fn group(master: &TestMaster, id: &str) -> Value {
    master.admin_get(&format!("/api/v3/access/groups/{id}")).send().await.json()
}

/// The fields of the form that a page asks with.
fn hidden(page: &Answer) -> Vec<(String, String)> {
    let inputs = page.text.split("<input type=\"hidden\" name=\"").skip(1);
    let pair = |input: &str| {
        let (name, rest) = input.split_once("\" value=\"").unwrap();
        let value =
            rest.split('"').next().unwrap().replace("&#60;", "<").replace("&#62;", ">").replace("&#38;", "&");
        (name.to_owned(), value)
    };
    inputs.map(pair).filter(|(name, _)| name != "csrf").collect()
}

#[actix_web::test]
async fn a_group_is_made_shown_in_words_changed_and_removed_without_json() {
    let master = TestMaster::start().await;
    let browser = Browser::signed_in(&master).await;
    let empty = browser.get("/access").await.text;
    assert!(empty.contains("Make a group") && empty.contains("public-default-bypass"), "{empty}");
    assert!(empty.contains("aria-current=\"page\">Access</a>"), "{empty}");
    assert!(!empty.contains("/access/groups/public-default-bypass/remove"), "{empty}");
    // when
    let made =
        browser.submit("/access", SET, &fields("staff", "allow", "a@example.com\r\n@example.org\r\n")).await;
    // then
    assert_eq!((made.status, made.header("location")), (303, "/access"), "{}", made.text);
    for path in ["/access", "/fragments/access"] {
        let shown = browser.get(path).await.text;
        for words in [
            "Staff &#60;1&#62;",
            "Lets in anyone of a@example.com, @example.org, who also signs in with Google, except from DE",
            "A sign-in lasts 8h",
            "by ann",
            "No route asks for it",
            "/access?edit=staff#set",
        ] {
            assert!(shown.contains(words), "{path} lacks `{words}`: {shown}");
        }
        assert!(!shown.contains("Staff <1>"), "{path}");
    }
    let asked = group(&master, "staff").await;
    assert_eq!(asked["policies"].as_array().unwrap().len(), 1, "an empty policy does not count: {asked}");
    // when it is opened to be changed
    let edit = browser.get("/access?edit=staff").await.text;
    assert!(edit.contains("readonly") && edit.contains("a@example.com\n@example.org</textarea>"), "{edit}");
    assert!(
        edit.contains("<option value=\"allow\" selected>") && edit.contains("country DE</textarea>"),
        "{edit}"
    );
    let mut changed = fields("staff", "allow", "@example.com");
    changed.extend([("is_known", "yes"), ("app_launcher_visible", "yes")]);
    assert_eq!(browser.submit("/access", SET, &changed).await.status, 303);
    let after = group(&master, "staff").await;
    assert_eq!(after["options"]["app_launcher_visible"], true);
    assert_eq!(after["policies"][0]["include"], json!([{ "email_domain": { "domain": "example.com" } }]));
    // and removed
    let remove = "/access/groups/staff/remove";
    let asked = browser.submit("/access", remove, &[]).await;
    assert!(asked.status == 200 && asked.text.contains("No route asks for it now"), "{}", asked.text);
    assert_eq!(group(&master, "staff").await["id"], "staff");
    assert_eq!(browser.submit("/access", remove, &[("confirmed", "yes")]).await.status, 303);
    assert_eq!(browser.submit("/access", remove, &[("confirmed", "yes")]).await.status, 404);
    let gone = browser.get("/access?edit=staff").await.text;
    assert!(gone.contains("There is no group <code>staff</code>") && gone.contains("Make a group"), "{gone}");
    master.stop().await;
}

#[actix_web::test]
async fn what_is_refused_comes_back_with_the_reason_and_what_was_written() {
    let master = TestMaster::start().await;
    let browser = Browser::signed_in(&master).await;
    assert_eq!(browser.submit("/access", SET, &fields("staff", "allow", "a@example.com")).await.status, 303);
    let before = group(&master, "staff").await;
    for (id, include, status, reason) in [
        (
            "family",
            "a@example.com\r\n<nobody>",
            400,
            "Policy 1, anyone of, line 2: <code>&lt;nobody&gt;</code> cannot be read",
        ),
        ("My Family", "a@example.com", 400, "id of a group"),
        ("family", "country Germany", 400, "two letters"),
        ("staff", "b@example.com", 400, "is there already"),
        ("public-default-bypass", "b@example.com", 409, "is built in"),
    ] {
        let refused = browser.submit("/access", SET, &fields(id, "allow", include)).await;
        assert_eq!(refused.status, status, "{id}: {}", refused.text);
        let alert =
            refused.text.split("role=\"alert\">").nth(1).expect("an alert").split("</p>").next().unwrap();
        assert!(alert.contains(reason), "{id}: {alert}");
        let last = include.lines().last().unwrap().replace('<', "&#60;").replace('>', "&#62;");
        assert!(refused.text.contains(&format!("{last}</textarea>")), "{id}: {}", refused.text);
        assert!(refused.text.contains(&format!("value=\"{id}\"")), "{id}: {}", refused.text);
    }
    assert_eq!(group(&master, "staff").await, before);
    assert_eq!(group(&master, "family").await["code"], "group_not_found");
    master.stop().await;
}

#[actix_web::test]
async fn a_group_is_opened_to_everyone_only_after_a_person_said_yes_to_that() {
    let master = TestMaster::start().await;
    let browser = Browser::signed_in(&master).await;
    let mut open = fields("open", "bypass", "everyone");
    open.retain(|(name, _)| *name != "require-1");
    // when
    let asked = browser.submit("/access", SET, &open).await;
    // then
    assert!(asked.status == 200 && asked.text.contains("Open this group to everyone?"), "{}", asked.text);
    assert_eq!(group(&master, "open").await["code"], "group_not_found", "nobody said yes");
    // when: the form of that page is sent
    let yes = hidden(&asked);
    let yes: Vec<(&str, &str)> = yes.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert!(yes.contains(&("confirmed", "yes")) && yes.contains(&("name", "Staff <1>")), "{yes:?}");
    assert_eq!(browser.submit("/access", SET, &yes).await.status, 303);
    // then
    let made = group(&master, "open").await;
    assert_eq!((&made["is_open_to_everyone"], &made["name"]), (&json!(true), &json!("Staff <1>")));
    assert!(browser.get("/access").await.text.matches("open to everyone").count() >= 2);
    // It is open already: a change of something else asks nothing.
    let mut renamed = open.clone();
    renamed.push(("is_known", "yes"));
    assert_eq!(browser.submit("/access", SET, &renamed).await.status, 303);
    master.stop().await;
}

#[actix_web::test]
async fn a_group_that_routes_ask_for_names_them_and_says_what_its_removal_means() {
    // given
    let master = TestMaster::without_cloudflare().await;
    let browser = Browser::signed_in(&master).await;
    assert_eq!(browser.submit("/access", SET, &fields("staff", "allow", "a@example.com")).await.status, 303);
    let remove = "/access/groups/staff/remove";
    asking(&master, &[("shop", &[("access.group", "staff")]), ("bare", &[])]).await;
    // then
    let shown = browser.get("/access").await.text;
    assert!(shown.contains("Asked for by <a href=\"/routes?find=shop.example.com\""), "{shown}");
    let routes = browser.get("/routes").await.text;
    assert!(routes.contains("Protection: Group <code>staff</code>"), "{routes}");
    assert!(routes.contains("Protection: None of its own"), "{routes}");
    // A yes of somebody who was not told that a route is closed is none.
    let stale = browser.submit("/access", remove, &[("confirmed", "yes")]).await;
    assert!(stale.status == 409 && stale.text.contains("shop.example.com"), "{}", stale.text);
    let asked = browser.submit("/access", remove, &[]).await;
    assert!(asked.text.contains("Every route that asks for it is closed"), "{}", asked.text);
    let yes = hidden(&asked);
    let yes: Vec<(&str, &str)> = yes.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(browser.submit("/access", remove, &yes).await.status, 303);
    assert_eq!(group(&master, "staff").await["code"], "group_not_found");
    master.stop().await;
}

#[actix_web::test]
async fn who_may_only_look_sees_the_groups_and_changes_none() {
    let master = TestMaster::start().await;
    for role in [Role::Viewer, Role::Operator] {
        let browser = Browser::with_role(&master, role).await;
        assert_eq!(browser.get("/access").await.status, 200);
        let refused = browser.submit("/access", SET, &fields("staff", "allow", "a@example.com")).await;
        assert!(refused.status == 403 && refused.text.contains("admin"), "{}", refused.text);
    }
    assert_eq!(group(&master, "staff").await["code"], "group_not_found");
    master.stop().await;
}
