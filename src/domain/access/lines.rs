//! Conditions as people write them, one on a line, so that nobody needs Cloudflare's JSON for the usual ones.

use std::net::IpAddr;

use serde_json::{Map, Value};

use super::super::text::repeated;
use super::selector::Selector;

/// What a line may be, as it is said to who wrote another one.
const FORMS: &str = "`a@example.com`, `@example.com` for all of a domain, `10.0.0.0/8`, `country DE`, `login method Google`, \
                     `service token ci`, `any service token`, `everyone`, or a rule in Cloudflare's JSON";

/// Makes a selector of a name.
type Named = fn(String) -> Selector;

/// Words that a name follows.
const NAMED: [(&str, Named); 3] = [
    ("country", Selector::Country),
    ("login method", Selector::IdentityProvider),
    ("service token", Selector::ServiceToken),
];

impl Selector {
    /// Reads a line; what is wrong with it says what to write.
    pub fn of_line(line: &str) -> Result<Self, String> {
        let line = line.trim();
        let selector = unchecked(line)?;
        if selector == Self::AccountOwner {
            return Err("the owner of the account is a rule of Lightship's own group `authenticated-default`; write an \
                        e-mail address"
                .into());
        }
        selector.check()?;
        Ok(selector)
    }

    /// Returns the line that [`Selector::of_line`] reads.
    pub fn line(&self) -> String {
        match self {
            Self::Email(email) => email.clone(),
            Self::EmailDomain(domain) => format!("@{domain}"),
            Self::Ip(ip) => ip.clone(),
            Self::Country(code) => format!("country {code}"),
            Self::IdentityProvider(name) => format!("login method {name}"),
            Self::ServiceToken(name) => format!("service token {name}"),
            Self::AnyServiceToken => "any service token".into(),
            Self::Everyone => "everyone".into(),
            Self::AccountOwner | Self::Other(_) => {
                Value::Object(Map::<String, Value>::from(self.clone())).to_string()
            }
        }
    }
}

fn unchecked(line: &str) -> Result<Selector, String> {
    if line.starts_with('{') {
        let cut = |error: serde_json::Error| error.to_string().chars().take(200).collect::<String>();
        return serde_json::from_str(line).map_err(|error| format!("`{}`: {}", repeated(line), cut(error)));
    }
    match line.to_lowercase().as_str() {
        "everyone" | "everybody" => return Ok(Selector::Everyone),
        "any service token" => return Ok(Selector::AnyServiceToken),
        _ => {}
    }
    if let Some(named) = NAMED.into_iter().find_map(|(word, make)| Some(make(behind(line, word)?))) {
        return Ok(named);
    }
    if let Some(domain) = line.strip_prefix('@') {
        return Ok(Selector::EmailDomain(domain.to_owned()));
    }
    if line.contains('@') {
        return Ok(Selector::Email(line.to_owned()));
    }
    let address = line.split('/').next().unwrap_or_default();
    if address.parse::<IpAddr>().is_ok() {
        return Ok(Selector::Ip(line.to_owned()));
    }
    Err(format!("`{}` cannot be read; write {FORMS}", repeated(line)))
}

/// Returns what stands behind a word that a line begins with, in any case.
fn behind(line: &str, word: &str) -> Option<String> {
    let (head, rest) = line.split_at_checked(word.len())?;
    let is_it = head.eq_ignore_ascii_case(word) && rest.starts_with(char::is_whitespace);
    is_it.then(|| rest.trim().to_owned())
}

/// Reads lines, empty ones left out; each reason names its line.
pub fn read_lines(text: &str) -> Result<Vec<Selector>, Vec<String>> {
    let (mut read, mut wrong) = (Vec::new(), Vec::new());
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        match Selector::of_line(line) {
            Ok(selector) => read.push(selector),
            Err(reason) => wrong.push(format!("line {}: {reason}", number + 1)),
        }
    }
    if wrong.is_empty() { Ok(read) } else { Err(wrong) }
}

/// Returns the text that [`read_lines`] reads.
pub fn write_lines(selectors: &[Selector]) -> String {
    selectors.iter().map(Selector::line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn other() -> Selector {
        serde_json::from_value(json!({ "github-organization": { "name": "acme ü" } })).unwrap()
    }

    #[test]
    fn a_line_is_read_however_it_is_spelt_and_written_in_one_way() {
        for (line, selector, written) in [
            (" a@example.com ", Selector::Email("a@example.com".into()), "a@example.com"),
            ("@example.com", Selector::EmailDomain("example.com".into()), "@example.com"),
            ("10.0.0.0/8", Selector::Ip("10.0.0.0/8".into()), "10.0.0.0/8"),
            ("2001:db8::1", Selector::Ip("2001:db8::1".into()), "2001:db8::1"),
            ("Country  de", Selector::Country("de".into()), "country de"),
            ("login method Google", Selector::IdentityProvider("Google".into()), "login method Google"),
            (
                "LOGIN METHOD Käfer Login",
                Selector::IdentityProvider("Käfer Login".into()),
                "login method Käfer Login",
            ),
            ("service token ci", Selector::ServiceToken("ci".into()), "service token ci"),
            ("any service token", Selector::AnyServiceToken, "any service token"),
            ("Everybody", Selector::Everyone, "everyone"),
            (r#"{"everyone":{}}"#, Selector::Everyone, "everyone"),
            (
                r#"{"github-organization":{"name":"acme ü"}}"#,
                other(),
                r#"{"github-organization":{"name":"acme ü"}}"#,
            ),
        ] {
            let read = Selector::of_line(line).unwrap();
            assert_eq!((&read, read.line().as_str()), (&selector, written), "{line}");
            assert_eq!(Selector::of_line(&read.line()).unwrap(), read, "{line}");
        }
    }

    #[test]
    fn a_line_that_says_nothing_names_what_to_write() {
        for (line, words) in [
            ("staff", "write `a@example.com`, `@example.com`"),
            ("country", "write `a@example.com`"),
            ("countryside", "write `a@example.com`"),
            ("country Germany", "two letters"),
            ("login method", "write `a@example.com`"),
            ("10.0.0.0/33", "no address of a network"),
            ("10.0.0", "cannot be read"),
            ("a b@example.com", "one address"),
            ("@*.example.com", "without `@` and `*`"),
            ("{", "`{`:"),
            (r#"{"email":{"email":"x"}}"#, "no e-mail address"),
            (r#"{"account_owner":{}}"#, "the owner of the account"),
            ("ü\u{202e}", "cannot be read"),
        ] {
            let said = Selector::of_line(line).unwrap_err();
            assert!(said.contains(words) && !said.contains('\u{202e}'), "{line}: {said}");
        }
        assert!(Selector::of_line(&"x".repeat(60_000)).unwrap_err().len() < 500);
    }

    #[test]
    fn lines_are_read_together_and_each_wrong_one_is_named() {
        let text = "a@example.com\r\n\n  @example.com\n";
        let read = read_lines(text).unwrap();
        assert_eq!(write_lines(&read), "a@example.com\n@example.com");
        assert_eq!(read_lines(" \n\n").unwrap(), []);
        let wrong = read_lines("a@example.com\nnobody\n\ncountry X").unwrap_err();
        assert_eq!(wrong.len(), 2, "{wrong:?}");
        assert!(wrong[0].starts_with("line 2: ") && wrong[1].starts_with("line 4: "), "{wrong:?}");
    }
}
