//! The kinds of things that can be updated.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What is updated, and by which means. Each has one scanner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A package of Debian, Ubuntu and their like.
    Apt,
    /// A package of Fedora, RHEL and their like.
    Dnf,
    /// The image of a container.
    DockerImage,
    /// An update of Windows itself.
    WindowsUpdate,
    /// A program that Winget knows.
    Winget,
    /// The host itself, which no scanner looks for and no update is of: a plan may start it anew.
    Host,
}

/// A word that is no kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no kind of update; there are apt, dnf, docker_image, windows_update and winget")]
pub struct UnknownKind(pub String);

impl Kind {
    /// All that have updates, in the order in which they are shown.
    pub const ALL: [Self; 5] = [Self::Apt, Self::Dnf, Self::DockerImage, Self::WindowsUpdate, Self::Winget];

    /// Returns its word on the wire and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Apt => "apt",
            Self::Dnf => "dnf",
            Self::DockerImage => "docker_image",
            Self::WindowsUpdate => "windows_update",
            Self::Winget => "winget",
            Self::Host => "host",
        }
    }

    /// True for packages of the host.
    pub fn is_package(self) -> bool {
        !matches!(self, Self::DockerImage | Self::Host)
    }

    /// Returns what people call it.
    pub fn title(self) -> &'static str {
        match self {
            Self::Apt => "APT",
            Self::Dnf => "DNF",
            Self::DockerImage => "Image",
            Self::WindowsUpdate => "Windows Update",
            Self::Winget => "Winget",
            Self::Host => "Host",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Kind {
    type Err = UnknownKind;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word).ok_or_else(|| UnknownKind(word.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_read_as_it_is_written_and_nothing_else_is_a_kind() {
        for kind in Kind::ALL {
            assert_eq!(kind.as_str().parse(), Ok(kind));
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        }
        for word in ["", "APT", "docker", "yum", "host"] {
            assert!(word.parse::<Kind>().is_err(), "{word}");
        }
    }
}
