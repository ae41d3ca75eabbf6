//! How a command went, as an agent says it.

use serde_json::{Map, Value};

use super::{LOG_CHARS, text};
use crate::domain::text::is_hidden;
use crate::domain::update::{Findings, Kind};
use crate::protocol::body::{self, BodyError};

/// How something went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogResult {
    /// Well.
    Success,
    /// Not.
    Failed,
    /// In part.
    Partial,
    /// In a word that nobody knows: nothing follows from it.
    Unknown,
}

impl LogResult {
    /// The word that is kept.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failed => "failed",
            Self::Partial => "partial",
            Self::Unknown => "unknown",
        }
    }

    fn of(word: &str) -> Self {
        match word.to_ascii_lowercase().as_str() {
            "success" | "completed" => Self::Success,
            "failed" | "failure" | "dry_run_failed" | "timed_out" => Self::Failed,
            "partial" => Self::Partial,
            _ => Self::Unknown,
        }
    }
}

/// A log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// The command it is about.
    pub command_id: Option<String>,
    /// What was done; some of RedFlag's installers leave it out.
    pub action: Option<String>,
    /// How it went.
    pub result: LogResult,
    /// What the program said.
    pub stdout: String,
    /// What it said went wrong.
    pub stderr: String,
    /// How it ended.
    pub exit_code: i32,
    /// How long it took.
    pub duration_seconds: i64,
}

/// Reads the body of `POST /api/v1/agents/{id}/logs`.
pub fn decode_log(bytes: &[u8]) -> Result<Log, BodyError> {
    let map = body::parse_object(bytes)?;
    let Some(result) = body::optional_text(&map, "result")? else {
        return Err(BodyError::Field { field: "result", found: "missing", expected: "a string" });
    };
    Ok(Log {
        command_id: text(&map, "command_id"),
        action: text(&map, "action").map(|action| action.chars().take(50).collect()),
        result: LogResult::of(&result),
        stdout: said(&map, "stdout"),
        stderr: said(&map, "stderr"),
        exit_code: whole(&map, "exit_code").and_then(|code| i32::try_from(code).ok()).unwrap_or(0),
        duration_seconds: whole(&map, "duration_seconds").unwrap_or(0).max(0),
    })
}

/// Returns what a program said, with line ends and without what a terminal would obey; of long ones the end.
fn said(map: &Map<String, Value>, field: &str) -> String {
    let text = map.get(field).and_then(Value::as_str).unwrap_or_default();
    let plain: Vec<char> = text.chars().filter(|c| *c == '\n' || *c == '\t' || !is_hidden(*c)).collect();
    plain[plain.len().saturating_sub(LOG_CHARS)..].iter().collect()
}

fn whole(map: &Map<String, Value>, field: &str) -> Option<i64> {
    map.get(field)?.as_i64()
}

/// What the log of a scan says of each scanner.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ScanLog {
    /// Scanners that found nothing, and those that failed, with the reason.
    pub findings: Vec<Findings>,
    /// True if it says of no scanner how it came out, and that nothing went wrong.
    pub is_silent_success: bool,
}

/// Beginnings of the lines in which RedFlag's agent says how a scanner came out.
const SCANNERS: [(&str, Kind); 5] = [
    ("apt", Kind::Apt),
    ("dnf", Kind::Dnf),
    ("docker", Kind::DockerImage),
    ("windows", Kind::WindowsUpdate),
    ("winget", Kind::Winget),
];

/// Reads how the scanners came out. What was found comes in a report, and a scanner that found nothing is named here only.
pub fn scan_log(log: &Log) -> ScanLog {
    let mut read = ScanLog::default();
    let mut says_counts = false;
    for line in log.stdout.lines().map(|line| line.trim().to_lowercase()) {
        if let Some((count, kind)) = found(&line) {
            says_counts = true;
            if count == 0 {
                read.findings.push(Findings::new(kind, Vec::new()));
            }
        } else if let Some((kind, reason)) = failed(&line) {
            says_counts = true;
            read.findings.push(Findings::new(kind, Vec::new()).with_problem(reason, None));
        }
    }
    let is_clean = log.result == LogResult::Success && log.exit_code == 0 && log.stderr.trim().is_empty();
    let names_errors = ["error", "fail"].iter().any(|word| log.stdout.to_lowercase().contains(word));
    read.is_silent_success = is_clean && !says_counts && !names_errors;
    read
}

/// Reads `found 12 apt updates`.
fn found(line: &str) -> Option<(u64, Kind)> {
    let (count, what) = line.split_once("found ")?.1.split_once(' ')?;
    let kind = scanner(what)?;
    what.contains("update").then_some((count.parse().ok()?, kind))
}

/// Reads `dnf scan failed: why`.
fn failed(line: &str) -> Option<(Kind, String)> {
    let (scanner_name, reason) = line.split_once(" scan failed:")?;
    Some((scanner(scanner_name.rsplit([':', '\n']).next()?.trim())?, reason.trim().to_owned()))
}

fn scanner(text: &str) -> Option<Kind> {
    SCANNERS.iter().find(|(word, _)| text.starts_with(word)).map(|(_, kind)| *kind)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn log(result: &str, stdout: &str, stderr: &str, exit_code: i32) -> Log {
        let body = json!({"command_id": "", "action": "scan_updates", "result": result, "stdout": stdout,
            "stderr": stderr, "exit_code": exit_code, "duration_seconds": 7});
        decode_log(body.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn results_are_known_in_every_word_that_agents_use() {
        for (word, expected) in [
            ("success", "success"),
            ("completed", "success"),
            ("failed", "failed"),
            ("failure", "failed"),
            ("dry_run_failed", "failed"),
            ("timed_out", "failed"),
            ("partial", "partial"),
            ("bent", "unknown"),
        ] {
            assert_eq!(log(word, "", "", 0).result.as_str(), expected);
        }
        assert!(decode_log(br#"{"action":"scan_updates"}"#).unwrap_err().to_string().contains("`result`"));
        assert_eq!(decode_log(br#"{"result":"success","action":""}"#).unwrap().action, None);
    }

    #[test]
    fn a_scan_says_of_each_scanner_how_it_came_out() {
        let said = "Scan Results:\nFound 0 APT updates\nDNF scanner not available\nFound 3 Docker image updates\n\
                    Scan Errors:\nWinget scan failed: exit status 1\n\nTotal Updates Found: 3";
        let read = scan_log(&log("success", said, "", 0));
        let kinds: Vec<_> =
            read.findings.iter().map(|of| (of.checked.kind, of.checked.is_complete)).collect();
        assert_eq!(kinds, [(Kind::Apt, true), (Kind::Winget, false)]);
        assert_eq!(read.findings[1].checked.problem.as_ref().unwrap().reason, "exit status 1");
        assert!(!read.is_silent_success);
    }

    #[test]
    fn a_log_without_counts_says_that_nothing_was_found_only_if_nothing_went_wrong() {
        for (result, stdout, stderr, code, expected) in [
            ("success", "No updates found", "", 0, true),
            ("success", "", "", 0, true),
            ("success", "No updates found", "", 1, false),
            ("success", "Scan errors: none of the lists could be read", "", 0, false),
            ("success", "", "dnf: timed out", 0, false),
            ("failure", "", "", 0, false),
            ("success", "Found 2 APT updates", "", 0, false),
        ] {
            let read = scan_log(&log(result, stdout, stderr, code));
            assert_eq!(read.is_silent_success, expected, "{result} {stdout:?} {stderr:?} {code}");
        }
    }

    #[test]
    fn of_long_words_the_end_is_kept_without_what_a_terminal_obeys() {
        let long = format!("{}\u{1b}[31mend\n", "x".repeat(20_000));
        let read = log("success", &long, "", 0);
        assert_eq!(read.stdout.chars().count(), LOG_CHARS);
        assert!(read.stdout.ends_with("[31mend\n") && !read.stdout.contains('\u{1b}'));
    }
}
