//! Replaces groups of containers: beside the old one the new one is made, takes its place, and is judged.
//!
//! Every act can be done twice, and each looks first at what is there. The old container is removed only after all of its
//! group are good and that is in the journal; without it whoever goes on judges again, or goes back.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::basis::{image_id, name_of};
use super::journal::Journal;
use crate::docker::{DockerError, EngineContainers};
use crate::domain::registry::Reference;
use crate::domain::update::swap::{
    Check, Group, Instead, Phase, Swap, Swaps, Verdict, anew, check_of, judge,
};
use crate::updates::run::{At, Progress};

/// How often a new container is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(300);
/// How long an Engine that is away is waited for before the old containers are given up.
const AWAY: Duration = Duration::from_secs(60);
/// How long a container is given to end if nobody said how long.
const STOP: u64 = 10;
/// Lines of a new container's log that are kept if it is not good.
const LINES: usize = 20;
/// The repository under which images that ran before are kept: one for each container, so that no clean-up takes them.
const KEPT: &str = "lightship-kept";

/// Replaces containers, and writes down how far it is.
pub(super) struct Swapper<'a> {
    pub(super) engine: &'a EngineContainers,
    pub(super) at: &'a At<'a>,
    pub(super) journal: Journal,
    pub(super) swaps: Swaps,
}

/// Why a group is neither replaced nor put back.
pub(super) enum Stuck {
    /// All are good; something is left to be tidied.
    Untidy(String),
    /// The old ones are not back.
    NotBack(String),
}

impl Swapper<'_> {
    /// Brings a group to its end: all of it replaced, or all of it put back.
    pub(super) async fn end(&mut self, number: usize) -> Result<(), Stuck> {
        loop {
            match self.swaps.groups[number].phase.clone() {
                Phase::Open => {
                    let phase = match self.forward(number).await {
                        Ok(()) => Phase::Good,
                        Err(reason) => Phase::Bad { reason, is_failure: true },
                    };
                    self.note(number, phase).map_err(Stuck::NotBack)?;
                }
                Phase::Good => {
                    self.tidy(number).await.map_err(Stuck::Untidy)?;
                    self.note(number, Phase::Done).map_err(Stuck::Untidy)?;
                }
                Phase::Bad { reason, is_failure } => {
                    let back = self.put_back(number).await;
                    back.map_err(|error| Stuck::NotBack(format!("{reason}; then {error}")))?;
                    self.note(number, Phase::Back { reason, is_failure }).map_err(Stuck::NotBack)?;
                }
                Phase::Done | Phase::Back { .. } => return Ok(()),
            }
        }
    }

    /// Has a group put back, unless it is good already.
    pub(super) fn give_up(&mut self, number: usize, reason: &str) -> Result<(), String> {
        match self.swaps.groups[number].phase {
            Phase::Open => self.note(number, Phase::Bad { reason: reason.to_owned(), is_failure: false }),
            _ => Ok(()),
        }
    }

    /// Writes down that a group is begun; nothing was done before.
    pub(super) fn begin(&mut self, swaps: Vec<Swap>) -> Result<usize, String> {
        self.swaps.groups.push(Group { phase: Phase::Open, swaps });
        self.journal.write(&self.swaps)?;
        Ok(self.swaps.groups.len() - 1)
    }

    fn note(&mut self, number: usize, phase: Phase) -> Result<(), String> {
        self.swaps.groups[number].phase = phase;
        self.journal.write(&self.swaps)
    }

    fn say(&self, swap: &Swap, words: &str) {
        (self.at.tell)(Progress::Does(format!("{}: {words}", swap.name)));
    }

    async fn forward(&mut self, number: usize) -> Result<(), String> {
        let (mut replaced, mut names) = (BTreeMap::new(), BTreeMap::new());
        for place in 0..self.swaps.groups[number].swaps.len() {
            let swap = self.swaps.groups[number].swaps[place].clone();
            let new = self.replace(number, place, &replaced, &names).await;
            let new = new.map_err(|reason| format!("{}: {reason}", swap.name))?;
            self.until_good(&swap, &new).await.map_err(|reason| format!("{}: {reason}", swap.name))?;
            replaced.insert(swap.old.clone(), new);
            names.insert(swap.old, swap.name);
        }
        // While one waited, another may have ended.
        for swap in self.swaps.groups[number].swaps.iter().filter(|swap| swap.runs) {
            let new = self.look(replaced.get(&swap.old).unwrap_or(&swap.old)).await?;
            if let Verdict::Bad(reason) = judge(&new, &Check::Runs, Duration::ZERO) {
                return Err(format!("{}: {reason}", swap.name));
            }
        }
        Ok(())
    }

    async fn replace(
        &mut self,
        number: usize,
        place: usize,
        replaced: &BTreeMap<String, String>,
        names: &BTreeMap<String, String>,
    ) -> Result<String, String> {
        let swap = self.swaps.groups[number].swaps[place].clone();
        let old = self.look(&swap.old).await.map_err(|error| format!("the old container: {error}"))?;
        let found = self.find_new(&swap).await?;
        let new = match found {
            Some(new) => new,
            None => self.create(&swap, &old, replaced, names).await?,
        };
        self.swaps.groups[number].swaps[place].new = Some(new.clone());
        self.journal.write(&self.swaps)?;
        if swap.runs {
            // So that a restart of the Engine does not start both.
            self.engine.set_restart_policy(&swap.old, json!({ "Name": "no" })).await.map_err(text)?;
            if is_up(&old) {
                self.say(&swap, "stops the old container");
                self.engine.stop(&swap.old, stop_time(&old)).await.map_err(text)?;
            }
        }
        if name_of(&old) == swap.name {
            self.say(&swap, "gives its name to the new container");
            self.engine.rename(&swap.old, &swap.aside_name()).await.map_err(text)?;
        }
        let made = self.look(&new).await?;
        if name_of(&made) != swap.name {
            self.engine.rename(&new, &swap.name).await.map_err(text)?;
        }
        if swap.runs && made["State"]["Status"] == "created" {
            self.say(&swap, "starts the new container");
            self.engine.start(&new).await.map_err(text)?;
        }
        Ok(new)
    }

    /// The new container, if it is there with all its networks. What is half made is removed.
    async fn find_new(&self, swap: &Swap) -> Result<Option<String>, String> {
        if let Some(new) = &swap.new
            && self.engine.inspect(new).await.map_err(text)?.is_some()
        {
            return Ok(Some(new.clone()));
        }
        let Some(half) = self.engine.inspect(&swap.next_name()).await.map_err(text)? else { return Ok(None) };
        let is_ours = image_id(&half) == swap.new_image && half["State"]["Status"] == "created";
        if !is_ours {
            return Err(format!("somebody else has a container `{}`", swap.next_name()));
        }
        self.engine.remove(half["Id"].as_str().unwrap_or_default(), true).await.map_err(text)?;
        Ok(None)
    }

    async fn create(
        &self,
        swap: &Swap,
        old: &Value,
        replaced: &BTreeMap<String, String>,
        names: &BTreeMap<String, String>,
    ) -> Result<String, String> {
        self.say(swap, "makes the new container beside the old one");
        let image = self.engine.inspect_image(&swap.old_image).await.map_err(text)?;
        let image = image.ok_or(
            "the image that it was made from is gone, so nobody can say what of its options is its own",
        )?;
        let instead =
            Instead { image: &swap.image_name, restart_policy: &swap.restart_policy, replaced, names };
        let made = anew(old, &image, &instead);
        // A container names its image as it was told to; for the moment of its making that name has to mean the new one.
        let is_named = named(&swap.image_name).is_some();
        if is_named {
            self.name(&swap.new_image, swap).await?;
        }
        let created = self.engine.create(&swap.next_name(), made.create).await.map_err(text);
        if is_named {
            self.name(&swap.tag_was, swap).await?;
        }
        let new = created?;
        let is_on = self.look(&new).await?;
        if image_id(&is_on) != swap.new_image {
            self.engine.remove(&new, true).await.map_err(text)?;
            return Err(format!("the name `{}` did not lead to the new image", swap.image_name));
        }
        for (network, endpoint) in made.networks {
            self.engine.connect(&network, &new, endpoint).await.map_err(text)?;
        }
        Ok(new)
    }

    /// Has the name of a container's image mean this one.
    async fn name(&self, image: &str, swap: &Swap) -> Result<(), String> {
        let Some((repository, tag)) = named(&swap.image_name) else { return Ok(()) };
        self.engine.tag(image, &repository, &tag).await.map_err(text)
    }

    async fn until_good(&self, swap: &Swap, new: &str) -> Result<(), String> {
        if !swap.runs {
            return Ok(());
        }
        let since = Instant::now();
        let mut is_said = false;
        loop {
            let found = self.look(new).await?;
            let check = check_of(&found);
            match judge(&found, &check, since.elapsed()) {
                Verdict::Good => return Ok(()),
                Verdict::Bad(reason) => return Err(self.with_last_words(swap, new, reason).await),
                Verdict::Waits if !is_said => {
                    is_said = true;
                    let words = match check {
                        Check::Health { limit, .. } => {
                            format!("waits until it is healthy, at most {} s", limit.as_secs())
                        }
                        Check::Runs => "has no health check; looks whether it keeps running".to_owned(),
                    };
                    self.say(swap, &words);
                }
                Verdict::Waits => {}
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// Keeps the end of its log with the run; the last line is said at once.
    async fn with_last_words(&self, swap: &Swap, new: &str, reason: String) -> String {
        let lines = self.engine.last_lines(new, LINES).await.unwrap_or_default();
        let mut kept = format!("{}: {reason}\n", swap.name);
        for line in &lines {
            kept += &format!("{} | {line}\n", swap.name);
        }
        let file = std::fs::File::options().create(true).append(true).open(self.at.log());
        if let Err(error) = file.and_then(|mut file| file.write_all(kept.as_bytes())) {
            tracing::warn!(error = &error as &dyn std::error::Error, "the log of a run cannot be written");
        }
        match lines.iter().rev().find(|line| !line.trim().is_empty()) {
            Some(last) => format!("{reason}; its last line: `{}`", last.trim()),
            None => format!("{reason}; it wrote nothing"),
        }
    }

    async fn tidy(&self, number: usize) -> Result<(), String> {
        for swap in &self.swaps.groups[number].swaps {
            if !swap.keeps_its_image() {
                self.name(&swap.new_image, swap).await?;
                self.engine.tag(&swap.old_image, KEPT, &kept_tag(&swap.name)).await.map_err(text)?;
            }
            self.say(swap, "removes the old container");
            // Its volumes are the new one's.
            self.engine.remove(&swap.old, false).await.map_err(text)?;
        }
        Ok(())
    }

    async fn put_back(&self, number: usize) -> Result<(), String> {
        self.until_there().await?;
        let swaps = &self.swaps.groups[number].swaps;
        for swap in swaps.iter().rev() {
            if let Some(new) = self.any_new(swap).await? {
                self.say(swap, "removes the new container");
                self.engine.remove(&new, true).await.map_err(text)?;
            }
        }
        // Whoever shares the network of one that was stopped has lost it, though it runs.
        let mut is_restarted = false;
        for swap in swaps {
            let old = self.look(&swap.old).await?;
            if name_of(&old) != swap.name {
                self.engine.rename(&swap.old, &swap.name).await.map_err(text)?;
            }
            if named(&swap.image_name).is_some() {
                self.name(&swap.tag_was, swap).await?;
            }
            if !swap.runs {
                continue;
            }
            self.engine.set_restart_policy(&swap.old, swap.restart_policy.clone()).await.map_err(text)?;
            let is_up = is_up(&old);
            if is_up && is_restarted {
                self.engine.stop(&swap.old, stop_time(&old)).await.map_err(text)?;
            }
            if !is_up || is_restarted {
                self.say(swap, "starts the old container again");
                self.engine.start(&swap.old).await.map_err(text)?;
                is_restarted = true;
            }
            let old = self.look(&swap.old).await?;
            if !is_up_or_starting(&old) {
                return Err(format!("the old container of {} does not run", swap.name));
            }
        }
        Ok(())
    }

    /// The new container, however far it is.
    async fn any_new(&self, swap: &Swap) -> Result<Option<String>, String> {
        for name in swap.new.clone().into_iter().chain([swap.next_name(), swap.name.clone()]) {
            if let Some(found) = self.engine.inspect(&name).await.map_err(text)?
                && found["Id"] != swap.old.as_str()
                && image_id(&found) == swap.new_image
            {
                return Ok(found["Id"].as_str().map(str::to_owned));
            }
        }
        Ok(None)
    }

    async fn until_there(&self) -> Result<(), String> {
        let due = Instant::now() + AWAY;
        loop {
            match self.engine.ids().await {
                Ok(_) => return Ok(()),
                Err(error) if error.is_away() && Instant::now() < due => sleep(LOOK_EVERY).await,
                Err(error) => return Err(error.to_string()),
            }
        }
    }

    async fn look(&self, id: &str) -> Result<Value, String> {
        self.engine.inspect(id).await.map_err(text)?.ok_or_else(|| "somebody removed it meanwhile".to_owned())
    }
}

fn text(error: DockerError) -> String {
    error.to_string()
}

/// Repository and tag of an image's name; none if it is pinned, or an id.
pub(super) fn named(image: &str) -> Option<(String, String)> {
    let reference = Reference::parse(image).ok().filter(|reference| reference.digest.is_none())?;
    Some((reference.familiar_repository(), reference.tag().to_owned()))
}

/// A name of a container as a tag: both have the same letters, and a tag at most 128 of them.
fn kept_tag(name: &str) -> String {
    name.chars().take(128).collect()
}

fn is_up(container: &Value) -> bool {
    container["State"]["Running"] == true
}

fn is_up_or_starting(container: &Value) -> bool {
    is_up(container) || container["State"]["Restarting"] == true
}

fn stop_time(container: &Value) -> Duration {
    Duration::from_secs(container["Config"]["StopTimeout"].as_u64().unwrap_or(STOP))
}
