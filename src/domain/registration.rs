//! Who an agent is when it registers: one key is one agent.

use super::agent::AgentStatus;
use super::id::AgentId;

/// What becomes of a registration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    /// It is this agent, known before: a host that lost its file keeps its identity.
    Known(AgentId),
    /// It is new, under the id it brought or under one that is made for it.
    New(Option<AgentId>),
    /// Its key was revoked and it has another one now: it is the same agent, but a person has to look again.
    Again(AgentId),
    /// The key belongs to another agent, or the id to another key.
    Refused,
}

/// Decides what becomes of a registration with a valid key.
///
/// `bound` is the agent that registered with this key before; `asked` the id the caller brings; `status_of_asked`
/// where that agent stands, if there is one. An id whose key was revoked goes to whoever holds a key that no agent
/// uses yet: the key was made by an administrator, and the agent is pending until a person enrols it again.
pub fn admit(
    bound: Option<&AgentId>,
    asked: Option<&AgentId>,
    status_of_asked: Option<AgentStatus>,
) -> Admission {
    match (bound, asked) {
        (Some(own), None) => Admission::Known(own.clone()),
        (Some(own), Some(asked)) if own == asked => Admission::Known(own.clone()),
        (Some(_), Some(_)) => Admission::Refused,
        (None, None) => Admission::New(None),
        (None, Some(asked)) => match status_of_asked {
            None | Some(AgentStatus::Removed) => Admission::New(Some(asked.clone())),
            Some(AgentStatus::Revoked) => Admission::Again(asked.clone()),
            Some(AgentStatus::Pending | AgentStatus::Enrolled) => Admission::Refused,
        },
    }
}

/// Returns the name to show for an agent that gives itself `display_name` on machine `hostname`.
pub fn shown_name(display_name: Option<&str>, hostname: Option<&str>, id: &AgentId) -> String {
    let given = [display_name, hostname].into_iter().flatten().map(str::trim).find(|name| !name.is_empty());
    match given {
        Some(name) => name.chars().filter(|c| !c.is_control()).take(MAX_NAME_CHARS).collect(),
        None => format!("agent-{}", id.as_str().chars().take(8).collect::<String>()),
    }
}

/// Returns what tells whether a registration brings anything new; a name of its own does not count once a person gave
/// one.
pub fn identity_digest(display_name: &str, custom_name: bool, version: Option<&str>) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    (if custom_name { None } else { Some(display_name) }, version).hash(&mut hasher);
    hasher.finish()
}

/// Longest name that is kept.
pub const MAX_NAME_CHARS: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_key_is_one_agent() {
        let (a, b) = (AgentId::new("a"), AgentId::new("b"));
        use AgentStatus::{Enrolled, Pending, Removed, Revoked};
        let cases = [
            (Some(&a), None, None, Admission::Known(a.clone())),
            (Some(&a), Some(&a), Some(Enrolled), Admission::Known(a.clone())),
            (Some(&a), Some(&b), None, Admission::Refused),
            (Some(&a), Some(&b), Some(Pending), Admission::Refused),
            (Some(&a), Some(&b), Some(Revoked), Admission::Refused),
            (None, None, None, Admission::New(None)),
            (None, Some(&b), None, Admission::New(Some(b.clone()))),
            (None, Some(&b), Some(Removed), Admission::New(Some(b.clone()))),
            (None, Some(&b), Some(Revoked), Admission::Again(b.clone())),
            (None, Some(&b), Some(Pending), Admission::Refused),
            (None, Some(&b), Some(Enrolled), Admission::Refused),
        ];
        for (bound, asked, status, expected) in cases {
            assert_eq!(admit(bound, asked, status), expected, "{bound:?} asks for {asked:?} ({status:?})");
        }
    }

    #[test]
    fn an_agent_without_a_name_is_called_after_its_machine_or_its_id() {
        let id = AgentId::new("edba1cec-bae7");
        assert_eq!(shown_name(Some(" Lab Host "), Some("h"), &id), "Lab Host");
        assert_eq!(shown_name(Some("  "), Some("web-1"), &id), "web-1");
        assert_eq!(shown_name(None, None, &id), "agent-edba1cec");
        assert_eq!(shown_name(Some(&"x".repeat(500)), None, &id).len(), MAX_NAME_CHARS);
        assert_eq!(shown_name(Some("a\u{0}\nb"), None, &id), "ab");
    }
}
