//! A run: one execution of a plan on one host, and what is known of it.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::ask::{PlanAsk, Wanted};
use super::kind::Kind;
use super::plan::{Changes, Operation, Plan, PlanId, PlannedChange};
use super::run_id::RunId;
use super::service::Aftermath;
use crate::domain::id::CommandId;

/// The step of a run that looks at the host after its packages were changed.
pub const HOST_LOOK: &str = "host.look";

/// How a run came out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum RunOutcome {
    /// The host was looked at again, and everything is as planned.
    Verified,
    /// Nothing was changed.
    NotStarted {
        /// Why.
        reason: String,
        /// True if the plan does not hold, so that trying again is of no use.
        #[serde(default)]
        is_refused: bool,
    },
    /// Something is not as planned.
    Failed {
        /// What.
        reason: String,
    },
    /// It failed, and the old state is back.
    RolledBack {
        /// What failed.
        reason: String,
    },
    /// It failed, and the old state could not be brought back.
    RollbackFailed {
        /// What failed, and what is in the way.
        reason: String,
    },
}

impl RunOutcome {
    /// Returns its word.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Verified => "verified",
            Self::NotStarted { .. } => "not_started",
            Self::Failed { .. } => "failed",
            Self::RolledBack { .. } => "rolled_back",
            Self::RollbackFailed { .. } => "rollback_failed",
        }
    }

    /// Returns why it is not verified.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Verified => None,
            Self::NotStarted { reason, .. }
            | Self::Failed { reason }
            | Self::RolledBack { reason }
            | Self::RollbackFailed { reason } => Some(reason),
        }
    }
}

/// A step that is done, with what it left for those after it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DoneStep {
    /// Which.
    pub name: String,
    /// When it was done.
    pub at: DateTime<Utc>,
    /// What it found out.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub found: Value,
}

/// All that is known of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Its name.
    pub id: RunId,
    /// What is to be done.
    pub plan: Plan,
    /// Who said so.
    pub by: String,
    /// The master's order that it carries out; none for one that was begun on the host itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<CommandId>,
    /// What its plan was asked for; none in records of before this was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ask: Option<PlanAsk>,
    /// The run that it takes back, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undoes: Option<RunId>,
    /// The run of the same plan that failed before and that it goes on with, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub goes_on: Option<RunId>,
    /// Packages that count as installed for others' sake, before anything was changed; an undo brings that back too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub automatic: Vec<String>,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// When it ended; none if it did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<DateTime<Utc>>,
    /// Steps that are done, in their order.
    #[serde(default)]
    pub steps: Vec<DoneStep>,
    /// The step that was begun last and is not done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub begun: Option<String>,
    /// How it came out; none if it did not end.
    #[serde(flatten)]
    pub outcome: Option<RunOutcome>,
}

impl Run {
    /// One of which nothing is done yet.
    pub fn new(id: RunId, plan: Plan, by: impl Into<String>, at: DateTime<Utc>) -> Self {
        Self {
            id,
            plan,
            by: by.into(),
            order: None,
            ask: None,
            undoes: None,
            goes_on: None,
            automatic: Vec::new(),
            started_at: at,
            ended_at: None,
            steps: Vec::new(),
            begun: None,
            outcome: None,
        }
    }

    /// Returns what its plan was asked for.
    pub fn asked(&self) -> PlanAsk {
        let unknown = || match &self.undoes {
            Some(run) => PlanAsk::undo(run.clone(), Vec::new()),
            None => PlanAsk::install(Wanted::All),
        };
        self.ask.clone().unwrap_or_else(unknown)
    }

    /// Returns what a step that is done found out.
    pub fn found(&self, step: &str) -> Option<&Value> {
        self.steps.iter().find(|done| done.name == step).map(|done| &done.found)
    }

    /// True if the same plan can be gone on with once what was in its way is mended: APT picks up where it failed. What RPM
    /// did is done, a script that failed among it.
    pub fn can_be_gone_on_with(&self) -> bool {
        let is_apt = |change: &PlannedChange| change.kind == Kind::Apt;
        matches!(self.outcome, Some(RunOutcome::Failed { .. })) && self.plan.changes.all().iter().all(is_apt)
    }

    /// What was seen of the host after its packages were changed; none if it did not come so far.
    pub fn aftermath(&self) -> Option<Aftermath> {
        serde_json::from_value(self.found(HOST_LOOK)?.clone()).ok()
    }

    /// True if the host may be changed by it: the step that changes was begun.
    pub fn may_have_changed(&self, changing: &str) -> bool {
        self.begun.as_deref() == Some(changing) || self.found(changing).is_some()
    }
}

/// An image whose containers failed and were put back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedImage {
    /// Which, as plans name it.
    pub digest: String,
    /// Its name, as the container has it.
    pub image: String,
    /// What failed.
    pub reason: String,
}

/// How far a run is, for who looks on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunProgress {
    /// Which run.
    pub run: RunId,
    /// The order that it carries out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<CommandId>,
    /// What it does.
    pub plan: PlanId,
    /// Who said so.
    pub by: String,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// Names of the steps that are done, in their order.
    pub done: Vec<String>,
    /// The step that is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// How much of the step is done, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<u8>,
    /// What it does or waits for, in words.
    #[serde(default)]
    pub words: String,
    /// The end of the log.
    #[serde(default)]
    pub log: String,
}

/// What is installed of a thing now, as far as an undo needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Present {
    /// Its version; none if it is not installed.
    pub version: Option<String>,
}

/// Something that cannot be taken back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UndoFault {
    /// It was changed again since.
    #[error(
        "`{name}` was changed since: it is {now}, and the run left it at {left}; take the later run back first"
    )]
    ChangedSince {
        /// What.
        name: String,
        /// Its version now.
        now: String,
        /// What the run left.
        left: String,
    },
    /// Nobody has what was there before.
    #[error("nobody has `{name}` {version} any more: it was not kept, and no repository offers it")]
    Gone {
        /// What.
        name: String,
        /// Which version.
        version: String,
    },
    /// The changes make no plan.
    #[error(transparent)]
    Plan(#[from] super::plan::PlanFault),
}

/// Returns the changes that take those of a run back.
///
/// `present` tells what is installed now, by name and architecture; `content` tells the SHA-256 of a version that can be
/// had. A change that did not happen needs no undo. `only` limits it to these names, unless it is empty.
pub fn undo(
    done: &Changes,
    only: &[String],
    present: impl Fn(&PlannedChange) -> Present,
    content: impl Fn(&PlannedChange, &str) -> Option<String>,
) -> Result<Changes, UndoFault> {
    let mut back = Vec::new();
    for change in done.all() {
        if !only.is_empty() && !only.contains(&change.name) {
            continue;
        }
        let now = present(change).version;
        if now == change.from {
            // It never came to it, or is back already.
            continue;
        }
        if now != change.to {
            let word = |version: &Option<String>| version.clone().unwrap_or_else(|| "not installed".into());
            let (name, left) = (change.name.clone(), word(&change.to));
            return Err(UndoFault::ChangedSince { name, now: word(&now), left });
        }
        let digest = match &change.from {
            None => None,
            Some(version) => Some(
                content(change, version)
                    .ok_or_else(|| UndoFault::Gone { name: change.name.clone(), version: version.clone() })?,
            ),
        };
        let operation = match change.operation {
            Operation::Install => Operation::Remove,
            Operation::Remove => Operation::Install,
            Operation::Upgrade => Operation::Downgrade,
            Operation::Downgrade => Operation::Upgrade,
            same
            @ (Operation::Reinstall | Operation::Replace | Operation::Configure | Operation::Restart) => same,
        };
        let (from, to) = (change.to.clone(), change.from.clone());
        back.push(PlannedChange { operation, from, to, digest, ..change.clone() });
    }
    Ok(Changes::new(back)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::update::Kind;

    fn change(name: &str, operation: Operation, from: Option<&str>, to: Option<&str>) -> PlannedChange {
        PlannedChange {
            kind: Kind::Apt,
            name: name.into(),
            arch: "all".into(),
            operation,
            from: from.map(str::to_owned),
            to: to.map(str::to_owned),
            digest: to.map(|_| "aa".into()),
        }
    }

    fn done() -> Changes {
        Changes::new(vec![
            change("app", Operation::Upgrade, Some("1.0"), Some("1.1")),
            change("new", Operation::Install, None, Some("1.0")),
            change("old", Operation::Remove, Some("1.0"), None),
        ])
        .unwrap()
    }

    fn back(
        present: &[(&str, Option<&str>)],
        kept: &[&str],
        only: &[&str],
    ) -> Result<Vec<String>, UndoFault> {
        let present = |change: &PlannedChange| {
            let found = present.iter().find(|(name, _)| *name == change.name).expect("it is told");
            Present { version: found.1.map(str::to_owned) }
        };
        let content =
            |change: &PlannedChange, _: &str| kept.contains(&change.name.as_str()).then(|| "bb".to_owned());
        let only: Vec<String> = only.iter().map(|&name| name.to_owned()).collect();
        let changes = undo(&done(), &only, present, content)?;
        let word = |change: &PlannedChange| {
            format!("{} {} {}", change.operation.as_str(), change.name, change.to.as_deref().unwrap_or("-"))
        };
        Ok(changes.all().iter().map(word).collect())
    }

    #[test]
    fn everything_that_happened_is_taken_back_and_nothing_else() {
        let after = [("app", Some("1.1")), ("new", Some("1.0")), ("old", None)];
        let all = ["app", "old"];
        assert_eq!(
            back(&after, &all, &[]).unwrap(),
            ["downgrade app 1.0", "remove new -", "install old 1.0"]
        );
        assert_eq!(back(&after, &all, &["app"]).unwrap(), ["downgrade app 1.0"]);
        let half = [("app", Some("1.0")), ("new", Some("1.0")), ("old", Some("1.0"))];
        assert_eq!(back(&half, &all, &[]).unwrap(), ["remove new -"]);
    }

    #[test]
    fn what_was_changed_again_or_is_nowhere_any_more_is_named() {
        let later = [("app", Some("1.2")), ("new", Some("1.0")), ("old", None)];
        let error = back(&later, &["app", "old"], &[]).unwrap_err();
        assert!(matches!(&error, UndoFault::ChangedSince { name, .. } if name == "app"), "{error}");
        let after = [("app", Some("1.1")), ("new", Some("1.0")), ("old", None)];
        let error = back(&after, &["app"], &[]).unwrap_err();
        assert!(matches!(&error, UndoFault::Gone { name, .. } if name == "old"), "{error}");
    }

    #[test]
    fn a_run_is_read_as_it_is_written() {
        let plan = Plan { changes: done(), on_host: Default::default() };
        let at = "2026-01-31T12:00:00Z".parse().unwrap();
        let mut run = Run::new(RunId::parse("1").unwrap(), plan, "root", at);
        run.automatic = vec!["app".into()];
        for outcome in [None, Some(RunOutcome::Verified), Some(RunOutcome::Failed { reason: "x".into() })] {
            run.outcome = outcome;
            let json = serde_json::to_value(&run).unwrap();
            assert_eq!(serde_json::from_value::<Run>(json).unwrap(), run);
        }
    }
}
