//! What a scan found, in the forms in which others read it.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::domain::csv::quoted;
use crate::domain::update::{Checked, Finding, HeldCause, Kind, Standing, State};
use crate::state_dir::LastScan;

/// One update, with the fields of `GET /api/v3/updates` and the reason why it stays behind.
#[derive(Debug, Serialize)]
pub(super) struct Update<'a> {
    id: String,
    /// A host alone has no id.
    agent_id: Option<&'a str>,
    agent: &'a str,
    kind: Kind,
    name: &'a str,
    current_version: Option<&'a str>,
    available_version: Option<&'a str>,
    /// None if there is nothing newer as far as anybody knows.
    state: Option<&'static str>,
    severity: &'static str,
    is_security: Option<bool>,
    /// Only a master knows what is public.
    is_public: Option<bool>,
    is_protected: Option<bool>,
    first_seen_at: Option<DateTime<Utc>>,
    last_checked_at: Option<DateTime<Utc>>,
    problem: Option<&'a str>,
    reason: Option<&'a str>,
    /// The state, or the word for why it is held back.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'static str>,
}

/// Everything that is pending, or of which that is not known; what is up to date is left out.
pub(super) fn updates(scan: &LastScan, with_status: bool) -> Vec<Update<'_>> {
    let of_interest = shown(scan);
    of_interest.map(|(checked, finding)| update(scan, checked, finding, with_status)).collect()
}

/// What is shown: all but what is up to date.
pub(super) fn shown(scan: &LastScan) -> impl Iterator<Item = (&Checked, &Finding)> {
    let all = scan.scanners.iter().flat_map(|found| found.items.iter().map(|item| (&found.checked, item)));
    all.filter(|(_, finding)| finding.standing != Standing::Same)
}

fn update<'a>(
    scan: &'a LastScan,
    checked: &'a Checked,
    finding: &'a Finding,
    with_status: bool,
) -> Update<'a> {
    let kind = checked.kind;
    let problem = match &finding.standing {
        Standing::Unchecked { reason, .. } => Some(reason.as_str()),
        _ => finding.flaw.as_deref(),
    };
    let last_checked_at = match &finding.standing {
        Standing::Unchecked { last_known_at, .. } => *last_known_at,
        _ if checked.ok => Some(scan.at),
        _ => checked.as_of,
    };
    Update {
        id: id(&scan.host, kind, &finding.name),
        agent_id: None,
        agent: &scan.host,
        kind,
        name: &finding.name,
        current_version: finding.current_version.as_deref(),
        available_version: finding.available_version.as_deref(),
        state: is_newer(finding).then_some(State::Discovered.as_str()),
        severity: finding.severity.as_str(),
        is_security: finding.is_security,
        is_public: None,
        is_protected: None,
        first_seen_at: scan.first_seen.get(kind, &finding.name),
        last_checked_at,
        problem,
        reason: reason(finding),
        status: with_status.then(|| status(finding)),
    }
}

/// Says the same of the same thing every time.
fn id(host: &str, kind: Kind, name: &str) -> String {
    hex::encode(&Sha256::digest(format!("{host}\n{kind}\n{name}"))[..8])
}

/// Of one that could not be checked, what was last known counts.
fn is_newer(finding: &Finding) -> bool {
    finding.is_pending()
        || (matches!(finding.standing, Standing::Unchecked { .. }) && finding.available_version.is_some())
}

/// Why it stays as it is, or has no comparison.
pub(super) fn reason(finding: &Finding) -> Option<&str> {
    match (&finding.held_back, &finding.standing) {
        (_, Standing::Unchecked { reason, .. } | Standing::Untracked { reason, .. }) => Some(reason),
        (held, _) => held.as_ref().map(|held| held.reason.as_str()),
    }
}

/// In one word.
pub(super) fn status(finding: &Finding) -> &'static str {
    if let Some(held) = &finding.held_back {
        return match held.cause {
            HeldCause::Held => "held",
            HeldCause::Phased => "phased",
            HeldCause::NeedsChanges => "needs_changes",
            HeldCause::Unmet => "unmet",
            HeldCause::AsksToBeNamed => "asks_to_be_named",
        };
    }
    match finding.standing {
        Standing::Newer => State::Discovered.as_str(),
        Standing::RestartNeeded => "restart_needed",
        Standing::Unchecked { .. } => "unchecked",
        Standing::Untracked { .. } => "untracked",
        Standing::Same => "same",
    }
}

/// How each scanner came out, by its kind.
pub(super) fn scanners(scan: &LastScan) -> Value {
    let of = |checked: &Checked| {
        json!({
            "ok": checked.ok,
            "as_of": checked.as_of,
            "problem": checked.problem.as_ref().map(|problem| json!({
                "reason": problem.reason,
                "way_out": problem.way_out,
            })),
            "count": checked.count,
            "pending": checked.pending,
            "digest": checked.digest,
        })
    };
    let entries = scan.scanners.iter().map(|found| (found.checked.kind.to_string(), of(&found.checked)));
    Value::Object(entries.collect::<Map<_, _>>())
}

/// The whole of a scan.
pub(super) fn whole(scan: &LastScan) -> Value {
    json!({
        "host": scan.host,
        "at": scan.at,
        "scanners": scanners(scan),
        "updates": updates(scan, false),
        "next": null,
    })
}

/// One update in the form of RedFlag's report.
#[derive(Debug, Serialize)]
pub(super) struct RedflagItem<'a> {
    package_type: Kind,
    package_name: &'a str,
    package_description: &'a str,
    current_version: &'a str,
    available_version: &'a str,
    severity: &'static str,
    cve_list: Option<&'a [String]>,
    kb_id: String,
    repository_source: &'a str,
    size_bytes: u64,
    metadata: Map<String, Value>,
}

/// What is pending, in the form of RedFlag's report: it knows no other standing.
pub(super) fn redflag_items(scan: &LastScan) -> Vec<RedflagItem<'_>> {
    let pending = shown(scan).filter(|(_, finding)| finding.is_pending());
    pending.map(|(checked, finding)| redflag_item(checked.kind, finding)).collect()
}

fn redflag_item(kind: Kind, finding: &Finding) -> RedflagItem<'_> {
    fn text(text: &Option<String>) -> &str {
        text.as_deref().unwrap_or_default()
    }
    let articles = finding.advisories.iter().filter(|id| id.starts_with("KB"));
    let mut metadata: Map<String, Value> =
        finding.details.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
    if let Some(held) = &finding.held_back {
        metadata.insert("held_back".into(), json!({ "cause": status(finding), "reason": held.reason }));
    }
    if let Some(group) = &finding.group {
        metadata.insert("group".into(), json!(group));
    }
    metadata.insert("is_security".into(), json!(finding.is_security));
    RedflagItem {
        package_type: kind,
        package_name: &finding.name,
        package_description: text(&finding.description),
        current_version: text(&finding.current_version),
        available_version: text(&finding.available_version),
        severity: finding.severity.as_str(),
        cve_list: (!finding.cves.is_empty()).then_some(finding.cves.as_slice()),
        kb_id: articles.cloned().collect::<Vec<_>>().join(", "),
        repository_source: text(&finding.source),
        size_bytes: finding.size_bytes.unwrap_or_default(),
        metadata,
    }
}

/// The same as a table for other programs, with RedFlag's columns.
pub(super) fn csv(items: &[RedflagItem<'_>]) -> String {
    let mut out = String::from(
        "PackageType,PackageName,CurrentVersion,AvailableVersion,Severity,CVEList,Description,SizeBytes",
    );
    for item in items {
        let fields = [
            item.package_type.as_str().to_owned(),
            item.package_name.to_owned(),
            item.current_version.to_owned(),
            item.available_version.to_owned(),
            item.severity.to_owned(),
            item.cve_list.unwrap_or_default().join(";"),
            // As RedFlag does it: whoever splits at commas is not led astray.
            item.package_description.replace(',', ";"),
            item.size_bytes.to_string(),
        ];
        out.push('\n');
        out.push_str(&fields.map(|field| quoted(&field)).join(","));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::update::{Cause, Findings, FirstSeen, HeldBack, Severity};

    fn scan() -> LastScan {
        let at = "2026-01-31T12:00:00Z".parse().unwrap();
        let mut held = Finding::new("t-lib", Standing::Newer);
        held.current_version = Some("1.0".into());
        held.available_version = Some("1.1".into());
        held.held_back = Some(HeldBack { cause: HeldCause::Held, reason: "held by somebody".into() });
        held.description = Some("a, \"lib\"".into());
        held.cves = vec!["CVE-1".into(), "CVE-2".into()];
        held.severity = Severity::Important;
        held.is_security = Some(true);
        held.size_bytes = Some(752);
        let reason = "no route to host".to_owned();
        let unchecked =
            Standing::Unchecked { cause: Cause::NotReachable, reason, last_known_at: None, retry_at: None };
        let items = vec![held, Finding::new("t-img", unchecked), Finding::new("t-same", Standing::Same)];
        let found =
            Findings::new(Kind::Apt, items).as_of(at).with_problem("not known", Some("run it".into()));
        let mut first_seen = FirstSeen::default();
        first_seen.follow(&found, at);
        LastScan { host: "web-1".into(), at, scanners: vec![found], first_seen }
    }

    #[test]
    fn the_whole_of_a_scan_has_the_fields_of_the_api() {
        let whole = whole(&scan());
        let apt = &whole["scanners"]["apt"];
        assert_eq!((&apt["ok"], &apt["count"], &apt["pending"]), (&json!(false), &json!(3), &json!(1)));
        assert_eq!(apt["problem"], json!({ "reason": "not known", "way_out": "run it" }));
        let updates = whole["updates"].as_array().unwrap();
        assert_eq!(updates.len(), 2, "what is up to date is no update");
        let fields: Vec<_> = updates[0].as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(
            fields,
            [
                "id",
                "agent_id",
                "agent",
                "kind",
                "name",
                "current_version",
                "available_version",
                "state",
                "severity",
                "is_security",
                "is_public",
                "is_protected",
                "first_seen_at",
                "last_checked_at",
                "problem",
                "reason",
            ]
        );
        assert_eq!(
            (&updates[0]["state"], &updates[0]["problem"]),
            (&Value::Null, &json!("no route to host"))
        );
        assert_eq!(
            (&updates[1]["state"], &updates[1]["reason"]),
            (&json!("discovered"), &json!("held by somebody"))
        );
        assert_eq!(updates[1]["first_seen_at"], "2026-01-31T12:00:00Z");
        assert_eq!((&whole["host"], &whole["next"]), (&json!("web-1"), &Value::Null));
    }

    #[test]
    fn a_list_says_in_a_word_what_becomes_of_each() {
        let scan = scan();
        let list = serde_json::to_value(updates(&scan, true)).unwrap();
        assert_eq!((&list[0]["status"], &list[1]["status"]), (&json!("unchecked"), &json!("held")));
    }

    #[test]
    fn redflag_is_told_what_is_pending_in_its_own_form() {
        let scan = scan();
        let items = redflag_items(&scan);
        let json = serde_json::to_value(&items).unwrap();
        assert_eq!(json.as_array().unwrap().len(), 1);
        assert_eq!(
            (
                &json[0]["package_type"],
                &json[0]["package_name"],
                &json[0]["severity"],
                &json[0]["size_bytes"]
            ),
            (&json!("apt"), &json!("t-lib"), &json!("important"), &json!(752))
        );
        assert_eq!(json[0]["metadata"]["held_back"]["cause"], "held");
        assert_eq!(
            csv(&items),
            "PackageType,PackageName,CurrentVersion,AvailableVersion,Severity,CVEList,Description,SizeBytes\n\
             apt,t-lib,1.0,1.1,important,CVE-1;CVE-2,\"a; \"\"lib\"\"\",752"
        );
    }
}
