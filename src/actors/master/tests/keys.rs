//! Keys: made, rolled, revoked, deleted.

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
        assert_eq!(rig.master.delete_revoked_keys(None, "admin").await.unwrap().len(), 3);
        assert_eq!(rig.master.delete_revoked_keys(None, "admin").await.unwrap().len(), 0);
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
            assert!(admit(directory, raw, &agent, Errand::Report).is_ok());
        }
        assert!(!rig.register(&old, input(Some(&agent))).await.unwrap().created, "the old key still greets");

        rig.register(new, input(Some(&agent))).await.unwrap();
        assert_eq!(admit(directory, &old, &agent, Errand::Report).err(), Some(Refused::UnknownKey));
        assert!(admit(directory, new, &agent, Errand::Report).is_ok());
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
            assert!(admit(directory, raw, &agent, Errand::Report).is_ok());
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
        let slot = admit(&rig.master.directory, new.expose_secret(), &agent, Errand::Report).unwrap();
        assert_eq!(slot.status(), AgentStatus::Enrolled);
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
