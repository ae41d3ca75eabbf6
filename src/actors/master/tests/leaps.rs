//! A leap of the clock is not lost on its way to the agents it concerns.

use std::io::Write;

use tracing_subscriber::fmt::MakeWriter;

use super::*;

/// What was logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn says(&self, words: &str) -> bool {
        String::from_utf8_lossy(&self.0.lock()).contains(words)
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

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
        let log = Log::default();
        let subscriber = tracing_subscriber::fmt().with_writer(log.clone()).finish();
        let _here = tracing::subscriber::set_default(subscriber);
        let rig = Rig::start().await;
        let (agent, _) = rig.enrolled("edge").await;
        loses(&rig, &agent, "a.example.com").await;

        rig.db().run_statement("ALTER TABLE routes RENAME TO away").await;
        rig.master.clock.jump(chrono::TimeDelta::days(1));
        until("it was read in vain", async || log.says("could not read what is due")).await;
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
