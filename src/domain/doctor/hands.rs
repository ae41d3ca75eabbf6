//! What this host can be changed with: package managers, the helper of root, and what its owner allows.

use super::Check;
use crate::domain::host::Ability;

/// The helper of root, for an agent that is not root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Helper {
    /// It is not needed here.
    NotNeeded,
    /// It was not installed.
    Absent,
    /// It answers.
    Answers,
    /// It does not, for this reason.
    Silent(String),
}

/// What the owner of the host wrote down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Policy {
    /// It is there, and can be followed.
    Followed,
    /// There is none: everything is allowed but a restart of the host.
    Absent,
    /// It cannot be followed, so nothing is allowed.
    Wrong(String),
    /// Only root may read it.
    Hidden,
}

/// What was learnt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Package managers that were found; none if packages are not looked at, with the reason.
    pub managers: Result<Vec<String>, String>,
    /// Whether packages can be installed.
    pub installs: Ability,
    /// The helper.
    pub helper: Helper,
    /// Where it is looked for.
    pub socket: String,
    /// The policy.
    pub policy: Policy,
    /// Where it is.
    pub policy_file: String,
}

impl Facts {
    /// Judges them. That a host is looked at and not changed is a choice, and no problem.
    pub fn judge(&self) -> Vec<Check> {
        let managers = match &self.managers {
            Ok(found) if found.is_empty() => Check::fine("Package managers", "none is here"),
            Ok(found) => Check::fine("Package managers", found.join(", ")),
            Err(reason) => Check::fine("Package managers", format!("not looked at: {reason}")),
        };
        let mut checks = vec![managers];
        checks.extend(self.helper());
        checks.push(self.policy());
        checks
    }

    fn helper(&self) -> Option<Check> {
        let name = "Helper of root";
        match &self.helper {
            Helper::NotNeeded => None,
            Helper::Absent => {
                let because = self.installs.problem.as_ref().map(|problem| format!(": {}", problem.reason));
                Some(Check::fine(
                    name,
                    format!(
                        "none listens at {}, so packages are looked at and not installed{}",
                        self.socket,
                        because.unwrap_or_default()
                    ),
                ))
            }
            Helper::Answers => Some(Check::fine(name, format!("it answers at {}", self.socket))),
            Helper::Silent(reason) => Some(Check::problem(
                name,
                reason.clone(),
                "see that `lightship host-helper` runs, and that this user may open its socket",
            )),
        }
    }

    fn policy(&self) -> Check {
        let (name, file) = ("Policy of the host", &self.policy_file);
        match &self.policy {
            Policy::Followed => Check::fine(name, format!("{file} is followed")),
            Policy::Absent => {
                Check::fine(name, format!("there is no {file}: all but a restart of the host is allowed"))
            }
            Policy::Wrong(reason) => Check::problem(
                name,
                reason.clone(),
                "put the file right; until then no run changes this host",
            ),
            Policy::Hidden => Check::not_checked(
                name,
                format!("{file} cannot be read by this user"),
                "run this as root, or let others read the file; the helper reads it as root",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict::{Fine, NotChecked, Problem};
    use super::*;

    #[test]
    fn a_host_that_is_not_changed_by_choice_is_fine_and_a_silent_helper_is_not() {
        let facts = |helper, policy| Facts {
            managers: Ok(vec!["apt".into()]),
            installs: Ability::no("the agent does not run as root", None),
            helper,
            socket: "/run/x.sock".into(),
            policy,
            policy_file: "/etc/x.toml".into(),
        };
        for (facts, expected) in [
            (facts(Helper::NotNeeded, Policy::Absent), vec![Fine, Fine]),
            (facts(Helper::Absent, Policy::Followed), vec![Fine, Fine, Fine]),
            (facts(Helper::Answers, Policy::Hidden), vec![Fine, Fine, NotChecked]),
            (facts(Helper::Silent("gone".into()), Policy::Wrong("bad".into())), vec![Fine, Problem, Problem]),
        ] {
            let found: Vec<_> = facts.judge().iter().map(|check| check.verdict).collect();
            assert_eq!(found, expected, "{facts:?}");
        }
        let absent = facts(Helper::Absent, Policy::Absent).judge();
        assert!(absent[1].detail.contains("does not run as root"), "{}", absent[1].detail);
    }
}
