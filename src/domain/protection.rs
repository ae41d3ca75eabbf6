//! What has to stand before a route before it may be made reachable.

use std::collections::BTreeMap;

use super::route::RouteKey;

/// Whether a route may be published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Protection {
    /// It may: what it asks for is in place and was read back, or it asks for nothing.
    InPlace,
    /// It waits, because of this.
    Missing(String),
}

/// Why a route waits of which nothing is said.
const NOT_KNOWN: &str = "whether its protection is in place is not known, so it is not published";

/// Returns which of `routes` wait, and why. One of which nothing is `said` waits too: what nobody looked at stays closed.
pub fn waiting<'a>(
    routes: impl IntoIterator<Item = &'a RouteKey>,
    said: &BTreeMap<RouteKey, Protection>,
) -> BTreeMap<RouteKey, String> {
    let waits = routes.into_iter().filter_map(|route| match said.get(route) {
        Some(Protection::InPlace) => None,
        Some(Protection::Missing(reason)) => Some((route.clone(), reason.clone())),
        None => Some((route.clone(), NOT_KNOWN.to_owned())),
    });
    waits.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_known_to_be_protected_may_be_published() {
        let key = |path: &str| RouteKey { hostname: "a.example.com".into(), path: path.into() };
        let missing = Protection::Missing("group `staff` is not known".into());
        let said = BTreeMap::from([
            (key(""), Protection::InPlace),
            (key("/closed"), missing.clone()),
            (key("/of-nobody"), missing),
        ]);
        let routes = [key(""), key("/closed"), key("/forgotten")];

        let waits = waiting(&routes, &said);

        assert_eq!(waits.keys().collect::<Vec<_>>(), [&key("/closed"), &key("/forgotten")]);
        assert_eq!(waits[&key("/closed")], "group `staff` is not known");
        assert!(waits[&key("/forgotten")].contains("not known"));
    }
}
