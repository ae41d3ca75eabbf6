//! What has to stand before a hostname before it may be made reachable.

use std::collections::BTreeMap;

/// Whether a hostname may be published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Protection {
    /// It may: what it asks for is in place and was read back, or it asks for nothing.
    InPlace,
    /// It waits, because of this.
    Missing(String),
}

/// Why a hostname waits of which nothing is said.
const NOT_KNOWN: &str = "whether its protection is in place is not known, so it is not published";

/// Returns which of `names` wait, and why. One of which nothing is `said` waits too: what nobody looked at stays closed.
pub fn waiting<'a>(
    names: impl IntoIterator<Item = &'a String>,
    said: &BTreeMap<String, Protection>,
) -> BTreeMap<String, String> {
    let waits = names.into_iter().filter_map(|name| match said.get(name) {
        Some(Protection::InPlace) => None,
        Some(Protection::Missing(reason)) => Some((name.clone(), reason.clone())),
        None => Some((name.clone(), NOT_KNOWN.to_owned())),
    });
    waits.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_known_to_be_protected_may_be_published() {
        let missing = Protection::Missing("group `staff` is not known".into());
        let said = BTreeMap::from([
            ("open.example.com".to_owned(), Protection::InPlace),
            ("closed.example.com".to_owned(), missing.clone()),
            ("of-nobody.example.com".to_owned(), missing),
        ]);
        let names = ["open.example.com", "closed.example.com", "forgotten.example.com"].map(str::to_owned);

        let waits = waiting(&names, &said);

        assert_eq!(waits.keys().collect::<Vec<_>>(), ["closed.example.com", "forgotten.example.com"]);
        assert_eq!(waits["closed.example.com"], "group `staff` is not known");
        assert!(waits["forgotten.example.com"].contains("not known"));
    }
}
