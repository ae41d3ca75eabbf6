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
    pub href: &'static str,
    /// What is so of a part of it, and where to see that.
    pub part: Option<(String, &'static str)>,
}

/// Images behind public names, and those of them that ask for no login.
const PUBLIC: &str = "/updates?reach=public";
const OPEN: &str = "/updates?reach=unprotected";

/// Says what matters of all updates, each with its list.
pub fn truth_lines(totals: &UpdateTotals) -> Vec<TruthLine> {
    let mut lines = Vec::new();
    let mut say = |tone, kind, text: String, href: &'static str, part| {
        lines.push(TruthLine { tone, kind, text, href, part });
    };
    let of_all = |number: u64| {
        format!("{number} of {}", count(totals.public_services, "public service", "public services"))
    };
    if totals.outdated_services > 0 {
        let open = totals.open_outdated_services;
        let tone = if open > 0 { "warn" } else { "busy" };
        let verb = if totals.outdated_services == 1 {
            "runs an image with a newer version"
        } else {
            "run images with newer versions"
        };
        let text = format!("{} {verb}", of_all(totals.outdated_services));
        let (text, part) = match open {
            0 => (format!("{text}, each behind a login"), None),
            open => (text, Some((format!("{open} of them without login"), OPEN))),
        };
        say(tone, "public", text, PUBLIC, part);
    }
    let blind = totals.unchecked_services + totals.unknown_services;
    if blind > 0 && totals.scanned_hosts > 0 {
        let verb = if blind == 1 { "runs an image" } else { "run images" };
        let text = format!("{} {verb} that could not be checked", of_all(blind));
        say("warn", "not checked", text, "/updates?state=unchecked&kind=docker_image", None);
    }
    if totals.security > 0 {
        let text =
            format!("{} pending", count(totals.security, "security update is", "security updates are"));
        say("warn", "security", text, "/updates?severity=security", None);
    }
    if totals.reboots > 0 {
        let verb = if totals.reboots == 1 { "waits" } else { "wait" };
        let text = format!("{} {verb} for a restart", count(totals.reboots, "host", "hosts"));
        say("warn", "restart", text, "/updates#reboots", None);
    }
    if totals.troubled_hosts > 0 {
        let text = format!("{} could not be looked at whole", count(totals.troubled_hosts, "host", "hosts"));
        say("warn", "not checked", text, "/updates#troubled", None);
    }
    let is_clear =
        totals.pending == 0 && totals.outdated_services == 0 && blind == 0 && totals.troubled_hosts == 0;
    if is_clear && totals.scanned_hosts > 0 {
        let text = format!("Nothing is pending on {}", count(totals.scanned_hosts, "host", "hosts"));
        say("good", "updates", text, "/updates", None);
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
            let whole = |line: TruthLine| match line.part {
                Some((part, _)) => format!("{}, {part}", line.text),
                None => line.text,
            };
            truth_lines(totals).into_iter().map(whole).collect()
        };
        assert_eq!(
            text(&totals),
            [
                "3 of 14 public services run images with newer versions, 1 of them without login",
                "2 hosts wait for a restart"
            ]
        );
        let first = truth_lines(&totals).remove(0);
        assert_eq!((first.href, first.part.map(|(_, href)| href)), (PUBLIC, Some(OPEN)));
        let behind = UpdateTotals { open_outdated_services: 0, reboots: 0, ..totals };
        assert_eq!(
            text(&behind),
            ["3 of 14 public services run images with newer versions, each behind a login"]
        );
        // A service of which nobody knows what it runs is not counted as fine.
        let blind = UpdateTotals { unknown_services: 1, reboots: 0, outdated_services: 0, ..totals };
        assert_eq!(text(&blind), ["1 of 14 public services runs an image that could not be checked"]);
        let fine = UpdateTotals { scanned_hosts: 5, ..UpdateTotals::default() };
        assert_eq!(text(&fine), ["Nothing is pending on 5 hosts"]);
        assert!(text(&UpdateTotals::default()).is_empty(), "nobody looked");
    }
}
