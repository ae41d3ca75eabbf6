//! Replaces containers by such on a newer image, exactly as planned, and puts the old ones back if the new ones are not good.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::TimeDelta;
use serde_json::{Value, json};

use super::DockerImage;
use super::basis::{Basis, id_of, image_id, image_name, is_meant, name_of};
use super::clearing::clear_images;
use super::engine_lookup::engine_login;
use super::journal::Journal;
use super::plan::{work_out, work_out_undo};
use super::replaced::named;
use super::swap::{Stuck, Swapper, until_there};
use super::visitor::Visitor;
use crate::clock::Clock;
use crate::docker::{DockerError, EngineContainers};
use crate::domain::registry::{Platform, Reference};
use crate::domain::update::swap::{Group, Phase, Swap, Swaps, other_platform, stops_first};
use crate::domain::update::{Kind, Plan, PlannedChange, Problem, Run, Wanted};
use crate::registry::{Credentials, DockerLogins};
use crate::state_dir::{Runs, kept_label_prefix};
use crate::updates::installer::Installer;
use crate::updates::run::{At, Back, Progress, Step, StepFailed, cancelled};
use crate::updates::scanner::Scanner;

/// Replaces an Engine's containers.
pub struct ImageInstaller {
    scanner: DockerImage,
    engine: EngineContainers,
    label_prefix: Option<String>,
    undo_window: TimeDelta,
    clock: Clock,
}

impl ImageInstaller {
    /// Takes an Engine, the scanner that says what is newer there, the operator's own prefix of labels, and for how long images
    /// are kept that a run would be taken back with.
    pub fn new(
        scanner: DockerImage,
        engine: EngineContainers,
        label_prefix: Option<&str>,
        undo_window: TimeDelta,
        clock: Clock,
    ) -> Self {
        Self { scanner, engine, label_prefix: label_prefix.map(str::to_owned), undo_window, clock }
    }

    /// Asks as visitors do, of what this host publishes: by its own prefix of labels, else by the one that its master named.
    fn visitor(&self, state_dir: &Path) -> Visitor {
        let learnt = || {
            kept_label_prefix(state_dir).unwrap_or_else(|error| {
                tracing::warn!(%error, "which prefix of labels the master named is not known");
                None
            })
        };
        Visitor::new(self.engine.clone(), self.label_prefix.clone().or_else(learnt))
    }
}

#[async_trait]
impl Installer for ImageInstaller {
    fn kind(&self) -> Kind {
        Kind::DockerImage
    }

    async fn is_present(&self) -> bool {
        self.scanner.is_present().await
    }

    async fn claims(&self, names: &[String]) -> Vec<String> {
        if names.is_empty() {
            return Vec::new();
        }
        let Ok(basis) = Basis::of(&self.engine).await else { return Vec::new() };
        let is_ours = |name: &&String| basis.all().any(|container| is_meant(name, container));
        names.iter().filter(is_ours).cloned().collect()
    }

    async fn plan(&self, wanted: &Wanted, state_dir: &Path) -> Result<Plan, Problem> {
        work_out(&self.scanner, &self.engine, &self.visitor(state_dir), wanted, state_dir, &self.clock).await
    }

    async fn plan_undo(&self, run: &Run, only: &[String], state_dir: &Path) -> Result<Plan, Problem> {
        work_out_undo(&self.engine, &self.visitor(state_dir), run, only, state_dir).await
    }

    async fn automatic(&self, _plan: &Plan) -> Result<Vec<String>, Problem> {
        Ok(Vec::new())
    }

    fn steps(&self, state_dir: &Path) -> Vec<Box<dyn Step>> {
        let (engine, visitor) = (&self.engine, self.visitor(state_dir));
        let logins: Arc<dyn Credentials> = Arc::new(DockerLogins::of_this_user());
        vec![
            Box::new(Settle(engine.clone(), visitor.clone())),
            Box::new(Check(engine.clone())),
            Box::new(Pull(engine.clone(), logins)),
            Box::new(Replace {
                engine: engine.clone(),
                visitor,
                runs: Runs::of(state_dir),
                undo_window: self.undo_window,
            }),
            Box::new(Look(engine.clone())),
        ]
    }
}

/// Puts back what the run that is taken back left half done.
struct Settle(EngineContainers, Visitor);
/// Looks whether the host is as it was planned for.
struct Check(EngineContainers);
/// Fetches everything, so that a failed download changes nothing.
struct Pull(EngineContainers, Arc<dyn Credentials>);
/// Replaces one group after the other.
struct Replace {
    engine: EngineContainers,
    visitor: Visitor,
    runs: Runs,
    undo_window: TimeDelta,
}
/// Looks at what is there now.
struct Look(EngineContainers);

fn failed(error: &DockerError) -> StepFailed {
    StepFailed::because(error.to_string())
}

fn planned<'a>(at: &'a At<'_>) -> impl Iterator<Item = &'a PlannedChange> {
    at.run.plan.changes.of(Kind::DockerImage)
}

fn to(change: &PlannedChange) -> &str {
    change.to.as_deref().unwrap_or_default()
}

#[async_trait]
impl Step for Settle {
    fn name(&self) -> &'static str {
        "docker_image.settle"
    }

    async fn go(&self, at: &At<'_>) -> Result<Value, StepFailed> {
        let Some(undone) = &at.run.undoes else { return Ok(Value::Null) };
        let Some(folder) = at.folder.parent().map(|runs| runs.join(undone.as_str())) else {
            return Ok(Value::Null);
        };
        let mut swapper =
            Swapper::new(&self.0, &self.1, at, Journal::of(&folder)).map_err(StepFailed::because)?;
        for group in (0..swapper.swaps.groups.len()).rev() {
            swapper.give_up(group, "it was cut off, and taken back").map_err(StepFailed::because)?;
            swapper.end(group).await.map_err(|stuck| match stuck {
                Stuck::Untidy(reason) => StepFailed::because(reason),
                Stuck::NotBack(reason) => StepFailed { reason, back: Back::Tried },
            })?;
        }
        Ok(Value::Null)
    }
}

#[async_trait]
impl Step for Check {
    fn name(&self) -> &'static str {
        "docker_image.check"
    }

    async fn go(&self, at: &At<'_>) -> Result<Value, StepFailed> {
        let basis = Basis::of(&self.0).await.map_err(|error| failed(&error))?;
        for change in planned(at) {
            is_as_planned(&basis, change)?;
        }
        for group in basis.groups(&left(&basis, at)) {
            may_be_replaced(&basis, &group, at)?;
        }
        Ok(Value::Null)
    }
}

/// Fails unless a container is there, on the image that it had or is to have.
fn is_as_planned(basis: &Basis, change: &PlannedChange) -> Result<(), StepFailed> {
    let name = &change.name;
    let refused = |what: &str| StepFailed::refused(format!("the plan no longer holds: {name} {what}"));
    let container = basis.named(name).ok_or_else(|| refused("is not there any more"))?;
    let is_on = |word: &Option<String>| word.as_ref().is_some_and(|word| basis.is_on(container, word));
    if is_on(&change.from) || is_on(&change.to) {
        return Ok(());
    }
    Err(refused(&format!("runs {} by now", image_id(container))))
}

/// Fails if one of a group is left alone, or is not in the plan.
fn may_be_replaced(basis: &Basis, group: &[&Value], at: &At<'_>) -> Result<(), StepFailed> {
    if let Some(reason) = basis.group_refusal(group) {
        return Err(StepFailed::refused(format!("the plan no longer holds: {reason}")));
    }
    not_planned(group, at)
}

/// What visitors asked, and what they were answered.
fn asked(swaps: &Swaps) -> Vec<String> {
    let done = swaps.groups.iter().filter(|group| group.phase == Phase::Done);
    let visits = done.flat_map(|group| &group.swaps).flat_map(|swap| &swap.visits);
    visits.map(ToString::to_string).collect()
}

/// Ids of the containers that are not yet on their new image.
fn left(basis: &Basis, at: &At<'_>) -> BTreeSet<String> {
    let container = |change: &PlannedChange| {
        let container = basis.named(&change.name)?;
        (!basis.is_on(container, to(change))).then(|| id_of(container).to_owned())
    };
    planned(at).filter_map(container).collect()
}

fn not_planned(group: &[&Value], at: &At<'_>) -> Result<(), StepFailed> {
    let is_new = |container: &&&Value| !planned(at).any(|change| change.name == name_of(container));
    match group.iter().find(is_new) {
        None => Ok(()),
        Some(container) => {
            let name = name_of(container);
            let reason = format!("the plan no longer holds: {name} stands on one of its containers by now");
            Err(StepFailed::refused(reason))
        }
    }
}

#[async_trait]
impl Step for Pull {
    fn name(&self) -> &'static str {
        "docker_image.pull"
    }

    async fn go(&self, at: &At<'_>) -> Result<Value, StepFailed> {
        let basis = Basis::of(&self.0).await.map_err(|error| failed(&error))?;
        let engine = self.0.platform().await.map_err(|error| failed(&error))?;
        let mut images = BTreeMap::new();
        for change in planned(at) {
            let Some(container) = basis.named(&change.name) else { continue };
            let old = basis.image(container);
            let platform = other_platform(container, old, engine.as_ref());
            let image = self.image(at, image_name(container), to(change), old, platform.as_ref()).await?;
            images.insert(change.name.clone(), image);
        }
        Ok(json!({ "images": images }))
    }
}

impl Pull {
    /// Returns the id of an image on the host, which is fetched by its digest if it is not there, or only for another platform
    /// than the one that runs.
    async fn image(
        &self,
        at: &At<'_>,
        name: &str,
        word: &str,
        old: &Value,
        platform: Option<&Platform>,
    ) -> Result<String, StepFailed> {
        let find = async |name: &str| self.0.inspect_image(name).await.map_err(|error| failed(&error));
        let id = |image: &Value| image["Id"].as_str().map(str::to_owned);
        if let Some(image) = find(word).await?.as_ref().and_then(id) {
            return Ok(image);
        }
        let reference = Reference::parse(name).map_err(|error| {
            StepFailed::because(format!("{word} is not on the host, and `{name}`: {error}"))
        })?;
        let pinned = format!("{}@{word}", reference.familiar_repository());
        let is_for_it = |image: &Value| {
            old["Architecture"].as_str().is_none_or(str::is_empty)
                || (&image["Os"], &image["Architecture"]) == (&old["Os"], &old["Architecture"])
        };
        if let Some(image) = find(&pinned).await?.filter(is_for_it).as_ref().and_then(id) {
            return Ok(image);
        }
        (at.tell)(Progress::Does(format!("pulls {pinned}")));
        let login = self.1.find(&reference.registry).await.map_err(StepFailed::because)?;
        let login = login.map(|login| engine_login(login, &reference.registry));
        self.0.pull(&pinned, login, platform).await.map_err(|error| failed(&error))?;
        find(&pinned)
            .await?
            .as_ref()
            .and_then(id)
            .ok_or_else(|| StepFailed::because(format!("{pinned} was pulled and is not there")))
    }
}

#[async_trait]
impl Step for Replace {
    fn name(&self) -> &'static str {
        "docker_image.replace"
    }

    fn changes_the_host(&self) -> bool {
        true
    }

    async fn go(&self, at: &At<'_>) -> Result<Value, StepFailed> {
        let done = self.replace(at).await;
        clear_images(&self.engine, &self.runs, self.undo_window, at).await;
        done.map(|()| Value::Null)
    }

    async fn keep_up(&self, at: &At<'_>) {
        let mut swapper = match Swapper::new(&self.engine, &self.visitor, at, Journal::of(at.folder)) {
            Ok(swapper) => swapper,
            Err(reason) => return (at.tell)(Progress::Does(reason)),
        };
        for group in 0..swapper.swaps.groups.len() {
            swapper.keep_up(group).await;
        }
    }
}

impl Replace {
    async fn replace(&self, at: &At<'_>) -> Result<(), StepFailed> {
        let mut swapper = Swapper::new(&self.engine, &self.visitor, at, Journal::of(at.folder))
            .map_err(StepFailed::because)?;
        // What was begun before is brought to its end first.
        for group in 0..swapper.swaps.groups.len() {
            bring_to_end(&mut swapper, group).await?;
        }
        let basis = Basis::of(&self.engine).await.map_err(|error| stopped(&swapper, failed(&error)))?;
        let names =
            |group: &Vec<&Value>| group.iter().map(|container| name_of(container).to_owned()).collect();
        let groups: Vec<BTreeSet<String>> = basis.groups(&left(&basis, at)).iter().map(names).collect();
        for names in groups {
            let swaps = self.swaps_of(&names, at).await.map_err(|failed| stopped(&swapper, failed))?;
            if swaps.is_empty() {
                continue;
            }
            let is_first = swapper.swaps.groups.is_empty();
            let number = swapper.begin(swaps).map_err(|reason| match is_first {
                true => StepFailed { reason, back: Back::NotNeeded },
                false => StepFailed::because(reason),
            })?;
            bring_to_end(&mut swapper, number).await?;
        }
        Ok(())
    }

    /// The replacements of a group, as it is now: since it was looked at last somebody else may have changed it. None if all of it
    /// is as it is to be.
    async fn swaps_of(&self, names: &BTreeSet<String>, at: &At<'_>) -> Result<Vec<Swap>, StepFailed> {
        if let Some(by) = cancelled(at.folder) {
            return Err(StepFailed::because(format!("it was cancelled by {by}")));
        }
        let basis = Basis::of(&self.engine).await.map_err(|error| failed(&error))?;
        for change in planned(at).filter(|change| names.contains(&change.name)) {
            is_as_planned(&basis, change)?;
        }
        let mut wanted = left(&basis, at);
        wanted.retain(|id| basis.get(id).is_some_and(|container| names.contains(name_of(container))));
        let group: Vec<&Value> = basis.groups(&wanted).into_iter().flatten().collect();
        may_be_replaced(&basis, &group, at)?;
        let beside = match group.as_slice() {
            [alone] => stops_first(alone, self.visitor.is_published(alone)).is_none(),
            _ => false,
        };
        let mut swaps = Vec::new();
        for container in group {
            swaps.push(self.swap(container, beside, at).await.map_err(StepFailed::because)?);
        }
        Ok(swaps)
    }

    async fn swap(&self, container: &Value, beside: bool, at: &At<'_>) -> Result<Swap, String> {
        let name = name_of(container);
        let new_image =
            at.run.found("docker_image.pull").and_then(|found| found["images"].get(name)?.as_str());
        let new_image = new_image.ok_or_else(|| format!("nobody looked which image {name} is to run"))?;
        let image_name = image_name(container);
        let tag_was = match named(image_name) {
            Some(_) => self.engine.inspect_image(image_name).await.map_err(|error| error.to_string())?,
            None => None,
        };
        let tag_was = tag_was.as_ref().and_then(|image| image["Id"].as_str()).unwrap_or(image_id(container));
        let state = &container["State"];
        let runs = state["Running"] == true || state["Restarting"] == true;
        // Asked before anything is touched, so that a failure that was there before is not held against the new one.
        let visits = if runs { self.visitor.before(container).await } else { Ok(Vec::new()) };
        Ok(Swap {
            name: name.to_owned(),
            old: id_of(container).to_owned(),
            new: None,
            old_image: image_id(container).to_owned(),
            new_image: new_image.to_owned(),
            image_name: image_name.to_owned(),
            tag_was: tag_was.to_owned(),
            restart_policy: container["HostConfig"]["RestartPolicy"].clone(),
            runs,
            beside,
            was: (runs && container["HostConfig"]["AutoRemove"] == true).then(|| container.clone()),
            visits: visits.map_err(|error| error.to_string())?,
        })
    }
}

/// Brings a group to its end. Fails if it was put back, and says what became of the rest.
async fn bring_to_end(swapper: &mut Swapper<'_>, number: usize) -> Result<(), StepFailed> {
    swapper.end(number).await.map_err(|stuck| match stuck {
        Stuck::Untidy(reason) => StepFailed::because(format!(
            "{}: replaced and good, but not tidied up: {reason}",
            swapper.swaps.groups[number].names()
        )),
        Stuck::NotBack(reason) => StepFailed { reason, back: Back::Tried },
    })?;
    let Phase::Back { reason, .. } = &swapper.swaps.groups[number].phase else { return Ok(()) };
    let Some(stays) = stays(swapper) else {
        return Err(StepFailed { reason: reason.clone(), back: Back::Yes });
    };
    let names = swapper.swaps.groups[number].names();
    Err(StepFailed::because(format!("{reason}; {names}: the old one is back; {stays}")))
}

/// Says what the run changed that stays so; none if that is nothing.
fn stays(swapper: &Swapper<'_>) -> Option<String> {
    let done = swapper.swaps.groups.iter().filter(|group| group.phase == Phase::Done);
    let stays: Vec<String> = done.map(Group::names).collect();
    let has_others = swapper.at.run.plan.changes.all().iter().any(|change| change.kind != Kind::DockerImage);
    if stays.is_empty() && !has_others {
        return None;
    }
    let others = if has_others { ", and so do the packages" } else { "" };
    let stays = if stays.is_empty() { "nothing else".to_owned() } else { stays.join(", ") };
    Some(format!("{stays} stays replaced{others}"))
}

/// How a run ends between two groups, or before the first one.
fn stopped(swapper: &Swapper<'_>, StepFailed { reason, back }: StepFailed) -> StepFailed {
    match stays(swapper) {
        Some(stays) => StepFailed::because(format!("{reason}; {stays}")),
        None if back == Back::No => StepFailed { reason, back: Back::NotNeeded },
        None => StepFailed { reason, back },
    }
}

#[async_trait]
impl Step for Look {
    fn name(&self) -> &'static str {
        "docker_image.look"
    }

    async fn go(&self, at: &At<'_>) -> Result<Value, StepFailed> {
        until_there(&self.0).await.map_err(StepFailed::because)?;
        let basis = Basis::of(&self.0).await.map_err(|error| failed(&error))?;
        let swaps = Journal::of(at.folder).read().map_err(StepFailed::because)?;
        let ran = |name: &str| {
            swaps.groups.iter().flat_map(|group| &group.swaps).any(|swap| swap.name == name && swap.runs)
        };
        for change in planned(at) {
            let name = &change.name;
            let container = basis.named(name).filter(|container| basis.is_on(container, to(change)));
            let Some(container) = container else {
                return Err(StepFailed::because(format!("{name} does not run {} afterwards", to(change))));
            };
            if ran(name) && container["State"]["Running"] != true {
                return Err(StepFailed::because(format!("{name} does not run any more")));
            }
        }
        Ok(json!({ "looked_at": planned(at).count(), "asked": asked(&swaps) }))
    }
}
