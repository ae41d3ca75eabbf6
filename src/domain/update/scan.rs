//! What a scan says of a host: of each scanner whether it could look, and what it found.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::finding::{Finding, Standing};
use super::kind::Kind;

/// Why a scanner could not look, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// What is wrong.
    pub reason: String,
    /// What a person can do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub way_out: Option<String>,
}

/// How one scanner came out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    /// Whose.
    pub kind: Kind,
    /// True if what it found is what there is: it looked, and what it read was not old.
    pub ok: bool,
    /// How old what it read is: when lists were refreshed, or registries answered. None if it never could look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_of: Option<DateTime<Utc>>,
    /// Why it could not look, or only in part; if it is ok all the same, what else is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
    /// True if its findings are all there is, so that what is not among them is gone.
    pub is_complete: bool,
    /// Of its findings; equal ones need not be read again.
    pub digest: String,
    /// How many findings there are.
    pub count: usize,
    /// How many of them are pending.
    pub pending: usize,
}

/// A whole scan, without what was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scanned {
    /// When it ended, by the host's clock.
    pub at: DateTime<Utc>,
    /// Of every scanner that the host has.
    pub scanners: Vec<Checked>,
}

/// All that a scan of a host found. It is kept for as long as nothing else is found, and asked for seldom: thousands of
/// findings lie packed.
#[derive(Debug, Clone, PartialEq)]
pub struct HostScan {
    scanned: Scanned,
    /// Of each scanner, in the same order.
    packed: Vec<Arc<[u8]>>,
}

impl HostScan {
    /// Packs what was found until `at`. Of thousands it takes some ten milliseconds.
    pub fn new(at: DateTime<Utc>, findings: Vec<Findings>) -> Self {
        let (scanners, packed) = findings.into_iter().map(|one| (one.checked, pack(&one.items))).unzip();
        Self { scanned: Scanned { at, scanners }, packed }
    }

    /// Returns it without what was found.
    pub fn scanned(&self) -> &Scanned {
        &self.scanned
    }

    /// Returns what the scanner of this kind found; none if the host has no such scanner.
    pub fn findings(&self, kind: Kind) -> Option<Findings> {
        let mut all = self.scanned.scanners.iter().zip(&self.packed);
        let (checked, packed) = all.find(|(checked, _)| checked.kind == kind)?;
        let items = serde_json::from_reader(GzDecoder::new(&**packed)).expect("it was packed here");
        Some(Findings { checked: checked.clone(), items })
    }
}

fn pack(items: &[Finding]) -> Arc<[u8]> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
    serde_json::to_writer(&mut packer, items).expect("it holds nothing that JSON cannot");
    packer.finish().expect("memory takes all").into()
}

/// All that one scanner found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Findings {
    /// How it came out.
    pub checked: Checked,
    /// What it found.
    pub items: Vec<Finding>,
}

/// Returns what tells two lists of findings apart. When things that could not be checked were last known is left out:
/// with time alone nothing changes.
pub fn digest(items: &[Finding]) -> String {
    let mut hash = Sha256::new();
    for item in items {
        let mut item = item.clone();
        if let Standing::Unchecked { last_known_at, retry_at, .. } = &mut item.standing {
            (*last_known_at, *retry_at) = (None, None);
        }
        if let Ok(json) = serde_json::to_vec(&item) {
            hash.update(json);
        }
        hash.update(b"\n");
    }
    hex::encode(&hash.finalize()[..16])
}

impl Findings {
    /// Puts together what a scanner found. Findings come in the order of their names, and no name twice: what the second
    /// one says is lost with a word in the first one's flaw.
    pub fn new(kind: Kind, mut items: Vec<Finding>) -> Self {
        items = items.into_iter().map(Finding::fitted).collect();
        items.sort_by(|a, b| a.name.cmp(&b.name));
        items.dedup_by(|again, first| {
            let is_same = again.name == first.name;
            if is_same && again != first {
                first.flaw.get_or_insert_with(|| "it was found twice; the second one is left out".into());
            }
            is_same
        });
        let all = items.len();
        items.truncate(super::MAX_FINDINGS);
        let checked = Checked {
            kind,
            ok: true,
            as_of: None,
            problem: None,
            is_complete: true,
            digest: digest(&items),
            count: items.len(),
            pending: items.iter().filter(|item| item.is_pending()).count(),
        };
        let found = Self { checked, items };
        if all <= super::MAX_FINDINGS {
            return found;
        }
        let reason = format!("there are {all} findings; the first {} by name are kept", super::MAX_FINDINGS);
        found.with_problem(reason, None)
    }

    /// Says how old what was read is.
    pub fn as_of(mut self, at: DateTime<Utc>) -> Self {
        self.checked.as_of = Some(at);
        self
    }

    /// Says that there may be more than was found.
    pub fn in_part(mut self) -> Self {
        self.checked.is_complete = false;
        self
    }

    /// Says what is wrong although all was looked at, such as an installation that was broken off. What was not looked at
    /// weighs more, and is said instead.
    pub fn with_notice(mut self, reason: impl Into<String>, way_out: Option<String>) -> Self {
        if self.checked.ok {
            self.checked.problem = Some(Problem { reason: reason.into(), way_out });
        }
        self
    }

    /// Says why it could not look, or only in part; what it found is not all, then.
    pub fn with_problem(mut self, reason: impl Into<String>, way_out: Option<String>) -> Self {
        self.checked.ok = false;
        self.checked.is_complete = false;
        self.checked.problem = Some(Problem { reason: reason.into(), way_out });
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::update::{Cause, Standing};

    #[test]
    fn findings_have_one_order_and_one_digest_however_they_came() {
        let found = |names: &[&str]| {
            let items = names.iter().map(|name| Finding::new(*name, Standing::Newer)).collect();
            Findings::new(Kind::Apt, items)
        };
        assert_eq!(found(&["b", "a"]), found(&["a", "b", "a"]));
        assert_ne!(found(&["a"]).checked.digest, found(&["a", "b"]).checked.digest);
        assert_eq!(found(&["a", "b"]).checked.pending, 2);
    }

    #[test]
    fn what_lies_packed_comes_out_as_it_was() {
        let at = "2026-01-31T12:00:00Z".parse().unwrap();
        let mut odd = Finding::new("libc6:i386", Standing::RestartNeeded);
        odd.description = Some("\u{202e}\n\"ü\"".into());
        odd.details.insert("score".into(), serde_json::json!(0.1));
        let last = Standing::Unchecked {
            cause: Cause::Waits,
            reason: "busy".into(),
            last_known_at: Some(at),
            retry_at: None,
        };
        let found = [
            Findings::new(Kind::Apt, vec![odd, Finding::new("zlib1g", last)]).as_of(at),
            Findings::new(Kind::DockerImage, Vec::new()).with_problem("no Engine", None),
        ];
        let scan = HostScan::new(at, found.to_vec());
        assert_eq!(scan.scanned().scanners, found.each_ref().map(|one| one.checked.clone()));
        assert_eq!([scan.findings(Kind::Apt), scan.findings(Kind::DockerImage)], found.map(Some));
        assert_eq!(scan.findings(Kind::Winget), None);
    }

    #[test]
    fn thousands_of_findings_take_little_room() {
        let item = |n: usize| {
            let mut item = Finding::new(format!("package-{n}"), Standing::Newer);
            item.current_version = Some(format!("1.{n}-1"));
            item.available_version = Some(format!("1.{n}-2"));
            item.source = Some("stable (Debian:12)".into());
            item
        };
        let scan = HostScan::new(
            DateTime::UNIX_EPOCH,
            vec![Findings::new(Kind::Apt, (0..5_000).map(item).collect())],
        );
        let bytes: usize = scan.packed.iter().map(|packed| packed.len()).sum();
        assert!(bytes < 200 * 1024, "{bytes}");
    }

    #[test]
    fn more_than_are_kept_is_not_all_whatever_else_is_said() {
        let items =
            |count: usize| (0..count).map(|n| Finding::new(format!("{n:05}"), Standing::Newer)).collect();
        let most = super::super::MAX_FINDINGS;
        let whole = Findings::new(Kind::Apt, items(most));
        assert_eq!((whole.checked.ok, whole.checked.is_complete, whole.checked.problem), (true, true, None));
        let cut = Findings::new(Kind::Apt, items(most + 1)).with_notice("half installed", None);
        assert_eq!((cut.checked.ok, cut.checked.is_complete, cut.checked.count), (false, false, most));
        assert!(cut.checked.problem.unwrap().reason.contains(&(most + 1).to_string()));
    }

    #[test]
    fn a_name_that_is_found_twice_with_two_meanings_says_so() {
        let mut other = Finding::new("a", Standing::Newer);
        other.available_version = Some("2".into());
        let found = Findings::new(Kind::Apt, vec![Finding::new("a", Standing::Newer), other]);
        assert_eq!(found.items.len(), 1);
        assert!(found.items[0].flaw.as_deref().unwrap().contains("twice"));
    }
}
