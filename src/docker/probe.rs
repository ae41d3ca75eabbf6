//! What of the Engine is permitted, seen by harmless questions, and what runs there beside us.

use std::collections::HashMap;
use std::time::Duration;

use bollard::errors::Error;
use bollard::query_parameters::{
    DownloadFromContainerOptionsBuilder, EventsOptionsBuilder, InspectContainerOptions,
    ListContainersOptionsBuilder, ListImagesOptions, ListNetworksOptions, StartContainerOptions,
};
use futures_util::TryStreamExt;
use futures_util::future::join_all;
use secrecy::ExposeSecret;

use super::bollard::BollardDocker;
use super::{Docker, DockerError};
use crate::domain::doctor::drivers::{Running, token_in, tunnel_of};
use crate::domain::doctor::engine::{Facts, Part, Permitted};
use crate::domain::id::TunnelId;

/// For one question.
const LIMIT: Duration = Duration::from_secs(8);
/// A name that no container has: what is asked of it changes nothing.
const NOBODY: &str = "lightship-doctor-asks-only";

/// Most bytes of a small file with what the archive adds.
const SMALL: usize = 64 << 10;
/// What an archive consists of.
const TAR_BLOCK: usize = 512;

/// What a part answered, and what it is for.
type Asked = (&'static str, &'static str, Result<(), DockerError>);

impl BollardDocker {
    /// Asks each part of the Engine that we need something harmless.
    pub async fn look(&self) -> Facts {
        let address = self.connection().address().host().to_owned();
        let info = match self.connect().await {
            Ok(info) => info,
            Err(error) => return Facts { address, versions: Err(error.to_string()), parts: Vec::new() },
        };
        let parts = self.ask_parts().await.into_iter();
        let parts = parts.map(|(word, purpose, answer)| Part { word, purpose, permitted: permitted(answer) });
        Facts {
            address,
            versions: Ok((info.api_version, self.engine_version().await)),
            parts: parts.collect(),
        }
    }

    async fn engine_version(&self) -> Option<String> {
        let told =
            self.connection().call("tell its version", LIMIT, |client| async move { client.version().await });
        told.await.ok()?.version
    }

    async fn ask_parts(&self) -> [Asked; 8] {
        let (ping, version, info, containers, events, images, networks, post) = tokio::join!(
            self.ask(|client| async move { client.ping().await.map(drop) }),
            self.ask(|client| async move { client.version().await.map(drop) }),
            self.ask(|client| async move { client.info().await.map(drop) }),
            self.ask(|client| async move {
                let options = ListContainersOptionsBuilder::default().limit(1).build();
                client.list_containers(Some(options)).await.map(drop)
            }),
            self.ask(|client| async move {
                // An empty stretch of time, so that the answer ends at once.
                let options = EventsOptionsBuilder::default().since("1").until("1").build();
                client.events(Some(options)).try_for_each(|_| async { Ok(()) }).await
            }),
            self.ask(|client| async move { client.list_images(None::<ListImagesOptions>).await.map(drop) }),
            self.ask(
                |client| async move { client.list_networks(None::<ListNetworksOptions>).await.map(drop) }
            ),
            self.ask(
                |client| async move { client.start_container(NOBODY, None::<StartContainerOptions>).await }
            ),
        );
        [
            ("PING", "it is seen that the Engine lives", ping),
            ("VERSION", "a version is agreed on", version),
            ("INFO", "its clock is read", info),
            ("CONTAINERS", "containers and their labels are read", containers),
            ("EVENTS", "starts and ends are noticed at once", events),
            ("IMAGES", "the connector's image is looked up and pulled", images),
            ("NETWORKS", "the connector's network is looked up and made", networks),
            // Nobody is there to be started, and who may not start says so before.
            ("POST", "the connector is made and started", post.or_else(unless_missing)),
        ]
    }

    async fn ask<F, Fut>(&self, question: F) -> Result<(), DockerError>
    where
        F: FnOnce(bollard::Docker) -> Fut + Send + 'static,
        Fut: Future<Output = Result<(), Error>> + Send,
    {
        self.connection().call("answer", LIMIT, question).await
    }

    /// Returns the containers that run, with what tells whether they drive others.
    pub async fn list_drivers(&self) -> Result<Vec<Running>, DockerError> {
        let listed = self.connection().call("list its containers", LIMIT, |client| async move {
            let running = HashMap::from([("status", vec!["running", "restarting", "paused"])]);
            let options = ListContainersOptionsBuilder::default().filters(&running).build();
            client.list_containers(Some(options)).await
        });
        let seen = listed.await?.into_iter().map(|one| {
            let labels = one.labels.unwrap_or_default();
            let names = one.names.unwrap_or_default();
            let name = names.iter().find_map(|name| name.strip_prefix('/').filter(|own| !own.contains('/')));
            Running {
                id: one.id.unwrap_or_default(),
                name: name.unwrap_or_default().to_owned(),
                image: one.image.unwrap_or_default(),
                command: one.command.unwrap_or_default().split_whitespace().map(str::to_owned).collect(),
                ..Running::default()
            }
            .labelled(|label| labels.get(label))
        });
        let with_tunnels = seen.map(|one| async move {
            let tunnel = if one.is_cloudflared() { self.tunnel_of(&one.id).await } else { None };
            Running { tunnel, ..one }
        });
        Ok(join_all(with_tunnels).await)
    }

    /// The tunnel that a container serves, if its token can be read; the token itself is dropped.
    async fn tunnel_of(&self, container: &str) -> Option<TunnelId> {
        let details = self.find_container(container).await.ok()??;
        match &details.token {
            Some(token) => tunnel_of(token.expose_secret()),
            None => tunnel_of(token_in(&details.command)?),
        }
    }

    /// Returns what a small file of a container holds; none if it is not there. The container need not run.
    pub async fn read_small_file(&self, container: &str, path: &str) -> Result<Option<Vec<u8>>, DockerError> {
        let (container, path) = (container.to_owned(), path.to_owned());
        let asked = self.connection().call("read a file of a container", LIMIT, |client| async move {
            let options = DownloadFromContainerOptionsBuilder::default().path(&path).build();
            let mut chunks = std::pin::pin!(client.download_from_container(&container, Some(options)));
            let mut archive = Vec::new();
            while archive.len() < SMALL
                && let Some(chunk) = chunks.try_next().await?
            {
                archive.extend_from_slice(&chunk);
            }
            Ok(archive)
        });
        match asked.await {
            Ok(archive) => Ok(first_file(&archive).map(<[u8]>::to_vec)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Returns the names that a container has addresses for, such as `host.docker.internal:host-gateway`.
    pub async fn hosts_of(&self, container: &str) -> Result<Vec<String>, DockerError> {
        let name = container.to_owned();
        let found = self.connection().call("inspect a container", LIMIT, |client| async move {
            client.inspect_container(&name, None::<InspectContainerOptions>).await
        });
        Ok(found.await?.host_config.and_then(|host| host.extra_hosts).unwrap_or_default())
    }
}

/// The first file of a tar archive, as the Engine hands out files.
fn first_file(mut archive: &[u8]) -> Option<&[u8]> {
    loop {
        let (header, rest) = archive.split_at_checked(TAR_BLOCK)?;
        let size = std::str::from_utf8(header.get(124..136)?).ok()?;
        let size = usize::from_str_radix(size.trim_matches(['\0', ' ']), 8).ok()?;
        if matches!(header.get(156)?, b'0' | 0) {
            return rest.get(..size);
        }
        archive = rest.get(size.checked_next_multiple_of(TAR_BLOCK)?..)?;
    }
}

fn unless_missing(error: DockerError) -> Result<(), DockerError> {
    if error.is_not_found() { Ok(()) } else { Err(error) }
}

fn permitted(answer: Result<(), DockerError>) -> Permitted {
    match answer {
        Ok(()) => Permitted::Yes,
        Err(DockerError::NotPermitted { .. }) => Permitted::No,
        Err(error) => Permitted::Unknown(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(kind: u8, content: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; TAR_BLOCK];
        bytes[124..136].copy_from_slice(format!("{:011o}\0", content.len()).as_bytes());
        bytes[156] = kind;
        bytes.extend(content);
        bytes.resize(bytes.len().next_multiple_of(TAR_BLOCK), 0);
        bytes
    }

    #[test]
    fn a_file_is_taken_out_of_the_archive_that_the_engine_sends() {
        let (file, more) = (entry(b'0', b"a-1\n"), entry(b'x', &[b'y'; 600]));
        let end = [0; 2 * TAR_BLOCK];
        assert_eq!(first_file(&[&file[..], &end].concat()), Some(&b"a-1\n"[..]));
        assert_eq!(
            first_file(&[&more[..], &file, &end].concat()),
            Some(&b"a-1\n"[..]),
            "behind what is said of it"
        );
        for odd in [&b""[..], &[b'x'; 700], &end, &more, &file[..TAR_BLOCK + 2], &entry(b'5', b"")] {
            assert_eq!(first_file(odd), None, "{} bytes", odd.len());
        }
    }
}
