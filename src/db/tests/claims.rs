//! One agent per hostname, key and tunnel; and what becomes of agents, keys, routes and commands.

use super::support::*;
use crate::db::agents::get_agent;
use crate::db::cloudflare::{RouteStatusRow, list_route_status};
use crate::db::commands::{get_command, list_agents_with_open_commands, list_open_commands};
use crate::db::due::{Due, DueKind, list_due, next_due_after};
use crate::db::keys::{find_key, load_keys};
use crate::db::manual_rules::{Claimant, find_claimant, status_of_rules};
use crate::db::routes::{find_claim, find_route, list_agent_routes, list_claims};
use crate::db::tunnels::get_tunnel;
use crate::db::{Batch, CommitError, Db, Expected, RowChange, SaidBy};
use crate::domain::agent::{AgentStatus, KeyStatus};
use crate::domain::command::{CommandStatus, Outcome};
use crate::domain::event::{AgentEvent, CommandEvent, Event, KeyEvent, RouteEvent, RuleEvent, Stream};
use crate::domain::id::{CommandId, ContainerId, KeyId, TunnelId};
use crate::domain::manual_rule::ManualRule;
use crate::domain::route::{Route, RouteState};

async fn routes(db: &Db, name: &str, events: Vec<Event>) -> Result<(), CommitError> {
    commit(db, Stream::routes(&agent(name)), events).await.map(|_| ())
}

#[tokio::test]
async fn a_hostname_belongs_to_who_claimed_it_first_until_its_last_route_goes() {
    on_every_engine(async |db| {
        routes(&db, "a", vec![claimed("a", "x.test", ""), claimed("a", "x.test", "/api")]).await.unwrap();

        let second = routes(&db, "b", vec![claimed("b", "x.test", "/other")]).await.unwrap_err();
        assert!(matches!(&second, CommitError::Claimed { hostname, by } if hostname == "x.test" && *by == agent("a")));

        routes(&db, "a", vec![released("a", "x.test", "")]).await.unwrap();
        assert!(routes(&db, "b", vec![claimed("b", "x.test", "/other")]).await.is_err());
        assert_eq!(find_claim(&db, "x.test").await.unwrap(), Some(agent("a")));

        routes(&db, "a", vec![released("a", "x.test", "/api")]).await.unwrap();
        assert_eq!(find_claim(&db, "x.test").await.unwrap(), None);
        routes(&db, "b", vec![claimed("b", "x.test", "/other")]).await.unwrap();
        let held = list_claims(&db, &["x.test".into(), "free.test".into()]).await.unwrap();
        assert_eq!(held, [("x.test".to_owned(), agent("b"))]);
    })
    .await;
}

#[tokio::test]
async fn of_two_claims_in_one_group_the_first_wins() {
    on_every_engine(async |db| {
        let claim = |name: &str| batch(Stream::routes(&agent(name)), vec![claimed(name, "x.test", "")]);

        let outcomes = db.commit_many(vec![claim("a"), claim("b")]).await;

        assert!(outcomes[0].is_ok());
        assert!(matches!(&outcomes[1], Err(CommitError::Claimed { by, .. }) if *by == agent("a")));
        assert!(list_agent_routes(&db, &agent("b")).await.unwrap().is_empty());
    })
    .await;
}

#[tokio::test]
async fn nobody_can_touch_another_agents_route() {
    on_every_engine(async |db| {
        routes(&db, "a", vec![claimed("a", "x.test", "")]).await.unwrap();

        routes(&db, "b", vec![lost("b", "x.test", at(9)), released("b", "x.test", "")]).await.unwrap();

        let route = find_route(&db, &route_key("x.test", "")).await.unwrap().unwrap().route;
        assert_eq!((route.agent_id, route.state), (agent("a"), RouteState::Active));
    })
    .await;
}

#[tokio::test]
async fn a_key_and_a_tunnel_belong_to_one_agent() {
    on_every_engine(async |db| {
        commit(&db, Stream::keys(), vec![key_made("k1")]).await.unwrap();
        let a = Stream::agent(&agent("a"));
        let b = Stream::agent(&agent("b"));
        commit(&db, a.clone(), vec![registered("a", "k1"), enrolled("a", "t1")]).await.unwrap();

        let same_key = commit(&db, b.clone(), vec![registered("b", "k1")]).await.unwrap_err();
        commit(&db, b.clone(), vec![registered("b", "k2")]).await.unwrap();
        let same_tunnel = commit(&db, b.clone(), vec![enrolled("b", "t1")]).await.unwrap_err();
        let rolled = Event::Agent(AgentEvent::KeyRolled { agent_id: agent("b"), key_id: KeyId::new("k1") });
        let rolled = commit(&db, b.clone(), vec![rolled]).await.unwrap_err();

        assert!(matches!(same_key, CommitError::KeyTaken { by, .. } if by == agent("a")));
        assert!(matches!(same_tunnel, CommitError::TunnelTaken { by, .. } if by == agent("a")));
        assert!(matches!(rolled, CommitError::KeyTaken { by, .. } if by == agent("a")));
        let key = find_key(&db, &KeyId::new("k1")).await.unwrap().unwrap();
        assert_eq!((key.bound_agent_id, key.status), (Some(agent("a")), KeyStatus::Active));

        commit(&db, a, vec![Event::Agent(AgentEvent::Removed { agent_id: agent("a") })]).await.unwrap();
        commit(&db, b, vec![enrolled("b", "t1")]).await.unwrap();
        assert_eq!(get_tunnel(&db, &TunnelId::new("t1")).await.unwrap().agent_id, Some(agent("b")));
    })
    .await;
}

#[tokio::test]
async fn a_removed_agent_frees_its_names_its_tunnel_and_its_key() {
    on_every_engine(async |db| {
        let stream = Stream::agent(&agent("a"));
        commit(&db, stream.clone(), vec![registered("a", "k1"), enrolled("a", "t1")]).await.unwrap();
        routes(&db, "a", vec![claimed("a", "x.test", "")]).await.unwrap();
        assert_eq!(routes_in(&db, "t1").await.len(), 1);

        commit(&db, stream, vec![Event::Agent(AgentEvent::Removed { agent_id: agent("a") })]).await.unwrap();

        let row = get_agent(&db, &agent("a")).await.unwrap();
        assert_eq!((row.status, row.key_id), (AgentStatus::Removed, None));
        assert_eq!(row.tunnel_id, Some(TunnelId::new("t1")), "what has to be withdrawn is still known");
        assert_eq!(find_claim(&db, "x.test").await.unwrap(), None);
        assert!(routes_in(&db, "t1").await.is_empty());
        assert_eq!(get_tunnel(&db, &TunnelId::new("t1")).await.unwrap().agent_id, None);
    })
    .await;
}

#[tokio::test]
async fn a_revoked_agent_comes_back_as_what_it_was_with_a_new_key() {
    on_every_engine(async |db| {
        let stream = Stream::agent(&agent("a"));
        commit(&db, Stream::keys(), vec![key_made("k1"), key_made("k2")]).await.unwrap();
        commit(&db, stream.clone(), vec![registered("a", "k1"), enrolled("a", "t1")]).await.unwrap();
        let revoke = Event::Key(KeyEvent::Revoked { key_id: KeyId::new("k1") });
        commit(&db, Stream::keys(), vec![revoke]).await.unwrap();
        let revoked = Event::Agent(AgentEvent::Revoked { agent_id: agent("a"), key_id: KeyId::new("k1") });
        commit(&db, stream.clone(), vec![revoked]).await.unwrap();
        assert_eq!(get_agent(&db, &agent("a")).await.unwrap().status, AgentStatus::Revoked);

        let rolled = Event::Agent(AgentEvent::KeyRolled { agent_id: agent("a"), key_id: KeyId::new("k2") });
        commit(&db, stream, vec![rolled]).await.unwrap();

        let row = get_agent(&db, &agent("a")).await.unwrap();
        assert_eq!((row.status, row.key_id), (AgentStatus::Enrolled, Some(KeyId::new("k2"))));
        let keys = load_keys(&db).await.unwrap();
        let old = keys.iter().find(|key| key.id == KeyId::new("k1")).unwrap();
        assert_eq!((old.status, old.revoked_at), (KeyStatus::Revoked, Some(at(0))));
    })
    .await;
}

#[tokio::test]
async fn a_persons_name_for_an_agent_outlives_the_agents_own() {
    on_every_engine(async |db| {
        let renamed =
            Event::Agent(AgentEvent::Renamed { agent_id: agent("a"), display_name: "kitchen".into() });
        let updated = Event::Agent(AgentEvent::Updated {
            agent_id: agent("a"),
            display_name: "dockflare-agent".into(),
            version: Some("0.2.0".into()),
        });
        let events = vec![registered("a", "k1"), renamed, updated];
        commit(&db, Stream::agent(&agent("a")), events).await.unwrap();

        let row = get_agent(&db, &agent("a")).await.unwrap();
        assert_eq!((row.display_name.as_str(), row.custom_name), ("kitchen", true));
        assert_eq!(row.version.as_deref(), Some("0.2.0"));
    })
    .await;
}

#[tokio::test]
async fn a_command_keeps_all_that_became_of_it() {
    on_every_engine(async |db| {
        let stream = Stream::commands(&agent("a"));
        let id = CommandId::new("c1");
        commit(&db, stream.clone(), vec![queued("a", "c1", at(600)), queued("a", "c0", at(600))])
            .await
            .unwrap();
        assert_eq!(list_agents_with_open_commands(&db).await.unwrap(), [agent("a")]);
        let order: Vec<_> = list_open_commands(&db, &agent("a")).await.unwrap();
        assert_eq!(order.iter().map(|c| c.id.as_str()).collect::<Vec<_>>(), ["c1", "c0"]);

        let delivered = Event::Command(CommandEvent::Delivered {
            agent_id: agent("a"),
            command_id: id.clone(),
            attempt: 1,
            lease_until: at(90),
        });
        commit(&db, stream.clone(), vec![delivered]).await.unwrap();
        let command = get_command(&db, &id).await.unwrap().command;
        assert_eq!((command.status, command.attempt), (CommandStatus::Delivered, 1));
        assert_eq!((command.delivered_at, command.lease_until), (Some(at(0)), Some(at(90))));

        let outcome = Outcome { succeeded: false, message: "no such image".into(), finished_at: Some(at(5)) };
        let finished = Event::Command(CommandEvent::Finished {
            agent_id: agent("a"),
            command_id: id.clone(),
            outcome: outcome.clone(),
        });
        commit(&db, stream, vec![finished]).await.unwrap();
        let command = get_command(&db, &id).await.unwrap().command;
        assert_eq!((command.status, command.outcome), (CommandStatus::Failed, Some(outcome)));
        assert_eq!(list_open_commands(&db, &agent("a")).await.unwrap().len(), 1);
    })
    .await;
}

#[tokio::test]
async fn the_scheduler_sees_grace_leases_and_expiry_but_no_held_route() {
    on_every_engine(async |db| {
        let commands = Stream::commands(&agent("a"));
        routes(&db, "a", vec![claimed("a", "x.test", ""), lost("a", "x.test", at(100))]).await.unwrap();
        routes(&db, "b", vec![claimed("b", "y.test", ""), lost("b", "y.test", at(50))]).await.unwrap();
        let held = Event::Route(RouteEvent::Held { agent_id: agent("b"), route: route_key("y.test", "") });
        routes(&db, "b", vec![held]).await.unwrap();
        commit(&db, commands.clone(), vec![queued("a", "c1", at(70))]).await.unwrap();

        assert_eq!(next_due_after(&db, at(0)).await.unwrap(), Some(at(70)));
        assert!(list_due(&db, at(69), 10).await.unwrap().is_empty());
        let due = list_due(&db, at(100), 10).await.unwrap();
        let route = Due { agent_id: agent("a"), kind: DueKind::Route, at: at(100) };
        assert_eq!(due, [route, Due { agent_id: agent("a"), kind: DueKind::Command, at: at(70) }]);

        let expired =
            Event::Command(CommandEvent::Expired { agent_id: agent("a"), command_id: CommandId::new("c1") });
        commit(&db, commands, vec![expired]).await.unwrap();
        let key = route_key("x.test", "");
        let back = Event::Route(RouteEvent::Restored {
            agent_id: agent("a"),
            route: key,
            container_id: ContainerId::new("c2"),
        });
        routes(&db, "a", vec![back]).await.unwrap();
        assert_eq!(next_due_after(&db, at(0)).await.unwrap(), None);
        assert_eq!(
            list_agent_routes(&db, &agent("a")).await.unwrap()[0].container_id,
            ContainerId::new("c2")
        );
    })
    .await;
}

#[tokio::test]
async fn a_batch_may_write_several_streams_or_none_of_them() {
    on_every_engine(async |db| {
        routes(&db, "b", vec![claimed("b", "x.test", "")]).await.unwrap();
        let both = Batch::new("ops", at(0))
            .append(Stream::agent(&agent("a")), Expected::Version(0), vec![registered("a", "k1")])
            .append(Stream::routes(&agent("a")), Expected::Version(0), vec![claimed("a", "x.test", "")]);

        assert!(matches!(db.commit(both).await, Err(CommitError::Claimed { .. })));

        assert!(crate::db::agents::find_agent(&db, &agent("a")).await.unwrap().is_none());
    })
    .await;
}

fn ruled(tunnel: &str, hostname: &str, path: &str) -> Event {
    let rule = ManualRule { tunnel_id: TunnelId::new(tunnel), spec: service(hostname, path) };
    Event::Rule(RuleEvent::Set { rule: Box::new(rule) })
}

fn unruled(tunnel: &str, hostname: &str, path: &str) -> Event {
    Event::Rule(RuleEvent::Removed { tunnel_id: TunnelId::new(tunnel), route: route_key(hostname, path) })
}

async fn rules(db: &Db, events: Vec<Event>) -> Result<(), CommitError> {
    commit(db, Stream::rules(), events).await.map(|_| ())
}

#[tokio::test]
async fn a_hostname_is_an_agents_or_has_rules_of_people_in_one_tunnel() {
    on_every_engine(async |db| {
        routes(&db, "a", vec![claimed("a", "x.test", "/api")]).await.unwrap();
        rules(&db, vec![ruled("t", "y.test", ""), ruled("t", "y.test", "/api")]).await.unwrap();
        assert_eq!(find_claimant(&db, "x.test").await.unwrap(), Some(Claimant::Agent(agent("a"))));
        assert_eq!(find_claimant(&db, "y.test").await.unwrap(), Some(Claimant::Rule(TunnelId::new("t"))));
        assert_eq!(find_claimant(&db, "z.test").await.unwrap(), None);

        let held = rules(&db, vec![ruled("t", "x.test", "")]).await.unwrap_err();
        assert!(matches!(&held, CommitError::Claimed { by, .. } if *by == agent("a")), "{held}");
        let has_rule = routes(&db, "a", vec![claimed("a", "y.test", "/other")]).await.unwrap_err();
        assert!(
            matches!(&has_rule, CommitError::ClaimedByRule { hostname, .. } if hostname == "y.test"),
            "{has_rule}"
        );
        let elsewhere = rules(&db, vec![ruled("u", "y.test", "/other")]).await.unwrap_err();
        assert!(
            matches!(&elsewhere, CommitError::ClaimedByRule { tunnel_id, .. } if tunnel_id.as_str() == "t"),
            "{elsewhere}"
        );

        // The name changes hands in one transaction, both ways.
        let taken = Batch::new("ann", at(1))
            .append(Stream::routes(&agent("a")), Expected::Head, vec![released("a", "x.test", "/api")])
            .append(Stream::rules(), Expected::Head, vec![ruled("t", "x.test", "")]);
        db.commit(taken).await.unwrap();
        assert_eq!(find_claimant(&db, "x.test").await.unwrap(), Some(Claimant::Rule(TunnelId::new("t"))));
        rules(&db, vec![unruled("u", "x.test", ""), unruled("t", "y.test", "")]).await.unwrap();
        assert!(
            routes(&db, "a", vec![claimed("a", "x.test", "")]).await.is_err(),
            "no rule of that tunnel went"
        );
        assert!(
            routes(&db, "a", vec![claimed("a", "y.test", "")]).await.is_err(),
            "another rule has it still"
        );
        rules(&db, vec![unruled("t", "x.test", ""), unruled("t", "y.test", "/api")]).await.unwrap();
        routes(&db, "a", vec![claimed("a", "x.test", ""), claimed("a", "y.test", "")]).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn what_is_said_of_a_rule_counts_only_while_it_is_there() {
    on_every_engine(async |db| {
        let says = |hostname: &str| {
            let RowChange::PutRouteStatus(row) = said("a", hostname, "published") else { unreachable!() };
            Batch::new("system", at(1))
                .row(RowChange::PutRouteStatus(RouteStatusRow { agent_id: None, ..row }))
        };
        rules(&db, vec![ruled("t", "x.test", "")]).await.unwrap();
        db.commit(says("x.test")).await.unwrap();
        db.commit(says("y.test")).await.unwrap();
        let of_rule = ("rule".to_owned(), "x.test".to_owned());
        assert_eq!(spoken_of(&db).await, std::slice::from_ref(&of_rule));
        assert_eq!(status_of_rules(&db, &["x.test".into()]).await.unwrap().len(), 1);
        db.rebuild().await.unwrap();
        assert_eq!(spoken_of(&db).await, [of_rule]);

        let forget = RowChange::DeleteRouteStatus {
            agent_id: None,
            key: route_key("x.test", ""),
            said_by: SaidBy::Publisher,
        };
        db.commit(batch(Stream::rules(), vec![unruled("t", "x.test", "")]).row(forget)).await.unwrap();
        db.commit(says("x.test")).await.unwrap();
        assert!(spoken_of(&db).await.is_empty());
    })
    .await;
}

fn said(name: &str, hostname: &str, state: &str) -> RowChange {
    RowChange::PutRouteStatus(RouteStatusRow {
        agent_id: Some(agent(name)),
        key: route_key(hostname, ""),
        state: state.into(),
        reason: None,
        cause: None,
        answer: None,
        updated_at: at(1),
    })
}

async fn spoken_of(db: &Db) -> Vec<(String, String)> {
    let rows = list_route_status(db, None, 10).await.unwrap();
    let whose = |row: &RouteStatusRow| row.agent_id.as_ref().map_or("rule".into(), ToString::to_string);
    rows.into_iter().map(|row| (whose(&row), row.key.hostname)).collect()
}

#[tokio::test]
async fn what_is_said_of_a_route_counts_only_while_its_agent_holds_it() {
    on_every_engine(async |db| {
        routes(&db, "a", vec![claimed("a", "x.test", ""), claimed("a", "y.test", "")]).await.unwrap();
        let says = |rows: &[RowChange]| Batch { rows: rows.to_vec(), ..Batch::new("system", at(1)) };
        let both = [said("a", "x.test", "published"), said("a", "y.test", "publishing")];
        db.commit(says(&both)).await.unwrap();
        db.commit(says(&[said("b", "x.test", "published"), said("b", "y.test", "conflict")])).await.unwrap();
        let of = |name: &str, hostname: &str| (name.to_owned(), hostname.to_owned());
        let refused = of("b", "y.test");
        assert_eq!(spoken_of(&db).await, [of("a", "x.test"), of("a", "y.test"), refused.clone()]);

        // Whoever looked before the release is late, in the same group of commits too.
        let release = |hostname| batch(Stream::routes(&agent("a")), vec![released("a", hostname, "")]);
        let late = [release("x.test"), says(&[said("a", "x.test", "published")])];
        assert!(db.commit_many(late.into()).await.iter().all(Result::is_ok));
        db.commit(release("y.test")).await.unwrap();
        db.commit(says(&[said("a", "y.test", "failed")])).await.unwrap();

        assert_eq!(spoken_of(&db).await, [refused]);
    })
    .await;
}

#[tokio::test]
async fn what_one_says_of_a_route_is_not_taken_back_by_the_other_who_is_late() {
    on_every_engine(async |db| {
        // given: a route that was published was taken over, and its agent's side has noticed
        routes(&db, "a", vec![claimed("a", "x.test", "")]).await.unwrap();
        let says = |row: RowChange| Batch::new("system", at(1)).row(row);
        db.commit(says(said("a", "x.test", "published"))).await.unwrap();
        let taken = vec![released("a", "x.test", "")];
        db.commit(batch(Stream::routes(&agent("a")), taken)).await.unwrap();
        db.commit(says(said("a", "x.test", "conflict"))).await.unwrap();
        let forget = |said_by| {
            says(RowChange::DeleteRouteStatus {
                agent_id: Some(agent("a")),
                key: route_key("x.test", ""),
                said_by,
            })
        };
        let state = async || list_route_status(&db, None, 10).await.unwrap().pop().map(|row| row.state);

        // when: who publishes is at work still on what was there before
        db.commit(forget(SaidBy::Publisher)).await.unwrap();
        db.commit(says(said("a", "x.test", "failed"))).await.unwrap();

        // then, and the other way round
        assert_eq!(state().await.as_deref(), Some("conflict"));
        routes(&db, "b", vec![claimed("b", "x.test", "")]).await.unwrap();
        db.commit(says(said("b", "x.test", "published"))).await.unwrap();
        db.commit(forget(SaidBy::Mirror)).await.unwrap();
        assert_eq!(state().await.as_deref(), Some("published"));
        let of_b = RowChange::DeleteRouteStatus {
            agent_id: Some(agent("b")),
            key: route_key("x.test", ""),
            said_by: SaidBy::Mirror,
        };
        db.commit(says(of_b)).await.unwrap();
        assert_eq!(state().await.as_deref(), Some("published"));
    })
    .await;
}

#[tokio::test]
async fn nothing_is_said_of_what_a_removed_agent_asked_for() {
    on_every_engine(async |db| {
        let stream = Stream::agent(&agent("a"));
        let removed = Event::Agent(AgentEvent::Removed { agent_id: agent("a") });
        commit(&db, stream, vec![registered("a", "k1"), removed]).await.unwrap();

        db.commit(Batch::new("system", at(1)).row(said("a", "x.test", "conflict"))).await.unwrap();

        assert!(spoken_of(&db).await.is_empty());
    })
    .await;
}

/// The routes that a tunnel's configuration should hold.
async fn routes_in(db: &Db, tunnel: &str) -> Vec<Route> {
    match get_tunnel(db, &TunnelId::new(tunnel)).await.unwrap().agent_id {
        Some(agent) => list_agent_routes(db, &agent).await.unwrap(),
        None => Vec::new(),
    }
}
