//! Replaces groups of containers: beside the old one the new one is made, takes its place, and is judged.
//!
//! Every act can be done twice, and each looks first at what is there. The old container is removed only after all of its
//! group are good and that is in the journal; without it whoever goes on judges again, or goes back.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::basis::{id_of, image_id, name_of};
use super::journal::Journal;
use super::replaced::{Replaced, named};
use super::visitor::Visitor;
use crate::docker::{DockerError, EngineContainers};
use crate::domain::update::swap::{Check, Group, Phase, Swap, Swaps, Verdict, judge, node};
use crate::updates::run::{At, Progress};

/// How often a container is looked at.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(300);
/// How long an Engine that is away is waited for before the old containers are given up.
const AWAY: Duration = Duration::from_secs(60);
/// How long a container is given to end if nobody said how long.
const STOP: u64 = 10;
/// How long requests are given to end that went to the old one before its name led to the new one alone.
const DRAIN: Duration = Duration::from_secs(2);
/// The repository under which images that ran before are kept: one for each container, so that no clean-up takes them.
pub(super) const KEPT: &str = "lightship-kept";

/// Replaces containers, and writes down how far it is.
pub(super) struct Swapper<'a> {
    pub(super) engine: &'a EngineContainers,
    pub(super) visitor: &'a Visitor,
    pub(super) at: &'a At<'a>,
    pub(super) journal: Journal,
    pub(super) swaps: Swaps,
    /// True while the journal cannot be written.
    pub(super) is_unwritten: bool,
    /// New containers that this process started. What became of others meanwhile, a power cut may have done.
    pub(super) started: BTreeSet<String>,
}

/// Why a container is not replaced.
pub(super) struct Fault {
    /// In words.
    pub(super) reason: String,
    /// True if a new container is not good, which speaks against its image. A full disk, a folder that is gone or a name that is
    /// taken says nothing of it.
    pub(super) is_of_image: bool,
}

/// Why a group is not replaced.
struct GroupFault {
    reason: String,
    /// Whose new image it speaks against; what it takes along is good for all one knows.
    failed: Option<String>,
}

impl Fault {
    fn of(self, name: &str) -> GroupFault {
        let failed = self.is_of_image.then(|| name.to_owned());
        GroupFault { reason: format!("{name}: {}", self.reason), failed }
    }
}

impl From<String> for GroupFault {
    fn from(reason: String) -> Self {
        Self { reason, failed: None }
    }
}

impl From<String> for Fault {
    fn from(reason: String) -> Self {
        Self { reason, is_of_image: false }
    }
}

/// Why a group is neither replaced nor put back.
pub(super) enum Stuck {
    /// All are good; something is left to be tidied.
    Untidy(String),
    /// The old ones are not back.
    NotBack(String),
}

impl<'a> Swapper<'a> {
    /// Goes on with what is in the journal of a run.
    pub(super) fn new(
        engine: &'a EngineContainers,
        visitor: &'a Visitor,
        at: &'a At<'a>,
        journal: Journal,
    ) -> Result<Self, String> {
        let swaps = journal.read()?;
        Ok(Self { engine, visitor, at, journal, swaps, is_unwritten: false, started: BTreeSet::new() })
    }

    /// Brings a group to its end: all of it replaced, or all of it put back.
    pub(super) async fn end(&mut self, number: usize) -> Result<(), Stuck> {
        loop {
            match self.swaps.groups[number].phase.clone() {
                Phase::Open => match self.forward(number).await {
                    // Not in the journal it counts for nothing: the old one stays until somebody goes on and judges again.
                    Ok(()) => self.note(number, Phase::Good).map_err(Stuck::Untidy)?,
                    Err(GroupFault { reason, mut failed }) => {
                        // An Engine that ended meanwhile says nothing of an image, and neither does a full disk.
                        if self.is_unwritten || self.is_away().await {
                            failed = None;
                        }
                        self.note_if_possible(number, Phase::Bad { reason, failed });
                    }
                },
                Phase::Good => {
                    if self.tidy(number).await.is_err() {
                        // The Engine may have ended in the middle.
                        until_there(self.engine).await.map_err(Stuck::Untidy)?;
                        self.tidy(number).await.map_err(Stuck::Untidy)?;
                    }
                    self.note(number, Phase::Done).map_err(Stuck::Untidy)?;
                }
                Phase::Bad { reason, failed } => {
                    let mut back = self.put_back(number).await;
                    if back.is_err() {
                        back = self.put_back(number).await;
                    }
                    back.map_err(|error| Stuck::NotBack(format!("{reason}; then {error}")))?;
                    self.note_if_possible(number, Phase::Back { reason, failed });
                }
                Phase::Done | Phase::Back { .. } => return Ok(()),
            }
        }
    }

    /// Has a group put back, unless it is good already.
    pub(super) fn give_up(&mut self, number: usize, reason: &str) -> Result<(), String> {
        match self.swaps.groups[number].phase {
            Phase::Open => self.note(number, Phase::Bad { reason: reason.to_owned(), failed: None }),
            _ => Ok(()),
        }
    }

    /// Has the old ones of a group that was cut off run again, where nothing can be written down. Whoever goes on with it once there
    /// is room judges again, or goes back, as far as it is.
    pub(super) async fn keep_up(&mut self, number: usize) {
        if !matches!(self.swaps.groups[number].phase, Phase::Open | Phase::Bad { .. }) {
            return;
        }
        let mut back = self.put_back(number).await;
        if back.is_err() {
            back = self.put_back(number).await;
        }
        let names = self.swaps.groups[number].names();
        (self.at.tell)(Progress::Does(match back {
            Ok(()) => format!("{names}: the old one runs again until there is room on the disk"),
            Err(reason) => format!("{names}: the old one is not back: {reason}"),
        }));
    }

    /// Writes down that a group is begun; nothing was done before.
    pub(super) fn begin(&mut self, swaps: Vec<Swap>) -> Result<usize, String> {
        self.swaps.groups.push(Group { phase: Phase::Open, swaps });
        self.write()?;
        Ok(self.swaps.groups.len() - 1)
    }

    pub(super) fn write(&mut self) -> Result<(), String> {
        let written = self.journal.write(&self.swaps);
        self.is_unwritten = written.is_err();
        written
    }

    /// Notes what is right also if nobody can read it: whoever goes on with a record that says less looks at what is there, and
    /// the old ones have to come back on a full disk too.
    fn note_if_possible(&mut self, number: usize, phase: Phase) {
        if let Err(error) = self.note(number, phase) {
            (self.at.tell)(Progress::Does(format!("goes back, though that cannot be written down: {error}")));
        }
    }

    fn note(&mut self, number: usize, phase: Phase) -> Result<(), String> {
        if matches!(phase, Phase::Done | Phase::Back { .. }) {
            // What containers were told is kept no longer than it is needed.
            self.swaps.groups[number].swaps.iter_mut().for_each(|swap| swap.was = None);
        }
        self.swaps.groups[number].phase = phase;
        self.write()
    }

    pub(super) fn say(&self, swap: &Swap, words: &str) {
        (self.at.tell)(Progress::Does(format!("{}: {words}", swap.name)));
    }

    async fn forward(&mut self, number: usize) -> Result<(), GroupFault> {
        let mut replaced = Replaced::default();
        for place in 0..self.swaps.groups[number].swaps.len() {
            let swap = self.swaps.groups[number].swaps[place].clone();
            let new = self.replace(number, place, &replaced).await;
            let new = new.map_err(|fault| fault.of(&swap.name))?;
            replaced.note(swap.old, new, swap.name);
        }
        // While one waited, another may have ended.
        for swap in self.swaps.groups[number].swaps.iter().filter(|swap| swap.runs) {
            let new = self.look(replaced.ids.get(&swap.old).unwrap_or(&swap.old)).await?;
            if let Verdict::Bad(reason) = judge(&new, &Check::Runs, Duration::ZERO) {
                return Err(self.verdict(&new, reason).of(&swap.name));
            }
            self.has_its_network(&new).await.map_err(|fault| fault.of(&swap.name))?;
        }
        Ok(())
    }

    /// What is wrong with a new container. Only of one that this process started it speaks against the image.
    pub(super) fn verdict(&self, new: &Value, reason: String) -> Fault {
        Fault { reason, is_of_image: self.started.contains(id_of(new)) }
    }

    /// Has a new container take the place of an old one, and judges it; returns its id.
    async fn replace(&mut self, number: usize, place: usize, replaced: &Replaced) -> Result<String, Fault> {
        let swap = self.swaps.groups[number].swaps[place].clone();
        let old = self.old(&swap).await?;
        let new = match self.find_new(&swap).await? {
            Some(new) => new,
            None => self.create(&swap, old.inspection(), replaced).await?,
        };
        self.swaps.groups[number].swaps[place].new = Some(new.clone());
        self.write()?;
        if swap.beside {
            self.start_new(&swap, &new, "starts the new container beside the old one").await?;
            self.until_good(number, place, &new).await?;
            // Its name leads to the new one alone from now on, while it still ends what it began.
            self.set_aside(&swap, &old).await?;
            self.take_name(&swap, &new).await?;
            sleep(DRAIN).await;
            self.stop_old(&swap, &old).await?;
        } else {
            self.stop_old(&swap, &old).await?;
            self.set_aside(&swap, &old).await?;
            self.take_name(&swap, &new).await?;
            self.start_new(&swap, &new, "starts the new container").await?;
            self.until_good(number, place, &new).await?;
        }
        Ok(new)
    }

    async fn old(&self, swap: &Swap) -> Result<Old, String> {
        match (self.engine.inspect(&swap.old).await.map_err(text)?, &swap.was) {
            (Some(old), _) => Ok(Old::There(old)),
            (None, Some(was)) => Ok(Old::Gone(was.clone())),
            (None, None) => Err("somebody removed the old container meanwhile".to_owned()),
        }
    }

    async fn stop_old(&self, swap: &Swap, old: &Old) -> Result<(), String> {
        let Old::There(old) = old else { return Ok(()) };
        if !swap.runs {
            return Ok(());
        }
        match swap.was {
            // Nothing holds its image any more once it is gone.
            Some(_) => self.keep_image(swap).await?,
            // So that a restart of the Engine does not start both.
            None => {
                let never = json!({ "Name": "no" });
                self.engine.set_restart_policy(&swap.old, never).await.map_err(text)?;
            }
        }
        if is_up(old) {
            self.say(swap, "stops the old container");
            match self.engine.stop(&swap.old, stop_time(old)).await {
                Err(error) if swap.was.is_some() && error.is_not_found() => {}
                stopped => stopped.map_err(text)?,
            }
        }
        if swap.was.is_some() { self.until_gone(&swap.old).await } else { Ok(()) }
    }

    async fn set_aside(&self, swap: &Swap, old: &Old) -> Result<(), String> {
        match old {
            Old::There(old) if name_of(old) == swap.name && swap.was.is_none() => {
                self.say(swap, "gives its name to the new container");
                self.engine.rename(&swap.old, &swap.aside_name()).await.map_err(text)
            }
            _ => Ok(()),
        }
    }

    async fn take_name(&self, swap: &Swap, new: &str) -> Result<(), String> {
        match name_of(&self.look(new).await?) == swap.name {
            true => Ok(()),
            false => self.engine.rename(new, &swap.name).await.map_err(text),
        }
    }

    async fn start_new(&mut self, swap: &Swap, new: &str, words: &str) -> Result<(), String> {
        if !swap.runs || self.look(new).await?["State"]["Status"] != "created" {
            return Ok(());
        }
        self.say(swap, words);
        self.engine.start(new).await.map_err(text)?;
        self.started.insert(new.to_owned());
        Ok(())
    }

    /// Starts a new container once more that another process started: it may be ill, or down, because the host was.
    pub(super) async fn start_again(&mut self, swap: &Swap, new: &Value, reason: &str) -> Result<(), String> {
        self.say(swap, &format!("{reason}; it was started before a break, so it is started once more"));
        let id = id_of(new);
        if is_up_or_starting(new) {
            self.engine.stop(id, stop_time(new)).await.map_err(text)?;
        }
        self.engine.start(id).await.map_err(text)?;
        self.started.insert(id.to_owned());
        Ok(())
    }

    /// Has a name hold the image that ran before, so that no clean-up takes it.
    async fn keep_image(&self, swap: &Swap) -> Result<(), String> {
        self.engine.tag(&swap.old_image, KEPT, &kept_tag(&swap.name)).await.map_err(text)
    }

    async fn until_gone(&self, id: &str) -> Result<(), String> {
        let due = Instant::now() + AWAY;
        while self.engine.inspect(id).await.map_err(text)?.is_some() {
            if Instant::now() > due {
                return Err(
                    "the Engine does not remove the old container, though it was started with `--rm`".into(),
                );
            }
            sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    async fn tidy(&self, number: usize) -> Result<(), String> {
        for swap in &self.swaps.groups[number].swaps {
            if !swap.keeps_its_image() {
                self.name(&swap.new_image, swap).await?;
                self.keep_image(swap).await?;
            }
            self.say(swap, "removes the old container");
            // Its volumes are the new one's.
            self.engine.remove(&swap.old, false).await.map_err(text)?;
        }
        Ok(())
    }

    async fn put_back(&mut self, number: usize) -> Result<(), String> {
        until_there(self.engine).await?;
        self.make_old_ones_anew(number).await?;
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
            let removes_itself = old["HostConfig"]["AutoRemove"] == true;
            if !removes_itself {
                let policy = swap.restart_policy.clone();
                self.engine.set_restart_policy(&swap.old, policy).await.map_err(text)?;
            }
            let is_up = is_up(&old);
            let has_lost_it = is_up && is_restarted && !node(&old).stands_on.is_empty();
            if has_lost_it {
                self.engine.stop(&swap.old, stop_time(&old)).await.map_err(text)?;
                if removes_itself {
                    self.until_gone(&swap.old).await?;
                    return Box::pin(self.put_back(number)).await;
                }
            }
            if !is_up || has_lost_it {
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

    async fn is_away(&self) -> bool {
        self.engine.ids().await.is_err_and(|error| error.is_away())
    }

    pub(super) async fn look(&self, id: &str) -> Result<Value, String> {
        self.engine.inspect(id).await.map_err(text)?.ok_or_else(|| "somebody removed it meanwhile".to_owned())
    }
}

/// The old container.
enum Old {
    /// It is there, and looks like this.
    There(Value),
    /// It went with its stop, and looked like this.
    Gone(Value),
}

impl Old {
    fn inspection(&self) -> &Value {
        let (Self::There(inspection) | Self::Gone(inspection)) = self;
        inspection
    }
}

/// Waits for an Engine that is away.
pub(super) async fn until_there(engine: &EngineContainers) -> Result<(), String> {
    let due = Instant::now() + AWAY;
    loop {
        match engine.ids().await {
            Ok(_) => return Ok(()),
            Err(error) if error.is_away() && Instant::now() < due => sleep(LOOK_EVERY).await,
            Err(error) => return Err(error.to_string()),
        }
    }
}

pub(super) fn text(error: DockerError) -> String {
    error.to_string()
}

/// A name of a container as a tag: both have the same letters, and a tag at most 128 of them.
pub(super) fn kept_tag(name: &str) -> String {
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
