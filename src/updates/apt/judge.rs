//! What APT's answers mean: one finding per package, with the true reason why it stays behind.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::json;

use super::parse::{Installed, Policy, Record, Simulation, Target, Version, is_name, is_security};
use crate::domain::update::{Finding, HeldBack, HeldCause, Severity, Standing};

/// All that APT and dpkg said.
#[derive(Debug)]
pub(super) struct Seen {
    /// The host's own architecture.
    pub(super) native: String,
    pub(super) installed: BTreeMap<String, Installed>,
    /// Of those that have a newer version.
    pub(super) policies: Vec<Policy>,
    pub(super) targets: BTreeMap<String, Target>,
    /// What an upgrade that adds and removes nothing would do; what it removes is needed by nobody.
    pub(super) ordinary: Result<Simulation, String>,
    /// What an upgrade that may add and remove would do; empty where the ordinary one leaves nothing behind.
    pub(super) full: Result<Simulation, String>,
    pub(super) records: BTreeMap<(String, String), Record>,
    /// Of those that neither of the two takes along: what happens if one is named.
    pub(super) named: BTreeMap<String, Result<Arc<Simulation>, String>>,
}

/// Returns the package that APT calls by this name.
pub(super) fn installed_as<'a>(
    installed: &'a BTreeMap<String, Installed>,
    native: &str,
    name: &str,
) -> Option<&'a Installed> {
    if name.contains(':') {
        return installed.get(name);
    }
    installed.get(&format!("{name}:{native}")).or_else(|| installed.get(&format!("{name}:all")))
}

impl Seen {
    /// True if an ordinary upgrade does not take all of them along, so that there is something to explain.
    pub(super) fn leaves_some_behind(&self) -> bool {
        let is_pinned = |policy: &Policy| policy.pinned_in.is_some();
        self.policies.iter().any(|policy| !is_pinned(policy) && !takes(&self.ordinary, &policy.name))
    }

    /// Names of those that stay behind for a reason that only a dry run of each can tell; last those that are not offered to
    /// this host yet, which may lack something beside that.
    pub(super) fn unexplained(&self) -> Vec<&str> {
        let is_unexplained = |policy: &&Policy| {
            let name = policy.name.as_str();
            is_name(name)
                && policy.pinned_in.is_none()
                && !self.is_held(name)
                && !takes(&self.ordinary, name)
                && !takes(&self.full, name)
        };
        let is_phased = |policy: &&Policy| candidate(policy).is_some_and(|version| version.phased.is_some());
        let all = || self.policies.iter().filter(is_unexplained);
        let phased = all().filter(is_phased);
        all().filter(|policy| !is_phased(policy)).chain(phased).map(|policy| policy.name.as_str()).collect()
    }

    /// One finding per package that has a newer version, and one per package that nobody needs any more. Of thousands it is
    /// much: what was said of one goes when its finding is there.
    pub(super) fn findings(&mut self) -> Vec<Finding> {
        let policies = std::mem::take(&mut self.policies);
        let mut found = Vec::with_capacity(policies.len());
        for policy in policies {
            let record = self.take_record(&policy.name, policy.candidate.as_deref());
            found.push(self.finding(&policy, record.unwrap_or_default()));
        }
        let idle: BTreeSet<&String> = self.ordinary.iter().flat_map(|plan| &plan.removals).collect();
        for name in idle {
            let at = found.iter().position(|finding| finding.name == *name);
            let finding = match at {
                Some(at) => &mut found[at],
                None => {
                    let mut finding = Finding::new(name.as_str(), Standing::Same);
                    finding.severity = Severity::Low;
                    if let Some(package) = self.package(name) {
                        finding.current_version = Some(package.version.clone());
                        finding.group = Some(package.source.clone());
                    }
                    found.push(finding);
                    found.last_mut().expect("it was just put there")
                }
            };
            finding.details.insert("auto_removable".into(), json!(true));
        }
        found
    }

    fn finding(&self, policy: &Policy, record: Record) -> Finding {
        let name = policy.name.as_str();
        let mut finding = Finding::new(name, Standing::Newer);
        finding.current_version.clone_from(&policy.installed);
        finding.available_version.clone_from(&policy.candidate);
        finding.held_back = self.held_back(policy);
        finding.is_security = self.is_security(policy);
        finding.severity = Severity::without_word(finding.is_security);
        finding.source = self.source(policy);
        if let Some(package) = self.package(name) {
            finding.group = Some(package.source.clone());
            finding.details.insert("architecture".into(), json!(package.architecture));
            finding.details.insert("source_version".into(), json!(package.source_version));
        }
        let origins: BTreeSet<&str> = self.pockets(policy).map(|target| target.origin.as_str()).collect();
        if !origins.is_empty() {
            finding.details.insert("origins".into(), json!(origins));
        }
        if let Some(percent) = candidate(policy).and_then(|version| version.phased) {
            finding.details.insert("phased_percent".into(), json!(percent));
        }
        finding.size_bytes = record.size_bytes;
        finding.description = record.description;
        if let Some(section) = record.section {
            finding.details.insert("section".into(), section.into());
        }
        if let Ok(plan) = &self.full
            && !takes(&self.ordinary, name)
            && plan.installs.contains_key(name)
        {
            let (new, removed) = self.changes(name, plan);
            finding.details.insert("new_packages".into(), json!(new));
            finding.details.insert("removed_packages".into(), json!(removed));
        }
        if !is_name(name) {
            finding.flaw = Some("APT allows no such name; it is handed to no program".into());
        }
        finding
    }

    fn held_back(&self, policy: &Policy) -> Option<HeldBack> {
        let name = policy.name.as_str();
        let held = |cause, reason: String| Some(HeldBack { cause, reason });
        if self.is_held(name) {
            return held(
                HeldCause::Held,
                format!("held by somebody on the host; `apt-mark unhold {name}` lets it go"),
            );
        }
        if let Some(file) = &policy.pinned_in {
            let place = if file.is_empty() { String::new() } else { format!(" (`{file}`)") };
            return held(HeldCause::Held, format!("pinned by preferences on the host{place}"));
        }
        if takes(&self.ordinary, name) {
            return None;
        }
        let is_taken = takes(&self.full, name);
        if let Some(percent) = candidate(policy).and_then(|version| version.phased)
            && !is_taken
        {
            let lacks = match self.named.get(name) {
                Some(Err(reason)) => format!("; dependency, too: {}", self.with_holds(reason)),
                _ => String::new(),
            };
            return held(
                HeldCause::Phased,
                format!(
                    "phased {percent} %: its publisher offers it to that part of all hosts so far{lacks}"
                ),
            );
        }
        if let (true, Ok(plan)) = (is_taken, &self.full) {
            return held(HeldCause::NeedsChanges, changes_in_words(&self.changes(name, plan)));
        }
        match (self.named.get(name), &self.ordinary, &self.full) {
            (Some(Ok(plan)), ..) => {
                held(HeldCause::NeedsChanges, changes_in_words(&self.changes(name, plan)))
            }
            (Some(Err(reason)), ..) => {
                held(HeldCause::Unmet, format!("dependency: {}", self.with_holds(reason)))
            }
            (None, Err(reason), _) | (None, _, Err(reason)) => {
                held(HeldCause::Unmet, format!("dependency: APT finds no way to upgrade: {reason}"))
            }
            (None, ..) => {
                let why = self.waits_for(policy);
                let why = why.unwrap_or_else(|| "APT leaves it behind and does not say why".into());
                held(HeldCause::Unmet, format!("dependency: {why}"))
            }
        }
    }

    /// APT's reason, with what it does not say: that what it names is held by somebody.
    fn with_holds(&self, reason: &str) -> String {
        let words = || reason.split_whitespace();
        let named = words().zip(words().skip(1)).filter(|(before, _)| before.ends_with(':'));
        let held: BTreeSet<&str> = named.map(|(_, name)| name).filter(|name| self.is_held(name)).collect();
        match held.len() {
            0 => reason.to_owned(),
            1 => format!("{reason}; {} is held", listed(&held)),
            _ => format!("{reason}; {} are held", listed(&held)),
        }
    }

    /// What the newer version needs that stays behind itself.
    fn waits_for(&self, policy: &Policy) -> Option<String> {
        let record = self.record(&policy.name, policy.candidate.as_deref())?;
        let needs = || record.depends.iter().map(String::as_str);
        if let Some(held) = needs().find(|name| self.is_held(name)) {
            return Some(format!("it needs {held}, which is held"));
        }
        let lacks = needs().find_map(|name| Some((name, self.named.get(name)?.as_ref().err()?)));
        lacks
            .map(|(name, reason)| format!("it needs {name}, which stays behind: {}", self.with_holds(reason)))
    }

    /// What is new and what goes because of one package of a dry run; all of it if that cannot be told.
    fn changes<'a>(&self, name: &str, plan: &'a Simulation) -> (BTreeSet<&'a str>, BTreeSet<&'a str>) {
        let is_new =
            |name: &&String| plan.installs.get(*name).is_some_and(|install| install.current.is_none());
        let news: BTreeSet<&str> = plan.installs.keys().filter(is_new).map(String::as_str).collect();
        let mut own = BTreeSet::new();
        let mut conflicts = BTreeSet::new();
        let mut look_at = vec![name];
        while let Some(name) = look_at.pop() {
            let version = plan.installs.get(name).map(|install| install.new.as_str());
            let Some(record) = self.record(name, version) else { continue };
            conflicts.extend(record.conflicts.iter().map(String::as_str));
            for new in record.depends.iter().filter_map(|needed| news.get(needed.as_str()).copied()) {
                if own.insert(new) {
                    look_at.push(new);
                }
            }
        }
        let goes = |name: &&str| conflicts.contains(bare(name));
        let removed: BTreeSet<&str> = plan.removals.iter().map(String::as_str).collect();
        let own_removed: BTreeSet<&str> = removed.iter().copied().filter(goes).collect();
        if own.is_empty() && own_removed.is_empty() { (news, removed) } else { (own, own_removed) }
    }

    /// True if any version on the way from what is installed to the candidate mends a hole; none if nobody says.
    fn is_security(&self, policy: &Policy) -> Option<bool> {
        let mends = |pocket: &String| match self.targets.get(pocket) {
            Some(target) => target.is_security,
            None => is_security("", "", &[pocket.split(['/', ' ']).nth_back(1).unwrap_or_default()]),
        };
        if on_the_way(policy).flat_map(|version| &version.pockets).any(mends) {
            return Some(true);
        }
        // Whoever publishes security updates apart says with every other one that it is none.
        let says = |target: &Target| {
            self.targets.values().any(|other| other.is_security && other.origin == target.origin)
        };
        self.pockets(policy).any(says).then_some(false)
    }

    /// `Debian:bookworm, Debian-Security:bookworm-security`
    fn source(&self, policy: &Policy) -> Option<String> {
        let mut names: Vec<String> = Vec::new();
        for pocket in candidate(policy).into_iter().flat_map(|version| &version.pockets) {
            let name = match self.targets.get(pocket) {
                Some(target) if target.label.is_empty() => target.suite.clone(),
                Some(target) => format!("{}:{}", target.label, target.suite),
                None => pocket.clone(),
            };
            if !names.contains(&name) {
                names.push(name);
            }
        }
        (!names.is_empty()).then(|| names.join(", "))
    }

    fn pockets<'a>(&'a self, policy: &'a Policy) -> impl Iterator<Item = &'a Target> {
        let pockets = candidate(policy).into_iter().flat_map(|version| &version.pockets);
        pockets.filter_map(|pocket| self.targets.get(pocket))
    }

    fn package(&self, name: &str) -> Option<&Installed> {
        installed_as(&self.installed, &self.native, name)
    }

    fn record(&self, name: &str, version: Option<&str>) -> Option<&Record> {
        self.records.get(&(bare(name).to_owned(), version?.to_owned()))
    }

    /// One that has relations is looked at again, for what others need; and so is one of several architectures.
    fn take_record(&mut self, name: &str, version: Option<&str>) -> Option<Record> {
        let key = (bare(name).to_owned(), version?.to_owned());
        let start = format!("{}:", bare(name));
        let of_name =
            self.installed.range(start.clone()..).take_while(|(other, _)| other.starts_with(&start));
        let is_one = of_name.count() < 2;
        let record = self.records.get(&key)?;
        if is_one && record.depends.is_empty() && record.conflicts.is_empty() {
            self.records.remove(&key)
        } else {
            Some(record.clone())
        }
    }

    fn is_held(&self, name: &str) -> bool {
        self.package(name).is_some_and(|package| package.is_held)
    }
}

fn bare(name: &str) -> &str {
    name.split(':').next().unwrap_or(name)
}

fn takes(plan: &Result<Simulation, String>, name: &str) -> bool {
    plan.as_ref().is_ok_and(|plan| plan.installs.contains_key(name))
}

fn candidate(policy: &Policy) -> Option<&Version> {
    on_the_way(policy).next()
}

/// The candidate and what lies between it and what is installed; the table is in the order of versions.
fn on_the_way(policy: &Policy) -> impl Iterator<Item = &Version> {
    let is = |version: &Version, wanted: &Option<String>| Some(&version.version) == wanted.as_ref();
    policy
        .versions
        .iter()
        .skip_while(move |version| !is(version, &policy.candidate))
        .take_while(move |version| !is(version, &policy.installed))
}

fn listed(names: &BTreeSet<&str>) -> String {
    names.iter().copied().collect::<Vec<_>>().join(", ")
}

fn changes_in_words((new, removed): &(BTreeSet<&str>, BTreeSet<&str>)) -> String {
    match (new.is_empty(), removed.is_empty()) {
        (false, true) => format!("needs new packages: {}", listed(new)),
        (true, false) => format!("needs packages removed: {}", listed(removed)),
        (false, false) => {
            format!("needs new packages: {}; and packages removed: {}", listed(new), listed(removed))
        }
        (true, true) => "an upgrade of all leaves it; named by itself it can be installed".into(),
    }
}

#[cfg(test)]
mod tests;
