//! Which of two versions is the newer one, as their package managers see it.

use std::cmp::Ordering;

use super::kind::Kind;

/// Returns the order of two versions of one thing; none if nobody can tell, as of images, which are named by their content.
pub fn compare(kind: Kind, one: &str, other: &str) -> Option<Ordering> {
    match kind {
        Kind::Apt => Some(compare_deb(one, other)),
        Kind::Dnf => Some(Evr::parse(one)?.cmp(&Evr::parse(other)?)),
        Kind::DockerImage | Kind::WindowsUpdate | Kind::Winget | Kind::Host => {
            (one == other).then_some(Ordering::Equal)
        }
    }
}

/// dpkg's order: epochs as numbers, then upstream versions, then revisions.
fn compare_deb(one: &str, other: &str) -> Ordering {
    let parts = |text: &str| {
        let (epoch, rest) =
            text.split_once(':').map_or((0, text), |(epoch, rest)| (epoch.parse().unwrap_or(0_u64), rest));
        let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, ""));
        (epoch, upstream.to_owned(), revision.to_owned())
    };
    let (a, b) = (parts(one), parts(other));
    a.0.cmp(&b.0).then_with(|| compare_part(&a.1, &b.1)).then_with(|| compare_part(&a.2, &b.2))
}

/// Runs without digits and runs of digits are compared one by one: `~` is older than the end, letters are older than all else.
fn compare_part(a: &str, b: &str) -> Ordering {
    let weight = |byte: Option<&u8>| match byte {
        Some(b'~') => -1,
        None => 0,
        Some(byte) if byte.is_ascii_digit() => 0,
        Some(byte) if byte.is_ascii_alphabetic() => i32::from(*byte),
        Some(byte) => i32::from(*byte) + 256,
    };
    let is_digit = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_digit);
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    while !a.is_empty() || !b.is_empty() {
        while (!a.is_empty() && !is_digit(a.first())) || (!b.is_empty() && !is_digit(b.first())) {
            let order = weight(a.first()).cmp(&weight(b.first()));
            if order != Ordering::Equal {
                return order;
            }
            (a, b) =
                (a.split_first().map_or(a, |(_, rest)| rest), b.split_first().map_or(b, |(_, rest)| rest));
        }
        let ((x, rest_a), (y, rest_b)) = (number(a), number(b));
        let order = x.len().cmp(&y.len()).then_with(|| x.cmp(y));
        if order != Ordering::Equal {
            return order;
        }
        (a, b) = (rest_a, rest_b);
    }
    Ordering::Equal
}

/// The number that a text begins with, without the zeros before it, and the rest.
fn number(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    let start = digits.iter().position(|byte| *byte != b'0').unwrap_or(digits.len());
    (digits.get(start..).unwrap_or_default(), rest)
}

/// Epoch, version and release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evr {
    epoch: String,
    version: String,
    release: String,
}

impl Evr {
    /// Puts one together; no epoch is 0.
    pub fn new(epoch: &str, version: &str, release: &str) -> Self {
        let epoch = if matches!(epoch, "" | "(none)") { "0" } else { epoch };
        Self { epoch: epoch.into(), version: version.into(), release: release.into() }
    }

    /// Reads `1:2.0-2`, or without an epoch.
    pub fn parse(text: &str) -> Option<Self> {
        let (epoch, rest) = text.split_once(':').unwrap_or(("0", text));
        let (version, release) = rest.rsplit_once('-')?;
        (!version.is_empty() && !release.is_empty()).then(|| Self::new(epoch, version, release))
    }

    /// As the programs write it: an epoch of 0 is left out.
    pub fn text(&self) -> String {
        let Self { epoch, version, release } = self;
        if epoch == "0" { format!("{version}-{release}") } else { format!("{epoch}:{version}-{release}") }
    }
}

impl Ord for Evr {
    fn cmp(&self, other: &Self) -> Ordering {
        compare_rpm(&self.epoch, &other.epoch)
            .then_with(|| compare_rpm(&self.version, &other.version))
            .then_with(|| compare_rpm(&self.release, &other.release))
    }
}

impl PartialOrd for Evr {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// RPM's own order: runs of digits and runs of letters are compared one by one; digits are newer than letters, `~` is
/// older than the end, `^` is newer than the end and older than anything else.
fn compare_rpm(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a, b);
    loop {
        let is_mark = |c: char| c.is_ascii_alphanumeric() || matches!(c, '~' | '^');
        a = a.trim_start_matches(|c| !is_mark(c));
        b = b.trim_start_matches(|c| !is_mark(c));
        match (a.strip_prefix('~'), b.strip_prefix('~')) {
            (Some(rest_a), Some(rest_b)) => {
                (a, b) = (rest_a, rest_b);
                continue;
            }
            (Some(_), None) => return Ordering::Less,
            (None, Some(_)) => return Ordering::Greater,
            (None, None) => {}
        }
        match (a.strip_prefix('^'), b.strip_prefix('^')) {
            (Some(rest_a), Some(rest_b)) => {
                (a, b) = (rest_a, rest_b);
                continue;
            }
            (Some(_), None) => return if b.is_empty() { Ordering::Greater } else { Ordering::Less },
            (None, Some(_)) => return if a.is_empty() { Ordering::Less } else { Ordering::Greater },
            (None, None) => {}
        }
        if a.is_empty() || b.is_empty() {
            return a.len().min(1).cmp(&b.len().min(1));
        }
        let (part_a, rest_a) = run(a);
        let (part_b, rest_b) = run(b);
        let order = match (is_number(part_a), is_number(part_b)) {
            (true, true) => {
                let (x, y) = (part_a.trim_start_matches('0'), part_b.trim_start_matches('0'));
                x.len().cmp(&y.len()).then_with(|| x.cmp(y))
            }
            (false, false) => part_a.cmp(part_b),
            (true, false) => Ordering::Greater,
            (false, true) => Ordering::Less,
        };
        if order != Ordering::Equal {
            return order;
        }
        (a, b) = (rest_a, rest_b);
    }
}

/// The run of digits or of letters that a text begins with, and the rest.
fn run(text: &str) -> (&str, &str) {
    let is_digits = is_number(text);
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() || c.is_ascii_digit() != is_digits);
    text.split_at(end.unwrap_or(text.len()))
}

fn is_number(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_in_the_order_of_dpkg() {
        for (older, newer) in [
            ("1.0-1", "1.1-1"),
            ("1.9-1", "1.10-1"),
            ("1.0-1", "1.0-1+b1"),
            ("1.0~rc1-1", "1.0-1"),
            ("1.0-1~bpo12+1", "1.0-1"),
            ("2.0-9", "1:1.0-1"),
            ("1.0", "1.0-1"),
            ("1.0a", "1.0+a"),
            ("1.0", "1.0a"),
            ("3.0.17-1~deb12u1", "3.0.17-1~deb12u2"),
            ("2.36-9+deb12u9", "2.36-9+deb12u10"),
            ("1.2-3-1", "1.2-3-2"),
        ] {
            let order = |a, b| compare(Kind::Apt, a, b);
            assert_eq!(
                (order(older, newer), order(newer, older)),
                (Some(Ordering::Less), Some(Ordering::Greater)),
                "{older} {newer}"
            );
        }
        for (one, other) in [("1.0", "1.0"), ("1.0", "0:1.0"), ("1.0", "1.0-0"), ("1.01", "1.1")] {
            assert_eq!(compare(Kind::Apt, one, other), Some(Ordering::Equal), "{one} {other}");
        }
    }

    #[test]
    fn of_what_has_no_order_nobody_says_which_is_newer() {
        assert_eq!(compare(Kind::DockerImage, "sha256:aa", "sha256:bb"), None);
        assert_eq!(compare(Kind::DockerImage, "sha256:aa", "sha256:aa"), Some(Ordering::Equal));
        assert_eq!(compare(Kind::Dnf, "no release", "1.0-1"), None);
    }

    #[test]
    fn versions_are_in_the_order_of_rpm() {
        for (older, newer) in [
            ("1.0-1", "1.1-1"),
            ("1.9-1", "1.10-1"),
            ("1.0-1", "1.0-2"),
            ("2.0-9", "1:1.0-1"),
            ("1.0~rc1-1", "1.0-1"),
            ("1.0-1", "1.0^git1-1"),
            ("1.0^git1-1", "1.0.1-1"),
            ("1.0a-1", "1.0.1-1"),
            ("5.14.0-70.el9", "5.14.0-362.el9"),
            ("1.0-1.el9", "1.0-1.el9_2.1"),
        ] {
            let (a, b) = (Evr::parse(older).unwrap(), Evr::parse(newer).unwrap());
            assert_eq!((a.cmp(&b), b.cmp(&a)), (Ordering::Less, Ordering::Greater), "{older} {newer}");
        }
        let same = |a: &str, b: &str| compare_rpm(a, b) == Ordering::Equal;
        assert!(same("1.0", "1.0") && same("1.00", "1.0") && same("1_0", "1.0"));
    }
}
