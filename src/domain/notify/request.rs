//! A message in the form that each service asks for.

use std::fmt;

use serde_json::{Value, json};
use url::Url;

use super::mail::{Mail, message_id};
use super::message::Message;
use super::secrets::Secrets;
use super::target::Channel;

/// Most characters that Discord takes.
const DISCORD: usize = 2_000;
/// Most characters that Telegram takes.
const TELEGRAM: usize = 4_096;
/// Most bytes that ntfy shows as text; a longer one becomes an attachment.
const NTFY: usize = 4_096;
/// Most characters for the others: enough to read.
const OTHERS: usize = 16_000;

/// One POST of JSON.
#[derive(Clone, PartialEq, Eq)]
pub struct Call {
    /// Where; opens the target, with some.
    pub url: Url,
    /// What goes along; opens the target, with others.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Value,
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "POST to {}", self.url.host_str().unwrap_or_default())
    }
}

/// What is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outgoing {
    /// By HTTP.
    Call(Box<Call>),
    /// By SMTP.
    Mail(Box<Mail>),
}

/// Returns what is sent to a target; fails if what opens it does not fit it.
pub fn outgoing(channel: &Channel, secrets: &Secrets, message: &Message) -> Result<Outgoing, String> {
    let secret =
        |field: &str| secrets.get(field).ok_or_else(|| format!("its `{field}` is missing; set it again"));
    let bearer = |token: &str| ("authorization", format!("Bearer {token}"));
    let call = |url: Url, headers, body| Outgoing::Call(Box::new(Call { url, headers, body }));
    Ok(match channel {
        Channel::Webhook { .. } => {
            let mut headers = vec![("idempotency-key", message.id.clone())];
            headers.extend(secrets.get("authorization").map(|text| ("authorization", text.to_owned())));
            call(address(secret("url")?)?, headers, webhook(message))
        }
        Channel::Ntfy { server } => {
            let headers = secrets.get("token").map(bearer).into_iter().collect();
            call(address(server)?, headers, ntfy(message, secret("topic")?))
        }
        Channel::Gotify { server } => {
            let headers = vec![("x-gotify-key", secret("token")?.to_owned())];
            call(below(server, "message")?, headers, gotify(message))
        }
        Channel::Discord { .. } => {
            let mut url = address(secret("url")?)?;
            // Without it the answer comes before the message is there.
            url.query_pairs_mut().append_pair("wait", "true");
            call(url, Vec::new(), discord(message))
        }
        Channel::Slack { .. } => call(address(secret("url")?)?, Vec::new(), slack(message)),
        Channel::Telegram { server, chat_id } => {
            let url = below(server, &format!("bot{}/sendMessage", secret("token")?))?;
            call(url, Vec::new(), telegram(message, chat_id))
        }
        Channel::Email { host, port, encryption, username, from, to } => {
            let login = match username {
                Some(name) => Some((name.clone(), secret("password")?.to_owned())),
                None => None,
            };
            Outgoing::Mail(Box::new(Mail {
                host: host.clone(),
                port: *port,
                encryption: *encryption,
                login,
                from: from.clone(),
                to: to.clone(),
                subject: message.title.clone(),
                text: cut(&message.text, OTHERS),
                at: message.at,
                message_id: message_id(message, from),
            }))
        }
    })
}

fn address(text: &str) -> Result<Url, String> {
    // What cannot be read is not repeated: it may open something.
    Url::parse(text).map_err(|_| "its address cannot be read; set it again".to_owned())
}

/// A path below a server that may itself be below a path.
fn below(server: &str, path: &str) -> Result<Url, String> {
    address(&format!("{}/{path}", server.trim_end_matches('/')))
}

fn webhook(message: &Message) -> Value {
    json!({
        "id": message.id, "topic": message.topic.map_or("test", |topic| topic.as_str()), "turn": message.turn,
        "title": message.title, "text": cut(&message.text, OTHERS), "at": message.at, "total": message.total,
        "notices": message.notices,
    })
}

fn ntfy(message: &Message, topic: &str) -> Value {
    let (priority, tag) = match message.is_good_news() {
        true => (3, "white_check_mark"),
        false => (4, "warning"),
    };
    json!({
        "topic": topic, "title": message.title, "message": cut_bytes(&message.text, NTFY),
        "priority": priority, "tags": [tag],
    })
}

fn gotify(message: &Message) -> Value {
    let priority = if message.is_good_news() { 4 } else { 8 };
    json!({
        "title": message.title, "message": cut(&message.text, OTHERS), "priority": priority,
        "extras": { "client::display": { "contentType": "text/plain" } },
    })
}

fn discord(message: &Message) -> Value {
    let text = format!("**{}**\n{}", plain(&message.title), plain(&message.text));
    // Nobody is called by what a container is named.
    json!({ "content": cut(&text, DISCORD), "allowed_mentions": { "parse": [] }, "flags": 4 })
}

/// Text in which Discord's marks mean nothing.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '\\' | '*' | '_' | '~' | '`' | '|' | '>' | '#' | '[' | ']') {
            plain.push('\\');
        }
        plain.push(c);
    }
    plain
}

fn slack(message: &Message) -> Value {
    let escaped = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let text = format!("{}\n{}", escaped(&message.title), escaped(&message.text));
    json!({ "text": cut(&text, OTHERS), "mrkdwn": false, "unfurl_links": false, "unfurl_media": false })
}

fn telegram(message: &Message, chat_id: &str) -> Value {
    let text = format!("{}\n{}", message.title, message.text);
    json!({
        "chat_id": chat_id, "text": cut(&text, TELEGRAM),
        "link_preview_options": { "is_disabled": true },
    })
}

/// The beginning, with a mark if that is not all.
fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}

fn cut_bytes(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let mark = '…';
    let mut end = most.saturating_sub(mark.len_utf8());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.chars()
        .scan(0, |bytes, c| {
            *bytes += c.len_utf8();
            (*bytes <= end).then_some(c)
        })
        .chain([mark])
        .collect()
}
