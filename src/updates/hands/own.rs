//! The hands of this very process.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::TimeDelta;

use super::{HandsFault, policy_file};
use crate::chance::Chance;
use crate::clock::Clock;
use crate::domain::host::Ability;
use crate::domain::update::{
    Changes, DoneStep, Forbidden, Kind, Plan, PlanAsk, Problem, Run, RunId, RunOutcome, Wanted,
};
use crate::state_dir::{AgentIs, RunLock, Runs};
use crate::updates::run::{end, may_have_changed};
use crate::updates::tidy::tidy;
use crate::updates::{Installer, Progress, Scanner, Step, carry_out, restart, services};

/// What hands need.
pub struct HandsParts {
    /// State directory: records, kept packages.
    pub dir: PathBuf,
    /// Another one of this host that runs are recorded in: one run at a time changes the host, whichever it is.
    pub beside: Option<PathBuf>,
    /// Every installer that may be asked, in the order in which they work.
    pub installers: Vec<Arc<dyn Installer>>,
    /// Scanners that fetch lists of what there is when somebody wants them fresh.
    pub refreshing: Vec<Arc<dyn Scanner>>,
    /// What this process may change.
    pub rights: Rights,
    /// Whether this process is the agent.
    pub agent_is: AgentIs,
    /// What the owner of the host allows.
    pub policy_file: PathBuf,
    /// For so long a run can be taken back in any case.
    pub undo_window: TimeDelta,
    /// The time of day.
    pub clock: Clock,
    /// Makes names of runs.
    pub chance: Chance,
}

/// What a process may change on its host.
#[derive(Debug, Clone)]
pub struct Rights {
    /// Packages.
    pub packages: Ability,
    /// Containers.
    pub containers: Ability,
}

impl Rights {
    /// Those of root.
    pub fn all() -> Self {
        Self { packages: Ability::yes(), containers: Ability::yes() }
    }
}

/// This host, for who changes it from this process.
pub struct OwnHands {
    pub(super) parts: HandsParts,
    pub(super) runs: Runs,
}

impl OwnHands {
    /// Takes what they need; changes nothing.
    pub fn new(parts: HandsParts) -> Self {
        Self { runs: Runs::of(&parts.dir).beside(parts.beside.clone()), parts }
    }

    /// Returns its state directory.
    pub fn dir(&self) -> &Path {
        &self.parts.dir
    }

    /// Returns its records.
    pub fn runs(&self) -> &Runs {
        &self.runs
    }

    /// Returns the installers that the host has a use for. Fails if there is none.
    pub async fn present(&self) -> Result<Vec<Arc<dyn Installer>>, HandsFault> {
        let mut present = Vec::new();
        for installer in &self.parts.installers {
            if installer.is_present().await {
                present.push(Arc::clone(installer));
            }
        }
        if present.is_empty() { Err(HandsFault::Nothing) } else { Ok(present) }
    }

    /// Works out what would be changed. Changes nothing and needs no right.
    pub async fn work_out(&self, ask: &PlanAsk) -> Result<Plan, HandsFault> {
        if let PlanAsk::Reboot(_) = ask {
            return restart::plan().await.map_err(HandsFault::Problem);
        }
        let present = self.present().await?;
        let mut plan = self.changes_of(ask, &present).await?;
        services::told(&plan.changes, &mut plan.on_host, &present).await;
        Ok(plan)
    }

    async fn changes_of(&self, ask: &PlanAsk, present: &[Arc<dyn Installer>]) -> Result<Plan, HandsFault> {
        match ask {
            PlanAsk::Undo { run, only, .. } => {
                let run = self.runs.read(run)?.ok_or_else(|| HandsFault::NoRun(run.clone()))?;
                let mut whole = Plan::nothing();
                for installer in present {
                    let plan = installer.plan_undo(&run, only, &self.parts.dir).await;
                    whole = whole.and(plan.map_err(HandsFault::Problem)?)?;
                }
                Ok(whole)
            }
            PlanAsk::Install { wanted: Wanted::Named(names), .. } => {
                let shares = shares(present, names).await;
                let wanted = |kind: Kind| shares.get(&kind).cloned().map(Wanted::Named);
                self.plan_each(present, wanted).await
            }
            PlanAsk::Repair => {
                let mut whole = Plan::nothing();
                for installer in present {
                    let plan = installer.plan_repair(&self.parts.dir).await;
                    whole = whole.and(plan.map_err(HandsFault::Problem)?)?;
                }
                Ok(whole)
            }
            // It was planned above, with no need of an installer.
            PlanAsk::Reboot(_) => Ok(Plan::nothing()),
            PlanAsk::Install { wanted, .. } => self.plan_each(present, |_| Some(wanted.clone())).await,
        }
    }

    async fn plan_each(
        &self,
        present: &[Arc<dyn Installer>],
        wanted: impl Fn(Kind) -> Option<Wanted>,
    ) -> Result<Plan, HandsFault> {
        let mut whole = Plan::nothing();
        for installer in present {
            let Some(wanted) = wanted(installer.kind()) else { continue };
            let plan = installer.plan(&wanted, &self.parts.dir).await.map_err(HandsFault::Problem)?;
            whole = whole.and(plan)?;
        }
        Ok(whole)
    }

    /// Says what the owner of this host forbids of a plan now. Blocks for small files.
    pub fn forbidden(&self, changes: &Changes, ask: &PlanAsk) -> Result<Vec<Forbidden>, HandsFault> {
        let policy = policy_file::read(&self.parts.policy_file)?;
        let now = self.parts.clock.now();
        let undone = ask.undoes().map(|run| self.runs.read(run)).transpose()?.flatten();
        // For so long what it replaced is kept; whoever goes back further does not only take back what came last.
        let is_recent = undone.is_some_and(|run| run.started_at >= now - self.parts.undo_window);
        let local = now.with_timezone(&chrono::Local).naive_local();
        Ok(policy.judge(changes, ask, is_recent, local))
    }

    /// Returns the run that was begun and did not end, if there is one. Fails while another process is at it. Blocks.
    pub fn unfinished(&self) -> Result<Option<Run>, HandsFault> {
        let unfinished = self.runs.list()?.into_iter().find(|run| run.outcome.is_none());
        if unfinished.is_some() {
            drop(self.lock()?);
        }
        Ok(unfinished)
    }

    fn lock(&self) -> Result<RunLock, HandsFault> {
        self.runs.lock()?.ok_or(HandsFault::Busy)
    }

    /// Ends the record of a run that was cut off and is not gone on with. Blocks.
    pub fn give_up(&self, run: &Run) -> Result<(), HandsFault> {
        let lock = self.lock()?;
        self.give_up_locked(run, &lock)
    }

    /// The same for who has the right to change the host already.
    pub(super) fn give_up_locked(&self, run: &Run, _lock: &RunLock) -> Result<(), HandsFault> {
        let step = run.begun.as_deref().unwrap_or("its beginning");
        let outcome = RunOutcome::Failed { reason: format!("it was cut off in {step}") };
        Ok(end(&self.runs, run.clone(), &self.parts.clock, outcome).map(drop)?)
    }

    /// Ends a run that was cut off before it changed anything, and that may not be carried out any more.
    pub(super) fn refuse_locked(&self, run: Run, reason: String, _lock: &RunLock) -> Result<Run, HandsFault> {
        let outcome = RunOutcome::NotStarted { reason, is_refused: true };
        Ok(end(&self.runs, run, &self.parts.clock, outcome)?)
    }

    /// True if a run may have made the host another one.
    pub(super) fn may_have_changed(&self, run: &Run) -> bool {
        may_have_changed(run, &self.steps_of(run))
    }

    /// A new run of a plan that was asked for, of which nothing is done yet.
    pub async fn new_run(&self, plan: Plan, by: String, ask: &PlanAsk) -> Result<Run, HandsFault> {
        let now = self.parts.clock.now();
        let mut automatic = Vec::new();
        let concerned = |installer: &&Arc<dyn Installer>| plan.changes.of(installer.kind()).next().is_some();
        for installer in self.parts.installers.iter().filter(concerned) {
            automatic.extend(installer.automatic(&plan).await.map_err(HandsFault::Problem)?);
        }
        // What a run made count as wanted was not before it.
        let undone = ask.undoes().map(|run| self.runs.read(run)).transpose()?.flatten();
        automatic.extend(undone.into_iter().flat_map(|run| run.automatic));
        automatic.sort();
        automatic.dedup();
        let (undoes, ask) = (ask.undoes().cloned(), Some(ask.clone()));
        Ok(Run { ask, undoes, automatic, ..Run::new(self.new_id(), plan, by, now) })
    }

    /// Carries a run out, or to its end, and tells how it goes on. Fails while another process changes the host.
    pub async fn carry_out_run(
        &self,
        run: Run,
        tell: &(dyn Fn(Progress) + Send + Sync),
    ) -> Result<Run, HandsFault> {
        let lock = self.lock()?;
        self.carry_out_locked(run, tell, &lock).await
    }

    /// The same for who has the right to change the host already.
    pub(super) async fn carry_out_locked(
        &self,
        run: Run,
        tell: &(dyn Fn(Progress) + Send + Sync),
        _lock: &RunLock,
    ) -> Result<Run, HandsFault> {
        // Who had the lock before may have brought it to its end.
        let run = self.runs.read(&run.id)?.unwrap_or(run);
        if run.outcome.is_some() {
            return Ok(run);
        }
        let steps = self.steps_of(&run);
        let ended = carry_out(&self.runs, run, &steps, &self.parts.clock, tell).await?;
        let since = self.parts.clock.now() - self.parts.undo_window;
        if let Err(error) = tidy(&self.runs, &self.parts.installers, &self.parts.dir, since) {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "what runs left behind is not tidied up"
            );
        }
        Ok(ended)
    }

    fn steps_of(&self, run: &Run) -> Vec<Box<dyn Step>> {
        if let Some(steps) = restart::steps(run) {
            return steps;
        }
        let all = &self.parts.installers;
        let steps = all
            .iter()
            .filter(|installer| run.plan.changes.of(installer.kind()).next().is_some())
            .flat_map(|installer| installer.steps(&self.parts.dir));
        services::around(run, all, steps.collect())
    }

    /// A run that goes on with a plan whose run failed: what changes the host is done again, what came before is done.
    pub fn new_run_after(&self, failed: &Run, by: String) -> Run {
        let steps = self.steps_of(failed);
        let changing = steps.iter().find(|step| step.changes_the_host()).map(|step| step.name());
        let is_before = |step: &&DoneStep| Some(step.name.as_str()) != changing;
        let now = self.parts.clock.now();
        Run {
            ask: failed.ask.clone(),
            undoes: failed.undoes.clone(),
            goes_on: Some(failed.id.clone()),
            automatic: failed.automatic.clone(),
            steps: failed.steps.iter().take_while(is_before).cloned().collect(),
            begun: changing.map(str::to_owned),
            ..Run::new(self.new_id(), failed.plan.clone(), by, now)
        }
    }

    fn new_id(&self) -> RunId {
        let letters: String = self.parts.chance.uuid().simple().to_string().chars().take(6).collect();
        RunId::new(self.parts.clock.now(), &letters)
    }

    /// Ends the record of a run that had the host started anew, if it was. Returns it.
    pub async fn end_restart(&self) -> Result<Option<Run>, HandsFault> {
        let Some(run) = self.runs.list()?.into_iter().find(|run| run.outcome.is_none()) else {
            return Ok(None);
        };
        let is_over = restart::steps(&run).is_some() && restart::is_over(&self.runs.folder(&run.id)?);
        if !is_over {
            return Ok(None);
        }
        self.carry_out_run(run, &|_| ()).await.map(Some)
    }

    /// Calls a restart off that no process of ours waits for any more.
    pub async fn call_off_restart(&self, run: &Run) -> Result<(), HandsFault> {
        let lock = self.lock()?;
        restart::call_off().await.map_err(|reason| HandsFault::Problem(Problem { reason, way_out: None }))?;
        self.give_up_locked(run, &lock)
    }
}

/// Says which names are whose: `KIND:NAME` says it, else the one that knows the name has it, else the first.
async fn shares(present: &[Arc<dyn Installer>], names: &[String]) -> BTreeMap<Kind, Vec<String>> {
    let mut shares = BTreeMap::<Kind, Vec<String>>::new();
    let mut left = Vec::new();
    for name in names {
        let said = name.split_once(':').and_then(|(kind, name)| Some((kind.parse::<Kind>().ok()?, name)));
        match said.filter(|(kind, _)| present.iter().any(|one| one.kind() == *kind)) {
            Some((kind, name)) => shares.entry(kind).or_default().push(name.to_owned()),
            None => left.push(name.clone()),
        }
    }
    for installer in present {
        let claimed = installer.claims(&left).await;
        left.retain(|name| !claimed.contains(name));
        if !claimed.is_empty() {
            shares.entry(installer.kind()).or_default().extend(claimed);
        }
    }
    if let Some(first) = present.first().filter(|_| !left.is_empty()) {
        shares.entry(first.kind()).or_default().extend(left);
    }
    shares
}
