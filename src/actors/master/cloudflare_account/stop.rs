//! Why a pass did not come to its end, and what that means for the next one.

use super::desk::StoreFailed;
use super::records::RecordError;
use super::turn::Ending;
use crate::cloudflare::CfError;
use crate::db::DbError;
use crate::domain::ingress::MergeError;

/// Why a pass did not come to its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum Stop {
    #[error(transparent)]
    Cloudflare(#[from] CfError),
    /// The tunnel itself is not there any more.
    #[error(transparent)]
    Gone(CfError),
    #[error(transparent)]
    Store(#[from] StoreFailed),
    #[error("the database could not be read")]
    Db(#[from] DbError),
    #[error(transparent)]
    Merge(#[from] MergeError),
    #[error("somebody else keeps writing to this tunnel; it is tried again later")]
    Outwritten,
    #[error("{}", .0.answer)]
    Name(NameFailure),
    #[error("nothing could be planned for `{0}`")]
    Unplanned(String),
    #[error("nothing changed since Cloudflare refused it")]
    StillRefused,
    #[error("a change came first")]
    Interrupted,
}

/// Why a name does not lead to the tunnel.
#[derive(Debug, Clone)]
pub(super) struct NameFailure {
    /// Cloudflare's words.
    pub answer: String,
    pub ending: Ending,
}

impl NameFailure {
    pub fn new(error: &CfError) -> Self {
        Self { answer: error.to_string(), ending: ending_of(error) }
    }
}

/// What a refusal or a silence of Cloudflare means for the next pass.
fn ending_of(error: &CfError) -> Ending {
    if error.is_transient() { Ending::Failed(error.retry_after()) } else { Ending::Refused }
}

impl Stop {
    /// Cloudflare's last words, if it was Cloudflare.
    pub fn answer(&self) -> Option<String> {
        matches!(self, Self::Cloudflare(_) | Self::Gone(_) | Self::Name(_)).then(|| self.to_string())
    }

    /// True if calls are held back for now, by Cloudflare or by our own budget.
    pub fn is_held_back(&self) -> bool {
        matches!(self, Self::Cloudflare(CfError::RateLimited { .. }))
    }

    /// What it means for the next pass.
    pub fn ending(&self) -> Ending {
        match self {
            Self::Interrupted => Ending::Interrupted,
            Self::Cloudflare(error) | Self::Gone(error) => ending_of(error),
            Self::Name(failure) => failure.ending,
            Self::Merge(_) | Self::StillRefused => Ending::Refused,
            Self::Store(_) | Self::Db(_) | Self::Outwritten | Self::Unplanned(_) => Ending::Failed(None),
        }
    }
}

impl From<RecordError> for Stop {
    fn from(error: RecordError) -> Self {
        match error {
            RecordError::Cloudflare(error) => Self::Cloudflare(error),
            RecordError::Store(error) => Self::Store(error),
            RecordError::Db(error) => Self::Db(error),
            RecordError::Unplanned(name) => Self::Unplanned(name),
        }
    }
}
