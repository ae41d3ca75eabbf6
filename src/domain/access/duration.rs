//! Lengths of time as Cloudflare writes them, which is as Go does: `24h`, `2h45m`, `300ms`.

use std::time::Duration;

/// Most characters of a length of time.
const MAX_CHARS: usize = 32;
/// The units in nanoseconds; a longer word comes before one that it ends with.
const UNITS: [(&str, u128); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Reads a length of time; the error says what to write.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let wrong = || "a length of time such as `24h`, `30m` or `2h45m` belongs here".to_owned();
    if text.is_empty() || text.chars().count() > MAX_CHARS {
        return Err(wrong());
    }
    let (mut rest, mut sum) = (text, 0_u128);
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, behind) = rest.split_at(end);
        let unit_end = behind.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(unit_end);
        if ["d", "w"].contains(&unit) {
            return Err(format!("`{unit}` is no unit here; write hours, such as `24h` for a day"));
        }
        if unit.is_empty() && !number.is_empty() {
            return Err("a unit is missing behind the number; write `24h`, `30m` or `2h45m`".to_owned());
        }
        let (_, size) = UNITS.into_iter().find(|(word, _)| *word == unit).ok_or_else(wrong)?;
        sum = nanos(number, size).and_then(|nanos| sum.checked_add(nanos)).ok_or_else(wrong)?;
        rest = behind;
    }
    u64::try_from(sum).map(Duration::from_nanos).map_err(|_| "so long a time cannot be told".to_owned())
}

/// Returns so many units in nanoseconds; none if the number is none.
fn nanos(number: &str, unit: u128) -> Option<u128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') || fraction.len() > 18 {
        return None;
    }
    let read = |digits: &str| if digits.is_empty() { Some(0) } else { digits.parse::<u128>().ok() };
    let scale = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    let part = read(fraction)?.checked_mul(unit)? / scale;
    read(whole)?.checked_mul(unit)?.checked_add(part)
}

/// True if both mean the same length of time, however they are written.
pub(super) fn is_same_duration(one: &str, other: &str) -> bool {
    one == other || matches!((parse_duration(one), parse_duration(other)), (Ok(a), Ok(b)) if a == b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_are_read_as_go_reads_them() {
        for (text, millis) in [
            ("24h", 86_400_000),
            (" 30m ", 1_800_000),
            ("2h45m", 9_900_000),
            ("1.5h", 5_400_000),
            (".5s", 500),
            ("1.s", 1_000),
            ("300ms", 300),
            ("0s", 0),
            ("0", 0),
            ("1h0m0s", 3_600_000),
            ("2000us", 2),
            ("2000µs", 2),
            ("2000000ns", 2),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn what_is_no_length_of_time_says_what_to_write() {
        for (text, words) in [
            ("", "such as `24h`"),
            ("soon", "such as `24h`"),
            ("24", "a unit is missing"),
            ("1h30", "a unit is missing"),
            ("1d", "`d` is no unit"),
            ("2w", "`w` is no unit"),
            ("-1h", "such as `24h`"),
            ("1 h", "such as `24h`"),
            ("1..5h", "such as `24h`"),
            ("h", "such as `24h`"),
            (".h", "such as `24h`"),
            ("24H", "such as `24h`"),
            ("\"24h\"", "such as `24h`"),
            ("99999999999h", "cannot be told"),
            (&"1h".repeat(40), "such as `24h`"),
        ] {
            let said = parse_duration(text).unwrap_err();
            assert!(said.contains(words), "{text}: {said}");
        }
    }

    #[test]
    fn spellings_of_one_length_are_the_same() {
        assert!(is_same_duration("24h", "24h0m0s") && is_same_duration("90m", "1h30m"));
        assert!(!is_same_duration("24h", "12h") && !is_same_duration("24h", "a day"));
        assert!(is_same_duration("a day", "a day"));
    }
}
