//! Labels that ask for what their service knows nothing of.

use std::collections::{BTreeMap, BTreeSet};

use super::super::origin::{Wish, kind, takes};
use super::problem::LabelProblem;
use super::table::Found;

/// What the options of one container come to: a base label counts for every route that falls back to it, and one of
/// them may be of another kind.
#[derive(Debug, Default)]
pub(super) struct Effects<'a> {
    with: BTreeSet<String>,
    without: BTreeMap<String, (&'a str, String)>,
}

impl<'a> Effects<'a> {
    /// Notes that a label wishes something of a service; returns true if the service takes it.
    pub(super) fn note(&mut self, service: &str, found: Found<'a>, wish: Wish) -> bool {
        let is_taken = takes(service, wish);
        match is_taken {
            true => self.has_effect(&found),
            false => {
                let kind = kind(service);
                let reason = format!(
                    "has no effect on a `{kind}` service; remove it, or choose another kind of service"
                );
                self.has_none(&found, reason);
            }
        }
        is_taken
    }

    /// Some route has a use for the label.
    pub(super) fn has_effect(&mut self, found: &Found<'a>) {
        self.with.insert(found.label.clone());
    }

    /// A route has no use for the label, for this reason.
    pub(super) fn has_none(&mut self, found: &Found<'a>, reason: String) {
        self.without.entry(found.label.clone()).or_insert((found.value, reason));
    }

    /// Adds every label that no route has a use for.
    pub(super) fn note_what_is_without(self, problems: &mut Vec<LabelProblem>) {
        for (label, (value, reason)) in self.without {
            if !self.with.contains(&label) {
                problems.push(LabelProblem::new(&label, value, reason));
            }
        }
    }
}
