//! What an agent tells the master, in whatever dialect it came.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::command::Outcome;
use super::container::Container;
use super::host::Host;
use super::id::{CommandId, ContainerId};
use super::tunnel::TunnelReport;
use super::update::{Findings, RunProgress, Scanned};

/// One thing an agent says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Report {
    /// I am here.
    Heartbeat,
    /// These are all enabled containers that run. Sent only after a listing that succeeded.
    Snapshot {
        /// Empty means that none runs.
        containers: Vec<Container>,
    },
    /// These run; whether others do is not known, because part of the list could not be read.
    SomeSeen {
        /// What could be read.
        containers: Vec<Container>,
    },
    /// This container runs (it started, or its labels were read for the first time).
    ContainerSeen {
        /// The container.
        container: Container,
    },
    /// This container no longer runs.
    ContainerGone {
        /// The Engine's id.
        id: ContainerId,
        /// What happened to it.
        cause: GoneCause,
    },
    /// How the tunnel is.
    Tunnel {
        /// Its state.
        tunnel: TunnelReport,
    },
    /// A command came to its end.
    CommandResult {
        /// Which one.
        id: CommandId,
        /// How it ended.
        outcome: Outcome,
    },
    /// The host was looked at for updates; what was found follows for those scanners that the master asks for.
    Scanned {
        /// How each scanner came out.
        scan: Scanned,
    },
    /// All that one scanner found.
    Findings {
        /// It.
        findings: Findings,
    },
    /// The machine behind the agent.
    Host {
        /// What it is.
        host: Box<Host>,
    },
    /// How far a run on the host is.
    Run {
        /// It.
        progress: Box<RunProgress>,
    },
    /// A kind this master does not know; accepted and ignored, as agents expect.
    #[serde(other)]
    Unknown,
}

/// Why a container no longer runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GoneCause {
    /// It was stopped, killed or removed, or it ended, and the agent saw that it does not run.
    Stopped,
    /// A DockFlare agent saw it die: it may be back at once, so the next report decides.
    Died,
}

/// A report with its place in the agent's order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reports {
    /// When the agent started counting; a new start begins a new session.
    pub session: String,
    /// Number of the first item; the next batch starts where this one ended.
    pub first_seq: u64,
    /// When the agent made the batch, by its own clock.
    pub sent_at: Option<DateTime<Utc>>,
    /// The items, in order.
    pub items: Vec<Report>,
}
