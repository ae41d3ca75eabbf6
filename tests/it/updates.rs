//! Pending updates: from an agent's word to the list that people and scripts read, and what they decide about it.

use std::cell::Cell;

use chrono::{DateTime, TimeDelta, Utc};
use lightship::clock::Clock;
use serde_json::{Value, json};

use crate::support::asking::Answer;
use crate::support::master::TestMaster;
use crate::support::until::until;

fn now() -> DateTime<Utc> {
    Clock::system().now()
}

/// An agent of ours that was looked at.
struct Host<'a> {
    master: &'a TestMaster,
    key: String,
    id: String,
    session: String,
    next: Cell<u64>,
}

impl<'a> Host<'a> {
    async fn enrolled(master: &'a TestMaster, name: &str) -> Self {
        let host = Self::pending(master, name).await;
        master.enroll(&host.id, &format!("tunnel-{name}")).await;
        host
    }

    async fn pending(master: &'a TestMaster, name: &str) -> Self {
        let (key, id, session) = master.new_native_agent(name).await;
        Self { master, key, id, session, next: Cell::new(0) }
    }

    async fn say(&self, items: Value) -> Answer {
        let first = self.next.get();
        self.next.set(first + items.as_array().unwrap().len() as u64);
        let batch = json!({ "session": self.session, "first_seq": first, "sent_at": null, "items": items });
        let path = format!("/api/v3/agents/{}/reports", self.id);
        let asking = self.master.post(&path).key(&self.key).header("lightship-session", &self.session);
        asking.json(batch).send().await
    }

    async fn scanned(&self, checked: &[Value]) -> Vec<String> {
        let scan = json!({ "at": now(), "scanners": checked });
        let answer = self.say(json!([{ "kind": "scanned", "scan": scan }])).await;
        assert_eq!(answer.status, 202, "{}", answer.text);
        let wants = answer.json()["wants"].as_array().cloned().unwrap_or_default();
        wants.iter().map(|kind| kind.as_str().unwrap().to_owned()).collect()
    }

    async fn found(&self, checked: &Value, items: &[Value]) -> Answer {
        let findings = json!({ "checked": checked, "items": items });
        let answer = self.say(json!([{ "kind": "findings", "findings": findings }])).await;
        assert_eq!(answer.status, 202, "{}", answer.text);
        answer
    }

    /// A look as an agent of ours tells of it: what was found is sent if the master asks for it.
    async fn looked(&self, kind: &str, digest: &str, items: &[Value]) -> bool {
        let checked = checked(kind, digest, items);
        let wants = self.scanned(std::slice::from_ref(&checked)).await;
        if wants.is_empty() {
            return false;
        }
        assert_eq!(wants, [kind]);
        let answer = self.found(&checked, items).await;
        assert_eq!(answer.json().get("wants"), None);
        true
    }
}

fn checked(kind: &str, digest: &str, items: &[Value]) -> Value {
    json!({ "kind": kind, "ok": true, "as_of": now(), "is_complete": true, "digest": digest,
        "count": items.len(), "pending": items.len() })
}

fn package(name: &str, available: &str, severity: &str) -> Value {
    json!({ "name": name, "standing": "newer", "current_version": "1", "available_version": available,
        "severity": severity, "is_security": severity == "important" })
}

async fn updates(master: &TestMaster, query: &str) -> Vec<Value> {
    let answer = master.admin_get(&format!("/api/v3/updates{query}")).expect(200).await.json();
    answer["updates"].as_array().unwrap().clone()
}

fn names(updates: &[Value]) -> Vec<&str> {
    updates.iter().map(|update| update["name"].as_str().unwrap()).collect()
}

#[actix_web::test]
async fn what_a_host_found_is_asked_for_once_and_listed_with_all_that_scripts_need() {
    let master = TestMaster::start().await;
    let host = Host::enrolled(&master, "web-1").await;
    let items = [package("openssl", "3.0.17", "important"), package("tzdata", "2026a", "low")];
    // when it was looked at, and again without anything new
    assert!(host.looked("apt", "d1", &items).await);
    assert!(!host.looked("apt", "d1", &items).await);
    // then
    let listed = updates(&master, "").await;
    assert_eq!(names(&listed), ["openssl", "tzdata"]);
    let first = &listed[0];
    for (field, value) in [
        ("agent_id", json!(host.id)),
        ("agent", json!("web-1")),
        ("kind", json!("apt")),
        ("current_version", json!("1")),
        ("available_version", json!("3.0.17")),
        ("state", json!("discovered")),
        ("severity", json!("important")),
        ("is_security", json!(true)),
        ("is_public", json!(false)),
        ("is_protected", json!(false)),
        ("problem", Value::Null),
    ] {
        assert_eq!(first[field], value, "{field}");
    }
    assert!(first["first_seen_at"].is_string() && first["last_checked_at"].is_string(), "{first}");
    // what is odd about one is said of it
    let odd = json!({ "name": "openssl", "standing": "newer", "available_version": "3.0.18", "severity": "important",
        "flaw": "its name is not shown as it was given" });
    assert!(host.looked("apt", "odd", &[odd, items[1].clone()]).await);
    let listed = updates(&master, "?search=openssl").await;
    assert_eq!(listed[0]["problem"], "its name is not shown as it was given");
    // when the host is pointed at a master that knows nothing of its updates, it is asked again
    assert!(host.looked("apt", "d2", &items[..1]).await);
    assert_eq!(names(&updates(&master, "").await), ["openssl"]);
    assert_eq!(names(&updates(&master, "?state=resolved").await), ["tzdata"]);
    master.stop().await;
}

#[actix_web::test]
async fn what_could_not_be_looked_at_stays_and_says_so() {
    let master = TestMaster::start().await;
    let host = Host::enrolled(&master, "web-1").await;
    let items = [package("openssl", "3.0.17", "important")];
    host.looked("apt", "d1", &items).await;
    // when the lists could not be refreshed, and nothing was found
    let mut stale = checked("apt", "d0", &[]);
    stale["ok"] = json!(false);
    stale["is_complete"] = json!(false);
    stale["problem"] =
        json!({ "reason": "Failed to fetch http://deb.example", "way_out": "look at the network" });
    assert_eq!(host.scanned(std::slice::from_ref(&stale)).await, ["apt"]);
    host.found(&stale, &[]).await;
    // then: nothing is closed, and the reason stands beside it
    let listed = updates(&master, "").await;
    assert_eq!(names(&listed), ["openssl"]);
    assert!(listed[0]["problem"].as_str().unwrap().contains("Failed to fetch"), "{listed:?}");
    let summary = master.admin_get("/api/v3/updates/summary").expect(200).await.json();
    assert_eq!((&summary["pending"], &summary["hosts_with_problems"]), (&json!(1), &json!(1)));
    // when a scanner is gone from the host's word
    assert!(host.scanned(&[]).await.is_empty());
    assert_eq!(names(&updates(&master, "").await), ["openssl"]);
    master.stop().await;
}

#[actix_web::test]
async fn a_host_that_nobody_said_yes_to_fills_no_table() {
    let master = TestMaster::start().await;
    let host = Host::pending(&master, "stranger").await;
    let items = [package("openssl", "3.0.17", "important")];
    let checked = checked("apt", "d1", &items);
    assert!(host.scanned(std::slice::from_ref(&checked)).await.is_empty());
    host.found(&checked, &items).await;
    assert!(updates(&master, "?state=any").await.is_empty());
    // when a person says yes
    master.enroll(&host.id, "edge-1").await;
    assert!(host.looked("apt", "d1", &items).await);
    assert_eq!(updates(&master, "").await.len(), 1);
    // when it is removed, nothing is left of it
    master.admin_post(&format!("/api/v2/agents/{}/remove", host.id), json!({})).expect(200).await;
    until("its updates are gone", async || updates(&master, "?state=any").await.is_empty().then_some(()))
        .await;
    master.stop().await;
}

#[actix_web::test]
async fn a_decision_outlives_scans_and_a_newer_version_reopens_what_was_ignored() {
    let master = TestMaster::start().await;
    let host = Host::enrolled(&master, "web-1").await;
    let offer =
        |version: &str| ["held", "ignored", "snoozed", "open"].map(|name| package(name, version, "low"));
    host.looked("apt", "d1", &offer("2")).await;
    let id = |listed: &[Value], name: &str| {
        listed.iter().find(|one| one["name"] == name).unwrap()["id"].as_str().unwrap().to_owned()
    };
    let listed = updates(&master, "").await;
    let later = now() + TimeDelta::days(3);
    for (name, decision, until) in
        [("held", "hold", None), ("ignored", "ignore", None), ("snoozed", "snooze", Some(later))]
    {
        let body = json!({ "ids": [id(&listed, name)], "decision": decision, "until": until });
        let answer = master.admin_post("/api/v3/updates/decisions", body).expect(200).await.json();
        assert_eq!(answer, json!({ "decided": 1, "left": 0 }), "{name}");
    }
    assert_eq!(names(&updates(&master, "").await), ["open"]);
    // when the same is found again, and then a newer version
    host.looked("apt", "d2", &offer("2")).await;
    assert_eq!(names(&updates(&master, "").await), ["open"]);
    host.looked("apt", "d3", &offer("3")).await;
    let open = updates(&master, "?sort=name").await;
    assert_eq!(names(&open), ["ignored", "open"]);
    // when it is taken back
    let body = json!({ "ids": [id(&listed, "held"), "nobody"], "decision": "reconsider" });
    let answer = master.admin_post("/api/v3/updates/decisions", body).expect(200).await.json();
    assert_eq!(answer, json!({ "decided": 1, "left": 1 }));
    assert_eq!(updates(&master, "?state=discovered").await.len(), 3);
    // then: who decided what is on record
    let stream = format!("agent/{}/updates", host.id);
    let events = master.admin_get(&format!("/api/v3/events?stream={stream}")).expect(200).await.json();
    assert_eq!(events["events"].as_array().unwrap().len(), 4, "{events}");
    master.stop().await;
}

#[actix_web::test]
async fn a_public_image_comes_first_and_says_which_routes_lead_to_it() {
    let master = TestMaster::start().await;
    master.standin.add_zone("example.com");
    let host = Host::enrolled(&master, "web-1").await;
    let container = "c".repeat(64);
    let labels = json!({ "dockflare.enable": "true", "dockflare.hostname": "app.example.com",
        "dockflare.service": "http://app:80" });
    let app = json!({ "id": container, "name": "app", "labels": labels, "image": "nginx:1.25" });
    host.say(json!([{ "kind": "snapshot", "containers": [app] }])).await;
    master
        .until_services("it is published", |rules| rules.iter().any(|rule| rule["status"] == "active"))
        .await;
    let image = |name: &str, containers: Value| {
        json!({ "name": name, "standing": "newer", "available_version": "sha256:b", "severity": "low",
            "containers": containers })
    };
    host.looked("docker_image", "d1", &[image("aaa:1", json!([])), image("nginx:1.25", json!([container]))])
        .await;
    host.looked_at_packages().await;
    // then
    let listed = updates(&master, "").await;
    assert_eq!(names(&listed), ["nginx:1.25", "openssl", "aaa:1"]);
    assert_eq!((&listed[0]["is_public"], &listed[0]["is_protected"]), (&json!(true), &json!(false)));
    assert_eq!(names(&updates(&master, "?public=true").await), ["nginx:1.25"]);
    assert_eq!(updates(&master, "?public=false").await.len(), 2);
    let path = format!("/api/v3/updates/{}", listed[0]["id"].as_str().unwrap());
    let one = master.admin_get(&path).expect(200).await.json();
    assert_eq!(one["routes"], json!(["app.example.com"]));
    let summary = master.admin_get("/api/v3/updates/summary").expect(200).await.json();
    assert_eq!(summary["public_services"], 1);
    assert_eq!(summary["outdated_public_services"], 1);
    assert_eq!(summary["unprotected_outdated_public_services"], 1);
    master.stop().await;
}

impl Host<'_> {
    async fn looked_at_packages(&self) {
        // The other scanner has to be told of as well: one that is silent is a trouble of its own.
        let items = [package("openssl", "3", "important")];
        let apt = checked("apt", "p1", &items);
        let images = checked("docker_image", "d1", &[json!(1), json!(2)]);
        assert_eq!(self.scanned(&[apt.clone(), images]).await, ["apt"]);
        self.found(&apt, &items).await;
    }
}

#[actix_web::test]
async fn lists_are_filtered_sorted_and_read_page_by_page() {
    let master = TestMaster::start().await;
    let (one, two) = (Host::enrolled(&master, "web-1").await, Host::enrolled(&master, "web-2").await);
    let many: Vec<Value> = (0..25).map(|n| package(&format!("lib{n:02}"), "2", "low")).collect();
    one.looked("apt", "d1", &many).await;
    two.looked("dnf", "d1", &[package("Kernel_100%", "6", "important")]).await;
    // pages neither repeat nor leave out
    let mut seen = Vec::new();
    let mut next = json!(0);
    while !next.is_null() {
        let answer = master
            .admin_get(&format!("/api/v3/updates?limit=10&sort=name&after={next}"))
            .expect(200)
            .await
            .json();
        seen.extend(names(answer["updates"].as_array().unwrap()).into_iter().map(str::to_owned));
        next = answer["next"].clone();
    }
    assert_eq!(seen.len(), 26);
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 26);
    for (query, count) in [
        ("?kind=dnf", 1),
        ("?severity=important", 1),
        ("?security=true", 1),
        ("?security=false", 25),
        ("?search=LIB0", 10),
        ("?search=_100%25", 1),
        ("?search=%25", 1),
        ("?name=lib01", 1),
        ("?older_than_days=1", 0),
        ("?state=ignored,held", 0),
        ("?state=any", 26),
        (&format!("?agent_id={}", two.id), 1),
        ("?agent_id=nobody", 0),
    ] {
        assert_eq!(updates(&master, &format!("{query}&limit=1000")).await.len(), count, "{query}");
    }
    for query in ["?kind=yum", "?severity=high", "?state=new", "?sort=size", "?security=maybe", "?limit=x"] {
        let refused = master.admin_get(&format!("/api/v3/updates{query}")).expect(400).await.json();
        let name = query.trim_start_matches('?').split('=').next().unwrap();
        assert!(refused["error"].as_str().unwrap().contains(&format!("`{name}`")), "{refused}");
    }
    master.admin_get("/api/v3/updates/nobody").expect(404).await;
    for body in [
        json!({}),
        json!({ "ids": [], "decision": "hold" }),
        json!({ "ids": ["a"], "decision": "burn" }),
        json!({ "ids": ["a"], "decision": "snooze" }),
        json!({ "ids": ["a"], "decision": "snooze", "until": "2001-01-01T00:00:00Z" }),
    ] {
        master.admin_post("/api/v3/updates/decisions", body).expect(400).await;
    }
    master.stop().await;
}

#[actix_web::test]
async fn five_thousand_updates_of_one_host_are_one_report() {
    let master = TestMaster::start().await;
    let host = Host::enrolled(&master, "big").await;
    let many: Vec<Value> = (0..5_000).map(|n| package(&format!("lib{n:04}"), "2", "low")).collect();
    assert!(host.looked("apt", "d1", &many).await);
    let summary = master.admin_get("/api/v3/updates/summary").expect(200).await.json();
    assert_eq!(summary["pending"], 5_000);
    // when one of them changes, one row does
    let mut changed = many;
    changed[7] = package("lib0007", "3", "low");
    assert!(host.looked("apt", "d2", &changed).await);
    assert_eq!(updates(&master, "?search=lib0007").await[0]["available_version"], "3");
    master.stop().await;
}

#[actix_web::test]
async fn two_hundred_hosts_that_report_at_once_are_all_listed_and_told_no_worse_than_to_come_back() {
    const HOSTS: usize = 200;
    const EACH: usize = 60;
    let master = TestMaster::start().await;
    let mut hosts = Vec::new();
    for n in 0..HOSTS {
        let host = Host::pending(&master, &format!("host-{n:03}")).await;
        master.admin_post(&format!("/api/v3/agents/{}/approve", host.id), json!({})).expect(200).await;
        hosts.push(host);
    }
    let items: Vec<Value> = (0..EACH).map(|n| package(&format!("lib{n:02}"), "2", "low")).collect();
    let checked = checked("apt", "d1", &items);
    let (scan, findings) =
        (json!({ "at": now(), "scanners": [checked] }), json!({ "checked": checked, "items": items }));

    // when they all report, and whoever is told to come back does
    let report = async |host: &Host<'_>| {
        let mut refusals = 0;
        for item in [
            json!([{ "kind": "scanned", "scan": scan }]),
            json!([{ "kind": "findings", "findings": findings }]),
        ] {
            let first = host.next.get();
            loop {
                host.next.set(first);
                let answer = host.say(item.clone()).await;
                match answer.status {
                    202 => break,
                    503 => {
                        assert!(!answer.header("retry-after").is_empty(), "{}", answer.text);
                        refusals += 1;
                        tokio::task::yield_now().await;
                    }
                    other => panic!("{other}: {}", answer.text),
                }
            }
        }
        refusals
    };
    let refusals = futures_util::future::join_all(hosts.iter().map(report)).await;

    // then nothing of any of them is missing
    let sum = master.admin_get("/api/v3/updates/summary").expect(200).await.json();
    assert_eq!(sum["pending"], HOSTS * EACH, "{} came back", refusals.iter().sum::<usize>());
    for host in [&hosts[0], &hosts[HOSTS / 2], &hosts[HOSTS - 1]] {
        let listed = updates(&master, &format!("?agent_id={}&limit=1000", host.id)).await;
        assert_eq!(listed.len(), EACH);
    }
    master.stop().await;
}
