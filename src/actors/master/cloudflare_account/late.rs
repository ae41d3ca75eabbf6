//! An account whose token may come while the master runs: until then routes are only planned.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::RwLock;

use super::adopt::Adopted;
use super::handle::{Account, SharedAccount};
use super::plan::{ApplyReport, Plan};
use super::rules::IsMeant;
use super::tunnels::ProvidedTunnel;
use super::view::AccountView;
use crate::actors::master::error::MasterError;
use crate::cloudflare::SecretToken;
use crate::domain::access::{ServiceToken, TokenDraft};
use crate::domain::account_limits::LimitUse;
use crate::domain::adopt::{Meant, Offer};
use crate::domain::connector::Connector;
use crate::domain::doctor::token::Facts as TokenFacts;
use crate::domain::id::{AgentId, TunnelId, ZoneId};
use crate::domain::import::Preview;
use crate::domain::zone::Zone;

/// Hands everything on to who publishes now.
pub struct Late(RwLock<SharedAccount>);

impl Late {
    /// Begins with who publishes until there is a token.
    pub fn new(first: SharedAccount) -> Self {
        Self(RwLock::new(first))
    }

    /// From now on this one publishes.
    pub fn connect(&self, account: SharedAccount) {
        *self.0.write() = account;
    }

    fn now(&self) -> SharedAccount {
        Arc::clone(&self.0.read())
    }
}

#[async_trait]
impl Account for Late {
    fn is_connected(&self) -> bool {
        self.now().is_connected()
    }

    fn refusal(&self) -> Option<String> {
        self.now().refusal()
    }

    fn wake(&self) {
        self.now().wake();
    }

    fn wake_agent(&self, agent: &AgentId) {
        self.now().wake_agent(agent);
    }

    fn wake_tunnel(&self, tunnel: &TunnelId) {
        self.now().wake_tunnel(tunnel);
    }

    fn compare_agent(&self, agent: &AgentId) {
        self.now().compare_agent(agent);
    }

    fn look_at_connectors(&self, agent: &AgentId) {
        self.now().look_at_connectors(agent);
    }

    async fn provide_tunnel(&self, name: &str, max: Duration) -> Result<ProvidedTunnel, MasterError> {
        self.now().provide_tunnel(name, max).await
    }

    async fn find_tunnel(
        &self,
        name_or_id: &str,
        max: Duration,
    ) -> Result<Option<ProvidedTunnel>, MasterError> {
        self.now().find_tunnel(name_or_id, max).await
    }

    async fn preview_import(
        &self,
        tunnel: &TunnelId,
        is_meant: IsMeant,
        max: Duration,
    ) -> Result<Preview, MasterError> {
        self.now().preview_import(tunnel, is_meant, max).await
    }

    async fn offers(&self, max: Duration) -> Result<Vec<Offer>, MasterError> {
        self.now().offers(max).await
    }

    async fn adopt(&self, meant: Meant, by: &str, max: Duration) -> Result<Adopted, MasterError> {
        self.now().adopt(meant, by, max).await
    }

    async fn zones(&self, max: Duration) -> Result<Option<Vec<Zone>>, MasterError> {
        self.now().zones(max).await
    }

    async fn has_tunnel(&self, tunnel: &TunnelId, max: Duration) -> Result<bool, MasterError> {
        self.now().has_tunnel(tunnel, max).await
    }

    async fn plan(&self) -> Result<Plan, MasterError> {
        self.now().plan().await
    }

    async fn apply(&self, by: &str, max: Duration) -> Result<ApplyReport, MasterError> {
        self.now().apply(by, max).await
    }

    async fn put_agent_rules(&self, agent: &AgentId, tunnel: &TunnelId) -> Result<i64, MasterError> {
        self.now().put_agent_rules(agent, tunnel).await
    }

    async fn connectors(&self, tunnel: &TunnelId) -> Result<Vec<Connector>, MasterError> {
        self.now().connectors(tunnel).await
    }

    async fn look_at_token(&self) -> Result<TokenFacts, MasterError> {
        self.now().look_at_token().await
    }

    async fn zone_name(&self, zone: &ZoneId) -> Option<String> {
        self.now().zone_name(zone).await
    }

    async fn view(&self) -> Option<AccountView> {
        self.now().view().await
    }

    async fn service_tokens(&self, max: Duration) -> Result<Vec<ServiceToken>, MasterError> {
        self.now().service_tokens(max).await
    }

    async fn create_service_token(&self, draft: TokenDraft, by: &str) -> Result<SecretToken, MasterError> {
        self.now().create_service_token(draft, by).await
    }

    async fn rotate_service_token(&self, token: &str, by: &str) -> Result<SecretToken, MasterError> {
        self.now().rotate_service_token(token, by).await
    }

    async fn revoke_service_token(&self, token: &str, by: &str) -> Result<ServiceToken, MasterError> {
        self.now().revoke_service_token(token, by).await
    }

    async fn limits(&self) -> Result<Vec<LimitUse>, MasterError> {
        self.now().limits().await
    }
}
