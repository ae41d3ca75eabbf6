//! What a plan is asked for.

use serde::{Deserialize, Serialize};

use super::run::RunId;

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
        }
    }
}

/// Why something cannot be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AskFault {
    /// Nothing is named.
    #[error("no name is given: name what is to be planned, or ask for everything")]
    Nothing,
    /// Too much is named.
    #[error("more than {MAX_NAMES} names are given: ask for everything, or for fewer at a time")]
    TooMany,
    /// A name cannot be one.
    #[error("a name is empty, longer than 512 characters, or has characters that no name has")]
    Odd,
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
        let is_name = |name: &String| {
            let has_odd = name.chars().any(|c| c.is_control() || c.is_whitespace());
            !name.is_empty() && name.chars().count() <= MAX_NAME && !has_odd
        };
        if names.iter().all(is_name) { Ok(()) } else { Err(AskFault::Odd) }
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
        for odd in ["", "a b", "a\nb", &"x".repeat(513)] {
            assert_eq!(named(&[odd]), Err(AskFault::Odd), "{odd:?}");
        }
        assert_eq!(named(&["a"; MAX_NAMES + 1]), Err(AskFault::TooMany));
        assert_eq!(PlanAsk::Install(Wanted::All).check(), Ok(()));
    }
}
