//! Names and versions of RPM.

use std::cmp::Ordering;

/// Epoch, version and release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Evr {
    epoch: String,
    version: String,
    release: String,
}

impl Evr {
    pub(super) fn new(epoch: &str, version: &str, release: &str) -> Self {
        let epoch = if matches!(epoch, "" | "(none)") { "0" } else { epoch };
        Self { epoch: epoch.into(), version: version.into(), release: release.into() }
    }

    /// Reads `1:2.0-2`, or without an epoch.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (epoch, rest) = text.split_once(':').unwrap_or(("0", text));
        let (version, release) = rest.rsplit_once('-')?;
        (!version.is_empty() && !release.is_empty()).then(|| Self::new(epoch, version, release))
    }

    /// As the programs write it: an epoch of 0 is left out.
    pub(super) fn text(&self) -> String {
        let Self { epoch, version, release } = self;
        if epoch == "0" { format!("{version}-{release}") } else { format!("{epoch}:{version}-{release}") }
    }
}

impl Ord for Evr {
    fn cmp(&self, other: &Self) -> Ordering {
        compare(&self.epoch, &other.epoch)
            .then_with(|| compare(&self.version, &other.version))
            .then_with(|| compare(&self.release, &other.release))
    }
}

impl PartialOrd for Evr {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// RPM's own order: runs of digits and runs of letters are compared one by one; digits are newer than letters, `~` is
/// older than the end, `^` is newer than the end and older than anything else.
fn compare(a: &str, b: &str) -> Ordering {
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

/// A package of one version: name, version, architecture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Nevra {
    pub(super) name: String,
    pub(super) evr: Evr,
    pub(super) arch: String,
}

impl Nevra {
    /// Reads `scanlab-rsec-1:2.0-2.noarch`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (rest, arch) = text.rsplit_once('.')?;
        let (rest, release) = rest.rsplit_once('-')?;
        let (name, version) = rest.rsplit_once('-')?;
        if name.is_empty() || arch.is_empty() {
            return None;
        }
        Some(Self { name: name.into(), evr: Evr::parse(&format!("{version}-{release}"))?, arch: arch.into() })
    }
}

/// Returns what a package is called: its architecture is said if it is a foreign one.
pub(super) fn called(name: &str, arch: &str) -> String {
    if arch == "noarch" || arch == std::env::consts::ARCH {
        name.to_owned()
    } else {
        format!("{name}.{arch}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let same = |a: &str, b: &str| compare(a, b) == Ordering::Equal;
        assert!(same("1.0", "1.0") && same("1.00", "1.0") && same("1_0", "1.0"));
    }

    #[test]
    fn names_are_taken_apart() {
        let read = Nevra::parse("scanlab-rsec-1:2.0-2.noarch").unwrap();
        assert_eq!((read.name.as_str(), read.evr.text().as_str()), ("scanlab-rsec", "1:2.0-2"));
        assert_eq!(Nevra::parse("gtk+3-devel-3.0-1.fc40.x86_64").unwrap().evr.text(), "3.0-1.fc40");
        for odd in ["", "x", "x-1.noarch", "-1-1.noarch", "x-1-1", "x--1.noarch"] {
            assert_eq!(Nevra::parse(odd), None, "{odd}");
        }
        assert_eq!((called("a", "noarch"), called("a", "i686")), ("a".into(), "a.i686".into()));
    }
}
