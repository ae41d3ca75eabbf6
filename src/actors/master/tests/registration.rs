//! Who an agent is: one key, one agent.

use super::*;

#[test]
fn a_new_key_makes_a_pending_agent_that_keeps_its_identity() {
    run(async {
        let rig = Rig::start().await;
        let raw = rig.key().await;

        let first = rig.register(&raw, input(None)).await.unwrap();
        let again = rig.register(&raw, input(Some(&first.agent_id))).await.unwrap();
        let lost_its_file = rig.register(&raw, input(None)).await.unwrap();

        assert!(first.created && !again.created && !lost_its_file.created);
        assert_eq!((&again.agent_id, &lost_its_file.agent_id), (&first.agent_id, &first.agent_id));
        assert_eq!(rig.status(&first.agent_id).await, AgentStatus::Pending);
        assert_eq!(rig.events(&Stream::agent(&first.agent_id), "agent_registered").await, 1);
    });
}

#[test]
fn a_key_that_is_bound_cannot_take_another_name() {
    run(async {
        let rig = Rig::start().await;
        let (one, raw_one) = rig.agent().await;
        let (two, raw_two) = rig.agent().await;
        let unused = rig.key().await;
        for (raw, asked) in
            [(&raw_one, &two), (&raw_two, &one), (&raw_one, &AgentId::new("new")), (&unused, &one)]
        {
            let refused = rig.register(raw, input(Some(asked))).await;
            assert!(matches!(refused, Err(MasterError::KeyMismatch)), "{asked}: {refused:?}");
        }
        // The key that was refused is still free.
        assert!(rig.register(&unused, input(None)).await.unwrap().created);
    });
}

#[test]
fn an_unknown_id_is_adopted_by_a_key_that_nobody_uses() {
    run(async {
        let rig = Rig::start().await;
        let raw = rig.key().await;
        let id = AgentId::new("edba1cec-old-host");
        let registered = rig.register(&raw, input(Some(&id))).await.unwrap();
        assert!(registered.created);
        assert_eq!(registered.agent_id, id);
        assert_eq!(rig.master.directory.slot(&id).unwrap().status(), AgentStatus::Pending);
    });
}

#[test]
fn a_revoked_agent_is_refused_until_it_has_a_new_key_and_then_waits_for_a_person() {
    run(async {
        let rig = Rig::start().await;
        let (agent, raw) = rig.enrolled("edge").await;
        rig.report(&agent, snapshot(&[container("web", "c1", "a.example.com")])).await;

        rig.master.revoke(&agent, "admin").await.unwrap();
        assert!(rig.master.directory.authenticate(&raw).is_none());
        assert_eq!(rig.status(&agent).await, AgentStatus::Revoked);
        assert_eq!(rig.hostnames(&agent).await, ["a.example.com"], "what is published stays");

        let new = rig.key().await;
        let back = rig.register(&new, input(Some(&agent))).await.unwrap();
        assert!(!back.created);
        assert_eq!(rig.status(&agent).await, AgentStatus::Pending);
        let row = db::agents::get_agent(rig.db(), &agent).await.unwrap();
        assert_eq!(row.tunnel_name.as_deref(), Some("edge"), "its tunnel is still its own");

        rig.report(&agent, snapshot(&[])).await;
        let routes = rig.routes(&agent).await;
        assert_eq!(routes[0].state, RouteState::Active, "a pending agent changes nothing outside");
        let enrolled = rig.master.enroll(&agent, "edge", "admin").await.unwrap();
        assert!(enrolled.created);
        until("the lost container counts now", async || {
            matches!(rig.routes(&agent).await[0].state, RouteState::PendingDeletion { .. })
        })
        .await;
    });
}

#[test]
fn a_new_name_and_version_are_noted_unless_a_person_gave_the_name() {
    run(async {
        let rig = Rig::start().await;
        let (agent, raw) = rig.agent().await;
        let newer = RegisterInput {
            display_name: Some("Other".into()),
            version: Some("2.0".into()),
            ..input(Some(&agent))
        };
        rig.register(&raw, newer.clone()).await.unwrap();
        let row = db::agents::get_agent(rig.db(), &agent).await.unwrap();
        assert_eq!((row.display_name.as_str(), row.version.as_deref()), ("Other", Some("2.0")));

        rig.master.rename(&agent, "Front door", "admin").await.unwrap();
        rig.register(&raw, RegisterInput { version: Some("2.1".into()), ..newer }).await.unwrap();
        let row = db::agents::get_agent(rig.db(), &agent).await.unwrap();
        assert_eq!((row.display_name.as_str(), row.version.as_deref()), ("Front door", Some("2.1")));
        assert_eq!(rig.events(&Stream::agent(&agent), "agent_updated").await, 2);
    });
}

#[test]
fn registering_again_without_news_writes_nothing() {
    run(async {
        let rig = Rig::start().await;
        let (agent, raw) = rig.agent().await;
        let before = db::events::stream_version(rig.db(), &Stream::agent(&agent)).await.unwrap();
        for _ in 0..20 {
            rig.register(&raw, input(Some(&agent))).await.unwrap();
        }
        assert_eq!(db::events::stream_version(rig.db(), &Stream::agent(&agent)).await.unwrap(), before);
    });
}

#[test]
fn only_an_agent_that_asks_for_it_gets_a_session_and_a_new_one_ends_the_old() {
    run(async {
        let rig = Rig::start().await;
        let (agent, raw) = rig.agent().await;
        let first = rig.register(&raw, native(Some(&agent))).await.unwrap().session.unwrap();
        let second = rig.register(&raw, native(Some(&agent))).await.unwrap().session.unwrap();
        let slot = rig.master.directory.slot(&agent).unwrap();
        assert!(!slot.has_session(&first) && slot.has_session(&second));
        assert_eq!(rig.register(&raw, input(Some(&agent))).await.unwrap().session, None);
        assert_eq!(slot.dialect(), Dialect::V2);
    });
}

#[test]
fn what_an_agent_speaks_is_stored_with_its_registration_and_known_to_the_next_master() {
    run(async {
        let rig = Rig::start().await;
        let raw = rig.key().await;
        let agent = rig.register(&raw, native(None)).await.unwrap().agent_id;
        let stored = async |rig: &Rig| db::agents::get_agent(rig.db(), &agent).await.unwrap().dialect;
        let known = |rig: &Rig| rig.master.directory.slot(&agent).unwrap().dialect();
        assert_eq!((stored(&rig).await.as_deref(), known(&rig)), (Some("native"), Dialect::Native));

        let rig = rig.restart().await;
        assert_eq!(known(&rig), Dialect::Native, "before it registers again");
        rig.register(&raw, input(Some(&agent))).await.unwrap();
        assert_eq!((stored(&rig).await.as_deref(), known(&rig)), (Some("v2"), Dialect::V2));

        let rig = rig.restart().await;
        assert_eq!(known(&rig), Dialect::V2);
        rig.register(&raw, native(Some(&agent))).await.unwrap();
        assert_eq!((stored(&rig).await.as_deref(), known(&rig)), (Some("native"), Dialect::Native));
    });
}

#[test]
fn two_hosts_on_one_key_are_noticed() {
    run(async {
        let rig = Rig::start().await;
        let (agent, raw) = rig.agent().await;
        for turn in 0..6 {
            let host = if turn % 2 == 0 { "web-1" } else { "web-2" };
            let input = RegisterInput { hostname: Some(host.into()), ..native(Some(&agent)) };
            rig.register(&raw, input).await.unwrap();
        }
        assert!(rig.master.directory.slot(&agent).unwrap().two_hosts().is_some());
    });
}

#[test]
fn keys_and_agents_are_known_again_after_a_restart() {
    run(async {
        let rig = Rig::start().await;
        let (agent, raw) = rig.enrolled("edge").await;
        let (other, _) = rig.agent().await;
        let rig = rig.restart().await;
        let directory = &rig.master.directory;
        assert!(directory.is_loaded());
        let slot = admit(directory, &raw, &agent, Errand::Report).unwrap();
        assert_eq!(slot.status(), AgentStatus::Enrolled);
        assert!(slot.pending_commands(), "its start command still waits");
        assert_eq!(admit(directory, &raw, &other, Errand::Report).err(), Some(Refused::OtherAgent));
    });
}

#[test]
fn ever_new_names_fill_no_history_and_the_last_one_is_shown_in_time() {
    run(async {
        let rig = Rig::start().await;
        let (agent, raw) = rig.agent().await;
        let named = |name: &str| RegisterInput { display_name: Some(name.into()), ..input(Some(&agent)) };
        let shown = async || db::agents::get_agent(rig.db(), &agent).await.unwrap().display_name;
        for number in 0..40 {
            rig.register(&raw, named(&format!("host-{number}"))).await.unwrap();
        }
        assert_eq!(rig.events(&Stream::agent(&agent), "agent_updated").await, 10);
        assert_eq!(shown().await, "host-9");

        rig.master.clock.jump(chrono::TimeDelta::minutes(61));
        rig.register(&raw, named("host-39")).await.unwrap();

        assert_eq!(shown().await, "host-39");
        assert_eq!(rig.events(&Stream::agent(&agent), "agent_updated").await, 11);
    });
}
