//! Container registries: names of images, what their manifests hold, how what runs compares with what is there, which
//! tags are newer, how often a registry may be asked, and what its refusals mean.

mod account;
mod ask;
mod challenge;
mod compare;
mod digest;
mod manifest;
mod pace;
mod platform;
mod push;
mod reference;
mod refusal;
mod tags;

pub use account::{Account, BadAccount};
pub use ask::{Answer, Ask, Content, Found, ImageLabels, Outcome, Refusal, Tags};
pub use challenge::{Bearer, Challenge, Sent, Step, Tried, next_step, read_challenges};
pub use compare::{Compared, Names, compare, names_of};
pub use digest::Digest;
pub use manifest::{Entry, MAX_DEPTH, Manifest, candidates};
pub use pace::{Pace, Pulls, read_retry_after};
pub use platform::Platform;
pub use push::{PUSH_FORMS, Pushes, read_pushes};
pub use reference::{DOCKER_HUB, Reference, ReferenceError, is_image_id, is_loopback, registry_named};
pub use refusal::{Circumstance, refusal};
pub use tags::{Jump, NewerTags, is_version, newer};
