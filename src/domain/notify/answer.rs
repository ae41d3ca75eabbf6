//! What a target answered.

use serde_json::Value;

use super::secrets::Secrets;
use super::target::Channel;
use crate::domain::text::beginning;

/// Most characters of an answer that are shown.
const WORDS: usize = 200;

/// True if the message is there.
pub fn was_taken(status: u16) -> bool {
    (200..300).contains(&status)
}

/// True if this status is about what was sent, and not about the way there or who sends it.
pub fn is_about_the_message(status: u16) -> bool {
    matches!(status, 400 | 413 | 415 | 422)
}

/// Says why it is not: the status, what it means for this kind of target, and the beginning of what was answered.
pub fn refusal(channel: &Channel, secrets: &Secrets, status: u16, body: &str) -> String {
    let mut words = format!("it answered {status}");
    let said = secrets.hide_in(said(body).trim());
    if !said.is_empty() {
        words = format!("{words}: {}", beginning(&said, WORDS));
    }
    match hint(channel, status) {
        Some(hint) => format!("{words}; {hint}"),
        None => words,
    }
}

/// The sentence in an answer: most of these services put it into one of these fields.
fn said(body: &str) -> String {
    let json: Value = serde_json::from_str(body).unwrap_or_default();
    let fields = ["description", "errorDescription", "message", "error"];
    let sentence = fields.iter().find_map(|field| json.get(field).and_then(Value::as_str));
    sentence.unwrap_or(body).to_owned()
}

fn hint(channel: &Channel, status: u16) -> Option<&'static str> {
    match (status, channel) {
        (300..=399, _) => Some("it points elsewhere, and that is not followed; set the address it leads to"),
        (401 | 403, Channel::Ntfy { .. }) => Some("check the token, and that it may write to the topic"),
        (401 | 403, Channel::Gotify { .. }) => {
            Some("check the token; it is the one of an application, not of a client")
        }
        (401 | 404, Channel::Telegram { .. }) => Some("check the token of the bot"),
        (400 | 403, Channel::Telegram { .. }) => Some("check the chat, and that the bot was spoken to in it"),
        (401 | 403 | 404 | 410, Channel::Discord { .. } | Channel::Slack { .. }) => {
            Some("the webhook is gone or wrong; make another one there and set its address")
        }
        (401 | 403, Channel::Webhook { .. }) => Some("check `authorization`"),
        (429, _) => Some("it wants fewer messages; it is tried again later"),
        _ => None,
    }
}
