//! Reads what APT's and dpkg's programs print. Lines that are none of theirs are passed over.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use regex::Regex;

/// A package that dpkg knows and that is on the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Installed {
    pub(super) version: String,
    pub(super) architecture: String,
    pub(super) source: String,
    pub(super) source_version: String,
    pub(super) is_held: bool,
    /// Unpacked and not configured, or worse.
    pub(super) is_broken: bool,
}

/// What [`installed`] reads.
pub(super) const INSTALLED_FORMAT: &str =
    "${db:Status-Abbrev}|${Package}|${Architecture}|${Version}|${source:Package}|${source:Version}\n";

/// All packages by name and architecture, as `libc6:amd64`.
pub(super) fn installed(text: &str) -> BTreeMap<String, Installed> {
    let read = |line: &str| {
        let mut fields = line.split('|');
        let mut next = || fields.next();
        let (state, name, architecture) = (next()?, next()?, next()?);
        let (version, source, source_version) = (next()?, next()?, next()?);
        let mut state = state.chars();
        let (wanted, is, error) = (state.next()?, state.next()?, state.next().unwrap_or(' '));
        if matches!(is, 'n' | 'c') || name.is_empty() || version.is_empty() {
            return None;
        }
        let package = Installed {
            version: version.into(),
            architecture: architecture.into(),
            source: source.into(),
            source_version: source_version.into(),
            is_held: wanted == 'h',
            is_broken: is != 'i' || error != ' ',
        };
        Some((format!("{name}:{architecture}"), package))
    };
    text.lines().filter_map(read).collect()
}

/// What `apt-cache policy` says of one package.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Policy {
    /// As APT calls it: with its architecture if that is a foreign one.
    pub(super) name: String,
    pub(super) installed: Option<String>,
    pub(super) candidate: Option<String>,
    /// The newest first.
    pub(super) versions: Vec<Version>,
    /// The file of the preferences that keeps a newer version from being the candidate; empty if it is not known.
    pub(super) pinned_in: Option<String>,
}

impl Policy {
    /// Returns the newest version, if preferences about this very package keep it from being the candidate. Priorities of
    /// whole sources are another matter: what is newer there is not meant for this host.
    pub(super) fn pinned(&self) -> Option<&Version> {
        let installed = self.installed.as_ref()?;
        let is_kept = self.candidate.as_ref().is_none_or(|candidate| candidate == installed);
        let newest = self.versions.first().filter(|newest| newest.version != *installed && is_kept)?;
        let is_in_table = self.versions.iter().any(|version| version.version == *installed);
        (is_in_table && self.versions.iter().any(Version::has_own_priority)).then_some(newest)
    }
}

/// A version and who offers it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Version {
    pub(super) version: String,
    /// How many of all hosts are offered it, in percent.
    pub(super) phased: Option<u8>,
    /// `http://deb.debian.org/debian bookworm/main`; none for what is only installed.
    pub(super) pockets: Vec<String>,
    priority: i32,
    /// The highest of those who offer it.
    offered_at: Option<i32>,
}

impl Version {
    /// True if it is preferred otherwise than those who offer it.
    fn has_own_priority(&self) -> bool {
        self.phased.is_none() && self.offered_at.is_some_and(|offered_at| offered_at != self.priority)
    }
}

/// Reads the output of `apt-cache policy NAME...` in the language of the locale C, line by line.
#[derive(Debug, Default)]
pub(super) struct Policies {
    pub(super) found: Vec<Policy>,
}

impl Policies {
    /// Takes the next line.
    pub(super) fn line(&mut self, line: &str) {
        if !line.starts_with(' ') {
            if let Some(name) = line.strip_suffix(':').filter(|name| !name.is_empty()) {
                self.found.push(Policy { name: name.into(), ..Policy::default() });
            }
            return;
        }
        let Some(policy) = self.found.last_mut() else { return };
        let known = |text: &str| (text != "(none)" && !text.is_empty()).then(|| text.to_owned());
        if let Some(version) = line.strip_prefix("  Installed: ") {
            policy.installed = known(version.trim());
        } else if let Some(version) = line.strip_prefix("  Candidate: ") {
            policy.candidate = known(version.trim());
        } else if let Some(pocket) = line.strip_prefix("        ") {
            if let Some(version) = policy.versions.last_mut() {
                let priority = pocket.split_whitespace().next().and_then(|word| word.parse().ok());
                version.offered_at = version.offered_at.max(priority);
                version.pockets.extend(pocket_of(pocket));
            }
        } else if let Some(rest) = line.strip_prefix("     ").or_else(|| line.strip_prefix(" *** ")) {
            policy.versions.extend(version_of(rest));
        }
    }
}

/// `1.1 500 (phased 10%)`
fn version_of(row: &str) -> Option<Version> {
    let mut words = row.split_whitespace();
    let version = words.next()?.to_owned();
    let priority = words.next()?.parse().ok()?;
    let phased = row.split_once("(phased ").and_then(|(_, rest)| rest.split_once("%)"));
    let phased = phased.and_then(|(percent, _)| percent.parse().ok());
    Some(Version { version, phased, priority, ..Version::default() })
}

/// `500 http://deb.debian.org/debian bookworm/main amd64 Packages`; what dpkg itself knows is no pocket.
fn pocket_of(row: &str) -> Option<String> {
    let mut words = row.split_whitespace();
    let (_, site, release) = (words.next()?, words.next()?, words.next()?);
    Some(format!("{site} {release}"))
}

/// What a dry run would do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Simulation {
    /// What would be installed, by name; with what is there now.
    pub(super) installs: BTreeMap<String, Install>,
    /// What would be removed.
    pub(super) removals: Vec<String>,
    /// How many APT says there are; none if it does not.
    pub(super) counted_removals: Option<usize>,
    /// Of what would be installed: what is newer now.
    pub(super) downgrades: BTreeSet<String>,
}

/// What would become of a package that is installed or upgraded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Install {
    pub(super) current: Option<String>,
    pub(super) new: String,
}

static CHANGE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^   (\S+?)\*?(?: \((?:(\S+) => )?(\S+)\))?$").expect("it is a constant"));

/// APT's own count of what it removes.
static TO_REMOVE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^\d+ upgraded, .*?(\d+) to remove").expect("it is a constant"));

/// What makes `apt-get` print what it would do, a package a line, and do nothing. Unlike `-s` it does not work through the
/// whole of the dependencies again after every package, which takes minutes where a host is far behind.
pub(super) const DRY_RUN: [&str; 6] =
    ["--print-uris", "-V", "-o", "Debug::NoLocking=1", "-o", "APT::Output-Version=0"];

/// Reads the output of `apt-get` with [`DRY_RUN`], in the language of the locale C.
pub(super) fn simulation(text: &str) -> Simulation {
    let mut found = Simulation::default();
    let mut section = "";
    for line in text.lines() {
        if let Some(title) = line.strip_suffix(':').filter(|title| !title.starts_with(' ')) {
            section = title;
            continue;
        }
        if let Some(count) = TO_REMOVE.captures(line).and_then(|parts| parts.get(1)) {
            found.counted_removals = count.as_str().parse().ok();
        }
        let Some(parts) = CHANGE.captures(line) else {
            // A section ends with its last package.
            section = "";
            continue;
        };
        let part = |at: usize| parts.get(at).map(|part| part.as_str().to_owned());
        let name = part(1).unwrap_or_default();
        match section {
            "The following packages will be REMOVED" => found.removals.push(name),
            "The following NEW packages will be installed"
            | "The following packages will be upgraded"
            | "The following packages will be DOWNGRADED" => {
                // Of what is removed APT may leave the version out, of nothing else.
                let Some(new) = part(3) else { continue };
                let install = Install { current: part(2), new };
                if section.ends_with("DOWNGRADED") {
                    found.downgrades.insert(name.clone());
                }
                found.installs.insert(name, install);
            }
            _ => {}
        }
    }
    found
}

/// A file that would be fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct File {
    pub(super) arch: String,
    pub(super) size: u64,
    /// None if its source gives weaker hashes only.
    pub(super) sha256: Option<String>,
}

static URI: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^'\S+' ([^_\s]+)_([^_\s]+)_([^_\s]+)\.deb (\d+) (?:SHA256:([0-9a-fA-F]{64}))?")
        .expect("it is a constant")
});

/// Files by the name, version and architecture of their package.
pub(super) type Files = BTreeMap<(String, String, String), File>;

/// Reads the addresses that `apt-get --print-uris` prints.
pub(super) fn files(text: &str) -> Files {
    let read = |line: &str| {
        let parts = URI.captures(line)?;
        let sha256 = parts.get(5).map(|hash| hash.as_str().to_ascii_lowercase());
        let file = File { arch: parts[3].to_owned(), size: parts[4].parse().ok()?, sha256 };
        // A file's name holds no colon.
        Some(((parts[1].to_owned(), parts[2].replace("%3a", ":"), parts[3].to_owned()), file))
    };
    text.lines().filter_map(read).collect()
}

static DISK: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?m)^After this operation, ([\d.,]+) ([kMGT]?)B (of additional|disk space will be freed)")
        .expect("it is a constant")
});

/// How many bytes the disk holds more after what `apt-get` would do; fewer if below zero.
pub(super) fn disk_bytes(text: &str) -> i64 {
    let Some(parts) = DISK.captures(text) else { return 0 };
    let number: f64 = parts[1].replace(',', "").parse().unwrap_or_default();
    let power = "kMGT".find(&parts[2]).filter(|_| !parts[2].is_empty()).map_or(0, |at| at as i32 + 1);
    let bytes = (number * 1000_f64.powi(power)) as i64;
    if parts[3].starts_with("of") { bytes } else { -bytes }
}

/// Reads `dpkg --verify`: configuration files that were changed or deleted.
pub(super) fn changed_config_files(text: &str) -> Vec<String> {
    let read = |line: &str| {
        let (what, path) = line.split_once(" c ")?;
        let is_changed = what.trim() == "missing" || what.chars().nth(2) == Some('5');
        is_changed.then(|| path.trim().to_owned())
    };
    text.lines().filter_map(read).collect()
}

static PROGRESS: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^(dlstatus|pmstatus):(.*?):([0-9.]+):(.*)$").expect("it is a constant"));

/// Reads a line of APT's `APT::Status-Fd`: how many percent of fetching or of unpacking are done, and what is done now.
pub(super) fn progress(line: &str) -> Option<(u8, String)> {
    let parts = PROGRESS.captures(line)?;
    let percent: f64 = parts[3].parse().ok()?;
    Some((percent.clamp(0.0, 100.0) as u8, parts[4].to_owned()))
}

/// What [`conffiles`] reads.
pub(super) const CONFFILES_FORMAT: &str = "${Package}\n${Conffiles}\n";

/// Configuration files with the package that they belong to.
pub(super) fn conffiles(text: &str) -> BTreeMap<String, String> {
    let mut package = "";
    let mut found = BTreeMap::new();
    for line in text.lines() {
        match line.strip_prefix(' ') {
            None if !line.is_empty() => package = line,
            Some(entry) => {
                let path = entry.split(' ').next().unwrap_or_default();
                found.insert(path.to_owned(), package.to_owned());
            }
            None => {}
        }
    }
    found
}

/// Why a dry run found no way, in APT's words: ` t-app : Depends: t-lib (>= 3) but it is not installable`.
pub(super) fn unmet(stdout: &str) -> Option<String> {
    let rest = stdout.split_once("unmet dependencies:")?.1;
    // A package's second reason stands under its first one.
    let lines: Vec<_> = rest.lines().filter(|line| line.starts_with(' ')).map(str::trim).collect();
    let (first, more) = lines.split_first()?;
    Some(match more.len() {
        0 => (*first).to_owned(),
        more => format!("{first} (and {more} more)"),
    })
}

/// The same, or the error that it ended with.
pub(super) fn why_not(stdout: &str, stderr: &str) -> String {
    unmet(stdout).or_else(|| error_of(stderr)).unwrap_or_else(|| "APT did not say why".into())
}

/// The reasons for each package that it names.
pub(super) fn unmet_by_name(stdout: &str) -> BTreeMap<String, String> {
    let Some((_, rest)) = stdout.split_once("unmet dependencies:") else { return BTreeMap::new() };
    let mut found: BTreeMap<String, (String, usize)> = BTreeMap::new();
    let mut current = None;
    for line in rest.lines().filter(|line| line.starts_with(' ')) {
        match line.strip_prefix(' ').and_then(|line| line.split_once(" : ")) {
            Some((name, _)) if is_name(name) => {
                found.insert(name.to_owned(), (line.trim().to_owned(), 0));
                current = Some(name.to_owned());
            }
            _ => {
                let reasons = current.as_ref().and_then(|name| found.get_mut(name));
                reasons.into_iter().for_each(|(_, more)| *more += 1);
            }
        }
    }
    let told = |(name, (first, more))| match more {
        0 => (name, first),
        more => (name, format!("{first} (and {more} more)")),
    };
    found.into_iter().map(told).collect()
}

/// What `apt-cache show` says of one version.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) size_bytes: Option<u64>,
    pub(super) architecture: Option<String>,
    /// Of the file; none of what is only installed.
    pub(super) sha256: Option<String>,
    pub(super) section: Option<String>,
    pub(super) description: Option<String>,
    /// Names it depends on, whichever of several would do.
    pub(super) depends: Vec<String>,
    /// Names it does not stand beside.
    pub(super) conflicts: Vec<String>,
}

/// Records by name without architecture, and version; reads line by line, for there is much that nobody needs.
#[derive(Debug)]
pub(super) struct Records<'a> {
    /// Versions by name, as APT calls it.
    wanted: &'a BTreeMap<&'a str, &'a str>,
    native: &'a str,
    has_relations: bool,
    name: Option<String>,
    version: Option<String>,
    architecture: Option<String>,
    record: Record,
    pub(super) found: BTreeMap<(String, String), Record>,
}

impl<'a> Records<'a> {
    /// Of these versions by name. Relations to others are many, and are kept if somebody asks for them.
    pub(super) fn of(wanted: &'a BTreeMap<&'a str, &'a str>, native: &'a str, has_relations: bool) -> Self {
        let record = Record::default();
        let (name, version, architecture, found) = (None, None, None, BTreeMap::new());
        Self { wanted, native, has_relations, name, version, architecture, record, found }
    }

    /// True if it is wanted for any architecture.
    fn is_wanted(&self, name: &str) -> bool {
        let foreign = format!("{name}:");
        let mut next = self.wanted.range(foreign.as_str()..);
        self.wanted.contains_key(name) || next.next().is_some_and(|(next, _)| next.starts_with(&foreign))
    }

    /// Takes the next line.
    pub(super) fn line(&mut self, line: &str) {
        if line.is_empty() {
            return self.close();
        }
        if let Some(name) = line.strip_prefix("Package: ") {
            // The last one of a list may end without a blank line.
            self.close();
            self.name = self.is_wanted(name).then(|| name.to_owned());
            return;
        }
        if self.name.is_none() {
            return;
        }
        // A field's further lines begin with a blank: the long description.
        let Some((field, value)) = line.split_once(": ").filter(|_| !line.starts_with(' ')) else { return };
        let record = &mut self.record;
        match field {
            "Version" => self.version = Some(value.into()),
            "Architecture" => self.architecture = Some(value.into()),
            "Size" => record.size_bytes = value.parse().ok(),
            "SHA256" => record.sha256 = Some(value.to_ascii_lowercase()),
            "Section" => record.section = Some(value.into()),
            "Description" | "Description-en" => record.description = Some(value.into()),
            "Depends" | "Pre-Depends" if self.has_relations => record.depends.extend(names(value)),
            "Conflicts" | "Breaks" if self.has_relations => record.conflicts.extend(names(value)),
            _ => {}
        }
    }

    /// The last one may end without a blank line.
    pub(super) fn close(&mut self) {
        let record = std::mem::take(&mut self.record);
        let architecture = self.architecture.take();
        let (Some(name), Some(version)) = (self.name.take(), self.version.take()) else { return };
        let is_version = |called: &str| self.wanted.get(called).is_some_and(|wanted| *wanted == version);
        let is_foreign = |architecture: &str| architecture != self.native && architecture != "all";
        let is_it = match architecture.as_deref() {
            Some(architecture) if is_foreign(architecture) => is_version(&format!("{name}:{architecture}")),
            _ => is_version(&name),
        };
        if is_it {
            let record = Record { architecture, ..record };
            self.found.entry((name, version)).or_insert(record);
        }
    }
}

/// `libc6 (>= 2.36), debconf (>= 0.5) | debconf-2.0` without what is not a name.
fn names(relations: &str) -> impl Iterator<Item = String> {
    relations.split([',', '|']).filter_map(|relation| {
        let name = relation.trim().split([' ', '(', ':', '[']).next()?;
        (!name.is_empty()).then(|| name.to_owned())
    })
}

/// Which suite a list of packages is from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) suite: String,
    pub(super) origin: String,
    pub(super) label: String,
    pub(super) is_security: bool,
}

/// What [`targets`] reads.
pub(super) const TARGET_FORMAT: &str =
    "$(CREATED_BY)|$(SITE)|$(RELEASE)|$(COMPONENT)|$(SUITE)|$(CODENAME)|$(ORIGIN)|$(LABEL)";

/// Reads `apt-get indextargets`: the lists by pocket, in the form of [`Version::pockets`].
pub(super) fn targets(text: &str) -> BTreeMap<String, Target> {
    let read = |line: &str| {
        let fields: Vec<&str> = line.split('|').collect();
        let ["Packages", site, release, component, suite, codename, origin, label] = fields[..] else {
            return None;
        };
        let place = if component.is_empty() { release.to_owned() } else { format!("{release}/{component}") };
        let target = Target {
            suite: if suite.is_empty() { release.trim_end_matches('/').into() } else { suite.into() },
            origin: origin.into(),
            label: label.into(),
            is_security: is_security(label, origin, &[suite, codename, release]),
        };
        Some((format!("{site} {place}"), target))
    };
    text.lines().filter_map(read).collect()
}

/// True if what comes from there mends holes.
pub(super) fn is_security(label: &str, origin: &str, suites: &[&str]) -> bool {
    label.contains("Security")
        || origin.starts_with("UbuntuESM")
        || suites.iter().any(|suite| suite.ends_with("-security"))
}

/// How `apt-get update` came out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refresh {
    /// Every list is fresh.
    Done,
    /// Somebody else refreshes them, if APT knows who.
    Busy(Option<String>),
    /// In its words.
    Failed(String),
}

static CREDENTIALS: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"://[^/@\s]+@").expect("it is a constant"));

/// Reads how `apt-get update` came out. It ends with 0 while every mirror is down, unless told otherwise, which versions
/// before 2.0 cannot be.
pub(super) fn refresh(code: Option<i32>, stderr: &str) -> Refresh {
    let said = |line: &&str| line.starts_with("E: ") || line.starts_with("W: ");
    let lines: Vec<&str> = stderr.lines().filter(said).map(|line| &line[3..]).collect();
    if let Some(lock) = lines.iter().find(|line| line.contains("Could not get lock")) {
        let holder = lock.split_once("held by process ").map(|(_, holder)| holder.trim_end_matches('.'));
        return Refresh::Busy(holder.map(str::to_owned));
    }
    let failed: Vec<_> = lines.iter().filter(|line| line.starts_with("Failed to fetch")).collect();
    let first = match (failed.first(), code) {
        (Some(first), _) => (**first).to_owned(),
        (None, Some(0)) => return Refresh::Done,
        (None, _) => error_of(stderr).unwrap_or_else(|| "`apt-get update` did not say why".into()),
    };
    let more = failed.len().saturating_sub(1);
    let more = if more > 0 { format!(" (and {more} more)") } else { String::new() };
    let words: Vec<&str> = first.split_whitespace().collect();
    Refresh::Failed(CREDENTIALS.replace_all(&format!("{}{more}", words.join(" ")), "://").into_owned())
}

/// The first error that a program of APT told of, without its mark.
pub(super) fn error_of(stderr: &str) -> Option<String> {
    stderr.lines().find_map(|line| line.strip_prefix("E: ")).map(str::to_owned)
}

static NAME: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^[a-z0-9][a-z0-9+.-]+(:[a-z0-9-]+)?$").expect("it is a constant"));
static VERSION: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^[0-9A-Za-z][0-9A-Za-z.+:~-]*$").expect("it is a constant"));

/// True if it is a name that may be handed to a program.
pub(super) fn is_name(name: &str) -> bool {
    NAME.is_match(name)
}

/// True if it is a version that may be handed to a program.
pub(super) fn is_version(version: &str) -> bool {
    VERSION.is_match(version)
}

#[cfg(test)]
mod tests;
