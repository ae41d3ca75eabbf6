//! The two phases of a round, by what they decide: what is not protected is not published.

use chrono::DateTime;

use super::*;
use crate::db::cloudflare::{DnsRecordRow, RouteStatusRow};
use crate::db::tunnels::TunnelRow;
use crate::domain::dns::tunnel_target;
use crate::domain::id::{AccountId, AgentId, ContainerId, RecordId, SecretId, ZoneId};
use crate::domain::ingress::IngressRule;
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
        has_access_labels: false,
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
        applied: Vec::new(),
        records: Vec::new(),
        route_status: Vec::new(),
        status: None,
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
        agent_id: AgentId::new("a"),
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

/// What is known once the first phase said this of the name `CLOSED`.
fn protected(snapshot: Snapshot, of_closed: Protection) -> (Read, Found) {
    let zones = [Zone { id: ZoneId::new("z"), name: "example.com".into() }];
    let mut found = Found::new(&snapshot);
    let mut read = Read::new(snapshot, Remembered::default());
    read.wanted = read.snapshot.wanted(KnownZones::Listed(&zones), &PublishSettings::default());
    read.has_wanted = true;
    let mut said = protections(&read.wanted);
    said.insert(CLOSED.into(), of_closed);
    found.names.take_protections(&read.wanted, &said);
    (read, found)
}

/// The hostnames of the rules that would be written to a tunnel that holds our rules.
fn written(read: &Read, found: &Found) -> Vec<String> {
    let mut rules: Vec<_> = read.applied.iter().map(IngressRule::to_json).collect();
    rules.push(serde_json::json!({ "service": "http_status:404" }));
    let observed = serde_json::json!({ "ingress": rules });
    let wanted = read.wanted_rules(found, &observed);
    let outcome = merge(&read.applied, &wanted, &observed, read.contact).unwrap();
    let rules = outcome.config["ingress"].as_array().unwrap().iter();
    rules.filter_map(|rule| rule["hostname"].as_str().map(str::to_owned)).collect()
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
