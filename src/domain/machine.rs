//! Whether an agent still speaks from the machine that a person said yes to: a key and an id can be copied, and a copy must
//! not get what the host gets.
//!
//! Facts can be forged, so that this finds copies that nobody made on purpose, and thieves who do not care; what a thief
//! gets with a forged machine is no more than the key gave him before.

use serde::{Deserialize, Serialize};

use super::delivery::Dialect;
use super::host::Host;

/// What shows that an agent speaks from another machine than before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "sign", rename_all = "snake_case")]
pub enum OtherMachine {
    /// The machine has another id.
    MachineId,
    /// It calls itself otherwise, and its agent tells of no id.
    Hostname {
        /// What it called itself.
        before: String,
        /// What it calls itself.
        now: String,
    },
}

impl OtherMachine {
    /// Compares what an agent says of its machine with what was known; what either leaves out shows nothing.
    ///
    /// RedFlag's agents tell a name and no id. Of the others the name says nothing: a container has another with every start.
    pub fn between(known: &Host, said: &Host, dialect: Dialect) -> Option<Self> {
        if dialect == Dialect::RedFlag {
            let (before, now) = known.hostname.as_ref().zip(said.hostname.as_ref())?;
            let other = || Self::Hostname { before: before.clone(), now: now.clone() };
            return (!before.eq_ignore_ascii_case(now)).then(other);
        }
        let (before, now) = known.machine_id.as_ref().zip(said.machine_id.as_ref())?;
        (before != now).then_some(Self::MachineId)
    }

    /// Says it to a person, with what can be done.
    pub fn words(&self) -> String {
        match self {
            Self::MachineId => {
                "reports from another machine than before: approve it if the host was replaced, or give it \
                                an identity of its own"
                    .into()
            }
            Self::Hostname { before, now } => format!(
                "reports from another machine than before (it calls itself `{now}` now, and `{before}` before): approve it \
                 if the host was renamed or replaced, or give it an identity of its own"
            ),
        }
    }
}

/// What is kept of a machine after these facts: that an agent cannot tell the id any more does not make it another's.
pub fn with_known_id(said: Host, known: Option<&Host>) -> Host {
    let machine_id = said.machine_id.clone().or_else(|| known?.machine_id.clone());
    Host { machine_id, ..said }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(machine_id: &str, hostname: &str) -> Host {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Host { machine_id: some(machine_id), hostname: some(hostname), ..Host::default() }
    }

    #[test]
    fn a_machine_is_another_one_only_if_both_words_say_so() {
        use Dialect::{Native, RedFlag};
        for (dialect, known, said, is_other) in [
            (Native, ("a", "web-1"), ("a", "web-1"), false),
            (Native, ("a", "web-1"), ("b", "web-1"), true),
            // A container has another name with every start.
            (Native, ("a", "web-1"), ("a", "0f1e2d"), false),
            (Native, ("", "web-1"), ("", "web-2"), false),
            // What is not said shows nothing, in either direction.
            (Native, ("", "web-1"), ("b", "web-1"), false),
            (Native, ("a", "web-1"), ("", "web-1"), false),
            (RedFlag, ("", "web-1"), ("", "web-2"), true),
            (RedFlag, ("", "web-1"), ("", "WEB-1"), false),
            (RedFlag, ("", "web-1"), ("", ""), false),
            (RedFlag, ("", ""), ("", "web-2"), false),
        ] {
            let (before, now) = (host(known.0, known.1), host(said.0, said.1));
            let other = OtherMachine::between(&before, &now, dialect);
            assert_eq!(other.is_some(), is_other, "{dialect:?}: {known:?}, {said:?}");
        }
    }

    #[test]
    fn an_id_that_is_not_told_any_more_stays_known() {
        let known = host("a", "web-1");
        for (said, known, expected) in [
            ("", Some(&known), Some("a")),
            ("b", Some(&known), Some("b")),
            ("", None, None),
            ("b", None, Some("b")),
        ] {
            let kept = with_known_id(host(said, "web-1"), known);
            assert_eq!(kept.machine_id.as_deref(), expected, "{said:?}");
        }
    }

    #[test]
    fn a_person_is_told_what_changed_and_what_to_do() {
        let renamed = OtherMachine::Hostname { before: "web-1".into(), now: "web-2".into() };
        for (other, part) in [(OtherMachine::MachineId, "the host was replaced"), (renamed, "`web-2` now")] {
            let words = other.words();
            assert!(words.starts_with("reports from another machine than before"), "{words}");
            assert!(words.contains(part) && words.contains("an identity of its own"), "{words}");
        }
    }
}
