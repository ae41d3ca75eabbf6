//! A program that has a newer version.

use crate::domain::update::{Finding, HeldBack, HeldCause, Standing};

/// As Winget says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Package {
    pub name: String,
    pub id: String,
    pub version: String,
    pub available: String,
    pub source: Option<String>,
    /// It stands in the table of those that an upgrade of all leaves out.
    pub asks_to_be_named: bool,
}

impl Package {
    /// True if Winget does not know what is installed. The word is in English in most languages; in those where it is
    /// not, it has no digit.
    pub fn is_version_unknown(&self) -> bool {
        !self.version.bytes().any(|b| b.is_ascii_digit())
    }
}

/// What one of the two ways to ask found.
pub(super) struct Listed {
    pub found: Vec<Finding>,
    /// Entries that could not be read.
    pub unread: usize,
}

/// What is said of it.
pub(super) fn finding(package: Package) -> Finding {
    let is_cut = package.id.contains('…');
    let is_unknown = package.is_version_unknown();
    let mut finding = Finding::new(package.id, Standing::Newer);
    finding.title = Some(package.name);
    finding.current_version = (!is_unknown).then_some(package.version);
    finding.available_version = Some(package.available);
    finding.source = package.source;
    if is_unknown {
        finding.details.insert("is_version_unknown".into(), true.into());
    }
    if package.asks_to_be_named {
        finding.held_back = Some(HeldBack {
            cause: HeldCause::AsksToBeNamed,
            reason: "an upgrade of all programs leaves it out; it has to be named".into(),
        });
    }
    if is_cut {
        finding.details.insert("is_id_cut".into(), true.into());
        finding.flaw = Some(
            "this version of Winget cuts off long ids, so it cannot be installed by this one; update Winget, or install its \
             PowerShell module"
                .into(),
        );
    }
    finding
}
