//! Which zone of the account a hostname belongs to.

use serde::{Deserialize, Serialize};

use super::hostname::{base_name, is_within, read_kept_form};
use super::id::ZoneId;

/// A zone of the account.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Zone {
    /// Its id.
    pub id: ZoneId,
    /// Its name, in the form in which host names are kept.
    #[serde(deserialize_with = "read_kept_form")]
    pub name: String,
}

/// The zone of `CF_ZONE_ID`; its name is known only if the token may read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DefaultZone {
    /// Its id.
    pub id: ZoneId,
    /// Its name, if it could be read.
    pub name: Option<String>,
}

/// The zone in which a hostname's record goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZoneChoice {
    /// Its id.
    pub id: ZoneId,
    /// Its name, if known.
    pub name: Option<String>,
    /// Something that works only with more set-up, in words; the route is published all the same.
    pub warning: Option<String>,
}

/// Why a hostname has no zone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ZoneProblem {
    /// The label names a zone that is not there.
    #[error(
        "zone `{zone}` of label `zonename` is not an active zone of this account; correct the label, or leave it out"
    )]
    Unknown {
        /// What the label says.
        zone: String,
    },
    /// The hostname is not in the zone.
    #[error("`{hostname}` is not in zone `{zone}`; correct the hostname or the `zonename` label")]
    Outside {
        /// The hostname.
        hostname: String,
        /// The zone.
        zone: String,
    },
    /// No zone of the account ends the hostname.
    #[error("`{hostname}` is in no active zone of this account; its zones are {}", names(.zones))]
    NoMatch {
        /// The hostname.
        hostname: String,
        /// Zones of the account, at most five.
        zones: Vec<String>,
    },
    /// Nothing to choose from.
    #[error(
        "the zones of the account cannot be listed; give the API token the right `Zone Read`, or set `CF_ZONE_ID`"
    )]
    NotListed,
}

fn names(zones: &[String]) -> String {
    if zones.is_empty() { "none".to_owned() } else { zones.join(", ") }
}

/// Chooses the zone of a hostname: the named one, else the longest that ends it.
///
/// `zones` is `None` if they cannot be listed; only then `default` counts. Fails with the reason if the
/// hostname lies outside, because Cloudflare would quietly put the zone's name behind it.
pub fn choose_zone(
    hostname: &str,
    named: Option<&str>,
    zones: Option<&[Zone]>,
    default: Option<&DefaultZone>,
) -> Result<ZoneChoice, ZoneProblem> {
    let name = base_name(hostname);
    if let Some(zone) = named.filter(|zone| !is_within(name, zone)) {
        return Err(ZoneProblem::Outside { hostname: hostname.to_owned(), zone: zone.to_owned() });
    }
    let Some(zones) = zones else { return choose_default(hostname, named, default) };
    let chosen = match named {
        Some(named) => zones
            .iter()
            .find(|zone| zone.name.eq_ignore_ascii_case(named))
            .ok_or_else(|| ZoneProblem::Unknown { zone: named.to_owned() })?,
        None => zones
            .iter()
            .filter(|zone| is_within(name, &zone.name.to_ascii_lowercase()))
            .max_by_key(|zone| zone.name.len())
            .ok_or_else(|| no_match(hostname, zones))?,
    };
    Ok(choice(hostname, chosen.id.clone(), Some(chosen.name.to_ascii_lowercase())))
}

fn choose_default(
    hostname: &str,
    named: Option<&str>,
    default: Option<&DefaultZone>,
) -> Result<ZoneChoice, ZoneProblem> {
    let default = default.ok_or(ZoneProblem::NotListed)?;
    if let Some(zone) = &default.name {
        if named.is_some_and(|named| !named.eq_ignore_ascii_case(zone)) {
            return Err(ZoneProblem::Unknown { zone: named.unwrap_or_default().to_owned() });
        }
        if !is_within(base_name(hostname), &zone.to_ascii_lowercase()) {
            return Err(ZoneProblem::Outside { hostname: hostname.to_owned(), zone: zone.clone() });
        }
    }
    let name = default.name.as_deref().or(named).map(str::to_ascii_lowercase);
    Ok(choice(hostname, default.id.clone(), name))
}

fn no_match(hostname: &str, zones: &[Zone]) -> ZoneProblem {
    let zones = zones.iter().take(5).map(|zone| zone.name.clone()).collect();
    ZoneProblem::NoMatch { hostname: hostname.to_owned(), zones }
}

fn choice(hostname: &str, id: ZoneId, name: Option<String>) -> ZoneChoice {
    let warning = name.as_deref().and_then(|zone| certificate_warning(hostname, zone));
    ZoneChoice { id, name, warning }
}

/// Returns a warning for a name more than one level below its zone: the certificate that every zone has does
/// not cover it.
fn certificate_warning(hostname: &str, zone: &str) -> Option<String> {
    let front = hostname.strip_suffix(zone)?.strip_suffix('.')?;
    front.contains('.').then(|| {
        format!(
            "`{hostname}` lies more than one level below `{zone}`, which Cloudflare's universal certificate does \
             not cover; order one that does, or choose a name one level below"
        )
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn zones(names: &[&str]) -> Vec<Zone> {
        names.iter().map(|name| Zone { id: ZoneId::new(format!("z-{name}")), name: (*name).into() }).collect()
    }

    fn chosen(hostname: &str, named: Option<&str>) -> Result<String, ZoneProblem> {
        let zones = zones(&["example.com", "dev.example.com", "other.org"]);
        choose_zone(hostname, named, Some(&zones), None).map(|choice| choice.id.to_string())
    }

    #[test]
    fn the_named_zone_or_the_longest_suffix_is_chosen() {
        for (hostname, named, id) in [
            ("app.example.com", None, "z-example.com"),
            ("example.com", None, "z-example.com"),
            ("*.example.com", None, "z-example.com"),
            ("app.dev.example.com", None, "z-dev.example.com"),
            ("app.dev.example.com", Some("example.com"), "z-example.com"),
            ("*.dev.example.com", None, "z-dev.example.com"),
        ] {
            assert_eq!(chosen(hostname, named).as_deref(), Ok(id), "{hostname}");
        }
    }

    #[test]
    fn a_hostname_without_zone_is_refused_with_the_reason() {
        for (hostname, named, words) in [
            ("app.example.net", None, "in no active zone of this account; its zones are example.com"),
            ("badexample.com", None, "in no active zone"),
            ("app.example.com", Some("other.org"), "is not in zone `other.org`"),
            ("app.unknown.io", Some("unknown.io"), "is not an active zone"),
            ("localhost", None, "in no active zone"),
        ] {
            let problem = chosen(hostname, named).unwrap_err().to_string();
            assert!(problem.contains(words), "{problem}");
        }
    }

    #[test]
    fn the_default_zone_counts_only_if_zones_cannot_be_listed() {
        let default =
            |name: Option<&str>| DefaultZone { id: ZoneId::new("d"), name: name.map(str::to_owned) };
        let choose = |host, named, default: Option<&DefaultZone>| choose_zone(host, named, None, default);
        assert_eq!(choose("a.x.io", None, None), Err(ZoneProblem::NotListed));
        assert_eq!(choose("a.x.io", None, Some(&default(None))).unwrap().id, ZoneId::new("d"));
        assert!(choose("a.x.io", None, Some(&default(Some("x.io")))).is_ok());
        assert!(matches!(
            choose("a.y.io", None, Some(&default(Some("x.io")))),
            Err(ZoneProblem::Outside { .. })
        ));
        assert!(matches!(
            choose("a.y.io", Some("y.io"), Some(&default(Some("x.io")))),
            Err(ZoneProblem::Unknown { .. })
        ));
        assert!(choose_zone("a.x.io", None, Some(&[]), Some(&default(Some("x.io")))).is_err());
    }

    #[test]
    fn names_of_several_levels_are_warned_about() {
        let zones = zones(&["example.com"]);
        for (hostname, warned) in [
            ("example.com", false),
            ("app.example.com", false),
            ("*.example.com", false),
            ("a.b.example.com", true),
            ("*.b.example.com", true),
        ] {
            let choice = choose_zone(hostname, None, Some(&zones), None).unwrap();
            assert_eq!(choice.warning.is_some(), warned, "{hostname}");
        }
    }

    proptest! {
        #[test]
        fn a_chosen_zone_always_ends_the_hostname(
            hostname in "(\\*\\.)?([ab]\\.){0,3}[xy]\\.io",
            named in proptest::option::of("[abxy]\\.io"),
            all in proptest::collection::vec("([ab]\\.)?[xy]\\.io", 0..4),
        ) {
            let all: Vec<&str> = all.iter().map(String::as_str).collect();
            if let Ok(choice) = choose_zone(&hostname, named.as_deref(), Some(&zones(&all)), None) {
                let zone = choice.name.unwrap();
                prop_assert!(is_within(base_name(&hostname), &zone));
                prop_assert!(named.is_some() || all.iter().all(|z| !is_within(base_name(&hostname), z) || z.len() <= zone.len()));
            }
        }
    }
}
