//! What a target gets, in words. All texts are here.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::notice::{Notice, Turn};
use super::target::Target;
use super::topic::Topic;
use crate::domain::text::{beginning, repeated};

/// Most things that one message names; the others are counted.
const MOST_NAMED: usize = 20;
/// Most characters of what is told of one thing.
const DETAIL: usize = 300;

/// A message for one target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Its id, the same each time it is sent.
    pub id: String,
    /// What it is about; none: a test.
    pub topic: Option<Topic>,
    /// Whether that began or ended.
    pub turn: Turn,
    /// One line.
    pub title: String,
    /// The whole, in lines.
    pub text: String,
    /// The first things that it is about.
    pub notices: Vec<Notice>,
    /// About how many things it is.
    pub total: usize,
    /// When it was put together.
    pub at: DateTime<Utc>,
}

impl Message {
    /// True if it is about something that is over.
    pub fn is_good_news(&self) -> bool {
        self.turn == Turn::Ended || self.topic.is_none()
    }
}

/// Puts one message together of things of one kind; `left_out` more were not kept. None without notices.
pub fn compose(id: String, notices: Vec<Notice>, left_out: u32, at: DateTime<Utc>) -> Option<Message> {
    let first = notices.first()?;
    let (topic, turn, total) = (first.topic, first.turn, notices.len());
    let title = title(topic, turn, &repeated(&first.name), total);
    let mut lines: Vec<String> = notices.iter().take(MOST_NAMED).map(line).collect();
    if total > MOST_NAMED {
        lines.push(format!("… and {} more", total - MOST_NAMED));
    }
    if left_out > 0 {
        lines.push(format!(
            "Besides, {left_out} more things were to be told while nothing could be sent; they are not kept, and \
             Lightship's own pages show how all is now."
        ));
    }
    let notices = notices.into_iter().take(MOST_NAMED).collect();
    Some(Message { id, topic: Some(topic), turn, title, text: lines.join("\n"), notices, total, at })
}

/// A message that says only that messages arrive.
pub fn test_message(id: String, target: &Target, by: &str, at: DateTime<Utc>) -> Message {
    let quiet = match target.quiet_hours {
        Some(hours) => format!(" Between {hours} nothing is sent but tests like this."),
        None => String::new(),
    };
    Message {
        id,
        topic: None,
        turn: Turn::Began,
        title: "Test message of Lightship".into(),
        text: format!(
            "This is target {}, tested by {}. Messages arrive here.{quiet}",
            repeated(&target.name),
            repeated(by)
        ),
        notices: Vec::new(),
        total: 0,
        at,
    }
}

fn line(notice: &Notice) -> String {
    let at = notice.at.format("%Y-%m-%d %H:%M UTC");
    match &notice.detail {
        Some(detail) => format!("{}: {} ({at})", repeated(&notice.name), beginning(detail, DETAIL)),
        None => format!("{} ({at})", repeated(&notice.name)),
    }
}

fn title(topic: Topic, turn: Turn, name: &str, total: usize) -> String {
    use Topic as T;
    use Turn::{Began, Ended};
    match (topic, turn, total) {
        (T::AgentOffline, Began, 1) => format!("Agent {name} is offline"),
        (T::AgentOffline, Began, n) => format!("{n} agents are offline"),
        (T::AgentOffline, Ended, 1) => format!("Agent {name} is back"),
        (T::AgentOffline, Ended, n) => format!("{n} agents are back"),
        (T::TunnelDown, Began, 1) => format!("Tunnel {name} is down"),
        (T::TunnelDown, Began, n) => format!("{n} tunnels are down"),
        (T::TunnelDown, Ended, 1) => format!("Tunnel {name} is up again"),
        (T::TunnelDown, Ended, n) => format!("{n} tunnels are up again"),
        (T::Conflict, Began, 1) => format!("Conflict over {name}"),
        (T::Conflict, Began, n) => format!("{n} conflicts over hostnames"),
        (T::Conflict, Ended, 1) => format!("The conflict over {name} is over"),
        (T::Conflict, Ended, n) => format!("{n} conflicts over hostnames are over"),
        (T::Drift, _, 1) => format!("Others changed tunnel {name}"),
        (T::Drift, _, n) => format!("Others changed {n} tunnels"),
        (T::Unprotected, _, 1) => format!("{name} is public without a login"),
        (T::Unprotected, _, n) => format!("{n} routes are public without a login"),
        (T::UpdateFailed, _, 1) => format!("An update of {name} failed or was undone"),
        (T::UpdateFailed, _, n) => format!("{n} updates failed or were undone"),
        (T::KeyExpiring, _, 1) => format!("{name} expires soon"),
        (T::KeyExpiring, _, n) => format!("{n} tokens expire soon"),
    }
}
