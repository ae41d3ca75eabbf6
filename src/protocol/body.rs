//! Reading JSON bodies that strangers wrote: bounded depth, and errors that say what to change.

use std::borrow::Cow;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::JSON_DEPTH_LIMIT;
use crate::domain::container::TooMuch;
use crate::domain::text::spell_out;

/// Why a body was refused. The texts name places and types, never values: a body may hold a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// Nothing, or an object without any field. The words are those a DockFlare Master answers.
    #[error("Empty payload.")]
    Empty,
    /// Not JSON at all.
    #[error("the body is not JSON: {reason} at line {line} column {column}; send one JSON object")]
    NotJson {
        /// What the parser stumbled over.
        reason: &'static str,
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
    },
    /// Nested too deeply.
    #[error(
        "the body is nested more than {JSON_DEPTH_LIMIT} levels deep; send objects and lists of at most that depth"
    )]
    TooDeep,
    /// JSON, but not an object.
    #[error("the body is {found}; send a JSON object")]
    NotAnObject {
        /// What it is, with its article.
        found: &'static str,
    },
    /// A field of another type than the route takes.
    #[error("field `{field}` is {found}; send {expected}")]
    Field {
        /// Its name, with dots.
        field: &'static str,
        /// What it is, with its article.
        found: &'static str,
        /// What it should be, with its article.
        expected: &'static str,
    },
    /// A field whose value is not allowed.
    #[error("field `{field}` is not allowed: {reason}")]
    Value {
        /// Its name, with dots.
        field: &'static str,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// More than is kept of one agent.
    #[error("field `{field}` is not allowed: {reason}")]
    TooMuch {
        /// Its name, with dots.
        field: &'static str,
        /// What there is too much of.
        reason: TooMuch,
    },
    /// The shape does not fit. The text names the field, and what to send.
    #[error("{0}")]
    Shape(String),
}

impl BodyError {
    /// Stable identifier for clients that read `code`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Empty => "empty_payload",
            Self::NotJson { .. } => "invalid_json",
            Self::TooDeep => "json_too_deep",
            Self::TooMuch { .. } => "too_much",
            Self::NotAnObject { .. } | Self::Field { .. } | Self::Value { .. } | Self::Shape(_) => {
                "invalid_body"
            }
        }
    }
}

/// Parses `body`, at most [`JSON_DEPTH_LIMIT`] levels deep. Its texts have no NUL, see [`without_nul`].
pub fn parse(body: &[u8]) -> Result<Value, BodyError> {
    check_depth(body)?;
    serde_json::from_slice(&with_nul_replaced(body)).map_err(|e| not_json(&e))
}

/// Puts the replacement character in the place of each NUL: not every database stores it, and nobody means it.
pub fn without_nul(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// [`without_nul`] for all texts of a JSON document, in which a NUL can only be spelled out.
fn with_nul_replaced(json: &[u8]) -> Cow<'_, [u8]> {
    const NUL: &[u8] = br"\u0000";
    if !json.windows(NUL.len()).any(|six| six == NUL) {
        return Cow::Borrowed(json);
    }
    let mut replaced = json.to_vec();
    let mut at = 0;
    while at < replaced.len() {
        let is_escape = replaced[at] == b'\\';
        if is_escape && replaced[at..].starts_with(NUL) {
            replaced[at..at + NUL.len()].copy_from_slice(br"\ufffd");
        }
        // What follows a backslash is no backslash of its own.
        at += if is_escape { 2 } else { 1 };
    }
    Cow::Owned(replaced)
}

/// Parses `body`, which must be an object.
pub fn parse_object(body: &[u8]) -> Result<Map<String, Value>, BodyError> {
    match parse(body)? {
        Value::Object(map) => Ok(map),
        other => Err(BodyError::NotAnObject { found: type_name(&other) }),
    }
}

/// Parses `body` into `T`, at most [`JSON_DEPTH_LIMIT`] levels deep.
pub fn parse_as<T: DeserializeOwned>(body: &[u8]) -> Result<T, BodyError> {
    shaped(parse(body)?)
}

/// Reads what was parsed into `T`.
pub fn shaped<T: DeserializeOwned>(parsed: Value) -> Result<T, BodyError> {
    serde_path_to_error::deserialize(parsed).map_err(|error| {
        let path: String = spell_out(&error.path().to_string()).chars().take(100).collect();
        BodyError::Shape(misshapen(&path, &error.inner().to_string()))
    })
}

/// Says what is wrong at `path`. The parser's own words quote what was sent: only what it expected is taken of them.
fn misshapen(path: &str, words: &str) -> String {
    let place = if path == "." { "the body".to_owned() } else { format!("field `{path}`") };
    if let Some(field) = words.strip_prefix("missing field ") {
        let within = if path == "." { String::new() } else { format!("{path}.") };
        return format!("field `{within}{}` is missing", field.trim_matches('`'));
    }
    if let Some((_, known)) = words.strip_prefix("unknown field ").and_then(|rest| rest.split_once(", ")) {
        let known = known.trim_start_matches("expected ").trim_start_matches("one of ").replace(" or ", ", ");
        return format!("{place} is not known; those that are: {known}");
    }
    let expected = match words.rsplit_once(", expected ").map(|(_, expected)| expected) {
        None => return format!("{place} is not allowed"),
        Some(expected) if expected.starts_with("struct ") => "an object",
        Some("a sequence") => "a list",
        Some("a map") => "an object",
        Some("u32" | "u64" | "usize" | "i64") => "a whole number",
        Some(expected) => expected,
    };
    let found = words.split_once(": ").map_or("", |(_, found)| found);
    let kinds = [
        ("string", "a string"),
        ("sequence", "a list"),
        ("map", "an object"),
        ("boolean", "a boolean"),
        ("integer", "a number"),
        ("floating point", "a number"),
        ("null", "null"),
        ("unit", "null"),
    ];
    let found =
        kinds.iter().find(|(kind, _)| found.starts_with(kind)).map_or("not allowed", |(_, name)| name);
    format!("{place} is {found}; send {expected}")
}

/// Names the type of `value`, with its article.
pub fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// Returns the text in `field`; `None` if it is absent, null or blank.
pub fn optional_text(map: &Map<String, Value>, field: &'static str) -> Result<Option<String>, BodyError> {
    match map.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.trim().is_empty() => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.trim().to_owned())),
        Some(other) => Err(BodyError::Field { field, found: type_name(other), expected: "a string" }),
    }
}

fn not_json(e: &serde_json::Error) -> BodyError {
    let reason = if e.is_eof() { "it ends too early" } else { "unexpected character" };
    BodyError::NotJson { reason, line: e.line(), column: e.column() }
}

/// Counts brackets outside strings, so that a hostile body is refused before anything is built from it.
fn check_depth(body: &[u8]) -> Result<(), BodyError> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Err(BodyError::Empty);
    }
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for &byte in body {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'{' | b'[' => {
                depth += 1;
                if depth > JSON_DEPTH_LIMIT {
                    return Err(BodyError::TooDeep);
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn nested(levels: usize) -> Vec<u8> {
        format!("{}1{}", r#"{"a":"#.repeat(levels), "}".repeat(levels)).into_bytes()
    }

    #[test]
    fn a_nul_in_a_text_becomes_the_replacement_character() {
        for (sent, read) in [
            (r#"["a\u0000b"]"#, json!(["a\u{fffd}b"])),
            (r#"{"\u0000":"\u0000\u0000"}"#, json!({ "\u{fffd}": "\u{fffd}\u{fffd}" })),
            // A backslash and digits, and then a NUL behind a backslash.
            (r#"["\\u0000", "\\\u0000", "\"\u0000"]"#, json!(["\\u0000", "\\\u{fffd}", "\"\u{fffd}"])),
        ] {
            assert_eq!(parse(sent.as_bytes()), Ok(read), "{sent}");
        }
    }

    #[test]
    fn depth_is_counted_exactly() {
        assert!(parse(&nested(64)).is_ok());
        assert_eq!(parse(&nested(65)), Err(BodyError::TooDeep));
        assert_eq!(parse(&b"[".repeat(2_000_000)), Err(BodyError::TooDeep));
    }

    #[test]
    fn brackets_inside_strings_do_not_count() {
        let body = format!(r#"{{"a":"{}\"[[","b":1}}"#, "[{".repeat(500));
        assert!(parse_object(body.as_bytes()).is_ok());
    }

    #[test]
    fn errors_name_the_place_and_the_way_out() {
        let cases: [(&[u8], &str, &str); 5] = [
            (b"", "empty_payload", "Empty payload."),
            (
                br#"{"type": heart"#,
                "invalid_json",
                "the body is not JSON: unexpected character at line 1 column 10; send one JSON object",
            ),
            (
                br#"{"type":"#,
                "invalid_json",
                "the body is not JSON: it ends too early at line 1 column 8; send one JSON object",
            ),
            (b"[1,2]", "invalid_body", "the body is a list; send a JSON object"),
            (b"null", "invalid_body", "the body is null; send a JSON object"),
        ];
        for (body, code, text) in cases {
            let error = parse_object(body).unwrap_err();
            assert_eq!((error.code(), error.to_string().as_str()), (code, text));
        }
    }

    #[test]
    fn a_wrong_shape_is_named_by_its_place_and_never_by_its_value() {
        #[derive(Debug, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        #[allow(dead_code, reason = "only read")]
        struct Order {
            owner: Option<String>,
            #[serde(default)]
            parts: Vec<Part>,
        }
        #[derive(Debug, serde::Deserialize)]
        #[allow(dead_code, reason = "only read")]
        struct Part {
            count: u64,
            size: Size,
        }
        #[derive(Debug, serde::Deserialize)]
        #[serde(rename_all = "snake_case")]
        enum Size {
            Small,
            Large,
        }
        for (body, text) in [
            (r#""secret""#, "the body is a string; send an object"),
            (r#"{"owner": 5}"#, "field `owner` is a number; send a string"),
            (r#"{"owner": ["secret"]}"#, "field `owner` is a list; send a string"),
            (r#"{"parts": "secret, expected b"}"#, "field `parts` is a string; send a list"),
            (
                r#"{"parts": [{"count": "secret"}]}"#,
                "field `parts[0].count` is a string; send a whole number",
            ),
            (r#"{"parts": [{"count": null}]}"#, "field `parts[0].count` is null; send a whole number"),
            (r#"{"parts": [{"count": 1}]}"#, "field `parts[0].size` is missing"),
            (r#"{"owners": 1}"#, "field `owners` is not known; those that are: `owner`, `parts`"),
            (
                r#"{"parts": [{"count": 1, "size": "secret"}]}"#,
                "field `parts[0].size` is not allowed; send `small` or `large`",
            ),
        ] {
            assert_eq!(parse_as::<Order>(body.as_bytes()).unwrap_err().to_string(), text, "{body}");
        }
    }

    #[test]
    fn bytes_that_are_not_utf8_are_refused() {
        assert_eq!(parse(b"{\"a\":\"\xff\"}").unwrap_err().code(), "invalid_json");
    }
}
