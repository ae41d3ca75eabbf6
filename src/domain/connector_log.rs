//! Which line of a connector's log tells a person what is wrong.

/// What `cloudflared` ends with when it was called in a way it does not take: the line above it says why.
const HINTS: [&str; 3] = ["See 'cloudflared", "Run 'cloudflared", "For more help"];
/// Errors that only follow from others.
const CONSEQUENCES: [&str; 4] = [
    "context canceled",
    "no more connections active",
    "router terminated",
    "initial tunnel connection failed",
];
/// What is before the latest of these is over: a new start, or a connection that stands.
const FRESH_STARTS: [&str; 2] = ["Starting tunnel", "Registered tunnel connection"];

/// How much a line tells; the later of two equals counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Worth {
    /// Blank, or a hint at the manual.
    Nothing,
    /// What goes on, and errors of services behind the tunnel.
    Course,
    /// A line without a level, and errors that follow from others.
    Aside,
    Warning,
    Error,
    /// A line without a level above the hint.
    AboveHint,
    /// Why it ended at once, by its own word.
    Fatal,
}

/// Returns the line that tells most, of the lines in their order; `None` if none tells anything.
pub fn telling_line<'a>(lines: &[&'a str]) -> Option<&'a str> {
    let is_start = |line: &&str| FRESH_STARTS.iter().any(|start| line.contains(start));
    let current = lines.iter().rposition(is_start).unwrap_or(0);
    let lines = lines.get(current..).unwrap_or_default();
    let worth = |at: usize, line: &str| {
        let below = lines.get(at + 1..).unwrap_or_default().iter().find(|line| !line.trim().is_empty());
        worth_of(line.trim(), below.is_some_and(|line| is_hint(line.trim())))
    };
    let ranked = lines.iter().enumerate().map(|(at, line)| (worth(at, line), line));
    let told = ranked.filter(|(worth, _)| *worth > Worth::Nothing).max_by_key(|(worth, _)| *worth);
    told.map(|(_, line)| line.trim())
}

/// Returns the newest lines that have room in so many characters, without blank ones, each on a line of its own.
pub fn newest_within(lines: &[String], max_chars: usize) -> String {
    let mut room = max_chars;
    let fits = |line: &&str| {
        let taken = line.chars().count() + 1;
        let has_room = taken <= room;
        room = room.saturating_sub(taken);
        has_room
    };
    let told = lines.iter().rev().map(|line| line.trim_end()).filter(|line| !line.is_empty());
    let mut kept: Vec<&str> = told.take_while(fits).collect();
    kept.reverse();
    kept.join("\n")
}

fn is_hint(line: &str) -> bool {
    HINTS.iter().any(|hint| line.starts_with(hint))
}

fn worth_of(line: &str, is_above_hint: bool) -> Worth {
    let starts = |words: &[&str]| words.iter().any(|word| line.starts_with(word));
    match () {
        () if line.is_empty() || is_hint(line) => Worth::Nothing,
        () if starts(&["panic:", "fatal error:", "Incorrect Usage"]) => Worth::Fatal,
        () if is_above_hint && level(line).is_none() => Worth::AboveHint,
        () => match level(line) {
            Some("FTL" | "PNC" | "fatal" | "panic") => Worth::Fatal,
            // A service that does not answer says nothing about the tunnel.
            Some("ERR" | "error") if line.contains("originService") => Worth::Course,
            Some("ERR" | "error") if CONSEQUENCES.iter().any(|word| line.contains(word)) => Worth::Aside,
            Some("ERR" | "error") => Worth::Error,
            Some("WRN" | "warn") => Worth::Warning,
            Some(_) => Worth::Course,
            None => Worth::Aside,
        },
    }
}

/// The level of a line: the word after the time, or a field of a JSON line.
fn level(line: &str) -> Option<&str> {
    if line.starts_with('{') {
        return line.split_once("\"level\":\"")?.1.split('"').next();
    }
    let (time, rest) = line.split_once(' ')?;
    let is_time = time.starts_with(|c: char| c.is_ascii_digit()) && time.contains('T');
    rest.split(' ').next().filter(|word| is_time && word.len() == 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_lines_are_kept_that_have_room() {
        let lines = ["first", "", "second  ", "\u{fc}\u{fc}", "  "].map(str::to_owned);
        for (room, expected) in
            [(100, "first\nsecond\n\u{fc}\u{fc}"), (15, "second\n\u{fc}\u{fc}"), (9, "\u{fc}\u{fc}"), (2, "")]
        {
            let kept = newest_within(&lines, room);
            assert_eq!(kept, expected, "{room}");
            assert!(kept.chars().count() <= room);
        }
    }

    #[test]
    fn the_line_that_tells_is_found_in_logs_of_every_kind() {
        for (name, log, expected) in [
            (
                "a bad token",
                "Provided Tunnel token is not valid.\nSee 'cloudflared tunnel run --help'.\n",
                "Provided Tunnel token is not valid.",
            ),
            (
                "a flag that is none",
                "Incorrect Usage: flag provided but not defined: -x\n\nNAME:\n   cloudflared tunnel run\n\n\
                 OPTIONS:\n   --token value\nSee 'cloudflared tunnel --help'.\n",
                "Incorrect Usage: flag provided but not defined: -x",
            ),
            (
                "a tunnel that is gone",
                "2026-08-07T21:58:47Z INF Starting tunnel tunnelID=6f5bd919\n\
                 2026-08-07T21:58:47Z INF Initial protocol quic\n\
                 2026-08-07T21:58:48Z ERR Register tunnel error from server side error=\"Unauthorized: Tunnel not found\" connIndex=0\n\
                 2026-08-07T21:58:48Z INF Retrying connection in up to 2s connIndex=0\n\
                 2026-08-07T21:58:49Z ERR icmp router terminated error=\"context canceled\"\n\
                 2026-08-07T21:58:49Z ERR no more connections active and exiting\n\
                 2026-08-07T21:58:49Z INF Metrics server stopped\n",
                "2026-08-07T21:58:48Z ERR Register tunnel error from server side error=\"Unauthorized: Tunnel not found\" connIndex=0",
            ),
            (
                "udp is blocked",
                "2026-02-08T06:25:47Z INF Starting tunnel tunnelID=6f5bd919\n\
                 2026-02-08T06:25:54Z WRN Failed to dial a quic connection error=\"timeout: no recent network activity\" connIndex=0\n\
                 2026-02-08T06:25:54Z INF Retrying connection in up to 2s connIndex=0\n",
                "2026-02-08T06:25:54Z WRN Failed to dial a quic connection error=\"timeout: no recent network activity\" connIndex=0",
            ),
            (
                "it served again after an error, and was told to end",
                "2026-07-15T08:26:53Z ERR failed to run the datagram handler error=\"timeout\" connIndex=3\n\
                 2026-07-15T08:27:10Z INF Registered tunnel connection connIndex=3 location=atl13\n\
                 2026-07-15T08:30:00Z INF Initiating graceful shutdown due to signal terminated ...\n",
                "2026-07-15T08:30:00Z INF Initiating graceful shutdown due to signal terminated ...",
            ),
            (
                "a service behind it does not answer",
                "2026-04-26T14:21:58Z WRN Serve tunnel error error=\"EOF\" connIndex=1\n\
                 2026-04-26T14:21:59Z ERR  error=\"Unable to reach the origin service\" ingressRule=0 originService=http://localhost:8080\n",
                "2026-04-26T14:21:58Z WRN Serve tunnel error error=\"EOF\" connIndex=1",
            ),
            (
                "lines of JSON",
                "{\"level\":\"error\",\"error\":\"Unauthorized: Invalid tunnel secret\",\"time\":\"t\",\"message\":\"Register tunnel error from server side\"}\n\
                 {\"level\":\"info\",\"time\":\"t\",\"message\":\"Tunnel server stopped\"}\n",
                "{\"level\":\"error\",\"error\":\"Unauthorized: Invalid tunnel secret\",\"time\":\"t\",\"message\":\"Register tunnel error from server side\"}",
            ),
            (
                "a program that broke",
                "panic: runtime error: invalid memory address\n\ngoroutine 1 [running]:\nmain.main()\n\t/go/src/main.go:12\n",
                "panic: runtime error: invalid memory address",
            ),
            (
                "an entry point that is none",
                "exec /usr/local/bin/cloudflared: exec format error\n",
                "exec /usr/local/bin/cloudflared: exec format error",
            ),
        ] {
            let lines: Vec<_> = log.lines().collect();
            assert_eq!(telling_line(&lines), Some(expected), "{name}");
        }
    }

    #[test]
    fn a_log_that_says_nothing_has_no_such_line() {
        for log in ["", "\n \n", "See 'cloudflared tunnel run --help'."] {
            assert_eq!(telling_line(&log.lines().collect::<Vec<_>>()), None, "{log:?}");
        }
    }
}
