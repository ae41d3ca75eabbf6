//! Works out what DNF 4 would do, and what that means on this host. Changes nothing; needs no right.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::evr::called;
use super::now::{self, Packages, label, nevra};
use super::parse::{self, Generation};
use super::transaction::{CONTENT_FORMAT, Content, Part, Row, Table, contents, is_name};
use super::{Dnf, worked};
use crate::domain::update::{
    Changes, ConfigFile, Kind, LeftOut, OnHost, Operation, Plan, PlannedChange, Present, Problem, Run,
    UndoSource, Wanted, is_engine_package, undo,
};
use crate::process::{Ended, Program};
use crate::updates::keep::{shown, trouble};
use crate::updates::kept::{Kept, digest_of};
use crate::updates::lifelines::{stands_on, stays};

/// Packages whose newer version is only in use after a restart of the host.
const WANT_A_RESTART: [&str; 8] = [
    "kernel",
    "kernel-core",
    "kernel-rt",
    "glibc",
    "systemd",
    "dbus-broker",
    "linux-firmware",
    "microcode_ctl",
];
/// Most names that are given to a program at once.
const NAMES_AT_ONCE: usize = 500;

impl Dnf {
    pub(super) fn kept(state_dir: &Path) -> Kept {
        Kept::of(state_dir.join("kept/dnf"), ".rpm")
    }

    /// What DNF is called here; fails if it is not one that can be told exactly what to do.
    pub(super) async fn four(&self) -> Result<&'static str, Problem> {
        match self.generation().await? {
            (Generation::Four, name) => Ok(name),
            (Generation::Five, _) => Err(Problem {
                reason: "this host has dnf5, which Lightship only scans: it installs with DNF 4".into(),
                way_out: Some("install with `dnf upgrade` on the host".into()),
            }),
        }
    }

    /// A call of DNF that ends rather than wait for another one.
    pub(super) async fn dnf(&self) -> Result<Program, Problem> {
        Ok(self.program(self.four().await?)?.arg("--setopt=exit_on_lock=True"))
    }

    /// What is installed now.
    pub(super) async fn packages(&self) -> Result<Packages, Problem> {
        let beside = self.program("rpm")?.args(["-q", "--qf", "%{NAME}\n", "--whatprovides"]);
        // It ends with 1 if nothing provides one of them.
        let beside = beside.args(now::INSTALL_ONLY).run().await.map_err(trouble)?.stdout;
        let listed = self.program("rpm")?.args(["-qa", "--qf", now::FORMAT]).run().await.map_err(trouble)?;
        Ok(Packages::read(&worked("rpm -qa", listed, &[0])?.stdout, &beside))
    }

    pub(super) async fn work_out(&self, wanted: &Wanted, state_dir: &Path) -> Result<Plan, Problem> {
        self.four().await?;
        let names = match wanted {
            Wanted::Named(names) => names.clone(),
            Wanted::All | Wanted::Security => Vec::new(),
        };
        if let Some(odd) = names.iter().find(|name| !is_name(name)) {
            let reason = shown(&format!("`{odd}` cannot be the name of a package"));
            return Err(Problem { reason, way_out: Some("`lightship list-updates` names them".into()) });
        }
        let packages = self.packages().await?;
        let (there, missing): (Vec<String>, Vec<String>) =
            names.into_iter().partition(|name| is_installed(&packages, name));
        let mut left_out: Vec<LeftOut> =
            missing.into_iter().map(|name| LeftOut { name, reason: "it is not installed".into() }).collect();
        if matches!(wanted, Wanted::Named(_)) && there.is_empty() {
            let on_host = OnHost { left_out, ..OnHost::default() };
            return Ok(Plan { on_host, ..Plan::nothing() });
        }
        let mut ended = self.dry_run(wanted, &there, &[]).await?;
        let mut table = Table::read(&ended.stdout);
        let engine: BTreeSet<String> = match wanted {
            Wanted::Named(_) => BTreeSet::new(),
            Wanted::All | Wanted::Security => {
                let rows = table.rows.iter().filter(|(part, _)| *part != Part::Skip);
                rows.map(|(_, row)| row.name.clone()).filter(|name| is_engine_package(name)).collect()
            }
        };
        if !engine.is_empty() {
            let excludes: Vec<String> = engine.iter().map(|name| format!("--exclude={name}")).collect();
            ended = self.dry_run(wanted, &there, &excludes).await?;
            table = Table::read(&ended.stdout);
            left_out.extend(engine.iter().map(|name| stays(name)));
        }
        if let Some(other) = table.others.first() {
            return Err(Problem {
                reason: shown(&format!("DNF would change more than packages: {other}")),
                way_out: Some("do that with `dnf upgrade` on the host first".into()),
            });
        }
        let reasons = parse::dry_run(&ended.stdout, &ended.stderr).reasons;
        left_out.extend(left_behind(&table, &there, &reasons));
        let changes = self.changes(&packages, &table).await?;
        self.whole(&packages, changes, left_out, state_dir).await
    }

    /// What DNF says it would do.
    async fn dry_run(
        &self,
        wanted: &Wanted,
        names: &[String],
        excludes: &[String],
    ) -> Result<Ended, Problem> {
        let call = async |cache: &[&str]| {
            let program = self.dnf().await?.args(cache).args(excludes);
            let mut program = program.args(["--assumeno", "--nobest", "upgrade"]);
            if *wanted == Wanted::Security {
                program = program.arg("--security");
            }
            program.args(names).run().await.map_err(trouble)
        };
        let mut ended = call(&[]).await?;
        if ended.code == Some(200) {
            // Who refreshes the metadata now has it locked; what was there before is in the cache.
            ended = call(&["-C"]).await?;
        }
        let says = |words: &str| ended.stderr.contains(words) || ended.stdout.contains(words);
        let is_answer = match ended.code {
            Some(0) => true,
            Some(1) => ["Operation aborted.", "No packages marked for upgrade"].into_iter().any(says),
            _ => false,
        };
        if is_answer {
            return Ok(ended);
        }
        let lines = ended.stderr.lines().skip_while(|line| !line.starts_with("Error: ")).take(6);
        let said: Vec<&str> = lines.map(|line| line.trim_start_matches("Error: ").trim()).collect();
        let said = if said.is_empty() { "DNF did not say why".into() } else { said.join(" ") };
        Err(Problem {
            reason: shown(&format!("there is no way: {said}")),
            way_out: Some(
                "name fewer packages, or see what `dnf --assumeno upgrade` says on the host".into(),
            ),
        })
    }

    async fn changes(&self, packages: &Packages, table: &Table) -> Result<Changes, Problem> {
        let taken = || table.rows.iter().filter(|(part, _)| *part != Part::Skip);
        let comes = taken().filter(|(part, _)| *part != Part::Remove);
        let contents = self.contents(comes.map(|(_, row)| nevra_of(row)).collect()).await?;
        let mut changes: BTreeSet<PlannedChange> = BTreeSet::new();
        let mut touched: BTreeSet<(&str, &str)> = BTreeSet::new();
        for (part, row) in taken() {
            touched.insert((&row.name, &row.arch));
            let to = Some(row.evr.text());
            let digest = match part {
                Part::Remove | Part::Skip => None,
                _ => Some(digest(&contents, row)?),
            };
            let change = |operation, from, to, digest| PlannedChange {
                kind: Kind::Dnf,
                name: row.name.clone(),
                arch: row.arch.clone(),
                operation,
                from,
                to,
                digest,
            };
            let operation = match part {
                Part::Skip => continue,
                Part::Remove => {
                    changes.insert(change(Operation::Remove, to, None, None));
                    continue;
                }
                Part::Install => {
                    changes.insert(change(Operation::Install, None, to, digest));
                    continue;
                }
                Part::Upgrade => Operation::Upgrade,
                Part::Downgrade => Operation::Downgrade,
            };
            match packages.versions(&row.name, &row.arch) {
                [one] => {
                    changes.insert(change(operation, Some(one.evr.text()), to, digest));
                }
                [] => {
                    // It changes its architecture: one comes and the other goes.
                    changes.insert(change(Operation::Install, None, to, digest));
                    for arch in packages.arches(&row.name) {
                        if arch != "noarch" && row.arch != "noarch" {
                            continue;
                        }
                        for version in packages.versions(&row.name, arch) {
                            let goes = change(Operation::Remove, Some(version.evr.text()), None, None);
                            changes.insert(PlannedChange { arch: arch.to_owned(), ..goes });
                        }
                    }
                }
                _ => {
                    let reason = format!("{} is installed in several versions at once", row.name);
                    let way_out = "`dnf remove --duplicates` as root puts that right".into();
                    return Err(Problem { reason: shown(&reason), way_out: Some(way_out) });
                }
            }
        }
        for row in
            table.replaced.iter().filter(|row| !touched.contains(&(row.name.as_str(), row.arch.as_str())))
        {
            changes.insert(PlannedChange {
                kind: Kind::Dnf,
                name: row.name.clone(),
                arch: row.arch.clone(),
                operation: Operation::Remove,
                from: Some(row.evr.text()),
                to: None,
                digest: None,
            });
        }
        let all = changes.into_iter().collect();
        Changes::new(all).map_err(|fault| Problem { reason: fault.to_string(), way_out: None })
    }

    /// What repositories say of packages, by what they are, as DNF read it a moment ago.
    async fn contents(&self, wanted: Vec<String>) -> Result<BTreeMap<String, Vec<Content>>, Problem> {
        self.contents_of(&["-C"], wanted).await
    }

    /// The same where DNF may have read nothing yet: after a crash, or after somebody cleaned up.
    pub(super) async fn fetched_contents(
        &self,
        wanted: Vec<String>,
    ) -> Result<BTreeMap<String, Vec<Content>>, Problem> {
        self.contents_of(&[], wanted).await
    }

    async fn contents_of(
        &self,
        cache: &[&str],
        wanted: Vec<String>,
    ) -> Result<BTreeMap<String, Vec<Content>>, Problem> {
        let mut found: BTreeMap<String, Vec<Content>> = BTreeMap::new();
        for some in wanted.chunks(NAMES_AT_ONCE) {
            let query = self.dnf().await?.args(cache).args(["-q", "repoquery", "--qf", CONTENT_FORMAT]);
            let query = query.args(some);
            let listed = worked("dnf repoquery", query.run().await.map_err(trouble)?, &[0])?;
            for content in contents(&listed.stdout) {
                found.entry(content.nevra.clone()).or_default().push(content);
            }
        }
        Ok(found)
    }

    async fn whole(
        &self,
        packages: &Packages,
        changes: Changes,
        left_out: Vec<LeftOut>,
        state_dir: &Path,
    ) -> Result<Plan, Problem> {
        let kept = Self::kept(state_dir);
        let versions = |change: &PlannedChange| {
            [&change.from, &change.to]
                .into_iter()
                .flatten()
                .map(|version| nevra(change, version))
                .collect::<Vec<_>>()
        };
        let offered = self.contents(changes.all().iter().flat_map(versions).collect()).await?;
        let mut on_host = OnHost {
            left_out,
            reboot: reboot(&changes),
            config_files: self.config_files(&changes).await,
            stands_on: stands_on(&changes),
            ..OnHost::default()
        };
        for change in changes.all() {
            let offer = |version: &String| offered.get(&nevra(change, version)).and_then(|all| all.first());
            if let Some(to) = change.to.as_ref().and_then(offer) {
                on_host.download_bytes += to.download_bytes;
                on_host.disk_bytes += i64::try_from(to.disk_bytes).unwrap_or(0);
            }
            let Some(from) = &change.from else {
                on_host.undo.entry(thing(change)).or_insert(UndoSource::NotNeeded);
                continue;
            };
            let installed = packages.versions(&change.name, &change.arch).iter();
            let size: u64 =
                installed.filter(|version| version.evr.text() == *from).map(|version| version.size).sum();
            on_host.disk_bytes -= i64::try_from(size).unwrap_or(0);
            let source = if kept.find(change, from).is_some() {
                UndoSource::Kept
            } else if offer(from).is_some() {
                UndoSource::Repository
            } else {
                UndoSource::Impossible
            };
            let worst = on_host.undo.entry(thing(change)).or_insert(source);
            *worst = source.max(*worst);
        }
        Ok(Plan { changes, on_host })
    }

    /// The files of what is replaced or goes, as they are on the disk now.
    pub(super) async fn files_of(&self, changes: &Changes) -> Result<BTreeSet<String>, Problem> {
        let goes = |change: &PlannedChange| Some(label(change, change.from.as_ref()?));
        let olds: Vec<String> = changes.of(Kind::Dnf).filter_map(goes).collect();
        self.files(&olds).await
    }

    /// The files of packages that are installed.
    pub(super) async fn files(&self, labels: &[String]) -> Result<BTreeSet<String>, Problem> {
        let mut files = BTreeSet::new();
        for some in labels.chunks(NAMES_AT_ONCE) {
            let read = |line: &str| {
                if line.starts_with('/') {
                    files.insert(line.to_owned());
                }
            };
            let query = self.program("rpm")?.args(["-q", "-l", "--"]).args(some);
            query.run_lines(read).await.map_err(trouble)?;
        }
        Ok(files)
    }

    /// Configuration files that somebody changed, and what RPM does about them.
    async fn config_files(&self, changes: &Changes) -> Vec<ConfigFile> {
        let goes = |change: &PlannedChange| Some(label(change, change.from.as_ref()?));
        let olds: Vec<String> = changes.all().iter().filter_map(goes).collect();
        let mut kinds: BTreeMap<String, (String, bool)> = BTreeMap::new();
        for some in olds.chunks(NAMES_AT_ONCE) {
            let Ok(query) = self.program("rpm") else { return Vec::new() };
            let format = "[%{=NAME}|%{FILEFLAGS:fflags}|%{FILENAMES}\n]";
            let read = |line: &str| {
                let fields: Vec<&str> = line.splitn(3, '|').collect();
                if let [package, flags, path] = fields[..]
                    && flags.contains('c')
                {
                    kinds.insert(path.to_owned(), (package.to_owned(), flags.contains('n')));
                }
            };
            // What is not known here is only not said beforehand.
            let _ = query.args(["-q", "--qf", format]).args(some).run_lines(read).await;
        }
        let names: BTreeSet<String> = kinds.values().map(|(package, _)| package.clone()).collect();
        if names.is_empty() {
            return Vec::new();
        }
        let Ok(verify) = self.program("rpm") else { return Vec::new() };
        let verify = verify.args(["-V", "--configfiles", "--nodeps", "--noscripts"]).args(names);
        // It ends with 1 if something differs.
        let said = verify.run().await.map(|ended| ended.stdout).unwrap_or_default();
        let edited: BTreeSet<&str> = said.lines().filter_map(edited).collect();
        let file = |path: &str| {
            let (package, stays) = kinds.get(path)?.clone();
            let outcome = if stays {
                "stays as it is; if the package's own is another one now, it is put beside it as .rpmnew"
            } else {
                "is replaced if the package's own is another one now; what is there is kept as .rpmsave"
            };
            Some(ConfigFile { package, path: path.to_owned(), is_edited: true, outcome: outcome.into() })
        };
        edited.into_iter().filter_map(file).collect()
    }

    pub(super) async fn work_out_undo(
        &self,
        run: &Run,
        only: &[String],
        state_dir: &Path,
    ) -> Result<Plan, Problem> {
        let done = run.plan.changes.only(Kind::Dnf);
        if done.is_empty() {
            return Ok(Plan::nothing());
        }
        self.four().await?;
        let packages = self.packages().await?;
        let kept = Self::kept(state_dir);
        let present = |change: &PlannedChange| Present { version: packages.present(change) };
        let content = |change: &PlannedChange, version: &str| {
            let file = kept.find(change, version)?;
            // Its name says what it should be; only what it holds counts.
            let digest = digest_of(&file.path).ok()?;
            (digest == file.digest).then_some(digest)
        };
        let changes = undo(&done, only, present, content)
            .map_err(|fault| Problem { reason: fault.to_string(), way_out: None })?;
        self.whole(&packages, changes, Vec::new(), state_dir).await
    }
}

/// `t-lib:noarch`
pub(super) fn thing(change: &PlannedChange) -> String {
    format!("{}:{}", change.name, change.arch)
}

fn nevra_of(row: &Row) -> String {
    format!("{}-{}.{}", row.name, row.evr.text(), row.arch)
}

fn digest(contents: &BTreeMap<String, Vec<Content>>, row: &Row) -> Result<String, Problem> {
    let nevra = nevra_of(row);
    let all = contents.get(&nevra).map_or(&[][..], Vec::as_slice);
    let here = all.iter().find(|content| content.repository == row.repository).or(all.first());
    here.and_then(|content| content.sha256.clone()).ok_or_else(|| Problem {
        reason: shown(&format!("its repository gives no SHA-256 of {nevra}")),
        way_out: Some(
            "install it by hand with `dnf upgrade`, or use a repository that has SHA-256 sums".into(),
        ),
    })
}

/// A name as people and lists write it, with or without its architecture.
fn is_installed(packages: &Packages, name: &str) -> bool {
    let of_arch = |(name, arch): (&str, &str)| !packages.versions(name, arch).is_empty();
    !packages.arches(name).is_empty() || name.rsplit_once('.').is_some_and(of_arch)
}

/// What was asked for and stays as it is.
fn left_behind(table: &Table, names: &[String], reasons: &BTreeMap<String, String>) -> Vec<LeftOut> {
    let taken = |name: &str, arch: Option<&str>| {
        let is = |row: &Row| {
            (row.name == name && arch.is_none_or(|arch| arch == row.arch))
                || called(&row.name, &row.arch) == name
        };
        table.rows.iter().any(|(part, row)| *part != Part::Skip && is(row)) || table.replaced.iter().any(is)
    };
    let reason = |name: &str| reasons.get(name).map(|reason| shown(&format!("dependency: {reason}")));
    let mut found = BTreeMap::new();
    for (_, row) in table.rows.iter().filter(|(part, _)| *part == Part::Skip) {
        if names.is_empty() && !taken(&row.name, Some(&row.arch)) {
            let why = reason(&row.name).unwrap_or_else(|| "DNF leaves it out and does not say why".into());
            found.insert(called(&row.name, &row.arch), why);
        }
    }
    for (name, _) in reasons.iter().filter(|(name, _)| names.is_empty() && !taken(name, None)) {
        found.entry(name.clone()).or_insert_with(|| reason(name).unwrap_or_default());
    }
    for name in names.iter().filter(|name| !taken(name, None)) {
        let bare = name.rsplit_once('.').map_or(name.as_str(), |(bare, _)| bare);
        let why = reason(name).or_else(|| reason(bare));
        found.insert(
            name.clone(),
            why.unwrap_or_else(|| "there is nothing newer that could be installed".into()),
        );
    }
    found.into_iter().map(|(name, reason)| LeftOut { name, reason }).collect()
}

/// Reads a line of `rpm -V`: whether the file is gone or has another content than the package's, what kind of file it is
/// if it is no ordinary one, and its path.
fn verified(line: &str) -> Option<(bool, Option<&str>, &str)> {
    let (marks, rest) = line.split_once(' ')?;
    let rest = rest.trim_start();
    let differs = marks == "missing" || marks.contains('5');
    match rest.split_once(' ') {
        Some((kind, path)) if kind.len() == 1 => Some((differs, Some(kind), path.trim_start())),
        _ => Some((differs, None, rest)),
    }
}

/// The path of a configuration file whose content is not the package's.
fn edited(line: &str) -> Option<&str> {
    verified(line).filter(|(differs, kind, _)| *differs && *kind == Some("c")).map(|(.., path)| path)
}

/// True if a file is not the package's that nobody but RPM is to change.
pub(super) fn is_damaged(line: &str) -> bool {
    // Settings, and what packages only name: files that are made later, or need not be there.
    verified(line).is_some_and(|(differs, kind, _)| differs && !matches!(kind, Some("c" | "g" | "m")))
}

fn reboot(changes: &Changes) -> Option<String> {
    let wants =
        |change: &&PlannedChange| change.to.is_some() && WANT_A_RESTART.contains(&change.name.as_str());
    let names: Vec<&str> = changes.all().iter().filter(wants).map(|change| change.name.as_str()).collect();
    (!names.is_empty()).then(|| format!("{} is in use only after a restart", names.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edited_configuration_file_and_a_damaged_one_are_told_from_other_lines() {
        for (line, expected, damaged) in [
            ("S.5....T.  c /etc/a b.conf", Some("/etc/a b.conf"), false),
            ("missing    c /etc/gone", Some("/etc/gone"), false),
            (".......T.  c /etc/touched", None, false),
            ("S.5....T.    /usr/bin/x", None, true),
            ("S.5....T.  d /usr/share/doc/x", None, true),
            ("missing      /usr/bin/a b", None, true),
            ("missing    g /var/log/x", None, false),
            (".M.......    /usr/bin/x", None, false),
            ("", None, false),
        ] {
            assert_eq!((edited(line), is_damaged(line)), (expected, damaged), "{line}");
        }
    }
}
