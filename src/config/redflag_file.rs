//! The configuration file of RedFlag's agent, as a source of settings: what it says counts where no other setting does. It is
//! read and never written.

use std::io::Read;
use std::path::Path;

use serde::Deserialize;

use super::error::ConfigError;
use super::secret::Secret;
use super::settings::Settings;

/// Largest file that is read.
const SIZE_LIMIT: u64 = 1024 * 1024;

/// What of it means something here; the agent's own tokens are another program's, and stay its own.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RedFlagFile {
    server_url: Option<String>,
    registration_token: Option<String>,
    display_name: Option<String>,
    tls: Tls,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Tls {
    insecure_skip_verify: bool,
    ca_file: Option<String>,
}

/// Fills in what is not set; returns what a person should know.
pub(super) fn fill(settings: &mut Settings) -> Result<Vec<String>, ConfigError> {
    let mut warnings = Vec::new();
    if let Some(path) = settings.updates.agent_config_path.clone() {
        let file = read(path.as_ref())?;
        let set = |text: Option<String>| text.filter(|text| !text.trim().is_empty());
        if settings.updates.redflag_server_url.is_none() {
            settings.updates.redflag_server_url = set(file.server_url);
        }
        if let Some(token) =
            set(file.registration_token).filter(|_| !settings.agent.registration_token.is_set())
        {
            settings.agent.registration_token = Secret::new(&token);
        }
        let agent = &mut settings.agent;
        agent.display_name = agent.display_name.take().or_else(|| set(file.display_name));
        agent.ca_file = agent.ca_file.take().or_else(|| set(file.tls.ca_file).map(Into::into));
        if file.tls.insecure_skip_verify {
            warnings.push(format!(
                "`tls.insecure_skip_verify` in `{path}` is not followed: certificates are always verified; name your \
                 authority in `agent.ca_file`"
            ));
        }
    }
    if settings.agent.master_url.is_none() {
        settings.agent.master_url = settings.updates.redflag_server_url.clone();
    }
    Ok(warnings)
}

fn read(path: &Path) -> Result<RedFlagFile, ConfigError> {
    let unreadable = |reason: String| ConfigError::Unreadable { path: path.into(), reason };
    let file = std::fs::File::open(path).map_err(|error| unreadable(error.to_string()))?;
    let mut text = Vec::new();
    file.take(SIZE_LIMIT + 1).read_to_end(&mut text).map_err(|error| unreadable(error.to_string()))?;
    if text.len() as u64 > SIZE_LIMIT {
        return Err(unreadable("it is larger than 1 MiB".into()));
    }
    // The parser's own words quote what stands there, and a token may.
    serde_json::from_slice(&text).map_err(|error| {
        unreadable(format!(
            "it is no configuration of RedFlag's agent (line {} column {})",
            error.line(),
            error.column()
        ))
    })
}
