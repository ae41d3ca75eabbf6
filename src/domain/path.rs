//! Paths of routes, and the regular expressions that stand for them in an ingress configuration.
//!
//! A path means itself and all that lies below it: `/api` is `/api`, `/api/` and `/api/users`, never
//! `/apis`. The connector matches a Go regular expression against the decoded path of the request, not
//! anchored; so ours is escaped, anchored in front and ended on a segment boundary: `^/api(/|$)`.

use std::borrow::Cow;

use regex::Regex;

use super::text::is_hidden;

/// Most bytes of a path.
const MAX_PATH: usize = 1024;
/// What has a meaning in a regular expression, in Go's and in Rust's.
const META: &str = r"\.+*?()|[]{}^$";

/// What a regular expression begins with that a person gives in the place of a path: it is written as it is.
pub const EXPRESSION: char = '~';

/// True if a kept path is a regular expression.
pub fn is_expression(path: &str) -> bool {
    path.starts_with(EXPRESSION)
}

/// Returns the form in which the expression of a rule is kept: a path, if that is written in just this way.
pub fn kept_path(pattern: &str) -> String {
    match plain_path(pattern).filter(|path| path_regex(path).as_deref() == Some(pattern)) {
        _ if pattern.is_empty() => String::new(),
        Some(path) => path,
        None => format!("{EXPRESSION}{pattern}"),
    }
}

/// Why a text is not a path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// Too long.
    #[error("the path is longer than {MAX_PATH} bytes")]
    TooLong,
    /// Part of a URL that is no path.
    #[error("`{0}` does not belong in a path; write the path alone, such as `/api`")]
    NotAPath(char),
    /// A character that nobody sees.
    #[error("the path holds a control character or one that is not seen")]
    Hidden,
    /// A regular expression, or the beginnings of one.
    #[error(
        "`{0}` is the sign of a regular expression, and a path is taken as it is written; write the path alone, such as \
         `{1}`: it covers all that is below it, and several paths are several numbered routes"
    )]
    Expression(&'static str, String),
    /// Several paths in one text.
    #[error("a route has one path; give each path a numbered route of its own")]
    Several,
    /// An escape sequence of a URL.
    #[error("`{0}` is an escape sequence; write the character itself, requests are compared decoded")]
    Escaped(String),
    /// The habit of ending a pattern with a star.
    #[error("a path covers all that is below it, so leave out the `/{0}` at its end")]
    Star(&'static str),
}

/// Returns the one form in which a path is kept: empty, or `/` and more, without a slash at the end.
pub fn normalise_path(text: &str) -> Result<String, PathError> {
    let text = text.trim();
    if text.len() > MAX_PATH {
        return Err(PathError::TooLong);
    }
    if text.chars().any(is_hidden) {
        return Err(PathError::Hidden);
    }
    if let Some(bad) = text.chars().find(|c| matches!(c, '?' | '#')) {
        return Err(PathError::NotAPath(bad));
    }
    if let Some(escape) = find_escape(text) {
        return Err(PathError::Escaped(escape));
    }
    let inner = text.trim_matches(|c: char| c == '/' || c.is_whitespace());
    for star in [".*", "*"] {
        if inner.rsplit('/').next() == Some(star) {
            return Err(PathError::Star(star));
        }
    }
    if let Some(sign) = find_sign(inner) {
        let plain = plain_path(text).filter(|path| !path.is_empty()).unwrap_or_else(|| "/api".to_owned());
        return Err(PathError::Expression(sign, plain));
    }
    // Of what is kept, and not of what was written: that has to read back as it is.
    let kept = if inner.is_empty() { String::new() } else { format!("/{inner}") };
    if kept.split([',', ';', ' ']).filter(|part| part.trim().starts_with('/')).count() > 1 {
        return Err(PathError::Several);
    }
    Ok(kept)
}

/// Finds what a path never holds and an expression does. A URL writes most of these characters encoded; those that it
/// may write (`.`, `+`, `(`, `$`, `*`) count only where they can mean nothing else.
fn find_sign(inner: &str) -> Option<&'static str> {
    ["^", "\\", "|", "[", "]", "{", "}", "*", ".+", ")+"]
        .into_iter()
        .find(|sign| inner.contains(sign))
        .or_else(|| inner.ends_with('$').then_some("$"))
        .or_else(|| inner.split('/').any(|segment| segment.starts_with('(')).then_some("("))
}

fn find_escape(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    bytes
        .windows(3)
        .find(|w| w[0] == b'%' && w[1].is_ascii_hexdigit() && w[2].is_ascii_hexdigit())
        .map(|w| w.iter().map(|b| char::from(*b)).collect())
}

/// Returns the expression that stands for a kept path; `None` for the whole host.
pub fn path_regex(path: &str) -> Option<String> {
    if path.is_empty() {
        return None;
    }
    if let Some(pattern) = path.strip_prefix(EXPRESSION) {
        return Some(pattern.to_owned());
    }
    let mut pattern = String::with_capacity(path.len() + 8);
    pattern.push('^');
    for c in path.chars() {
        if META.contains(c) {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern.push_str("(/|$)");
    Some(pattern)
}

/// Says whether a kept path is another one or lies below it.
pub fn lies_within(path: &str, parent: &str) -> bool {
    path.strip_prefix(parent).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Returns which of the kept paths of one name takes a request for `asked`: the longest path that it lies within, else an
/// expression that matches it, else the whole host.
pub fn path_that_takes<'a>(kept: impl IntoIterator<Item = &'a str>, asked: &str) -> Option<&'a str> {
    let (mut expressions, paths): (Vec<&str>, Vec<&str>) =
        kept.into_iter().partition(|path| is_expression(path));
    if let Some(exact) = expressions.iter().find(|one| **one == asked) {
        return Some(exact);
    }
    expressions.sort_by_key(|one| (std::cmp::Reverse(one.len()), *one));
    let longest = paths.into_iter().filter(|path| lies_within(asked, path)).max_by_key(|path| path.len());
    let by_path = longest.filter(|path| !path.is_empty());
    by_path.or_else(|| expressions.into_iter().find(|one| matches(one, asked))).or(longest)
}

fn matches(expression: &str, path: &str) -> bool {
    let pattern = expression.strip_prefix(EXPRESSION).unwrap_or(expression);
    let read = regex::RegexBuilder::new(pattern).size_limit(1 << 20).build();
    read.is_ok_and(|read| read.is_match(path))
}

/// True if some request might be for both of two kept paths; of expressions that cannot be compared it might.
pub fn may_share_requests(one: &str, other: &str) -> bool {
    if !is_expression(one) && !is_expression(other) {
        return lies_within(one, other) || lies_within(other, one);
    }
    match (beginning(one), beginning(other)) {
        (Some(one), Some(other)) => one.starts_with(&*other) || other.starts_with(&*one),
        _ => true,
    }
}

/// Returns what every request of a kept path begins with; none if that cannot be told.
fn beginning(path: &str) -> Option<Cow<'_, str>> {
    match path.strip_prefix(EXPRESSION) {
        None => Some(Cow::Borrowed(path)),
        Some(pattern) => anchored_literal(pattern).map(Cow::Owned),
    }
}

/// Returns the path that somebody else's expression means, if it is a plain one.
///
/// Reads what DockFlare and people write for "this path and below": `/api`, `^/api/`, `/api/.*`,
/// `^/api(/|$)`. Only rules whose meaning is the same as ours may be compared with ours; an expression that
/// is anything more gives `None`.
pub fn plain_path(pattern: &str) -> Option<String> {
    let whole = pattern.strip_prefix('^').unwrap_or(pattern);
    let body = ["(/|$)", "(/.*)?$", "(/.*)?", "/.*$", "/.*", ".*$", ".*"]
        .iter()
        .find_map(|end| whole.strip_suffix(end))
        .unwrap_or(whole);
    if body.is_empty() && !whole.is_empty() {
        return Some(String::new());
    }
    if !body.starts_with('/') {
        return None;
    }
    let (literal, rest) = literal_prefix(body);
    rest.is_empty().then(|| normalise_path(&literal).ok()).flatten()
}

/// Splits an expression into the literal text it begins with and the rest.
///
/// The last literal character goes to the rest if an operator such as `?` applies to it.
fn literal_prefix(pattern: &str) -> (String, &str) {
    let mut literal = String::new();
    let mut rest = pattern;
    let mut before_last = pattern;
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        let here = match c {
            '\\' => chars.next().filter(|next| next.is_ascii_punctuation()),
            _ if META.contains(c) => None,
            _ => Some(c),
        };
        let Some(here) = here else { break };
        before_last = rest;
        literal.push(here);
        rest = chars.as_str();
    }
    if rest.starts_with(['?', '*', '+', '{']) && !literal.is_empty() {
        literal.pop();
        return (literal, before_last);
    }
    (literal, rest)
}

/// Returns the text that all begins with what an expression matches; none if it may begin anywhere.
fn anchored_literal(pattern: &str) -> Option<String> {
    let body = pattern.strip_prefix('^').filter(|body| !has_outer_alternative(body))?;
    Some(literal_prefix(body).0)
}

/// Says whether a `|` stands outside all brackets: it is not bound to the text in front of it.
fn has_outer_alternative(pattern: &str) -> bool {
    let mut depth = 0_u32;
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => drop(chars.next()),
            '[' => chars = behind_set(chars.as_str()).chars(),
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            '|' if depth == 0 => return true,
            _ => {}
        }
    }
    false
}

/// Returns what follows a set of characters, of which the `[` was read. Brackets within mean themselves.
fn behind_set(text: &str) -> &str {
    let text = text.strip_prefix('^').unwrap_or(text);
    let mut chars = text.strip_prefix(']').unwrap_or(text).chars();
    while let Some(c) = chars.next() {
        let rest = chars.as_str();
        match c {
            '\\' => drop(chars.next()),
            '[' => {
                let class = rest.strip_prefix(':').and_then(|rest| rest.split_once(":]"));
                chars = class.map_or(rest, |(_, rest)| rest).chars();
            }
            ']' => return rest,
            _ => {}
        }
    }
    ""
}

/// A path expression of any origin, made ready for comparing it with others.
#[derive(Debug, Clone)]
pub struct PathPattern {
    text: String,
    regex: Option<Regex>,
    anchored_literal: Option<String>,
}

impl PathPattern {
    /// Reads an expression; one that the connector would refuse is kept and covers nothing.
    pub fn new(text: &str) -> Self {
        let regex = regex::RegexBuilder::new(text).size_limit(1 << 20).build().ok();
        Self { text: text.to_owned(), regex, anchored_literal: anchored_literal(text) }
    }

    /// Says whether all requests of a kept, non-empty `path` match this expression.
    ///
    /// Two probes stand for all; this is exact for prefixes, and as good as can be had for the rest.
    pub fn covers_path(&self, path: &str) -> bool {
        self.regex.as_ref().is_some_and(|regex| {
            regex.is_match(path)
                && regex.is_match(&format!("{path}/"))
                && regex.is_match(&format!("{path}/x0"))
        })
    }

    /// Says whether all that this expression matches lies at or below a kept, non-empty `path`.
    pub fn is_below(&self, path: &str) -> bool {
        if path_regex(path).as_deref() == Some(self.text.as_str()) {
            return true;
        }
        let Some(literal) = &self.anchored_literal else { return false };
        literal.strip_prefix(path).is_some_and(|rest| rest.starts_with('/'))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn spellings_of_one_path_are_one_route() {
        for text in ["/api", "api", "api/", "/api/", "//api//", " /api "] {
            assert_eq!(normalise_path(text).as_deref(), Ok("/api"), "{text}");
        }
        for text in ["", "/", "//", " "] {
            assert_eq!(normalise_path(text).as_deref(), Ok(""), "{text}");
        }
        assert_eq!(normalise_path("a/b.c/d").as_deref(), Ok("/a/b.c/d"));
    }

    #[test]
    fn a_path_lies_within_itself_and_whatever_is_in_front_of_a_segment() {
        for (path, parent, expected) in [
            ("/api", "", true),
            ("", "", true),
            ("/api", "/api", true),
            ("/api/v1", "/api", true),
            ("/apis", "/api", false),
            ("/api", "/api/v1", false),
            ("", "/api", false),
        ] {
            assert_eq!(lies_within(path, parent), expected, "{path} {parent}");
        }
    }

    #[test]
    fn what_is_not_a_path_is_refused_with_its_reason() {
        for (text, why) in [
            ("/a?b=c", PathError::NotAPath('?')),
            ("/a#b", PathError::NotAPath('#')),
            ("/a\nb", PathError::Hidden),
            ("/a\u{202e}b", PathError::Hidden),
            ("/a%20b", PathError::Escaped("%20".into())),
            ("/api/*", PathError::Star("*")),
            ("/api/.*", PathError::Star(".*")),
            (&"x".repeat(2000), PathError::TooLong),
        ] {
            assert_eq!(normalise_path(text), Err(why), "{text}");
        }
    }

    #[test]
    fn an_expression_is_refused_with_the_path_it_means() {
        for (text, sign, plain) in [
            ("^/(api|ws)", "^", "/api"),
            (r"\.(jpg|png)$", "\\", "/api"),
            ("/v[0-9]+", "[", "/api"),
            ("^/admin", "^", "/admin"),
            ("^/admin(/|$)", "^", "/admin"),
            ("/admin$", "$", "/api"),
            ("/(admin)", "(", "/api"),
            ("/(admin)/x", "(", "/api"),
            ("/a/.+", ".+", "/api"),
            ("/a(b)+", ")+", "/api"),
            ("/a{2}", "{", "/api"),
            ("/a|/b", "|", "/api"),
            ("/*/b", "*", "/api"),
            ("/a*", "*", "/api"),
            ("*.php", "*", "/api"),
            (".*\\.php", "\\", "/api"),
        ] {
            assert_eq!(normalise_path(text), Err(PathError::Expression(sign, plain.to_owned())), "{text}");
        }
        for text in ["/api,/ws", "/api;/ws", "/api /ws", "/api, /ws,", "api /ws", "$ /a", "/api,\u{a0}/ws"] {
            assert_eq!(normalise_path(text), Err(PathError::Several), "{text}");
        }
        for text in ["/c++", "/v1.0", "/a(b)", "/$batch", "/a,b", "/a b", "/~me/@x:y=1&z!'", "/.well-known"] {
            assert_eq!(normalise_path(text).as_deref(), Ok(text), "{text}");
        }
    }

    #[test]
    fn the_expression_matches_the_path_and_what_is_below_it_only() {
        for (path, request, expected) in [
            ("/api", "/api", true),
            ("/api", "/api/", true),
            ("/api", "/api/users", true),
            ("/api", "/apis", false),
            ("/api", "/v1/api", false),
            ("/v1.0", "/v1.0/x", true),
            ("/v1.0", "/v1x0/x", false),
            ("/a+b(c)", "/a+b(c)", true),
            ("/ü", "/ü/x", true),
        ] {
            let regex = Regex::new(&path_regex(path).unwrap()).unwrap();
            assert_eq!(regex.is_match(request), expected, "{path} {request}");
        }
        assert_eq!(path_regex("/api").as_deref(), Some("^/api(/|$)"));
        assert_eq!(path_regex(""), None);
    }

    #[test]
    fn plain_expressions_of_others_are_understood() {
        for (pattern, meaning) in [
            ("/api", Some("/api")),
            ("^/api", Some("/api")),
            ("^/api/", Some("/api")),
            ("/api/.*", Some("/api")),
            ("^/api(/|$)", Some("/api")),
            (r"^/v1\.0", Some("/v1.0")),
            ("^/", Some("")),
            ("/.*", Some("")),
            ("api", None),
            ("^/api$", None),
            ("^/(a|b)", None),
            ("^/apis?", None),
            (r"^/\d+", None),
        ] {
            assert_eq!(plain_path(pattern).as_deref(), meaning, "{pattern}");
        }
    }

    #[test]
    fn paths_share_requests_unless_no_request_can_begin_as_both_do() {
        for (one, other, expected) in [
            ("/api", "", true),
            ("/api", "/api/v1", true),
            ("/api", "/apis", false),
            ("/api", r"~\.php$", true),
            ("", r"~\.php$", true),
            ("/api", "~^/(api|web)$", true),
            ("/foo", "~/api", true),
            ("/apis", "~^/api", true),
            ("/foo", "~^/api/?x", false),
            ("/foo", "~^/api|^/foo", true),
            ("~^/foo/x", "~^/api", false),
            ("~^/api", "~^/api/v[0-9]", true),
            // A bracket within a set means itself.
            ("/foo", "~^/api[[]|^/foo", true),
            ("/foo", "~^/api[](]|^/foo", true),
            ("/foo", "~^/api[[:alpha:](]|^/foo", true),
            ("/foo", "~^/api[|]x", false),
        ] {
            let shares = (may_share_requests(one, other), may_share_requests(other, one));
            assert_eq!(shares, (expected, expected), "{one} {other}");
        }
    }

    #[test]
    fn expressions_are_compared_with_paths() {
        for (pattern, path, covers, below) in [
            ("^/api", "/api", true, false),
            ("api", "/api", true, false),
            ("^/api(/|$)", "/api", true, true),
            ("^/api(/|$)", "/api/v1", true, false),
            ("^/api/v1(/|$)", "/api", false, true),
            ("^/api/v1", "/api", false, true),
            ("^/api/?x", "/api", false, false),
            ("^/api/v1|/other", "/api", false, false),
            ("^/api/(v1|v2)", "/api", false, true),
            (r"\.png$", "/api", false, false),
            ("(", "/api", false, false),
        ] {
            let read = PathPattern::new(pattern);
            assert_eq!((read.covers_path(path), read.is_below(path)), (covers, below), "{pattern} {path}");
        }
    }

    #[test]
    fn a_request_goes_to_the_longest_path_then_to_an_expression_then_to_the_whole_host() {
        let all = ["", "/api", "/api/users", r"~\.jpg$", r"~^/photos/.*\.jpg$"];
        for (kept, asked, taken) in [
            (&all[..], "/api", Some("/api")),
            (&all, "/api/users/7", Some("/api/users")),
            (&all, "/apis", Some("")),
            (&all, "", Some("")),
            (&all, "/a.jpg", Some(r"~\.jpg$")),
            (&all, "/photos/a.jpg", Some(r"~^/photos/.*\.jpg$")),
            (&all, "/api/a.jpg", Some("/api")),
            (&all, r"~\.jpg$", Some(r"~\.jpg$")),
            (&["/api", "~("], "/other", None),
            (&[], "/api", None),
        ] {
            assert_eq!(path_that_takes(kept.iter().copied(), asked), taken, "{asked}");
        }
    }

    proptest! {
        #[test]
        fn a_kept_path_stays_and_its_expression_matches_it(text in ".{0,80}") {
            if let Ok(path) = normalise_path(&text) {
                prop_assert_eq!(normalise_path(&path), Ok(path.clone()));
                // A person who means an expression writes one that is more than its own text.
                let is_plain = !path.contains(['^', '\\', '|', '[', '{', '*']) && !path.ends_with('$');
                prop_assert!(is_plain);
                if let Some(pattern) = path_regex(&path) {
                    let regex = Regex::new(&pattern).unwrap();
                    let below = format!("{path}/x");
                    let beside = format!("{path}x");
                    prop_assert!(regex.is_match(&path) && regex.is_match(&below));
                    prop_assert!(!regex.is_match(&beside));
                    prop_assert_eq!(plain_path(&pattern), Some(path));
                }
            }
        }
    }
}
