//! Has DNF 4 do exactly a plan: it replays a file of ours, with no other repository than a folder of the planned packages.
//!
//! Every step can be done twice. What DNF prints goes to the run's log; it is never killed with us while it installs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::Dnf;
use super::now::{Packages, Stands, label, nevra};
use super::plan::{is_damaged, thing};
use super::repodata::{self, Described, Offered};
use super::transaction::{self, Outcome, Reason};
use crate::domain::update::{Changes, Kind, Operation, Plan, PlannedChange, Problem, Run, Wanted};
use crate::process::Program;
use crate::updates::installer::{Installer, Patience};
use crate::updates::keep::{shown, trouble};
use crate::updates::kept::{Kept, digest_of};
use crate::updates::packages::{
    changed_beside, emptied, failed, flush, has_room, looked_at, not_kept, not_read, note_inventory,
};
use crate::updates::run::{At, Back, Progress, Step, StepFailed};
use crate::updates::watch::{Watched, length, tail, watched};

/// How often is tried whether nobody else installs any more.
const TRY_EVERY: Duration = Duration::from_millis(1_000);
/// How long the present versions may take to be fetched.
const FETCH_LIMIT: Duration = Duration::from_secs(3_600);
/// The only repository while it is installed.
const REPOSITORY: &str = "lightship-run";
/// What tells one package from any other, by what RPM knows of its content.
const IDENTITY: &str = "%{NAME}|%{EPOCH}|%{VERSION}|%{RELEASE}|%{ARCH}|%{SHA256HEADER}|%{SHA1HEADER}|%{SIGMD5}|%{PAYLOADDIGEST}\n";

/// Installs packages through DNF 4.
pub struct DnfInstaller {
    dnf: Arc<Dnf>,
    patience: Patience,
}

impl DnfInstaller {
    /// Of the host it runs on.
    pub fn of_this_host(patience: Patience) -> Self {
        Self { dnf: Arc::new(Dnf::of_this_host()), patience }
    }
}

#[async_trait]
impl Installer for DnfInstaller {
    fn kind(&self) -> Kind {
        Kind::Dnf
    }

    async fn is_present(&self) -> bool {
        use crate::updates::scanner::Scanner;

        self.dnf.is_present().await
    }

    async fn plan(&self, wanted: &Wanted, state_dir: &Path) -> Result<Plan, Problem> {
        self.dnf.work_out(wanted, state_dir).await
    }

    async fn plan_undo(&self, run: &Run, only: &[String], state_dir: &Path) -> Result<Plan, Problem> {
        self.dnf.work_out_undo(run, only, state_dir).await
    }

    fn kept(&self, state_dir: &Path) -> Option<Kept> {
        Some(Dnf::kept(state_dir))
    }

    async fn replaced_files(&self, changes: &Changes) -> Result<BTreeSet<String>, Problem> {
        self.dnf.files_of(changes).await
    }

    async fn automatic(&self, plan: &Plan) -> Result<Vec<String>, Problem> {
        let names: Vec<String> = plan.changes.of(Kind::Dnf).map(counted).collect();
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let query = self.dnf.dnf().await?.args(["-q", "--disablerepo=*", "repoquery", "--installed"]);
        let query = query.args(["--qf", "%{name}.%{arch}|%{reason}"]).args(names);
        let said = super::worked("dnf repoquery", query.run().await.map_err(trouble)?, &[0])?.stdout;
        let for_others = |line: &str| {
            let (name, reason) = line.split_once('|')?;
            matches!(reason, "dependency" | "weak-dependency").then(|| name.to_owned())
        };
        Ok(said.lines().filter_map(for_others).collect())
    }

    fn steps(&self, state_dir: &Path) -> Vec<Box<dyn Step>> {
        let (dnf, patience) = (Arc::clone(&self.dnf), self.patience);
        let all = Shared { dnf, patience, state_dir: state_dir.to_owned() };
        vec![
            Box::new(Check(all.clone())),
            Box::new(KeepOld(all.clone())),
            Box::new(Fetch(all.clone())),
            Box::new(Apply(all.clone())),
            Box::new(Look(all)),
        ]
    }
}

/// How a package is called where those that count as installed for others' sake are named.
fn counted(change: &PlannedChange) -> String {
    format!("{}.{}", change.name, change.arch)
}

/// What every step has.
#[derive(Clone)]
struct Shared {
    dnf: Arc<Dnf>,
    patience: Patience,
    state_dir: PathBuf,
}

/// Looks whether the host is as it was planned for.
struct Check(Shared);
/// Keeps what would be missed if it were put back.
struct KeepOld(Shared);
/// Fetches everything, so that a failed download changes nothing.
struct Fetch(Shared);
/// Lets DNF work.
struct Apply(Shared);
/// Looks at what is there now.
struct Look(Shared);

#[async_trait]
impl Step for Check {
    fn name(&self) -> &'static str {
        "dnf.check"
    }

    async fn go(&self, at: &At<'_>) -> Result<Value, StepFailed> {
        self.0.dnf.four().await.map_err(failed)?;
        let packages = self.0.dnf.packages().await.map_err(failed)?;
        for change in at.run.plan.changes.of(Kind::Dnf) {
            match packages.stands(change) {
                Stands::Before => {}
                // What the run left behind is what is to be put right.
                Stands::Between if at.run.undoes.is_some() => {}
                other => return Err(no_longer(change, &other)),
            }
        }
        has_room(&self.0.state_dir, at.run.plan.on_host.download_bytes)?;
        Ok(Value::Null)
    }
}

/// Says that a package is not as it was planned for.
fn no_longer(change: &PlannedChange, stands: &Stands) -> StepFailed {
    let word = |version: &Option<String>| version.clone().unwrap_or_else(|| "not installed".into());
    let now = match stands {
        Stands::Before => word(&change.from),
        Stands::After => word(&change.to),
        Stands::Between => format!("{} and {}", word(&change.from), word(&change.to)),
        Stands::Elsewhere(version) => version.clone(),
    };
    let (name, planned) = (&change.name, word(&change.from));
    StepFailed::refused(format!("the plan no longer holds: {name} is {now}, planned was {planned}"))
}

#[async_trait]
impl Step for KeepOld {
    fn name(&self) -> &'static str {
        "dnf.keep_old"
    }

    async fn go(&self, at: &At<'_>) -> Result<Value, StepFailed> {
        let kept = Dnf::kept(&self.0.state_dir);
        let mut digests = Vec::new();
        let mut missing = Vec::new();
        for change in at.run.plan.changes.of(Kind::Dnf) {
            let Some(from) = &change.from else { continue };
            match kept.find(change, from) {
                Some(file) => digests.push(file.digest),
                None => missing.push((change, from)),
            }
        }
        let folder = at.folder.join("dnf/old");
        let (fetched, why) = self.0.old_files(at, &missing, &folder).await?;
        for (change, from) in missing {
            let name = &change.name;
            if let Some(file) = fetched.get(&nevra(change, from)) {
                let digest = kept.keep(change, from, file);
                digests.push(digest.map_err(|error| not_kept(name, &error))?);
            } else if at.run.plan.on_host.undo.get(&thing(change)).is_some_and(|undo| undo.is_certain()) {
                let why = why.map(|why| format!(": {why}")).unwrap_or_default();
                let reason = format!(
                    "the plan no longer holds: {name} {from} cannot be had any more to put it back{why}"
                );
                let reason = shown(&reason);
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
        "dnf.fetch"
    }

    async fn go(&self, at: &At<'_>) -> Result<Value, StepFailed> {
        if at.run.undoes.is_some() {
            // All of it was kept.
            return Ok(Value::Null);
        }
        let kept = Dnf::kept(&self.0.state_dir);
        let changes: Vec<&PlannedChange> = at.run.plan.changes.of(Kind::Dnf).collect();
        let comes: Vec<&PlannedChange> =
            changes.iter().copied().filter(|change| change.to.is_some()).collect();
        if comes.is_empty() {
            return Ok(Value::Null);
        }
        let folder = at.folder.join("dnf/new");
        emptied(&folder)?;
        let file = at.folder.join("dnf/fetch.json");
        write_json(&file, &transaction::file(&changes, |_| Reason::User))?;
        let due = Instant::now() + self.0.patience.locks;
        loop {
            // DNF checks signatures here, by the host's own settings, and takes the keys that those name.
            let program = self.0.dnf.dnf().await.map_err(failed)?;
            let program = program
                .args(["-y", "--setopt=strict=True", "--setopt=installonly_limit=0", "--downloadonly"])
                .arg(format!("--downloaddir={}", folder.display()))
                .args(["history", "replay"])
                .arg(&file);
            match self.0.run(at, program).await?.0 {
                Outcome::Done => break,
                Outcome::Busy(holder) => self.0.waits(at, &holder, due).await?,
                Outcome::Refused(differs) => return Err(differs_in(&differs)),
                Outcome::Failed(reason) => return Err(StepFailed::because(shown(&reason))),
            }
        }
        let mut by_digest = BTreeMap::new();
        for path in packages_in(&folder) {
            let digest = digest_of(&path).map_err(|error| not_read(&path, &error))?;
            by_digest.insert(digest, path);
        }
        for change in comes {
            let (Some(to), Some(digest)) = (&change.to, &change.digest) else { continue };
            let Some(path) = by_digest.get(digest) else {
                let name = &change.name;
                return Err(StepFailed::refused(format!(
                    "what the repository delivers as {name} {to} is not the file that was planned (SHA-256 {digest})"
                )));
            };
            kept.keep(change, to, path).map_err(|error| not_read(path, &error))?;
        }
        let _ = fs::remove_dir_all(&folder);
        Ok(Value::Null)
    }
}

#[async_trait]
impl Step for Apply {
    fn name(&self) -> &'static str {
        "dnf.apply"
    }

    fn changes_the_host(&self) -> bool {
        true
    }

    async fn go(&self, at: &At<'_>) -> Result<Value, StepFailed> {
        let applied = self.0.apply(at, at.is_again(self.name())).await;
        if let Err(failed) = applied {
            return Err(looked_at(failed, self.0.is_untouched(at).await));
        }
        self.0.have_on_disk(at).await.map(|()| Value::Null)
    }
}

#[async_trait]
impl Step for Look {
    fn name(&self) -> &'static str {
        "dnf.look"
    }

    async fn go(&self, at: &At<'_>) -> Result<Value, StepFailed> {
        let packages = self.0.dnf.packages().await.map_err(failed)?;
        for change in at.run.plan.changes.of(Kind::Dnf) {
            let stands = packages.stands(change);
            if stands != Stands::After {
                let planned = change.to.as_deref().unwrap_or("its removal");
                let now = match stands {
                    Stands::Elsewhere(version) => version,
                    _ => change.from.clone().unwrap_or_else(|| "not installed".into()),
                };
                let reason = format!("{} is {now} afterwards, planned was {planned}", change.name);
                return Err(StepFailed::because(reason));
            }
        }
        changed_beside(at, Kind::Dnf, &packages.inventory())?;
        let _ = fs::remove_dir_all(at.folder.join("dnf"));
        Ok(json!({ "looked_at": at.run.plan.changes.of(Kind::Dnf).count() }))
    }
}

/// What is still to be done of a plan.
#[derive(Default)]
struct Left {
    changes: Vec<PlannedChange>,
    /// Packages that RPM has to forget, so that they are installed anew with all their scripts.
    forgotten: Vec<String>,
}

impl Shared {
    async fn apply(&self, at: &At<'_>, is_again: bool) -> Result<(), StepFailed> {
        let due = Instant::now() + self.patience.locks;
        let comment = format!("lightship {}", at.run.id);
        let mut begun_at = None;
        loop {
            if let Some(pid) = at_work(&work_file(at)) {
                self.waits(at, &format!("DNF (process {pid}), which this run began"), due).await?;
                continue;
            }
            let packages = self.dnf.packages().await.map_err(failed)?;
            let found = match is_again {
                true => Some(Found {
                    ended_well: self.is_ended_well(&comment).await,
                    damaged: self.damaged(at, &packages).await?,
                }),
                false => None,
            };
            let left = left(at, &packages, found.as_ref())?;
            if left.changes.is_empty() {
                let said = tail(&at.log(), begun_at.unwrap_or(0));
                return transaction::failed_scripts(&said)
                    .map_or(Ok(()), |reason| Err(StepFailed::because(shown(&reason))));
            }
            note_inventory(at, Kind::Dnf, is_again, &packages.inventory())?;
            if !left.forgotten.is_empty() {
                let forget = self.rpm()?.args(["-e", "--justdb", "--noscripts", "--notriggers", "--nodeps"]);
                let ended = forget.args(&left.forgotten).run().await.map_err(trouble).map_err(failed)?;
                match transaction::outcome(ended.code, &ended.stderr) {
                    Outcome::Done => {}
                    Outcome::Busy(holder) => {
                        self.waits(at, &holder, due).await?;
                        continue;
                    }
                    Outcome::Refused(_) | Outcome::Failed(_) => {
                        let reason = format!("what was cut off cannot be begun anew: {}", ended.stderr);
                        return Err(StepFailed::because(shown(&reason)));
                    }
                }
            }
            let changes: Vec<&PlannedChange> = left.changes.iter().collect();
            let file = self.set_up(at, &packages, &changes).await?;
            let program = self.exact(at, &comment, &file).await?;
            let before = length(&at.log());
            let (outcome, said) = self.run(at, program).await?;
            match outcome {
                Outcome::Done => {
                    return transaction::failed_scripts(&said)
                        .map_or(Ok(()), |reason| Err(StepFailed::because(shown(&reason))));
                }
                Outcome::Busy(holder) => {
                    begun_at = Some(before);
                    self.waits(at, &holder, due).await?;
                }
                Outcome::Refused(differs) => return Err(differs_in(&differs)),
                Outcome::Failed(reason) => return Err(StepFailed::because(shown(&reason))),
            }
        }
    }

    /// Says whom it waits for, and waits a little; fails if that took too long.
    async fn waits(&self, at: &At<'_>, holder: &str, due: Instant) -> Result<(), StepFailed> {
        let words = shown(&format!("waits for {holder}"));
        if Instant::now() >= due {
            let reason = format!("{words} since {} s; try again later", self.patience.locks.as_secs());
            return Err(StepFailed { reason, back: Back::NotNeeded });
        }
        (at.tell)(Progress::Waits(words));
        sleep(TRY_EVERY).await;
        Ok(())
    }

    /// Runs DNF to its end, whatever becomes of us.
    async fn run(&self, at: &At<'_>, program: Program) -> Result<(Outcome, String), StepFailed> {
        let log = at.log();
        let before = length(&log);
        let file = work_file(at);
        fs::create_dir_all(at.folder.join("dnf")).map_err(|error| not_read(&file, &error))?;
        let running = program.run_apart(&log, &file);
        let watched_for = Watched { file: &log, log: &log, silence: self.patience.silence };
        let code = watched(running, watched_for, transaction::progress, at.tell).await?;
        let code = code.map_err(trouble).map_err(failed)?;
        let said = tail(&log, before);
        Ok((transaction::outcome(code, &said), said))
    }

    fn rpm(&self) -> Result<Program, StepFailed> {
        self.dnf.program("rpm").map_err(failed)
    }

    /// Fetches the present versions of packages. Returns those that are, by what RPM knows of their content, the very ones
    /// that are installed, and why others could not be fetched.
    async fn old_files(
        &self,
        at: &At<'_>,
        wanted: &[(&PlannedChange, &String)],
        folder: &Path,
    ) -> Result<(BTreeMap<String, PathBuf>, Option<String>), StepFailed> {
        let mut found = BTreeMap::new();
        let nevras = wanted.iter().map(|(change, version)| nevra(change, version)).collect();
        let offered = self.dnf.fetched_contents(nevras).await.map_err(failed)?;
        if offered.is_empty() {
            return Ok((found, None));
        }
        emptied(folder)?;
        let due = Instant::now() + self.patience.locks;
        let why = loop {
            let fetch = self.dnf.dnf().await.map_err(failed)?.time_limit(FETCH_LIMIT);
            let fetch = fetch
                .args(["-y", "--downloadonly"])
                .arg(format!("--downloaddir={}", folder.display()))
                .arg("reinstall")
                .args(offered.keys());
            let ended = fetch.run().await.map_err(trouble).map_err(failed)?;
            let said = format!("{}{}", ended.stdout, ended.stderr);
            match transaction::outcome(ended.code, &said) {
                Outcome::Busy(holder) => self.waits(at, &holder, due).await?,
                Outcome::Done => break None,
                Outcome::Refused(why) | Outcome::Failed(why) => break Some(why),
            }
        };
        let files = packages_in(folder);
        let mut by_identity = BTreeMap::new();
        for file in files {
            if let Some(identity) = self.identity(&["-qp"], file.as_os_str()).await? {
                by_identity.insert(identity, file);
            }
        }
        for (change, version) in wanted {
            let installed = self.identity(&["-q"], label(change, version).as_ref()).await?;
            if let Some(file) = installed.and_then(|identity| by_identity.remove(&identity)) {
                found.insert(nevra(change, version), file);
            }
        }
        Ok((found, why))
    }

    /// What tells this package from any other; none if there is nothing that does.
    async fn identity(&self, query: &[&str], what: &std::ffi::OsStr) -> Result<Option<String>, StepFailed> {
        let ended = self.rpm()?.args(query).args(["--qf", IDENTITY]).arg(what).run().await;
        let ended = ended.map_err(trouble).map_err(failed)?;
        let line = ended.stdout.lines().next().unwrap_or_default();
        let says_content = line.split('|').skip(5).any(|field| field != "(none)");
        Ok((ended.code == Some(0) && says_content).then(|| line.to_owned()))
    }

    /// Makes the repository and the file of what is to be done. Returns the file.
    async fn set_up(
        &self,
        at: &At<'_>,
        packages: &Packages,
        changes: &[&PlannedChange],
    ) -> Result<PathBuf, StepFailed> {
        let folder = at.folder.join("dnf/repository");
        emptied(&folder)?;
        // What DNF knows of a repository by this name from before is of another one.
        emptied(&at.folder.join("dnf/cache"))?;
        let kept: BTreeMap<String, PathBuf> =
            Dnf::kept(&self.state_dir).all().into_iter().map(|file| (file.digest, file.path)).collect();
        let mut described = BTreeMap::new();
        for change in changes {
            let (Some(to), Some(digest)) = (&change.to, &change.digest) else { continue };
            let name = &change.name;
            let gone = || {
                StepFailed::refused(format!("the kept file of {name} {to} is gone, or is not what it was"))
            };
            let path = kept.get(digest).ok_or_else(gone)?;
            if digest_of(path).map_err(|error| not_read(path, &error))? != *digest {
                return Err(gone());
            }
            let said = self.rpm()?.args(["-qp", "--qf", repodata::FORMAT]).arg(path).run().await;
            let said = said.map_err(trouble).map_err(failed)?.stdout;
            let package = Described::read(&said).filter(|read| read.nevra() == nevra(change, to));
            let package = package.ok_or_else(|| {
                StepFailed::refused(format!("the file that was planned for {name} {to} is another package"))
            })?;
            let file = format!("{digest}.rpm");
            let place = folder.join(&file);
            if fs::hard_link(path, &place).is_err() {
                fs::copy(path, &place).map_err(|error| not_read(path, &error))?;
            }
            described.insert(digest.as_str(), (file, length(&place), package));
        }
        let offered: Vec<Offered<'_>> = described
            .iter()
            .map(|(sha256, (file, bytes, described))| Offered { file, bytes: *bytes, sha256, described })
            .collect();
        repodata::write(&folder, &offered).map_err(|error| not_read(&folder, &error))?;
        let reason = |change: &PlannedChange| {
            let digest = change.digest.as_deref().unwrap_or_default();
            reason(at.run, packages, change, described.get(digest).map(|(_, _, described)| described))
        };
        let file = at.folder.join("dnf/apply.json");
        write_json(&file, &transaction::file(changes, reason))?;
        Ok(file)
    }

    async fn exact(&self, at: &At<'_>, comment: &str, file: &Path) -> Result<Program, StepFailed> {
        let folder = at.folder.join("dnf/repository");
        let cache = at.folder.join("dnf/cache");
        // What the host's settings leave out of updates was planned all the same, or is what was there before.
        Ok(self
            .dnf
            .dnf()
            .await
            .map_err(failed)?
            .args(["-y", "--setopt=strict=True", "--setopt=installonly_limit=0", "--disablerepo=*"])
            .args(["--disableexcludes=all", "--disableplugin=versionlock"])
            .arg(format!("--repofrompath={REPOSITORY},{}", folder.display()))
            .arg(format!("--setopt={REPOSITORY}.gpgcheck=0"))
            .arg(format!("--setopt={REPOSITORY}.repo_gpgcheck=0"))
            .arg(format!("--setopt={REPOSITORY}.module_hotfixes=1"))
            .arg(format!("--setopt=cachedir={}", cache.display()))
            .arg(format!("--comment={comment}"))
            .args(["history", "replay"])
            .arg(file))
    }

    /// True if DNF's last work was this run's, and ended well.
    async fn is_ended_well(&self, comment: &str) -> bool {
        let Ok(query) = self.dnf.dnf().await else { return false };
        let said = query.args(["--disablerepo=*", "history", "info", "last"]).run().await;
        said.is_ok_and(|ended| transaction::is_ended_well(&ended.stdout, comment))
    }

    /// Has the disk hold what was installed: RPM leaves that to the kernel, and what is written down next counts as done.
    async fn have_on_disk(&self, at: &At<'_>) -> Result<(), StepFailed> {
        let comes = |change: &PlannedChange| Some(label(change, change.to.as_ref()?));
        let labels: Vec<String> = at.run.plan.changes.of(Kind::Dnf).filter_map(comes).collect();
        let files = self.dnf.files(&labels).await.map_err(failed)?;
        let flushed = tokio::task::spawn_blocking(move || flush(&files)).await;
        flushed.map_err(std::io::Error::other).flatten().map_err(|error| {
            StepFailed::because(format!("it is installed, and the disk does not hold it: {error}"))
        })
    }

    /// Names those of the planned versions that are there, and not with all their files: after a power cut RPM knows of files
    /// whose content no disk ever held.
    async fn damaged(&self, at: &At<'_>, packages: &Packages) -> Result<BTreeSet<String>, StepFailed> {
        let mut damaged = BTreeSet::new();
        for change in at.run.plan.changes.of(Kind::Dnf) {
            let there = change.to.as_ref().filter(|_| packages.stands(change) == Stands::After);
            let Some(label) = there.map(|to| label(change, to)) else { continue };
            let verify = self.rpm()?.args(["-V", "--nodeps", "--noscripts", "--"]).arg(&label).run().await;
            // It ends with 1 if something differs.
            let said = verify.map_err(trouble).map_err(failed)?.stdout;
            if said.lines().any(is_damaged) {
                damaged.insert(label);
            }
        }
        Ok(damaged)
    }

    /// True if everything is as it was before; what cannot be found out is taken for changed.
    async fn is_untouched(&self, at: &At<'_>) -> bool {
        let Ok(packages) = self.dnf.packages().await else { return false };
        at.run.plan.changes.of(Kind::Dnf).all(|change| packages.stands(change) == Stands::Before)
    }
}

/// What a step that was cut off left behind.
struct Found {
    /// DNF's last work was this run's, and ended well.
    ended_well: bool,
    /// What [`Shared::damaged`] names.
    damaged: BTreeSet<String>,
}

/// Returns what is still to be done. After a crash every package is in one of four states, and each has its way on.
/// `found` is there if the step was begun before.
fn left(at: &At<'_>, packages: &Packages, found: Option<&Found>) -> Result<Left, StepFailed> {
    let mut left = Left::default();
    for change in at.run.plan.changes.of(Kind::Dnf) {
        let to = change.to.as_ref().map(|to| label(change, to));
        match (packages.stands(change), to, found) {
            (Stands::Before, ..) => left.changes.push(change.clone()),
            // RPM takes the old versions away last of all: the new one's script may not have ended.
            (Stands::Between, Some(to), found) if found.is_some() || at.run.undoes.is_some() => {
                left.forgotten.push(to);
                left.changes.push(change.clone());
            }
            // So may that of a package that is new.
            (Stands::After, Some(to), Some(found))
                if !found.ended_well && change.operation == Operation::Install =>
            {
                left.forgotten.push(to);
                left.changes.push(change.clone());
            }
            (Stands::After, Some(to), Some(found)) if found.damaged.contains(&to) => {
                let from = change.to.clone();
                left.changes.push(PlannedChange { operation: Operation::Reinstall, from, ..change.clone() });
            }
            (Stands::After, _, Some(_)) => {}
            (other, ..) => return Err(no_longer(change, &other)),
        }
    }
    Ok(left)
}

/// Why a package counts as installed afterwards.
fn reason(run: &Run, packages: &Packages, change: &PlannedChange, described: Option<&Described>) -> Reason {
    let for_others = |change: &PlannedChange| run.automatic.contains(&counted(change));
    let by = |is_for_others: bool| if is_for_others { Reason::Dependency } else { Reason::User };
    let is_known = run.undoes.is_some() || change.to.is_none();
    if is_known || for_others(change) || packages.is_beside(&change.name, &change.arch) {
        return by(for_others(change));
    }
    // What takes another one's place counts as that one did; what is simply new came for others.
    let takes_place = |other: &&PlannedChange| {
        other.to.is_none()
            && (other.name == change.name || described.is_some_and(|new| new.replaces(&other.name)))
    };
    let mut replaced = run.plan.changes.of(Kind::Dnf).filter(takes_place).peekable();
    if replaced.peek().is_none() { Reason::Dependency } else { by(replaced.all(for_others)) }
}

fn differs_in(differs: &str) -> StepFailed {
    StepFailed::refused(shown(&format!("the plan no longer holds: {differs}")))
}

/// A file that a DNF of this run has open for as long as it works.
fn work_file(at: &At<'_>) -> PathBuf {
    at.folder.join("dnf/at_work")
}

/// Returns which process has this file open as a DNF of ours has it, if one is left.
fn at_work(file: &Path) -> Option<u32> {
    let file = fs::canonicalize(file).ok()?;
    fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        (fs::read_link(entry.path().join("fd/3")).ok()? == file).then_some(pid)
    })
}

fn write_json(file: &Path, value: &Value) -> Result<(), StepFailed> {
    fs::write(file, value.to_string()).map_err(|error| not_read(file, &error))
}

fn packages_in(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let is_package = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "rpm");
    entries.flatten().map(|entry| entry.path()).filter(is_package).collect()
}
