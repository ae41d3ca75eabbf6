//! systemd, through `systemctl`.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::process::{Program, find};
use crate::updates::keep::{shown, trouble};

/// How long a restart of services may take.
const RESTART_LIMIT: Duration = Duration::from_secs(300);
/// How long a question may take.
const ASK_LIMIT: Duration = Duration::from_secs(30);

/// The one that runs this host.
#[derive(Debug)]
pub(super) struct Systemd(());

impl Systemd {
    /// Fails with the reason if none runs this host.
    pub(super) async fn of_this_host() -> Result<Self, String> {
        if find("systemctl").is_none() {
            return Err("this host has no systemd".into());
        }
        let asked = Program::new("systemctl").arg("is-system-running").time_limit(ASK_LIMIT).run().await;
        // Its exit code only says whether all is well.
        match asked.map_err(|error| trouble(error).reason)?.stdout.trim() {
            "" | "offline" | "unknown" => Err("systemd does not run this host".into()),
            _ => Ok(Self(())),
        }
    }

    /// Restarts services, and waits until they have.
    pub(super) async fn restart(&self, services: &[String]) -> Result<(), String> {
        let program =
            Program::new("systemctl").args(["--no-ask-password", "restart", "--"]).args(units(services));
        let ended = program.time_limit(RESTART_LIMIT).run().await.map_err(|error| trouble(error).reason)?;
        match ended.code {
            Some(0) => Ok(()),
            _ => Err(shown(&format!("`systemctl restart` failed: {}", ended.stderr))),
        }
    }

    /// Returns what each service is: `active`, `failed`, `activating`, ….
    pub(super) async fn states(&self, services: &[String]) -> Result<BTreeMap<String, String>, String> {
        if services.is_empty() {
            return Ok(BTreeMap::new());
        }
        let program = Program::new("systemctl").args(["is-active", "--"]).args(units(services));
        let ended = program.time_limit(ASK_LIMIT).run().await.map_err(|error| trouble(error).reason)?;
        states(services, &ended.stdout).ok_or_else(|| {
            shown(&format!("`systemctl is-active` did not say what became of each: {}", ended.stderr))
        })
    }
}

fn units(services: &[String]) -> impl Iterator<Item = String> {
    services.iter().map(|name| format!("{name}.service"))
}

/// Reads `systemctl is-active`: a word on a line for each, in their order.
fn states(services: &[String], said: &str) -> Option<BTreeMap<String, String>> {
    let words: Vec<&str> = said.lines().map(str::trim).collect();
    let is_word =
        |word: &&str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
    (words.len() == services.len() && words.iter().all(is_word))
        .then(|| services.iter().cloned().zip(words.into_iter().map(str::to_owned)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_service_has_its_own_word_or_nothing_is_known() {
        let services = ["a".to_owned(), "b".to_owned()];
        let read = states(&services, "active\nfailed\n").unwrap();
        assert_eq!((read["a"].as_str(), read["b"].as_str()), ("active", "failed"));
        for odd in ["", "active\n", "active\nfailed\nactive\n", "active\nFailed to connect to bus\n"] {
            assert_eq!(states(&services, odd), None, "{odd:?}");
        }
    }
}
