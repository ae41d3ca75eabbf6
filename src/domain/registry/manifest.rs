//! Manifests: an image, or an index of images for several platforms, in OCI's and in Docker's form.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::digest::Digest;
use super::platform::Platform;

/// How deep indexes are followed.
pub const MAX_DEPTH: usize = 3;
/// Entries of an index that are looked at.
const MAX_ENTRIES: usize = 1_000;
/// Nested indexes that say nothing of a platform and are looked into.
const MAX_NESTED: usize = 4;

/// What a manifest holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Manifest {
    /// Others, one for each platform.
    Index(Vec<Entry>),
    /// An image.
    Image {
        /// Its configuration, which is its id in the Engine's classic store.
        config: Digest,
        /// Of its layers together.
        size_bytes: u64,
        /// What it says of itself.
        annotations: BTreeMap<String, String>,
    },
    /// Of a form before these two: nothing in it can be compared.
    Old,
}

/// One line of an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The manifest's.
    pub digest: Digest,
    /// What it is for, if it says so.
    pub platform: Option<Platform>,
    /// True if it is an index again.
    pub is_index: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    schema_version: Option<u32>,
    media_type: Option<String>,
    manifests: Option<Vec<RawEntry>>,
    config: Option<RawBlob>,
    #[serde(default)]
    layers: Vec<RawBlob>,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
struct RawBlob {
    digest: String,
    #[serde(default)]
    size: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawEntry {
    digest: String,
    media_type: Option<String>,
    platform: Option<RawPlatform>,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
struct RawPlatform {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    variant: Option<String>,
}

impl Manifest {
    /// Reads one. Fails with what is wrong with it.
    pub fn read(bytes: &[u8]) -> Result<Self, &'static str> {
        let raw: Raw = serde_json::from_slice(bytes).map_err(|_| "it is no manifest")?;
        if raw.schema_version == Some(1) {
            return Ok(Self::Old);
        }
        if let Some(entries) = raw.manifests {
            let entries = entries.into_iter().take(MAX_ENTRIES).filter_map(entry).collect();
            return Ok(Self::Index(entries));
        }
        let config = raw.config.ok_or("it is neither an image's manifest nor an index")?;
        let config = Digest::parse(&config.digest).ok_or("its configuration has no digest")?;
        let is_strange = raw.media_type.is_some_and(|kind| !kind.contains("manifest"));
        if is_strange {
            return Err("it is neither an image's manifest nor an index");
        }
        let size_bytes = raw.layers.iter().fold(0_u64, |sum, layer| sum.saturating_add(layer.size));
        Ok(Self::Image { config, size_bytes, annotations: raw.annotations.unwrap_or_default() })
    }
}

fn entry(raw: RawEntry) -> Option<Entry> {
    let kind = raw.annotations.as_ref().and_then(|all| all.get("vnd.docker.reference.type"));
    let is_unknown = raw.platform.as_ref().is_some_and(|p| p.os == "unknown" || p.architecture == "unknown");
    // Attestations stand beside the images that they speak of.
    if kind.is_some() || is_unknown {
        return None;
    }
    let is_index =
        raw.media_type.is_some_and(|kind| kind.contains("index") || kind.contains("manifest.list"));
    let platform = raw.platform.filter(|p| !p.os.is_empty());
    let platform = platform.map(|p| Platform::new(&p.os, &p.architecture, p.variant.as_deref()));
    Some(Entry { digest: Digest::parse(&raw.digest)?, platform, is_index })
}

/// Returns where to look on for a platform, the best first: the entry that fits it best, else indexes that say nothing of
/// platforms. None means that there is nothing for it.
pub fn candidates<'a>(entries: &'a [Entry], wanted: &Platform) -> Vec<&'a Entry> {
    let fit = |entry: &Entry| entry.platform.as_ref().and_then(|platform| wanted.fit(platform));
    // Of several that fit equally the first one is taken, as the Engine does.
    let best = entries.iter().rev().filter(|entry| fit(entry).is_some()).max_by_key(|entry| fit(entry));
    match best {
        Some(best) => vec![best],
        None => {
            let nested = entries.iter().filter(|entry| entry.platform.is_none() && entry.is_index);
            nested.take(MAX_NESTED).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn digest(n: u8) -> Digest {
        Digest::of(&[n])
    }

    fn line(n: u8, os: &str, architecture: &str, variant: Option<&str>) -> serde_json::Value {
        json!({ "digest": digest(n), "mediaType": "application/vnd.oci.image.manifest.v1+json", "size": 1,
            "platform": { "os": os, "architecture": architecture, "variant": variant } })
    }

    fn read(value: &serde_json::Value) -> Result<Manifest, &'static str> {
        Manifest::read(&serde_json::to_vec(value).unwrap())
    }

    #[test]
    fn the_entry_of_the_platform_is_found_in_any_order_and_attestations_are_none() {
        let mut lines = vec![
            line(1, "unknown", "unknown", None),
            line(2, "linux", "amd64", None),
            line(3, "linux", "arm64", Some("v8")),
            line(4, "linux", "arm", Some("v6")),
            line(5, "linux", "arm", Some("v7")),
        ];
        let mut attestation = line(6, "linux", "amd64", None);
        attestation["annotations"] = json!({ "vnd.docker.reference.type": "attestation-manifest" });
        lines.insert(0, attestation);
        for _ in 0..lines.len() {
            lines.rotate_left(1);
            let Manifest::Index(entries) = read(&json!({ "schemaVersion": 2, "manifests": lines })).unwrap()
            else {
                panic!("an index")
            };
            for (platform, expected) in [
                (Platform::new("linux", "amd64", None), Some(2)),
                (Platform::new("linux", "arm64", None), Some(3)),
                (Platform::new("linux", "arm", Some("v7")), Some(5)),
                (Platform::new("linux", "arm", Some("v6")), Some(4)),
                (Platform::new("linux", "s390x", None), None),
            ] {
                let found = candidates(&entries, &platform).first().map(|entry| entry.digest.clone());
                assert_eq!(found, expected.map(digest), "{platform}");
            }
        }
    }

    #[test]
    fn an_index_in_an_index_is_looked_into_if_nothing_fits() {
        let nested = json!({ "digest": digest(9), "mediaType": "application/vnd.oci.image.index.v1+json" });
        let Manifest::Index(entries) =
            read(&json!({ "schemaVersion": 2, "manifests": [nested, line(2, "linux", "amd64", None)] }))
                .unwrap()
        else {
            panic!("an index")
        };
        let found = |architecture| {
            candidates(&entries, &Platform::new("linux", architecture, None))[0].digest.clone()
        };
        assert_eq!((found("amd64"), found("arm64")), (digest(2), digest(9)));
    }

    #[test]
    fn an_image_names_its_configuration_and_what_is_neither_is_refused() {
        let image = json!({ "schemaVersion": 2, "config": { "digest": digest(7), "size": 3 },
            "layers": [{ "digest": digest(8), "size": 40 }, { "digest": digest(9), "size": 2 }],
            "annotations": { "org.opencontainers.image.version": "1.2.3" } });
        let Ok(Manifest::Image { config, size_bytes, annotations }) = read(&image) else {
            panic!("an image")
        };
        assert_eq!((config, size_bytes, annotations.len()), (digest(7), 42, 1));
        assert_eq!(read(&json!({ "schemaVersion": 1, "name": "a" })), Ok(Manifest::Old));
        for bytes in
            [&b"<html>please sign in</html>"[..], b"{}", b"[]", b"{\"config\":{\"digest\":\"x\"}}", b""]
        {
            assert!(Manifest::read(bytes).is_err());
        }
    }
}
