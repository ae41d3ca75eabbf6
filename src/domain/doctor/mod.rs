//! What a look at a host, or at what it depends on, found. What nobody could check is never called fine.
//!
//! Here is only the judgement: facts in, checks out. Who gathers the facts is the command line, and for the token the
//! master.

pub mod connector;
pub mod drivers;
pub mod engine;
pub mod hands;
pub mod host;
pub mod master;
pub mod time;
pub mod token;
pub mod ways;

use serde::{Deserialize, Serialize};

/// The way out if a file of the state directory cannot be read.
const READ_STATE: &str = "look as the user that the agent runs as, or as root; a file that is damaged is set aside when the \
                          agent starts, and its master tells it again";

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It was looked at, and is as it should be.
    Fine,
    /// Nobody could look at it.
    NotChecked,
    /// It was looked at, and is not as it should be.
    Problem,
}

impl Verdict {
    /// Returns it as people read it.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Fine => "fine",
            Self::NotChecked => "could not be checked",
            Self::Problem => "problem",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What it is.
    pub name: String,
    /// How it came out.
    pub verdict: Verdict,
    /// What was seen; or what is wrong, or why nobody could look.
    pub detail: String,
    /// What a person can do about it.
    pub way_out: Option<String>,
}

impl Check {
    /// It is as it should be.
    pub fn fine(name: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { name: name.into(), verdict: Verdict::Fine, detail: detail.into(), way_out: None }
    }

    /// It is not as it should be.
    pub fn problem(name: impl Into<String>, detail: impl Into<String>, way_out: impl Into<String>) -> Self {
        let way_out = Some(way_out.into());
        Self { name: name.into(), verdict: Verdict::Problem, detail: detail.into(), way_out }
    }

    /// Nobody could look, because of this.
    pub fn not_checked(
        name: impl Into<String>,
        because: impl Into<String>,
        way_out: impl Into<String>,
    ) -> Self {
        let way_out = Some(way_out.into());
        Self { name: name.into(), verdict: Verdict::NotChecked, detail: because.into(), way_out }
    }
}

/// Checks that belong together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Family {
    /// What they are about.
    pub name: String,
    /// The checks, in an order that a reader can follow.
    pub checks: Vec<Check>,
}

impl Family {
    /// Names checks.
    pub fn new(name: impl Into<String>, checks: Vec<Check>) -> Self {
        Self { name: name.into(), checks }
    }
}

/// Returns how it came out as a whole: a problem counts most, then what could not be checked.
pub fn worst<'a>(checks: impl IntoIterator<Item = &'a Check>) -> Verdict {
    checks.into_iter().map(|check| check.verdict).max().unwrap_or(Verdict::Fine)
}

/// An answer to a question that somebody else may refuse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer<T> {
    /// It was answered.
    Told(T),
    /// It was refused, with these words.
    Refused(String),
    /// There was none, for this reason.
    None(String),
}

impl<T> Answer<T> {
    /// Reads what was told.
    pub fn map<U>(self, read: impl FnOnce(T) -> U) -> Answer<U> {
        match self {
            Self::Told(told) => Answer::Told(read(told)),
            Self::Refused(words) => Answer::Refused(words),
            Self::None(reason) => Answer::None(reason),
        }
    }
}

/// Several names in one line, of many the first.
fn listed(names: &[String]) -> String {
    const MOST: usize = 10;
    let shown = names.iter().take(MOST).map(String::as_str).collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(MOST) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_counts_more_than_what_could_not_be_checked_and_that_is_never_fine() {
        let fine = Check::fine("a", "b");
        let open = Check::not_checked("a", "b", "c");
        let problem = Check::problem("a", "b", "c");
        for (checks, verdict) in [
            (vec![], Verdict::Fine),
            (vec![&fine], Verdict::Fine),
            (vec![&open, &fine], Verdict::NotChecked),
            (vec![&open, &problem, &fine], Verdict::Problem),
        ] {
            assert_eq!(worst(checks), verdict);
        }
    }

    #[test]
    fn of_many_names_the_first_are_shown_and_the_others_counted() {
        let names: Vec<String> = (0..12).map(|number| number.to_string()).collect();
        assert_eq!(listed(&names), "0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more");
        assert_eq!(listed(&names[..2]), "0, 1");
    }
}
