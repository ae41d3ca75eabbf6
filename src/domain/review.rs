//! What is published while changes wait for a person: what a person said yes to, and no more.
//!
//! A route that is new, changed or gone since then waits. One thing does not: a route that begins to keep somebody out is
//! protected at once. The other way round nothing gets less protected before a person said so.

use std::collections::BTreeMap;

use super::route::{RouteKey, Service};

/// Why a route waits for a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unreviewed {
    /// Nobody said yes to it yet, so it is not published.
    New,
    /// It is published as a person said yes to it, and its labels ask for something else by now.
    Changed,
    /// It is published still, and nothing asks for it any more.
    Gone,
}

/// Why a new route is not published.
pub const NOT_REVIEWED: &str = "changes wait for a person (`publish.changes = \"review\"`): look at `lightship plan`, then run \
                                `lightship apply --yes`, or use the button on the page";
/// What is said of a route that is published as it was.
pub const CHANGE_NOT_REVIEWED: &str = "it is published as it was: a change of it waits for a person, who runs `lightship apply --yes` or uses the page";

/// What may be published, and what waits.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Reviewed {
    /// What is published.
    pub services: Vec<Service>,
    /// Routes that wait.
    pub waits: BTreeMap<RouteKey, Unreviewed>,
}

/// Says what is published of what is `asked` for, if a person said yes to what is `approved`.
pub fn reviewed<'a>(asked: impl IntoIterator<Item = &'a Service>, approved: &[Service]) -> Reviewed {
    let mut left: BTreeMap<&RouteKey, &Service> =
        asked.into_iter().map(|service| (&service.key, service)).collect();
    let mut said = Reviewed::default();
    for before in approved {
        let Some(now) = left.remove(&before.key) else {
            said.waits.insert(before.key.clone(), Unreviewed::Gone);
            said.services.push(before.clone());
            continue;
        };
        let closes = !before.access.keeps_out() && now.access.keeps_out();
        let access = if closes { now.access.clone() } else { before.access.clone() };
        let stays = Service { access, ..before.clone() };
        if stays != *now {
            said.waits.insert(before.key.clone(), Unreviewed::Changed);
        }
        said.services.push(stays);
    }
    said.waits.extend(left.into_keys().map(|key| (key.clone(), Unreviewed::New)));
    said
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::access::AccessAsk;
    use super::super::id::GroupId;
    use super::super::route::OriginRequest;
    use super::*;

    fn service(name: &str, to: &str, access: AccessAsk) -> Service {
        Service {
            key: RouteKey { hostname: name.into(), path: String::new() },
            service: to.into(),
            origin_request: OriginRequest::default(),
            zone_name: None,
            access,
        }
    }

    fn staff() -> AccessAsk {
        AccessAsk::Groups { groups: vec![GroupId::new("staff")] }
    }

    #[test]
    fn what_is_new_changed_or_gone_waits_and_protection_does_not() {
        let plain = |name: &str| service(name, "http://app", AccessAsk::Nothing);
        let other = |name: &str| service(name, "http://other", AccessAsk::Nothing);
        for (before, now, published, waits) in [
            (None, Some(plain("a")), None, Some(Unreviewed::New)),
            (Some(plain("a")), Some(plain("a")), Some(plain("a")), None),
            (Some(plain("a")), Some(other("a")), Some(plain("a")), Some(Unreviewed::Changed)),
            (Some(plain("a")), None, Some(plain("a")), Some(Unreviewed::Gone)),
            // It is closed at once,
            (
                Some(plain("a")),
                Some(service("a", "http://app", staff())),
                Some(service("a", "http://app", staff())),
                None,
            ),
            // also if the rest of the change waits,
            (
                Some(plain("a")),
                Some(service("a", "http://other", staff())),
                Some(service("a", "http://app", staff())),
                Some(Unreviewed::Changed),
            ),
            // and opened only by a person.
            (
                Some(service("a", "http://app", staff())),
                Some(plain("a")),
                Some(service("a", "http://app", staff())),
                Some(Unreviewed::Changed),
            ),
        ] {
            let said = reviewed(now.as_ref(), before.as_slice());
            assert_eq!(
                said.services,
                published.clone().into_iter().collect::<Vec<_>>(),
                "{before:?} {now:?}"
            );
            assert_eq!(said.waits.values().next().copied(), waits, "{before:?} {now:?}");
        }
    }

    proptest! {
        #[test]
        fn nothing_opens_unreviewed_and_what_is_approved_is_published_whole(
            before in proptest::collection::btree_map("[a-d]", (0..3_u8, any::<bool>()), 0..4),
            now in proptest::collection::btree_map("[a-d]", (0..3_u8, any::<bool>()), 0..4),
        ) {
            let read = |from: &BTreeMap<String, (u8, bool)>| -> Vec<Service> {
                let ask = |keeps: bool| if keeps { staff() } else { AccessAsk::Nothing };
                from.iter().map(|(name, (to, keeps))| service(name, &format!("http://app{to}"), ask(*keeps))).collect()
            };
            let (before, now) = (read(&before), read(&now));
            let said = reviewed(&now, &before);
            prop_assert_eq!(said.services.len(), before.len());
            for (was, is) in before.iter().zip(&said.services) {
                prop_assert_eq!(&was.key, &is.key);
                prop_assert!(is.access.keeps_out() || !was.access.keeps_out());
            }
            // A yes to what is asked for leaves nothing to wait.
            let after = reviewed(&now, &now);
            prop_assert!(after.waits.is_empty());
            prop_assert_eq!(after.services, now);
        }
    }
}
