//! What every installer is.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;

use super::kept::Kept;
use super::run::Step;
use crate::domain::update::{Changes, Kind, Plan, Problem, Run, Wanted};

/// How long an installer of packages waits.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// For another installation to end.
    pub locks: Duration,
    /// For a word of the package manager while it works.
    pub silence: Duration,
}

/// Works out what would be changed, and changes it.
#[async_trait]
pub trait Installer: Send + Sync {
    /// Whose.
    fn kind(&self) -> Kind;

    /// True if the host has what it changes.
    async fn is_present(&self) -> bool;

    /// Returns those of the names that mean something of its kind, and so nothing of another kind.
    async fn claims(&self, _names: &[String]) -> Vec<String> {
        Vec::new()
    }

    /// Works out what would be changed. Changes nothing and needs no right. `state_dir` is where kept packages are.
    async fn plan(&self, wanted: &Wanted, state_dir: &Path) -> Result<Plan, Problem>;

    /// Works out what would take a run back; only what `only` names, unless it is empty.
    async fn plan_undo(&self, run: &Run, only: &[String], state_dir: &Path) -> Result<Plan, Problem>;

    /// Returns the files of what is replaced or removed, as they are on the disk now.
    async fn replaced_files(&self, _changes: &Changes) -> Result<BTreeSet<String>, Problem> {
        Ok(BTreeSet::new())
    }

    /// Returns which packages of a plan count as installed for others' sake.
    async fn automatic(&self, plan: &Plan) -> Result<Vec<String>, Problem>;

    /// Works out what would bring a broken off installation to its end.
    async fn plan_repair(&self, _state_dir: &Path) -> Result<Plan, Problem> {
        Ok(Plan::nothing())
    }

    /// Returns where what it replaced is kept.
    fn kept(&self, _state_dir: &Path) -> Option<Kept> {
        None
    }

    /// Returns the steps that carry out a plan, in their order.
    fn steps(&self, state_dir: &Path) -> Vec<Box<dyn Step>>;
}
