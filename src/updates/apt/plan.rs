//! Works out exactly what APT would do, and what that means on this host. Changes nothing; needs no right.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::Apt;
use super::judge::installed_as;
use super::parse::{self, Installed, Record, Simulation};
use super::places::Places;
use crate::domain::update::{
    Changes, ConfigFile, Kind, LeftOut, OnHost, Operation, Plan, PlannedChange, Present, Problem, Run,
    UndoSource, Wanted, is_engine_package, undo,
};
use crate::process::find;
use crate::updates::keep::{shown, trouble};
use crate::updates::kept::Kept;
use crate::updates::lifelines::{stands_on, stays};

/// Packages whose newer version is only in use after a restart of the host.
const WANT_A_RESTART: [&str; 6] = ["libc6", "systemd", "dbus", "udev", "linux-firmware", "intel-microcode"];

/// All that a plan is made of.
pub(super) struct Basis {
    pub(super) places: Places,
    pub(super) installed: BTreeMap<String, Installed>,
}

impl Apt {
    pub(super) fn kept(state_dir: &Path) -> Kept {
        Kept::of(state_dir.join("kept/apt"), ".deb")
    }

    pub(super) async fn basis(&self) -> Result<Basis, Problem> {
        let places = self.places().await?;
        let installed = self.installed(&places).await?;
        Ok(Basis { places, installed })
    }

    pub(super) async fn work_out(&self, wanted: &Wanted, state_dir: &Path) -> Result<Plan, Problem> {
        let basis = self.basis().await?;
        let names = match wanted {
            Wanted::All => Vec::new(),
            Wanted::Named(names) => names.clone(),
            Wanted::Security => self.security_names(&basis.places).await?,
        };
        if let Some(odd) = names.iter().find(|name| !parse::is_name(name)) {
            let reason = shown(&format!("`{odd}` cannot be the name of a package"));
            return Err(Problem { reason, way_out: Some("`lightship list-updates` names them".into()) });
        }
        let held = |name: &String| {
            installed_as(&basis.installed, &basis.places.native, name).is_some_and(|package| package.is_held)
        };
        // Named to APT, even those would be changed.
        let (held, names): (Vec<String>, Vec<String>) = names.into_iter().partition(held);
        let reason = "somebody put it on hold on this host";
        let mut left_out: Vec<LeftOut> =
            held.into_iter().map(|name| LeftOut { name, reason: reason.into() }).collect();
        // Its version is the new one already: APT finds nothing to do, and all is not well.
        let half = basis.installed.iter().filter(|(_, package)| package.is_broken);
        left_out.extend(half.map(|(name, _)| LeftOut { name: name.clone(), reason: HALF.into() }));
        let by_name = matches!(wanted, Wanted::Named(_));
        let is_kept_back = |name: &String| !by_name && is_engine_package(bare(name));
        let (engine, names): (Vec<String>, Vec<String>) = names.into_iter().partition(is_kept_back);
        left_out.extend(engine.iter().map(|name| stays(name)));
        if *wanted != Wanted::All && names.is_empty() {
            return self.whole(&basis, Simulation::default(), "", left_out, state_dir).await;
        }
        let mut args: Vec<String> = match wanted {
            Wanted::All => vec!["dist-upgrade".into()],
            _ => ["install", "--only-upgrade", "--"]
                .map(str::to_owned)
                .into_iter()
                .chain(names.clone())
                .collect(),
        };
        let mut said = self.said_in_dry_run(&args).await?;
        let mut simulation = parse::simulation(&said);
        let engine: Vec<(String, String)> = simulation
            .installs
            .iter()
            .filter(|(name, _)| is_kept_back(name))
            .filter_map(|(name, install)| Some((name.clone(), install.current.clone()?)))
            .collect();
        if *wanted == Wanted::All && !engine.is_empty() {
            // Told to stay at the version that they have, they do, and what needs newer ones stays too.
            args.extend(engine.iter().map(|(name, current)| format!("{name}={current}")));
            said = self.said_in_dry_run(&args).await?;
            simulation = parse::simulation(&said);
            left_out.extend(engine.iter().map(|(name, _)| stays(name)));
        }
        for name in names.iter().filter(|name| !simulation.installs.contains_key(*name)) {
            let reason = match installed_as(&basis.installed, &basis.places.native, name) {
                None => "it is not installed",
                Some(_) => "there is nothing newer that could be installed",
            };
            left_out.push(LeftOut { name: name.clone(), reason: reason.into() });
        }
        self.whole(&basis, simulation, &said, left_out, state_dir).await
    }

    /// Returns what APT says that it would do.
    async fn said_in_dry_run(&self, args: &[String]) -> Result<String, Problem> {
        let dry_run = self.program("apt-get").args(parse::DRY_RUN).args(["-o", "Acquire::ForceHash=SHA256"]);
        let ended = dry_run.args(args).stdout_limit(32 * 1024 * 1024).run().await.map_err(trouble)?;
        if ended.code == Some(0) {
            return Ok(ended.stdout);
        }
        let reason = parse::why_not(&ended.stdout, &ended.stderr);
        let way_out = "name fewer packages, or see what `apt-get -s` says on the host";
        Err(Problem { reason: shown(&format!("there is no way: {reason}")), way_out: Some(way_out.into()) })
    }

    async fn security_names(&self, places: &Places) -> Result<Vec<String>, Problem> {
        let (mut seen, _) = self.look(places).await?;
        let mends = |finding: &crate::domain::update::Finding| finding.is_security == Some(true);
        Ok(seen.findings().into_iter().filter(mends).map(|finding| finding.name).collect())
    }

    async fn whole(
        &self,
        basis: &Basis,
        simulation: Simulation,
        said: &str,
        left_out: Vec<LeftOut>,
        state_dir: &Path,
    ) -> Result<Plan, Problem> {
        let files = parse::files(said);
        let changes = self.changes(basis, &simulation, &files).await?;
        let mut on_host = OnHost {
            left_out,
            download_bytes: files.values().map(|file| file.size).sum(),
            disk_bytes: parse::disk_bytes(said),
            reboot: reboot(&changes),
            config_files: self.config_files(&changes).await,
            stands_on: stands_on(&changes),
            ..OnHost::default()
        };
        on_host.undo = self.undo_sources(basis, &changes, &Self::kept(state_dir)).await?;
        Ok(Plan { changes, on_host })
    }

    async fn changes(
        &self,
        basis: &Basis,
        simulation: &Simulation,
        files: &parse::Files,
    ) -> Result<Changes, Problem> {
        // What is in APT's cache already has no address.
        let missing: BTreeMap<&str, &str> = simulation
            .installs
            .iter()
            .map(|(name, install)| (name.as_str(), install.new.as_str()))
            .filter(|(name, version)| file_of(files, name, version, &basis.places.native).is_none())
            .collect();
        let records = self.records_as_called(&missing, &basis.places).await?;
        let mut changes = Vec::new();
        for (name, install) in &simulation.installs {
            let key = (name.clone(), install.new.clone());
            let file = file_of(files, name, &install.new, &basis.places.native);
            let (arch, digest) = match (file, records.get(&key)) {
                (Some(file), _) => (file.arch.clone(), file.sha256.clone()),
                (None, Some(record)) => {
                    (record.architecture.clone().unwrap_or_default(), record.sha256.clone())
                }
                (None, None) => (String::new(), None),
            };
            let digest = digest.ok_or_else(|| Problem {
                reason: shown(&format!("its source gives no SHA-256 of {name} {}", install.new)),
                way_out: Some("install it by hand, or use a source that signs its packages' hashes".into()),
            })?;
            let operation = if simulation.downgrades.contains(name) {
                Operation::Downgrade
            } else if install.current.as_ref() == Some(&install.new) {
                Operation::Reinstall
            } else if install.current.is_some() {
                Operation::Upgrade
            } else {
                Operation::Install
            };
            changes.push(PlannedChange {
                kind: Kind::Apt,
                name: bare(name).to_owned(),
                arch,
                operation,
                from: install.current.clone(),
                to: Some(install.new.clone()),
                digest: Some(digest),
            });
        }
        let (read, counted) = (simulation.removals.len(), simulation.counted_removals);
        if let Some(counted) = counted.filter(|counted| *counted != read) {
            let reason = format!("APT would remove {counted} packages, and {read} of them could be read");
            return Err(Problem { reason, way_out: Some("see what `apt-get -s` says on the host".into()) });
        }
        for name in &simulation.removals {
            let package = installed_as(&basis.installed, &basis.places.native, name);
            let package = package.ok_or_else(|| Problem {
                reason: shown(&format!("APT would remove {name}, which dpkg does not know")),
                way_out: None,
            })?;
            changes.push(PlannedChange {
                kind: Kind::Apt,
                name: bare(name).to_owned(),
                arch: package.architecture.clone(),
                operation: Operation::Remove,
                from: Some(package.version.clone()),
                to: None,
                digest: None,
            });
        }
        Changes::new(changes).map_err(|fault| Problem { reason: fault.to_string(), way_out: None })
    }

    /// What the lists say of these versions, by what APT calls the packages: of one name there may be two architectures.
    async fn records_as_called(
        &self,
        wanted: &BTreeMap<&str, &str>,
        places: &Places,
    ) -> Result<BTreeMap<(String, String), Record>, Problem> {
        let (foreign, native): (BTreeMap<&str, &str>, BTreeMap<&str, &str>) =
            wanted.iter().map(|(name, version)| (*name, *version)).partition(|(name, _)| name.contains(':'));
        let mut records = self.records_of(&native, places, false).await?;
        let found = self.records_of(&foreign, places, false).await?;
        for (name, version) in foreign {
            if let Some(record) = found.get(&(bare(name).to_owned(), version.to_owned())) {
                records.insert((name.to_owned(), version.to_owned()), record.clone());
            }
        }
        Ok(records)
    }

    /// From where the present version of each can be had again.
    async fn undo_sources(
        &self,
        basis: &Basis,
        changes: &Changes,
        kept: &Kept,
    ) -> Result<BTreeMap<String, UndoSource>, Problem> {
        let names: Vec<(String, &str)> = changes
            .all()
            .iter()
            .filter_map(|change| Some((in_words(change, &basis.places.native), change.from.as_deref()?)))
            .collect();
        let asked = names.iter().map(|(name, version)| (name.as_str(), *version)).collect();
        let offered = self.records_as_called(&asked, &basis.places).await?;
        let source = |change: &PlannedChange| {
            let from = change.from.as_ref().filter(|_| change.operation != Operation::Configure);
            let Some(from) = from else { return UndoSource::NotNeeded };
            let is_offered = offered.get(&(in_words(change, &basis.places.native), from.clone()));
            if kept.find(change, from).is_some() {
                UndoSource::Kept
            } else if basis.places.archive(&change.name, from, &change.arch).is_some() {
                UndoSource::Cache
            } else if is_offered.is_some_and(|record| record.sha256.is_some()) {
                UndoSource::Repository
            } else if find("dpkg-repack").is_some() {
                UndoSource::Rebuilt
            } else {
                UndoSource::Impossible
            }
        };
        Ok(changes.all().iter().map(|change| (thing(change), source(change))).collect())
    }

    /// The files of what is replaced or goes, as they are on the disk now.
    pub(super) async fn files_of(&self, changes: &Changes) -> Result<BTreeSet<String>, Problem> {
        let here = changes.filtered(|change| change.kind == Kind::Apt && change.from.is_some());
        if here.is_empty() {
            return Ok(BTreeSet::new());
        }
        let places = self.places().await?;
        let names: Vec<String> = here.all().iter().map(|change| in_words(change, &places.native)).collect();
        let options = self.dpkg_options().await;
        let root = options.iter().find_map(|option| option.strip_prefix("--root=")).unwrap_or_default();
        let admin = format!("--admindir={}", places.dpkg().display());
        let query = self.program("dpkg-query").arg(admin).args(["-L", "--"]).args(names);
        let mut files = BTreeSet::new();
        let read = |line: &str| {
            if line.starts_with('/') {
                files.insert(format!("{root}{line}"));
            }
        };
        // What is not known of one package is known of the others.
        query.run_lines(read).await.map_err(trouble)?;
        Ok(files)
    }

    /// Configuration files that somebody changed; dpkg leaves them as they are.
    async fn config_files(&self, changes: &Changes) -> Vec<ConfigFile> {
        let names: Vec<String> = changes
            .all()
            .iter()
            .filter(|change| change.from.is_some())
            .map(|change| change.name.clone())
            .collect();
        if names.is_empty() {
            return Vec::new();
        }
        let options = self.dpkg_options().await;
        let verify = self.program("dpkg").args(options).args(["--verify", "--"]).args(&names);
        // It ends with 1 or 2 if something differs; what it could not read it says nothing of.
        let said = verify.run().await.map(|ended| ended.stdout).unwrap_or_default();
        let mut files = parse::changed_config_files(&said);
        files.sort();
        files.dedup();
        let conffiles = self.conffiles(&names).await;
        files
            .into_iter()
            .filter_map(|path| {
                let package = conffiles.get(&path)?.clone();
                let outcome = "stays as it is; if the package's own is another one now, it is put beside it as .dpkg-dist";
                Some(ConfigFile { package, path, is_edited: true, outcome: outcome.into() })
            })
            .collect()
    }

    /// Which package each configuration file belongs to.
    async fn conffiles(&self, names: &[String]) -> BTreeMap<String, String> {
        let Ok(places) = self.places().await else { return BTreeMap::new() };
        let admin = format!("--admindir={}", places.dpkg().display());
        let query =
            self.program("dpkg-query").arg(admin).args(["-W", "-f", parse::CONFFILES_FORMAT]).args(names);
        let said = query.run().await.map(|ended| ended.stdout).unwrap_or_default();
        parse::conffiles(&said)
    }

    /// What would bring a broken off installation to its end: what dpkg has to configure, and what APT has to change so that it
    /// can.
    pub(super) async fn work_out_repair(&self, state_dir: &Path) -> Result<Plan, Problem> {
        let basis = self.basis().await?;
        let dry_run = self.program("apt-get").args(parse::DRY_RUN).args(["-o", "Acquire::ForceHash=SHA256"]);
        let dry_run = dry_run.args(["-f", "install"]).stdout_limit(32 * 1024 * 1024);
        let ended = dry_run.run().await.map_err(trouble)?;
        if ended.code != Some(0) {
            let reason = parse::why_not(&ended.stdout, &ended.stderr);
            return Err(Problem {
                reason: shown(&format!("APT finds no way to bring it to its end: {reason}")),
                way_out: Some("see what `apt-get -f -s install` says on the host".into()),
            });
        }
        let simulation = parse::simulation(&ended.stdout);
        let files = parse::files(&ended.stdout);
        let apts = self.changes(&basis, &simulation, &files).await?;
        let is_half = |name: &String, package: &Installed| {
            package.is_broken && !apts.all().iter().any(|change| thing(change) == *name)
        };
        let mut half: Vec<(&String, &Installed)> =
            basis.installed.iter().filter(|(name, package)| is_half(name, package)).collect();
        if half.is_empty() && apts.is_empty() && basis.places.is_interrupted() {
            // Nothing is half installed, and dpkg has still to tidy up behind what was broken off.
            half.extend(basis.installed.iter().find(|(name, _)| bare(name) == "dpkg"));
        }
        let configured = half.into_iter().map(|(name, package)| PlannedChange {
            kind: Kind::Apt,
            name: bare(name).to_owned(),
            arch: package.architecture.clone(),
            operation: Operation::Configure,
            from: Some(package.version.clone()),
            to: Some(package.version.clone()),
            digest: None,
        });
        let all = configured.chain(apts.all().iter().cloned()).collect();
        let changes =
            Changes::new(all).map_err(|fault| Problem { reason: fault.to_string(), way_out: None })?;
        let mut on_host = OnHost {
            download_bytes: files.values().map(|file| file.size).sum(),
            disk_bytes: parse::disk_bytes(&ended.stdout),
            reboot: reboot(&apts),
            config_files: self.config_files(&apts).await,
            ..OnHost::default()
        };
        on_host.undo = self.undo_sources(&basis, &changes, &Self::kept(state_dir)).await?;
        Ok(Plan { changes, on_host })
    }

    pub(super) async fn work_out_undo(
        &self,
        run: &Run,
        only: &[String],
        state_dir: &Path,
    ) -> Result<Plan, Problem> {
        let basis = self.basis().await?;
        let kept = Self::kept(state_dir);
        let present = |change: &PlannedChange| {
            let found = now_installed(&basis.installed, change);
            Present { version: found.map(|package| package.version.clone()) }
        };
        let content = |change: &PlannedChange, version: &str| {
            let file = kept.find(change, version)?;
            // Its name says what it should be; only what it holds counts.
            let digest = crate::updates::kept::digest_of(&file.path).ok()?;
            (digest == file.digest).then_some(digest)
        };
        let done = run.plan.changes.only(Kind::Apt);
        let changes = undo(&done, only, present, content)
            .map_err(|fault| Problem { reason: fault.to_string(), way_out: None })?;
        let mut on_host =
            OnHost { reboot: reboot(&changes), stands_on: stands_on(&changes), ..OnHost::default() };
        on_host.config_files = self.config_files(&changes).await;
        on_host.undo = self.undo_sources(&basis, &changes, &kept).await?;
        Ok(Plan { changes, on_host })
    }
}

const HALF: &str = "it is half installed: `lightship repair` brings it to its end, or take back the run that began it \
                    (`lightship history`, `lightship rollback RUN`)";

/// The file of a package, by what APT calls that.
fn file_of<'a>(files: &'a parse::Files, name: &str, version: &str, native: &str) -> Option<&'a parse::File> {
    let of = |arch: &str| files.get(&(bare(name).to_owned(), version.to_owned(), arch.to_owned()));
    match name.split_once(':') {
        Some((_, arch)) => of(arch),
        None => of(native).or_else(|| of("all")),
    }
}

/// `libc6:i386` without its architecture.
fn bare(name: &str) -> &str {
    name.split_once(':').map_or(name, |(name, _)| name)
}

/// As APT calls it: with its architecture if that is a foreign one.
pub(super) fn in_words(change: &PlannedChange, native: &str) -> String {
    if change.arch == native || change.arch == "all" { change.name.clone() } else { thing(change) }
}

/// `libc6:amd64`
pub(super) fn thing(change: &PlannedChange) -> String {
    format!("{}:{}", change.name, change.arch)
}

/// Returns what is installed of it now, also if that is of another architecture than the planned version, such as `all`.
pub(super) fn now_installed<'a>(
    installed: &'a BTreeMap<String, Installed>,
    change: &PlannedChange,
) -> Option<&'a Installed> {
    let exact = installed.get(&thing(change));
    let other = || {
        let begin = format!("{}:", change.name);
        let mut others = installed.range(begin.clone()..).take_while(|(name, _)| name.starts_with(&begin));
        let found = others.find(|(name, _)| change.arch == "all" || name.ends_with(":all"));
        found.map(|(_, package)| package)
    };
    exact.or_else(other)
}

fn reboot(changes: &Changes) -> Option<String> {
    let wants = |change: &&PlannedChange| {
        change.to.is_some()
            && (change.name.starts_with("linux-image-") || WANT_A_RESTART.contains(&change.name.as_str()))
    };
    let names: Vec<&str> = changes.all().iter().filter(wants).map(|change| change.name.as_str()).collect();
    (!names.is_empty()).then(|| format!("{} is in use only after a restart", names.join(", ")))
}
