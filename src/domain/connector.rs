//! Whether a tunnel serves now, and with which configuration: by the word of its agent, else by Cloudflare's list of
//! connectors. What nobody could check is never called fine.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::id::TunnelId;
use super::tunnel::{TunnelHealth, TunnelReport, UNREADABLE};

/// A list of connectors that is older says nothing any more; it is read at each comparison.
const FRESH: TimeDelta = TimeDelta::minutes(15);
/// A connector gets so long to take a new configuration before anything is said.
pub const TAKES_IT_WITHIN: TimeDelta = TimeDelta::seconds(60);
/// After so long the configuration is written once more: a connector that missed one takes the next.
pub const WRITTEN_AGAIN_AFTER: TimeDelta = TimeDelta::seconds(180);

/// A connector of a tunnel, as Cloudflare lists it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connector {
    /// Its id; new with every start.
    pub id: String,
    /// Version of the configuration it has in force, if Cloudflare says.
    pub config_version: Option<i64>,
    /// Live connections to the edge.
    pub connections: usize,
    /// Those by the data centre that they lead to, as far as Cloudflare says.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub places: BTreeMap<String, usize>,
    /// Version of `cloudflared`, if Cloudflare says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// When it started, if Cloudflare says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_at: Option<DateTime<Utc>>,
}

impl Connector {
    /// True if requests can reach it.
    pub fn is_connected(&self) -> bool {
        self.connections > 0
    }
}

/// The connectors of a tunnel, as Cloudflare listed them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// All of them, those whose connections only linger too.
    pub connectors: Vec<Connector>,
    /// When.
    pub at: DateTime<Utc>,
}

/// What an agent says of its connector.
#[derive(Debug, Clone, Copy)]
pub struct Said<'a> {
    /// Its last word.
    pub report: &'a TunnelReport,
    /// True if the agent is heard now: an old word says nothing.
    pub is_heard: bool,
    /// True if the agent asks the connector itself. A DockFlare agent knows only that its container runs.
    pub asks_connector: bool,
}

impl Said<'_> {
    /// True if it leaves open whether requests reach the tunnel.
    pub fn leaves_open(&self) -> bool {
        match self.report.health {
            TunnelHealth::Unknown => true,
            TunnelHealth::Running => self.report.ready_connections.is_none() && !self.asks_connector,
            _ => false,
        }
    }
}

/// What is to be looked at after an agent's word of its connector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FollowUp {
    /// The tunnel at Cloudflare: nothing connects to it, and it may be gone.
    pub tunnel: bool,
    /// Cloudflare's list of connectors: the agent leaves open whether requests reach it.
    pub connectors: bool,
    /// Whether the tunnel was lost, and has to be started again.
    pub loss: bool,
    /// Whether names wait for the connector that serves now.
    pub names: bool,
}

impl FollowUp {
    /// An agent that does not ask its connector knows only that its container runs.
    pub fn of(report: &TunnelReport, asks_connector: bool) -> Self {
        let is_stopped = report.health == TunnelHealth::Stopped;
        let is_cut_off = report.health.is_cut_off();
        let is_open = Said { report, is_heard: true, asks_connector }.leaves_open();
        Self {
            // A DockFlare agent has no other word for a connector that ends again and again.
            tunnel: is_cut_off || (is_stopped && !asks_connector),
            connectors: is_open,
            loss: is_stopped,
            names: !is_cut_off && !is_stopped && !is_open,
        }
    }
}

/// What is known of one tunnel.
#[derive(Debug, Clone, Copy)]
pub struct Sight<'a> {
    /// The tunnel that routes are published in.
    pub tunnel: &'a TunnelId,
    /// Its name, if known.
    pub name: Option<&'a str>,
    /// The word of its agent.
    pub said: Option<Said<'a>>,
    /// Cloudflare's list.
    pub listed: Option<&'a Listed>,
    /// The configuration that is to be in force, and since when it is at Cloudflare.
    pub written: Option<(i64, DateTime<Utc>)>,
}

/// Whether requests reach what is published in a tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reach {
    /// They do.
    Yes,
    /// A connector serves, with an older configuration.
    Outdated,
    /// They do not.
    No,
    /// Nobody could check.
    Unknown,
}

impl Reach {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Yes, Self::Outdated, Self::No, Self::Unknown];

    /// Returns the word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::Outdated => "outdated",
            Self::No => "no",
            Self::Unknown => "unknown",
        }
    }
}

/// Whether requests reach a tunnel, and if not, why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reachability {
    /// The word for it.
    pub reach: Reach,
    /// Why it is not a plain yes.
    pub reason: Option<String>,
}

/// A connector that has not taken the configuration that is to be in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lag {
    /// What it has.
    pub has: i64,
    /// What it should have.
    pub wants: i64,
    /// When that was written.
    pub since: DateTime<Utc>,
}

/// What to do about a connector that is behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// Look again then.
    LookAgain(DateTime<Utc>),
    /// Write the configuration once more, unchanged: that gives it a new version, which the connector may take.
    WriteAgain,
    /// What could be done was done: it is only told of.
    Nothing,
}

impl Lag {
    /// Decides what to do about it; `was_written_again` says that the one remedy was tried since it fell behind.
    pub fn remedy(&self, was_written_again: bool, now: DateTime<Utc>) -> Remedy {
        match now - self.since {
            waited if waited < TAKES_IT_WITHIN => Remedy::LookAgain(self.since + TAKES_IT_WITHIN),
            _ if was_written_again => Remedy::Nothing,
            waited if waited < WRITTEN_AGAIN_AFTER => Remedy::LookAgain(self.since + WRITTEN_AGAIN_AFTER),
            _ => Remedy::WriteAgain,
        }
    }
}

impl Sight<'_> {
    /// Says whether requests reach what is published in the tunnel.
    pub fn reachability(&self, now: DateTime<Utc>) -> Reachability {
        let plain = self.connected(now);
        match self.lag(now).filter(|lag| plain.reach == Reach::Yes && now - lag.since >= TAKES_IT_WITHIN) {
            Some(Lag { has, wants, .. }) => told(
                Reach::Outdated,
                format!("the connector has version {has} of {wants} of the configuration"),
            ),
            None => plain,
        }
    }

    /// True if nobody but Cloudflare can say whether the tunnel serves, or with which configuration.
    pub fn needs_a_list(&self) -> bool {
        match self.word() {
            Some(Word::Serves) => self.said.is_none_or(|said| said.report.config_version.is_none()),
            Some(Word::DoesNot(_)) => false,
            None => true,
        }
    }

    /// Returns how far the connector is behind. None if it is not, or if that is not known.
    pub fn lag(&self, now: DateTime<Utc>) -> Option<Lag> {
        let ((wants, since), has) = (self.written?, self.version_in_force(now)?);
        (has < wants).then_some(Lag { has, wants, since })
    }

    /// Returns the version of the configuration that is in force, as far as anybody says: the oldest, if connectors
    /// differ.
    pub fn version_in_force(&self, now: DateTime<Utc>) -> Option<i64> {
        let own = match self.word() {
            Some(Word::Serves) => self.said.and_then(|said| said.report.config_version),
            Some(Word::DoesNot(_)) => return None,
            None => None,
        };
        own.or_else(|| {
            let (_, since) = self.written?;
            // A list from before it was written cannot know it.
            let list = self.fresh(now).filter(|list| list.at >= since)?;
            let connected = list.connectors.iter().filter(|connector| connector.is_connected());
            connected.filter_map(|connector| connector.config_version).min()
        })
    }

    fn connected(&self, now: DateTime<Utc>) -> Reachability {
        match self.word() {
            Some(Word::Serves) => return Reachability { reach: Reach::Yes, reason: None },
            Some(Word::DoesNot(reason)) => return told(Reach::No, reason),
            None => {}
        }
        match self.fresh(now) {
            Some(list) if list.connectors.iter().any(Connector::is_connected) => {
                Reachability { reach: Reach::Yes, reason: None }
            }
            Some(_) => told(Reach::No, "Cloudflare lists no connector of its tunnel that is connected"),
            None => told(Reach::Unknown, format!("whether it serves could not be checked: {}", self.why())),
        }
    }

    fn fresh(&self, now: DateTime<Utc>) -> Option<&Listed> {
        self.listed.filter(|list| now - list.at <= FRESH)
    }

    /// The agent's word, if it is one about this tunnel that can be relied on.
    fn word(&self) -> Option<Word> {
        let said = self.said.filter(|said| said.is_heard)?;
        let report = said.report;
        if !report.is_about(self.tunnel, self.name) {
            return None;
        }
        let with_reason = |how: &str| match &report.reason {
            Some(reason) => Word::DoesNot(format!("{how}: {reason}")),
            None => Word::DoesNot(how.to_owned()),
        };
        if said.leaves_open() {
            return None;
        }
        match (report.health, report.ready_connections) {
            (TunnelHealth::Unknown, _) => None,
            (TunnelHealth::Running, Some(1..) | None) => Some(Word::Serves),
            (TunnelHealth::Running, Some(0)) | (TunnelHealth::Degraded, _) => {
                Some(with_reason("its connector has no connection to the edge"))
            }
            (TunnelHealth::Restarting, _) => Some(with_reason("its connector ends again and again")),
            (TunnelHealth::Failed, _) => Some(with_reason("its connector does not run")),
            (TunnelHealth::Stopped, _) => Some(with_reason("its connector is stopped")),
        }
    }

    fn why(&self) -> String {
        let agent = match self.said {
            None => "its agent has not said how its connector is",
            Some(said) if !said.is_heard => "its agent is not heard",
            Some(said) if !said.report.is_about(self.tunnel, self.name) => {
                "the last word of its agent is about another tunnel"
            }
            Some(said) => match said.report.reason.as_deref().filter(|reason| *reason != UNREADABLE) {
                Some(reason) => return format!("{reason}, and {}", self.no_list()),
                None => "its agent knows only that the connector runs",
            },
        };
        format!("{agent}, and {}", self.no_list())
    }

    fn no_list(&self) -> &'static str {
        match self.listed {
            Some(_) => "Cloudflare's list of connectors is old",
            None => "Cloudflare's list of connectors was not read yet",
        }
    }
}

enum Word {
    Serves,
    DoesNot(String),
}

fn told(reach: Reach, reason: impl Into<String>) -> Reachability {
    Reachability { reach, reason: Some(reason.into()) }
}
