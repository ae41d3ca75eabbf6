//! What is held in memory of decisions is what a fresh start would read, whatever became of a commit.

use super::*;
use crate::actors::master::follow::Follower;
use crate::actors::master::store::Writer;
use crate::db::{Batch, CommitError, Committed};
use crate::domain::host::Host;
use crate::domain::roster::Roster;
use crate::domain::token::TokenWish;

/// What becomes of the next decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It is written, and the confirmation is lost.
    Written,
    /// It is not written, and nobody says so.
    NotWritten,
    /// It is written, the confirmation is lost, and the record cannot be read for a while.
    WrittenUnseen,
}

/// A database whose next commit of a decision is not confirmed.
struct Doubtful {
    db: Db,
    next: Mutex<Option<Fate>>,
}

#[async_trait]
impl Writer for Doubtful {
    async fn commit_many(&self, batches: Vec<Batch>) -> Vec<Result<Committed, CommitError>> {
        let decides = batches.iter().any(|batch| !batch.appends.is_empty());
        let fate = if decides { self.next.lock().take() } else { None };
        let Some(fate) = fate else { return self.db.commit_many(batches).await };
        let lost = || Err(CommitError::Unknown { reason: "the line was cut".into() });
        let answers = batches.iter().map(|_| lost()).collect();
        if fate != Fate::NotWritten {
            self.db.commit_many(batches).await;
        }
        if fate == Fate::WrittenUnseen {
            self.db.run_statement("ALTER TABLE events RENAME TO hidden").await;
        }
        answers
    }
}

/// A master whose commits can be left in doubt.
struct Doubted {
    rig: Rig,
    writer: Arc<Doubtful>,
}

impl Doubted {
    async fn start() -> Self {
        let db = Db::in_memory(Io::current()).await.unwrap();
        let writer = Arc::new(Doubtful { db: db.clone(), next: Mutex::default() });
        let rig = Rig::writing_through(db, writer.clone()).await;
        // The one decision that a master takes by itself.
        until("there is a key for orders", async || rig.master.directory.order_key().is_some()).await;
        Self { rig, writer }
    }

    /// Lets the next decision of `attempt` meet this fate, then repeats it as its asker would.
    async fn decide<T>(&self, what: &str, fate: Fate, attempt: impl AsyncFn(&Rig) -> Result<T, MasterError>) {
        *self.writer.next.lock() = Some(fate);
        let first = attempt(&self.rig).await;
        assert!(self.writer.next.lock().is_none(), "{what} decides nothing");
        assert!(!matches!(first, Err(MasterError::Database(_))), "{what}: {:?}", first.err());
        if fate == Fate::WrittenUnseen {
            assert!(first.is_err(), "{what} was answered with success, and nobody could look");
            self.writer.db.run_statement("ALTER TABLE hidden RENAME TO events").await;
        }
        self.equals_a_fresh_start(what, fate).await;
        until("it is done", async || attempt(&self.rig).await.is_ok()).await;
        self.equals_a_fresh_start(what, fate).await;
    }

    async fn equals_a_fresh_start(&self, what: &str, fate: Fate) {
        until(&format!("memory is what a fresh start reads, after {what} ({fate:?})"), async || {
            let (fresh, roster) = fresh(self.rig.db()).await;
            let directory = &self.rig.master.directory;
            let same = |slot: Arc<Slot>| {
                let anew = fresh.slot(slot.id());
                anew.is_some_and(|anew| {
                    (anew.status(), anew.key_id(), anew.previous_key_id(), anew.offline())
                        == (slot.status(), slot.key_id(), slot.previous_key_id(), slot.offline())
                })
            };
            directory.roster() == roster
                && directory.order_key() == fresh.order_key()
                && directory.len() == fresh.len()
                && directory.slots().into_iter().all(same)
        })
        .await;
    }
}

/// What a master that starts now holds.
async fn fresh(db: &Db) -> (Arc<Directory>, Roster) {
    let directory = Arc::new(Directory::default());
    Follower::start(db.clone(), Arc::clone(&directory), Arc::default()).await.unwrap();
    let roster = directory.roster();
    (directory, roster)
}

/// Only what an asker does not get by repeating: the rest of its answer does not matter here.
fn busy_is_repeated<T>(answer: Result<T, MasterError>) -> Result<(), MasterError> {
    match answer {
        Ok(_) => Ok(()),
        Err(MasterError::Busy) => Err(MasterError::Busy),
        // It was done the first time, and there is nothing left to do.
        Err(MasterError::KeyNotFound(_) | MasterError::AgentNotFound(_) | MasterError::AlreadySetUp) => {
            Ok(())
        }
        Err(other) => panic!("{other}"),
    }
}

async fn every_decision_about_identity(fate: Fate) {
    let doubted = Doubted::start().await;
    let rig = &doubted.rig;

    doubted.decide("making a key", fate, async |rig| rig.master.generate_key("lab", "admin").await).await;
    let exchange = async |rig: &Rig| rig.master.exchange_order_key("admin").await;
    doubted.decide("another key for orders", fate, exchange).await;

    let raw = rig.key().await;
    let register = async |rig: &Rig| rig.register(&raw, input(None)).await;
    doubted.decide("a first registration", fate, register).await;
    let agent = register(rig).await.unwrap().agent_id;

    let newer = RegisterInput { version: Some("2.0.0".into()), ..input(None) };
    doubted.decide("another version", fate, async |rig| rig.register(&raw, newer.clone()).await).await;
    doubted.decide("a name", fate, async |rig| rig.master.rename(&agent, "Edge", "admin").await).await;
    let patterns = vec!["*.example.com".to_owned()];
    let limit = async |rig: &Rig| rig.master.limit(&agent, patterns.clone(), "admin").await;
    doubted.decide("a limit", fate, limit).await;
    doubted.decide("an approval", fate, async |rig| rig.master.approve(&agent, "admin").await).await;
    doubted.decide("an enrolment", fate, async |rig| rig.master.enroll(&agent, "edge", "admin").await).await;
    doubted.decide("another tunnel", fate, async |rig| rig.master.enroll(&agent, "far", "admin").await).await;

    let rolled: Mutex<Vec<String>> = Mutex::default();
    let roll = async |rig: &Rig| {
        let key = rig.master.roll_key(&agent, "admin").await?;
        rolled.lock().push(key.raw.expose_secret().to_owned());
        Ok(())
    };
    doubted.decide("a new key", fate, roll).await;
    let new = rolled.lock().last().cloned().unwrap();
    let come_with_it = async |rig: &Rig| rig.register(&new, newer.clone()).await;
    doubted.decide("the use of the new key", fate, come_with_it).await;
    assert!(rig.master.directory.authenticate(&raw).is_none(), "the old key opens nothing ({fate:?})");

    let revoke = async |rig: &Rig| rig.master.revoke(&agent, "admin").await;
    doubted.decide("a revocation", fate, revoke).await;
    assert!(rig.master.directory.authenticate(&new).is_none(), "a revoked key opens nothing ({fate:?})");
    doubted.decide("a key for a revoked agent", fate, roll).await;

    let (second, second_raw) = rig.enrolled("second").await;
    let key = rig.master.directory.slot(&second).unwrap().key_id().unwrap();
    let revoke_key =
        async |rig: &Rig| rig.master.revoke_key(KeyRef::Raw(second_raw.clone().into()), "admin").await;
    doubted.decide("the revocation of a key", fate, revoke_key).await;
    assert!(
        rig.master.directory.authenticate(&second_raw).is_none(),
        "a revoked key opens nothing ({fate:?})"
    );
    let delete =
        async |rig: &Rig| busy_is_repeated(rig.master.delete_key(KeyRef::Id(key.clone()), "admin").await);
    doubted.decide("dropping a key", fate, delete).await;

    let (third, third_raw) = rig.agent().await;
    let remove = async |rig: &Rig| busy_is_repeated(rig.master.remove(&third, "admin").await);
    doubted.decide("the removal of a pending agent", fate, remove).await;
    assert!(
        rig.master.directory.authenticate(&third_raw).is_none(),
        "a removed agent's key is gone ({fate:?})"
    );

    let (fourth, fourth_raw) = rig.enrolled("fourth").await;
    let remove = async |rig: &Rig| busy_is_repeated(rig.master.remove(&fourth, "admin").await);
    doubted.decide("the removal of an agent with a tunnel", fate, remove).await;
    let directory = &rig.master.directory;
    assert_eq!(admit(directory, &fourth_raw, &fourth, Errand::Report).err(), Some(Refused::UnknownKey));
    let set_up =
        async |rig: &Rig| busy_is_repeated(rig.master.set_up_admin("me", "hash".to_owned().into()).await);
    doubted.decide("the first administrator", fate, set_up).await;
    let setting = async |rig: &Rig| rig.master.change_setting("grace", 5.into(), "admin").await;
    doubted.decide("a setting", fate, setting).await;

    // Two hosts with one key.
    let shared = rig.key().await;
    let from = |last: u8| RegisterInput { peer: IpAddr::from([192, 0, 2, last]), ..input(None) };
    let fifth = rig.register(&shared, from(1)).await.unwrap().agent_id;
    let guest = async |rig: &Rig| rig.register(&shared, from(2)).await;
    doubted.decide("a second host with a key", fate, guest).await;
    let sixth = guest(rig).await.unwrap().agent_id;
    assert_ne!(fifth, sixth);
    let seat = async |rig: &Rig| rig.master.allow_seat(&sixth, "admin").await;
    doubted.decide("a seat", fate, seat).await;
    let of_its_own = async |rig: &Rig| rig.master.roll_key(&sixth, "admin").await;
    doubted.decide("a key of its own", fate, of_its_own).await;
    let remove = async |rig: &Rig| busy_is_repeated(rig.master.remove(&sixth, "admin").await);
    doubted.decide("the removal of one of two hosts with a key", fate, remove).await;
    assert!(rig.master.directory.authenticate(&shared).is_some(), "the other one keeps it ({fate:?})");

    let wish = TokenWish {
        label: "lab".into(),
        max_seats: 1,
        life: Duration::from_secs(3_600),
        metadata: Default::default(),
    };
    let token = async |rig: &Rig| rig.master.make_token(wish.clone(), "admin").await;
    doubted.decide("a registration token", fate, token).await;
}

#[test]
fn whatever_became_of_a_decision_about_identity_memory_is_what_a_fresh_start_reads() {
    for fate in [Fate::Written, Fate::NotWritten, Fate::WrittenUnseen] {
        run(every_decision_about_identity(fate));
    }
}

async fn every_decision_of_an_agents_actors(fate: Fate) {
    let doubted = Doubted::start().await;
    let rig = &doubted.rig;
    let (agent, raw) = rig.enrolled("edge").await;
    let [web, api] = [container("web", "c1", "a.example.com"), container("api", "c2", "b.example.com")];

    let claim = async |rig: &Rig| rig.master.report(&agent, snapshot(&[web.clone(), api.clone()])).await;
    doubted.decide("two claims", fate, claim).await;
    assert_eq!(rig.hostnames(&agent).await, ["a.example.com", "b.example.com"], "{fate:?}");

    let lose = async |rig: &Rig| rig.master.report(&agent, gone(&api, GoneCause::Stopped)).await;
    doubted.decide("a loss", fate, lose).await;
    let back = async |rig: &Rig| rig.master.report(&agent, seen(&api)).await;
    doubted.decide("a return", fate, back).await;
    let states: Vec<RouteState> = rig.routes(&agent).await.into_iter().map(|route| route.state).collect();
    assert_eq!(states, [RouteState::Active, RouteState::Active], "{fate:?}");

    let lease = async |rig: &Rig| rig.master.lease_commands(&agent, 10, Dialect::Native).await;
    let waiting = rig.master.directory.slot(&agent).unwrap();
    assert!(waiting.pending_commands());
    doubted.decide("a delivery", fate, lease).await;
    let command = db::commands::list_open_commands(rig.db(), &agent).await.unwrap().remove(0);
    let acknowledge = async |rig: &Rig| rig.master.acknowledge(&agent, &command.id).await;
    doubted.decide("an acknowledgement", fate, acknowledge).await;
    let outcome = Outcome { succeeded: true, message: "done".into(), finished_at: None };
    let finish = async |rig: &Rig| rig.master.finish(&agent, &command.id, outcome.clone()).await;
    doubted.decide("a result", fate, finish).await;
    assert_eq!(rig.command(&command.id).await.status, CommandStatus::Succeeded, "{fate:?}");
    let redeploy = async |rig: &Rig| rig.master.redeploy(&agent, "admin").await;
    doubted.decide("a command", fate, redeploy).await;
    let open = db::commands::list_open_commands(rig.db(), &agent).await.unwrap();
    assert_eq!(open.len(), 1, "{fate:?}: {open:?}");

    // It speaks from another machine.
    rig.register(&raw, native(Some(&agent))).await.unwrap();
    let machine = |id: &str| {
        let host = Host { machine_id: Some(id.to_owned()), hostname: Some("home".into()), ..Host::default() };
        vec![Report::Host { host: Box::new(host) }]
    };
    rig.report(&agent, machine("a")).await;
    let on_another = async |rig: &Rig| rig.master.report(&agent, machine("b")).await;
    doubted.decide("another machine", fate, on_another).await;
    assert_eq!(rig.status(&agent).await, AgentStatus::Pending, "{fate:?}");
}

#[test]
fn whatever_became_of_a_decision_of_an_agents_actors_they_go_on_from_what_was_written() {
    for fate in [Fate::Written, Fate::NotWritten, Fate::WrittenUnseen] {
        run(every_decision_of_an_agents_actors(fate));
    }
}
