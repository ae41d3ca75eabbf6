//! The Engine through `bollard`, over a unix socket or TCP (a socket proxy).

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use async_trait::async_trait;
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, CreateImageOptionsBuilder, EventsOptionsBuilder, InspectContainerOptions,
    InspectNetworkOptions, ListContainersOptions, LogsOptionsBuilder, RemoveContainerOptionsBuilder,
    RenameContainerOptionsBuilder, StartContainerOptions, StopContainerOptions,
};
use chrono::{DateTime, Utc};
use futures_util::{StreamExt, TryStreamExt};
use tokio::sync::mpsc;

use super::address::EngineAddress;
use super::connection::Connection;
use super::types::{ContainerDetails, EngineInfo, Events, NewConnector};
use super::{ConnectorStatus, Docker, DockerError, connector, convert, request};
use crate::domain::container::Container;
use crate::domain::id::ContainerId;
use crate::io::Io;

/// For calls that only read or write the Engine's own books.
const QUICK: Duration = Duration::from_secs(10);
/// For starting and removing, which wait for the kernel and the disk.
const WORK: Duration = Duration::from_secs(30);
/// The connector gets 35 s to let its requests end; the Engine needs a moment on top.
const STOP: Duration = Duration::from_secs(50);
/// For pulling an image over a slow line.
const PULL: Duration = Duration::from_secs(600);
/// Events that may wait here before the Engine has to.
const EVENT_BUFFER: usize = 256;
/// Lines of a log that are looked at: enough for the errors of one end.
const LINES: &str = "60";
/// Longest log line that is shown.
const LINE_CHARS: usize = 300;

/// A Docker Engine reached through `bollard`.
#[derive(Clone)]
pub struct BollardDocker {
    connection: Connection,
}

impl BollardDocker {
    /// Takes the Engine at `host` (`DOCKER_HOST`) without TLS; asks nothing of it yet, so it may be away.
    pub fn new(host: &str, io: Io) -> Result<Self, DockerError> {
        Ok(Self::at(EngineAddress::new(host, None)?, io))
    }

    /// Takes the Engine at an address; asks nothing of it yet.
    pub fn at(address: EngineAddress, io: Io) -> Self {
        Self { connection: Connection::new(address, io) }
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }
}

#[async_trait]
impl Docker for BollardDocker {
    async fn connect(&self) -> Result<EngineInfo, DockerError> {
        self.connection.forget();
        let version = self
            .connection
            .call("tell its version", QUICK, |client| async move { Ok(client.client_version()) });
        let version = version.await?;
        let info =
            self.connection.call("describe itself", QUICK, |client| async move { client.info().await });
        let time = match info.await {
            Ok(info) => info.system_time.and_then(|text| DateTime::parse_from_rfc3339(&text).ok()),
            // Only its clock is wanted: a proxy without INFO costs us nothing else.
            Err(DockerError::NotPermitted { .. }) => None,
            Err(error) => return Err(error),
        };
        let api_version = format!("{}.{}", version.major_version, version.minor_version);
        Ok(EngineInfo { api_version, time: time.map(|t| t.with_timezone(&Utc)) })
    }

    async fn watch(&self, since: DateTime<Utc>) -> Result<Events, DockerError> {
        let client =
            self.connection.call("open its events", QUICK, |client| async move { Ok(client) }).await?;
        let filters: HashMap<&str, Vec<&str>> =
            [("type", convert::TYPES.to_vec()), ("event", convert::ACTIONS.to_vec())].into();
        let since = format!("{}.{:09}", since.timestamp(), since.timestamp_subsec_nanos());
        let options = EventsOptionsBuilder::default().since(&since).filters(&filters).build();
        let (sender, items) = mpsc::channel(EVENT_BUFFER);
        let at = self.connection.address().clone();
        let pump = async move {
            let mut stream = std::pin::pin!(client.events(Some(options)));
            while let Some(item) = stream.next().await {
                let item = match item {
                    Ok(message) => convert::event(message).map(Ok),
                    Err(error) => Some(Err(DockerError::sort(&at, "tell its events", error))),
                };
                let is_last = matches!(item, Some(Err(_)));
                // A full buffer makes the Engine wait; a closed one means that nobody listens any more.
                if let Some(item) = item
                    && (sender.send(item).await.is_err() || is_last)
                {
                    break;
                }
            }
        };
        Ok(Events { items, _pump: Some(self.connection.io().run(pump)) })
    }

    async fn list_running(&self) -> Result<Vec<Container>, DockerError> {
        let listed = self.connection.call("list its containers", QUICK, |client| async move {
            client.list_containers(None::<ListContainersOptions>).await
        });
        Ok(listed.await?.into_iter().filter_map(convert::running_container).collect())
    }

    async fn find_container(&self, name: &str) -> Result<Option<ContainerDetails>, DockerError> {
        let name = name.to_owned();
        let found = self.connection.call("inspect a container", QUICK, |client| async move {
            client.inspect_container(&name, None::<InspectContainerOptions>).await
        });
        match found.await {
            Ok(found) => Ok(convert::details(found)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn create_connector(&self, new: &NewConnector) -> Result<ContainerId, DockerError> {
        let options = CreateContainerOptionsBuilder::default().name(&new.name).build();
        let body = request::connector(new);
        let created = self.connection.call("create the tunnel container", WORK, |client| async move {
            client.create_container(Some(options), body).await
        });
        Ok(ContainerId::new(created.await?.id))
    }

    async fn start(&self, id: &ContainerId) -> Result<(), DockerError> {
        let id = id.to_string();
        let started = self.connection.call("start the tunnel container", WORK, |client| async move {
            client.start_container(&id, None::<StartContainerOptions>).await
        });
        started.await
    }

    async fn stop(&self, id: &ContainerId) -> Result<(), DockerError> {
        let id = id.to_string();
        let stopped = self.connection.call("stop the tunnel container", STOP, |client| async move {
            client.stop_container(&id, None::<StopContainerOptions>).await
        });
        stopped.await.or_else(|error| if error.is_not_found() { Ok(()) } else { Err(error) })
    }

    async fn remove(&self, id: &ContainerId) -> Result<(), DockerError> {
        let id = id.to_string();
        let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
        let removed = self.connection.call("remove the tunnel container", WORK, |client| async move {
            client.remove_container(&id, Some(options)).await
        });
        match removed.await {
            Err(error) if error.is_not_found() => Ok(()),
            // Somebody else is removing it at this moment, which is what we want.
            Err(DockerError::Conflict { message, .. }) if message.contains("already in progress") => Ok(()),
            outcome => outcome,
        }
    }

    async fn rename(&self, id: &ContainerId, name: &str) -> Result<(), DockerError> {
        let id = id.to_string();
        let options = RenameContainerOptionsBuilder::default().name(name).build();
        let renamed = self.connection.call("rename the tunnel container", QUICK, |client| async move {
            client.rename_container(&id, options).await
        });
        renamed.await
    }

    async fn unpause(&self, id: &ContainerId) -> Result<(), DockerError> {
        let id = id.to_string();
        let unpaused = self.connection.call("unpause the tunnel container", QUICK, |client| async move {
            client.unpause_container(&id).await
        });
        unpaused.await
    }

    async fn has_image(&self, image: &str) -> Result<bool, DockerError> {
        let name = image.to_owned();
        let found = self.connection.call("look up an image", QUICK, |client| async move {
            client.inspect_image(&name).await.map(drop)
        });
        match found.await {
            Ok(()) => Ok(true),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn pull_image(&self, image: &str) -> Result<(), DockerError> {
        let options = CreateImageOptionsBuilder::default().from_image(&request::with_tag(image)).build();
        let pulled = self.connection.call("pull an image", PULL, |client| async move {
            client.create_image(Some(options), None, None).try_for_each(|_| async { Ok(()) }).await
        });
        pulled.await.map_err(|error| match error {
            DockerError::NotFound { message, .. }
            | DockerError::Refused { message, .. }
            | DockerError::Conflict { message, .. } => {
                DockerError::NotPulled { image: image.to_owned(), message }
            }
            error => error,
        })
    }

    async fn ensure_network(&self, name: &str, labels: &[(&str, &str)]) -> Result<bool, DockerError> {
        if self.network_name(name).await?.is_some() {
            return Ok(false);
        }
        let request = request::network(name, labels);
        let created = self.connection.call("create a network", WORK, |client| async move {
            client.create_network(request).await.map(drop)
        });
        match created.await {
            // Somebody was quicker.
            Err(error) if error.is_conflict() => Ok(false),
            outcome => outcome.map(|()| true),
        }
    }

    async fn network_name(&self, network: &str) -> Result<Option<String>, DockerError> {
        let wanted = network.to_owned();
        let found = self.connection.call("look up a network", QUICK, |client| async move {
            client.inspect_network(&wanted, None::<InspectNetworkOptions>).await
        });
        match found.await {
            Ok(found) => Ok(Some(found.name.unwrap_or_else(|| network.to_owned()))),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn last_log_lines(&self, id: &ContainerId) -> Result<Vec<String>, DockerError> {
        let id = id.to_string();
        let options = LogsOptionsBuilder::default().stdout(true).stderr(true).tail(LINES).build();
        let read = self.connection.call("read a log", QUICK, |client| async move {
            client.logs(&id, Some(options)).map_ok(|line| line.to_string()).try_collect::<Vec<_>>().await
        });
        let chunks = read.await?;
        let lines = chunks.iter().flat_map(|chunk| chunk.lines());
        Ok(lines.map(|line| line.chars().take(LINE_CHARS).collect()).collect())
    }

    async fn read_connector(&self, at: SocketAddr) -> ConnectorStatus {
        self.connection.io().run(connector::read_connector(at)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_engine_that_is_not_there_is_away_and_named() {
        let docker = BollardDocker::new("unix:///nonexistent/docker.sock", Io::current()).unwrap();

        let error = docker.list_running().await.err().unwrap();

        assert!(error.is_away());
        assert!(error.to_string().contains("/nonexistent/docker.sock"), "{error}");
    }
}
