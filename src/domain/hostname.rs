//! Public host names: how they are written, and which pattern covers which name.
//!
//! One form only is kept: lower case, no dot at the end, Punycode for other scripts, at most one `*` and
//! that as the whole first label. Two texts that mean one name are thus one claim.

/// Most characters of a name, without a leading `*.`.
const MAX_NAME: usize = 253;
/// Most characters between two dots.
const MAX_LABEL: usize = 63;

/// Why a text is not a host name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostnameError {
    /// Nothing is there.
    #[error("the hostname is empty; write a name such as `app.example.com`")]
    Empty,
    /// A URL, or a name with something behind it.
    #[error("only the name belongs here, without `{0}`; write it as in `app.example.com`")]
    NotOnlyAName(&'static str),
    /// Too long as a whole.
    #[error("the hostname is longer than {MAX_NAME} characters, which DNS cannot hold")]
    TooLong,
    /// Two dots side by side, or one in front.
    #[error("the hostname has an empty part between two dots; remove the extra dot")]
    EmptyLabel,
    /// One part is too long.
    #[error("a part between two dots is longer than {MAX_LABEL} characters, which DNS cannot hold")]
    LabelTooLong,
    /// A hyphen in the wrong place.
    #[error("a part of the hostname begins or ends with `-`, which is not allowed")]
    Hyphen,
    /// A `*` anywhere but alone in front.
    #[error("`*` may only stand alone in front, as in `*.example.com`")]
    Wildcard,
    /// Something between two words.
    #[error("a hostname has no blanks in it")]
    Blank,
    /// Anything else that no name may hold.
    #[error("`{0}` is not allowed in a hostname; letters, digits and `-` are")]
    Character(char),
    /// Another script that has no Punycode form.
    #[error("the hostname has characters that cannot be converted; write it in Punycode (`xn--...`)")]
    NotConvertible,
}

/// Returns the one form in which a host name is kept.
///
/// Accepts any case, white space around it, a dot at the end, a leading `*.` and other scripts.
pub fn parse_hostname(text: &str) -> Result<String, HostnameError> {
    let text = text.trim();
    if text.contains("://") {
        return Err(HostnameError::NotOnlyAName("scheme://"));
    }
    if text.contains('/') {
        return Err(HostnameError::NotOnlyAName("/"));
    }
    if text.contains(':') {
        return Err(HostnameError::NotOnlyAName(":port"));
    }
    let (wildcard, name) = match text.strip_prefix("*.") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.is_empty() {
        return Err(if wildcard { HostnameError::Wildcard } else { HostnameError::Empty });
    }
    let name = if name.is_ascii() { name.to_ascii_lowercase() } else { to_punycode(name)? };
    check_name(&name)?;
    Ok(if wildcard { format!("*.{name}") } else { name })
}

/// Returns the form in which a name is kept of one that somebody else wrote, such as Cloudflare; one that is no host name
/// is left as it is, in lower case.
pub fn kept_form(text: &str) -> String {
    parse_hostname(text).unwrap_or_else(|_| text.trim().trim_end_matches('.').to_lowercase())
}

/// Reads a name in the form in which it is kept: an API may answer in either spelling.
pub fn read_kept_form<'de, D: serde::Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let text = <String as serde::Deserialize>::deserialize(from)?;
    Ok(kept_form(&text))
}

/// Converts a name of another script; the length is checked first, since conversion costs.
fn to_punycode(name: &str) -> Result<String, HostnameError> {
    if name.len() > 4 * MAX_NAME {
        return Err(HostnameError::TooLong);
    }
    if let Some(bad) = name.chars().find(|c| c.is_control() || c.is_whitespace() || *c == '%') {
        return Err(refused(bad));
    }
    match url::Host::parse(name) {
        Ok(url::Host::Domain(ascii)) => Ok(ascii),
        _ => Err(HostnameError::NotConvertible),
    }
}

fn refused(bad: char) -> HostnameError {
    if bad.is_whitespace() && !bad.is_control() {
        HostnameError::Blank
    } else {
        HostnameError::Character(bad)
    }
}

fn check_name(name: &str) -> Result<(), HostnameError> {
    if name.len() > MAX_NAME {
        return Err(HostnameError::TooLong);
    }
    name.split('.').try_for_each(check_label)
}

fn check_label(label: &str) -> Result<(), HostnameError> {
    if label.is_empty() {
        return Err(HostnameError::EmptyLabel);
    }
    if label.contains('*') {
        return Err(HostnameError::Wildcard);
    }
    if let Some(bad) = label.chars().find(|c| !c.is_ascii_alphanumeric() && *c != '-') {
        return Err(refused(bad));
    }
    if label.len() > MAX_LABEL {
        return Err(HostnameError::LabelTooLong);
    }
    if label.starts_with('-') || label.ends_with('-') {
        return Err(HostnameError::Hyphen);
    }
    Ok(())
}

/// Says whether a kept name stands for many.
pub fn is_wildcard(hostname: &str) -> bool {
    hostname.starts_with("*.")
}

/// Returns the name without a leading `*.`.
pub fn base_name(hostname: &str) -> &str {
    hostname.strip_prefix("*.").unwrap_or(hostname)
}

/// Says whether `name` is `parent` or lies below it.
pub fn is_within(name: &str, parent: &str) -> bool {
    name.strip_suffix(parent).is_some_and(|front| front.is_empty() || front.ends_with('.'))
}

/// Says whether every request that `name` stands for is also one of `pattern`.
///
/// As the connector compares them: `*.example.com` covers any depth below `example.com`, not `example.com`
/// itself; an empty pattern and `*` cover everything.
pub fn covers(pattern: &str, name: &str) -> bool {
    if pattern.is_empty() || pattern == "*" || pattern == name {
        return true;
    }
    let Some(parent) = pattern.strip_prefix("*.") else { return false };
    let inner = base_name(name);
    inner.len() > parent.len() && is_within(inner, parent)
}

/// True if some name might be for both of two patterns.
pub fn may_share_names(one: &str, other: &str) -> bool {
    covers(one, other) || covers(other, one)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_name_has_one_form() {
        for (text, kept) in [
            ("app.example.com", "app.example.com"),
            (" App.Example.COM. ", "app.example.com"),
            ("*.Example.com", "*.example.com"),
            ("localhost", "localhost"),
            ("1.2.example.com", "1.2.example.com"),
            ("bücher.example.com", "xn--bcher-kva.example.com"),
            ("*.bücher.example", "*.xn--bcher-kva.example"),
        ] {
            assert_eq!(parse_hostname(text).as_deref(), Ok(kept), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_name_is_refused_with_its_reason() {
        use HostnameError as E;
        let long_label = "a".repeat(64);
        let long_name = format!("{}com", "abcdefgh.".repeat(29));
        for (text, why) in [
            ("", E::Empty),
            ("  ", E::Empty),
            (".", E::Empty),
            ("*.", E::Wildcard),
            ("*", E::Wildcard),
            ("a.*.example.com", E::Wildcard),
            ("*a.example.com", E::Wildcard),
            ("https://app.example.com", E::NotOnlyAName("scheme://")),
            ("app.example.com/x", E::NotOnlyAName("/")),
            ("app.example.com:8080", E::NotOnlyAName(":port")),
            ("a..b", E::EmptyLabel),
            (".a.b", E::EmptyLabel),
            ("-a.b", E::Hyphen),
            ("a-.b", E::Hyphen),
            ("my_app.example.com", E::Character('_')),
            ("a b.example.com", E::Blank),
            ("a\nb.example.com", E::Character('\n')),
            ("\"app\".example.com", E::Character('"')),
            (&long_label, E::LabelTooLong),
            (&long_name, E::TooLong),
        ] {
            assert_eq!(parse_hostname(text), Err(why), "{text}");
        }
    }

    #[test]
    fn wildcards_cover_any_depth_below_but_not_the_name_itself() {
        for (pattern, name, expected) in [
            ("*.example.com", "a.example.com", true),
            ("*.example.com", "a.b.example.com", true),
            ("*.example.com", "*.b.example.com", true),
            ("*.example.com", "*.example.com", true),
            ("*.example.com", "example.com", false),
            ("*.example.com", "badexample.com", false),
            ("*.b.example.com", "*.example.com", false),
            ("a.example.com", "a.example.com", true),
            ("a.example.com", "*.example.com", false),
            ("", "a.example.com", true),
            ("*", "a.example.com", true),
        ] {
            assert_eq!(covers(pattern, name), expected, "{pattern} {name}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_refused_or_kept_in_a_form_that_stays(text in ".{0,300}") {
            if let Ok(kept) = parse_hostname(&text) {
                prop_assert_eq!(parse_hostname(&kept), Ok(kept.clone()));
                prop_assert!(kept.is_ascii() && base_name(&kept).len() <= MAX_NAME);
                prop_assert_eq!(kept.to_ascii_lowercase(), kept);
            }
        }

        #[test]
        fn covering_is_transitive(
            names in proptest::collection::vec("(\\*\\.)?([ab]\\.){0,2}c", 3)
        ) {
            if covers(&names[0], &names[1]) && covers(&names[1], &names[2]) {
                prop_assert!(covers(&names[0], &names[2]));
            }
        }
    }
}
