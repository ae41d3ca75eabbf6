//! What is wrong with a label.

use serde::{Deserialize, Serialize};

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

fn cut(text: &str) -> String {
    text.chars().take(MAX_SHOWN).map(|c| if is_hidden(c) { '\u{fffd}' } else { c }).collect()
}
