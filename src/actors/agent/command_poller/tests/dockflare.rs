//! Towards a DockFlare Master.

use super::*;
use crate::domain::id::TunnelId;
use crate::state_dir::{DesiredState, TunnelState};

#[test]
fn a_dockflare_master_is_asked_every_half_minute_with_jitter() {
    paused(async {
        let (master, dir) = (FakeMaster::dockflare(), temp());
        let _agent = TestAgent::polling(&master, &dir).await;
        master.until(30, fetches).await;

        let times: Vec<_> =
            master.heard().iter().filter(|(_, heard)| fetches(heard).is_some()).map(|(at, _)| *at).collect();
        let gaps: Vec<_> = times.windows(2).map(|w| w[1] - w[0]).collect();
        assert!(gaps.iter().all(|gap| (secs(24)..=secs(31)).contains(gap)), "{gaps:?}");
        assert!(gaps.iter().max().unwrap().abs_diff(*gaps.iter().min().unwrap()) > secs(2), "they vary");
    });
}

#[test]
fn commands_of_a_dockflare_master_survive_a_crash() {
    paused(async {
        let (master, dir) = (FakeMaster::dockflare(), temp());
        master.queue_dockflare(command(start()));
        master.queue_dockflare(command(json!({"action": "stop_tunnel"})));
        let agent = TestAgent::polling(&master, &dir).await;
        let first = agent.until_tasks(2).await;
        agent.stop().await;

        let agent = TestAgent::polling(&master, &dir).await;
        assert_eq!(agent.until_tasks(2).await, first, "the master forgot them, the agent did not");
        agent.answer(true);
        agent.answer(true);
        sleep(secs(60)).await;

        assert!(agent.state.unfinished_commands().await.unwrap().is_empty());
        assert_eq!(agent.state.count_spooled().await.unwrap(), 0, "it takes no results");
        assert!(master.picked(acks).is_empty());
    });
}

#[test]
fn rules_of_an_old_master_are_pushed_to_the_tunnel_of_this_host() {
    paused(async {
        let (master, dir) = (FakeMaster::dockflare(), temp());
        let agent = TestAgent::polling(&master, &dir).await;
        let known = TunnelState {
            id: Some(TunnelId::new("u1")),
            desired_state: DesiredState::Running,
            ..TunnelState::default()
        };
        agent.state.put_tunnel_state(&known).await.unwrap();
        let rules = json!({"k": {"status": "active", "hostname": "a.example.test", "service": "http://a:1"}});
        master.queue_dockflare(command(json!({"action": "update_tunnel_config", "rules": rules})));

        let pick = |heard: &Heard| {
            if let Heard::Ingress(id, list) = heard { Some((id.clone(), list.clone())) } else { None }
        };
        let (tunnel, list) = master.until(1, pick).await.remove(0);

        assert_eq!(tunnel, TunnelId::new("u1"));
        assert_eq!(
            list,
            json!([{"hostname": "a.example.test", "service": "http://a:1"}, {"service": "http_status:404"}])
        );
    });
}
