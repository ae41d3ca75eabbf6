//! What agents speak.

use std::time::Duration;

/// What an agent speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// DockFlare's: no acknowledgement, no result.
    V2,
    /// Ours.
    Native,
    /// RedFlag's: a result, and no acknowledgement.
    RedFlag,
}

/// RedFlag's agents check in every five minutes and up to half a minute later; two may be missed.
const REDFLAG_SILENCE: Duration = Duration::from_secs(660);

impl Dialect {
    /// The word that is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V2 => "v2",
            Self::Native => "native",
            Self::RedFlag => "redflag",
        }
    }

    /// Reads a stored word; anything else is the dialect that asks for least.
    pub fn of(word: &str) -> Self {
        match word {
            "native" => Self::Native,
            "redflag" => Self::RedFlag,
            _ => Self::V2,
        }
    }

    /// Returns after how much silence an agent counts as offline where `set` is what the operator set.
    pub fn silence(self, set: Duration) -> Duration {
        match self {
            Self::V2 | Self::Native => set,
            Self::RedFlag => set.max(REDFLAG_SILENCE),
        }
    }
}
