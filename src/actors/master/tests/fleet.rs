//! Live subtrees: few, restartable, and never needed for what changes nothing.

use super::super::router::trials::FailActor;
use super::super::subtree::Which;
use super::*;
use crate::actors::supervision::fail::Fail;

#[test]
fn killing_any_actor_of_an_agent_loses_nothing() {
    for which in Which::ALL {
        run(async {
            let rig = Rig::start().await;
            let (agent, _) = rig.enrolled("edge").await;
            rig.report(&agent, snapshot(&[container("web", "c1", "a.example.com")])).await;
            let command =
                rig.master.lease_commands(&agent, 10, Dialect::Native).await.unwrap().remove(0).command;

            rig.router_of(&agent).tell(FailActor { agent: agent.clone(), which }).unwrap();
            let more = [container("web", "c1", "a.example.com"), container("api", "c2", "b.example.com")];
            until("the report is taken after the restart", async || {
                rig.master.report(&agent, snapshot(&more)).await.is_ok()
            })
            .await;
            assert_eq!(rig.hostnames(&agent).await, ["a.example.com", "b.example.com"], "{which:?}");
            let outcome = Outcome { succeeded: true, message: String::new(), finished_at: None };
            rig.master.finish(&agent, &command.id, outcome).await.unwrap();
            assert_eq!(rig.command(&command.id).await.status, CommandStatus::Succeeded, "{which:?}");
        });
    }
}

#[test]
fn an_agent_whose_actors_fail_on_and_on_hurts_no_other_and_comes_back_after_a_while() {
    run(async {
        let settings = MasterSettings { cool_down: Duration::from_millis(300), ..MasterSettings::default() };
        let rig = Rig::with(settings).await;
        let (bad, _) = rig.enrolled("edge-1").await;
        let (good, _) = rig.enrolled("edge-2").await;
        until("it is given up", async || {
            let fail = FailActor { agent: bad.clone(), which: Which::Containers };
            let _ = rig.router_of(&bad).tell(fail);
            rig.report(&good, vec![Report::Heartbeat]).await;
            rig.live_subtrees() == 1
        })
        .await;
        rig.report(&good, snapshot(&[container("web", "c1", "good.example.com")])).await;
        let web = container("web", "c1", "bad.example.com");
        until("it is heard again", async || {
            rig.master.report(&bad, snapshot(std::slice::from_ref(&web))).await.is_ok()
        })
        .await;
        assert_eq!(rig.hostnames(&bad).await, ["bad.example.com"]);
        assert_eq!(rig.hostnames(&good).await, ["good.example.com"]);
    });
}

#[test]
fn an_idle_subtree_is_stopped_and_started_again_by_the_next_change() {
    run(async {
        // Idle at once, but nobody looks until the test says so.
        let settings = MasterSettings {
            idle_after: Duration::ZERO,
            reap_every: Duration::from_secs(3_600),
            ..MasterSettings::default()
        };
        let rig = Rig::with(settings).await;
        let (agent, _) = rig.enrolled("edge").await;
        rig.report(&agent, snapshot(&[container("web", "c1", "a.example.com")])).await;
        assert_eq!(rig.live_subtrees(), 1);
        rig.until_asleep(&agent).await;
        rig.report(&agent, snapshot(&[])).await;
        assert_eq!(rig.live_subtrees(), 1);
        assert!(matches!(rig.routes(&agent).await[0].state, RouteState::PendingDeletion { .. }));
    });
}

#[test]
fn work_that_comes_while_a_subtree_stops_starts_it_again() {
    run(async {
        let settings = MasterSettings { max_live: 1, shards: 1, ..MasterSettings::default() };
        let rig = Rig::with(settings).await;
        let mut agents = Vec::new();
        for number in 0..6 {
            agents.push(rig.enrolled(&format!("edge-{number}")).await.0);
        }
        for round in 0..5 {
            for (number, agent) in agents.iter().enumerate() {
                let web = container("web", &format!("c{round}"), &format!("h{number}-{round}.example.com"));
                until("it is taken", async || rig.master.report(agent, seen(&web)).await.is_ok()).await;
            }
        }
        for agent in &agents {
            assert_eq!(rig.routes(agent).await.len(), 5);
        }
        until("few are left", async || rig.live_subtrees() <= 2).await;
    });
}

#[test]
fn ten_thousand_idle_agents_keep_at_most_a_hundred_subtrees() {
    run(async {
        let rig = Rig::start().await;
        let (agent, _) = rig.enrolled("edge").await;
        rig.master.lease_commands(&agent, 10, Dialect::Native).await.unwrap();
        let web = [container("web", "c1", "a.example.com")];
        rig.report(&agent, snapshot(&web)).await;
        let template = rig.master.directory.slot(&agent).unwrap();
        let mut fleet = vec![agent];
        for number in 0..10_000 {
            let slot = Slot::new(AgentId::new(format!("idle-{number}")), AgentStatus::Enrolled, None, None);
            slot.set_containers_digest(template.containers_digest());
            fleet.push(rig.master.directory.put_slot(slot).id().clone());
        }
        for agent in &fleet {
            rig.report(agent, vec![Report::Heartbeat]).await;
            rig.report(agent, snapshot(&web)).await;
            assert!(rig.master.lease_commands(agent, 10, Dialect::V2).await.unwrap().is_empty());
        }
        assert_eq!(rig.master.directory.len(), 10_001);
        assert!(rig.live_subtrees() <= 100, "{} subtrees", rig.live_subtrees());
    });
}

#[test]
fn a_router_that_fails_takes_nothing_with_it() {
    run(async {
        let settings = MasterSettings { shards: 1, ..MasterSettings::default() };
        let rig = Rig::with(settings).await;
        let (agent, _) = rig.enrolled("edge").await;
        rig.report(&agent, snapshot(&[container("web", "c1", "a.example.com")])).await;
        rig.router_of(&agent).tell(Fail).unwrap();
        let more = [container("web", "c1", "a.example.com"), container("api", "c2", "b.example.com")];
        until("the report is taken after the restart", async || {
            rig.master.report(&agent, snapshot(&more)).await.is_ok()
        })
        .await;
        assert_eq!(rig.routes(&agent).await.len(), 2);
        until("one subtree is left", async || rig.live_subtrees() == 1).await;
    });
}

#[test]
fn presence_turns_into_events_and_outlives_the_master() {
    run(async {
        // The wall clock moves when the test says so; a step of that size is no leap.
        let step = chrono::TimeDelta::seconds(25);
        let settings = MasterSettings {
            offline_after: Duration::from_secs(20),
            sweep_every: Duration::from_millis(20),
            ..MasterSettings::default()
        };
        let rig = Rig::with(settings).await;
        let (agent, _) = rig.enrolled("edge").await;
        rig.report(&agent, snapshot(&[container("web", "c1", "a.example.com")])).await;
        let presence = Stream::presence(&agent);
        assert_eq!(rig.presence_events(&presence).await, [0, 0]);

        rig.master.clock.jump(step);
        until("it is offline", async || rig.presence_events(&presence).await != [0, 0]).await;
        assert_eq!(rig.presence_events(&presence).await, [1, 0]);
        let row = db::agents::get_agent(rig.db(), &agent).await.unwrap();
        assert!(row.offline_since.is_some());
        assert_eq!(rig.routes(&agent).await[0].state, RouteState::Active, "offline removes nothing");

        let rig = rig.restart().await;
        rig.report(&agent, vec![Report::Heartbeat]).await;
        until("it is back", async || rig.presence_events(&presence).await != [1, 0]).await;
        assert_eq!(rig.presence_events(&presence).await, [1, 1]);
        assert_eq!(db::agents::get_agent(rig.db(), &agent).await.unwrap().offline_since, None);
    });
}

#[test]
fn pages_are_told_what_changed() {
    run(async {
        let rig = Rig::start().await;
        let mut changes = rig.master.subscribe();
        let (agent, _) = rig.enrolled("edge").await;
        rig.report(&agent, snapshot(&[container("web", "c1", "a.example.com")])).await;
        let mut expected = vec![
            Note::Keys,
            Note::Agent(agent.clone()),
            Note::Containers(agent.clone()),
            Note::Routes(agent.clone()),
        ];
        while !expected.is_empty() {
            let note = tokio::time::timeout(LONG, changes.next()).await.expect("a note comes").unwrap();
            expected.retain(|wanted| *wanted != note);
        }
    });
}
