//! Which zone the times of the log are in.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{ChronoLocal, ChronoUtc, FormatTime};

/// Where zones are looked for.
const FOLDERS: [&str; 3] = ["/usr/share/zoneinfo", "/share/zoneinfo", "/etc/zoneinfo"];

/// Says what is wrong with the value of `TZ`, if anything is: the log then uses UTC.
pub fn zone_problem(zone: &str) -> Option<String> {
    let is_known = zone.is_empty() || zone == "localtime" || is_rule(zone) || has_file(zone);
    (!is_known).then(|| {
        format!(
            "`TZ` is `{}`, which is no time zone that is known here, so the log uses UTC; write a name such as \
             `Europe/Berlin`, without quotes",
            zone.escape_debug()
        )
    })
}

fn has_file(zone: &str) -> bool {
    let name = Path::new(zone.strip_prefix(':').unwrap_or(zone));
    // A path that is absolute takes the folder's place.
    FOLDERS.iter().any(|folder| is_zone_file(&Path::new(folder).join(name)))
}

fn is_zone_file(path: &Path) -> bool {
    let mut magic = [0; 4];
    path.is_file()
        && File::open(path).is_ok_and(|mut file| file.read_exact(&mut magic).is_ok())
        && &magic == b"TZif"
}

/// True for a rule in the form of POSIX. One with a summer time must say when that begins and ends: `CET-1CEST` alone
/// would mean the days of the United States, and is understood by nobody here.
fn is_rule(zone: &str) -> bool {
    let Some(rest) = name(zone).and_then(time) else { return false };
    if rest.is_empty() {
        return true;
    }
    let Some(rest) = name(rest) else { return false };
    let mut parts = time(rest).unwrap_or(rest).split(',');
    let (before, days) = (parts.next(), parts.collect::<Vec<_>>());
    before == Some("") && days.len() == 2 && days.into_iter().all(is_day)
}

/// Leaves out the name of a zone; `None` if there is none.
fn name(text: &str) -> Option<&str> {
    let (name, rest) = match text.strip_prefix('<') {
        Some(inner) => inner.split_once('>')?,
        None => text.split_at(text.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(text.len())),
    };
    let is_name = name.len() > 2 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'+' || b == b'-');
    is_name.then_some(rest)
}

/// Leaves out `[+-]hours[:minutes[:seconds]]`; `None` if there is none.
fn time(text: &str) -> Option<&str> {
    let text = text.strip_prefix(['+', '-']).unwrap_or(text);
    let end = text.find(|c: char| !c.is_ascii_digit() && c != ':').unwrap_or(text.len());
    let (time, rest) = text.split_at(end);
    let mut parts = time.split(':').map(|part| part.parse::<u8>().ok());
    let fits = parts.next()?.is_some_and(|hours| hours <= 24)
        && parts.all(|part| part.is_some_and(|number| number < 60))
        && time.matches(':').count() < 3;
    fits.then_some(rest)
}

/// True for `Mmonth.week.day`, `Jday` or `day`, with or without `/time`.
fn is_day(text: &str) -> bool {
    let (day, at) = text.split_once('/').map_or((text, None), |(day, at)| (day, Some(at)));
    let number = |text: &str, range: std::ops::RangeInclusive<u16>| {
        text.bytes().all(|b| b.is_ascii_digit()) && text.parse().is_ok_and(|number| range.contains(&number))
    };
    let is_day = match (day.strip_prefix('M'), day.strip_prefix('J')) {
        (Some(month), _) => {
            let parts: Vec<_> = month.split('.').collect();
            matches!(parts[..], [month, week, day] if number(month, 1..=12) && number(week, 1..=5) && number(day, 0..=6))
        }
        (None, Some(day)) => number(day, 1..=365),
        (None, None) => number(day, 0..=365),
    };
    is_day && at.is_none_or(|at| time(at) == Some(""))
}

/// Writes the time of a line.
pub(super) enum LogTime {
    /// In the zone of this machine, or that `TZ` names.
    Local(ChronoLocal),
    /// In UTC: what does not know a zone would take the machine's.
    Utc(ChronoUtc),
}

impl LogTime {
    /// For the value of `TZ`.
    pub(super) fn new(zone: Option<&str>) -> Self {
        match zone.and_then(zone_problem) {
            None => Self::Local(ChronoLocal::rfc_3339()),
            Some(_) => Self::Utc(ChronoUtc::rfc_3339()),
        }
    }
}

impl FormatTime for LogTime {
    fn format_time(&self, writer: &mut Writer<'_>) -> std::fmt::Result {
        match self {
            Self::Local(local) => local.format_time(writer),
            Self::Utc(utc) => utc.format_time(writer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_that_nobody_knows_is_named_and_the_log_uses_utc() {
        for zone in [
            "\"Europe/Berlin\"",
            "Foo/Bar",
            "CET-1CEST",
            "Berlin",
            "/etc/hostname",
            "/",
            "../../../etc/passwd",
            "A1",
            "CET-25",
            "CET-1CEST,M3.5.0",
            "CET-1CEST,M13.5.0,M10.5.0",
            "CET-1x",
            " ",
        ] {
            let problem = zone_problem(zone).unwrap_or_else(|| panic!("{zone} is refused"));
            assert!(problem.contains("uses UTC; write a name such as"), "{problem}");
            assert!(matches!(LogTime::new(Some(zone)), LogTime::Utc(_)));
        }
    }

    #[test]
    fn zones_and_rules_are_taken_as_they_are() {
        let zone = ["Europe/Berlin", ":Europe/Berlin", "UTC", "/usr/share/zoneinfo/UTC"]
            .into_iter()
            .filter(|_| Path::new(FOLDERS[0]).join("Europe/Berlin").exists());
        let rules = ["", "localtime", "UTC0", "CET-1", "<+0330>-3:30", "EST+5EDT,M3.2.0,M11.1.0"];
        let summer = ["CET-1CEST,M3.5.0,M10.5.0/3", "NZST-12:00:00NZDT-13:00:00,J60,300/-1:30"];
        for zone in zone.chain(rules).chain(summer) {
            assert_eq!(zone_problem(zone), None, "{zone}");
            assert!(matches!(LogTime::new(Some(zone)), LogTime::Local(_)));
        }
    }
}
