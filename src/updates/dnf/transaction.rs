//! What DNF 4 would do, in its own table, and the file that tells it to do exactly what was planned.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use regex::Regex;
use serde_json::{Value, json};

use super::evr::Evr;
use super::now::nevra;
use crate::domain::update::{Operation, PlannedChange};

/// The form of the file that is written here; DNF refuses one of another major version.
const FILE_VERSION: &str = "0.0";
/// Longest name of a package.
const MAX_NAME: usize = 256;

/// What becomes of a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Install,
    Upgrade,
    Downgrade,
    Remove,
    /// It is left out.
    Skip,
}

/// A package in the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) arch: String,
    pub(super) evr: Evr,
    pub(super) repository: String,
}

/// The table of a dry run.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) rows: Vec<(Part, Row)>,
    /// Those that others take the place of.
    pub(super) replaced: Vec<Row>,
    /// Sections about something else than packages, by their titles.
    pub(super) others: Vec<String>,
}

impl Table {
    /// Reads what `dnf --assumeno upgrade` prints.
    pub(super) fn read(stdout: &str) -> Self {
        let mut table = Self::default();
        let mut section = None;
        let table_of = stdout.lines().skip_while(|line| !line.starts_with("====")).skip(3);
        // A name that is too wide stands on a line of its own; what belongs to it is further in.
        let mut words: Vec<&str> = Vec::new();
        for line in table_of.take_while(|line| !line.starts_with("Transaction Summary")) {
            if let Some(replaced) = line.trim_start().strip_prefix("replacing ") {
                let fields: Vec<&str> = replaced.split_whitespace().collect();
                if let [package, evr] = fields[..]
                    && let (Some((name, arch)), Some(evr)) = (package.rsplit_once('.'), Evr::parse(evr))
                {
                    let (name, arch) = (name.to_owned(), arch.to_owned());
                    table.replaced.push(Row { name, arch, evr, repository: String::new() });
                }
                continue;
            }
            if line.starts_with(|first: char| first.is_ascii_uppercase()) {
                section = line.strip_suffix(':').map(|title| (title, part(title)));
                words.clear();
                continue;
            }
            if !line.starts_with(' ') {
                // DNF's own advice to a person at a terminal.
                continue;
            }
            if !line.starts_with("  ") {
                words.clear();
            }
            words.extend(line.split_whitespace());
            match section {
                Some((_, Some(part))) => {
                    let [name, arch, evr, repository, ..] = words[..] else { continue };
                    let Some(evr) = Evr::parse(evr) else { continue };
                    let (name, arch) = (name.to_owned(), arch.to_owned());
                    table.rows.push((part, Row { name, arch, evr, repository: repository.to_owned() }));
                    words.clear();
                }
                Some((title, None)) if !words.is_empty() => {
                    table.others.push(format!("{title} {}", words.join(" ")));
                    words.clear();
                }
                _ => {}
            }
        }
        table
    }
}

/// What a title says of the packages below it; none if they are no packages.
fn part(title: &str) -> Option<Part> {
    Some(match title {
        "Installing"
        | "Installing dependencies"
        | "Installing weak dependencies"
        | "Installing group/module packages"
        | "Installing group packages" => Part::Install,
        "Upgrading" => Part::Upgrade,
        "Downgrading" => Part::Downgrade,
        "Removing" | "Removing dependent packages" | "Removing unused dependencies" => Part::Remove,
        title if title.starts_with("Skipping packages") => Part::Skip,
        _ => return None,
    })
}

/// A package on offer, with what is in its repository's description.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) nevra: String,
    pub(super) repository: String,
    pub(super) download_bytes: u64,
    pub(super) disk_bytes: u64,
    /// None if its repository says none.
    pub(super) sha256: Option<String>,
}

/// What [`contents`] reads. The check sum is not among the tags that DNF documents, but any property of a package may be
/// asked for.
pub(super) const CONTENT_FORMAT: &str =
    "%{name}|%{epoch}|%{version}|%{release}|%{arch}|%{repoid}|%{downloadsize}|%{installsize}|%{chksum}";

/// Reads `dnf repoquery`.
pub(super) fn contents(text: &str) -> Vec<Content> {
    let read = |line: &str| {
        let fields: Vec<&str> = line.splitn(9, '|').collect();
        let [name, epoch, version, release, arch, repository, download, disk, digest] = fields[..] else {
            return None;
        };
        let evr = Evr::new(epoch, version, release);
        Some(Content {
            nevra: format!("{name}-{}.{arch}", evr.text()),
            repository: repository.into(),
            download_bytes: download.parse().unwrap_or(0),
            disk_bytes: disk.parse().unwrap_or(0),
            sha256: check_sum(digest),
        })
    };
    text.lines().filter_map(read).collect()
}

/// Reads Python's way of writing a check sum: `(2, b'\x87\x98…')`. None if it has not the length of a SHA-256.
fn check_sum(text: &str) -> Option<String> {
    let (_, rest) = text.split_once(", b")?;
    let quote = rest.chars().next().filter(|quote| matches!(quote, '\'' | '"'))?;
    let inner = rest.strip_prefix(quote)?.strip_suffix(')')?.strip_suffix(quote)?;
    let mut bytes = Vec::new();
    let mut letters = inner.chars();
    while let Some(letter) = letters.next() {
        let byte = match letter {
            '\\' => match letters.next()? {
                'x' => {
                    let digits: String = letters.by_ref().take(2).collect();
                    u8::from_str_radix(&digits, 16).ok()?
                }
                'n' => b'\n',
                'r' => b'\r',
                't' => b'\t',
                same @ ('\\' | '\'' | '"') => u8::try_from(same).ok()?,
                _ => return None,
            },
            plain => u8::try_from(plain).ok().filter(u8::is_ascii)?,
        };
        bytes.push(byte);
    }
    (bytes.len() == 32).then(|| hex::encode(bytes))
}

/// Why a package that is changed counts as installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// Somebody wanted it.
    User,
    /// Others need it.
    Dependency,
}

impl Reason {
    fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Dependency => "dependency",
        }
    }
}

/// The file for `dnf history replay`: exactly these changes.
pub(super) fn file(changes: &[&PlannedChange], reason: impl Fn(&PlannedChange) -> Reason) -> Value {
    let mut rpms = Vec::new();
    for change in changes {
        let mut push = |action: &str, version: &str, reason: &str| {
            rpms.push(
                json!({ "action": action, "nevra": nevra(change, version), "reason": reason, "repo_id": "" }),
            );
        };
        let (forth, back) = match change.operation {
            Operation::Downgrade => ("Downgrade", "Downgraded"),
            Operation::Install => ("Install", ""),
            Operation::Remove => ("", "Removed"),
            Operation::Reinstall => ("Reinstall", "Reinstalled"),
            Operation::Upgrade | Operation::Replace | Operation::Configure | Operation::Restart => {
                ("Upgrade", "Upgraded")
            }
        };
        // Of what stays installed DNF keeps its own reason if the one in the file is the weakest there is.
        let stays = change.from.is_some() && change.to.is_some();
        let reason = if stays { "clean" } else { reason(change).as_str() };
        if let Some(to) = &change.to {
            push(forth, to, reason);
        }
        if let Some(from) = &change.from {
            push(back, from, reason);
        }
    }
    json!({ "version": FILE_VERSION, "rpms": rpms })
}

/// True if a text can be the name of a package, maybe with its architecture, and nothing else to DNF.
pub(super) fn is_name(text: &str) -> bool {
    let is_mark = |byte: u8| byte.is_ascii_alphanumeric() || b"+._-".contains(&byte);
    text.len() <= MAX_NAME
        && text.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '_')
        && text.bytes().all(is_mark)
}

static STEP: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^ +([A-Z][a-z ]+?) *: (\S+) +(\d+)/(\d+) *$").expect("it is a constant"));

/// Reads how far DNF is: `  Upgrading        : t-lib-1:1.1-1.noarch     2/4`.
pub(super) fn progress(line: &str) -> Option<(u8, String)> {
    let parts = STEP.captures(line)?;
    let (done, all): (u64, u64) = (parts[3].parse().ok()?, parts[4].parse().ok()?);
    let percent = (done.min(all) * 100).checked_div(all)?;
    Some((u8::try_from(percent).ok()?, format!("{} {}", &parts[1], &parts[2])))
}

static SCRIPT: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^Error in (\S+) scriptlet in rpm package (\S+)").expect("it is a constant")
});

/// Which packages' scripts failed; with some, DNF goes on and ends as if nothing had been.
pub(super) fn failed_scripts(said: &str) -> Option<String> {
    let mut found: BTreeMap<String, String> = BTreeMap::new();
    let mut before = "";
    for line in said.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if let Some(parts) = SCRIPT.captures(line) {
            let cause =
                if before.starts_with("error:") || before.starts_with("warning:") { before } else { "" };
            let words = format!("the script {} of {} failed {cause}", &parts[1], &parts[2]);
            found.insert(parts[2].to_owned(), words.trim_end().to_owned());
        }
        before = line;
    }
    let all: Vec<String> = found.into_values().collect();
    (!all.is_empty()).then(|| all.join("; "))
}

/// How a call ended that was to do exactly a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    Done,
    /// Somebody else installs; who, as far as it is said.
    Busy(String),
    /// The host or its repositories are not as the file wants them.
    Refused(String),
    Failed(String),
}

/// Reads how a call ended.
pub(super) fn outcome(code: Option<i32>, said: &str) -> Outcome {
    let is_locked = |line: &str| line.contains("can't create transaction lock");
    if code == Some(200) || code != Some(0) && said.lines().any(is_locked) {
        let after =
            |words: &str| said.lines().find_map(|line| line.split_once(words)).map(|(_, rest)| rest.trim());
        let name = after("The application with PID ").and_then(|rest| rest.split_once(" is: "));
        return Outcome::Busy(match name {
            Some((pid, name)) => format!("`{name}` (process {pid})"),
            None => "another DNF or RPM".into(),
        });
    }
    if code == Some(0) {
        return Outcome::Done;
    }
    let mut lines = said.lines().skip_while(|line| !line.starts_with("Error: "));
    let first =
        lines.next().map(|line| line.trim_start_matches("Error: ").trim()).filter(|line| !line.is_empty());
    let rest = lines.take_while(|line| line.starts_with(' ')).map(str::trim);
    // The error itself does not name them.
    let named = said.lines().map(str::trim).filter(|line| is_about_a_file(line));
    let words: Vec<&str> = first.into_iter().chain(rest).chain(named).collect();
    let why = words.join(" ");
    if why.contains("occurred while replaying the transaction") {
        let differs = why.split_once(": ").map_or(why.as_str(), |(_, differs)| differs);
        return Outcome::Refused(differs.to_owned());
    }
    Outcome::Failed(match (failed_scripts(said), why.is_empty(), code) {
        (Some(scripts), ..) => scripts,
        (None, false, _) => why,
        (None, true, Some(code)) => format!("DNF ended with {code} and did not say why"),
        (None, true, None) => "DNF was killed".into(),
    })
}

/// True if a line says of a file that was fetched why it is not taken: for its content, or for its signature.
fn is_about_a_file(line: &str) -> bool {
    line.ends_with("has incorrect checksum")
        || line.starts_with("Package ") && line.ends_with(" is not signed")
        || line.starts_with("Problem opening package ")
        || line.starts_with("The GPG keys listed for ")
        || line.contains(". Failing package is: ")
}

/// True if `dnf history info last` is about this call, and says that it ended well.
pub(super) fn is_ended_well(said: &str, comment: &str) -> bool {
    let field = |name: &str| {
        said.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            (key.trim() == name).then(|| value.trim().to_owned())
        })
    };
    field("Comment").as_deref() == Some(comment) && field("Return-Code").as_deref() == Some("Success")
}

#[cfg(test)]
mod tests;
