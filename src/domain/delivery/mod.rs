//! When a command is handed over, handed over again, believed to be done, or given up.
//!
//! An agent of ours says what it has and how it went: what it did not acknowledge is handed over again soon,
//! what it acknowledged and did not finish after its lease, and the agent knows by the id what it did already.
//! A DockFlare agent says nothing: a start is repeated three times, 90 s apart, unless its effect is seen; a
//! restart interrupts traffic, so it is handed over once, and stays unconfirmed if no effect is seen. A stop comes
//! when the agent is removed, and its reports are heard no more: it goes with two polls in a row, for one answer may
//! be cut on its way, and a second stop changes nothing. It is over with the second, or if that does not come.
//! A RedFlag agent says how it went and not that it has it: each is handed over once, and given up two hours later.
//!
//! All times are the master's. When its clock leaps while it runs, [`postpone`] moves the life of what is open as far;
//! a leap over a restart cannot be noticed. A lease that lies further ahead than it can was written before the clock went
//! back, and counts as over.

mod dialect;
mod family;
#[cfg(test)]
mod tests;

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::command::{Command, CommandKind, CommandStatus, Outcome};
use super::connector::Connector;
use super::event::CommandEvent;
use super::id::AgentId;
use super::leap::after_leap;
use super::tunnel::{TunnelHealth, TunnelReport};

pub use self::dialect::Dialect;
pub use self::family::{Family, Rules, Superseding, is_busy, superseded};

/// A DockFlare agent gets so long to show an effect.
pub const V2_RETRY_AFTER: Duration = Duration::from_secs(90);
/// How often a start goes back to the queue of a DockFlare agent.
pub const V2_RETRIES: u32 = 3;
/// How many polls tell a DockFlare agent to stop.
const V2_STOPS: u32 = 2;

/// A RedFlag agent gets so long to say how a command went.
pub const REDFLAG_LEASE: Duration = Duration::from_secs(2 * 3_600);

/// Returns how long a command of a kind may wait for its agent: a restart that comes days later surprises, and one of a host
/// minutes later than it was told.
pub fn lifetime(kind: &CommandKind) -> Duration {
    match kind {
        CommandKind::RestartTunnel { .. } => Duration::from_secs(3_600),
        // A RedFlag agent that misses this checked in no more than twice.
        CommandKind::Reboot(_) => Duration::from_secs(900),
        kind => kind.family().rules().lifetime,
    }
}

/// Returns the open command that already asks for `kind`, so that a second one is not queued.
pub fn open_like<'a>(commands: &'a [Command], kind: &CommandKind) -> Option<&'a Command> {
    commands.iter().find(|command| command.status.is_open() && command.kind == *kind)
}

/// Says what stands in the way of a command: no host is started anew while it installs.
pub fn hindrance(commands: &[Command], kind: &CommandKind) -> Option<&'static str> {
    let installs = |command: &Command| {
        command.status.is_open() && matches!(command.kind, CommandKind::ConfirmDependencies { .. })
    };
    let is_hindered = matches!(kind, CommandKind::Reboot(_)) && commands.iter().any(installs);
    is_hindered.then_some("an update is being installed on the host: restart it once that is done")
}

/// So long after the time that it was told, a host may be about to start anew: it needs time to do so.
const RESTART_TAKES: TimeDelta = TimeDelta::minutes(5);

/// Returns until when a host may be about to start anew, by what it was told; none if it is not. An agent that called `shutdown`
/// says so at once, and the host goes down when the time is over that it was told.
pub fn restarts_until(commands: &[Command], now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let until = |command: &Command| {
        let CommandKind::Reboot(ask) = &command.kind else { return None };
        let is_cancelled = command.outcome.as_ref().is_some_and(Outcome::is_cancelled);
        match (command.status, command.delivered_at) {
            // By then it is told, or is not any more.
            (CommandStatus::Queued, _) => Some(command.expires_at),
            // It said that it could not. One that was taken back too late it does all the same.
            (CommandStatus::Failed, _) if !is_cancelled => None,
            (_, told_at) => Some(told_at? + TimeDelta::minutes(ask.delay_minutes.into()) + RESTART_TAKES),
        }
    };
    commands.iter().filter_map(until).filter(|until| *until > now).max()
}

/// Chooses what is handed over now, oldest first, at most `max`: the events to write before the answer is sent.
pub fn hand_over(
    agent_id: &AgentId,
    commands: &[Command],
    now: DateTime<Utc>,
    dialect: Dialect,
    max: usize,
) -> Vec<CommandEvent> {
    let is_turn = |command: &&Command| {
        now < command.expires_at
            && is_due(command, now, dialect)
            && !waits_for_order(command, commands, now, dialect)
    };
    let mut due: Vec<&Command> = commands.iter().filter(is_turn).collect();
    due.sort_by_key(|command| command.queued_at);
    let events = due.into_iter().take(max).map(|command| CommandEvent::Delivered {
        agent_id: agent_id.clone(),
        command_id: command.id.clone(),
        attempt: command.attempt.saturating_add(1),
        lease_until: now + lease(command, dialect),
    });
    events.collect()
}

/// An order goes after those that were decided before it: a host takes none that is older than one it has.
fn waits_for_order(command: &Command, commands: &[Command], now: DateTime<Utc>, dialect: Dialect) -> bool {
    let number = |command: &Command| match &command.kind {
        CommandKind::CarryOutPlan { number, .. } => Some(*number),
        _ => None,
    };
    let Some(own) = number(command) else { return false };
    commands.iter().any(|other| {
        let is_before = number(other).is_some_and(|number| number < own);
        is_before && other.status == CommandStatus::Delivered && !is_due(other, now, dialect)
    })
}

/// Says whether a poll that comes now may be handed the command, as far as that is known without the time.
pub fn may_be_fetched(command: &Command, dialect: Dialect) -> bool {
    can_be_told(command, dialect)
        && (command.status == CommandStatus::Queued || is_told_again(command, dialect))
}

fn can_be_told(command: &Command, dialect: Dialect) -> bool {
    command.kind.family().rules().dialects.contains(&dialect)
}

/// A DockFlare agent that was told to stop is told so once more by its next poll.
fn is_told_again(command: &Command, dialect: Dialect) -> bool {
    dialect == Dialect::V2
        && command.status == CommandStatus::Delivered
        && command.kind == CommandKind::StopTunnel
        && command.attempt < V2_STOPS
}

/// Returns how long a command that is handed over now is the agent's.
fn lease(command: &Command, dialect: Dialect) -> Duration {
    let is_last = command.kind == CommandKind::StopTunnel && command.attempt + 1 >= V2_STOPS;
    match dialect {
        Dialect::Native => command.kind.family().rules().lease,
        // Nothing is waited for any more.
        Dialect::V2 if is_last => Duration::ZERO,
        Dialect::V2 => V2_RETRY_AFTER,
        Dialect::RedFlag => REDFLAG_LEASE,
    }
}

/// Returns the longest lease that there can be.
fn longest_lease(command: &Command, dialect: Dialect) -> Duration {
    let lease = command.kind.family().rules().lease;
    if dialect == Dialect::RedFlag { lease.max(REDFLAG_LEASE) } else { lease }
}

/// Leaves the agent that tells how far it is with a command alone for another lease; at most once in half of one, so that
/// not every word of progress costs an event.
pub fn renew(agent_id: &AgentId, command: &Command, now: DateTime<Utc>) -> Option<CommandEvent> {
    let rules = command.kind.family().rules();
    let is_at_it = command.status == CommandStatus::Acknowledged;
    let is_new = command.lease_until.is_some_and(|until| now + rules.lease / 2 < until);
    (rules.renewed_by_progress && is_at_it && !is_new).then(|| CommandEvent::Renewed {
        agent_id: agent_id.clone(),
        command_id: command.id.clone(),
        lease_until: now + rules.lease,
    })
}

/// Decides about commands that nobody finished: back to the queue, or given up.
pub fn decide_overdue(
    agent_id: &AgentId,
    commands: &[Command],
    now: DateTime<Utc>,
    dialect: Dialect,
) -> Vec<CommandEvent> {
    let overdue = commands.iter().filter(|command| command.status.is_open()).filter_map(|command| {
        let (agent_id, command_id) = (agent_id.clone(), command.id.clone());
        match overdue(command, now, dialect)? {
            Overdue::Requeue => Some(CommandEvent::Requeued { agent_id, command_id }),
            Overdue::Expire => Some(CommandEvent::Expired { agent_id, command_id }),
        }
    });
    overdue.collect()
}

/// Moves the lives of open commands with a leap of the wall clock: it costs none of them. An order stays as it is: its
/// yes counts until the time that was signed and shown.
///
/// Leases stay as they are: one that ends too early only has the agent asked again.
pub fn postpone(
    agent_id: &AgentId,
    commands: &[Command],
    leap: TimeDelta,
    now: DateTime<Utc>,
) -> Vec<CommandEvent> {
    let open = commands.iter().filter(|command| command.status.is_open());
    let is_moved = |command: &&Command| !matches!(command.kind, CommandKind::CarryOutPlan { .. });
    let moved = open.filter(is_moved).filter_map(|command| {
        let expires_at = after_leap(command.expires_at, leap, now, lifetime(&command.kind));
        (expires_at != command.expires_at).then(|| CommandEvent::Postponed {
            agent_id: agent_id.clone(),
            command_id: command.id.clone(),
            expires_at,
        })
    });
    moved.collect()
}

/// Returns when [`decide_overdue`] has something to decide next.
pub fn next_due(commands: &[Command], dialect: Dialect) -> Option<DateTime<Utc>> {
    let open = commands.iter().filter(|command| command.status.is_open());
    open.map(|command| waits_until(command, dialect).unwrap_or(command.expires_at)).min()
}

enum Overdue {
    Requeue,
    Expire,
}

fn overdue(command: &Command, now: DateTime<Utc>, dialect: Dialect) -> Option<Overdue> {
    if is_waiting(command, now, dialect) {
        return None;
    }
    if now >= command.expires_at {
        return Some(Overdue::Expire);
    }
    let was_handed_over = command.status != CommandStatus::Queued;
    let may_repeat = match dialect {
        Dialect::Native => true,
        Dialect::V2 => is_start(command) && command.attempt <= V2_RETRIES,
        Dialect::RedFlag => false,
    };
    was_handed_over.then_some(if may_repeat { Overdue::Requeue } else { Overdue::Expire })
}

fn is_start(command: &Command) -> bool {
    matches!(command.kind, CommandKind::StartTunnel { .. })
}

fn is_restart(command: &Command) -> bool {
    matches!(command.kind, CommandKind::RestartTunnel { .. })
}

/// Says whether a command can be handed over. A restart of a DockFlare agent never twice, whatever happened.
fn is_due(command: &Command, now: DateTime<Utc>, dialect: Dialect) -> bool {
    if !can_be_told(command, dialect) {
        return false;
    }
    match (command.status, dialect) {
        (CommandStatus::Queued, Dialect::V2) => !is_restart(command) || command.attempt == 0,
        (CommandStatus::Queued, Dialect::Native) => true,
        (CommandStatus::Queued, Dialect::RedFlag) => command.attempt == 0,
        (CommandStatus::Delivered | CommandStatus::Acknowledged, Dialect::Native) => {
            !is_waiting(command, now, dialect)
        }
        (CommandStatus::Delivered, Dialect::V2) => is_told_again(command, dialect),
        _ => false,
    }
}

/// Returns until when the agent that has a command is left alone; `None` if no agent has it.
fn waits_until(command: &Command, dialect: Dialect) -> Option<DateTime<Utc>> {
    let delivered = command.delivered_at?;
    match (command.status, dialect) {
        (CommandStatus::Delivered, Dialect::Native) => {
            Some(delivered + command.kind.family().rules().acknowledge_within)
        }
        (CommandStatus::Delivered | CommandStatus::Acknowledged, _) => command.lease_until,
        _ => None,
    }
}

fn is_waiting(command: &Command, now: DateTime<Utc>, dialect: Dialect) -> bool {
    let longest = TimeDelta::from_std(longest_lease(command, dialect)).unwrap_or(TimeDelta::MAX);
    waits_until(command, dialect).is_some_and(|until| now < until && until - now <= longest)
}

/// What shows that a command of a DockFlare agent had its effect.
#[derive(Debug, Clone, Copy)]
pub enum Evidence<'a> {
    /// The agent reported its tunnel after the command was handed over.
    Report {
        /// The report.
        tunnel: &'a TunnelReport,
        /// When it came in, master time.
        received_at: DateTime<Utc>,
    },
    /// Cloudflare lists the tunnel's connectors.
    Connectors {
        /// Those that are there now, with those whose connections only linger: they were started too.
        now: &'a [Connector],
        /// Ids of those that were there when the agent was enrolled.
        at_enrolment: &'a [String],
    },
}

/// Says whether `evidence` proves that a command, which was handed over at least once, had its effect.
pub fn confirm(command: &Command, evidence: Evidence<'_>) -> Option<Outcome> {
    let delivered_at = command.delivered_at.filter(|_| command.status.is_open() && command.attempt > 0)?;
    let message = match evidence {
        Evidence::Report { tunnel, received_at } => {
            let in_time = received_at >= delivered_at;
            let effect = match &command.kind {
                CommandKind::ConnectorLog
                | CommandKind::ScanUpdates
                | CommandKind::PlanUpdates { .. }
                | CommandKind::CarryOutPlan { .. }
                | CommandKind::CancelRun { .. }
                | CommandKind::DryRunUpdate(_)
                | CommandKind::ConfirmDependencies { .. }
                | CommandKind::EnableHeartbeat { .. }
                | CommandKind::DisableHeartbeat
                | CommandKind::Reboot(_)
                | CommandKind::Unknown => false,
                CommandKind::StopTunnel => tunnel.health == TunnelHealth::Stopped,
                CommandKind::StartTunnel { tunnel_name, .. }
                | CommandKind::RestartTunnel { tunnel_name, .. } => {
                    let same = tunnel.name.as_ref().is_none_or(|name| name == tunnel_name);
                    tunnel.health == TunnelHealth::Running && same
                }
            };
            (in_time && effect).then_some("the agent reported the tunnel as it was ordered")
        }
        Evidence::Connectors { now, at_enrolment } => {
            let is_known = |connector: &Connector| at_enrolment.contains(&connector.id);
            let effect = match now.iter().any(|connector| !is_known(connector)) {
                true => Some("a connector that was not there before serves the tunnel"),
                // An agent whose connector runs already has nothing to start, and says nothing.
                false if now.iter().any(Connector::is_connected) => {
                    Some("a connector that was there already serves the tunnel")
                }
                false => None,
            };
            effect.filter(|_| is_start(command))
        }
    };
    message.map(|message| Outcome { succeeded: true, message: message.to_owned(), finished_at: None })
}

/// What an agent has written down of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Known {
    /// It was begun; whether it had an effect is not known.
    Begun,
    /// It ended.
    Finished(Outcome),
}

/// What an agent does with a command that is handed to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reaction {
    /// Write it down, acknowledge it, carry it out.
    Run,
    /// Carry it out again: it was cut off. A restart recognises by its id what it did already.
    Resume,
    /// Say again how it ended.
    AnswerAgain(Outcome),
}

/// Decides what an agent does with a command, by what it has written down of that id.
pub fn react(known: Option<&Known>) -> Reaction {
    match known {
        None => Reaction::Run,
        Some(Known::Begun) => Reaction::Resume,
        Some(Known::Finished(outcome)) => Reaction::AnswerAgain(outcome.clone()),
    }
}
