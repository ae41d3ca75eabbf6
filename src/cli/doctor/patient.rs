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
    /// Who registered from the state directory.
    pub(super) agent: Option<AgentId>,
    /// The tunnel that is written there.
    pub(super) tunnel: Option<TunnelState>,
    pub(super) edges: Vec<String>,
    /// Proxies of the environment, without passwords.
    pub(super) proxies: Vec<(String, String)>,
}
