//! Commands on their way.

use super::*;

fn succeeded() -> Outcome {
    Outcome { succeeded: true, message: "done".into(), finished_at: None }
}

async fn lease(rig: &Rig, agent: &AgentId, dialect: Dialect) -> Vec<Command> {
    let delivered = rig.master.lease_commands(agent, 10, dialect).await.unwrap();
    delivered.into_iter().map(|delivered| delivered.command).collect()
}

/// An enrolled agent in a native session.
async fn native_agent(rig: &Rig) -> (AgentId, String) {
    let (agent, raw) = rig.enrolled("edge").await;
    let session = rig.register(&raw, native(Some(&agent))).await.unwrap().session.unwrap();
    (agent, session)
}

#[test]
fn a_delivery_is_committed_before_it_is_answered() {
    run(async {
        let rig = Rig::start().await;
        let (agent, _) = rig.enrolled("edge").await;
        let delivered = lease(&rig, &agent, Dialect::Native).await;
        let stored = rig.command(&delivered[0].id).await;
        assert_eq!((stored.status, stored.attempt), (CommandStatus::Delivered, 1));
        assert_eq!(stored.lease_until, delivered[0].lease_until);
        assert!(lease(&rig, &agent, Dialect::Native).await.is_empty(), "it is leased");
    });
}

#[test]
fn a_parked_poll_wakes_when_a_command_is_queued() {
    run(async {
        let rig = Rig::start().await;
        let (agent, _) = rig.agent().await;
        let slot = rig.master.directory.slot(&agent).unwrap();
        let key = slot.key_id().unwrap();
        let (woken, enrolled) =
            tokio::join!(slot.wait_for_command(&key, LONG), rig.master.enroll(&agent, "edge", "admin"));
        assert!(woken);
        assert_eq!(lease(&rig, &agent, Dialect::Native).await[0].id, enrolled.unwrap().command.id);
    });
}

#[test]
fn a_delivery_that_is_not_acknowledged_is_made_again_under_the_same_id() {
    run(async {
        let rig = Rig::start().await;
        let (agent, _) = native_agent(&rig).await;
        let first = lease(&rig, &agent, Dialect::Native).await.remove(0);
        rig.master.clock.jump(chrono::TimeDelta::seconds(6));
        let slot = rig.master.directory.slot(&agent).unwrap();
        assert!(slot.wait_for_command(&slot.key_id().unwrap(), LONG).await, "parked polls are woken");
        let second = lease(&rig, &agent, Dialect::Native).await.remove(0);
        assert_eq!((&second.id, second.attempt), (&first.id, 2));

        rig.master.acknowledge(&agent, &second.id).await.unwrap();
        rig.master.clock.jump(chrono::TimeDelta::seconds(121));
        assert!(
            slot.wait_for_command(&slot.key_id().unwrap(), LONG).await,
            "it fell silent with the command"
        );
        assert_eq!(lease(&rig, &agent, Dialect::Native).await[0].attempt, 3);
    });
}

#[test]
fn a_command_that_is_finished_twice_is_one_event() {
    run(async {
        let rig = Rig::start().await;
        let (agent, session) = native_agent(&rig).await;
        let id = lease(&rig, &agent, Dialect::Native).await.remove(0).id;
        rig.master.acknowledge(&agent, &id).await.unwrap();
        rig.master.acknowledge(&agent, &id).await.unwrap();
        assert_eq!(rig.command(&id).await.status, CommandStatus::Acknowledged);
        rig.master.finish(&agent, &id, succeeded()).await.unwrap();
        rig.master.finish(&agent, &id, succeeded()).await.unwrap();
        rig.master.acknowledge(&agent, &id).await.unwrap();
        let items = vec![Report::CommandResult { id: id.clone(), outcome: succeeded() }];
        let batch = Reports { session, first_seq: 0, sent_at: None, items };
        rig.master.report(&agent, batch).await.unwrap();
        assert_eq!(rig.command(&id).await.status, CommandStatus::Succeeded);
        assert_eq!(rig.events(&Stream::commands(&agent), "command_finished").await, 1);
        assert_eq!(rig.events(&Stream::commands(&agent), "command_acknowledged").await, 1);
    });
}

#[test]
fn another_agents_command_is_not_known() {
    run(async {
        let rig = Rig::start().await;
        let (one, _) = rig.enrolled("edge-1").await;
        let (two, session) = {
            let (agent, raw) = rig.agent().await;
            let session = rig.register(&raw, native(Some(&agent))).await.unwrap().session.unwrap();
            (agent, session)
        };
        let id = lease(&rig, &one, Dialect::Native).await.remove(0).id;
        let acknowledged = rig.master.acknowledge(&two, &id).await;
        assert!(matches!(acknowledged, Err(MasterError::CommandNotFound(_))));
        let finished = rig.master.finish(&two, &id, succeeded()).await;
        assert!(matches!(finished, Err(MasterError::CommandNotFound(_))));
        // In a batch it is passed over: an agent must not be stuck with a result nobody wants.
        let items = vec![Report::CommandResult { id: id.clone(), outcome: succeeded() }];
        let batch = Reports { session, first_seq: 0, sent_at: None, items };
        assert_eq!(rig.master.report(&two, batch).await.unwrap(), 1);
        assert_eq!(rig.command(&id).await.status, CommandStatus::Delivered);
    });
}

#[test]
fn a_running_tunnel_confirms_the_start_of_a_dockflare_agent() {
    run(async {
        let rig = Rig::start().await;
        let (agent, _) = rig.enrolled("edge").await;
        rig.report(&agent, tunnel_runs("edge")).await;
        let id = lease(&rig, &agent, Dialect::V2).await.remove(0).id;
        assert_eq!(rig.command(&id).await.status, CommandStatus::Delivered);
        rig.report(&agent, tunnel_runs("edge")).await;
        assert_eq!(rig.command(&id).await.status, CommandStatus::Succeeded, "even if it says nothing new");
    });
}

#[test]
fn what_a_dockflare_agent_never_confirms_is_repeated_three_times() {
    run(async {
        let rig = Rig::start().await;
        let (agent, _) = rig.enrolled("edge").await;
        let id = lease(&rig, &agent, Dialect::V2).await.remove(0).id;
        for attempt in 2..=4 {
            rig.lease_ends(&agent).await;
            let again = lease(&rig, &agent, Dialect::V2).await;
            assert_eq!((&again[0].id, again[0].attempt), (&id, attempt));
        }
        rig.lease_ends(&agent).await;
        until("it is shown as unconfirmed", async || rig.command(&id).await.status == CommandStatus::Expired)
            .await;
        assert!(lease(&rig, &agent, Dialect::V2).await.is_empty());
    });
}

#[test]
fn a_new_connector_confirms_the_start_of_a_dockflare_agent_whose_word_was_lost() {
    run(async {
        let rig = Rig::start().await;
        *rig.publisher.connectors.lock() = vec!["there before".into()];
        let (agent, _) = rig.enrolled("edge").await;
        let id = lease(&rig, &agent, Dialect::V2).await.remove(0).id;
        rig.publisher.connectors.lock().clear();
        rig.lease_ends(&agent).await;
        assert_eq!(lease(&rig, &agent, Dialect::V2).await[0].attempt, 2, "nobody is connected");
        rig.publisher.connectors.lock().push("new".into());
        rig.master.clock.jump(chrono::TimeDelta::seconds(91));
        until("it is confirmed", async || rig.command(&id).await.status == CommandStatus::Succeeded).await;
    });
}

#[test]
fn a_restart_is_told_to_a_dockflare_agent_once() {
    run(async {
        let rig = Rig::start().await;
        let (agent, _) = rig.enrolled("edge").await;
        lease(&rig, &agent, Dialect::V2).await;
        rig.report(&agent, tunnel_runs("edge")).await;
        let restart = rig.master.redeploy(&agent, "admin").await.unwrap();
        assert_eq!(lease(&rig, &agent, Dialect::V2).await.len(), 1);
        rig.lease_ends(&agent).await;
        until("it is shown as unconfirmed", async || {
            rig.command(&restart.id).await.status == CommandStatus::Expired
        })
        .await;
        assert!(lease(&rig, &agent, Dialect::V2).await.is_empty());
    });
}

#[test]
fn commands_survive_a_restart_of_the_master_before_and_after_delivery() {
    run(async {
        let rig = Rig::start().await;
        let (agent, _) = rig.enrolled("edge").await;
        let rig = rig.restart().await;
        let id = lease(&rig, &agent, Dialect::V2).await.remove(0).id;
        let rig = rig.restart().await;
        assert!(lease(&rig, &agent, Dialect::V2).await.is_empty(), "it is the agent's until the lease ends");
        rig.lease_ends(&agent).await;
        let again = lease(&rig, &agent, Dialect::V2).await;
        assert_eq!((&again[0].id, again[0].attempt), (&id, 2));
    });
}

#[test]
fn what_an_agent_of_ours_has_is_told_again_also_after_a_restart_of_the_master() {
    run(async {
        // given: a restart that the agent has and did not finish, and that a DockFlare agent would be told only once
        let rig = Rig::start().await;
        let (agent, _) = native_agent(&rig).await;
        let start = lease(&rig, &agent, Dialect::Native).await.remove(0).id;
        rig.master.finish(&agent, &start, succeeded()).await.unwrap();
        let restart = rig.master.redeploy(&agent, "admin").await.unwrap().id;
        assert_eq!(lease(&rig, &agent, Dialect::Native).await.len(), 1);
        // when: the agent has not registered with the new master yet
        let rig = rig.restart().await;
        rig.lease_ends(&agent).await;
        // then
        assert_eq!(rig.command(&restart).await.status, CommandStatus::Queued);
        let again = lease(&rig, &agent, Dialect::Native).await;
        assert_eq!((&again[0].id, again[0].attempt), (&restart, 2));
    });
}

#[test]
fn a_leap_of_the_clock_expires_no_command() {
    run(async {
        let rig = Rig::start().await;
        let (agent, _) = native_agent(&rig).await;
        let restart = rig.master.redeploy(&agent, "admin").await.unwrap();
        rig.master.clock.jump(chrono::TimeDelta::days(30));
        until("its life moved", async || {
            let stored = rig.command(&restart.id).await;
            assert_eq!(stored.status, CommandStatus::Queued);
            stored.expires_at - restart.expires_at > chrono::TimeDelta::days(29)
        })
        .await;
        until("nobody is behind", async || !rig.master.env.leaps.are_open()).await;
        let left = rig.command(&restart.id).await.expires_at - rig.master.clock.now();
        assert!(left <= chrono::TimeDelta::hours(1), "it lives no longer than it should: {left}");
        let start = lease(&rig, &agent, Dialect::Native).await.remove(0);
        assert_eq!(lease(&rig, &agent, Dialect::Native).await, []);
        assert!(matches!(start.kind, CommandKind::StartTunnel { .. }), "{start:?}");
    });
}

#[test]
fn an_agent_that_polls_before_the_leap_was_dealt_with_gets_its_command() {
    run(async {
        let rig = Rig::start().await;
        let (agent, _) = native_agent(&rig).await;
        rig.master.clock.jump(chrono::TimeDelta::days(30));
        let start = lease(&rig, &agent, Dialect::Native).await.remove(0);
        assert!(start.expires_at > rig.master.clock.now(), "it may do it");
        rig.master.finish(&agent, &start.id, succeeded()).await.unwrap();
        assert_eq!(rig.events(&Stream::commands(&agent), "command_expired").await, 0);
    });
}

#[test]
fn a_batch_that_was_seen_changes_nothing() {
    run(async {
        let rig = Rig::start().await;
        let (agent, session) = native_agent(&rig).await;
        let web = container("web", "c1", "a.example.com");
        let batch = |first_seq, items| Reports { session: session.clone(), first_seq, sent_at: None, items };
        assert_eq!(rig.master.report(&agent, batch(0, seen(&web))).await.unwrap(), 1);
        assert_eq!(rig.master.report(&agent, batch(1, snapshot(&[]))).await.unwrap(), 2);
        // The answer was lost on the way: it comes again, alone or with more behind it.
        assert_eq!(rig.master.report(&agent, batch(0, seen(&web))).await.unwrap(), 2);
        let mut both = seen(&web);
        both.push(Report::Heartbeat);
        both.push(Report::Heartbeat);
        assert_eq!(rig.master.report(&agent, batch(0, both)).await.unwrap(), 3);
        assert!(matches!(rig.routes(&agent).await[0].state, RouteState::PendingDeletion { .. }));
        let other =
            Reports { session: "old".into(), first_seq: 0, sent_at: None, items: vec![Report::Heartbeat] };
        assert!(matches!(rig.master.report(&agent, other).await, Err(MasterError::SessionUnknown)));
    });
}

impl Rig {
    /// Lets the lease of every command of an agent end: its stored end is moved, and the scheduler reads it.
    async fn lease_ends(&self, agent: &AgentId) {
        self.master.clock.jump(chrono::TimeDelta::seconds(91));
        let settled = async || {
            let open = db::commands::list_open_commands(self.db(), agent).await.unwrap();
            let slot = self.master.directory.slot(agent).unwrap();
            let is_queued = open.iter().all(|command| command.status == CommandStatus::Queued);
            is_queued && slot.pending_commands() != open.is_empty()
        };
        until("the lease ends", settled).await;
    }
}
