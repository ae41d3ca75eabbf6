//! What somebody wants to know the story of.

use crate::domain::hostname::{kept_form, parse_hostname};
use crate::domain::path::{EXPRESSION, kept_path, normalise_path};
use crate::domain::text::repeated;

/// What a name may mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// As it was written, without blanks around it.
    pub text: String,
    /// The hostname in it, in the form in which hostnames are kept.
    pub hostname: String,
    /// The path behind it, in the form in which paths are kept; none if none was written.
    pub path: Option<String>,
}

/// Longest text that is taken: a hostname with a path.
const MAX_CHARS: usize = 2_000;

impl Asked {
    /// Reads the name of a container, its id, a hostname, or a hostname with a path; an address will do, too.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.is_empty() {
            return Err(
                "name a container, a hostname such as `app.example.com`, or `app.example.com/path`".into()
            );
        }
        if text.chars().count() > MAX_CHARS {
            return Err(format!("`{}` is too long for a name", repeated(text)));
        }
        let bare = text.split_once("://").map_or(text, |(_, rest)| rest);
        let (host, path) = match bare.find(['/', EXPRESSION, '|']) {
            Some(at) => bare.split_at(at),
            None => (bare, ""),
        };
        let path = (!path.is_empty()).then(|| read_path(path));
        // A port is no part of the name that is published.
        let host = host.rsplit_once(':').filter(|(_, port)| is_port(port)).map_or(host, |(host, _)| host);
        Ok(Self { text: text.to_owned(), hostname: kept_form(host), path })
    }

    /// True if it can be a hostname.
    pub fn is_hostname(&self) -> bool {
        self.hostname.contains('.') && parse_hostname(&self.hostname).is_ok()
    }
}

/// A path as it is kept; an expression as well, and what stands behind the `|` of a rule's key.
fn read_path(text: &str) -> String {
    let text = text.strip_prefix('|').unwrap_or(text);
    match text.strip_prefix(EXPRESSION) {
        Some(pattern) => kept_path(pattern),
        None => normalise_path(text).unwrap_or_else(|_| text.to_owned()),
    }
}

fn is_port(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_in_every_way_people_write_it() {
        for (text, hostname, path) in [
            ("app.example.com", "app.example.com", None),
            (" App.Example.com. ", "app.example.com", None),
            ("https://app.example.com/x/", "app.example.com", Some("/x")),
            ("app.example.com/", "app.example.com", Some("")),
            ("https://app.example.com:8443/a", "app.example.com", Some("/a")),
            ("bücher.example.com", "xn--bcher-kva.example.com", None),
            ("*.example.com", "*.example.com", None),
            ("my_app-1", "my_app-1", None),
            (r"nas.example.com~\.jpg$", "nas.example.com", Some(r"~\.jpg$")),
            ("nas.example.com~^/(a|b)", "nas.example.com", Some("~^/(a|b)")),
            ("nas.example.com|", "nas.example.com", Some("")),
            ("nas.example.com|files/", "nas.example.com", Some("/files")),
        ] {
            let asked = Asked::parse(text).unwrap();
            assert_eq!((asked.hostname.as_str(), asked.path.as_deref()), (hostname, path), "{text}");
        }
        assert!(Asked::parse("app.example.com").unwrap().is_hostname());
        assert!(!Asked::parse("my_app-1").unwrap().is_hostname());
        assert!(Asked::parse("  ").is_err() && Asked::parse(&"x".repeat(2_001)).is_err());
    }
}
