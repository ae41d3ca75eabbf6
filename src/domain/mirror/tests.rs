//! Tables and properties of route decisions.

use std::time::Duration;

use proptest::prelude::*;

use super::super::leap::clock_leap;
use super::super::route::OriginRequest;
use super::*;

const GRACE: TimeDelta = TimeDelta::seconds(600);

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
}

fn service(host: &str, to: &str) -> Service {
    Service {
        key: RouteKey { hostname: format!("{host}.example.com"), path: String::new() },
        service: to.into(),
        origin_request: OriginRequest::default(),
        zone_name: None,
        has_access_labels: false,
    }
}

fn running(name: &str, id: &str, hosts: &[&str]) -> Running {
    Running {
        container_id: ContainerId::new(id),
        container_name: name.into(),
        services: hosts.iter().map(|host| service(host, "http://app")).collect(),
    }
}

/// An agent with its routes, on which decisions are carried out as the store would do it.
struct Host {
    agent_id: AgentId,
    enrolled: bool,
    routes: Vec<Route>,
    others: BTreeMap<String, AgentId>,
    limits: Limits,
}

impl Host {
    fn new() -> Self {
        Self {
            agent_id: AgentId::new("a"),
            enrolled: true,
            routes: vec![],
            others: BTreeMap::new(),
            limits: Limits::default(),
        }
    }

    fn decide(&self, running: &[Running], second: i64) -> Decided {
        decide_routes(&Mirrored {
            agent_id: &self.agent_id,
            enrolled: self.enrolled,
            running,
            routes: &self.routes,
            others: &self.others,
            limits: &self.limits,
            now: at(second),
            grace: GRACE,
        })
    }

    fn sees(&mut self, running: &[Running], second: i64) -> Vec<String> {
        let decided = self.decide(running, second);
        decided.events.iter().for_each(|event| apply(&mut self.routes, event));
        decided.events.iter().map(name_of).collect()
    }

    fn holder(&self, host: &str) -> &str {
        let name = format!("{host}.example.com");
        &self.routes.iter().find(|r| r.spec.key.hostname == name).unwrap().container_name
    }
}

fn name_of(event: &Event) -> String {
    serde_json::to_value(event).unwrap()["type"].as_str().unwrap().to_owned()
}

#[test]
fn a_route_is_claimed_lost_and_restored() {
    let mut host = Host::new();
    let web = [running("web", "1", &["app"])];
    assert_eq!(host.sees(&web, 0), ["route_claimed"]);
    assert!(host.sees(&web, 1).is_empty());
    assert_eq!(host.sees(&[], 2), ["route_lost"]);
    assert_eq!(host.routes[0].state, RouteState::PendingDeletion { due_at: at(602), held: false });
    assert!(host.sees(&[], 300).is_empty(), "the grace period runs on");
    assert_eq!(host.sees(&web, 301), ["route_restored"]);
    assert_eq!(host.routes[0].state, RouteState::Active);
}

#[test]
fn a_container_made_anew_under_its_name_keeps_the_route() {
    let mut host = Host::new();
    host.sees(&[running("web", "1", &["app"])], 0);
    assert_eq!(host.sees(&[running("web", "2", &["app"])], 1), ["route_changed"]);
    host.sees(&[], 2);
    assert_eq!(host.sees(&[running("web", "3", &["app"])], 3), ["route_restored"]);
    let mut moved = running("web", "4", &["app"]);
    moved.services[0].service = "http://other".into();
    host.sees(&[], 4);
    assert_eq!(host.sees(&[moved], 5), ["route_restored", "route_changed"]);
    assert_eq!(host.routes[0].spec.service, "http://other");
}

#[test]
fn changed_labels_release_the_old_name_after_grace_and_claim_the_new_one() {
    let mut host = Host::new();
    host.sees(&[running("web", "1", &["old"])], 0);
    assert_eq!(host.sees(&[running("web", "2", &["new"])], 1), ["route_claimed", "route_lost"]);
}

#[test]
fn of_two_containers_the_holder_keeps_the_route() {
    let mut host = Host::new();
    let (a, b) = (running("a", "1", &["app"]), running("b", "2", &["app"]));
    host.sees(std::slice::from_ref(&b), 0);
    let both = host.decide(&[a.clone(), b.clone()], 1);
    assert!(both.events.is_empty());
    assert_eq!(both.conflicts[0].container_name, "a");
    assert_eq!(both.conflicts[0].reason, ConflictReason::HeldByContainer { by: "b".into() });
    assert_eq!(
        host.sees(&[a], 2),
        ["route_changed"],
        "when the holder goes, the other one takes over at once"
    );
    assert_eq!(host.holder("app"), "a");
}

#[test]
fn two_new_claims_are_settled_by_name() {
    for order in [["a", "b"], ["b", "a"]] {
        let mut host = Host::new();
        host.sees(&order.map(|name| running(name, name, &["app"])), 0);
        assert_eq!(host.holder("app"), "a");
    }
}

#[test]
fn a_name_of_another_agent_is_a_conflict() {
    let mut host = Host::new();
    host.others.insert("app.example.com".into(), AgentId::new("first"));
    let decided = host.decide(&[running("web", "1", &["app", "mine"])], 0);
    assert_eq!(decided.events.len(), 1);
    assert!(decided.conflicts[0].reason.to_string().contains("belongs to agent `first`"));
}

#[test]
fn an_agent_limited_to_patterns_claims_only_those() {
    let mut host = Host::new();
    host.limits.agent = vec!["*.lab.example.com".into()];
    let decided = host.decide(&[running("web", "1", &["app", "x.lab"])], 0);
    assert_eq!((decided.events.len(), decided.conflicts.len()), (1, 1));
    let reason = decided.conflicts[0].reason.to_string();
    assert!(reason.contains("this agent may") && reason.contains("*.lab.example.com"), "{reason}");

    host.limits.key = vec!["x.lab.example.com".into()];
    let decided = host.decide(&[running("web", "1", &["x.lab", "y.lab"])], 0);
    assert_eq!((decided.events.len(), decided.conflicts.len()), (1, 1));
    let reason = decided.conflicts[0].reason.to_string();
    assert!(reason.contains("this agent's key may"), "{reason}");
}

#[test]
fn a_limit_that_comes_later_takes_nothing_away() {
    let mut host = Host::new();
    let web = [running("web", "1", &["app"])];
    host.sees(&web, 0);
    host.limits.agent = vec!["*.lab.example.com".into()];
    assert!(host.sees(&web, 1).is_empty(), "what it publishes stays");
    host.sees(&[], 2);
    assert_eq!(host.sees(&web, 3), ["route_restored"], "for as long as it holds the name");
}

#[test]
fn names_that_change_with_every_look_do_not_pile_up() {
    let mut host = Host::new();
    let look = |turn: usize| -> Vec<Running> {
        let name = |n: usize| format!("h{turn}-{n}");
        let one = |n: usize| running(&name(n), &name(n), &[&name(n)]);
        (0..MAX_HELD / 2).map(one).collect()
    };
    host.sees(&look(0), 0);
    host.sees(&look(1), 1);
    assert_eq!(host.routes.len(), MAX_HELD);

    let decided = host.decide(&look(2), 2);
    assert_eq!(decided.conflicts.len(), MAX_HELD / 2);
    assert!(decided.conflicts[0].reason.to_string().contains("holds 4000 routes"));
    assert!(decided.events.iter().all(|event| matches!(event, Event::RouteLost { .. })));
}

#[test]
fn an_agent_that_is_not_enrolled_decides_nothing() {
    let mut host = Host::new();
    host.sees(&[running("web", "1", &["app"])], 0);
    host.enrolled = false;
    assert_eq!(host.decide(&[running("db", "2", &["db"])], 1), Decided::default());
}

#[test]
fn a_clock_that_went_back_does_not_make_routes_stay_for_ever() {
    let mut host = Host::new();
    host.sees(&[running("web", "1", &["app"])], 0);
    host.sees(&[], 0);
    assert_eq!(host.sees(&[], -100_000), ["route_lost"]);
    assert_eq!(host.routes[0].state, RouteState::PendingDeletion { due_at: at(-99_400), held: false });
    assert!(host.sees(&[], -100_000).is_empty());
}

#[test]
fn a_clock_that_leaps_moves_the_grace_periods_with_it() {
    let mut host = Host::new();
    host.sees(&[running("web", "1", &["app"])], 0);
    host.sees(&[], 0);
    let leap = clock_leap(TimeDelta::seconds(86_460), Duration::from_secs(60)).unwrap();
    for event in postpone(&host.agent_id, &host.routes, leap, at(86_460), Duration::from_secs(600)) {
        apply(&mut host.routes, &event);
    }
    assert_eq!(host.routes[0].state, RouteState::PendingDeletion { due_at: at(87_000), held: false });
}

fn any_running() -> impl Strategy<Value = Vec<Running>> {
    let one = ("[abc]", "[123]", proptest::collection::vec(("[xyz]", "http://[pq]"), 0..3));
    proptest::collection::vec(one, 0..5).prop_map(|containers: Vec<_>| {
        let make = |(name, id, services): (String, String, Vec<(String, String)>)| Running {
            container_id: ContainerId::new(id),
            container_name: name,
            services: services.iter().map(|(host, to)| service(host, to)).collect(),
        };
        let mut ids = BTreeSet::new();
        containers.into_iter().filter(|(_, id, _)| ids.insert(id.clone())).map(make).collect()
    })
}

proptest! {
    #[test]
    fn deciding_twice_decides_nothing_twice(looks in proptest::collection::vec(any_running(), 1..8), foreign in "[xyz]") {
        let mut host = Host::new();
        host.others.insert(format!("{foreign}.example.com"), AgentId::new("other"));
        for (second, look) in looks.iter().enumerate() {
            let before = host.decide(look, second as i64);
            host.sees(look, second as i64);
            let after = host.decide(look, second as i64);
            prop_assert_eq!(&after.events, &vec![]);
            prop_assert_eq!(after.conflicts, before.conflicts);
            // Each wanted key is held, active and ours, or a conflict; nothing else is active.
            for container in look {
                for wanted in &container.services {
                    let held = host.routes.iter().any(|r| r.spec.key == wanted.key && r.state == RouteState::Active);
                    prop_assert_eq!(held, wanted.key.hostname != format!("{foreign}.example.com"));
                }
            }
            for route in host.routes.iter().filter(|r| r.state == RouteState::Active) {
                prop_assert!(look.iter().any(|c| c.container_name == route.container_name
                    && c.services.contains(&route.spec)));
            }
            let keys: BTreeSet<_> = host.routes.iter().map(|r| &r.spec.key).collect();
            prop_assert_eq!(keys.len(), host.routes.len());
        }
    }
}
