//! Has APT do exactly a plan: we are its solver, and we stand between it and dpkg.
//!
//! Every step can be done twice. What APT prints goes to the run's log; it is never killed with us.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::gate::Work;
use super::locks::holder;
use super::parse::{self, Installed, Refresh};
use super::places::{Places, file_in};
use super::plan::{in_words, now_installed, thing};
use super::{Apt, helper};
use crate::domain::update::{
    Changes, Kind, Operation, Plan, PlanAsk, PlannedChange, Problem, Run, UndoSource, Wanted,
};
use crate::process::{Program, find, own_program};
use crate::updates::installer::{Installer, Patience};
use crate::updates::keep::{shown, trouble};
use crate::updates::kept::{Kept, digest_of};
use crate::updates::packages::{
    Inventory, changed_beside, emptied, failed, has_room, looked_at, not_kept, note_inventory,
};
use crate::updates::run::{At, Back, Progress, Step, StepFailed};
use crate::updates::watch::{Watched, length, tail, watched};

/// How often is looked whether a lock is free.
const LOOK_EVERY: Duration = Duration::from_millis(300);
/// How long the present versions may take to be fetched.
const FETCH_LIMIT: Duration = Duration::from_secs(3_600);
/// Most names that are given to a program at once.
const NAMES_AT_ONCE: usize = 500;

/// Installs packages through APT.
pub struct AptInstaller {
    apt: Arc<Apt>,
    patience: Patience,
}

impl AptInstaller {
    /// Of the host it runs on.
    pub fn of_this_host(patience: Patience) -> Self {
        Self { apt: Arc::new(Apt::of_this_host()), patience }
    }
}

#[async_trait]
impl Installer for AptInstaller {
    fn kind(&self) -> Kind {
        Kind::Apt
    }

    async fn is_present(&self) -> bool {
        use crate::updates::scanner::Scanner;

        self.apt.is_present().await
    }

    async fn plan(&self, wanted: &Wanted, state_dir: &Path) -> Result<Plan, Problem> {
        self.apt.work_out(wanted, state_dir).await
    }

    async fn plan_repair(&self, state_dir: &Path) -> Result<Plan, Problem> {
        self.apt.work_out_repair(state_dir).await
    }

    async fn plan_undo(&self, run: &Run, only: &[String], state_dir: &Path) -> Result<Plan, Problem> {
        self.apt.work_out_undo(run, only, state_dir).await
    }

    fn kept(&self, state_dir: &Path) -> Option<Kept> {
        Some(Apt::kept(state_dir))
    }

    async fn replaced_files(&self, changes: &Changes) -> Result<BTreeSet<String>, Problem> {
        self.apt.files_of(changes).await
    }

    async fn automatic(&self, plan: &Plan) -> Result<Vec<String>, Problem> {
        let places = self.apt.places().await?;
        let names: Vec<String> = plan
            .changes
            .of(Kind::Apt)
            .filter(|change| change.from.is_some())
            .map(|change| in_words(change, &places.native))
            .collect();
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let ended = self.apt.program("apt-mark").args(["showauto", "--"]).args(&names).run().await;
        Ok(ended.map_err(trouble)?.stdout.lines().map(str::to_owned).collect())
    }

    fn steps(&self, state_dir: &Path) -> Vec<Box<dyn Step>> {
        let (apt, patience) = (Arc::clone(&self.apt), self.patience);
        let all = Shared { apt, patience, state_dir: state_dir.to_owned() };
        vec![
            Box::new(Check(all.clone())),
            Box::new(KeepOld(all.clone())),
            Box::new(Fetch(all.clone())),
            Box::new(Apply(all.clone())),
            Box::new(Mark(all.clone())),
            Box::new(Look(all)),
        ]
    }
}

/// What every step has.
#[derive(Clone)]
struct Shared {
    apt: Arc<Apt>,
    patience: Patience,
    state_dir: PathBuf,
}

/// Looks whether the host is as it was planned for.
struct Check(Shared);
/// Keeps what would be missed if it were put back.
struct KeepOld(Shared);
/// Fetches everything, so that a failed download changes nothing.
struct Fetch(Shared);
/// Lets APT work.
struct Apply(Shared);
/// Sets right which packages count as installed for others' sake.
struct Mark(Shared);
/// Looks at what is there now.
struct Look(Shared);

#[async_trait]
impl Step for Check {
    fn name(&self) -> &'static str {
        "apt.check"
    }

    async fn go(&self, at: &At<'_>) -> Result<Value, StepFailed> {
        let places = self.0.free(at).await?;
        let installed = self.0.apt.installed(&places).await.map_err(failed)?;
        let mends = mends(at);
        let mut half: Vec<&str> = installed
            .iter()
            .filter(|(_, package)| package.is_broken)
            .map(|(name, _)| name.as_str())
            .collect();
        if mends {
            // What the run left behind is what is to be put right.
            half.retain(|name| !at.run.plan.changes.of(Kind::Apt).any(|change| thing(change) == **name));
        }
        if places.is_interrupted() && !mends || !half.is_empty() {
            return Err(StepFailed::because(format!(
                "an earlier installation was broken off{}: `lightship repair` brings it to its end, then try again",
                if half.is_empty() {
                    String::new()
                } else {
                    format!(" ({} half installed)", half.join(", "))
                },
            )));
        }
        for change in at.run.plan.changes.of(Kind::Apt) {
            let now = now_installed(&installed, change).map(|package| &package.version);
            if now != change.from.as_ref() {
                let word =
                    |version: Option<&String>| version.map_or("not installed", String::as_str).to_owned();
                let (name, now, planned) = (&change.name, word(now), word(change.from.as_ref()));
                let reason = format!("the plan no longer holds: {name} is {now}, planned was {planned}");
                return Err(StepFailed::refused(reason));
            }
        }
        let on_host = &at.run.plan.on_host;
        has_room(places.archives(), on_host.download_bytes)?;
        has_room(places.dpkg(), u64::try_from(on_host.disk_bytes).unwrap_or(0))?;
        Ok(Value::Null)
    }
}

#[async_trait]
impl Step for KeepOld {
    fn name(&self) -> &'static str {
        "apt.keep_old"
    }

    async fn go(&self, at: &At<'_>) -> Result<Value, StepFailed> {
        let places = self.0.apt.places().await.map_err(failed)?;
        let kept = Apt::kept(&self.0.state_dir);
        let folder = at.folder.join("old");
        let (mut digests, mut missing) = (Vec::new(), Vec::new());
        for change in at.run.plan.changes.of(Kind::Apt) {
            let Some(from) = change.from.as_ref().filter(|_| change.operation != Operation::Configure) else {
                continue;
            };
            match kept.find(change, from) {
                Some(file) => digests.push(file.digest),
                None => missing.push((change, from)),
            }
        }
        self.0.fetch_together(at, &places, &missing, &folder).await?;
        for (change, from) in missing {
            let source = self.0.old_file(&places, change, from, &folder).await?;
            if let Some(file) = source {
                digests.push(kept.keep(change, from, &file).map_err(|error| not_kept(&change.name, &error))?);
            } else if at.run.plan.on_host.undo.get(&thing(change)).is_some_and(|undo| undo.is_certain()) {
                let name = &change.name;
                let reason =
                    format!("the plan no longer holds: nobody has {name} {from} any more to put it back");
                return Err(StepFailed::refused(reason));
            }
        }
        // What was fetched is kept by now.
        let _ = fs::remove_dir_all(&folder);
        Ok(json!({ "kept": digests }))
    }
}

#[async_trait]
impl Step for Fetch {
    fn name(&self) -> &'static str {
        "apt.fetch"
    }

    async fn go(&self, at: &At<'_>) -> Result<Value, StepFailed> {
        if mends(at) {
            // What is undone was kept. And APT fetches nothing while an installation is broken off, which may be what is mended.
            return Ok(Value::Null);
        }
        let places = self.0.free(at).await?;
        discard_altered(at, &places).map_err(|error| not_in_cache(&places, &error))?;
        let aside = self.0.set_up(at, false)?;
        self.0.apt_get(at, &aside, &["--download-only"]).await?;
        // After a power cut APT would find files of the right length, and without their content.
        let files = fetched(at, &places).map(|(_, file)| file);
        have_on_disk(places.archives(), files).map_err(|error| not_in_cache(&places, &error))?;
        Ok(Value::Null)
    }
}

#[async_trait]
impl Step for Apply {
    fn name(&self) -> &'static str {
        "apt.apply"
    }

    fn changes_the_host(&self) -> bool {
        true
    }

    async fn go(&self, at: &At<'_>) -> Result<Value, StepFailed> {
        let is_again = at.is_again(self.name());
        // One that was begun before may have stopped anywhere, whatever it is that ends it now.
        let mut is_begun = is_again;
        match self.0.apply(at, is_again, &mut is_begun).await {
            Ok(()) => Ok(Value::Null),
            Err(failed) if is_begun => Err(looked_at(failed, self.0.is_untouched(at).await)),
            Err(failed) => Err(failed),
        }
    }
}

#[async_trait]
impl Step for Mark {
    fn name(&self) -> &'static str {
        "apt.mark"
    }

    async fn go(&self, at: &At<'_>) -> Result<Value, StepFailed> {
        let places = self.0.apt.places().await.map_err(failed)?;
        let installed = self.0.apt.installed(&places).await.map_err(failed)?;
        let there = |change: &&PlannedChange| now_installed(&installed, change).is_some();
        let changes = at.run.plan.changes.of(Kind::Apt).filter(there);
        let names: Vec<String> = changes
            .map(|change| in_words(change, &places.native))
            .filter(|name| at.run.automatic.contains(name))
            .collect();
        if !names.is_empty() {
            let ended = self.0.apt.program("apt-mark").args(["auto", "--"]).args(&names).run().await;
            let ended = ended.map_err(|error| StepFailed::because(error.to_string()))?;
            if ended.code != Some(0) {
                let reason = parse::error_of(&ended.stderr).unwrap_or_else(|| "APT did not say why".into());
                return Err(not_marked(&reason));
            }
        }
        let marks = places.marks();
        let folder = marks.parent().unwrap_or(Path::new("/")).to_owned();
        have_on_disk(&folder, std::iter::once(marks)).map_err(|error| not_marked(&error.to_string()))?;
        Ok(Value::Null)
    }
}

#[async_trait]
impl Step for Look {
    fn name(&self) -> &'static str {
        "apt.look"
    }

    async fn go(&self, at: &At<'_>) -> Result<Value, StepFailed> {
        let places = self.0.apt.places().await.map_err(failed)?;
        let installed = self.0.apt.installed(&places).await.map_err(failed)?;
        for change in at.run.plan.changes.of(Kind::Apt) {
            let now = now_installed(&installed, change);
            let version = now.map(|package| &package.version);
            if version != change.to.as_ref() {
                let now = version.map_or("not installed", String::as_str);
                let planned = change.to.as_deref().unwrap_or("its removal");
                let reason = format!("{} is {now} afterwards, planned was {planned}", change.name);
                return Err(StepFailed::because(reason));
            }
            if now.is_some_and(|package| package.is_broken) {
                return Err(StepFailed::because(format!("{} is half installed", change.name)));
            }
        }
        changed_beside(at, Kind::Apt, &inventory(&installed))?;
        let left: Vec<&str> = installed
            .iter()
            .filter(|(_, package)| package.is_broken)
            .map(|(name, _)| name.as_str())
            .collect();
        Ok(json!({ "looked_at": at.run.plan.changes.of(Kind::Apt).count(), "half_installed": left }))
    }
}

impl Shared {
    /// Installs, or what is left of it. `is_begun` is set before anything is changed.
    async fn apply(&self, at: &At<'_>, is_again: bool, is_begun: &mut bool) -> Result<(), StepFailed> {
        let places = self.free(at).await?;
        let installed = self.apt.installed(&places).await.map_err(failed)?;
        note_inventory(at, Kind::Apt, is_again, &inventory(&installed))?;
        let is_half = installed.values().any(|package| package.is_broken);
        if (is_again || mends(at)) && (places.is_interrupted() || is_half) {
            // A run of ours was cut off in the middle; to go on, or back, is what was ordered. What cannot be configured
            // is for APT to say.
            let options = self.apt.dpkg_options().await;
            let configure = self.apt.program("dpkg").args(options);
            let configure = configure.args(["--force-confdef", "--force-confold", "--configure", "-a"]);
            let (log, file) = (at.log(), at.folder.join("progress.txt"));
            let watched_for = Watched { file: &file, log: &log, silence: self.patience.silence };
            *is_begun = true;
            let running = configure.run_apart(&log, &file);
            let ended = watched(running, watched_for, parse::progress, at.tell).await?;
            ended.map_err(|error| StepFailed::because(error.to_string()))?;
        }
        if apts_own(at).is_empty() {
            return self.all_whole(at, &places).await;
        }
        let aside = self.set_up(at, is_again)?;
        *is_begun = true;
        self.apt_get(at, &aside, &[]).await
    }

    /// Waits until nobody else installs.
    async fn free(&self, at: &At<'_>) -> Result<Places, StepFailed> {
        let places = self.apt.places().await.map_err(failed)?;
        let locks = places.locks();
        let due = Instant::now() + self.patience.locks;
        let mut said = None;
        while let Some(holder) = holder(&locks) {
            let words = format!("waits for `{}` (process {})", holder.name, holder.pid);
            if Instant::now() >= due {
                let reason = format!("{words} since {} s; try again later", self.patience.locks.as_secs());
                return Err(StepFailed { reason, back: Back::NotNeeded });
            }
            if said.as_ref() != Some(&holder) {
                (at.tell)(Progress::Waits(words));
                said = Some(holder);
            }
            sleep(LOOK_EVERY).await;
        }
        Ok(places)
    }

    /// Fetches with one start of APT what a repository had when it was planned. What cannot be had spoils all of it: then each
    /// is asked for by itself.
    async fn fetch_together(
        &self,
        at: &At<'_>,
        places: &Places,
        missing: &[(&PlannedChange, &String)],
        folder: &Path,
    ) -> Result<(), StepFailed> {
        let is_offered = |change: &PlannedChange| {
            at.run.plan.on_host.undo.get(&thing(change)) == Some(&UndoSource::Repository)
        };
        let offered = missing.iter().filter(|(change, _)| is_offered(change));
        let named: Vec<String> =
            offered.map(|(change, from)| format!("{}={from}", in_words(change, &places.native))).collect();
        let folder = together(folder);
        emptied(&folder)?;
        for some in named.chunks(NAMES_AT_ONCE) {
            let download = self.download().args(some).in_folder(&folder).time_limit(FETCH_LIMIT);
            // What is there afterwards is looked at.
            let _ = download.run().await;
        }
        Ok(())
    }

    fn download(&self) -> Program {
        self.apt.program("apt-get").args(["download", "-q", "-o", "APT::Sandbox::User=root", "--"])
    }

    /// Returns a file of the present version: from APT's cache, from a repository, or put together again.
    async fn old_file(
        &self,
        places: &Places,
        change: &PlannedChange,
        version: &str,
        folder: &Path,
    ) -> Result<Option<PathBuf>, StepFailed> {
        let fetched = file_in(&together(folder), &change.name, version, &change.arch);
        for file in [places.archive(&change.name, version, &change.arch), fetched].into_iter().flatten() {
            if self.is_of(&file, change, version).await {
                return Ok(Some(file));
            }
        }
        let name = in_words(change, &places.native);
        let folder = folder.join("alone");
        emptied(&folder)?;
        let mut ways = vec![self.download().arg(format!("{name}={version}"))];
        if find("dpkg-repack").is_some() {
            ways.push(self.apt.program("dpkg-repack").arg(&name));
        }
        for way in ways {
            let ended = way.in_folder(&folder).time_limit(FETCH_LIMIT).run().await;
            if ended.is_ok_and(|ended| ended.code == Some(0))
                && let Some(file) = only_file(&folder)
                && self.is_of(&file, change, version).await
            {
                return Ok(Some(file));
            }
        }
        Ok(None)
    }

    /// True if a file is this package in this version, by its own words.
    async fn is_of(&self, file: &Path, change: &PlannedChange, version: &str) -> bool {
        let fields =
            self.apt.program("dpkg-deb").arg("-f").arg(file).args(["Package", "Version", "Architecture"]);
        let said = fields.run().await.map(|ended| ended.stdout).unwrap_or_default();
        let is = |field: &str, value: &str| said.lines().any(|line| line == format!("{field}: {value}"));
        is("Package", &change.name) && is("Version", version) && is("Architecture", &change.arch)
    }

    /// Writes down what solver and gate need to know. Returns the folder.
    fn set_up(&self, at: &At<'_>, is_again: bool) -> Result<PathBuf, StepFailed> {
        let folder = at.folder.join("apt");
        // APT hands the gate's path to a shell, and splits it at blanks.
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte);
        if !folder.as_os_str().as_encoded_bytes().iter().copied().all(is_plain) {
            let reason = format!(
                "{} holds other characters than letters, digits and `/._-`; set `LIGHTSHIP_STATE_DIR` to a plain path",
                folder.display()
            );
            return Err(StepFailed { reason, back: Back::NotNeeded });
        }
        let work = Work {
            changes: apts_own(at),
            is_again,
            kept: self.state_dir.join("kept/apt"),
            refusal: folder.join("refusal.txt"),
        };
        let set_up = || -> std::io::Result<()> {
            fs::create_dir_all(&folder)?;
            let program = own_program()?;
            for name in [helper::SOLVER, helper::GATE] {
                let link = folder.join(name);
                let _ = fs::remove_file(&link);
                symlink(&program, link)?;
            }
            let _ = fs::remove_file(&work.refusal);
            fs::write(
                folder.join("work.json"),
                serde_json::to_vec(&work).expect("it holds nothing that JSON cannot"),
            )
        };
        set_up().map_err(|error| StepFailed {
            reason: format!("{} cannot be written: {error}", folder.display()),
            back: Back::NotNeeded,
        })?;
        Ok(folder)
    }

    /// Runs APT on the plan. While somebody else has its locks it is tried again.
    async fn apt_get(&self, at: &At<'_>, aside: &Path, args: &[&str]) -> Result<(), StepFailed> {
        let due = Instant::now() + self.patience.locks;
        loop {
            let log = at.log();
            let before = length(&log);
            let progress = at.folder.join("progress.txt");
            let program = self.exact(at, aside, args);
            let running = program.run_apart(&log, &progress);
            let watched_for = Watched { file: &progress, log: &log, silence: self.patience.silence };
            let code = watched(running, watched_for, parse::progress, at.tell).await?;
            let code = code.map_err(|error| StepFailed::because(error.to_string()))?;
            if code == Some(0) {
                return Ok(());
            }
            let refusal = fs::read_to_string(aside.join("refusal.txt")).ok();
            let said = tail(&log, before);
            if let Refresh::Busy(holder) = parse::refresh(code, &said)
                && refusal.is_none()
                && Instant::now() < due
            {
                let holder = holder.unwrap_or_else(|| "somebody else".into());
                (at.tell)(Progress::Waits(shown(&format!("waits for process {holder}"))));
                sleep(LOOK_EVERY * 4).await;
                continue;
            }
            if let Some(refusal) = refusal {
                return Err(StepFailed::refused(shown(&refusal)));
            }
            let reason = failure(&said);
            let reason = reason.unwrap_or_else(|| match code {
                Some(code) => format!("APT ended with {code} and did not say why"),
                None => "APT was killed".into(),
            });
            return Err(StepFailed::because(shown(&reason)));
        }
    }

    fn exact(&self, at: &At<'_>, aside: &Path, args: &[&str]) -> Program {
        let gate = aside.join(helper::GATE).display().to_string();
        let changes: Vec<&PlannedChange> = at.run.plan.changes.of(Kind::Apt).collect();
        let mut program = self
            .apt
            .program("apt-get")
            .env("NEEDRESTART_MODE", "l")
            .env("UCF_FORCE_CONFFOLD", "1")
            .env("APT_LISTCHANGES_FRONTEND", "none")
            .env(helper::WORK, aside.join("work.json"))
            .args(["-y", "-q", "-o", "Dpkg::Use-Pty=0", "-o", "DPkg::Lock::Timeout=120"])
            .args(["-o", "Dpkg::Options::=--force-confdef", "-o", "Dpkg::Options::=--force-confold"])
            .args(["-o", "APT::Status-Fd=3", "-o", "APT::Get::AutomaticRemove=false"])
            .args(["-o", &format!("Dir::Bin::Solvers::={}", aside.display())])
            .args(["-o", &format!("APT::Solver={}", helper::SOLVER), "-o", "APT::Solver::RunAsUser=root"])
            .args(["-o", &format!("DPkg::Pre-Install-Pkgs::={gate}")])
            .args(["-o", &format!("DPkg::Tools::Options::{gate}::Version=3")]);
        if changes.iter().all(|change| change.to.is_some()) {
            program = program.arg("--no-remove");
        }
        if at.run.asked() == PlanAsk::Repair {
            program = program.args(["-o", "APT::Get::Fix-Broken=true"]);
        }
        program = program.args(args).arg("dist-upgrade");
        if at.run.undoes.is_some() {
            let kept = Apt::kept(&self.state_dir);
            let files = changes.iter().filter_map(|change| kept.find(change, change.to.as_ref()?));
            program = program.args(["--allow-downgrades", "--allow-change-held-packages", "--"]);
            program = program.args(files.map(|file| file.path));
        }
        program
    }

    /// Fails if something of the plan is half installed still, with what dpkg said of it.
    async fn all_whole(&self, at: &At<'_>, places: &Places) -> Result<(), StepFailed> {
        let installed = self.apt.installed(places).await.map_err(failed)?;
        let changes = at.run.plan.changes.of(Kind::Apt);
        let mut half =
            changes.filter(|change| now_installed(&installed, change).is_some_and(|one| one.is_broken));
        match half.next() {
            None => Ok(()),
            Some(change) => {
                let why = failure(&tail(&at.log(), 0)).unwrap_or_else(|| "dpkg did not say why".into());
                Err(StepFailed::because(shown(&format!("{} is half installed still: {why}", change.name))))
            }
        }
    }

    /// True if everything is as it was before; what cannot be found out is taken for changed.
    async fn is_untouched(&self, at: &At<'_>) -> bool {
        let Ok(places) = self.apt.places().await else { return false };
        let Ok(installed) = self.apt.installed(&places).await else { return false };
        if places.is_interrupted() {
            return false;
        }
        at.run.plan.changes.of(Kind::Apt).all(|change| {
            let now = now_installed(&installed, change);
            now.map(|package| &package.version) == change.from.as_ref()
                && now.is_none_or(|package| !package.is_broken)
        })
    }
}

fn inventory(installed: &BTreeMap<String, Installed>) -> Inventory {
    let entry =
        |(name, package): (&String, &Installed)| (name.clone(), (package.version.clone(), package.is_broken));
    installed.iter().map(entry).collect()
}

/// True if a broken off installation is no reason to stop: it is what is mended.
fn mends(at: &At<'_>) -> bool {
    at.run.undoes.is_some() || at.run.asked() == PlanAsk::Repair
}

/// The changes that APT makes: what is only to be configured dpkg does alone.
fn apts_own(at: &At<'_>) -> Changes {
    let is_apts =
        |change: &PlannedChange| change.kind == Kind::Apt && change.operation != Operation::Configure;
    at.run.plan.changes.filtered(is_apts)
}

/// What APT's cache holds of the plan.
fn fetched<'a>(at: &'a At<'_>, places: &'a Places) -> impl Iterator<Item = (&'a PlannedChange, PathBuf)> {
    at.run.plan.changes.of(Kind::Apt).filter_map(|change| {
        let file = places.archive(&change.name, change.to.as_ref()?, &change.arch)?;
        Some((change, file))
    })
}

/// Removes what has another content than was planned: APT takes any file of the right length for what it would fetch, and
/// the gate would then refuse it each time.
fn discard_altered(at: &At<'_>, places: &Places) -> std::io::Result<()> {
    for (change, file) in fetched(at, places) {
        if change.digest != Some(digest_of(&file)?) {
            fs::remove_file(file)?;
        }
    }
    Ok(())
}

/// Has the disk hold files that APT leaves to the kernel; those that are not there need not be.
fn have_on_disk(folder: &Path, files: impl Iterator<Item = PathBuf>) -> std::io::Result<()> {
    for file in files {
        match File::open(file) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            opened => opened?.sync_all()?,
        }
    }
    File::open(folder)?.sync_all()
}

fn not_marked(reason: &str) -> StepFailed {
    StepFailed::because(shown(&format!("the marks of packages were not set: {reason}")))
}

fn not_in_cache(places: &Places, error: &std::io::Error) -> StepFailed {
    StepFailed::because(format!(
        "what was fetched into {} is not sound: {error}",
        places.archives().display()
    ))
}

/// Where what was fetched at once is, in the folder of what is kept.
fn together(folder: &Path) -> PathBuf {
    folder.join("together")
}

fn only_file(folder: &Path) -> Option<PathBuf> {
    let mut files = fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path());
    let file = files.find(|path| path.extension().is_some_and(|ending| ending == "deb"))?;
    Some(file)
}

/// Why APT failed: its own error, and of dpkg's the package and the words before.
fn failure(said: &str) -> Option<String> {
    let of_dpkg = said.lines().position(|line| line.starts_with("dpkg: error processing"));
    if let Some(at) = of_dpkg {
        let lines: Vec<&str> = said.lines().skip(at).take(2).map(str::trim).collect();
        return Some(lines.join(" "));
    }
    parse::unmet(said).or_else(|| parse::error_of(said))
}
