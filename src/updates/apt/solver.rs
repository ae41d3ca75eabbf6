//! What APT asks in place of its own solver, so that it can do nothing but the plan.
//!
//! APT hands over all packages that it knows, in stanzas (Debian's package `apt-doc`, "External Dependency Solver
//! Protocol"), and takes back which of them to install and to remove. It checks the dependencies itself.

use std::collections::BTreeMap;
use std::io::BufRead;

use crate::domain::update::{Changes, PlannedChange};

/// How an answer begins that is none.
pub(super) const REFUSED: &str = "Error: lightship\nMessage: ";

/// A package in a version, as APT knows it.
#[derive(Debug, Default)]
struct Stanza {
    name: String,
    arch: String,
    version: String,
    id: String,
    is_installed: bool,
}

/// Reads what APT knows and returns what to answer.
pub(super) fn answer(universe: impl BufRead, changes: &Changes) -> std::io::Result<String> {
    let mut open: BTreeMap<(&str, &str), Found> = changes
        .all()
        .iter()
        .map(|change| ((change.name.as_str(), change.arch.as_str()), Found::new(change)))
        .collect();
    let mut stanza = Stanza::default();
    for line in universe.split(b'\n') {
        let line = line?;
        let line = String::from_utf8_lossy(&line);
        if line.is_empty() {
            take(&mut open, &std::mem::take(&mut stanza));
            continue;
        }
        let Some((field, value)) = line.split_once(": ") else { continue };
        match field {
            "Package" => value.clone_into(&mut stanza.name),
            "Architecture" => value.clone_into(&mut stanza.arch),
            "Version" => value.clone_into(&mut stanza.version),
            "APT-ID" => value.clone_into(&mut stanza.id),
            "Installed" => stanza.is_installed = value == "yes",
            _ => {}
        }
    }
    take(&mut open, &stanza);
    let mut answer = String::new();
    for found in open.values() {
        match found.decided() {
            Ok(stanza) => answer += &stanza,
            Err(reason) => return Ok(format!("{REFUSED}{reason}\n\n")),
        }
    }
    Ok(answer)
}

/// What APT knows of one planned change.
struct Found<'a> {
    change: &'a PlannedChange,
    installed: Option<(String, String)>,
    wanted: Option<String>,
}

impl<'a> Found<'a> {
    fn new(change: &'a PlannedChange) -> Self {
        Self { change, installed: None, wanted: None }
    }

    fn decided(&self) -> Result<String, String> {
        let PlannedChange { name, from, to, .. } = self.change;
        let now = self.installed.as_ref().map(|(version, _)| version);
        if now == to.as_ref() && (from != to || to.is_none()) {
            return Ok(String::new());
        }
        if now != from.as_ref() {
            let words = |version: Option<&String>| version.map_or("not installed", String::as_str).to_owned();
            return Err(format!(
                "{name} is {}, and the plan was made for {}",
                words(now),
                words(from.as_ref())
            ));
        }
        match (to, &self.wanted, &self.installed) {
            (None, _, Some((_, id))) => Ok(format!("Remove: {id}\n\n")),
            (Some(_), Some(id), _) => Ok(format!("Install: {id}\n\n")),
            (Some(version), None, _) => Err(format!("no source offers {name} {version} any more")),
            (None, _, None) => Ok(String::new()),
        }
    }
}

fn take<'a>(open: &mut BTreeMap<(&'a str, &'a str), Found<'a>>, stanza: &Stanza) {
    if stanza.id.is_empty() || stanza.name.is_empty() {
        return;
    }
    // A version may be of another architecture than the one before, such as `all`.
    let is_it = |found: &Found<'_>| {
        let change = found.change;
        change.name == stanza.name
            && (change.arch == stanza.arch || change.arch == "all" || stanza.arch == "all")
    };
    for found in open.values_mut().filter(|found| is_it(found)) {
        if stanza.is_installed {
            found.installed = Some((stanza.version.clone(), stanza.id.clone()));
        }
        if found.change.arch == stanza.arch && found.change.to.as_deref() == Some(stanza.version.as_str()) {
            found.wanted = Some(stanza.id.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::update::{Kind, Operation};

    const UNIVERSE: &str = "Request: EDSP 0.5\nArchitecture: amd64\n\n\
        Package: lib\nArchitecture: all\nVersion: 1.1\nAPT-ID: 3\n\n\
        Package: lib\nArchitecture: all\nVersion: 1.0\nAPT-ID: 2\nInstalled: yes\n\n\
        Package: new\nArchitecture: amd64\nVersion: 1.0\nAPT-ID: 5\n\n\
        Package: new\nArchitecture: i386\nVersion: 1.0\nAPT-ID: 6\n\n\
        Package: old\nArchitecture: all\nVersion: 1.0\nAPT-ID: 7\nInstalled: yes\n";

    fn change(name: &str, arch: &str, from: Option<&str>, to: Option<&str>) -> PlannedChange {
        let operation = match (from, to) {
            (None, _) => Operation::Install,
            (_, None) => Operation::Remove,
            _ => Operation::Upgrade,
        };
        PlannedChange {
            kind: Kind::Apt,
            name: name.into(),
            arch: arch.into(),
            operation,
            from: from.map(str::to_owned),
            to: to.map(str::to_owned),
            digest: to.map(|_| "aa".into()),
        }
    }

    fn said(changes: &[PlannedChange]) -> String {
        answer(UNIVERSE.as_bytes(), &Changes::new(changes.to_vec()).unwrap()).unwrap()
    }

    #[test]
    fn the_plan_is_answered_and_nothing_else() {
        let plan = [
            change("lib", "all", Some("1.0"), Some("1.1")),
            change("new", "i386", None, Some("1.0")),
            change("old", "all", Some("1.0"), None),
        ];
        assert_eq!(said(&plan), "Install: 3\n\nInstall: 6\n\nRemove: 7\n\n");
    }

    #[test]
    fn what_is_done_already_needs_no_answer() {
        assert_eq!(said(&[change("lib", "all", Some("0.9"), Some("1.0"))]), "");
        assert_eq!(said(&[change("gone", "all", Some("0.9"), None)]), "");
    }

    #[test]
    fn what_cannot_be_done_is_an_error_with_its_reason() {
        for (change, expected) in [
            (change("lib", "all", Some("1.0"), Some("2.0")), "no source offers lib 2.0 any more"),
            (change("lib", "all", Some("0.9"), Some("1.1")), "lib is 1.0, and the plan was made for 0.9"),
            (
                change("new", "amd64", Some("0.9"), Some("1.0")),
                "new is not installed, and the plan was made for 0.9",
            ),
        ] {
            let said = said(&[change]);
            assert!(said.starts_with("Error: ") && said.contains(expected), "{said}");
        }
    }
}
