//! The brake on mass removal: what is due goes at once only if it is little.
//!
//! A host whose Engine lost its containers, a mistyped label prefix or an emptied compose file must not take
//! a whole site down while nobody looks. So removals that fall due close together are counted together: those
//! of the last minute, those due now and those due within the next minute. Too many of them wait for a person.
//!
//! What the Engine said itself, container by container, is no such mishap: somebody stopped them. Those go without a
//! question, and are not counted, while their agent is heard. An agent that fell silent after them tells of a host that
//! was switched off, and nobody meant its names to go.

use chrono::{DateTime, TimeDelta, Utc};

use super::event::RouteEvent;
use super::id::AgentId;
use super::route::{Release, Route, RouteKey, RouteState};

/// Removals closer together than this are one.
pub const WINDOW: TimeDelta = TimeDelta::seconds(60);
/// This many may go together.
pub const MAX_TOGETHER: usize = 5;
/// From this many routes on, half of a host's routes are too many as well.
pub const MIN_ROUTES_FOR_HALF: usize = 4;

/// Says whether so many removals together need a person, on a host that had `of` routes before them.
pub fn is_too_many(removals: usize, of: usize) -> bool {
    removals > MAX_TOGETHER || (of >= MIN_ROUTES_FOR_HALF && removals * 2 >= of)
}

/// Decides what becomes of one agent's routes whose grace period is over at `now`.
///
/// `routes` are all it holds; `lately` are the times of its recent releases that nothing explains; `is_heard` says
/// whether the agent is there. Each route that is due and not yet held gives [`RouteEvent::Released`] or, if too many
/// would go, [`RouteEvent::Held`].
pub fn decide_due(
    agent_id: &AgentId,
    routes: &[Route],
    lately: &[DateTime<Utc>],
    is_heard: bool,
    now: DateTime<Utc>,
) -> Vec<RouteEvent> {
    let is_meant = |route: &Route| is_heard && is_explained(route);
    let recent = lately.iter().filter(|at| (now - **at).abs() < WINDOW).count();
    // What was held a moment ago belongs to the same removal, else the last of a staggered one would slip through.
    let held = routes.iter().filter(|route| held_since(route).is_some_and(|due| now - due < WINDOW)).count();
    let counted = routes.iter().filter(|route| !is_meant(route));
    let together = held
        + recent
        + counted.filter(|route| waits_until(route).is_some_and(|due| due <= now + WINDOW)).count();
    let hold = is_too_many(together, routes.len() + recent);
    let due = routes.iter().filter(|route| waits_until(route).is_some_and(|due| due <= now));
    due.map(|route| {
        let key = &route.spec.key;
        if is_meant(route) {
            released(agent_id, key, Release::Explained)
        } else if hold {
            RouteEvent::Held { agent_id: agent_id.clone(), route: key.clone() }
        } else {
            released(agent_id, key, Release::Missing)
        }
    })
    .collect()
}

/// Releases what waits for a person, who has now agreed.
pub fn confirm_held(agent_id: &AgentId, routes: &[Route]) -> Vec<RouteEvent> {
    let held = routes.iter().filter(|route| is_held(route));
    held.map(|route| released(agent_id, &route.spec.key, Release::Confirmed)).collect()
}

/// Releases everything an agent holds, because a person removed the agent.
pub fn release_all(agent_id: &AgentId, routes: &[Route]) -> Vec<RouteEvent> {
    routes.iter().map(|route| released(agent_id, &route.spec.key, Release::AgentRemoved)).collect()
}

/// Returns when the next grace period ends, held routes left out.
pub fn next_due(routes: &[Route]) -> Option<DateTime<Utc>> {
    routes.iter().filter_map(waits_until).min()
}

/// Says whether a route stays until a person confirms its removal.
pub fn is_held(route: &Route) -> bool {
    matches!(route.state, RouteState::PendingDeletion { held: true, .. })
}

fn is_explained(route: &Route) -> bool {
    matches!(route.state, RouteState::PendingDeletion { explained: true, .. })
}

fn waits_until(route: &Route) -> Option<DateTime<Utc>> {
    match route.state {
        RouteState::PendingDeletion { due_at, held: false, .. } => Some(due_at),
        RouteState::PendingDeletion { held: true, .. } | RouteState::Active => None,
    }
}

fn held_since(route: &Route) -> Option<DateTime<Utc>> {
    match route.state {
        RouteState::PendingDeletion { due_at, held: true, .. } => Some(due_at),
        _ => None,
    }
}

fn released(agent_id: &AgentId, key: &RouteKey, why: Release) -> RouteEvent {
    RouteEvent::Released { agent_id: agent_id.clone(), route: key.clone(), why }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::access::AccessAsk;
    use super::super::id::ContainerId;
    use super::super::mirror::follow;
    use super::super::route::{OriginRequest, Service};
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
    }

    fn agent() -> AgentId {
        AgentId::new("a")
    }

    /// Routes of one host: `None` is active, a number is due at that second.
    fn host(states: &[Option<i64>]) -> Vec<Route> {
        let routes = states.iter().enumerate().map(|(i, due)| Route {
            agent_id: agent(),
            container_name: format!("c{i}"),
            container_id: ContainerId::new(format!("id{i}")),
            spec: Service {
                key: RouteKey { hostname: format!("h{i}.example.com"), path: String::new() },
                service: "http://app".into(),
                origin_request: OriginRequest::default(),
                zone_name: None,
                access: AccessAsk::Nothing,
            },
            state: match due {
                None => RouteState::Active,
                Some(due) => RouteState::PendingDeletion { due_at: at(*due), held: false, explained: false },
            },
        });
        routes.collect()
    }

    fn counts(events: &[RouteEvent]) -> (usize, usize) {
        let released = events.iter().filter(|e| matches!(e, RouteEvent::Released { .. })).count();
        (released, events.len() - released)
    }

    #[test]
    fn a_few_removals_go_and_many_wait() {
        let active = |n: usize| vec![None; n];
        let due = |n: usize, at: i64| vec![Some(at); n];
        for (name, states, recent, expected) in [
            ("one of one", due(1, 0), vec![], (1, 0)),
            ("three of three", due(3, 0), vec![], (3, 0)),
            ("one of four", [due(1, 0), active(3)].concat(), vec![], (1, 0)),
            ("two of four", [due(2, 0), active(2)].concat(), vec![], (0, 2)),
            ("two of five", [due(2, 0), active(3)].concat(), vec![], (2, 0)),
            ("five of twenty", [due(5, 0), active(15)].concat(), vec![], (5, 0)),
            ("six of twenty", [due(6, 0), active(14)].concat(), vec![], (0, 6)),
            ("nothing due yet", [due(6, 1), active(14)].concat(), vec![], (0, 0)),
            ("five now, one within a minute", [due(5, 0), due(1, 59), active(14)].concat(), vec![], (0, 5)),
            ("five now, one later", [due(5, 0), due(1, 61), active(14)].concat(), vec![], (5, 0)),
            ("one now, five just before", [due(1, 0), active(14)].concat(), vec![-10; 5], (0, 1)),
            ("one now, five long ago", [due(1, 0), active(14)].concat(), vec![-61; 5], (1, 0)),
        ] {
            let released: Vec<_> = recent.into_iter().map(at).collect();
            assert_eq!(
                counts(&decide_due(&agent(), &host(&states), &released, true, at(0))),
                expected,
                "{name}"
            );
        }
    }

    #[test]
    fn what_the_engine_explained_goes_without_a_question_while_its_agent_is_heard() {
        let explained = |mut routes: Vec<Route>, count: usize| {
            for route in &mut routes[..count] {
                route.state = RouteState::PendingDeletion { due_at: at(0), held: false, explained: true };
            }
            routes
        };
        for (name, routes, is_heard, expected) in [
            ("ten of ten", explained(host(&[Some(0); 10]), 10), true, (10, 0)),
            ("ten of ten, and the host is off", explained(host(&[Some(0); 10]), 10), false, (0, 10)),
            ("two of four by hand", explained(host(&[Some(0), Some(0), None, None]), 2), true, (2, 0)),
            ("four by hand, six from a list", explained(host(&[Some(0); 10]), 4), true, (4, 6)),
            ("eight by hand, two from a list", explained(host(&[Some(0); 10]), 8), true, (10, 0)),
        ] {
            assert_eq!(counts(&decide_due(&agent(), &routes, &[], is_heard, at(0))), expected, "{name}");
        }
    }

    #[test]
    fn held_routes_wait_for_a_person_and_then_go() {
        let mut routes = host(&[Some(0), Some(0), None, None]);
        for event in decide_due(&agent(), &routes, &[], true, at(0)) {
            follow(&mut routes, &event);
        }
        assert!(decide_due(&agent(), &routes, &[], true, at(1000)).is_empty());
        assert_eq!(next_due(&routes), None);
        assert_eq!(counts(&confirm_held(&agent(), &routes)), (2, 0));
        assert_eq!(counts(&release_all(&agent(), &routes)), (4, 0));
    }

    #[test]
    fn a_removal_that_comes_bit_by_bit_is_one_removal() {
        for dues in [vec![Some(0), Some(20), Some(40), Some(60)], (0..6).map(|i| Some(i * 10)).collect()] {
            let mut routes = host(&dues);
            for second in 0..300 {
                for event in decide_due(&agent(), &routes, &[], true, at(second)) {
                    follow(&mut routes, &event);
                }
            }
            assert!(routes.iter().all(is_held), "{dues:?}");
        }
    }

    proptest! {
        #[test]
        fn no_minute_takes_more_than_allowed(dues in proptest::collection::vec(proptest::option::of(0_i64..200), 0..30)) {
            let mut routes = host(&dues);
            let mut released = Vec::new();
            for second in 0..300 {
                for event in decide_due(&agent(), &routes, &released, true, at(second)) {
                    if matches!(event, RouteEvent::Released { .. }) {
                        released.push(at(second));
                    }
                    follow(&mut routes, &event);
                }
            }
            for start in &released {
                let minute = released.iter().filter(|t| **t >= *start && **t < *start + WINDOW).count();
                prop_assert!(minute <= MAX_TOGETHER);
            }
            prop_assert!(routes.iter().all(|r| r.state == RouteState::Active || is_held(r)));
        }
    }
}
