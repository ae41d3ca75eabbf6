//! Rows that are not derived from events: written by difference.

use std::collections::BTreeMap;

use serde_json::json;

use super::support::*;
use crate::db::agents::get_agent;
use crate::db::cloudflare::{
    AppliedRule, DnsRecordRow, RouteStatusRow, TunnelConnectorsRow, TunnelStatusRow, find_dns_record,
    find_tunnel_connectors, find_tunnel_status, list_applied_rules, list_dns_records, list_route_status,
};
use crate::db::commands::open_commands_of;
use crate::db::containers::{ContainerProblem, containers_of, list_container_problems, list_containers};
use crate::db::tunnels::find_tunnel_observed;
use crate::db::{Batch, Db, RowChange};
use crate::domain::connector::{Connector, Listed};
use crate::domain::container::Container;
use crate::domain::delivery::Dialect;
use crate::domain::event::Stream;
use crate::domain::id::{ContainerId, RecordId, TunnelId, ZoneId};
use crate::domain::publish::Cause;
use crate::domain::tunnel::{TunnelHealth, TunnelReport};

async fn put(db: &Db, secs: i64, change: RowChange) {
    db.commit(Batch::new("system", at(secs)).row(change)).await.unwrap();
}

fn container(id: &str, image: &str) -> Container {
    Container {
        id: ContainerId::new(id),
        name: format!("name-{id}"),
        labels: BTreeMap::from([("lightship.hostname".into(), "é\"\n🚢".into())]),
        image: Some(image.into()),
        status: Some("running".into()),
        networks: None,
    }
}

fn problem(label: &str) -> ContainerProblem {
    ContainerProblem { label: label.into(), value: "no".into(), reason: "not a port".into() }
}

#[tokio::test]
async fn a_listing_replaces_what_differs_and_leaves_the_rest() {
    on_every_engine(async |db| {
        let list = |containers| RowChange::ReplaceContainers { agent_id: agent("a"), containers };
        let before = vec![
            (container("c1", "x"), vec![problem("p1"), problem("p2")]),
            (container("c2", "x"), vec![problem("p3")]),
            (container("c3", "x"), vec![]),
        ];
        put(&db, 0, list(before)).await;
        let other = RowChange::ReplaceContainers {
            agent_id: agent("b"),
            containers: vec![(container("c1", "other"), vec![])],
        };
        put(&db, 0, other).await;

        put(&db, 9, list(vec![(container("c1", "x"), vec![problem("p2")]), (container("c3", "y"), vec![])]))
            .await;

        let rows = list_containers(&db, &agent("a")).await.unwrap();
        let seen: Vec<_> = rows.iter().map(|row| (row.container.clone(), row.changed_at)).collect();
        assert_eq!(seen, [(container("c1", "x"), at(0)), (container("c3", "y"), at(9))]);
        let problems = list_container_problems(&db, Some(&agent("a")), 10).await.unwrap();
        assert_eq!(problems.iter().map(|row| row.problem.clone()).collect::<Vec<_>>(), [problem("p2")]);
        assert_eq!(list_containers(&db, &agent("b")).await.unwrap().len(), 1);
    })
    .await;
}

#[tokio::test]
async fn one_container_comes_and_goes_with_its_problems() {
    on_every_engine(async |db| {
        let seen = |problems| RowChange::PutContainer {
            agent_id: agent("a"),
            container: container("c1", "x"),
            problems,
        };
        put(&db, 0, seen(vec![problem("p1"), problem("p2")])).await;
        put(&db, 5, seen(vec![problem("p1")])).await;
        assert_eq!(list_containers(&db, &agent("a")).await.unwrap()[0].changed_at, at(0));
        assert_eq!(list_container_problems(&db, None, 10).await.unwrap().len(), 1);

        let gone = RowChange::DeleteContainer { agent_id: agent("a"), container_id: ContainerId::new("c1") };
        put(&db, 6, gone).await;

        assert!(list_containers(&db, &agent("a")).await.unwrap().is_empty());
        assert!(list_container_problems(&db, None, 10).await.unwrap().is_empty());
    })
    .await;
}

#[tokio::test]
async fn the_last_time_an_agent_was_heard_only_moves_forward() {
    on_every_engine(async |db| {
        commit(&db, Stream::agent(&agent("a")), vec![registered("a", "k1")]).await.unwrap();
        put(&db, 0, RowChange::TouchAgents(vec![(agent("a"), at(60)), (agent("z"), at(1))])).await;
        let peer = RowChange::PutAgentPeer {
            agent_id: agent("a"),
            hostname: Some("h1".into()),
            peer: Some("10.0.0.1".into()),
            problem: None,
        };
        put(&db, 1, peer).await;
        put(&db, 2, RowChange::TouchAgents(vec![(agent("a"), at(30))])).await;

        let row = get_agent(&db, &agent("a")).await.unwrap();

        assert_eq!((row.last_seen, row.hostname.as_deref()), (Some(at(60)), Some("h1")));
    })
    .await;
}

#[tokio::test]
async fn of_an_agent_that_is_forgotten_only_its_dialect_is_known() {
    on_every_engine(async |db| {
        commit(&db, Stream::agent(&agent("a")), vec![registered("a", "k1")]).await.unwrap();
        let peer = RowChange::PutAgentPeer {
            agent_id: agent("a"),
            hostname: Some("h1".into()),
            peer: Some("10.0.0.1".into()),
            problem: Some("two hosts".into()),
        };
        put(&db, 0, peer).await;
        let native = RowChange::PutAgentDialect { agent_id: agent("a"), dialect: Dialect::Native };
        put(&db, 0, native).await;
        put(&db, 1, RowChange::TouchAgents(vec![(agent("a"), at(60))])).await;

        put(&db, 2, RowChange::ForgetAgent { agent_id: agent("a") }).await;

        let row = get_agent(&db, &agent("a")).await.unwrap();
        assert_eq!((row.last_seen, row.hostname, row.peer, row.problem), (None, None, None, None));
        assert_eq!(row.dialect.as_deref(), Some("native"));
    })
    .await;
}

#[tokio::test]
async fn a_tunnel_report_that_says_the_same_is_not_written_again() {
    on_every_engine(async |db| {
        let report = |health, observed| RowChange::PutTunnelObserved {
            agent_id: agent("a"),
            report: TunnelReport {
                health,
                tunnel_id: Some(TunnelId::new("t1")),
                name: None,
                version: Some("2026.1.0".into()),
                reason: None,
                ready_connections: Some(4),
                connector_id: None,
                config_version: Some(-1),
                networks: None,
                observed_at: Some(at(observed)),
            },
        };
        put(&db, 0, report(TunnelHealth::Running, 1)).await;
        put(&db, 5, report(TunnelHealth::Running, 6)).await;
        let row = find_tunnel_observed(&db, &agent("a")).await.unwrap().unwrap();
        assert_eq!((row.changed_at, row.report.ready_connections), (at(0), Some(4)));

        put(&db, 7, report(TunnelHealth::Degraded, 8)).await;

        let row = find_tunnel_observed(&db, &agent("a")).await.unwrap().unwrap();
        assert_eq!((row.changed_at, row.report.health), (at(7), TunnelHealth::Degraded));
    })
    .await;
}

#[tokio::test]
async fn what_is_ours_at_cloudflare_is_kept_per_tunnel_and_zone() {
    on_every_engine(async |db| {
        let rule = |host: &str, port: u16| AppliedRule {
            key: route_key(host, ""),
            rule: json!({"hostname": host, "service": format!("http://app:{port}")}),
        };
        let rules =
            |tunnel: &str, rules| RowChange::PutAppliedRules { tunnel_id: TunnelId::new(tunnel), rules };
        put(&db, 0, rules("t1", vec![rule("a.test", 1), rule("b.test", 1)])).await;
        put(&db, 0, rules("t2", vec![rule("a.test", 7)])).await;
        put(&db, 1, rules("t1", vec![rule("b.test", 2), rule("c.test", 1)])).await;

        let ours = list_applied_rules(&db, &TunnelId::new("t1")).await.unwrap();
        assert_eq!(ours, [rule("b.test", 2), rule("c.test", 1)]);
        assert_eq!(list_applied_rules(&db, &TunnelId::new("t2")).await.unwrap(), [rule("a.test", 7)]);

        let record = |record_id: Option<&str>| DnsRecordRow {
            zone_id: ZoneId::new("z1"),
            name: "a.test".into(),
            record_id: record_id.map(RecordId::new),
            tunnel_id: TunnelId::new("t1"),
            content: "t1.cfargotunnel.com".into(),
            created_at: at(0),
            is_settled: record_id.is_some(),
        };
        put(&db, 2, RowChange::PutDnsRecord(record(None))).await;
        put(&db, 3, RowChange::PutDnsRecord(record(Some("r1")))).await;
        assert_eq!(list_dns_records(&db, &TunnelId::new("t1")).await.unwrap(), [record(Some("r1"))]);
        put(&db, 4, RowChange::DeleteDnsRecord { zone_id: ZoneId::new("z1"), name: "a.test".into() }).await;
        assert_eq!(find_dns_record(&db, &ZoneId::new("z1"), "a.test").await.unwrap(), None);
    })
    .await;
}

#[tokio::test]
async fn route_and_tunnel_states_are_stored_and_a_removed_agent_is_forgotten() {
    on_every_engine(async |db| {
        let status = |name: &str| RouteStatusRow {
            agent_id: Some(agent(name)),
            key: route_key("a.test", "/x"),
            state: "conflict".into(),
            reason: Some("held by `b`".into()),
            cause: Some(Cause::EqualRule),
            answer: None,
            updated_at: at(1),
        };
        let tunnel = TunnelStatusRow {
            tunnel_id: TunnelId::new("t1"),
            state: "applied".into(),
            reason: None,
            cause: Some(Cause::TunnelLocal),
            answer: Some("200".into()),
            config_version: Some(4),
            foreign_rules: json!([{"hostname": "theirs.test"}]),
            updated_at: at(1),
            version_since: Some(at(1)),
            is_settled: false,
        };
        put(&db, 1, RowChange::PutRouteStatus(status("a"))).await;
        put(&db, 1, RowChange::PutRouteStatus(status("b"))).await;
        put(&db, 1, RowChange::PutTunnelStatus(tunnel.clone())).await;
        let container = container("c1", "x");
        put(
            &db,
            1,
            RowChange::PutContainer { agent_id: agent("a"), container, problems: vec![problem("p")] },
        )
        .await;
        assert_eq!(list_route_status(&db, None, 10).await.unwrap(), [status("a"), status("b")]);
        assert_eq!(find_tunnel_status(&db, &TunnelId::new("t1")).await.unwrap(), Some(tunnel));

        put(&db, 2, RowChange::ForgetAgent { agent_id: agent("a") }).await;

        assert_eq!(list_route_status(&db, None, 10).await.unwrap(), [status("b")]);
        assert!(list_containers(&db, &agent("a")).await.unwrap().is_empty());
        assert!(list_container_problems(&db, None, 10).await.unwrap().is_empty());
        let listed = Listed {
            connectors: vec![Connector {
                id: "c".into(),
                config_version: Some(3),
                connections: 4,
                ..Connector::default()
            }],
            at: at(2),
        };
        let row = TunnelConnectorsRow { tunnel_id: TunnelId::new("t1"), listed, written_again: Some(4) };
        put(&db, 3, RowChange::PutTunnelConnectors(row.clone())).await;
        assert_eq!(find_tunnel_connectors(&db, &TunnelId::new("t1")).await.unwrap(), Some(row));
        put(&db, 3, RowChange::DeleteTunnelStatus { tunnel_id: TunnelId::new("t1") }).await;
        assert_eq!(find_tunnel_status(&db, &TunnelId::new("t1")).await.unwrap(), None);
        assert_eq!(find_tunnel_connectors(&db, &TunnelId::new("t1")).await.unwrap(), None);
    })
    .await;
}

#[tokio::test]
async fn since_when_a_configuration_has_its_version_stays_until_it_has_another() {
    on_every_engine(async |db| {
        let status = |state: &str, config_version, second| TunnelStatusRow {
            tunnel_id: TunnelId::new("t1"),
            state: state.into(),
            reason: None,
            cause: None,
            answer: None,
            config_version,
            foreign_rules: json!([]),
            updated_at: at(second),
            version_since: None,
            is_settled: true,
        };
        for (row, since) in [
            (status("applying", None, 1), None),
            (status("applied", Some(1), 2), Some(at(2))),
            (status("failed", Some(1), 3), Some(at(2))),
            (status("applied", Some(2), 4), Some(at(4))),
        ] {
            put(&db, 1, RowChange::PutTunnelStatus(row.clone())).await;
            let stored = find_tunnel_status(&db, &row.tunnel_id).await.unwrap().unwrap();
            assert_eq!(stored.version_since, since, "{row:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn five_hundred_containers_are_one_listing() {
    on_every_engine(async |db| {
        let containers: Vec<_> =
            (0..500).map(|n| (container(&format!("c{n:03}"), "x"), vec![problem("p")])).collect();
        put(&db, 0, RowChange::ReplaceContainers { agent_id: agent("a"), containers: containers.clone() })
            .await;
        put(&db, 9, RowChange::ReplaceContainers { agent_id: agent("a"), containers }).await;

        let rows = list_containers(&db, &agent("a")).await.unwrap();

        assert_eq!(rows.len(), 500);
        assert!(rows.iter().all(|row| row.changed_at == at(0)));
    })
    .await;
}

#[tokio::test]
async fn containers_and_commands_of_many_agents_are_read_at_once() {
    on_every_engine(async |db| {
        let list =
            |name: &str, containers| RowChange::ReplaceContainers { agent_id: agent(name), containers };
        let (one, two) = (container("c1", "x"), container("c2", "x"));
        put(
            &db,
            0,
            list("a", vec![(two.clone(), vec![]), (one.clone(), vec![problem("p1"), problem("p2")])]),
        )
        .await;
        put(&db, 0, list("b", vec![(one.clone(), vec![])])).await;
        for (name, key) in [("a", "k1"), ("b", "k2")] {
            commit(&db, Stream::agent(&agent(name)), vec![registered(name, key)]).await.unwrap();
            let ids = [format!("{name}2"), format!("{name}1")];
            let events = ids.iter().map(|id| queued(name, id, at(9))).collect();
            commit(&db, Stream::commands(&agent(name)), events).await.unwrap();
        }

        let asked = [agent("a"), agent("b"), agent("nobody")];
        let containers = containers_of(&db, &asked).await.unwrap();
        let commands = open_commands_of(&db, &asked).await.unwrap();

        let ids = |name: &str| {
            containers[&agent(name)].iter().map(|row| row.container.id.as_str()).collect::<Vec<_>>()
        };
        assert_eq!((ids("a"), ids("b")), (vec!["c1", "c2"], vec!["c1"]));
        let ids = |name: &str| commands[&agent(name)].iter().map(|one| one.id.as_str()).collect::<Vec<_>>();
        assert_eq!((ids("a"), ids("b")), (vec!["a2", "a1"], vec!["b2", "b1"]), "as they were queued");
        assert_eq!((containers.len(), commands.len()), (2, 2));
        assert_eq!(containers_of(&db, &asked[..1]).await.unwrap().len(), 1);
    })
    .await;
}
