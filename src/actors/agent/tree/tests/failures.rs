//! Actors that panic, in the whole agent with an Engine.

use std::collections::BTreeSet;

use super::*;

impl Host {
    fn fail(&self, actor: &str) {
        let is_told = match actor {
            "reporter" => self.ports.reporter.tell(Fail).is_ok(),
            "tunnel" => self.ports.tunnel.tell(Fail).is_ok(),
            "docker" => self.ports.docker.tell(Fail).is_ok(),
            _ => self.ports.command_poller.tell(Fail).is_ok(),
        };
        assert!(is_told, "{actor}");
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
