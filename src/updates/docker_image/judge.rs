//! What is said of one image, from what is on the host, what was answered and what was known before.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::subject::Subject;
use crate::docker::LocalImage;
use crate::domain::registry::{
    Answer, Compared, DOCKER_HUB, Digest, Found, ImageLabels, Outcome, Reference, Refusal, Tags, compare,
    names_of,
};
use crate::domain::update::{Cause, Finding, Standing};

/// What was known before.
#[derive(Clone, Copy)]
pub(super) struct Before<'a> {
    pub finding: &'a Finding,
    /// How old it was.
    pub as_of: Option<DateTime<Utc>>,
}

/// Says how one image stands.
pub(super) fn judge(subject: &Subject, answer: Option<&Answer>, before: Option<Before<'_>>) -> Finding {
    let mut finding = match &subject.reference {
        Err(reason) => untracked(subject, Cause::Unnamed, reason.clone()),
        Ok(reference) => named(subject, reference, answer, before),
    };
    finding.containers = subject.containers.clone();
    finding.details.insert("image_ids".into(), subject.image_ids());
    finding.details.insert("platform".into(), subject.platform().to_string().into());
    if let Some(answer) = answer {
        add_tags(&mut finding, &answer.tags, before);
    }
    finding
}

fn named(
    subject: &Subject,
    reference: &Reference,
    answer: Option<&Answer>,
    before: Option<Before<'_>>,
) -> Finding {
    let mut finding = match answer.map(|answer| &answer.content) {
        _ if reference.digest.is_some() => {
            let reason = "its name holds a digest, so it is always the same content; newer tags are shown if it has a tag";
            untracked(subject, Cause::Pinned, reason.into())
        }
        Some(Outcome::Found(found)) => compared(subject, reference, found, before),
        Some(Outcome::Refused(refusal)) => refused(subject, reference, refusal, before),
        Some(Outcome::NotAsked) | None => local(subject),
    };
    finding.source = Some(reference.registry.clone());
    finding.group = Some(reference.familiar_repository());
    finding.current_version = subject.running.first().map(|running| version(&running.image, reference));
    let image = subject.running.first().map(|running| &running.image);
    let labels = image.map(|image| ImageLabels::of(&image.labels)).filter(|labels| !labels.is_empty());
    if let Some(labels) = labels {
        finding.details.insert("labels".into(), json!(labels));
    }
    finding
}

fn untracked(subject: &Subject, cause: Cause, reason: String) -> Finding {
    Finding::new(&subject.name, Standing::Untracked { cause, reason })
}

/// An image that was made here has nothing newer but what was made here since.
fn local(subject: &Subject) -> Finding {
    let Some(pulled) = &subject.pulled else {
        return untracked(subject, Cause::Local, "it was built or imported on this host".into());
    };
    let mut finding = Finding::new(&subject.name, Standing::RestartNeeded);
    finding.available_version = Some(shown(&ImageLabels::of(&pulled.labels), &pulled.id));
    finding.description = Some("another image was built under this name since the container was made".into());
    finding
}

fn compared(subject: &Subject, reference: &Reference, found: &Found, before: Option<Before<'_>>) -> Finding {
    let running = subject.running_names(reference);
    let pulled = subject.pulled_names(reference);
    let is_seen = subject.seen_same(before.map(|before| before.finding)).as_ref() == Some(&found.digest);
    let compared = if is_seen { Compared::Same } else { compare(&running, pulled.as_ref(), found) };
    let standing = match compared {
        Compared::Same => Standing::Same,
        Compared::RestartNeeded => Standing::RestartNeeded,
        Compared::Newer => Standing::Newer,
    };
    let mut finding = Finding::new(&subject.name, standing);
    finding.details.insert("digest".into(), found.digest.to_string().into());
    if compared == Compared::Same {
        return finding;
    }
    let on_host = subject.images().find(|image| {
        let names = names_of(&image.id, None, &image.repo_digests, reference);
        compared == Compared::RestartNeeded && compare(&[names], None, found) == Compared::Same
    });
    let labels = match (&found.content, on_host) {
        (_, Some(image)) => ImageLabels::of(&image.labels),
        (Some(content), None) => content.labels.clone(),
        (None, None) => ImageLabels::default(),
    };
    finding.available_version = Some(shown(&labels, found.digest.as_str()));
    if !labels.is_empty() {
        finding.details.insert("available_labels".into(), json!(labels));
    }
    match compared {
        Compared::RestartNeeded => {
            finding.description =
                Some("the newer image is on the host already; a container still runs the older one".into());
        }
        _ => {
            let content = found.content.as_ref();
            finding.size_bytes = content.and_then(|content| content.size_bytes);
            let is_looked_into = content.is_some_and(|content| content.names.len() > 1);
            finding.details.insert("platform_compared".into(), is_looked_into.into());
        }
    }
    finding
}

fn refused(
    subject: &Subject,
    reference: &Reference,
    refusal: &Refusal,
    before: Option<Before<'_>>,
) -> Finding {
    let was_there = before.is_some_and(|before| before.finding.details.contains_key("digest"));
    let is_unknown_there = matches!(refusal.cause, Cause::NotAllowed | Cause::GoneUpstream);
    // Docker Hub shows its own images to everybody: one that it does not show is none of them.
    let is_no_official = refusal.cause == Cause::NotAllowed
        && reference.registry == DOCKER_HUB
        && reference.repository.starts_with("library/");
    if !was_there && is_unknown_there && (subject.is_built_here() || is_no_official) {
        let reason = format!("it was built on this host; `{}` does not know it", reference.registry);
        return match &subject.pulled {
            Some(_) => local(subject),
            None => untracked(subject, Cause::Local, reason),
        };
    }
    if !was_there && subject.is_tagged_here(reference) {
        let reason = format!(
            "it was tagged on this host: no digest of it is one of `{}`, and `{}` tells nothing of that name",
            reference.familiar_repository(),
            reference.registry
        );
        return match &subject.pulled {
            Some(_) => local(subject),
            None => untracked(subject, Cause::Local, reason),
        };
    }
    let standing = Standing::Unchecked {
        cause: refusal.cause,
        reason: refusal.reason.clone(),
        last_known_at: before.and_then(last_known_at),
        retry_at: refusal.retry_at,
    };
    let mut finding = Finding::new(&subject.name, standing);
    if let Some(Before { finding: old, .. }) = before.filter(|_| was_there) {
        finding.available_version = old.available_version.clone();
        finding.size_bytes = old.size_bytes;
        for key in ["digest", "available_labels", "platform_compared"] {
            if let Some(value) = old.details.get(key) {
                finding.details.insert(key.into(), value.clone());
            }
        }
    }
    if subject.pulled.is_some() {
        finding.details.insert("restart_needed".into(), true.into());
    }
    finding
}

fn last_known_at(before: Before<'_>) -> Option<DateTime<Utc>> {
    match &before.finding.standing {
        Standing::Unchecked { last_known_at, .. } => *last_known_at,
        Standing::Untracked { .. } => None,
        Standing::Newer | Standing::RestartNeeded | Standing::Same => before.as_of,
    }
}

fn add_tags(finding: &mut Finding, tags: &Tags, before: Option<Before<'_>>) {
    match tags {
        Tags::NotAsked => {}
        Tags::Newer(found) => {
            if let Some((tag, jump)) = found.newest() {
                let mut all = json!(found);
                all["newest"] = tag.into();
                all["jump"] = json!(jump);
                finding.details.insert("newer_tags".into(), all);
            } else if found.is_cut {
                let reason = "not all tags were read; a newer one may be among the others";
                finding.details.insert("tags_problem".into(), reason.into());
            }
        }
        Tags::Refused(refusal) => {
            let known = before.and_then(|before| before.finding.details.get("newer_tags"));
            if let Some(known) = known {
                finding.details.insert("newer_tags".into(), Value::clone(known));
            }
            finding.details.insert("tags_problem".into(), refusal.reason.clone().into());
        }
    }
}

/// What people call the image that runs: its own word for its version, and which content that is.
fn version(image: &LocalImage, reference: &Reference) -> String {
    let names = names_of("", None, &image.repo_digests, reference);
    let digest = names.first().map_or(image.id.as_str(), Digest::as_str);
    shown(&ImageLabels::of(&image.labels), digest)
}

fn shown(labels: &ImageLabels, digest: &str) -> String {
    let digest = Digest::parse(digest).map_or_else(|| digest.to_owned(), |digest| digest.short().to_owned());
    match &labels.version {
        Some(version) => format!("{version} ({digest})"),
        None => digest,
    }
}
