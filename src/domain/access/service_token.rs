//! Service tokens: what programs show instead of a sign-in.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer};

use super::super::id::{GroupId, ServiceTokenId};
use super::duration::parse_duration;
use super::group::Group;
use super::options::check_name;
use super::selector::Selector;

/// How long a token is good unless somebody says otherwise: a year, as at Cloudflare.
pub const TOKEN_DURATION: &str = "8760h";
/// The word for a token that does not end.
const FOREVER: &str = "forever";
/// A shorter life is a slip.
const SHORTEST: Duration = Duration::from_secs(60);

/// A service token.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ServiceToken {
    /// Its id.
    pub id: ServiceTokenId,
    /// What people call it; several may have the same name.
    #[serde(default)]
    pub name: String,
    /// What its programs send as `CF-Access-Client-Id`.
    #[serde(default)]
    pub client_id: String,
    /// How long it is good from when it was made, as Cloudflare writes it.
    #[serde(default)]
    pub duration: Option<String>,
    /// When it ends; none if it never does, or nobody says.
    #[serde(default, deserialize_with = "time_or_none")]
    pub expires_at: Option<DateTime<Utc>>,
    /// When it was last used; none if it never was, or nobody says.
    #[serde(default, deserialize_with = "time_or_none")]
    pub last_seen_at: Option<DateTime<Utc>>,
}

/// A time that cannot be read is no reason to lose a whole list.
fn time_or_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<DateTime<Utc>>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    Ok(text.and_then(|text| DateTime::parse_from_rfc3339(&text).ok()).map(|at| at.to_utc()))
}

/// A service token that is to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenDraft {
    /// What people will call it.
    pub name: String,
    /// How long it is good, as Cloudflare writes it.
    pub duration: String,
}

impl TokenDraft {
    /// Reads what a person wrote; without a length of time it is good for a year.
    pub fn read(name: &str, duration: Option<&str>) -> Result<Self, String> {
        let name = name.trim();
        check_name("the name of a service token", name)?;
        let duration = duration.map(str::trim).filter(|text| !text.is_empty()).unwrap_or(TOKEN_DURATION);
        if duration != FOREVER {
            let life = parse_duration(duration).map_err(|wrong| {
                format!("how long the token is good: {wrong}, `{TOKEN_DURATION}` for a year, or `{FOREVER}`")
            })?;
            if life < SHORTEST {
                return Err("how long the token is good: a minute (`1m`) or longer belongs here".to_owned());
            }
        }
        Ok(Self { name: name.to_owned(), duration: duration.to_owned() })
    }
}

impl ServiceToken {
    /// True if a rule or a person who writes this name means it, among others perhaps.
    pub fn is_called(&self, name: &str) -> bool {
        same_name(&self.name, name)
    }

    /// True if it was good until then and is not any more.
    pub fn is_expired(&self, now: DateTime<Utc>) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }

    /// Returns the groups of which a rule names it, by its id or its name.
    pub fn named_by<'g>(&self, groups: impl IntoIterator<Item = &'g Group>) -> Vec<GroupId> {
        let names_it = |selector: &Selector| match selector {
            Selector::ServiceToken(text) => text == self.id.as_str() || self.is_called(text),
            _ => false,
        };
        let is_in = |group: &&Group| {
            let policies = group.policies.iter();
            let mut all = policies
                .flat_map(|policy| policy.include.iter().chain(&policy.require).chain(&policy.exclude));
            all.any(names_it)
        };
        groups.into_iter().filter(is_in).map(|group| group.id.clone()).collect()
    }
}

/// True if rules mean the same by both names.
fn same_name(one: &str, other: &str) -> bool {
    one.trim().to_lowercase() == other.trim().to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::super::options::AppOptions;
    use super::super::policy::{Decision, PolicySpec};
    use super::*;

    fn token(text: &str) -> ServiceToken {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_token_is_read_whatever_of_it_is_missing() {
        let whole = token(
            r#"{"id":"t1","name":"ci","client_id":"c.access","duration":"8760h","expires_at":"2027-01-01T00:00:00Z","last_seen_at":null,"new":1}"#,
        );
        let at = DateTime::from_timestamp(1_798_761_600, 0).unwrap();
        assert_eq!(
            (whole.client_id.as_str(), whole.expires_at, whole.last_seen_at),
            ("c.access", Some(at), None)
        );
        assert!(!whole.is_expired(at - chrono::TimeDelta::seconds(1)) && whole.is_expired(at));
        let bare = token(r#"{"id":"t1","expires_at":"soon"}"#);
        assert_eq!((bare.name.as_str(), bare.expires_at, bare.is_expired(at)), ("", None, false));
    }

    #[test]
    fn what_a_person_writes_is_checked_before_anything_is_made() {
        for (name, duration, expected) in [
            (" ci ", None, Ok(("ci", "8760h"))),
            ("ci", Some(""), Ok(("ci", "8760h"))),
            ("ci", Some("24h"), Ok(("ci", "24h"))),
            ("ci", Some("forever"), Ok(("ci", "forever"))),
            ("", None, Err("name of a service token")),
            ("a\u{202e}b", None, Err("name of a service token")),
            ("ci", Some("1d"), Err("`d` is no unit here")),
            ("ci", Some("soon"), Err("`forever`")),
            ("ci", Some("0s"), Err("a minute")),
        ] {
            match (TokenDraft::read(name, duration), expected) {
                (Ok(draft), Ok(wanted)) => {
                    assert_eq!((draft.name.as_str(), draft.duration.as_str()), wanted);
                }
                (Err(reason), Err(words)) => assert!(reason.contains(words), "{reason}"),
                (read, expected) => panic!("{name:?} {duration:?}: {read:?}, expected {expected:?}"),
            }
        }
    }

    #[test]
    fn groups_name_a_token_by_its_id_or_its_name_in_any_part_of_a_policy() {
        let of = |rule: &str, place: usize| {
            let mut lists = [vec![Selector::Everyone], Vec::new(), Vec::new()];
            lists[place].push(Selector::ServiceToken(rule.into()));
            let [include, require, exclude] = lists;
            let policy =
                PolicySpec { name: None, decision: Decision::NonIdentity, include, require, exclude };
            let options = AppOptions::default();
            Group { id: GroupId::new(format!("{place}")), name: "x".into(), options, policies: vec![policy] }
        };
        let ci = token(r#"{"id":"t1","name":"CI"}"#);
        let names = |group: Group| !ci.named_by([&group]).is_empty();
        for (rule, expected) in [("t1", true), ("ci", true), (" Ci ", true), ("T1", false), ("cid", false)] {
            for place in 0..3 {
                assert_eq!(names(of(rule, place)), expected, "{rule} in list {place}");
            }
        }
    }
}
