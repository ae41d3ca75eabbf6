//! The pages, as a browser without scripts meets them.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use futures_util::StreamExt;
use lightship::chance::Chance;
use lightship::web::password;
use secrecy::ExposeSecret;
use serde_json::json;

use crate::support::master::{Answer, TestMaster};
use crate::v2_api::publish_into_a_foreign_tunnel;

const PASSWORD: &str = "a calm sea and prosperous voyage";

/// Keeps cookies and fills in forms.
struct Browser<'a> {
    master: &'a TestMaster,
    cookies: Mutex<BTreeMap<String, String>>,
}

impl<'a> Browser<'a> {
    fn new(master: &'a TestMaster) -> Self {
        Self { master, cookies: Mutex::default() }
    }

    /// With the first administrator, signed in.
    async fn signed_in(master: &'a TestMaster) -> Self {
        let hash = password::hash(PASSWORD, &Chance::seeded(7));
        master.master.set_up_admin("ann", hash.into()).await.unwrap();
        let browser = Self::new(master);
        assert_eq!(browser.sign_in("ann", PASSWORD).await.status, 303);
        browser
    }

    fn cookie_header(&self) -> String {
        let cookies = self.cookies.lock().unwrap();
        cookies.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ")
    }

    fn keep(&self, answer: Answer) -> Answer {
        for cookie in answer.headers.get_all("set-cookie") {
            let text = cookie.to_str().unwrap();
            assert!(text.contains("HttpOnly") && text.contains("SameSite=Lax"), "{text}");
            let (name, value) = text.split(';').next().unwrap().split_once('=').unwrap();
            self.cookies.lock().unwrap().insert(name.into(), value.into());
        }
        answer
    }

    async fn get(&self, path: &str) -> Answer {
        self.keep(self.master.get(path).header("cookie", &self.cookie_header()).send().await)
    }

    async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        self.keep(self.master.post(path).header("cookie", &self.cookie_header()).form(fields).send().await)
    }

    /// Loads a page and sends a form with its token.
    async fn submit(&self, page: &str, path: &str, fields: &[(&str, &str)]) -> Answer {
        let token = token_of(&self.get(page).await);
        let mut all = vec![("csrf", token.as_str())];
        all.extend(fields);
        self.post(path, &all).await
    }

    async fn sign_in(&self, name: &str, password: &str) -> Answer {
        self.submit("/login", "/login", &[("name", name), ("password", password), ("next", "/agents")]).await
    }
}

fn token_of(page: &Answer) -> String {
    let rest =
        page.text.split(r#"name="csrf" value=""#).nth(1).unwrap_or_else(|| panic!("no form: {}", page.text));
    rest.split('"').next().unwrap().to_owned()
}

#[actix_web::test]
async fn the_first_run_link_works_once() {
    let master = TestMaster::start().await;
    let browser = Browser::new(&master);
    assert_eq!(browser.get("/").await.header("location"), "/setup");
    assert_eq!(browser.get("/login").await.header("location"), "/setup");
    let closed = browser.get("/setup?token=guess").await;
    assert!(closed.status == 200 && !closed.text.contains("<form"), "{}", closed.text);

    let token = master.state.open_setup().expose_secret().to_owned();
    let link = format!("/setup?token={token}");
    let fill = |name: &'static str, password: &'static str, again: &'static str| {
        let token = token.clone();
        let (browser, link) = (&browser, link.clone());
        async move {
            let fields =
                [("token", token.as_str()), ("name", name), ("password", password), ("again", again)];
            browser.submit(&link, "/setup", &fields).await
        }
    };
    assert!(fill("ann", "short", "short").await.text.contains("10 characters or more"));
    assert!(fill("ann", PASSWORD, "something else").await.text.contains("not the same"));
    assert_eq!(fill(" ann", PASSWORD, PASSWORD).await.status, 400);
    let done = fill("ann", PASSWORD, PASSWORD).await;
    assert_eq!((done.status, done.header("location")), (303, "/"));
    assert!(browser.get("/").await.text.contains("No agents yet"));

    let second = Browser::new(&master);
    assert_eq!(second.get(&link).await.header("location"), "/login");
    assert_eq!(second.sign_in("ann", PASSWORD).await.header("location"), "/agents");
    master.stop().await;
}

#[actix_web::test]
async fn the_set_up_form_needs_the_token_of_the_link() {
    let master = TestMaster::start().await;
    let browser = Browser::new(&master);
    let token = master.state.open_setup().expose_secret().to_owned();
    let fields = [("token", "guess"), ("name", "eve"), ("password", PASSWORD), ("again", PASSWORD)];
    let page = format!("/setup?token={token}");
    assert_eq!(browser.submit(&page, "/setup", &fields).await.status, 403);
    assert_eq!(browser.get("/").await.header("location"), "/setup");
    master.stop().await;
}

#[actix_web::test]
async fn a_wrong_password_says_no_more_than_an_unknown_name() {
    let master = TestMaster::start().await;
    Browser::signed_in(&master).await;
    let stranger = Browser::new(&master);
    let (wrong, unknown) =
        (stranger.sign_in("ann", "wrong password").await, stranger.sign_in("bob", PASSWORD).await);
    assert_eq!((wrong.status, unknown.status), (401, 401));
    for answer in [wrong, unknown] {
        assert!(answer.text.contains("Name or password is wrong."), "{}", answer.text);
    }
    assert_eq!(stranger.get("/agents").await.header("location"), "/login?next=%2Fagents");
    master.stop().await;
}

#[actix_web::test]
async fn guessing_is_locked_out_and_the_owner_is_not() {
    let master = TestMaster::start().await;
    let owner = Browser::signed_in(&master).await;
    let guesser = Browser::new(&master);
    for _ in 0..5 {
        assert_eq!(guesser.sign_in("ann", "wrong password").await.status, 401);
    }
    let locked = guesser.sign_in("ann", PASSWORD).await;
    assert_eq!(locked.status, 429);
    assert!(locked.text.contains("Try again in"), "{}", locked.text);

    // The session goes on, and the browser that signed in before may sign in again, from the same address.
    assert_eq!(owner.get("/").await.status, 200);
    owner.cookies.lock().unwrap().remove("lightship_session");
    assert_eq!(owner.sign_in("ann", PASSWORD).await.status, 303);
    master.stop().await;
}

#[actix_web::test]
async fn a_form_without_the_pages_token_changes_nothing() {
    let master = TestMaster::start().await;
    let browser = Browser::signed_in(&master).await;
    let (_, id) = master.new_agent("web-1").await;
    let (key_id, _) = master.make_key("spare").await;
    let other = Browser::new(&master);
    let foreign = token_of(&other.get("/login").await);
    let paths = [
        "/agents/keys".to_owned(),
        format!("/agents/keys/{key_id}/revoke"),
        format!("/agents/keys/{key_id}/delete"),
        format!("/agents/{id}/enroll"),
        format!("/agents/{id}/rename"),
        format!("/agents/{id}/redeploy"),
        format!("/agents/{id}/roll-key"),
        format!("/agents/{id}/revoke"),
        format!("/agents/{id}/remove"),
        "/routes/apply".to_owned(),
        "/logout".to_owned(),
    ];
    let fields = [("confirmed", "yes"), ("tunnel_name", "edge"), ("display_name", "x"), ("owner", "x")];
    for path in paths {
        for token in [None, Some(""), Some("guess"), Some(foreign.as_str())] {
            let mut all = fields.to_vec();
            all.extend(token.map(|token| ("csrf", token)));
            assert_eq!(browser.post(&path, &all).await.status, 403, "{path} {token:?}");
        }
        // And a form of somebody who is not signed in.
        let mut all = fields.to_vec();
        all.push(("csrf", &foreign));
        let answer = other.post(&path, &all).await;
        assert_eq!(answer.status, 303, "{path}");
        assert!(answer.header("location").starts_with("/login"), "{path}");
    }
    let agents = master.admin_get("/api/v2/agents").expect(200).await.json();
    assert_eq!(agents["agents"][&id]["display_name"], "web-1");
    assert_eq!(agents["agent_keys"][&key_id]["status"], "active");
    assert_eq!(browser.get("/").await.status, 200, "still signed in");
    master.stop().await;
}

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
        ("/system", "registrar"),
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
    assert_eq!(browser.get("/agents/nobody").await.status, 404);
    master.stop().await;
}

#[actix_web::test]
async fn a_key_is_shown_once_with_what_to_do_with_it() {
    let master = TestMaster::start().await;
    let browser = Browser::signed_in(&master).await;
    let made = browser.submit("/agents", "/agents/keys", &[("owner", "web-7")]).await;
    assert_eq!(made.status, 200);
    let key = made.text.split("<pre id=\"key\">").nth(1).unwrap().split('<').next().unwrap().to_owned();
    assert_eq!(key.len(), 43);
    for line in [
        "docker run -d --name lightship-agent",
        "docker-socket-proxy:2375",
        "lightship agent",
        "SERVER_HOST=0.0.0.0",
    ] {
        assert!(made.text.contains(line), "{line}");
    }
    master.register(&key, json!({})).await;
    let list = browser.get("/agents").await;
    assert!(list.text.contains("web-7") && !list.text.contains(&key));
    master.stop().await;
}

#[actix_web::test]
async fn an_agent_is_enrolled_renamed_and_removed_from_its_page() {
    let master = TestMaster::start().await;
    let browser = Browser::signed_in(&master).await;
    let (_, id) = master.new_agent("web-1").await;
    let page = format!("/agents/{id}");
    assert!(browser.get("/").await.text.contains("waits to be enrolled"));

    assert_eq!(
        browser.submit(&page, &format!("{page}/enroll"), &[("tunnel_name", "edge-1")]).await.status,
        303
    );
    assert_eq!(
        browser.submit(&page, &format!("{page}/rename"), &[("display_name", "Front <door>")]).await.status,
        303
    );
    let shown = browser.get(&page).await.text;
    assert!(
        shown.contains("edge-1") && shown.contains("Front &#60;door&#62;") && !shown.contains("Front <door>"),
        "{shown}"
    );

    // Without scripts, a page asks first.
    let asked = browser.submit(&page, &format!("{page}/remove"), &[]).await;
    assert!(asked.status == 200 && asked.text.contains("Remove this agent?"), "{}", asked.text);
    assert_eq!(browser.get(&page).await.status, 200);
    let removed = browser.submit(&page, &format!("{page}/remove"), &[("confirmed", "yes")]).await;
    assert_eq!((removed.status, removed.header("location")), (303, "/agents"));
    assert_eq!(browser.get(&page).await.status, 404);
    master.stop().await;
}

#[actix_web::test]
async fn the_button_confirms_what_waits() {
    let master = TestMaster::start().await;
    let browser = Browser::signed_in(&master).await;
    publish_into_a_foreign_tunnel(&master).await;
    let shown = browser.get("/routes").await.text;
    assert!(shown.contains("Waiting for you") && shown.contains("Tunnel shared"), "{shown}");
    assert!(shown.contains("theirs.example.com") && shown.contains("waits for you"), "{shown}");

    let done = browser.submit("/routes", "/routes/apply", &[]).await;

    assert_eq!(done.status, 200, "{}", done.text);
    assert!(done.text.contains("everything that waited is applied"), "{}", done.text);
    let after = browser.get("/routes").await.text;
    assert!(!after.contains("Waiting for you") && after.contains(">live<"), "{after}");
    assert!(after.contains("href=\"https://app.example.com\""), "{after}");
    master.stop().await;
}

#[actix_web::test]
async fn a_failure_is_told_on_a_page_of_its_own() {
    let master = TestMaster::without_cloudflare().await;
    let browser = Browser::signed_in(&master).await;
    let (_, id) = master.new_agent("web-1").await;
    let page = format!("/agents/{id}");
    let refused = browser.submit(&page, &format!("{page}/enroll"), &[("tunnel_name", "edge-1")]).await;
    assert_eq!(refused.status, 409);
    assert!(refused.text.contains("CF_API_TOKEN") && refused.text.contains("<h1>"), "{}", refused.text);
    assert!(browser.get("/").await.text.contains("No Cloudflare token"));
    master.stop().await;
}

#[actix_web::test]
async fn signing_out_ends_the_session_and_a_new_password_ends_all() {
    let master = TestMaster::start().await;
    let browser = Browser::signed_in(&master).await;
    let kept = browser.cookies.lock().unwrap().clone();
    browser.submit("/", "/logout", &[]).await;
    assert_eq!(browser.get("/").await.status, 303);

    let other = Browser { master: &master, cookies: Mutex::new(kept) };
    assert_eq!(other.get("/").await.status, 200);
    let set = |name: &str, password: &str| {
        master.admin_post(&format!("/api/v3/admins/{name}/password"), json!({ "password": password }))
    };
    set("bob", "another long password").expect(404).await;
    set("ann", "short").expect(400).await;
    assert_eq!(other.get("/").await.status, 200);
    set("ann", "another long password").expect(200).await;
    assert_eq!(other.get("/").await.status, 303);
    assert_eq!(Browser::new(&master).sign_in("ann", "another long password").await.status, 303);
    master.stop().await;
}

#[actix_web::test]
async fn a_script_is_told_where_to_sign_in() {
    let master = TestMaster::start().await;
    Browser::signed_in(&master).await;
    let answer = master.get("/fragments/overview").header("hx-request", "true").expect(204).await;
    assert_eq!(answer.header("hx-redirect"), "/login?next=%2F");
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
    assert!(hello.starts_with(b"retry:"), "{hello:?}");

    master.new_agent("web-1").await;
    let event = tokio::time::timeout(Duration::from_secs(5), stream.next()).await.unwrap().unwrap().unwrap();
    assert!(event.starts_with(b"event: changed\n"), "{event:?}");

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
async fn the_machine_endpoints_answer_without_a_key() {
    let master = TestMaster::start().await;
    master.new_agent("web-1").await;
    assert_eq!(master.get("/healthz").expect(200).await.json()["status"], "ok");
    let ready = master.get("/readyz").expect(200).await.json();
    assert_eq!((&ready["status"], &ready["set_up"]), (&json!("ready"), &json!(false)));
    let metrics = master.get("/metrics").expect(200).await.text;
    assert!(metrics.contains("lightship_agents{state=\"pending\"} 1"), "{metrics}");
    assert!(metrics.contains("lightship_actors{role=\"master-store\"} 1"), "{metrics}");
    let api = master.get("/api/openapi.json").expect(200).await.json();
    assert!(api["paths"]["/api/v2/agents/register"]["post"].is_object());
    assert!(api["openapi"].as_str().unwrap().starts_with("3.1"));
    master.stop().await;
}
