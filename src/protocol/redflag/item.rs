//! One item of a scan report.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{object, text};
use crate::domain::text::spell_out;
use crate::domain::update::{Cause, Finding, Kind, Severity, Standing};
use crate::protocol::body::type_name;

/// What an item is, or why it cannot be kept.
pub(super) enum Item {
    /// A finding of a kind.
    Of(Kind, Box<Finding>),
    /// Nobody can tell what it is about.
    Unreadable(Unreadable),
}

/// An item that is not kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unreadable {
    /// What is known of it, in words.
    pub(super) what: String,
    /// True if it may be about what one of our kinds is about, so that a list without it may not be all.
    pub(super) may_be_ours: bool,
}

/// Longest text of an unreadable item that is repeated.
const MAX_REPEATED: usize = 40;

impl Unreadable {
    fn of(value: &Value) -> Self {
        let Value::Object(map) = value else {
            return Self { what: format!("it is {} and no object", type_name(value)), may_be_ours: true };
        };
        let repeated = |text: &str| spell_out(text).chars().take(MAX_REPEATED).collect::<String>();
        let name =
            text(map, "package_name").map(|name| format!("`{}`, ", repeated(&name))).unwrap_or_default();
        match text(map, "package_type") {
            Some(kind) => {
                let kind = repeated(&kind);
                Self { what: format!("{name}of the unknown `package_type` `{kind}`"), may_be_ours: false }
            }
            None => Self { what: format!("{name}without a `package_type`"), may_be_ours: true },
        }
    }
}

/// Reads an item. Odd fields are left out and named; only what is no object, or of no kind, is unreadable.
pub(super) fn read(value: &Value) -> Item {
    let unreadable = || Item::Unreadable(Unreadable::of(value));
    let Value::Object(map) = value else { return unreadable() };
    let kind = map.get("package_type").and_then(Value::as_str).map(str::trim);
    let kind = match kind {
        Some("docker") => Some(Kind::DockerImage),
        Some(word) => word.parse().ok(),
        None => None,
    };
    let Some(kind) = kind else { return unreadable() };
    let mut flaws = Vec::new();
    let finding = finding(map, kind, &mut flaws);
    let flaw = (!flaws.is_empty()).then(|| flaws.join("; "));
    Item::Of(kind, Box::new(Finding { flaw, ..finding }))
}

fn finding(map: &Map<String, Value>, kind: Kind, flaws: &mut Vec<String>) -> Finding {
    let mut word = |field: &str| match map.get(field) {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => Some(text.trim().to_owned()).filter(|text| !text.is_empty()),
        Some(_) => {
            flaws.push(format!("`{field}` is no text and is left out"));
            None
        }
    };
    let (name, current) = (word("package_name"), word("current_version"));
    let (mut available, mut source) = (word("available_version"), word("repository_source"));
    let (description, kb) = (word("package_description"), word("kb_id"));
    let severity = word("severity");
    let mut details: BTreeMap<String, Value> = object(map, "metadata").into_iter().collect();
    if kind == Kind::Dnf && are_swapped(available.as_deref(), source.as_deref()) {
        std::mem::swap(&mut available, &mut source);
        details.insert("columns_were_swapped".into(), Value::Bool(true));
    }
    if available.is_none() {
        flaws.push("it does not say which version is available".into());
    }
    let mut finding = Finding::new(name.unwrap_or_default(), standing(kind, available.is_some()));
    finding.current_version = current.filter(|version| !version.eq_ignore_ascii_case("unknown"));
    finding.available_version = available.filter(|version| !version.eq_ignore_ascii_case("unknown"));
    finding.severity = Severity::of_word(severity.as_deref().unwrap_or_default());
    finding.is_security = match kind {
        Kind::Apt => source.as_deref().map(|suites| suites.contains("security")),
        _ => None,
    };
    finding.source = source;
    finding.size_bytes = map.get("size_bytes").and_then(Value::as_u64).filter(|size| *size > 0);
    finding.cves = texts(map.get("cve_list").or_else(|| details.get("cve_list")));
    finding.advisories = kb.into_iter().flat_map(|ids| split(&ids)).collect();
    finding.description = description;
    finding.details = details;
    finding
}

/// RedFlag's agent compares the id of a local image with the digest of a remote manifest, which differ for every image:
/// nothing is known from that. Nor is it from an item that names no version.
fn standing(kind: Kind, has_version: bool) -> Standing {
    let reason = match (kind, has_version) {
        (Kind::DockerImage, _) => {
            "RedFlag's agent compares the id of an image with the digest of a manifest, which differ for every image; put \
             Lightship's agent on the host to have it checked"
        }
        (_, true) => return Standing::Newer,
        (_, false) => "the agent does not say which version is available",
    };
    let (cause, reason) = (Cause::Misunderstood, reason.to_owned());
    Standing::Unchecked { cause, reason, last_known_at: None, retry_at: None }
}

/// RedFlag's agent puts the version that DNF lists where the repository belongs, and the repository where it belongs.
fn are_swapped(available: Option<&str>, source: Option<&str>) -> bool {
    let begins_as_version = |text: &str| text.starts_with(|c: char| c.is_ascii_digit());
    let is_version = |text: &str| begins_as_version(text) && text.contains(['.', '-', ':']);
    source.is_some_and(is_version) && available.is_some_and(|text| !begins_as_version(text))
}

fn texts(value: Option<&Value>) -> Vec<String> {
    match value {
        Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        Some(Value::String(list)) => split(list),
        _ => Vec::new(),
    }
}

fn split(list: &str) -> Vec<String> {
    list.split(',').map(str::trim).filter(|id| !id.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_of_dnf_are_put_right_and_right_ones_stay() {
        for (available, source, swapped) in [
            (Some("rawhide"), Some("2.41-3.fc43"), true),
            (Some("updates"), Some("1:3.5.1-2.fc42"), true),
            (Some("epel9"), Some("4.2.1"), true),
            (Some("2.41-3.fc43"), Some("updates"), false),
            (Some("2.41-3.fc43"), Some("3.el9-repo"), false),
            (Some("rawhide"), Some("342"), false),
            (Some("rawhide"), None, false),
            (None, Some("2.41-3"), false),
        ] {
            assert_eq!(are_swapped(available, source), swapped, "{available:?} {source:?}");
        }
    }
}
