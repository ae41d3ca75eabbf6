//! The objects of the module `Microsoft.WinGet.Client`: nothing is cut, and nothing is in the host's language.

use serde_json::Value;

use super::super::powershell::{document, list, texts};
use super::package::{Listed, Package, finding};

pub(super) const SCRIPT: &str = r"
try {
    Import-Module Microsoft.WinGet.Client
    $packages = @(foreach ($package in (Get-WinGetPackage | Where-Object { $_.IsUpdateAvailable })) {
        [ordered]@{
            id = $package.Id
            name = $package.Name
            installed = [string]$package.InstalledVersion
            available = @(foreach ($version in $package.AvailableVersions) { [string]$version })
            source = [string]$package.Source
        }
    })
    ConvertTo-Json -InputObject ([ordered]@{ ok = $true; packages = $packages }) -Depth 4 -Compress
} catch {
    ConvertTo-Json -InputObject ([ordered]@{ ok = $false; error = [string]$_.Exception.Message }) -Compress
    exit 1
}
";

/// Reads what the script prints; none if the module could not say it.
pub(super) fn parse(printed: &str) -> Option<Listed> {
    let answer = document(printed).filter(|answer| answer["ok"] == true)?;
    let entries = list(&answer["packages"]);
    let found: Vec<_> = entries.iter().filter_map(package).map(finding).collect();
    Some(Listed { unread: entries.len() - found.len(), found })
}

fn package(value: &Value) -> Option<Package> {
    let text = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().trim().to_owned();
    Some(Package {
        id: Some(text("id")).filter(|id| !id.is_empty())?,
        name: text("name"),
        version: text("installed"),
        // The newest one comes first.
        available: texts(&value["available"]).into_iter().next()?,
        source: Some(text("source")).filter(|source| !source.is_empty()),
        asks_to_be_named: false,
    })
}
