//! What routes come to, with zones that are known in part.

use super::*;
use crate::domain::access::AccessAsk;
use crate::domain::id::{AgentId, ContainerId, GroupId};
use crate::domain::route::{OriginRequest, Route, RouteState};

fn route(hostname: &str, zone_name: Option<&str>) -> Route {
    Route {
        agent_id: AgentId::new("a"),
        container_name: "app".into(),
        container_id: ContainerId::new("c"),
        spec: Service {
            key: RouteKey { hostname: hostname.into(), path: String::new() },
            service: "http://app:80".into(),
            origin_request: OriginRequest::default(),
            zone_name: zone_name.map(str::to_owned),
            access: AccessAsk::Nothing,
        },
        state: RouteState::Active,
    }
}

fn specs(routes: &[Route]) -> impl Iterator<Item = &Service> {
    routes.iter().map(|route| &route.spec)
}

fn zones() -> Vec<Zone> {
    vec![Zone { id: ZoneId::new("z"), name: "example.com".into() }]
}

fn by_setting(name: Option<&str>) -> DefaultZone {
    DefaultZone { id: ZoneId::new("set"), name: name.map(str::to_owned) }
}

fn reason(wanted: &Wanted) -> &str {
    wanted.refused.values().next().unwrap()
}

#[test]
fn a_route_in_a_zone_is_wanted() {
    let wanted = Wanted::read(
        specs(&[route("a.example.com", None)]),
        KnownZones::Listed(&zones()),
        &PublishSettings::default(),
        &Published::default(),
    );
    assert_eq!(wanted.names["a.example.com"], ZoneId::new("z"));
    assert_eq!(wanted.all_rules().len(), 1);
    assert!(wanted.rules(&BTreeSet::from(["a.example.com"]), &BTreeSet::new(), &[]).is_empty());
    assert!(wanted.rules(&BTreeSet::new(), &BTreeSet::from([&wanted.services[0].key]), &[]).is_empty());
}

fn staff() -> AccessAsk {
    AccessAsk::Groups { groups: vec![GroupId::new("staff")] }
}

/// The services of rules, by name and expression.
fn told(rules: &[IngressRule]) -> Vec<String> {
    let path = |rule: &IngressRule| rule.path.clone().unwrap_or_default();
    rules.iter().map(|rule| format!("{}{} {}", rule.hostname, path(rule), rule.service)).collect()
}

#[test]
fn a_route_that_asks_for_protection_is_wanted_and_closed_until_it_has_it() {
    // given: a public route of a name, and one of its paths that is for some people only
    let mut admin = route("a.example.com", None);
    admin.spec.key.path = "/admin".into();
    admin.spec.access = staff();
    let routes = [route("a.example.com", None), admin.clone()];
    // when
    let wanted = Wanted::read(
        specs(&routes),
        KnownZones::Listed(&zones()),
        &PublishSettings::default(),
        &Published::default(),
    );
    // then
    assert_eq!((wanted.services.len(), wanted.refused.len()), (2, 0));
    assert_eq!(wanted.services[1].access, staff());
    let closed = wanted.rules(&BTreeSet::new(), &BTreeSet::from([&admin.spec.key]), &[]);
    assert_eq!(told(&closed), ["a.example.com^/admin(/|$) http_status:503", "a.example.com http://app:80"]);
}

#[test]
fn no_other_route_answers_for_a_protected_one_that_is_refused() {
    for (asks, expected) in [(AccessAsk::Nothing, 1), (AccessAsk::Public, 1), (staff(), 2)] {
        let mut admin = route("a.example.com", Some("example.net"));
        admin.spec.key.path = "/admin".into();
        admin.spec.access = asks;
        let routes = [route("a.example.com", None), admin.clone()];
        let wanted = Wanted::read(
            specs(&routes),
            KnownZones::Listed(&zones()),
            &PublishSettings::default(),
            &Published::default(),
        );
        assert!(wanted.refused.contains_key(&admin.spec.key));
        let rules = told(&wanted.all_rules());
        assert_eq!(rules.len(), expected, "{rules:?}");
        assert_eq!(rules[0].ends_with("http_status:503"), expected == 2, "{rules:?}");
    }
}

#[test]
fn a_route_outside_every_zone_is_refused_with_the_zones_named() {
    let wanted = Wanted::read(
        specs(&[route("a.example.net", None)]),
        KnownZones::Listed(&zones()),
        &PublishSettings::default(),
        &Published::default(),
    );
    assert!(wanted.misses_a_zone && reason(&wanted).contains("example.com"));
}

#[test]
fn what_is_published_stays_when_its_zone_cannot_be_found_any_more() {
    let mut published_route = route("a.example.net", None);
    published_route.spec.key.path = "/api".into();
    let zone_id = ZoneId::new("of-its-record");
    let record = PublishedRecord { zone_id: &zone_id, is_made: true };
    let published = Published {
        rules: BTreeSet::from([IngressRule::new(&published_route.spec).id()]),
        records: BTreeMap::from([("a.example.net", record)]),
    };
    let (zones, other) = (zones(), by_setting(Some("example.org")));
    for known in [
        KnownZones::Unlisted(None),
        KnownZones::Unlisted(Some(&other)),
        KnownZones::Listed(&[]),
        KnownZones::Listed(&zones),
    ] {
        let routes = [published_route.clone(), route("b.example.net", None)];
        let wanted = Wanted::read(specs(&routes), known, &PublishSettings::default(), &published);
        assert_eq!(wanted.services, std::slice::from_ref(&published_route.spec), "{known:?}");
        assert_eq!(wanted.names, BTreeMap::from([("a.example.net".into(), zone_id.clone())]));
        assert!(wanted.warnings.contains_key(&published_route.spec.key) && wanted.misses_a_zone);
        assert_eq!(wanted.refused.len(), 1, "a new one waits for its zone");
    }
}

#[test]
fn the_zone_by_setting_counts_if_no_zone_is_listed() {
    let routes = [route("a.example.net", None), route("a.example.org", None)];
    for list in [None, Some(Vec::new())] {
        for (name, count) in [(None, 2), (Some("example.net"), 1)] {
            let default = by_setting(name);
            let known = KnownZones::of(list.as_deref(), Some(&default));
            let wanted =
                Wanted::read(specs(&routes), known, &PublishSettings::default(), &Published::default());
            assert_eq!(wanted.names["a.example.net"], ZoneId::new("set"));
            assert_eq!((wanted.services.len(), wanted.refused.len()), (count, 2 - count), "{known:?}");
        }
    }
}

#[test]
fn a_record_that_was_made_stays_in_its_zone_while_zones_cannot_be_listed() {
    let (of_its_record, set) = (ZoneId::new("of-its-record"), by_setting(None));
    for (is_made, zone) in [(true, "of-its-record"), (false, "set")] {
        let record = PublishedRecord { zone_id: &of_its_record, is_made };
        let records = BTreeMap::from([("a.example.net", record)]);
        let published = Published { records, ..Published::default() };
        let routes = [route("a.example.net", None)];
        let known = KnownZones::Unlisted(Some(&set));
        let wanted = Wanted::read(specs(&routes), known, &PublishSettings::default(), &published);
        assert_eq!(wanted.names["a.example.net"], ZoneId::new(zone));
    }
}

#[test]
fn before_zones_could_be_read_every_name_passes() {
    let settings = PublishSettings::default();
    let wanted = Wanted::read(
        specs(&[route("a.example.net", None)]),
        KnownZones::Unknown,
        &settings,
        &Published::default(),
    );
    assert!(!wanted.is_empty() && !wanted.has_zones);
}

#[test]
fn the_digest_tells_services_apart() {
    let settings = PublishSettings::default();
    let mut other = route("a.example.com", None);
    other.spec.service = "http://app:81".into();
    let mut protected = route("a.example.com", None);
    protected.spec.access = staff();
    let digest = |route: Route| {
        Wanted::read(specs(&[route]), KnownZones::Listed(&zones()), &settings, &Published::default()).digest()
    };
    assert_eq!(digest(route("a.example.com", None)), digest(route("a.example.com", None)));
    assert_ne!(digest(route("a.example.com", None)), digest(other));
    assert_ne!(digest(route("a.example.com", None)), digest(protected));
}
