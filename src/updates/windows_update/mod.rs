//! Updates of Windows, by the update agent's own interface through one PowerShell script that prints JSON.
//!
//! No real Windows system was tried: what is here is built and tested on recordings of our own.

mod parse;
mod words;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::keep::last_known;
use super::powershell::{BEGINNING, arguments};
use super::programs::Programs;
use super::scanner::{ScanAsk, Scanner};
use crate::domain::update::{Findings, Kind, Problem};

use parse::{Searched, parse};

/// A search asks Microsoft's servers, or the company's own.
const LIMIT: Duration = Duration::from_secs(15 * 60);

const SCRIPT: &str = r"
function Texts($items) { ,@(foreach ($item in $items) { [string]$item }) }
try {
    $session = New-Object -ComObject Microsoft.Update.Session
    $session.ClientApplicationID = 'Lightship'
    $searcher = $session.CreateUpdateSearcher()
    $searcher.Online = $true
    $search = $searcher.Search('IsInstalled=0 and IsHidden=0')
    $updates = @(foreach ($update in $search.Updates) {
        [ordered]@{
            id = $update.Identity.UpdateID
            revision = $update.Identity.RevisionNumber
            title = $update.Title
            kb = Texts $update.KBArticleIDs
            cves = Texts $update.CveIDs
            bulletins = Texts $update.SecurityBulletinIDs
            urls = Texts $update.MoreInfoUrls
            severity = $update.MsrcSeverity
            categories = @(foreach ($category in $update.Categories) { [ordered]@{ id = $category.CategoryID; name = $category.Name } })
            type = [int]$update.Type
            size = [int64]$update.MaxDownloadSize
            is_downloaded = [bool]$update.IsDownloaded
            is_mandatory = [bool]$update.IsMandatory
            is_eula_accepted = [bool]$update.EulaAccepted
            is_uninstallable = [bool]$update.IsUninstallable
            reboot = [int]$update.InstallationBehavior.RebootBehavior
            impact = [int]$update.InstallationBehavior.Impact
            asks_user = [bool]$update.InstallationBehavior.CanRequestUserInput
            published = $update.LastDeploymentChangeTime.ToUniversalTime().ToString('o')
        }
    })
    $system = New-Object -ComObject Microsoft.Update.SystemInfo
    $answer = [ordered]@{ ok = $true; result = [int]$search.ResultCode; reboot_pending = [bool]$system.RebootRequired; updates = $updates }
    ConvertTo-Json -InputObject $answer -Depth 6 -Compress
} catch {
    $cause = $_.Exception.GetBaseException()
    $answer = [ordered]@{ ok = $false; hresult = ('0x{0:X8}' -f $cause.HResult); error = [string]$cause.Message }
    ConvertTo-Json -InputObject $answer -Compress
    exit 1
}
";

/// Looks for updates of Windows.
pub struct WindowsUpdate {
    programs: Arc<dyn Programs>,
}

impl WindowsUpdate {
    /// Takes who finds and runs programs.
    pub fn new(programs: Arc<dyn Programs>) -> Self {
        Self { programs }
    }
}

#[async_trait]
impl Scanner for WindowsUpdate {
    fn kind(&self) -> Kind {
        Kind::WindowsUpdate
    }

    async fn is_present(&self) -> bool {
        self.programs.find("powershell.exe").await.is_some()
    }

    async fn scan(&self, ask: &ScanAsk<'_>) -> Findings {
        let Some(powershell) = self.programs.find("powershell.exe").await else {
            let problem = Problem { reason: "`powershell.exe` is gone".into(), way_out: None };
            return last_known(Kind::WindowsUpdate, ask.last, problem);
        };
        let arguments = arguments(&format!("{BEGINNING}{SCRIPT}"));
        let searched = match self.programs.run(&powershell, &arguments, LIMIT).await {
            Ok(ran) => parse(&ran.stdout, ran.code),
            Err(reason) => Err((reason, None)),
        };
        match searched {
            Ok(Searched { items, in_part: None }) => Findings::new(Kind::WindowsUpdate, items).as_of(ask.now),
            Ok(Searched { items, in_part: Some(reason) }) => {
                Findings::new(Kind::WindowsUpdate, items).as_of(ask.now).with_problem(reason, None)
            }
            Err((reason, way_out)) => last_known(Kind::WindowsUpdate, ask.last, Problem { reason, way_out }),
        }
    }
}

#[cfg(test)]
mod tests;
