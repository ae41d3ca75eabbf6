//! The record of decisions as people ask for it: which of them, and what one of them changed. The same parameters stand in
//! the address of the page, of the API and of what is exported.

use chrono::{DateTime, NaiveDate, NaiveDateTime, TimeDelta, Utc};
use serde::Deserialize;
use serde_json::{Value, json};
use url::form_urlencoded::Serializer;
use utoipa::IntoParams;

use super::error::ApiError;
use super::query::flag;
use crate::db::read::{Db, EventFilter, EventRow, find_earlier};
use crate::domain::activity::{Earlier, TOPICS, kinds_of};
use crate::domain::difference::Difference;
use crate::domain::event::all_types;
use crate::domain::text::repeated;

/// Which decisions.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, IntoParams)]
#[serde(default)]
pub struct Narrow {
    /// Only those of streams that begin so.
    stream: Option<String>,
    /// Only what this one decided.
    actor: Option<String>,
    /// Only what people decided, and not agents or the master itself.
    #[param(value_type = Option<bool>)]
    people: Option<String>,
    /// Only of this topic, such as `rules`, or of this type, such as `rule_set`.
    #[serde(rename = "type")]
    kind: Option<String>,
    /// Only those with this text in what they say, or in the name of their stream, in any case.
    name: Option<String>,
    /// Only from then on: a date, or a time as RFC 3339 has it; without a zone it is UTC.
    since: Option<String>,
    /// Only until then; a date is meant to its end.
    until: Option<String>,
}

impl Narrow {
    /// Returns it as the database takes it; fails if something in it means nothing.
    pub fn filter(&self) -> Result<EventFilter, ApiError> {
        let kind = said(&self.kind);
        let is_known =
            |word: &str| TOPICS.iter().any(|(topic, _)| *topic == word) || all_types().contains(word);
        if let Some(word) = kind.filter(|word| !is_known(word)) {
            let topics: Vec<String> = TOPICS.iter().map(|(topic, _)| format!("`{topic}`")).collect();
            return Err(ApiError::Invalid(format!(
                "query parameter `type` is not allowed: `{}` is no topic ({}) and no type of event",
                repeated(word),
                topics.join(", ")
            )));
        }
        Ok(EventFilter {
            stream_prefix: said(&self.stream).map(str::to_owned),
            actor: said(&self.actor).map(str::to_owned),
            people_only: flag("people", said(&self.people))?,
            kinds: kind.map(kinds_of).unwrap_or_default(),
            text: said(&self.name).map(str::to_owned),
            since: said(&self.since).map(|text| time("since", text, TimeDelta::zero())).transpose()?,
            until: said(&self.until).map(|text| time("until", text, LAST_OF_A_DAY)).transpose()?,
            ..EventFilter::default()
        })
    }

    /// True if not all of them are wanted.
    pub fn is_narrow(&self) -> bool {
        self.pairs().iter().any(|(_, value)| !value.is_empty())
    }

    /// Returns its parameters, those that say nothing too.
    pub fn pairs(&self) -> [(&'static str, &str); 7] {
        let text = |value| said(value).unwrap_or_default();
        [
            ("stream", text(&self.stream)),
            ("actor", text(&self.actor)),
            ("people", text(&self.people)),
            ("type", text(&self.kind)),
            ("name", text(&self.name)),
            ("since", text(&self.since)),
            ("until", text(&self.until)),
        ]
    }

    /// Returns the address at which `path` shows them.
    pub fn at(&self, path: &str, more: &[(&str, String)]) -> String {
        let mut query = Serializer::new(String::new());
        query.extend_pairs(self.pairs().iter().filter(|(_, value)| !value.is_empty()));
        query.extend_pairs(more);
        match query.finish() {
            query if query.is_empty() => path.to_owned(),
            query => format!("{path}?{query}"),
        }
    }
}

/// What is to be added to the beginning of a day that is meant to its end.
const LAST_OF_A_DAY: TimeDelta = TimeDelta::microseconds(86_400_000_000 - 1);

fn said(value: &Option<String>) -> Option<&str> {
    value.as_deref().map(str::trim).filter(|text| !text.is_empty())
}

fn time(name: &str, text: &str, within_day: TimeDelta) -> Result<DateTime<Utc>, ApiError> {
    let with_zone = || DateTime::parse_from_rfc3339(text).ok().map(|at| at.to_utc());
    let without = || {
        let forms = ["%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S"];
        let read = |form: &&str| NaiveDateTime::parse_from_str(text, form).ok();
        forms.iter().find_map(read).map(|at| at.and_utc())
    };
    let day = || {
        let day = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
        Some(day.and_hms_opt(0, 0, 0)?.and_utc() + within_day)
    };
    with_zone().or_else(without).or_else(day).filter(is_near).ok_or_else(|| {
        ApiError::Invalid(format!(
            "query parameter `{name}` is not allowed: send a date such as `2026-11-30`, or a time such as `2026-11-30T12:00:00Z`"
        ))
    })
}

/// Years far away cannot be compared with.
fn is_near(at: &DateTime<Utc>) -> bool {
    use chrono::Datelike;
    (1970..=9999).contains(&at.year())
}

/// A decision with what it took the place of.
pub struct Change {
    /// What was said of the thing before; none if the decision says of nothing how it is.
    pub earlier: Option<Earlier<EventRow>>,
    /// What is not as it was.
    pub differences: Vec<Difference>,
}

impl Change {
    /// Reads it.
    pub async fn read(db: &Db, row: &EventRow) -> Result<Self, ApiError> {
        let earlier = find_earlier(db, row).await.map_err(ApiError::internal)?;
        let differences = match &earlier {
            None | Some(Earlier::NotLookedUp) => row.event.changes(None),
            Some(Earlier::Nothing) => row.event.changes(None),
            Some(Earlier::Was(before)) => row.event.changes(Some(&before.event)),
        };
        Ok(Self { earlier, differences })
    }

    /// Returns the decision as the API has it.
    pub fn record(&self, row: &EventRow) -> Value {
        let (word, before) = match &self.earlier {
            None => ("not_asked", None),
            Some(Earlier::Nothing) => ("nothing", None),
            Some(Earlier::NotLookedUp) => ("not_looked_up", None),
            Some(Earlier::Was(before)) => ("known", Some(before)),
        };
        json!({ "event": row, "before_is": word, "before": before, "changes": self.differences })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn narrow(pairs: &[(&str, &str)]) -> Narrow {
        let object: serde_json::Map<String, Value> =
            pairs.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
        serde_json::from_value(Value::Object(object)).unwrap()
    }

    #[test]
    fn times_are_read_in_every_way_people_write_them() {
        for (text, since, until) in [
            ("2026-11-30", "2026-11-30T00:00:00Z", "2026-11-30T23:59:59.999999Z"),
            ("2026-11-30T12:30", "2026-11-30T12:30:00Z", "2026-11-30T12:30:00Z"),
            ("2026-11-30 12:30:05", "2026-11-30T12:30:05Z", "2026-11-30T12:30:05Z"),
            ("2026-11-30T12:30:00+02:00", "2026-11-30T10:30:00Z", "2026-11-30T10:30:00Z"),
        ] {
            let filter = narrow(&[("since", text), ("until", text)]).filter().unwrap();
            assert_eq!((filter.since, filter.until), (since.parse().ok(), until.parse().ok()), "{text}");
        }
        for odd in ["yesterday", "30.11.2026", "2026-13-01", "99999-01-01", "+262000-01-01T00:00:00Z"] {
            let error = narrow(&[("since", odd)]).filter().unwrap_err().to_string();
            assert!(error.contains("`since`") && error.contains("2026-11-30T12:00:00Z"), "{error}");
        }
    }

    #[test]
    fn a_topic_and_a_type_are_known_and_nothing_else_is() {
        let kinds = |word: &str| narrow(&[("type", word)]).filter().map(|filter| filter.kinds);
        assert_eq!(kinds("keys").unwrap(), ["key_", "token_"]);
        assert_eq!(kinds("rule_set").unwrap(), ["rule_set"]);
        assert!(kinds(" ").unwrap().is_empty());
        let error = kinds("rule_").unwrap_err().to_string();
        assert!(error.contains("`rule_` is no topic (`agents`, "), "{error}");
    }

    #[test]
    fn what_is_wanted_stands_in_the_address() {
        let wanted = narrow(&[("actor", "a&b"), ("name", " x y "), ("type", "")]);
        assert!(wanted.is_narrow() && !narrow(&[("name", " ")]).is_narrow());
        assert_eq!(
            wanted.at("/activity", &[("before", "7".into())]),
            "/activity?actor=a%26b&name=x+y&before=7"
        );
        assert_eq!(Narrow::default().at("/activity", &[]), "/activity");
    }
}
