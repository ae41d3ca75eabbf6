//! Who may come in: a decision about those whom its rules are about.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::text::repeated;
use super::options::check_name;
use super::selector::Selector;

/// Most bytes of the rules of one application or group, as they are written.
pub const MAX_RULES: usize = 64 << 10;
/// Most policies of one application or group.
pub(super) const MAX_POLICIES: usize = 50;
/// What a policy holds.
const KNOWN: [&str; 5] = ["name", "decision", "include", "require", "exclude"];
/// What Cloudflare adds to a policy by itself, and somebody copied with it.
const ADDED: [&str; 8] =
    ["id", "uid", "account_id", "created_at", "updated_at", "app_count", "reusable", "precedence"];

/// What happens to those whom a policy is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// They come in once they signed in.
    Allow,
    /// They stay out.
    #[serde(alias = "block")]
    Deny,
    /// They come in without signing in, by a service token or another proof.
    NonIdentity,
    /// They come in, and nothing is asked.
    Bypass,
}

impl Decision {
    /// Returns Cloudflare's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::NonIdentity => "non_identity",
            Self::Bypass => "bypass",
        }
    }
}

/// A policy as a person or a label gives it: names may stand where Cloudflare has ids.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicySpec {
    /// For people; at Cloudflare its name says whose it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What happens to those whom it is about.
    pub decision: Decision,
    /// It is about whoever meets any of these,
    pub include: Vec<Selector>,
    /// and all of these,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub require: Vec<Selector>,
    /// and none of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<Selector>,
}

impl PolicySpec {
    /// Returns what is wrong with it, and what to write.
    pub fn check(&self) -> Result<(), String> {
        if let Some(name) = &self.name {
            check_name("its name", name)?;
        }
        if self.include.is_empty() {
            return Err(
                "`include` is empty, so it is about nobody; name somebody, or `{\"everyone\":{}}`".into()
            );
        }
        self.selectors().try_for_each(Selector::check)
    }

    /// Returns all its rules.
    pub fn selectors(&self) -> impl Iterator<Item = &Selector> {
        self.include.iter().chain(&self.require).chain(&self.exclude)
    }
}

/// Checks the policies of one application or group together; each reason names the policy by its number.
pub(super) fn check_all(policies: &[PolicySpec]) -> Result<(), Vec<String>> {
    if policies.is_empty() {
        return Err(vec!["there is no policy, so nobody could come in; add one".into()]);
    }
    if policies.len() > MAX_POLICIES {
        return Err(vec![format!("more than {MAX_POLICIES} policies; make fewer of them, or another group")]);
    }
    let number = |(i, policy): (usize, &PolicySpec)| {
        policy.check().err().map(|reason| format!("policy {}: {reason}", i + 1))
    };
    let mut wrong: Vec<String> = policies.iter().enumerate().filter_map(number).collect();
    if serde_json::to_string(policies).is_ok_and(|written| written.len() > MAX_RULES) {
        wrong.push(format!("all policies together are longer than {} KiB", MAX_RULES >> 10));
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong) }
}

/// Reads a JSON array of policies, as Cloudflare has them and as a label may hold them.
pub fn parse_rules(text: &str) -> Result<Vec<PolicySpec>, String> {
    if text.len() > MAX_RULES {
        return Err(format!("longer than {} KiB; make a group of them and name that", MAX_RULES >> 10));
    }
    let Value::Array(rules) = serde_json::from_str(text).map_err(|error| {
        format!("this is no JSON ({error}); write an array of policies, such as `{EXAMPLE}`")
    })?
    else {
        return Err(format!("an array of policies belongs here, such as `{EXAMPLE}`"));
    };
    let precedences: Vec<f64> =
        rules.iter().filter_map(|rule| rule.get("precedence").and_then(Value::as_f64)).collect();
    if !precedences.is_sorted() {
        return Err(
            "the policies count in their order, and their `precedence` says another one; put them in order"
                .into(),
        );
    }
    let read =
        |(i, rule): (usize, Value)| read_policy(rule).map_err(|reason| format!("policy {}: {reason}", i + 1));
    let policies: Vec<PolicySpec> = rules.into_iter().enumerate().map(read).collect::<Result<_, _>>()?;
    check_all(&policies).map_err(|mut wrong| wrong.swap_remove(0))?;
    Ok(policies)
}

const EXAMPLE: &str = r#"[{"decision":"allow","include":[{"email":{"email":"a@example.com"}}]}]"#;

fn read_policy(rule: Value) -> Result<PolicySpec, String> {
    let Value::Object(mut rule) = rule else { return Err("it is no object".into()) };
    // What Cloudflare leaves empty it writes as `null`.
    rule.retain(|name, value| !value.is_null() && !ADDED.contains(&name.as_str()));
    if let Some(unknown) = rule.keys().find(|name| !KNOWN.contains(&name.as_str())) {
        return Err(format!(
            "`{}` cannot be set here; a policy holds {}",
            repeated(unknown),
            KNOWN.map(|name| format!("`{name}`")).join(", ")
        ));
    }
    serde_json::from_value(Value::Object(rule)).map_err(|error| cut(&error.to_string()))
}

/// An error may repeat what it met, however long that is.
fn cut(reason: &str) -> String {
    reason.chars().take(300).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn email(address: &str) -> Selector {
        Selector::Email(address.into())
    }

    #[test]
    fn policies_are_read_as_cloudflare_writes_them() {
        let text = json!([
            {
                "id": "p", "precedence": 1, "created_at": "2026", "reusable": true, "name": "staff",
                "decision": "allow", "require": null, "exclude": [{"geo": {"country_code": "DE"}}],
                "include": [{"email": {"email": "a@example.com"}}, {"okta": {"name": "g", "identity_provider_id": "i"}}],
            },
            {"precedence": 2, "decision": "block", "include": [{"everyone": {}}]},
        ]);
        let [allow, deny] = &parse_rules(&text.to_string()).unwrap()[..] else { panic!("two") };
        assert_eq!((allow.name.as_deref(), allow.decision), (Some("staff"), Decision::Allow));
        assert_eq!((allow.include.len(), allow.require.len(), allow.exclude.len()), (2, 0, 1));
        assert_eq!(allow.include[0], email("a@example.com"));
        assert!(matches!(allow.include[1], Selector::Other(_)));
        assert_eq!((deny.decision, deny.include.clone()), (Decision::Deny, vec![Selector::Everyone]));
        assert_eq!(serde_json::to_value(deny).unwrap()["decision"], "deny", "Cloudflare knows no `block`");
    }

    #[test]
    fn each_decision_has_its_word() {
        for word in ["allow", "deny", "non_identity", "bypass"] {
            let read: Decision = serde_json::from_value(json!(word)).unwrap();
            assert_eq!((read.as_str(), serde_json::to_value(read).unwrap()), (word, json!(word)));
        }
    }

    #[test]
    fn what_cannot_be_read_says_which_policy_and_why() {
        let policy = |more: Value| {
            let mut policy = json!({"decision": "allow", "include": [{"everyone": {}}]});
            policy.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            policy
        };
        let many = vec![policy(json!({})); 51];
        for (text, words) in [
            ("".to_owned(), "this is no JSON"),
            ("[{]".to_owned(), "this is no JSON"),
            ("{}".to_owned(), "an array of policies"),
            ("[]".to_owned(), "nobody could come in"),
            ("[1]".to_owned(), "policy 1: it is no object"),
            (
                json!([policy(json!({})), {"decision": "allow"}]).to_string(),
                "policy 2: missing field `include`",
            ),
            (json!([{"include": [{"everyone": {}}]}]).to_string(), "missing field `decision`"),
            (json!([policy(json!({"decision": "maybe"}))]).to_string(), "`maybe`"),
            (json!([policy(json!({"include": []}))]).to_string(), "about nobody"),
            (json!([policy(json!({"include": [{}]}))]).to_string(), "exactly one key"),
            (
                json!([policy(json!({"require": [{"ip": {"ip": "x"}}]}))]).to_string(),
                "no address of a network",
            ),
            (json!([policy(json!({"exclude": [{"geo": {"country_code": "D"}}]}))]).to_string(), "no country"),
            (
                json!([policy(json!({"approval_required": true}))]).to_string(),
                "`approval_required` cannot be set",
            ),
            (json!([policy(json!({"inclde": []}))]).to_string(), "`inclde` cannot be set"),
            (json!([policy(json!({"name": ""}))]).to_string(), "empty"),
            (json!(many).to_string(), "more than 50"),
            (
                json!([policy(json!({"precedence": 2})), policy(json!({"precedence": 1}))]).to_string(),
                "in order",
            ),
            (format!("[{}]", " ".repeat(64 << 10)), "longer than 64 KiB"),
        ] {
            let said = parse_rules(&text).unwrap_err();
            assert!(said.contains(words) && said.len() < 700, "{text}: {said}");
        }
    }

    #[test]
    fn a_long_value_is_not_repeated_as_a_whole() {
        let text = json!([{"decision": "x".repeat(60_000), "include": []}]).to_string();
        assert!(parse_rules(&text).unwrap_err().len() < 400);
    }
}
