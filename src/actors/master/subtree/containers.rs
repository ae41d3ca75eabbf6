//! Mirrors an agent's containers and decides about its routes.
//!
//! All rules are in `domain`; here their decisions are committed. What another agent claimed first, or another
//! master wrote, is read again and decided again.

use actix::prelude::*;
use chrono::{DateTime, Utc};

use super::draft::{Change, Draft, Memory};
use super::own::{self, Own, log, to};
use super::picture::Picture;
use crate::actors::master::bus::Note;
use crate::actors::master::error::MasterError;
use crate::actors::master::leaps::Times;
use crate::actors::master::receipt::{Part, Reply};
use crate::actors::master::store::CommitFailed;
use crate::actors::supervision::{Ctx, supervised};
use crate::db::CommitError;
use crate::domain::agent::AgentStatus;
use crate::domain::container;
use crate::domain::event::Stream;
use crate::domain::guard;
use crate::domain::mirror::postpone;
use crate::domain::presence::{Presence, presence};

/// Mirrors containers, owns the agent's stream of routes.
pub struct ContainerMirror {
    /// Away while an operation runs; lost with it if that fails, and then read again.
    mirrorer: Option<Box<Mirrorer>>,
}

/// Takes in changes, in order and at once: a container that went and came back was never gone.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Mirror {
    /// What became of containers.
    pub changes: Vec<Change>,
    /// Who waits for the commit.
    pub part: Part,
}

/// Withdraws routes whose grace period is over, and compares again what runs with what is held.
#[derive(Message)]
#[rtype(result = "()")]
pub struct LookWhatIsDue;

/// A hostname that was refused may be free now.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Reconsider;

/// The registrar decided about the agent: what is known is read again.
#[derive(Message)]
#[rtype(result = "()")]
pub struct StandingChanged;

/// Withdraws what the removal guard holds, because a person confirmed it.
#[derive(Message)]
#[rtype(result = "()")]
pub struct ReleaseHeld {
    /// Who confirmed.
    pub by: String,
    /// How many routes went.
    pub reply: Reply<usize>,
}

impl ContainerMirror {
    /// Makes a mirror that reads what it needs when it is first asked.
    pub fn new(own: Own) -> Self {
        Self { mirrorer: Some(Box::new(Mirrorer::new(own))) }
    }

    /// Runs one operation; the next message waits for its end.
    fn run(
        &mut self,
        operation: impl AsyncFnOnce(&mut Mirrorer) -> Result<Outlook, MasterError> + 'static,
        answer: impl FnOnce(Result<usize, MasterError>) + 'static,
    ) -> AtomicResponse<Self, ()> {
        own::run(
            self,
            |actor| &mut actor.mirrorer,
            operation,
            |result, _| answer(result.map(|outlook| outlook.decided)),
        )
    }
}

supervised!(ContainerMirror);

impl Actor for ContainerMirror {
    type Context = Ctx<Self>;
}

impl Handler<Mirror> for ContainerMirror {
    type Result = AtomicResponse<Self, ()>;

    fn handle(&mut self, Mirror { changes, part }: Mirror, _: &mut Ctx<Self>) -> Self::Result {
        self.run(
            async move |mirrorer| mirrorer.mirror(changes).await,
            move |result| part.finish(result.map(drop)),
        )
    }
}

impl Handler<LookWhatIsDue> for ContainerMirror {
    type Result = AtomicResponse<Self, ()>;

    fn handle(&mut self, _: LookWhatIsDue, _: &mut Ctx<Self>) -> Self::Result {
        self.run(async |mirrorer| mirrorer.look_what_is_due().await, log("grace periods"))
    }
}

impl Handler<Reconsider> for ContainerMirror {
    type Result = AtomicResponse<Self, ()>;

    fn handle(&mut self, _: Reconsider, _: &mut Ctx<Self>) -> Self::Result {
        self.run(async |mirrorer| mirrorer.mirror(Vec::new()).await, log("a freed hostname"))
    }
}

impl Handler<StandingChanged> for ContainerMirror {
    type Result = AtomicResponse<Self, ()>;

    fn handle(&mut self, _: StandingChanged, _: &mut Ctx<Self>) -> Self::Result {
        let look_again = async |mirrorer: &mut Mirrorer| {
            mirrorer.forget();
            if mirrorer.is_listed() { mirrorer.mirror(Vec::new()).await } else { Ok(Outlook::default()) }
        };
        self.run(look_again, log("a decision about the agent"))
    }
}

impl Handler<ReleaseHeld> for ContainerMirror {
    type Result = AtomicResponse<Self, ()>;

    fn handle(&mut self, ReleaseHeld { by, reply }: ReleaseHeld, _: &mut Ctx<Self>) -> Self::Result {
        self.run(async move |mirrorer| mirrorer.release_held(&by).await, to(reply))
    }
}

/// How often a decision is taken again after somebody else was faster.
const TRIES: usize = 5;

/// Decides and commits for one agent. The picture is a cache: forgotten whenever it may be wrong.
struct Mirrorer {
    own: Own,
    picture: Option<Picture>,
    memory: Memory,
}

/// What an operation changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Outlook {
    /// Decisions about routes.
    pub decided: usize,
}

impl Mirrorer {
    /// Makes one that has read nothing yet.
    pub fn new(own: Own) -> Self {
        Self { own, picture: None, memory: Memory::default() }
    }

    /// Forgets what it read.
    pub fn forget(&mut self) {
        self.picture = None;
    }

    /// True if the agent is on the list.
    pub fn is_listed(&self) -> bool {
        !self.own.is_removed()
    }

    /// Takes in changes of containers and decides about routes.
    pub async fn mirror(&mut self, changes: Vec<Change>) -> Result<Outlook, MasterError> {
        if !self.is_listed() {
            return Err(MasterError::KeyRevoked);
        }
        let by = format!("agent:{}", self.own.agent);
        let memory = self.memory.clone();
        self.commit(&by, async |own, picture| Draft::mirror(own, picture, &memory, &changes).await).await
    }

    /// Withdraws what is due, and decides again about what was put off: a name that another agent gives up, a container
    /// that stays away, a route for which there was no room.
    pub async fn look_what_is_due(&mut self) -> Result<Outlook, MasterError> {
        self.move_times().await?;
        let withdrawn = self.withdraw_due().await?;
        if !self.is_listed() {
            return Ok(withdrawn);
        }
        let more = self.mirror(Vec::new()).await?;
        Ok(Outlook { decided: withdrawn.decided + more.decided })
    }

    /// Moves running grace periods with a leap of the wall clock, if they are still to be.
    async fn move_times(&mut self) -> Result<(), MasterError> {
        let leap = self.own.env.leaps.behind(&self.own.agent, Times::Routes);
        if leap.is_zero() {
            return Ok(());
        }
        self.commit("system", async |own, picture| {
            let (now, grace) = (own.env.now(), own.env.settings.grace);
            Ok(Draft::of_routes(picture, postpone(&own.agent, &picture.routes, leap, now, grace)))
        })
        .await?;
        self.own.env.leaps.moved(&self.own.agent, Times::Routes, leap);
        Ok(())
    }

    /// Withdraws routes whose grace period is over, as far as the guard lets them go.
    async fn withdraw_due(&mut self) -> Result<Outlook, MasterError> {
        if !self.own.env.leaps.missed_by(&self.own.agent, Times::Routes).is_zero() {
            // By a clock that leapt everything is over; the scheduler wakes us again to move the times first.
            return Ok(Outlook::default());
        }
        let now = self.own.env.now();
        let is_heard = self.is_heard(now);
        let withdraw = async |own: &Own, picture: &Picture| {
            if waits_for_a_person(picture) {
                return Ok(Draft::of_routes(picture, Vec::new()));
            }
            let events = guard::decide_due(&own.agent, &picture.routes, &picture.released, is_heard, now);
            Ok(Draft::of_routes(picture, events))
        };
        self.commit("system", withdraw).await
    }

    /// True unless the agent fell silent while we listened.
    fn is_heard(&self, now: DateTime<Utc>) -> bool {
        let last_seen = self.own.slot().and_then(|slot| slot.last_seen());
        let (timeout, since) = (self.own.env.settings.offline_after, self.own.env.started_at);
        presence(last_seen, now, timeout, Some(since)) == Presence::Online
    }

    /// Withdraws what the guard holds.
    pub async fn release_held(&mut self, by: &str) -> Result<Outlook, MasterError> {
        self.commit(by, async |own, picture| {
            Ok(Draft::of_routes(picture, guard::confirm_held(&own.agent, &picture.routes)))
        })
        .await
    }

    /// Decides and commits; if somebody else was faster, reads and decides again.
    async fn commit(
        &mut self,
        by: &str,
        decide: impl AsyncFn(&Own, &Picture) -> Result<Draft, MasterError>,
    ) -> Result<Outlook, MasterError> {
        for _ in 0..TRIES {
            let picture = match self.picture.take() {
                Some(picture) if !picture.is_overtaken(&self.own) => picture,
                _ => Picture::read(&self.own).await?,
            };
            let draft = match decide(&self.own, &picture).await {
                Ok(draft) => draft,
                Err(error) => {
                    self.picture = Some(picture);
                    return Err(error);
                }
            };
            let batch = draft.batch(&self.own, by, &picture);
            if batch.appends.is_empty() && batch.rows.is_empty() {
                self.remember(picture, draft, None);
                return Ok(Outlook::default());
            }
            match self.own.env.ledger.commit(batch).await {
                Ok(committed) => {
                    let decided = draft.events.len();
                    let stream = Stream::routes(&self.own.agent);
                    let version = committed.versions.iter().find(|(of, _)| *of == stream);
                    let version = version.map(|(_, version)| *version);
                    self.remember(picture, draft, version);
                    return Ok(Outlook { decided });
                }
                // Somebody was faster: the picture is gone, so it is read again.
                Err(CommitFailed::Refused(
                    CommitError::VersionConflict { .. }
                    | CommitError::Claimed { .. }
                    | CommitError::ClaimedByRule { .. },
                )) => {}
                Err(failed) => return Err(failed.into()),
            }
        }
        Err(MasterError::Busy)
    }

    /// Keeps the picture as it is after the commit. Who has to know of decisions is told by what follows the record.
    fn remember(&mut self, mut picture: Picture, draft: Draft, version: Option<u64>) {
        picture.follow(&draft.events, self.own.env.now());
        if !draft.rows.is_empty() {
            self.own.env.notices.announce(Note::Containers(self.own.agent.clone()));
        }
        picture.version = version.unwrap_or(picture.version);
        if let Some(memory) = draft.memory {
            self.memory = memory;
        }
        if let Some(at) = draft.look_again {
            self.own.env.due_at(&self.own.agent, at);
        }
        picture.containers = draft.containers;
        picture.conflicts = draft.conflicts;
        if let Some(slot) = self.own.slot() {
            slot.set_containers_digest(container::digest(
                picture.containers.values().map(|seen| &seen.container),
            ));
        }
        if let Some(due) = guard::next_due(&picture.routes).filter(|_| !waits_for_a_person(&picture)) {
            self.own.env.due_at(&self.own.agent, due);
        }
        self.picture = Some(picture);
    }
}

/// True of an agent that published something and waits for a person again: until that one decides nothing is withdrawn, for
/// whoever said that its containers went may not be its host.
fn waits_for_a_person(picture: &Picture) -> bool {
    picture.standing.status == AgentStatus::Pending
}
