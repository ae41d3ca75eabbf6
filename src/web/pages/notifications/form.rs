//! The form that makes or changes a target without JSON: one kind at a time, each with its fields.

use serde_json::{Map, Value, json};

use crate::domain::notify::{Channel, KINDS, Target, Topic};

/// A field of a kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// As the API calls it.
    pub name: &'static str,
    /// As people read it.
    pub label: &'static str,
    /// What stands in it, if that is shown.
    pub value: String,
    /// An example.
    pub placeholder: &'static str,
    /// True if nobody sees again what is in it.
    pub is_secret: bool,
    /// True if there has to be something.
    pub is_required: bool,
    /// What it may be, if it is to be chosen.
    pub choices: &'static [(&'static str, &'static str)],
}

/// Something that a target may be told of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// The topic's word.
    pub word: &'static str,
    /// The topic, for people.
    pub words: &'static str,
    /// True if it is told.
    pub is_told: bool,
}

/// What stands in the form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetForm {
    /// True if it makes a target, false if it changes one.
    pub is_new: bool,
    /// The target's id.
    pub id: String,
    /// For people.
    pub name: String,
    /// Its kind.
    pub kind: &'static str,
    /// What that is, for people.
    pub title: &'static str,
    /// The fields of its kind.
    pub fields: Vec<Field>,
    /// What it is told of.
    pub topics: Vec<Choice>,
    /// When nothing is sent.
    pub quiet_hours: String,
}

const ENCRYPTION: &[(&str, &str)] =
    &[("starttls", "STARTTLS"), ("tls", "TLS from the first byte"), ("none", "none")];

/// The name of a kind, for people.
pub fn title(kind: &str) -> &'static str {
    match kind {
        "ntfy" => "ntfy",
        "gotify" => "Gotify",
        "discord" => "Discord",
        "slack" => "Slack",
        "telegram" => "Telegram",
        "email" => "E-mail",
        _ => "Webhook",
    }
}

/// The kinds with their names, as they are offered.
pub fn kinds() -> Vec<(&'static str, &'static str)> {
    KINDS.iter().map(|kind| (*kind, title(kind))).collect()
}

fn fields(kind: &str) -> Vec<Field> {
    let field = |name, label, placeholder, is_secret, is_required| Field {
        name,
        label,
        value: String::new(),
        placeholder,
        is_secret,
        is_required,
        choices: &[],
    };
    let shown = |name, label, placeholder| field(name, label, placeholder, false, false);
    let needed = |name, label, placeholder| field(name, label, placeholder, false, true);
    let secret = |name, label| field(name, label, "", true, true);
    let may_be_secret = |name, label| field(name, label, "", true, false);
    match kind {
        "ntfy" => vec![
            shown("server", "Server", "https://ntfy.sh"),
            secret("topic", "Topic"),
            may_be_secret("token", "Access token"),
        ],
        "gotify" => vec![
            needed("server", "Server", "https://push.example.com"),
            secret("token", "Token of the application"),
        ],
        "discord" | "slack" => vec![secret("url", "Address of the webhook")],
        "telegram" => vec![
            needed("chat_id", "Chat", "-1001234567890"),
            secret("token", "Token of the bot"),
            shown("server", "Server", "https://api.telegram.org"),
        ],
        "email" => vec![
            needed("host", "Mail server", "smtp.example.com"),
            shown("port", "Port", "587"),
            Field { choices: ENCRYPTION, ..shown("encryption", "Encryption", "") },
            shown("username", "User name", ""),
            may_be_secret("password", "Password"),
            needed("from", "From", "lightship@example.com"),
            needed("to", "To", "ops@example.com, oncall@example.com"),
        ],
        _ => vec![
            secret("url", "Address that messages are posted to"),
            may_be_secret("authorization", "Authorization header"),
        ],
    }
}

fn topics(is_told: impl Fn(Topic) -> bool) -> Vec<Choice> {
    let choice =
        |topic: Topic| Choice { word: topic.as_str(), words: topic.in_words(), is_told: is_told(topic) };
    Topic::ALL.into_iter().map(choice).collect()
}

impl TargetForm {
    /// For a new target of a kind; none if there is no such kind.
    pub fn empty(kind: &str) -> Option<Self> {
        let kind = *KINDS.iter().find(|known| **known == kind)?;
        Some(Self {
            is_new: true,
            id: String::new(),
            name: String::new(),
            kind,
            title: title(kind),
            fields: fields(kind),
            topics: topics(|_| true),
            quiet_hours: String::new(),
        })
    }

    /// For a target that is there.
    pub fn of(target: &Target) -> Self {
        let kind = target.channel.kind();
        let shown = json!(target);
        let value = |name: &str| match (&target.channel, shown.get(name)) {
            (Channel::Email { to, .. }, _) if name == "to" => to.join(", "),
            (_, Some(Value::String(text))) => text.clone(),
            (_, Some(Value::Number(number))) => number.to_string(),
            _ => String::new(),
        };
        let filled = |field: Field| Field {
            value: if field.is_secret { String::new() } else { value(field.name) },
            // What is kept need not be written again.
            is_required: field.is_required && !field.is_secret,
            ..field
        };
        Self {
            is_new: false,
            id: target.id.to_string(),
            name: target.name.clone(),
            kind,
            title: title(kind),
            fields: fields(kind).into_iter().map(filled).collect(),
            topics: topics(|topic| target.about.as_ref().is_none_or(|about| about.contains(&topic))),
            quiet_hours: target.quiet_hours.map(|hours| hours.to_string()).unwrap_or_default(),
        }
    }

    /// What a browser sent, as it is shown again; secrets are not. None if its kind is none.
    pub fn posted(sent: &Map<String, Value>) -> Option<Self> {
        let text = |name: &str| sent.get(name).and_then(Value::as_str).unwrap_or_default().trim().to_owned();
        let is_new = text("is_known") != "yes";
        let form = Self::empty(&text("kind"))?;
        let filled = |field: Field| Field {
            value: if field.is_secret { String::new() } else { text(field.name) },
            is_required: field.is_required && (is_new || !field.is_secret),
            ..field
        };
        Some(Self {
            is_new,
            id: text("id"),
            name: text("name"),
            fields: form.fields.into_iter().map(filled).collect(),
            topics: topics(|topic| text(&format!("about-{}", topic.as_str())) == "yes"),
            quiet_hours: text("quiet_hours"),
            ..form
        })
    }

    /// Returns the target as the API takes it: what stands in the form, and what else a browser sent for its fields.
    pub fn body(&self, sent: &Map<String, Value>) -> Value {
        let mut body = Map::new();
        body.insert("kind".into(), json!(self.kind));
        body.insert("name".into(), json!(self.name));
        body.insert("quiet_hours".into(), json!(self.quiet_hours));
        for field in &self.fields {
            let text = sent.get(field.name).and_then(Value::as_str).unwrap_or_default().trim();
            if !text.is_empty() {
                body.insert(field.name.into(), json!(text));
            }
        }
        let told: Vec<&str> =
            self.topics.iter().filter(|topic| topic.is_told).map(|topic| topic.word).collect();
        if told.len() < self.topics.len() {
            body.insert("about".into(), json!(told));
        }
        Value::Object(body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::notify::read_target;

    fn sent(pairs: &[(&str, &str)]) -> Map<String, Value> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect()
    }

    #[test]
    fn every_kind_comes_out_of_the_form_as_it_went_in() {
        for (kind, more) in [
            ("webhook", &[("url", "https://hooks.example.com/a")][..]),
            ("ntfy", &[("server", "https://push.example.com"), ("topic", "t")]),
            ("gotify", &[("server", "https://push.example.com"), ("token", "t")]),
            ("discord", &[("url", "https://discord.com/api/webhooks/1/x")]),
            ("slack", &[("url", "https://hooks.slack.com/services/x")]),
            ("telegram", &[("chat_id", "-1001"), ("token", "1:a")]),
            (
                "email",
                &[
                    ("host", "smtp.example.com"),
                    ("port", "2525"),
                    ("encryption", "tls"),
                    ("username", "u"),
                    ("password", "p"),
                    ("from", "a@example.com"),
                    ("to", "b@example.com, c@example.com"),
                ],
            ),
        ] {
            let mut fields = sent(more);
            fields.extend(sent(&[
                ("kind", kind),
                ("id", "one"),
                ("name", "One"),
                ("about-conflict", "yes"),
                ("quiet_hours", "22:00-07:00"),
            ]));
            let form = TargetForm::posted(&fields).unwrap();
            let (target, secrets) =
                read_target(&form.id, form.body(&fields)).unwrap().complete(None).unwrap();
            assert_eq!(target.about, Some([Topic::Conflict].into()));
            let again = TargetForm::of(&target);
            assert_eq!(TargetForm { is_new: false, ..form }.topics, again.topics);
            assert!(again.fields.iter().all(|field| !field.is_secret || field.value.is_empty()), "{again:?}");
            // Sent again without its secrets, it is the same.
            let mut fields: Map<String, Value> =
                again.fields.iter().map(|field| (field.name.to_owned(), json!(field.value))).collect();
            fields.extend(sent(&[
                ("kind", kind),
                ("is_known", "yes"),
                ("id", "one"),
                ("name", "One"),
                ("about-conflict", "yes"),
                ("quiet_hours", "22:00-07:00"),
            ]));
            let form = TargetForm::posted(&fields).unwrap();
            let draft = read_target(&form.id, form.body(&fields)).unwrap();
            assert_eq!(
                draft.complete(Some((&target, secrets.clone()))).unwrap(),
                (target, secrets),
                "{kind}"
            );
        }
        assert_eq!(TargetForm::posted(&sent(&[("kind", "pager")])), None);
    }

    #[test]
    fn everything_ticked_is_everything_that_there_will_be() {
        let mut fields = sent(&[("kind", "slack"), ("id", "one"), ("url", "https://hooks.slack.com/x")]);
        let nothing = TargetForm::posted(&fields).unwrap();
        assert!(
            read_target("one", nothing.body(&fields)).unwrap_err().join(";").contains("`about` is empty")
        );
        fields.extend(Topic::ALL.map(|topic| (format!("about-{}", topic.as_str()), json!("yes"))));
        let all = TargetForm::posted(&fields).unwrap();
        let (target, _) = read_target("one", all.body(&fields)).unwrap().complete(None).unwrap();
        assert_eq!(target.about, None);
    }
}
