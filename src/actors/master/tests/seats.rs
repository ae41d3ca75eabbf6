//! Hosts that came with one key.

use super::*;

/// A registration from this host, without an id.
fn from(address: [u8; 4], host: Option<&str>) -> RegisterInput {
    RegisterInput { peer: IpAddr::from(address), hostname: host.map(str::to_owned), ..input(None) }
}

const HOME: [u8; 4] = [192, 0, 2, 1];
const FAR: [u8; 4] = [192, 0, 2, 2];

/// An enrolled agent at home with a route, and its key.
async fn at_home(rig: &Rig) -> (AgentId, String) {
    let raw = rig.key().await;
    let agent = rig.register(&raw, from(HOME, None)).await.unwrap().agent_id;
    rig.master.enroll(&agent, "edge", "admin").await.unwrap();
    rig.report(&agent, snapshot(&[container("web", "c1", "a.example.com")])).await;
    (agent, raw)
}

async fn guest(rig: &Rig, raw: &str) -> AgentId {
    let registered = rig.register(raw, from(FAR, None)).await.unwrap();
    assert!(registered.created, "it is an agent of its own");
    registered.agent_id
}

#[test]
fn a_second_host_with_a_key_is_an_agent_of_its_own_and_the_first_is_not_touched() {
    run(async {
        let rig = Rig::start().await;
        let (first, raw) = at_home(&rig).await;

        let second = guest(&rig, &raw).await;

        assert_ne!(second, first);
        assert_eq!(rig.status(&second).await, AgentStatus::Pending);
        let directory = &rig.master.directory;
        for agent in [&first, &second] {
            assert!(admit(directory, &raw, agent, Errand::Report).is_ok(), "{agent}");
        }
        // What it lists takes nothing away from the first.
        rig.report(&second, snapshot(&[container("other", "c2", "b.example.com")])).await;
        assert_eq!(rig.hostnames(&first).await, ["a.example.com"]);
        assert_eq!(rig.routes(&first).await[0].state, RouteState::Active);
        // Either comes back as itself, with its id and without.
        for (place, agent) in [(HOME, &first), (FAR, &second)] {
            let again = rig.register(&raw, from(place, None)).await.unwrap();
            assert_eq!((&again.agent_id, again.created), (agent, false));
            let known = RegisterInput { agent_id: Some(agent.clone()), ..from(place, None) };
            assert_eq!(rig.register(&raw, known).await.unwrap().agent_id, *agent);
        }
    });
}

#[test]
fn hosts_behind_one_address_are_told_apart_by_their_names() {
    run(async {
        let rig = Rig::start().await;
        let raw = rig.key().await;
        let first = rig.register(&raw, from(HOME, Some("one"))).await.unwrap();
        let second = rig.register(&raw, from(HOME, Some("two"))).await.unwrap();
        let lost_its_file = rig.register(&raw, from(HOME, Some("one"))).await.unwrap();
        assert!(first.created && second.created && !lost_its_file.created);
        assert_eq!(lost_its_file.agent_id, first.agent_id);
    });
}

#[test]
fn a_lone_host_that_lost_its_file_and_moved_gets_its_identity_back() {
    run(async {
        let rig = Rig::start().await;
        let (agent, raw) = at_home(&rig).await;
        rig.master.clock.jump(chrono::TimeDelta::seconds(61));
        let moved = rig.register(&raw, from(FAR, None)).await.unwrap();
        assert_eq!((&moved.agent_id, moved.created), (&agent, false));
    });
}

#[test]
fn a_second_host_is_enrolled_once_its_key_has_a_seat_for_it() {
    run(async {
        let rig = Rig::start().await;
        let (_, raw) = at_home(&rig).await;
        let second = guest(&rig, &raw).await;
        let key_id = rig.master.directory.slot(&second).unwrap().key_id().unwrap();

        for refused in [
            rig.master.enroll(&second, "far", "admin").await.map(drop),
            rig.master.approve(&second, "admin").await,
        ] {
            let text = refused.unwrap_err().to_string();
            assert!(text.contains("no seat left") && text.contains(key_id.as_str()), "{text}");
        }
        assert_eq!(rig.publisher.provided.load(Ordering::SeqCst), 1, "no tunnel was made for it");

        rig.master.allow_seat(&second, "admin").await.unwrap();
        rig.master.enroll(&second, "far", "admin").await.unwrap();
        assert_eq!(rig.status(&second).await, AgentStatus::Enrolled);
        // A third one would need another.
        let third = rig.register(&raw, from([192, 0, 2, 3], None)).await.unwrap().agent_id;
        assert!(matches!(rig.master.enroll(&third, "x", "admin").await, Err(MasterError::NoSeat { .. })));
        // Who is enrolled stays, whatever becomes of the number.
        rig.master.seat_key(KeyRef::Id(key_id.clone()), 1, "admin").await.unwrap();
        rig.master.enroll(&second, "far", "admin").await.unwrap();
        for wrong in [0, 1_001] {
            let refused = rig.master.seat_key(KeyRef::Id(key_id.clone()), wrong, "admin").await;
            assert!(matches!(refused, Err(MasterError::Invalid(_))), "{refused:?}");
        }
        let rig = rig.restart().await;
        assert!(admit(&rig.master.directory, &raw, &second, Errand::Report).is_ok());
    });
}

#[test]
fn a_second_host_that_gets_a_key_of_its_own_leaves_the_first_ones_alone() {
    run(async {
        let rig = Rig::start().await;
        let (first, raw) = at_home(&rig).await;
        let second = guest(&rig, &raw).await;

        let own = rig.master.roll_key(&second, "admin").await.unwrap().raw.expose_secret().to_owned();
        let directory = &rig.master.directory;
        assert!(admit(directory, &raw, &second, Errand::Report).is_ok(), "until it uses its own");
        let came = RegisterInput { agent_id: Some(second.clone()), ..from(FAR, None) };
        assert_eq!(rig.register(&own, came).await.unwrap().agent_id, second);

        let refused = admit(directory, &raw, &second, Errand::Report).err();
        assert_eq!(refused, Some(Refused::OtherAgent));
        assert!(admit(directory, &raw, &first, Errand::Report).is_ok());
        rig.master.enroll(&second, "far", "admin").await.unwrap();
        let rig = rig.restart().await;
        let refused = admit(&rig.master.directory, &raw, &second, Errand::Report).err();
        assert_eq!(refused, Some(Refused::OtherAgent));
    });
}

#[test]
fn removing_one_of_two_hosts_leaves_the_key_to_the_other() {
    run(async {
        for first_goes in [true, false] {
            let rig = Rig::start().await;
            let (first, raw) = at_home(&rig).await;
            let second = guest(&rig, &raw).await;
            let (gone, stays) = if first_goes { (&first, &second) } else { (&second, &first) };

            let removed = rig.master.remove(gone, "admin").await.unwrap();
            if let Some(stop) = removed.stop_command {
                let handed = rig.master.lease_commands(gone, 10, Dialect::Native).await.unwrap();
                assert!(handed.iter().any(|delivered| delivered.command.id == stop));
                let outcome = Outcome { succeeded: true, message: String::new(), finished_at: None };
                rig.master.finish(gone, &stop, outcome).await.unwrap();
            }

            let directory = &rig.master.directory;
            until("the removed one is gone", async || directory.slot(gone).is_none()).await;
            assert!(admit(directory, &raw, stays, Errand::Report).is_ok(), "{first_goes}");
            let key = directory.authenticate(&raw).unwrap();
            assert!(!directory.is_leaving(&key));
            let rig = rig.restart().await;
            assert!(admit(&rig.master.directory, &raw, stays, Errand::Report).is_ok(), "{first_goes}");
        }
    });
}

#[test]
fn a_key_that_is_revoked_silences_every_host_that_came_with_it() {
    run(async {
        let rig = Rig::start().await;
        let (first, raw) = at_home(&rig).await;
        let second = guest(&rig, &raw).await;

        let dropped = rig.master.revoke_key(KeyRef::Raw(raw.clone().into()), "admin").await.unwrap();

        assert_eq!(dropped.affected_agents, [first.clone(), second.clone()]);
        assert!(rig.master.directory.authenticate(&raw).is_none());
        for agent in [&first, &second] {
            assert_eq!(rig.status(agent).await, AgentStatus::Revoked, "{agent}");
        }
    });
}

#[test]
fn a_second_host_that_is_revoked_is_not_heard_and_the_first_is() {
    run(async {
        let rig = Rig::start().await;
        let (first, raw) = at_home(&rig).await;
        let second = guest(&rig, &raw).await;

        rig.master.revoke(&second, "admin").await.unwrap();

        let directory = &rig.master.directory;
        assert!(admit(directory, &raw, &second, Errand::Report).is_err());
        assert!(matches!(rig.register(&raw, from(FAR, None)).await, Err(MasterError::KeyRevoked)));
        assert!(admit(directory, &raw, &first, Errand::Report).is_ok());
        let rig = rig.restart().await;
        assert!(admit(&rig.master.directory, &raw, &second, Errand::Report).is_err());
    });
}

#[test]
fn hosts_that_come_at_once_with_one_key_are_one_agent_each_place() {
    run(async {
        let rig = Rig::start().await;
        let raw = rig.key().await;
        let registrations = (0..20).map(|_| rig.register(&raw, from(HOME, None)));
        let registered = futures_util::future::join_all(registrations).await;
        let agents: std::collections::BTreeSet<AgentId> =
            registered.into_iter().map(|registered| registered.unwrap().agent_id).collect();
        assert_eq!(agents.len(), 1, "{agents:?}");
    });
}

#[test]
fn agents_that_register_at_the_same_time_share_commits() {
    run(async {
        let db = Db::in_memory(Io::current()).await.unwrap();
        let writer = Arc::new(Counted { db: db.clone(), commits: AtomicUsize::new(0) });
        let rig = Rig::writing_through(db, writer.clone()).await;
        let mut keys = Vec::new();
        for _ in 0..100 {
            keys.push(rig.key().await);
        }
        writer.commits.store(0, Ordering::SeqCst);

        let registrations = keys.iter().map(|raw| rig.register(raw, input(None)));
        let registered = futures_util::future::join_all(registrations).await;

        assert!(registered.into_iter().all(|registered| registered.unwrap().created));
        let commits = writer.commits.load(Ordering::SeqCst);
        assert!(commits <= 20, "{commits} commits");
    });
}

/// Counts how often something is written.
struct Counted {
    db: Db,
    commits: AtomicUsize,
}

#[async_trait]
impl Writer for Counted {
    async fn commit_many(&self, batches: Vec<db::Batch>) -> Vec<Result<db::Committed, db::CommitError>> {
        self.commits.fetch_add(1, Ordering::SeqCst);
        self.db.commit_many(batches).await
    }
}
