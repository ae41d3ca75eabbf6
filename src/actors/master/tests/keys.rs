//! Keys: made, rolled, revoked, deleted; and agents that are removed with theirs.

use super::*;

#[test]
fn a_key_is_revoked_with_its_agent_and_then_deleted() {
    run(async {
        let rig = Rig::start().await;
        let (agent, raw) = rig.agent().await;
        let by_raw = || KeyRef::Raw(raw.clone().into());
        let key_id = rig.master.directory.slot(&agent).unwrap().key_id().unwrap();

        let in_use = rig.master.delete_key(by_raw(), "admin").await;
        assert!(matches!(in_use, Err(MasterError::KeyInUse(_))));
        let revoked = rig.master.revoke_key(by_raw(), "admin").await.unwrap();
        assert_eq!((&revoked.key_id, &revoked.affected_agents), (&key_id, &vec![agent.clone()]));
        assert!(rig.master.directory.authenticate(&raw).is_none());
        let again = rig.master.revoke_key(KeyRef::Id(key_id.clone()), "admin").await.unwrap();
        assert!(again.affected_agents.is_empty());

        assert_eq!(rig.master.delete_key(KeyRef::Id(key_id.clone()), "admin").await.unwrap().owner, "lab");
        let unknown = rig.master.delete_key(KeyRef::Id(key_id), "admin").await;
        assert!(matches!(unknown, Err(MasterError::KeyNotFound(_))));
    });
}

#[test]
fn deleting_revoked_keys_leaves_the_others() {
    run(async {
        let rig = Rig::start().await;
        let (_, raw) = rig.agent().await;
        for _ in 0..3 {
            let spare = rig.key().await;
            rig.master.revoke_key(KeyRef::Raw(spare.into()), "admin").await.unwrap();
        }
        assert_eq!(rig.master.delete_revoked_keys("admin").await.unwrap().len(), 3);
        assert_eq!(rig.master.delete_revoked_keys("admin").await.unwrap().len(), 0);
        assert!(rig.master.directory.authenticate(&raw).is_some());
    });
}

#[test]
fn a_rolled_key_works_beside_the_old_one_until_it_is_used() {
    run(async {
        let rig = Rig::start().await;
        let (agent, old) = rig.enrolled("edge").await;
        let new = rig.master.roll_key(&agent, "admin").await.unwrap().raw;
        let new = new.expose_secret();
        let directory = &rig.master.directory;
        for raw in [old.as_str(), new] {
            assert!(directory.admit(raw, agent.as_str(), Errand::Report).is_ok());
        }
        assert!(!rig.register(&old, input(Some(&agent))).await.unwrap().created, "the old key still greets");

        rig.register(new, input(Some(&agent))).await.unwrap();
        assert_eq!(directory.admit(&old, agent.as_str(), Errand::Report).err(), Some(Refused::UnknownKey));
        assert!(directory.admit(new, agent.as_str(), Errand::Report).is_ok());
        assert_eq!(rig.status(&agent).await, AgentStatus::Enrolled);
    });
}

#[test]
fn rolling_again_before_the_first_use_replaces_the_unused_key() {
    run(async {
        let rig = Rig::start().await;
        let (agent, old) = rig.agent().await;
        let first = rig.master.roll_key(&agent, "admin").await.unwrap().raw;
        let rig = rig.restart().await;
        let second = rig.master.roll_key(&agent, "admin").await.unwrap().raw;
        let directory = &rig.master.directory;
        assert!(directory.authenticate(first.expose_secret()).is_none());
        for raw in [old.as_str(), second.expose_secret()] {
            assert!(directory.admit(raw, agent.as_str(), Errand::Report).is_ok());
        }
    });
}

#[test]
fn rolling_the_key_of_a_revoked_agent_lets_it_in_again() {
    run(async {
        let rig = Rig::start().await;
        let (agent, _) = rig.enrolled("edge").await;
        rig.master.revoke(&agent, "admin").await.unwrap();
        let new = rig.master.roll_key(&agent, "admin").await.unwrap().raw;
        assert_eq!(rig.status(&agent).await, AgentStatus::Enrolled);
        let slot = rig.master.directory.admit(new.expose_secret(), agent.as_str(), Errand::Report).unwrap();
        assert_eq!(slot.status(), AgentStatus::Enrolled);
    });
}

#[test]
fn a_removed_agent_fetches_its_last_command_and_is_then_unknown() {
    run(async {
        let rig = Rig::start().await;
        let (agent, raw) = rig.enrolled("edge").await;
        rig.report(&agent, snapshot(&[container("web", "c1", "a.example.com")])).await;

        let removed = rig.master.remove(&agent, "admin").await.unwrap();
        assert_eq!(removed.rules_removed, 1);
        assert!(rig.routes(&agent).await.is_empty());
        let directory = &rig.master.directory;
        assert_eq!(directory.admit(&raw, agent.as_str(), Errand::Report).err(), Some(Refused::UnknownKey));
        let refused = rig.register(&raw, input(Some(&agent))).await;
        assert!(matches!(refused, Err(MasterError::KeyRevoked)), "{refused:?}");

        assert!(directory.admit(&raw, agent.as_str(), Errand::Commands).is_ok());
        let last = rig.master.lease_commands(&agent, 10, Dialect::V2).await.unwrap();
        assert_eq!(
            last.iter().map(|d| d.command.kind.clone()).collect::<Vec<_>>(),
            [CommandKind::StopTunnel]
        );
        until("the key is gone", async || directory.authenticate(&raw).is_none()).await;
        until("its slot is gone", async || directory.slot(&agent).is_none()).await;
        assert_eq!(rig.status(&agent).await, AgentStatus::Removed);
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
        until("its time is up", async || rig.master.directory.authenticate(&raw).is_none()).await;
        assert_eq!(rig.command(&stop).await.status, CommandStatus::Expired);
    });
}

#[test]
fn an_agent_without_a_tunnel_is_removed_at_once_and_may_come_back_as_new() {
    run(async {
        let rig = Rig::start().await;
        let (agent, raw) = rig.agent().await;
        assert_eq!(rig.master.remove(&agent, "admin").await.unwrap(), RemovedAgent::default());
        assert!(rig.master.directory.authenticate(&raw).is_none());
        let again = rig.master.remove(&agent, "admin").await;
        assert!(matches!(again, Err(MasterError::AgentNotFound(_))));

        let new = rig.key().await;
        assert!(rig.register(&new, input(Some(&agent))).await.unwrap().created);
        assert_eq!(rig.status(&agent).await, AgentStatus::Pending);
    });
}

#[test]
fn set_up_is_done_once() {
    run(async {
        let rig = Rig::start().await;
        rig.master.set_up_admin("root", "hash".to_owned().into()).await.unwrap();
        let again = rig.master.set_up_admin("other", "hash".to_owned().into()).await;
        assert!(matches!(again, Err(MasterError::AlreadySetUp)));
        rig.master.set_admin_password("root", "hash2".to_owned().into(), "root").await.unwrap();
        let id = db::settings::password_secret("root");
        let hash = db::secrets::get_secret(rig.db(), &id).await.unwrap();
        assert_eq!(hash.expose_secret(), "hash2");
    });
}
