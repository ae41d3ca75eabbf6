//! What an image is made for.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An operating system and a processor, in the words of image configurations.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Platform {
    /// Such as `linux`.
    pub os: String,
    /// Such as `amd64`.
    pub architecture: String,
    /// Such as `v7`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

impl Platform {
    /// Puts one together; an empty variant is none.
    pub fn new(os: &str, architecture: &str, variant: Option<&str>) -> Self {
        let variant = variant.filter(|text| !text.is_empty()).map(str::to_ascii_lowercase);
        Self { os: os.to_ascii_lowercase(), architecture: architecture.to_ascii_lowercase(), variant }
    }

    /// The variant as a number, with the one that is meant where none is written.
    fn generation(&self) -> Option<u32> {
        let meant = match (self.architecture.as_str(), self.variant.as_deref()) {
            ("arm64", None) => "v8",
            ("arm", None) => "v7",
            ("amd64", None) => "v1",
            (_, variant) => variant?,
        };
        meant.strip_prefix('v')?.parse().ok()
    }

    /// How well something made for `other` serves here: none if it does not run, and the greatest is the best.
    pub fn fit(&self, other: &Self) -> Option<u32> {
        if (&self.os, &self.architecture) != (&other.os, &other.architecture) {
            return None;
        }
        match (self.generation(), other.generation()) {
            (Some(ours), Some(theirs)) => (theirs <= ours).then_some(theirs + 1),
            _ => (self.variant == other.variant).then_some(0),
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.as_ref().map_or(Ok(()), |variant| write!(f, "/{variant}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_variant_serves_and_a_newer_one_does_not() {
        let arm = |variant| Platform::new("linux", "arm", variant);
        let arm64 = |variant| Platform::new("linux", "arm64", variant);
        for (ours, theirs, fits) in [
            (arm(Some("v7")), arm(Some("v7")), true),
            (arm(None), arm(Some("v7")), true),
            (arm(Some("v7")), arm(Some("v6")), true),
            (arm(Some("v6")), arm(Some("v7")), false),
            (arm64(None), arm64(Some("v8")), true),
            (arm64(Some("v8")), arm64(None), true),
            (arm64(None), arm(None), false),
            (Platform::new("Linux", "AMD64", Some("")), Platform::new("linux", "amd64", None), true),
            (Platform::new("windows", "amd64", None), Platform::new("linux", "amd64", None), false),
            (Platform::new("linux", "ppc64le", None), Platform::new("linux", "ppc64le", None), true),
        ] {
            assert_eq!(ours.fit(&theirs).is_some(), fits, "{ours} {theirs}");
        }
        assert!(arm(Some("v7")).fit(&arm(Some("v7"))) > arm(Some("v7")).fit(&arm(Some("v6"))));
    }
}
