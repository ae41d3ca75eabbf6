//! What replacing containers would do, and what that means on this host. Changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;

use super::DockerImage;
use super::basis::{Basis, id_of, image_id, is_meant, name_of};
use super::journal::Journal;
use super::visitor::Visitor;
use crate::clock::Clock;
use crate::docker::{DockerError, EngineContainers};
use crate::domain::registry::Reference;
use crate::domain::update::swap::{Node, Phase, node, stops_first, ties};
use crate::domain::update::{
    Changes, FailedImage, Finding, Kind, LeftOut, OnHost, Operation, Plan, PlannedChange, Present, Problem,
    Run, Standing, UndoSource, Wanted, undo,
};
use crate::state_dir::{Runs, read_last_scan};
use crate::updates::scanner::{ScanAsk, Scanner};

/// What is to become of one container.
enum Target {
    /// It is to run this.
    To(String),
    /// It runs that already.
    There,
    /// It stays as it is, because of this.
    Stays(String),
}

/// Works out what is newer, and which containers have to be made anew for it.
pub(super) async fn work_out(
    scanner: &DockerImage,
    engine: &EngineContainers,
    visitor: &Visitor,
    wanted: &Wanted,
    state_dir: &Path,
    clock: &Clock,
) -> Result<Plan, Problem> {
    if *wanted == Wanted::Security {
        // No registry says of an image whether it mends a hole.
        return Ok(Plan::nothing());
    }
    let basis = match Basis::of(engine).await {
        Ok(basis) => basis,
        // Whoever may not see containers still sees the rest.
        Err(error) => return Ok(left_alone(wanted, &error)),
    };
    let last = read_last_scan(state_dir).ok().flatten();
    let last =
        last.as_ref().and_then(|last| last.scanners.iter().find(|one| one.checked.kind == Kind::DockerImage));
    // The list may be newer than an answer of minutes ago, and nobody asked for less than they saw there.
    let found = scanner.scan(&ScanAsk { now: clock.now(), last, by_person: true }).await;
    let failed = failed_before(state_dir);
    let (mut targets, mut on_host) = (BTreeMap::new(), OnHost::default());
    let mut to_fetch = BTreeMap::new();
    let mut all = Vec::new();
    for finding in &found.items {
        for id in &finding.containers {
            all.push((finding, id));
        }
    }
    for (finding, id) in all {
        let Some(container) = basis.get(id) else { continue };
        let is_named = match wanted {
            Wanted::Named(names) => names.iter().any(|name| is_meant(name, container)),
            Wanted::All | Wanted::Security => false,
        };
        if !is_named && *wanted != Wanted::All {
            continue;
        }
        let mut target = target(engine, &basis, finding, container).await.map_err(in_words)?;
        if let Target::To(to) = &target
            && let Some(reason) =
                basis.refusal(container).or_else(|| failed.get(to).cloned().filter(|_| !is_named))
        {
            target = Target::Stays(reason);
        }
        let is_said = is_named
            || matches!(
                finding.standing,
                Standing::Newer | Standing::RestartNeeded | Standing::Unchecked { .. }
            );
        match target {
            Target::To(to) => {
                if finding.standing == Standing::Newer {
                    to_fetch.insert(to.clone(), finding.size_bytes.unwrap_or(0));
                }
                on_host.images.insert(name_of(container).to_owned(), finding.name.clone());
                targets.insert(id_of(container).to_owned(), to);
            }
            Target::Stays(reason) if is_said => {
                on_host.left_out.push(LeftOut { name: name_of(container).to_owned(), reason });
            }
            Target::There if is_named => {
                let reason = "there is nothing newer".to_owned();
                on_host.left_out.push(LeftOut { name: name_of(container).to_owned(), reason });
            }
            Target::There | Target::Stays(_) => {}
        }
    }
    if let Wanted::Named(names) = wanted {
        on_host.left_out.extend(names.iter().filter_map(|name| nobody(name, &basis, &found.items)));
    }
    let mut changes = Vec::new();
    for group in basis.groups(&targets.keys().cloned().collect()) {
        if let Some(reason) = basis.group_refusal(&group) {
            let wanted = group.iter().filter(|container| targets.contains_key(id_of(container)));
            on_host.left_out.extend(
                wanted
                    .map(|container| LeftOut { name: name_of(container).to_owned(), reason: reason.clone() }),
            );
            continue;
        }
        changes.extend(group.iter().map(|container| change(container, targets.get(id_of(container)))));
        on_host.containers.extend(hows(&group, visitor, |container| targets.contains_key(id_of(container))));
    }
    on_host.download_bytes = to_fetch
        .iter()
        .filter(|(to, _)| changes.iter().any(|change| change.to.as_ref() == Some(*to)))
        .map(|(_, bytes)| bytes)
        .sum();
    whole(changes, on_host)
}

/// Says how the containers of a group are replaced; `is_wanted` of those that get another image.
fn hows(group: &[&Value], visitor: &Visitor, is_wanted: impl Fn(&Value) -> bool) -> Vec<(String, String)> {
    if let [alone] = group {
        let how = match stops_first(alone, visitor.is_published(alone)) {
            None => "serves beside the old one first, without a gap".to_owned(),
            Some(reason) => format!("the old one is stopped first: {reason}"),
        };
        return vec![(name_of(alone).to_owned(), how)];
    }
    let nodes: Vec<Node> = group.iter().map(|container| node(container)).collect();
    let how = |(container, node): (&&Value, &Node)| {
        let ties = ties(&nodes, node);
        let after = ties.iter().map(|(other, tie)| format!("{} `{}`", tie.words(), other.name));
        let after = after.collect::<Vec<_>>().join(", ");
        let words = match (is_wanted(container), ties.is_empty()) {
            (true, true) => "the old one is stopped first: others hang on it".to_owned(),
            (true, false) => format!("the old one is stopped first, and the new one comes after: {after}"),
            (false, _) => format!("made anew on the image that it has: {after}"),
        };
        (node.name.clone(), words)
    };
    group.iter().zip(&nodes).map(how).collect()
}

fn whole(changes: Vec<PlannedChange>, mut on_host: OnHost) -> Result<Plan, Problem> {
    // The image that runs now stays on the host, under a name that keeps it.
    on_host.images.retain(|name, _| changes.iter().any(|change| change.name == *name));
    on_host.undo =
        changes.iter().map(|change| (format!("{}:{}", change.name, change.arch), UndoSource::Kept)).collect();
    let changes =
        Changes::new(changes).map_err(|fault| Problem { reason: fault.to_string(), way_out: None })?;
    Ok(Plan { changes, on_host })
}

/// One that only goes along stays on its image.
fn change(container: &Value, to: Option<&String>) -> PlannedChange {
    let from = image_id(container).to_owned();
    let to = to.cloned().unwrap_or_else(|| from.clone());
    PlannedChange {
        kind: Kind::DockerImage,
        name: name_of(container).to_owned(),
        arch: String::new(),
        operation: Operation::Replace,
        from: Some(from),
        digest: Some(to.clone()),
        to: Some(to),
    }
}

fn left_alone(wanted: &Wanted, error: &DockerError) -> Plan {
    let names = match wanted {
        Wanted::Named(names) => names.clone(),
        Wanted::All | Wanted::Security => vec!["containers".to_owned()],
    };
    let left = names.into_iter().map(|name| LeftOut { name, reason: error.to_string() });
    let on_host = OnHost { left_out: left.collect(), ..OnHost::default() };
    Plan { on_host, ..Plan::nothing() }
}

pub(super) fn in_words(error: DockerError) -> Problem {
    Problem { reason: error.to_string(), way_out: None }
}

async fn target(
    engine: &EngineContainers,
    basis: &Basis,
    finding: &Finding,
    container: &Value,
) -> Result<Target, DockerError> {
    let to = match &finding.standing {
        Standing::Newer => finding.details.get("digest").and_then(Value::as_str).map(str::to_owned),
        Standing::RestartNeeded => {
            engine.inspect_image(&finding.name).await?.and_then(|image| word(&image, &finding.name))
        }
        Standing::Same => return Ok(Target::There),
        Standing::Untracked { reason, .. } | Standing::Unchecked { reason, .. } => {
            return Ok(Target::Stays(reason.clone()));
        }
    };
    Ok(match to {
        Some(to) if basis.is_on(container, &to) => Target::There,
        Some(to) => Target::To(to),
        None => Target::Stays("the newer image has no digest and no id".into()),
    })
}

/// What an image on the host is called in a plan: by its registry, so that it is the same on all hosts, or by its id.
fn word(image: &Value, name: &str) -> Option<String> {
    let reference = Reference::parse(name).ok()?;
    let listed = image["RepoDigests"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let digest = listed
        .filter_map(|listed| Reference::parse(listed).ok())
        .find(|listed| listed.is_same_repository(&reference))
        .and_then(|listed| listed.digest);
    digest.map(|digest| digest.to_string()).or_else(|| image["Id"].as_str().map(str::to_owned))
}

/// What is said of a name that no running container has.
fn nobody(name: &str, basis: &Basis, findings: &[Finding]) -> Option<LeftOut> {
    let mut meant = basis.all().filter(|container| is_meant(name, container)).peekable();
    let reason = if meant.peek().is_none() {
        "no container and no container's image has that name"
    } else {
        let is_seen = |container: &Value| {
            findings.iter().any(|finding| finding.containers.iter().any(|id| id == id_of(container)))
        };
        if meant.any(is_seen) {
            return None;
        }
        "it does not run"
    };
    Some(LeftOut { name: name.to_owned(), reason: reason.into() })
}

/// What failed on this host and was put back, by digest: it is not tried again unless somebody names it.
fn failed_before(state_dir: &Path) -> BTreeMap<String, String> {
    let runs = Runs::of(state_dir);
    let mut failed = BTreeMap::new();
    for run in runs.list().unwrap_or_default() {
        let Ok(folder) = runs.folder(&run.id) else { continue };
        for image in failed_images(&run, &folder) {
            let words = format!(
                "this image failed here in {}, and is tried again only by name: {}",
                run.id, image.reason
            );
            failed.entry(image.digest).or_insert(words);
        }
    }
    failed
}

/// What of a run failed and was put back. What takes another run back fails for no fault of its images.
pub fn failed_images(run: &Run, folder: &Path) -> Vec<FailedImage> {
    let Ok(swaps) = Journal::of(folder).read() else { return Vec::new() };
    let mut images = Vec::new();
    for group in &swaps.groups {
        let Phase::Back { reason, .. } = &group.phase else { continue };
        for change in group.blamed(run.plan.changes.of(Kind::DockerImage)) {
            let Some(digest) = change.to.clone() else { continue };
            let image = run.plan.on_host.images.get(&change.name).unwrap_or(&change.name).clone();
            images.push(FailedImage { digest, image, reason: reason.clone() });
        }
    }
    images
}

/// Works out what takes a run back. Needs no registry: the images are here, or it cannot be done.
pub(super) async fn work_out_undo(
    engine: &EngineContainers,
    visitor: &Visitor,
    run: &Run,
    only: &[String],
    state_dir: &Path,
) -> Result<Plan, Problem> {
    let done = run.plan.changes.only(Kind::DockerImage);
    if done.is_empty() {
        return Ok(Plan::nothing());
    }
    let problem = |reason: String| Problem { reason, way_out: None };
    let basis = Basis::of(engine).await.map_err(in_words)?;
    let folder = Runs::of(state_dir).folder(&run.id).map_err(|error| problem(error.to_string()))?;
    let swaps = Journal::of(&folder).read().map_err(problem)?;
    // Of what is half done both containers are there; it is put back whatever stands under the name now.
    let open: BTreeSet<&str> = swaps
        .groups
        .iter()
        .filter(|group| group.is_open())
        .flat_map(|group| &group.swaps)
        .map(|swap| swap.name.as_str())
        .collect();
    let mut here = BTreeSet::new();
    for from in done.all().iter().filter_map(|change| change.from.as_ref()) {
        if engine.inspect_image(from).await.map_err(in_words)?.is_some() {
            here.insert(from.clone());
        }
    }
    let present = |change: &PlannedChange| {
        let container = basis.named(&change.name);
        let is_on = |word: &Option<String>| {
            container.is_some_and(|container| word.as_ref().is_some_and(|word| basis.is_on(container, word)))
        };
        let version = if open.contains(change.name.as_str()) || is_on(&change.to) {
            change.to.clone()
        } else if is_on(&change.from) {
            change.from.clone()
        } else {
            container.map(|container| image_id(container).to_owned())
        };
        Present { version }
    };
    let content = |_: &PlannedChange, version: &str| here.contains(version).then(|| version.to_owned());
    let back = undo(&done, only, present, content).map_err(|fault| problem(fault.to_string()))?;
    let mut changes: Vec<PlannedChange> = back.into();
    let is_whole = |change: &&PlannedChange| !open.contains(change.name.as_str());
    let whole_ones = changes.iter().filter(is_whole).filter_map(|change| basis.named(&change.name));
    let wanted: BTreeSet<String> = whole_ones.map(|container| id_of(container).to_owned()).collect();
    let mut on_host = OnHost::default();
    for group in basis.groups(&wanted) {
        if let Some(reason) = basis.group_refusal(&group) {
            return Err(problem(reason));
        }
        let is_new = |container: &&&Value| !changes.iter().any(|change| change.name == name_of(container));
        let is_wanted = |container: &Value| wanted.contains(id_of(container));
        on_host.containers.extend(hows(&group, visitor, is_wanted));
        let along: Vec<PlannedChange> =
            group.iter().filter(is_new).map(|container| change(container, None)).collect();
        changes.extend(along);
    }
    // What is good and not tidied up counts as done, and goes back with all that went along.
    for swap in swaps.groups.iter().filter(|group| group.is_open()).flat_map(|group| &group.swaps) {
        if changes.iter().all(|change| change.name != swap.name)
            && let Some(done) = done.all().iter().find(|change| change.name == swap.name)
        {
            changes.push(done.clone());
        }
    }
    whole(changes, on_host)
}
