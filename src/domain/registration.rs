//! Who an agent is when it registers: a host keeps its identity, and a second host with its key gets one of its own.

use super::agent::AgentStatus;
use super::id::AgentId;

/// Hosts that may wait for a person with one key, beyond its seats: a key that got about is not to fill the list.
pub const MOST_GUESTS: usize = 16;

/// What becomes of a registration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    /// It is this agent, known before: a host that lost its file keeps its identity.
    Known(AgentId),
    /// It is new, under the id it brought or under one that is made for it.
    New(Option<AgentId>),
    /// Its key was revoked and it has another one now: it is the same agent, but a person has to look again.
    Again(AgentId),
    /// It is a second host with the key of another agent: an agent of its own, that waits for a person.
    Guest(Option<AgentId>),
    /// More hosts wait with this key than anybody could want.
    Crowded,
    /// The key belongs to another agent, or the id to another key.
    Refused,
}

/// An agent that uses the key that somebody registers with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Which agent.
    pub id: AgentId,
    /// What is known of where it speaks from.
    pub place: Place,
    /// True if it was heard lately.
    pub is_heard: bool,
}

/// Whether an agent speaks from where somebody registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// From there.
    Here,
    /// From another address, or from a host of another name.
    Elsewhere,
    /// It was not heard since the master started.
    Unknown,
}

/// Decides what becomes of a registration with a valid key.
///
/// `own` is the agent that registered with this key first; `guests` are others that share it; `asked` is the id that the
/// caller brings, and `status_of_asked` where that agent stands, if there is one. An id whose key was revoked goes to
/// whoever holds a key that no agent uses yet: the key was made by an administrator, and the agent is pending until a
/// person enrols it again.
pub fn admit(
    own: Option<&User>,
    guests: &[User],
    asked: Option<&AgentId>,
    status_of_asked: Option<AgentStatus>,
    seats: usize,
) -> Admission {
    let Some(own) = own else { return admit_first(asked, status_of_asked) };
    // Two words from two places at one time do not come from one host.
    let is_elsewhere = own.place == Place::Elsewhere && own.is_heard;
    let another = |asked: Option<&AgentId>| match guests.len() < seats + MOST_GUESTS {
        true => Admission::Guest(asked.cloned()),
        false => Admission::Crowded,
    };
    match asked {
        Some(asked) if own.id == *asked || guests.iter().any(|guest| guest.id == *asked) => {
            Admission::Known(asked.clone())
        }
        Some(asked) if status_of_asked.is_none() && is_elsewhere => another(Some(asked)),
        Some(_) => Admission::Refused,
        None if own.place == Place::Here => Admission::Known(own.id.clone()),
        None => match guests.iter().find(|guest| guest.place == Place::Here) {
            Some(guest) => Admission::Known(guest.id.clone()),
            // A lone host that lost its file, and perhaps moved.
            None if !is_elsewhere => Admission::Known(own.id.clone()),
            None => another(None),
        },
    }
}

fn admit_first(asked: Option<&AgentId>, status_of_asked: Option<AgentStatus>) -> Admission {
    match (asked, status_of_asked) {
        (None, _) => Admission::New(None),
        (Some(asked), None | Some(AgentStatus::Removed)) => Admission::New(Some(asked.clone())),
        (Some(asked), Some(AgentStatus::Revoked)) => Admission::Again(asked.clone()),
        (Some(_), Some(AgentStatus::Pending | AgentStatus::Enrolled)) => Admission::Refused,
    }
}

/// An agent on a machine that calls itself as the one that registers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Namesake {
    /// Which agent.
    pub id: AgentId,
    /// Where it stands.
    pub status: AgentStatus,
    /// True if it was heard lately, by more than its being let in.
    pub is_heard: bool,
}

/// Says which agent a host is again that lost what it was given, or was never told: the only one on a machine of that name,
/// if it is enrolled and silent. The token that it comes with lets any host in, so that nothing is gained by a wrong name but
/// the history of a host that is gone; one that is there, that waits for a person or that was revoked is never taken over.
pub fn same_again(namesakes: &[Namesake]) -> Option<&AgentId> {
    let mut listed = namesakes.iter().filter(|one| one.status.is_heard());
    match (listed.next(), listed.next()) {
        (Some(only), None) if only.status == AgentStatus::Enrolled && !only.is_heard => Some(&only.id),
        _ => None,
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

    fn user(id: &str, place: Place, is_heard: bool) -> User {
        User { id: AgentId::new(id), place, is_heard }
    }

    #[test]
    fn a_key_that_nobody_uses_admits_who_comes_first() {
        use AgentStatus::{Enrolled, Pending, Removed, Revoked};
        let b = AgentId::new("b");
        let cases = [
            (None, None, Admission::New(None)),
            (Some(&b), None, Admission::New(Some(b.clone()))),
            (Some(&b), Some(Removed), Admission::New(Some(b.clone()))),
            (Some(&b), Some(Revoked), Admission::Again(b.clone())),
            (Some(&b), Some(Pending), Admission::Refused),
            (Some(&b), Some(Enrolled), Admission::Refused),
        ];
        for (asked, status, expected) in cases {
            assert_eq!(admit(None, &[], asked, status, 1), expected, "{asked:?} ({status:?})");
        }
    }

    #[test]
    fn a_host_keeps_its_identity_and_a_second_one_gets_its_own() {
        use AgentStatus::{Enrolled, Pending, Removed};
        use Place::{Elsewhere, Here, Unknown};
        let [a, b, c] = ["a", "b", "c"].map(AgentId::new);
        let guest = [user("b", Here, true)];
        let far = [user("b", Elsewhere, true)];
        type Case<'a> = (Place, bool, &'a [User], Option<&'a AgentId>, Option<AgentStatus>, Admission);
        let cases: [Case; 15] = [
            // With its id it is itself, wherever it speaks from.
            (Elsewhere, true, &[], Some(&a), Some(Enrolled), Admission::Known(a.clone())),
            (Elsewhere, true, &far, Some(&b), Some(Pending), Admission::Known(b.clone())),
            // Without it, it is who speaks from there.
            (Here, true, &[], None, None, Admission::Known(a.clone())),
            (Here, true, &guest, None, None, Admission::Known(a.clone())),
            (Elsewhere, true, &guest, None, None, Admission::Known(b.clone())),
            // A lone host lost its file; nobody is heard from elsewhere.
            (Unknown, true, &[], None, None, Admission::Known(a.clone())),
            (Elsewhere, false, &[], None, None, Admission::Known(a.clone())),
            (Elsewhere, false, &guest, None, None, Admission::Known(b.clone())),
            // A second host.
            (Elsewhere, true, &[], None, None, Admission::Guest(None)),
            (Elsewhere, true, &far, None, None, Admission::Guest(None)),
            // With an id that another master gave it.
            (Elsewhere, true, &[], Some(&c), None, Admission::Guest(Some(c.clone()))),
            // With an id that nobody knows, from where the agent itself speaks, or might.
            (Here, true, &[], Some(&c), None, Admission::Refused),
            (Unknown, true, &[], Some(&c), None, Admission::Refused),
            // With the id of an agent that has another key, or that a person removed.
            (Elsewhere, true, &[], Some(&c), Some(Pending), Admission::Refused),
            (Elsewhere, true, &[], Some(&c), Some(Removed), Admission::Refused),
        ];
        for (place, is_heard, guests, asked, status, expected) in cases {
            let own = user("a", place, is_heard);
            let admitted = admit(Some(&own), guests, asked, status, 1);
            assert_eq!(admitted, expected, "{own:?}, {guests:?}: {asked:?} ({status:?})");
        }
    }

    #[test]
    fn a_host_is_itself_again_only_if_nobody_else_could_be_meant() {
        use AgentStatus::{Enrolled, Pending, Removed, Revoked};
        type Case<'a> = (&'a [(&'a str, AgentStatus, bool)], Option<&'a str>);
        let cases: [Case; 9] = [
            (&[], None),
            (&[("a", Enrolled, false)], Some("a")),
            (&[("a", Enrolled, true)], None),
            (&[("a", Pending, false)], None),
            (&[("a", Revoked, false)], None),
            (&[("a", Removed, false)], None),
            (&[("a", Enrolled, false), ("b", Enrolled, false)], None),
            (&[("a", Enrolled, false), ("b", Pending, true)], None),
            (&[("a", Revoked, false), ("b", Enrolled, false)], Some("b")),
        ];
        for (namesakes, expected) in cases {
            let one = |(id, status, is_heard): &(&str, AgentStatus, bool)| Namesake {
                id: AgentId::new(*id),
                status: *status,
                is_heard: *is_heard,
            };
            let namesakes: Vec<Namesake> = namesakes.iter().map(one).collect();
            assert_eq!(same_again(&namesakes).map(AgentId::as_str), expected, "{namesakes:?}");
        }
    }

    #[test]
    fn no_key_fills_the_list_of_agents() {
        let own = user("a", Place::Elsewhere, true);
        let guests: Vec<User> =
            (0..=MOST_GUESTS).map(|n| user(&format!("g{n}"), Place::Elsewhere, true)).collect();
        assert_eq!(admit(Some(&own), &guests, None, None, 1), Admission::Crowded);
        assert_eq!(admit(Some(&own), &guests, None, None, 2), Admission::Guest(None));
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
