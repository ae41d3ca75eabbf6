//! Which images a host's containers run, by name: what is asked about, and what cannot be.

use std::collections::{BTreeMap, BTreeSet};

use crate::docker::{LocalImage, UsedImage};
use crate::domain::registry::{
    Ask, Digest, Names, Platform, Reference, ReferenceError, is_version, names_of,
};
use crate::domain::update::{Finding, Standing};

/// One name of an image, and all containers that use it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Subject {
    /// What the finding is called.
    pub name: String,
    /// What it names, or why it names nothing.
    pub reference: Result<Reference, String>,
    /// The containers' ids.
    pub containers: Vec<String>,
    /// The images they run, each once.
    pub running: Vec<Running>,
    /// What the name means on the host now, if that is another image than one that runs.
    pub pulled: Option<LocalImage>,
}

/// An image that runs, with the manifest that was picked for it if the Engine says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Running {
    pub image: LocalImage,
    pub manifest: Option<String>,
}

/// Puts containers together by the name of their image. `images` has what is known of each id.
pub(super) fn subjects(used: &[UsedImage], images: &BTreeMap<String, LocalImage>) -> Vec<Subject> {
    let mut subjects = BTreeMap::<String, Subject>::new();
    for one in used {
        let reference = named(one);
        let name = match &reference {
            Ok(reference) => reference.familiar(),
            Err(_) => unnamed(one),
        };
        let subject = subjects.entry(name.clone()).or_insert_with(|| Subject {
            name,
            reference,
            containers: Vec::new(),
            running: Vec::new(),
            pulled: None,
        });
        subject.containers.push(one.container.to_string());
        let image = images
            .get(&one.id)
            .cloned()
            .unwrap_or_else(|| LocalImage { id: one.id.clone(), ..Default::default() });
        let running = Running { image, manifest: one.manifest.clone() };
        if !subject.running.contains(&running) {
            subject.running.push(running);
        }
    }
    let mut subjects: Vec<Subject> = subjects.into_values().collect();
    for subject in &mut subjects {
        subject.containers.sort();
        subject.running.sort_by(|a, b| a.image.id.cmp(&b.image.id));
    }
    subjects
}

fn named(used: &UsedImage) -> Result<Reference, String> {
    let hex = used.id.trim_start_matches("sha256:");
    let is_short_id = used.name.len() >= 4 && hex.starts_with(used.name.as_str());
    let reference = if is_short_id { Err(ReferenceError::Id) } else { Reference::parse(&used.name) };
    reference.map_err(|error| match error {
        ReferenceError::Id => {
            "the container was started by the image's id, so nobody knows its name; start it by name".into()
        }
        ReferenceError::Odd(reason) => format!("nothing can be looked up under its name: {reason}"),
    })
}

fn unnamed(used: &UsedImage) -> String {
    match Reference::parse(&used.name) {
        Err(ReferenceError::Odd(_)) if !used.name.is_empty() => used.name.clone(),
        _ => Digest::parse(&used.id).map_or_else(|| used.id.clone(), |id| id.short().to_owned()),
    }
}

impl Subject {
    /// All images of it that are on the host.
    pub fn images(&self) -> impl Iterator<Item = &LocalImage> {
        self.running.iter().map(|running| &running.image).chain(&self.pulled)
    }

    /// True if no image of it ever was at a registry.
    pub fn is_local(&self) -> bool {
        self.images().all(|image| image.repo_digests.is_empty() && !image.is_in_containerd)
    }

    /// True if no image of it came from where its name says, nor was pushed there. An Engine that keeps images in
    /// containerd gives every name a digest, and says nothing about that.
    pub fn is_tagged_here(&self, reference: &Reference) -> bool {
        let is_of_it = |digest: &String| {
            Reference::parse(digest).is_ok_and(|digest| digest.is_same_repository(reference))
        };
        self.images().all(|image| !image.is_in_containerd && !image.repo_digests.iter().any(is_of_it))
    }

    /// True if an image of it says that Compose built it here.
    pub fn is_built_here(&self) -> bool {
        self.images().any(|image| image.labels.contains_key("com.docker.compose.project"))
    }

    /// The names of what each container runs.
    pub fn running_names(&self, reference: &Reference) -> Vec<Names> {
        let names = |running: &Running| {
            let image = &running.image;
            names_of(&image.id, running.manifest.as_deref(), &image.repo_digests, reference)
        };
        self.running.iter().map(names).collect()
    }

    /// The names of what its name means on the host.
    pub fn pulled_names(&self, reference: &Reference) -> Option<Names> {
        let image = self.pulled.as_ref()?;
        Some(names_of(&image.id, None, &image.repo_digests, reference))
    }

    /// What it is to run on.
    pub fn platform(&self) -> Platform {
        let image = self.images().find(|image| !image.os.is_empty());
        let image =
            image.map(|image| (image.os.as_str(), image.architecture.as_str(), image.variant.as_deref()));
        let (os, architecture, variant) = image.unwrap_or(("linux", "amd64", None));
        Platform::new(os, architecture, variant)
    }

    /// What there is to ask, if anything. What was the same content for this image before need not be fetched again.
    pub fn ask(&self, last: Option<&Finding>, is_fresh: bool) -> Option<Ask> {
        let reference = self.reference.as_ref().ok()?;
        let tag = reference.tag();
        let is_pinned = reference.digest.is_some();
        let wants_content = !is_pinned && !self.is_local();
        // A tag beside a digest only says what was meant; without one nothing says what a newer one would be.
        let wants_tags = !self.is_local() && (reference.tag.is_some() || !is_pinned) && is_version(tag);
        let names = self.running_names(reference).into_iter().flatten();
        let known: BTreeSet<Digest> = names
            .chain(self.pulled_names(reference).into_iter().flatten())
            .chain(self.seen_same(last))
            .collect();
        (wants_content || wants_tags).then(|| Ask {
            registry: reference.registry.clone(),
            repository: reference.repository.clone(),
            tag: tag.to_owned(),
            platform: self.platform(),
            known: known.into_iter().collect(),
            wants_content,
            wants_tags,
            is_fresh,
        })
    }

    /// The digest that was found to be the same for this platform, if the images are still those.
    pub fn seen_same(&self, last: Option<&Finding>) -> Option<Digest> {
        let last = last.filter(|last| last.standing == Standing::Same)?;
        let is_still = last.details.get("image_ids") == Some(&self.image_ids());
        Digest::parse(last.details.get("digest")?.as_str()?).filter(|_| is_still)
    }

    /// The ids of what runs, for the finding.
    pub fn image_ids(&self) -> serde_json::Value {
        self.running.iter().map(|running| running.image.id.clone()).collect()
    }
}
