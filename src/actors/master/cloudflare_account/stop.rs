//! Why a pass did not come to its end, and what that means for the next one.

use std::time::Duration;

use tokio::time::Instant;

use super::desk::StoreFailed;
use super::records::RecordError;
use super::turn::Ending;
use super::waiters::Failure;
use crate::actors::master::error::MasterError;
use crate::cloudflare::{ALLOWANCE, CfError};
use crate::db::DbError;
use crate::domain::id::AccountId;
use crate::domain::ingress::MergeError;
use crate::domain::publish::Cause;

pub(super) const TRIED_AGAIN: &str = "Cloudflare did not take it; it is tried again by itself";
pub(super) const RULE_REFUSED: &str =
    "Cloudflare does not take its rule, so change its labels; other routes are not concerned";
const NAME_REFUSED: &str =
    "Cloudflare does not take a DNS record of this name; put right what it says, or choose another hostname";
const BELOW_DELEGATION: &str = "the name lies in a part of the zone that is delegated to other name servers; remove the \
                                NS records of that part at Cloudflare, or choose another hostname";

/// Why a pass did not come to its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum Stop {
    #[error(transparent)]
    Cloudflare(#[from] CfError),
    /// The tunnel itself is not there any more.
    #[error(
        "the tunnel was deleted at Cloudflare; enrol its agent again, with the same tunnel name or another: it gets a new tunnel, and its names \
         go along"
    )]
    Gone(CfError),
    #[error(transparent)]
    Store(#[from] StoreFailed),
    #[error("the database could not be read")]
    Db(#[from] DbError),
    #[error(transparent)]
    Merge(#[from] MergeError),
    /// The setting names another account than the one that the tunnel was made in.
    #[error(
        "the tunnel belongs to Cloudflare account `{theirs}`, and the master works for account `{ours}`; correct \
         `CF_ACCOUNT_ID`, or enrol the tunnel's agent again with another tunnel name"
    )]
    OtherAccount { theirs: AccountId, ours: AccountId },
    /// What is written at Cloudflare takes no effect.
    #[error(
        "the tunnel is configured locally on its host, so what is written at Cloudflare takes no effect; make it remotely managed in the dashboard of \
         Cloudflare, or enrol its agent again with another tunnel name"
    )]
    Local,
    /// Cloudflare answered with an older version than one that it had already.
    #[error(
        "Cloudflare answered with version {answered} of the tunnel's configuration, but version {known} is known; \
         nothing is written after such an old answer, and it is read again later"
    )]
    Stale { answered: i64, known: i64 },
    #[error("somebody else keeps writing to this tunnel; it is tried again later")]
    Outwritten,
    #[error("{}", .0.answer)]
    Name(NameFailure),
    #[error("nothing could be planned for `{0}`")]
    Unplanned(String),
    /// Names are left, and so long the first of them has to wait.
    #[error("it waits for its turn: {ALLOWANCE}")]
    PutOff(Duration),
    /// A fault of ours ended the pass.
    #[error("internal error; it is tried again by itself, and the log of the master says more")]
    Internal,
    #[error("nothing changed since Cloudflare refused it")]
    StillRefused,
    #[error("a change came first")]
    Interrupted,
}

/// Why a name does not lead to the tunnel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NameFailure {
    /// In our words, with the way out.
    pub reason: &'static str,
    /// Cloudflare's words.
    pub answer: String,
    pub ending: Ending,
    /// When the name itself was refused: until an interval is over nobody asks again.
    pub refused_at: Option<Instant>,
}

impl NameFailure {
    pub fn new(error: &CfError) -> Self {
        let is_refused = error.is_about_content();
        let reason = match is_refused {
            true if error.is_below_delegation() => BELOW_DELEGATION,
            true => NAME_REFUSED,
            false => TRIED_AGAIN,
        };
        let refused_at = is_refused.then(Instant::now);
        Self { reason, answer: error.to_string(), ending: ending_of(error), refused_at }
    }

    /// A rule was refused.
    pub fn of_rule(words: &str) -> Self {
        let answer = words.to_owned();
        Self { reason: RULE_REFUSED, answer, ending: Ending::Refused, refused_at: None }
    }
}

/// What a refusal or a silence of Cloudflare means for the next pass.
fn ending_of(error: &CfError) -> Ending {
    match error {
        CfError::NotYet { retry_after, .. } => Ending::PutOff(*retry_after),
        error if error.is_transient() => Ending::Failed(error.retry_after()),
        _ => Ending::Refused,
    }
}

impl Stop {
    /// Cloudflare's last words, if it was Cloudflare.
    pub fn answer(&self) -> Option<String> {
        if self.is_put_off() {
            return None;
        }
        match self {
            Self::Gone(error) => Some(error.to_string()),
            Self::Cloudflare(_) | Self::Name(_) => Some(self.to_string()),
            _ => None,
        }
    }

    /// What those learn of it who wait.
    pub fn failure(&self) -> Failure {
        let is_storage_full = matches!(
            self,
            Self::Store(StoreFailed(MasterError::StorageFull)) | Self::Db(DbError::Full { .. })
        );
        Failure { words: self.to_string(), is_storage_full }
    }

    /// The cause, if anything is decided by it.
    pub fn cause(&self) -> Option<Cause> {
        match self {
            Self::Gone(_) => Some(Cause::TunnelGone),
            Self::Local => Some(Cause::TunnelLocal),
            _ => None,
        }
    }

    /// True if calls are held back for now, by Cloudflare or by our own budget.
    pub fn is_held_back(&self) -> bool {
        self.is_put_off() || matches!(self, Self::Cloudflare(CfError::RateLimited { .. }))
    }

    /// True if nobody refused anything: calls wait for their turn.
    pub fn is_put_off(&self) -> bool {
        matches!(self.ending(), Ending::PutOff(_))
    }

    /// What it means for the next pass.
    pub fn ending(&self) -> Ending {
        match self {
            Self::Interrupted => Ending::Interrupted,
            Self::Cloudflare(error) | Self::Gone(error) => ending_of(error),
            Self::Name(failure) => failure.ending,
            Self::PutOff(wait) => Ending::PutOff(*wait),
            Self::Merge(_) | Self::StillRefused => Ending::Refused,
            Self::OtherAccount { .. } | Self::Local => Ending::Refused,
            Self::Store(_) | Self::Db(_) | Self::Unplanned(_) => Ending::Failed(None),
            Self::Outwritten | Self::Stale { .. } | Self::Internal => Ending::Failed(None),
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
            RecordError::PutOff => Self::PutOff(Duration::ZERO),
        }
    }
}
