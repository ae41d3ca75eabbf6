//! Which tags of a repository are newer versions of one.
//!
//! A tag is taken apart as prefix, numbers and suffix (`v`, `1.2.3`, `-alpine3.20`). Another one is newer if prefix and
//! the suffix's shape are equal, there are as many numbers, they are greater, and it is no pre-release unless this one is.
//! Of dates, words and hashes nothing is said.

use serde::{Deserialize, Serialize};

/// How far it is from one version to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Jump {
    /// The third number or a later one, or only what it is built on.
    Patch,
    /// The second number.
    Minor,
    /// The first number.
    Major,
}

/// The newest tag for each distance.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewerTags {
    /// With the same first two numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patch: Option<String>,
    /// With the same first number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minor: Option<String>,
    /// Of all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub major: Option<String>,
    /// True if not all tags were read.
    #[serde(default)]
    pub is_cut: bool,
}

impl NewerTags {
    /// Returns the newest one, and how far it is.
    pub fn newest(&self) -> Option<(&str, Jump)> {
        let all = [(&self.major, Jump::Major), (&self.minor, Jump::Minor), (&self.patch, Jump::Patch)];
        all.into_iter().find_map(|(tag, jump)| Some((tag.as_deref()?, jump)))
    }
}

/// Words of versions that are not meant for everybody yet.
const EARLY: [&str; 16] = [
    "alpha",
    "beta",
    "rc",
    "pre",
    "preview",
    "dev",
    "devel",
    "nightly",
    "snapshot",
    "next",
    "canary",
    "edge",
    "testing",
    "unstable",
    "experimental",
    "milestone",
];
/// Words in front of numbers that count builds, not versions.
const COUNTED: [&str; 12] =
    ["pr", "pull", "mr", "build", "run", "sha", "git", "commit", "branch", "ci", "job", "nightly"];

struct Version<'a> {
    prefix: &'a str,
    numbers: Vec<u64>,
    suffix: &'a str,
}

impl<'a> Version<'a> {
    fn parse(tag: &'a str) -> Option<Self> {
        let start = tag.find(|c: char| c.is_ascii_digit())?;
        let (prefix, rest) = tag.split_at(start);
        let (numbers, suffix) = numbers_of(rest)?;
        let this = Self { prefix, numbers, suffix };
        (this.is_sound() && !this.is_date()).then_some(this)
    }

    fn is_sound(&self) -> bool {
        let word = self.prefix.trim_end_matches(['-', '_', '.']).to_ascii_lowercase();
        let last_word = word.rsplit(['-', '_', '.']).next().unwrap_or_default();
        let is_counted = COUNTED.contains(&last_word);
        let is_glued = self.suffix.starts_with(|c: char| c.is_ascii_alphanumeric());
        match self.numbers.as_slice() {
            // One number alone is a version only if it looks like nothing else.
            [one] => *one < 1_000 && matches!(self.prefix, "" | "v" | "V") && !is_glued,
            // What follows the numbers at once is a hash, unless it says what it is.
            _ => !is_counted && (!is_glued || self.is_early()),
        }
    }

    /// `2025.01.02`, `20250102`, `2025-01-02`: when, not what.
    fn is_date(&self) -> bool {
        let is_year = |n: u64| (1990..2200).contains(&n);
        match self.numbers.as_slice() {
            [one] => is_year(*one),
            [year, month, ..] => {
                is_year(*year) && (1..=12).contains(month) || (19_900_101..22_000_000).contains(year)
            }
            [] => true,
        }
    }

    fn is_early(&self) -> bool {
        let lower = self.suffix.to_ascii_lowercase();
        let words = lower.split(|c: char| !c.is_ascii_alphabetic()).filter(|word| !word.is_empty());
        let is_known = words.into_iter().any(|word| EARLY.contains(&word));
        // `3.13.0a1`, `3.13.0b2`, `1.0-M3`.
        let letter = lower.trim_start_matches(['-', '.', '_']);
        let rest = letter.strip_prefix(['a', 'b', 'm']);
        is_known || rest.is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()))
    }

    /// The suffix with a mark in the place of each number.
    fn shape(&self) -> String {
        let mut shape = String::with_capacity(self.suffix.len());
        for c in self.suffix.chars() {
            match c.is_ascii_digit() {
                true if shape.ends_with('#') => {}
                true => shape.push('#'),
                false => shape.push(c),
            }
        }
        shape
    }

    /// What is compared: the numbers, a finished version after its pre-releases, the numbers of the suffix.
    fn rank(&self) -> (&[u64], bool, Vec<u64>) {
        let inner = self.suffix.split(|c: char| !c.is_ascii_digit()).filter(|run| !run.is_empty());
        (&self.numbers, !self.is_early(), inner.map(|run| run.parse().unwrap_or(u64::MAX)).collect())
    }

    fn is_like(&self, current: &Version<'_>) -> bool {
        // Who runs a pre-release waits for the version itself.
        let is_finished = self.suffix.is_empty() && current.is_early();
        self.prefix == current.prefix
            && self.numbers.len() == current.numbers.len()
            && (is_finished || self.shape() == current.shape())
            && (current.is_early() || !self.is_early())
    }

    fn jump_to(&self, newer: &Version<'_>) -> Jump {
        match self.numbers.iter().zip(&newer.numbers).position(|(a, b)| a != b) {
            Some(0) => Jump::Major,
            Some(1) => Jump::Minor,
            _ => Jump::Patch,
        }
    }
}

/// Splits `1.2.3-alpine` into its numbers and the rest.
fn numbers_of(text: &str) -> Option<(Vec<u64>, &str)> {
    let (mut numbers, mut rest) = (Vec::new(), text);
    loop {
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (run, behind) = rest.split_at(end);
        // Longer runs are hashes and times.
        if run.len() > 9 {
            return None;
        }
        numbers.push(run.parse().ok()?);
        match behind.strip_prefix('.').filter(|next| next.starts_with(|c: char| c.is_ascii_digit())) {
            Some(next) => rest = next,
            None => return Some((numbers, behind)),
        }
    }
}

/// True if a tag says a version, so that it makes sense to look for newer ones.
pub fn is_version(tag: &str) -> bool {
    Version::parse(tag).is_some()
}

/// Returns the tags that are newer than `current`.
pub fn newer<'a>(current: &str, tags: impl IntoIterator<Item = &'a str>) -> NewerTags {
    let mut best: [Option<(Version<'a>, &'a str)>; 3] = [None, None, None];
    let Some(now) = Version::parse(current) else { return NewerTags::default() };
    for tag in tags {
        let Some(version) = Version::parse(tag) else { continue };
        if !version.is_like(&now) || version.rank() <= now.rank() {
            continue;
        }
        let Some(place) = best.get_mut(now.jump_to(&version) as usize) else { continue };
        // Tags of one rank (`1.2`, `1.02`) are told apart by their text, so that no order of the list matters.
        let is_better =
            place.as_ref().is_none_or(|(held, text)| (held.rank(), *text) < (version.rank(), tag));
        if is_better {
            *place = Some((version, tag));
        }
    }
    let [patch, minor, major] = best.map(|found| found.map(|(_, tag)| tag.to_owned()));
    NewerTags { patch, minor, major, is_cut: false }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_newer_version_is_named_with_its_distance() {
        for (current, tags, newest) in [
            ("1.2.3", "1.2.4 1.2.3 1.2.2", Some(("1.2.4", Jump::Patch))),
            ("1.2.3", "1.3.0 1.2.9", Some(("1.3.0", Jump::Minor))),
            ("1.2.3", "10.0.0 9.0.0 1.2.4", Some(("10.0.0", Jump::Major))),
            ("v1.9", "v1.10 1.11", Some(("v1.10", Jump::Minor))),
            (
                "v1.2.3-alpine3.20",
                "v1.2.4-alpine3.19 v1.3.0 v1.3.0-bookworm",
                Some(("v1.2.4-alpine3.19", Jump::Patch)),
            ),
            ("1.2.3-alpine3.20", "1.2.3-alpine3.21", Some(("1.2.3-alpine3.21", Jump::Patch))),
            ("16", "17 16.1 18-rc1 18beta1", Some(("17", Jump::Major))),
            ("16-alpine", "17 17-alpine", Some(("17-alpine", Jump::Major))),
            ("1.2.3", "1.2.4-rc1 1.2.4-alpine 2.0.0-beta.1 1.2", None),
            ("1.2.3", "v1.2.4 1.2.4.1", None),
            ("3.13.0a1", "3.13.0b1 3.13.0a2 3.12.9", Some(("3.13.0a2", Jump::Patch))),
            ("1.2.0-rc.1", "1.2.0-rc.2 1.2.0", Some(("1.2.0", Jump::Patch))),
            ("version-1.2.3", "version-1.2.4 1.2.5", Some(("version-1.2.4", Jump::Patch))),
            ("4.0.1-ls12", "4.0.1-ls13 4.0.2", Some(("4.0.1-ls13", Jump::Patch))),
            ("22.04", "24.04 22.10", Some(("24.04", Jump::Major))),
            ("latest", "1.2.3", None),
            ("stable", "stable-1", None),
            ("2025.01.02", "2025.02.01", None),
            ("20250102", "20250103", None),
            ("2024", "2025", None),
            ("sha-3f2a1b9", "sha-4f2a1b9", None),
            ("3f2a1b9", "4f2a1b9", None),
            ("pr-123", "pr-124", None),
            ("1234567", "1234568", None),
            ("", "1", None),
            ("1.2.3", "99999999999999999999.0.0 \u{661}.2.4", None),
        ] {
            let found = newer(current, tags.split(' '));
            assert_eq!(found.newest(), newest, "{current} of {tags}");
        }
    }

    #[test]
    fn each_distance_has_its_own_newest() {
        let found = newer("1.2.3", ["1.2.10", "1.2.9", "1.4.0", "1.10.1", "2.0.0", "3.1.4"]);
        let all = [found.patch, found.minor, found.major].map(Option::unwrap);
        assert_eq!(all, ["1.2.10", "1.10.1", "3.1.4"]);
    }

    proptest! {
        #[test]
        fn nothing_is_newer_than_the_newest_and_no_order_matters(
            tags in prop::collection::vec("v?[0-9]{1,2}\\.[0-9]{1,2}(\\.[0-9]{1,2})?(-alpine|-rc[0-9])?", 1..20),
            turn in 0_usize..20,
        ) {
            let current = tags[0].clone();
            let found = newer(&current, tags.iter().map(String::as_str));
            let mut turned = tags.clone();
            turned.rotate_left(turn % tags.len());
            prop_assert_eq!(&found, &newer(&current, turned.iter().map(String::as_str)));
            if let Some((newest, _)) = found.newest() {
                prop_assert!(newest != current);
                let further = newer(newest, tags.iter().map(String::as_str));
                prop_assert_eq!(further.newest(), None);
            }
        }

        #[test]
        fn whatever_a_registry_lists_it_is_read(current in ".{0,40}", tag in ".{0,40}") {
            newer(&current, [tag.as_str(), current.as_str()]);
        }
    }
}
