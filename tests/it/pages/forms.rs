//! What a person does on a page.

use std::time::Duration;

use serde_json::json;

use super::{Browser, token_of};
use crate::support::asking::Answer;
use crate::support::cloudflare::{Fault, Op, Trouble};
use crate::support::master::TestMaster;
use crate::support::until::until;
use crate::v2_api::{publish_into_a_foreign_tunnel, start_event};

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
        "/tokens".to_owned(),
        "/tokens/x/revoke".to_owned(),
        "/tokens/x/delete".to_owned(),
        format!("/agents/keys/{key_id}/revoke"),
        format!("/agents/keys/{key_id}/delete"),
        format!("/agents/{id}/enroll"),
        format!("/agents/{id}/rename"),
        format!("/agents/{id}/limit"),
        format!("/agents/{id}/redeploy"),
        format!("/agents/{id}/roll-key"),
        format!("/agents/{id}/revoke"),
        format!("/agents/{id}/remove"),
        "/access/groups".to_owned(),
        "/access/groups/x/remove".to_owned(),
        "/access/tokens".to_owned(),
        "/access/tokens/x/rotate".to_owned(),
        "/access/tokens/x/revoke".to_owned(),
        "/notifications/targets".to_owned(),
        "/notifications/targets/x/test".to_owned(),
        "/notifications/targets/x/remove".to_owned(),
        "/routes/rule".to_owned(),
        "/routes/rule/x%7C/remove".to_owned(),
        "/registries/logins".to_owned(),
        "/registries/logins/ghcr.io/remove".to_owned(),
        "/routes/adopt".to_owned(),
        "/routes/apply".to_owned(),
        "/updates/plan".to_owned(),
        format!("/agents/{id}/plan"),
        "/plans/x/approve".to_owned(),
        "/approvals/x/second".to_owned(),
        "/approvals/x/withdraw".to_owned(),
        format!("/runs/{id}/x/undo"),
        "/logout".to_owned(),
    ];
    let fields = [
        ("confirmed", "yes"),
        ("tunnel_name", "edge"),
        ("display_name", "x"),
        ("hostname_patterns", "x.example.com"),
        ("owner", "x"),
        ("registry", "ghcr.io"),
        ("username", "x"),
        ("password", "x"),
    ];
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
    assert_eq!(agents["agents"][&id]["hostname_patterns"], json!([]));
    assert_eq!(agents["agent_keys"][&key_id]["status"], "active");
    assert_eq!(browser.get("/").await.status, 200, "still signed in");
    master.stop().await;
}

#[actix_web::test]
async fn a_registry_login_is_set_listed_without_its_password_and_forgotten() {
    const PASSWORD: &str = "nobody-sees-this-again";
    let master = TestMaster::start().await;
    let browser = Browser::signed_in(&master).await;
    let set = async |registry: &str, username: &str| {
        let fields = [("registry", registry), ("username", username), ("password", PASSWORD)];
        browser.submit("/system", "/registries/logins", &fields).await
    };
    assert!(browser.get("/system").await.text.contains("None was set here"));
    // What is refused comes back with what was written, but for the password.
    let refused = set("a <b>", "bob").await;
    assert_eq!(refused.status, 400);
    assert!(refused.text.contains("as it stands in names of images, such as"), "{}", refused.text);
    let is_back = refused.text.contains(r#"value="bob""#) && refused.text.contains("a &#60;b&#62;");
    assert!(is_back && !refused.text.contains(PASSWORD), "{}", refused.text);
    // when
    assert_eq!(set("ghcr.io", "bob <b>").await.status, 303);
    // then
    for path in ["/system", "/fragments/registries"] {
        let shown = browser.get(path).await.text;
        assert!(shown.contains("ghcr.io") && shown.contains("bob &#60;b&#62;"), "{path}: {shown}");
        assert!(
            shown.contains("by ann") && !shown.contains(PASSWORD) && !shown.contains("None was set"),
            "{path}"
        );
    }
    let asked = browser.submit("/system", "/registries/logins/ghcr.io/remove", &[]).await;
    assert!(
        asked.text.contains("Forget this login?") && asked.text.contains(r#"href="/system""#),
        "{}",
        asked.text
    );
    let yes = [("confirmed", "yes")];
    assert_eq!(browser.submit("/system", "/registries/logins/ghcr.io/remove", &yes).await.status, 303);
    assert!(browser.get("/fragments/registries").await.text.contains("None was set here"));
    assert_eq!(browser.submit("/system", "/registries/logins/ghcr.io/remove", &yes).await.status, 404);
    master.stop().await;
}

#[actix_web::test]
async fn a_registration_token_is_shown_once_listed_and_taken_back() {
    let master = TestMaster::start().await;
    let browser = Browser::signed_in(&master).await;
    let fields = [("label", "rack <4>"), ("seats", "2"), ("life", "72h")];
    let made = browser.submit("/agents", "/tokens", &fields).await;
    assert_eq!(made.status, 200, "{}", made.text);
    let token = made.text.split(r#"<pre id="token">"#).nth(1).unwrap().split('<').next().unwrap().to_owned();
    assert_eq!(token.len(), 64);
    assert!(
        made.text.contains("REDFLAG_REGISTRATION_TOKEN=") && !made.text.contains("rack <4>"),
        "{}",
        made.text
    );
    let hello = json!({ "hostname": "web-1", "os_type": "linux", "agent_version": "0.1.18" });
    let joined = master.post("/api/v1/agents/register").key(&token).json(hello).expect(200).await.json();
    // then
    let list = browser.get("/fragments/keys").await.text;
    assert!(list.contains("1 of 2") && list.contains("active") && !list.contains(&token), "{list}");
    let agent = browser.get(&format!("/agents/{}", joined["agent_id"].as_str().unwrap())).await.text;
    assert!(
        agent.contains("RedFlag v1") && agent.contains("never replaced, belongs to this machine"),
        "{agent}"
    );
    let id = list.split("/tokens/").nth(1).unwrap().split('/').next().unwrap().to_owned();
    let asked = browser.submit("/agents", &format!("/tokens/{id}/revoke"), &[]).await;
    assert!(asked.text.contains("Revoke this registration token?"), "{}", asked.text);
    let done = browser.submit("/agents", &format!("/tokens/{id}/revoke"), &[("confirmed", "yes")]).await;
    assert_eq!(done.status, 303);
    assert!(browser.get("/fragments/keys").await.text.contains("revoked"));
    assert_eq!(browser.submit("/agents", &format!("/tokens/{id}/delete"), &[]).await.status, 303);
    assert!(browser.get("/agents").await.text.contains("No registration tokens yet"));
    for fields in
        [[("label", ""), ("seats", "1"), ("life", "24h")], [("label", "a"), ("seats", "x"), ("life", "24h")]]
    {
        assert_eq!(browser.submit("/agents", "/tokens", &fields).await.status, 400, "{fields:?}");
    }
    master.stop().await;
}

#[actix_web::test]
async fn a_key_is_shown_once_with_what_to_do_with_it() {
    let master = TestMaster::start().await;
    let browser = Browser::signed_in(&master).await;
    let page = browser.get("/agents").await.text;
    assert!(page.contains("no other host can reach it") && page.contains("SERVER_HOST=0.0.0.0"), "{page}");
    let made = browser.submit("/agents", "/agents/keys", &[("owner", "web-7")]).await;
    assert_eq!(made.status, 200);
    let key = shown_key(&made);
    assert_eq!(key.len(), 43);
    for line in [
        "docker run -d --name lightship-agent",
        "docker-socket-proxy:2375",
        "lightship agent",
        "SERVER_HOST=0.0.0.0",
    ] {
        assert!(made.text.contains(line), "{line}");
    }
    let list = browser.get("/fragments/keys").await;
    assert!(list.text.contains("web-7") && list.text.contains("not used yet"), "{}", list.text);
    master.register(&key, json!({ "display_name": "front door" })).await;
    // The open page asks for this part again, so that a key says who uses it without a reload.
    let list = browser.get("/fragments/keys").await;
    assert!(list.text.contains("front door") && !list.text.contains("not used yet"), "{}", list.text);
    assert!(!list.text.contains(&key) && !browser.get("/agents").await.text.contains(&key));
    master.stop().await;
}

#[actix_web::test]
async fn keys_and_agents_are_limited_to_names_where_they_are_made_and_shown() {
    // given: a key that was limited as it was made, and the agent that uses it
    let master = TestMaster::start().await;
    let browser = Browser::signed_in(&master).await;
    let fields = [("owner", "lab-1"), ("hostname_patterns", "*.Lab.example.com, app.example.com")];
    let made = browser.submit("/agents", "/agents/keys", &fields).await;
    assert!(made.text.contains("<code>*.lab.example.com, app.example.com</code> only"), "{}", made.text);
    let list = browser.get("/agents").await.text;
    assert!(list.contains(">*.lab.example.com, app.example.com</td>"), "{list}");
    let id = master.register(&shown_key(&made), json!({ "display_name": "lab-1" })).await;
    let (page, limit) = (format!("/agents/{id}"), format!("/agents/{id}/limit"));
    let shown = browser.get(&page).await.text;
    assert!(shown.contains("<dt>May publish</dt><dd>any hostname</dd>"), "{shown}");
    assert!(shown.contains("<dt>Its key permits</dt><dd>*.lab.example.com, app.example.com</dd>"), "{shown}");
    for (text, patterns) in [("*.lab.example.com,", json!(["*.lab.example.com"])), ("", json!([]))] {
        // when
        let limited = browser.submit(&page, &limit, &[("hostname_patterns", text)]).await;
        // then
        assert_eq!((limited.status, limited.header("location")), (303, page.as_str()), "{}", limited.text);
        let agents = master.admin_get("/api/v2/agents").expect(200).await.json();
        assert_eq!(agents["agents"][&id]["hostname_patterns"], patterns);
        let shown = browser.get(&page).await.text;
        let value = format!("value=\"{}\"", text.trim_end_matches(','));
        assert!(shown.split("name=\"hostname_patterns\"").nth(1).unwrap().contains(&value), "{shown}");
    }
    // and: what was left out by mistake lifts no limit
    assert_eq!(browser.submit(&page, &limit, &[("hostname_patterns", "app.example.com")]).await.status, 303);
    assert_eq!(browser.submit(&page, &limit, &[]).await.status, 400);
    assert!(browser.get(&page).await.text.contains("<dt>May publish</dt><dd>app.example.com</dd>"));
    master.stop().await;
}

#[actix_web::test]
async fn a_refused_form_comes_back_with_the_reason_and_what_was_written() {
    // given
    let master = TestMaster::without_cloudflare().await;
    let browser = Browser::signed_in(&master).await;
    let (_, id) = master.new_agent("web-1").await;
    assert!(browser.get("/").await.text.contains("No Cloudflare token"));
    let before = master.admin_get("/api/v2/agents").expect(200).await.json();
    let (page, enroll, limit) =
        (format!("/agents/{id}"), format!("/agents/{id}/enroll"), format!("/agents/{id}/limit"));
    let bad = "<code>a.*.example.com</code> is no hostname pattern";
    for (page, path, field, written, status, reason) in [
        (page.as_str(), enroll.as_str(), "tunnel_name", "edge-1", 409, "<code>CF_API_TOKEN</code>"),
        (&page, &limit, "hostname_patterns", "ok.example.com, a.*.example.com", 400, bad),
        ("/agents", "/agents/keys", "hostname_patterns", "ok.example.com, a.*.example.com", 400, bad),
    ] {
        // when
        let refused = browser.submit(page, path, &[("owner", "lab-1"), (field, written)]).await;
        // then
        assert_eq!(refused.status, status, "{path}: {}", refused.text);
        let alert = refused.text.split("role=\"alert\">").nth(1).expect("an alert");
        assert!(alert.split("</p>").next().unwrap().contains(reason), "{path}: {}", refused.text);
        let value = format!("value=\"{written}\"");
        assert!(refused.text.contains(&value) && refused.text.contains("id=\"live\""), "{}", refused.text);
    }
    let after = master.admin_get("/api/v2/agents").expect(200).await.json();
    assert_eq!(after["agent_keys"], before["agent_keys"]);
    assert_eq!(after["agents"][&id]["hostname_patterns"], json!([]));
    master.stop().await;
}

fn shown_key(page: &Answer) -> String {
    page.text.split("<pre id=\"key\">").nth(1).unwrap().split('<').next().unwrap().to_owned()
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
async fn the_button_moves_names_to_a_tunnel_whose_connector_was_not_seen_after_it_asked() {
    // given: an agent whose route is published, and that is told to run another tunnel
    let master = TestMaster::start().await;
    let browser = Browser::signed_in(&master).await;
    let (key, id) = master.new_agent("web-1").await;
    let (page, act) = (format!("/agents/{id}"), format!("/agents/{id}/move"));
    master.enroll(&id, "edge-1").await;
    let labels = json!({ "dockflare.enable": "true", "dockflare.hostname": "app.example.com",
        "dockflare.service": "http://app:80" });
    let containers = json!([{ "id": "c1", "name": "app", "labels": labels }]);
    let event = json!({ "type": "status_report", "container": { "containers": containers } });
    master.post(&format!("/api/v2/agents/{id}/events")).key(&key).json(event).expect(202).await;
    master
        .until_services("it is published", |rules| rules.iter().any(|rule| rule["status"] == "active"))
        .await;
    assert!(!browser.get(&page).await.text.contains(&act), "there is nothing to move");
    let new = master.enroll(&id, "edge-2").await["command"]["tunnel_id"].as_str().unwrap().to_owned();
    let leads_to_new = || {
        let target = format!("{new}.cfargotunnel.com");
        master.standin.records("app.example.com").iter().any(|record| record.content == target)
    };
    // when
    let shown = browser.get(&page).await.text;
    let asked = browser.submit(&page, &act, &[]).await;
    // then
    assert!(shown.contains(&act) && shown.contains("Move names now"), "{shown}");
    assert!(
        asked.status == 200 && asked.text.contains("Move its names to its new tunnel now?"),
        "{}",
        asked.text
    );
    assert!(!leads_to_new(), "nobody said yes");
    // and when
    let moved = browser.submit(&page, &act, &[("confirmed", "yes")]).await;
    // then
    assert_eq!((moved.status, moved.header("location")), (303, page.as_str()));
    until("the name leads to the new tunnel", async || leads_to_new().then_some(())).await;
    assert!(!browser.get(&page).await.text.contains(&act), "it is done");
    master.stop().await;
}

#[actix_web::test]
async fn the_button_allows_a_second_host_with_a_key_a_seat() {
    // given: a second host with the key of the first
    let master = TestMaster::start().await;
    let browser = Browser::signed_in(&master).await;
    let (_, key) = master.make_key("web-1").await;
    let hello = |host: &str| json!({ "display_name": host, "lightship": { "protocols": [3], "host": host } });
    master.register(&key, hello("web-1")).await;
    let second = master.register(&key, hello("web-2")).await;
    let (page, act) = (format!("/agents/{second}"), format!("/agents/{second}/seat"));
    let shown = browser.get(&page).await.text;
    assert!(
        shown.contains("Uses the key of <code>web-1</code>") && shown.contains("Allow it a seat"),
        "{shown}"
    );
    let refused = browser.submit(&page, &format!("{page}/enroll"), &[("tunnel_name", "far")]).await;
    assert!(refused.status == 409 && refused.text.contains("no seat left"), "{}", refused.text);
    // when
    let allowed = browser.submit(&page, &act, &[]).await;
    // then
    assert_eq!((allowed.status, allowed.header("location")), (303, page.as_str()));
    assert!(!browser.get(&page).await.text.contains(&act), "it has one");
    let enrolled = browser.submit(&page, &format!("{page}/enroll"), &[("tunnel_name", "far")]).await;
    assert_eq!(enrolled.status, 303, "{}", enrolled.text);
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
    assert!(!after.contains("Waiting for you") && after.contains("published, not checked"), "{after}");
    assert!(after.contains("href=\"https://app.example.com\""), "{after}");
    master.stop().await;
}

#[actix_web::test]
async fn the_button_does_not_wait_for_a_cloudflare_that_never_answers() {
    // given: a tunnel that waits for a person
    let patience = Duration::from_secs(3);
    let master = TestMaster::build(true, |settings| settings.apply_patience = patience).await;
    let browser = Browser::signed_in(&master).await;
    publish_into_a_foreign_tunnel(&master).await;
    master.standin.inject(Fault::on(Op::PutConfig, Trouble::NeverAnswers).always());
    // when
    let answer = browser.submit("/routes", "/routes/apply", &[]).await;
    // then: it says that it goes on, and shows how far it is
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert!(answer.text.contains("still being carried out"), "{}", answer.text);
    assert!(answer.text.contains(">app.example.com<"), "{}", answer.text);
    assert!(answer.text.contains("being published"), "{}", answer.text);
    for before in ["Waiting for you", "waits for you"] {
        assert!(!answer.text.contains(before), "it is confirmed: {}", answer.text);
    }
    master.stop().await;
}

#[actix_web::test]
async fn routes_are_shown_while_cloudflare_does_not_tell_the_zones() {
    let master = TestMaster::start().await;
    let browser = Browser::signed_in(&master).await;
    let (key, id) = master.new_agent("web-1").await;
    master.enroll(&id, "edge-1").await;
    master.standin.inject(Fault::on(Op::ListZones, Trouble::NeverAnswers).always());
    let events = format!("/api/v2/agents/{id}/events");
    master.post(&events).key(&key).json(start_event("app.example.com")).expect(202).await;
    master.until_services("one route", |rules| rules.len() == 1).await;

    let page = browser.get("/routes").await;

    assert_eq!(page.status, 200, "{}", page.text);
    assert!(
        page.text.contains(">app.example.com<") && page.text.contains("being published"),
        "{}",
        page.text
    );
    master.stop().await;
}
