//! Every way a request can fail, with its status and its stable code.
//!
//! Handlers return [`ApiError`]; `speak` words it for whoever calls that path. Must not hold
//! secrets: messages are shown as they are.

use std::borrow::Cow;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, ResponseError};

use crate::actors::master::MasterError;
use crate::protocol::body::BodyError;
use crate::protocol::v2::answer;
use crate::protocol::v3::SESSION_UNKNOWN;

/// When to come back if the master is busy.
const BUSY: Duration = Duration::from_secs(2);

/// What went wrong, in words for the caller.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// No agent key, or one that is unknown or revoked.
    #[error("missing or unknown agent key; send `Authorization: Bearer <agent key>`")]
    AgentUnauthenticated,
    /// No access token, or one that is wrong, over, or of an agent that was removed.
    #[error("missing, invalid or expired access token; renew it, or register with a registration token")]
    TokenUnauthenticated,
    /// More requests of a kind than its limit allows.
    #[error("Rate limit exceeded")]
    RateLimited {
        /// How many it allows.
        limit: u32,
        /// In which time.
        window: Duration,
        /// When to try again.
        retry_after: Duration,
    },
    /// It cannot be done as things stand.
    #[error("{0}")]
    NotNow(String),
    /// No token of registries, or a wrong one.
    #[error("missing or unknown push token; send `Authorization: Bearer <registry.push_token>`")]
    RegistryUnauthenticated,
    /// No admin token and no session, or a wrong one.
    #[error("missing or unknown admin token; send `Authorization: Bearer <LIGHTSHIP_ADMIN_TOKEN>`")]
    Unauthenticated,
    /// Signed in, but the role is too small.
    #[error("this needs the role `{needed}`")]
    Forbidden {
        /// The smallest role that may.
        needed: &'static str,
    },
    /// A name or password that is wrong.
    #[error("invalid username or password")]
    WrongSignIn,
    /// A person at a browser who does not know its administrator's password.
    #[error("the current password is wrong")]
    WrongPassword,
    /// A form came without the token of the page it belongs to.
    #[error("the form is too old or came from another site; load the page again and repeat")]
    BadCsrf,
    /// The key is good, but it belongs to another agent.
    #[error("the key belongs to another agent")]
    KeyMismatch,
    /// No such agent.
    #[error("no agent with this id exists")]
    AgentNotFound,
    /// No such object of another kind.
    #[error("{0}")]
    Missing(String),
    /// No such path.
    #[error("no such path")]
    NotFound,
    /// The path does not know the method.
    #[error("the method is not allowed here; `Allow` names those that are")]
    MethodNotAllowed,
    /// The native session is unknown or old.
    #[error("the session is unknown or has expired; register again")]
    SessionUnknown,
    /// Not HTTP as we expect it, or a body that breaks off.
    #[error("the request cannot be read: {0}")]
    Malformed(String),
    /// Not JSON, too deep, or not of the expected shape.
    #[error("{0}")]
    Body(#[from] BodyError),
    /// Another content type.
    #[error("the content type is not supported; send `application/json`")]
    UnsupportedMediaType,
    /// A body packed in another way.
    #[error("the content encoding is not supported; send `gzip` or none")]
    UnsupportedEncoding,
    /// A body over the limit.
    #[error("the body is larger than {limit} bytes")]
    TooLarge {
        /// Its limit, after decompression.
        limit: usize,
    },
    /// A report over the limit for an agent that nobody has enrolled yet.
    #[error("the body is larger than the {limit} bytes that an agent may send before it is enrolled")]
    TooLargeWhilePending {
        /// Its limit, after decompression.
        limit: usize,
    },
    /// The body did not arrive in time.
    #[error("the body did not arrive within {} seconds", .limit.as_secs())]
    TooSlow {
        /// How long it may take.
        limit: Duration,
    },
    /// Too many failed attempts from this source.
    #[error("too many failed attempts; try again in {} seconds", .retry_after.as_secs().max(1))]
    TooManyAttempts {
        /// When to try again.
        retry_after: Duration,
    },
    /// An agent sends more than its share.
    #[error("more requests than `security.requests_per_second` allows; try again in {} seconds", .retry_after.as_secs().max(1))]
    OverShare {
        /// When to try again.
        retry_after: Duration,
    },
    /// Something that was asked for makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// The master did not do it.
    #[error(transparent)]
    Master(#[from] MasterError),
    /// Ours to repair; the cause is logged and not shown.
    #[error("internal error; the log of the master has the cause")]
    Internal(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl ApiError {
    /// Wraps an unexpected failure.
    pub fn internal(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Internal(cause.into())
    }

    /// Stable, documented identifier that clients may match on, with its status.
    pub fn code(&self) -> (&'static str, StatusCode) {
        match self {
            Self::RateLimited { .. } => ("rate_limited", StatusCode::TOO_MANY_REQUESTS),
            Self::NotNow(_) => ("not_now", StatusCode::CONFLICT),
            Self::WrongSignIn => ("wrong_sign_in", StatusCode::UNAUTHORIZED),
            Self::AgentUnauthenticated
            | Self::TokenUnauthenticated
            | Self::RegistryUnauthenticated
            | Self::Unauthenticated => ("unauthenticated", StatusCode::UNAUTHORIZED),
            Self::Forbidden { .. } => ("forbidden", StatusCode::FORBIDDEN),
            Self::WrongPassword => ("wrong_password", StatusCode::FORBIDDEN),
            Self::BadCsrf => ("bad_csrf", StatusCode::FORBIDDEN),
            Self::KeyMismatch => ("key_mismatch", StatusCode::FORBIDDEN),
            Self::AgentNotFound => ("agent_not_found", StatusCode::NOT_FOUND),
            Self::Missing(_) | Self::NotFound => ("not_found", StatusCode::NOT_FOUND),
            Self::MethodNotAllowed => ("method_not_allowed", StatusCode::METHOD_NOT_ALLOWED),
            Self::SessionUnknown => (SESSION_UNKNOWN, StatusCode::CONFLICT),
            Self::Body(error) => (error.code(), StatusCode::BAD_REQUEST),
            Self::Malformed(_) => ("malformed", StatusCode::BAD_REQUEST),
            Self::UnsupportedMediaType => ("unsupported_media_type", StatusCode::UNSUPPORTED_MEDIA_TYPE),
            Self::UnsupportedEncoding => ("unsupported_encoding", StatusCode::UNSUPPORTED_MEDIA_TYPE),
            Self::TooLarge { .. } | Self::TooLargeWhilePending { .. } => {
                ("too_large", StatusCode::PAYLOAD_TOO_LARGE)
            }
            Self::TooSlow { .. } => ("too_slow", StatusCode::REQUEST_TIMEOUT),
            Self::TooManyAttempts { .. } => ("too_many_attempts", StatusCode::TOO_MANY_REQUESTS),
            Self::OverShare { .. } => ("over_share", StatusCode::TOO_MANY_REQUESTS),
            Self::Invalid(_) => ("invalid", StatusCode::BAD_REQUEST),
            Self::Master(error) => (error.code(), master_status(error)),
            Self::Internal(_) => ("internal", StatusCode::INTERNAL_SERVER_ERROR),
        }
    }

    /// DockFlare clients know some failures by these words.
    pub(super) fn v2_message(&self) -> Cow<'static, str> {
        match self {
            Self::AgentUnauthenticated | Self::Master(MasterError::KeyRevoked) => {
                answer::UNAUTHENTICATED.into()
            }
            Self::Unauthenticated => "unauthorized".into(),
            Self::AgentNotFound | Self::Master(MasterError::AgentNotFound(_)) => {
                answer::AGENT_NOT_FOUND.into()
            }
            Self::KeyMismatch | Self::Master(MasterError::KeyMismatch) => answer::KEY_MISMATCH.into(),
            Self::UnsupportedMediaType => answer::NOT_JSON_TYPE.into(),
            other => other.to_string().into(),
        }
    }

    /// True if the same request would be refused again: what it says cannot be taken.
    pub fn is_about_the_request(&self) -> bool {
        let (_, status) = self.code();
        [StatusCode::BAD_REQUEST, StatusCode::PAYLOAD_TOO_LARGE, StatusCode::UNSUPPORTED_MEDIA_TYPE]
            .contains(&status)
    }

    /// True for what the master's own host has to be seen to for.
    pub(super) fn is_ours_to_repair(&self) -> bool {
        let is_full = matches!(self, Self::Master(MasterError::StorageFull));
        is_full || self.code().1 == StatusCode::INTERNAL_SERVER_ERROR
    }

    /// When the caller may try again.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::TooManyAttempts { retry_after }
            | Self::OverShare { retry_after }
            | Self::RateLimited { retry_after, .. } => Some(*retry_after),
            Self::Master(error) => retry_after(error),
            _ => None,
        }
    }
}

/// When the caller may ask the master again; none where that is of no use.
pub fn retry_after(error: &MasterError) -> Option<Duration> {
    matches!(error, MasterError::Busy | MasterError::StorageFull).then_some(BUSY)
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        self.code().1
    }

    /// Only the status; `speak` knows the path and so the words.
    fn error_response(&self) -> HttpResponse {
        HttpResponse::new(self.status_code())
    }
}

fn master_status(error: &MasterError) -> StatusCode {
    StatusCode::from_u16(error.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// An error with its causes on one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        line.push_str(": ");
        line.push_str(&error.to_string());
        cause = error.source();
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_internal_error_does_not_show_its_cause() {
        let error = ApiError::internal("password is hunter2");
        assert!(!error.to_string().contains("hunter2"));
        assert_eq!(error.code(), ("internal", StatusCode::INTERNAL_SERVER_ERROR));
    }
}
