//! The Engine's images: which of them containers run, what they are called, and what the Engine itself can learn of a
//! registry.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use async_trait::async_trait;
use bollard::auth::DockerCredentials;
use bollard::models::{ContainerSummary, ImageInspect, OciDescriptor};
use bollard::query_parameters::{InspectContainerOptions, ListContainersOptions};
use futures_util::future::try_join_all;
use secrecy::{ExposeSecret, SecretString};

use super::bollard::BollardDocker;
use super::error::DockerError;
use crate::domain::id::ContainerId;
use crate::domain::registry::is_image_id;

/// For calls that only read the Engine's own books.
const QUICK: Duration = Duration::from_secs(10);
/// For those that make the Engine ask a registry.
const FAR: Duration = Duration::from_secs(30);

/// What a look at images asks of the Engine. It changes nothing.
#[async_trait]
pub trait EngineImages: Send + Sync + 'static {
    /// Returns the image of every container that runs, is paused or is being started again.
    async fn list_used(&self) -> Result<Vec<UsedImage>, DockerError>;

    /// Returns what the Engine knows of an image, by name or id.
    async fn find_image(&self, name: &str) -> Result<Option<LocalImage>, DockerError>;

    /// Has the Engine ask a registry for the digest of `name`, which it does with its own proxies and certificates. To the
    /// registry this is a pull.
    async fn ask_registry(&self, name: &str, login: Option<EngineLogin>) -> Result<String, DockerError>;
}

/// What one container runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsedImage {
    /// The container.
    pub container: ContainerId,
    /// The image as the container was told to use.
    pub name: String,
    /// The image's id.
    pub id: String,
    /// Digest of the manifest that was picked for the platform, if the Engine keeps it.
    pub manifest: Option<String>,
}

/// An image on the host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LocalImage {
    /// Its id: the digest of its configuration, or in containerd's store that of its manifest or index.
    pub id: String,
    /// The digests that it was pulled or pushed by, each with its repository.
    pub repo_digests: Vec<String>,
    /// True if it is kept in containerd's store, where everything has a digest.
    pub is_in_containerd: bool,
    /// Such as `linux`.
    pub os: String,
    /// Such as `arm64`.
    pub architecture: String,
    /// Such as `v7`.
    pub variant: Option<String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// What the Engine shows a registry.
#[derive(Debug, Clone)]
pub struct EngineLogin {
    /// The account, if its secret is a password.
    pub user: Option<String>,
    /// A password, or a token that stands for the account.
    pub secret: SecretString,
    /// The registry it is for.
    pub server: String,
}

#[async_trait]
impl EngineImages for BollardDocker {
    async fn list_used(&self) -> Result<Vec<UsedImage>, DockerError> {
        let listed = self.connection().call("list its containers", QUICK, |client| async move {
            client.list_containers(None::<ListContainersOptions>).await
        });
        let used = listed.await?.into_iter().filter_map(used);
        let named = try_join_all(used.map(|used| self.with_name(used))).await?;
        Ok(named.into_iter().flatten().collect())
    }

    async fn find_image(&self, name: &str) -> Result<Option<LocalImage>, DockerError> {
        let name = name.to_owned();
        let found = self
            .connection()
            .call("inspect an image", QUICK, |client| async move { client.inspect_image(&name).await });
        match found.await {
            Ok(found) => Ok(local(found)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn ask_registry(&self, name: &str, login: Option<EngineLogin>) -> Result<String, DockerError> {
        let name = name.to_owned();
        let asked = self.connection().call("ask a registry", FAR, |client| async move {
            client.inspect_registry_image(&name, login.map(credentials)).await
        });
        Ok(asked.await?.descriptor.digest.unwrap_or_default())
    }
}

impl BollardDocker {
    /// An Engine lists an image by its id once its name belongs to another one; the container still knows the name.
    async fn with_name(&self, mut used: UsedImage) -> Result<Option<UsedImage>, DockerError> {
        let is_listed_by_id =
            is_image_id(&used.name) || used.id.trim_start_matches("sha256:").starts_with(&used.name);
        if !is_listed_by_id {
            return Ok(Some(used));
        }
        let id = used.container.to_string();
        let found = self.connection().call("inspect a container", QUICK, |client| async move {
            client.inspect_container(&id, None::<InspectContainerOptions>).await
        });
        match found.await {
            Ok(found) => {
                used.name = found.config.and_then(|config| config.image).unwrap_or(used.name);
                used.manifest = digest(found.image_manifest_descriptor).or(used.manifest);
                Ok(Some(used))
            }
            // It ended meanwhile.
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn used(summary: ContainerSummary) -> Option<UsedImage> {
    Some(UsedImage {
        container: ContainerId::new(summary.id?),
        name: summary.image?,
        id: summary.image_id?,
        manifest: digest(summary.image_manifest_descriptor),
    })
}

fn digest(descriptor: Option<OciDescriptor>) -> Option<String> {
    descriptor?.digest
}

fn local(found: ImageInspect) -> Option<LocalImage> {
    let id = found.id?;
    let repo_digests = found.repo_digests.unwrap_or_default();
    // Only containerd's store has a descriptor, or an id that is one of the digests.
    let is_own = |listed: &String| listed.rsplit_once('@').is_some_and(|(_, digest)| digest == id);
    let is_in_containerd = found.descriptor.is_some() || repo_digests.iter().any(is_own);
    let labels: HashMap<String, String> = found.config.and_then(|config| config.labels).unwrap_or_default();
    Some(LocalImage {
        id,
        repo_digests,
        is_in_containerd,
        os: found.os.unwrap_or_default(),
        architecture: found.architecture.unwrap_or_default(),
        variant: found.variant.filter(|variant| !variant.is_empty()),
        labels: labels.into_iter().collect(),
    })
}

pub(super) fn credentials(login: EngineLogin) -> DockerCredentials {
    let secret = Some(login.secret.expose_secret().to_owned());
    let (password, identitytoken) = if login.user.is_some() { (secret, None) } else { (None, secret) };
    DockerCredentials {
        username: login.user,
        password,
        identitytoken,
        serveraddress: Some(login.server),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn containerds_store_is_known_by_what_it_calls_images() {
        for (digests, descriptor, expected) in [
            (vec![], None, false),
            (vec!["nginx@sha256:ab".to_owned()], None, false),
            (vec![format!("nginx@{ID}")], None, true),
            (vec![], Some(OciDescriptor::default()), true),
        ] {
            let found = ImageInspect {
                id: Some(ID.to_owned()),
                repo_digests: Some(digests.clone()),
                descriptor,
                ..Default::default()
            };
            assert_eq!(local(found).unwrap().is_in_containerd, expected, "{digests:?}");
        }
    }
}
