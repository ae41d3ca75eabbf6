//! What is to be done about one reusable policy, given what the account has.

use serde_json::{Map, Value};

use super::super::id::PolicyId;
use super::super::text::repeated;
use super::compare::{is_same_list, sent_back};
use super::need::{PolicyKey, WantedPolicy};

/// A reusable policy of the account.
#[derive(Debug, Clone, PartialEq)]
pub struct FoundPolicy {
    /// Its id.
    pub id: PolicyId,
    /// Its name.
    pub name: String,
    /// All of it, as it was read.
    pub body: Value,
}

/// What our row says of a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnPolicy {
    /// Which one it is.
    pub key: PolicyKey,
    /// Its id; none if nobody heard what became of its making.
    pub id: Option<PolicyId>,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum PolicyStep {
    /// Nothing: it is there as it is to be.
    Keep {
        /// Its id.
        id: PolicyId,
    },
    /// It is to be made, from the body of what is wanted.
    Create,
    /// It is to be written.
    Update {
        /// Its id.
        id: PolicyId,
        /// Ours, written over what is there.
        body: Value,
    },
    /// Somebody else's has its name.
    Blocked {
        /// Which one, and the way out.
        reason: String,
    },
}

/// Returns what is to be done.
///
/// A policy is ours if our row has its id. Without an id, or if that one is gone, it is ours by its name, which carries the
/// mark of this installation. Without a row nothing is ours.
pub fn policy_step(wanted: &WantedPolicy, found: &[FoundPolicy], own: Option<&OwnPolicy>) -> PolicyStep {
    let named = || found.iter().filter(|policy| policy.name == wanted.name);
    let Some(own) = own.filter(|own| own.key == wanted.key) else {
        return match named().next() {
            None => PolicyStep::Create,
            Some(other) => PolicyStep::Blocked { reason: in_the_way(other) },
        };
    };
    let by_id = own.id.as_ref().and_then(|id| found.iter().find(|policy| policy.id == *id));
    // Of two that were made because an answer was lost, the right one is kept.
    let by_name = || named().find(|policy| is_policy_as_wanted(wanted, policy)).or_else(|| named().next());
    match by_id.or_else(by_name) {
        None => PolicyStep::Create,
        Some(there) if is_policy_as_wanted(wanted, there) => PolicyStep::Keep { id: there.id.clone() },
        Some(there) => PolicyStep::Update { id: there.id.clone(), body: written_over(wanted, &there.body) },
    }
}

fn in_the_way(other: &FoundPolicy) -> String {
    format!(
        "the account has a policy `{}` ({}) that is not known to be ours; rename or delete it at Cloudflare, or adopt it",
        repeated(&other.name),
        other.id
    )
}

/// True if a policy says what is wanted; what we never set is not looked at.
pub fn is_policy_as_wanted(wanted: &WantedPolicy, found: &FoundPolicy) -> bool {
    let is_same = |field: &str| found.body.get(field) == wanted.body.get(field);
    let is_same_rules = |field: &str| is_same_list(found.body.get(field), wanted.body.get(field));
    ["name", "decision"].into_iter().all(is_same)
        && ["include", "require", "exclude"].into_iter().all(is_same_rules)
}

fn written_over(wanted: &WantedPolicy, there: &Value) -> Value {
    let mut body = there.as_object().map(sent_back).unwrap_or_default();
    let ours: Map<String, Value> = wanted.body.as_object().cloned().unwrap_or_default();
    body.extend(ours);
    Value::Object(body)
}
