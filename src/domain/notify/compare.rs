//! What lasts: what is the case now, compared with what was the case when it was last looked at.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use super::notice::{Notice, Turn};
use super::topic::Topic;

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum How {
    /// It is not the case.
    No,
    /// Nobody can tell, or it is on its way: what was the case before is taken to be so still, and nothing begins.
    Maybe,
    /// It is the case.
    Yes,
}

/// What was seen of one thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// What kind of thing.
    pub topic: Topic,
    /// Which one, by an id.
    pub subject: String,
    /// Which one, for people.
    pub name: String,
    /// More of it, for people.
    pub detail: Option<String>,
    /// How it is.
    pub how: How,
}

/// Something that was the case when it was last looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// What kind of thing.
    pub topic: Topic,
    /// Which one, by an id.
    pub subject: String,
    /// Which one, for people.
    pub name: String,
    /// Since when.
    pub since: DateTime<Utc>,
}

/// What differs.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// These are the case from now on.
    pub begun: Vec<Known>,
    /// These no more.
    pub ended: Vec<Known>,
    /// What is to be told, with since when it was the case.
    pub notices: Vec<(Notice, DateTime<Utc>)>,
}

/// Compares; only of `looked_at` anything was seen.
pub fn compare(known: &[Known], seen: Vec<Seen>, looked_at: &BTreeSet<Topic>, now: DateTime<Utc>) -> Changes {
    let mut changes = Changes::default();
    let mut by_key = BTreeMap::<(Topic, String), Seen>::new();
    for seen in seen {
        let key = (seen.topic, seen.subject.clone());
        // Of two words about one thing the worse one counts.
        if by_key.get(&key).is_none_or(|other| other.how < seen.how) {
            by_key.insert(key, seen);
        }
    }
    for known in known.iter().filter(|known| looked_at.contains(&known.topic)) {
        let seen = by_key.remove(&(known.topic, known.subject.clone()));
        let is_over = match seen.as_ref().map(|seen| seen.how) {
            Some(How::Yes | How::Maybe) => continue,
            Some(How::No) => true,
            None => known.topic.ends_unseen(),
        };
        if is_over && known.topic.tells_end() {
            let (name, detail) =
                seen.map_or_else(|| (known.name.clone(), None), |seen| (seen.name, seen.detail));
            changes.notices.push((notice(known, name, detail, Turn::Ended, now), known.since));
        }
        changes.ended.push(known.clone());
    }
    for seen in by_key.into_values().filter(|seen| seen.how == How::Yes && looked_at.contains(&seen.topic)) {
        let known = Known { topic: seen.topic, subject: seen.subject, name: seen.name, since: now };
        changes.notices.push((notice(&known, known.name.clone(), seen.detail, Turn::Began, now), now));
        changes.begun.push(known);
    }
    changes
}

fn notice(known: &Known, name: String, detail: Option<String>, turn: Turn, at: DateTime<Utc>) -> Notice {
    Notice { topic: known.topic, turn, subject: known.subject.clone(), name, detail, at }
}
