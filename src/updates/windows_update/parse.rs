//! Reads what the script prints.

use serde_json::{Value, json};

use super::super::powershell::{code_text, document, list, texts};
use super::words::{NOTHING, words};
use crate::domain::update::{Finding, Severity, Standing};

/// Categories by their ids; their names are in the host's language.
const SECURITY: &str = "0fa1201d-4330-4fa8-8ae9-b877473b6441";
const CRITICAL: &str = "e6cf1350-c01b-414d-a61f-263d14d133b4";
const NAMED: [(&str, &str); 8] = [
    (SECURITY, "security"),
    (CRITICAL, "critical"),
    ("e0789628-ce08-4437-be74-2495b842f43b", "definitions"),
    ("28bc880e-0592-4cbf-8f95-c79b17911d5f", "rollup"),
    ("cd5ffd1e-e932-4e3a-bf74-18bf0b1bbd83", "update"),
    ("ebfc1fc5-71a4-4f7b-9aca-3b9a503104a0", "driver"),
    ("3689bdc8-b205-4af4-8d4a-a63924c5e9d5", "feature"),
    ("68c5b0a3-d1a6-4553-ae49-01d3a7827828", "service_pack"),
];
/// An update with this impact is installed alone.
const ALONE: i64 = 2;

/// What a search found.
pub(super) struct Searched {
    pub items: Vec<Finding>,
    /// Why that is not all, if it is not.
    pub in_part: Option<String>,
}

/// Reads it; fails with what went wrong and what to do.
pub(super) fn parse(printed: &str, code: i32) -> Result<Searched, (String, Option<String>)> {
    let Some(answer) = document(printed) else {
        return Err((format!("PowerShell ended with {code} and printed no answer"), None));
    };
    if answer["ok"] != true {
        return failed(&answer);
    }
    let reboot_pending = answer["reboot_pending"] == true;
    let items = list(&answer["updates"]).iter().map(|update| finding(update, reboot_pending)).collect();
    match answer["result"].as_i64() {
        Some(2) => Ok(Searched { items, in_part: None }),
        Some(3) => Ok(Searched { items, in_part: Some("Windows could not look at all updates".into()) }),
        result => Err((format!("the search for updates did not end well (result {result:?})"), None)),
    }
}

fn failed(answer: &Value) -> Result<Searched, (String, Option<String>)> {
    let digits = answer["hresult"].as_str().unwrap_or_default().trim_start_matches("0x");
    let code = u32::from_str_radix(digits, 16).unwrap_or(0);
    if NOTHING.contains(&code) {
        return Ok(Searched { items: Vec::new(), in_part: None });
    }
    match words(code) {
        Some((reason, way_out)) => Err((format!("{reason} ({})", code_text(code)), Some(way_out.into()))),
        None => {
            let said = answer["error"].as_str().unwrap_or_default().trim();
            Err((format!("Windows Update failed with {}: {said}", code_text(code)), None))
        }
    }
}

fn finding(update: &Value, reboot_pending: bool) -> Finding {
    let text = |name: &str| {
        update
            .get(name)
            .and_then(Value::as_str)
            .map(str::trim)
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
    };
    let mut finding = Finding::new(text("id").unwrap_or_default(), Standing::Newer);
    let categories: Vec<String> = list(&update["categories"])
        .iter()
        .filter_map(|c| Some(c["id"].as_str()?.to_ascii_lowercase()))
        .collect();
    let is_in = |id: &str| categories.iter().any(|category| category == id);
    let word = text("severity");
    let is_security = word.is_some() || is_in(SECURITY);
    finding.severity = match &word {
        Some(word) => Severity::of_word(word),
        None if is_in(CRITICAL) => Severity::Critical,
        None => Severity::without_word(Some(is_security)),
    };
    finding.is_security = Some(is_security);
    finding.title = text("title");
    // Titles and articles come again with each revision; an id and its revision are one update.
    finding.available_version = update["revision"].as_i64().map(|revision| format!("revision {revision}"));
    let kb = |id: String| if id.starts_with("KB") { id } else { format!("KB{id}") };
    finding.advisories =
        texts(&update["kb"]).into_iter().map(kb).chain(texts(&update["bulletins"])).collect();
    finding.cves = texts(&update["cves"]);
    finding.size_bytes = update["size"].as_u64().filter(|size| *size > 0);
    finding.source = Some("Windows Update".into());
    let kinds: Vec<&str> = NAMED.iter().filter(|(id, _)| is_in(id)).map(|(_, name)| *name).collect();
    let details = [
        ("categories", json!(kinds)),
        ("is_driver", json!(update["type"] == 2)),
        (
            "restarts",
            json!(match update["reboot"].as_i64() {
                Some(0) => "never",
                Some(1) => "always",
                _ => "maybe",
            }),
        ),
        ("installs_alone", json!(update["impact"] == ALONE)),
        ("is_downloaded", update["is_downloaded"].clone()),
        ("is_mandatory", update["is_mandatory"].clone()),
        ("needs_eula", json!(update["is_eula_accepted"] == false)),
        ("asks_user", update["asks_user"].clone()),
        ("can_be_removed", update["is_uninstallable"].clone()),
        ("published", update["published"].clone()),
        ("urls", json!(texts(&update["urls"]))),
        ("reboot_pending", json!(reboot_pending)),
    ];
    finding.details =
        details.into_iter().filter(|(_, value)| !value.is_null()).map(|(k, v)| (k.to_owned(), v)).collect();
    finding
}
