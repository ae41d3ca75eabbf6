//! Where rules of ours go among foreign ones, whose order is not ours to change.
//!
//! The first match wins. So a rule of ours stands before every foreign one that would take all its requests,
//! and behind every foreign one whose requests it would take; between those bounds it stands before the first
//! foreign rule that is less specific. Among ourselves the order holds wherever two rules might get one request: it
//! keeps what is open from answering for what is closed.

use serde_json::{Map, Value};

use super::super::hostname::{covers, may_share_names};
use super::super::path::{PathPattern, kept_path, may_share_requests, plain_path};
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
    /// The form in which we would keep it.
    kept: String,
    rank: Rank,
}

impl Matcher {
    fn new(hostname: &str, pattern: &str) -> Self {
        let hostname = hostname.to_ascii_lowercase();
        let plain = if pattern.is_empty() { Some(String::new()) } else { plain_path(pattern) };
        let kept = kept_path(pattern);
        let rank = specificity(&hostname, plain.as_deref().unwrap_or(&kept));
        let path = (!pattern.is_empty()).then(|| PathPattern::new(pattern));
        Self { hostname, path, plain, kept, rank }
    }

    /// Says whether some request might be for both.
    fn shares_requests(&self, other: &Self) -> bool {
        may_share_names(&self.hostname, &other.hostname) && may_share_requests(&self.kept, &other.kept)
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
    if theirs.is_empty() {
        return vec![0; own.len()];
    }
    // A foreign rule that gets no request anyway needs no place in front of ours.
    let alive: Vec<bool> = (0..theirs.len())
        .map(|i| !theirs[..i].iter().any(|earlier| earlier.takes_all_of(&theirs[i])))
        .collect();
    let mut gaps: Vec<usize> = Vec::with_capacity(own.len());
    for rule in own {
        let last = theirs.iter().position(|f| f.takes_all_of(rule)).unwrap_or(theirs.len());
        let taken = (0..theirs.len()).rev().find(|f| alive[*f] && rule.takes_all_of(&theirs[*f]));
        let before = own.iter().zip(&gaps).filter(|(earlier, _)| earlier.shares_requests(rule));
        let behind_ours = before.map(|(_, gap)| *gap).max().unwrap_or(0);
        let first = taken.map_or(0, |f| f + 1).max(behind_ours).min(last);
        gaps.push((first..last).find(|f| theirs[*f].rank > rule.rank).unwrap_or(last));
    }
    // One that has to stand before a foreign rule takes along those of ours that stand before it.
    for (i, rule) in own.iter().enumerate().rev() {
        let later = own.iter().zip(&gaps).skip(i + 1).filter(|(later, _)| later.shares_requests(rule));
        let limit = later.map(|(_, gap)| *gap).min();
        gaps[i] = limit.map_or(gaps[i], |limit| limit.min(gaps[i]));
    }
    gaps
}

/// Returns a text of a rule; empty if it has none.
pub(super) fn text<'a>(rule: &'a Value, field: &str) -> &'a str {
    rule.get(field).and_then(Value::as_str).unwrap_or_default()
}
