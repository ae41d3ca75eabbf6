//! Agents that are taken off the list: their connector can only be stopped by themselves.

use super::*;

/// What a poll brings: kinds of commands, with how often each was handed over.
async fn poll(rig: &Rig, agent: &AgentId, dialect: Dialect) -> Vec<(CommandKind, u32)> {
    let delivered = rig.master.lease_commands(agent, 10, dialect).await.unwrap();
    delivered.into_iter().map(|delivered| (delivered.command.kind, delivered.command.attempt)).collect()
}

async fn until_gone(rig: &Rig, agent: &AgentId, raw: &str) {
    let directory = &rig.master.directory;
    until("the key is gone", async || directory.authenticate(raw).is_none()).await;
    until("its slot is gone", async || directory.slot(agent).is_none()).await;
    assert_eq!(rig.status(agent).await, AgentStatus::Removed);
    let refused = db::keys::list_agent_keys(rig.db(), agent).await.unwrap();
    assert!(refused.iter().all(|key| key.status == crate::domain::agent::KeyStatus::Revoked), "{refused:?}");
}

#[test]
fn a_removed_dockflare_agent_is_told_to_stop_twice_and_is_then_unknown() {
    run(async {
        let rig = Rig::start().await;
        let (agent, raw) = rig.enrolled("edge").await;
        rig.report(&agent, snapshot(&[container("web", "c1", "a.example.com")])).await;

        let removed = rig.master.remove(&agent, "admin").await.unwrap();

        assert_eq!(removed.rules_removed, 1);
        assert!(rig.routes(&agent).await.is_empty());
        let directory = &rig.master.directory;
        assert_eq!(admit(directory, &raw, &agent, Errand::Report).err(), Some(Refused::UnknownKey));
        assert!(admit(directory, &raw, &agent, Errand::Commands).is_ok());
        assert_eq!(poll(&rig, &agent, Dialect::V2).await, [(CommandKind::StopTunnel, 1)]);
        // Its answer may have been cut on the way, and nothing says whether it was.
        assert!(directory.authenticate(&raw).is_some());
        assert_eq!(poll(&rig, &agent, Dialect::V2).await, [(CommandKind::StopTunnel, 2)]);
        until_gone(&rig, &agent, &raw).await;
    });
}

#[test]
fn a_removed_dockflare_agent_that_does_not_poll_a_second_time_loses_its_key() {
    run(async {
        let rig = Rig::start().await;
        let (agent, raw) = rig.enrolled("edge").await;
        rig.master.remove(&agent, "admin").await.unwrap();
        assert_eq!(poll(&rig, &agent, Dialect::V2).await.len(), 1);
        let rig = rig.restart().await;
        assert!(rig.master.directory.authenticate(&raw).is_some());
        rig.master.clock.jump(chrono::TimeDelta::seconds(91));
        until_gone(&rig, &agent, &raw).await;
    });
}

#[test]
fn an_agent_that_was_away_when_it_was_removed_registers_and_does_its_last_command() {
    run(async {
        // given
        let rig = Rig::start().await;
        let (agent, raw) = rig.enrolled("edge").await;
        let stop = rig.master.remove(&agent, "admin").await.unwrap().stop_command.unwrap();
        let rig = rig.restart().await;
        let before = db::events::stream_version(rig.db(), &Stream::agent(&agent)).await.unwrap();
        // when: it is back, under another name, and says what runs
        let named = RegisterInput { display_name: Some("New Name".into()), ..native(None) };
        let registered = rig.register(&raw, named).await.unwrap();
        assert_eq!((registered.created, &registered.agent_id), (false, &agent));
        let mut items = snapshot(&[container("web", "c1", "a.example.com")]);
        items.extend(tunnel_runs("edge"));
        let session = registered.session.unwrap();
        let batch = Reports { session, first_seq: 0, sent_at: None, items };
        assert_eq!(rig.master.report(&agent, batch).await.unwrap(), 2);
        // then: none of that counts
        assert_eq!(db::events::stream_version(rig.db(), &Stream::agent(&agent)).await.unwrap(), before);
        assert!(rig.routes(&agent).await.is_empty());
        assert!(db::containers::list_containers(rig.db(), &agent).await.unwrap().is_empty());
        assert!(db::tunnels::find_tunnel_observed(rig.db(), &agent).await.unwrap().is_none());
        // and it keeps its key until it says that it stopped, also if answers are cut on their way
        let stopped = (CommandKind::StopTunnel, 1);
        assert_eq!(poll(&rig, &agent, Dialect::Native).await, [stopped]);
        rig.master.clock.jump(chrono::TimeDelta::seconds(6));
        let slot = rig.master.directory.slot(&agent).unwrap();
        assert!(slot.wait_for_command(&slot.key_id().unwrap(), LONG).await, "it was not acknowledged");
        assert_eq!(poll(&rig, &agent, Dialect::Native).await, [(CommandKind::StopTunnel, 2)]);
        rig.master.acknowledge(&agent, &stop).await.unwrap();
        assert!(rig.master.directory.authenticate(&raw).is_some());
        let outcome = Outcome { succeeded: true, message: "stopped".into(), finished_at: None };
        rig.master.finish(&agent, &stop, outcome).await.unwrap();
        until_gone(&rig, &agent, &raw).await;
        assert_eq!(rig.command(&stop).await.status, CommandStatus::Succeeded);
    });
}

#[test]
fn a_removed_agent_may_say_in_a_report_that_it_stopped() {
    run(async {
        let rig = Rig::start().await;
        let (agent, raw) = rig.enrolled("edge").await;
        let session = rig.register(&raw, native(None)).await.unwrap().session.unwrap();
        let stop = rig.master.remove(&agent, "admin").await.unwrap().stop_command.unwrap();
        assert_eq!(poll(&rig, &agent, Dialect::Native).await.len(), 1);
        let outcome = Outcome { succeeded: true, message: "stopped".into(), finished_at: None };
        let items = vec![Report::CommandResult { id: stop, outcome }];
        rig.master.report(&agent, Reports { session, first_seq: 0, sent_at: None, items }).await.unwrap();
        until_gone(&rig, &agent, &raw).await;
    });
}

#[test]
fn a_removed_agent_that_is_never_heard_again_loses_its_key_in_the_end() {
    run(async {
        let settings =
            MasterSettings { removal_limit: Duration::from_millis(150), ..MasterSettings::default() };
        let rig = Rig::with(settings).await;
        let (agent, raw) = rig.enrolled("edge").await;
        let stop = rig.master.remove(&agent, "admin").await.unwrap().stop_command.unwrap();
        assert!(rig.master.directory.authenticate(&raw).is_some());
        let rig = rig.restart().await;
        until_gone(&rig, &agent, &raw).await;
        assert_eq!(rig.command(&stop).await.status, CommandStatus::Expired);
        let refused = rig.register(&raw, native(None)).await;
        assert!(matches!(refused, Err(MasterError::KeyRevoked)), "{refused:?}");
    });
}

#[test]
fn a_new_key_puts_the_one_of_a_removed_agent_out_of_use() {
    run(async {
        let rig = Rig::start().await;
        let (agent, old) = rig.enrolled("edge").await;
        rig.master.remove(&agent, "admin").await.unwrap();
        let new = rig.key().await;
        assert!(rig.register(&new, native(Some(&agent))).await.unwrap().created);
        assert!(rig.master.directory.authenticate(&old).is_none());
        assert_eq!(rig.status(&agent).await, AgentStatus::Pending);
        assert_eq!(poll(&rig, &agent, Dialect::Native).await, [(CommandKind::StopTunnel, 1)]);
        assert!(rig.master.directory.authenticate(&new).is_some());
    });
}

#[test]
fn an_agent_without_a_tunnel_is_removed_at_once_and_may_come_back_as_new() {
    run(async {
        let rig = Rig::start().await;
        let (agent, raw) = rig.agent().await;
        rig.report(&agent, snapshot(&[container("old", "c0", "old.example.com")])).await;
        assert_eq!(rig.master.remove(&agent, "admin").await.unwrap(), RemovedAgent::default());
        assert!(rig.master.directory.authenticate(&raw).is_none());
        let again = rig.master.remove(&agent, "admin").await;
        assert!(matches!(again, Err(MasterError::AgentNotFound(_))));

        let new = rig.key().await;
        assert!(rig.register(&new, input(Some(&agent))).await.unwrap().created);
        assert_eq!(rig.status(&agent).await, AgentStatus::Pending);
        rig.report(&agent, snapshot(&[container("web", "c1", "a.example.com")])).await;
        assert_eq!(db::containers::list_containers(rig.db(), &agent).await.unwrap().len(), 1, "it is heard");
    });
}
