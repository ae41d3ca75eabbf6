//! What templates show: plain words, made of what is known. No template decides anything.

mod lines;
mod said;
mod update_words;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};

use super::filter::Line;

pub use lines::{
    AgentLine, RouteLine, Source, agent_words, route_badge, route_words, story_of, tunnel_badge,
};
pub use said::said;
pub use update_words::{host_href, shown_version, state_word, update_marks};

/// A word with its tone: `good`, `busy`, `warn`, `bad` or `idle`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Badge {
    /// How it looks.
    pub tone: &'static str,
    /// What it says.
    pub word: String,
}

/// Makes a badge.
pub fn badge(tone: &'static str, word: impl Into<String>) -> Badge {
    Badge { tone, word: word.into() }
}

/// A time, exactly and as a person says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moment {
    /// RFC 3339.
    pub exact: String,
    /// `12 s ago`.
    pub ago: String,
}

impl Moment {
    /// Says how long ago `at` was.
    pub fn of(at: DateTime<Utc>, now: DateTime<Utc>) -> Self {
        Self { exact: at.to_rfc3339_opts(SecondsFormat::Secs, true), ago: ago(now - at) }
    }
}

fn ago(gone: TimeDelta) -> String {
    match gone.num_seconds() {
        ..2 => "now".into(),
        secs @ 2..120 => format!("{secs} s ago"),
        secs @ 120..7_200 => format!("{} min ago", secs / 60),
        secs @ 7_200..172_800 => format!("{} h ago", secs / 3_600),
        secs => format!("{} days ago", secs / 86_400),
    }
}

/// A size in units of 1,024, as exact as a person wants it.
pub fn size(bytes: u64) -> String {
    const KIB: u64 = 1 << 10;
    const MIB: u64 = 1 << 20;
    const GIB: u64 = 1 << 30;
    match bytes {
        0..KIB => format!("{bytes} B"),
        KIB..MIB => format!("{} KiB", bytes / KIB),
        MIB..GIB => format!("{:.1} MiB", bytes as f64 / MIB as f64),
        _ if bytes < 10 * GIB => format!("{:.1} GiB", bytes as f64 / GIB as f64),
        _ => format!("{} GiB", bytes / GIB),
    }
}

/// Something with a title and a text.
pub struct Fact {
    /// What it is.
    pub title: String,
    /// What there is to say.
    pub text: String,
}

/// Makes a fact.
pub fn fact(title: &str, text: impl Into<String>) -> Fact {
    Fact { title: title.into(), text: text.into() }
}

/// Something that needs a look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What it is about.
    pub title: String,
    /// What is wrong, and the way out.
    pub detail: String,
    /// Where to do something about it.
    pub href: Option<String>,
    /// What the link says.
    pub link: &'static str,
}

impl Line for Problem {
    fn texts(&self) -> Vec<&str> {
        vec![&self.title, &self.detail]
    }

    fn word(&self) -> Option<&str> {
        None
    }
}

/// `1 route`, `2 routes`.
pub fn count(number: impl Into<u64>, one: &str, many: &str) -> String {
    match number.into() {
        1 => format!("1 {one}"),
        number => format!("{number} {many}"),
    }
}

/// Hostnames that may be published; no pattern permits any.
pub fn permitted(patterns: &[String]) -> String {
    if patterns.is_empty() { "any hostname".into() } else { patterns.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_said_as_people_say_them() {
        for (secs, expected) in [
            (-5, "now"),
            (1, "now"),
            (2, "2 s ago"),
            (119, "119 s ago"),
            (120, "2 min ago"),
            (7_200, "2 h ago"),
            (172_800, "2 days ago"),
        ] {
            assert_eq!(ago(TimeDelta::seconds(secs)), expected);
        }
    }
}
