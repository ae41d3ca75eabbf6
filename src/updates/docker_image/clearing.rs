//! Removes images that replacements left behind, once nobody needs them: the one before the one that is kept of each container, those
//! that failed, and what was kept of containers that are gone.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use super::journal::Journal;
use super::swap::{KEPT, kept_tag};
use crate::docker::EngineContainers;
use crate::domain::update::swap::{Phase, Swap, Swaps};
use crate::domain::update::{Kind, Run};
use crate::state_dir::Runs;
use crate::updates::run::{At, Progress};

/// What the Engine lists of an image that has no name.
const NAMELESS: &str = "<none>:<none>";

/// Removes what is not needed. That an image is still there is no failure of a run.
pub(super) async fn clear_images(
    engine: &EngineContainers,
    runs: &Runs,
    undo_window: TimeDelta,
    at: &At<'_>,
) {
    if let Err(reason) = clear(engine, runs, undo_window, at).await {
        tracing::warn!(reason, "images that nobody needs any more stay");
    }
}

async fn clear(
    engine: &EngineContainers,
    runs: &Runs,
    undo_window: TimeDelta,
    at: &At<'_>,
) -> Result<(), String> {
    let since = at.clock.now() - undo_window;
    let (mut left, mut needed) = (BTreeSet::new(), BTreeSet::new());
    for run in runs.list().map_err(|error| error.to_string())? {
        let folder = runs.folder(&run.id).map_err(|error| error.to_string())?;
        left.extend(left_by(&Journal::of(&folder).read()?));
        needed.extend(needed_by(&run, since, at.run));
    }
    let (names, used) = engine.names_and_images().await.map_err(|error| error.to_string())?;
    for image in engine.images().await.map_err(|error| error.to_string())? {
        let id = image["Id"].as_str().unwrap_or_default();
        if used.contains(id) || is_needed(&image, &needed) {
            continue;
        }
        let forgotten: Vec<&str> = forgotten_names(&image, &names).collect();
        let is_left = left.contains(id) && !is_named(&image);
        for name in forgotten.into_iter().chain(is_left.then_some(id)) {
            // Without force: whatever the Engine knows that hangs on it keeps it.
            match engine.remove_image(name).await {
                Ok(()) => {
                    (at.tell)(Progress::Does(format!("removed image {name}, which nobody needs any more")));
                }
                Err(error) => tracing::info!(%error, name, "an image that nobody needs stays"),
            }
        }
    }
    Ok(())
}

/// Images that the replacements of a run left without a container: the old ones of what was replaced, the new ones of what was put
/// back.
fn left_by(swaps: &Swaps) -> BTreeSet<String> {
    let mut left = BTreeSet::new();
    for group in &swaps.groups {
        for swap in group.swaps.iter().filter(|swap| !swap.keeps_its_image()) {
            match group.phase {
                Phase::Done => left.insert(swap.old_image.clone()),
                Phase::Back { .. } => left.insert(swap.new_image.clone()),
                Phase::Open | Phase::Good | Phase::Bad { .. } => continue,
            };
        }
    }
    left
}

/// Ids and digests of what a run would be taken back with, if it began since `since` or is not over; and of what one needs that is
/// to go on. What `current` does not have a container on by now it does not need.
fn needed_by(run: &Run, since: DateTime<Utc>, current: &Run) -> BTreeSet<String> {
    let is_current = run.id == current.id || current.undoes.as_ref() == Some(&run.id);
    let is_open = run.outcome.is_none();
    let mut needed = BTreeSet::new();
    for change in run.plan.changes.of(Kind::DockerImage) {
        if is_current || is_open || run.started_at >= since {
            needed.extend(change.from.clone());
        }
        if is_open && !is_current {
            needed.extend(change.to.clone());
        }
    }
    needed
}

/// Names that keep an image for containers that are not there, in whatever state.
fn forgotten_names<'a>(image: &'a Value, containers: &BTreeSet<String>) -> impl Iterator<Item = &'a str> {
    let is_forgotten = |name: &&str| {
        let kept = name.strip_prefix(KEPT).and_then(|rest| rest.strip_prefix(':'));
        kept.is_some_and(|tag| !containers.iter().any(|name| kept_tag(Swap::own_of(name)) == tag))
    };
    names(image, "RepoTags").filter(is_forgotten)
}

fn is_named(image: &Value) -> bool {
    names(image, "RepoTags").any(|name| name != NAMELESS)
}

fn is_needed(image: &Value, needed: &BTreeSet<String>) -> bool {
    let digests =
        names(image, "RepoDigests").filter_map(|name| name.split_once('@')).map(|(_, digest)| digest);
    let mut words = image["Id"].as_str().into_iter().chain(digests);
    words.any(|word| needed.contains(word))
}

fn names<'a>(image: &'a Value, list: &str) -> impl Iterator<Item = &'a str> {
    image.get(list).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::update::{Changes, Operation, Plan, PlannedChange, RunId, RunOutcome};

    fn swaps(phases: &[Value]) -> Swaps {
        let groups = phases.iter().enumerate().map(|(number, phase)| {
            let mut group = phase.clone();
            let swap = |name: &str, old: String, new: String| {
                json!({ "name": name, "old": "o", "old_image": old, "new_image": new,
                "image_name": "app:1", "tag_was": "x", "restart_policy": {}, "runs": true })
            };
            let (old, new) = (format!("old-{number}"), format!("new-{number}"));
            group["swaps"] = json!([swap("app", old, new), swap("along", "same".into(), "same".into())]);
            group
        });
        serde_json::from_value(json!({ "groups": groups.collect::<Vec<_>>() })).unwrap()
    }

    #[test]
    fn what_is_left_is_the_old_image_of_what_was_replaced_and_the_new_one_of_what_was_put_back() {
        let failed = json!({ "phase": "back", "reason": "", "failed": "app" });
        let bad = json!({ "phase": "bad", "reason": "", "failed": "app" });
        let all =
            [json!({ "phase": "done" }), failed, json!({ "phase": "open" }), json!({ "phase": "good" }), bad];
        assert_eq!(left_by(&swaps(&all)).into_iter().collect::<Vec<_>>(), ["new-1", "old-0"]);
    }

    fn run(id: &str, started: &str, outcome: Option<RunOutcome>) -> Run {
        let change = PlannedChange {
            kind: Kind::DockerImage,
            name: "app".into(),
            arch: String::new(),
            operation: Operation::Replace,
            from: Some("from".into()),
            to: Some("to".into()),
            digest: Some("to".into()),
        };
        let plan = Plan { changes: Changes::new(vec![change]).unwrap(), ..Plan::nothing() };
        let (id, started) = (RunId::parse(id).unwrap(), started.parse().unwrap());
        Run { outcome, ..Run::new(id, plan, "root", started) }
    }

    #[test]
    fn what_a_run_of_the_window_is_taken_back_with_is_needed_and_of_an_open_one_all() {
        let since = "2026-01-07T00:00:00Z".parse().unwrap();
        let (old, new) = ("2026-01-01T00:00:00Z", "2026-01-08T00:00:00Z");
        let over = || Some(RunOutcome::Verified);
        let other = run("9", new, None);
        for (run, current, expected) in [
            (run("1", new, over()), &other, &["from"][..]),
            (run("1", old, over()), &other, &[]),
            (run("1", old, None), &other, &["from", "to"]),
            (run("9", old, None), &other, &["from"]),
            (run("1", old, None), &Run { undoes: RunId::parse("1"), ..other.clone() }, &["from"]),
        ] {
            let needed: Vec<String> = needed_by(&run, since, current).into_iter().collect();
            assert_eq!(needed, expected, "{run:?}");
        }
    }

    #[test]
    fn what_is_kept_of_a_container_is_forgotten_with_the_container_and_no_other_name_is() {
        let image = json!({ "RepoTags": ["lightship-kept:app", "lightship-kept:gone", "mine:gone", "lightship-kept-too:gone"] });
        for (containers, expected) in [
            (&["app"][..], &["lightship-kept:gone"][..]),
            (&["app", "gone"], &[]),
            (&["app-lightship-old", "gone"], &[]),
            (&[], &["lightship-kept:app", "lightship-kept:gone"]),
        ] {
            let containers = containers.iter().map(|&name| name.to_owned()).collect();
            assert_eq!(forgotten_names(&image, &containers).collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn a_name_of_anybody_s_and_a_need_by_id_or_digest_keep_an_image() {
        assert!(is_named(&json!({ "RepoTags": ["lightship-kept:app"] })));
        for nameless in [json!(["<none>:<none>"]), json!([]), Value::Null] {
            assert!(!is_named(&json!({ "RepoTags": nameless })));
        }
        let image = json!({ "Id": "sha256:a", "RepoDigests": ["reg/app@sha256:b", "<none>@<none>"] });
        for (word, expected) in [("sha256:a", true), ("sha256:b", true), ("sha256:c", false)] {
            assert_eq!(is_needed(&image, &[word.to_owned()].into()), expected, "{word}");
        }
    }
}
