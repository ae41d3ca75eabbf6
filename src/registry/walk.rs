//! From a tag's digest to what it holds for one platform.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::fetch::Fetcher;
use super::site::Site;
use crate::domain::registry::{
    Circumstance, Content, Digest, ImageLabels, MAX_DEPTH, Manifest, Platform, candidates,
};

/// Manifests that are fetched for one answer.
const MAX_FETCHED: usize = 8;

/// What a digest holds for a platform, and whether its configuration was looked into.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Resolved {
    pub content: Content,
    pub config: Option<Digest>,
    pub is_described: bool,
}

#[derive(Deserialize)]
struct Configuration {
    config: Option<Inner>,
}

#[derive(Deserialize)]
struct Inner {
    #[serde(rename = "Labels")]
    labels: Option<BTreeMap<String, String>>,
}

/// Follows indexes down to the platform's image. `body` is what `digest` holds, if it is here already.
pub(super) async fn resolve(
    fetch: &Fetcher,
    site: &Site,
    repository: &str,
    digest: &Digest,
    platform: &Platform,
    mut body: Option<Bytes>,
) -> Result<Resolved, Circumstance> {
    let mut ahead = vec![vec![digest.clone()]];
    let mut fetched = 0;
    while let Some(mut names) = ahead.pop() {
        let here = names.last().expect("a way has a beginning").clone();
        let bytes = match body.take() {
            Some(bytes) => bytes,
            None if fetched == MAX_FETCHED => break,
            None => {
                fetched += 1;
                fetch.get_manifest(site, repository, here.as_str(), Some(&here)).await?.1
            }
        };
        match Manifest::read(&bytes).map_err(|reason| Circumstance::Odd { reason: reason.into() })? {
            Manifest::Index(entries) if names.len() <= MAX_DEPTH => {
                let found = candidates(&entries, platform);
                let ways = found
                    .iter()
                    .rev()
                    .map(|entry| names.iter().chain([&entry.digest]).cloned().collect::<Vec<_>>());
                ahead.extend(ways);
            }
            Manifest::Index(_) => {}
            Manifest::Old => {
                let content = Content { names, size_bytes: None, labels: ImageLabels::default() };
                return Ok(Resolved { content, config: None, is_described: true });
            }
            Manifest::Image { config, size_bytes, annotations } => {
                names.push(config.clone());
                let labels = ImageLabels::of(&annotations);
                let is_described = labels.version.is_some();
                let content = Content { names, size_bytes: Some(size_bytes), labels };
                return Ok(Resolved { content, config: Some(config), is_described });
            }
        }
    }
    Err(Circumstance::NotForPlatform { platform: platform.to_string() })
}

/// Looks into the configuration for what the image says of itself. Without that it is the same image: what goes wrong
/// here is no failure.
pub(super) async fn describe(fetch: &Fetcher, site: &Site, repository: &str, resolved: &mut Resolved) {
    let Some(config) = resolved.config.as_ref().filter(|_| !resolved.is_described) else { return };
    resolved.is_described = true;
    let Ok(bytes) = fetch.get_config(site, repository, config).await else { return };
    let read = serde_json::from_slice::<Configuration>(&bytes);
    let labels = read.ok().and_then(|read| read.config?.labels);
    if let Some(labels) = labels.map(|labels| ImageLabels::of(&labels)).filter(|labels| !labels.is_empty()) {
        resolved.content.labels = labels;
    }
}
