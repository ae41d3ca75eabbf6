//! `tunnel_state.json`, in the shape a DockFlare agent writes and reads.

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use super::files;
use crate::domain::id::TunnelId;

/// The tunnel this host runs, or ran last.
#[derive(Debug, Clone, Default)]
pub struct TunnelState {
    /// What opens it.
    pub token: Option<SecretString>,
    /// Its id.
    pub id: Option<TunnelId>,
    /// Its name.
    pub name: Option<String>,
    /// What is to be.
    pub desired_state: DesiredState,
}

/// Whether a tunnel is wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DesiredState {
    /// Nobody said anything yet.
    #[default]
    Unknown,
    /// It is to run.
    Running,
    /// It is not to run.
    Stopped,
}

#[derive(Serialize, Deserialize)]
struct Form {
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    id: Option<TunnelId>,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    desired_state: DesiredState,
}

impl TunnelState {
    pub(super) fn to_json(&self) -> Vec<u8> {
        let form = Form {
            token: self.token.as_ref().map(|t| t.expose_secret().to_owned()),
            id: self.id.clone(),
            name: self.name.clone(),
            desired_state: self.desired_state,
        };
        serde_json::to_vec(&form).expect("texts always become JSON")
    }

    /// The reason does not quote the file: it holds the token.
    pub(super) fn from_json(bytes: &[u8]) -> Result<Self, String> {
        let form: Form = files::from_json(bytes)?;
        Ok(Self {
            token: form.token.filter(|t| !t.trim().is_empty()).map(SecretString::from),
            id: form.id,
            name: form.name,
            desired_state: form.desired_state,
        })
    }
}
