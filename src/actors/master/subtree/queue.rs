//! One agent's open commands: what the database holds of them, how decisions about them are committed, and what goes along
//! when they are handed over.

use chrono::{DateTime, Utc};
use secrecy::SecretString;

use super::own::Own;
use crate::actors::master::commands::{new_command, queued};
use crate::actors::master::error::MasterError;
use crate::actors::master::for_registrar::Retire;
use crate::actors::master::leaps::Times;
use crate::actors::master::orders::order_of;
use crate::actors::master::requests::{DeliveredCommand, Dialect};
use crate::actors::master::store::CommitFailed;
use crate::db::agents::Standing;
use crate::db::{self, CommitError, Expected};
use crate::domain::agent::AgentStatus;
use crate::domain::command::{Command, CommandKind, CommandStatus, Outcome};
use crate::domain::delivery::{self, Evidence};
use crate::domain::event::{AgentStream, CommandEvent, Stream};
use crate::domain::id::{CommandId, TunnelId};

/// How often a decision is taken again after somebody else was faster.
const TRIES: usize = 5;
/// Longest message of an outcome that is kept.
const MAX_MESSAGE_CHARS: usize = 2_000;

/// Decides and commits for one agent. What it read is a cache: forgotten whenever it may be wrong.
pub struct Queue {
    own: Own,
    known: Option<OpenCommands>,
}

/// A tunnel that a DockFlare agent was told to start, and about which it said nothing.
pub struct Doubt {
    /// Which tunnel.
    pub tunnel_id: TunnelId,
    /// The connectors that served it when the agent was enrolled.
    pub at_enrolment: Vec<String>,
}

impl Queue {
    /// Makes one that has read nothing yet.
    pub fn new(own: Own) -> Self {
        Self { own, known: None }
    }

    /// Queues a command, or finds it waiting.
    pub async fn enqueue(&mut self, kind: CommandKind, by: &str) -> Result<Command, MasterError> {
        // Judged by where the agent stands now, not by where it stood when this was read.
        self.known = None;
        self.commit(by, async |own, known| {
            let own_tunnel = known.standing.tunnel.as_ref().map(|(id, ..)| id);
            if kind.tunnel_id().is_some_and(|asked| own_tunnel != Some(asked)) {
                // Whoever asked read this before the agent got another tunnel, or went.
                return Err(MasterError::Busy);
            }
            let waiting = known.open.iter().filter(|open| open.status == CommandStatus::Queued);
            if let Some(waiting) = delivery::open_like(&waiting.cloned().collect::<Vec<_>>(), &kind) {
                return Ok((Vec::new(), waiting.clone()));
            }
            if let Some(reason) = delivery::hindrance(&known.open, &kind) {
                return Err(MasterError::CannotApprove(reason.into()));
            }
            let command = new_command(&own.env, kind.clone(), None);
            Ok((vec![queued(&own.agent, &command)], command))
        })
        .await
    }

    /// Queues a command of the master's own that was decided when the agent's stream ended at `version`, unless
    /// something is on its way already.
    pub async fn enqueue_alone(&mut self, kind: CommandKind, version: u64) -> Result<(), MasterError> {
        self.known = None;
        self.commit("system", async |own, known| {
            if known.standing.version != version {
                // Decided about another standing: the tunnel is looked at again.
                own.env.due_at(&own.agent, own.env.now());
                return Ok((Vec::new(), ()));
            }
            if delivery::is_busy(&known.open, kind.family()) {
                return Ok((Vec::new(), ()));
            }
            tracing::info!(agent.id = %own.agent, "the agent lost its tunnel and is told again to start it");
            let command = new_command(&own.env, kind.clone(), None);
            Ok((vec![queued(&own.agent, &command)], ()))
        })
        .await
    }

    /// Hands over what waits; the delivery is committed when it returns. Nothing is delivered to a caller that does
    /// not wait any more: a restart that a DockFlare agent never got would be spent.
    pub async fn lease(
        &mut self,
        max: usize,
        dialect: Dialect,
        has_left: impl Fn() -> bool,
    ) -> Result<Vec<DeliveredCommand>, MasterError> {
        let by = format!("agent:{}", self.own.agent);
        let delivered = self
            .commit(&by, async |own, known| {
                let prepared = prepare_delivery(own, known, max, dialect).await?;
                // The last look before the commit: preparing takes its time.
                if has_left() { Ok((Vec::new(), Vec::new())) } else { Ok(prepared) }
            })
            .await?;
        if let Some(slot) = self.own.slot().filter(|_| dialect == Dialect::V2 && !delivered.is_empty()) {
            // Its next word about the tunnel is its answer, even if it says nothing new.
            slot.set_tunnel_digest(0);
        }
        self.retire_if_removed();
        Ok(delivered)
    }

    /// Records that the agent has a command.
    pub async fn acknowledge(&mut self, id: &CommandId) -> Result<(), MasterError> {
        let by = format!("agent:{}", self.own.agent);
        let found = self
            .commit(&by, async |own, known| {
                let open = known.open.iter().find(|open| open.id == *id);
                let news = open.filter(|open| open.status != CommandStatus::Acknowledged).map(|open| {
                    CommandEvent::Acknowledged { agent_id: own.agent.clone(), command_id: open.id.clone() }
                });
                Ok((news.into_iter().collect(), open.is_some()))
            })
            .await?;
        // One that came to its end is acknowledged by that.
        if found || self.ended(id).await?.is_some() {
            Ok(())
        } else {
            Err(MasterError::CommandNotFound(id.clone()))
        }
    }

    /// Records how a command ended, once. A result that comes after the command was given up still counts.
    pub async fn finish(&mut self, id: &CommandId, outcome: Outcome) -> Result<(), MasterError> {
        let is_open = self.open().await?.iter().any(|open| open.id == *id);
        if !is_open {
            match self.ended(id).await? {
                Some(CommandStatus::Expired) => {}
                Some(_) => return Ok(()),
                None => return Err(MasterError::CommandNotFound(id.clone())),
            }
        }
        let by = format!("agent:{}", self.own.agent);
        let outcome =
            Outcome { message: outcome.message.chars().take(MAX_MESSAGE_CHARS).collect(), ..outcome };
        self.commit(&by, async |own, _| Ok((vec![finished(own, id, outcome.clone())], ()))).await?;
        self.retire_if_removed();
        Ok(())
    }

    /// Something shows that a DockFlare agent did what it was told.
    pub async fn confirm(&mut self, evidence: Evidence<'_>) -> Result<(), MasterError> {
        let by = format!("agent:{}", self.own.agent);
        self.commit(&by, async |own, known| {
            let shown = known.open.iter().filter_map(|open| Some((open, delivery::confirm(open, evidence)?)));
            Ok((shown.map(|(open, outcome)| finished(own, &open.id, outcome)).collect(), ()))
        })
        .await
    }

    /// Returns what Cloudflare should be asked before a DockFlare agent is told again to start its tunnel.
    pub async fn doubt(&mut self) -> Result<Option<Doubt>, MasterError> {
        if self.dialect() == Dialect::Native {
            return Ok(None);
        }
        let now = self.own.env.now();
        let is_over = |open: &Command| open.attempt > 0 && open.lease_until.is_some_and(|until| until <= now);
        let started =
            self.open().await?.iter().filter(|open| is_over(open)).find_map(|open| match &open.kind {
                CommandKind::StartTunnel { tunnel_id, .. } => Some(tunnel_id.clone()),
                _ => None,
            });
        let Some(tunnel_id) = started else {
            return Ok(None);
        };
        let at_enrolment =
            db::events::connectors_at_enrolment(&self.own.env.db, &self.own.agent, &tunnel_id).await?;
        Ok(at_enrolment.map(|at_enrolment| Doubt { tunnel_id, at_enrolment }))
    }

    /// Queues again or gives up what nobody confirmed in time.
    pub async fn look_what_is_due(&mut self) -> Result<(), MasterError> {
        let dialect = self.dialect();
        self.commit("system", async |own, known| {
            let now = own.env.now();
            Ok((delivery::decide_overdue(&own.agent, &known.as_of(own, now), now, dialect), ()))
        })
        .await?;
        self.retire_if_removed();
        Ok(())
    }

    /// Moves the lives of open commands with a leap of the wall clock, if they are still to be.
    pub async fn move_times(&mut self) -> Result<(), MasterError> {
        let leap = self.own.env.leaps.behind(&self.own.agent, Times::Commands);
        if leap.is_zero() {
            return Ok(());
        }
        self.commit("system", async |own, known| {
            Ok((delivery::postpone(&own.agent, &known.open, leap, own.env.now()), ()))
        })
        .await?;
        self.own.env.leaps.moved(&self.own.agent, Times::Commands, leap);
        Ok(())
    }

    /// Reads everything again.
    pub async fn read_again(&mut self) -> Result<(), MasterError> {
        self.known = None;
        self.open().await?;
        self.retire_if_removed();
        Ok(())
    }

    /// Reads what the database holds. When that is due was forgotten if the master was killed.
    async fn read(&self) -> Result<OpenCommands, MasterError> {
        let known = OpenCommands::read(&self.own).await?;
        self.ask_to_be_woken(&known.open);
        Ok(known)
    }

    fn ask_to_be_woken(&self, open: &[Command]) {
        if let Some(due) = delivery::next_due(open, self.dialect()) {
            self.own.env.due_at(&self.own.agent, due);
        }
    }

    fn dialect(&self) -> Dialect {
        self.own.slot().map_or(Dialect::V2, |slot| slot.dialect())
    }

    /// Takes what is known, or reads it again if the record went on since.
    async fn current(&mut self) -> Result<OpenCommands, MasterError> {
        match self.known.take() {
            Some(known) if !self.own.has_news(&known) => Ok(known),
            _ => self.read().await,
        }
    }

    async fn open(&mut self) -> Result<&[Command], MasterError> {
        let known = self.current().await?;
        self.own.count(&known);
        Ok(&self.known.insert(known).open)
    }

    /// Returns where a command of this agent ended.
    async fn ended(&self, id: &CommandId) -> Result<Option<CommandStatus>, MasterError> {
        let row = db::commands::find_command(&self.own.env.db, id).await?;
        Ok(row.filter(|row| row.agent_id == self.own.agent).map(|row| row.command.status))
    }

    /// A removed agent's key goes once its last command has come to its end.
    fn retire_if_removed(&self) {
        if self.own.is_removed() && self.known.as_ref().is_some_and(|known| known.open.is_empty()) {
            // Lost only if the registrar is very busy; it looks for leavers when it starts.
            let _ = self.own.env.retire.tell(Retire { agent: self.own.agent.clone() });
        }
    }

    /// Decides and commits; if somebody else was faster, reads and decides again.
    async fn commit<T>(
        &mut self,
        by: &str,
        decide: impl AsyncFn(&Own, &OpenCommands) -> Result<(Vec<CommandEvent>, T), MasterError>,
    ) -> Result<T, MasterError> {
        for _ in 0..TRIES {
            let mut known = self.current().await?;
            let (events, answer) = decide(&self.own, &known).await?;
            if events.is_empty() {
                self.own.count(&known);
                self.known = Some(known);
                return Ok(answer);
            }
            let stream = Stream::commands(&self.own.agent);
            let batch = self.own.env.batch(by).assume(self.own.stands_at(known.standing.version));
            let batch = batch.append(stream, Expected::Version(known.version), events.clone());
            let now = batch.at;
            match self.own.env.ledger.commit(batch).await {
                Ok(committed) => {
                    known.version = committed.versions.first().map_or(known.version, |(_, version)| *version);
                    events.iter().for_each(|event| follow(&mut known.open, event, now));
                    self.own.count(&known);
                    self.ask_to_be_woken(&known.open);
                    self.known = Some(known);
                    if events.iter().any(|event| matches!(event, CommandEvent::Expired { .. })) {
                        // Something may have been approved that does not come now.
                        self.own.env.due_at(&self.own.agent, now);
                    }
                    return Ok(answer);
                }
                // Somebody was faster: what was known is gone, so it is read again.
                Err(CommitFailed::Refused(CommitError::VersionConflict { .. })) => {}
                Err(failed) => return Err(failed.into()),
            }
        }
        Err(MasterError::Busy)
    }
}

fn finished(own: &Own, id: &CommandId, outcome: Outcome) -> CommandEvent {
    CommandEvent::Finished { agent_id: own.agent.clone(), command_id: id.clone(), outcome }
}

/// A cache: read again whenever it may be wrong.
struct OpenCommands {
    /// Where the agent stands.
    pub standing: Standing,
    /// Version of the agent's stream of commands.
    pub version: u64,
    /// Commands that are not at their end, in the order they were queued.
    pub open: Vec<Command>,
}

impl OpenCommands {
    /// Reads it.
    pub async fn read(own: &Own) -> Result<Self, MasterError> {
        let standing = db::agents::find_standing(&own.env.db, &own.agent).await?;
        // The version first: what is written after it shows as a conflict.
        let version = db::events::stream_version(&own.env.db, &Stream::commands(&own.agent)).await?;
        let open = db::commands::list_open_commands(&own.env.db, &own.agent).await?;
        Ok(Self { standing, version, open })
    }

    /// Returns the open commands as they are to be judged at `now`: a leap of the clock that is still on its way to
    /// them has moved them already.
    pub fn as_of(&self, own: &Own, now: DateTime<Utc>) -> Vec<Command> {
        let mut open = self.open.clone();
        let missed = own.env.leaps.missed_by(&own.agent, Times::Commands);
        if !missed.is_zero() {
            let moved = delivery::postpone(&own.agent, &open, missed, now);
            moved.iter().for_each(|event| follow(&mut open, event, now));
        }
        open
    }
}

impl Own {
    /// True if the record went on since this was read.
    fn has_news(&self, known: &OpenCommands) -> bool {
        self.slot().is_none_or(|slot| {
            slot.has_more(AgentStream::Standing, known.standing.version)
                || slot.has_more(AgentStream::Commands, known.version)
        })
    }

    /// Tells the slot how many commands may be fetched.
    fn count(&self, known: &OpenCommands) {
        if let Some(slot) = self.slot() {
            let dialect = slot.dialect();
            let is_fetched = |open: &&Command| {
                is_for(known.standing.status, open) && delivery::may_be_fetched(open, dialect)
            };
            slot.set_queued(known.open.iter().filter(is_fetched).count());
            // What was queued since this was read is not in the count: whoever polls has it read again.
            if self.has_news(known) {
                slot.note_queued();
            }
        }
    }
}

/// True if an agent that stands so may be handed the command: one that waits for a person may not be the machine that it
/// was decided for. That of one which was removed it fetches when it is back, too: it is over with that.
fn is_for(status: AgentStatus, command: &Command) -> bool {
    status != AgentStatus::Pending || command.kind == CommandKind::StopTunnel
}

/// Has the open commands follow an event of their stream.
fn follow(open: &mut Vec<Command>, event: &CommandEvent, now: DateTime<Utc>) {
    match event {
        CommandEvent::Queued { command_id, command, expires_at, .. } => open.push(Command {
            id: command_id.clone(),
            kind: command.clone(),
            status: CommandStatus::Queued,
            attempt: 0,
            queued_at: now,
            delivered_at: None,
            lease_until: None,
            expires_at: *expires_at,
            outcome: None,
        }),
        CommandEvent::Delivered { command_id, attempt, lease_until, .. } => {
            change(open, command_id, |command| {
                command.status = CommandStatus::Delivered;
                command.attempt = *attempt;
                command.delivered_at = Some(now);
                command.lease_until = Some(*lease_until);
            })
        }
        CommandEvent::Acknowledged { command_id, .. } => {
            change(open, command_id, |command| command.status = CommandStatus::Acknowledged);
        }
        CommandEvent::Renewed { command_id, lease_until, .. } => {
            change(open, command_id, |command| command.lease_until = Some(*lease_until));
        }
        CommandEvent::Requeued { command_id, .. } => change(open, command_id, |command| {
            command.status = CommandStatus::Queued;
            command.lease_until = None;
        }),
        CommandEvent::Postponed { command_id, expires_at, .. } => {
            change(open, command_id, |command| command.expires_at = *expires_at);
        }
        CommandEvent::Finished { command_id, .. } | CommandEvent::Expired { command_id, .. } => {
            open.retain(|command| command.id != *command_id);
        }
    }
}

fn change(open: &mut [Command], id: &CommandId, change: impl FnOnce(&mut Command)) {
    if let Some(command) = open.iter_mut().find(|command| command.id == *id) {
        change(command);
    }
}

/// Prepares a delivery: what is overdue goes back to the queue first, then the oldest are taken.
async fn prepare_delivery(
    own: &Own,
    known: &OpenCommands,
    max: usize,
    dialect: Dialect,
) -> Result<(Vec<CommandEvent>, Vec<DeliveredCommand>), MasterError> {
    let now = own.env.now();
    let mut open = known.as_of(own, now);
    let mut events = delivery::decide_overdue(&own.agent, &open, now, dialect);
    events.iter().for_each(|event| follow(&mut open, event, now));
    let mut delivered = Vec::new();
    let offered: Vec<Command> =
        open.iter().filter(|open| is_for(known.standing.status, open)).cloned().collect();
    for event in delivery::hand_over(&own.agent, &offered, now, dialect, max) {
        follow(&mut open, &event, now);
        let Some(command) = open.iter().find(|open| is_about(&event, &open.id)).cloned() else {
            continue;
        };
        let order = order_of(&own.env, &own.agent, &command).await?;
        if order.is_none() && matches!(command.kind, CommandKind::CarryOutPlan { .. }) {
            tracing::error!(agent = %own.agent, command = %command.id, "there is no order any more for a command");
            events.push(CommandEvent::Expired { agent_id: own.agent.clone(), command_id: command.id });
            continue;
        }
        match token_of(own, &command).await? {
            Ok(token) => {
                events.push(event);
                delivered.push(DeliveredCommand { command, token, order });
            }
            Err(SecretGone) => {
                tracing::error!(agent = %own.agent, command = %command.id, "the token of a command is gone");
                events.push(CommandEvent::Expired { agent_id: own.agent.clone(), command_id: command.id });
            }
        }
    }
    // What is not waited for after its delivery is decided about with it.
    events.extend(delivery::decide_overdue(&own.agent, &open, now, dialect));
    Ok((events, delivered))
}

fn is_about(event: &CommandEvent, id: &CommandId) -> bool {
    matches!(event, CommandEvent::Delivered { command_id, .. } if command_id == id)
}

/// The secret that a command needs is not there any more.
struct SecretGone;

/// Returns the token that goes along: none if the command needs none.
async fn token_of(
    own: &Own,
    command: &Command,
) -> Result<Result<Option<SecretString>, SecretGone>, MasterError> {
    let Some(id) = command.kind.secret_id() else {
        return Ok(Ok(None));
    };
    let token = db::secrets::find_secret(&own.env.db, id).await?;
    Ok(token.map(Some).ok_or(SecretGone))
}
