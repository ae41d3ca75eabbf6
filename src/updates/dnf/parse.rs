//! Reads what DNF's and RPM's programs print. Lines that are none of theirs are passed over.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use chrono::TimeDelta;
use regex::Regex;
use serde::Deserialize;
use serde_json::Value;

use super::evr::{Evr, Nevra};

/// Which DNF it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Generation {
    /// Python, with tables.
    Four,
    /// C++, with JSON.
    Five,
}

/// Reads the first line of `--version`: whatever the program is called, that says what it is.
pub(super) fn generation(text: &str) -> Option<Generation> {
    let line = text.lines().next()?.trim();
    if line.starts_with("dnf5") {
        return Some(Generation::Five);
    }
    line.starts_with("4.").then_some(Generation::Four)
}

/// A package that is installed, in one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Installed {
    pub(super) evr: Evr,
    pub(super) source: Option<String>,
    /// `nodejs:18`, if it is of a module.
    pub(super) module: Option<String>,
    pub(super) summary: Option<String>,
}

/// What [`installed`] reads.
pub(super) const INSTALLED_FORMAT: &str = "%{NAME}|%|EPOCH?{%{EPOCH}}:{0}||%{VERSION}|%{RELEASE}|%{ARCH}|%{SOURCERPM}|%|MODULARITYLABEL?{%{MODULARITYLABEL}}:{}||%{SUMMARY}\n";

/// All packages by name and architecture; of some, several versions are installed.
pub(super) fn installed(text: &str) -> BTreeMap<(String, String), Vec<Installed>> {
    let mut found: BTreeMap<_, Vec<Installed>> = BTreeMap::new();
    for line in text.lines() {
        let fields: Vec<&str> = line.splitn(8, '|').collect();
        let [name, epoch, version, release, arch, source, module, summary] = fields[..] else { continue };
        if name.is_empty() || version.is_empty() {
            continue;
        }
        let package = Installed {
            evr: Evr::new(epoch, version, release),
            source: source.strip_suffix(".src.rpm").and_then(|source| {
                source.rsplitn(3, '-').nth(2).filter(|name| !name.is_empty()).map(str::to_owned)
            }),
            module: (!module.is_empty()).then(|| module.splitn(3, ':').take(2).collect::<Vec<_>>().join(":")),
            summary: (!summary.is_empty()).then(|| summary.to_owned()),
        };
        found.entry((name.to_owned(), arch.to_owned())).or_default().push(package);
    }
    found
}

/// A newer version on offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Offer {
    pub(super) name: String,
    pub(super) arch: String,
    pub(super) evr: Evr,
    pub(super) repository: String,
    pub(super) size_bytes: Option<u64>,
}

/// A package that takes the place of another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Obsoleting {
    pub(super) new: Offer,
    /// Name and architecture of the one that is installed.
    pub(super) old: (String, String),
}

/// What [`offers`] reads.
pub(super) const OFFER_FORMAT: &str =
    "%{name}|%{epoch}|%{version}|%{release}|%{arch}|%{repoid}|%{downloadsize}";

/// Reads `dnf repoquery --upgrades`.
pub(super) fn offers(text: &str) -> Vec<Offer> {
    let read = |line: &str| {
        let fields: Vec<&str> = line.split('|').collect();
        let [name, epoch, version, release, arch, repository, size] = fields[..] else { return None };
        (!name.is_empty() && !version.is_empty()).then(|| Offer {
            name: name.into(),
            arch: arch.into(),
            evr: Evr::new(epoch, version, release),
            repository: repository.into(),
            size_bytes: size.parse().ok(),
        })
    };
    text.lines().filter_map(read).collect()
}

/// What DNF 4's shell is told for all that [`lists`] reads. The list of offers stands between the two that look alike.
pub(super) const LISTS: &str = "updateinfo list\n\
    repoquery --upgrades --latest-limit=1 \
    --qf '%{name}|%{epoch}|%{version}|%{release}|%{arch}|%{repoid}|%{downloadsize}'\n\
    updateinfo list --with-cve\n";

/// What is on offer, and what advisories say of it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Lists {
    pub(super) offers: Vec<Offer>,
    pub(super) advisories: Vec<Advisory>,
    pub(super) cves: Vec<Advisory>,
}

/// Reads what DNF 4's shell prints for [`LISTS`]; none if there is no list of offers to tell the others apart by.
pub(super) fn lists(text: &str) -> Option<Lists> {
    let is_offer = |line: &str| line.contains('|');
    let lines = || text.split_inclusive('\n');
    let start: usize = lines().take_while(|line| !is_offer(line)).map(str::len).sum();
    let (before, rest) = text.split_at(start);
    let middle: usize = rest.split_inclusive('\n').take_while(|line| is_offer(line)).map(str::len).sum();
    let (offered, after) = rest.split_at(middle);
    let is_clean = !offered.is_empty() && !after.lines().any(is_offer);
    is_clean.then(|| Lists {
        offers: offers(offered),
        advisories: advisories(before),
        cves: advisories(after),
    })
}

/// Reads the section of `dnf check-update` about packages that take the place of others.
pub(super) fn obsoleting(text: &str) -> Vec<Obsoleting> {
    let mut found = Vec::new();
    let mut new: Option<Offer> = None;
    let section = text.lines().skip_while(|line| line.trim() != "Obsoleting Packages").skip(1);
    for line in section {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [package, evr, repository] = words[..] else { continue };
        let (Some((name, arch)), Some(evr)) = (package.rsplit_once('.'), Evr::parse(evr)) else { continue };
        if line.starts_with(' ') {
            let old = (name.to_owned(), arch.to_owned());
            found.extend(new.clone().map(|new| Obsoleting { new, old }));
        } else {
            let (name, arch, repository) = (name.into(), arch.into(), repository.into());
            new = Some(Offer { name, arch, evr, repository, size_bytes: None });
        }
    }
    found
}

#[derive(Deserialize)]
struct JsonPackage {
    name: String,
    arch: String,
    evr: String,
    #[serde(default)]
    repository: String,
    #[serde(default)]
    obsoletes: Vec<JsonPackage>,
}

/// Reads `dnf5 check-upgrade --json`; nothing at all is printed where there is nothing newer. None if it is no JSON.
pub(super) fn upgrades_of_five(text: &str) -> Option<(Vec<Offer>, Vec<Obsoleting>)> {
    let (mut offers, mut obsoleting) = (Vec::new(), Vec::new());
    if text.trim().is_empty() {
        return Some((offers, obsoleting));
    }
    let sections = match json_in(text)? {
        Value::Object(sections) => sections.into_iter().map(|(_, section)| section).collect(),
        section @ Value::Array(_) => vec![section],
        _ => return None,
    };
    let packages = sections.into_iter().filter_map(|section| match section {
        Value::Array(packages) => Some(packages),
        _ => None,
    });
    for package in packages.flatten() {
        // One odd entry spoils no list.
        let Ok(package) = serde_json::from_value::<JsonPackage>(package) else { continue };
        let Some(evr) = Evr::parse(&package.evr) else { continue };
        let JsonPackage { name, arch, repository, obsoletes, .. } = package;
        let offer = Offer { name, arch, evr, repository, size_bytes: None };
        if obsoletes.is_empty() {
            offers.push(offer);
            continue;
        }
        let olds = obsoletes.into_iter().map(|old| (old.name, old.arch));
        obsoleting.extend(olds.map(|old| Obsoleting { new: offer.clone(), old }));
    }
    Some((offers, obsoleting))
}

/// The JSON in what a program printed: messages may stand before it.
fn json_in(text: &str) -> Option<Value> {
    let is_start = |line: &str| line.starts_with(['{', '[']);
    let at = text.lines().scan(0, |at, line| {
        let here = *at;
        *at += line.len() + 1;
        Some((here, line))
    });
    let (start, _) = at.into_iter().find(|(_, line)| is_start(line))?;
    serde_json::from_str(text.get(start..)?).ok()
}

/// What an advisory says of one package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Advisory {
    /// Of the advisory, or of a CVE that it is about.
    pub(super) id: String,
    /// `security`, `bugfix`, whatever the id looks like.
    pub(super) is_security: bool,
    /// `Important`, or nothing.
    pub(super) severity: String,
    pub(super) package: Nevra,
}

/// Reads `dnf updateinfo list`, also with `--with-cve`.
pub(super) fn advisories(text: &str) -> Vec<Advisory> {
    let read = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        // With `--all` there is a mark for what is installed in front.
        let [id, kind, package] = words[..] else { return None };
        let (severity, is_security) = match kind.strip_suffix("/Sec.") {
            Some(severity) => (severity, true),
            None => ("", kind == "security"),
        };
        let package = Nevra::parse(package)?;
        Some(Advisory { id: id.into(), is_security, severity: severity.into(), package })
    };
    text.lines().filter_map(read).collect()
}

/// Reads `dnf5 advisory list --json`, also with `--with-cve`: the names of the fields differ. None if it is no JSON.
pub(super) fn advisories_of_five(text: &str) -> Option<Vec<Advisory>> {
    if text.trim().is_empty() {
        return Some(Vec::new());
    }
    let Value::Array(entries) = json_in(text)? else { return None };
    let mut found = Vec::new();
    for entry in &entries {
        let field =
            |names: [&str; 2]| names.iter().find_map(|name| entry.get(name)?.as_str()).unwrap_or_default();
        let Some(package) = Nevra::parse(field(["nevra", "nevra"])) else { continue };
        let advisory = |id: &str| Advisory {
            id: id.into(),
            is_security: field(["advisory_type", "type"]).eq_ignore_ascii_case("security"),
            severity: field(["advisory_severity", "severity"]).into(),
            package: package.clone(),
        };
        match entry.get("references").and_then(Value::as_array) {
            Some(references) => {
                let ids = references.iter().filter_map(|reference| reference.get("reference_id")?.as_str());
                found.extend(ids.map(advisory));
            }
            None => found.push(advisory(field(["advisory_name", "name"]))),
        }
    }
    Some(found)
}

/// What a dry run says of those it leaves out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct DryRun {
    /// Names that would be upgraded or installed.
    pub(super) taken: BTreeSet<String>,
    /// Names that would be left out, whatever the reason.
    pub(super) skipped: BTreeSet<String>,
    /// Reasons by name, in DNF's words.
    pub(super) reasons: BTreeMap<String, String>,
}

static FOR_PACKAGE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"for package (\S+)").expect("it is a constant"));
static NEEDED_BY: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(?:needed by|package) (\S+)").expect("it is a constant"));

/// Reads `dnf --assumeno upgrade`.
pub(super) fn dry_run(stdout: &str, stderr: &str) -> DryRun {
    let mut found = DryRun::default();
    let mut section = "";
    for line in stdout.lines() {
        if let Some(title) = line.strip_suffix(':').filter(|title| !title.starts_with(' ')) {
            section = title;
            continue;
        }
        let row = line.strip_prefix(' ').filter(|row| !row.is_empty() && !row.starts_with(' '));
        let Some(name) = row.and_then(|row| row.split_whitespace().next()) else { continue };
        if section.starts_with("Skipping packages") {
            found.skipped.insert(name.to_owned());
        } else if section.starts_with("Upgrading") || section.starts_with("Installing") {
            found.taken.insert(name.to_owned());
        }
    }
    found.reasons = problems(stderr.lines().chain(stdout.lines()));
    found
}

/// Every ` Problem:` with the lines below it, by the name of the package that stays as it is.
fn problems<'a>(lines: impl Iterator<Item = &'a str>) -> BTreeMap<String, String> {
    let mut found: BTreeMap<String, String> = BTreeMap::new();
    let mut subject: Option<String> = None;
    let name_in = |pattern: &Regex, line: &str| {
        let package = pattern.captures(line)?.get(1)?.as_str();
        Nevra::parse(package).map(|package| package.name)
    };
    for line in lines {
        let line = line.trim();
        if line.starts_with("Problem") {
            subject = name_in(&FOR_PACKAGE, line);
        } else if let Some(reason) = line.strip_prefix("- ") {
            if let Some(name) = subject.clone().or_else(|| name_in(&NEEDED_BY, reason)) {
                found
                    .entry(name)
                    .and_modify(|all| *all = format!("{all}; {reason}"))
                    .or_insert_with(|| reason.to_owned());
            }
        } else {
            subject = None;
        }
    }
    found
}

static AGE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"Last metadata expiration check: (?:(\d+) days?, )?(\d+):(\d\d):(\d\d) ago")
        .expect("it is a constant")
});

/// How old the metadata is, if the program took it from its cache.
pub(super) fn age(stdout: &str, stderr: &str) -> Option<TimeDelta> {
    let parts = AGE.captures(stdout).or_else(|| AGE.captures(stderr))?;
    let number = |at: usize| parts.get(at).map_or(Some(0), |part| part.as_str().parse::<i64>().ok());
    TimeDelta::try_seconds(((number(1)? * 24 + number(2)?) * 60 + number(3)?) * 60 + number(4)?)
}

/// How a refresh of the metadata came out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refresh {
    /// All of it is as fresh as the host wants it.
    Done,
    /// Another DNF is at work.
    Busy,
    /// In its words.
    Failed(String),
}

static CREDENTIALS: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"://[^/@\s]+@").expect("it is a constant"));

/// Reads how `check-update` came out: 100 is "there is something newer", and a repository that cannot be had may be left
/// out with 0 and 100 too.
pub(super) fn refresh(code: Option<i32>, stderr: &str) -> Refresh {
    if code == Some(200) {
        return Refresh::Busy;
    }
    let is_told = |line: &&str| {
        [
            "Failed to download metadata",
            "Ignoring repositories",
            "Errors during downloading metadata",
            "Error: ",
        ]
        .iter()
        .any(|word| line.contains(word))
    };
    let Some(first) = stderr.lines().find(is_told) else {
        return match code {
            Some(0 | 100) => Refresh::Done,
            _ => Refresh::Failed(
                stderr
                    .lines()
                    .find(|line| !line.trim().is_empty())
                    .unwrap_or("it did not say why")
                    .to_owned(),
            ),
        };
    };
    let cause = stderr.lines().map(str::trim).find_map(|line| line.strip_prefix("- "));
    let cause = cause.filter(|_| !first.contains("Error: ")).map(|cause| format!(" {cause}"));
    let text = format!("{}{}", first.trim_start_matches("Error: "), cause.unwrap_or_default());
    Refresh::Failed(CREDENTIALS.replace_all(&text, "://").into_owned())
}

#[cfg(test)]
mod tests;
