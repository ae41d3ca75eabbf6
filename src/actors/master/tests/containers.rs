//! From reports to routes.

use super::*;

fn pending(route: &Route) -> bool {
    matches!(route.state, RouteState::PendingDeletion { held: false, .. })
}

fn held(route: &Route) -> bool {
    matches!(route.state, RouteState::PendingDeletion { held: true, .. })
}

fn web(number: usize) -> Container {
    container(&format!("web-{number}"), &format!("c{number}"), &format!("h{number}.example.com"))
}

fn webs(count: usize) -> Vec<Container> {
    (0..count).map(web).collect()
}

async fn short_grace(millis: u64) -> Rig {
    Rig::with(MasterSettings { grace: Duration::from_millis(millis), ..MasterSettings::default() }).await
}

#[test]
fn a_report_is_answered_after_its_routes_are_committed_and_the_publisher_woken() {
    run(async {
        let rig = Rig::start().await;
        let (agent, _) = rig.enrolled("edge").await;
        let woken = rig.publisher.woken.load(Ordering::SeqCst);
        rig.report(&agent, seen(&web(1))).await;
        assert_eq!(rig.hostnames(&agent).await, ["h1.example.com"]);
        until("the publisher is woken", async || rig.publisher.woken.load(Ordering::SeqCst) > woken).await;
    });
}

#[test]
fn an_equal_report_writes_nothing_whatever_its_order() {
    run(async {
        let rig = Rig::start().await;
        let (agent, _) = rig.enrolled("edge").await;
        rig.report(&agent, snapshot(&webs(5))).await;
        let before = db::events::stream_version(rig.db(), &Stream::routes(&agent)).await.unwrap();
        let mut turned = webs(5);
        turned.reverse();
        let slot = rig.master.directory.slot(&agent).unwrap();
        for _ in 0..10 {
            rig.report(&agent, snapshot(&turned)).await;
            rig.report(&agent, vec![Report::Heartbeat]).await;
        }
        assert!(slot.last_seen().is_some());
        assert_eq!(db::events::stream_version(rig.db(), &Stream::routes(&agent)).await.unwrap(), before);
    });
}

#[test]
fn a_lost_container_is_pending_at_once_and_released_after_its_grace() {
    run(async {
        let rig = short_grace(200).await;
        let (agent, _) = rig.enrolled("edge").await;
        rig.report(&agent, snapshot(&webs(2))).await;
        rig.report(&agent, gone(&web(0), GoneCause::Stopped)).await;
        let routes = rig.routes(&agent).await;
        assert!(pending(&routes[0]) && routes[1].state == RouteState::Active);
        until("the grace period ends", async || rig.hostnames(&agent).await == ["h1.example.com"]).await;
        assert_eq!(db::routes::find_claim(rig.db(), "h0.example.com").await.unwrap(), None);
    });
}

#[test]
fn a_grace_period_that_ends_while_the_master_is_away_is_not_forgotten() {
    run(async {
        let rig = short_grace(100).await;
        let (agent, _) = rig.enrolled("edge").await;
        rig.report(&agent, seen(&web(0))).await;
        rig.report(&agent, snapshot(&[])).await;
        let rig = rig.restart().await;
        until("the route is withdrawn", async || rig.routes(&agent).await.is_empty()).await;
    });
}

#[test]
fn a_container_that_comes_back_in_time_keeps_its_route() {
    run(async {
        let rig = Rig::start().await;
        let (agent, _) = rig.enrolled("edge").await;
        rig.report(&agent, seen(&web(0))).await;
        rig.report(&agent, gone(&web(0), GoneCause::Stopped)).await;
        let anew = Container { id: ContainerId::new("other"), ..web(0) };
        rig.report(&agent, seen(&anew)).await;
        let routes = rig.routes(&agent).await;
        assert_eq!((&routes[0].state, routes[0].container_id.as_str()), (&RouteState::Active, "other"));
    });
}

#[test]
fn the_death_of_a_container_waits_for_the_next_report() {
    run(async {
        let rig = Rig::start().await;
        let (agent, _) = rig.enrolled("edge").await;
        rig.report(&agent, seen(&web(0))).await;
        rig.report(&agent, gone(&web(0), GoneCause::Died)).await;
        assert_eq!(rig.routes(&agent).await[0].state, RouteState::Active);
        rig.report(&agent, snapshot(&[])).await;
        assert!(pending(&rig.routes(&agent).await[0]));
    });
}

#[test]
fn a_mass_removal_waits_for_a_person() {
    run(async {
        let rig = short_grace(50).await;
        let (agent, _) = rig.enrolled("edge").await;
        rig.report(&agent, snapshot(&webs(8))).await;
        rig.report(&agent, snapshot(&[])).await;
        until("the guard holds all of them", async || rig.routes(&agent).await.iter().all(held)).await;
        assert_eq!(rig.routes(&agent).await.len(), 8);

        // Nobody could withdraw them.
        rig.publisher.has_no_token.store(true, Ordering::SeqCst);
        let refused = rig.master.apply("admin", LONG).await;
        assert!(matches!(refused, Err(MasterError::NoCloudflareToken)), "{refused:?}");
        assert!(rig.routes(&agent).await.iter().all(held));
        rig.publisher.has_no_token.store(false, Ordering::SeqCst);

        *rig.publisher.db.lock() = Some(rig.db().clone());
        let report = rig.master.apply("admin", LONG).await.unwrap();
        assert_eq!(report.released_routes, 8);
        assert!(rig.routes(&agent).await.is_empty());
        assert_eq!(*rig.publisher.held_at_plan.lock(), Some(0), "what is released counts as due");
    });
}

#[test]
fn the_guard_remembers_over_a_restart_and_over_idleness_what_went_a_moment_ago() {
    for restarts in [true, false] {
        run(async {
            let settings = MasterSettings {
                grace: Duration::from_millis(50),
                idle_after: Duration::ZERO,
                reap_every: Duration::from_secs(3_600),
                ..MasterSettings::default()
            };
            let mut rig = Rig::with(settings).await;
            let (agent, _) = rig.enrolled("edge").await;
            rig.report(&agent, snapshot(&webs(20))).await;
            rig.report(&agent, snapshot(&webs(15))).await;
            until("five may go", async || rig.routes(&agent).await.len() == 15).await;

            if restarts {
                rig = rig.restart().await;
            } else {
                rig.until_asleep(&agent).await;
            }
            rig.report(&agent, snapshot(&webs(14))).await;
            until("the sixth waits for a person", async || {
                let routes = rig.routes(&agent).await;
                assert_eq!(routes.len(), 15, "it does not go by itself");
                routes.iter().any(held)
            })
            .await;
        });
    }
}

#[test]
fn a_hostname_belongs_to_who_claimed_it_first_and_passes_on_when_it_is_free() {
    run(async {
        let rig = short_grace(100).await;
        let (first, _) = rig.enrolled("edge-1").await;
        let (second, _) = rig.enrolled("edge-2").await;
        let disputed = container("shop", "c1", "shop.example.com");
        rig.report(&first, snapshot(std::slice::from_ref(&disputed))).await;
        rig.report(&second, snapshot(&[disputed.clone(), web(7)])).await;
        assert_eq!(rig.hostnames(&second).await, ["h7.example.com"], "its other routes are not held up");
        let problems = db::containers::list_container_problems(rig.db(), Some(&second), 10).await.unwrap();
        assert!(problems[0].problem.reason.contains(first.as_str()), "{problems:?}");
        let states = db::cloudflare::list_route_status(rig.db(), Some(&second), 10).await.unwrap();
        assert!(states.iter().any(|row| row.state == "conflict" && row.key.hostname == "shop.example.com"));

        rig.report(&first, snapshot(&[])).await;
        until("the second one has it", async || rig.hostnames(&second).await.len() == 2).await;
        let problems = db::containers::list_container_problems(rig.db(), Some(&second), 10).await.unwrap();
        assert!(problems.is_empty(), "{problems:?}");
    });
}

#[test]
fn two_claims_at_the_same_moment_have_one_winner_and_both_reports_are_answered() {
    run(async {
        let rig = Rig::start().await;
        let disputed = container("shop", "c1", "shop.example.com");
        let mut agents = Vec::new();
        for number in 0..4 {
            agents.push(rig.enrolled(&format!("edge-{number}")).await.0);
        }
        let claims = agents.iter().map(|agent| rig.report(agent, snapshot(std::slice::from_ref(&disputed))));
        futures_util::future::join_all(claims).await;
        let mut holders = 0;
        for agent in &agents {
            holders += rig.hostnames(agent).await.len();
        }
        assert_eq!(holders, 1);
        let rows = db::cloudflare::list_route_status(rig.db(), None, 100).await.unwrap();
        assert_eq!(rows.iter().filter(|row| row.state == "conflict").count(), 3);
    });
}

#[test]
fn what_another_writer_did_meanwhile_is_read_and_decided_again() {
    run(async {
        let rig = Rig::start().await;
        let (agent, _) = rig.enrolled("edge").await;
        rig.report(&agent, seen(&web(0))).await;
        // As another master would: the mirror's picture is now out of date.
        let route = rig.routes(&agent).await[0].spec.key.clone();
        let released = crate::domain::event::Event::from(crate::domain::event::RouteEvent::Released {
            agent_id: agent.clone(),
            route,
            why: Default::default(),
        });
        let batch = db::Batch::new("other master", rig.master.clock.now());
        rig.db()
            .commit(batch.append(Stream::routes(&agent), db::Expected::Head, vec![released]))
            .await
            .unwrap();
        rig.report(&agent, seen(&web(1))).await;
        assert_eq!(rig.hostnames(&agent).await, ["h0.example.com", "h1.example.com"]);
    });
}

#[test]
fn a_leap_of_the_clock_moves_grace_periods_with_it() {
    run(async {
        let rig = Rig::start().await;
        let (agent, _) = rig.enrolled("edge").await;
        rig.report(&agent, seen(&web(0))).await;
        rig.report(&agent, snapshot(&[])).await;
        let due = |route: &Route| match route.state {
            RouteState::PendingDeletion { due_at, .. } => due_at,
            RouteState::Active => unreachable!("it was lost"),
        };
        let before = due(&rig.routes(&agent).await[0]);
        rig.master.clock.jump(chrono::TimeDelta::days(1));
        until("the grace period moved", async || {
            let routes = rig.routes(&agent).await;
            assert_eq!(routes.len(), 1, "a leap withdraws nothing");
            due(&routes[0]) - before > chrono::TimeDelta::hours(23)
        })
        .await;
    });
}

#[test]
fn invalid_labels_are_shown_with_their_reason() {
    run(async {
        let rig = Rig::start().await;
        let (agent, _) = rig.enrolled("edge").await;
        let mut broken = web(0);
        broken.labels.insert("dockflare.hostname".into(), "not a \"hostname\" 😀".into());
        rig.report(&agent, snapshot(&[broken, web(1)])).await;
        assert_eq!(rig.hostnames(&agent).await, ["h1.example.com"]);
        let problems = db::containers::list_container_problems(rig.db(), Some(&agent), 10).await.unwrap();
        assert_eq!(problems[0].problem.label, "dockflare.hostname");
        assert!(!problems[0].problem.reason.is_empty());
    });
}

#[test]
fn five_hundred_containers_are_one_commit() {
    run(async {
        let rig = Rig::start().await;
        let (agent, _) = rig.enrolled("edge").await;
        rig.report(&agent, snapshot(&webs(500))).await;
        assert_eq!(rig.routes(&agent).await.len(), 500);
        assert_eq!(rig.events(&Stream::routes(&agent), "route_claimed").await, 500);
    });
}

fn explained(route: &Route) -> bool {
    matches!(route.state, RouteState::PendingDeletion { explained: true, .. })
}

#[test]
fn a_whole_host_that_is_stopped_by_hand_goes_after_its_grace_without_a_question() {
    run(async {
        let rig = short_grace(300).await;
        let (agent, _) = rig.enrolled("edge").await;
        rig.report(&agent, snapshot(&webs(10))).await;
        // The Engine tells of each; once a list comes in between.
        for number in 0..10 {
            rig.report(&agent, gone(&web(number), GoneCause::Stopped)).await;
            if number == 4 {
                rig.report(&agent, snapshot(&webs(10)[6..])).await;
            }
        }
        assert!(rig.routes(&agent).await.iter().all(explained), "{:?}", rig.routes(&agent).await);
        until("all go", async || rig.routes(&agent).await.is_empty()).await;
        let held = rig.events(&Stream::routes(&agent), "route_held").await;
        assert_eq!(held, 0);
    });
}

#[test]
fn the_death_of_a_container_explains_that_the_next_list_lacks_it() {
    run(async {
        let rig = Rig::start().await;
        let (agent, _) = rig.enrolled("edge").await;
        rig.report(&agent, snapshot(&webs(3))).await;
        rig.report(&agent, gone(&web(0), GoneCause::Died)).await;
        rig.report(&agent, gone(&web(1), GoneCause::Died)).await;
        // The first is back by itself, the second is not, and of the third nothing was said.
        rig.report(&agent, seen(&web(0))).await;
        rig.report(&agent, snapshot(&[])).await;
        let routes = rig.routes(&agent).await;
        assert!(routes.iter().all(pending));
        assert_eq!(routes.iter().map(explained).collect::<Vec<_>>(), [false, true, false]);
    });
}

#[test]
fn a_name_moves_to_the_host_where_its_container_came_up() {
    for is_held in [false, true] {
        run(async {
            // given: a host that lost its containers, so many that their removal is held or so few that it is not
            let grace = if is_held { Duration::from_millis(50) } else { Duration::from_secs(600) };
            let rig = Rig::with(MasterSettings { grace, ..MasterSettings::default() }).await;
            let (first, _) = rig.enrolled("edge-1").await;
            let (second, _) = rig.enrolled("edge-2").await;
            let count = if is_held { 8 } else { 1 };
            rig.report(&first, snapshot(&webs(count))).await;
            rig.report(&first, snapshot(&[])).await;
            if is_held {
                until("the guard holds them", async || rig.routes(&first).await.iter().all(held)).await;
            }
            // when
            let moved = container("web-0", "another", "h0.example.com");
            rig.report(&second, snapshot(std::slice::from_ref(&moved))).await;
            assert!(rig.refusals(&second).await[0].contains("in a moment"));
            assert_eq!(rig.hostnames(&first).await.len(), count, "it is not taken from one that starts anew");
            rig.master.clock.jump(chrono::TimeDelta::seconds(5));
            // then
            until("it has the name", async || rig.hostnames(&second).await == ["h0.example.com"]).await;
            assert_eq!(rig.hostnames(&first).await.len(), count - 1);
            assert!(rig.refusals(&second).await.is_empty());
            for agent in [&first, &second] {
                until("the account hears of both", async || {
                    rig.publisher.woken_for.lock().contains_key(agent)
                })
                .await;
            }
            // and the first one, should it be back, is told whose it is
            rig.report(&first, snapshot(&webs(1))).await;
            assert!(rig.refusals(&first).await[0].contains("claimed it first"));
            for _ in 0..2 {
                let holder = db::routes::find_claim(rig.db(), "h0.example.com").await.unwrap();
                assert_eq!(holder.as_ref(), Some(&second));
                assert_eq!(rig.hostnames(&second).await, ["h0.example.com"]);
                rig.db().rebuild().await.unwrap();
            }
        });
    }
}

#[test]
fn an_agent_that_waits_for_a_name_gets_it_when_nobody_asks_for_it_any_more() {
    run(async {
        let rig = Rig::start().await;
        let (first, _) = rig.enrolled("edge-1").await;
        let (second, _) = rig.enrolled("edge-2").await;
        rig.report(&first, seen(&web(0))).await;
        rig.report(&second, seen(&web(0))).await;
        assert!(rig.refusals(&second).await[0].contains("claimed it first"));
        // The first one's is only started anew.
        rig.report(&first, gone(&web(0), GoneCause::Stopped)).await;
        rig.report(&first, seen(&web(0))).await;
        rig.master.clock.jump(chrono::TimeDelta::seconds(5));
        rig.report(&second, snapshot(&[web(0), web(1)])).await;
        assert_eq!(rig.hostnames(&first).await, ["h0.example.com"]);
        // Now it goes for good; the second one says nothing new.
        rig.report(&first, gone(&web(0), GoneCause::Stopped)).await;
        rig.master.clock.jump(chrono::TimeDelta::seconds(5));
        until("it has the name", async || rig.hostnames(&second).await.len() == 2).await;
        assert!(rig.routes(&first).await.is_empty());
    });
}

#[test]
fn a_container_that_crashes_on_and_on_fills_no_record_and_keeps_its_route() {
    run(async {
        let rig = Rig::start().await;
        let (agent, _) = rig.enrolled("edge").await;
        rig.report(&agent, seen(&web(0))).await;
        for _ in 0..30 {
            rig.report(&agent, gone(&web(0), GoneCause::Stopped)).await;
            rig.report(&agent, seen(&web(0))).await;
        }
        let written = db::events::stream_version(rig.db(), &Stream::routes(&agent)).await.unwrap();
        assert_eq!(written, 21, "the claim, ten losses and ten returns");
        assert_eq!(rig.routes(&agent).await[0].state, RouteState::Active);
        // when: it stays away
        rig.report(&agent, gone(&web(0), GoneCause::Stopped)).await;
        assert_eq!(rig.routes(&agent).await[0].state, RouteState::Active);
        for _ in 0..5 {
            rig.master.clock.jump(chrono::TimeDelta::seconds(25));
            rig.report(&agent, vec![Report::Heartbeat]).await;
        }
        until("it is lost", async || pending(&rig.routes(&agent).await[0])).await;
    });
}
