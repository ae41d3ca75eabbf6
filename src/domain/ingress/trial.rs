//! Finds out which of several new rules Cloudflare refuses, so that the others can be written without them.
//!
//! A configuration is taken or refused as a whole. What is new in a refused one is tried in halves, and what was taken
//! stays: one bad rule among many costs about twice as many tries as the count has binary digits. Pure; who makes the
//! calls says what came of each.

use std::collections::{BTreeMap, BTreeSet};

use super::RuleId;

/// Tries of one search. What nobody came to by then counts as refused until the next search.
const MAX_TRIES: u32 = 16;

/// A search under way.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trial {
    /// Rules that nothing is known of; the last group is tried next.
    groups: Vec<Vec<RuleId>>,
    /// What was refused, and with which words.
    refused: BTreeMap<RuleId, String>,
    tries: u32,
}

impl Trial {
    /// What is known to be refused is left out from the start.
    pub fn knowing(refused: BTreeMap<RuleId, String>) -> Self {
        Self { refused, ..Self::default() }
    }

    /// True while there is a group to be tried.
    pub fn is_under_way(&self) -> bool {
        !self.groups.is_empty()
    }

    /// The rules to be left out of the next write.
    pub fn left_out(&self) -> BTreeSet<RuleId> {
        let waiting = self.groups.iter().rev().skip(1).flatten();
        waiting.chain(self.refused.keys()).cloned().collect()
    }

    /// The rules that were refused, and the words with which they were.
    pub fn refused(&self) -> &BTreeMap<RuleId, String> {
        &self.refused
    }

    /// What was tried is in force.
    pub fn taken(&mut self) {
        self.groups.pop();
    }

    /// The write was refused in these words; `new` are the rules in it that were not in force before. Returns false if
    /// none of them can be to blame.
    pub fn not_taken(&mut self, new: &[RuleId], words: &str) -> bool {
        self.tries += 1;
        let tried = match self.groups.pop() {
            Some(tried) => tried,
            None => new.to_vec(),
        };
        match tried.as_slice() {
            [] => return false,
            [one] => drop(self.refused.insert(one.clone(), words.to_owned())),
            _ => {
                let (first, second) = tried.split_at(tried.len() / 2);
                self.groups.extend([second.to_vec(), first.to_vec()]);
            }
        }
        if self.tries >= MAX_TRIES {
            let left = std::mem::take(&mut self.groups).into_iter().flatten();
            self.refused.extend(left.map(|id| (id, words.to_owned())));
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(number: usize) -> RuleId {
        RuleId { hostname: format!("app-{number:03}.example.com"), path: String::new() }
    }

    /// Searches as the publisher does; returns the trial, what is in force, and how many writes it took.
    fn search(count: usize, bad: &BTreeSet<RuleId>) -> (Trial, BTreeSet<RuleId>, u32) {
        let (mut trial, mut in_force, mut writes) = (Trial::default(), BTreeSet::new(), 0);
        let wanted: BTreeSet<RuleId> = (0..count).map(id).collect();
        loop {
            let left_out = trial.left_out();
            let tried: BTreeSet<RuleId> = wanted.difference(&left_out).cloned().collect();
            if tried == in_force {
                return (trial, in_force, writes);
            }
            writes += 1;
            if tried.is_disjoint(bad) {
                in_force = tried;
                trial.taken();
            } else {
                let new: Vec<RuleId> = tried.difference(&in_force).cloned().collect();
                assert!(trial.not_taken(&new, "no"));
            }
        }
    }

    #[test]
    fn one_bad_rule_is_found_and_its_neighbours_are_in_force() {
        for (count, most) in [(1_usize, 1), (2, 3), (3, 5), (10, 9), (100, 16)] {
            for bad in (0..count).step_by(count.div_ceil(7)) {
                let (trial, in_force, writes) = search(count, &[id(bad)].into());
                assert_eq!(trial.refused().keys().collect::<Vec<_>>(), [&id(bad)], "{bad} of {count}");
                assert_eq!(in_force.len(), count - 1);
                assert!(writes <= most, "{writes} writes for {bad} of {count}");
            }
        }
    }

    #[test]
    fn a_refusal_of_nothing_new_is_nobodys_fault_here() {
        assert!(!Trial::default().not_taken(&[], "no"));
    }

    proptest! {
        #[test]
        fn whatever_is_bad_a_search_ends_and_nothing_bad_is_in_force(
            count in 1_usize..40,
            bad in proptest::collection::btree_set(0_usize..40, 0..40),
        ) {
            let bad: BTreeSet<RuleId> = bad.into_iter().filter(|one| *one < count).map(id).collect();
            let (trial, in_force, writes) = search(count, &bad);
            prop_assert!(in_force.is_disjoint(&bad));
            prop_assert!(writes <= 2 * MAX_TRIES);
            prop_assert!(bad.iter().all(|one| trial.refused().contains_key(one)));
            prop_assert_eq!(in_force.len() + trial.refused().len(), count);
            if bad.len() <= 2 {
                prop_assert_eq!(trial.refused().len(), bad.len(), "only what is bad is left out");
            }
        }
    }
}
