//! Carries out a plan, one step after the other.
//!
//! What is done is on the disk before the next step begins: after a crash the steps that are done are passed over, and the
//! one that was begun is done again. Every step can therefore be done twice.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use serde_json::Value;

use crate::clock::Clock;
use crate::domain::text::spell_out;
use crate::domain::update::{DoneStep, Run, RunId, RunOutcome};
use crate::state_dir::{Runs, StateError, read_end, replace_file};

/// One step of a run.
#[async_trait]
pub trait Step: Send + Sync {
    /// Its word in the record; it never changes its meaning.
    fn name(&self) -> &'static str;

    /// True if the host may be another one once it was begun.
    fn changes_the_host(&self) -> bool {
        false
    }

    /// Does it, or what is left of it. Returns what those after it need to know.
    async fn go(&self, at: &At<'_>) -> Result<Value, StepFailed>;

    /// Has what is down because this step was cut off run again. Called instead of [`Step::go`] while the record cannot be written:
    /// on a full disk nothing goes on, and nothing has to stay down until there is room. Whoever goes on later looks at what is there.
    async fn keep_up(&self, _at: &At<'_>) {}
}

/// What a step is told.
pub struct At<'a> {
    /// The run so far.
    pub run: &'a Run,
    /// Its folder.
    pub folder: &'a Path,
    /// The time of day.
    pub clock: &'a Clock,
    /// Hears how it goes on.
    pub tell: &'a (dyn Fn(Progress) + Send + Sync),
}

impl At<'_> {
    /// Where what programs print is kept.
    pub fn log(&self) -> PathBuf {
        self.folder.join("log.txt")
    }

    /// True if this step was begun before, and not ended.
    pub fn is_again(&self, step: &str) -> bool {
        self.run.begun.as_deref() == Some(step)
    }
}

/// How a run goes on, for who looks on.
#[derive(Debug, Clone, PartialEq)]
pub enum Progress {
    /// A step begins.
    Begins(&'static str),
    /// So many percent of the step are done.
    Percent(u8, String),
    /// Something is waited for.
    Waits(String),
    /// A part of the step begins.
    Does(String),
}

/// Why a step was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepFailed {
    /// In words.
    pub reason: String,
    /// What became of what was changed before.
    pub back: Back,
}

/// What became of a change whose run failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Back {
    /// Nothing was put back.
    No,
    /// Nothing was changed, although the step was begun that changes.
    NotNeeded,
    /// Nothing was changed, because the plan does not hold.
    Refused,
    /// The old state is back, and was looked at.
    Yes,
    /// It was tried in vain.
    Tried,
}

impl StepFailed {
    /// Nothing was put back.
    pub fn because(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), back: Back::No }
    }

    /// Nothing was changed: the plan does not hold.
    pub fn refused(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), back: Back::Refused }
    }
}

/// Begins or continues a run; returns it with its outcome. Fails if its record cannot be written.
pub async fn carry_out(
    runs: &Runs,
    mut run: Run,
    steps: &[Box<dyn Step>],
    clock: &Clock,
    tell: &(dyn Fn(Progress) + Send + Sync),
) -> Result<Run, StateError> {
    let folder = runs.folder(&run.id)?;
    if let Err(error) = runs.write(&run) {
        let cut_off = steps.iter().find(|step| run.begun.as_deref() == Some(step.name()));
        if let Some(step) = cut_off {
            step.keep_up(&At { run: &run, folder: &folder, clock, tell }).await;
        }
        return Err(error);
    }
    for step in steps {
        let name = step.name();
        if run.found(name).is_some() {
            continue;
        }
        if let Some(by) = cancelled(&folder) {
            let stopped = StepFailed::because(format!("it was cancelled by {by}"));
            let is_changed = may_have_changed(&run, steps);
            return end(runs, run, clock, outcome(stopped, is_changed));
        }
        tell(Progress::Begins(name));
        // Whether it was begun before is told by the record as it was.
        let before = run.clone();
        run.begun = Some(name.to_owned());
        runs.write(&run)?;
        let did = step.go(&At { run: &before, folder: &folder, clock, tell }).await;
        match did {
            Ok(found) => {
                run.steps.push(DoneStep { name: name.to_owned(), at: clock.now(), found });
                run.begun = None;
                runs.write(&run)?;
            }
            Err(failed) => {
                let is_changed = may_have_changed(&run, steps);
                return end(runs, run, clock, outcome(failed, is_changed));
            }
        }
    }
    end(runs, run, clock, RunOutcome::Verified)
}

/// Where it is written that a run is to stop, and who wants it.
const CANCEL: &str = "cancel";
/// Longest name that is written there.
const MAX_BY: usize = 200;

/// Has a run stop at its next safe point: before a step, or between two groups of containers. Blocks.
pub fn cancel(runs: &Runs, run: &RunId, by: &str) -> Result<(), StateError> {
    let by: String = by.chars().take(MAX_BY).collect();
    replace_file(&runs.folder(run)?.join(CANCEL), by.as_bytes())
}

/// Returns who wants the run to stop that has this folder.
pub(super) fn cancelled(folder: &Path) -> Option<String> {
    // A letter has at most four bytes.
    let by = read_end(&folder.join(CANCEL), 0, 4 * MAX_BY as u64);
    (!by.is_empty()).then(|| spell_out(&by))
}

/// True if the host may be another one by a run that has these steps.
pub(super) fn may_have_changed(run: &Run, steps: &[Box<dyn Step>]) -> bool {
    steps.iter().any(|step| step.changes_the_host() && run.may_have_changed(step.name()))
}

fn outcome(StepFailed { reason, back }: StepFailed, is_changed: bool) -> RunOutcome {
    match back {
        Back::No if is_changed => RunOutcome::Failed { reason },
        Back::No | Back::NotNeeded => RunOutcome::NotStarted { reason, is_refused: false },
        Back::Refused => RunOutcome::NotStarted { reason, is_refused: true },
        Back::Yes => RunOutcome::RolledBack { reason },
        Back::Tried => RunOutcome::RollbackFailed { reason },
    }
}

/// Writes the end of a run down.
pub(super) fn end(runs: &Runs, mut run: Run, clock: &Clock, outcome: RunOutcome) -> Result<Run, StateError> {
    run.outcome = Some(outcome);
    run.ended_at = Some(clock.now());
    runs.write(&run)?;
    Ok(run)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::*;
    use crate::domain::update::{Plan, RunId};

    /// Notes that it ran; fails or never ends if it is told to.
    struct Noted {
        name: &'static str,
        changes: bool,
        does: Does,
        seen: Arc<Mutex<Vec<String>>>,
    }

    #[derive(Clone, Copy, PartialEq)]
    enum Does {
        Work,
        Fail(Back),
        Hang,
    }

    #[async_trait]
    impl Step for Noted {
        fn name(&self) -> &'static str {
            self.name
        }

        fn changes_the_host(&self) -> bool {
            self.changes
        }

        async fn go(&self, at: &At<'_>) -> Result<Value, StepFailed> {
            let again = if at.is_again(self.name) { " again" } else { "" };
            self.seen.lock().push(format!("{}{again}", self.name));
            match self.does {
                Does::Work => Ok(Value::from(self.name)),
                Does::Fail(back) => Err(StepFailed { reason: "no".into(), back }),
                Does::Hang => std::future::pending().await,
            }
        }

        async fn keep_up(&self, at: &At<'_>) {
            assert!(at.is_again(self.name));
            self.seen.lock().push(format!("{} stays up", self.name));
        }
    }

    struct Rig {
        _dir: tempfile::TempDir,
        runs: Runs,
        seen: Arc<Mutex<Vec<String>>>,
    }

    impl Rig {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let runs = Runs::of(dir.path());
            Self { _dir: dir, runs, seen: Arc::default() }
        }

        fn steps(&self, does: [Does; 3]) -> Vec<Box<dyn Step>> {
            let names = [("first", false), ("change", true), ("look", false)];
            let step = |((name, changes), does)| {
                Box::new(Noted { name, changes, does, seen: self.seen.clone() }) as Box<dyn Step>
            };
            names.into_iter().zip(does).map(step).collect()
        }

        async fn go(&self, run: Run, does: [Does; 3]) -> Run {
            carry_out(&self.runs, run, &self.steps(does), &Clock::system(), &|_| ()).await.unwrap()
        }

        /// Begins the run, and cuts it off in this step, which never ends.
        async fn cut_off_in(&self, step: &str) {
            let names = ["first", "change", "look"];
            let does = names.map(|name| if name == step { Does::Hang } else { Does::Work });
            let is_there = async {
                while self.seen.lock().last().is_none_or(|seen| seen != step) {
                    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
                }
            };
            tokio::select! {
                ended = self.go(run(), does) => panic!("it came to its end: {ended:?}"),
                () = is_there => {}
            }
        }
    }

    fn run() -> Run {
        let at = "2026-01-31T12:00:00Z".parse().unwrap();
        Run::new(RunId::parse("1").unwrap(), Plan::nothing(), "root", at)
    }

    #[tokio::test]
    async fn a_run_that_was_cut_off_goes_on_with_the_step_that_was_begun() {
        for hangs_at in 0..3 {
            let rig = Rig::new();
            let names = ["first", "change", "look"];
            rig.cut_off_in(names[hangs_at]).await;

            let kept = rig.runs.read(&run().id).unwrap().unwrap();
            let ended = rig.go(kept, [Does::Work; 3]).await;

            assert_eq!(ended.outcome, Some(RunOutcome::Verified));
            let mut expected: Vec<String> = names[..=hangs_at].iter().map(|&name| name.to_owned()).collect();
            expected.push(format!("{} again", names[hangs_at]));
            expected.extend(names[hangs_at + 1..].iter().map(|&name| name.to_owned()));
            assert_eq!(*rig.seen.lock(), expected);
            assert_eq!(rig.runs.read(&run().id).unwrap(), Some(ended));
        }
    }

    #[tokio::test]
    async fn while_the_record_cannot_be_written_nothing_goes_on_but_what_was_cut_off_is_kept_up() {
        let rig = Rig::new();
        rig.cut_off_in("change").await;
        let kept = rig.runs.read(&run().id).unwrap().unwrap();
        // No file can be made where the next record would be written first.
        let folder = rig.runs.folder(&run().id).unwrap();
        let in_the_way = folder.join(".run.json.new");
        std::fs::create_dir(&in_the_way).unwrap();

        let steps = rig.steps([Does::Work; 3]);
        let refused = carry_out(&rig.runs, kept.clone(), &steps, &Clock::system(), &|_| ()).await;

        assert!(refused.is_err());
        assert_eq!(*rig.seen.lock(), ["first", "change", "change stays up"]);
        assert_eq!(rig.runs.read(&run().id).unwrap(), Some(kept.clone()));
        std::fs::remove_dir(&in_the_way).unwrap();
        let ended = carry_out(&rig.runs, kept, &steps, &Clock::system(), &|_| ()).await.unwrap();
        assert_eq!(ended.outcome, Some(RunOutcome::Verified));
        assert_eq!(rig.seen.lock()[3..], ["change again", "look"]);
    }

    #[tokio::test]
    async fn a_run_that_is_cancelled_begins_no_further_step_and_says_who_wanted_it() {
        let rig = Rig::new();
        rig.cut_off_in("change").await;
        cancel(&rig.runs, &run().id, "ann").unwrap();
        let kept = rig.runs.read(&run().id).unwrap().unwrap();

        let ended = rig.go(kept, [Does::Work; 3]).await;

        let reason = "it was cancelled by ann".to_owned();
        assert_eq!(
            ended.outcome,
            Some(RunOutcome::Failed { reason: reason.clone() }),
            "it may have changed something"
        );
        assert_eq!(*rig.seen.lock(), ["first", "change"]);

        let rig = Rig::new();
        cancel(&rig.runs, &run().id, "ann").unwrap();
        let ended = rig.go(run(), [Does::Work; 3]).await;
        assert_eq!(ended.outcome, Some(RunOutcome::NotStarted { reason, is_refused: false }));
    }

    #[tokio::test]
    async fn the_outcome_says_whether_anything_was_changed_and_whether_it_is_back() {
        use Does::{Fail, Work};
        for (does, word) in [
            ([Work, Work, Work], "verified"),
            ([Fail(Back::No), Work, Work], "not_started"),
            ([Work, Fail(Back::No), Work], "failed"),
            ([Work, Work, Fail(Back::No)], "failed"),
            ([Work, Fail(Back::NotNeeded), Work], "not_started"),
            ([Work, Fail(Back::Yes), Work], "rolled_back"),
            ([Work, Fail(Back::Tried), Work], "rollback_failed"),
        ] {
            let rig = Rig::new();
            let ended = rig.go(run(), does).await;
            assert_eq!(ended.outcome.as_ref().unwrap().as_str(), word);
            assert!(ended.ended_at.is_some());
        }
    }
}
