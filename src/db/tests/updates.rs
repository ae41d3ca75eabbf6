//! Updates of hosts: kept by difference, found again, counted and listed, on every engine.

use super::support::*;
use crate::db::read::{
    UpdateFilter, UpdateOrder, all_statuses, count_updates, hosts_in_trouble, hosts_to_reboot,
    list_update_groups, list_updates, routes_behind, update_counts, update_totals,
};
use crate::db::updates::{decisions_of, find_host, find_updates, overdue_of, scans_of, updates_of};
use crate::db::{Batch, Db, Expected, RowChange};
use crate::domain::event::{AgentEvent, Event, Stream, UpdateEvent};
use crate::domain::host::{Host, Reboot};
use crate::domain::id::{AgentId, KeyId, UpdateId};
use crate::domain::publish::PublicState;
use crate::domain::route::RouteKey;
use crate::domain::update::{
    Cause, Change, Decision, Finding, Findings, Kind, Risk, Severity, Standing, State, Update,
};

fn update(id: &str, name: &str, state: Option<State>, standing: Standing) -> Update {
    let mut finding = Finding::new(name, standing);
    finding.available_version = Some("2".into());
    finding.is_security = Some(name == "openssl");
    finding.severity = if name == "openssl" { Severity::Critical } else { Severity::Low };
    Update { id: UpdateId::new(id), finding, state, first_seen_at: at(1), changed_at: at(1), due_at: None }
}

fn discovered(id: &str, name: &str) -> Update {
    update(id, name, Some(State::Discovered), Standing::Newer)
}

async fn put(db: &Db, agent_id: &AgentId, kind: Kind, changes: Vec<Change>) {
    let change = RowChange::PutUpdates { agent_id: agent_id.clone(), kind, changes };
    db.commit(Batch::new("system", at(2)).row(change)).await.unwrap();
}

async fn known_agents(db: &Db, names: &[&str]) {
    for name in names {
        let key = format!("key of {name}");
        let batch = Batch::new("system", at(0))
            .append(Stream::keys(), Expected::Head, vec![key_made(&key)])
            .append(Stream::agent(&agent(name)), Expected::Head, vec![registered(name, &key)]);
        db.commit(batch).await.unwrap();
    }
}

fn changes(updates: Vec<Update>) -> Vec<Change> {
    updates.into_iter().map(|update| Change::Put(Box::new(update))).collect()
}

async fn listed(db: &Db, filter: &UpdateFilter, order: UpdateOrder) -> Vec<String> {
    let views = list_updates(db, filter, order, 0, 100).await.unwrap();
    views.into_iter().map(|view| format!("{}/{}", view.row.agent_id, view.row.update.finding.name)).collect()
}

#[tokio::test]
async fn what_is_put_is_read_again_and_what_is_forgotten_is_gone() {
    on_every_engine(async |db| {
        let a = agent("a");
        known_agents(&db, &["a"]).await;
        let mut image = discovered("u2", "nginx:1");
        image.finding.containers = vec!["c1".into(), "c2".into()];
        put(&db, &a, Kind::Apt, changes(vec![discovered("u1", "openssl")])).await;
        put(&db, &a, Kind::DockerImage, changes(vec![image.clone()])).await;
        assert_eq!(updates_of(&db, &a, Kind::DockerImage).await.unwrap()["nginx:1"], image);
        assert_eq!(updates_of(&db, &a, Kind::Dnf).await.unwrap().len(), 0);
        // when one of its containers is gone, and the same is written once more
        image.finding.containers.remove(0);
        put(&db, &a, Kind::DockerImage, changes(vec![image.clone(), image.clone()])).await;
        let found = find_updates(&db, &[UpdateId::new("u2"), UpdateId::new("u9")]).await.unwrap();
        assert_eq!(found.iter().map(|row| row.update.clone()).collect::<Vec<_>>(), [image]);
        put(&db, &a, Kind::Apt, vec![Change::Forget("openssl".into())]).await;
        assert!(updates_of(&db, &a, Kind::Apt).await.unwrap().is_empty());
        // scan and machine
        let checked =
            Findings::new(Kind::Apt, Vec::new()).as_of(at(3)).with_problem("no", Some("do".into())).checked;
        let reboot = Some(Reboot { wanted: true, ..Reboot::default() });
        let host = Host { kernel: Some("6.1".into()), reboot, ..Host::default() };
        let batch = Batch::new("system", at(4))
            .row(RowChange::PutScan { agent_id: a.clone(), checked: checked.clone() })
            .row(RowChange::PutHost { agent_id: a.clone(), host: Box::new(host.clone()) });
        db.commit(batch).await.unwrap();
        assert_eq!(scans_of(&db, &a).await.unwrap()[&Kind::Apt].checked, checked);
        assert_eq!(find_host(&db, &a).await.unwrap().unwrap().host, host);
        assert_eq!(update_totals(&db).await.unwrap().reboots, 1);
        // all of it goes with the agent
        db.commit(Batch::new("system", at(5)).row(RowChange::ForgetAgent { agent_id: a.clone() }))
            .await
            .unwrap();
        assert!(updates_of(&db, &a, Kind::DockerImage).await.unwrap().is_empty());
        assert!(scans_of(&db, &a).await.unwrap().is_empty() && find_host(&db, &a).await.unwrap().is_none());
    })
    .await;
}

#[tokio::test]
async fn a_decision_is_kept_apart_from_what_scans_find_and_goes_with_its_agent() {
    on_every_engine(async |db| {
        let a = agent("a");
        known_agents(&db, &["a"]).await;
        let decided = |name: &str, decision| UpdateEvent::Decided {
            agent_id: a.clone(),
            kind: Kind::Apt,
            name: name.into(),
            decision,
        };
        let events = vec![
            decided("x", Decision::Hold),
            decided("y", Decision::Snooze { until: at(50) }),
            decided("x", Decision::Ignore { version: Some("2".into()) }),
        ];
        let stream = Stream::updates(&a);
        db.commit(Batch::new("ann", at(2)).append(stream.clone(), Expected::Version(0), events))
            .await
            .unwrap();
        let known = decisions_of(&db, &a, Kind::Apt).await.unwrap();
        assert_eq!(known["x"], Decision::Ignore { version: Some("2".into()) });
        assert_eq!(known["y"], Decision::Snooze { until: at(50) });
        let taken_back = UpdateEvent::Reconsidered { agent_id: a.clone(), kind: Kind::Apt, name: "x".into() };
        db.commit(Batch::new("ann", at(3)).append(stream, Expected::Version(3), vec![taken_back]))
            .await
            .unwrap();
        assert!(!decisions_of(&db, &a, Kind::Apt).await.unwrap().contains_key("x"));
        // what is put off is due at its time
        let snoozed = Update { state: Some(State::Snoozed), due_at: Some(at(50)), ..discovered("u1", "y") };
        put(&db, &a, Kind::Apt, changes(vec![snoozed.clone()])).await;
        assert!(overdue_of(&db, &a, at(49)).await.unwrap().is_empty());
        assert_eq!(overdue_of(&db, &a, at(50)).await.unwrap(), [(Kind::Apt, snoozed)]);
        let removed = Event::Agent(AgentEvent::Removed { agent_id: a.clone() });
        db.commit(Batch::new("ann", at(4)).append(Stream::agent(&a), Expected::Head, vec![removed]))
            .await
            .unwrap();
        assert!(decisions_of(&db, &a, Kind::Apt).await.unwrap().is_empty());
    })
    .await;
}

#[tokio::test]
async fn lists_are_by_risk_and_groups_count_hosts() {
    on_every_engine(async |db| {
        known_agents(&db, &["a", "b"]).await;
        let (a, b) = (agent("a"), agent("b"));
        let unknown = Standing::Unchecked {
            cause: Cause::NotReachable,
            reason: "away".into(),
            last_known_at: None,
            retry_at: None,
        };
        let own = |id: &str| discovered(id, "openssl");
        put(&db, &a, Kind::Apt, changes(vec![own("u1"), discovered("u2", "zlib")])).await;
        put(&db, &b, Kind::Apt, changes(vec![own("u3"), discovered("u4", "50%_off\\")])).await;
        let mut public = discovered("u5", "nginx:1");
        public.finding.containers = vec!["c".into()];
        let images = vec![
            public,
            update("u6", "redis:7", None, unknown),
            update("u7", "pinned:1", None, Standing::Same),
        ];
        put(&db, &a, Kind::DockerImage, changes(images)).await;
        publish(&db, &a, "app.example.com", "c").await;

        let all = UpdateFilter::default();
        let by_risk = listed(&db, &all, UpdateOrder::Risk).await;
        assert_eq!(by_risk[..3], ["a/nginx:1", "a/openssl", "b/openssl"]);
        assert_eq!(by_risk.len(), 6, "{by_risk:?}");
        let any = UpdateFilter { statuses: all_statuses(), ..all.clone() };
        assert_eq!(listed(&db, &any, UpdateOrder::Name).await.len(), 7);
        for (filter, expected) in [
            (UpdateFilter { is_public: Some(true), ..all.clone() }, vec!["a/nginx:1"]),
            (UpdateFilter { is_open: Some(true), ..all.clone() }, vec!["a/nginx:1"]),
            (UpdateFilter { search: Some("50%_OFF\\".into()), ..all.clone() }, vec!["b/50%_off\\"]),
            (UpdateFilter { search: Some("5__".into()), ..all.clone() }, vec![]),
            (UpdateFilter { is_security: Some(true), ..all.clone() }, vec!["a/openssl", "b/openssl"]),
            (UpdateFilter { seen_before: Some(at(1)), ..all.clone() }, vec![]),
            (UpdateFilter { agent: Some(b.clone()), kind: Some(Kind::DockerImage), ..all.clone() }, vec![]),
        ] {
            assert_eq!(listed(&db, &filter, UpdateOrder::Name).await, expected, "{filter:?}");
        }
        let groups = list_update_groups(&db, &all, 0, 10).await.unwrap();
        let shown: Vec<_> = groups.iter().map(|one| (one.name.as_str(), one.hosts, one.is_public)).collect();
        assert_eq!(shown[..2], [("nginx:1", 1, true), ("openssl", 2, false)]);
        assert_eq!((groups[1].only_id.clone(), groups[0].only_id.clone()), (None, Some(UpdateId::new("u5"))));
        assert_eq!((groups[1].severity, groups[1].is_security), (Severity::Critical, true));
        assert_eq!(list_update_groups(&db, &all, 1, 1).await.unwrap()[0].name, "openssl");
        let key = RouteKey { hostname: "app.example.com".into(), path: String::new() };
        assert_eq!(routes_behind(&db, "nginx:1").await.unwrap(), [(a.clone(), key)]);

        let totals = update_totals(&db).await.unwrap();
        assert_eq!((totals.pending, totals.security), (5, 2));
        assert_eq!(
            (totals.public_services, totals.outdated_services, totals.open_outdated_services),
            (1, 1, 1)
        );
        // A service whose image nobody looked at is not fine.
        publish(&db, &a, "other.example.com", "d").await;
        let totals = update_totals(&db).await.unwrap();
        assert_eq!((totals.public_services, totals.outdated_services, totals.unknown_services), (2, 1, 1));
    })
    .await;
}

#[tokio::test]
async fn the_order_by_risk_is_that_of_the_rule() {
    on_every_engine(async |db| {
        known_agents(&db, &["a"]).await;
        let a = agent("a");
        publish(&db, &a, "open.example.com", "open").await;
        publish_behind_a_login(&db, &a, "closed.example.com", "closed").await;
        // The names are in no order that has anything to do with it.
        let mut updates = Vec::new();
        for (n, container) in ["closed", "", "open"].into_iter().enumerate() {
            for (m, severity) in [1, 3, 0, 2].into_iter().filter_map(|at| Some((at, *Severity::ALL.get(at)?)))
            {
                for age in [3, 1, 2] {
                    let id = format!("u{n}{m}{age}");
                    let mut update = discovered(&id, &format!("image-{}{id}:1", (n * 7 + m * 5 + age) % 4));
                    update.finding.severity = severity;
                    update.finding.containers =
                        Some(container.to_owned()).filter(|c| !c.is_empty()).into_iter().collect();
                    update.first_seen_at = at(i64::try_from(age).unwrap());
                    updates.push(update);
                }
            }
        }
        let mut expected: Vec<(Risk, String)> = updates
            .iter()
            .map(|update| {
                let (finding, container) = (&update.finding, update.finding.containers.first());
                let reach = (container.is_some(), container.is_some_and(|container| container == "closed"));
                (
                    Risk::new(reach, finding.severity, update.first_seen_at, &*finding.name),
                    format!("a/{}", finding.name),
                )
            })
            .collect();
        expected.sort();
        put(&db, &a, Kind::DockerImage, changes(updates)).await;

        let by_risk = listed(&db, &UpdateFilter::default(), UpdateOrder::Risk).await;

        assert_eq!(by_risk, expected.into_iter().map(|(_, name)| name).collect::<Vec<_>>());
    })
    .await;
}

/// A route of a container that is published.
async fn publish(db: &Db, agent_id: &AgentId, hostname: &str, container: &str) {
    publish_as(db, agent_id, hostname, container, false).await;
}

/// One that asks for a login.
async fn publish_behind_a_login(db: &Db, agent_id: &AgentId, hostname: &str, container: &str) {
    publish_as(db, agent_id, hostname, container, true).await;
}

async fn publish_as(db: &Db, agent_id: &AgentId, hostname: &str, container: &str, has_login: bool) {
    let Event::Route(mut claim) = claimed(agent_id.as_str(), hostname, "") else { panic!("no claim") };
    if let crate::domain::event::RouteEvent::Claimed { container_id, service, .. } = &mut claim {
        *container_id = crate::domain::id::ContainerId::new(container);
        if has_login {
            let groups = vec![crate::domain::id::GroupId::new("staff")];
            service.access = crate::domain::access::AccessAsk::Groups { groups };
        }
    }
    let status = crate::db::cloudflare::RouteStatusRow {
        agent_id: Some(agent_id.clone()),
        key: RouteKey { hostname: hostname.into(), path: String::new() },
        state: PublicState::Published.as_str().into(),
        reason: None,
        cause: None,
        answer: None,
        updated_at: at(2),
    };
    let batch = Batch::new("system", at(2))
        .append(Stream::routes(agent_id), Expected::Head, vec![Event::Route(claim)])
        .row(RowChange::PutRouteStatus(status));
    db.commit(batch).await.unwrap();
}

#[tokio::test]
async fn the_columns_of_redflags_schema_are_read_under_its_names() {
    use sea_orm::{ConnectionTrait, Statement};

    on_every_engine(async |db| {
        let a = agent("a");
        known_agents(&db, &["a"]).await;
        put(&db, &a, Kind::Apt, changes(vec![discovered("u1", "openssl")])).await;
        let host = Host { hostname: Some("web-1".into()), os_version: Some("Debian 12".into()), ..Host::default() };
        let row = RowChange::PutHost { agent_id: a.clone(), host: Box::new(host) };
        db.commit(Batch::new("system", at(2)).row(row)).await.unwrap();
        let queued = queued("a", "c1", at(99));
        db.commit(Batch::new("system", at(3)).append(Stream::commands(&a), Expected::Head, vec![queued])).await.unwrap();
        for (view, columns, rows) in [
            ("seed_agents", "id, hostname, os, architecture, metadata, created_at, updated_at", 1),
            (
                "seed_updates",
                "id, agent_id, package_name, package_type, current_version, available_version, severity, metadata, \
                 status, created_at",
                1,
            ),
            (
                "seed_commands",
                "id, agent_id, update_id, command_type, parameters, status, created_at, completed_at",
                1,
            ),
            (
                "seed_refresh_tokens",
                "id, agent_id, token_hash, expires_at, created_at, last_used_at, revoked",
                0,
            ),
            ("seed_logs", "id, agent_id, level, message, metadata, created_at", 0),
        ] {
            let found = db
                .read(async move |conn| {
                    let sql = format!("SELECT {columns} FROM {view}");
                    let backend = conn.get_database_backend();
                    Ok(conn.query_all_raw(Statement::from_string(backend, sql)).await?)
                })
                .await
                .unwrap();
            assert_eq!(found.len(), rows, "{view}");
            if view == "seed_agents" {
                let text = |column: &str| found[0].try_get::<String>("", column).unwrap();
                assert_eq!((text("hostname"), text("os")), ("web-1".into(), "Debian 12".into()));
                assert_eq!(text("created_at"), "2027-01-15T08:00:00Z");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn what_was_found_on_a_host_that_nobody_hears_any_more_does_not_count() {
    on_every_engine(async |db| {
        let (gone, there) = (agent("a"), agent("b"));
        known_agents(&db, &["a", "b"]).await;
        for of in [&gone, &there] {
            put(&db, of, Kind::Apt, changes(vec![discovered(&format!("u-{of}"), "openssl")])).await;
            let host = Host { reboot: Some(Reboot { wanted: true, ..Reboot::default() }), ..Host::default() };
            let checked = Findings::new(Kind::Apt, Vec::new()).with_problem("no lists", None).checked;
            let batch = Batch::new("system", at(2))
                .row(RowChange::PutHost { agent_id: of.clone(), host: Box::new(host) })
                .row(RowChange::PutScan { agent_id: of.clone(), checked });
            db.commit(batch).await.unwrap();
        }
        let all = UpdateFilter::default();
        assert_eq!(listed(&db, &all, UpdateOrder::Agent).await.len(), 2);

        let revoked = AgentEvent::Revoked { agent_id: gone.clone(), key_id: KeyId::new("key of a") };
        let batch = Batch::new("system", at(3));
        db.commit(batch.append(Stream::agent(&gone), Expected::Head, vec![revoked])).await.unwrap();

        assert_eq!(listed(&db, &all, UpdateOrder::Risk).await, ["b/openssl"]);
        assert_eq!(list_update_groups(&db, &all, 0, 10).await.unwrap()[0].hosts, 1);
        assert_eq!(count_updates(&db, &all).await.unwrap(), 1);
        assert_eq!(update_counts(&db).await.unwrap().iter().map(|one| one.count).sum::<u64>(), 1);
        let totals = update_totals(&db).await.unwrap();
        assert_eq!((totals.pending, totals.security, totals.reboots), (1, 1, 1));
        assert_eq!((totals.troubled_hosts, totals.scanned_hosts), (1, 1));
        for named in [hosts_in_trouble(&db).await.unwrap(), hosts_to_reboot(&db).await.unwrap()] {
            let ids: Vec<&str> = named.iter().map(|(id, _)| id.as_str()).collect();
            assert_eq!(ids, ["b"]);
        }
        // Who has its id finds it all the same.
        assert_eq!(find_updates(&db, &[UpdateId::new("u-a")]).await.unwrap().len(), 1);
    })
    .await;
}
