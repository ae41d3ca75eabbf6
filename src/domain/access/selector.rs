//! One condition of a policy, in Cloudflare's own JSON.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::super::hostname::{is_wildcard, parse_hostname};
use super::super::text::{is_hidden, repeated};
use super::options::check_name;

/// Most bytes of a condition that we do not know.
const MAX_OTHER: usize = 8 << 10;
/// How deep what we do not know may be nested: it has to fit into records that are nested themselves.
const MAX_DEPTH: usize = 16;
/// Most bytes of an e-mail address.
const MAX_EMAIL: usize = 320;

/// Whom a rule of a policy is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Map<String, Value>", into = "Map<String, Value>")]
pub enum Selector {
    /// One address.
    Email(String),
    /// Every address of a domain.
    EmailDomain(String),
    /// An address or a range of the network.
    Ip(String),
    /// A country, by its two letters.
    Country(String),
    /// Whoever signs in with an identity provider, by its id or name.
    IdentityProvider(String),
    /// A service token, by its id or name.
    ServiceToken(String),
    /// Any service token of the account.
    AnyServiceToken,
    /// Everybody.
    Everyone,
    /// The address of whoever owns the account: ours alone, put in its place before anything is sent.
    AccountOwner,
    /// What Cloudflare knows and we do not: passed on as it is.
    Other(Map<String, Value>),
}

/// A kind that holds one text: the kind, its field, and what is made of it.
type TextKind = (&'static str, &'static str, fn(String) -> Selector);

const TEXTS: [TextKind; 6] = [
    ("email", "email", Selector::Email),
    ("email_domain", "domain", Selector::EmailDomain),
    ("ip", "ip", Selector::Ip),
    ("geo", "country_code", Selector::Country),
    ("login_method", "id", Selector::IdentityProvider),
    ("service_token", "token_id", Selector::ServiceToken),
];

impl TryFrom<Map<String, Value>> for Selector {
    type Error = String;

    fn try_from(map: Map<String, Value>) -> Result<Self, String> {
        let mut fields = map.iter();
        let (Some((kind, inner)), None) = (fields.next(), fields.next()) else {
            return Err(format!(
                "a rule has exactly one key, as in `{{\"email\":{{\"email\":\"a@example.com\"}}}}`, and this one has {}",
                map.len()
            ));
        };
        let Some(inner) = inner.as_object() else {
            return Err(format!("`{}` of a rule must hold an object", repeated(kind)));
        };
        if let Some((kind, field, make)) = TEXTS.into_iter().find(|(known, ..)| known == kind) {
            return match inner.get(field).and_then(Value::as_str) {
                Some(text) if inner.len() == 1 => Ok(make(text.to_owned())),
                _ => Err(format!("`{kind}` of a rule holds one text, `{field}`, and nothing else")),
            };
        }
        match (kind.as_str(), inner.is_empty()) {
            ("everyone", true) => Ok(Self::Everyone),
            ("any_valid_service_token", true) => Ok(Self::AnyServiceToken),
            ("account_owner", true) => Ok(Self::AccountOwner),
            ("everyone" | "any_valid_service_token" | "account_owner", false) => {
                Err(format!("`{kind}` of a rule holds nothing: write `{{\"{kind}\":{{}}}}`"))
            }
            _ => Ok(Self::Other(map)),
        }
    }
}

impl From<Selector> for Map<String, Value> {
    fn from(selector: Selector) -> Self {
        let one = |kind: &str, inner: Map<String, Value>| Map::from_iter([(kind.to_owned(), inner.into())]);
        let text = |kind: &str, field: &str, text: String| {
            one(kind, Map::from_iter([(field.to_owned(), text.into())]))
        };
        match selector {
            Selector::Email(email) => text("email", "email", email),
            Selector::EmailDomain(domain) => text("email_domain", "domain", domain),
            Selector::Ip(ip) => text("ip", "ip", ip),
            Selector::Country(code) => text("geo", "country_code", code),
            Selector::IdentityProvider(id) => text("login_method", "id", id),
            Selector::ServiceToken(id) => text("service_token", "token_id", id),
            Selector::AnyServiceToken => one("any_valid_service_token", Map::new()),
            Selector::Everyone => one("everyone", Map::new()),
            Selector::AccountOwner => one("account_owner", Map::new()),
            Selector::Other(map) => map,
        }
    }
}

impl Selector {
    /// Returns what is wrong with it, and what to write.
    pub fn check(&self) -> Result<(), String> {
        match self {
            Self::Email(email) => check_email(email),
            Self::EmailDomain(domain) => check_domain(domain),
            Self::Ip(ip) if network(ip).is_none() => Err(format!(
                "`{}` is no address of a network; write `203.0.113.7`, `203.0.113.0/24` or `2001:db8::/32`",
                repeated(ip)
            )),
            Self::Country(code) if code.len() != 2 || !code.bytes().all(|b| b.is_ascii_alphabetic()) => {
                Err(format!("`{}` is no country; write its two letters, such as `DE`", repeated(code)))
            }
            Self::IdentityProvider(name) => check_name("an identity provider", name),
            Self::ServiceToken(name) => check_name("a service token", name),
            Self::Other(map) => check_other(map),
            _ => Ok(()),
        }
    }

    /// Returns it as it is compared: spellings of one condition are the same.
    pub(super) fn in_one_form(self) -> Self {
        match self {
            Self::Email(email) => Self::Email(email.to_lowercase()),
            Self::EmailDomain(domain) => Self::EmailDomain(domain.to_lowercase()),
            Self::Country(code) => Self::Country(code.to_ascii_uppercase()),
            Self::Ip(ip) => Self::Ip(network(&ip).unwrap_or(ip)),
            other => other,
        }
    }
}

/// Fails if a text is no e-mail address of one person.
pub fn check_email(email: &str) -> Result<(), String> {
    let wrong = |reason: &str| Err(format!("`{}` is no e-mail address{reason}", repeated(email)));
    let Some((name, domain)) = email.rsplit_once('@') else { return wrong("; write `a@example.com`") };
    if name.is_empty() {
        return wrong(" but a domain; write `{\"email_domain\":{\"domain\":\"example.com\"}}`");
    }
    let is_odd = |c: char| c.is_whitespace() || is_hidden(c) || matches!(c, ',' | ';' | '@');
    if email.len() > MAX_EMAIL || name.contains(is_odd) || check_domain(domain).is_err() {
        return wrong("; write one address, such as `a@example.com`");
    }
    Ok(())
}

fn check_domain(domain: &str) -> Result<(), String> {
    match parse_hostname(domain) {
        Ok(name) if !is_wildcard(&name) => Ok(()),
        _ => Err(format!(
            "`{}` is no domain of e-mail addresses; write `example.com`, without `@` and `*`",
            repeated(domain)
        )),
    }
}

fn check_other(map: &Map<String, Value>) -> Result<(), String> {
    let kind = map.keys().next().map(|kind| repeated(kind)).unwrap_or_default();
    let written = serde_json::to_string(map).unwrap_or_default();
    if written.len() > MAX_OTHER {
        return Err(format!("a rule of the kind `{kind}` is longer than {MAX_OTHER} bytes"));
    }
    if !map.iter().all(|(name, value)| !name.contains(is_hidden) && is_plain(value, MAX_DEPTH)) {
        return Err(format!(
            "a rule of the kind `{kind}` holds characters that are not seen, or more than {MAX_DEPTH} levels"
        ));
    }
    Ok(())
}

/// True if a value can be kept and shown: no deeper than `depth`, and every text of it is seen.
fn is_plain(value: &Value, depth: usize) -> bool {
    match value {
        Value::String(text) => !text.contains(is_hidden),
        Value::Array(values) => depth > 0 && values.iter().all(|value| is_plain(value, depth - 1)),
        Value::Object(map) => {
            depth > 0
                && map.iter().all(|(name, value)| !name.contains(is_hidden) && is_plain(value, depth - 1))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => true,
    }
}

/// Returns the one form of an address or a range: `203.0.113.0/24`, and `203.0.113.7/32` for a single address.
fn network(text: &str) -> Option<String> {
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, Some(bits)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().ok()?;
    let width = if address.is_ipv4() { 32 } else { 128 };
    let bits: u32 = match bits {
        Some(bits) if bits.bytes().all(|b| b.is_ascii_digit()) => bits.parse().ok()?,
        Some(_) => return None,
        None => width,
    };
    if bits > width {
        return None;
    }
    let first = match address {
        IpAddr::V4(v4) => IpAddr::V4((u32::from(v4) & u32::MAX.checked_shl(32 - bits).unwrap_or(0)).into()),
        IpAddr::V6(v6) => {
            IpAddr::V6((u128::from(v6) & u128::MAX.checked_shl(128 - bits).unwrap_or(0)).into())
        }
    };
    Some(format!("{first}/{bits}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(value: Value) -> Result<Selector, String> {
        serde_json::from_value(value).map_err(|error: serde_json::Error| error.to_string())
    }

    #[test]
    fn every_kind_is_read_and_written_as_cloudflare_has_it() {
        for (value, expected) in [
            (json!({"email": {"email": "a@example.com"}}), Selector::Email("a@example.com".into())),
            (json!({"email_domain": {"domain": "example.com"}}), Selector::EmailDomain("example.com".into())),
            (json!({"ip": {"ip": "203.0.113.0/24"}}), Selector::Ip("203.0.113.0/24".into())),
            (json!({"geo": {"country_code": "DE"}}), Selector::Country("DE".into())),
            (json!({"login_method": {"id": "Google"}}), Selector::IdentityProvider("Google".into())),
            (json!({"service_token": {"token_id": "ci"}}), Selector::ServiceToken("ci".into())),
            (json!({"any_valid_service_token": {}}), Selector::AnyServiceToken),
            (json!({"everyone": {}}), Selector::Everyone),
            (json!({"account_owner": {}}), Selector::AccountOwner),
        ] {
            assert_eq!(read(value.clone()), Ok(expected.clone()), "{value}");
            assert_eq!(expected.check(), Ok(()));
            assert_eq!(serde_json::to_value(&expected).unwrap(), value);
        }
        for unknown in [
            json!({"github-organization": {"name": "acme", "identity_provider_id": "x"}}),
            json!({"group": {"id": "g"}}),
            json!({"certificate": {}}),
            json!({"made_tomorrow": {"deep": [{"er": 1.5}]}}),
        ] {
            let other = read(unknown.clone()).unwrap();
            assert!(matches!(other, Selector::Other(_)) && other.check().is_ok(), "{unknown}");
            assert_eq!(serde_json::to_value(other).unwrap(), unknown);
        }
    }

    #[test]
    fn what_is_no_rule_says_why() {
        for (value, words) in [
            (json!({}), "exactly one key"),
            (json!({"email": {"email": "a@b"}, "ip": {"ip": "::1"}}), "this one has 2"),
            (json!({"email": "a@example.com"}), "must hold an object"),
            (json!({"email": {}}), "one text, `email`"),
            (json!({"email": {"email": 1}}), "one text, `email`"),
            (json!({"login_method": {"id": "x", "also": 1}}), "nothing else"),
            (json!({"everyone": {"but": 1}}), "holds nothing"),
        ] {
            let said = read(value.clone()).unwrap_err();
            assert!(said.contains(words), "{value}: {said}");
        }
    }

    #[test]
    fn values_are_checked() {
        let deep = (0..20).fold(json!({}), |inner, _| json!({ "a": inner }));
        let other = |inner: Value| Selector::Other(Map::from_iter([("odd".to_owned(), inner)]));
        for (selector, words) in [
            (Selector::Email("a".into()), "no e-mail address"),
            (Selector::Email("@example.com".into()), "but a domain"),
            (Selector::Email("a@example.com,b@example.com".into()), "one address"),
            (Selector::Email("a b@example.com".into()), "one address"),
            (Selector::EmailDomain("@example.com".into()), "without `@`"),
            (Selector::EmailDomain("*.example.com".into()), "without `@` and `*`"),
            (Selector::EmailDomain(String::new()), "no domain"),
            (Selector::Ip("10.0.0.0/33".into()), "no address of a network"),
            (Selector::Ip("10.0.0.0/+8".into()), "no address of a network"),
            (Selector::Ip("10.0.0".into()), "no address of a network"),
            (Selector::Ip("::1/129".into()), "no address of a network"),
            (Selector::Country("Germany".into()), "two letters"),
            (Selector::Country("1D".into()), "two letters"),
            (Selector::IdentityProvider(" ".into()), "empty"),
            (Selector::ServiceToken("a\u{200b}".into()), "not seen"),
            (other(deep), "more than 16 levels"),
            (other(json!({"a": "x\u{0}"})), "not seen"),
            (other(json!({"a": "x".repeat(9_000)})), "longer than"),
        ] {
            let said = selector.check().unwrap_err();
            assert!(said.contains(words), "{selector:?}: {said}");
        }
    }

    #[test]
    fn spellings_of_one_condition_are_the_same() {
        for (one, other) in [
            (Selector::Email("A@Example.com".into()), Selector::Email("a@example.com".into())),
            (Selector::Country("de".into()), Selector::Country("DE".into())),
            (Selector::Ip("10.1.2.3".into()), Selector::Ip("10.1.2.3/32".into())),
            (Selector::Ip("10.1.2.3/8".into()), Selector::Ip("10.0.0.0/8".into())),
            (Selector::Ip("1.2.3.4/0".into()), Selector::Ip("0.0.0.0/0".into())),
            (Selector::Ip("2001:DB8:0::1".into()), Selector::Ip("2001:db8::1/128".into())),
            (Selector::Ip("::1/0".into()), Selector::Ip("::/0".into())),
        ] {
            assert_eq!(one.in_one_form(), other.in_one_form());
        }
        assert_ne!(
            Selector::Ip("10.0.0.0/8".into()).in_one_form(),
            Selector::Ip("10.0.0.0/9".into()).in_one_form()
        );
    }
}
