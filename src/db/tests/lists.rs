//! What pages read.

use std::collections::BTreeMap;

use super::support::*;
use crate::db::agents::{list_agents, load_agents};
use crate::db::cloudflare::RouteStatusRow;
use crate::db::containers::ContainerProblem;
use crate::db::events::{EventFilter, list_events};
use crate::db::keys::keys_after;
use crate::db::read::{
    ContainerProblemView, agent_views, container_problem_views, counts, refused_views, route_views,
};
use crate::db::routes::list_routes;
use crate::db::settings::{find_admin, has_admin, list_admins, list_settings};
use crate::db::{Batch, RowChange};
use crate::domain::container::Container;
use crate::domain::event::{AdminEvent, AgentEvent, Event, Stream};
use crate::domain::id::ContainerId;
use crate::domain::role::Role;

#[tokio::test]
async fn agents_are_listed_in_pages_without_the_removed_ones() {
    on_every_engine(async |db| {
        for (name, key) in [("a", "k1"), ("b", "k2"), ("c", "k3")] {
            commit(&db, Stream::agent(&agent(name)), vec![registered(name, key)]).await.unwrap();
        }
        let removed = Event::Agent(AgentEvent::Removed { agent_id: agent("b") });
        commit(&db, Stream::agent(&agent("b")), vec![removed]).await.unwrap();
        let touch = RowChange::TouchAgents(vec![(agent("c"), at(5))]);
        db.commit(Batch::new("system", at(5)).row(touch)).await.unwrap();

        let first = list_agents(&db, None, 1).await.unwrap();
        let rest = list_agents(&db, Some(&first[0].id), 10).await.unwrap();

        assert_eq!(first[0].id, agent("a"));
        assert_eq!(
            rest.iter().map(|row| (row.id.clone(), row.last_seen)).collect::<Vec<_>>(),
            [(agent("c"), Some(at(5)))]
        );
        assert_eq!(load_agents(&db).await.unwrap().len(), 3);
    })
    .await;
}

#[tokio::test]
async fn the_overview_counts_what_is_there() {
    on_every_engine(async |db| {
        commit(&db, Stream::agent(&agent("a")), vec![registered("a", "k1"), enrolled("a", "t1")])
            .await
            .unwrap();
        commit(&db, Stream::agent(&agent("b")), vec![registered("b", "k2")]).await.unwrap();
        let offline = Event::Agent(AgentEvent::Offline { agent_id: agent("b"), last_seen: at(1) });
        commit(&db, Stream::presence(&agent("b")), vec![offline]).await.unwrap();
        let events = vec![claimed("a", "x.test", ""), claimed("a", "y.test", ""), lost("a", "y.test", at(9))];
        commit(&db, Stream::routes(&agent("a")), events).await.unwrap();
        commit(&db, Stream::commands(&agent("a")), vec![queued("a", "c1", at(9))]).await.unwrap();

        let counts = counts(&db).await.unwrap();
        let views = agent_views(&db, None, 10).await.unwrap();
        let routes = route_views(&db, None, 10).await.unwrap();

        assert_eq!((counts.agents["enrolled"], counts.agents["pending"], counts.agents_offline), (1, 1, 1));
        assert_eq!((counts.routes["active"], counts.routes["pending_deletion"]), (1, 1));
        assert_eq!(counts.open_commands, 1);
        assert_eq!((views[0].routes, views[0].open_commands, views[1].routes), (2, 1, 0));
        assert_eq!(routes.len(), 2);
        let next = list_routes(&db, Some(&routes[0].route.route.spec.key), 10).await.unwrap();
        assert_eq!(next[0].route.spec.key.hostname, "y.test");
    })
    .await;
}

#[tokio::test]
async fn events_are_listed_by_stream_and_place() {
    on_every_engine(async |db| {
        commit(&db, Stream::routes(&agent("a_1")), vec![claimed("a_1", "x.test", "")]).await.unwrap();
        commit(&db, Stream::routes(&agent("ab1")), vec![claimed("ab1", "y.test", "")]).await.unwrap();
        commit(&db, Stream::admin(), vec![setting("s", 1), setting("s", 2)]).await.unwrap();

        commit(&db, Stream::routes(&agent("A_1")), vec![claimed("A_1", "z.test", "")]).await.unwrap();

        let of_one = EventFilter { stream_prefix: Some("agent/a_1".into()), ..EventFilter::default() };
        let late = EventFilter { after_seq: 3, newest_first: true, ..EventFilter::default() };

        let of_one = list_events(&db, &of_one, 10).await.unwrap();
        let late = list_events(&db, &late, 1).await.unwrap();
        assert_eq!(of_one.iter().map(|row| row.seq).collect::<Vec<_>>(), [1]);
        assert_eq!((of_one[0].actor.as_str(), of_one[0].at, of_one[0].hash.len()), ("tester", at(0), 64));
        assert_eq!(late.iter().map(|row| (row.seq, row.version)).collect::<Vec<_>>(), [(5, 1)]);
    })
    .await;
}

#[tokio::test]
async fn a_new_password_ends_the_sessions_of_the_old_one() {
    on_every_engine(async |db| {
        assert!(!has_admin(&db).await.unwrap());
        commit(
            &db,
            Stream::admin(),
            vec![Event::Admin(AdminEvent::Created { name: "ann".into(), role: Role::Admin })],
        )
        .await
        .unwrap();
        assert!(has_admin(&db).await.unwrap());
        let before = find_admin(&db, "ann").await.unwrap().unwrap().session_version;

        let changed = Event::Admin(AdminEvent::PasswordChanged { name: "ann".into() });
        commit(&db, Stream::admin(), vec![changed, setting("grace", 60)]).await.unwrap();

        let after = list_admins(&db).await.unwrap().remove(0);
        assert!(after.session_version > before && after.password_changed_at == Some(at(0)));
        let settings = list_settings(&db).await.unwrap();
        assert_eq!((settings[0].value.as_i64(), settings[0].changed_by.as_str()), (Some(60), "tester"));
    })
    .await;
}

/// Reads a whole list in pages of two; each begins after the last of the one before.
async fn in_pages<R, C>(read: impl AsyncFn(Option<C>) -> Vec<R>, place: impl Fn(&R) -> C) -> Vec<R> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let page = read(after).await;
        assert!(page.len() <= 2);
        let Some(last) = page.last() else { return all };
        after = Some(place(last));
        all.extend(page);
    }
}

#[tokio::test]
async fn a_list_in_pages_is_the_whole_list_in_the_same_order() {
    on_every_engine(async |db| {
        // given: routes of two agents with each a refused one, and labels that cannot be carried out
        let said = |name: &str, hostname: &str, path: &str| {
            RowChange::PutRouteStatus(RouteStatusRow {
                agent_id: Some(agent(name)),
                key: route_key(hostname, path),
                state: "conflict".into(),
                reason: None,
                cause: None,
                answer: None,
                updated_at: at(0),
            })
        };
        let problem =
            |value: &str| ContainerProblem { label: "l".into(), value: value.into(), reason: "r".into() };
        let container = |id: &str| Container {
            id: ContainerId::new(id),
            name: format!("name-{id}"),
            labels: BTreeMap::new(),
            image: None,
            status: None,
            networks: None,
        };
        let asking = vec![problem("x.test/b"), problem("no"), problem("y.test")];
        let mut batch = Batch::new("test", at(0));
        for (name, key) in [("a", "k1"), ("b", "k2"), ("c", "k3")] {
            commit(&db, Stream::keys(), vec![key_made(key)]).await.unwrap();
            commit(&db, Stream::agent(&agent(name)), vec![registered(name, key)]).await.unwrap();
            let containers = vec![(container("c1"), asking.clone()), (container("c2"), vec![])];
            batch = batch.row(RowChange::ReplaceContainers { agent_id: agent(name), containers });
            for (hostname, path) in [("x.test", ""), ("x.test", "/b"), ("z.test", "")] {
                batch = batch.row(said(name, hostname, path));
            }
        }
        db.commit(batch).await.unwrap();
        let held = vec![claimed("a", "x.test", ""), claimed("a", "x.test", "/b"), claimed("a", "y.test", "")];
        commit(&db, Stream::routes(&agent("a")), held).await.unwrap();

        // when
        let refused = in_pages(
            async |after| refused_views(&db, after.as_ref(), 2).await.unwrap(),
            |view| (view.status.key.clone(), view.agent_id.clone()),
        )
        .await;
        let problems = in_pages(
            async |after| container_problem_views(&db, after.as_ref(), 2).await.unwrap(),
            ContainerProblemView::place,
        )
        .await;
        let keys =
            in_pages(async |after| keys_after(&db, after.as_ref(), 2).await.unwrap(), |key| key.id.clone())
                .await;
        let events = async |newest_first: bool| {
            let filter = EventFilter { newest_first, ..EventFilter::default() };
            let read = async |after: Option<u64>| {
                let filter = match newest_first {
                    true => EventFilter { before_seq: after, ..filter.clone() },
                    false => EventFilter { after_seq: after.unwrap_or_default(), ..filter.clone() },
                };
                list_events(&db, &filter, 2).await.unwrap()
            };
            let paged = in_pages(read, |event| event.seq).await;
            (paged, list_events(&db, &filter, 1_000).await.unwrap())
        };

        // then
        let names: Vec<_> = refused
            .iter()
            .map(|view| (view.status.key.to_string(), view.agent_id.to_string(), view.is_held))
            .collect();
        let name = |key: &str, agent: &str, is_held| (key.to_owned(), agent.to_owned(), is_held);
        assert_eq!(
            names,
            [
                name("x.test", "b", true),
                name("x.test", "c", true),
                name("x.test/b", "b", true),
                name("x.test/b", "c", true),
                name("z.test", "a", false),
                name("z.test", "b", false),
                name("z.test", "c", false),
            ]
        );
        let asked: Vec<_> = refused.iter().filter_map(|view| view.container.as_deref()).collect();
        assert_eq!(asked, ["name-c1"; 2], "only for the name that a label has as it is written");
        assert_eq!(refused, refused_views(&db, None, 100).await.unwrap());

        assert_eq!(problems.len(), 9);
        assert!(problems.iter().all(|view| view.container == "name-c1"));
        let told: Vec<_> = problems.iter().map(|view| view.is_refused_route).collect();
        assert_eq!(told, [false, false, false, true, false, false, true, false, false]);
        assert_eq!(problems, container_problem_views(&db, None, 100).await.unwrap());

        assert_eq!(keys.iter().map(|key| key.id.as_str()).collect::<Vec<_>>(), ["k1", "k2", "k3"]);
        for newest_first in [false, true] {
            let (paged, whole) = events(newest_first).await;
            assert_eq!((paged.len(), &paged), (9, &whole));
        }
    })
    .await;
}
