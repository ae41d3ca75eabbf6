//! Long lists: a page at a time, and what of them somebody asks for.

use lightship::domain::id::AgentId;
use serde_json::{Map, Value, json};

use super::Browser;
use crate::support::master::TestMaster;

/// A container that asks for these hostnames, one route each.
fn container(name: &str, hostnames: impl Iterator<Item = String>) -> Value {
    let labels =
        hostnames.enumerate().map(|(n, hostname)| (format!("dockflare.{n}.hostname"), hostname.into()));
    let base = [("dockflare.enable", "true"), ("dockflare.service", "http://app:80")];
    let labels: Map<String, Value> =
        base.into_iter().map(|(label, value)| (label.to_owned(), value.into())).chain(labels).collect();
    json!({ "id": format!("id-of-{name}"), "name": name, "labels": labels })
}

fn rows(html: &str) -> usize {
    html.matches("<li class=\"row\">").count()
}

fn has(html: &str, hostname: &str) -> bool {
    html.contains(&format!(">{hostname}<"))
}

#[actix_web::test]
async fn thousands_of_routes_are_shown_a_page_at_a_time_and_found_by_their_name() {
    // given: 450 routes of two containers
    let master = TestMaster::without_cloudflare().await;
    let (key, id) = master.new_agent("web-1").await;
    master.master.approve(&AgentId::new(&id), "admin").await.unwrap();
    let names = |range: std::ops::Range<u32>| range.map(|n| format!("r{n:03}.example.com"));
    let list = [container("shop", names(0..225)), container("blog", names(225..450))];
    let report = json!({ "type": "status_report", "container": { "containers": list } });
    master.post(&format!("/api/v2/agents/{id}/events")).key(&key).json(report).expect(202).await;
    master.until_services("all routes", |rules| rules.len() == 450).await;
    let browser = Browser::signed_in(&master).await;
    // when
    let first = browser.get("/routes").await.text;
    // then
    assert_eq!(rows(&first), 200);
    assert!(has(&first, "r000.example.com") && has(&first, "r199.example.com"), "{first}");
    assert!(first.contains("1 to 200 of 450") && first.contains("href=\"/routes?page=2\""), "{first}");
    let last = browser.get("/routes?page=3").await.text;
    assert!(has(&last, "r449.example.com") && rows(&last) == 50, "{last}");
    // and: what is asked for stays when the live part is fetched again
    let found = browser.get("/routes?find=BLOG&state=planned&page=2").await.text;
    let fragment = "/fragments/routes?find=BLOG&state=planned&page=2";
    assert!(found.contains(&format!("hx-get=\"{}\"", fragment.replace('&', "&#38;"))), "{found}");
    assert!(found.contains("value=\"BLOG\"") && found.contains("<option selected>planned"), "{found}");
    for html in [found, browser.get(fragment).await.text] {
        assert!(html.contains("225 of 450") && html.contains("201 to 225 of 225"), "{html}");
        assert!(rows(&html) == 25 && has(&html, "r425.example.com"), "{html}");
    }
    let one = browser.get("/routes?find=r007").await.text;
    assert!(has(&one, "r007.example.com") && rows(&one) == 1, "{one}");
    let none = browser.get("/routes?state=live").await.text;
    assert!(none.contains("Nothing on this list is like that") && rows(&none) == 0, "{none}");
    master.stop().await;
}

#[actix_web::test]
async fn agents_are_found_by_their_name_and_where_they_stand() {
    let master = TestMaster::start().await;
    let (_, id) = master.new_agent("web-1").await;
    master.enroll(&id, "edge-1").await;
    master.new_agent("web-2").await;
    let browser = Browser::signed_in(&master).await;
    let all = browser.get("/agents").await.text;
    assert!(has(&all, "web-1") && has(&all, "web-2") && !all.contains("name=\"find\""), "{all}");

    for (query, found) in [
        ("find=WEB-2", "web-2"),
        ("find=edge-1", "web-1"),
        ("state=online", "web-1"),
        ("state=waits+to+be+enrolled", "web-2"),
    ] {
        let page = browser.get(&format!("/agents?{query}")).await.text;
        let live = browser.get(&format!("/fragments/agents?{query}")).await.text;
        assert!(live.contains("1 of 2") && has(&live, found) && rows(&live) == 1, "{query}: {live}");
        assert!(page.contains("name=\"find\"") && page.contains("Show all"), "{query}: {page}");
    }
    master.stop().await;
}
