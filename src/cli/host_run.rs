//! What the verbs have in common that change this host: its installers, its records, and how both are shown.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, ErrorKind, IsTerminal, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, anyhow, bail};
use serde_json::{Value, json};

use super::common::Common;
use super::scan::images;
use super::values::engine;
use super::{output, sources};
use crate::chance::Chance;
use crate::clock::Clock;
use crate::config::Role;
use crate::docker::{BollardDocker, EngineContainers};
use crate::domain::text::spell_out;
use crate::domain::update::{
    Kind, Operation, Plan, PlannedChange, Policy, Problem, Run, RunId, RunOutcome, UndoSource, Wanted,
};
use crate::io::IoRuntime;
use crate::state_dir::{RunLock, Runs};
use crate::updates::{Installer, Progress, Step, carry_out, installers};

/// Exit code: there is something to install.
pub(super) const PENDING: u8 = 2;
/// Exit code: only root may.
pub(super) const NEEDS_ROOT: u8 = 4;
/// Exit code: the plan no longer holds, or is not allowed; nothing was changed.
pub(super) const REFUSED: u8 = 5;
/// Most changes that are shown one by one.
const MOST_SHOWN: usize = 200;

/// Largest policy that is read.
const POLICY_LIMIT: u64 = 1024 * 1024;

/// This host, for who changes it.
pub(super) struct Host {
    /// Its state directory.
    pub(super) dir: PathBuf,
    /// Its records.
    pub(super) runs: Runs,
    installers: Vec<Arc<dyn Installer>>,
    policy: Policy,
    runtime: IoRuntime,
    clock: Clock,
}

impl Host {
    /// Opens what is needed; changes nothing.
    pub(super) fn open(common: &Common) -> anyhow::Result<Self> {
        let settings = sources::load(common, Role::Client)?.settings;
        let dir = settings.state.dir.clone().context("no state directory")?;
        let policy = policy(&settings.updates.policy_file)?;
        let (runtime, clock) = (IoRuntime::start()?, Clock::system());
        let containers = EngineContainers::new(BollardDocker::at(engine(&settings)?, runtime.io()));
        let all = installers(images(&settings, &clock, runtime.io())?, containers, &clock);
        let mut present = Vec::new();
        for installer in all {
            if runtime.io().handle().block_on(installer.is_present()) {
                present.push(installer);
            }
        }
        if present.is_empty() {
            bail!(
                "there is nothing on this host that could be installed with: it has no packages of APT or DNF, and no Docker \
                 Engine answers"
            );
        }
        Ok(Self { runs: Runs::of(&dir), dir, installers: present, policy, runtime, clock })
    }

    /// True if this user may install packages.
    #[expect(clippy::unused_self, reason = "who may do it is asked of the host")]
    pub(super) fn is_root(&self) -> bool {
        rustix::process::geteuid().is_root()
    }

    /// Says what the owner of this host forbids of a plan. True if that is nothing.
    pub(super) fn allows(&self, plan: &Plan, is_undo: bool) -> bool {
        let now = self.clock.now().with_timezone(&chrono::Local).naive_local();
        let forbidden = self.policy.judge(&plan.changes, is_undo, now);
        for one in forbidden.iter().take(MOST_SHOWN) {
            eprintln!("the policy of this host forbids it: {}", spell_out(&one.to_string()));
        }
        forbidden.is_empty()
    }

    /// Works out what would be changed.
    pub(super) fn work_out(&self, wanted: &Wanted) -> anyhow::Result<Plan> {
        let Wanted::Named(names) = wanted else {
            return self.together(async |installer| installer.plan(wanted, &self.dir).await);
        };
        let shares = self.shares(names);
        self.together(async |installer| match shares.get(&installer.kind()) {
            Some(names) => installer.plan(&Wanted::Named(names.clone()), &self.dir).await,
            None => Ok(Plan::nothing()),
        })
    }

    /// Works out what would take a run back.
    pub(super) fn work_out_undo(&self, run: &Run, only: &[String]) -> anyhow::Result<Plan> {
        self.together(async |installer| installer.plan_undo(run, only, &self.dir).await)
    }

    /// Says which names are whose: `KIND:NAME` says it, else the one that knows the name has it, else the first.
    fn shares(&self, names: &[String]) -> BTreeMap<Kind, Vec<String>> {
        let mut shares = BTreeMap::<Kind, Vec<String>>::new();
        let mut left = Vec::new();
        for name in names {
            let said = name.split_once(':').and_then(|(kind, name)| Some((kind.parse::<Kind>().ok()?, name)));
            match said.filter(|(kind, _)| self.installers.iter().any(|one| one.kind() == *kind)) {
                Some((kind, name)) => shares.entry(kind).or_default().push(name.to_owned()),
                None => left.push(name.clone()),
            }
        }
        for installer in &self.installers {
            let claimed = self.runtime.io().handle().block_on(installer.claims(&left));
            left.retain(|name| !claimed.contains(name));
            if !claimed.is_empty() {
                shares.entry(installer.kind()).or_default().extend(claimed);
            }
        }
        if let Some(first) = self.installers.first().filter(|_| !left.is_empty()) {
            shares.entry(first.kind()).or_default().extend(left);
        }
        shares
    }

    fn together(
        &self,
        mut plan_of: impl AsyncFnMut(&dyn Installer) -> Result<Plan, Problem>,
    ) -> anyhow::Result<Plan> {
        let mut whole = Plan::nothing();
        for installer in &self.installers {
            let plan = self.runtime.io().handle().block_on(plan_of(installer.as_ref())).map_err(in_words)?;
            whole = whole.and(plan)?;
        }
        Ok(whole)
    }

    /// Returns the run that was begun and did not end, if there is one. Fails while another process is at it.
    pub(super) fn unfinished(&self) -> anyhow::Result<Option<Run>> {
        let unfinished = self.runs.list()?.into_iter().find(|run| run.outcome.is_none());
        if unfinished.is_some() {
            drop(self.lock()?);
        }
        Ok(unfinished)
    }

    fn lock(&self) -> anyhow::Result<RunLock> {
        self.runs.lock()?.context(
            "another run is under way on this host; `lightship history` shows it, try again when it ended",
        )
    }

    /// Ends the record of a run that was cut off and is not gone on with.
    pub(super) fn give_up(&self, run: &Run) -> anyhow::Result<()> {
        let _lock = self.lock()?;
        let step = run.begun.as_deref().unwrap_or("its beginning");
        let mut ended = run.clone();
        ended.outcome = Some(RunOutcome::Failed { reason: format!("it was cut off in {step}") });
        ended.ended_at = Some(self.clock.now());
        self.runs.write(&ended).context("its end could not be written down")
    }

    /// Carries a run out, or to its end, and tells how it goes on.
    pub(super) fn carry_out(&self, run: Run) -> anyhow::Result<Run> {
        let _lock = self.lock()?;
        // Who had the lock before may have brought it to its end.
        let run = self.runs.read(&run.id)?.unwrap_or(run);
        if run.outcome.is_some() {
            return Ok(run);
        }
        let steps: Vec<Box<dyn Step>> = self
            .installers
            .iter()
            .filter(|installer| run.plan.changes.of(installer.kind()).next().is_some())
            .flat_map(|installer| installer.steps(&self.dir))
            .collect();
        let tell = |progress: Progress| tell(&progress);
        let ended =
            self.runtime.io().handle().block_on(carry_out(&self.runs, run, &steps, &self.clock, &tell))?;
        end_line();
        Ok(ended)
    }

    fn automatic(&self, plan: &Plan) -> anyhow::Result<Vec<String>> {
        let mut all = Vec::new();
        for installer in &self.installers {
            all.extend(self.runtime.io().handle().block_on(installer.automatic(plan)).map_err(in_words)?);
        }
        Ok(all)
    }
}

/// Reads what the owner of this host allows. What cannot be read, or could be written by others, allows nothing.
fn policy(path: &Path) -> anyhow::Result<Policy> {
    let named = || format!("the policy {} cannot be followed", path.display());
    let file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Policy::default()),
        file => file.with_context(named)?,
    };
    let about = file.metadata().with_context(named)?;
    let is_of_root = about.uid() == 0 || about.uid() == rustix::process::geteuid().as_raw();
    if !is_of_root || about.mode() & 0o022 != 0 {
        bail!(
            "{}: others than root may write it; run `chown root: FILE` and `chmod 644 FILE` on it",
            named()
        );
    }
    let mut text = String::new();
    file.take(POLICY_LIMIT).read_to_string(&mut text).with_context(named)?;
    Policy::parse(&text).with_context(named)
}

/// A new run of a plan.
pub(super) fn new_run(host: &Host, plan: Plan, undoes: Option<&Run>) -> anyhow::Result<Run> {
    let now = host.clock.now();
    let letters = &Chance::system().uuid().simple().to_string()[..6];
    let mut automatic = host.automatic(&plan)?;
    // What a run made count as wanted was not before it.
    automatic.extend(undoes.iter().flat_map(|run| run.automatic.clone()));
    automatic.sort();
    automatic.dedup();
    let undoes = undoes.map(|run| run.id.clone());
    Ok(Run { undoes, automatic, ..Run::new(RunId::new(now, letters), plan, user(), now) })
}

fn user() -> String {
    let named = ["SUDO_USER", "USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok());
    let named = named.filter(|name| !name.is_empty());
    spell_out(&named.unwrap_or_else(|| format!("uid {}", rustix::process::getuid().as_raw())))
}

/// What is said of a run that did not end.
pub(super) fn cut_off(run: &Run) -> String {
    let step = run.begun.as_deref().map(|step| format!(" in its step {step}")).unwrap_or_default();
    format!(
        "the run {} was cut off{step}: finish it with `lightship install --plan {}`, or take it back with \
         `lightship rollback {}`",
        run.id,
        run.plan.id().short(),
        run.id
    )
}

fn in_words(problem: Problem) -> anyhow::Error {
    let way_out = problem.way_out.map(|way_out| format!("; {way_out}")).unwrap_or_default();
    anyhow!("{}{way_out}", problem.reason)
}

/// Asks a person. Without one `--yes` is needed.
pub(super) fn confirmed(yes: bool, question: &str) -> anyhow::Result<bool> {
    if yes {
        return Ok(true);
    }
    if !std::io::stdin().is_terminal() {
        bail!("nobody is there to ask: add `--yes` to do it, or `--dry-run` to only see it");
    }
    eprint!("{question} [y/N] ");
    std::io::stderr().flush().ok();
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    let is_yes = matches!(answer.trim(), "y" | "Y" | "yes");
    if !is_yes {
        eprintln!("nothing was changed");
    }
    Ok(is_yes)
}

/// Says something beside the data.
pub(super) fn told(words: &str) {
    eprintln!("{}", spell_out(words));
}

fn tell(progress: &Progress) {
    let is_line = std::io::stderr().is_terminal();
    match progress {
        Progress::Begins(step) => {
            end_line();
            eprintln!("{step}");
        }
        Progress::Waits(words) | Progress::Does(words) => {
            end_line();
            eprintln!("{}", spell_out(words));
        }
        Progress::Percent(percent, words) if is_line => {
            let filled = usize::from(*percent) / 5;
            let bar = format!("{}{}", "#".repeat(filled), ".".repeat(20 - filled.min(20)));
            eprint!("\r\x1b[2K[{bar}] {percent:3} % {}", spell_out(words));
            std::io::stderr().flush().ok();
        }
        Progress::Percent(..) => {}
    }
}

fn end_line() {
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[2K");
    }
}

/// Shows a plan to a person.
pub(super) fn show_plan(plan: &Plan) -> anyhow::Result<()> {
    let changes = plan.changes.all();
    if changes.is_empty() {
        output::line("Nothing to install.")?;
    } else {
        let rows = changes.iter().take(MOST_SHOWN).map(|change| row(plan, change)).collect();
        output::table(&["WHAT", "NAME", "FROM", "TO", "UNDO"], rows, "")?;
        if changes.len() > MOST_SHOWN {
            output::line(&format!("and {} more; `--json` has all", changes.len() - MOST_SHOWN))?;
        }
    }
    let on_host = &plan.on_host;
    for left in &on_host.left_out {
        output::line(&format!("left out: {}: {}", spell_out(&left.name), spell_out(&left.reason)))?;
    }
    if changes.is_empty() {
        return Ok(());
    }
    for file in &on_host.config_files {
        output::line(&format!(
            "{} ({}) was edited: {}",
            spell_out(&file.path),
            spell_out(&file.package),
            file.outcome
        ))?;
    }
    for thing in &on_host.stands_on {
        output::line(&format!("this program stands on {}", spell_out(thing)))?;
    }
    if let Some(reason) = &on_host.reboot {
        output::line(&format!("restart of the host: {}", spell_out(reason)))?;
    }
    let room = |bytes: i64| format!("{:.1} MB", bytes as f64 / 1_000_000.0);
    let download = room(i64::try_from(on_host.download_bytes).unwrap_or(i64::MAX));
    output::line(&format!(
        "{}, {download} to fetch, {} on the disk; {}",
        output::count(changes.len() as u64, "change"),
        room(on_host.disk_bytes),
        plan.undo_line()
    ))?;
    output::line(&format!("plan {}", plan.id()))
}

fn row(plan: &Plan, change: &PlannedChange) -> Vec<String> {
    let version = |version: &Option<String>| version.as_deref().map_or_else(|| "-".into(), spell_out);
    let thing = format!("{}:{}", change.name, change.arch);
    let undo = plan.on_host.undo.get(&thing).copied().unwrap_or(UndoSource::Impossible);
    let undo = if change.operation == Operation::Remove || undo != UndoSource::NotNeeded {
        undo.words()
    } else {
        "certain, it is removed again"
    };
    vec![
        change.operation.as_str().to_owned(),
        spell_out(&change.name),
        version(&change.from),
        version(&change.to),
        undo.to_owned(),
    ]
}

/// Says how a run came out. Returns the exit code.
pub(super) fn finish(run: &Run, common: &Common) -> anyhow::Result<ExitCode> {
    let outcome = run.outcome.as_ref().context("the run did not end")?;
    if common.json {
        output::json(&json!({ "run": run_in_json(run, None) }))?;
    } else {
        output::line(&said(run, outcome))?;
    }
    Ok(match outcome {
        RunOutcome::Verified => ExitCode::SUCCESS,
        RunOutcome::NotStarted { is_refused: true, .. } => ExitCode::from(REFUSED),
        _ => ExitCode::FAILURE,
    })
}

fn said(run: &Run, outcome: &RunOutcome) -> String {
    let id = &run.id;
    let reason = spell_out(outcome.reason().unwrap_or_default());
    match outcome {
        RunOutcome::Verified => {
            let changes = output::count(run.plan.changes.all().len() as u64, "change");
            let back =
                if run.undoes.is_some() { "" } else { &format!("; `lightship rollback {id}` takes it back") };
            format!("{id}: verified, {changes} looked at{back}")
        }
        RunOutcome::NotStarted { .. } => format!("{id}: not started, nothing was changed: {reason}"),
        RunOutcome::Failed { .. } => {
            format!(
                "{id}: failed: {reason}; `lightship history {id}` has the log, `lightship rollback {id}` takes it back"
            )
        }
        RunOutcome::RolledBack { .. } => format!("{id}: failed, and the old state is back: {reason}"),
        RunOutcome::RollbackFailed { .. } => {
            format!(
                "{id}: failed, and the old state is not back: {reason}; `lightship history {id}` has the log"
            )
        }
    }
}

/// A run for programs.
pub(super) fn run_in_json(run: &Run, undone_by: Option<&RunId>) -> Value {
    json!({
        "id": run.id,
        "plan_id": run.plan.id(),
        "by": run.by,
        "started_at": run.started_at,
        "ended_at": run.ended_at,
        "outcome": run.outcome.as_ref().map(RunOutcome::as_str),
        "reason": run.outcome.as_ref().and_then(RunOutcome::reason),
        "step": run.begun,
        "undoes": run.undoes,
        "undone_by": undone_by,
        "changes": run.plan.changes,
    })
}
