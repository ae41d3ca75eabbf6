//! A message as e-mail.

use std::fmt;

use chrono::{DateTime, Utc};

use super::message::Message;
use super::target::Encryption;

/// Everything that a mail server has to be told.
#[derive(Clone, PartialEq, Eq)]
pub struct Mail {
    /// Its server.
    pub host: String,
    /// The server's port.
    pub port: u16,
    /// How the way there is encrypted.
    pub encryption: Encryption,
    /// Name and password, if it asks for them.
    pub login: Option<(String, String)>,
    /// Who writes.
    pub from: String,
    /// To whom.
    pub to: Vec<String>,
    /// The subject.
    pub subject: String,
    /// The text.
    pub text: String,
    /// When it was written.
    pub at: DateTime<Utc>,
    /// Its id, the same each time it is sent: a mail program shows two of them as one.
    pub message_id: String,
}

impl fmt::Debug for Mail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "mail `{}` by {}:{}", self.message_id, self.host, self.port)
    }
}

/// Returns the id of a message's mail; what follows the `@` is the sender's domain.
pub(super) fn message_id(message: &Message, from: &str) -> String {
    let domain = from.rsplit_once('@').map_or("localhost", |(_, domain)| domain);
    format!("<{}@{domain}>", message.id)
}
