//! Names of images: `nginx`, `ghcr.io/a/b:1`, `host:5000/c@sha256:…`.

use std::fmt;

use super::digest::Digest;

/// The registry that is meant where none is written.
pub const DOCKER_HUB: &str = "docker.io";

const MAX_REPOSITORY_CHARS: usize = 255;
const MAX_TAG_CHARS: usize = 128;
const MAX_HOST_CHARS: usize = 255;

/// A name of an image, taken apart.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    /// As it was written.
    pub as_given: String,
    /// Host and port of the registry; Docker Hub is [`DOCKER_HUB`] under all its names.
    pub registry: String,
    /// The path there, such as `library/nginx`.
    pub repository: String,
    /// The tag, if one was written.
    pub tag: Option<String>,
    /// The content that it is pinned to.
    pub digest: Option<Digest>,
}

/// Why a text is no name of an image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// It is the id of an image.
    #[error("it is an image's id, not its name")]
    Id,
    /// It is something else.
    #[error("it is no image name: {0}")]
    Odd(&'static str),
}

impl Reference {
    /// Takes a name apart.
    pub fn parse(text: &str) -> Result<Self, ReferenceError> {
        let odd = |reason| Err(ReferenceError::Odd(reason));
        if is_image_id(text) {
            return Err(ReferenceError::Id);
        }
        let (rest, digest) = match text.split_once('@') {
            None => (text, None),
            Some((rest, digest)) => match Digest::parse(digest) {
                None => return odd("its digest is not `sha256:` with 64 hex digits"),
                digest => (rest, digest),
            },
        };
        let (path, tag) = match rest.rsplit_once(':') {
            Some((path, tag)) if !tag.contains('/') => (path, Some(tag)),
            _ => (rest, None),
        };
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return odd("a tag has letters, digits, `_`, `.` and `-`, at most 128");
        }
        let (registry, repository) = match path.split_once('/') {
            Some((host, path)) if is_host_part(host) => (host.to_ascii_lowercase(), path.to_owned()),
            _ => (DOCKER_HUB.to_owned(), path.to_owned()),
        };
        if !is_host(&registry) {
            return odd("its registry is no host name");
        }
        let is_hub = matches!(registry.as_str(), DOCKER_HUB | "index.docker.io" | "registry-1.docker.io");
        let registry = if is_hub { DOCKER_HUB.to_owned() } else { registry };
        let repository = match is_hub && !repository.contains('/') {
            true => format!("library/{repository}"),
            false => repository,
        };
        if !is_repository(&repository) {
            return odd("a repository has lower-case letters, digits and single `.`, `_`, `-` between them");
        }
        Ok(Self { as_given: text.to_owned(), registry, repository, tag: tag.map(str::to_owned), digest })
    }

    /// The tag that is meant.
    pub fn tag(&self) -> &str {
        self.tag.as_deref().unwrap_or("latest")
    }

    /// The repository as people write it: without what is meant anyway.
    pub fn familiar_repository(&self) -> String {
        match self.registry == DOCKER_HUB {
            true => self.repository.strip_prefix("library/").unwrap_or(&self.repository).to_owned(),
            false => format!("{}/{}", self.registry, self.repository),
        }
    }

    /// The one name of all that mean the same image.
    pub fn familiar(&self) -> String {
        let repository = self.familiar_repository();
        match (&self.tag, &self.digest) {
            (None, Some(digest)) => format!("{repository}@{digest}"),
            (Some(tag), Some(digest)) => format!("{repository}:{tag}@{digest}"),
            (_, None) => format!("{repository}:{}", self.tag()),
        }
    }

    /// True if it names the same repository, whatever tag or digest.
    pub fn is_same_repository(&self, other: &Self) -> bool {
        (&self.registry, &self.repository) == (&other.registry, &other.repository)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.familiar())
    }
}

/// True if a text is an image's id as the Engine writes it.
pub fn is_image_id(text: &str) -> bool {
    let hex = text.strip_prefix("sha256:").unwrap_or(text);
    let is_hex = hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    is_hex && (hex.len() == 64 || (hex.len() != text.len() && hex.len() >= 12))
}

/// Returns the registry that is meant by a host, or by an address as `docker login` keeps it: `ghcr.io`, `host:5000`,
/// `https://index.docker.io/v1/`. None if no name of an image can begin with it.
pub fn registry_named(text: &str) -> Option<String> {
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    let host = rest.split('/').next().unwrap_or_default().to_ascii_lowercase();
    match host.as_str() {
        "index.docker.io" | "registry-1.docker.io" => Some(DOCKER_HUB.to_owned()),
        _ => (is_host_part(&host) && is_host(&host)).then_some(host),
    }
}

/// True if a registry is this machine itself.
pub fn is_loopback(registry: &str) -> bool {
    let host = match registry.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => registry.split(':').next().unwrap_or_default(),
    };
    let is_name = host == "localhost" || host.ends_with(".localhost");
    is_name || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// The first part of a name is a host only if it cannot be a folder.
fn is_host_part(part: &str) -> bool {
    part.contains(['.', ':']) || part == "localhost" || part.bytes().any(|b| b.is_ascii_uppercase())
}

fn is_host(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[').map(|rest| rest.split_once(']')) {
        Some(Some((host, port))) if host.parse::<std::net::Ipv6Addr>().is_ok() => {
            return port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
        }
        Some(_) => return false,
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    let is_label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    text.len() <= MAX_HOST_CHARS && host.split('.').all(is_label) && port.is_none_or(is_port)
}

fn is_port(text: &str) -> bool {
    !text.starts_with('+') && text.parse::<u16>().is_ok_and(|port| port > 0)
}

fn is_tag(text: &str) -> bool {
    let is_word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    text.len() <= MAX_TAG_CHARS
        && text.bytes().next().is_some_and(is_word)
        && text.bytes().all(|b| is_word(b) || b == b'.' || b == b'-')
}

fn is_repository(text: &str) -> bool {
    text.len() <= MAX_REPOSITORY_CHARS && text.split('/').all(is_path_part)
}

fn is_path_part(part: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let is_separator = |run: &str| matches!(run, "." | "_" | "__") || run.bytes().all(|b| b == b'-');
    let between = part.split(is_plain).filter(|run| !run.is_empty());
    part.starts_with(is_plain) && part.ends_with(is_plain) && between.into_iter().all(is_separator)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEX: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn names_are_taken_apart_as_docker_does() {
        for (text, registry, repository, tag, familiar) in [
            ("nginx", "docker.io", "library/nginx", None, "nginx:latest"),
            ("nginx:1.25", "docker.io", "library/nginx", Some("1.25"), "nginx:1.25"),
            ("docker.io/nginx", "docker.io", "library/nginx", None, "nginx:latest"),
            ("index.docker.io/library/nginx:1", "docker.io", "library/nginx", Some("1"), "nginx:1"),
            ("grafana/grafana", "docker.io", "grafana/grafana", None, "grafana/grafana:latest"),
            ("ghcr.io/a/b/c:v1", "ghcr.io", "a/b/c", Some("v1"), "ghcr.io/a/b/c:v1"),
            ("localhost/a", "localhost", "a", None, "localhost/a:latest"),
            ("localhost:5000/a:b", "localhost:5000", "a", Some("b"), "localhost:5000/a:b"),
            (
                "Reg.example:443/a__b-c.d",
                "reg.example:443",
                "a__b-c.d",
                None,
                "reg.example:443/a__b-c.d:latest",
            ),
            ("[::1]:5000/a", "[::1]:5000", "a", None, "[::1]:5000/a:latest"),
        ] {
            let reference = Reference::parse(text).unwrap();
            let parts =
                (reference.registry.as_str(), reference.repository.as_str(), reference.tag.as_deref());
            assert_eq!(parts, (registry, repository, tag), "{text}");
            assert_eq!((reference.familiar().as_str(), reference.as_given.as_str()), (familiar, text));
        }
    }

    #[test]
    fn a_pinned_name_keeps_tag_and_digest() {
        let pinned = Reference::parse(&format!("nginx:1.25@sha256:{HEX}")).unwrap();
        assert_eq!((pinned.tag.as_deref(), pinned.digest.is_some()), (Some("1.25"), true));
        let bare = Reference::parse(&format!("host:1/a@sha256:{HEX}")).unwrap();
        assert_eq!(bare.familiar(), format!("host:1/a@sha256:{HEX}"));
    }

    #[test]
    fn what_is_no_name_says_why() {
        for text in [HEX.to_owned(), format!("sha256:{HEX}"), format!("sha256:{}", &HEX[..12])] {
            assert_eq!(Reference::parse(&text), Err(ReferenceError::Id), "{text}");
        }
        for text in [
            "",
            "Nginx",
            "a/B",
            "a//b",
            "/a",
            "a/",
            "a:",
            "a:-x",
            "a@sha256:ab",
            "../x",
            "a..b",
            "a_-b",
            "-oDPkg::Pre-Invoke=sh",
            "a b",
            "a\u{1b}[2J",
            "host:99999/a",
            "host:/a",
            "-h.example/a",
            "[::1/a",
            "http://a/b",
            "a___b",
        ] {
            assert!(matches!(Reference::parse(text), Err(ReferenceError::Odd(_))), "{text}");
        }
        assert!(Reference::parse(&"a".repeat(4096)).is_err());
        assert!(Reference::parse(&format!("a:{}", "b".repeat(129))).is_err());
    }

    #[test]
    fn a_registry_is_known_by_its_host_and_by_its_old_addresses() {
        for (text, expected) in [
            ("ghcr.io", Some("ghcr.io")),
            ("Reg.example:5000", Some("reg.example:5000")),
            ("https://index.docker.io/v1/", Some("docker.io")),
            ("registry-1.docker.io", Some("docker.io")),
            ("http://localhost:5000", Some("localhost:5000")),
            ("[::1]:5000", Some("[::1]:5000")),
            ("registry", None),
            ("", None),
            ("bob@ghcr.io", None),
            ("ghcr.io:0", None),
            ("a b.example", None),
        ] {
            assert_eq!(registry_named(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn this_machine_is_known_by_its_names() {
        for (registry, expected) in [
            ("localhost:5000", true),
            ("127.0.0.1:5000", true),
            ("127.9.9.9", true),
            ("[::1]:5000", true),
            ("a.localhost", true),
            ("localhost.example.com", false),
            ("10.0.0.1:5000", false),
            ("docker.io", false),
        ] {
            assert_eq!(is_loopback(registry), expected, "{registry}");
        }
    }

    proptest! {
        #[test]
        fn a_familiar_name_means_the_same_image(
            host in prop::option::of("[a-z]{1,8}\\.example(:[1-9][0-9]{0,3})?"),
            path in "[a-z0-9]{1,6}([._-][a-z0-9]{1,4})?(/[a-z0-9]{1,6}){0,2}",
            tag in prop::option::of("[A-Za-z0-9_][A-Za-z0-9._-]{0,20}"),
        ) {
            let host = host.map(|host| format!("{host}/")).unwrap_or_default();
            let tag = tag.map(|tag| format!(":{tag}")).unwrap_or_default();
            let first = Reference::parse(&format!("{host}{path}{tag}"));
            prop_assume!(first.is_ok());
            let first = first.unwrap();
            let again = Reference::parse(&first.familiar()).unwrap();
            prop_assert!(first.is_same_repository(&again));
            prop_assert_eq!(first.tag(), again.tag());
            prop_assert_eq!(first.familiar(), again.familiar());
        }

        #[test]
        fn whatever_is_written_what_is_read_fits_into_an_address(text in ".{0,60}") {
            if let Ok(reference) = Reference::parse(&text) {
                let all = format!("{}{}{}", reference.registry, reference.repository, reference.tag());
                prop_assert!(all.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-/:[]".contains(&b)), "{}", all);
                prop_assert!(!reference.repository.contains(".."));
            }
        }
    }
}
