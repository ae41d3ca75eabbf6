//! Lists of everything: made in pages of rows, sent as they are made, whole or not at all.

use std::collections::BTreeMap;
use std::io::Read;

use flate2::read::GzDecoder;
use lightship::chance::Chance;
use lightship::db::read::{EventFilter, list_events};
use lightship::db::{Batch, Expected, RowChange};
use lightship::domain::access::AccessAsk;
use lightship::domain::container::Container;
use lightship::domain::event::{AgentEvent, Event, KeyEvent, RouteEvent, Stream};
use lightship::domain::id::{AgentId, ContainerId, KeyId};
use lightship::domain::route::{OriginRequest, RouteKey, Service};
use reqwest::Method;
use serde_json::Value;

use crate::pages::Browser;
use crate::support::master::{ADMIN, TestMaster};

/// More than two pages of the shortest kind, and a page that is not full.
const AGENTS: usize = 1_201;

fn agent(n: usize) -> String {
    format!("host-{n:04}")
}

/// A text that cannot be packed well.
fn noise(seed: usize, bytes: usize) -> String {
    let chance = Chance::seeded(seed as u64);
    let mut text = String::new();
    while text.len() < bytes {
        text.push_str(&chance.key());
    }
    text
}

/// An agent with two containers, whose labels have this many bytes, and a route each.
fn batch(n: usize, label_bytes: usize) -> Batch {
    let (id, key_id) = (AgentId::new(agent(n)), KeyId::new(format!("key-{n:04}")));
    let made = Event::Key(KeyEvent::Generated {
        key_id: key_id.clone(),
        owner: "test".into(),
        sha256: format!("{n:064}"),
        rolled_from: None,
    });
    let registered = Event::Agent(AgentEvent::Registered {
        agent_id: id.clone(),
        key_id,
        // The other way round than by id.
        display_name: format!("Name-{:04}", AGENTS - n),
        version: None,
        key_owner: "test".into(),
        shares_key: false,
    });
    let approved = Event::Agent(AgentEvent::Approved { agent_id: id.clone() });
    let container = |place: usize| Container {
        id: ContainerId::new(format!("{n}-{place}")),
        name: format!("app-{n}-{place}"),
        labels: BTreeMap::from([("note".to_owned(), noise(n, label_bytes))]),
        image: None,
        status: None,
        networks: None,
    };
    let claimed = |place: usize| {
        Event::Route(RouteEvent::Claimed {
            agent_id: id.clone(),
            container_id: ContainerId::new(format!("{n}-{place}")),
            container_name: format!("app-{n}-{place}"),
            service: Service {
                key: RouteKey { hostname: format!("r{n:04}-{place}.example.com"), path: String::new() },
                service: "http://app:80".into(),
                origin_request: OriginRequest::default(),
                zone_name: None,
                access: AccessAsk::Nothing,
            },
        })
    };
    Batch::new("test", lightship::clock::Clock::system().now())
        .append(Stream::keys(), Expected::Head, vec![made])
        .append(Stream::agent(&id), Expected::Version(0), vec![registered, approved])
        .append(Stream::routes(&id), Expected::Version(0), vec![claimed(0), claimed(1)])
        .row(RowChange::ReplaceContainers {
            agent_id: id,
            containers: vec![(container(0), Vec::new()), (container(1), Vec::new())],
        })
}

async fn with_agents(count: usize, label_bytes: usize) -> TestMaster {
    let master = TestMaster::start().await;
    for group in (0..count).collect::<Vec<_>>().chunks(200) {
        let batches = group.iter().map(|n| batch(*n, label_bytes)).collect();
        for outcome in master.db.commit_many(batches).await {
            outcome.unwrap();
        }
    }
    master
}

fn texts(list: &Value, field: &str) -> Vec<String> {
    list.as_array().unwrap().iter().map(|one| one[field].as_str().unwrap().to_owned()).collect()
}

#[actix_web::test]
async fn a_list_of_many_pages_has_everything_once_and_in_order() {
    // given
    let master = with_agents(AGENTS, 10).await;
    let hostnames: Vec<String> =
        (0..AGENTS).flat_map(|n| [0, 1].map(|place| format!("r{n:04}-{place}.example.com"))).collect();
    let get = async |path: &str| master.admin_get(path).expect(200).await.json();
    // when
    let (agents, services) = (get("/api/v2/agents").await, get("/api/v2/services").await);
    let (routes, overview) = (get("/api/v3/routes").await, get("/api/v2/overview").await);
    // then
    let records = agents["agents"].as_object().unwrap();
    assert_eq!(records.keys().cloned().collect::<Vec<_>>(), (0..AGENTS).map(agent).collect::<Vec<_>>());
    for (n, record) in records.values().enumerate() {
        let names = texts(&record["last_containers"], "name");
        assert_eq!(names, [format!("app-{n}-0"), format!("app-{n}-1")]);
        assert_eq!(record["display_name"], format!("Name-{:04}", AGENTS - n));
    }
    assert_eq!(agents["agent_keys"].as_object().unwrap().len(), AGENTS);
    assert_eq!(texts(&services["services"], "hostname"), hostnames);
    assert_eq!(texts(&services["services"], "agent_id")[2 * 700], agent(700));
    assert_eq!(texts(&routes["routes"], "hostname"), hostnames);
    assert_eq!(texts(&routes["routes"], "agent")[0], format!("Name-{AGENTS:04}"));
    assert_eq!((&overview["agents"], &overview["agent_keys"]), (&agents["agents"], &agents["agent_keys"]));
    let rules = overview["rules"].as_object().unwrap();
    assert_eq!(rules.len(), hostnames.len());
    assert_eq!(rules[&format!("{}|", hostnames[9])], services["services"][9]);
    assert_eq!(overview["reconciliation_info"]["total_items"], hostnames.len());
    master.ask(Method::HEAD, "/api/v2/agents").key(ADMIN).expect(200).await;
    // and: the pages of people
    let browser = Browser::signed_in(&master).await;
    let shown = browser.get("/fragments/agents?page=7").await.text;
    assert!(shown.contains("1201 to 1201 of 1201") && shown.contains("Name-1201"), "{shown}");
    let shown = browser.get("/fragments/agents").await.text;
    let places: Vec<_> = (1..=200).map(|n| shown.find(&format!(">Name-{n:04}<")).unwrap()).collect();
    assert!(places.is_sorted() && !shown.contains("Name-0201"), "by name, and not by id");
    let shown = browser.get("/fragments/routes?page=13").await.text;
    assert!(shown.contains("2401 to 2402 of 2402") && shown.contains("r1200-1.example.com"), "{shown}");
    let shown = browser.get("/fragments/overview").await.text;
    assert!(shown.contains("1201") && shown.contains("r0000-0.example.com"), "{shown}");
    master.stop().await;
}

#[actix_web::test]
async fn events_are_read_in_pages_up_to_the_limit_from_either_end() {
    // given: several pages of one stream, among others
    let master = with_agents(450, 10).await;
    let of_keys = EventFilter { stream_prefix: Some("keys".into()), ..EventFilter::default() };
    let all = list_events(&master.db, &of_keys, 10_000).await.unwrap();
    let all: Vec<u64> = all.iter().map(|event| event.seq).collect();
    assert_eq!(all.len(), 450);
    let newest: Vec<u64> = all.iter().rev().copied().collect();
    // when, then
    for (query, expected, more) in [
        ("limit=430".to_owned(), &all[..430], true),
        ("limit=449".to_owned(), &all[..449], true),
        ("limit=450".to_owned(), &all[..], false),
        ("limit=1000".to_owned(), &all[..], false),
        ("newest=true&limit=430".to_owned(), &newest[..430], true),
        (format!("newest=true&limit=1000&after={}", all[99]), &newest[..350], false),
        (format!("limit=300&after={}", all[99]), &all[100..400], true),
        (format!("limit=300&after={}", all[449]), &[], false),
    ] {
        let path = format!("/api/v3/events?stream=keys&{query}");
        let found = master.admin_get(&path).expect(200).await.json();
        let events = found["events"].as_array().unwrap().iter();
        let seqs: Vec<u64> = events.map(|event| event["seq"].as_u64().unwrap()).collect();
        assert!(seqs == expected && found["more"] == more, "{query}: {seqs:?} {}", found["more"]);
    }
    master.stop().await;
}

#[actix_web::test]
async fn a_list_is_packed_for_who_asks_and_has_a_length_if_it_is_short() {
    let master = with_agents(300, 1_000).await;
    let plain = master.admin_get("/api/v2/agents").expect(200).await;
    assert_eq!(plain.header("content-type"), "application/json");
    // One that leaves the packing to the test.
    let http = reqwest::Client::builder().no_gzip().no_zstd().no_proxy().build().unwrap();
    let asking = http.get(master.url("/api/v2/agents")).bearer_auth(ADMIN);
    let packed = asking.header("accept-encoding", "gzip").send().await.unwrap();
    assert_eq!(packed.headers()["content-encoding"], "gzip");
    let mut text = String::new();
    GzDecoder::new(&packed.bytes().await.unwrap()[..]).read_to_string(&mut text).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), plain.json());

    let short = http.get(master.url("/api/v3/events?limit=1")).bearer_auth(ADMIN);
    let short = short.header("accept-encoding", "identity").send().await.unwrap();
    assert!(short.headers().contains_key("content-length"));
    master.stop().await;
}

#[actix_web::test]
async fn a_list_that_the_database_breaks_off_is_not_taken_for_a_whole_one() {
    // given: more than fits on the way between the two
    let master = with_agents(600, 20_000).await;
    let ask = async |packing: &str| {
        let asking = master.http.get(master.url("/api/v2/agents")).bearer_auth(ADMIN);
        asking.header("accept-encoding", packing).send().await.unwrap()
    };
    let (mut plain, mut packed) = (ask("identity").await, ask("gzip").await);
    assert!(plain.status().is_success() && packed.status().is_success());
    // when
    master.db.close().await.unwrap();
    // then
    let mut read = Vec::new();
    let ended = loop {
        match plain.chunk().await {
            Ok(Some(chunk)) => read.extend(chunk),
            Ok(None) => break true,
            Err(_) => break false,
        }
    };
    assert!(!ended && !read.is_empty());
    assert!(serde_json::from_slice::<Value>(&read).is_err());
    let ended = loop {
        match packed.chunk().await {
            Ok(Some(_)) => {}
            Ok(None) => break true,
            Err(_) => break false,
        }
    };
    assert!(!ended);
    // and: one that cannot even begin says so
    let refused = master.admin_get("/api/v2/agents").send().await;
    assert!(refused.status >= 500, "{refused:?}");
    master.stop().await;
}

#[actix_web::test]
async fn who_does_not_read_keeps_nobody_else_from_a_list() {
    let master = with_agents(300, 20_000).await;
    let mut unread = Vec::new();
    for _ in 0..6 {
        let asking = master.http.get(master.url("/api/v2/agents")).bearer_auth(ADMIN);
        unread.push(asking.header("accept-encoding", "identity").send().await.unwrap());
    }
    let services = master.admin_get("/api/v2/services").expect(200).await.json();
    assert_eq!(services["services"].as_array().unwrap().len(), 600);
    drop(unread);
    master.stop().await;
}
