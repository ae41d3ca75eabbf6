//! What a scan says of one package or image of one host.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::severity::Severity;
use crate::domain::text::{is_hidden, spell_out};

/// Most findings of one kind on one host; more are counted and left out.
pub const MAX_FINDINGS: usize = 20_000;
/// Longest name, in characters.
pub const MAX_NAME_CHARS: usize = 255;
/// Longest version, source or reason, in characters.
pub const MAX_TEXT_CHARS: usize = 500;
/// Most entries of a list, such as CVEs.
pub const MAX_LIST: usize = 200;
/// Most bytes of [`Finding::details`], written as JSON.
pub const MAX_DETAILS: usize = 16 * 1024;

/// One package or image of one host, as a scan saw it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// What tells it from others of its kind on its host: `openssl`, `libc6:i386`, `nginx:1.25`, an update's id.
    pub name: String,
    /// What people call it, if that is not its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// What is installed or runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_version: Option<String>,
    /// What it would become; of one that could not be checked, what was last known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub available_version: Option<String>,
    /// How the two compare.
    #[serde(flatten)]
    pub standing: Standing,
    /// Why an ordinary upgrade leaves it as it is, although there is a newer one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_back: Option<HeldBack>,
    /// How bad it is to go without it.
    pub severity: Severity,
    /// Whether it mends a hole; none if nobody says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_security: Option<bool>,
    /// Where it comes from: suites, repository, registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// What it belongs to for people, such as the source package of eight glibc packages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Size of what is fetched, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<u64>,
    /// CVE ids.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cves: Vec<String>,
    /// Ids of advisories or knowledge base articles.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub advisories: Vec<String>,
    /// One line about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Ids of the containers that run this image.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub containers: Vec<String>,
    /// What only its kind has.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub details: BTreeMap<String, Value>,
    /// What is odd about it, if it was not taken as it came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flaw: Option<String>,
}

/// How what is installed compares with what there is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "standing", rename_all = "snake_case")]
pub enum Standing {
    /// There is a newer one.
    Newer,
    /// The newer one is on the host already; what runs is the old one, until it is restarted.
    RestartNeeded,
    /// There is nothing newer.
    Same,
    /// There is nothing to compare with: built here, pinned, without a name.
    Untracked {
        /// In one word.
        cause: Cause,
        /// For people.
        reason: String,
    },
    /// Whether there is a newer one could not be found out.
    Unchecked {
        /// In one word.
        cause: Cause,
        /// For people.
        reason: String,
        /// When it was last known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        last_known_at: Option<DateTime<Utc>>,
        /// When it is asked again, if not with the next scan.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_at: Option<DateTime<Utc>>,
    },
}

/// Why something has no comparison, in a word that programs read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The registry asked to wait.
    Waits,
    /// It is gone upstream.
    GoneUpstream,
    /// The account is not allowed to see it, or it does not exist.
    NotAllowed,
    /// Nobody answered.
    NotReachable,
    /// It was built or imported on the host.
    Local,
    /// It is pinned to one content.
    Pinned,
    /// It was started without a name.
    Unnamed,
    /// The answer was not understood.
    Misunderstood,
}

/// Why an ordinary upgrade leaves something as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldBack {
    /// In one word.
    pub cause: HeldCause,
    /// For people.
    pub reason: String,
}

/// Why something is held back, in a word that programs read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeldCause {
    /// Somebody put it on hold on the host.
    Held,
    /// Its publisher hands it out step by step, and it is not this host's turn.
    Phased,
    /// It needs packages that are new or that go.
    NeedsChanges,
    /// It needs what cannot be had.
    Unmet,
    /// It wants to be named: an upgrade of all leaves it out.
    AsksToBeNamed,
}

impl Finding {
    /// Makes one of which nothing but its name and standing is known.
    pub fn new(name: impl Into<String>, standing: Standing) -> Self {
        Self {
            name: name.into(),
            title: None,
            current_version: None,
            available_version: None,
            standing,
            held_back: None,
            severity: Severity::without_word(None),
            is_security: None,
            source: None,
            group: None,
            size_bytes: None,
            cves: Vec::new(),
            advisories: Vec::new(),
            description: None,
            containers: Vec::new(),
            details: BTreeMap::new(),
            flaw: None,
        }
    }

    /// True if there is something to install or restart.
    pub fn is_pending(&self) -> bool {
        matches!(self.standing, Standing::Newer | Standing::RestartNeeded)
    }

    /// Fits it to what is kept: nothing is longer than allowed, and no text holds what a terminal or a page would obey.
    /// What was changed is said in [`Finding::flaw`]; one odd finding spoils no report.
    pub fn fitted(mut self) -> Self {
        let mut flaws = Vec::new();
        if is_odd(&self.name, MAX_NAME_CHARS) || self.name.trim().is_empty() {
            flaws.push("its name is not shown as it was given");
        }
        self.name = fitted(&self.name, MAX_NAME_CHARS);
        if self.name.trim().is_empty() {
            self.name = "(no name)".into();
        }
        let texts = [
            &mut self.title,
            &mut self.current_version,
            &mut self.available_version,
            &mut self.source,
            &mut self.group,
            &mut self.description,
            &mut self.flaw,
        ];
        for text in texts.into_iter().flatten() {
            *text = fitted(text, MAX_TEXT_CHARS);
        }
        if let Some(held) = &mut self.held_back {
            held.reason = fitted(&held.reason, MAX_TEXT_CHARS);
        }
        if let Standing::Untracked { reason, .. } | Standing::Unchecked { reason, .. } = &mut self.standing {
            *reason = fitted(reason, MAX_TEXT_CHARS);
        }
        for list in [&mut self.cves, &mut self.advisories, &mut self.containers] {
            if list.len() > MAX_LIST {
                flaws.push("a list was cut to 200 entries");
                list.truncate(MAX_LIST);
            }
            list.iter_mut().for_each(|entry| *entry = fitted(entry, MAX_NAME_CHARS));
        }
        if serde_json::to_vec(&self.details).is_ok_and(|json| json.len() > MAX_DETAILS) {
            flaws.push("its details were too long and are left out");
            self.details.clear();
        }
        if !flaws.is_empty() {
            let said = self.flaw.take().into_iter().chain(flaws.into_iter().map(str::to_owned));
            let mut said: Vec<String> = said.collect();
            said.dedup();
            self.flaw = Some(fitted(&said.join("; "), MAX_TEXT_CHARS));
        }
        self
    }
}

fn is_odd(text: &str, most: usize) -> bool {
    text.chars().any(is_hidden) || text.chars().count() > most
}

fn fitted(text: &str, most: usize) -> String {
    if !is_odd(text, most) {
        return text.to_owned();
    }
    // Spelt out, a text is longer than it was; it is cut first so that little is looked at, and once more behind it.
    let cut: String = text.chars().take(most).collect();
    let spelt = spell_out(&cut);
    if spelt.chars().count() <= most && cut.len() == text.len() {
        return spelt;
    }
    spelt.chars().take(most - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_odd_name_is_kept_spelt_out_and_marked() {
        for (name, shown) in
            [("a\u{1b}[31mred", "a\\u{1b}[31mred"), ("exe\u{202e}gpj", "exe\\u{202e}gpj"), ("", "(no name)")]
        {
            let finding = Finding::new(name, Standing::Newer).fitted();
            assert_eq!(finding.name, shown);
            assert!(finding.flaw.unwrap().contains("name"), "{name:?}");
        }
        let long = Finding::new("x".repeat(4096), Standing::Newer).fitted();
        assert_eq!(long.name.chars().count(), MAX_NAME_CHARS);
        assert!(long.flaw.is_some());
    }

    #[test]
    fn an_ordinary_finding_stays_as_it_is() {
        let mut finding = Finding::new("libssl3", Standing::Newer);
        finding.available_version = Some("3.0.17-1~deb12u3".into());
        finding.details.insert("held".into(), Value::Bool(false));
        assert_eq!(finding.clone().fitted(), finding);
        // Whatever a package is called: it is no option and no path to us.
        let odd = Finding::new("-oDPkg::Pre-Invoke=sh", Standing::Newer);
        assert_eq!(odd.clone().fitted(), odd);
    }

    #[test]
    fn what_is_too_much_is_left_out_and_said() {
        let mut finding = Finding::new("a", Standing::Newer);
        finding.cves = (0..500).map(|n| format!("CVE-2099-{n}")).collect();
        finding.details.insert("x".into(), Value::String("y".repeat(MAX_DETAILS)));
        let fitted = finding.fitted();
        assert_eq!(fitted.cves.len(), MAX_LIST);
        assert!(fitted.details.is_empty());
        let flaw = fitted.flaw.unwrap();
        assert!(flaw.contains("200") && flaw.contains("details"), "{flaw}");
    }

    #[test]
    fn a_finding_comes_back_from_json_as_it_went() {
        let mut finding = Finding::new(
            "ghcr.io/a/b:1",
            Standing::Unchecked {
                cause: Cause::Waits,
                reason: "waits".into(),
                last_known_at: None,
                retry_at: Some("2026-01-31T12:00:00Z".parse().unwrap()),
            },
        );
        finding.held_back = Some(HeldBack { cause: HeldCause::Phased, reason: "phased 10 %".into() });
        let json = serde_json::to_value(&finding).unwrap();
        assert_eq!((&json["standing"], &json["cause"]), (&"unchecked".into(), &"waits".into()));
        assert_eq!(serde_json::from_value::<Finding>(json).unwrap(), finding);
    }
}
