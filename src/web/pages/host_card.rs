//! What an agent's page says of the machine behind it, and of how it was looked at for updates.

use chrono::{DateTime, Utc};

use super::view::{Badge, Fact, Moment, badge, count, fact, size};
use crate::actors::master::Slot;
use crate::db::read::ScanRow;
use crate::domain::host::{Ability, Disk, Host};
use crate::domain::order::Fingerprint;
use crate::domain::update::Problem;

/// The machine.
pub struct HostCard {
    /// What the agent can do there.
    pub chips: Vec<Chip>,
    /// What a person should know.
    pub notes: Vec<Badge>,
    /// What it is.
    pub facts: Vec<Fact>,
}

/// Whether the agent can do something.
pub struct Chip {
    /// Yes or no.
    pub badge: Badge,
    /// If no, why, and what would help.
    pub note: Option<String>,
}

/// How one scanner came out.
pub struct ScanLine {
    /// Whose it is.
    pub title: &'static str,
    /// How much it found.
    pub detail: String,
    /// The list of it.
    pub href: String,
    /// Whether it could look.
    pub state: Badge,
    /// How old what it read is.
    pub as_of: Option<Moment>,
    /// What is wrong, and what would help.
    pub note: Option<String>,
}

/// The key by which a host knows orders.
pub struct KeyLine {
    /// Its fingerprint.
    pub fingerprint: Option<String>,
    /// Whether it is the master's.
    pub state: Badge,
    /// What to do if it is not.
    pub note: Option<String>,
}

impl KeyLine {
    /// Compares a host's key with the master's; none while the master has none.
    pub fn of(host: &Host, master: Option<Fingerprint>) -> Option<Self> {
        let master = master?;
        let (state, note) = match &host.order_key {
            Some(key) if *key == master => (badge("good", "the master's"), None),
            Some(_) => (
                badge("bad", "another master's"),
                Some(format!(
                    "this host carries out nothing that is approved here: it knows another key than this master's, which \
                     is {master}. If this is its master, run `lightship trust-key` on the host, as root, and compare the two"
                )),
            ),
            None => (
                badge("idle", "not told"),
                Some("the host has no key of orders yet, or its agent is older; it takes the master's key when it registers next".into()),
            ),
        };
        Some(Self { fingerprint: host.order_key.as_ref().map(ToString::to_string), state, note })
    }
}

fn told(problem: &Problem) -> String {
    match &problem.way_out {
        Some(way_out) => format!("{}: {way_out}.", problem.reason.trim_end_matches('.')),
        None => format!("{}.", problem.reason.trim_end_matches('.')),
    }
}

impl Chip {
    fn of(what: &str, ability: &Ability) -> Self {
        let badge = if ability.yes { badge("good", what) } else { badge("idle", format!("{what}: no")) };
        let note = ability.problem.as_ref().filter(|_| !ability.yes);
        Self { badge, note: note.map(|problem| format!("{what}: no. {}", told(problem))) }
    }
}

impl HostCard {
    /// Puts together what is known of a machine.
    pub fn of(host: &Host) -> Self {
        let abilities = &host.abilities;
        let chips = vec![
            Chip::of("publishes", &abilities.publishes),
            Chip::of("checks images", &abilities.checks_images),
            Chip::of("checks packages", &abilities.checks_packages),
            Chip::of("installs packages", &abilities.installs_packages),
            Chip::of("replaces containers", &abilities.replaces_containers),
        ];
        Self { chips, notes: notes(host), facts: facts(host) }
    }
}

fn notes(host: &Host) -> Vec<Badge> {
    let Some(reboot) = &host.reboot else { return Vec::new() };
    let mut notes = Vec::new();
    if reboot.wanted {
        notes.push(badge("warn", format!("It waits for a restart: {}.", reboot.reasons.join("; "))));
    }
    if !reboot.stale_services.is_empty() {
        let names = reboot.stale_services.join(", ");
        notes.push(badge(
            "warn",
            format!("These run on files that were replaced, until they are restarted: {names}."),
        ));
    }
    if let Some(problem) = &reboot.problem {
        notes.push(badge("idle", told(problem)));
    }
    notes
}

fn facts(host: &Host) -> Vec<Fact> {
    let known = |title: &str, text: Option<String>| text.map(|text| fact(title, text));
    let cpu = match (&host.cpu_model, host.cpu_count) {
        (Some(model), Some(cores)) => Some(format!("{cores} × {model}")),
        (model, cores) => model.clone().or_else(|| cores.map(|cores| cores.to_string())),
    };
    let load = host.load.average.map(|load| load.map(|one| format!("{one:.2}")).join(" "));
    let memory = match (host.memory_bytes, host.load.memory_used_bytes) {
        (Some(all), Some(used)) => Some(format!("{} of {} in use", size(used), size(all))),
        (all, _) => all.map(size),
    };
    let up = host.booted_at.map(|at| at.format("%Y-%m-%d %H:%M UTC").to_string());
    let managers = (!host.package_managers.is_empty()).then(|| host.package_managers.join(", "));
    let mut facts: Vec<Fact> = [
        known("System", host.os_version.clone()),
        known("Kernel", host.kernel.clone()),
        known("Architecture", host.architecture.clone()),
        known("Runs in", host.virtualisation.clone().filter(|word| word != "none")),
        known("Processor", cpu),
        known("Load", load),
        known("Memory", memory),
        known("Started", up),
        known("Packages", managers),
    ]
    .into_iter()
    .flatten()
    .collect();
    facts.extend(host.disks.iter().map(|disk| fact(&format!("Disk {}", disk.mount), usage(disk))));
    facts
}

fn usage(disk: &Disk) -> String {
    let share = disk.used_bytes.saturating_mul(100) / disk.total_bytes.max(1);
    format!("{} of {} in use ({share} %)", size(disk.used_bytes), size(disk.total_bytes))
}

impl ScanLine {
    /// Puts together how a scanner came out.
    pub fn of(row: &ScanRow, slot: Option<&Slot>, now: DateTime<Utc>) -> Self {
        let checked = &row.checked;
        let as_of = slot.and_then(|slot| slot.checked_as_of(checked.kind)).or(checked.as_of);
        let pending = count(checked.pending as u64, "update is", "updates are");
        let state = match (checked.ok, checked.pending) {
            (false, _) => badge("warn", "not all checked"),
            (true, 0) => badge("good", "up to date"),
            (true, _) => badge("busy", "pending"),
        };
        Self {
            title: checked.kind.title(),
            detail: format!("{pending} pending"),
            href: format!("/updates?agent={}&kind={}", row.agent_id, checked.kind),
            state,
            as_of: as_of.map(|at| Moment::of(at, now)),
            note: checked.problem.as_ref().map(told),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::update::{Checked, Findings, Kind};

    #[test]
    fn what_a_host_cannot_do_is_said_with_the_way_out() {
        let mut host = Host::default();
        host.abilities.publishes = Ability::yes();
        host.abilities.checks_packages =
            Ability::no("it runs in a container", Some("run it on the host".into()));
        let card = HostCard::of(&host);
        let words: Vec<_> = card.chips.iter().map(|chip| chip.badge.word.as_str()).collect();
        let expected = [
            "publishes",
            "checks images: no",
            "checks packages: no",
            "installs packages: no",
            "replaces containers: no",
        ];
        assert_eq!(words, expected);
        assert_eq!(
            card.chips[2].note.as_deref(),
            Some("checks packages: no. it runs in a container: run it on the host.")
        );
    }

    #[test]
    fn a_host_that_knows_another_masters_key_is_said_to_with_the_way_out() {
        let key = |digits: &str| Fingerprint::parse(&[digits; 8].join("-")).unwrap();
        let line = |own: Option<&str>| {
            let host = Host { order_key: own.map(key), ..Host::default() };
            KeyLine::of(&host, Some(key("aaaa"))).unwrap()
        };
        assert_eq!((line(Some("aaaa")).state.tone, line(Some("aaaa")).note), ("good", None));
        let other = line(Some("bbbb"));
        let note = other.note.unwrap();
        assert!(note.contains("aaaa-aaaa") && note.contains("lightship trust-key"), "{note}");
        assert_eq!(other.state.tone, "bad");
        assert_eq!(line(None).state.word, "not told");
        assert!(KeyLine::of(&Host::default(), None).is_none());
    }

    #[test]
    fn a_scanner_that_could_not_look_is_never_up_to_date() {
        let line = |checked: Checked| {
            let at = "2026-01-31T12:00:00Z".parse().unwrap();
            let agent_id = crate::domain::id::AgentId::new("a");
            ScanLine::of(&ScanRow { agent_id, checked, checked_at: at }, None, at)
        };
        let found = || Findings::new(Kind::Apt, Vec::new());
        assert_eq!(line(found().checked).state.word, "up to date");
        let blind = line(found().with_problem("no network", Some("look at it".into())).checked);
        assert_eq!(blind.state.word, "not all checked");
        assert_eq!(blind.note.as_deref(), Some("no network: look at it."));
    }
}
