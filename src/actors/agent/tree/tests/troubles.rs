//! What a tunnel can suffer from on its host, in the whole agent with an Engine.

use tokio::time::sleep;

use super::failures::{start_tunnel, until_tunnel_runs};
use super::*;
use crate::domain::agent_tunnel::CONTAINER_NAME;
use crate::domain::tunnel::{TunnelHealth, TunnelReport};
use crate::protocol::command::AgentCommand;

/// What a native master was told of a tunnel that the host knows.
fn told(master: &FakeMaster) -> Vec<TunnelReport> {
    let items = master.picked(batches).into_iter().flat_map(|(_, items)| items);
    let reports = items.filter_map(|item| match item {
        Report::Tunnel { tunnel } => tunnel.tunnel_id.is_some().then_some(tunnel),
        _ => None,
    });
    reports.collect()
}

#[test]
fn why_a_tunnel_is_down_is_told_until_it_is_up() {
    paused(async {
        // given: an image that cannot be started
        let (master, dir, engine) =
            (FakeMaster::native(), tempfile::tempdir().unwrap(), FakeEngine::default());
        engine.refuse_starts(Some("exec: cloudflared: not found"));
        let host = host_with(engine.clone(), &master, &dir).await;
        // when
        master.queue(start_tunnel("c1", "u1", "t1"));
        master.until(1, results).await;
        sleep(secs(300)).await;
        // then: whatever waits for its next attempt, the reason stays
        let said = told(&master);
        assert!(!said.is_empty());
        for report in said {
            let reason = report.reason.unwrap_or_default();
            assert!(reason.contains("exec: cloudflared: not found"), "{reason}");
        }
        let problem = host.ports.status(secs(1)).await.tunnel.unwrap().problem.unwrap_or_default();
        assert!(problem.contains("exec: cloudflared: not found"), "{problem}");
        // when
        engine.refuse_starts(None);
        until_tunnel_runs(&master, "u1").await;
        // then
        assert_eq!(told(&master).last().unwrap().reason, None);
    });
}

#[test]
fn a_network_that_is_written_by_its_id_is_joined_by_its_name() {
    paused(async {
        // given
        let (master, dir, engine) =
            (FakeMaster::native(), tempfile::tempdir().unwrap(), FakeEngine::default());
        engine.name_network("0e8a6d4c2b1f", "edge-net");
        let mut settings = Settings::default();
        settings.tunnel.network = "0e8a6d4c2b1f".into();
        let _host = host_set(&settings, engine.clone(), &master, &dir).await;
        // when
        master.queue(start_tunnel("c1", "u1", "t1"));
        until_tunnel_runs(&master, "u1").await;
        // then
        assert_eq!(engine.networks(), ["edge-net"]);
    });
}

#[test]
fn a_host_that_is_stopped_says_that_its_tunnel_went_with_it() {
    paused(async {
        let (master, dir, engine) =
            (FakeMaster::native(), tempfile::tempdir().unwrap(), FakeEngine::default());
        let host = host_with(engine.clone(), &master, &dir).await;
        master.queue(start_tunnel("c1", "u1", "t1"));
        until_tunnel_runs(&master, "u1").await;

        host.root.shutdown(secs(60)).await;

        assert!(engine.tokens().is_empty());
        let last = told(&master).pop().unwrap();
        assert_eq!(
            (last.health, last.reason.as_deref()),
            (TunnelHealth::Stopped, Some("its agent was stopped"))
        );
    });
}

#[test]
fn a_dockflare_master_is_told_so_too() {
    paused(async {
        let (master, dir, engine) =
            (FakeMaster::dockflare(), tempfile::tempdir().unwrap(), FakeEngine::default());
        let host = host_with(engine.clone(), &master, &dir).await;
        let form = json!({"action": "start_tunnel", "tunnel_id": "u1", "tunnel_name": "edge", "token": "t1"});
        master.queue_dockflare(AgentCommand::read(form.as_object().unwrap()));
        let status = |heard: &Heard| events(heard)?["tunnel"]["status"].as_str().map(str::to_owned);
        master.until(1, |heard| status(heard).filter(|word| word == "running")).await;

        host.root.shutdown(secs(60)).await;

        assert_eq!(master.picked(status).last().map(String::as_str), Some("stopped"));
    });
}

#[test]
fn a_connector_that_somebody_renamed_gets_its_name_back_instead_of_a_twin() {
    paused(async {
        // given
        let (master, dir, engine) =
            (FakeMaster::native(), tempfile::tempdir().unwrap(), FakeEngine::default());
        let _host = host_with(engine.clone(), &master, &dir).await;
        master.queue(start_tunnel("c1", "u1", "t1"));
        until_tunnel_runs(&master, "u1").await;
        let before = engine.find_container(CONTAINER_NAME).await.unwrap().unwrap().id;
        // when
        engine.rename(&before, "foo").await.unwrap();
        // then
        let is_back = async {
            while engine.find_container(CONTAINER_NAME).await.unwrap().is_none() {
                sleep(secs(1)).await;
            }
        };
        tokio::time::timeout(LONG, is_back).await.expect("a connector has the name again");
        assert_eq!(engine.find_container(CONTAINER_NAME).await.unwrap().unwrap().id, before);
        assert_eq!(engine.tokens(), ["t1"]);
    });
}
