//! Calls about zones and about the token itself.

use serde::Deserialize;

use super::call::Call;
use super::error::CfError;
use super::rights;
use super::transport::Cloudflare;
use crate::domain::doctor::token::Owner;
use crate::domain::id::ZoneId;
use crate::domain::zone::Zone;

/// Cloudflare's own limit.
const PER_PAGE: usize = 50;
/// "Invalid API Token": what the users' endpoint says about a token that an account owns.
const INVALID_TOKEN: i64 = 1000;

/// What Cloudflare says about our token. It says nothing about the token's rights.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct TokenStatus {
    /// `active`, `disabled` or `expired`.
    pub status: String,
    /// When it ends, RFC 3339; never if null.
    #[serde(default)]
    pub expires_on: Option<String>,
}

impl TokenStatus {
    /// True if it can be used.
    pub fn is_active(&self) -> bool {
        self.status == "active"
    }
}

impl Cloudflare {
    /// Returns all active zones of the account.
    pub async fn list_zones(&self) -> Result<Vec<Zone>, CfError> {
        let call = || {
            Call::get("list zones", &["zones"])
                .query("account.id", self.account().as_str())
                .query("status", "active")
                .needs(rights::ZONE_READ)
        };
        self.list(call, PER_PAGE).await
    }

    /// Returns a zone by its id. A token that may write its records may read it, even if it may not list zones.
    pub async fn get_zone(&self, id: &ZoneId) -> Result<Zone, CfError> {
        let name = "get zone";
        self.call(Call::get(name, &["zones", id.as_str()])).await?.required(name)
    }

    /// Asks whether the token is valid, whether a user or the account owns it.
    pub async fn verify_token(&self) -> Result<TokenStatus, CfError> {
        self.verify_owned_token().await.map(|(status, _)| status)
    }

    /// The same, and says who owns it.
    pub(super) async fn verify_owned_token(&self) -> Result<(TokenStatus, Owner), CfError> {
        let name = "verify token";
        let of_user = self.call(Call::get(name, &["user", "tokens", "verify"])).await;
        match of_user {
            Err(CfError::Refused { codes, .. }) if codes.contains(&INVALID_TOKEN) => {
                let path = ["accounts", self.account().as_str(), "tokens", "verify"];
                let status = self.call(Call::get(name, &path)).await?.required(name)?;
                Ok((status, Owner::Account))
            }
            answer => Ok((answer?.required(name)?, Owner::User)),
        }
    }
}
