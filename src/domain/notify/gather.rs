//! When what is to be told is told: together with what comes soon after it, and not in quiet hours.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use super::notice::{Notice, Turn};
use super::target::Target;
use super::topic::Topic;

/// Most notices that wait for one target; of further ones only the number is kept.
pub const MOST_PENDING: usize = 2_000;

/// True if a target that was made at `made_at` is to be told; `since` is when it began.
pub fn wants(target: &Target, made_at: DateTime<Utc>, notice: &Notice, since: DateTime<Utc>) -> bool {
    // Who was not there when it began was not told, and has no use for its end.
    let knows = notice.turn == Turn::Began || made_at <= since;
    knows && target.about.as_ref().is_none_or(|about| about.contains(&notice.topic))
}

/// Returns what waits to be told of one thing after something `new`, if something was `waiting` before: an end takes its
/// beginning back, and a beginning its end. Nobody was told, and nothing changed.
pub fn take_in(waiting: Option<&Notice>, new: Notice) -> Option<Notice> {
    match waiting {
        Some(waiting) if waiting.turn != new.turn => None,
        Some(waiting) => Some(Notice { at: waiting.at, ..new }),
        None => Some(new),
    }
}

/// What is due of the notices that wait for one target.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Due {
    /// Each becomes one message.
    pub groups: Vec<Vec<Notice>>,
    /// When the next one is due.
    pub next: Option<DateTime<Utc>>,
}

/// Puts together what is due `now`. Of one kind everything goes together that came within the `window` after the first;
/// nothing is due before `quiet_until`.
pub fn due(
    pending: Vec<Notice>,
    window: TimeDelta,
    quiet_until: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Due {
    let mut groups = BTreeMap::<(Topic, Turn), Vec<Notice>>::new();
    for notice in pending {
        groups.entry((notice.topic, notice.turn)).or_default().push(notice);
    }
    let mut due = Due::default();
    for (_, mut group) in groups {
        group.sort_by(|one, other| (one.at, &one.name).cmp(&(other.at, &other.name)));
        let Some(first) = group.first() else { continue };
        let at = (first.at + window).max(quiet_until.unwrap_or(DateTime::<Utc>::MIN_UTC));
        // A clock that was put back would hold everything up.
        if at <= now || (quiet_until.is_none() && first.at > now + window) {
            due.groups.push(group);
        } else {
            due.next = Some(due.next.map_or(at, |next| next.min(at)));
        }
    }
    due.groups.sort_by_key(|group| group.first().map(|notice| notice.at));
    due
}
