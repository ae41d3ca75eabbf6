//! Names of RPM's packages.

pub(super) use crate::domain::update::Evr;

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
