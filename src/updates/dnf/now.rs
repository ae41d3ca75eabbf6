//! What is installed now, and how that stands to a planned change.

use std::collections::{BTreeMap, BTreeSet};

use super::evr::Evr;
use crate::domain::update::{Operation, PlannedChange};
use crate::updates::packages::Inventory;

/// What [`Packages::read`] reads.
pub(super) const FORMAT: &str = "%{NAME}|%|EPOCH?{%{EPOCH}}:{0}||%{VERSION}|%{RELEASE}|%{ARCH}|%{SIZE}\n";

/// A package that is installed, in one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Version {
    pub(super) evr: Evr,
    pub(super) size: u64,
}

/// What packages have that are installed beside their old versions, never in their place, as kernels are.
pub(super) const INSTALL_ONLY: [&str; 3] =
    ["installonlypkg(kernel)", "installonlypkg(kernel-module)", "multiversion(kernel)"];

/// All packages by name and architecture.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Packages {
    all: BTreeMap<(String, String), Vec<Version>>,
    install_only: BTreeSet<String>,
}

/// How a package stands to a planned change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stands {
    /// As before it.
    Before,
    /// As after it.
    After,
    /// Both versions are there: RPM was cut off in between.
    Between,
    /// As neither.
    Elsewhere(String),
}

impl Packages {
    /// `install_only` are the names of those that have something of [`INSTALL_ONLY`], one a line.
    pub(super) fn read(text: &str, install_only: &str) -> Self {
        let mut found: BTreeMap<_, Vec<Version>> = BTreeMap::new();
        for line in text.lines() {
            let fields: Vec<&str> = line.split('|').collect();
            let [name, epoch, version, release, arch, size] = fields[..] else { continue };
            // Keys of publishers are packages to RPM, and have no architecture.
            if name.is_empty() || arch == "(none)" {
                continue;
            }
            let version = Version { evr: Evr::new(epoch, version, release), size: size.parse().unwrap_or(0) };
            found.entry((name.to_owned(), arch.to_owned())).or_default().push(version);
        }
        let install_only = install_only.lines().filter(|line| !line.contains(' ')).map(str::to_owned);
        // That is its name to DNF, whatever it provides.
        let install_only = install_only.chain(["kernel".to_owned()]).collect();
        Self { all: found, install_only }
    }

    pub(super) fn versions(&self, name: &str, arch: &str) -> &[Version] {
        self.all.get(&(name.to_owned(), arch.to_owned())).map_or(&[], Vec::as_slice)
    }

    /// All of it, by `name:arch`; versions that are beside each other are named together.
    pub(super) fn inventory(&self) -> Inventory {
        let entry = |((name, arch), versions): (&(String, String), &Vec<Version>)| {
            let there: BTreeSet<String> = versions.iter().map(|version| version.evr.text()).collect();
            let there: Vec<String> = there.into_iter().collect();
            (format!("{name}:{arch}"), (there.join(" and "), false))
        };
        self.all.iter().map(entry).collect()
    }

    /// Of which architectures a package is installed.
    pub(super) fn arches(&self, name: &str) -> Vec<&str> {
        let begin = (name.to_owned(), String::new());
        let of_it = self.all.range(begin..).take_while(|((other, _), _)| other == name);
        of_it.map(|((_, arch), _)| arch.as_str()).collect()
    }

    /// True if versions of it are installed beside each other.
    pub(super) fn is_beside(&self, name: &str, arch: &str) -> bool {
        self.install_only.contains(name) || self.versions(name, arch).len() > 1
    }

    pub(super) fn stands(&self, change: &PlannedChange) -> Stands {
        let versions = self.versions(&change.name, &change.arch);
        let there: BTreeSet<String> = versions.iter().map(|version| version.evr.text()).collect();
        let has = |version: &Option<String>| version.as_ref().is_some_and(|version| there.contains(version));
        let elsewhere = || Stands::Elsewhere(there.iter().cloned().collect::<Vec<_>>().join(" and "));
        let is_beside = there.is_empty() || self.is_beside(&change.name, &change.arch);
        match change.operation {
            Operation::Install if has(&change.to) => Stands::After,
            Operation::Install if is_beside => Stands::Before,
            Operation::Remove if has(&change.from) => Stands::Before,
            Operation::Remove if is_beside => Stands::After,
            Operation::Install | Operation::Remove => elsewhere(),
            _ => match (has(&change.from), has(&change.to), there.len()) {
                (true, false, 1) => Stands::Before,
                (false, true, 1) => Stands::After,
                (true, true, 2) => Stands::Between,
                (_, _, 0) => Stands::Elsewhere("not installed".into()),
                _ => elsewhere(),
            },
        }
    }

    /// Returns the version that an undo of a change sees; both where RPM was cut off count as the new one, so that it is
    /// taken back.
    pub(super) fn present(&self, change: &PlannedChange) -> Option<String> {
        match self.stands(change) {
            Stands::Before => change.from.clone(),
            Stands::After | Stands::Between => change.to.clone(),
            Stands::Elsewhere(version) => {
                (!self.versions(&change.name, &change.arch).is_empty()).then_some(version)
            }
        }
    }
}

/// `t-lib-1:1.1-1.noarch`, as DNF writes it.
pub(super) fn nevra(change: &PlannedChange, version: &str) -> String {
    format!("{}-{version}.{}", change.name, change.arch)
}

/// `t-lib-1.1-1.noarch`, as every RPM takes it: older ones know no epoch there.
pub(super) fn label(change: &PlannedChange, version: &str) -> String {
    nevra(change, version.split_once(':').map_or(version, |(_, rest)| rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::update::Kind;

    fn change(name: &str, operation: Operation, from: Option<&str>, to: Option<&str>) -> PlannedChange {
        PlannedChange {
            kind: Kind::Dnf,
            name: name.into(),
            arch: "noarch".into(),
            operation,
            from: from.map(str::to_owned),
            to: to.map(str::to_owned),
            digest: None,
        }
    }

    #[test]
    fn a_package_stands_before_a_change_after_it_between_or_elsewhere() {
        let packages = Packages::read(
            "one|0|1.0|1|noarch|10\ntwo|1|1.0|1|noarch|10\ntwo|1|1.1|1|noarch|12\n\
             core|0|6.1|1|noarch|5\ngpg-pubkey|0|1|2|(none)|0\nodd line\n",
            "no package provides multiversion(kernel)\ncore\n",
        );
        use Operation::{Install, Remove, Upgrade};
        use Stands::{After, Before, Between, Elsewhere};
        for (change, expected) in [
            (change("one", Upgrade, Some("1.0-1"), Some("1.1-1")), Before),
            (change("one", Upgrade, Some("0.9-1"), Some("1.0-1")), After),
            (change("one", Upgrade, Some("0.9-1"), Some("1.1-1")), Elsewhere("1.0-1".into())),
            (change("none", Upgrade, Some("0.9-1"), Some("1.1-1")), Elsewhere("not installed".into())),
            (change("two", Upgrade, Some("1:1.0-1"), Some("1:1.1-1")), Between),
            (change("one", Install, None, Some("1.0-1")), After),
            (change("one", Install, None, Some("1.1-1")), Elsewhere("1.0-1".into())),
            (change("none", Install, None, Some("1.1-1")), Before),
            (change("one", Remove, Some("1.0-1"), None), Before),
            (change("none", Remove, Some("1.0-1"), None), After),
            (change("core", Install, None, Some("6.2-1")), Before),
            (change("core", Install, None, Some("6.1-1")), After),
            (change("core", Remove, Some("6.0-1"), None), After),
        ] {
            assert_eq!(packages.stands(&change), expected, "{change:?}");
        }
        let half = change("two", Upgrade, Some("1:1.0-1"), Some("1:1.1-1"));
        assert_eq!(packages.present(&half).as_deref(), Some("1:1.1-1"));
        assert_eq!(packages.arches("one"), ["noarch"]);
        assert!(packages.versions("gpg-pubkey", "(none)").is_empty());
    }
}
