//! A policy as people read it.

use super::super::text::{repeated, spell_out};
use super::policy::{Decision, PolicySpec};
use super::selector::Selector;

impl Decision {
    /// Returns what happens to those whom a policy is about, to be followed by them.
    pub fn in_words(self) -> &'static str {
        match self {
            Self::Allow => "lets in",
            Self::Deny => "keeps out",
            Self::NonIdentity => "lets in without a sign-in",
            Self::Bypass => "asks nothing of",
        }
    }
}

impl PolicySpec {
    /// Returns whom it is about, such as "anyone of a@x.io, @y.io, or from 10.0.0.0/8, who also signs in with Google, except
    /// from DE".
    pub fn in_words(&self) -> String {
        let mut words = match self.include.contains(&Selector::Everyone) {
            true => "everyone".to_owned(),
            false => format!("anyone {}", alternatives(&self.include)),
        };
        let also: Vec<String> = self.require.iter().map(condition).collect();
        if !also.is_empty() {
            words = format!("{words}, who also {}", also.join(" and "));
        }
        if !self.exclude.is_empty() {
            words = format!("{words}, except {}", exceptions(&self.exclude));
        }
        words
    }
}

/// What belongs together in a sentence: people by address, places, and what stands alone.
#[derive(Default)]
struct Parts {
    people: Vec<String>,
    places: Vec<String>,
    others: Vec<String>,
}

fn parts(selectors: &[Selector]) -> Parts {
    let mut parts = Parts::default();
    for selector in selectors {
        match selector {
            Selector::Email(email) => parts.people.push(repeated(email)),
            Selector::EmailDomain(domain) => parts.people.push(format!("@{}", repeated(domain))),
            Selector::AccountOwner => parts.people.push("the account's owner".into()),
            Selector::Ip(ip) => parts.places.push(repeated(ip)),
            Selector::Country(code) => parts.places.push(repeated(&code.to_ascii_uppercase())),
            Selector::IdentityProvider(idp) => parts.others.push(format!("signed in with {}", repeated(idp))),
            Selector::ServiceToken(token) => {
                parts.others.push(format!("with the service token {}", repeated(token)));
            }
            Selector::AnyServiceToken => parts.others.push("with any service token".into()),
            Selector::Everyone => parts.others.push("everyone".into()),
            Selector::Other(_) => parts.others.push(format!("who meets {}", rule(selector))),
        }
    }
    parts
}

fn alternatives(selectors: &[Selector]) -> String {
    let Parts { people, places, others } = parts(selectors);
    let people = (!people.is_empty()).then(|| format!("of {}", people.join(", ")));
    let places = (!places.is_empty()).then(|| format!("from {}", places.join(", ")));
    people.into_iter().chain(places).chain(others).collect::<Vec<_>>().join(", or ")
}

fn exceptions(selectors: &[Selector]) -> String {
    let Parts { people, places, others } = parts(selectors);
    let people = (!people.is_empty()).then(|| people.join(", "));
    let places = (!places.is_empty()).then(|| format!("from {}", places.join(", ")));
    people.into_iter().chain(places).chain(others).collect::<Vec<_>>().join(", or ")
}

fn condition(selector: &Selector) -> String {
    match selector {
        Selector::Email(email) => format!("is {}", repeated(email)),
        Selector::EmailDomain(domain) => format!("has an address at {}", repeated(domain)),
        Selector::AccountOwner => "is the account's owner".into(),
        Selector::Ip(ip) => format!("comes from {}", repeated(ip)),
        Selector::Country(code) => format!("comes from {}", repeated(&code.to_ascii_uppercase())),
        Selector::IdentityProvider(idp) => format!("signs in with {}", repeated(idp)),
        Selector::ServiceToken(token) => format!("shows the service token {}", repeated(token)),
        Selector::AnyServiceToken => "shows a service token".into(),
        Selector::Everyone => "is anybody".into(),
        Selector::Other(_) => format!("meets {}", rule(selector)),
    }
}

/// A rule that we do not know, as it is written.
fn rule(selector: &Selector) -> String {
    let text = serde_json::to_string(selector).unwrap_or_default();
    let cut: String = text.chars().take(200).collect();
    let more = if cut.len() < text.len() { "…" } else { "" };
    format!("`{}{more}`", spell_out(&cut))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn policies_are_said_as_people_say_them() {
        let (google, office) =
            (json!({"login_method": {"id": "Google"}}), json!({"ip": {"ip": "10.0.0.0/8"}}));
        let (a, y) = (json!({"email": {"email": "a@x.io"}}), json!({"email_domain": {"domain": "y.io"}}));
        let (de, ci) = (json!({"geo": {"country_code": "de"}}), json!({"service_token": {"token_id": "ci"}}));
        for (include, require, exclude, words) in [
            (
                json!([a, y, office]),
                json!([google]),
                json!([de]),
                "anyone of a@x.io, @y.io, or from 10.0.0.0/8, who also signs in with Google, except from DE",
            ),
            (json!([{"everyone": {}}, a]), json!([]), json!([]), "everyone"),
            (json!([office, de]), json!([]), json!([]), "anyone from 10.0.0.0/8, DE"),
            (json!([google, a]), json!([]), json!([]), "anyone of a@x.io, or signed in with Google"),
            (
                json!([ci, {"any_valid_service_token": {}}]),
                json!([]),
                json!([]),
                "anyone with the service token ci, or with any service token",
            ),
            (
                json!([{"everyone": {}}]),
                json!([y, de, ci]),
                json!([a, office]),
                "everyone, who also has an address at y.io and comes from DE and shows the service token ci, except a@x.io, or from 10.0.0.0/8",
            ),
            (
                json!([google]),
                json!([{"account_owner": {}}]),
                json!([]),
                "anyone signed in with Google, who also is the account's owner",
            ),
            (
                json!([{"group": {"id": "g"}}]),
                json!([]),
                json!([]),
                "anyone who meets `{\"group\":{\"id\":\"g\"}}`",
            ),
        ] {
            let policy =
                json!({"decision": "allow", "include": include, "require": require, "exclude": exclude});
            let policy: PolicySpec = serde_json::from_value(policy).unwrap();
            assert_eq!(policy.in_words(), words);
        }
    }

    #[test]
    fn each_decision_begins_a_sentence() {
        let words = [Decision::Allow, Decision::Deny, Decision::NonIdentity, Decision::Bypass]
            .map(Decision::in_words);
        assert_eq!(words, ["lets in", "keeps out", "lets in without a sign-in", "asks nothing of"]);
    }
}
