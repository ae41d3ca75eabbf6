//! What stands behind the `?` of an address, read so that a refusal names the parameter.

use std::future::{Ready, ready};
use std::ops::RangeInclusive;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use utoipa::IntoParams;
use utoipa::openapi::path::{Parameter, ParameterIn};

use super::error::ApiError;
use crate::domain::text::spell_out;
use crate::protocol::body::shaped;

/// The parameters of an address; their types hold them as optional texts. Of one that is given twice the last counts.
pub struct Query<T>(pub T);

impl<T: DeserializeOwned + 'static> FromRequest for Query<T> {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(req: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(read(req.query_string()).map(Self))
    }
}

/// The parameters of one of our own lists: one that the list does not know is refused, because a list that is not narrowed
/// as it was asked looks like an answer.
pub struct KnownQuery<T>(pub T);

/// A list that has no parameters.
#[derive(Debug, Deserialize)]
pub struct NoParameters {}

impl IntoParams for NoParameters {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        Vec::new()
    }
}

impl<T: DeserializeOwned + IntoParams + 'static> FromRequest for KnownQuery<T> {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(req: &HttpRequest, _: &mut Payload) -> Self::Future {
        let known = T::into_params(|| None).into_iter().map(|parameter| parameter.name).collect::<Vec<_>>();
        let query = req.query_string();
        ready(must_know(query, &known).and_then(|()| read(query)).map(Self))
    }
}

fn must_know(query: &str, known: &[String]) -> Result<(), ApiError> {
    let asked = url::form_urlencoded::parse(query.as_bytes()).map(|(name, _)| name);
    let Some(unknown) =
        asked.into_iter().find(|name| !name.is_empty() && !known.iter().any(|one| one == name))
    else {
        return Ok(());
    };
    let listed = known.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let expected = if known.is_empty() { "there are none here".into() } else { format!("send {listed}") };
    let name: String = spell_out(&unknown).chars().take(MAX_NAME_CHARS).collect();
    Err(ApiError::Invalid(format!("query parameter `{name}` is not known: {expected}")))
}

/// Longest name of a parameter that is repeated.
const MAX_NAME_CHARS: usize = 60;

fn read<T: DeserializeOwned>(query: &str) -> Result<T, ApiError> {
    let pairs = url::form_urlencoded::parse(query.as_bytes())
        .map(|(name, value)| (name.into_owned(), Value::String(value.into_owned())));
    shaped(Value::Object(pairs.collect::<Map<_, _>>()))
        .map_err(|error| ApiError::Invalid(format!("the query cannot be read: {error}")))
}

/// Reads a whole number; one beyond `range` counts as the end of it, and none or a blank one as `absent`.
pub fn number(
    name: &str,
    text: Option<&str>,
    absent: u64,
    range: RangeInclusive<u64>,
) -> Result<u64, ApiError> {
    let asked = whole(name, text, &range)?;
    Ok(asked.map_or(absent, |asked| asked.clamp(*range.start(), *range.end())))
}

/// Reads a whole number; one beyond `range` is refused, and none or a blank one counts as `absent`.
pub fn number_within(
    name: &str,
    text: Option<&str>,
    absent: u64,
    range: RangeInclusive<u64>,
) -> Result<u64, ApiError> {
    match whole(name, text, &range)? {
        None => Ok(absent),
        Some(asked) if range.contains(&asked) => Ok(asked),
        Some(_) => Err(no_number(name, &range)),
    }
}

fn whole(name: &str, text: Option<&str>, range: &RangeInclusive<u64>) -> Result<Option<u64>, ApiError> {
    let Some(text) = text.map(str::trim).filter(|text| !text.is_empty()) else { return Ok(None) };
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(no_number(name, range));
    }
    // Digits that do not fit are a very large number.
    Ok(Some(text.parse().unwrap_or(u64::MAX)))
}

fn no_number(name: &str, range: &RangeInclusive<u64>) -> ApiError {
    let most = match *range.end() {
        u64::MAX => String::new(),
        most => format!(" up to {most}"),
    };
    let expected = format!("send a whole number from {}{most}", range.start());
    ApiError::Invalid(format!("query parameter `{name}` is not allowed: {expected}"))
}

/// Reads yes or no; none is no.
pub fn flag(name: &str, text: Option<&str>) -> Result<bool, ApiError> {
    match text.map(str::trim) {
        None | Some("" | "false" | "0") => Ok(false),
        Some("true" | "1") => Ok(true),
        Some(_) => {
            Err(ApiError::Invalid(format!("query parameter `{name}` is not allowed: send `true` or `false`")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    struct Asked {
        wait: Option<String>,
    }

    #[test]
    fn numbers_are_kept_in_range_and_what_is_none_is_named() {
        for (text, expected) in [
            (None, 7),
            (Some(""), 7),
            (Some(" 3 "), 3),
            (Some("0"), 1),
            (Some("51"), 50),
            (Some("99999999999999999999999"), 50),
        ] {
            assert_eq!(number("wait", text, 7, 1..=50).unwrap(), expected, "{text:?}");
        }
        for text in ["abc", "-1", "1.5", "0x10", "5s", "٣", "1 2"] {
            let error = number("wait", Some(text), 0, 0..=50).unwrap_err().to_string();
            assert_eq!(error, "query parameter `wait` is not allowed: send a whole number from 0 up to 50");
        }
        for text in ["0", "51", "99999999999999999999999", "x"] {
            let error = number_within("limit", Some(text), 7, 1..=50).unwrap_err().to_string();
            assert_eq!(error, "query parameter `limit` is not allowed: send a whole number from 1 up to 50");
        }
        for (text, expected) in [(None, 7), (Some(""), 7), (Some("1"), 1), (Some("50"), 50)] {
            assert_eq!(number_within("limit", text, 7, 1..=50).unwrap(), expected);
        }
        let error = number("after", Some("x"), 0, 0..=u64::MAX).unwrap_err().to_string();
        assert!(error.ends_with("send a whole number from 0"), "{error}");
    }

    #[test]
    fn flags_are_true_or_false() {
        assert!(flag("newest", Some("1")).unwrap() && flag("newest", Some("true")).unwrap());
        assert!(!flag("newest", None).unwrap() && !flag("newest", Some("false")).unwrap());
        assert!(flag("newest", Some("maybe")).unwrap_err().to_string().contains("`newest`"));
    }

    #[test]
    fn a_parameter_that_a_list_does_not_know_is_named_with_those_that_it_does() {
        let known = ["agent", "state"].map(str::to_owned);
        for query in ["", "agent=a&state=b", "agent=a&agent=b", "&&=", "state"] {
            assert!(must_know(query, &known).is_ok(), "{query}");
        }
        for (query, name) in
            [("agnet=a", "agnet"), ("state=x&Agent=a", "Agent"), ("%1b%5b=1", "\\u{1b}["), ("limit", "limit")]
        {
            let error = must_know(query, &known).unwrap_err().to_string();
            assert_eq!(
                error,
                format!("query parameter `{name}` is not known: send `agent`, `state`"),
                "{query}"
            );
        }
        let none = must_know("x=1", &[]).unwrap_err().to_string();
        assert_eq!(none, "query parameter `x` is not known: there are none here");
        assert!(must_know(&"x".repeat(9_000), &[]).unwrap_err().to_string().len() < 200);
    }

    #[test]
    fn odd_queries_are_read() {
        for (query, expected) in [
            ("", None),
            ("other=1", None),
            ("wait=1&wait=2", Some("2")),
            ("wait=%ff%00", Some("\u{fffd}\0")),
            ("&&=&wait", Some("")),
        ] {
            assert_eq!(read::<Asked>(query).unwrap().wait.as_deref(), expected, "{query}");
        }
    }
}
