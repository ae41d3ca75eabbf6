//! How many of each kind the account has, so that no more are made than it may have.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::cloudflare::{CfError, Cloudflare};
use crate::domain::account_limits::{AccountLimits, LimitUse, Limited};

/// Counted so lately it is not counted again; what we make is added.
const FRESH: Duration = Duration::from_secs(300);
/// At a limit it is counted again after this: somebody may have made room.
const FULL: Duration = Duration::from_secs(20);

/// What was counted. Whoever asks while somebody counts waits for that.
pub(super) struct Usage {
    limits: AccountLimits,
    counted: tokio::sync::Mutex<HashMap<Limited, (usize, Instant)>>,
}

impl Usage {
    pub fn new(limits: AccountLimits) -> Self {
        Self { limits, counted: tokio::sync::Mutex::default() }
    }

    /// Takes a place for one more of a kind; the reason if there is none.
    pub async fn take_place(&self, client: &Cloudflare, kind: Limited) -> Result<Option<String>, CfError> {
        let Some(limit) = self.limits.of(kind) else { return Ok(None) };
        let mut counted = self.counted.lock().await;
        let known = counted.get(&kind).filter(|(used, at)| {
            let holds = if *used < limit { FRESH } else { FULL };
            at.elapsed() < holds
        });
        let used = match known {
            Some((used, _)) => *used,
            None => {
                let used = match count(client, kind, limit).await {
                    // Who may not count may still make one: then Cloudflare decides.
                    Err(error) if !error.is_transient() => {
                        tracing::info!(%error, "{} cannot be counted", kind.as_str());
                        return Ok(None);
                    }
                    used => used?,
                };
                counted.insert(kind, (used, Instant::now()));
                used
            }
        };
        let refusal = self.limits.refusal(kind, used);
        if refusal.is_none()
            && let Some((used, _)) = counted.get_mut(&kind)
        {
            *used += 1;
        }
        Ok(refusal)
    }

    /// Takes note of what came of making one for which a place was taken: what was not made takes none, and where that is not
    /// known it is counted again before the next.
    pub async fn made<T>(&self, kind: Limited, made: Result<T, CfError>) -> Result<T, CfError> {
        if let Err(error) = &made {
            let mut counted = self.counted.lock().await;
            if error.is_uncertain() {
                counted.remove(&kind);
            } else if let Some((used, _)) = counted.get_mut(&kind) {
                *used = used.saturating_sub(1);
            }
        }
        made
    }

    /// Counts every kind now.
    pub async fn count_all(&self, client: &Cloudflare) -> Vec<LimitUse> {
        let mut uses = Vec::new();
        for kind in Limited::ALL {
            let limit = self.limits.of(kind);
            let found = count(client, kind, limit.unwrap_or(usize::MAX)).await;
            if let Ok(used) = &found {
                self.counted.lock().await.insert(kind, (*used, Instant::now()));
            }
            let (used, reason) = match found {
                Ok(used) => (Some(used), None),
                Err(error) => (None, Some(error.to_string())),
            };
            uses.push(LimitUse { kind, limit, used, reason });
        }
        uses
    }
}

/// Counts. The short answer is wrong at times, so where it would refuse something, or turn out short, all are read.
async fn count(client: &Cloudflare, kind: Limited, limit: usize) -> Result<usize, CfError> {
    let told = client.count(kind).await?;
    if told < limit { Ok(told) } else { client.count_all(kind).await }
}
