//! What pages show, how they stay true, and what machines ask for beside them.

use std::time::Duration;

use futures_util::StreamExt;
use serde_json::json;

use super::Browser;
use crate::support::cloudflare::{Fault, Trouble};
use crate::support::master::TestMaster;

#[actix_web::test]
async fn every_page_has_content_and_forbids_what_it_does_not_need() {
    let master = TestMaster::start().await;
    let browser = Browser::signed_in(&master).await;
    let (key, id) = master.new_agent("web-1").await;
    master.enroll(&id, "edge-1").await;
    let labels = json!({ "dockflare.enable": "true", "dockflare.hostname": "app.example.com", "dockflare.service": "http://app:80" });
    let start =
        json!({ "type": "container_start", "container": { "id": "c1", "name": "shop", "labels": labels } });
    master.post(&format!("/api/v2/agents/{id}/events")).key(&key).json(start).expect(202).await;
    master.until_services("one route", |rules| rules.len() == 1).await;

    let agent_page = format!("/agents/{id}");
    let pages = [
        ("/", "app.example.com"),
        ("/agents", "Generate key"),
        (agent_page.as_str(), "edge-1"),
        ("/routes", "http://app:80"),
        ("/access", "public-default-bypass"),
        ("/notifications", "Nobody is told yet"),
        ("/notifications?kind=email", "Mail server"),
        ("/routes/rule", "Make the tunnel if there is none of that name"),
        ("/runs", "Nothing was installed yet"),
        ("/system", "registrar"),
        ("/api/docs", "/api/v3/updates"),
    ];
    for (path, content) in pages {
        let page = browser.get(path).await;
        assert_eq!(page.status, 200, "{path}: {}", page.text);
        assert!(page.text.contains(content), "{path} lacks `{content}`: {}", page.text);
        let policy = page.header("content-security-policy");
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        assert_eq!((page.header("cache-control"), page.header("x-frame-options")), ("no-store", "DENY"));
        for inline in ["<style", "style=\"", "onclick", "javascript:"] {
            assert!(!page.text.contains(inline), "{path} has `{inline}`");
        }
        assert!(!page.text.contains(&key), "{path} shows a key");
    }
    let fragment = browser.get("/fragments/routes").await;
    assert!(fragment.text.contains("app.example.com") && !fragment.text.contains("<html"));
    let missing = browser.get("/agents/nobody").await;
    assert!(missing.status == 404 && missing.text.contains("<h1>There is nothing here</h1>"), "{missing:?}");
    master.stop().await;
}

#[actix_web::test]
async fn an_open_page_is_told_of_changes_until_the_server_stops() {
    let master = TestMaster::start().await;
    let browser = Browser::signed_in(&master).await;
    let request = master.http.get(master.url("/live")).header("cookie", browser.cookie_header());
    let answer = request.send().await.unwrap();
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    let mut stream = answer.bytes_stream();
    let hello = stream.next().await.unwrap().unwrap();
    assert!(hello.starts_with(b"retry: 2000\nevent: changed\n"), "a page may be older than its stream");

    master.new_agent("web-1").await;
    let heard = async { while !stream.next().await.unwrap().unwrap().starts_with(b"event: changed\n") {} };
    tokio::time::timeout(Duration::from_secs(5), heard).await.expect("the page is told");

    master.state.end_streams();
    let end =
        tokio::time::timeout(Duration::from_secs(5), async { while stream.next().await.is_some() {} }).await;
    assert!(end.is_ok(), "the stream ends with the server");
    master.stop().await;
}

#[actix_web::test]
async fn assets_are_served_with_their_digest() {
    let master = TestMaster::start().await;
    let page = master.get("/setup").expect(200).await;
    for name in [
        "lightship.css",
        "lightship.js",
        "vendor/htmx-2.0.11.min.js",
        "vendor/htmx-ext-sse-2.2.4.min.js",
        "lightship.svg",
    ] {
        let address = page.text.split(&format!("/assets/{name}")).nth(1).unwrap().split('"').next().unwrap();
        let file = master.get(&format!("/assets/{name}{address}")).expect(200).await;
        assert!(file.text.len() > 100 && file.header("cache-control").contains("immutable"), "{name}");
        let again = master.get(&format!("/assets/{name}")).header("if-none-match", file.header("etag"));
        again.expect(304).await;
    }
    master.get("/assets/../Cargo.toml").expect(404).await;
    master.get("/assets/nothing.css").expect(404).await;
    master.stop().await;
}

#[actix_web::test]
async fn a_token_that_cloudflare_refuses_is_named_by_readyz_and_on_the_first_page() {
    // given: a master that publishes
    let master = TestMaster::start().await;
    let browser = Browser::signed_in(&master).await;
    let (_, id) = master.new_agent("web-1").await;
    assert_eq!(master.get("/readyz").expect(200).await.json()["cloudflare"], true);
    // when
    let trouble = Trouble::Refused { status: 401, code: 10000, message: "Authentication error".into() };
    master.standin.inject(Fault::any(trouble).always());
    let enroll = json!({ "tunnel_name": "edge-1" });
    let refused = master.admin_post(&format!("/api/v2/agents/{id}/enroll"), enroll.clone()).send().await;
    assert_ne!(refused.status, 200);
    // then
    let ready = master.get("/readyz").expect(200).await.json();
    assert_eq!((&ready["cloudflare"], &ready["status"]), (&json!(false), &json!("ready")));
    assert!(ready["notes"].to_string().contains("Authentication error"), "{ready}");
    assert!(browser.get("/").await.text.contains("Cloudflare refuses the token"));
    // and once it takes it again
    master.standin.heal();
    master.admin_post(&format!("/api/v2/agents/{id}/enroll"), enroll).expect(200).await;
    assert_eq!(master.get("/readyz").expect(200).await.json()["cloudflare"], true);
    master.stop().await;
}

#[actix_web::test]
async fn whatever_may_be_opened_in_a_browser_has_the_headers_of_a_page() {
    let master = TestMaster::start().await;
    let browser = Browser::signed_in(&master).await;
    let (_, id) = master.new_agent("web-1").await;
    let agent = format!("/fragments/agents/{id}");
    let pages =
        ["/", "/fragments/overview", "/fragments/agents", &agent, "/fragments/keys", "/fragments/routes"];
    let lists =
        ["/fragments/system", "/api/v2/agents", "/api/v2/overview", "/api/v3/events", "/api/v2/nothing"];
    for path in pages.into_iter().chain(lists) {
        let answer = browser.get(path).await;
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
            ("cache-control", "no-store"),
            ("cross-origin-opener-policy", "same-origin"),
        ] {
            assert_eq!(answer.header(name), value, "{name} of {path}");
        }
        assert!(answer.header("content-security-policy").contains("default-src 'none'"), "{path}");
    }
    master.stop().await;
}

#[actix_web::test]
async fn the_machine_endpoints_answer_without_a_key() {
    let master = TestMaster::start().await;
    master.new_agent("web-1").await;
    assert_eq!(master.get("/healthz").expect(200).await.json()["status"], "ok");
    let ready = master.get("/readyz").expect(200).await.json();
    assert_eq!((&ready["status"], &ready["set_up"]), (&json!("ready"), &json!(false)));
    let metrics = master.get("/metrics").expect(200).await.text;
    assert!(metrics.contains("lightship_agents{state=\"pending\"} 1"), "{metrics}");
    // Other masters of this test program write to the same recorder: the line counts, not its number.
    for line in
        ["actor_nodes{role=\"master-store\",state=\"running\"}", "actor_mailbox_depth{role=\"master-store\"}"]
    {
        assert!(metrics.contains(line), "`{line}` is missing in {metrics}");
    }
    let api = master.get("/api/openapi.json").expect(200).await.json();
    assert!(api["paths"]["/api/v2/agents/register"]["post"].is_object());
    assert!(api["openapi"].as_str().unwrap().starts_with("3.1"));
    master.stop().await;
}
