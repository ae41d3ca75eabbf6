//! Tables and properties of route decisions.

use std::time::Duration;

use proptest::prelude::*;

use super::super::access::AccessAsk;
use super::super::guard;
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
        access: AccessAsk::Nothing,
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
    others: BTreeMap<String, Holder>,
    ruled: BTreeSet<String>,
    limits: Limits,
    ended: BTreeMap<ContainerId, String>,
    turns: BTreeMap<RouteKey, Vec<DateTime<Utc>>>,
    away: BTreeMap<RouteKey, Away>,
}

impl Host {
    fn new() -> Self {
        Self {
            agent_id: AgentId::new("a"),
            enrolled: true,
            routes: vec![],
            others: BTreeMap::new(),
            ruled: BTreeSet::new(),
            limits: Limits::default(),
            ended: BTreeMap::new(),
            turns: BTreeMap::new(),
            away: BTreeMap::new(),
        }
    }

    fn decide(&self, running: &[Running], second: i64) -> Decided {
        decide_routes(&Mirrored {
            agent_id: &self.agent_id,
            enrolled: self.enrolled,
            running,
            routes: &self.routes,
            ended: &self.ended,
            others: &self.others,
            ruled: &self.ruled,
            turns: &self.turns,
            away: &self.away,
            limits: &self.limits,
            now: at(second),
            grace: GRACE,
        })
    }

    fn sees(&mut self, running: &[Running], second: i64) -> Vec<String> {
        let decided = self.decide(running, second);
        for event in &decided.events {
            follow(&mut self.routes, event);
            if let Some(key) = turn(event) {
                self.turns.entry(key.clone()).or_default().push(at(second));
            }
        }
        self.turns.values_mut().for_each(|times| times.retain(|time| at(second) - *time < TURNS_WINDOW));
        self.away = decided.away;
        self.ended.clear();
        decided.events.iter().map(name_of).collect()
    }

    /// The Engine says that a container ended; the others run on.
    fn ends(&mut self, ended: &Running, others: &[Running], second: i64) -> Vec<String> {
        self.ended.insert(ended.container_id.clone(), ended.container_name.clone());
        self.sees(others, second)
    }

    fn state(&self, host: &str) -> &RouteState {
        let name = format!("{host}.example.com");
        &self.routes.iter().find(|r| r.spec.key.hostname == name).unwrap().state
    }

    fn holder(&self, host: &str) -> &str {
        let name = format!("{host}.example.com");
        &self.routes.iter().find(|r| r.spec.key.hostname == name).unwrap().container_name
    }
}

fn name_of(event: &RouteEvent) -> String {
    serde_json::to_value(event).unwrap()["type"].as_str().unwrap().to_owned()
}

#[test]
fn a_route_is_claimed_lost_and_restored() {
    let mut host = Host::new();
    let web = [running("web", "1", &["app"])];
    assert_eq!(host.sees(&web, 0), ["route_claimed"]);
    assert!(host.sees(&web, 1).is_empty());
    assert_eq!(host.sees(&[], 2), ["route_lost"]);
    assert_eq!(
        host.routes[0].state,
        RouteState::PendingDeletion { due_at: at(602), held: false, explained: false }
    );
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
    let (mut a, b) = (running("a", "1", &["app"]), running("b", "2", &["app"]));
    a.services[0].service = "http://elsewhere".into();
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
    host.others.insert("app.example.com".into(), held_by("first", None));
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
    assert!(decided.events.iter().all(|event| matches!(event, RouteEvent::Lost { .. })));
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
    assert_eq!(
        host.routes[0].state,
        RouteState::PendingDeletion { due_at: at(-99_400), held: false, explained: false }
    );
    assert!(host.sees(&[], -100_000).is_empty());
}

#[test]
fn a_clock_that_leaps_moves_the_grace_periods_with_it() {
    let mut host = Host::new();
    host.sees(&[running("web", "1", &["app"])], 0);
    host.sees(&[], 0);
    let leap = clock_leap(TimeDelta::seconds(86_460), Duration::from_secs(60)).unwrap();
    for event in postpone(&host.agent_id, &host.routes, leap, at(86_460), Duration::from_secs(600)) {
        follow(&mut host.routes, &event);
    }
    assert_eq!(
        host.routes[0].state,
        RouteState::PendingDeletion { due_at: at(87_000), held: false, explained: false }
    );
}

#[test]
fn a_name_with_a_rule_of_a_person_is_no_containers_until_the_rule_goes() {
    let mut host = Host::new();
    host.ruled.insert("app.example.com".into());
    let asks = [running("web", "c1", &["app", "free"])];
    let decided = host.decide(&asks, 0);
    let claimed: Vec<&str> = decided.events.iter().map(|event| event.route().hostname.as_str()).collect();
    assert_eq!(claimed, ["free.example.com"]);
    let [conflict] = &decided.conflicts[..] else { panic!("one conflict: {:?}", decided.conflicts) };
    let said = conflict.reason.to_string();
    assert!(said.contains("`app.example.com` has a rule") && said.contains("lightship rules"), "{said}");

    host.ruled.clear();
    assert!(host.decide(&asks, 1).conflicts.is_empty());
}

fn held_by(agent: &str, given_up_at: Option<DateTime<Utc>>) -> Holder {
    Holder { agent: AgentId::new(agent), given_up_at }
}

#[test]
fn a_name_that_nobody_asks_for_any_more_moves_to_the_agent_that_does() {
    let mut host = Host::new();
    let web = [running("web", "1", &["app"])];
    let name = "app.example.com";
    host.others.insert(name.into(), held_by("first", Some(at(100))));
    for (second, expected) in [(100, Some(105)), (104, Some(105)), (105, None), (900, None)] {
        let decided = host.decide(&web, second);
        assert_eq!(decided.look_again, expected.map(at), "{second}");
        assert_eq!(decided.conflicts.len(), usize::from(expected.is_some()), "{second}");
        let claimed: Vec<_> = decided.events.iter().map(name_of).collect();
        let taken = BTreeMap::from([(name.to_owned(), AgentId::new("first"))]);
        if expected.is_none() {
            assert_eq!((claimed, decided.taken), (vec!["route_claimed".into()], taken), "{second}");
        } else {
            assert_eq!((claimed, decided.taken), (vec![], BTreeMap::new()), "{second}");
            assert!(decided.conflicts[0].reason.to_string().contains("in a moment"));
        }
    }
    host.limits.agent = vec!["*.lab.example.com".into()];
    let decided = host.decide(&web, 900);
    assert!(decided.events.is_empty() && decided.taken.is_empty(), "patterns protect it all the same");
}

#[test]
fn copies_of_one_service_share_its_route() {
    let mut host = Host::new();
    let copies = ["1", "2", "3"].map(|n| running(&format!("web-{n}"), n, &["app"]));
    assert_eq!(host.sees(&copies, 0), ["route_claimed"]);
    assert!(host.decide(&copies, 1).conflicts.is_empty());
    // The one that carries it ends: another one does, and what is published stays as it is.
    let before = host.routes[0].spec.clone();
    assert_eq!(host.ends(&copies[0], &copies[1..], 2), ["route_changed"]);
    assert_eq!(
        (&host.routes[0].spec, host.state("app"), host.holder("app")),
        (&before, &RouteState::Active, "web-2")
    );
    assert_eq!(host.sees(&[], 3), ["route_lost"]);
}

#[test]
fn a_copy_that_asks_for_something_else_is_a_conflict() {
    let differing: [fn(&mut Service); 3] = [
        |service| service.service = "http://other".into(),
        |service| service.access = AccessAsk::Public,
        |service| service.origin_request.http2_origin = Some(true),
    ];
    for differ in differing {
        let mut host = Host::new();
        let mut copies = ["1", "2"].map(|n| running(&format!("web-{n}"), n, &["app"]));
        differ(&mut copies[1].services[0]);
        host.sees(&copies, 0);
        assert_eq!(host.decide(&copies, 1).conflicts.len(), 1);
    }
}

#[test]
fn after_a_copy_that_asks_for_the_same_comes_one_that_asks_for_something_else() {
    let mut host = Host::new();
    let mut copies = ["1", "2", "3"].map(|n| running(&format!("web-{n}"), n, &["app"]));
    copies[1].services[0].service = "http://other".into();
    host.sees(&copies[..1], 0);
    host.ends(&copies[0], &copies[1..], 1);
    assert_eq!(host.holder("app"), "web-3", "what is published stays as it is");
}

#[test]
fn a_recreation_that_failed_half_way_keeps_its_route() {
    let mut host = Host::new();
    let old = running("shop", "a", &["shop"]);
    host.sees(std::slice::from_ref(&old), 0);
    let (renamed, new) = (running("aaaaaaaaaaaa_shop", "a", &["shop"]), running("shop", "b", &["shop"]));
    host.sees(&[renamed.clone(), new.clone()], 1);
    assert_eq!(host.holder("shop"), "aaaaaaaaaaaa_shop");
    assert!(host.decide(&[renamed, new.clone()], 1).conflicts.is_empty());
    assert_eq!(host.sees(&[new], 2), ["route_changed"]);
    assert_eq!((host.holder("shop"), host.state("shop")), ("shop", &RouteState::Active));
}

#[test]
fn a_loss_is_explained_by_the_engines_word_and_by_nothing_else() {
    let due = |explained| RouteState::PendingDeletion { due_at: at(601), held: false, explained };
    let web = running("web", "1", &["app"]);
    let began = || {
        let mut host = Host::new();
        host.sees(std::slice::from_ref(&web), 0);
        host
    };
    let mut host = began();
    host.ends(&web, &[], 1);
    assert_eq!(host.state("app"), &due(true));
    assert!(host.sees(&[], 2).is_empty(), "a list afterwards takes no explanation away");

    let mut host = began();
    host.sees(&[], 1);
    assert_eq!(host.state("app"), &due(false));
    assert_eq!(host.ends(&web, &[], 2), ["route_lost"], "the word came after the list");
    assert_eq!(host.state("app"), &due(true));

    host.sees(std::slice::from_ref(&web), 3);
    host.sees(&[], 4);
    assert!(
        matches!(host.state("app"), RouteState::PendingDeletion { explained: false, .. }),
        "that was before"
    );
}

#[test]
fn a_container_that_crashes_all_night_costs_a_bounded_number_of_events() {
    for (name, pause) in [("at once", 1), ("after the Engine's longest pause", 60)] {
        let mut host = Host::new();
        let web = running("web", "1", &["app"]);
        let mut per_hour: BTreeMap<i64, usize> = BTreeMap::new();
        let (mut second, night) = (0, 10 * 3_600);
        while second < night {
            let written =
                host.sees(std::slice::from_ref(&web), second).len() + host.ends(&web, &[], second + 12).len();
            *per_hour.entry(second / 3_600).or_default() += written;
            second += 12 + pause;
        }
        let most = per_hour.values().max().copied().unwrap_or_default();
        assert!(most <= 2 * MOST_TURNS + 2, "{name}: {most} in an hour");
        host.sees(std::slice::from_ref(&web), second);
        assert_eq!(host.state("app"), &RouteState::Active, "{name}: it stays");
    }
}

#[test]
fn a_container_made_anew_all_night_costs_no_more() {
    let mut host = Host::new();
    let mut written = 0;
    for turn in 0..3_600 {
        let (name, id) = (format!("web-{}", turn % 2), turn.to_string());
        written += host.sees(&[running(&name, &id, &["app"])], turn).len();
    }
    assert!(written <= MOST_TURNS + 1, "{written}");
}

#[test]
fn a_restless_route_is_lost_once_its_container_stays_away() {
    let mut host = Host::new();
    let web = running("web", "1", &["app"]);
    let mut second = 0;
    for _ in 0..20 {
        host.sees(std::slice::from_ref(&web), second);
        host.ends(&web, &[], second + 12);
        second += 13;
    }
    let gone = second - 1;
    assert_eq!(host.decide(&[], gone + 1).look_again, Some(at(gone + 120)));
    assert!(host.sees(&[], gone + 119).is_empty());
    assert_eq!(host.sees(&[], gone + 120), ["route_lost"]);
    let due_at = at(gone + 720);
    assert_eq!(host.state("app"), &RouteState::PendingDeletion { due_at, held: false, explained: true });
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
        host.others.insert(format!("{foreign}.example.com"), held_by("other", None));
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
    #[test]
    fn no_single_list_removes_more_than_the_guard_allows(
        hosts in proptest::collection::vec((any::<bool>(), any::<bool>()), 1..30),
        is_list_first in any::<bool>(),
        is_lost in any::<bool>(),
    ) {
        // given: containers, of each whether it is stopped and whether the list leaves it out
        let all: Vec<Running> =
            (0..hosts.len()).map(|n| running(&format!("c{n}"), &n.to_string(), &[&format!("h{n}")])).collect();
        let mut host = Host::new();
        host.sees(&all, 0);
        let stopped = |n: usize| hosts[n].0;
        let missing = |n: usize| is_lost || hosts[n].1;
        // when: the Engine says one by one which were stopped, and one list, whole, cut or empty, says what runs
        let list: Vec<Running> =
            (0..all.len()).filter(|n| !missing(*n) && !stopped(*n)).map(|n| all[n].clone()).collect();
        let mut runs = if is_list_first { list.clone() } else { all.clone() };
        host.sees(&runs, 1);
        for n in (0..all.len()).filter(|n| stopped(*n)) {
            runs.retain(|one| one.container_id != all[n].container_id);
            host.ends(&all[n], &runs, 2);
        }
        host.sees(&list, 3);
        // then
        let (mut explained, mut unexplained, mut lately) = (0, 0, Vec::new());
        for second in (600..1_300).step_by(10) {
            for event in guard::decide_due(&host.agent_id, &host.routes, &lately, true, at(second)) {
                if let RouteEvent::Released { why, .. } = &event {
                    match why.is_unexplained() {
                        true => { unexplained += 1; lately.push(at(second)); }
                        false => explained += 1,
                    }
                }
                follow(&mut host.routes, &event);
            }
        }
        prop_assert_eq!(explained, (0..all.len()).filter(|n| stopped(*n)).count());
        prop_assert!(unexplained == 0 || !guard::is_too_many(unexplained, all.len()), "{} of {}", unexplained, all.len());
    }
}
