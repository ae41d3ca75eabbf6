//! What the routes of a tunnel ask of Cloudflare: rules and names, or the reason why not.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use super::id::ZoneId;
use super::ingress::{IngressRule, RuleId, guarded_rules};
use super::publish::{PublishSettings, held_back};
use super::route::{AccessCheck, RouteKey, Service};
use super::zone::{DefaultZone, Zone, ZoneProblem, choose_zone};

/// What is known of the account's zones.
#[derive(Debug, Clone, Copy)]
pub enum KnownZones<'a> {
    /// All of them.
    Listed(&'a [Zone]),
    /// They cannot be listed: the zone by setting stands for them, if there is one.
    Unlisted(Option<&'a DefaultZone>),
    /// Nobody could ask yet: every name passes. Good enough for a plan, and for nothing else.
    Unknown,
}

impl<'a> KnownZones<'a> {
    /// Reads an answer: the `listed` zones, if the token may list them, and the zone by setting.
    pub fn of(listed: Option<&'a [Zone]>, default: Option<&'a DefaultZone>) -> Self {
        match (listed, default) {
            // A token of a single zone may list zones, and finds none.
            (Some(zones), default) if !zones.is_empty() || default.is_none() => Self::Listed(zones),
            (_, default) => Self::Unlisted(default),
        }
    }
}

/// What the routes of one tunnel come to.
#[derive(Debug, Default)]
pub struct Wanted {
    /// Routes that may be published.
    pub services: Vec<Service>,
    /// The zone of each of their names.
    pub names: BTreeMap<String, ZoneId>,
    /// Routes that may not, and why.
    pub refused: BTreeMap<RouteKey, String>,
    /// Those of them that are to keep somebody out: no other route may answer for them.
    pub guarded: BTreeSet<RouteKey>,
    /// Notes on routes that are published all the same.
    pub warnings: BTreeMap<RouteKey, String>,
    /// What of them has the connector check Access tokens and leaves open whose those are, as it was asked for; what is put
    /// in stands in the route itself.
    pub open_checks: BTreeMap<RouteKey, AccessCheck>,
    /// True if a name fits none of the zones: there may be a new one.
    pub misses_a_zone: bool,
    /// True if the zones of the names are those that records would be made in.
    pub has_zones: bool,
}

/// What is published already: for names whose zone is not among those that were listed.
#[derive(Debug, Default)]
pub struct Published<'a> {
    /// Rules that are ours; their paths are written as Cloudflare has them.
    pub rules: BTreeSet<RuleId>,
    /// Our records by name.
    pub records: BTreeMap<&'a str, PublishedRecord<'a>>,
}

/// A record of ours.
#[derive(Debug, Clone, Copy)]
pub struct PublishedRecord<'a> {
    /// Its zone.
    pub zone_id: &'a ZoneId,
    /// False while the call that makes it is under way.
    pub is_made: bool,
}

impl Wanted {
    /// Reads the routes. What is in `published` stays even if its zone is not in the list any more.
    pub fn read<'s>(
        services: impl IntoIterator<Item = &'s Service>,
        zones: KnownZones<'_>,
        settings: &PublishSettings,
        published: &Published<'_>,
    ) -> Self {
        let has_zones = !matches!(zones, KnownZones::Unknown);
        let mut wanted = Self { has_zones, ..Self::default() };
        for service in services {
            match held_back(service, settings) {
                Some(reason) => wanted.refuse(service, reason),
                None => wanted.add(service, zones, published),
            }
        }
        let check_of = |service: &Service| {
            let check = service.origin_request.access.clone().filter(AccessCheck::is_open)?;
            Some((service.key.clone(), check))
        };
        wanted.open_checks = wanted.services.iter().filter_map(check_of).collect();
        wanted
    }

    /// Puts this in the place of what a route left open of the connector's check.
    pub fn complete_check(&mut self, key: &RouteKey, check: AccessCheck) {
        let mut services = self.services.iter_mut();
        if let Some(service) = services.find(|service| service.key == *key) {
            service.origin_request.access = Some(check);
        }
    }

    fn refuse(&mut self, service: &Service, reason: String) {
        if service.access.keeps_out() {
            self.guarded.insert(service.key.clone());
        }
        self.refused.insert(service.key.clone(), reason);
    }

    fn add(&mut self, service: &Service, zones: KnownZones<'_>, published: &Published<'_>) {
        let (key, hostname) = (service.key.clone(), service.key.hostname.clone());
        let (zones, default) = match zones {
            KnownZones::Listed(zones) => (Some(zones), None),
            KnownZones::Unlisted(default) => (None, default),
            KnownZones::Unknown => {
                self.names.insert(hostname, ZoneId::new(""));
                self.services.push(service.clone());
                return;
            }
        };
        let record = published.records.get(hostname.as_str());
        match choose_zone(&hostname, service.zone_name.as_deref(), zones, default) {
            Ok(zone) => {
                // A record that was made is in the right zone; the zone by setting is one of several.
                let made = record.filter(|record| zones.is_none() && record.is_made);
                self.names.insert(hostname, made.map_or(zone.id, |record| record.zone_id.clone()));
                if let Some(warning) = zone.warning {
                    self.warnings.insert(key, warning);
                }
                self.services.push(service.clone());
            }
            Err(problem) => self.add_without_zone(service, &problem, published),
        }
    }

    /// A list that lost a zone, or was refused, says more about the token than about the route: withdrawing what is
    /// published would take down a site because of a changed right.
    fn add_without_zone(&mut self, service: &Service, problem: &ZoneProblem, published: &Published<'_>) {
        self.misses_a_zone = true;
        let key = service.key.clone();
        if !published.rules.contains(&IngressRule::new(service).id()) {
            self.refuse(service, problem.to_string());
            return;
        }
        if let Some(record) = published.records.get(key.hostname.as_str()) {
            self.names.insert(key.hostname.clone(), record.zone_id.clone());
        }
        self.warnings.insert(key, format!("stays as it was published: {problem}"));
        self.services.push(service.clone());
    }

    /// Returns the rules, in order: none for the names `without_rules`, and for a route of `closed` only one that answers in its
    /// place if another rule would, be it one of the `foreign` ones.
    pub fn rules(
        &self,
        without_rules: &BTreeSet<&str>,
        closed: &BTreeSet<&RouteKey>,
        foreign: &[RuleId],
    ) -> Vec<IngressRule> {
        let is_open = |service: &&Service| {
            !without_rules.contains(service.key.hostname.as_str()) && !closed.contains(&service.key)
        };
        let shut = closed.iter().copied().chain(&self.guarded);
        guarded_rules(self.services.iter().filter(is_open), shut, foreign)
    }

    /// Returns the rules as they are if nothing stands in the way of any route.
    pub fn all_rules(&self) -> Vec<IngressRule> {
        self.rules(&BTreeSet::new(), &BTreeSet::new(), &[])
    }

    /// Returns the routes of a name.
    pub fn of_name<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'s Service> {
        self.services.iter().filter(move |service| service.key.hostname == name)
    }

    /// True if nothing is asked for.
    pub fn is_empty(&self) -> bool {
        self.services.is_empty()
    }

    /// A number that differs if they differ; good for one run of the program.
    pub fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.all_rules().hash(&mut hasher);
        self.names.hash(&mut hasher);
        for service in &self.services {
            service.key.hash(&mut hasher);
            serde_json::to_string(&service.access).unwrap_or_default().hash(&mut hasher);
        }
        hasher.finish()
    }
}
