//! Rules that people make, as their visitors see them at Cloudflare.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};

use crate::pages::Browser;
use crate::support::asking::Answer;
use crate::support::cloudflare::{Edge, Op};
use crate::support::master::{ADMIN, TestMaster};

const NAME: &str = "nas.example.com";

/// A host with its key, its id and its tunnel.
pub struct Host {
    pub key: String,
    pub id: String,
    pub tunnel: String,
}

impl Host {
    pub async fn new(master: &TestMaster, name: &str) -> Self {
        let (key, id) = master.new_agent(name).await;
        let enrolled = master.enroll(&id, &format!("edge-{name}")).await;
        Self { key, id, tunnel: enrolled["command"]["tunnel_id"].as_str().unwrap().to_owned() }
    }

    /// Its containers are these: each with its name, its hostname and its path.
    async fn reports(&self, master: &TestMaster, containers: &[(&str, &str, &str)]) {
        let container = |(name, hostname, path): &(&str, &str, &str)| {
            let labels = json!({
                "dockflare.enable": "true", "dockflare.hostname": hostname, "dockflare.path": path,
                "dockflare.service": format!("http://{name}:80"),
            });
            json!({ "id": format!("id-of-{name}"), "name": name, "labels": labels })
        };
        let list: Vec<Value> = containers.iter().map(container).collect();
        let report = json!({ "type": "status_report", "container": { "containers": list } });
        let path = format!("/api/v2/agents/{}/events", self.id);
        master.post(&path).key(&self.key).json(report).expect(202).await;
    }
}

pub fn rule(hostname: &str, tunnel: &str) -> Value {
    json!({ "hostname": hostname, "service": "http://10.0.0.5:5000", "tunnel": tunnel })
}

pub fn with(mut rule: Value, more: Value) -> Value {
    rule.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    rule
}

pub async fn set(master: &TestMaster, rule: Value) -> Answer {
    master.ask(Method::PUT, "/api/v3/rules/manual").key(ADMIN).json(rule).send().await
}

async fn remove(master: &TestMaster, key: &str) -> Answer {
    let key = url::form_urlencoded::byte_serialize(key.as_bytes()).collect::<String>().replace('+', "%20");
    master.ask(Method::DELETE, &format!("/api/v3/rules/manual/{key}")).key(ADMIN).send().await
}

async fn rules(master: &TestMaster) -> Vec<Value> {
    let list = master.admin_get("/api/v3/rules/manual").expect(200).await.json();
    list["rules"].as_array().unwrap().clone()
}

/// Waits until the route of a hostname stands there, by this source; returns it.
pub async fn until(master: &TestMaster, hostname: &str, source: &str, status: &str) -> Value {
    let is =
        |rule: &&Value| rule["hostname"] == hostname && rule["source"] == source && rule["status"] == status;
    let what = format!("{hostname} by {source} is {status}");
    let all = master.until_services(&what, |all| all.iter().any(|rule| is(&rule))).await;
    all.into_iter().find(|rule| is(&rule)).unwrap()
}

async fn until_gone(master: &TestMaster, hostname: &str) {
    master
        .standin
        .until("nothing of it is left", |state| {
            let is_ruled = state.tunnels.iter().any(|tunnel| tunnel.config.to_string().contains(hostname));
            !is_ruled && state.records.iter().all(|record| record.name != hostname)
        })
        .await;
}

fn target(tunnel: &str) -> String {
    format!("{tunnel}.cfargotunnel.com")
}

/// From now on every visitor of the name has to reach a service, after each call that changes something.
fn must_serve(master: &TestMaster, hostname: &'static str) {
    master.standin.on_change(move |state| match state.edge(hostname, "/") {
        Edge::Reaches { .. } => Ok(()),
        other => Err(format!("a visitor of {hostname} met {other:?}")),
    });
}

/// Waits until no rule of the name is left in a tunnel.
pub async fn until_left(master: &TestMaster, tunnel: &str, hostname: &str) {
    master
        .standin
        .until("the old rule is gone", |state| {
            !state.tunnel(tunnel).unwrap().config.to_string().contains(hostname)
        })
        .await;
}

#[actix_web::test]
async fn a_rule_is_published_changed_and_removed() {
    // given
    let master = TestMaster::start().await;
    let host = Host::new(&master, "one").await;
    // when
    let options =
        json!({ "origin_request": { "connectTimeout": 10, "noTLSVerify": true }, "path": "files/" });
    let made = set(&master, with(rule(NAME, "edge-one"), options)).await;
    // then
    assert_eq!((made.status, made.json()["rule_key"].as_str().unwrap()), (201, "nas.example.com|/files"));
    until(&master, NAME, "manual", "active").await;
    let (_, config) = master.standin.config(&host.tunnel);
    assert_eq!(
        config["ingress"][0],
        json!({
            "hostname": NAME, "path": "^/files(/|$)", "service": "http://10.0.0.5:5000",
            "originRequest": { "connectTimeout": 10, "noTLSVerify": true }
        })
    );
    assert_eq!(master.standin.records(NAME)[0].content, target(&host.tunnel));
    let [shown] = &rules(&master).await[..] else { panic!("one rule") };
    assert_eq!(
        (shown["state"].as_str(), shown["tunnel_name"].as_str()),
        (Some("published"), Some("edge-one"))
    );
    assert_eq!(shown["without_effect"], json!(["`noTLSVerify` has no effect on a `http://` service"]));

    // when it is set anew, without saying where
    let changed = json!({ "hostname": NAME, "path": "/files", "service": "https://10.0.0.5:5001" });
    assert_eq!(set(&master, changed).await.status, 200);
    // then
    master
        .standin
        .until("the rule follows", |state| {
            let tunnel = state.tunnel(&host.tunnel).unwrap();
            let rule = &tunnel.config["ingress"][0];
            rule["service"] == "https://10.0.0.5:5001" && rule.get("originRequest").is_none()
        })
        .await;

    // when
    assert_eq!(remove(&master, "nas.example.com|/files").await.status, 200);
    // then
    until_gone(&master, NAME).await;
    assert_eq!(rules(&master).await, Vec::<Value>::new());
    assert_eq!(remove(&master, "nas.example.com|/files").await.status, 404);
}

#[actix_web::test]
async fn what_containers_do_leaves_rules_of_people_alone() {
    let master = TestMaster::start().await;
    let host = Host::new(&master, "one").await;
    assert_eq!(set(&master, rule(NAME, &host.tunnel)).await.status, 201);
    until(&master, NAME, "manual", "active").await;

    host.reports(&master, &[("app", "app.example.com", "")]).await;
    until(&master, "app.example.com", "agent", "active").await;
    assert_eq!(master.standin.hostnames(&host.tunnel), ["app.example.com", NAME]);
    host.reports(&master, &[]).await;
    until(&master, "app.example.com", "agent", "pending_deletion").await;
    assert_eq!(until(&master, NAME, "manual", "active").await["delete_at"], Value::Null);
}

#[actix_web::test]
async fn a_container_whose_name_has_a_rule_is_refused_and_gets_it_when_the_rule_goes() {
    // given
    let master = TestMaster::start().await;
    let host = Host::new(&master, "one").await;
    assert_eq!(set(&master, rule(NAME, "edge-one")).await.status, 201);
    until(&master, NAME, "manual", "active").await;
    // when
    host.reports(&master, &[("app", NAME, "/app")]).await;
    // then
    let refused = until(&master, NAME, "agent", "conflict").await;
    assert!(refused["reason"].as_str().unwrap().contains("has a rule that a person made"), "{refused}");
    let page = Browser::signed_in(&master).await.get("/routes").await.text;
    assert!(page.contains("rule of a person") && page.contains("has a rule that a person made"), "{page}");
    assert_eq!(master.standin.config(&host.tunnel).1["ingress"].as_array().unwrap().len(), 2);
    // when
    assert_eq!(remove(&master, "nas.example.com|").await.status, 200);
    // then
    until(&master, NAME, "agent", "active").await;
    assert_eq!(master.standin.config(&host.tunnel).1["ingress"][0]["service"], "http://app:80");
}

#[actix_web::test]
async fn a_name_that_a_container_has_is_taken_over_only_by_order_and_without_a_gap() {
    // given: a container publishes the name
    let master = TestMaster::start().await;
    let (one, two) = (Host::new(&master, "one").await, Host::new(&master, "two").await);
    one.reports(&master, &[("web", NAME, "")]).await;
    until(&master, NAME, "agent", "active").await;
    let record = master.standin.records(NAME)[0].id.clone();
    // when
    let refused = set(&master, rule(NAME, "edge-two")).await;
    // then
    assert_eq!((refused.status, refused.json()["code"].as_str().unwrap()), (409, "hostname_held"));
    let words = refused.json()["error"].as_str().unwrap().to_owned();
    assert!(words.contains("agent `one`") && words.contains("container `web`"), "{words}");
    assert!(words.contains("take over") || words.contains("take it over"), "{words}");
    must_serve(&master, NAME);

    // when
    let taken = set(&master, with(rule(NAME, "edge-two"), json!({ "take_over": true }))).await;
    // then
    assert_eq!((taken.status, taken.json()["taken_from"].clone()), (201, json!([one.id])));
    until(&master, NAME, "manual", "active").await;
    until(&master, NAME, "agent", "conflict").await;
    until_left(&master, &one.tunnel, NAME).await;
    let [now] = &master.standin.records(NAME)[..] else { panic!("one record") };
    assert_eq!((&now.id, &now.content), (&record, &target(&two.tunnel)), "the record was led over");
    master.standin.assert_no_violations();
}

#[actix_web::test]
async fn a_container_that_moves_is_served_all_the_time() {
    let master = TestMaster::start().await;
    let (one, two) = (Host::new(&master, "one").await, Host::new(&master, "two").await);
    one.reports(&master, &[("web", NAME, "")]).await;
    until(&master, NAME, "agent", "active").await;
    let record = master.standin.records(NAME)[0].id.clone();
    must_serve(&master, NAME);

    one.reports(&master, &[]).await;
    two.reports(&master, &[("web", NAME, "")]).await;

    let is_two = |rule: &Value| rule["status"] == "active" && rule["agent_id"] == two.id.as_str();
    master.until_services("it is published there", |all| all.iter().any(is_two)).await;
    until_left(&master, &one.tunnel, NAME).await;
    assert_eq!(master.standin.records(NAME)[0].id, record, "the record was led over");
    master.standin.assert_no_violations();
}

#[actix_web::test]
async fn rules_of_one_name_are_in_one_tunnel_and_move_together() {
    let master = TestMaster::start().await;
    let (one, two) = (Host::new(&master, "one").await, Host::new(&master, "two").await);
    let at = |tunnel: &str, path: &str| with(rule(NAME, tunnel), json!({ "path": path }));
    assert_eq!(set(&master, at("edge-one", "")).await.status, 201);
    assert_eq!(set(&master, at("edge-one", "/api")).await.status, 201);
    until(&master, NAME, "manual", "active").await;

    let refused = set(&master, at("edge-two", "/api")).await;
    assert_eq!((refused.status, refused.json()["code"].as_str().unwrap()), (409, "rule_elsewhere"));
    let moved = set(&master, with(at("edge-two", "/api"), json!({ "take_over": true }))).await;
    assert_eq!(moved.status, 200, "{moved:?}");

    let tunnels: BTreeSet<String> =
        rules(&master).await.iter().map(|rule| rule["tunnel_id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(tunnels, BTreeSet::from([two.tunnel.clone()]));
    master
        .standin
        .until("both are there", |state| {
            let count = |id: &str| state.tunnel(id).unwrap().config.to_string().matches(NAME).count();
            count(&two.tunnel) == 2 && count(&one.tunnel) == 0
        })
        .await;
    assert!(master.standin.calls_of(Op::DeleteRecord).is_empty());
}

#[actix_web::test]
async fn a_tunnel_without_an_agent_is_made_by_its_name_or_found_and_asked_for_once() {
    // given
    let master = TestMaster::start().await;
    // when
    let unknown = set(&master, rule(NAME, "nas-tunnel")).await;
    let made = set(&master, with(rule(NAME, "nas-tunnel"), json!({ "make_tunnel": true }))).await;
    // then
    assert_eq!((unknown.status, unknown.json()["code"].as_str().unwrap()), (404, "tunnel_not_found"));
    assert_eq!(made.status, 201, "{made:?}");
    let tunnel = made.json()["tunnel_id"].as_str().unwrap().to_owned();
    until(&master, NAME, "manual", "active").await;
    assert_eq!(master.standin.hostnames(&tunnel), [NAME]);
    let list = master.admin_get("/api/v3/events?stream=tunnel/").expect(200).await.text;
    assert!(!list.contains("token\":"), "no secret is in an event: {list}");

    // given one that holds what others made
    let other = master.standin.add_tunnel("theirs", "cloudflare");
    let theirs =
        json!({ "hostname": "old.example.com", "service": "http://old:1", "originRequest": { "x": 1 } });
    let config =
        json!({ "ingress": [theirs, { "service": "http_status:404" }], "warp-routing": { "enabled": true } });
    master.standin.write_config(&other, config.clone());
    // when
    let asked = set(&master, rule("new.example.com", &other)).await;
    // then it waits for a person, once
    assert_eq!(asked.status, 201, "{asked:?}");
    let waiting = until(&master, "new.example.com", "manual", "waiting").await;
    assert!(waiting["reason"].as_str().unwrap().contains("`theirs` holds 2 rules or settings"), "{waiting}");
    assert_eq!(master.standin.config(&other).1, config);
    master.admin_post("/api/v3/apply", json!({ "yes": true })).expect(200).await;
    until(&master, "new.example.com", "manual", "active").await;
    let now = master.standin.config(&other).1;
    assert!(now["ingress"].as_array().unwrap().contains(&theirs), "{now}");
    assert_eq!(now["warp-routing"], config["warp-routing"]);
}

#[actix_web::test]
async fn rules_go_along_with_their_agent_and_stay_when_it_is_removed() {
    // given
    let master = TestMaster::start().await;
    let host = Host::new(&master, "one").await;
    let at_agent = json!({ "hostname": NAME, "service": "http://10.0.0.5:5000", "agent": host.id });
    assert_eq!(set(&master, at_agent).await.status, 201);
    until(&master, NAME, "manual", "active").await;
    // when it gets another tunnel, and the connector of that one is not waited for
    let other =
        master.enroll(&host.id, "edge-new").await["command"]["tunnel_id"].as_str().unwrap().to_owned();
    master.admin_post(&format!("/api/v3/agents/{}/move", host.id), json!({})).expect(200).await;
    // then
    master
        .standin
        .until("its record follows", |state| {
            state.records.iter().any(|record| record.name == NAME && record.content == target(&other))
        })
        .await;
    until_left(&master, &host.tunnel, NAME).await;
    // when
    master.admin_post(&format!("/api/v2/agents/{}/remove", host.id), json!({})).expect(200).await;
    // then
    let stays = until(&master, NAME, "manual", "active").await;
    assert_eq!(stays["tunnel_id"], other.as_str());
    assert_eq!(master.standin.hostnames(&other), [NAME]);
    assert!(!master.standin.state().tunnel(&other).unwrap().is_deleted);
}

#[actix_web::test]
async fn rules_of_others_are_shown_and_taken_over_as_they_are() {
    // given
    let master = TestMaster::start().await;
    let tunnel = master.standin.add_tunnel("theirs", "cloudflare");
    let odd = json!({
        "hostname": NAME, "path": "\\.(jpg|png)$", "service": "https://10.0.0.5:5001", "id": "x1",
        "originRequest": { "noTLSVerify": true, "connectTimeout": 30, "bastionMode": false }
    });
    let plain = json!({ "hostname": "app.example.com", "service": "http://app:80" });
    let nobodys = json!({ "path": "/health", "service": "http://app:80" });
    let config = json!({ "ingress": [odd, plain, nobodys, { "service": "http_status:404" }] });
    master.standin.write_config(&tunnel, config.clone());
    for name in [NAME, "app.example.com"] {
        master.standin.add_record("example.com", "CNAME", name, &target(&tunnel));
    }
    // when
    let seen = master.admin_get("/api/v3/rules/foreign?tunnel=theirs").expect(200).await.json();
    // then
    let list = seen["rules"].as_array().unwrap();
    assert_eq!(
        list.iter().map(|one| one["rule"].clone()).collect::<Vec<_>>(),
        [odd.clone(), plain.clone(), nobodys.clone()]
    );
    assert!(list[..2].iter().all(|one| one["changes"] == json!([]) && one["reason"].is_null()), "{seen}");
    assert!(list[2]["reason"].as_str().unwrap().contains("every hostname"));
    assert_eq!(seen["order_changes"], false);

    // when one of them is taken over, then the others
    let take = |names: Value| json!({ "tunnel": "theirs", "hostnames": names, "yes": true });
    let first = master.admin_post("/api/v3/rules/import", take(json!([NAME]))).expect(200).await.json();
    assert_eq!(first, json!({ "taken": ["nas.example.com~\\.(jpg|png)$"], "left": [] }));
    until(&master, NAME, "manual", "active").await;
    let rest = master.admin_post("/api/v3/rules/import", take(Value::Null)).expect(200).await.json();
    assert_eq!(
        (rest["taken"].clone(), rest["left"].as_array().unwrap().len()),
        (json!(["app.example.com"]), 1)
    );
    until(&master, "app.example.com", "manual", "active").await;
    // then not a byte is another
    let now = master.standin.config(&tunnel).1;
    for rule in [&plain, &odd, &nobodys] {
        assert!(now["ingress"].as_array().unwrap().contains(rule), "{rule} in {now}");
    }
    let again = master.admin_get("/api/v3/rules/foreign?tunnel=theirs").expect(200).await.json();
    assert_eq!(again["rules"].as_array().unwrap().len(), 1, "{again}");
    // and a change is made in it, with the rest as it was
    let changed = json!({ "hostname": NAME, "path": "~\\.(jpg|png)$", "service": "https://10.0.0.6:5001",
        "origin_request": { "connectTimeout": 30 } });
    assert_eq!(set(&master, changed).await.status, 200);
    master
        .standin
        .until("the rule follows", |state| {
            let rules = state.tunnel(&tunnel).unwrap().config["ingress"].as_array().unwrap().clone();
            rules.iter().any(|rule| rule["service"] == "https://10.0.0.6:5001" && rule["id"] == "x1")
        })
        .await;
}

#[actix_web::test]
async fn of_two_rules_of_others_for_the_same_the_one_in_use_is_taken_over_and_a_blank_stays() {
    // given
    let master = TestMaster::start().await;
    let tunnel = master.standin.add_tunnel("theirs", "cloudflare");
    let theirs = |path: &str, service: &str| json!({ "hostname": NAME, "path": path, "service": service });
    let [used, dead, blank] = [
        theirs("^/api(/|$)", "http://used:1"),
        theirs("^/api(/|$)", "http://dead:1"),
        theirs("\\.jpg ", "http://jpg:1"),
    ];
    let list = json!([used, dead, blank, { "service": "http_status:404" }]);
    master.standin.write_config(&tunnel, json!({ "ingress": list }));
    // when
    let seen = master.admin_get("/api/v3/rules/foreign?tunnel=theirs").expect(200).await.json();
    let misspelt = json!({ "tunnel": "theirs", "hostname": ["a.example.com"], "yes": true });
    master.admin_post("/api/v3/rules/import", misspelt).expect(400).await;
    let order = json!({ "tunnel": "theirs", "yes": true });
    let imported = master.admin_post("/api/v3/rules/import", order).expect(200).await.json();
    // then
    assert_eq!(seen["rules"][1]["reason"], "an earlier rule gets all its requests");
    assert_eq!(imported["taken"], json!(["nas.example.com/api", "nas.example.com~\\.jpg "]));
    let left =
        json!([{ "hostname": NAME, "code": "invalid", "reason": "an earlier rule gets all its requests" }]);
    assert_eq!(imported["left"], left);
    until(&master, NAME, "manual", "active").await;
    let services = |all: &[Value]| all.iter().map(|rule| rule["service"].clone()).collect::<Vec<_>>();
    assert_eq!(services(&rules(&master).await), ["http://used:1", "http://jpg:1"]);
    let now = master.standin.config(&tunnel).1;
    assert_eq!(services(now["ingress"].as_array().unwrap())[0], "http://used:1");

    // when the one with the blank is changed and removed
    let changed = json!({ "hostname": NAME, "path": "~\\.jpg ", "service": "http://jpg:2" });
    assert_eq!(set(&master, changed).await.status, 200);
    assert_eq!(remove(&master, "nas.example.com|~\\.jpg ").await.status, 200);
    // then
    assert_eq!(services(&rules(&master).await), ["http://used:1"]);
}

#[actix_web::test]
async fn a_name_that_a_record_of_others_leads_stays_where_it_is() {
    // given: a rule that was taken over, with the record that somebody made for it
    let master = TestMaster::start().await;
    let _two = Host::new(&master, "two").await;
    let theirs = master.standin.add_tunnel("theirs", "cloudflare");
    let list = json!([{ "hostname": NAME, "service": "http://nas:1" }, { "service": "http_status:404" }]);
    master.standin.write_config(&theirs, json!({ "ingress": list }));
    master.standin.add_record("example.com", "CNAME", NAME, &target(&theirs));
    let order = json!({ "tunnel": "theirs", "yes": true });
    master.admin_post("/api/v3/rules/import", order).expect(200).await;
    until(&master, NAME, "manual", "active").await;
    // when
    let refused = set(&master, rule(NAME, "edge-two")).await;
    // then
    assert_eq!((refused.status, refused.json()["code"].as_str().unwrap()), (409, "record_of_others"));
    let words = refused.json()["error"].as_str().unwrap().to_owned();
    assert!(words.contains(&target(&theirs)) && words.contains("remove that record"), "{words}");
    assert_eq!(rules(&master).await[0]["tunnel_id"], theirs.as_str());
    assert_eq!(master.standin.hostnames(&theirs), [NAME]);
    let elsewhere = set(&master, rule("other.example.com", "edge-two")).await;
    assert_eq!(elsewhere.status, 201, "other names are not concerned");
}

#[actix_web::test]
async fn what_cannot_be_read_is_refused_with_everything_that_is_wrong() {
    let master = TestMaster::start().await;
    Host::new(&master, "one").await;
    for (body, words) in [
        (json!({}), vec!["`hostname`: ", "`service`: "]),
        (rule(NAME, ""), vec!["name or id belongs here"]),
        (json!({ "hostname": NAME, "service": "http://x" }), vec!["in which tunnel"]),
        (with(rule(NAME, "edge-one"), json!({ "agent": "a" })), vec!["not both"]),
        (with(rule(NAME, "edge-one"), json!({ "path": "~(" })), vec!["regular expression"]),
        (
            with(rule(NAME, "edge-one"), json!({ "origin_request": { "connectTimeout": "10s", "x": 1 } })),
            vec!["`x`: no such option", "`connectTimeout`: this value"],
        ),
        (
            with(rule(NAME, "edge-one"), json!({ "origin_request": { "access": { "required": true } } })),
            vec!["access_aud_tag"],
        ),
        (with(rule(NAME, "edge-one"), json!({ "access": { "kind": "everybody" } })), vec!["`access`: "]),
        // A slip in what keeps people out.
        (with(rule(NAME, "edge-one"), json!({ "access_group_ids": ["staff"] })), vec!["access_group_ids"]),
        (with(rule(NAME, "edge-one"), json!({ "acces": { "kind": "inherit" } })), vec!["acces"]),
        (
            with(rule(NAME, "edge-one"), json!({ "access": { "kind": "public", "groups": ["staff"] } })),
            vec!["`access`: ", "`groups`"],
        ),
        (
            with(
                rule(NAME, "edge-one"),
                json!({ "access": { "kind": "own", "policies": [{
                    "decision": "allow", "include": [{ "everyone": {} }], "requires": [{ "geo": { "country_code": "DE" } }]
                }] } }),
            ),
            vec!["`access`: ", "policy 1: `requires` cannot be set"],
        ),
        (
            with(
                rule(NAME, "edge-one"),
                json!({ "origin_request": { "access": { "require": true, "teamName": "t", "audTag": ["aa"] } } }),
            ),
            vec!["`access.require`: no such option"],
        ),
        (with(rule(NAME, "edge-one"), json!({ "path": "~a{1001}" })), vec!["more than 1000 times"]),
    ] {
        let refused = set(&master, body.clone()).await;
        assert_eq!(refused.status, 400, "{body}: {refused:?}");
        let said = refused.json()["error"].as_str().unwrap().to_owned();
        assert!(words.iter().all(|word| said.contains(word)), "{body}: {said}");
    }
    assert_eq!(rules(&master).await, Vec::<Value>::new());
}

#[actix_web::test]
async fn dockflares_scripts_make_and_remove_rules_and_know_the_refusals() {
    // given
    let master = TestMaster::start().await;
    let host = Host::new(&master, "one").await;
    host.reports(&master, &[("web", "web.example.com", "")]).await;
    until(&master, "web.example.com", "agent", "active").await;
    let zone = master.standin.zone_id("example.com");
    let body = |more: Value| {
        with(json!({ "hostname": NAME, "service": "http://10.0.0.5:80", "tunnel_id": host.tunnel }), more)
    };
    // when, then
    for (given, status, word) in [
        (body(json!({ "service": "x" })), 400, "validation_failed"),
        (body(json!({ "access_groups": ["staff"] })), 400, "validation_failed"),
        (body(json!({ "tunnel_id": null })), 400, "validation_failed"),
        (body(json!({ "tunnel_id": "11111111-1111-4111-8111-111111111111" })), 404, "tunnel_not_found"),
        (body(json!({ "zone_id": "nowhere" })), 409, "zone_not_found"),
        (body(json!({ "hostname": "nas.example.net" })), 409, "zone_not_found"),
        (body(json!({ "hostname": "web.example.com" })), 409, "hostname_conflict"),
    ] {
        let refused = master.admin_post("/api/v2/rules/manual", given.clone()).expect(status).await.json();
        assert_eq!(
            (refused["status"].as_str(), refused["error"].as_str()),
            (Some("error"), Some(word)),
            "{given}"
        );
        assert!(!refused["message"].as_str().unwrap().is_empty());
        if word == "hostname_conflict" {
            let of = (refused["rule_key"].as_str(), refused["existing_tunnel_id"].as_str());
            assert_eq!(of, (Some("web.example.com|"), Some(host.tunnel.as_str())));
        }
    }
    let made = master
        .admin_post("/api/v2/rules/manual", body(json!({ "zone_id": zone, "path": "files" })))
        .expect(201);
    assert_eq!(made.await.json()["rule_key"], "nas.example.com|/files");
    let again =
        master.admin_post("/api/v2/rules/manual", body(json!({ "path": "/files" }))).expect(200).await;
    assert_eq!(again.json()["status"], "success");
    until(&master, NAME, "manual", "active").await;
    let place = "/api/v2/rules/manual/nas.example.com%7C%2Ffiles";
    master.ask(Method::DELETE, place).key(ADMIN).expect(200).await;
    until_gone(&master, NAME).await;
    master.ask(Method::DELETE, place).key(ADMIN).expect(404).await;
}

#[actix_web::test]
async fn a_person_adds_changes_and_removes_a_rule_on_the_page() {
    // given
    let master = TestMaster::start().await;
    let host = Host::new(&master, "one").await;
    let browser = Browser::signed_in(&master).await;
    assert!(browser.get("/routes").await.text.contains("href=\"/routes/rule\""));
    assert!(browser.get("/routes/rule").await.text.contains("New rule"));
    // when
    let fields = [
        ("hostname", NAME),
        ("service", "http://10.0.0.5:5000"),
        ("tunnel", "edge-one"),
        ("option.connect_timeout", "1m"),
    ];
    let made = browser.submit("/routes/rule", "/routes/rule", &fields).await;
    // then
    assert_eq!(made.status, 303, "{}", made.text);
    until(&master, NAME, "manual", "active").await;
    assert_eq!(master.standin.config(&host.tunnel).1["ingress"][0]["originRequest"]["connectTimeout"], 60);
    let form = browser.get("/routes/rule?key=nas.example.com%7C").await.text;
    assert!(form.contains("value=\"60\"") && form.contains("value=\"edge-one\""), "{form}");
    // what is wrong keeps what was written
    let wrong =
        [("hostname", NAME), ("service", "nas:5000"), ("tunnel", "edge-one"), ("option.ca_pool", "/own.pem")];
    let refused = browser.submit("/routes/rule", "/routes/rule", &wrong).await;
    assert_eq!(refused.status, 400);
    assert!(
        refused.text.contains("must begin with") && refused.text.contains("value=\"/own.pem\""),
        "{}",
        refused.text
    );
    // when
    let place = "/routes/rule/nas.example.com%7C/remove";
    let asked = browser.submit("/routes/rule", place, &[]).await;
    // then
    assert!(asked.status == 200 && asked.text.contains("Remove this rule?"), "{}", asked.text);
    assert_eq!(rules(&master).await.len(), 1);
    assert_eq!(browser.submit("/routes/rule", place, &[("confirmed", "yes")]).await.status, 303);
    until_gone(&master, NAME).await;
}
