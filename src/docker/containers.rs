//! What replacing a container asks of the Engine.
//!
//! Containers and images go in and out as the Engine says them: what is made anew must not lose an option that nobody here
//! has a word for.

use std::collections::BTreeSet;
use std::time::Duration;

use bollard::errors::Error;
use bollard::models::{
    ContainerCreateBody, ContainerSummary, ContainerUpdateBody, EndpointSettings, NetworkConnectRequest,
    NetworkDisconnectRequest, RestartPolicy,
};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, CreateImageOptionsBuilder, InspectContainerOptions,
    ListContainersOptionsBuilder, ListImagesOptions, LogsOptionsBuilder, RemoveContainerOptionsBuilder,
    RemoveImageOptionsBuilder, RenameContainerOptionsBuilder, StartContainerOptions, StopContainerOptions,
    TagImageOptionsBuilder,
};
use futures_util::TryStreamExt;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::bollard::BollardDocker;
use super::error::DockerError;
use super::images::{EngineLogin, credentials};
use crate::domain::registry::Platform;

/// For calls that only read or write the Engine's own books.
const QUICK: Duration = Duration::from_secs(10);
/// For those that wait for the kernel and the disk.
const WORK: Duration = Duration::from_secs(60);
/// What the Engine needs beyond the time that a container is given to end.
const STOP_MARGIN: Duration = Duration::from_secs(20);
/// For pulling an image over a slow line.
const PULL: Duration = Duration::from_secs(1_800);
/// Longest log line that is kept.
const LINE_CHARS: usize = 300;

/// The containers of an Engine, to be replaced.
#[derive(Clone)]
pub struct EngineContainers {
    docker: BollardDocker,
}

impl EngineContainers {
    /// Takes an Engine; asks nothing of it yet.
    pub fn new(docker: BollardDocker) -> Self {
        Self { docker }
    }

    /// Returns the host of its address; none if it is a socket.
    pub fn host(&self) -> Option<String> {
        let address = self.docker.connection().address().host().to_owned();
        let (scheme, rest) = address.split_once("://")?;
        let host = rest.split('/').next()?;
        let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
        (scheme != "unix").then(|| host.trim_matches(['[', ']']).to_owned())
    }

    /// Returns the version that was agreed on.
    pub async fn api_version(&self) -> Result<(usize, usize), DockerError> {
        let version =
            self.call("tell its version", QUICK, |client| async move { Ok(client.client_version()) });
        version.await.map(|version| (version.major_version, version.minor_version))
    }

    /// Returns what the Engine itself runs on; none if it does not say so.
    pub async fn platform(&self) -> Result<Option<Platform>, DockerError> {
        let version =
            self.call("tell its version", QUICK, |client| async move { client.version().await }).await?;
        Ok(version.os.zip(version.arch).map(|(os, architecture)| Platform::new(&os, &architecture, None)))
    }

    /// Returns the ids of all containers, in whatever state.
    pub async fn ids(&self) -> Result<Vec<String>, DockerError> {
        Ok(self.list().await?.into_iter().filter_map(|container| container.id).collect())
    }

    /// Returns the names of all containers, in whatever state, and the ids of the images that they have.
    pub async fn names_and_images(&self) -> Result<(BTreeSet<String>, BTreeSet<String>), DockerError> {
        let (mut names, mut images) = (BTreeSet::new(), BTreeSet::new());
        for container in self.list().await? {
            // Another one's name for it, as links give it, holds a further slash.
            let own = container
                .names
                .into_iter()
                .flatten()
                .filter_map(|name| Some(name.strip_prefix('/')?.to_owned()));
            names.extend(own.filter(|name| !name.contains('/')));
            images.extend(container.image_id);
        }
        Ok((names, images))
    }

    async fn list(&self) -> Result<Vec<ContainerSummary>, DockerError> {
        let options = ListContainersOptionsBuilder::default().all(true).build();
        let listed = self.call("list its containers", QUICK, |client| async move {
            client.list_containers(Some(options)).await
        });
        listed.await
    }

    /// Returns all that the Engine knows of a container, by name or id.
    pub async fn inspect(&self, name: &str) -> Result<Option<Value>, DockerError> {
        let name = name.to_owned();
        let found = self.call("inspect a container", QUICK, |client| async move {
            to_json(client.inspect_container(&name, None::<InspectContainerOptions>).await?)
        });
        or_none(found.await)
    }

    /// Returns all that the Engine knows of an image, by name or id.
    pub async fn inspect_image(&self, name: &str) -> Result<Option<Value>, DockerError> {
        let name = name.to_owned();
        let found = self.call("inspect an image", QUICK, |client| async move {
            to_json(client.inspect_image(&name).await?)
        });
        or_none(found.await)
    }

    /// Makes a container and does not start it; returns its id. Of an image for several platforms the Engine takes its own one
    /// unless another is named.
    pub async fn create(
        &self,
        name: &str,
        body: Value,
        platform: Option<&Platform>,
    ) -> Result<String, DockerError> {
        let options = CreateContainerOptionsBuilder::default().name(name).platform(&word(platform)).build();
        let created = self.call("create a container", WORK, |client| async move {
            let body: ContainerCreateBody = from_json(body)?;
            client.create_container(Some(options), body).await
        });
        Ok(created.await?.id)
    }

    /// Connects a container to a further network.
    pub async fn connect(&self, network: &str, container: &str, endpoint: Value) -> Result<(), DockerError> {
        let (network, container) = (network.to_owned(), container.to_owned());
        let connected = self.call("connect a container to a network", WORK, |client| async move {
            let endpoint_config: EndpointSettings = from_json(endpoint)?;
            let request = NetworkConnectRequest { container, endpoint_config: Some(endpoint_config) };
            client.connect_network(&network, request).await
        });
        connected.await
    }

    /// Takes a container out of a network.
    pub async fn disconnect(&self, network: &str, container: &str) -> Result<(), DockerError> {
        let network = network.to_owned();
        let request = NetworkDisconnectRequest { container: container.to_owned(), force: None };
        let disconnected = self.call("take a container out of a network", WORK, |client| async move {
            client.disconnect_network(&network, request).await
        });
        disconnected.await
    }

    /// Gives a container another name.
    pub async fn rename(&self, id: &str, name: &str) -> Result<(), DockerError> {
        let id = id.to_owned();
        let options = RenameContainerOptionsBuilder::default().name(name).build();
        let renamed = self.call("rename a container", WORK, |client| async move {
            client.rename_container(&id, options).await
        });
        renamed.await
    }

    /// Starts a container; one that runs already stays as it is.
    pub async fn start(&self, id: &str) -> Result<(), DockerError> {
        let id = id.to_owned();
        let started = self.call("start a container", WORK, |client| async move {
            client.start_container(&id, None::<StartContainerOptions>).await
        });
        started.await
    }

    /// Stops a container with its own signal, after its own `within` at the latest; one that does not run stays so.
    pub async fn stop(&self, id: &str, within: Duration) -> Result<(), DockerError> {
        let id = id.to_owned();
        let stopped = self.call("stop a container", within + STOP_MARGIN, |client| async move {
            client.stop_container(&id, None::<StopContainerOptions>).await
        });
        stopped.await
    }

    /// Removes a container, killing it if it runs, and, if told so, the volumes that have no name and that no other container
    /// has; one that is gone stays gone.
    pub async fn remove(&self, id: &str, and_volumes: bool) -> Result<(), DockerError> {
        let id = id.to_owned();
        let options = RemoveContainerOptionsBuilder::default().force(true).v(and_volumes).build();
        let removed = self.call("remove a container", WORK, |client| async move {
            client.remove_container(&id, Some(options)).await
        });
        match removed.await {
            Err(error) if error.is_not_found() => Ok(()),
            Err(DockerError::Conflict { message, .. }) if message.contains("already in progress") => Ok(()),
            outcome => outcome,
        }
    }

    /// Says when the Engine starts a container by itself.
    pub async fn set_restart_policy(&self, id: &str, policy: Value) -> Result<(), DockerError> {
        let id = id.to_owned();
        let updated = self.call("change a restart policy", QUICK, |client| async move {
            let restart_policy: Option<RestartPolicy> = from_json(policy)?;
            client.update_container(&id, ContainerUpdateBody { restart_policy, ..Default::default() }).await
        });
        updated.await
    }

    /// Pulls an image by its digest, for another platform than the Engine's if one is named; takes minutes on a slow line.
    pub async fn pull(
        &self,
        name: &str,
        login: Option<EngineLogin>,
        platform: Option<&Platform>,
    ) -> Result<(), DockerError> {
        let options = CreateImageOptionsBuilder::default().from_image(name).platform(&word(platform)).build();
        let pulled = self.call("pull an image", PULL, |client| async move {
            let told = client.create_image(Some(options), None, login.map(credentials));
            told.try_for_each(|_| async { Ok(()) }).await
        });
        pulled.await.map_err(|error| match error {
            DockerError::NotFound { message, .. }
            | DockerError::Refused { message, .. }
            | DockerError::Conflict { message, .. } => {
                DockerError::NotPulled { image: name.to_owned(), message }
            }
            error => error,
        })
    }

    /// Gives an image a name, which then means no other one.
    pub async fn tag(&self, image: &str, repository: &str, tag: &str) -> Result<(), DockerError> {
        let image = image.to_owned();
        let options = TagImageOptionsBuilder::default().repo(repository).tag(tag).build();
        let tagged = self.call("name an image", QUICK, |client| async move {
            client.tag_image(&image, Some(options)).await
        });
        tagged.await
    }

    /// Returns the images on the host, each with its names, as the Engine lists them.
    pub async fn images(&self) -> Result<Vec<Value>, DockerError> {
        let listed = self.call("list its images", QUICK, |client| async move {
            let images = client.list_images(None::<ListImagesOptions>).await?;
            images.into_iter().map(to_json).collect::<Result<Vec<Value>, Error>>()
        });
        listed.await
    }

    /// Removes an image by its id; the Engine refuses if a container has it, or more than one repository names it. By one of several
    /// names only that name goes.
    pub async fn remove_image(&self, id: &str) -> Result<(), DockerError> {
        let id = id.to_owned();
        let options = RemoveImageOptionsBuilder::default().noprune(true).build();
        let removed = self.call("remove an image", WORK, |client| async move {
            client.remove_image(&id, Some(options), None).await
        });
        removed.await.map(drop)
    }

    /// Returns the last lines that a container wrote.
    pub async fn last_lines(&self, id: &str, count: usize) -> Result<Vec<String>, DockerError> {
        let id = id.to_owned();
        let options =
            LogsOptionsBuilder::default().stdout(true).stderr(true).tail(&count.to_string()).build();
        let read = self.call("read a log", QUICK, |client| async move {
            client.logs(&id, Some(options)).map_ok(|line| line.to_string()).try_collect::<Vec<_>>().await
        });
        let chunks = read.await?;
        let lines = chunks.iter().flat_map(|chunk| chunk.lines());
        Ok(lines.map(|line| line.chars().take(LINE_CHARS).collect()).collect())
    }

    async fn call<T, F, Fut>(&self, what: &'static str, limit: Duration, work: F) -> Result<T, DockerError>
    where
        F: FnOnce(bollard::Docker) -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, Error>> + Send,
        T: Send + 'static,
    {
        self.docker.connection().call(what, limit, work).await
    }
}

fn word(platform: Option<&Platform>) -> String {
    platform.map(ToString::to_string).unwrap_or_default()
}

fn or_none(found: Result<Value, DockerError>) -> Result<Option<Value>, DockerError> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

fn to_json(found: impl Serialize) -> Result<Value, Error> {
    serde_json::to_value(found).map_err(|err| Error::JsonSerdeError { err })
}

fn from_json<T: DeserializeOwned>(value: Value) -> Result<T, Error> {
    serde_json::from_value(value).map_err(|err| Error::JsonSerdeError { err })
}
