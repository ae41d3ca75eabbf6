//! What a plan is asked for.

use serde::{Deserialize, Serialize};

use super::run::RunId;
use crate::domain::text::repeated;

/// Most names that one plan is asked for.
pub const MAX_NAMES: usize = 500;
/// Longest of them, in characters.
const MAX_NAME: usize = 512;

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

/// What a host is to work out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PlanAsk {
    /// What installing would change.
    Install(Wanted),
    /// What taking a run back would change.
    Undo {
        /// Which run.
        run: RunId,
        /// Only these names; all if there are none.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        only: Vec<String>,
    },
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
    /// Returns the run that it takes back.
    pub fn undoes(&self) -> Option<&RunId> {
        match self {
            Self::Install(_) => None,
            Self::Undo { run, .. } => Some(run),
        }
    }

    /// Says whether it can be asked for.
    pub fn check(&self) -> Result<(), AskFault> {
        let names = match self {
            Self::Install(Wanted::Named(names)) if names.is_empty() => return Err(AskFault::Nothing),
            Self::Install(Wanted::Named(names)) => names,
            Self::Undo { only, .. } => only,
            Self::Install(_) => return Ok(()),
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

    #[test]
    fn what_cannot_be_a_name_or_is_too_much_is_not_asked_for() {
        let named = |names: &[&str]| {
            PlanAsk::Install(Wanted::Named(names.iter().map(|&name| name.to_owned()).collect())).check()
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
        assert_eq!(PlanAsk::Install(Wanted::All).check(), Ok(()));
    }
}
