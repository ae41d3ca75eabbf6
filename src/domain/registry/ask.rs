//! What is asked about an image's tag, and what comes back: the same words from an agent to the master's desk, and from
//! the desk to a registry.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::digest::Digest;
use super::platform::Platform;
use super::reference::Reference;
use super::tags::NewerTags;
use crate::domain::update::Cause;

/// A question about one tag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask {
    /// Host and port of the registry.
    pub registry: String,
    /// The path there.
    pub repository: String,
    /// The tag.
    pub tag: String,
    /// What the content is to run on.
    pub platform: Platform,
    /// All names of the content that is there already: if the tag has one of them, nothing more is fetched.
    #[serde(default)]
    pub known: Vec<Digest>,
    /// Whether the tag's content is asked for.
    pub wants_content: bool,
    /// Whether newer tags are asked for.
    pub wants_tags: bool,
    /// True if a person waits: an answer of minutes ago does not do.
    #[serde(default)]
    pub is_fresh: bool,
}

/// Most digests that are known of one image.
const MAX_KNOWN: usize = 200;

impl Ask {
    /// True if what it asks about is an image's full name, taken apart.
    pub fn is_sound(&self) -> bool {
        let name = Reference::parse(&format!("{}/{}:{}", self.registry, self.repository, self.tag));
        let is_whole = name.is_ok_and(|name| {
            (&name.registry, &name.repository, name.tag()) == (&self.registry, &self.repository, &self.tag)
        });
        let platform = [&self.platform.os, &self.platform.architecture];
        let is_short = platform.into_iter().chain(&self.platform.variant).all(|word| word.len() <= 64);
        is_whole && is_short && self.known.len() <= MAX_KNOWN
    }
}

/// The answer to one [`Ask`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// What the tag holds.
    pub content: Outcome,
    /// Which tags are newer.
    pub tags: Tags,
}

/// What came of asking what a tag holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It is known.
    Found(Found),
    /// It could not be found out.
    Refused(Refusal),
    /// It was not asked for.
    NotAsked,
}

/// What came of asking for tags.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tags {
    /// These are newer.
    Newer(NewerTags),
    /// It could not be found out.
    Refused(Refusal),
    /// They were not asked for.
    NotAsked,
}

/// What a tag holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// The tag's digest.
    pub digest: Digest,
    /// When the registry said so.
    pub at: DateTime<Utc>,
    /// What it holds for the platform; none if its digest was known, or if it was not looked into.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Content>,
}

/// What a digest holds for one platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// Every name of it, from the outermost index over the manifest to the configuration.
    pub names: Vec<Digest>,
    /// What is pulled if nothing of it is there, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<u64>,
    /// What it says of itself.
    #[serde(default)]
    pub labels: ImageLabels,
}

/// What an image says of itself in `org.opencontainers.image.*`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageLabels {
    /// Its version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The commit it was built from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// Where its source is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

impl ImageLabels {
    /// Takes them out of all labels or annotations.
    pub fn of(labels: &BTreeMap<String, String>) -> Self {
        let label = |name: &str| {
            let text = labels.get(&format!("org.opencontainers.image.{name}"))?.trim();
            (!text.is_empty()).then(|| text.chars().take(200).collect())
        };
        Self { version: label("version"), revision: label("revision"), source: label("source") }
    }

    /// True if it says nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Why something could not be found out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// In one word.
    pub cause: Cause,
    /// For people.
    pub reason: String,
    /// When it may be asked again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<DateTime<Utc>>,
}

impl Answer {
    /// Says of all that was asked that it could not be found out.
    pub fn refused(ask: &Ask, refusal: &Refusal) -> Self {
        Self {
            content: match ask.wants_content {
                true => Outcome::Refused(refusal.clone()),
                false => Outcome::NotAsked,
            },
            tags: match ask.wants_tags {
                true => Tags::Refused(refusal.clone()),
                false => Tags::NotAsked,
            },
        }
    }

    /// True if nobody was reached, so that somebody else may be.
    pub fn is_out_of_reach(&self) -> bool {
        self.refused_by(Cause::NotReachable)
    }

    /// True if it was refused for this cause.
    pub fn refused_by(&self, cause: Cause) -> bool {
        match (&self.content, &self.tags) {
            (Outcome::Refused(refusal), _) | (Outcome::NotAsked, Tags::Refused(refusal)) => {
                refusal.cause == cause
            }
            _ => false,
        }
    }
}
