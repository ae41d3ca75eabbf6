//! Routes that ask for protection and are not there: no other one may answer for them.

use std::collections::BTreeSet;

use super::super::access::AccessAsk;
use super::super::hostname::{covers, parse_hostname};
use super::super::path::{lies_within, normalise_path};
use super::super::route::{RouteKey, Service};
use super::access::MAX_ALL_RULES;
use super::near_miss::{AccessTypo, is_access};
use super::problem::{LabelProblem, note};
use super::table::{Labelled, Level};

/// Sees to it, for one container.
pub(super) struct Guard<'a> {
    /// Labels about protection that nobody knows.
    typos: Vec<AccessTypo<'a>>,
    /// Routes that ask for protection and are not there.
    lost: Vec<Lost>,
    /// Bytes of rules so far.
    rules: usize,
}

impl<'a> Guard<'a> {
    pub(super) fn new(typos: Vec<AccessTypo<'a>>) -> Self {
        Self { typos, lost: Vec::new(), rules: 0 }
    }

    pub(super) fn typos(&self) -> &[AccessTypo<'a>] {
        &self.typos
    }

    /// This route will not be there.
    pub(super) fn lose(&mut self, lost: Lost) {
        self.lost.push(lost);
    }

    /// Closes every route that would answer for one that is not there.
    pub(super) fn close(&self, services: &mut [Service]) {
        for lost in &self.lost {
            lost.close(services);
        }
    }

    /// Notes the numbered routes from `unread` on that ask for protection: nobody comes to read them.
    pub(super) fn lose_unread(&mut self, table: &Labelled<'_>, unread: usize) {
        let is_open = |level, suffix: &str| {
            let word = table.get(level, suffix).map(|found| found.value.trim().to_ascii_lowercase());
            suffix == "access.policy" && word.is_some_and(|word| ["none", "bypass"].contains(&word.as_str()))
        };
        let known = table.all().filter(|(.., suffix)| is_access(suffix));
        let known = known.filter(|(_, level, suffix)| !is_open(*level, suffix)).map(|(_, level, _)| level);
        let levels = known.chain(self.typos.iter().map(|typo| typo.level));
        let numbers: BTreeSet<usize> = levels
            .filter_map(|level| match level {
                Level::Index(i) if i >= unread => Some(i),
                _ => None,
            })
            .collect();
        self.lost.extend(numbers.into_iter().map(|i| Lost::of(table, Level::Index(i))));
    }

    /// Each route keeps a copy of rules that stand at the base, so they have a bound together.
    pub(super) fn count_rules(
        &mut self,
        table: &Labelled<'_>,
        level: Level,
        service: &mut Service,
        problems: &mut Vec<LabelProblem>,
    ) {
        let AccessAsk::Own { policies, .. } = &service.access else { return };
        self.rules += serde_json::to_string(policies).map_or(MAX_ALL_RULES, |written| written.len());
        if self.rules <= MAX_ALL_RULES {
            return;
        }
        let reason = format!(
            "the rules of all routes of this container are longer than {} KiB together; make a group of them and name that",
            MAX_ALL_RULES >> 10
        );
        if let Some(found) = table.get_or_base(level, "access.custom_rules") {
            note(problems, &found, &reason);
        }
        service.access = AccessAsk::Unreadable { reasons: vec![reason] };
    }
}

/// A route that asks for protection and is not there. What can be read of it says which others might answer for it.
pub(super) struct Lost {
    label: String,
    hostname: Option<String>,
    path: Option<String>,
}

impl Lost {
    pub(super) fn of(table: &Labelled<'_>, level: Level) -> Self {
        let hostname = table.get(level, "hostname").and_then(|found| parse_hostname(found.value).ok());
        let path =
            table.get_or_base(level, "path").map_or(Ok(String::new()), |found| normalise_path(found.value));
        Self { label: table.name_at(level, "hostname"), hostname, path: path.ok() }
    }

    /// Of a route that could be read, but for which there is no room.
    pub(super) fn of_service(service: &Service) -> Self {
        let RouteKey { hostname, path } = service.key.clone();
        Self { label: service.key.to_string(), hostname: Some(hostname), path: Some(path) }
    }

    /// Closes every route that lets everybody in and would get the requests that were meant for this one.
    pub(super) fn close(&self, services: &mut [Service]) {
        let answers = |key: &RouteKey| {
            self.hostname.as_ref().is_none_or(|name| covers(&key.hostname, name))
                && self.path.as_ref().is_none_or(|path| lies_within(path, &key.path))
        };
        for service in
            services.iter_mut().filter(|service| !service.access.keeps_out() && answers(&service.key))
        {
            let label = LabelProblem::new(&self.label, "", "").label;
            let reason = format!(
                "`{label}` asks for protection and cannot be published, and this route would answer for it; put that one right, or remove its labels"
            );
            service.access = AccessAsk::Unreadable { reasons: vec![reason] };
        }
    }
}
