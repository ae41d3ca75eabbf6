//! Times as Go writes them.

use std::time::Duration;

/// Reads `24h`, `1h30m`, `90m`, `45s`, and also `7d`, which Go does not know and people write.
pub fn duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let mut seconds = 0_u64;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = rest[..digits].parse().ok()?;
        let unit = rest[digits..].chars().next()?;
        let scale = match unit {
            'd' => 86_400,
            'h' => 3_600,
            'm' => 60,
            's' => 1,
            _ => return None,
        };
        seconds = seconds.checked_add(number.checked_mul(scale)?)?;
        rest = &rest[digits + 1..];
    }
    Some(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_go_and_days_are_read() {
        for (text, seconds) in [
            ("24h", Some(86_400)),
            ("168h", Some(604_800)),
            ("7d", Some(604_800)),
            ("1h30m", Some(5_400)),
            (" 45s ", Some(45)),
            ("1d12h0m1s", Some(129_601)),
            ("0h", Some(0)),
            ("", None),
            ("24", None),
            ("h", None),
            ("-1h", None),
            ("1.5h", None),
            ("1w", None),
            ("1µs", None),
            ("99999999999999999999h", None),
            ("999999999999999999d", None),
        ] {
            assert_eq!(duration(text), seconds.map(Duration::from_secs), "{text:?}");
        }
    }
}
