//! What the verbs have in common that change this host: its installers, its records, and how both are shown.

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};
use serde_json::{Value, json};

use super::common::Common;
use super::records::Records;
use super::scan::images;
use super::values::{engine, helper_dir, patience, record_dir, undo_window};
use super::{output, sources};
use crate::chance::Chance;
use crate::clock::Clock;
use crate::config::{Role, Settings};
use crate::docker::{BollardDocker, EngineContainers};
use crate::domain::text::spell_out;
use crate::domain::update::{
    Aftermath, OnHost, Operation, Plan, PlanAsk, PlannedChange, Run, RunId, RunOutcome, Service, UndoSource,
    Wanted,
};
use crate::io::{Io, IoRuntime};
use crate::state_dir::{AgentIs, Runs};
use crate::updates::{HandsFault, HandsParts, OwnHands, Progress, Rights, cancel, installers};

/// Exit code: there is something to install.
pub(super) const PENDING: u8 = 2;
/// Exit code: only root may.
pub(super) const NEEDS_ROOT: u8 = 4;
/// Exit code: the plan no longer holds, or is not allowed; nothing was changed.
pub(super) const REFUSED: u8 = 5;
/// Most changes that are shown one by one.
const MOST_SHOWN: usize = 200;

/// This host, for who changes it.
pub(super) struct Host {
    /// What changes it, with the record of these verbs.
    hands: OwnHands,
    /// The same with the record of the helper, while there is one. A run is gone on with, or taken back, in the record that it is
    /// in: what it left for that lies beside it.
    helper: Option<OwnHands>,
    /// The record of an agent that is another user: shown, and never acted on by root.
    others: Option<Runs>,
    runtime: IoRuntime,
}

/// What whoever is root on a host changes it with, and records in `dir`.
pub(super) fn hands_of_root(settings: &Settings, dir: &Path, io: &Io) -> anyhow::Result<HandsParts> {
    let clock = Clock::system();
    let containers = EngineContainers::new(BollardDocker::at(engine(settings)?, io.clone()));
    Ok(HandsParts {
        dir: dir.to_owned(),
        beside: helper_dir(settings, dir),
        installers: installers(
            images(settings, dir, &clock, io.clone())?,
            containers,
            patience(settings),
            settings.labels.prefix.as_deref(),
            undo_window(settings),
            &clock,
        ),
        refreshing: Vec::new(),
        rights: Rights::all(),
        agent_is: AgentIs::Own,
        policy_file: settings.updates.policy_file.clone(),
        undo_window: undo_window(settings),
        clock,
        chance: Chance::system(),
    })
}

impl Host {
    /// Opens what is needed; changes nothing.
    pub(super) fn open(common: &Common) -> anyhow::Result<Self> {
        let settings = sources::load(common, Role::Client)?.settings;
        let agents = settings.state.dir.clone().context("no state directory")?;
        let dir = record_dir(&settings, &agents)?;
        let runtime = IoRuntime::start()?;
        let parts = hands_of_root(&settings, &dir, &runtime.io())?;
        let others = (dir != agents).then(|| Runs::of(&agents));
        let beside = if others.is_some() { Some(agents) } else { parts.beside };
        let hands = OwnHands::new(HandsParts { beside, ..parts });
        let helper = helper_dir(&settings, &dir).filter(|helper| helper.is_dir());
        let helper = helper.map(|helper| -> anyhow::Result<OwnHands> {
            // Who holds the right for the one record holds it for the other.
            let parts = hands_of_root(&settings, &helper, &runtime.io())?;
            Ok(OwnHands::new(HandsParts { beside: Some(dir), ..parts }))
        });
        let host = Self { hands, helper: helper.transpose()?, others, runtime };
        // Who cannot be told what is forbidden is told so before anything is worked out.
        host.hands.forbidden(&Plan::nothing().changes, &PlanAsk::install(Wanted::All))?;
        if host.is_root() {
            for hands in host.all() {
                if let Some(run) = host.wait(hands.end_restart())? {
                    told(&format!("{}: the host was started anew", run.id));
                }
            }
        }
        Ok(host)
    }

    fn all(&self) -> impl Iterator<Item = &OwnHands> {
        std::iter::once(&self.hands).chain(&self.helper)
    }

    /// Returns what changes the host with the record that a run is in; a run that is nowhere yet goes into that of these verbs.
    fn hands_of(&self, run: &RunId) -> &OwnHands {
        let has_it = |hands: &&OwnHands| hands.runs().read(run).is_ok_and(|run| run.is_some());
        self.helper.as_ref().filter(has_it).unwrap_or(&self.hands)
    }

    /// The same for what is asked for.
    fn hands_for(&self, ask: &PlanAsk) -> &OwnHands {
        ask.undoes().map_or(&self.hands, |run| self.hands_of(run))
    }

    /// Returns where these verbs keep what they need.
    pub(super) fn dir(&self) -> &Path {
        self.hands.dir()
    }

    /// Returns all runs on this host, the newest first.
    pub(super) fn runs(&self) -> anyhow::Result<Vec<Run>> {
        Ok(Records::new(self.all().map(|hands| hands.runs().clone())).list()?)
    }

    /// Fails for a run that is in the record of an agent that is another user.
    pub(super) fn may_act_on(&self, run: &RunId) -> anyhow::Result<()> {
        let is_there = |others: &&Runs| others.read(run).is_ok_and(|run| run.is_some());
        if self.others.as_ref().filter(is_there).is_some() {
            bail!(
                "the agent of this host carried {run} out, and is not root: what it wrote down does not tell root what to do; take the \
                 run back on the master's page, or with `lightship runs undo HOST {run}`"
            );
        }
        Ok(())
    }

    /// Returns the run that was begun and did not end, if there is one. Fails while another process is at it.
    pub(super) fn unfinished(&self) -> anyhow::Result<Option<Run>> {
        for hands in self.all() {
            if let Some(run) = hands.unfinished()? {
                return Ok(Some(run));
            }
        }
        Ok(None)
    }

    /// Ends the record of a run that was cut off and is not gone on with.
    pub(super) fn give_up(&self, run: &Run) -> anyhow::Result<()> {
        Ok(self.hands_of(&run.id).give_up(run)?)
    }

    /// A run that goes on with a plan whose run failed.
    pub(super) fn new_run_after(&self, failed: &Run) -> Run {
        self.hands_of(&failed.id).new_run_after(failed, user())
    }

    /// True if this user may install packages.
    #[expect(clippy::unused_self, reason = "who may do it is asked of the host")]
    pub(super) fn is_root(&self) -> bool {
        rustix::process::geteuid().is_root()
    }

    /// Says what the owner of this host forbids of a plan. True if that is nothing.
    pub(super) fn allows(&self, plan: &Plan, ask: &PlanAsk) -> anyhow::Result<bool> {
        let forbidden = self.hands_for(ask).forbidden(&plan.changes, ask)?;
        for one in forbidden.iter().take(MOST_SHOWN) {
            eprintln!("the policy of this host forbids it: {}", spell_out(&one.to_string()));
        }
        Ok(forbidden.is_empty())
    }

    /// Works out what would be changed.
    pub(super) fn plan(&self, ask: &PlanAsk) -> anyhow::Result<Plan> {
        Ok(self.wait(self.hands_for(ask).work_out(ask))?)
    }

    /// Carries a plan out as a new run, and tells how it goes on.
    pub(super) fn carry_out_new(&self, plan: Plan, ask: &PlanAsk) -> anyhow::Result<Run> {
        let hands = self.hands_for(ask);
        let run = self.wait(hands.new_run(plan, user(), ask))?;
        self.carry_out_with(hands, run)
    }

    /// Shows what would be done, asks, and does it; with the exit code of what came of it.
    pub(super) fn ask_and_carry_out(
        &self,
        plan: Plan,
        ask: &PlanAsk,
        question: &str,
        agreed: &Agreed,
        common: &Common,
    ) -> anyhow::Result<ExitCode> {
        if agreed.dry_run || plan.changes.is_empty() {
            if common.json { output::json(&plan_in_json(&plan)) } else { show_plan(&plan) }?;
            return Ok(if plan.changes.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(PENDING) });
        }
        if !common.json {
            show_plan(&plan)?;
        }
        if !self.allows(&plan, ask)? {
            return Ok(ExitCode::from(REFUSED));
        }
        if !self.is_root() {
            eprintln!("lightship: changing the host needs root: run the same with sudo");
            return Ok(ExitCode::from(NEEDS_ROOT));
        }
        if !confirmed(agreed.yes, question)? {
            return Ok(ExitCode::FAILURE);
        }
        finish(&self.carry_out_new(plan, ask)?, common)
    }

    /// Carries a run out, or to its end, and tells how it goes on.
    pub(super) fn carry_out(&self, run: Run) -> anyhow::Result<Run> {
        let hands = self.hands_of(run.goes_on.as_ref().unwrap_or(&run.id));
        self.carry_out_with(hands, run)
    }

    fn carry_out_with(&self, hands: &OwnHands, run: Run) -> anyhow::Result<Run> {
        let ended = self.wait(hands.carry_out_run(run, &|progress| tell(&progress)))?;
        end_line();
        Ok(ended)
    }

    /// Calls a restart off: who waits for it hears of it, and without one it is done here.
    pub(super) fn call_off(&self, run: &Run) -> anyhow::Result<()> {
        let hands = self.hands_of(&run.id);
        match self.wait(hands.call_off_restart(run)) {
            Err(HandsFault::Busy) => Ok(cancel(hands.runs(), &run.id, &user())?),
            done => Ok(done?),
        }
    }

    fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.io().handle().block_on(work)
    }
}

pub(super) fn user() -> String {
    let named = ["SUDO_USER", "USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok());
    let named = named.filter(|name| !name.is_empty());
    spell_out(&named.unwrap_or_else(|| format!("uid {}", rustix::process::getuid().as_raw())))
}

/// Whether a change is made, and whether somebody is asked before.
#[derive(clap::Args)]
pub(super) struct Agreed {
    /// Show what would be done and change nothing.
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Do it without asking.
    #[arg(long)]
    pub(super) yes: bool,
}

/// A plan for programs.
pub(super) fn plan_in_json(plan: &Plan) -> Value {
    json!({ "id": plan.id(), "plan": plan, "on_host_id": plan.on_host.id(), "undo": plan.undo_line() })
}

/// What is said of a run that did not end.
pub(super) fn cut_off(run: &Run) -> String {
    if let PlanAsk::Reboot(_) = run.asked() {
        return format!(
            "a restart of this host is ordered ({}): nothing is changed before; `lightship reboot-host --cancel` calls it off",
            run.id
        );
    }
    let step = run.begun.as_deref().map(|step| format!(" in its step {step}")).unwrap_or_default();
    format!(
        "the run {} was cut off{step}: finish it with `lightship install --plan {}`, or take it back with \
         `lightship rollback {}`",
        run.id,
        run.plan.id().short(),
        run.id
    )
}

/// Asks a person. Without one `--yes` is needed.
pub(super) fn confirmed(yes: bool, question: &str) -> anyhow::Result<bool> {
    if yes {
        return Ok(true);
    }
    let is_yes = output::ask(question, "add `--yes` to do it, or `--dry-run` to only see it")?;
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
    for (name, how) in &on_host.containers {
        output::line(&format!("{}: {}", spell_out(name), spell_out(how)))?;
    }
    for thing in &on_host.stands_on {
        output::line(&format!("this program stands on {}", spell_out(thing)))?;
    }
    for line in services(on_host) {
        output::line(&spell_out(&line))?;
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
    let is_half = changes.iter().any(|change| change.operation == Operation::Configure);
    if is_half {
        output::line(
            "first dpkg configures what is half installed (`dpkg --configure -a`), then APT does the rest",
        )?;
    }
    output::line(&format!("plan {}", plan.id()))
}

/// Says which services run on what is replaced.
fn services(on_host: &OnHost) -> Vec<String> {
    let may = |service: &&Service| service.left_alone.is_none();
    let names: Vec<&str> = on_host.services.iter().filter(may).map(|service| service.name.as_str()).collect();
    let mut lines = Vec::new();
    if !names.is_empty() {
        lines.push(format!(
            "services that run on what is replaced: {}; `--restart-services` restarts them afterwards",
            names.join(", ")
        ));
    }
    for Service { name, left_alone } in &on_host.services {
        lines.extend(left_alone.as_ref().map(|reason| {
            format!("the service {name} runs on what is replaced, and is never restarted by a run: {reason}")
        }));
    }
    let unknown = on_host.services_unknown.as_ref();
    lines.extend(
        unknown.map(|reason| format!("services that run on what is replaced are not known: {reason}")),
    );
    lines
}

/// Says what was seen of the host beside its packages.
pub(super) fn seen_after(run: &Run) -> Vec<String> {
    let Some(Aftermath { restarted, stale, services_unknown, reboot }) = run.aftermath() else {
        return Vec::new();
    };
    let mut lines = Vec::new();
    if !restarted.is_empty() {
        lines.push(format!("services that were restarted, and run: {}", restarted.join(", ")));
    }
    for Service { name, left_alone } in stale {
        let why = left_alone.map(|reason| format!("; {reason}")).unwrap_or_default();
        lines.push(format!("the service {name} still runs on files that were replaced{why}"));
    }
    lines.extend(services_unknown.map(|reason| format!("services were not looked at: {reason}")));
    if !reboot.is_empty() {
        lines.push(format!("reboot wanted: because {}", reboot.join("; ")));
    }
    lines
}

fn row(plan: &Plan, change: &PlannedChange) -> Vec<String> {
    let version = |version: &Option<String>| version.as_deref().map_or_else(|| "-".into(), spell_out);
    let thing = format!("{}:{}", change.name, change.arch);
    let undo = plan.on_host.undo.get(&thing).copied().unwrap_or(UndoSource::Impossible);
    let undo = if matches!(change.operation, Operation::Configure | Operation::Restart) {
        "-"
    } else if change.operation == Operation::Remove || undo != UndoSource::NotNeeded {
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
        seen_after(run).iter().try_for_each(|line| output::line(&spell_out(line)))?;
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
            let on = if run.can_be_gone_on_with() {
                let plan = run.plan.id();
                format!("`lightship install --plan {}` goes on once that is mended, ", plan.short())
            } else {
                String::new()
            };
            format!(
                "{id}: failed: {reason}; `lightship history {id}` has the log; {on}`lightship rollback {id}` takes it back"
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
        "aftermath": run.aftermath(),
    })
}
