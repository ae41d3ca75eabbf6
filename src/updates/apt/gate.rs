//! What APT asks right before it hands packages to dpkg: under its lock, with the files that will be unpacked.
//!
//! Nothing is unpacked unless every action is in the plan and every file has the content that was approved. What passes is
//! kept, so that it can be had again when it is what is put back.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::domain::update::{Changes, PlannedChange};
use crate::updates::kept::Kept;

/// What solver and gate need to know; in a file of the run that only this user may write.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Work {
    /// The plan.
    pub(super) changes: Changes,
    /// True if part of it may be done already.
    pub(super) is_again: bool,
    /// Where packages are kept.
    pub(super) kept: PathBuf,
    /// Where the reason of a refusal is written.
    pub(super) refusal: PathBuf,
}

/// An action that APT is about to have done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Action {
    name: String,
    old: Option<(String, String)>,
    new: Option<(String, String)>,
    /// None if it goes.
    file: Option<PathBuf>,
}

/// Reads the third form of what `DPkg::Pre-Install-Pkgs` gets (`apt.conf(5)`). What is only configured is no action.
pub(super) fn actions(text: &str) -> Result<Vec<Action>, String> {
    let (head, actions) = text.split_once("\n\n").ok_or("APT did not say what it is about to do")?;
    if !head.starts_with("VERSION 3") {
        return Err("APT speaks another form of its hook than the third".into());
    }
    let mut found = Vec::new();
    for line in actions.lines() {
        let mut fields = line.splitn(9, ' ');
        let mut next = || fields.next().ok_or_else(|| format!("APT says `{line}`, which is not understood"));
        let (name, old, old_arch, _) = (next()?, next()?, next()?, next()?);
        let (_, new, new_arch, _, file) = (next()?, next()?, next()?, next()?, next()?);
        let version =
            |version: &str, arch: &str| (version != "-").then(|| (version.to_owned(), arch.to_owned()));
        let file = match file {
            "**CONFIGURE**" => continue,
            "**REMOVE**" => None,
            "**ERROR**" => return Err(format!("APT has no file for {name}")),
            file => Some(PathBuf::from(file)),
        };
        let new = if file.is_none() { None } else { version(new, new_arch) };
        found.push(Action { name: name.into(), old: version(old, old_arch), new, file });
    }
    Ok(found)
}

/// Returns the change that each action is, or why it is none.
pub(super) fn compare<'a>(
    work: &'a Work,
    actions: &'a [Action],
    digest_of: impl Fn(&Path) -> std::io::Result<String>,
) -> Result<Vec<(&'a PlannedChange, &'a Action)>, String> {
    let mut open: Vec<&PlannedChange> = work.changes.all().iter().collect();
    let mut found = Vec::new();
    for action in actions {
        let version =
            |version: &Option<(String, String)>| version.as_ref().map(|(version, _)| version.clone());
        let arch = action.new.as_ref().or(action.old.as_ref()).map(|(_, arch)| arch.as_str());
        let at = open.iter().position(|change| {
            change.name == action.name
                && Some(change.arch.as_str()) == arch
                && change.to == version(&action.new)
                // Half done before, it is unpacked over itself.
                && (change.from == version(&action.old) || work.is_again && change.to == version(&action.old))
        });
        let Some(at) = at else {
            let word = |side: &Option<(String, String)>| version(side).unwrap_or_else(|| "nothing".into());
            let (name, old, new) = (&action.name, word(&action.old), word(&action.new));
            return Err(format!("APT wants to change {name} from {old} to {new}, which is not in the plan"));
        };
        let change = open.swap_remove(at);
        if let Some(file) = &action.file {
            let digest =
                digest_of(file).map_err(|error| format!("{} cannot be read: {error}", file.display()))?;
            if change.digest.as_ref() != Some(&digest) {
                return Err(format!("{} has another content than what was approved", file.display()));
            }
        }
        found.push((change, action));
    }
    match open.first().filter(|_| !work.is_again) {
        Some(left) => Err(format!("APT leaves out {}, which is in the plan", left.name)),
        None => Ok(found),
    }
}

/// Lets it pass, and keeps the files.
pub(super) fn pass(work: &Work, kept: &Kept, text: &str) -> Result<(), String> {
    let actions = actions(text)?;
    for (change, action) in compare(work, &actions, crate::updates::kept::digest_of)? {
        if let (Some(file), Some(version)) = (&action.file, &change.to) {
            kept.keep(change, version, file)
                .map_err(|error| format!("{} cannot be kept: {error}", file.display()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::update::{Kind, Operation};

    const SAID: &str = "VERSION 3\nAPT::Architecture=amd64\n\n\
        t-old 1.0 all none > - - none **REMOVE**\n\
        t-lib 1.0 all none < 1.1 all none /var/cache/a b/t-lib_1.1_all.deb\n\
        t-new - - none < 1.0 amd64 same /x/t-new.deb\n\
        t-lib 1.0 all none < 1.1 all none **CONFIGURE**\n";

    fn work(is_again: bool) -> Work {
        let change =
            |name: &str, arch: &str, operation, from: Option<&str>, to: Option<&str>| PlannedChange {
                kind: Kind::Apt,
                name: name.into(),
                arch: arch.into(),
                operation,
                from: from.map(str::to_owned),
                to: to.map(str::to_owned),
                digest: to.map(|_| "aa".into()),
            };
        let changes = Changes::new(vec![
            change("t-lib", "all", Operation::Upgrade, Some("1.0"), Some("1.1")),
            change("t-new", "amd64", Operation::Install, None, Some("1.0")),
            change("t-old", "all", Operation::Remove, Some("1.0"), None),
        ])
        .unwrap();
        Work { changes, is_again, kept: PathBuf::new(), refusal: PathBuf::new() }
    }

    fn judged(said: &str, is_again: bool, digest: &str) -> Result<usize, String> {
        let actions = actions(said)?;
        compare(&work(is_again), &actions, |_| Ok(digest.to_owned())).map(|found| found.len())
    }

    #[test]
    fn the_plan_passes() {
        assert_eq!(judged(SAID, false, "aa"), Ok(3));
        assert_eq!(
            actions(SAID).unwrap()[1].file.as_deref(),
            Some(Path::new("/var/cache/a b/t-lib_1.1_all.deb"))
        );
    }

    #[test]
    fn whatever_is_not_the_plan_is_refused_with_its_name() {
        let without = |name: &str| -> String {
            SAID.lines().filter(|line| !line.starts_with(name)).map(|line| format!("{line}\n")).collect()
        };
        for (said, digest, expected) in [
            (SAID.to_owned(), "bb", "another content than what was approved"),
            (
                SAID.replace("< 1.1 all none /", "< 1.2 all none /"),
                "aa",
                "from 1.0 to 1.2, which is not in the plan",
            ),
            (SAID.replace("t-lib 1.0 all none <", "t-lib 0.9 all none <"), "aa", "from 0.9 to 1.1"),
            (SAID.replace("1.0 amd64 same", "1.0 i386 same"), "aa", "change t-new from nothing to 1.0"),
            (
                format!("{SAID}evil - - none < 6 all none /x/evil.deb\n"),
                "aa",
                "change evil from nothing to 6",
            ),
            (format!("{SAID}base 1 all none > - - none **REMOVE**\n"), "aa", "change base from 1 to nothing"),
            (without("t-new"), "aa", "APT leaves out t-new"),
            (SAID.replace("/x/t-new.deb", "**ERROR**"), "aa", "APT has no file for t-new"),
            (SAID.replace("VERSION 3", "VERSION 2"), "aa", "another form"),
            ("VERSION 3\n\nt-lib 1.0\n".into(), "aa", "not understood"),
            ("VERSION 3\n".into(), "aa", "did not say"),
        ] {
            let refused = judged(&said, false, digest).unwrap_err();
            assert!(refused.contains(expected), "{refused}");
        }
    }

    #[test]
    fn of_a_run_that_goes_on_the_rest_is_enough_and_more_is_still_refused() {
        let rest = "VERSION 3\n\nt-lib 1.1 all none < 1.1 all none /x/t-lib.deb\n";
        assert_eq!(judged(rest, true, "aa"), Ok(1));
        assert!(judged(rest, false, "aa").is_err());
        let more = format!("{rest}evil - - none < 6 all none /x/evil.deb\n");
        assert!(judged(&more, true, "aa").unwrap_err().contains("evil"));
    }
}
