//! Packages of Fedora, RHEL and their like, through DNF 4 or dnf5.
//!
//! The first call refreshes the metadata as the host's own settings want it, in this user's own cache if that is not root;
//! every further one reads that cache. No call takes the lock of an installation, and none waits for another DNF.

mod evr;
mod install;
mod judge;
mod metadata;
mod now;
mod parse;
mod plan;
mod repodata;
mod transaction;

use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use rustix::process::geteuid;
use tokio::sync::Mutex;

use super::keep::{last_known, shown, still_pending, trouble};
use super::print::Print;
use super::scanner::{ScanAsk, Scanner};
use crate::domain::update::{Finding, Findings, Kind, Problem};
use crate::process::{Ended, Program, find};
use judge::Seen;
use parse::{Advisory, Generation, Refresh};

pub use install::DnfInstaller;

/// What DNF may be called; the version says which one it is.
const NAMES: [&str; 3] = ["dnf", "dnf5", "yum"];
/// Unless a person asks, what did not change is looked at again after this.
const LOOK_AGAIN_AFTER: TimeDelta = TimeDelta::hours(1);
/// Metadata that is older says too little. By itself DNF takes what is two days old.
const STALE_AFTER: TimeDelta = TimeDelta::hours(60);
/// How long one call may take; the first one may download metadata.
const CALL_LIMIT: Duration = Duration::from_secs(180);
/// Most that a list may hold.
const LIST_LIMIT: usize = 32 * 1024 * 1024;
/// Where packages, metadata and settings are.
const WATCHED: [&str; 6] = [
    "/var/lib/rpm",
    "/usr/lib/sysimage/rpm",
    "/var/cache/dnf",
    "/var/cache/libdnf5",
    "/etc/dnf",
    "/etc/yum.repos.d",
];

/// Looks for newer packages through DNF.
pub struct Dnf {
    /// Instead of those that are installed.
    programs: Option<PathBuf>,
    watched: Vec<PathBuf>,
    known: Mutex<Known>,
}

/// What is kept between two scans.
#[derive(Default)]
struct Known {
    read: Option<Print>,
    digest: Option<String>,
    looked_at: Option<DateTime<Utc>>,
    as_of: Option<DateTime<Utc>>,
}

/// The answers of one scan.
struct Looked {
    seen: Seen,
    refresh: Refresh,
    /// How old the metadata is, if DNF says so.
    age: Option<TimeDelta>,
    /// Why advisories could not be read, or not all of them.
    silence: Option<Problem>,
}

impl Dnf {
    /// Of the host it runs on.
    pub fn of_this_host() -> Self {
        Self { programs: None, watched: WATCHED.map(PathBuf::from).to_vec(), known: Mutex::default() }
    }

    /// Of whatever root the programs in this folder look at; `watched` is where that root has packages and metadata.
    pub fn with_programs(folder: &Path, watched: Vec<PathBuf>) -> Self {
        Self { programs: Some(folder.to_owned()), watched, known: Mutex::default() }
    }

    fn find(&self, name: &str) -> Option<PathBuf> {
        match &self.programs {
            Some(folder) => find(folder.join(name).to_str()?),
            None => find(name),
        }
    }

    fn program(&self, name: &str) -> Result<Program, Problem> {
        let path = self.find(name).ok_or_else(|| Problem {
            reason: format!("`{name}` is not installed"),
            way_out: Some(format!("install `{name}`")),
        })?;
        Ok(Program::new(path.display().to_string()).time_limit(CALL_LIMIT).stdout_limit(LIST_LIMIT).for_all())
    }

    /// Which DNF there is, and what it is called here.
    async fn generation(&self) -> Result<(Generation, &'static str), Problem> {
        let mut odd = None;
        for name in NAMES.into_iter().filter(|name| self.find(name).is_some()) {
            let ended = self.program(name)?.arg("--version").run().await.map_err(trouble)?;
            if let Some(generation) = parse::generation(&ended.stdout) {
                return Ok((generation, name));
            }
            odd.get_or_insert((name, ended));
        }
        let reason = match odd {
            Some((name, ended)) => {
                let line =
                    ended.stdout.lines().chain(ended.stderr.lines()).next().unwrap_or("nothing").to_owned();
                format!("`{name} --version` says `{line}`; Lightship reads DNF 4 and dnf5")
            }
            None => "no DNF is installed".into(),
        };
        Err(Problem { reason: shown(&reason), way_out: Some("update DNF".into()) })
    }

    async fn look(&self, by_person: bool) -> Result<Looked, Problem> {
        let (generation, name) = self.generation().await?;
        let mut looked = match generation {
            Generation::Four => self.look_with_four(name, by_person).await?,
            Generation::Five => self.look_with_five(name, by_person).await?,
        };
        let packages = self.program("rpm")?.args(["-qa", "--qf", parse::INSTALLED_FORMAT]);
        let packages = worked("rpm -qa", packages.run().await.map_err(trouble)?, &[0])?;
        looked.seen.installed = parse::installed(&packages.stdout);
        Ok(looked)
    }

    async fn look_with_four(&self, name: &'static str, by_person: bool) -> Result<Looked, Problem> {
        let call = async |args: &[&str]| {
            let program = self.program(name)?.arg("--setopt=exit_on_lock=True").args(args);
            program.run().await.map_err(trouble)
        };
        let fresh: &[&str] = if by_person { &["--refresh"] } else { &[] };
        let mut checked = call(&[fresh, &["check-update"]].concat()).await?;
        let refresh = parse::refresh(checked.code, &checked.stderr);
        let mut age = parse::age(&checked.stdout, &checked.stderr);
        if refresh != Refresh::Done {
            // What was there before is in the cache.
            checked = worked("dnf -C check-update", call(&["-C", "check-update"]).await?, &[0, 100])?;
            age = parse::age(&checked.stdout, &checked.stderr);
        }
        let mut silence = None;
        let mut seen = Seen { obsoleting: parse::obsoleting(&checked.stdout), ..Seen::default() };
        if checked.code == Some(100) {
            let lists = match self.lists_at_once(name).await? {
                Some(lists) => lists,
                None => {
                    let offers = ["repoquery", "--upgrades", "--latest-limit=1", "--qf", parse::OFFER_FORMAT];
                    let offers = call(&[&["-q", "-C"], offers.as_slice()].concat()).await?;
                    let offers = parse::offers(&worked("dnf repoquery", offers, &[0])?.stdout);
                    let read = |text: &str| Some(parse::advisories(text));
                    let mut told = |answer| told("dnf updateinfo", answer, read, &mut silence);
                    let advisories = told(call(&["-q", "-C", "updateinfo", "list"]).await);
                    let cves = told(call(&["-q", "-C", "updateinfo", "list", "--with-cve"]).await);
                    parse::Lists { offers, advisories, cves }
                }
            };
            seen.offers = lists.offers;
            seen.advisories = lists.advisories;
            seen.cves = lists.cves;
            let run = call(&["-C", "--assumeno", "--nobest", "upgrade"]).await?;
            seen.dry_run = Some(parse::dry_run(&run.stdout, &run.stderr));
        }
        Ok(Looked { seen, refresh, age, silence })
    }

    /// The three lists from one start of DNF, which takes most of the time of each. Its shell tells of no failure with its
    /// exit code; where anything is odd, each list is to be asked for by itself.
    async fn lists_at_once(&self, name: &'static str) -> Result<Option<parse::Lists>, Problem> {
        // It is for root only, whatever it is asked.
        if !geteuid().is_root() {
            return Ok(None);
        }
        let args = ["--setopt=exit_on_lock=True", "-q", "-C", "shell", "/dev/stdin"];
        let shell = self.program(name)?.args(args).input(parse::LISTS);
        let ended = shell.run().await.map_err(trouble)?;
        let is_whole = ended.code == Some(0) && ended.stderr.trim().is_empty();
        Ok(is_whole.then(|| parse::lists(&ended.stdout)).flatten())
    }

    async fn look_with_five(&self, name: &'static str, by_person: bool) -> Result<Looked, Problem> {
        let call = async |args: &[&str]| self.program(name)?.args(args).run().await.map_err(trouble);
        let fresh: &[&str] = if by_person { &["--refresh"] } else { &[] };
        let mut checked = call(&[fresh, &["check-upgrade", "--json"]].concat()).await?;
        let refresh = parse::refresh(checked.code, &checked.stderr);
        if refresh != Refresh::Done {
            checked =
                worked("dnf5 -C check-upgrade", call(&["-C", "check-upgrade", "--json"]).await?, &[0, 100])?;
        }
        let age = parse::age(&checked.stdout, &checked.stderr);
        let (offers, obsoleting) = parse::upgrades_of_five(&checked.stdout)
            .ok_or_else(|| misunderstood("dnf5 check-upgrade --json"))?;
        let mut seen = Seen { offers, obsoleting, ..Seen::default() };
        let mut silence = None;
        if checked.code == Some(100) {
            let read = parse::advisories_of_five;
            let mut told = |answer| told("dnf5 advisory list --json", answer, read, &mut silence);
            seen.advisories = told(call(&["-C", "advisory", "list", "--json"]).await);
            seen.cves = told(call(&["-C", "advisory", "list", "--json", "--with-cve"]).await);
            let run = call(&["-C", "--assumeno", "--no-best", "upgrade"]).await?;
            seen.dry_run = Some(parse::dry_run(&run.stdout, &run.stderr));
        }
        Ok(Looked { seen, refresh, age, silence })
    }

    fn print(&self) -> Print {
        self.watched.iter().fold(Print::default(), |print, folder| print.folder(folder))
    }

    async fn scan_known(&self, ask: &ScanAsk<'_>, known: &mut Known) -> Result<Findings, Problem> {
        let is_recent = known.looked_at.is_some_and(|at| ask.now - at < LOOK_AGAIN_AFTER && at <= ask.now);
        if let Some(last) = ask.last
            && !ask.by_person
            && is_recent
            && known.digest.as_deref() == Some(last.checked.digest.as_str())
            && known.read.as_ref() == Some(&self.print())
        {
            let findings = Findings::new(Kind::Dnf, last.items.clone());
            return Ok(match known.as_of {
                Some(as_of) => findings.as_of(as_of),
                None => findings,
            });
        }
        let looked = self.look(ask.by_person).await?;
        let items = looked.seen.findings();
        let is_done = looked.refresh == Refresh::Done;
        let findings = self.concluded(ask, items, &looked);
        *known = Known {
            // What is not as it should be is said again, so it is looked at again.
            read: (is_done && findings.checked.problem.is_none()).then(|| self.print()),
            digest: Some(findings.checked.digest.clone()),
            looked_at: Some(ask.now),
            as_of: findings.checked.as_of,
        };
        Ok(findings)
    }

    /// Puts together what was found and what is wrong.
    fn concluded(&self, ask: &ScanAsk<'_>, items: Vec<Finding>, looked: &Looked) -> Findings {
        let by_files = || match metadata::own_cache() {
            Some(cache) => metadata::refreshed_at(&[self.watched.as_slice(), &[cache]].concat()),
            None => metadata::refreshed_at(&self.watched),
        };
        let by_age = looked.age.map(|age| ask.now - age).or_else(by_files);
        let last = ask.last.and_then(|last| last.checked.as_of);
        let (as_of, why) = match &looked.refresh {
            Refresh::Done => {
                // Whoever asked had it fetched now.
                let as_of = by_age.or_else(|| ask.by_person.then_some(ask.now));
                return qualified(ask, items, looked, as_of.map(|as_of| as_of.min(ask.now)));
            }
            Refresh::Busy => (by_age.or(last), "another DNF is at work; the next scan tries again"),
            Refresh::Failed(reason) => (by_age.or(last), reason.as_str()),
        };
        let version = |name: &str| {
            let package =
                looked.seen.installed.iter().find(|((other, arch), _)| evr::called(other, arch) == name);
            package
                .and_then(|(_, versions)| versions.iter().map(|package| &package.evr).max())
                .map(evr::Evr::text)
        };
        let findings = Findings::new(Kind::Dnf, still_pending(items, ask.last, version));
        let (findings, since) = match as_of {
            Some(at) => (findings.as_of(at), format!("not known since {}", at.format("%Y-%m-%d %H:%M UTC"))),
            None => (findings, "not known".into()),
        };
        let way_out = "see that `dnf check-update` works on the host";
        findings.with_problem(
            shown(&format!("{since}: the metadata could not be refreshed: {why}")),
            Some(way_out.into()),
        )
    }
}

/// Says how what was found is to be taken: how old it is, and what of it is not known.
fn qualified(
    ask: &ScanAsk<'_>,
    items: Vec<Finding>,
    looked: &Looked,
    as_of: Option<DateTime<Utc>>,
) -> Findings {
    let (findings, why) = match &looked.silence {
        None => (Findings::new(Kind::Dnf, items), None),
        Some(why) => (Findings::new(Kind::Dnf, as_last_known(items, ask.last)), Some(why)),
    };
    let findings = match as_of {
        Some(as_of) => findings.as_of(as_of),
        None => findings,
    };
    match (as_of.filter(|as_of| ask.now - *as_of > STALE_AFTER), why) {
        (Some(as_of), _) => findings.with_problem(
            format!(
                "not known since {}: the metadata of a repository was not refreshed since",
                as_of.format("%Y-%m-%d %H:%M UTC")
            ),
            Some("run `dnf makecache --refresh`, and see that `metadata_expire` is not `never`".into()),
        ),
        (None, Some(why)) => findings.with_notice(
            shown(&format!("which of them mend holes is not known whole: {}", why.reason)),
            why.way_out.clone(),
        ),
        (None, None) => findings,
    }
}

/// What advisories said before of the same versions still holds.
fn as_last_known(mut items: Vec<Finding>, last: Option<&Findings>) -> Vec<Finding> {
    let known = |item: &Finding| {
        let known = last?.items.iter().find(|known| known.name == item.name)?;
        (known.available_version == item.available_version && known.is_security.is_some()).then_some(known)
    };
    for item in items.iter_mut().filter(|item| item.is_security.is_none()) {
        if let Some(known) = known(item) {
            (item.is_security, item.severity) = (known.is_security, known.severity);
            (item.advisories, item.cves) = (known.advisories.clone(), known.cves.clone());
        }
    }
    items
}

/// What advisories say. Where that cannot be had, updates are listed all the same.
fn told(
    call: &str,
    answer: Result<Ended, Problem>,
    read: fn(&str) -> Option<Vec<Advisory>>,
    silence: &mut Option<Problem>,
) -> Vec<Advisory> {
    let answer = answer.and_then(|ended| worked(call, ended, &[0]));
    let read = answer.and_then(|ended| read(&ended.stdout).ok_or_else(|| misunderstood(call)));
    read.unwrap_or_else(|why| {
        silence.get_or_insert(why);
        Vec::new()
    })
}

fn misunderstood(call: &str) -> Problem {
    Problem {
        reason: format!("what `{call}` printed is not the JSON that Lightship knows"),
        way_out: Some("report it, with what the call prints".into()),
    }
}

fn worked(call: &str, ended: Ended, codes: &[i32]) -> Result<Ended, Problem> {
    if ended.code.is_some_and(|code| codes.contains(&code)) {
        return Ok(ended);
    }
    let said = ended.stderr.lines().find(|line| !line.trim().is_empty()).unwrap_or("it did not say why");
    Err(Problem {
        reason: shown(&format!("`{call}` failed: {said}")),
        way_out: Some("run it on the host and see what it says".into()),
    })
}

#[async_trait]
impl Scanner for Dnf {
    fn kind(&self) -> Kind {
        Kind::Dnf
    }

    async fn is_present(&self) -> bool {
        if NAMES.iter().all(|name| self.find(name).is_none()) {
            return false;
        }
        // It had packages when it was read last.
        if self.known.lock().await.read.as_ref() == Some(&self.print()) {
            return true;
        }
        // Programs alone mean nothing: other systems offer them as packages.
        let Ok(rpm) = self.program("rpm") else { return false };
        let mut has_packages = false;
        let listed =
            rpm.args(["-qa", "--qf", ".\n"]).run_lines(|line| has_packages |= !line.is_empty()).await;
        listed.is_ok_and(|ended| ended.code == Some(0)) && has_packages
    }

    async fn scan(&self, ask: &ScanAsk<'_>) -> Findings {
        let mut known = self.known.lock().await;
        match self.scan_known(ask, &mut known).await {
            Ok(findings) => findings,
            Err(problem) => last_known(Kind::Dnf, ask.last, problem),
        }
    }
}

#[cfg(test)]
mod tests;
