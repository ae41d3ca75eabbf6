//! The look at the token for Cloudflare, and how the last one came out.

use chrono::{DateTime, Utc};
use parking_lot::Mutex;

use super::error::ApiError;
use super::state::WebState;
use crate::actors::master::MasterError;
use crate::db::read::asks_protection;
use crate::domain::doctor::Check;

/// How the last look came out; none since the start if nobody looked.
#[derive(Default)]
pub struct TokenCheck {
    last: Mutex<Option<Looked>>,
    /// One look at a time: each takes dozens of calls.
    turn: tokio::sync::Mutex<()>,
}

/// A look.
#[derive(Debug, Clone)]
pub struct Looked {
    /// When.
    pub at: DateTime<Utc>,
    /// What was found.
    pub checks: Vec<Check>,
}

impl TokenCheck {
    /// Returns how the last look came out.
    pub fn last(&self) -> Option<Looked> {
        self.last.lock().clone()
    }
}

/// Looks now; nothing is written at Cloudflare. Who asks while somebody looks waits for that, and looks again.
pub async fn look(state: &WebState) -> Result<Looked, ApiError> {
    let check = state.token_check();
    let _turn = check.turn.lock().await;
    let master = state.master();
    let checks = match master.look_at_token().await {
        Ok(mut facts) => {
            facts.asks_protection = Some(asks_protection(&master.db).await.map_err(ApiError::internal)?);
            facts.judge(master.clock.now())
        }
        Err(MasterError::NoCloudflareToken) => vec![Check::not_checked(
            "API token",
            "none is set: routes are planned, and not published",
            "set CF_API_TOKEN and CF_ACCOUNT_ID, and start the master again",
        )],
        Err(error) => return Err(error.into()),
    };
    let looked = Looked { at: master.clock.now(), checks };
    *check.last.lock() = Some(looked.clone());
    Ok(looked)
}
