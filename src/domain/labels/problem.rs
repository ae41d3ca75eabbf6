//! What is wrong with a label.

use serde::{Deserialize, Serialize};

use super::table::Found;
use crate::domain::text::{is_hidden, spell_out};

/// Most characters of a label or a value that are repeated.
const MAX_SHOWN: usize = 200;

/// A label that does not say what it should.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LabelProblem {
    /// The label, cut to 200 characters.
    pub label: String,
    /// Its value, cut to 200 characters; empty if the label is not one that we know.
    pub value: String,
    /// What is wrong and what to write instead.
    pub reason: String,
}

impl LabelProblem {
    pub(super) fn new(label: &str, value: &str, reason: impl ToString) -> Self {
        // Labels are for whoever starts containers to write, and reasons quote them.
        Self { label: cut(label), value: cut(value), reason: spell_out(&reason.to_string()) }
    }
}

/// What is wrong with a value in quotes.
pub(super) const IN_QUOTES: &str = "the value is in quotes, which became part of it; in the list form of a compose file write `- \"NAME=VALUE\"`";

/// Notes what is wrong with a label. Base labels are read once for each route that falls back to them, and shown once.
pub(super) fn note(
    problems: &mut Vec<LabelProblem>,
    found: &Found<'_>,
    reason: impl ToString,
) -> LabelProblem {
    let problem = LabelProblem::new(&found.label, found.value, reason);
    if !problems.contains(&problem) {
        problems.push(problem.clone());
    }
    problem
}

fn cut(text: &str) -> String {
    text.chars().take(MAX_SHOWN).map(|c| if is_hidden(c) { '\u{fffd}' } else { c }).collect()
}
