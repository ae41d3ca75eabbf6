//! How an operator wants the connector to be run.

use std::time::Duration;

use tracing::warn;

use crate::config::OnShutdown;
use crate::domain::agent_tunnel::ConnectorOptions;
use crate::domain::image::clean_image;

/// Time between two comparisons while all is well (unless set otherwise).
const CHECK: Duration = Duration::from_secs(15);

/// How the connector is to be run.
#[derive(Debug, Clone)]
pub struct TunnelSettings {
    /// The image, with tag or digest.
    pub image: String,
    /// The network it joins.
    pub network: String,
    /// Options of `cloudflared`.
    pub options: ConnectorOptions,
    /// What becomes of it when the agent stops.
    pub on_shutdown: OnShutdown,
    /// Time between two comparisons while all is well.
    pub check: Duration,
    /// True if somebody else runs it.
    pub is_external: bool,
}

impl TunnelSettings {
    /// Takes the settings as an operator wrote them; an image that cannot be used is named in the log.
    pub fn new(image: &str, network: &str, on_shutdown: OnShutdown) -> Self {
        let clean = clean_image(image);
        if let Some(warning) = clean.warning {
            warn!("{warning}");
        }
        // Containers list the network behind this mode by its name.
        let network = if network.trim() == "default" { "bridge" } else { network.trim() };
        let options = ConnectorOptions::default();
        Self {
            image: clean.image,
            network: network.to_owned(),
            options,
            on_shutdown,
            check: CHECK,
            is_external: false,
        }
    }
}
