//! What a tunnel's routes ask of Cloudflare: rules and names, or the reason why not. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use super::status::Said;
use crate::domain::id::ZoneId;
use crate::domain::ingress::{IngressRule, RuleId, wanted_rules};
use crate::domain::publish::{PublicState, held_back};
use crate::domain::route::{Route, RouteKey, Service};
use crate::domain::zone::{DefaultZone, Zone, choose_zone};

/// What may be published, by setting.
#[derive(Debug, Clone, Default)]
pub struct PublishSettings {
    /// Zone to use if the zones of the account cannot be listed (`CF_ZONE_ID`).
    pub default_zone: Option<DefaultZone>,
    /// Publish containers with `access.*` labels although their protection is not built yet.
    pub publish_unprotected: bool,
}

/// What is known of the account's zones.
#[derive(Debug, Clone, Copy)]
pub enum KnownZones<'a> {
    /// All of them.
    Listed(&'a [Zone]),
    /// The token may not list them.
    Unlisted,
    /// Nobody could ask yet: every name passes. Good enough for a plan, and for nothing else.
    Unknown,
}

impl<'a> KnownZones<'a> {
    pub(super) fn of(zones: Option<&'a [Zone]>) -> Self {
        zones.map_or(Self::Unlisted, Self::Listed)
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
    /// The zone of each of our records.
    pub records: BTreeMap<&'a str, &'a ZoneId>,
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
        if let Some(reason) = held_back(service, settings.publish_unprotected) {
            self.refused.insert(key, Said::because(PublicState::Blocked, reason));
            return;
        }
        let zones = match zones {
            KnownZones::Listed(zones) => Some(zones),
            KnownZones::Unlisted => None,
            KnownZones::Unknown => {
                self.names.insert(key.hostname.clone(), ZoneId::new(""));
                self.services.push(service.clone());
                return;
            }
        };
        let named = service.zone_name.as_deref();
        match choose_zone(&key.hostname, named, zones, settings.default_zone.as_ref()) {
            Ok(zone) => {
                self.names.insert(key.hostname.clone(), zone.id);
                if let Some(warning) = zone.warning {
                    self.warnings.insert(key, warning);
                }
                self.services.push(service.clone());
            }
            // A list that lost a zone, or was refused, says more about the token than about the route: withdrawing
            // it would take down a site because of a changed right.
            Err(problem) if published.rules.contains(&IngressRule::new(service).id()) => {
                self.misses_a_zone = true;
                if let Some(zone) = published.records.get(key.hostname.as_str()) {
                    self.names.insert(key.hostname.clone(), (*zone).clone());
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::{AgentId, ContainerId};
    use crate::domain::route::{OriginRequest, RouteState};

    fn route(hostname: &str, zone_name: Option<&str>, has_access_labels: bool) -> Route {
        Route {
            agent_id: AgentId::new("a"),
            container_name: "app".into(),
            container_id: ContainerId::new("c"),
            spec: Service {
                key: RouteKey { hostname: hostname.into(), path: String::new() },
                service: "http://app:80".into(),
                origin_request: OriginRequest::default(),
                zone_name: zone_name.map(str::to_owned),
                has_access_labels,
            },
            state: RouteState::Active,
        }
    }

    fn zones() -> Vec<Zone> {
        vec![Zone { id: ZoneId::new("z"), name: "example.com".into() }]
    }

    fn reason(wishes: &Wishes) -> &str {
        wishes.refused.values().next().and_then(|said| said.reason.as_deref()).unwrap()
    }

    #[test]
    fn a_route_in_a_zone_is_wished_for() {
        let wishes = Wishes::read(
            &[route("a.example.com", None, false)],
            KnownZones::Listed(&zones()),
            &PublishSettings::default(),
            &Published::default(),
        );
        assert_eq!(wishes.names["a.example.com"], ZoneId::new("z"));
        assert_eq!(wishes.rules(&BTreeSet::new()).len(), 1);
        assert!(wishes.rules(&BTreeSet::from(["a.example.com".into()])).is_empty());
    }

    #[test]
    fn a_route_that_would_lose_its_protection_is_refused_unless_allowed() {
        let routes = [route("a.example.com", None, true)];
        let refused = Wishes::read(
            &routes,
            KnownZones::Listed(&zones()),
            &PublishSettings::default(),
            &Published::default(),
        );
        assert!(refused.is_empty() && reason(&refused).contains("access"));

        let allowed = PublishSettings { publish_unprotected: true, ..PublishSettings::default() };
        assert!(
            !Wishes::read(&routes, KnownZones::Listed(&zones()), &allowed, &Published::default()).is_empty()
        );
    }

    #[test]
    fn a_route_outside_every_zone_is_refused_with_the_zones_named() {
        let wishes = Wishes::read(
            &[route("a.example.net", None, false)],
            KnownZones::Listed(&zones()),
            &PublishSettings::default(),
            &Published::default(),
        );
        assert!(wishes.misses_a_zone && reason(&wishes).contains("example.com"));
    }

    #[test]
    fn what_is_published_stays_when_its_zone_cannot_be_found_any_more() {
        let mut published_route = route("a.example.net", None, false);
        published_route.spec.key.path = "/api".into();
        let zone = ZoneId::new("of-its-record");
        let published = Published {
            rules: BTreeSet::from([IngressRule::new(&published_route.spec).id()]),
            records: BTreeMap::from([("a.example.net", &zone)]),
        };
        let zones = zones();
        for known in [KnownZones::Unlisted, KnownZones::Listed(&[]), KnownZones::Listed(&zones)] {
            let routes = [published_route.clone(), route("b.example.net", None, false)];
            let wishes = Wishes::read(&routes, known, &PublishSettings::default(), &published);
            assert_eq!(wishes.services, std::slice::from_ref(&published_route.spec), "{known:?}");
            assert_eq!(wishes.names, BTreeMap::from([("a.example.net".into(), zone.clone())]));
            assert!(wishes.warnings.contains_key(&published_route.spec.key) && wishes.misses_a_zone);
            assert_eq!(wishes.refused.len(), 1, "a new one waits for its zone");
        }
    }

    #[test]
    fn the_zone_by_setting_counts_if_zones_cannot_be_listed() {
        let zone = DefaultZone { id: ZoneId::new("set"), name: None };
        let settings = PublishSettings { default_zone: Some(zone), ..PublishSettings::default() };
        let wishes = Wishes::read(
            &[route("a.example.net", None, false)],
            KnownZones::Unlisted,
            &settings,
            &Published::default(),
        );
        assert_eq!(wishes.names["a.example.net"], ZoneId::new("set"));
    }

    #[test]
    fn before_zones_could_be_read_every_name_passes() {
        let settings = PublishSettings::default();
        let wishes = Wishes::read(
            &[route("a.example.net", None, false)],
            KnownZones::Unknown,
            &settings,
            &Published::default(),
        );
        assert!(!wishes.is_empty() && !wishes.has_zones);
    }

    #[test]
    fn the_digest_tells_services_apart() {
        let settings = PublishSettings::default();
        let mut other = route("a.example.com", None, false);
        other.spec.service = "http://app:81".into();
        let digest = |route: Route| {
            Wishes::read(&[route], KnownZones::Listed(&zones()), &settings, &Published::default()).digest()
        };
        assert_eq!(digest(route("a.example.com", None, false)), digest(route("a.example.com", None, false)));
        assert_ne!(digest(route("a.example.com", None, false)), digest(other));
    }
}
