//! What a scan found, for people.

use std::io::IsTerminal;

use chrono::{DateTime, TimeDelta, Utc};
use comfy_table::{Cell, Color, ContentArrangement, Table, presets};

use super::export::{reason, shown, status};
use crate::cli::output;
use crate::domain::host::Host;
use crate::domain::update::{Finding, Findings, Severity};
use crate::state_dir::LastScan;

/// Prints the list of what is pending, the worst first; plain where nobody sees colours.
pub(super) fn list(scan: &LastScan, with_colour: bool) -> anyhow::Result<()> {
    let mut rows: Vec<_> = shown(scan).map(|(checked, finding)| (checked.kind, finding)).collect();
    rows.sort_by_key(|(kind, finding)| (std::cmp::Reverse(finding.severity), *kind));
    if rows.is_empty() {
        return Ok(());
    }
    let is_wide = with_colour && std::io::stdout().is_terminal();
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(vec!["KIND", "NAME", "CURRENT", "AVAILABLE", "SEVERITY", "STATUS", "WHY"]);
    for (kind, finding) in rows {
        let severity = Cell::new(severity(finding));
        let severity = if is_wide { severity.fg(colour(finding.severity)) } else { severity };
        let text = |text: &Option<String>| Cell::new(text.as_deref().unwrap_or("-"));
        table.add_row(vec![
            Cell::new(kind.as_str()),
            Cell::new(&finding.name),
            text(&finding.current_version),
            text(&finding.available_version),
            severity,
            Cell::new(status(finding)),
            Cell::new(reason(finding).unwrap_or("")),
        ]);
    }
    output::line(&table.to_string())
}

fn severity(finding: &Finding) -> String {
    let security = if finding.is_security == Some(true) { ", security" } else { "" };
    format!("{}{security}", finding.severity.as_str())
}

fn colour(severity: Severity) -> Color {
    match severity {
        Severity::Critical | Severity::Important => Color::Red,
        Severity::Moderate => Color::Yellow,
        Severity::Low => Color::Green,
    }
}

/// One line a scanner: what it found, how old that is, what is wrong.
pub(super) fn scanners(scan: &LastScan, now: DateTime<Utc>) -> String {
    let lines: Vec<String> = scan.scanners.iter().map(|found| scanner(found, now)).collect();
    if lines.is_empty() { "nothing that Lightship can scan is on this host".into() } else { lines.join("\n") }
}

fn scanner(found: &Findings, now: DateTime<Utc>) -> String {
    let checked = &found.checked;
    let held = found.items.iter().filter(|item| item.is_pending() && item.held_back.is_some()).count();
    let security =
        found.items.iter().filter(|item| item.is_pending() && item.is_security == Some(true)).count();
    let mut line = format!("{}: {} pending", checked.kind.title(), checked.pending);
    for (count, word) in [(security, "of them security"), (held, "held back")] {
        if count > 0 {
            line.push_str(&format!(", {count} {word}"));
        }
    }
    let unchecked = shown_unchecked(found);
    if unchecked > 0 {
        line.push_str(&format!(", {unchecked} could not be checked"));
    }
    if let Some(as_of) = checked.as_of {
        line.push_str(&format!(", as of {}", ago(now - as_of)));
    }
    if let Some(problem) = &checked.problem {
        let way_out = problem.way_out.as_ref().map(|way| format!("; {way}")).unwrap_or_default();
        line.push_str(&format!("\n  {}{way_out}", problem.reason));
    }
    line
}

fn shown_unchecked(found: &Findings) -> usize {
    use crate::domain::update::Standing;

    found.items.iter().filter(|item| matches!(item.standing, Standing::Unchecked { .. })).count()
}

/// `3 minutes ago`
pub(super) fn ago(time: TimeDelta) -> String {
    let seconds = u64::try_from(time.num_seconds()).unwrap_or(0);
    let (number, thing) = match seconds {
        0..60 => (seconds, "second"),
        60..3_600 => (seconds / 60, "minute"),
        3_600..172_800 => (seconds / 3_600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    format!("{} ago", output::count(number, thing))
}

/// What the machine is, and whether it wants to be started anew.
pub(super) fn host(host: &Host) -> String {
    let mut lines = vec![format!("Host: {}", host.hostname.as_deref().unwrap_or("-"))];
    let facts: Vec<&str> = [&host.os_version, &host.kernel, &host.architecture, &host.virtualisation]
        .into_iter()
        .filter_map(|fact| fact.as_deref())
        .collect();
    lines.push(format!("System: {}", facts.join(", ")));
    if let Some(reboot) = &host.reboot {
        let reasons = if reboot.wanted { reboot.reasons.join("; ") } else { "not wanted".into() };
        lines.push(format!("Restart: {reasons}"));
        if !reboot.stale_services.is_empty() {
            lines.push(format!("Run on files that were replaced: {}", reboot.stale_services.join(", ")));
        }
        if let Some(problem) = &reboot.problem {
            lines.push(format!("  {}; {}", problem.reason, problem.way_out.as_deref().unwrap_or_default()));
        }
    }
    if let Some(problem) = &host.abilities.checks_packages.problem {
        lines.push(format!("Packages: {}", problem.reason));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_told_in_the_largest_whole_thing() {
        for (seconds, text) in [
            (-5, "0 seconds ago"),
            (1, "1 second ago"),
            (119, "1 minute ago"),
            (7_200, "2 hours ago"),
            (864_000, "10 days ago"),
        ] {
            assert_eq!(ago(TimeDelta::seconds(seconds)), text);
        }
    }
}
