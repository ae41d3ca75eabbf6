//! Which containers a DockFlare agent lists, so that two of them on one key behind one address are noticed: nothing
//! else that they say tells them apart.
//!
//! The Engine makes an id once and never again. Two lists without a common container that take turns, one right after
//! the other, come from two hosts: on a single one everything would have to stop and something else that was there
//! before to start between any two lists. Containers that are made anew change a list once. An empty list says nothing
//! about where it comes from.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use parking_lot::Mutex;

use crate::domain::container::Container;

/// Turns that a single host does not take.
const TURNS_OF_TWO_HOSTS: u32 = 5;
/// Lists that one of two hosts may send before it is the other's turn: their clocks drift.
const IN_A_ROW: u32 = 2;

/// The lists of one slot.
#[derive(Debug, Default)]
pub(super) struct Lists(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    latest: Option<List>,
    other: Option<List>,
    in_a_row: u32,
    turns: u32,
}

#[derive(Debug)]
struct List {
    /// Digests of the ids of its containers.
    ids: BTreeSet<u64>,
    /// One of them, in words.
    example: String,
}

impl Lists {
    /// Notes a list.
    pub(super) fn note(&self, containers: &[Container]) {
        self.0.lock().see(List::new(containers));
    }

    /// Returns a container of each of two hosts, if the lists take turns as those of two hosts would.
    pub(super) fn of_two_hosts(&self) -> Option<[String; 2]> {
        let seen = self.0.lock();
        let (latest, other) = (seen.latest.as_ref()?, seen.other.as_ref()?);
        (seen.turns >= TURNS_OF_TWO_HOSTS).then(|| [latest.example.clone(), other.example.clone()])
    }

    /// The agent speaks another dialect now, in which every host has a session of its own.
    pub(super) fn forget(&self) {
        *self.0.lock() = Seen::default();
    }
}

impl List {
    /// Makes none of an empty list.
    fn new(containers: &[Container]) -> Option<Self> {
        let first = containers.iter().min_by_key(|container| &container.name)?;
        let digest = |container: &Container| {
            let mut hasher = DefaultHasher::new();
            container.id.hash(&mut hasher);
            hasher.finish()
        };
        let short: String = first.id.as_str().chars().take(12).collect();
        Some(Self {
            ids: containers.iter().map(digest).collect(),
            example: format!("`{}` ({short})", first.name),
        })
    }

    fn shares_one_with(&self, other: &Self) -> bool {
        !self.ids.is_disjoint(&other.ids)
    }
}

impl Seen {
    fn see(&mut self, list: Option<List>) {
        let Some(list) = list else {
            *self = Self::default();
            return;
        };
        if self.latest.as_ref().is_none_or(|latest| latest.shares_one_with(&list)) {
            self.latest = Some(list);
            self.in_a_row += 1;
            if self.in_a_row > IN_A_ROW {
                self.other = None;
                self.turns = 0;
            }
            return;
        }
        let comes_back = self.other.as_ref().is_some_and(|other| other.shares_one_with(&list));
        self.turns = if comes_back { self.turns + 1 } else { 1 };
        self.other = self.latest.replace(list);
        self.in_a_row = 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actors::master::slot::Slot;
    use crate::domain::agent::AgentStatus;
    use crate::domain::id::{AgentId, ContainerId};

    /// What is noticed after these lists; each letter is a container, `-` an empty list.
    fn after(lists: &str) -> Option<[String; 2]> {
        let slot = Slot::new(AgentId::new("a1"), AgentStatus::Enrolled, None, None);
        for list in lists.split(' ') {
            let container = |letter: char| Container {
                id: ContainerId::new(letter.to_string().repeat(64)),
                name: format!("app-{letter}"),
                labels: Default::default(),
                image: None,
                status: None,
                networks: None,
            };
            let containers: Vec<_> = list.chars().filter(|c| *c != '-').map(container).collect();
            slot.note_list(&containers);
        }
        slot.two_lists()
    }

    #[test]
    fn lists_that_take_turns_come_from_two_hosts() {
        let both = ["`app-y` (yyyyyyyyyyyy)", "`app-a` (aaaaaaaaaaaa)"].map(str::to_owned);
        for lists in [
            "ab yz ab yz ab yz",
            // They drift, and containers come and go on either.
            "ab ab yz yz ab ab yz ab yz",
            "ab y abc yz bca y",
        ] {
            let found = after(lists);
            assert!(found.is_some(), "{lists}");
        }
        assert_eq!(after("ab yz ab yz ab yz"), Some(both));
        assert_eq!(after("ab yz ab yz ab yz ab ab ab"), None, "one of them went");
    }

    #[test]
    fn one_host_is_never_taken_for_two() {
        for lists in [
            // Everything was made anew, once and again and again.
            "ab yz yz yz",
            "ab cd ef gh ij kl mn op",
            // One that is there all the time holds them together.
            "xa xb xa xb xa xb xa xb",
            "a ab b ab a ab b ab a",
            // Two that run by turns, for some time each.
            "a a a b b b a a a b b b a a a b b b a a a",
            // One that comes and goes, or two with nothing between.
            "a - a - a - a - a - a",
            "a - b - a - b - a - b - a",
            // Somebody tries something out.
            "a b a b a",
        ] {
            assert_eq!(after(lists), None, "{lists}");
        }
    }
}
