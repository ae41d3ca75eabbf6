//! What is decided while somebody else decides too.

use super::*;
use crate::chance::Chance;

/// A database whose readers do not wait for who writes.
async fn in_a_file(folder: &tempfile::TempDir) -> Db {
    let url = format!("sqlite://{}?mode=rwc", folder.path().join("lightship.db").display());
    let db = Db::open(&url, Io::current()).await.unwrap();
    db.migrate().await.unwrap();
    db.unlock_secrets(db::SecretKey::random(Chance::system())).await.unwrap();
    db
}

fn quiet() -> MasterSettings {
    let never = Duration::from_secs(3_600);
    MasterSettings { sweep_every: never, reap_every: never, ..MasterSettings::default() }
}

#[test]
fn a_mirror_that_decided_before_a_removal_claims_nothing_after_it() {
    run(async {
        // given: two decisions about one agent wait for their turn to be written, its removal first
        let folder = tempfile::tempdir().unwrap();
        let rig = Rig::on(in_a_file(&folder).await, quiet(), Arc::default()).await;
        let (agent, _) = rig.enrolled("edge").await;
        rig.report(&agent, snapshot(&[])).await;
        let writer = rig.db().hold().await;
        let (handled, _) = rig.load("/store");
        let (master, removed) = (rig.master.clone(), agent.clone());
        let removal = tokio::task::spawn_local(async move { master.remove(&removed, "admin").await });
        until("the removal is to be written", async || rig.load("/store").0 > handled).await;
        let (master, reporting) = (rig.master.clone(), agent.clone());
        let web = container("web", "c1", "a.example.com");
        let report =
            tokio::task::spawn_local(async move { master.report(&reporting, snapshot(&[web])).await });
        until("the claim waits behind it", async || rig.load("/store").1 > 0).await;
        // when
        drop(writer);
        // then
        removal.await.unwrap().unwrap();
        let refused = report.await.unwrap();
        assert!(matches!(refused, Err(MasterError::KeyRevoked)), "{refused:?}");
        for _ in 0..2 {
            assert_eq!(db::routes::find_claim(rig.db(), "a.example.com").await.unwrap(), None);
            assert!(rig.routes(&agent).await.is_empty());
            assert!(db::containers::list_containers(rig.db(), &agent).await.unwrap().is_empty());
            assert_eq!(rig.events(&Stream::routes(&agent), "route_claimed").await, 0);
            rig.db().rebuild().await.unwrap();
        }
    });
}

#[test]
fn a_restart_is_not_spent_on_a_caller_who_has_left() {
    run(async {
        // given: a DockFlare agent that is to start its connector anew, which it is told once
        let rig = Rig::with(quiet()).await;
        let (agent, _) = rig.enrolled("edge").await;
        rig.master.lease_commands(&agent, 10, Dialect::V2).await.unwrap();
        rig.report(&agent, tunnel_runs("edge")).await;
        let restart = rig.master.redeploy(&agent, "admin").await.unwrap();
        // when: its poll is cut off while the delivery is prepared
        let held = rig.db().hold().await;
        let path = format!("/{agent}/commands");
        let (handled, _) = rig.load(&path);
        let (master, polling) = (rig.master.clone(), agent.clone());
        let poll =
            tokio::task::spawn_local(async move { master.lease_commands(&polling, 10, Dialect::V2).await });
        until("the poll is taken", async || rig.load(&path).0 > handled).await;
        poll.abort();
        assert!(poll.await.unwrap_err().is_cancelled());
        drop(held);
        // then: the next one gets it
        let delivered = rig.master.lease_commands(&agent, 10, Dialect::V2).await.unwrap();
        let delivered: Vec<_> = delivered.iter().map(|one| (&one.command.id, one.command.attempt)).collect();
        assert_eq!(delivered, [(&restart.id, 1)]);
    });
}

/// What one agent's host does: two lists of containers, one after the other, each a random choice.
async fn live(rig: &Rig, agent: &AgentId, number: usize, chance: &Chance) {
    for _ in 0..2 {
        let runs = (0..3).filter(|_| chance.fraction() < 0.5);
        let runs: Vec<_> = runs
            .map(|i| container(&format!("c{i}"), &format!("id{i}"), &format!("h{i}-{number}.example.com")))
            .collect();
        let woken = || rig.publisher.woken_for.lock().get(agent).copied().unwrap_or_default();
        let stream = Stream::routes(agent);
        let (before, decided) = (woken(), db::events::stream_version(rig.db(), &stream).await.unwrap());
        until_slowly("the report is taken", async || rig.master.report(agent, snapshot(&runs)).await.is_ok())
            .await;
        if db::events::stream_version(rig.db(), &stream).await.unwrap() > decided {
            until("the account is woken", async || woken() > before).await;
        }
    }
}

/// Waits as [`until`] does, for what has to wait for many others.
async fn until_slowly(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waited = tokio::time::timeout(12 * LONG, async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    assert!(waited.await.is_ok(), "did not come true: {what}");
}

#[test]
fn every_change_of_three_hundred_agents_reaches_the_account_though_only_a_few_are_awake() {
    let seed = std::env::var("LIGHTSHIP_SEED").map_or_else(
        |_| (Chance::system().fraction() * 1e9) as u64,
        |seed| seed.parse().expect("LIGHTSHIP_SEED is a number"),
    );
    println!("seed {seed}");
    run(async {
        // given: none of them is enrolled, and each has a container that waits for that
        let rig = Rig::with(MasterSettings { max_live: 4, shards: 1, ..quiet() }).await;
        let mut agents = Vec::new();
        for number in 0..300 {
            let (agent, _) = rig.agent().await;
            let waits = [container("w", "w", &format!("w-{number}.example.com"))];
            until_slowly("the report is taken", async || {
                rig.master.report(&agent, snapshot(&waits)).await.is_ok()
            })
            .await;
            agents.push(agent);
        }
        // when: all are enrolled, and say nothing
        for (number, agent) in agents.iter().enumerate() {
            rig.master.enroll(agent, &format!("edge-{number}"), "admin").await.unwrap();
        }
        // then: each gets its route, and the account hears of it
        for agent in &agents {
            until_slowly("its route is claimed", async || rig.routes(agent).await.len() == 1).await;
            until("the account is woken", async || rig.publisher.woken_for.lock().contains_key(agent)).await;
        }
        // when: all of them change at the same time
        let chance = Chance::seeded(seed);
        let lives = agents.iter().enumerate().map(|(number, agent)| live(&rig, agent, number, &chance));
        // then: see there
        futures_util::future::join_all(lives).await;
    });
}
