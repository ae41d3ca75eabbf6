//! Programs that Winget knows: the objects of its PowerShell module where that is installed, else the table that
//! `winget upgrade` prints for people, read by the width of what stands in it.
//!
//! No real Windows system was tried: what is here is built and tested on recordings of our own.

mod module;
mod package;
mod place;
mod table;
mod words;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::keep::last_known;
use super::powershell::{BEGINNING, arguments, code_text};
use super::programs::Programs;
use super::scanner::{ScanAsk, Scanner};
use crate::domain::update::{Finding, Findings, Kind, Problem};

use package::finding;
use table::packages;
use words::{NOTHING, words};

/// Winget refreshes its sources first.
const LIMIT: Duration = Duration::from_secs(5 * 60);

/// What is asked of the program: all that has a newer version, that of programs of unknown version included.
const UPGRADE: [&str; 4] =
    ["upgrade", "--include-unknown", "--accept-source-agreements", "--disable-interactivity"];

/// Looks for newer versions of programs.
pub struct Winget {
    programs: Arc<dyn Programs>,
}

impl Winget {
    /// Takes who finds and runs programs.
    pub fn new(programs: Arc<dyn Programs>) -> Self {
        Self { programs }
    }

    async fn place(&self) -> Option<String> {
        match self.programs.find("winget.exe").await {
            Some(path) => Some(path),
            // For the system itself it is on no search path.
            None => place::newest_of_this_host(),
        }
    }

    /// Asks the module; none if it is not installed, or says nothing that can be used.
    async fn by_module(&self) -> Option<Vec<Finding>> {
        for shell in ["pwsh.exe", "powershell.exe"] {
            let Some(shell) = self.programs.find(shell).await else { continue };
            let script = arguments(&format!("{BEGINNING}{}", module::SCRIPT));
            let ran = self.programs.run(&shell, &script, LIMIT).await.ok();
            if let Some(found) = ran.and_then(|ran| module::parse(&ran.stdout)) {
                return Some(found);
            }
        }
        None
    }

    async fn by_table(&self, winget: &str) -> Result<Vec<Finding>, Problem> {
        let problem = |reason, way_out: Option<&str>| Problem { reason, way_out: way_out.map(str::to_owned) };
        let arguments = UPGRADE.map(str::to_owned);
        let ran =
            self.programs.run(winget, &arguments, LIMIT).await.map_err(|reason| problem(reason, None))?;
        let code = ran.code.cast_unsigned();
        if NOTHING.contains(&code) {
            return Ok(Vec::new());
        }
        if code != 0 {
            return Err(match words(code) {
                Some((reason, way_out)) => problem(format!("{reason} ({})", code_text(code)), Some(way_out)),
                None => problem(format!("`winget upgrade` failed with {}", code_text(code)), None),
            });
        }
        Ok(packages(&ran.stdout).into_iter().map(finding).collect())
    }
}

#[async_trait]
impl Scanner for Winget {
    fn kind(&self) -> Kind {
        Kind::Winget
    }

    async fn is_present(&self) -> bool {
        self.place().await.is_some()
    }

    async fn scan(&self, ask: &ScanAsk<'_>) -> Findings {
        let Some(winget) = self.place().await else {
            let problem = Problem { reason: "`winget.exe` is gone".into(), way_out: None };
            return last_known(Kind::Winget, ask.last, problem);
        };
        let found = match self.by_module().await {
            Some(found) => Ok(found),
            None => self.by_table(&winget).await,
        };
        match found {
            Ok(found) => Findings::new(Kind::Winget, found).as_of(ask.now),
            Err(problem) => last_known(Kind::Winget, ask.last, problem),
        }
    }
}

#[cfg(test)]
mod tests;
