//! What a plan is asked for.

use serde::{Deserialize, Serialize};

use super::run_id::RunId;
use crate::domain::text::repeated;

/// Most names that one plan is asked for.
pub const MAX_NAMES: usize = 500;
/// Longest of them, in characters.
const MAX_NAME: usize = 512;
/// Longest time until a host is started anew, in minutes.
const MAX_DELAY: u16 = 24 * 60;
/// Longest message for those who work on it, in characters.
const MAX_MESSAGE: usize = 200;

/// Which of the things that are pending on a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wanted {
    /// Everything that is newer.
    All,
    /// Everything newer that mends a hole.
    Security,
    /// These, and what they need.
    Named(Vec<String>),
}

/// What a host is to work out, and what belongs to it beside the changes. It is signed as a part of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub enum PlanAsk {
    /// What installing would change.
    Install {
        /// Of what.
        wanted: Wanted,
        /// Whether services are restarted afterwards that run on files which were replaced.
        restart_services: bool,
    },
    /// What taking a run back would change.
    Undo {
        /// Which run.
        run: RunId,
        /// Only these names; all if there are none.
        only: Vec<String>,
        /// As above.
        restart_services: bool,
    },
    /// What would bring a broken off installation to its end.
    Repair,
    /// That the host is started anew.
    Reboot(RebootAsk),
}

/// How a host is started anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RebootAsk {
    /// Minutes until then.
    pub delay_minutes: u16,
    /// What people who work on it are told.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// How it is written: one of what can be asked for, and how. What is not known here is not passed over: it was asked for too.
#[derive(Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Written {
    #[serde(skip_serializing_if = "Option::is_none")]
    install: Option<Wanted>,
    #[serde(skip_serializing_if = "Option::is_none")]
    undo: Option<WrittenUndo>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    repair: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    reboot: Option<RebootAsk>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    restart_services: bool,
}

#[derive(Serialize, Deserialize)]
struct WrittenUndo {
    run: RunId,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    only: Vec<String>,
}

impl TryFrom<Written> for PlanAsk {
    type Error = &'static str;

    fn try_from(written: Written) -> Result<Self, Self::Error> {
        let Written { install, undo, repair, reboot, restart_services } = written;
        match (install, undo, repair, reboot, restart_services) {
            (Some(wanted), None, false, None, _) => Ok(Self::Install { wanted, restart_services }),
            (None, Some(WrittenUndo { run, only }), false, None, _) => {
                Ok(Self::Undo { run, only, restart_services })
            }
            (None, None, true, None, false) => Ok(Self::Repair),
            (None, None, false, Some(reboot), false) => Ok(Self::Reboot(reboot)),
            _ => Err("a plan is asked for one thing: `install`, `undo`, `repair` or `reboot`"),
        }
    }
}

impl From<PlanAsk> for Written {
    fn from(ask: PlanAsk) -> Self {
        match ask {
            PlanAsk::Install { wanted, restart_services } => {
                Self { install: Some(wanted), restart_services, ..Self::default() }
            }
            PlanAsk::Undo { run, only, restart_services } => {
                Self { undo: Some(WrittenUndo { run, only }), restart_services, ..Self::default() }
            }
            PlanAsk::Repair => Self { repair: true, ..Self::default() },
            PlanAsk::Reboot(reboot) => Self { reboot: Some(reboot), ..Self::default() },
        }
    }
}

/// What becomes of a plan once the host has worked it out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Then {
    /// A person looks at it.
    #[default]
    Show,
    /// Who asked said yes to what is named already: it is carried out if it holds nothing else.
    CarryOut,
    /// What was approved no longer held: it is carried out if it is in the scope of that yes, whose id the question has.
    Reissue,
}

impl Then {
    /// True if a person looks at it.
    pub fn is_show(&self) -> bool {
        *self == Self::Show
    }

    /// Returns its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Show => "show",
            Self::CarryOut => "carry_out",
            Self::Reissue => "reissue",
        }
    }
}

/// Why something cannot be asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskFault {
    /// Nothing is named.
    #[error("no name is given: name what is to be planned, or ask for everything")]
    Nothing,
    /// Too much is named.
    #[error("more than {MAX_NAMES} names are given: ask for everything, or for fewer at a time")]
    TooMany,
    /// A restart that cannot be ordered.
    #[error(
        "a host is started anew within {MAX_DELAY} minutes, with a message of at most {MAX_MESSAGE} characters on one line"
    )]
    Reboot,
    /// A name cannot be one.
    #[error("`{name}` names nothing that could be planned: {reason}")]
    Odd {
        /// Which, as far as it is repeated.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
}

impl PlanAsk {
    /// What installing would change, and nothing else.
    pub fn install(wanted: Wanted) -> Self {
        Self::Install { wanted, restart_services: false }
    }

    /// What taking a run back would change, and nothing else; all of it if nothing is named.
    pub fn undo(run: RunId, only: Vec<String>) -> Self {
        Self::Undo { run, only, restart_services: false }
    }

    /// Returns the run that it takes back.
    pub fn undoes(&self) -> Option<&RunId> {
        match self {
            Self::Install { .. } | Self::Repair | Self::Reboot(_) => None,
            Self::Undo { run, .. } => Some(run),
        }
    }

    /// True if services are restarted afterwards that run on files which were replaced.
    pub fn restarts_services(&self) -> bool {
        match self {
            Self::Install { restart_services, .. } | Self::Undo { restart_services, .. } => *restart_services,
            Self::Repair | Self::Reboot(_) => false,
        }
    }

    /// Says whether it can be asked for.
    pub fn check(&self) -> Result<(), AskFault> {
        let names = match self {
            Self::Install { wanted: Wanted::Named(names), .. } if names.is_empty() => {
                return Err(AskFault::Nothing);
            }
            Self::Install { wanted: Wanted::Named(names), .. } => names,
            Self::Undo { only, .. } => only,
            Self::Reboot(RebootAsk { delay_minutes, message }) => {
                let is_odd = message.chars().any(char::is_control) || message.chars().count() > MAX_MESSAGE;
                return if is_odd || *delay_minutes > MAX_DELAY { Err(AskFault::Reboot) } else { Ok(()) };
            }
            Self::Install { .. } | Self::Repair => return Ok(()),
        };
        if names.len() > MAX_NAMES {
            return Err(AskFault::TooMany);
        }
        let odd = |name: &String| Some(AskFault::Odd { name: repeated(name), reason: fault(name)? });
        names.iter().find_map(odd).map_or(Ok(()), Err)
    }
}

/// Returns what is wrong with a name.
fn fault(name: &str) -> Option<&'static str> {
    match name {
        "" => Some("it is empty"),
        name if name.chars().any(char::is_control) => Some("it has control characters"),
        name if name.chars().any(char::is_whitespace) => Some("it has blanks; give each name by itself"),
        name if name.chars().count() > MAX_NAME => Some("it is longer than 512 characters"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reboot(delay_minutes: u16, message: &str) -> RebootAsk {
        RebootAsk { delay_minutes, message: message.into() }
    }

    #[test]
    fn a_restart_is_ordered_for_the_next_day_at_most_with_a_line_for_people() {
        for (delay, message, is_fine) in [
            (0, "", true),
            (MAX_DELAY, "back at ten", true),
            (MAX_DELAY + 1, "", false),
            (1, "two\nlines", false),
            (1, &"x".repeat(MAX_MESSAGE + 1), false),
        ] {
            assert_eq!(PlanAsk::Reboot(reboot(delay, message)).check().is_ok(), is_fine, "{delay} {message}");
        }
    }

    #[test]
    fn what_cannot_be_a_name_or_is_too_much_is_not_asked_for() {
        let named = |names: &[&str]| {
            PlanAsk::install(Wanted::Named(names.iter().map(|&name| name.to_owned()).collect())).check()
        };
        assert_eq!(named(&["apt:bash", "docker_image:web"]), Ok(()));
        assert_eq!(named(&[]), Err(AskFault::Nothing));
        for (odd, words) in [
            ("", "`` names nothing that could be planned: it is empty"),
            ("a b", "`a b` names nothing that could be planned: it has blanks; give each name by itself"),
            ("a\nb", "`a\\nb` names nothing that could be planned: it has control characters"),
            (&"x".repeat(513), "x…` names nothing that could be planned: it is longer than 512 characters"),
        ] {
            let said = named(&["bash", odd]).unwrap_err().to_string();
            assert!(said.ends_with(words), "{odd:?}: {said}");
        }
        assert_eq!(named(&["a"; MAX_NAMES + 1]), Err(AskFault::TooMany));
        assert_eq!(PlanAsk::install(Wanted::All).check(), Ok(()));
    }

    #[test]
    fn what_is_asked_for_is_read_as_it_is_written_and_nothing_is_passed_over() {
        let run = RunId::parse("1").unwrap();
        for (ask, written) in [
            (PlanAsk::install(Wanted::All), r#"{"install":"all"}"#),
            (
                PlanAsk::Install { wanted: Wanted::Named(vec!["a".into()]), restart_services: true },
                r#"{"install":{"named":["a"]},"restart_services":true}"#,
            ),
            (PlanAsk::undo(run.clone(), Vec::new()), r#"{"undo":{"run":"1"}}"#),
            (
                PlanAsk::Undo { run, only: vec!["a".into()], restart_services: true },
                r#"{"undo":{"run":"1","only":["a"]},"restart_services":true}"#,
            ),
            (PlanAsk::Repair, r#"{"repair":true}"#),
            (PlanAsk::Reboot(reboot(5, "")), r#"{"reboot":{"delay_minutes":5}}"#),
        ] {
            assert_eq!(serde_json::to_string(&ask).unwrap(), written);
            assert_eq!(serde_json::from_str::<PlanAsk>(written).unwrap(), ask);
        }
        for odd in [
            "{}",
            r#"{"repair":true,"restart_services":true}"#,
            r#"{"repair":true,"reboot":{"delay_minutes":1}}"#,
            r#"{"install":"all","undo":{"run":"1"}}"#,
            r#"{"install":"all","also":true}"#,
            r#""install""#,
        ] {
            assert!(serde_json::from_str::<PlanAsk>(odd).is_err(), "{odd}");
        }
    }
}
