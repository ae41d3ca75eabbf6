//! A host that lost its tunnel gets it back.

use super::*;
use crate::domain::id::CommandId;
use crate::protocol::v2::decode_event;

fn stopped(tunnel_id: Option<&str>) -> Vec<Report> {
    let mut said = tunnel_runs("edge");
    if let Report::Tunnel { tunnel } = &mut said[0] {
        tunnel.health = TunnelHealth::Stopped;
        tunnel.tunnel_id = tunnel_id.map(TunnelId::new);
    }
    said
}

impl Rig {
    /// An agent whose tunnel was started a while ago and ran.
    async fn served(&self) -> AgentId {
        let (agent, _) = self.enrolled("edge").await;
        self.carries_out(&agent, true).await;
        self.report(&agent, tunnel_runs("edge")).await;
        self.master.clock.jump(chrono::TimeDelta::seconds(60));
        agent
    }

    async fn carries_out(&self, agent: &AgentId, succeeded: bool) {
        let delivered = self.master.lease_commands(agent, 10, Dialect::Native).await.unwrap();
        let outcome = Outcome { succeeded, message: "so it ended".into(), finished_at: None };
        self.master.finish(agent, &delivered[0].command.id, outcome).await.unwrap();
    }

    /// How many commands were queued by what was reported until now.
    async fn queued(&self, agent: &AgentId) -> usize {
        // The dispatcher answers after it has done what it was told before.
        let unknown = self.master.acknowledge(agent, &CommandId::new("none")).await;
        assert!(matches!(unknown, Err(MasterError::CommandNotFound(_))), "{unknown:?}");
        self.events(&Stream::commands(agent), "command_queued").await
    }
}

#[test]
fn an_agent_that_lost_its_tunnel_is_told_to_start_it_once() {
    run(async {
        // given
        let rig = Rig::start().await;
        let agent = rig.served().await;
        // when
        rig.report(&agent, stopped(None)).await;
        // then
        assert_eq!(rig.queued(&agent).await, 2);
        let start = &rig.master.lease_commands(&agent, 10, Dialect::V2).await.unwrap()[0];
        assert_eq!(start.command.kind.action(), "start_tunnel");
        assert_eq!(start.token.as_ref().unwrap().expose_secret(), "token-of-edge");
        // when: it says so again, with the command in its hands
        rig.report(&agent, stopped(None)).await;
        rig.report(&agent, stopped(Some("another"))).await;
        // then
        assert_eq!(rig.queued(&agent).await, 2);
    });
}

#[test]
fn a_start_that_does_not_help_is_repeated_after_its_end_and_a_pause() {
    run(async {
        // given
        let rig = Rig::start().await;
        let agent = rig.served().await;
        rig.report(&agent, stopped(None)).await;
        assert_eq!(rig.queued(&agent).await, 2);
        // when
        rig.carries_out(&agent, false).await;
        rig.report(&agent, stopped(Some("another"))).await;
        // then
        assert_eq!(rig.queued(&agent).await, 2, "not at once");
        rig.master.clock.jump(chrono::TimeDelta::seconds(21));
        until("it is told again", async || rig.queued(&agent).await == 3).await;
    });
}

#[test]
fn an_agent_that_was_stopped_and_knows_its_tunnel_is_told_nothing() {
    run(async {
        let rig = Rig::start().await;
        let agent = rig.served().await;
        rig.report(&agent, stopped(Some("id-of-edge"))).await;
        assert_eq!(rig.queued(&agent).await, 1);
    });
}

#[test]
fn an_agent_without_a_tunnel_of_its_own_is_told_nothing() {
    run(async {
        let rig = Rig::start().await;
        let (agent, _) = rig.agent().await;
        rig.report(&agent, stopped(None)).await;
        assert_eq!(rig.queued(&agent).await, 0);
        rig.master.approve(&agent, "admin").await.unwrap();
        rig.report(&agent, stopped(Some("another"))).await;
        assert_eq!(rig.queued(&agent).await, 0);
    });
}

#[test]
fn every_way_in_which_a_dockflare_agent_says_that_it_has_no_tunnel_counts() {
    for said in [
        r#"{"type":"tunnel_status","container":{"name":"edge","status":"stopped"}}"#,
        r#"{"type":"tunnel_status","tunnel":{"status":"missing"}}"#,
        r#"{"type":"tunnel_status","status":"Not_Configured"}"#,
        r#"{"type":"tunnel_status","tunnel":{"state":"not_found"}}"#,
    ] {
        run(async {
            let rig = Rig::start().await;
            let agent = rig.served().await;
            rig.report(&agent, vec![decode_event(said.as_bytes()).unwrap().report]).await;
            assert_eq!(rig.queued(&agent).await, 2, "{said}");
        });
    }
}
