//! Who is looked at.

use std::path::PathBuf;

use crate::config::{Role, Settings};
use crate::domain::id::AgentId;
use crate::io::Io;
use crate::state_dir::TunnelState;

/// What is looked at, and with which settings.
pub(super) struct Patient {
    pub(super) settings: Settings,
    pub(super) role: Role,
    pub(super) dir: PathBuf,
    pub(super) io: Io,
    /// Who registered from the state directory; in words why that cannot be read.
    pub(super) agent: Result<Option<AgentId>, String>,
    /// The tunnel that is written there; in words why that cannot be read.
    pub(super) tunnel: Result<Option<TunnelState>, String>,
    pub(super) edges: Vec<String>,
    /// Proxies of the environment, without passwords.
    pub(super) proxies: Vec<(String, String)>,
}
