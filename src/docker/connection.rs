//! The connection to the Engine: agreed version, time limits, and forgetting it when it is lost.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bollard::errors::Error;
use bollard::{BollardRequest, Docker as Client};
use http::Uri;
use parking_lot::Mutex;
use tokio::time::timeout;

use super::DockerError;
use super::address::EngineAddress;
use crate::io::Io;

/// Longer than any limit given to [`Connection::call`], so that ours is the one that counts.
const CLIENT_LIMIT: Duration = Duration::from_secs(900);

/// A host and the client that agreed on an API version with it, if any did since the last loss.
#[derive(Clone)]
pub(super) struct Connection {
    io: Io,
    at: Arc<EngineAddress>,
    agreed: Arc<Mutex<Option<Client>>>,
}

impl Connection {
    /// Asks nobody yet.
    pub(super) fn new(at: EngineAddress, io: Io) -> Self {
        Self { io, at: Arc::new(at), agreed: Arc::default() }
    }

    pub(super) fn address(&self) -> &EngineAddress {
        &self.at
    }

    pub(super) fn io(&self) -> &Io {
        &self.io
    }

    /// Lets the next call agree on a version again: the Engine may have been replaced by another.
    pub(super) fn forget(&self) {
        *self.agreed.lock() = None;
    }

    /// Returns the client, after agreeing on a version if that was not done yet. Runs on `io`.
    pub(super) async fn client(&self) -> Result<Client, Error> {
        if let Some(client) = self.agreed.lock().clone() {
            return Ok(client);
        }
        // A fresh client each time: agreement only ever lowers the version of the one it has.
        let fresh = self.at.client(CLIENT_LIMIT.as_secs())?;
        let client = fresh.negotiate_version().await?;
        let version = client.client_version();
        let prefix = format!("/v{}.{}", version.major_version, version.minor_version);
        let client = client.with_request_modifier(move |request| with_version(request, &prefix));
        *self.agreed.lock() = Some(client.clone());
        Ok(client)
    }

    /// Runs one call on `io`, at most for `limit`. `what` completes "the engine could not ...".
    pub(super) async fn call<T, F, Fut>(
        &self,
        what: &'static str,
        limit: Duration,
        work: F,
    ) -> Result<T, DockerError>
    where
        F: FnOnce(Client) -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, Error>> + Send,
        T: Send + 'static,
    {
        let connection = self.clone();
        let asked = async move {
            let done = timeout(limit, async { work(connection.client().await?).await }).await;
            let outcome = match done {
                Ok(outcome) => outcome.map_err(|error| DockerError::sort(&connection.at, what, error)),
                Err(_) => Err(DockerError::TimedOut { host: connection.at.host().to_owned(), what, limit }),
            };
            // 400 is also how an Engine says that the agreed version is not one of its own.
            if outcome
                .as_ref()
                .is_err_and(|e| e.is_away() || matches!(e, DockerError::Refused { status: 400, .. }))
            {
                connection.forget();
            }
            outcome
        };
        self.io.run(asked).await
    }
}

/// Asks in the version that was agreed on: the client itself leaves the version out of its paths, which makes
/// an Engine answer in its newest one.
fn with_version(mut request: BollardRequest, prefix: &str) -> BollardRequest {
    let mut parts = request.uri().clone().into_parts();
    let path = parts.path_and_query.as_ref().map_or("/", |path| path.as_str());
    if path.starts_with("/v1.") {
        return request;
    }
    parts.path_and_query = format!("{prefix}{path}").parse().ok();
    if let Ok(uri) = Uri::from_parts(parts) {
        *request.uri_mut() = uri;
    }
    request
}

#[cfg(test)]
mod tests;
