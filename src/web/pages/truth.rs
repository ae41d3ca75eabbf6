//! What matters of all updates, in lines that each lead to their list.

use super::view::count;
use crate::db::read::UpdateTotals;

/// A line of truth with the list that it leads to.
pub struct TruthLine {
    /// Tone of its mark.
    pub tone: &'static str,
    /// What it is about, in a word.
    pub kind: &'static str,
    /// What is so.
    pub text: String,
    /// Where to see it.
    pub href: Option<String>,
}

/// Says what matters of all updates, each with its list.
pub fn truth_lines(totals: &UpdateTotals) -> Vec<TruthLine> {
    let mut lines = Vec::new();
    let mut say = |tone, kind, text: String, href: &str| {
        lines.push(TruthLine { tone, kind, text, href: (!href.is_empty()).then(|| href.to_owned()) });
    };
    let of_all = |number: u64| {
        format!("{number} of {}", count(totals.public_services, "public service", "public services"))
    };
    if totals.outdated_services > 0 {
        let open = match totals.open_outdated_services {
            0 => "each behind a login".to_owned(),
            open => format!("{open} of them without login"),
        };
        let tone = if totals.open_outdated_services > 0 { "warn" } else { "busy" };
        let verb = if totals.outdated_services == 1 {
            "runs an image with a newer version"
        } else {
            "run images with newer versions"
        };
        let text = format!("{} {verb}, {open}", of_all(totals.outdated_services));
        say(tone, "public", text, "/updates?reach=public");
    }
    let blind = totals.unchecked_services + totals.unknown_services;
    if blind > 0 && totals.scanned_hosts > 0 {
        let verb = if blind == 1 { "runs an image" } else { "run images" };
        let text = format!("{} {verb} that could not be checked", of_all(blind));
        say("warn", "not checked", text, "/updates?state=unchecked&kind=docker_image");
    }
    if totals.security > 0 {
        let text =
            format!("{} pending", count(totals.security, "security update is", "security updates are"));
        say("warn", "security", text, "/updates?severity=security");
    }
    if totals.reboots > 0 {
        let verb = if totals.reboots == 1 { "waits" } else { "wait" };
        let text = format!("{} {verb} for a restart", count(totals.reboots, "host", "hosts"));
        say("warn", "restart", text, "/updates#reboots");
    }
    if totals.troubled_hosts > 0 {
        let text = format!("{} could not be looked at whole", count(totals.troubled_hosts, "host", "hosts"));
        say("warn", "not checked", text, "/updates#troubled");
    }
    let is_clear =
        totals.pending == 0 && totals.outdated_services == 0 && blind == 0 && totals.troubled_hosts == 0;
    if is_clear && totals.scanned_hosts > 0 {
        let text = format!("Nothing is pending on {}", count(totals.scanned_hosts, "host", "hosts"));
        say("good", "updates", text, "/updates");
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_page_says_what_no_other_tool_says_and_never_more_than_is_known() {
        let totals = UpdateTotals {
            public_services: 14,
            outdated_services: 3,
            open_outdated_services: 1,
            reboots: 2,
            scanned_hosts: 5,
            ..UpdateTotals::default()
        };
        let text = |totals: &UpdateTotals| -> Vec<String> {
            truth_lines(totals).into_iter().map(|line| line.text).collect()
        };
        assert_eq!(
            text(&totals),
            [
                "3 of 14 public services run images with newer versions, 1 of them without login",
                "2 hosts wait for a restart"
            ]
        );
        // A service of which nobody knows what it runs is not counted as fine.
        let blind = UpdateTotals { unknown_services: 1, reboots: 0, outdated_services: 0, ..totals };
        assert_eq!(text(&blind), ["1 of 14 public services runs an image that could not be checked"]);
        let fine = UpdateTotals { scanned_hosts: 5, ..UpdateTotals::default() };
        assert_eq!(text(&fine), ["Nothing is pending on 5 hosts"]);
        assert!(text(&UpdateTotals::default()).is_empty(), "nobody looked");
    }
}
