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
use chrono::{DateTime, Utc};

use super::keep::last_known;
use super::powershell::{BEGINNING, arguments, code_text};
use super::programs::Programs;
use super::scanner::{ScanAsk, Scanner};
use crate::domain::update::{Findings, Kind, Problem};

use package::{Listed, finding};
use table::tables;
use words::{is_nothing, words};

/// Winget refreshes its sources first.
const LIMIT: Duration = Duration::from_secs(5 * 60);

/// What reads without a table.
const MODULE: &str =
    "install the PowerShell module `Microsoft.WinGet.Client`: what it says is not cut and needs no table";

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
    async fn by_module(&self) -> Option<Listed> {
        for shell in ["pwsh.exe", "powershell.exe"] {
            let Some(shell) = self.programs.find(shell).await else { continue };
            let script = arguments(&format!("{BEGINNING}{}", module::SCRIPT));
            let ran = self.programs.run(&shell, &script, LIMIT).await.ok();
            if let Some(listed) = ran.and_then(|ran| module::parse(&ran.stdout)) {
                return Some(listed);
            }
        }
        None
    }

    async fn by_table(&self, winget: &str) -> Result<Listed, Problem> {
        let problem = |reason, way_out: Option<&str>| Problem { reason, way_out: way_out.map(str::to_owned) };
        let arguments = UPGRADE.map(str::to_owned);
        let ran =
            self.programs.run(winget, &arguments, LIMIT).await.map_err(|reason| problem(reason, None))?;
        let code = ran.code.cast_unsigned();
        let tables = tables(&ran.stdout);
        if is_nothing(code, tables.has_any) {
            return Ok(Listed { found: Vec::new(), unread: 0 });
        }
        if code != 0 {
            return Err(match words(code) {
                Some((reason, way_out)) => problem(format!("{reason} ({})", code_text(code)), Some(way_out)),
                None => problem(format!("`winget upgrade` failed with {}", code_text(code)), None),
            });
        }
        if tables.has_any && tables.packages.is_empty() {
            let reason = "what `winget upgrade` printed is not understood: no row of its table could be read";
            return Err(problem(reason.into(), Some(MODULE)));
        }
        Ok(Listed { found: tables.packages.into_iter().map(finding).collect(), unread: tables.unread })
    }
}

/// What is known of those that could be read; the others may be pending all the same.
fn summed(listed: Listed, now: DateTime<Utc>) -> Findings {
    let found = Findings::new(Kind::Winget, listed.found).as_of(now);
    match listed.unread {
        0 => found,
        1 => found.with_problem("1 program that Winget lists could not be read", Some(MODULE.into())),
        unread => found.with_problem(
            format!("{unread} programs that Winget lists could not be read"),
            Some(MODULE.into()),
        ),
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
            Some(listed) => Ok(listed),
            None => self.by_table(&winget).await,
        };
        match found {
            Ok(listed) => summed(listed, ask.now),
            Err(problem) => last_known(Kind::Winget, ask.last, problem),
        }
    }
}

#[cfg(test)]
mod tests;
