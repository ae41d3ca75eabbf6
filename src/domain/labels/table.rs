//! Where labels are found: prefixes, levels and the table of known suffixes.

use std::collections::BTreeMap;

pub(super) use crate::domain::text::{is_no, is_yes};

/// Most routes that one container may ask for.
pub const MAX_SERVICES: usize = 256;
/// Prefixes that every master knows, in the order of their weight.
const PREFIXES: [&str; 2] = ["dockflare.", "cloudflare.tunnel."];
/// Every suffix with a meaning.
pub(super) const SUFFIXES: [&str; 31] = [
    "enable",
    "hostname",
    "service",
    "path",
    "zonename",
    "no_tls_verify",
    "originsrvname",
    "httpHostHeader",
    "http2_origin",
    "disable_chunked_encoding",
    "match_sni_to_host",
    "connect_timeout",
    "tls_timeout",
    "tcp_keep_alive",
    "keep_alive_timeout",
    "keep_alive_connections",
    "no_happy_eyeballs",
    "ca_pool",
    "proxy_type",
    "access_required",
    "access_team_name",
    "access_aud_tag",
    "access.group",
    "access.groups",
    "access.policy",
    "access.name",
    "access.session_duration",
    "access.app_launcher_visible",
    "access.allowed_idps",
    "access.auto_redirect_to_identity",
    "access.custom_rules",
];

/// Whether a label is meant for the whole container or for one numbered route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    /// `dockflare.hostname`.
    Base,
    /// `dockflare.0.hostname`.
    Index(usize),
}

/// A label that is there and not blank.
#[derive(Debug, Clone)]
pub(super) struct Found<'a> {
    pub(super) label: String,
    pub(super) value: &'a str,
}

/// Labels of one container, with the prefixes that count.
pub(super) struct Labelled<'a> {
    pub(super) labels: &'a BTreeMap<String, String>,
    prefixes: Vec<String>,
}

impl<'a> Labelled<'a> {
    pub(super) fn new(labels: &'a BTreeMap<String, String>, prefix: Option<&str>) -> Self {
        let own = prefix.map(|p| p.trim().trim_end_matches('.')).filter(|p| !p.is_empty());
        let own = own.map(|p| format!("{p}."));
        let prefixes = own.into_iter().chain(PREFIXES.map(str::to_owned)).collect();
        Self { labels, prefixes }
    }

    /// Returns the first label of a level by the weight of its prefix. A blank one, as unset variables of a
    /// compose file leave it, is not there.
    pub(super) fn get(&self, level: Level, suffix: &str) -> Option<Found<'a>> {
        self.prefixes.iter().find_map(|prefix| {
            let label = label_name(prefix, level, suffix);
            let value = self.labels.get(&label).filter(|value| !value.trim().is_empty())?;
            Some(Found { label, value })
        })
    }

    /// Returns the label of a level, or else the base one.
    pub(super) fn get_or_base(&self, level: Level, suffix: &str) -> Option<Found<'a>> {
        self.get(level, suffix).or_else(|| self.get(Level::Base, suffix))
    }

    /// Returns the label of a level if it is there and blank, under every prefix that has it.
    pub(super) fn blank(&self, level: Level, suffix: &str) -> Option<Found<'a>> {
        if self.get(level, suffix).is_some() {
            return None;
        }
        self.prefixes.iter().find_map(|prefix| {
            let label = label_name(prefix, level, suffix);
            let value = self.labels.get(&label)?;
            Some(Found { label, value })
        })
    }

    pub(super) fn is_enabled(&self) -> bool {
        self.get(Level::Base, "enable").is_some_and(|found| is_yes(found.value))
    }

    /// Returns what follows a prefix of ours.
    pub(super) fn suffix<'l>(&self, label: &'l str) -> Option<&'l str> {
        self.prefixes.iter().find_map(|prefix| label.strip_prefix(prefix.as_str()))
    }

    /// Returns all labels of ours with level and suffix.
    pub(super) fn all(&self) -> impl Iterator<Item = (&'a str, Level, &'a str)> {
        self.labels.keys().filter_map(|label| {
            let suffix = self.suffix(label)?;
            let (level, suffix) = split_level(suffix);
            Some((label.as_str(), level, suffix))
        })
    }

    /// Returns how many indices there are from 0 without a gap; an index counts if it has a hostname.
    pub(super) fn contiguous_indices(&self) -> usize {
        (0..=MAX_SERVICES).take_while(|i| self.get(Level::Index(*i), "hostname").is_some()).count()
    }

    /// Returns any hostname label.
    pub(super) fn any_hostname(&self) -> Option<String> {
        self.all().find(|(_, _, suffix)| *suffix == "hostname").map(|(label, ..)| label.to_owned())
    }

    /// Returns the name of a label that would stand beside another one, at the same prefix and level.
    pub(super) fn beside(&self, label: &str, suffix: &str) -> String {
        let Some(old) = self.suffix(label) else { return format!("{}{suffix}", PREFIXES[0]) };
        let prefix = &label[..label.len() - old.len()];
        let level = if suffix == "enable" { Level::Base } else { split_level(old).0 };
        label_name(prefix, level, suffix)
    }

    /// Says how several hostnames are written, at the prefix of a label.
    pub(super) fn say_numbered(&self, label: &str) -> String {
        let prefix = self.suffix(label).map_or(PREFIXES[0], |suffix| &label[..label.len() - suffix.len()]);
        let [first, second] = [0, 1].map(|i| label_name(prefix, Level::Index(i), "hostname"));
        format!("a label holds one hostname; for several write `{first}`, `{second}` and so on")
    }

    /// Returns the name of a label of a level, as it is there or as it would be written.
    pub(super) fn name_at(&self, level: Level, suffix: &str) -> String {
        self.get(level, suffix).map_or_else(|| label_name(PREFIXES[0], level, suffix), |found| found.label)
    }
}

fn label_name(prefix: &str, level: Level, suffix: &str) -> String {
    match level {
        Level::Base => format!("{prefix}{suffix}"),
        Level::Index(i) => format!("{prefix}{i}.{suffix}"),
    }
}

/// Splits `0.hostname` into its level and the rest; numbers are written without leading zeros.
fn split_level(suffix: &str) -> (Level, &str) {
    let split = suffix.split_once('.').and_then(|(number, rest)| {
        let index: usize = number.parse().ok()?;
        (index.to_string() == number).then_some((Level::Index(index), rest))
    });
    split.unwrap_or((Level::Base, suffix))
}
