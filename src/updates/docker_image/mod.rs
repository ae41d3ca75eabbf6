//! Images of running containers: whether the tag that they were started from holds something else now.
//!
//! One finding for each name of an image on the host. What runs counts, not what the name means on the host: an image that
//! was pulled and not restarted is a state of its own. Nothing is pulled and no container is touched.

mod basis;
mod clearing;
mod engine_lookup;
mod install;
mod interfaces;
mod journal;
mod judge;
mod judging;
mod making;
mod plan;
mod replaced;
mod subject;
mod swap;
mod visitor;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::keep::last_known;
use super::scanner::{ScanAsk, Scanner};
use crate::docker::{DockerError, EngineImages, LocalImage, UsedImage};
use crate::domain::registry::{Answer, Outcome};
use crate::domain::update::{Finding, Findings, Kind, Problem, Standing};
use crate::registry::Lookup;

pub use engine_lookup::EngineLookup;
pub use install::ImageInstaller;
pub use plan::failed_images;

use judge::{Before, judge};
use subject::{Subject, subjects};

/// Looks at the images of an Engine's containers.
pub struct DockerImage {
    engine: Arc<dyn EngineImages>,
    lookup: Arc<dyn Lookup>,
    was_seen: AtomicBool,
}

impl DockerImage {
    /// Takes an Engine, and whoever can say what tags hold.
    pub fn new(engine: Arc<dyn EngineImages>, lookup: Arc<dyn Lookup>) -> Self {
        Self { engine, lookup, was_seen: AtomicBool::new(false) }
    }

    async fn subjects(&self) -> Result<Vec<Subject>, DockerError> {
        let used = self.engine.list_used().await?;
        self.was_seen.store(true, Ordering::Relaxed);
        let images = self.images(&used).await?;
        let mut subjects = subjects(&used, &images);
        for subject in &mut subjects {
            subject.pulled = self.pulled(subject).await?;
        }
        Ok(subjects)
    }

    async fn images(&self, used: &[UsedImage]) -> Result<BTreeMap<String, LocalImage>, DockerError> {
        let ids: BTreeSet<&String> = used.iter().map(|one| &one.id).collect();
        let mut images = BTreeMap::new();
        for id in ids {
            if let Some(image) = self.engine.find_image(id).await? {
                images.insert(id.clone(), image);
            }
        }
        Ok(images)
    }

    /// What the name means on the host now, if no container runs that. Somebody may have pulled already.
    async fn pulled(&self, subject: &Subject) -> Result<Option<LocalImage>, DockerError> {
        let Some(reference) = subject.reference.as_ref().ok().filter(|reference| reference.digest.is_none())
        else {
            return Ok(None);
        };
        let found = self.engine.find_image(&reference.familiar()).await?;
        let runs = |image: &LocalImage| subject.running.iter().all(|running| running.image.id == image.id);
        Ok(found.filter(|image| !runs(image)))
    }

    /// Asks what there is to ask. Returns what is said of each, and how old the oldest answer is.
    async fn look(&self, subjects: &[Subject], ask: &ScanAsk<'_>) -> (Vec<Finding>, Option<DateTime<Utc>>) {
        let last_as_of = ask.last.and_then(|last| last.checked.as_of);
        let last: BTreeMap<&str, &Finding> =
            ask.last.iter().flat_map(|last| &last.items).map(|item| (item.name.as_str(), item)).collect();
        let before = |subject: &Subject| {
            let finding = *last.get(subject.name.as_str())?;
            Some(Before { finding, as_of: last_as_of })
        };
        let to_ask = |(at, subject): (usize, &Subject)| {
            Some((at, subject.ask(before(subject).map(|before| before.finding), ask.by_person)?))
        };
        let (places, asks): (Vec<usize>, Vec<_>) = subjects.iter().enumerate().filter_map(to_ask).unzip();
        let is_nothing_asked = asks.is_empty();
        let answers: BTreeMap<usize, Answer> =
            places.into_iter().zip(self.lookup.look_up(asks).await).collect();
        let findings = subjects
            .iter()
            .enumerate()
            .map(|(at, subject)| judge(subject, answers.get(&at), before(subject)));
        let times = answers.values().filter_map(|answer| match &answer.content {
            Outcome::Found(found) => Some(found.at),
            _ => None,
        });
        let as_of = if is_nothing_asked { Some(ask.now) } else { times.min().or(last_as_of) };
        (findings.collect(), as_of)
    }
}

/// Puts together what was found. All names of images are in it, so what is missing is gone, whatever could be checked.
fn summed(findings: Vec<Finding>, as_of: Option<DateTime<Utc>>) -> Findings {
    let is_unchecked = |finding: &&Finding| matches!(finding.standing, Standing::Unchecked { .. });
    let unchecked = findings.iter().filter(is_unchecked).count();
    let mut found = Findings::new(Kind::DockerImage, findings);
    found.checked.as_of = as_of;
    if unchecked > 0 {
        let reason = format!("{unchecked} of {} images could not be checked", found.checked.count);
        found.checked.ok = false;
        found.checked.problem =
            Some(Problem { reason, way_out: Some("each of them says why, and what to do".into()) });
    }
    found
}

#[async_trait]
impl Scanner for DockerImage {
    fn kind(&self) -> Kind {
        Kind::DockerImage
    }

    /// A host whose Engine is away still has one; where none ever answered there is none.
    async fn is_present(&self) -> bool {
        if self.was_seen.load(Ordering::Relaxed) {
            return true;
        }
        !matches!(
            self.engine.list_used().await,
            Err(DockerError::Unreachable { .. } | DockerError::BadHost { .. })
        )
    }

    async fn scan(&self, ask: &ScanAsk<'_>) -> Findings {
        match self.subjects().await {
            Ok(subjects) => {
                let (findings, as_of) = self.look(&subjects, ask).await;
                summed(findings, as_of)
            }
            Err(error) => {
                // What was there is not gone because nobody could look.
                let way_out = Some("it is looked at again with the next scan".into());
                last_known(Kind::DockerImage, ask.last, Problem { reason: error.to_string(), way_out })
            }
        }
    }
}

#[cfg(test)]
mod tests;
