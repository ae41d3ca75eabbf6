//! Where rules of ours go among foreign ones, whose order is not ours to change.
//!
//! The first match wins. So a rule of ours stands before every foreign one that would take all its requests,
//! and behind every foreign one whose requests it would take; between those bounds it stands before the first
//! foreign rule that is less specific.

use serde_json::{Map, Value};

use super::super::hostname::covers;
use super::super::path::{PathPattern, plain_path};
use super::{IngressRule, Rank, specificity};

/// A rule of ours with the one that stands in the configuration already, if any.
pub(super) struct Placed {
    pub(super) rule: IngressRule,
    pub(super) there: Map<String, Value>,
}

/// Which requests a rule takes.
struct Matcher {
    hostname: String,
    /// `None` for the whole host.
    path: Option<PathPattern>,
    /// The kept path, if the expression is a plain one.
    plain: Option<String>,
    rank: Rank,
}

impl Matcher {
    fn new(hostname: &str, pattern: &str) -> Self {
        let hostname = hostname.to_ascii_lowercase();
        let plain = if pattern.is_empty() { Some(String::new()) } else { plain_path(pattern) };
        let rank = specificity(&hostname, plain.as_deref().unwrap_or(pattern));
        let path = (!pattern.is_empty()).then(|| PathPattern::new(pattern));
        Self { hostname, path, plain, rank }
    }

    /// Says whether it takes every request that `other` would take, as far as expressions can be compared.
    fn takes_all_of(&self, other: &Self) -> bool {
        covers(&self.hostname, &other.hostname)
            && match (&self.path, &other.path) {
                (None, _) => true,
                (Some(_), None) => false,
                (Some(own), Some(theirs)) => match (&other.plain, &self.plain) {
                    (Some(path), _) if !path.is_empty() && own.covers_path(path) => true,
                    (_, Some(path)) if !path.is_empty() => theirs.is_below(path),
                    _ => false,
                },
            }
    }
}

/// Returns all rules but the catch-all: foreign ones in their order, ours in the order given where they meet.
pub(super) fn interleave(ours: &[Placed], foreign: &[Value]) -> Vec<Value> {
    let theirs: Vec<Matcher> =
        foreign.iter().map(|rule| Matcher::new(text(rule, "hostname"), text(rule, "path"))).collect();
    let own: Vec<Matcher> = ours
        .iter()
        .map(|placed| Matcher::new(&placed.rule.hostname, placed.rule.path.as_deref().unwrap_or_default()))
        .collect();
    let gaps = choose_gaps(&own, &theirs);
    let mut list = Vec::with_capacity(ours.len() + foreign.len());
    for gap in 0..=foreign.len() {
        let here = gaps.iter().zip(ours).filter(|(at, _)| **at == gap);
        list.extend(here.map(|(_, placed)| placed.rule.written_over(&placed.there)));
        list.extend(foreign.get(gap).cloned());
    }
    list
}

/// Chooses for each of ours the foreign rule it stands before.
fn choose_gaps(own: &[Matcher], theirs: &[Matcher]) -> Vec<usize> {
    let mut gaps = vec![theirs.len(); own.len()];
    if theirs.is_empty() {
        return gaps;
    }
    // A foreign rule that gets no request anyway needs no place in front of ours.
    let alive: Vec<bool> = (0..theirs.len())
        .map(|i| !theirs[..i].iter().any(|earlier| earlier.takes_all_of(&theirs[i])))
        .collect();
    for (i, rule) in own.iter().enumerate().rev() {
        let last = theirs.iter().position(|f| f.takes_all_of(rule)).unwrap_or(theirs.len());
        let taken = (0..theirs.len()).rev().find(|f| alive[*f] && rule.takes_all_of(&theirs[*f]));
        let first = taken.map_or(0, |f| f + 1).min(last);
        let gap = (first..last).find(|f| theirs[*f].rank > rule.rank).unwrap_or(last);
        // Among ourselves the order holds wherever one rule would take the other's requests.
        let behind = (i + 1..own.len()).filter(|j| own[*j].takes_all_of(rule)).map(|j| gaps[j]).min();
        gaps[i] = behind.map_or(gap, |limit| gap.min(limit));
    }
    gaps
}

/// Returns a text of a rule; empty if it has none.
pub(super) fn text<'a>(rule: &'a Value, field: &str) -> &'a str {
    rule.get(field).and_then(Value::as_str).unwrap_or_default()
}
