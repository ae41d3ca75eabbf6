//! Targets as people hand them in. What cannot be read names its field, the reason and the way out.

use std::collections::BTreeSet;

use serde_json::{Map, Value};
use url::Url;

use super::quiet::QuietHours;
use super::secrets::Secrets;
use super::target::{Channel, Encryption, KINDS, Target};
use super::topic::Topic;
use crate::domain::access::check_email;
use crate::domain::id::TargetId;
use crate::domain::text::{is_hidden, repeated};

/// Fields of every target.
const COMMON: [&str; 5] = ["id", "kind", "name", "about", "quiet_hours"];
/// What is told of a target beside it: who takes a target, changes it and hands it in again need not remove these.
const TOLD: [&str; 6] = ["place", "secrets", "set_at", "set_by", "made_at", "state"];
/// Most characters of a field.
const MOST: usize = 2_048;
/// Most addresses that a mail goes to.
const MOST_TO: usize = 10;
const NTFY: &str = "https://ntfy.sh";
const TELEGRAM: &str = "https://api.telegram.org";

/// A target that was handed in, with what opens it as far as that came along.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    /// The target; the `place` of one that an address opens is filled in with that.
    target: Target,
    given: Secrets,
}

/// Fields that are shown, and fields that are not.
struct Fields {
    shown: &'static [&'static str],
    hidden: &'static [&'static str],
}

fn fields_of(kind: &str) -> Option<Fields> {
    let (shown, hidden): (&[&str], &[&str]) = match kind {
        "webhook" => (&[], &["url", "authorization"]),
        "ntfy" => (&["server"], &["topic", "token"]),
        "gotify" => (&["server"], &["token"]),
        "discord" | "slack" => (&[], &["url"]),
        "telegram" => (&["server", "chat_id"], &["token"]),
        "email" => (&["host", "port", "encryption", "username", "from", "to"], &["password"]),
        _ => return None,
    };
    Some(Fields { shown, hidden })
}

/// Reads a target that is handed in under `id`.
pub fn read_target(id: &str, value: Value) -> Result<Draft, Vec<String>> {
    let Value::Object(mut fields) = value else {
        return Err(vec!["a target is a JSON object, such as `{\"kind\":\"ntfy\",\"topic\":\"…\"}`".into()]);
    };
    fields.retain(|name, _| !TOLD.contains(&name.as_str()));
    let mut wrong = Vec::new();
    let mut reader = Reader { fields: &fields, wrong: &mut wrong };
    let kind = reader.text("kind").unwrap_or_default();
    let Some(known) = fields_of(&kind) else {
        let list = KINDS.map(|kind| format!("`{kind}`")).join(", ");
        return Err(vec![match kind.is_empty() {
            true => format!("`kind` is missing; there are {list}"),
            false => format!("`kind`: `{}` is no kind of target; there are {list}", repeated(&kind)),
        }]);
    };
    reader.refuse_unknown(&kind, &known);
    let id = match TargetId::parse(id) {
        Ok(id) => Some(id),
        Err(error) => {
            reader.wrong.push(error.to_string());
            None
        }
    };
    if let (Some(given), Some(id)) = (reader.text("id"), &id)
        && given != id.as_str()
    {
        let given = repeated(&given);
        reader
            .wrong
            .push(format!("`id` is `{given}`, and the target is handed in as `{id}`; leave `id` out"));
    }
    let name = reader.text("name").filter(|name| !name.is_empty());
    let (about, quiet_hours) = (reader.about(), reader.quiet_hours());
    let given = reader.secrets(&known);
    let channel = reader.channel(&kind, &given);
    match (id, channel) {
        (Some(id), Some(channel)) if wrong.is_empty() => {
            let name = name.unwrap_or_else(|| id.to_string());
            Ok(Draft { target: Target { id, name, channel, about, quiet_hours }, given })
        }
        _ => Err(wrong),
    }
}

impl Draft {
    /// Returns the id under which it is handed in.
    pub fn id(&self) -> &TargetId {
        &self.target.id
    }

    /// Returns the target and what opens it. What did not come along stays as it is `stored`, unless it would be sent to
    /// somewhere else than before.
    pub fn complete(self, stored: Option<(&Target, Secrets)>) -> Result<(Target, Secrets), Vec<String>> {
        let Self { mut target, given } = self;
        let kept = stored.filter(|(before, _)| before.channel.leads_where(&target.channel));
        let (before, older) = match kept {
            Some((before, secrets)) => (Some(before.channel.clone()), secrets),
            None => (None, Secrets::default()),
        };
        let secrets = given.over(older);
        if given.get("url").is_none_or(str::is_empty)
            && let Some(Channel::Webhook { place } | Channel::Discord { place } | Channel::Slack { place }) =
                before
        {
            target.channel = match target.channel {
                Channel::Webhook { .. } => Channel::Webhook { place },
                Channel::Discord { .. } => Channel::Discord { place },
                Channel::Slack { .. } => Channel::Slack { place },
                other => other,
            };
        }
        let wrong = missing(&target.channel, &secrets);
        if wrong.is_empty() { Ok((target, secrets)) } else { Err(wrong) }
    }
}

/// What has to be there and is not.
fn missing(channel: &Channel, secrets: &Secrets) -> Vec<String> {
    let needed: &[(&str, &str)] = match channel {
        Channel::Webhook { .. } => &[("url", "the address that messages are posted to")],
        Channel::Discord { .. } | Channel::Slack { .. } => {
            &[("url", "the address of the webhook, made there")]
        }
        Channel::Ntfy { .. } => &[("topic", "the name of the topic")],
        Channel::Gotify { .. } => &[("token", "the token of an application there")],
        Channel::Telegram { .. } => &[("token", "the token of the bot, from @BotFather")],
        Channel::Email { username: Some(_), .. } => &[("password", "what goes with `username`")],
        Channel::Email { username: None, .. } => &[],
    };
    let is_missing = |field: &&(&str, &str)| secrets.get(field.0).is_none();
    let mut wrong: Vec<String> = needed
        .iter()
        .filter(is_missing)
        .map(|(field, what)| {
            format!("`{field}` is missing: {what}. What was set before is kept only for the same server")
        })
        .collect();
    if let Channel::Email { username: None, .. } = channel
        && secrets.get("password").is_some()
    {
        wrong.push("`password` says nothing without `username`; give both or neither".into());
    }
    wrong
}

struct Reader<'a> {
    fields: &'a Map<String, Value>,
    wrong: &'a mut Vec<String>,
}

impl Reader<'_> {
    fn refuse_unknown(&mut self, kind: &str, known: &Fields) {
        let all = || COMMON.iter().chain(known.shown).chain(known.hidden);
        let unknown = self.fields.keys().filter(|name| !all().any(|known| known == name));
        let list = all().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let said = unknown
            .take(5)
            .map(|name| format!("`{}` is not known of `{kind}`; there are {list}", repeated(name)));
        self.wrong.extend(said);
    }

    /// A field of text, trimmed; none if it is absent or wrong.
    fn text(&mut self, field: &str) -> Option<String> {
        let text = match self.fields.get(field) {
            None | Some(Value::Null) => return None,
            Some(Value::String(text)) => text.trim(),
            Some(_) => {
                self.wrong.push(format!("`{field}` is no text; put it into quotes"));
                return None;
            }
        };
        if text.chars().count() > MOST || text.chars().any(is_hidden) {
            self.wrong.push(format!(
                "`{field}` is longer than {MOST} characters or has some that are not seen; write it anew"
            ));
            return None;
        }
        Some(text.to_owned())
    }

    fn needed(&mut self, field: &str, what: &str) -> Option<String> {
        let count = self.wrong.len();
        let text = self.text(field).filter(|text| !text.is_empty());
        if text.is_none() && self.wrong.len() == count {
            self.wrong.push(format!("`{field}` is missing: {what}"));
        }
        text
    }

    fn noting<T>(&mut self, field: &str, read: Result<T, String>) -> Option<T> {
        read.map_err(|reason| self.wrong.push(format!("`{field}`: {reason}"))).ok()
    }

    fn about(&mut self) -> Option<BTreeSet<Topic>> {
        let listed = match self.fields.get("about") {
            None | Some(Value::Null) => return None,
            Some(Value::Array(listed)) => listed,
            Some(_) => {
                self.wrong.push(
                    "`about` is a list, such as `[\"agent_offline\"]`; left out it is everything".into(),
                );
                return None;
            }
        };
        let mut about = BTreeSet::new();
        for word in listed {
            match word.as_str().and_then(Topic::parse) {
                Some(topic) => drop(about.insert(topic)),
                None => {
                    let list = Topic::ALL.map(|topic| format!("`{}`", topic.as_str())).join(", ");
                    let word = repeated(word.as_str().unwrap_or("what is no text"));
                    self.wrong.push(format!("`about`: `{word}` is nothing that is told; there are {list}"));
                }
            }
        }
        if about.is_empty() && self.wrong.is_empty() {
            self.wrong.push("`about` is empty: nothing would be told; leave it out for everything".into());
        }
        Some(about)
    }

    fn quiet_hours(&mut self) -> Option<QuietHours> {
        let text = self.text("quiet_hours").filter(|text| !text.is_empty())?;
        self.noting("quiet_hours", text.parse())
    }

    fn secrets(&mut self, known: &Fields) -> Secrets {
        let mut secrets = Secrets::default();
        for field in known.hidden {
            if let Some(text) = self.text(field) {
                secrets.set(field, text);
            }
        }
        secrets
    }

    fn channel(&mut self, kind: &str, given: &Secrets) -> Option<Channel> {
        Some(match kind {
            "webhook" => Channel::Webhook { place: self.place(given)? },
            "discord" => Channel::Discord { place: self.place(given)? },
            "slack" => Channel::Slack { place: self.place(given)? },
            "ntfy" => {
                if let Some(topic) = given.get("topic").filter(|topic| !topic.is_empty()) {
                    self.noting("topic", check_topic(topic));
                }
                Channel::Ntfy { server: self.server(Some(NTFY))? }
            }
            "gotify" => Channel::Gotify { server: self.server(None)? },
            "telegram" => {
                if given.get("token").is_some_and(|token| token.contains(['/', '?', '#', '%'])) {
                    self.wrong.push("`token` is no token of a bot; one looks like `123456:ABC-…`".into());
                }
                let chat_id = self.chat_id();
                Channel::Telegram { server: self.server(Some(TELEGRAM))?, chat_id: chat_id? }
            }
            _ => return self.email(given),
        })
    }

    /// Where an address leads; empty if it did not come along.
    fn place(&mut self, given: &Secrets) -> Option<String> {
        match given.get("url").filter(|url| !url.is_empty()) {
            Some(url) => self.noting("url", check_url(url)).map(|url| origin(&url)),
            None => Some(String::new()),
        }
    }

    fn server(&mut self, usual: Option<&str>) -> Option<String> {
        let text = match usual {
            Some(usual) => {
                self.text("server").filter(|text| !text.is_empty()).unwrap_or_else(|| usual.into())
            }
            None => self.needed("server", "its address, such as `https://push.example.com`")?,
        };
        let read = check_url(&text).and_then(|url| {
            match url.username().is_empty() && url.password().is_none() && url.query().is_none() {
                true => Ok(format!("{}{}", origin(&url), url.path().trim_end_matches('/'))),
                false => Err("it is shown, so nothing that opens something belongs into it".to_owned()),
            }
        });
        self.noting("server", read)
    }

    /// Numbers are taken too: Telegram writes them so.
    fn chat_id(&mut self) -> Option<String> {
        if let Some(Value::Number(number)) = self.fields.get("chat_id") {
            return Some(number.to_string());
        }
        self.needed("chat_id", "the chat, a number such as `-1001234`, or `@name` of a channel")
    }

    fn email(&mut self, given: &Secrets) -> Option<Channel> {
        let host = self.needed("host", "the mail server, such as `smtp.example.com`");
        let host = host.and_then(|host| self.noting("host", check_host(&host)));
        let encryption = match self.text("encryption").unwrap_or_default().as_str() {
            "" | "starttls" => Some(Encryption::Starttls),
            "tls" => Some(Encryption::Tls),
            "none" => Some(Encryption::None),
            other => {
                let other = repeated(other);
                self.wrong
                    .push(format!("`encryption`: `{other}` is none; there are `starttls`, `tls`, `none`"));
                None
            }
        };
        let port = self.port();
        let username = self.text("username").filter(|name| !name.is_empty());
        if encryption == Some(Encryption::None) && (username.is_some() || given.get("password").is_some()) {
            self.wrong.push(
                "`encryption` is `none`, and no password is sent where others can read it; set it to `starttls` or `tls`, \
                 or leave `username` and `password` out"
                    .into(),
            );
        }
        let from = self.needed("from", "who writes, such as `lightship@example.com`");
        let from = from.and_then(|from| self.noting("from", mailbox(&from).map(|()| from)));
        let to = self.to();
        let (encryption, port) = (encryption?, port?);
        let port = port.unwrap_or(encryption.port());
        Some(Channel::Email { host: host?, port, encryption, username, from: from?, to: to? })
    }

    /// The port, if one is given; none at all if it is wrong. A form sends text.
    fn port(&mut self) -> Option<Option<u16>> {
        let given = match self.fields.get("port") {
            None | Some(Value::Null) => return Some(None),
            Some(Value::String(text)) if text.trim().is_empty() => return Some(None),
            Some(Value::String(text)) => text.trim().parse().ok(),
            Some(value) => value.as_u64().and_then(|port| u16::try_from(port).ok()),
        };
        match given.filter(|port| *port > 0) {
            Some(port) => Some(Some(port)),
            None => {
                self.wrong.push("`port` is no port; write a number from 1 to 65535".into());
                None
            }
        }
    }

    /// A list, or one text with commas between.
    fn to(&mut self) -> Option<Vec<String>> {
        let listed: Vec<String> = match self.fields.get("to") {
            Some(Value::Array(listed)) => {
                listed.iter().map(|one| one.as_str().unwrap_or_default().trim().to_owned()).collect()
            }
            _ => {
                let text = self.needed("to", "whom it is written to, such as `[\"ops@example.com\"]`")?;
                text.split(',').map(|one| one.trim().to_owned()).filter(|one| !one.is_empty()).collect()
            }
        };
        if listed.is_empty() || listed.len() > MOST_TO {
            self.wrong
                .push(format!("`to` is 1 to {MOST_TO} addresses; for more set another target, or a list"));
            return None;
        }
        let bad: Vec<String> = listed.iter().filter_map(|one| mailbox(one).err()).collect();
        if bad.is_empty() {
            return Some(listed);
        }
        self.wrong.extend(bad.into_iter().map(|reason| format!("`to`: {reason}")));
        None
    }
}

fn mailbox(text: &str) -> Result<(), String> {
    match text.starts_with('@') {
        true => Err(format!("`{}` is no e-mail address; write `ops@example.com`", repeated(text))),
        false => check_email(text),
    }
}

/// An address of the web. What is wrong is not repeated: it may open something.
fn check_url(text: &str) -> Result<Url, String> {
    let wrong = "it is no address of the web; write such as `https://push.example.com/…`";
    let url = Url::parse(text).map_err(|_| wrong.to_owned())?;
    let is_web = matches!(url.scheme(), "http" | "https") && url.has_host() && url.fragment().is_none();
    if is_web { Ok(url) } else { Err(wrong.to_owned()) }
}

fn origin(url: &Url) -> String {
    url.origin().ascii_serialization()
}

fn check_host(text: &str) -> Result<String, String> {
    let name = text.trim_start_matches('[').trim_end_matches(']');
    // As `url` reads hosts: names in any script, IPv4, and IPv6 in brackets.
    let text = if name.parse::<std::net::Ipv6Addr>().is_ok() { format!("[{name}]") } else { name.to_owned() };
    let host = url::Host::parse(&text);
    host.map(|_| name.to_owned()).map_err(|_| format!("`{}` is no name or address of a host", repeated(name)))
}

/// As ntfy itself checks topics.
fn check_topic(topic: &str) -> Result<(), String> {
    let is_good = topic.len() <= 64 && topic.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    is_good.then_some(()).ok_or_else(|| "a topic is at most 64 of `A-Za-z0-9_-`".to_owned())
}
