//! Where the Engine is, how it is spoken to, and what a person can do if nobody answers there.

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use bollard::Docker as Client;
use bollard::errors::Error;

use super::error::{DockerError, is_denied};

/// What TLS needs, by the names that Docker gives the files.
const CERTIFICATES: [&str; 3] = ["ca.pem", "cert.pem", "key.pem"];

/// TLS on the way to an Engine on TCP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// What switched it on, for messages.
    pub because: String,
    /// The folder with `ca.pem`, `cert.pem` and `key.pem`.
    pub certificates: PathBuf,
}

/// An Engine, or a socket proxy before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineAddress {
    host: String,
    tls: Option<Tls>,
}

impl EngineAddress {
    /// Checks `host` (`DOCKER_HOST`); asks nobody. TLS is of no concern to a unix socket.
    pub fn new(host: &str, tls: Option<Tls>) -> Result<Self, DockerError> {
        if !["unix://", "tcp://", "http://"].iter().any(|scheme| host.starts_with(scheme)) {
            return Err(DockerError::BadHost { host: host.to_owned(), source: None });
        }
        let is_socket = host.starts_with("unix://");
        Ok(Self { host: host.to_owned(), tls: tls.filter(|_| !is_socket) })
    }

    /// As it was set.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Makes a client that has not asked anything yet. The library is told everything: left to itself, it takes the
    /// mere presence of a variable for a yes.
    pub(super) fn client(&self, limit_secs: u64) -> Result<Client, Error> {
        let version = bollard::API_DEFAULT_VERSION;
        match (self.host.strip_prefix("unix://"), &self.tls) {
            (Some(path), _) => Client::connect_with_unix(path, limit_secs, version),
            (None, None) => Client::connect_with_http(&self.host, limit_secs, version),
            (None, Some(tls)) => {
                let file = |name: &str| tls.certificates.join(name);
                Client::connect_with_ssl(
                    &self.host.replacen("http://", "tcp://", 1),
                    &file("key.pem"),
                    &file("cert.pem"),
                    &file("ca.pem"),
                    limit_secs,
                    version,
                )
            }
        }
    }

    /// What to look at when nobody answers.
    pub(super) fn remedy(&self) -> String {
        match (self.host.strip_prefix("unix://"), &self.tls) {
            (Some(path), _) if is_orphaned(Path::new(path)) => {
                "the file mounted there is not the engine's socket any more, since the engine made a new one: \
                 restart this container; docs/operations.md says how to have it followed without that"
                    .to_owned()
            }
            (Some(_), _) => "check that it runs, and DOCKER_HOST".to_owned(),
            (None, None) => "check that the engine or the socket proxy at that address runs, and DOCKER_HOST; a \
                 proxy that ends at once on a host without IPv6 needs DISABLE_IPV6=1"
                .to_owned(),
            (None, Some(tls)) => match self.missing_certificate() {
                Some(path) => format!(
                    "TLS is on because of {}, no certificate at `{}`; set DOCKER_CERT_PATH to the folder with \
                     ca.pem, cert.pem and key.pem, or leave that empty for an engine or socket proxy without TLS",
                    tls.because,
                    path.display()
                ),
                None => format!(
                    "check that it runs and speaks TLS, which is on because of {}, and DOCKER_HOST",
                    tls.because
                ),
            },
        }
    }

    fn missing_certificate(&self) -> Option<PathBuf> {
        let folder = &self.tls.as_ref()?.certificates;
        CERTIFICATES.iter().map(|name| folder.join(name)).find(|path| std::fs::File::open(path).is_err())
    }
}

impl DockerError {
    /// Sorts a client error of the call `what`.
    pub(super) fn sort(at: &EngineAddress, what: &'static str, source: bollard::errors::Error) -> Self {
        let host = at.host();
        match source {
            Error::DockerResponseServerError { status_code, message } => {
                Self::answered(host, what, status_code, message)
            }
            Error::DockerStreamError { error } => Self::Refused { what, status: 200, message: error },
            Error::JsonDataError { .. } | Error::JsonSerdeError { .. } | Error::StrParseError { .. } => {
                Self::Unreadable { what, source }
            }
            source if is_denied(&source) => Self::NotForUs { host: host.to_owned(), source },
            source => Self::Unreachable { host: host.to_owned(), remedy: at.remedy(), source },
        }
    }
}

/// True for a socket that no folder holds any more: a mount keeps what was there when it was made, also after the
/// Engine put a new socket in its place.
fn is_orphaned(socket: &Path) -> bool {
    std::fs::metadata(socket).is_ok_and(|found| found.file_type().is_socket() && found.nlink() == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tls(folder: &Path) -> Option<Tls> {
        Some(Tls { because: "DOCKER_TLS_VERIFY".into(), certificates: folder.to_owned() })
    }

    #[test]
    fn a_host_of_another_kind_is_named() {
        for host in ["ssh://there", "", "/var/run/docker.sock", "npipe:////./pipe/docker_engine"] {
            let error = EngineAddress::new(host, None).unwrap_err().to_string();
            assert!(error.contains(&format!("`{host}`")), "{error}");
        }
    }

    #[test]
    fn the_first_certificate_that_is_missing_is_named_with_what_asks_for_it() {
        let dir = tempfile::tempdir().unwrap();
        let address = EngineAddress::new("tcp://proxy:2375", tls(dir.path())).unwrap();
        for missing in CERTIFICATES {
            let said = address.remedy();
            let words = format!(
                "TLS is on because of DOCKER_TLS_VERIFY, no certificate at `{}`",
                dir.path().join(missing).display()
            );
            assert!(said.contains(&words), "{said}");
            std::fs::write(dir.path().join(missing), "x").unwrap();
        }
        assert!(address.remedy().contains("speaks TLS"), "{}", address.remedy());
    }

    #[test]
    fn a_socket_that_no_folder_holds_any_more_is_named_as_the_reason() {
        use std::os::fd::AsRawFd;
        // given: what a mount of the file keeps, after the engine made its socket anew
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("docker.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let flags = rustix::fs::OFlags::PATH;
        let kept = rustix::fs::open(&path, flags, rustix::fs::Mode::empty()).unwrap();
        let mounted = format!("unix:///proc/self/fd/{}", kept.as_raw_fd());
        let said = || EngineAddress::new(&mounted, None).unwrap().remedy();
        assert_eq!(said(), "check that it runs, and DOCKER_HOST", "as long as it is the engine's");
        // when
        std::fs::remove_file(&path).unwrap();
        // then
        for part in ["is not the engine's socket any more", "restart this container", "docs/operations.md"] {
            assert!(said().contains(part), "{}", said());
        }
    }

    #[test]
    fn what_to_look_at_depends_on_the_kind_of_address() {
        let nowhere = Path::new("/nonexistent");
        for (host, tls, expected) in [
            ("unix:///nonexistent/docker.sock", None, "check that it runs, and DOCKER_HOST"),
            ("unix:///nonexistent/docker.sock", tls(nowhere), "check that it runs, and DOCKER_HOST"),
            ("tcp://proxy:2375", None, "the socket proxy at that address"),
            ("http://proxy:2375", None, "DISABLE_IPV6=1"),
        ] {
            let said = EngineAddress::new(host, tls).unwrap().remedy();
            assert!(said.contains(expected), "{host}: {said}");
        }
    }
}
