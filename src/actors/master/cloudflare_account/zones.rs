//! The zones of the account, read once and again when a name fits none of them.

use std::time::Duration;

use tokio::time::Instant;

use crate::cloudflare::{CfError, Cloudflare};
use crate::domain::zone::Zone;

/// A list this young is not read again for a name that fits none of its zones.
const FRESH: Duration = Duration::from_secs(60);
/// So long a failure counts for everybody who asks: many tunnels ask at the same time.
const STILL_FAILED: Duration = Duration::from_secs(1);

/// What is known of the zones. Whoever asks while they are being read waits for that.
#[derive(Default)]
pub(super) struct Zones(tokio::sync::Mutex<Known>);

#[derive(Default)]
enum Known {
    #[default]
    Nothing,
    Failed {
        reason: String,
        retry_after: Option<Duration>,
        at: Instant,
    },
    /// None if the token may not list them.
    List {
        zones: Option<Vec<Zone>>,
        at: Instant,
    },
}

impl Zones {
    /// Returns the zones, `None` if they cannot be listed. `is_missing` asks to read a list again that is not
    /// fresh. Fails only if time may heal it; a token without the right is an answer too.
    pub async fn get(&self, cloudflare: &Cloudflare, is_missing: bool) -> Result<Option<Vec<Zone>>, CfError> {
        let mut known = self.0.lock().await;
        match &*known {
            Known::List { zones, at } if !is_missing || at.elapsed() < FRESH => return Ok(zones.clone()),
            Known::Failed { reason, retry_after, at } if at.elapsed() < STILL_FAILED => {
                return Err(again(reason, *retry_after));
            }
            _ => {}
        }
        let zones = match cloudflare.list_zones().await {
            Ok(zones) => Some(zones),
            Err(error) if error.is_transient() => {
                let (reason, retry_after) = (error.to_string(), error.retry_after());
                *known = Known::Failed { reason, retry_after, at: Instant::now() };
                return Err(error);
            }
            Err(error) => {
                tracing::warn!(%error, "the zones of the account cannot be listed");
                None
            }
        };
        *known = Known::List { zones: zones.clone(), at: Instant::now() };
        Ok(zones)
    }

    /// A person wants it tried again: the last failure does not count any more.
    pub async fn forgive(&self) {
        let mut known = self.0.lock().await;
        if matches!(*known, Known::Failed { .. }) {
            *known = Known::Nothing;
        }
    }
}

fn again(reason: &str, retry_after: Option<Duration>) -> CfError {
    let call = "list zones";
    match retry_after {
        Some(retry_after) => CfError::RateLimited { call, retry_after },
        None => CfError::NoAnswer { call, reason: reason.to_owned(), sent: false },
    }
}
