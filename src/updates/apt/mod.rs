//! Packages of Debian, Ubuntu and their like.
//!
//! Reads through APT's own programs, as an ordinary user too; simulations take no lock. Only refreshing the lists needs a
//! right: without it the age of the lists is said. Lists, packages and settings that did not change are not read again.

mod cache;
mod gate;
mod helper;
mod install;
mod judge;
mod locks;
mod parse;
mod pins;
mod places;
mod plan;
mod solver;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::Mutex;

use super::keep::{last_known, shown, still_pending, trouble};
use super::print::Print;
use super::scanner::{ScanAsk, Scanner};
use crate::domain::update::{Finding, Findings, Kind, Problem};
use crate::process::{Ended, Program, find};
use cache::KeptCache;
pub use helper::run_for_apt;
pub use install::AptInstaller;
use judge::{Seen, installed_as};
use parse::{Installed, Policies, Policy, Record, Records, Refresh, Simulation};
use places::Places;

/// Lists that are older are refreshed, by whoever may.
const REFRESH_AFTER: TimeDelta = TimeDelta::hours(1);
/// After a refresh that failed the next one is not tried before this, unless a person asks.
const RETRY_AFTER: TimeDelta = TimeDelta::minutes(15);
/// Lists that are older say too little: the host has not refreshed them for more than a day.
const STALE_AFTER: TimeDelta = TimeDelta::hours(36);
/// How long a refresh may take.
const REFRESH_LIMIT: Duration = Duration::from_secs(180);
/// Of so many packages that stay behind the reason is asked for one by one.
const MAX_NAMED: usize = 10;
/// Unpacks lists, whatever they are packed with.
const HELPER: &str = "/usr/lib/apt/apt-helper";
/// Of so many packages the details are asked for at once.
const NAMES_AT_ONCE: usize = 1_000;

/// Looks for newer packages through APT.
pub struct Apt {
    config: Option<String>,
    cache: Option<Arc<KeptCache>>,
    known: Mutex<Known>,
}

/// What is kept between two scans.
#[derive(Default)]
struct Known {
    places: Option<Places>,
    /// What the last findings were read from.
    read: Option<Print>,
    /// Of the last findings.
    digest: Option<String>,
    /// Packages that are half installed.
    broken: Option<Problem>,
    refreshed_at: Option<DateTime<Utc>>,
    tried_at: Option<DateTime<Utc>>,
    failed: Option<Failed>,
}

/// The last refresh, which failed.
struct Failed {
    why: Refresh,
    /// How old the lists were before it: some of them may be new.
    as_of: Option<DateTime<Utc>>,
    /// What the files said after it; another word means that somebody else had more luck.
    by_files: Option<DateTime<Utc>>,
}

impl Apt {
    /// Of the host it runs on.
    pub fn of_this_host() -> Self {
        Self { config: None, cache: None, known: Mutex::default() }
    }

    /// Of whatever root this configuration file names.
    pub fn configured_by(config: &Path) -> Self {
        Self { config: Some(config.display().to_string()), cache: None, known: Mutex::default() }
    }

    /// Keeps a cache of the lists in this folder, and leaves APT's own as it is.
    #[must_use]
    pub fn keeping_cache_in(self, folder: PathBuf) -> Self {
        Self { cache: Some(Arc::new(KeptCache::in_folder(folder))), ..self }
    }

    fn program(&self, name: &str) -> Program {
        let program = Program::new(name).time_limit(Duration::from_secs(120)).for_all();
        match &self.config {
            Some(config) => program.env("APT_CONFIG", config.as_str()),
            None => program,
        }
    }

    /// Options that APT hands to dpkg: among them where its root is.
    async fn dpkg_options(&self) -> Vec<String> {
        let dump = self.program("apt-config").args(["dump", "--format", "%v%n", "DPkg::Options"]);
        let said = dump.run().await.map(|ended| ended.stdout).unwrap_or_default();
        said.lines().filter(|line| line.starts_with("--")).map(str::to_owned).collect()
    }

    /// A program that reads the lists.
    fn reader(&self, name: &str) -> Program {
        let options = self.cache.as_ref().map(|cache| cache.options());
        self.program(name).args(options.unwrap_or_default())
    }

    async fn places(&self) -> Result<Places, Problem> {
        let ended = self.program("apt-config").args(places::QUESTION).run().await.map_err(trouble)?;
        Places::parse(&ended.stdout).ok_or_else(|| Problem {
            reason: format!("`apt-config` did not say where APT's files are: {}", ended.stderr.trim()),
            way_out: Some("look at what `apt-config dump` says".into()),
        })
    }

    /// Refreshes the lists if they are old, and this user may.
    async fn refresh(
        &self,
        ask: &ScanAsk<'_>,
        known: &mut Known,
        places: &Places,
        as_of: Option<DateTime<Utc>>,
    ) {
        let is_old = as_of.is_none_or(|at| ask.now - at > REFRESH_AFTER);
        let is_early = known.tried_at.is_some_and(|at| ask.now - at < RETRY_AFTER && known.failed.is_some());
        if !places.may_refresh() || !(ask.by_person || is_old && !is_early) {
            return;
        }
        known.tried_at = Some(ask.now);
        let update = self.reader("apt-get").args(["update", "-q", "-o", "APT::Update::Error-Mode=any"]);
        let outcome = match update.time_limit(REFRESH_LIMIT).run().await {
            Ok(ended) => parse::refresh(ended.code, &ended.stderr),
            Err(error) => Refresh::Failed(error.to_string()),
        };
        known.failed = match outcome {
            Refresh::Done => {
                known.refreshed_at = Some(ask.now);
                None
            }
            why => Some(Failed { why, as_of, by_files: places.worked_at() }),
        };
    }

    /// Reads all there is; what changes meanwhile is read once more.
    async fn look(&self, places: &Places) -> Result<(Seen, Print), Problem> {
        let before = places.print();
        let seen = self.look_once(places).await?;
        let after = places.print();
        if before == after {
            return Ok((seen, after));
        }
        Ok((self.look_once(places).await?, after))
    }

    async fn look_once(&self, places: &Places) -> Result<Seen, Problem> {
        let targets = self.reader("apt-get").args(["indextargets", "--format", parse::TARGET_FORMAT]);
        let (installed, targets) = tokio::join!(self.installed(places), targets.run());
        let installed = installed?;
        let mut seen = Seen {
            native: places.native.clone(),
            policies: self.policies(&installed, places).await?,
            installed,
            targets: parse::targets(&targets.map_err(trouble)?.stdout),
            ordinary: self.simulate(&["-o", "APT::Get::AutomaticRemove=true", "upgrade"]).await?,
            full: Ok(Simulation::default()),
            records: BTreeMap::new(),
            named: BTreeMap::new(),
        };
        if !seen.policies.is_empty() {
            if seen.leaves_some_behind() {
                seen.full = self.simulate(&["-o", "APT::Get::AutomaticRemove=false", "dist-upgrade"]).await?;
            }
            seen.records = self.records(&seen, places).await?;
            seen.named = self.named(&seen).await?;
        }
        Ok(seen)
    }

    /// What happens if those are named that stay behind for no reason that is known: the first ones by themselves, the
    /// others all at once.
    async fn named(&self, seen: &Seen) -> Result<BTreeMap<String, Result<Arc<Simulation>, String>>, Problem> {
        let names = seen.unexplained();
        let (first, others) = names.split_at(names.len().min(MAX_NAMED));
        let mut named = BTreeMap::new();
        for name in first {
            let plan = self.simulate(&["install", "--", name]).await?;
            named.insert((*name).to_owned(), plan.map(Arc::new));
        }
        let others = others.get(..others.len().min(NAMES_AT_ONCE)).unwrap_or_default();
        if others.is_empty() {
            return Ok(named);
        }
        let ended = self.dry_run(&[&["install", "--"], others].concat()).await?;
        if ended.code == Some(0) {
            let plan = Arc::new(parse::simulation(&ended.stdout));
            named.extend(others.iter().map(|name| ((*name).to_owned(), Ok(Arc::clone(&plan)))));
        } else {
            let lacking = parse::unmet_by_name(&ended.stdout).into_iter();
            named.extend(lacking.map(|(name, reason)| (name, Err(reason))));
        }
        Ok(named)
    }

    /// All packages that dpkg has.
    async fn installed(&self, places: &Places) -> Result<BTreeMap<String, Installed>, Problem> {
        let admin = format!("--admindir={}", places.dpkg().display());
        let query = self.program("dpkg-query").arg(admin).args(["-W", "-f", parse::INSTALLED_FORMAT]);
        Ok(parse::installed(&worked("dpkg-query", query.run().await.map_err(trouble)?)?.stdout))
    }

    async fn policies(
        &self,
        installed: &BTreeMap<String, Installed>,
        places: &Places,
    ) -> Result<Vec<Policy>, Problem> {
        let ask = async |names: &[String]| {
            let program = self.reader("apt-cache").args(["policy", "--"]).args(names);
            let mut policies = Policies::default();
            let ended = program.run_lines(|line| policies.line(line)).await.map_err(trouble)?;
            Ok((policies.found, ended))
        };
        let names = || installed.keys().filter(|name| parse::is_name(name)).cloned().collect::<Vec<String>>();
        // What preferences keep back is not upgradable to APT.
        let has_pins = pins::has_any(places.etc());
        let (mut policies, mut ended) =
            if has_pins { ask(&names()).await? } else { ask(&["?upgradable".into()]).await? };
        // Versions before 2.0 know no patterns, and say that there is no such package.
        if policies.is_empty() && ended.stderr.contains("?upgradable") {
            (policies, ended) = ask(&names()).await?;
        }
        worked("apt-cache", ended)?;
        for policy in policies.iter_mut().filter(|_| has_pins) {
            let Some(newest) = policy.pinned().map(|version| version.version.clone()) else { continue };
            let package = installed_as(installed, &places.native, &policy.name);
            let source = package.map_or("", |package| package.source.as_str());
            let file = pins::file_of(places.etc(), &policy.name, source);
            policy.pinned_in = Some(file.map(|file| file.display().to_string()).unwrap_or_default());
            policy.candidate = Some(newest);
        }
        policies.retain(|policy| {
            policy.installed.is_some() && policy.candidate.is_some() && policy.installed != policy.candidate
        });
        policies.shrink_to_fit();
        Ok(policies)
    }

    async fn dry_run(&self, args: &[&str]) -> Result<Ended, Problem> {
        let program = self.reader("apt-get").args(parse::DRY_RUN).args(args.iter().copied());
        program.stdout_limit(32 * 1024 * 1024).run().await.map_err(trouble)
    }

    /// A dry run; the inner error is the reason why there is no way.
    async fn simulate(&self, args: &[&str]) -> Result<Result<Simulation, String>, Problem> {
        let ended = self.dry_run(args).await?;
        if ended.code == Some(0) {
            return Ok(Ok(parse::simulation(&ended.stdout)));
        }
        Ok(Err(parse::why_not(&ended.stdout, &ended.stderr)))
    }

    async fn records(
        &self,
        seen: &Seen,
        places: &Places,
    ) -> Result<BTreeMap<(String, String), Record>, Problem> {
        let newer = seen
            .policies
            .iter()
            .map(|policy| (&policy.name, policy.candidate.as_deref().unwrap_or_default()));
        let new = seen.full.iter().flat_map(|plan| &plan.installs);
        let new = new
            .filter(|(_, install)| install.current.is_none())
            .map(|(name, install)| (name, install.new.as_str()));
        let wanted: BTreeMap<&str, &str> = newer
            .chain(new)
            .filter(|(name, version)| parse::is_name(name) && parse::is_version(version))
            .map(|(name, version)| (name.as_str(), version))
            .collect();
        self.records_of(&wanted, places, seen.leaves_some_behind()).await
    }

    /// What the lists say of these versions, by name.
    async fn records_of(
        &self,
        wanted: &BTreeMap<&str, &str>,
        places: &Places,
        has_relations: bool,
    ) -> Result<BTreeMap<(String, String), Record>, Problem> {
        let mut records = Records::of(wanted, &places.native, has_relations);
        match (places.compressed_lists(), find(HELPER)) {
            // To look up one package, APT would unpack all that stands before it, for each of them.
            (Some(lists), Some(_)) if !wanted.is_empty() => {
                let program = self.program(HELPER).arg("cat-file").args(lists);
                let ended = program.run_lines(|line| records.line(line)).await.map_err(trouble)?;
                worked("apt-helper cat-file", ended)?;
                records.close();
            }
            _ => {
                let wanted: Vec<String> =
                    wanted.iter().map(|(name, version)| format!("{name}={version}")).collect();
                for some in wanted.chunks(NAMES_AT_ONCE) {
                    let program = self.reader("apt-cache").args(["show", "--"]).args(some);
                    program.run_lines(|line| records.line(line)).await.map_err(trouble)?;
                    records.close();
                }
            }
        }
        Ok(records.found)
    }

    async fn scan_known(&self, ask: &ScanAsk<'_>, known: &mut Known) -> Result<Findings, Problem> {
        let places = match &known.places {
            Some(places) if known.is_as_read(places) => places.clone(),
            _ => self.places().await?,
        };
        if let Some(cache) = self.cache.clone()
            && !known.is_as_read(&places)
        {
            let apts = places.cache.clone();
            let _ = tokio::task::spawn_blocking(move || cache.prepare(apts.as_deref())).await;
        }
        known.failed = known.failed.take().filter(|failed| failed.by_files == places.worked_at());
        let as_of = known.as_of(ask, &places);
        self.refresh(ask, known, &places, as_of).await;
        let as_of = known.as_of(ask, &places);

        if let Some(last) = ask.last
            && known.digest.as_deref() == Some(last.checked.digest.as_str())
            && known.is_as_read(&places)
        {
            return Ok(known.concluded(ask, &places, last.items.clone(), as_of));
        }
        let (mut seen, print) = self.look(&places).await?;
        let mut items = seen.findings();
        let count = items.len();
        if known.failed.is_some() {
            let version = |name: &str| {
                installed_as(&seen.installed, &seen.native, name).map(|package| package.version.clone())
            };
            items = still_pending(items, ask.last, version);
        }
        known.broken = broken(&seen, &places);
        // Of thousands it is large, and what was found is copied before it is told.
        drop(seen);
        let is_as_read = items.len() == count;
        let findings = known.concluded(ask, &places, items, as_of);
        known.read = is_as_read.then_some(print);
        known.digest = is_as_read.then(|| findings.checked.digest.clone());
        known.places = Some(places);
        Ok(findings)
    }
}

impl Known {
    /// True if everything that an answer depends on is as it was when it was read.
    fn is_as_read(&self, places: &Places) -> bool {
        self.read.as_ref().is_some_and(|print| *print == places.print())
    }

    /// When the lists were last seen to be fresh, as far as anybody knows.
    fn as_of(&self, ask: &ScanAsk<'_>, places: &Places) -> Option<DateTime<Utc>> {
        let by_files = places.refreshed_at()?;
        if let Some(failed) = &self.failed {
            return failed.as_of;
        }
        let last = ask.last.and_then(|last| last.checked.as_of).filter(|at| *at <= ask.now);
        [self.refreshed_at, last, Some(by_files)].into_iter().flatten().max()
    }

    /// Puts together what was found and what is wrong.
    fn concluded(
        &self,
        ask: &ScanAsk<'_>,
        places: &Places,
        items: Vec<Finding>,
        as_of: Option<DateTime<Utc>>,
    ) -> Findings {
        let findings = Findings::new(Kind::Apt, items);
        let why = self.failed.as_ref().map(|failed| &failed.why);
        let Some(as_of) = as_of else {
            return findings.with_problem(
                "there are no lists of what is offered, so what is newer is not known",
                Some(way_to_refresh(places, why)),
            );
        };
        let expired = places.expired(ask.now).filter(|_| !matches!(why, Some(Refresh::Failed(_))));
        let as_of = expired.as_ref().map_or(as_of, |(_, until)| as_of.min(*until));
        let findings = findings.as_of(as_of);
        let since = as_of.format("%Y-%m-%d %H:%M UTC");
        if let Some((source, _)) = expired {
            let reason = format!(
                "not known since {since}: what `{source}` offered was good until then, and was not refreshed since"
            );
            return findings.with_problem(shown(&reason), Some(way_to_refresh(places, why)));
        }
        let is_stale = ask.now - as_of > STALE_AFTER;
        let broken = self.broken.as_ref();
        match (why, broken) {
            (Some(Refresh::Failed(reason)), _) => {
                let reason = format!("not known since {since}: the lists could not be refreshed: {reason}");
                let also = broken.map(|broken| format!("; {}", broken.reason)).unwrap_or_default();
                findings.with_problem(shown(&format!("{reason}{also}")), Some(way_to_refresh(places, why)))
            }
            (Some(Refresh::Busy(holder)), _) if is_stale => findings.with_problem(
                format!("not known since {since}: {}", busy(holder.as_deref())),
                Some(way_to_refresh(places, why)),
            ),
            (_, _) if is_stale => findings.with_problem(
                format!("not known since {since}: the lists were not refreshed since, and this user may not"),
                Some(way_to_refresh(places, why)),
            ),
            (_, Some(broken)) => findings.with_notice(broken.reason.clone(), broken.way_out.clone()),
            (Some(Refresh::Busy(holder)), None) => findings.with_notice(busy(holder.as_deref()), None),
            _ => findings,
        }
    }
}

fn busy(holder: Option<&str>) -> String {
    let who = holder.map_or_else(|| "somebody else".into(), |holder| format!("process {holder}"));
    shown(&format!("the lists were not refreshed: {who} holds their lock; the next scan tries again"))
}

fn way_to_refresh(places: &Places, failed: Option<&Refresh>) -> String {
    match failed {
        Some(Refresh::Failed(_)) => "see that `apt-get update` works on the host".into(),
        Some(Refresh::Busy(_)) => "see what keeps the lock of APT's lists".into(),
        _ if places.may_refresh() => "run `apt-get update`".into(),
        _ => "run `apt-get update` as root, or have the system do it daily (`apt-daily.timer`)".into(),
    }
}

/// Says which packages are half installed.
fn broken(seen: &Seen, places: &Places) -> Option<Problem> {
    let names: Vec<&str> = seen
        .installed
        .iter()
        .filter(|(_, package)| package.is_broken)
        .map(|(name, _)| name.as_str())
        .collect();
    if names.is_empty() && !places.is_interrupted() {
        return None;
    }
    let named = names.iter().take(5).copied().collect::<Vec<_>>().join(", ");
    let reason = match names.len() {
        0 => "dpkg is at work, or was interrupted".to_owned(),
        1..=5 => format!("half installed: {named}"),
        more => format!("half installed: {named} and {} more", more - 5),
    };
    let way_out = "unless an installation is under way: run `dpkg --configure -a` as root, then \
                   `apt-get install -f`; until then nothing else can be installed";
    Some(Problem { reason: shown(&reason), way_out: Some(way_out.into()) })
}

fn worked(name: &str, ended: Ended) -> Result<Ended, Problem> {
    if ended.code == Some(0) {
        return Ok(ended);
    }
    let said = parse::error_of(&ended.stderr).unwrap_or_else(|| ended.stderr.trim().to_owned());
    Err(Problem {
        reason: shown(&format!("`{name}` failed: {said}")),
        way_out: Some("run it on the host and see what it says".into()),
    })
}

#[async_trait]
impl Scanner for Apt {
    fn kind(&self) -> Kind {
        Kind::Apt
    }

    async fn is_present(&self) -> bool {
        if ["apt-config", "apt-get", "apt-cache", "dpkg-query"].iter().any(|name| find(name).is_none()) {
            return false;
        }
        let mut known = self.known.lock().await;
        if known.places.is_none() {
            known.places = self.places().await.ok();
        }
        // Programs alone mean nothing: other systems offer them as packages.
        known.places.as_ref().is_some_and(Places::has_packages)
    }

    async fn scan(&self, ask: &ScanAsk<'_>) -> Findings {
        let mut known = self.known.lock().await;
        match self.scan_known(ask, &mut known).await {
            Ok(findings) => findings,
            Err(problem) => last_known(Kind::Apt, ask.last, problem),
        }
    }
}
