//! When a host that lost its tunnel is told again to start it.
//!
//! The master compares: an enrolled agent that runs no tunnel and knows of none is told to start the one it has. One
//! that still knows its tunnel was only stopped, and starts it by itself when it is back. Nothing is added to a command
//! that is on its way, and what does not help is repeated ever more slowly.

#[cfg(test)]
mod tests;

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::command::{Command, CommandKind, CommandStatus};
use super::delivery::{Family, is_busy};
use super::id::TunnelId;
use super::tunnel::{TunnelHealth, TunnelReport};

/// Pause after the first command; each further one of [`COUNTED_FOR`] doubles it. Long enough for an agent to say what
/// came of it.
const FIRST_PAUSE: Duration = Duration::from_secs(10);
/// Longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(3_600);
/// How long a command counts.
const COUNTED_FOR: TimeDelta = TimeDelta::hours(6);

/// What to do about an agent's tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Nothing, until something is heard.
    Nothing,
    /// Nothing yet; look again then.
    LookAgain(DateTime<Utc>),
    /// Tell the agent to start it.
    Start,
}

/// Decides by what the agent said last, first at `since`, and by its latest commands, newest first.
pub fn next(
    assigned: &TunnelId,
    said: &TunnelReport,
    since: DateTime<Utc>,
    commands: &[Command],
    now: DateTime<Utc>,
) -> Next {
    let commands: Vec<&Command> =
        commands.iter().filter(|command| command.kind.family() == Family::Tunnel).collect();
    let knows_it = said.tunnel_id.as_ref() == Some(assigned);
    if said.health != TunnelHealth::Stopped || knows_it || is_busy(commands.iter().copied(), Family::Tunnel) {
        return Next::Nothing;
    }
    let Some(last) = commands.first() else { return Next::Start };
    // What was said before the agent had the command says nothing about what came of it.
    let is_overtaken = last.status == CommandStatus::Succeeded && Some(since) <= last.delivered_at;
    if last.kind == CommandKind::StopTunnel || is_overtaken {
        return Next::Nothing;
    }
    let told_at = last.delivered_at.unwrap_or(last.queued_at);
    let until = told_at + pause(&commands, now);
    // One told in the future was told before the clock went back.
    if told_at <= now && now < until { Next::LookAgain(until) } else { Next::Start }
}

fn pause(commands: &[&Command], now: DateTime<Utc>) -> TimeDelta {
    let count = commands.iter().filter(|command| now - command.queued_at < COUNTED_FOR).count();
    let doublings = u32::try_from(count.saturating_sub(1)).unwrap_or(u32::MAX);
    let pause = match count {
        0 => Duration::ZERO,
        _ => FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(doublings)).min(LONGEST_PAUSE),
    };
    TimeDelta::from_std(pause).unwrap_or(TimeDelta::MAX)
}
