//! How bad it is to go without an update.

use serde::{Deserialize, Serialize};

/// In RedFlag's four words; the least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Nothing speaks for a hurry.
    Low,
    /// Not known, or worth a look.
    Moderate,
    /// A security update without a word of its own counts as this.
    Important,
    /// To be installed now.
    Critical,
}

impl Severity {
    /// All of them, the worst first.
    pub const ALL: [Self; 4] = [Self::Critical, Self::Important, Self::Moderate, Self::Low];

    /// Returns its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Important => "important",
            Self::Moderate => "moderate",
            Self::Low => "low",
        }
    }

    /// Reads one of the four words.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|severity| severity.as_str() == word)
    }

    /// Reads the word of any advisory or agent. What says nothing is `low`.
    pub fn of_word(word: &str) -> Self {
        let word = word.trim().to_ascii_lowercase();
        // Glued words as `Important/Sec.` begin with the severity.
        match word.split(['/', ' ']).next().unwrap_or_default() {
            "critical" | "emergency" => Self::Critical,
            "important" | "high" => Self::Important,
            "moderate" | "medium" => Self::Moderate,
            _ => Self::Low,
        }
    }

    /// Returns what counts where no advisory has a word: only whether it is a security update is known, or not even that.
    pub fn without_word(is_security: Option<bool>) -> Self {
        match is_security {
            Some(true) => Self::Important,
            None => Self::Moderate,
            Some(false) => Self::Low,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_every_source_become_one_of_four() {
        for (word, severity) in [
            ("critical", Severity::Critical),
            ("Critical/Sec.", Severity::Critical),
            ("Important", Severity::Important),
            ("high", Severity::Important),
            ("MEDIUM", Severity::Moderate),
            ("Moderate/Sec.", Severity::Moderate),
            ("Low", Severity::Low),
            ("none", Severity::Low),
            ("unknown/Sec.", Severity::Low),
            ("", Severity::Low),
        ] {
            assert_eq!(Severity::of_word(word), severity, "{word}");
        }
    }

    #[test]
    fn a_security_update_without_a_word_is_worse_than_one_of_which_nothing_is_known() {
        let order = [Some(true), None, Some(false)].map(Severity::without_word);
        assert!(order.is_sorted_by(|a, b| a > b), "{order:?}");
    }
}
