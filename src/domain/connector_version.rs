//! Whether there is a newer `cloudflared` than the one that runs, as far as that is known here: nobody outside is asked.

use std::cmp::Ordering;

use super::update::{Finding, Standing};

/// What is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Newer {
    /// The scan of its host found this one on offer.
    Offered(String),
    /// Another connector that is known here runs this one.
    RunsElsewhere(String),
    /// The scan of its host compared its image, and there was nothing newer.
    NoneFound,
    /// The scan could not compare it.
    NotChecked(String),
    /// Nobody compared it with anything.
    NotKnown,
}

impl Newer {
    /// Says it in words that follow a version.
    pub fn in_words(&self) -> String {
        match self {
            Self::Offered(version) => format!("newer exists: {version}"),
            Self::RunsElsewhere(version) => format!("newer exists: {version} runs on another host"),
            Self::NoneFound => "nothing newer was found by the last scan".to_owned(),
            Self::NotChecked(reason) => format!("whether a newer one exists could not be checked: {reason}"),
            Self::NotKnown => "whether a newer one exists was not checked".to_owned(),
        }
    }

    /// True if there is one.
    pub fn is_known(&self) -> bool {
        matches!(self, Self::Offered(_) | Self::RunsElsewhere(_))
    }
}

/// Compares a version with what the scan of its host found of the image, and with the versions of other connectors.
pub fn newer<'a>(
    own: Option<&str>,
    scanned: Option<&Finding>,
    others: impl IntoIterator<Item = &'a str>,
) -> Newer {
    if let Some(finding) = scanned.filter(|finding| finding.is_pending())
        && let Some(version) = &finding.available_version
    {
        return Newer::Offered(version.clone());
    }
    let newest = newest(others);
    if let (Some(own), Some(newest)) = (own.and_then(numbers), &newest)
        && numbers(newest).is_some_and(|newest| newest > own)
    {
        return Newer::RunsElsewhere(newest.clone());
    }
    match scanned.map(|finding| &finding.standing) {
        Some(Standing::Same) => Newer::NoneFound,
        Some(Standing::Unchecked { reason, .. } | Standing::Untracked { reason, .. }) => {
            Newer::NotChecked(reason.clone())
        }
        _ => Newer::NotKnown,
    }
}

/// Returns the newest of these versions.
pub fn newest<'a>(versions: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let known = versions.into_iter().filter_map(|text| Some((numbers(text)?, version(text)?)));
    known
        .max_by(|(one, _), (other, _)| one.partial_cmp(other).unwrap_or(Ordering::Equal))
        .map(|(_, text)| text.to_owned())
}

/// Returns the version in what a connector says of itself, such as `cloudflared version 2026.8.2 (built …)`.
pub fn version(text: &str) -> Option<&str> {
    text.split([' ', ',', '(', ')']).find(|word| {
        word.contains('.')
            && word.split('.').all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()))
    })
}

fn numbers(text: &str) -> Option<Vec<u64>> {
    version(text)?.split('.').map(|part| part.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::update::Cause;

    fn finding(standing: Standing, available: Option<&str>) -> Finding {
        let mut finding = Finding::new("cloudflare/cloudflared:2026.8.2", standing);
        finding.available_version = available.map(str::to_owned);
        finding
    }

    #[test]
    fn a_version_is_found_in_what_a_connector_says() {
        for (text, found) in [
            ("2026.8.2", Some("2026.8.2")),
            ("cloudflared version 2026.8.2 (built 2026-08-20-1200 UTC)", Some("2026.8.2")),
            ("DEV", None),
            ("1..2", None),
            ("", None),
        ] {
            assert_eq!(version(text), found, "{text}");
        }
        assert_eq!(newest(["2026.8.2", "2026.10.0", "2025.12.9", "DEV"]).as_deref(), Some("2026.10.0"));
        assert_eq!(newest([]), None);
    }

    #[test]
    fn a_newer_one_is_named_only_if_somebody_saw_it() {
        let unchecked = Standing::Unchecked {
            cause: Cause::NotReachable,
            reason: "no route".into(),
            last_known_at: None,
            retry_at: None,
        };
        let offered = finding(Standing::Newer, Some("2026.9.0"));
        let same = finding(Standing::Same, None);
        let unchecked = finding(unchecked, None);
        for (own, scanned, others, expected) in [
            (Some("2026.8.2"), Some(&offered), vec![], Newer::Offered("2026.9.0".into())),
            (Some("2026.8.2"), Some(&same), vec!["2026.8.2"], Newer::NoneFound),
            (Some("2026.8.2"), Some(&same), vec!["2026.10.1"], Newer::RunsElsewhere("2026.10.1".into())),
            (Some("2026.8.2"), Some(&unchecked), vec![], Newer::NotChecked("no route".into())),
            (Some("2026.8.2"), None, vec!["2026.8.1"], Newer::NotKnown),
            (None, None, vec!["2026.8.1"], Newer::NotKnown),
        ] {
            let found = newer(own, scanned, others);
            assert_eq!(found, expected);
            assert_eq!(found.is_known(), found.in_words().starts_with("newer exists"), "{found:?}");
        }
    }
}
