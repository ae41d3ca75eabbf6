//! Who may reach what is published.

use std::time::Duration;

use super::Master;
use crate::actors::master::error::MasterError;
use crate::actors::master::registrar;
use crate::cloudflare::SecretToken;
use crate::domain::access::{Group, ServiceToken, TokenDraft};
use crate::domain::account_limits::LimitUse;
use crate::domain::id::GroupId;

impl Master {
    /// Makes a group, or puts it in the place of the one that has its id.
    pub async fn set_group(&self, group: Group, by: &str) -> Result<(), MasterError> {
        self.decide(registrar::SetGroup { group, by: by.into() }).await
    }

    /// Removes a group. If routes ask for it, it goes only with `close_routes`: they are not reachable then.
    pub async fn remove_group(&self, id: &GroupId, close_routes: bool, by: &str) -> Result<(), MasterError> {
        self.decide(registrar::RemoveGroup { id: id.clone(), close_routes, by: by.into() }).await
    }

    /// Returns the service tokens of the account; it takes a call, and `max` at most.
    pub async fn service_tokens(&self, max: Duration) -> Result<Vec<ServiceToken>, MasterError> {
        self.env.account.service_tokens(max).await
    }

    /// Makes a service token whose name is free. Its secret is in the answer, and nowhere else.
    pub async fn create_service_token(
        &self,
        draft: TokenDraft,
        by: &str,
    ) -> Result<SecretToken, MasterError> {
        self.env.account.create_service_token(draft, by).await
    }

    /// Gives a service token, by its id or name, another secret; the one before is good no longer.
    pub async fn rotate_service_token(&self, token: &str, by: &str) -> Result<SecretToken, MasterError> {
        self.env.account.rotate_service_token(token, by).await
    }

    /// Deletes a service token, by its id or name, that no group names.
    pub async fn revoke_service_token(&self, token: &str, by: &str) -> Result<ServiceToken, MasterError> {
        self.env.account.revoke_service_token(token, by).await
    }

    /// Says how many of each kind the Cloudflare account has, and may have.
    pub async fn account_limits(&self) -> Result<Vec<LimitUse>, MasterError> {
        self.env.account.limits().await
    }

    /// True if a setting names the owner of the Cloudflare account.
    pub fn has_owner_by_setting(&self) -> bool {
        self.env.settings.account_owner_email.is_some()
    }
}
