//! The two phases of a round, by what they decide: what is not protected is not published.

use std::collections::BTreeMap;

use chrono::DateTime;

use super::*;
use crate::db::cloudflare::{DnsRecordRow, RouteStatusRow};
use crate::db::tunnels::TunnelRow;
use crate::domain::access::AccessAsk;
use crate::domain::dns::tunnel_target;
use crate::domain::id::{AccountId, AgentId, ContainerId, RecordId, SecretId, ZoneId};
use crate::domain::ingress::IngressRule;
use crate::domain::protection::Protection;
use crate::domain::publish::{PublicState, PublishSettings};
use crate::domain::route::{OriginRequest, Route, RouteState, Service};
use crate::domain::wanted::KnownZones;
use crate::domain::zone::Zone;

const CLOSED: &str = "closed.example.com";
const OPEN: &str = "open.example.com";
const REASON: &str = "group `staff` is not known";

fn service(hostname: &str) -> Service {
    Service {
        key: RouteKey { hostname: hostname.into(), path: String::new() },
        service: "http://app:80".into(),
        origin_request: OriginRequest::default(),
        zone_name: None,
        access: AccessAsk::Nothing,
    }
}

/// A tunnel of ours with two names of which nothing is published yet.
fn snapshot() -> Snapshot {
    let route = |hostname| Route {
        agent_id: AgentId::new("a"),
        container_name: "app".into(),
        container_id: ContainerId::new("c"),
        spec: service(hostname),
        state: RouteState::Active,
    };
    Snapshot {
        tunnel: TunnelRow {
            id: TunnelId::new("t"),
            account_id: AccountId::new("account"),
            name: "edge".into(),
            agent_id: Some(AgentId::new("a")),
            secret_id: SecretId::new("s"),
            enrolled_at: DateTime::UNIX_EPOCH,
            confirmed_at: None,
            confirmed_by: Some(SYSTEM.into()),
            joining: None,
            left_by: None,
            made: true,
            removed: false,
        },
        routes: vec![route(CLOSED), route(OPEN)],
        rules: Vec::new(),
        leaving: Default::default(),
        staying: Default::default(),
        applied: Vec::new(),
        records: Vec::new(),
        applications: Vec::new(),
        policies: Arc::default(),
        groups: Arc::default(),
        route_status: Vec::new(),
        status: None,
        drifts: Default::default(),
        review: None,
        is_review_noted: true,
        approved: Vec::new(),
    }
}

/// The same once both of them are published.
fn published() -> Snapshot {
    let record = |name: &str| DnsRecordRow {
        zone_id: ZoneId::new("z"),
        name: name.into(),
        record_id: Some(RecordId::new(name)),
        tunnel_id: TunnelId::new("t"),
        content: tunnel_target(&TunnelId::new("t")),
        created_at: DateTime::UNIX_EPOCH,
        is_settled: true,
    };
    let said = |name: &str| RouteStatusRow {
        agent_id: Some(AgentId::new("a")),
        key: service(name).key,
        state: PublicState::Published.as_str().into(),
        reason: None,
        cause: None,
        answer: None,
        updated_at: DateTime::UNIX_EPOCH,
    };
    Snapshot {
        applied: [CLOSED, OPEN].map(|name| IngressRule::new(&service(name))).into(),
        records: [CLOSED, OPEN].map(record).into(),
        route_status: [CLOSED, OPEN].map(said).into(),
        ..snapshot()
    }
}

/// What is known once the first phase said this of the first route.
fn protected(snapshot: Snapshot, of_first: Protection) -> (Read, Found) {
    let first = snapshot.routes[0].spec.key.clone();
    let zones = [Zone { id: ZoneId::new("z"), name: "example.com".into() }];
    let mut found = Found::new(&snapshot);
    let mut read = Read::new(snapshot, Remembered::default());
    read.wanted = read.snapshot.wanted(KnownZones::Listed(&zones), &PublishSettings::default());
    read.has_wanted = true;
    let keys = read.wanted.services.iter().map(|service| service.key.clone());
    let mut said: BTreeMap<_, _> = keys.map(|key| (key, Protection::InPlace)).collect();
    said.insert(first, of_first);
    found.names.take_protections(&read.wanted, &said);
    (read, found)
}

/// The hostnames of the rules that would be written to a tunnel that holds our rules.
fn written(read: &Read, found: &Found) -> Vec<String> {
    rules_written(read, found).iter().map(|rule| rule["hostname"].as_str().unwrap().to_owned()).collect()
}

/// The rules, without the last one.
fn rules_written(read: &Read, found: &Found) -> Vec<serde_json::Value> {
    let mut rules: Vec<_> = read.applied.iter().map(IngressRule::to_json).collect();
    rules.push(serde_json::json!({ "service": "http_status:404" }));
    let observed = serde_json::json!({ "ingress": rules });
    let wanted = read.wanted_rules(found, &observed);
    let outcome = merge(&read.applied, &wanted, &observed, read.contact).unwrap();
    let rules = outcome.config["ingress"].as_array().unwrap().iter();
    rules.filter(|rule| rule["hostname"].is_string()).cloned().collect()
}

/// The same by path and service.
fn paths_written(read: &Read, found: &Found) -> Vec<String> {
    let text = |rule: &serde_json::Value, field: &str| rule[field].as_str().unwrap_or_default().to_owned();
    let rules = rules_written(read, found);
    rules.iter().map(|rule| format!("{} {}", text(rule, "path"), text(rule, "service"))).collect()
}

fn made(read: &Read, found: &Found) -> Vec<String> {
    WantedRecord::due(read, found, false).into_iter().map(|wanted| wanted.name).collect()
}

/// State and reason of the name `CLOSED`, once the rules that were written are in force.
fn said(read: &Read, found: &mut Found) -> (PublicState, Option<String>) {
    found.has_looked = true;
    let in_force = read.wanted_rules(found, &serde_json::Value::Null);
    found.config.in_force = Some(in_force);
    found.names.led = made(read, found).into_iter().map(|name| (name, true)).collect();
    let mut routes = Statement { read, found, result: &Ok(()) }.routes();
    let said = routes.remove(&service(CLOSED).key).unwrap();
    (said.state, said.reason)
}

#[test]
fn a_name_whose_protection_is_missing_gets_no_rule_and_no_record_and_says_why() {
    let (read, mut found) = protected(snapshot(), Protection::Missing(REASON.into()));

    assert_eq!(written(&read, &found), [OPEN]);
    assert_eq!(made(&read, &found), [OPEN]);
    assert_eq!(said(&read, &mut found), (PublicState::Blocked, Some(REASON.into())));
}

#[test]
fn a_name_that_loses_its_protection_loses_its_rule_and_is_not_called_published() {
    let (read, mut found) = protected(published(), Protection::Missing(REASON.into()));

    assert_eq!(written(&read, &found), [OPEN]);
    assert_eq!(said(&read, &mut found), (PublicState::Blocked, Some(REASON.into())));
}

#[test]
fn a_name_whose_rule_could_not_be_taken_away_is_not_called_closed() {
    let (read, mut found) = protected(published(), Protection::Missing(REASON.into()));
    found.has_looked = true;
    let refused = Err(Stop::Cloudflare(CfError::NoAnswer { call: "put", reason: "cut".into(), sent: true }));

    let routes = Statement { read: &read, found: &found, result: &refused }.routes();

    let said = &routes[&service(CLOSED).key];
    assert_eq!(said.state, PublicState::Failed);
    assert!(said.reason.as_ref().is_some_and(|reason| reason.starts_with(REASON)), "{said:?}");
    assert!(said.answer.as_ref().is_some_and(|answer| answer.contains("cut")), "{said:?}");
}

#[test]
fn a_name_whose_protection_is_in_place_is_published() {
    let (read, mut found) = protected(snapshot(), Protection::InPlace);

    assert_eq!(written(&read, &found), [CLOSED, OPEN]);
    assert_eq!(made(&read, &found), [CLOSED, OPEN]);
    assert_eq!(said(&read, &mut found), (PublicState::Published, None));
}

#[test]
fn a_rule_that_is_left_out_of_a_search_stays_only_while_its_name_is_protected() {
    for (of_closed, names) in
        [(Protection::InPlace, vec![CLOSED, OPEN]), (Protection::Missing(REASON.into()), vec![OPEN])]
    {
        let (read, mut found) = protected(published(), of_closed);
        let refused = [(IngressRule::new(&service(CLOSED)).id(), "no".to_owned())];
        found.config.trial = Trial::knowing(refused.into());
        assert_eq!(written(&read, &found), names);
    }
}

const ADMIN: &str = "^/admin(/|$)";

/// A tunnel with an open name, and before it a path of that name that asks for protection.
fn with_a_path() -> Snapshot {
    let mut snapshot = snapshot();
    snapshot.routes[0].spec.key = RouteKey { hostname: OPEN.into(), path: "/admin".into() };
    snapshot
}

/// The same with both of them published.
fn with_a_published_path() -> Snapshot {
    let snapshot = with_a_path();
    let applied = snapshot.routes.iter().map(|route| IngressRule::new(&route.spec)).collect();
    Snapshot { applied, records: published().records, ..snapshot }
}

#[test]
fn the_place_of_a_path_that_waits_answers_503_and_its_name_serves() {
    for snapshot in [with_a_path(), with_a_published_path()] {
        let (read, found) = protected(snapshot, Protection::Missing(REASON.into()));
        assert_eq!(
            paths_written(&read, &found),
            [format!("{ADMIN} http_status:503"), " http://app:80".into()]
        );
    }
    let (read, found) = protected(with_a_path(), Protection::Missing(REASON.into()));
    assert_eq!(made(&read, &found), [OPEN], "the name is made for the route that is open");
    let (read, found) = protected(with_a_path(), Protection::InPlace);
    assert_eq!(paths_written(&read, &found), [format!("{ADMIN} http://app:80"), " http://app:80".into()]);
}

#[test]
fn while_cloudflare_does_not_take_what_answers_for_a_path_nothing_answers_for_it() {
    for snapshot in [with_a_path(), with_a_published_path()] {
        let (read, mut found) = protected(snapshot, Protection::Missing(REASON.into()));
        let admin = IngressRule::new(&read.snapshot.routes[0].spec).id();
        found.config.trial = Trial::knowing([(admin, "no".to_owned())].into());
        assert_eq!(paths_written(&read, &found), [""; 0]);
    }
}

#[test]
fn what_answers_for_a_path_that_waits_is_settled_and_is_not_called_open() {
    // given: the path waits, and Cloudflare has what is to be there
    let mut snapshot = with_a_published_path();
    let (read, mut found) = protected(with_a_published_path(), Protection::Missing(REASON.into()));
    snapshot.applied = read.wanted_rules(&found, &serde_json::Value::Null);
    let said = |route: &Route, state: PublicState| RouteStatusRow {
        agent_id: Some(AgentId::new("a")),
        key: route.spec.key.clone(),
        state: state.as_str().into(),
        reason: Some(REASON.into()),
        cause: None,
        answer: None,
        updated_at: DateTime::UNIX_EPOCH,
    };
    snapshot.route_status = vec![
        said(&snapshot.routes[0], PublicState::Blocked),
        said(&snapshot.routes[1], PublicState::Published),
    ];
    snapshot.records.retain(|record| record.name == OPEN);
    snapshot.status = Some(tunnel_row(&TunnelId::new("t"), TunnelState::Applied, None, DateTime::UNIX_EPOCH));
    // when, then
    assert!(snapshot.is_settled(&read.wanted, &read.needs));
    // and a call that fails does not make it an open one
    found.has_looked = true;
    found.config.in_force = Some(snapshot.applied.clone());
    let refused = Err(Stop::Cloudflare(CfError::NoAnswer { call: "put", reason: "cut".into(), sent: true }));
    let routes = Statement { read: &read, found: &found, result: &refused }.routes();
    let admin = &routes[&read.snapshot.routes[0].spec.key];
    assert_eq!((admin.state, admin.reason.as_deref()), (PublicState::Blocked, Some(REASON)));
}
