//! Service tokens of the Cloudflare account with the groups that name them, read for one answer or one page.

use std::time::Duration;

use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use super::error::ApiError;
use super::state::WebState;
use crate::db::read::list_groups;
use crate::domain::access::ServiceToken;
use crate::domain::id::GroupId;

/// A service token with what is known of it here.
pub struct TokenView {
    /// The token.
    pub token: ServiceToken,
    /// The groups of which a policy names it.
    pub groups: Vec<GroupId>,
    /// True if it is good no longer.
    pub is_expired: bool,
}

impl TokenView {
    /// Returns it as the API tells it; nobody here knows its secret.
    pub fn record(&self) -> Value {
        let mut record = record(&self.token);
        record["is_expired"] = json!(self.is_expired);
        record["last_seen_at"] = json!(self.token.last_seen_at);
        record["groups"] = json!(self.groups);
        record
    }
}

fn record(token: &ServiceToken) -> Value {
    json!({
        "id": token.id, "name": token.name, "client_id": token.client_id, "duration": token.duration,
        "expires_at": token.expires_at,
    })
}

/// Returns a token with its secret, for the one answer that has it.
pub fn secret_record(token: &ServiceToken, secret: &SecretString) -> Value {
    let mut record = record(token);
    record["client_secret"] = json!(secret.expose_secret());
    record
}

/// Reads every service token, by name; it takes a call to Cloudflare, and `max` at most.
pub async fn read_tokens(state: &WebState, max: Duration) -> Result<Vec<TokenView>, ApiError> {
    let master = state.master();
    let tokens = master.service_tokens(max).await?;
    let rows = list_groups(&master.db).await.map_err(ApiError::internal)?;
    let now: DateTime<Utc> = master.clock.now();
    let view = |token: ServiceToken| TokenView {
        groups: token.named_by(rows.iter().map(|row| &row.group)),
        is_expired: token.is_expired(now),
        token,
    };
    let mut views: Vec<TokenView> = tokens.into_iter().map(view).collect();
    views.sort_by(|one, other| (&one.token.name, &one.token.id).cmp(&(&other.token.name, &other.token.id)));
    Ok(views)
}
