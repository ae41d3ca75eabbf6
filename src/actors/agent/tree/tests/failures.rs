//! Actors that panic, in the whole agent with an Engine.

use std::collections::BTreeSet;

use tokio::time::sleep;

use super::*;
use crate::domain::tunnel::TunnelHealth;
use crate::protocol::v3::DeliveredCommand;

const ACTORS: [&str; 4] = ["reporter", "tunnel", "docker", "command-poller"];

impl Host {
    pub(super) fn fail(&self, actor: &str) {
        let is_told = match actor {
            "reporter" => self.ports.reporter.tell(Fail).is_ok(),
            "tunnel" => self.ports.tunnel.tell(Fail).is_ok(),
            "docker" => self.ports.docker.tell(Fail).is_ok(),
            _ => self.ports.command_poller.tell(Fail).is_ok(),
        };
        assert!(is_told, "{actor}");
    }

    /// Waits until the actor runs for the second time.
    pub(super) async fn until_restarted(&self, actor: &str) {
        let line = format!("+agent/{actor}");
        let starts = || self.changes.lock().iter().filter(|change| **change == line).count();
        let restarted = async {
            while starts() < 2 {
                sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(LONG, restarted).await.expect("it is started again");
    }
}

/// The containers that a master knows after all it heard.
fn known(master: &FakeMaster) -> BTreeSet<String> {
    let mut known = BTreeSet::new();
    for report in master.picked(batches).into_iter().flat_map(|(_, items)| items) {
        match report {
            Report::Snapshot { containers } => {
                known = containers.iter().map(|container| container.id.to_string()).collect();
            }
            Report::ContainerSeen { container } => drop(known.insert(container.id.to_string())),
            Report::ContainerGone { id, .. } => drop(known.remove(id.as_str())),
            _ => {}
        }
    }
    known
}

/// Waits until the master was told of this container.
async fn until_named(master: &FakeMaster, id: &str) {
    let names = |heard: &Heard| {
        let is_it = |container: &Container| container.id.as_str() == id;
        let (_, items) = batches(heard)?;
        let names = |item: &Report| match item {
            Report::Snapshot { containers } => containers.iter().any(is_it),
            Report::ContainerSeen { container } => is_it(container),
            _ => false,
        };
        items.iter().any(names).then_some(())
    };
    master.until(1, names).await;
}

/// Waits until the master was told that this tunnel runs.
pub(super) async fn until_tunnel_runs(master: &FakeMaster, id: &str) {
    let runs = |item: &Report| {
        matches!(item, Report::Tunnel { tunnel } if tunnel.health == TunnelHealth::Running
            && tunnel.tunnel_id.as_ref().is_some_and(|tunnel| tunnel.as_str() == id))
    };
    master.until(1, |heard| batches(heard)?.1.iter().any(runs).then_some(())).await;
}

/// A command of this id, to run the tunnel of this id with the token of this id.
pub(super) fn start_tunnel(command: &str, tunnel: &str, token: &str) -> DeliveredCommand {
    let form = json!({"action": "start_tunnel", "tunnel_id": tunnel, "tunnel_name": tunnel, "token": token});
    delivered(command, form)
}

#[test]
fn a_reporter_that_failed_knows_at_once_what_runs() {
    paused(async {
        let (master, dir, engine) =
            (FakeMaster::native(), tempfile::tempdir().unwrap(), FakeEngine::default());
        engine.run(container("a"));
        let host = host_with(engine.clone(), &master, &dir).await;
        until_named(&master, "a").await;
        master.forget();

        host.fail("reporter");
        master.until(1, registrations).await;
        let again = master.since_start();
        engine.run(container("b"));
        until_named(&master, "b").await;

        let took = master.since_start() - again;
        assert!(took < secs(1), "the start of a container took {took:?} to be told");
        // It told the change alone or within the list, and the list came in any case.
        assert_eq!(known(&master), ["a", "b"].map(str::to_owned).into());
    });
}

#[test]
fn failing_any_actor_of_the_agent_loses_nothing() {
    for actor in ACTORS {
        paused(async {
            let (master, dir, engine) =
                (FakeMaster::native(), tempfile::tempdir().unwrap(), FakeEngine::default());
            engine.run(container("a"));
            let host = host_with(engine.clone(), &master, &dir).await;
            master.queue(start_tunnel("c1", "u1", "t1"));
            until_tunnel_runs(&master, "u1").await;
            master.until(1, results).await;

            // An actor fails while a command is under way and a container starts,
            master.queue(start_tunnel("c2", "u2", "t2"));
            master.until(2, acks).await;
            host.fail(actor);
            engine.run(container("b"));
            host.until_restarted(actor).await;

            // then both are told,
            until_named(&master, "b").await;
            until_tunnel_runs(&master, "u2").await;
            master.until(2, results).await;
            // as is what comes after.
            engine.run(container("c"));
            master.queue(start_tunnel("c3", "u3", "t3"));
            until_named(&master, "c").await;
            until_tunnel_runs(&master, "u3").await;
            let told = master.until(3, results).await;

            let told: Vec<_> = told.iter().map(|(id, outcome)| (id.as_str(), outcome.succeeded)).collect();
            assert_eq!(told, [("c1", true), ("c2", true), ("c3", true)], "{actor}");
            assert_eq!(known(&master), ["a", "b", "c"].map(str::to_owned).into(), "{actor}");
            assert_eq!(engine.tokens(), ["t3"], "{actor}");
        });
    }
}
