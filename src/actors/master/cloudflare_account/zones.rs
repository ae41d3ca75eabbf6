//! The zones of the account, read once and again when a name fits none of them.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::cloudflare::{CfError, Cloudflare};
use crate::domain::zone::Zone;

/// A list this young is not read again for a name that fits none of its zones.
const FRESH: Duration = Duration::from_secs(60);

/// What is known of the zones.
#[derive(Debug, Default)]
pub(super) struct Zones(Mutex<Option<Known>>);

#[derive(Debug, Clone)]
struct Known {
    /// None if the token may not list them.
    zones: Option<Vec<Zone>>,
    read_at: Instant,
}

impl Zones {
    /// Returns the zones if they were read; `Some(None)` if they cannot be listed.
    pub fn known(&self) -> Option<Option<Vec<Zone>>> {
        self.0.lock().as_ref().map(|known| known.zones.clone())
    }

    /// True if reading again may show a zone that was added meanwhile.
    pub fn is_old(&self) -> bool {
        self.0.lock().as_ref().is_none_or(|known| known.read_at.elapsed() > FRESH)
    }

    /// Reads them. Fails only if time may heal it; a token without the right is an answer too.
    pub async fn read(&self, cloudflare: &Cloudflare) -> Result<Option<Vec<Zone>>, CfError> {
        let zones = match cloudflare.list_zones().await {
            Ok(zones) => Some(zones),
            Err(error) if error.is_transient() => return Err(error),
            Err(error) => {
                tracing::warn!(%error, "the zones of the account cannot be listed");
                None
            }
        };
        *self.0.lock() = Some(Known { zones: zones.clone(), read_at: Instant::now() });
        Ok(zones)
    }
}
