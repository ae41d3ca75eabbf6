//! Where messages go.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::quiet::QuietHours;
use super::topic::Topic;
use crate::domain::id::TargetId;

/// Most targets that are kept.
pub const MAX_TARGETS: usize = 50;

/// The kinds of targets.
pub const KINDS: [&str; 7] = ["webhook", "ntfy", "gotify", "discord", "slack", "telegram", "email"];

/// Somewhere people read messages. What opens it is in [`Secrets`](super::Secrets) and not here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// Its id, chosen by a person.
    pub id: TargetId,
    /// What people call it.
    pub name: String,
    /// Which way messages go there.
    #[serde(flatten)]
    pub channel: Channel,
    /// What it is told of; none: everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<BTreeSet<Topic>>,
    /// When nothing is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quiet_hours: Option<QuietHours>,
}

/// A way for messages. Where an address alone opens something, only the `place` of it is kept here: scheme, host, port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Channel {
    /// JSON of our own.
    Webhook { place: String },
    /// A server of ntfy.
    Ntfy { server: String },
    /// A server of Gotify.
    Gotify { server: String },
    /// A webhook of a channel at Discord.
    Discord { place: String },
    /// An incoming webhook of Slack.
    Slack { place: String },
    /// A bot of Telegram, in this chat.
    Telegram { server: String, chat_id: String },
    /// E-mail.
    Email {
        host: String,
        port: u16,
        encryption: Encryption,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        username: Option<String>,
        from: String,
        to: Vec<String>,
    },
}

/// How the way to a mail server is encrypted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encryption {
    /// From a first word in clear on; refused if the server does not offer it.
    #[default]
    Starttls,
    /// From the first byte on.
    Tls,
    /// Not at all.
    None,
}

impl Encryption {
    /// The port that is usual.
    pub fn port(self) -> u16 {
        match self {
            Self::Starttls => 587,
            Self::Tls => 465,
            Self::None => 25,
        }
    }

    /// Returns the word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starttls => "starttls",
            Self::Tls => "tls",
            Self::None => "none",
        }
    }
}

impl Channel {
    /// Returns the word.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Webhook { .. } => "webhook",
            Self::Ntfy { .. } => "ntfy",
            Self::Gotify { .. } => "gotify",
            Self::Discord { .. } => "discord",
            Self::Slack { .. } => "slack",
            Self::Telegram { .. } => "telegram",
            Self::Email { .. } => "email",
        }
    }

    /// Says where it leads, for people; nothing in it opens anything.
    pub fn place(&self) -> String {
        match self {
            Self::Webhook { place } | Self::Discord { place } | Self::Slack { place } => place.clone(),
            Self::Ntfy { server } | Self::Gotify { server } => server.clone(),
            Self::Telegram { server, chat_id } => format!("chat {chat_id} at {server}"),
            Self::Email { host, port, to, .. } => format!("{} by {host}:{port}", to.join(", ")),
        }
    }

    /// True if what opens `self` may be sent to where `other` leads. One whose place is empty comes without an address, and
    /// leads where it led before.
    pub fn leads_where(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Webhook { place }, Self::Webhook { place: to })
            | (Self::Discord { place }, Self::Discord { place: to })
            | (Self::Slack { place }, Self::Slack { place: to }) => to.is_empty() || place == to,
            (Self::Ntfy { server }, Self::Ntfy { server: to })
            | (Self::Gotify { server }, Self::Gotify { server: to })
            | (Self::Telegram { server, .. }, Self::Telegram { server: to, .. }) => server == to,
            (
                Self::Email { host, port, encryption, username, .. },
                Self::Email { host: to, port: at, encryption: how, username: whose, .. },
            ) => (host, port, encryption, username) == (to, at, how, whose),
            _ => false,
        }
    }
}
