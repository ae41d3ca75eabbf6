//! What the owner of a host allows runs to change on it, whoever orders them.

use std::fmt;

use chrono::{Datelike, NaiveDateTime, NaiveTime, Weekday};
use glob::Pattern;
use serde::Deserialize;

use super::ask::PlanAsk;
use super::kind::Kind;
use super::plan::{Changes, Operation, PlannedChange};

/// A policy as it is written, in TOML. What is left out is allowed, but for a restart of the host; a word that is not known makes it no policy.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Written {
    kinds: Option<Vec<String>>,
    allow: Option<Vec<String>>,
    deny: Vec<String>,
    removals: Option<bool>,
    downgrades: Option<bool>,
    restart_services: Option<bool>,
    repairs: Option<bool>,
    undo: Option<bool>,
    reboot: bool,
    windows: Vec<String>,
}

/// What may be changed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Policy {
    kinds: Option<Vec<Kind>>,
    allow: Option<Vec<Pattern>>,
    deny: Vec<Pattern>,
    forbids_removals: bool,
    forbids_downgrades: bool,
    forbids_restarts: bool,
    forbids_repairs: bool,
    forbids_undo: bool,
    allows_reboot: bool,
    windows: Vec<Window>,
}

/// Days and hours in which something may be changed, in the host's own time.
#[derive(Debug, Clone, PartialEq)]
struct Window {
    days: Vec<Weekday>,
    from: NaiveTime,
    to: NaiveTime,
    words: String,
}

/// Why a text is no policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PolicyFault(String);

/// Why the policy forbids a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forbidden(String);

impl fmt::Display for Forbidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Policy {
    /// Reads one.
    pub fn parse(text: &str) -> Result<Self, PolicyFault> {
        let written: Written =
            toml::from_str(text).map_err(|error| PolicyFault(error.message().to_owned()))?;
        let fault = |error: &dyn fmt::Display| PolicyFault(error.to_string());
        let patterns = |texts: &[String]| -> Result<Vec<Pattern>, PolicyFault> {
            let read = |text: &String| {
                Pattern::new(text).map_err(|error| PolicyFault(format!("`{text}` is no pattern: {error}")))
            };
            texts.iter().map(read).collect()
        };
        let kinds = written
            .kinds
            .map(|kinds| kinds.iter().map(|kind| kind.parse::<Kind>()).collect::<Result<_, _>>());
        Ok(Self {
            kinds: kinds.transpose().map_err(|error| fault(&error))?,
            allow: written.allow.as_deref().map(patterns).transpose()?,
            deny: patterns(&written.deny)?,
            forbids_removals: written.removals == Some(false),
            forbids_downgrades: written.downgrades == Some(false),
            forbids_restarts: written.restart_services == Some(false),
            forbids_repairs: written.repairs == Some(false),
            forbids_undo: written.undo == Some(false),
            allows_reboot: written.reboot,
            windows: written.windows.iter().map(|text| Window::parse(text)).collect::<Result<_, _>>()?,
        })
    }

    /// Returns all that is in the way of a plan at this time of the host's day; nothing if it may be carried out. What takes
    /// back a recent run of this host may lower and remove: a short while ago it was higher or not there. Without that bound
    /// somebody could walk a host back, run by run, to what it was long ago.
    pub fn judge(
        &self,
        changes: &Changes,
        ask: &PlanAsk,
        is_recent: bool,
        now: NaiveDateTime,
    ) -> Vec<Forbidden> {
        let back = match ask.undoes() {
            None => Back::No,
            Some(_) if is_recent => Back::Recent,
            Some(_) => Back::Old,
        };
        let mut found: Vec<Forbidden> =
            changes.all().iter().filter_map(|change| self.judge_one(change, back)).map(Forbidden).collect();
        if self.forbids_undo && back != Back::No {
            let reason =
                "no run may be taken back: the owner of the host has to write `undo = true` into the policy";
            found.push(Forbidden(reason.into()));
        }
        if self.forbids_restarts && ask.restarts_services() {
            found.push(Forbidden("no service may be restarted".into()));
        }
        if self.forbids_repairs && *ask == PlanAsk::Repair {
            found.push(Forbidden("a broken off installation may not be repaired by a run".into()));
        }
        if !self.windows.is_empty() && !self.windows.iter().any(|window| window.holds(now)) {
            let all: Vec<&str> = self.windows.iter().map(|window| window.words.as_str()).collect();
            found.push(Forbidden(format!("nothing is changed outside of {}", all.join(" and "))));
        }
        found
    }

    fn judge_one(&self, change: &PlannedChange, back: Back) -> Option<String> {
        let PlannedChange { kind, name, .. } = change;
        if change.operation == Operation::Restart {
            let reason = "the host may not be restarted by a run: its owner has to write `reboot = true` into the policy";
            return (!self.allows_reboot).then(|| reason.to_owned());
        }
        if self.kinds.as_ref().is_some_and(|kinds| !kinds.contains(kind)) {
            return Some(format!("{name}: changes of kind `{kind}` are not allowed"));
        }
        if let Some(pattern) = self.deny.iter().find(|pattern| pattern.matches(name)) {
            return Some(format!("{name}: `{pattern}` is denied"));
        }
        if self.allow.as_ref().is_some_and(|allow| !allow.iter().any(|pattern| pattern.matches(name))) {
            return Some(format!("{name}: it is none of what is allowed"));
        }
        match change.operation {
            Operation::Remove if self.forbids_removals => {
                back.why("removals", format!("{name}: nothing may be removed"))
            }
            Operation::Downgrade if self.forbids_downgrades => {
                back.why("downgrades", format!("{name}: nothing may go back to a lower version"))
            }
            _ => None,
        }
    }
}

/// Whether a plan takes a run of this host back, and which.
#[derive(Clone, Copy, PartialEq)]
enum Back {
    No,
    /// One that is young enough to be taken back whatever else may be removed or lowered.
    Recent,
    Old,
}

impl Back {
    /// Why something is forbidden by a line of the policy, if it is.
    fn why(self, line: &str, reason: String) -> Option<String> {
        match self {
            Self::No => Some(reason),
            Self::Recent => None,
            Self::Old => Some(format!(
                "{reason}, and the run that would be taken back is older than `updates.undo_days`: the owner of the host has to write \
                 `{line} = true` into the policy, or a larger number there"
            )),
        }
    }
}

const DAYS: [(&str, Weekday); 7] = [
    ("mon", Weekday::Mon),
    ("tue", Weekday::Tue),
    ("wed", Weekday::Wed),
    ("thu", Weekday::Thu),
    ("fri", Weekday::Fri),
    ("sat", Weekday::Sat),
    ("sun", Weekday::Sun),
];

impl Window {
    /// `Mon-Fri 22:00-06:00`, `Sat,Sun`, `02:00-04:00`
    fn parse(text: &str) -> Result<Self, PolicyFault> {
        let fault = || {
            PolicyFault(format!(
                "`{text}` is no window: write days, hours or both, such as `Mon-Fri 22:00-06:00` or `Sat,Sun`"
            ))
        };
        let mut words = text.split_whitespace();
        let (first, second) = (words.next().ok_or_else(fault)?, words.next());
        let (days, hours) = match second {
            _ if words.next().is_some() => return Err(fault()),
            Some(hours) => (Some(first), Some(hours)),
            None if first.contains(':') => (None, Some(first)),
            None => (Some(first), None),
        };
        let days = match days {
            Some(days) => days_of(days).ok_or_else(fault)?,
            None => DAYS.map(|(_, day)| day).to_vec(),
        };
        let (from, to) = match hours {
            Some(hours) => {
                let (from, to) = hours.split_once('-').ok_or_else(fault)?;
                let time = |text: &str| NaiveTime::parse_from_str(text, "%H:%M").map_err(|_| fault());
                (time(from)?, time(to)?)
            }
            None => (NaiveTime::MIN, NaiveTime::MIN),
        };
        Ok(Self { days, from, to, words: text.trim().to_owned() })
    }

    /// A window over midnight belongs to the day on which it begins; one from an hour to the same hour is a whole day.
    fn holds(&self, now: NaiveDateTime) -> bool {
        let (day, time) = (now.weekday(), now.time());
        let is_on = |day: Weekday| self.days.contains(&day);
        if self.from < self.to {
            return is_on(day) && (self.from..self.to).contains(&time);
        }
        is_on(day) && time >= self.from || is_on(day.pred()) && time < self.to
    }
}

fn days_of(text: &str) -> Option<Vec<Weekday>> {
    let day = |word: &str| DAYS.iter().find(|(name, _)| name.eq_ignore_ascii_case(word)).map(|(_, day)| *day);
    let mut days = Vec::new();
    for part in text.split(',') {
        match part.split_once('-') {
            None => days.push(day(part)?),
            Some((from, to)) => {
                let (mut next, last) = (day(from)?, day(to)?);
                days.push(next);
                while next != last {
                    next = next.succ();
                    days.push(next);
                }
            }
        }
    }
    Some(days)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::update::{RebootAsk, RunId, Wanted};

    fn change(kind: Kind, name: &str, operation: Operation) -> PlannedChange {
        let (from, to) = match operation {
            Operation::Install => (None, Some("2")),
            Operation::Remove => (Some("1"), None),
            _ => (Some("1"), Some("2")),
        };
        PlannedChange {
            kind,
            name: name.into(),
            arch: "all".into(),
            operation,
            from: from.map(str::to_owned),
            to: to.map(str::to_owned),
            digest: to.map(str::to_owned),
        }
    }

    fn judged(policy: &str, change: PlannedChange, ask: &PlanAsk) -> Vec<String> {
        judged_of(policy, change, ask, true)
    }

    fn judged_of(policy: &str, change: PlannedChange, ask: &PlanAsk, is_recent: bool) -> Vec<String> {
        let now = "2026-01-31T12:00:00".parse().unwrap();
        let changes = Changes::new(vec![change]).unwrap();
        let found = Policy::parse(policy).unwrap().judge(&changes, ask, is_recent, now);
        found.iter().map(Forbidden::to_string).collect()
    }

    fn install(restart_services: bool) -> PlanAsk {
        PlanAsk::Install { wanted: Wanted::All, restart_services }
    }

    fn undo() -> PlanAsk {
        PlanAsk::undo(RunId::parse("1").unwrap(), Vec::new())
    }

    #[test]
    fn only_what_came_last_may_be_taken_back_to_what_the_policy_forbids_else_and_with_a_line_of_it_nothing() {
        use Operation::{Downgrade, Remove, Upgrade};
        for (policy, operation, is_recent, expected) in [
            ("downgrades = false", Downgrade, true, ""),
            ("downgrades = false", Downgrade, false, "write `downgrades = true`"),
            ("removals = false", Remove, true, ""),
            ("removals = false", Remove, false, "write `removals = true`"),
            // An old run is taken back where nothing stands against what that does.
            ("", Downgrade, false, ""),
            ("downgrades = false", Upgrade, false, ""),
            ("undo = true", Downgrade, true, ""),
            ("undo = false", Downgrade, true, "write `undo = true`"),
            ("undo = false", Upgrade, false, "write `undo = true`"),
        ] {
            let found = judged_of(policy, change(Kind::Apt, "a", operation), &undo(), is_recent).join("; ");
            assert_eq!(found.is_empty(), expected.is_empty(), "{policy} {operation:?} {is_recent}: {found}");
            assert!(found.contains(expected), "{policy} {operation:?} {is_recent}: {found}");
        }
        let forward = judged("undo = false", change(Kind::Apt, "a", Upgrade), &install(false));
        assert!(forward.is_empty(), "it is about the way back: {forward:?}");
    }

    #[test]
    fn services_are_restarted_unless_that_is_forbidden() {
        let change = || change(Kind::Apt, "a", Operation::Upgrade);
        for (policy, restarts, is_allowed) in [
            ("", true, true),
            ("restart_services = true", true, true),
            ("restart_services = false", true, false),
            ("restart_services = false", false, true),
        ] {
            assert_eq!(judged(policy, change(), &install(restarts)).is_empty(), is_allowed, "{policy}");
        }
    }

    #[test]
    fn what_is_forbidden_is_named_with_its_reason_and_all_else_is_allowed() {
        use Kind::{Apt, DockerImage};
        use Operation::{Downgrade, Remove, Upgrade};
        for (policy, change, is_undo, expected) in [
            ("", change(Apt, "a", Remove), false, ""),
            ("kinds = ['apt']", change(Apt, "a", Upgrade), false, ""),
            ("kinds = ['apt']", change(DockerImage, "web", Operation::Replace), false, "kind `docker_image`"),
            ("deny = ['linux-image-*']", change(Apt, "linux-image-6.1", Upgrade), false, "is denied"),
            ("deny = ['linux-image-*']", change(Apt, "linux-base", Upgrade), false, ""),
            ("allow = ['lib*', 'nginx']", change(Apt, "openssh", Upgrade), false, "none of what is allowed"),
            ("allow = ['lib*', 'nginx']", change(Apt, "libc6", Upgrade), false, ""),
            ("allow = ['*']\ndeny = ['a']", change(Apt, "a", Upgrade), false, "is denied"),
            ("allow = []", change(Apt, "a", Upgrade), false, "none of what is allowed"),
            ("removals = false", change(Apt, "a", Remove), false, "nothing may be removed"),
            ("removals = false", change(Apt, "a", Remove), true, ""),
            ("downgrades = false", change(Apt, "a", Downgrade), false, "lower version"),
            ("downgrades = false", change(Apt, "a", Downgrade), true, ""),
            ("deny = ['a']", change(Apt, "a", Downgrade), true, "is denied"),
        ] {
            let ask = if is_undo { undo() } else { install(false) };
            let found = judged(policy, change, &ask).join("; ");
            assert_eq!(found.is_empty(), expected.is_empty(), "{policy}: {found}");
            assert!(found.contains(expected), "{policy}: {found}");
        }
    }

    #[test]
    fn a_host_is_started_anew_only_where_its_owner_says_so_and_repaired_unless_he_forbids_it() {
        let restart = || PlannedChange::restart_of_host();
        let ask = PlanAsk::Reboot(RebootAsk { delay_minutes: 1, message: String::new() });
        for (policy, is_allowed) in [
            ("", false),
            ("reboot = false", false),
            ("reboot = true", true),
            // What is said of packages and containers is not said of the host.
            ("reboot = true\nkinds = ['apt']\nallow = ['a']\ndeny = ['*']", true),
            ("reboot = true\nwindows = ['Sun']", false),
        ] {
            assert_eq!(judged(policy, restart(), &ask).is_empty(), is_allowed, "{policy}");
        }
        let half = || PlannedChange {
            from: Some("1".into()),
            to: Some("1".into()),
            digest: None,
            ..change(Kind::Apt, "a", Operation::Configure)
        };
        assert!(judged("", half(), &PlanAsk::Repair).is_empty());
        assert!(!judged("repairs = false", half(), &PlanAsk::Repair).is_empty());
    }

    #[test]
    fn a_window_holds_on_its_days_and_over_midnight() {
        // 2026-01-30 is a Friday.
        for (window, at, holds) in [
            ("Mon-Fri 22:00-06:00", "2026-01-30T21:59:59", false),
            ("Mon-Fri 22:00-06:00", "2026-01-30T22:00:00", true),
            ("Mon-Fri 22:00-06:00", "2026-01-31T05:59:00", true),
            ("Mon-Fri 22:00-06:00", "2026-01-31T22:30:00", false),
            ("sat,SUN", "2026-01-31T00:00:00", true),
            ("sat,SUN", "2026-01-30T23:59:59", false),
            ("sat,SUN", "2026-02-02T00:00:00", false),
            ("Fri-Mon", "2026-02-02T12:00:00", true),
            ("Fri-Mon", "2026-02-03T12:00:00", false),
            ("02:00-04:00", "2026-01-31T03:00:00", true),
            ("02:00-04:00", "2026-01-31T04:00:00", false),
        ] {
            assert_eq!(Window::parse(window).unwrap().holds(at.parse().unwrap()), holds, "{window} {at}");
        }
    }

    #[test]
    fn what_is_not_understood_is_no_policy() {
        for (text, word) in [
            ("kind = ['apt']", "kind"),
            ("kinds = ['rpm']", "rpm"),
            ("allow = ['[']", "no pattern"),
            ("windows = ['Monday']", "no window"),
            ("windows = ['Mon 25:00-26:00']", "no window"),
            ("windows = ['']", "no window"),
            ("removals = 'no'", "boolean"),
            ("{", ""),
        ] {
            let fault = Policy::parse(text).unwrap_err().to_string();
            assert!(fault.contains(word), "{text}: {fault}");
        }
    }
}
