//! Why the Engine did not do what it was asked.

use std::time::Duration;

/// A call to the Engine that failed.
#[derive(Debug, thiserror::Error)]
pub enum DockerError {
    /// `DOCKER_HOST` cannot be used.
    #[error("DOCKER_HOST `{host}` is not usable: use unix:///path or tcp://host:port")]
    BadHost {
        /// As it was set.
        host: String,
        /// What the client says.
        #[source]
        source: Option<bollard::errors::Error>,
    },
    /// Nobody answers.
    #[error("docker engine at `{host}` cannot be reached; {remedy}")]
    Unreachable {
        /// Where it was expected.
        host: String,
        /// What to look at.
        remedy: String,
        /// What the connection says.
        #[source]
        source: bollard::errors::Error,
    },
    /// The socket is there, and not for this user.
    #[error(
        "docker engine at `{host}` cannot be reached: permission denied; run as root, or as a user of the socket's group"
    )]
    NotForUs {
        /// Where it is.
        host: String,
        /// What the connection says.
        #[source]
        source: bollard::errors::Error,
    },
    /// A socket proxy answers for an Engine that it does not reach.
    #[error(
        "the socket proxy at `{host}` does not reach the docker engine ({status}); check that the engine runs, and if \
         it does, restart the proxy: a socket file that was mounted stays the one of an earlier engine, unless its folder is \
         mounted as docs/operations.md says"
    )]
    BehindProxy {
        /// Where the proxy is.
        host: String,
        /// HTTP status.
        status: u16,
    },
    /// No answer in time.
    #[error("docker engine at `{host}` did not {what} within {limit:?}")]
    TimedOut {
        /// Where it is.
        host: String,
        /// What it was asked, as a verb.
        what: &'static str,
        /// How long we waited.
        limit: Duration,
    },
    /// The socket proxy, or the Engine's own authorization, does not permit this call.
    #[error("docker engine at `{host}` does not permit to {what}; open it in the socket proxy")]
    NotPermitted {
        /// Where it is.
        host: String,
        /// What it was asked, as a verb.
        what: &'static str,
    },
    /// There is no such thing.
    #[error("docker engine could not {what}: {message}")]
    NotFound {
        /// What it was asked, as a verb.
        what: &'static str,
        /// The Engine's words.
        message: String,
    },
    /// Something is in the way, such as a name in use.
    #[error("docker engine could not {what}: {message}")]
    Conflict {
        /// What it was asked, as a verb.
        what: &'static str,
        /// The Engine's words.
        message: String,
    },
    /// The Engine refused.
    #[error("docker engine could not {what} ({status}): {message}")]
    Refused {
        /// What it was asked, as a verb.
        what: &'static str,
        /// HTTP status.
        status: u16,
        /// The Engine's words.
        message: String,
    },
    /// An image could not be pulled.
    #[error("image `{image}` could not be pulled: {message}")]
    NotPulled {
        /// Which one.
        image: String,
        /// The Engine's words.
        message: String,
    },
    /// An answer that cannot be read.
    #[error("docker engine answered something unreadable when asked to {what}")]
    Unreadable {
        /// What it was asked, as a verb.
        what: &'static str,
        /// What is wrong with it.
        #[source]
        source: bollard::errors::Error,
    },
    /// The event stream ended.
    #[error("docker engine ended its event stream")]
    StreamEnded,
}

impl DockerError {
    /// True if the Engine itself is away, so that any other call would fail as well.
    pub fn is_away(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. }
                | Self::NotForUs { .. }
                | Self::BehindProxy { .. }
                | Self::TimedOut { .. }
                | Self::StreamEnded
        )
    }

    /// True if the thing asked for does not exist.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }

    /// True if a name is in use or a container is in the wrong state.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Conflict { .. })
    }

    pub(super) fn answered(host: &str, what: &'static str, status: u16, message: String) -> Self {
        let message = message.trim().chars().take(500).collect::<String>();
        match status {
            403 => Self::NotPermitted { host: host.to_owned(), what },
            404 => Self::NotFound { what, message },
            409 => Self::Conflict { what, message },
            // No Engine has these; one behind a unix socket has no proxy before it.
            502..=504 if !host.starts_with("unix://") => Self::BehindProxy { host: host.to_owned(), status },
            _ => Self::Refused { what, status, message },
        }
    }
}

pub(super) fn is_denied(error: &bollard::errors::Error) -> bool {
    let denied = |error: &std::io::Error| error.kind() == std::io::ErrorKind::PermissionDenied;
    if let bollard::errors::Error::IOError { err } = error {
        return denied(err);
    }
    let first: &(dyn std::error::Error + 'static) = error;
    let causes = std::iter::successors(Some(first), |error| error.source());
    causes.filter_map(|error| error.downcast_ref::<std::io::Error>()).any(denied)
}

#[cfg(test)]
mod tests {
    use super::super::address::EngineAddress;
    use super::*;

    #[test]
    fn a_socket_that_is_not_for_this_user_is_named_so() {
        for (kind, is_named) in
            [(std::io::ErrorKind::PermissionDenied, true), (std::io::ErrorKind::ConnectionRefused, false)]
        {
            let at = EngineAddress::new("unix:///nonexistent/docker.sock", None).unwrap();
            let error = DockerError::sort(&at, "list", std::io::Error::from(kind).into());
            assert!(error.is_away());
            assert_eq!(error.to_string().contains("permission denied"), is_named, "{error}");
        }
    }
    #[test]
    fn a_proxy_that_does_not_reach_the_engine_is_not_taken_for_the_engine() {
        for (host, status, is_proxy) in [
            ("tcp://proxy:2375", 503, true),
            ("tcp://proxy:2375", 502, true),
            ("tcp://proxy:2375", 500, false),
            ("unix:///nonexistent/docker.sock", 503, false),
        ] {
            let at = EngineAddress::new(host, None).unwrap();
            let source = bollard::errors::Error::DockerResponseServerError {
                status_code: status,
                message: "<html>503</html>".into(),
            };
            let error = DockerError::sort(&at, "list its containers", source);
            assert_eq!(
                (error.is_away(), error.to_string().contains("restart the proxy")),
                (is_proxy, is_proxy)
            );
        }
    }
}
