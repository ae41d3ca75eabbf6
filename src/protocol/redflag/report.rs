//! What a scan found, and what an agent says of the dependencies of a package.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::item::{self, Item};
use super::text;
use crate::domain::text::spell_out;
use crate::domain::update::{Finding, Findings, Kind, MAX_LIST, MAX_NAME_CHARS};
use crate::protocol::body::{self, BodyError, type_name};

/// Most items of a report.
const MOST_ITEMS: usize = 50_000;

/// A report, by kinds of update. A list is complete for the kinds that it names, and says nothing of others: one scanner
/// may have failed, or found nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct ScanReport {
    /// The command that asked for the scan.
    pub command_id: Option<String>,
    /// What each scanner found.
    pub findings: Vec<Findings>,
    /// How many items came.
    pub count: usize,
    /// How many of them nobody can tell what they are about.
    pub unreadable: usize,
    /// What is wrong with those, in words.
    pub problem: Option<String>,
}

/// Unreadable items that are named.
const MOST_NAMED: usize = 5;

/// Reads the body of `POST /api/v1/agents/{id}/updates`.
pub fn decode_report(bytes: &[u8], now: DateTime<Utc>) -> Result<ScanReport, BodyError> {
    let map = body::parse_object(bytes)?;
    let items = match map.get("updates") {
        None => return Err(BodyError::Field { field: "updates", found: "missing", expected: "a list" }),
        Some(Value::Null) => &[][..],
        Some(Value::Array(items)) => items.as_slice(),
        Some(other) => {
            return Err(BodyError::Field { field: "updates", found: type_name(other), expected: "a list" });
        }
    };
    if items.len() > MOST_ITEMS {
        return Err(BodyError::Value { field: "updates", reason: "it has more than 50,000 items" });
    }
    // By the agent's clock; one that runs ahead knows nothing of what is to come.
    let at =
        text(&map, "timestamp").and_then(|at| at.parse().ok()).map_or(now, |at: DateTime<Utc>| at.min(now));
    let mut by_kind = BTreeMap::<Kind, Vec<Finding>>::new();
    let (mut unreadable, mut named) = (0, Vec::new());
    // One that nobody can tell apart may be of any kind: then none of the lists is known to be all.
    let mut are_all = true;
    for (number, item) in (1..).zip(items) {
        match item::read(item) {
            Item::Of(kind, finding) => by_kind.entry(kind).or_default().push(*finding),
            Item::Unreadable(item) => {
                unreadable += 1;
                are_all &= !item.may_be_ours;
                if named.len() < MOST_NAMED {
                    named.push(format!("number {number} ({})", item.what));
                }
            }
        }
    }
    let of_kind = |(kind, items)| {
        let findings = Findings::new(kind, items).as_of(at);
        if are_all { findings } else { findings.in_part() }
    };
    Ok(ScanReport {
        command_id: text(&map, "command_id"),
        findings: by_kind.into_iter().map(of_kind).collect(),
        count: items.len(),
        unreadable,
        problem: (unreadable > 0).then(|| problem(unreadable, items.len(), &named)),
    })
}

fn problem(unreadable: usize, of: usize, named: &[String]) -> String {
    let more = match unreadable - named.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!(
        "{unreadable} of the {of} items of its last report could not be read and were left out: {}{more}; the rest was kept.",
        named.join(", ")
    )
}

/// What a package brings along, as a dry run says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependencies {
    /// Its kind, as the agent calls it.
    pub package_type: String,
    /// Its name.
    pub package_name: String,
    /// What comes along.
    pub dependencies: Vec<String>,
}

/// Reads the body of `POST /api/v1/agents/{id}/dependencies`.
pub fn decode_dependencies(bytes: &[u8]) -> Result<Dependencies, BodyError> {
    let map = body::parse_object(bytes)?;
    let required = |field: &'static str| {
        let plain = text(&map, field).map(|text| spell_out(&text).chars().take(MAX_NAME_CHARS).collect());
        plain.ok_or(BodyError::Field { field, found: "missing", expected: "a string" })
    };
    required("update_id").map(|_: String| ())?;
    let names = match map.get("dependencies") {
        None | Some(Value::Null) => &[][..],
        Some(Value::Array(list)) => list.as_slice(),
        Some(other) => {
            return Err(BodyError::Field {
                field: "dependencies",
                found: type_name(other),
                expected: "a list",
            });
        }
    };
    let names = names.iter().filter_map(Value::as_str).map(spell_out).take(MAX_LIST);
    Ok(Dependencies {
        package_type: required("package_type")?,
        package_name: required("package_name")?,
        dependencies: names.collect(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::update::{Severity, Standing};

    fn read(items: Value) -> ScanReport {
        let body = json!({"command_id": "c-1", "timestamp": "2026-01-31T12:00:00Z", "updates": items});
        decode_report(body.to_string().as_bytes(), "2026-02-01T00:00:00Z".parse().unwrap()).unwrap()
    }

    fn apt(name: &str, severity: &str) -> Value {
        json!({"package_type": "apt", "package_name": name, "current_version": "1", "available_version": "2",
            "severity": severity, "repository_source": "bookworm-security"})
    }

    #[test]
    fn a_report_is_complete_for_the_kinds_that_it_names() {
        let report = read(json!([
            apt("openssl", "important"),
            {"package_type": "winget", "package_name": "Firefox", "available_version": "130"},
        ]));
        let kinds: Vec<Kind> = report.findings.iter().map(|of| of.checked.kind).collect();
        assert_eq!(kinds, [Kind::Apt, Kind::Winget]);
        assert!(report.findings.iter().all(|of| of.checked.is_complete && of.checked.ok));
        let openssl = &report.findings[0].items[0];
        assert_eq!((openssl.severity, openssl.is_security), (Severity::Important, Some(true)));
        assert_eq!(read(json!([])).findings, []);
    }

    #[test]
    fn severities_outside_the_four_words_are_mapped() {
        for (word, severity) in [
            ("high", Severity::Important),
            ("medium", Severity::Moderate),
            ("none", Severity::Low),
            ("", Severity::Low),
            ("CRITICAL", Severity::Critical),
            ("whatever", Severity::Low),
        ] {
            assert_eq!(read(json!([apt("a", word)])).findings[0].items[0].severity, severity, "{word}");
        }
    }

    #[test]
    fn one_odd_item_never_spoils_a_report() {
        let report = read(json!([
            apt("good", "low"),
            {"package_type": "apt", "package_name": "half", "available_version": 5, "cve_list": "x", "metadata": []},
            {"package_type": "apt", "severity": null},
            {"package_type": "snap", "package_name": "other"},
            "nonsense",
        ]));
        assert_eq!((report.count, report.unreadable), (5, 2));
        let found = &report.findings[0];
        let names: Vec<&str> = found.items.iter().map(|item| item.name.as_str()).collect();
        assert_eq!(names, ["(no name)", "good", "half"]);
        assert!(found.items[2].flaw.as_deref().unwrap().contains("`available_version`"));
        assert!(!found.items[2].is_pending() && !found.items[0].is_pending(), "no version is on offer");
        assert!(!found.checked.is_complete, "what was not read may be of this kind");
        assert_eq!(
            (found.checked.ok, &found.checked.problem),
            (true, &None),
            "what was read is as it was read"
        );
        assert_eq!(
            report.problem.unwrap(),
            "2 of the 5 items of its last report could not be read and were left out: number 4 (`other`, of the unknown \
             `package_type` `snap`), number 5 (it is a string and no object); the rest was kept."
        );
    }

    #[test]
    fn a_list_is_complete_if_what_was_left_out_is_of_no_kind_of_ours() {
        for (item, is_complete) in [
            (json!({"package_type": "snap", "package_name": "core"}), true),
            (json!({"package_name": "core"}), false),
            (json!({"package_type": 7}), false),
            (json!(null), false),
        ] {
            let report = read(json!([apt("good", "low"), item]));
            assert_eq!(report.findings[0].checked.is_complete, is_complete, "{item}");
            assert!(report.findings[0].checked.ok && report.unreadable == 1, "{item}");
        }
        assert_eq!(read(json!([apt("good", "low")])).problem, None);
    }

    #[test]
    fn what_is_said_of_unreadable_items_is_bounded_and_spelt_out() {
        let odd = json!({"package_type": "\u{1b}[2J".repeat(1_000), "package_name": "x".repeat(1_000)});
        let problem = read(json!(vec![odd; 1_000])).problem.unwrap();
        assert!(problem.len() < 1_000 && !problem.contains('\u{1b}'), "{problem}");
        assert!(
            problem.starts_with("1000 of the 1000 items") && problem.contains("and 995 more"),
            "{problem}"
        );
    }

    #[test]
    fn images_are_not_called_old_by_a_comparison_that_says_nothing() {
        let image = |metadata: Value| {
            json!([{"package_type": "docker_image", "package_name": "nginx:1.25", "current_version": "sha256:aaaa",
                "available_version": "bbbb", "severity": "moderate", "metadata": metadata}])
        };
        let theirs = json!({"local_full_digest": "sha256:aaaa", "remote_digest": "sha256:bbbb"});
        for metadata in [theirs, json!({})] {
            let found = read(image(metadata));
            assert!(matches!(found.findings[0].items[0].standing, Standing::Unchecked { .. }));
        }
    }

    #[test]
    fn what_is_no_report_is_named() {
        let now = "2026-02-01T00:00:00Z".parse().unwrap();
        for (body, word) in
            [(r#"{"command_id":"x"}"#, "missing"), (r#"{"updates":{}}"#, "an object"), ("[]", "a list")]
        {
            let error = decode_report(body.as_bytes(), now).unwrap_err().to_string();
            assert!(error.contains(word), "{body}: {error}");
        }
        assert_eq!(decode_report(br#"{"updates":null}"#, now).unwrap().count, 0);
        let of = |list: &str| {
            let body = format!(
                r#"{{"package_type":"apt","package_name":"a","update_id":"u","dependencies":{list}}}"#
            );
            decode_dependencies(body.as_bytes()).map(|said| said.dependencies.len())
        };
        assert_eq!((of("[]"), of("null"), of(r#"["b"]"#)), (Ok(0), Ok(0), Ok(1)));
        assert!(of("7").is_err());
    }
}
