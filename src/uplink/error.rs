//! What can go wrong between agent and master, and what it means for the agent.

use std::time::Duration;

use super::address::InvalidMasterUrl;
use crate::domain::delivery::Dialect;
use crate::http_client::{SendError, SetupError};
use crate::protocol::body::BodyError;
use crate::protocol::v3;

/// Longest `Retry-After` that is obeyed: a typing error on a proxy must not silence a host for a day.
const RETRY_AFTER_LIMIT: Duration = Duration::from_secs(300);

/// What a DockFlare Master answers, with 404, to an agent that it does not have.
const UNKNOWN_AGENT: &str = "Agent not found.";

/// A call that did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum UplinkError {
    /// The settings cannot work.
    #[error(transparent)]
    Address(#[from] InvalidMasterUrl),
    /// The HTTP client could not be made.
    #[error("the connection to the master cannot be set up: {0}")]
    Setup(#[from] SetupError),
    /// No answer: not reachable, cut off, or too slow.
    #[error("no answer from the master at `{address}`: {reason}")]
    NoAnswer {
        /// Address of the call, without secrets.
        address: String,
        /// What happened, in words.
        reason: String,
    },
    /// An answer other than success.
    #[error("the master at `{address}` answered {status}: {message}")]
    Refused {
        /// Address of the call, without secrets.
        address: String,
        /// HTTP status.
        status: u16,
        /// Stable identifier, on native routes.
        code: Option<String>,
        /// The master's words, cut.
        message: String,
        /// How long it asks to be left alone.
        retry_after: Option<Duration>,
    },
    /// It points somewhere else.
    #[error(
        "the master at `{address}` points to `{target}`, where the agent's key is not sent; set \
         `DOCKFLARE_MASTER_URL` to that address if it is the master's, or, behind Cloudflare Access, set \
         `CF_ACCESS_CLIENT_ID` and `CF_ACCESS_CLIENT_SECRET`"
    )]
    Elsewhere {
        /// Address of the call, without secrets.
        address: String,
        /// Base address of the place it points to.
        target: String,
    },
    /// A success whose body is not what a master says.
    #[error("the answer of `{address}` is not a master's: {reason}; is `DOCKFLARE_MASTER_URL` right?")]
    Malformed {
        /// Address of the call, without secrets.
        address: String,
        /// What is wrong with it.
        reason: BodyError,
    },
    /// More than a master ever says.
    #[error("the answer of `{address}` is larger than {limit_bytes} bytes; is `DOCKFLARE_MASTER_URL` right?")]
    TooLarge {
        /// Address of the call, without secrets.
        address: String,
        /// What is read at most.
        limit_bytes: usize,
    },
}

/// What an agent makes of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Try again, not before `after` if it is given.
    Retry {
        /// As the master asked.
        after: Option<Duration>,
    },
    /// The master does not know this agent or session (any more), or speaks another dialect now.
    RegisterAgain,
    /// A DockFlare Master says that it does not have this agent: a person removed it there.
    Removed,
    /// The key opens nothing: back off, keep the tunnel running.
    KeyRefused,
    /// This call will never succeed; it is no use to repeat it.
    Refused,
}

impl From<SendError> for UplinkError {
    fn from(error: SendError) -> Self {
        match error {
            SendError::NoAnswer { address, reason } => Self::NoAnswer { address, reason },
            SendError::Elsewhere { address, target } => Self::Elsewhere { address, target },
        }
    }
}

impl UplinkError {
    /// Returns what to do about a failed call in `dialect`.
    pub fn verdict(&self, dialect: Dialect) -> Verdict {
        let Self::Refused { status, code, message, retry_after, .. } = self else {
            return Verdict::Retry { after: None };
        };
        match (dialect, status) {
            (_, 401 | 403) => Verdict::KeyRefused,
            (_, 408 | 425 | 429 | 500..) => {
                Verdict::Retry { after: retry_after.map(|d| d.min(RETRY_AFTER_LIMIT)) }
            }
            // A native master knows the route but not this command; any other 404 is the route itself.
            (Dialect::Native, 404) if code.as_deref() == Some("command_not_found") => Verdict::Refused,
            // Masters get rolled back: a native route that is gone ends the session.
            (Dialect::Native, 404 | 405 | 415) => Verdict::RegisterAgain,
            (Dialect::Native, 409) if code.as_deref() == Some(v3::SESSION_UNKNOWN) => Verdict::RegisterAgain,
            // Its own words; a proxy before a master that is away has another page for it.
            (Dialect::V2, 404) if message == UNKNOWN_AGENT => Verdict::Removed,
            (Dialect::V2, 404) => Verdict::RegisterAgain,
            (_, 400..500) => Verdict::Refused,
            _ => Verdict::Retry { after: None },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16, code: Option<&str>, retry_after: Option<u64>) -> UplinkError {
        UplinkError::Refused {
            address: "http://m".into(),
            status,
            code: code.map(str::to_owned),
            message: String::new(),
            retry_after: retry_after.map(Duration::from_secs),
        }
    }

    #[test]
    fn every_status_has_its_meaning() {
        use Dialect::{Native, V2};
        let retry = |secs: u64| Verdict::Retry { after: Some(Duration::from_secs(secs)) };
        let cases = [
            (Native, refused(401, None, None), Verdict::KeyRefused),
            (V2, refused(403, None, None), Verdict::KeyRefused),
            (V2, refused(404, None, None), Verdict::RegisterAgain),
            (V2, refused(400, None, None), Verdict::Refused),
            (V2, refused(500, None, None), Verdict::Retry { after: None }),
            (Native, refused(404, None, None), Verdict::RegisterAgain),
            (Native, refused(404, Some("command_not_found"), None), Verdict::Refused),
            (Native, refused(405, None, None), Verdict::RegisterAgain),
            (Native, refused(415, None, None), Verdict::RegisterAgain),
            (Native, refused(409, Some("session_unknown"), None), Verdict::RegisterAgain),
            (Native, refused(409, Some("other"), None), Verdict::Refused),
            (Native, refused(413, None, None), Verdict::Refused),
            (Native, refused(503, None, Some(7)), retry(7)),
            (Native, refused(429, None, Some(86_400)), retry(300)),
            (Native, refused(302, None, None), Verdict::Retry { after: None }),
        ];
        for (dialect, error, wanted) in cases {
            assert_eq!(error.verdict(dialect), wanted, "{dialect:?} {error}");
        }
        let mut removed = refused(404, None, None);
        if let UplinkError::Refused { message, .. } = &mut removed {
            *message = UNKNOWN_AGENT.into();
        }
        assert_eq!(removed.verdict(V2), Verdict::Removed);
        assert_eq!(removed.verdict(Native), Verdict::RegisterAgain);
    }
}
