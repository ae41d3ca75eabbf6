//! What was decided, by whom, and what was so before: on the page, over the API, and as files.

use reqwest::Method;
use serde_json::{Value, json};

use super::Browser;
use crate::support::master::{ADMIN, TestMaster};

async fn set_group(master: &TestMaster, email: &str) {
    let policies = json!([{ "decision": "allow", "include": [{ "email": { "email": email } }] }]);
    let group = json!({ "name": "Staff", "policies": policies });
    master.ask(Method::PUT, "/api/v3/access/groups/staff").key(ADMIN).json(group).expect(200).await;
}

async fn events(master: &TestMaster, query: &str) -> Vec<Value> {
    let list = master.admin_get(&format!("/api/v3/events?limit=1000&{query}")).expect(200).await.json();
    list["events"].as_array().unwrap().clone()
}

fn types(events: &[Value]) -> Vec<&str> {
    events.iter().map(|row| row["event"]["type"].as_str().unwrap()).collect()
}

#[actix_web::test]
async fn what_was_decided_is_narrowed_by_who_what_name_and_time() {
    // given: two agents, one of which a person renames, and a group that is set twice
    let master = TestMaster::start().await;
    let browser = Browser::signed_in(&master).await;
    let (_, id) = master.new_agent("web-1").await;
    master.new_agent("web-2").await;
    let page = format!("/agents/{id}");
    browser.submit(&page, &format!("{page}/rename"), &[("display_name", "Renamed Host")]).await;
    set_group(&master, "ann@example.com").await;
    set_group(&master, "bob@example.com").await;
    // when, then
    let all = events(&master, "").await;
    for (query, is_it) in [
        ("actor=ann", (|row| row["actor"] == "ann") as fn(&Value) -> bool),
        ("actor=token", |row| row["actor"] == "token"),
        ("people=true", |row| {
            row["actor"] != "system" && !row["actor"].as_str().unwrap().starts_with("agent:")
        }),
        ("type=access", |row| row["event"]["type"].as_str().unwrap().starts_with("access_")),
        ("type=agent_renamed", |row| row["event"]["type"] == "agent_renamed"),
        ("type=keys", |row| row["event"]["type"].as_str().unwrap().starts_with("key_")),
        ("name=rENAMED+host", |row| row["event"].to_string().contains("Renamed Host")),
        ("name=100%25", |_| false),
        ("since=2000-01-01&until=9999-12-31", |_| true),
        ("until=2000-01-01", |_| false),
        ("since=9000-01-01", |_| false),
        ("actor=ann&type=agents&name=renamed", |row| {
            row["actor"] == "ann" && row["event"]["type"] == "agent_renamed"
        }),
    ] {
        let expected: Vec<&Value> = all.iter().filter(|row| is_it(row)).collect();
        let found = events(&master, query).await;
        assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{query}");
        let newest = events(&master, &format!("{query}&newest=true")).await;
        assert_eq!(newest.iter().rev().collect::<Vec<_>>(), expected, "{query}, the newest first");
        let shown = browser.get(&format!("/activity?{query}")).await;
        assert_eq!(shown.status, 200, "{query}");
        let lines = shown.text.matches("id=\"event-").count();
        assert_eq!(lines, expected.len().min(50), "{query}: {}", shown.text);
    }
    for (query, words) in [
        ("type=moon", "`moon` is no topic"),
        ("since=yesterday", "`since` is not allowed"),
        ("people=maybe", "`people`"),
    ] {
        let refused = master.admin_get(&format!("/api/v3/events?{query}")).expect(400).await;
        assert!(refused.text.contains(words), "{}", refused.text);
        let page = browser.get(&format!("/activity?{query}")).await;
        assert!(page.status == 400 && page.text.contains("<h1>Activity</h1>"), "{query}: {}", page.text);
    }
    master.stop().await;
}

#[actix_web::test]
async fn a_decision_shows_what_it_took_the_place_of() {
    // given
    let master = TestMaster::start().await;
    let browser = Browser::signed_in(&master).await;
    set_group(&master, "ann@example.com").await;
    set_group(&master, "bob@example.com").await;
    master.ask(Method::DELETE, "/api/v3/access/groups/staff").key(ADMIN).expect(200).await;
    set_group(&master, "cid@example.com").await;
    let groups = events(&master, "type=access").await;
    assert_eq!(
        types(&groups),
        ["access_group_set", "access_group_set", "access_group_removed", "access_group_set"]
    );
    let one = async |number: usize| {
        let seq = &groups[number]["seq"];
        master.admin_get(&format!("/api/v3/events/{seq}")).expect(200).await.json()
    };
    // when, then
    let first = one(0).await;
    assert_eq!((&first["before_is"], &first["before"]), (&json!("nothing"), &Value::Null));
    let second = one(1).await;
    assert_eq!((&second["before_is"], &second["before"]["seq"]), (&json!("known"), &groups[0]["seq"]));
    let changes = second["changes"].to_string();
    assert!(changes.contains("ann@example.com") && changes.contains("bob@example.com"), "{changes}");
    assert!(!changes.contains("Staff"), "what did not change is not told: {changes}");
    assert!(one(2).await["changes"].to_string().contains("\"after\":null"), "it went");
    assert_eq!(one(3).await["before_is"], "nothing", "it was taken away before");

    let list = browser.get("/activity?type=access").await.text;
    assert!(list.contains("<del>") && list.contains("bob@example.com"), "{list}");
    let page = browser.get(&format!("/activity/of?seq={}", groups[1]["seq"])).await;
    assert!(page.status == 200 && page.text.contains("whoever has the admin token"), "{}", page.text);
    assert!(page.text.contains("<th scope=\"col\">Before</th>"), "{}", page.text);
    for odd in ["0", "99999999", "-1", "x", ""] {
        assert_eq!(browser.get(&format!("/activity/of?seq={odd}")).await.status, 404, "{odd}");
    }
    master.stop().await;
}

#[actix_web::test]
async fn a_long_record_is_shown_page_by_page() {
    let master = TestMaster::start().await;
    let browser = Browser::signed_in(&master).await;
    for number in 0..60 {
        set_group(&master, &format!("n{number}@example.com")).await;
    }
    let first = browser.get("/activity?type=access").await.text;
    let older = first.split("href=\"").filter_map(|part| part.split('"').next());
    let older = older.into_iter().find(|href| href.contains("before=")).expect("a link to older ones");
    let older = older.replace("&#38;", "&").replace("&amp;", "&");
    assert!(older.contains("type=access"), "the filter stays: {older}");
    let second = browser.get(&older).await.text;
    let count = |text: &str| text.matches("id=\"event-").count();
    assert_eq!((count(&first), count(&second)), (50, 10), "{second}");
    assert!(second.contains("n0@example.com") && second.contains("id=\"newest\""), "{second}");
    master.stop().await;
}

#[actix_web::test]
async fn the_record_is_given_as_files_that_no_spreadsheet_carries_out() {
    // given: a name that looks like a formula, and more than fits in one piece
    let master = TestMaster::start().await;
    let browser = Browser::signed_in(&master).await;
    let (_, id) = master.new_agent("web-1").await;
    for number in 0..450 {
        let name = format!("=HYPERLINK(\"x\",{number})");
        let path = format!("/api/v2/agents/{id}/rename");
        master.post(&path).key(ADMIN).json(json!({ "display_name": name })).expect(200).await;
    }
    let all = events(&master, "").await;
    // when
    let json = browser.get("/api/v3/events/export").await;
    let csv = browser.get("/api/v3/events/export?format=csv&type=agent_renamed").await;
    // then
    assert!(json.header("content-disposition").contains("lightship-activity.json"), "{json:?}");
    let rows: Vec<Value> = serde_json::from_str(&json.text).unwrap();
    assert_eq!(rows, all);
    assert_eq!(csv.header("content-type"), "text/csv; charset=utf-8");
    assert!(csv.header("content-disposition").contains("lightship-activity.csv"));
    let lines: Vec<&str> = csv.text.split("\r\n").collect();
    assert_eq!(lines[0], "number,at,who,what,stream,version,said");
    assert_eq!(lines.len(), 452, "a line each, the heading, and the end of the last");
    assert!(
        lines[1].contains(",token,agent_renamed,agent/") && lines[1].contains("HYPERLINK"),
        "{}",
        lines[1]
    );
    assert_eq!(browser.get("/api/v3/events/export?format=xls").await.status, 400);
    assert_eq!(browser.get("/api/v3/events/export?limit=1").await.status, 400, "it is whole");
    let page = browser.get("/activity?actor=ann&name=x").await.text;
    assert!(page.contains("/api/v3/events/export?actor=ann") && page.contains("format=csv"), "{page}");
    master.stop().await;
}
