//! Everything by a part of its name.

use reqwest::Method;
use serde_json::json;

use super::Browser;
use crate::support::master::{ADMIN, TestMaster};

#[actix_web::test]
async fn whatever_has_the_text_in_its_name_is_found_with_a_link() {
    // given: an agent, a container with a route, a name that was refused, a rule, a group and a tunnel
    let master = TestMaster::start().await;
    let browser = Browser::signed_in(&master).await;
    let (key, id) = master.new_agent("Harbour-1").await;
    master.enroll(&id, "harbour-tunnel").await;
    let container = |name: &str, hostname: &str| {
        let labels = json!({ "dockflare.enable": "true", "dockflare.hostname": hostname, "dockflare.service": "http://app:80" });
        json!({ "id": format!("{name}0123456789abcdef"), "name": name, "labels": labels })
    };
    let rule = json!({ "hostname": "nas.harbour.example.com", "service": "http://10.0.0.5", "tunnel": "harbour-tunnel" });
    master.ask(Method::PUT, "/api/v3/rules/manual").key(ADMIN).json(rule).expect(201).await;
    let containers = [
        container("harbour-shop", "harbour.example.com"),
        container("copy", "nas.harbour.example.com"),
        container("buecher", "b\u{fc}cher.example.com"),
    ];
    let report = json!({ "type": "status_report", "container": { "containers": containers } });
    master.post(&format!("/api/v2/agents/{id}/events")).key(&key).json(report).expect(202).await;
    let policies = json!([{ "decision": "allow", "include": [{ "email": { "email": "ann@example.com" } }] }]);
    let group = json!({ "name": "Harbour staff", "policies": policies });
    master.ask(Method::PUT, "/api/v3/access/groups/staff").key(ADMIN).json(group).expect(200).await;
    master.until_services("all are told of", |rules| rules.len() >= 4).await;
    // when
    let found = browser.get("/search?q=hARBOUR").await;
    // then
    assert_eq!(found.status, 200, "{}", found.text);
    for (what, href) in [
        ("Hosts", format!("/agents/{id}")),
        ("Routes", "/routes/of?hostname=harbour.example.com".to_owned()),
        ("Rules of people", "/routes/of?hostname=nas.harbour.example.com".to_owned()),
        ("Refused", "/routes/of?hostname=nas.harbour.example.com".to_owned()),
        ("Containers", format!("/agents/{id}")),
        ("Access groups", "/access".to_owned()),
        ("Tunnels", "/cloudflare#tunnel-".to_owned()),
    ] {
        let section =
            found.text.split("<h2 id=\"found-").find(|part| part.contains(&format!(">{what} <span")));
        let section = section.unwrap_or_else(|| panic!("nothing under {what}: {}", found.text));
        assert!(section.contains(&format!("href=\"{href}")), "{what}: {section}");
    }
    assert!(found.text.contains("value=\"hARBOUR\""), "what was looked for stands in the field");
    // a name of another script, an address, and signs that mean more in a pattern
    for (text, words) in [
        ("b%C3%BCcher.example.com", "xn--bcher-kva.example.com"),
        ("https%3A%2F%2Fharbour.example.com%2F", "harbour-shop"),
        ("%25", "Nothing is called"),
        ("_", "Nothing is called"),
        ("%3Cb%3E", "Nothing is called"),
        ("", "Write a part of a name"),
    ] {
        let page = browser.get(&format!("/search?q={text}")).await;
        assert!(page.status == 200 && page.text.contains(words), "{text}: {}", page.text);
        assert!(!page.text.contains("<b>"), "{text}");
    }
    let long = browser.get(&format!("/search?q={}", "x".repeat(300))).await;
    assert!(long.status == 200 && long.text.contains("longer than any name"), "{}", long.text);
    master.stop().await;
}

#[actix_web::test]
async fn of_very_many_the_nearest_are_shown_and_it_is_said_that_there_are_more() {
    let master = TestMaster::start().await;
    let browser = Browser::signed_in(&master).await;
    let (_, id) = master.new_agent("web").await;
    master.enroll(&id, "edge").await;
    for number in 0..30 {
        let hostname = format!("a{number:02}.shop.example.com");
        let rule = json!({ "hostname": hostname, "service": "http://10.0.0.5", "tunnel": "edge" });
        master.ask(Method::PUT, "/api/v3/rules/manual").key(ADMIN).json(rule).expect(201).await;
    }
    let rule = json!({ "hostname": "shop.example.com", "service": "http://10.0.0.5", "tunnel": "edge" });
    master.ask(Method::PUT, "/api/v3/rules/manual").key(ADMIN).json(rule).expect(201).await;

    let page = browser.get("/search?q=shop.example.com").await.text;

    let first = page.split("row-title\">").nth(1).unwrap().split('<').next().unwrap();
    assert_eq!(first, "shop.example.com", "what is called just so comes first");
    assert_eq!(page.matches("row-title\">").count(), 20);
    assert!(page.contains("There are more") && page.contains("/routes?find=shop.example.com"), "{page}");
    master.stop().await;
}
