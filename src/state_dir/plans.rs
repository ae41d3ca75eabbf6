//! Plans that were shown on this host, so that one of them can be named and is told apart from what would be done now.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::StateError;
use super::files;
use crate::domain::update::PlanId;

/// Most plans that are kept.
const MOST: usize = 20;
/// Largest that is read: 20,000 changes fit.
const SIZE_LIMIT: u64 = 32 * 1024 * 1024;

/// Keeps a plan with whatever belongs to it; the oldest beyond the last twenty go. Blocks.
pub fn keep_plan(state_dir: &Path, id: &PlanId, plan: &impl Serialize) -> Result<(), StateError> {
    let folder = state_dir.join("plans");
    files::make_dir(&folder)?;
    let json = serde_json::to_vec(plan).expect("it holds nothing that JSON cannot");
    files::replace(&folder.join(format!("{id}.json")), &json)?;
    let mut kept: Vec<(_, PathBuf)> = fs::read_dir(&folder)
        .map_err(|error| StateError::from_io(&folder, "read", error))?
        .flatten()
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
        .collect();
    kept.sort_by(|one, other| other.cmp(one));
    kept.iter().skip(MOST).try_for_each(|(_, path)| files::remove(path))
}

/// Reads the plan that a person means by `text`: its id, or at least the first twelve digits of it. Blocks.
pub fn kept_plan<T: DeserializeOwned>(state_dir: &Path, text: &str) -> Result<Option<T>, StateError> {
    let folder = state_dir.join("plans");
    let is_meant = |path: &PathBuf| {
        let id = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
        text.len() >= 12 && id.starts_with(text)
    };
    let Ok(entries) = fs::read_dir(&folder) else { return Ok(None) };
    match entries.flatten().map(|entry| entry.path()).find(is_meant) {
        Some(path) => files::read_checked_up_to(&path, SIZE_LIMIT, files::from_json),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::update::{Changes, Kind, Operation, Plan, PlannedChange};

    fn plan(name: String) -> Plan {
        let change = PlannedChange {
            kind: Kind::Apt,
            name,
            arch: "all".into(),
            operation: Operation::Remove,
            from: Some("1".into()),
            to: None,
            digest: None,
        };
        Plan { changes: Changes::new(vec![change]).unwrap(), on_host: Default::default() }
    }

    #[test]
    fn a_plan_is_found_by_its_beginning_and_old_ones_go() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(kept_plan::<Plan>(dir.path(), "0123456789ab").unwrap(), None);
        let plans: Vec<Plan> = (0..25).map(|n| plan(format!("p{n}"))).collect();
        for one in &plans {
            keep_plan(dir.path(), &one.id(), one).unwrap();
        }
        let last = &plans[24];
        assert_eq!(kept_plan(dir.path(), last.id().short()).unwrap().as_ref(), Some(last));
        assert_eq!(kept_plan::<Plan>(dir.path(), "../").unwrap(), None);
        assert_eq!(fs::read_dir(dir.path().join("plans")).unwrap().count(), MOST);
    }
}
