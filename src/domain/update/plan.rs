//! A plan: exactly what will be changed on a host, worked out by the host and approved by a person.
//!
//! Its id is a hash of the changes alone, so that a plan is the same on all hosts that are equal. What is the host's own
//! stands beside it and has a hash of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::kind::Kind;
use super::service::Service;

/// Most changes of one plan.
pub const MAX_CHANGES: usize = 20_000;
/// Longest name or version of a change, in bytes.
const MAX_WORD: usize = 512;

/// What is done to one thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// It is not there now.
    Install,
    /// To a higher version.
    Upgrade,
    /// To a lower version.
    Downgrade,
    /// The same version anew.
    Reinstall,
    /// It goes.
    Remove,
    /// A container is made anew on another image.
    Replace,
    /// What is half installed is brought to its end, in the same version.
    Configure,
    /// The host is started anew.
    Restart,
}

impl Operation {
    /// Returns its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Install => "install",
            Self::Upgrade => "upgrade",
            Self::Downgrade => "downgrade",
            Self::Reinstall => "reinstall",
            Self::Remove => "remove",
            Self::Replace => "replace",
            Self::Configure => "configure",
            Self::Restart => "restart",
        }
    }
}

/// One change of a plan.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PlannedChange {
    /// Of what.
    pub kind: Kind,
    /// The package, or the container.
    pub name: String,
    /// The package's architecture; empty where there is none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub arch: String,
    /// What is done.
    pub operation: Operation,
    /// What is there now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// What will be there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// SHA-256 of the file that will be installed, or digest of the image; none for what goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

impl PlannedChange {
    /// The host itself, which is started anew.
    pub fn restart_of_host() -> Self {
        Self {
            kind: Kind::Host,
            name: "host".into(),
            arch: String::new(),
            operation: Operation::Restart,
            from: None,
            to: None,
            digest: None,
        }
    }

    /// The thing, without what becomes of it.
    fn thing(&self) -> (Kind, &str, &str) {
        (self.kind, &self.name, &self.arch)
    }

    /// Its line in what the id of a plan is made of.
    fn line(&self) -> String {
        let word = |word: Option<&String>| word.map_or("-", String::as_str).to_owned();
        let arch = if self.arch.is_empty() { "-" } else { &self.arch };
        format!(
            "{} {} {} {arch} {} {} {}",
            self.operation.as_str(),
            self.kind,
            self.name,
            word(self.from.as_ref()),
            word(self.to.as_ref()),
            word(self.digest.as_ref()),
        )
    }

    /// Returns what is wrong with it, in words.
    fn fault(&self) -> Option<&'static str> {
        let is_word = |text: &str| {
            !text.is_empty() && text.len() <= MAX_WORD && text.bytes().all(|byte| byte.is_ascii_graphic())
        };
        let words = [Some(&self.name), self.from.as_ref(), self.to.as_ref(), self.digest.as_ref()];
        if !words.into_iter().flatten().all(|word| is_word(word))
            || !(self.arch.is_empty() || is_word(&self.arch))
        {
            return Some("a word of it is empty, too long, or holds blanks or unprintable characters");
        }
        let is_whole = match self.operation {
            Operation::Install => self.from.is_none() && self.to.is_some() && self.digest.is_some(),
            Operation::Remove => self.from.is_some() && self.to.is_none() && self.digest.is_none(),
            Operation::Configure => self.from.is_some() && self.from == self.to && self.digest.is_none(),
            Operation::Restart => self.from.is_none() && self.to.is_none() && self.digest.is_none(),
            _ => self.from.is_some() && self.to.is_some() && self.digest.is_some(),
        };
        let is_of_host = self.kind == Kind::Host;
        if is_of_host != (self.operation == Operation::Restart) {
            return Some("only the host can be started anew, and nothing else can be done to it");
        }
        (!is_whole).then_some("it does not say from what to what, with which content")
    }
}

/// The changes of a plan, in the one order that its id is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<PlannedChange>", into = "Vec<PlannedChange>")]
pub struct Changes(Vec<PlannedChange>);

/// Why changes are no plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanFault {
    /// There are too many.
    #[error("a plan holds at most {MAX_CHANGES} changes, and this one {0}")]
    TooMany(usize),
    /// One is not whole.
    #[error("the change of `{name}` cannot be planned: {reason}")]
    Odd {
        /// Of what.
        name: String,
        /// Why.
        reason: &'static str,
    },
    /// Two changes of one thing.
    #[error("`{0}` would be changed twice")]
    Twice(String),
}

impl Changes {
    /// Puts them in order.
    pub fn new(mut changes: Vec<PlannedChange>) -> Result<Self, PlanFault> {
        if changes.len() > MAX_CHANGES {
            return Err(PlanFault::TooMany(changes.len()));
        }
        for change in &changes {
            if let Some(reason) = change.fault() {
                let name = crate::domain::text::spell_out(&change.name);
                return Err(PlanFault::Odd { name: name.chars().take(80).collect(), reason });
            }
        }
        changes.sort();
        let mut by_thing: BTreeMap<_, Vec<&PlannedChange>> = BTreeMap::new();
        for change in &changes {
            by_thing.entry(change.thing()).or_default().push(change);
        }
        let mut clashes = by_thing.values().filter(|all| !stand_beside(all));
        match clashes.next() {
            Some(all) => Err(PlanFault::Twice(all[0].name.clone())),
            None => Ok(Self(changes)),
        }
    }

    /// Returns them, sorted by kind and name.
    pub fn all(&self) -> &[PlannedChange] {
        &self.0
    }

    /// Returns those of one kind, as a set of its own.
    pub fn only(&self, kind: Kind) -> Self {
        self.filtered(|change| change.kind == kind)
    }

    /// Returns those that `is_kept` is true for, as a set of its own.
    #[must_use]
    pub fn filtered(&self, is_kept: impl Fn(&PlannedChange) -> bool) -> Self {
        Self(self.0.iter().filter(|change| is_kept(change)).cloned().collect())
    }

    /// Returns those of one kind.
    pub fn of(&self, kind: Kind) -> impl Iterator<Item = &PlannedChange> {
        self.0.iter().filter(move |change| change.kind == kind)
    }

    /// Returns the images that containers get which they do not have.
    pub fn new_images(&self) -> Vec<String> {
        let is_new = |change: &&PlannedChange| change.from != change.to;
        self.of(Kind::DockerImage).filter(is_new).filter_map(|change| change.to.clone()).collect()
    }

    /// True if there is nothing to change.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the id: equal for equal changes, whatever the host.
    pub fn id(&self) -> PlanId {
        let mut hash = Sha256::new();
        hash.update(b"lightship plan 1\n");
        for change in &self.0 {
            hash.update(change.line());
            hash.update(b"\n");
        }
        PlanId(hex::encode(hash.finalize()))
    }

    /// Returns how `now` differs from these.
    pub fn compare(&self, now: &Self) -> Vec<Difference> {
        // Of what is installed beside each other several may go.
        let goes = |change: &PlannedChange| change.to.is_none().then(|| change.from.clone()).flatten();
        let by_thing = |changes: &Self| -> BTreeMap<_, PlannedChange> {
            let thing = |change: &PlannedChange| {
                (change.kind, change.name.clone(), change.arch.clone(), goes(change))
            };
            changes.0.iter().map(|change| (thing(change), change.clone())).collect()
        };
        let (before, mut after) = (by_thing(self), by_thing(now));
        let mut found = Vec::new();
        for (thing, planned) in before {
            match after.remove(&thing) {
                Some(now) if now == planned => {}
                now => found.push(Difference { planned: Some(planned), now }),
            }
        }
        found.extend(after.into_values().map(|now| Difference { planned: None, now: Some(now) }));
        found
    }
}

/// True if these changes of one thing can be made together: versions that are installed beside each other, as kernels
/// are, come and go one by one.
fn stand_beside(all: &[&PlannedChange]) -> bool {
    let versions: BTreeSet<Option<&String>> =
        all.iter().map(|change| change.to.as_ref().or(change.from.as_ref())).collect();
    let of = |operation| all.iter().filter(|change| change.operation == operation).count();
    let (come, go) = (of(Operation::Install), of(Operation::Remove));
    all.len() == 1 || versions.len() == all.len() && come <= 1 && come + go == all.len()
}

impl TryFrom<Vec<PlannedChange>> for Changes {
    type Error = PlanFault;

    fn try_from(changes: Vec<PlannedChange>) -> Result<Self, PlanFault> {
        Self::new(changes)
    }
}

impl From<Changes> for Vec<PlannedChange> {
    fn from(changes: Changes) -> Self {
        changes.0
    }
}

/// Names a set of changes: SHA-256 in lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PlanId(String);

impl PlanId {
    /// Takes an id that was kept.
    pub fn stored(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Reads one that somebody sent: 64 hexadecimal digits, in any case.
    pub fn parse(text: &str) -> Option<Self> {
        let is_whole = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_whole.then(|| Self(text.to_ascii_lowercase()))
    }

    /// Returns the first twelve digits, for people.
    pub fn short(&self) -> &str {
        self.0.get(..12).unwrap_or(&self.0)
    }

    /// True if a person who wrote `text` means this one: all of it, or at least its first twelve digits.
    pub fn is_meant_by(&self, text: &str) -> bool {
        text.len() >= 12 && self.0.starts_with(&text.to_ascii_lowercase())
    }
}

impl fmt::Display for PlanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is not as it was planned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// What was planned; none if nothing was.
    pub planned: Option<PlannedChange>,
    /// What it would be now; none if nothing.
    pub now: Option<PlannedChange>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.planned, &self.now) {
            (Some(planned), Some(now)) => {
                let is_other_file = planned.to == now.to && planned.from == now.from;
                match is_other_file {
                    true if planned.digest != now.digest => {
                        write!(f, "{}: another file by the same name and version", planned.name)
                    }
                    _ => write!(f, "{}: {}, planned was {}", planned.name, said(now), said(planned)),
                }
            }
            (Some(planned), None) => {
                write!(f, "{}: no change any more, planned was {}", planned.name, said(planned))
            }
            (None, Some(now)) => write!(f, "{}: {}, which was not planned", now.name, said(now)),
            (None, None) => Ok(()),
        }
    }
}

fn said(change: &PlannedChange) -> String {
    let word = change.operation.as_str();
    match (&change.from, &change.to) {
        (Some(from), Some(to)) => format!("{word} {from} → {to}"),
        (None, Some(to)) => format!("{word} {to}"),
        (Some(from), None) => format!("{word} {from}"),
        (None, None) => word.to_owned(),
    }
}

/// From where the present state of a thing can be had again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UndoSource {
    /// Nothing is needed: what came is taken away again.
    NotNeeded,
    /// It was kept on the host.
    Kept,
    /// It is in the package manager's cache, and will be kept.
    Cache,
    /// A repository has it now; it will be fetched and kept before anything is changed.
    Repository,
    /// It can be put together from what is installed: not the original.
    Rebuilt,
    /// From nowhere.
    Impossible,
}

impl UndoSource {
    /// Returns how sure it is, in words.
    pub fn words(self) -> &'static str {
        match self {
            Self::NotNeeded => "certain",
            Self::Kept => "certain, kept on this host",
            Self::Cache => "certain, in the package manager's cache",
            Self::Repository => "certain, fetched before the change",
            Self::Rebuilt => "rebuilt from what is installed, not the original",
            Self::Impossible => "impossible: nobody has the present version any more",
        }
    }

    /// True if the present state can be had again as it was.
    pub fn is_certain(self) -> bool {
        self < Self::Rebuilt
    }
}

/// What becomes of a configuration file that belongs to a package.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ConfigFile {
    /// Whose.
    pub package: String,
    /// Where.
    pub path: String,
    /// True if somebody changed or deleted it.
    pub is_edited: bool,
    /// In words.
    pub outcome: String,
}

/// What stays as it is though it was asked for, and why.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LeftOut {
    /// What.
    pub name: String,
    /// Why.
    pub reason: String,
}

/// What a plan means on this very host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct OnHost {
    /// From where each thing can be had again, by name and architecture as `libc6:amd64`.
    pub undo: BTreeMap<String, UndoSource>,
    /// Configuration files that are touched.
    pub config_files: Vec<ConfigFile>,
    /// Bytes to be fetched.
    pub download_bytes: u64,
    /// Bytes that the disk holds more afterwards; fewer if below zero.
    pub disk_bytes: i64,
    /// What was asked for and stays as it is.
    pub left_out: Vec<LeftOut>,
    /// Why the host will want a restart; none if it will not, as far as can be told.
    pub reboot: Option<String>,
    /// Services that run on files which are replaced, as far as can be told.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<Service>,
    /// Why they are not known, or not all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub services_unknown: Option<String>,
    /// The image, as scans name it, of each container that gets another one.
    pub images: BTreeMap<String, String>,
    /// How each container is replaced, in words, where there is something to say.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub containers: BTreeMap<String, String>,
    /// What this program itself stands on, and that a run must not cut off.
    pub stands_on: Vec<String>,
}

impl OnHost {
    /// Returns the hash of it.
    pub fn id(&self) -> String {
        let json = serde_json::to_vec(self).expect("it holds nothing that JSON cannot");
        hex::encode(Sha256::digest(json))
    }
}

/// Returns what these changes settle on a host, by kind and the names that scans may give it.
pub fn concerns(changes: &Changes, on_host: &OnHost) -> BTreeMap<Kind, BTreeSet<String>> {
    let mut named = BTreeMap::<Kind, BTreeSet<String>>::new();
    for change in changes.all().iter().filter(|change| change.kind != Kind::Host) {
        let names = named.entry(change.kind).or_default();
        match change.kind {
            Kind::DockerImage => names.extend(on_host.images.get(&change.name).cloned()),
            _ => {
                let (name, arch) = (&change.name, &change.arch);
                names.extend([name.clone(), format!("{name}:{arch}"), format!("{name}.{arch}")]);
            }
        }
    }
    named
}

/// What will be changed, and what that means here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The changes.
    pub changes: Changes,
    /// What they mean on this host.
    pub on_host: OnHost,
}

impl Plan {
    /// A plan that changes nothing.
    pub fn nothing() -> Self {
        Self { changes: Changes(Vec::new()), on_host: OnHost::default() }
    }

    /// Puts the plan of another kind beside it. What both leave out is left out; what one takes is not.
    pub fn and(self, other: Self) -> Result<Self, PlanFault> {
        let (mut here, there) = (self.on_host, other.on_host);
        let is_asked = !self.changes.is_empty() || !here.left_out.is_empty();
        let changes = Changes::new([self.changes.0, other.changes.0].concat())?;
        let is_taken = |name: &str| changes.0.iter().any(|change| change.name == name);
        here.left_out = match is_asked {
            true => [here.left_out, there.left_out].concat(),
            false => there.left_out,
        };
        here.left_out.retain(|left| !is_taken(&left.name));
        here.left_out.sort();
        here.left_out.dedup_by(|one, other| one.name == other.name);
        here.undo.extend(there.undo);
        here.images.extend(there.images);
        here.containers.extend(there.containers);
        here.config_files.extend(there.config_files);
        here.download_bytes += there.download_bytes;
        here.disk_bytes += there.disk_bytes;
        here.reboot = here.reboot.or(there.reboot);
        here.stands_on.extend(there.stands_on);
        Ok(Self { changes, on_host: here })
    }

    /// Returns the id of its changes.
    pub fn id(&self) -> PlanId {
        self.changes.id()
    }

    /// `214 changes; undo: 212 certain, 2 rebuilt`
    pub fn undo_line(&self) -> String {
        let of =
            |is: fn(UndoSource) -> bool| self.on_host.undo.values().filter(|source| is(**source)).count();
        let certain = of(UndoSource::is_certain);
        let rebuilt = of(|source| source == UndoSource::Rebuilt);
        let impossible = of(|source| source == UndoSource::Impossible);
        let mut words = format!("undo: {certain} of {} certain", self.changes.all().len());
        if rebuilt > 0 {
            words += &format!(", {rebuilt} rebuilt");
        }
        if impossible > 0 {
            words += &format!(", {impossible} impossible");
        }
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(name: &str, operation: Operation, from: Option<&str>, to: Option<&str>) -> PlannedChange {
        PlannedChange {
            kind: Kind::Apt,
            name: name.into(),
            arch: "all".into(),
            operation,
            from: from.map(str::to_owned),
            to: to.map(str::to_owned),
            digest: to.map(|to| hex::encode(Sha256::digest(to))),
        }
    }

    fn upgrade(name: &str, to: &str) -> PlannedChange {
        change(name, Operation::Upgrade, Some("1.0"), Some(to))
    }

    #[test]
    fn equal_changes_have_one_id_in_whatever_order_they_were_found() {
        let one = Changes::new(vec![upgrade("a", "1.1"), upgrade("b", "1.1")]).unwrap();
        let other = Changes::new(vec![upgrade("b", "1.1"), upgrade("a", "1.1")]).unwrap();
        assert_eq!(one.id(), other.id());
        let json = serde_json::to_string(&one).unwrap();
        assert_eq!(serde_json::from_str::<Changes>(&json).unwrap().id(), one.id());
        assert!(one.id().is_meant_by(one.id().short()) && !one.id().is_meant_by("0123"));
        // Whoever copies one from elsewhere may have it in capitals.
        let capitals = one.id().to_string().to_uppercase();
        assert!(one.id().is_meant_by(&capitals) && PlanId::parse(&capitals) == Some(one.id()));
    }

    #[test]
    fn whatever_differs_in_a_change_makes_another_id() {
        let whole = upgrade("a", "1.1");
        let id = |change: PlannedChange| Changes::new(vec![change]).unwrap().id();
        let others = [
            PlannedChange { name: "b".into(), ..whole.clone() },
            PlannedChange { arch: "amd64".into(), ..whole.clone() },
            PlannedChange { from: Some("0.9".into()), ..whole.clone() },
            PlannedChange { to: Some("1.2".into()), ..whole.clone() },
            PlannedChange { digest: Some("00".into()), ..whole.clone() },
            PlannedChange { kind: Kind::Dnf, ..whole.clone() },
            PlannedChange { operation: Operation::Downgrade, ..whole.clone() },
        ];
        for other in others {
            assert_ne!(id(other.clone()), id(whole.clone()), "{other:?}");
        }
    }

    #[test]
    fn what_could_be_read_as_something_else_is_no_plan() {
        let whole = upgrade("a", "1.1");
        for odd in [
            PlannedChange { name: "a 1.0\nupgrade apt b".into(), ..whole.clone() },
            PlannedChange { name: String::new(), ..whole.clone() },
            PlannedChange { to: Some("1.1 2".into()), ..whole.clone() },
            PlannedChange { digest: None, ..whole.clone() },
            PlannedChange { operation: Operation::Remove, ..whole.clone() },
            PlannedChange { operation: Operation::Install, ..whole.clone() },
            PlannedChange { name: "x".repeat(513), ..whole.clone() },
        ] {
            assert!(matches!(Changes::new(vec![odd.clone()]), Err(PlanFault::Odd { .. })), "{odd:?}");
        }
        let twice = vec![upgrade("a", "1.1"), upgrade("a", "1.2")];
        assert_eq!(Changes::new(twice), Err(PlanFault::Twice("a".into())));
        let list = serde_json::to_string(&[upgrade("a", "1.1"), upgrade("a", "1.2")]).unwrap();
        assert!(serde_json::from_str::<Changes>(&list).is_err(), "nor when it is read");
    }

    #[test]
    fn what_is_installed_beside_each_other_comes_and_goes_one_by_one() {
        let comes = |to| change("kernel", Operation::Install, None, Some(to));
        let goes = |from| change("kernel", Operation::Remove, Some(from), None);
        let planned = Changes::new(vec![comes("6.3"), goes("6.1"), goes("6.0")]).unwrap();
        let now = Changes::new(vec![comes("6.4"), goes("6.0")]).unwrap();
        let said: Vec<String> = planned.compare(&now).iter().map(Difference::to_string).collect();
        assert_eq!(
            said,
            [
                "kernel: install 6.4, planned was install 6.3",
                "kernel: no change any more, planned was remove 6.1",
            ]
        );
        for clash in [
            vec![comes("6.3"), goes("6.3")],
            vec![comes("6.3"), comes("6.4")],
            vec![goes("6.0"), upgrade("kernel", "6.1")],
        ] {
            assert_eq!(Changes::new(clash), Err(PlanFault::Twice("kernel".into())));
        }
    }

    #[test]
    fn differences_are_said_in_words() {
        let planned =
            Changes::new(vec![upgrade("a", "1.1"), upgrade("b", "1.1"), upgrade("d", "1.1")]).unwrap();
        let other_file = PlannedChange { digest: Some("ff".into()), ..upgrade("d", "1.1") };
        let new = change("c", Operation::Install, None, Some("1.0"));
        let now = Changes::new(vec![upgrade("a", "1.2"), new, other_file]).unwrap();
        let said: Vec<String> = planned.compare(&now).iter().map(Difference::to_string).collect();
        assert_eq!(
            said,
            [
                "a: upgrade 1.0 → 1.2, planned was upgrade 1.0 → 1.1",
                "b: no change any more, planned was upgrade 1.0 → 1.1",
                "d: another file by the same name and version",
                "c: install 1.0, which was not planned",
            ]
        );
        assert!(planned.compare(&planned).is_empty());
    }
}
