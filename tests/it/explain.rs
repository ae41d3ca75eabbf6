//! The whole story of a name: in order, from what is known here, with nobody asked.

use reqwest::Method;
use serde_json::{Value, json};

use crate::pages::Browser;
use crate::support::asking::Answer;
use crate::support::cloudflare::{Fault, Trouble};
use crate::support::master::{ADMIN, TestMaster};

const SECTIONS: [&str; 8] = [
    "Container",
    "Labels",
    "Claim",
    "Rule",
    "Protection",
    "Zone and record",
    "Last call and answer",
    "What it waits for",
];

/// Of a rule that a person made.
const SECTIONS_OF_A_RULE: [&str; 7] = [
    "Made by a person",
    "Claim",
    "Rule",
    "Protection",
    "Zone and record",
    "Last call and answer",
    "What it waits for",
];

fn container(name: &str, labels: &[(&str, &str)]) -> Value {
    let labels: serde_json::Map<String, Value> =
        labels.iter().map(|(label, value)| (format!("dockflare.{label}"), json!(value))).collect();
    json!({ "id": format!("{name}0123456789abcdef"), "name": name, "labels": labels })
}

fn published(name: &str, hostname: &str) -> Value {
    container(name, &[("enable", "true"), ("hostname", hostname), ("service", "http://app:80")])
}

async fn report(master: &TestMaster, (key, id): &(String, String), containers: &[Value]) {
    let report = json!({ "type": "status_report", "container": { "containers": containers } });
    master.post(&format!("/api/v2/agents/{id}/events")).key(key).json(report).expect(202).await;
}

/// An enrolled host.
async fn host(master: &TestMaster, name: &str) -> (String, String) {
    let (key, id) = master.new_agent(name).await;
    master.enroll(&id, &format!("edge-of-{name}")).await;
    (key, id)
}

async fn until_state(master: &TestMaster, hostname: &str, state: &str) {
    let is_it = |rule: &Value| rule["hostname"] == hostname && rule["status"] == state;
    master.until_services(&format!("{hostname} is {state}"), |rules| rules.iter().any(is_it)).await;
}

async fn ask(master: &TestMaster, name: &str) -> Answer {
    let name: String = url::form_urlencoded::byte_serialize(name.as_bytes()).collect();
    master.admin_get(&format!("/api/v3/explain?name={name}")).send().await
}

async fn stories(master: &TestMaster, name: &str) -> Vec<Value> {
    let answer = ask(master, name).await;
    assert_eq!(answer.status, 200, "{name}: {}", answer.text);
    answer.json()["stories"].as_array().unwrap().clone()
}

/// All that a section says, in one text.
fn section(story: &Value, title: &str) -> String {
    let sections = story["sections"].as_array().unwrap();
    let found = sections.iter().find(|section| section["title"] == title);
    found.unwrap_or_else(|| panic!("no section `{title}`: {story:#}")).to_string()
}

#[actix_web::test]
async fn a_published_route_is_told_from_its_labels_to_what_it_waits_for_by_each_of_its_names() {
    // given
    let master = TestMaster::start().await;
    let web = host(&master, "web-1").await;
    report(&master, &web, &[published("shop", "app.example.com")]).await;
    until_state(&master, "app.example.com", "active").await;
    // when: nobody at Cloudflare answers any more
    master.standin.inject(Fault::any(Trouble::NeverAnswers).always());
    for name in
        ["app.example.com", "https://App.example.com/", "shop", "shop01234567", "app.example.com/deep/path"]
    {
        // then
        let told = stories(&master, name).await;
        assert_eq!(told.len(), 1, "{name}");
        let story = &told[0];
        let titles: Vec<&str> =
            story["sections"].as_array().unwrap().iter().map(|one| one["title"].as_str().unwrap()).collect();
        assert_eq!(titles, SECTIONS, "{name}");
        assert_eq!((&story["state"], &story["agent"]), (&json!("published"), &json!("web-1")));
        assert!([json!("no"), json!("unknown")].contains(&story["serves"]), "no connector serves: {story:#}");
        for (title, words) in [
            ("Container", "shop"),
            ("Labels", "dockflare.hostname"),
            ("Labels", "read: `app.example.com` leads to `http://app:80`"),
            ("Claim", "this agent"),
            ("Rule", "\\\"service\\\":\\\"http://app:80\\\""),
            ("Rule", "edge-of-web-1"),
            ("Rule", "Version at Cloudflare"),
            ("Protection", "none of its own"),
            ("Zone and record", "example.com ("),
            ("Zone and record", "cfargotunnel.com"),
            ("Last call and answer", "published"),
            ("What it waits for", "Waits for"),
        ] {
            assert!(
                section(story, title).contains(words),
                "{name}: {title} lacks `{words}`: {}",
                section(story, title)
            );
        }
    }
    let page = Browser::signed_in(&master).await;
    let routes = page.get("/routes").await.text;
    assert!(routes.contains("/routes/of?hostname=app.example.com"), "{routes}");
    let of = page.get("/routes/of?hostname=app.example.com").await;
    assert_eq!(of.status, 200, "{}", of.text);
    assert!(SECTIONS.iter().all(|title| of.text.contains(title)), "{}", of.text);
    let fragment = page.get("/fragments/routes/of?hostname=app.example.com").await;
    assert!(
        fragment.text.contains("Zone and record") && !fragment.text.contains("<html"),
        "{}",
        fragment.text
    );
    master.standin.heal();
    master.stop().await;
}

#[actix_web::test]
async fn what_is_in_the_way_is_said_with_who_can_move_it() {
    // given: a record of somebody else, and a name that another host has
    let master = TestMaster::start().await;
    master.standin.add_record("example.com", "A", "taken.example.com", "192.0.2.7");
    let (web, other) = (host(&master, "web-1").await, host(&master, "web-2").await);
    report(&master, &web, &[published("shop", "app.example.com"), published("late", "taken.example.com")])
        .await;
    until_state(&master, "app.example.com", "active").await;
    until_state(&master, "taken.example.com", "blocked").await;
    // when
    report(&master, &other, &[published("copy", "app.example.com")]).await;
    until_state(&master, "app.example.com", "conflict").await;
    // then
    let blocked = stories(&master, "taken.example.com").await.remove(0);
    assert_eq!(blocked["state"], "blocked");
    assert!(section(&blocked, "What it waits for").contains("what is in the way to be gone"), "{blocked:#}");
    assert!(section(&blocked, "Zone and record").contains("No DNS record of ours"), "{blocked:#}");

    let both = stories(&master, "app.example.com").await;
    assert_eq!(both.len(), 2, "{both:#?}");
    let of = |agent: &str| both.iter().find(|story| story["agent"] == agent).unwrap();
    assert!(section(of("web-1"), "Claim").contains("agent web-2 has it as `conflict`"), "{both:#?}");
    let refused = of("web-2");
    assert_eq!((&refused["state"], &refused["container"]), (&json!("conflict"), &json!("copy")));
    assert!(section(refused, "Claim").contains("agent web-1 ("), "{refused:#}");
    assert!(
        section(refused, "Claim").contains("belongs to agent `web-1`"),
        "the name, not the id: {refused:#}"
    );
    assert!(section(refused, "What it waits for").contains("the name to be free"), "{refused:#}");
    let by_container = stories(&master, "copy").await;
    assert_eq!((by_container.len(), &by_container[0]["route"]), (1, &json!("app.example.com")));
    let page = Browser::signed_in(&master).await.get("/routes/of?hostname=app.example.com").await.text;
    assert!(page.contains("On web-1") && page.contains("On web-2"), "{page}");
    master.stop().await;
}

#[actix_web::test]
async fn a_container_that_asks_for_nothing_that_can_be_read_is_told_of_too() {
    let master = TestMaster::start().await;
    let web = host(&master, "web-1").await;
    let broken =
        container("broken", &[("enable", "true"), ("hostname", "no name"), ("service", "http://app:80")]);
    let off = container("off", &[("hostname", "off.example.com"), ("service", "http://app:80")]);
    report(&master, &web, &[broken, off]).await;

    let story = stories(&master, "broken").await.remove(0);
    assert_eq!((&story["state"], &story["route"]), (&json!("not_asked"), &Value::Null));
    assert!(section(&story, "Labels").contains("refused: `dockflare.hostname=no name`"), "{story:#}");
    assert!(section(&story, "What it waits for").contains("puts its labels right"), "{story:#}");
    let story = stories(&master, "off").await.remove(0);
    assert!(section(&story, "Labels").contains("do not say `enable`"), "{story:#}");
    master.stop().await;
}

#[actix_web::test]
async fn a_route_whose_container_is_gone_says_until_when_it_stays() {
    let master = TestMaster::start().await;
    let web = host(&master, "web-1").await;
    report(&master, &web, &[published("shop", "app.example.com")]).await;
    until_state(&master, "app.example.com", "active").await;
    report(&master, &web, &[]).await;
    until_state(&master, "app.example.com", "pending_deletion").await;

    for name in ["app.example.com", "shop"] {
        let story = stories(&master, name).await.remove(0);
        assert!(section(&story, "Container").contains("does not list it any more"), "{story:#}");
        assert!(section(&story, "Claim").contains("it is released at"), "{story:#}");
        assert!(section(&story, "What it waits for").contains("grace period"), "{story:#}");
    }
    master.stop().await;
}

#[actix_web::test]
async fn a_name_that_nobody_knows_is_refused_with_those_that_are_like_it() {
    let master = TestMaster::start().await;
    let web = host(&master, "web-1").await;
    let wild = published("wild", "*.lab.example.com");
    report(&master, &web, &[published("shop", "app.example.com"), wild]).await;
    until_state(&master, "app.example.com", "active").await;

    for (name, words) in [
        ("ap.example.com", "`app.example.com`"),
        ("app.example.org", "`app.example.com`"),
        ("shopp", "`shop`"),
        ("quite-another-thing", "`lightship routes` lists"),
    ] {
        let answer = ask(&master, name).await;
        assert_eq!((answer.status, &answer.json()["code"]), (404, &json!("not_found")), "{}", answer.text);
        assert!(answer.text.contains(&format!("`{name}`")) && answer.text.contains(words), "{}", answer.text);
    }
    let covered = stories(&master, "deep.lab.example.com").await;
    assert_eq!(covered[0]["route"], "*.lab.example.com", "by the wildcard that covers it");
    for bad in ["", "   "] {
        assert_eq!(ask(&master, bad).await.status, 400, "{bad:?}");
    }
    let unknown = Browser::signed_in(&master).await.get("/routes/of?hostname=ap.example.com").await;
    assert!(unknown.status == 404 && unknown.text.contains("app.example.com"), "{}", unknown.text);
    master.stop().await;
}

async fn set_rule(master: &TestMaster, rule: Value) {
    let answer = master.ask(Method::PUT, "/api/v3/rules/manual").key(ADMIN).json(rule).send().await;
    assert_eq!(answer.status, 201, "{}", answer.text);
}

fn titles(story: &Value) -> Vec<&str> {
    story["sections"].as_array().unwrap().iter().map(|one| one["title"].as_str().unwrap()).collect()
}

#[actix_web::test]
async fn a_rule_of_a_person_is_told_as_fully_as_a_containers_route() {
    // given: a rule behind a group, published in the tunnel of a host
    let master = TestMaster::start().await;
    host(&master, "web-1").await;
    let policies = json!([{ "decision": "allow", "include": [{ "email": { "email": "ann@example.com" } }] }]);
    let group = json!({ "name": "Staff", "policies": policies });
    master.ask(Method::PUT, "/api/v3/access/groups/staff").key(ADMIN).json(group).expect(200).await;
    let rule = json!({
        "hostname": "nas.example.com", "path": "/files", "service": "http://10.0.0.5:5000", "tunnel": "edge-of-web-1",
        "origin_request": { "connectTimeout": 10 }, "access": { "kind": "groups", "groups": ["staff"] },
    });
    set_rule(&master, rule).await;
    until_state(&master, "nas.example.com", "active").await;
    // when: nobody at Cloudflare answers any more
    master.standin.inject(Fault::any(Trouble::NeverAnswers).always());
    for name in [
        "nas.example.com",
        "nas.example.com/files/deep",
        "https://NAS.example.com/files",
        "nas.example.com|/files",
    ] {
        // then
        let told = stories(&master, name).await;
        assert_eq!(told.len(), 1, "{name}");
        let story = &told[0];
        assert_eq!(titles(story), SECTIONS_OF_A_RULE, "{name}");
        assert_eq!((&story["source"], &story["agent"]), (&json!("manual"), &Value::Null));
        assert_eq!((&story["tunnel"], &story["state"]), (&json!("edge-of-web-1"), &json!("published")));
        for (title, words) in [
            ("Made by a person", "token"),
            ("Made by a person", "connectTimeout"),
            ("Made by a person", "the connector of agent web-1"),
            ("Claim", "rules of people, in tunnel edge-of-web-1"),
            ("Rule", "\\\"service\\\":\\\"http://10.0.0.5:5000\\\""),
            ("Rule", "Version at Cloudflare"),
            ("Protection", "group `staff`"),
            ("Protection", "lets in anyone of ann@example.com"),
            ("Protection", "DockFlare-nas.example.com-files"),
            ("Protection", "Lightship-AccessGroup-staff"),
            ("Protection", "This is what was read back at Cloudflare"),
            ("Zone and record", "cfargotunnel.com"),
            ("Last call and answer", "published"),
        ] {
            let text = section(story, title);
            assert!(text.contains(words), "{name}: {title} lacks `{words}`: {text}");
        }
        let whole = story.to_string();
        assert!(!whole.contains("labels") && !whole.contains("container is"), "{whole}");
    }
    let page = Browser::signed_in(&master).await;
    let of = page.get("/routes/of?hostname=nas.example.com&path=%2Ffiles").await;
    assert!(
        of.status == 200 && SECTIONS_OF_A_RULE.iter().all(|title| of.text.contains(title)),
        "{}",
        of.text
    );
    assert!(of.text.contains("/routes/rule?key=nas.example.com"), "the way to change it: {}", of.text);
    master.standin.heal();
    master.stop().await;
}

#[actix_web::test]
async fn a_rule_in_a_tunnel_without_an_agent_and_a_container_that_wants_its_name_are_both_told_of() {
    // given
    let master = TestMaster::start().await;
    let web = host(&master, "web-1").await;
    let rule = json!({ "hostname": "nas.example.com", "service": "http://10.0.0.5:5000", "tunnel": "of-nobody", "make_tunnel": true });
    set_rule(&master, rule).await;
    until_state(&master, "nas.example.com", "active").await;
    set_rule(&master, json!({ "hostname": "nas.example.com", "path": r"~\.jpg$", "service": "http://10.0.0.6", "tunnel": "of-nobody" })).await;
    // when
    report(&master, &web, &[published("copy", "nas.example.com")]).await;
    until_state(&master, "nas.example.com", "conflict").await;
    // then
    let told = stories(&master, "nas.example.com/").await;
    assert_eq!(told.len(), 2, "{told:#?}");
    let (rule, refused) = (&told[0], &told[1]);
    assert_eq!((&rule["source"], &refused["source"]), (&json!("manual"), &json!("agent")));
    assert!(section(rule, "Made by a person").contains("a connector that no agent looks after"), "{rule:#}");
    assert!(section(rule, "Claim").contains("agent web-1 has it as `conflict`"), "{rule:#}");
    assert!(section(rule, "What it waits for").contains("connector"), "{rule:#}");
    assert!(section(refused, "Claim").contains("rules of people, in tunnel of-nobody"), "{refused:#}");
    let by_expression = stories(&master, "nas.example.com/cat.jpg").await;
    assert_eq!((by_expression.len(), &by_expression[0]["route"]), (1, &json!(r"nas.example.com~\.jpg$")));
    master.stop().await;
}
