//! What people are told of.

use serde::{Deserialize, Serialize};

/// A kind of thing that people are told of; a target may choose among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Topic {
    /// Nothing is heard from an agent, or it is back.
    AgentOffline,
    /// A tunnel has no connection, or has one again.
    TunnelDown,
    /// Somebody else has a name that is asked for, or that is over.
    Conflict,
    /// Others changed what is ours.
    Drift,
    /// A route can be reached by everybody, without a login, because that is asked for.
    Unprotected,
    /// An update failed, or was undone.
    UpdateFailed,
    /// A token or key ends soon.
    KeyExpiring,
}

impl Topic {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::AgentOffline,
        Self::TunnelDown,
        Self::Conflict,
        Self::Drift,
        Self::Unprotected,
        Self::UpdateFailed,
        Self::KeyExpiring,
    ];

    /// Returns the word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AgentOffline => "agent_offline",
            Self::TunnelDown => "tunnel_down",
            Self::Conflict => "conflict",
            Self::Drift => "drift",
            Self::Unprotected => "unprotected",
            Self::UpdateFailed => "update_failed",
            Self::KeyExpiring => "key_expiring",
        }
    }

    /// Returns the topic of a word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|topic| topic.as_str() == word)
    }

    /// Says it to people who choose.
    pub const fn in_words(self) -> &'static str {
        match self {
            Self::AgentOffline => "an agent is offline, and back",
            Self::TunnelDown => "a tunnel is down, and up again",
            Self::Conflict => "somebody else has a hostname, and that is over",
            Self::Drift => "others changed a tunnel",
            Self::Unprotected => "a route became public without a login",
            Self::UpdateFailed => "an update failed or was undone",
            Self::KeyExpiring => "a token expires soon",
        }
    }

    /// True if its end is told too.
    pub const fn tells_end(self) -> bool {
        matches!(self, Self::AgentOffline | Self::TunnelDown | Self::Conflict)
    }

    /// True if what nobody speaks of any more is over. A conflict is gone with who asked for the name; an agent that was
    /// removed is not back.
    pub const fn ends_unseen(self) -> bool {
        matches!(self, Self::Conflict)
    }
}
