//! What a tunnel's routes ask of Cloudflare: rules and names, or the reason why not. Pure.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use super::status::Said;
use super::zones::Listing;
use crate::db::cloudflare::DnsRecordRow;
use crate::domain::id::ZoneId;
use crate::domain::ingress::{IngressRule, RuleId, wanted_rules};
pub use crate::domain::publish::PublishSettings;
use crate::domain::publish::{PublicState, held_back};
use crate::domain::route::{Route, RouteKey, Service};
use crate::domain::zone::{DefaultZone, Zone, choose_zone};

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
    pub(super) fn of(listing: &'a Listing) -> Self {
        match (&listing.zones, &listing.default) {
            // A token of a single zone may list zones, and finds none.
            (Some(zones), default) if !zones.is_empty() || default.is_none() => Self::Listed(zones),
            (_, default) => Self::Unlisted(default.as_ref()),
        }
    }
}

/// What the routes of one tunnel come to.
#[derive(Debug, Default)]
pub(super) struct Wishes {
    /// Routes that may be published.
    pub services: Vec<Service>,
    /// The zone of each of their names.
    pub names: BTreeMap<String, ZoneId>,
    /// Routes that may not, and why.
    pub refused: BTreeMap<RouteKey, Said>,
    /// Notes on routes that are published all the same.
    pub warnings: BTreeMap<RouteKey, String>,
    /// True if a name fits none of the zones: there may be a new one.
    pub misses_a_zone: bool,
    /// True if the zones of the names are those that records would be made in.
    pub has_zones: bool,
}

/// What is published already: for names whose zone is not among those that were listed.
#[derive(Debug, Default)]
pub(super) struct Published<'a> {
    /// Rules that are ours; their paths are written as Cloudflare has them.
    pub rules: BTreeSet<RuleId>,
    /// Our records by name.
    pub records: BTreeMap<&'a str, &'a DnsRecordRow>,
}

impl Wishes {
    /// Reads the routes. What is in `published` stays even if its zone is not in the list any more.
    pub fn read(
        routes: &[Route],
        zones: KnownZones<'_>,
        settings: &PublishSettings,
        published: &Published<'_>,
    ) -> Self {
        let has_zones = !matches!(zones, KnownZones::Unknown);
        let mut wishes = Self { has_zones, ..Self::default() };
        for route in routes {
            wishes.add(&route.spec, zones, settings, published);
        }
        wishes
    }

    fn add(
        &mut self,
        service: &Service,
        zones: KnownZones<'_>,
        settings: &PublishSettings,
        published: &Published<'_>,
    ) {
        let key = service.key.clone();
        if let Some(reason) = held_back(service, settings) {
            self.refused.insert(key, Said::because(PublicState::Blocked, reason));
            return;
        }
        let (zones, default) = match zones {
            KnownZones::Listed(zones) => (Some(zones), None),
            KnownZones::Unlisted(default) => (None, default),
            KnownZones::Unknown => {
                self.names.insert(key.hostname.clone(), ZoneId::new(""));
                self.services.push(service.clone());
                return;
            }
        };
        let named = service.zone_name.as_deref();
        let record = published.records.get(key.hostname.as_str());
        match choose_zone(&key.hostname, named, zones, default) {
            Ok(zone) => {
                // A record that was made is in the right zone; the zone by setting is one of several.
                let made = record.filter(|row| zones.is_none() && row.record_id.is_some());
                self.names.insert(key.hostname.clone(), made.map_or(zone.id, |row| row.zone_id.clone()));
                if let Some(warning) = zone.warning {
                    self.warnings.insert(key, warning);
                }
                self.services.push(service.clone());
            }
            // A list that lost a zone, or was refused, says more about the token than about the route: withdrawing
            // it would take down a site because of a changed right.
            Err(problem) if published.rules.contains(&IngressRule::new(service).id()) => {
                self.misses_a_zone = true;
                if let Some(row) = record {
                    self.names.insert(key.hostname.clone(), row.zone_id.clone());
                }
                self.warnings.insert(key, format!("stays as it was published: {problem}"));
                self.services.push(service.clone());
            }
            Err(problem) => {
                self.misses_a_zone = true;
                self.refused.insert(key, Said::because(PublicState::Blocked, problem.to_string()));
            }
        }
    }

    /// Returns the rules, in order, without those of `blocked` names.
    pub fn rules(&self, blocked: &BTreeSet<String>) -> Vec<IngressRule> {
        wanted_rules(self.services.iter().filter(|service| !blocked.contains(&service.key.hostname)))
    }

    /// True if nothing is asked for.
    pub fn is_empty(&self) -> bool {
        self.services.is_empty()
    }

    /// A number that differs if they differ; good for one run of the program.
    pub fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.rules(&BTreeSet::new()).hash(&mut hasher);
        self.names.hash(&mut hasher);
        hasher.finish()
    }
}
