//! A leap of the clock is not lost on its way to the agents it concerns.

use super::*;
use crate::actors::supervision::logged::Logged;

/// Gives an agent a route whose container is gone.
async fn loses(rig: &Rig, agent: &AgentId, hostname: &str) {
    let containers = [container("web", "c1", hostname)];
    for items in [snapshot(&containers), snapshot(&[])] {
        until("it is taken", async || rig.master.report(agent, items.clone()).await.is_ok()).await;
    }
}

/// Waits until the agent's only route, which is never withdrawn meanwhile, is due after the leap.
async fn until_moved(rig: &Rig, agent: &AgentId) {
    until("the grace period moved", async || {
        let routes = rig.routes(agent).await;
        assert_eq!(routes.len(), 1, "a leap withdraws nothing");
        let RouteState::PendingDeletion { due_at, .. } = routes[0].state else { unreachable!("it was lost") };
        due_at > rig.master.clock.now()
    })
    .await;
}

#[test]
fn a_leap_that_meets_a_database_in_trouble_is_dealt_with_afterwards() {
    run(async {
        let log = Logged::default();
        let _listening = log.listen(|writer| tracing_subscriber::fmt().with_writer(writer).finish());
        let rig = Rig::start().await;
        let (agent, _) = rig.enrolled("edge").await;
        loses(&rig, &agent, "a.example.com").await;

        rig.db().run_statement("ALTER TABLE routes RENAME TO away").await;
        rig.master.clock.jump(chrono::TimeDelta::days(1));
        until("it was read in vain", async || log.text().contains("could not read what is due")).await;
        rig.db().run_statement("ALTER TABLE away RENAME TO routes").await;

        until_moved(&rig, &agent).await;
    });
}

#[test]
fn a_leap_reaches_more_agents_than_fit_at_once() {
    run(async {
        let settings = MasterSettings { max_live: 1, shards: 1, ..MasterSettings::default() };
        let rig = Rig::with(settings).await;
        let mut agents = Vec::new();
        for number in 0..8 {
            let (agent, _) = rig.enrolled(&format!("edge-{number}")).await;
            loses(&rig, &agent, &format!("h{number}.example.com")).await;
            agents.push(agent);
        }
        rig.master.clock.jump(chrono::TimeDelta::days(30));
        for agent in &agents {
            until_moved(&rig, agent).await;
        }
        until("nobody is behind", async || !rig.master.env.leaps.are_open()).await;
        for agent in &agents {
            assert_eq!(rig.events(&Stream::routes(agent), "route_released").await, 0);
            assert_eq!(rig.events(&Stream::commands(agent), "command_expired").await, 0);
        }
    });
}
