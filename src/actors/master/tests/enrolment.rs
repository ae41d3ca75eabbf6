//! An agent gets its tunnel.

use super::*;
use crate::domain::event::{CommandEvent, Event};

#[test]
fn enrolment_stores_the_token_and_queues_the_start_in_one_step() {
    run(async {
        let rig = Rig::start().await;
        let (agent, _) = rig.agent().await;
        let enrolled = rig.master.enroll(&agent, " edge ", "admin").await.unwrap();
        assert!(enrolled.created);
        assert_eq!(enrolled.tunnel_name, "edge");
        assert_eq!(rig.status(&agent).await, AgentStatus::Enrolled);

        let delivered = rig.master.lease_commands(&agent, 10, Dialect::V2).await.unwrap();
        assert_eq!(delivered.len(), 1);
        assert_eq!(delivered[0].command.id, enrolled.command.id);
        assert_eq!(delivered[0].token.as_ref().unwrap().expose_secret(), "token-of-edge");
        let log = db::events::list_stream(rig.db(), &Stream::agent(&agent), 0, 100).await.unwrap();
        assert!(!serde_json::to_string(&log).unwrap().contains("token-of-edge"));
    });
}

#[test]
fn enrolling_again_answers_the_same_command() {
    run(async {
        let rig = Rig::start().await;
        let (agent, _) = rig.agent().await;
        let first = rig.master.enroll(&agent, "edge", "admin").await.unwrap();
        let again = rig.master.enroll(&agent, "edge", "admin").await.unwrap();
        assert!(!again.created);
        assert_eq!(again.command.id, first.command.id);
        let (one, two) =
            tokio::join!(rig.master.enroll(&agent, "edge", "a"), rig.master.enroll(&agent, "edge", "b"));
        assert_eq!(
            (one.unwrap().command.id, two.unwrap().command.id),
            (first.command.id.clone(), first.command.id)
        );
        assert_eq!(rig.events(&Stream::commands(&agent), "command_queued").await, 1);
        assert_eq!(rig.publisher.provided.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn enrolling_again_gives_a_new_tunnel_if_the_first_was_deleted_at_cloudflare() {
    run(async {
        let rig = Rig::start().await;
        let (agent, _) = rig.agent().await;
        let first = rig.master.enroll(&agent, "edge", "admin").await.unwrap();
        *rig.publisher.deleted.lock() = Some(first.tunnel_id.clone());

        *rig.publisher.silence.lock() = Some(MasterError::Cloudflare("no answer".into()));
        let unknown = rig.master.enroll(&agent, "edge", "admin").await.unwrap();
        let second = rig.master.enroll(&agent, "edge", "admin").await.unwrap();
        let third = rig.master.enroll(&agent, "edge", "admin").await.unwrap();

        assert_eq!(unknown.command.id, first.command.id, "nobody said that it is gone");
        assert!(second.created && second.tunnel_id != first.tunnel_id);
        assert_eq!((third.created, &third.command.id), (false, &second.command.id));
        assert_eq!(rig.command(&first.command.id).await.status, CommandStatus::Expired);
        assert_eq!(rig.command(&second.command.id).await.status, CommandStatus::Queued);
        let row = db::agents::get_agent(rig.db(), &agent).await.unwrap();
        assert_eq!(row.tunnel_id, Some(second.tunnel_id));
    });
}

/// How the command of an enrolment ends, and what the agent says of its tunnel then.
enum End {
    Done,
    Failed,
    TooOld,
    DoneAndDown(TunnelHealth),
}

#[test]
fn enrolling_again_starts_a_tunnel_that_is_not_up_and_leaves_one_that_is() {
    let cases = [
        (End::Done, false),
        (End::Failed, true),
        (End::TooOld, true),
        (End::DoneAndDown(TunnelHealth::Stopped), true),
        (End::DoneAndDown(TunnelHealth::Failed), true),
        (End::DoneAndDown(TunnelHealth::Restarting), false),
    ];
    for (end, starts_again) in cases {
        run(async {
            let rig = Rig::start().await;
            let (agent, _) = rig.agent().await;
            // What the agent said before it had a tunnel is no news about the one it gets.
            rig.report(&agent, tunnel_is(TunnelHealth::Stopped)).await;
            let first = rig.master.enroll(&agent, "edge", "admin").await.unwrap().command.id;
            rig.come_to(&agent, &first, end).await;

            let (one, two) =
                tokio::join!(rig.master.enroll(&agent, "edge", "a"), rig.master.enroll(&agent, "edge", "b"));

            let (one, two) = (one.unwrap().command, two.unwrap().command);
            assert_eq!(one.id, two.id);
            assert_eq!(one.id != first, starts_again, "{one:?}");
            let status = if starts_again { CommandStatus::Queued } else { CommandStatus::Succeeded };
            assert_eq!(rig.command(&one.id).await.status, status);
            let queued = rig.events(&Stream::commands(&agent), "command_queued").await;
            assert_eq!(queued, 1 + usize::from(starts_again));
        });
    }
}

fn tunnel_is(health: TunnelHealth) -> Vec<Report> {
    let mut said = tunnel_runs("edge");
    if let Report::Tunnel { tunnel } = &mut said[0] {
        tunnel.health = health;
    }
    said
}

impl Rig {
    async fn come_to(&self, agent: &AgentId, command: &crate::domain::id::CommandId, end: End) {
        let finish = async |succeeded| {
            assert_eq!(self.master.lease_commands(agent, 10, Dialect::Native).await.unwrap().len(), 1);
            let outcome = Outcome { succeeded, message: "so it ended".into(), finished_at: None };
            self.master.finish(agent, command, outcome).await.unwrap();
        };
        match end {
            End::Done => finish(true).await,
            End::Failed => finish(false).await,
            End::TooOld => {
                let (agent_id, command_id) = (agent.clone(), command.clone());
                let expired = Event::Command(CommandEvent::Expired { agent_id, command_id });
                let batch = self.master.env.batch("test");
                let batch = batch.append(Stream::commands(agent), db::Expected::Head, vec![expired]);
                self.master.env.ledger.commit(batch).await.unwrap();
            }
            End::DoneAndDown(health) => {
                finish(true).await;
                self.report(agent, tunnel_runs("edge")).await;
                self.report(agent, tunnel_is(health)).await;
            }
        }
    }
}

#[test]
fn two_first_enrolments_at_once_queue_one_command() {
    run(async {
        let rig = Rig::start().await;
        let (agent, _) = rig.agent().await;
        let (one, two) =
            tokio::join!(rig.master.enroll(&agent, "edge", "a"), rig.master.enroll(&agent, "edge", "b"));
        assert_eq!(one.unwrap().command.id, two.unwrap().command.id);
        assert_eq!(rig.events(&Stream::agent(&agent), "agent_enrolled").await, 1);
    });
}

#[test]
fn another_tunnel_takes_the_place_of_the_first() {
    run(async {
        let rig = Rig::start().await;
        let (agent, _) = rig.agent().await;
        let first = rig.master.enroll(&agent, "edge", "admin").await.unwrap();
        let second = rig.master.enroll(&agent, "edge-2", "admin").await.unwrap();
        assert!(second.created);
        assert_eq!(rig.command(&first.command.id).await.status, CommandStatus::Expired);
        let delivered = rig.master.lease_commands(&agent, 10, Dialect::Native).await.unwrap();
        let tokens: Vec<_> = delivered.iter().map(|d| d.token.as_ref().unwrap().expose_secret()).collect();
        assert_eq!(tokens, ["token-of-edge-2"]);
    });
}

#[test]
fn what_cannot_be_enrolled_changes_nothing() {
    run(async {
        let rig = Rig::start().await;
        let (taken_by, _) = rig.enrolled("taken").await;
        let (agent, _) = rig.agent().await;

        for name in ["", "  ", "a\u{7}b", &"x".repeat(101)] {
            let refused = rig.master.enroll(&agent, name, "admin").await;
            assert!(matches!(refused, Err(MasterError::Invalid(_))), "{name:?}: {refused:?}");
        }
        let unknown = rig.master.enroll(&AgentId::new("nobody"), "edge", "admin").await;
        assert!(matches!(unknown, Err(MasterError::AgentNotFound(_))));
        let taken = rig.master.enroll(&agent, "taken", "admin").await;
        assert!(matches!(taken, Err(MasterError::TunnelTaken { by }) if by == taken_by));
        for refusal in [
            MasterError::TunnelIsLocal("edge".into()),
            MasterError::NoCloudflareToken,
            MasterError::Cloudflare("1003: name is reserved".into()),
        ] {
            let code = refusal.code();
            *rig.publisher.refusal.lock() = Some(refusal);
            assert_eq!(rig.master.enroll(&agent, "edge", "admin").await.unwrap_err().code(), code);
        }
        assert_eq!(rig.status(&agent).await, AgentStatus::Pending);
        assert!(db::commands::list_commands(rig.db(), &agent, 10).await.unwrap().is_empty());
    });
}

#[test]
fn enrolment_publishes_what_is_mirrored_without_a_new_report() {
    run(async {
        let rig = Rig::start().await;
        let (agent, _) = rig.agent().await;
        rig.report(&agent, snapshot(&[container("web", "c1", "a.example.com")])).await;
        assert!(rig.routes(&agent).await.is_empty(), "a pending agent claims nothing");
        assert_eq!(db::containers::list_containers(rig.db(), &agent).await.unwrap().len(), 1);

        let woken = rig.publisher.woken.load(Ordering::SeqCst);
        rig.master.enroll(&agent, "edge", "admin").await.unwrap();
        until("its container is claimed", async || rig.hostnames(&agent).await == ["a.example.com"]).await;
        until("the publisher knows", async || rig.publisher.woken.load(Ordering::SeqCst) > woken + 1).await;
    });
}

#[test]
fn redeploying_needs_a_tunnel_and_queues_one_restart_at_a_time() {
    run(async {
        let rig = Rig::start().await;
        let (agent, _) = rig.agent().await;
        let early = rig.master.redeploy(&agent, "admin").await;
        assert!(matches!(early, Err(MasterError::NotEnrolled(_))));
        rig.master.enroll(&agent, "edge", "admin").await.unwrap();
        let first = rig.master.redeploy(&agent, "admin").await.unwrap();
        let second = rig.master.redeploy(&agent, "admin").await.unwrap();
        assert_eq!(first.id, second.id);
        let delivered = rig.master.lease_commands(&agent, 10, Dialect::V2).await.unwrap();
        let actions: Vec<_> = delivered.iter().map(|d| d.command.kind.action()).collect();
        assert_eq!(actions, ["start_tunnel", "restart_tunnel"]);
        assert_ne!(rig.master.redeploy(&agent, "admin").await.unwrap().id, first.id);
    });
}

#[test]
fn a_tunnel_that_does_not_connect_is_compared_and_one_that_serves_or_is_not_wanted_is_not() {
    run(async {
        use TunnelHealth::{Degraded, Failed, Restarting, Running, Stopped, Unknown};
        let rig = Rig::start().await;
        let (dockflare, _) = rig.enrolled("edge").await;
        let (ours, raw) = rig.enrolled("hall").await;
        let session = rig.register(&raw, native(Some(&ours))).await.unwrap().session.unwrap();
        let compared = || rig.publisher.compared.swap(0, Ordering::SeqCst);
        for (first_seq, (health, in_v2, native)) in [
            (Running, 0, 0),
            (Degraded, 1, 1),
            (Degraded, 0, 0),
            (Restarting, 1, 1),
            (Unknown, 0, 0),
            (Failed, 1, 1),
            // A DockFlare agent knows no other word; one of ours says it if no tunnel is wanted.
            (Stopped, 1, 0),
        ]
        .into_iter()
        .enumerate()
        {
            rig.report(&dockflare, tunnel_is(health)).await;
            assert_eq!(compared(), in_v2, "{health:?} in v2");
            let first_seq = first_seq as u64;
            let items = tunnel_is(health);
            rig.master
                .report(&ours, Reports { session: session.clone(), first_seq, sent_at: None, items })
                .await
                .unwrap();
            assert_eq!(compared(), native, "{health:?} in our own dialect");
        }
    });
}
