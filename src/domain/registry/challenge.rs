//! How a registry says by which means it lets somebody in, and what follows from that.

use std::collections::BTreeMap;

/// What a registry asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Challenge {
    /// A token that a token server hands out.
    Bearer(Bearer),
    /// A name and a password.
    Basic,
}

/// Where a token comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bearer {
    /// Address of the token server.
    pub realm: String,
    /// What the registry calls itself there.
    pub service: Option<String>,
    /// What the token is to be good for.
    pub scope: Option<String>,
    /// Why the one that was sent is not good.
    pub error: Option<String>,
}

/// Reads the values of `WWW-Authenticate` headers. A token is preferred to a password; unknown ways are left out.
pub fn read_challenges<'a>(values: impl IntoIterator<Item = &'a str>) -> Option<Challenge> {
    let mut is_basic = false;
    for value in values {
        for (scheme, mut params) in challenges(value) {
            match scheme.to_ascii_lowercase().as_str() {
                "bearer" => {
                    let Some(realm) = params.remove("realm") else { continue };
                    return Some(Challenge::Bearer(Bearer {
                        realm,
                        service: params.remove("service"),
                        scope: params.remove("scope").filter(|scope| !scope.is_empty()),
                        error: params.remove("error"),
                    }));
                }
                "basic" => is_basic = true,
                _ => {}
            }
        }
    }
    is_basic.then_some(Challenge::Basic)
}

/// Splits one header into its challenges: each is a word, and then `name=value` with commas between.
fn challenges(value: &str) -> Vec<(String, BTreeMap<String, String>)> {
    let mut found: Vec<(String, BTreeMap<String, String>)> = Vec::new();
    let mut rest = value.trim_start();
    while !rest.is_empty() {
        let end = rest.find(|c: char| c == '=' || c == ',' || c.is_whitespace()).unwrap_or(rest.len());
        let (word, behind) = rest.split_at(end);
        match behind.trim_start().strip_prefix('=') {
            Some(behind) => {
                let (text, behind) = parameter(behind.trim_start());
                if let Some((_, params)) = found.last_mut() {
                    params.entry(word.to_ascii_lowercase()).or_insert(text);
                }
                rest = behind;
            }
            None => {
                if !word.is_empty() {
                    found.push((word.to_owned(), BTreeMap::new()));
                }
                rest = behind;
            }
        }
        rest = rest.trim_start_matches(|c: char| c == ',' || c.is_whitespace());
    }
    found
}

/// Reads a value, quoted or not; returns it with what follows.
fn parameter(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ']).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let (mut value, mut is_escaped) = (String::new(), false);
    for (at, c) in quoted.char_indices() {
        match c {
            _ if is_escaped => {
                value.push(c);
                is_escaped = false;
            }
            '\\' => is_escaped = true,
            '"' => return (value, &quoted[at + 1..]),
            _ => value.push(c),
        }
    }
    (value, "")
}

/// What was sent with a request that was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// Nothing.
    Nothing,
    /// Name and password.
    Basic,
    /// A token.
    Token {
        /// It was to be good for several repositories.
        is_shared: bool,
        /// It was fetched for another request.
        is_kept: bool,
    },
}

/// What was tried for this request already.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tried {
    /// A token for its repository alone.
    pub has_own: bool,
    /// Another token in the place of one that was not good any more.
    pub has_renewed: bool,
    /// The other way, where the registry changed its mind.
    pub has_turned: bool,
}

/// What to do about a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Send name and password.
    SendBasic,
    /// Send a token.
    SendToken,
    /// Send one that is good for this repository alone.
    SendOwnToken,
    /// Fetch another one and send it.
    RenewToken,
    /// It is not allowed.
    Stop,
}

/// Decides what follows from "401". Every step is taken at most once, so that no registry makes us go round in circles.
pub fn next_step(sent: Sent, challenge: Option<&Challenge>, has_password: bool, tried: &mut Tried) -> Step {
    let once = |flag: &mut bool, step| if std::mem::replace(flag, true) { Step::Stop } else { step };
    match (sent, challenge) {
        (_, None) => Step::Stop,
        (Sent::Nothing, Some(Challenge::Bearer(_))) => Step::SendToken,
        (Sent::Nothing, Some(Challenge::Basic)) if has_password => Step::SendBasic,
        (Sent::Token { .. }, Some(Challenge::Basic)) if has_password => {
            once(&mut tried.has_turned, Step::SendBasic)
        }
        (_, Some(Challenge::Basic)) => Step::Stop,
        (Sent::Basic, Some(Challenge::Bearer(_))) => once(&mut tried.has_turned, Step::SendToken),
        (Sent::Token { is_shared, is_kept }, Some(Challenge::Bearer(bearer))) => {
            match bearer.error.as_deref() {
                Some("invalid_token") => once(&mut tried.has_renewed, Step::RenewToken),
                // Not every token server reads more than one scope.
                _ if is_shared => once(&mut tried.has_own, Step::SendOwnToken),
                Some("insufficient_scope") => Step::Stop,
                // Without a word it may be too old.
                _ if is_kept => once(&mut tried.has_renewed, Step::RenewToken),
                _ => Step::Stop,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bearer(error: Option<&str>) -> Challenge {
        Challenge::Bearer(Bearer {
            realm: "https://auth.example/token".into(),
            service: None,
            scope: None,
            error: error.map(str::to_owned),
        })
    }

    #[test]
    fn challenges_are_read_in_all_their_forms() {
        let full = r#"Bearer realm="https://a.example/t?x=1,2",service="reg \"x\"",scope="repository:a/b:pull,push",error="insufficient_scope""#;
        let Some(Challenge::Bearer(read)) = read_challenges([full]) else { panic!("a token is asked for") };
        assert_eq!(read.realm, "https://a.example/t?x=1,2");
        assert_eq!(read.service.as_deref(), Some("reg \"x\""));
        assert_eq!(read.scope.as_deref(), Some("repository:a/b:pull,push"));
        assert_eq!(read.error.as_deref(), Some("insufficient_scope"));
        for (values, expected) in [
            (vec![r#"Basic realm="x""#], Some(Challenge::Basic)),
            (vec!["basic"], Some(Challenge::Basic)),
            (vec![r#"Basic realm="x", Bearer realm=https://auth.example/token"#], Some(bearer(None))),
            (
                vec![r#"Basic realm="x""#, r#"bearer  realm = "https://auth.example/token""#],
                Some(bearer(None)),
            ),
            (vec!["Negotiate", "NTLM abc=="], None),
            (vec!["Bearer service=x"], None),
            (
                vec!["", ",,,", "=\"", "Bearer realm=\""],
                Some(Challenge::Bearer(Bearer {
                    realm: String::new(),
                    service: None,
                    scope: None,
                    error: None,
                })),
            ),
        ] {
            assert_eq!(read_challenges(values.iter().copied()), expected, "{values:?}");
        }
    }

    #[test]
    fn a_refusal_is_answered_by_one_more_try_at_most_and_then_it_counts() {
        let kept = Sent::Token { is_shared: false, is_kept: true };
        let fresh = Sent::Token { is_shared: false, is_kept: false };
        let shared = Sent::Token { is_shared: true, is_kept: false };
        let (plain, invalid, scope) =
            (bearer(None), bearer(Some("invalid_token")), bearer(Some("insufficient_scope")));
        let basic = Challenge::Basic;
        for (sent, challenge, has_password, expected) in [
            (Sent::Nothing, Some(&plain), false, Step::SendToken),
            (Sent::Nothing, Some(&basic), true, Step::SendBasic),
            (Sent::Nothing, Some(&basic), false, Step::Stop),
            (Sent::Nothing, None, true, Step::Stop),
            (Sent::Basic, Some(&basic), true, Step::Stop),
            (fresh, Some(&scope), true, Step::Stop),
            (kept, Some(&scope), true, Step::Stop),
            (shared, Some(&scope), true, Step::SendOwnToken),
            (fresh, Some(&invalid), true, Step::RenewToken),
            (kept, Some(&plain), true, Step::RenewToken),
            (fresh, Some(&plain), true, Step::Stop),
        ] {
            let mut tried = Tried::default();
            assert_eq!(
                next_step(sent, challenge, has_password, &mut tried),
                expected,
                "{sent:?} {challenge:?}"
            );
        }
        let mut tried = Tried { has_renewed: true, ..Tried::default() };
        assert_eq!(next_step(fresh, Some(&invalid), true, &mut tried), Step::Stop);
    }

    proptest! {
        #[test]
        fn no_answers_make_it_go_on_for_ever(answers in prop::collection::vec((0_u8..4, 0_u8..4), 12)) {
            let mut tried = Tried::default();
            let steps = answers.iter().position(|&(sent, challenge)| {
                let sent = match sent {
                    0 => Sent::Basic,
                    n => Sent::Token { is_shared: n == 1, is_kept: n == 2 },
                };
                let challenge = match challenge {
                    0 => Challenge::Basic,
                    1 => bearer(Some("invalid_token")),
                    2 => bearer(Some("insufficient_scope")),
                    _ => bearer(None),
                };
                next_step(sent, Some(&challenge), true, &mut tried) == Step::Stop
            });
            prop_assert!(steps.is_some_and(|steps| steps <= 4));
        }

        #[test]
        fn whatever_a_header_holds_it_is_read(text in ".{0,80}") {
            read_challenges([text.as_str()]);
        }
    }
}
