//! What DNF's answers mean: one finding per package.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::evr::{Evr, called};
use super::parse::{Advisory, DryRun, Installed, Obsoleting, Offer};
use crate::domain::update::{Finding, HeldBack, HeldCause, Severity, Standing};

/// All that DNF and RPM said.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) installed: BTreeMap<(String, String), Vec<Installed>>,
    pub(super) offers: Vec<Offer>,
    pub(super) obsoleting: Vec<Obsoleting>,
    pub(super) advisories: Vec<Advisory>,
    pub(super) cves: Vec<Advisory>,
    /// None if there was no need for one, or it said nothing.
    pub(super) dry_run: Option<DryRun>,
}

/// Packages that are installed beside their old versions, never in their place.
const INSTALL_ONLY: [&str; 7] = [
    "kernel",
    "kernel-core",
    "kernel-modules",
    "kernel-modules-core",
    "kernel-modules-extra",
    "kernel-devel",
    "kernel-debug",
];

impl Seen {
    /// One finding per package that has a newer version or a successor.
    pub(super) fn findings(&self) -> Vec<Finding> {
        let mut newest: BTreeMap<(&str, &str), &Offer> = BTreeMap::new();
        for offer in &self.offers {
            let best = newest.entry((&offer.name, &offer.arch)).or_insert(offer);
            if offer.evr > best.evr {
                *best = offer;
            }
        }
        let upgrades = newest.into_values().map(|offer| self.upgrade(offer));
        let successors = self.obsoleting.iter().filter(|pair| pair.new.name != pair.old.0);
        upgrades.chain(successors.map(|pair| self.successor(pair))).collect()
    }

    fn upgrade(&self, offer: &Offer) -> Finding {
        let mut finding = self.finding(&offer.name, &offer.arch, offer);
        finding.held_back = self.held_back(&offer.name);
        let versions = self.versions(&offer.name, &offer.arch);
        if versions.len() > 1 || INSTALL_ONLY.contains(&offer.name.as_str()) {
            let beside: Vec<String> = versions.iter().map(|package| package.evr.text()).collect();
            finding.details.insert("install_only".into(), json!(true));
            finding.details.insert("installed_versions".into(), json!(beside));
        }
        finding
    }

    fn successor(&self, pair: &Obsoleting) -> Finding {
        let (name, arch) = (&pair.old.0, &pair.old.1);
        let mut finding = self.finding(name, arch, &pair.new);
        finding.title = Some(format!("{} instead of {name}", pair.new.name));
        finding.details.insert("replaced_by".into(), json!(pair.new.name));
        finding.held_back = self.held_back(&pair.new.name);
        finding
    }

    fn finding(&self, name: &str, arch: &str, offer: &Offer) -> Finding {
        let mut finding = Finding::new(called(name, arch), Standing::Newer);
        finding.available_version = Some(offer.evr.text());
        finding.source = Some(offer.repository.clone()).filter(|repository| !repository.is_empty());
        finding.size_bytes = offer.size_bytes;
        finding.details.insert("architecture".into(), json!(arch));
        if let Some(package) = self.newest_installed(name, arch) {
            finding.current_version = Some(package.evr.text());
            finding.group.clone_from(&package.source);
            finding.description.clone_from(&package.summary);
            if let Some(module) = &package.module {
                finding.details.insert("module".into(), json!(module));
            }
        }
        self.judge(&mut finding, &offer.name, &offer.arch, &offer.evr);
        finding
    }

    /// What advisories say of it: the worst severity, all CVEs. Where none names it, nobody knows.
    fn judge(&self, finding: &mut Finding, name: &str, arch: &str, evr: &Evr) {
        let is_about = |advisory: &&Advisory| {
            let package = &advisory.package;
            package.name == name && package.arch == arch && package.evr <= *evr
        };
        let about: Vec<&Advisory> = self.advisories.iter().filter(is_about).collect();
        let cves: Vec<&Advisory> = self.cves.iter().filter(is_about).collect();
        let all = || about.iter().chain(&cves);
        finding.is_security = all().next().map(|_| all().any(|advisory| advisory.is_security));
        let words =
            all().filter(|advisory| advisory.is_security).map(|advisory| severity(&advisory.severity));
        finding.severity = words.max().unwrap_or(Severity::without_word(finding.is_security));
        let ids = |list: &[&Advisory]| -> Vec<String> {
            list.iter().map(|advisory| advisory.id.clone()).collect::<BTreeSet<_>>().into_iter().collect()
        };
        finding.advisories = ids(&about);
        finding.cves = ids(&cves).into_iter().filter(|id| id.starts_with("CVE-")).collect();
    }

    fn held_back(&self, name: &str) -> Option<HeldBack> {
        let dry_run = self.dry_run.as_ref()?;
        let reason = dry_run.reasons.get(name);
        if dry_run.taken.contains(name) || (!dry_run.skipped.contains(name) && reason.is_none()) {
            return None;
        }
        let reason = reason.map_or("DNF leaves it out and does not say why", String::as_str);
        Some(HeldBack { cause: HeldCause::Unmet, reason: format!("dependency: {reason}") })
    }

    fn versions(&self, name: &str, arch: &str) -> &[Installed] {
        self.installed.get(&(name.to_owned(), arch.to_owned())).map_or(&[], Vec::as_slice)
    }

    /// A package may have changed its architecture to `noarch` and back.
    fn newest_installed(&self, name: &str, arch: &str) -> Option<&Installed> {
        let newest = |versions: &'_ [Installed]| versions.iter().map(|package| package.evr.clone()).max();
        let of = |arch: &str| {
            let versions = self.versions(name, arch);
            let best = newest(versions)?;
            versions.iter().find(|package| package.evr == best)
        };
        of(arch).or_else(|| {
            let (_, arch) = self.installed.keys().find(|(other, _)| other == name)?;
            of(arch)
        })
    }
}

/// A security advisory that has no word of its own counts as one that nobody rated.
fn severity(word: &str) -> Severity {
    match word.to_ascii_lowercase().as_str() {
        "" | "none" | "unknown" => Severity::without_word(Some(true)),
        word => Severity::of_word(word),
    }
}

#[cfg(test)]
mod tests;
