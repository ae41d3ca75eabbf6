//! What everybody else holds of the account, an [`Account`]: with a token the way to its actor, without one plans only.

use std::sync::Arc;
use std::time::Duration;

use actix::{Handler, Message};
use async_trait::async_trait;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout, timeout_at};

use super::actor::{
    CAPACITY, CloudflareAccount, CompareAgent, LookAtConnectors, Missed, Wake, WakeAgent, WakeAll,
};
use super::adopt::{Adopt, Adopted, ListOffers};
use super::plan::{ApplyReport, KnownAccess, Plan, plan};
use super::requests::{
    AccountStatus, Apply, ConfirmTunnel, GetConnectors, GetPlan, GetStatus, HasTunnel, LookAtToken, NameZone,
    ProvideTunnel, PutRules,
};
use super::rules::{FindTunnel, IsMeant, ListZones, PreviewImport};
use super::shared::{AccountParts, StoredBudget};
use super::tokens::{CountUse, CreateToken, ListTokens, RevokeToken, RotateToken};
use super::tunnels::ProvidedTunnel;
use super::view::{AccountView, GetView};
use crate::actors::master::error::MasterError;
use crate::actors::master::receipt::Reply;
use crate::actors::supervision::{ChildSpec, Overflow, Port};
use crate::cloudflare::{Cloudflare, SecretToken};
use crate::db::Db;
use crate::domain::access::{ServiceToken, TokenDraft};
use crate::domain::account_limits::LimitUse;
use crate::domain::adopt::{Meant, Offer};
use crate::domain::connector::Connector;
use crate::domain::doctor::token::Facts as TokenFacts;
use crate::domain::id::{AgentId, TunnelId, ZoneId};
use crate::domain::import::Preview;
use crate::domain::publish::PublishSettings;
use crate::domain::wanted::KnownZones;
use crate::domain::zone::Zone;

/// How long a question waits for a place in the mailbox.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a plan may take.
const PLAN_LIMIT: Duration = Duration::from_secs(20);
/// How long one tunnel may take for somebody who waits.
const PUT_LIMIT: Duration = Duration::from_secs(25);
/// How long Cloudflare may take to list connectors: one call.
const CONNECTORS_LIMIT: Duration = Duration::from_secs(20);
/// How long a look at the token may take: some dozen calls.
const LOOK_LIMIT: Duration = Duration::from_secs(40);
/// How long it may take until a service token is made, rotated or revoked: who gave up waiting for a secret never sees it,
/// so there is time for a lost answer and the look after it.
const TOKEN_LIMIT: Duration = Duration::from_secs(28);
/// The part of the time for an `apply` that is kept for saying how far it came.
const SUMMARY: Duration = Duration::from_secs(2);

/// Publishes what the database says.
#[async_trait]
pub trait Account: Send + Sync {
    /// False if nothing can be published because no token is set.
    fn is_connected(&self) -> bool {
        true
    }

    /// What Cloudflare said when it last refused the token; none if it takes it.
    fn refusal(&self) -> Option<String> {
        None
    }

    /// Something may have changed: compare with what is published. Never waits.
    fn wake(&self);

    /// The same, for the tunnel of one agent.
    fn wake_agent(&self, _agent: &AgentId) {
        self.wake();
    }

    /// The same, for one tunnel; also when its agent left it, and nothing is wanted in it any more.
    fn wake_tunnel(&self, _tunnel: &TunnelId) {
        self.wake();
    }

    /// The agent's tunnel does not connect: somebody may have deleted it, so it is compared soon, and no more often than
    /// every few minutes. Never waits.
    fn compare_agent(&self, _agent: &AgentId) {}

    /// The agent's word leaves open whether its tunnel serves: Cloudflare is asked soon. Never waits.
    fn look_at_connectors(&self, _agent: &AgentId) {}

    /// Finds a tunnel by its exact name or makes it.
    async fn provide_tunnel(&self, name: &str, max: Duration) -> Result<ProvidedTunnel, MasterError>;

    /// Finds the tunnel of exactly this name or id; none if there is none.
    async fn find_tunnel(&self, _: &str, _: Duration) -> Result<Option<ProvidedTunnel>, MasterError> {
        Ok(None)
    }

    /// Says what would become of what others made in a tunnel, if rules of these hostnames were taken over. Changes nothing.
    async fn preview_import(&self, _: &TunnelId, _: IsMeant, _: Duration) -> Result<Preview, MasterError> {
        Err(MasterError::NoCloudflareToken)
    }

    /// Says what others made that could be made ours.
    async fn offers(&self, _: Duration) -> Result<Vec<Offer>, MasterError> {
        Err(MasterError::NoCloudflareToken)
    }

    /// Makes ours what is meant.
    async fn adopt(&self, _: Meant, _by: &str, _: Duration) -> Result<Adopted, MasterError> {
        Err(MasterError::NoCloudflareToken)
    }

    /// Returns the zones of the account; none if the token may not list them.
    async fn zones(&self, _: Duration) -> Result<Option<Vec<Zone>>, MasterError> {
        Ok(None)
    }

    /// False if Cloudflare says that the tunnel is not there any more. A single read; changes nothing.
    async fn has_tunnel(&self, _tunnel: &TunnelId, _max: Duration) -> Result<bool, MasterError> {
        Ok(true)
    }

    /// Says what would be done.
    async fn plan(&self) -> Result<Plan, MasterError>;

    /// Confirms tunnels that wait for a person, and returns when everything is done, or after `max`.
    async fn apply(&self, by: &str, max: Duration) -> Result<ApplyReport, MasterError>;

    /// Writes an agent's wanted rules to its tunnel now; returns the version of the configuration.
    async fn put_agent_rules(&self, agent: &AgentId, tunnel: &TunnelId) -> Result<i64, MasterError>;

    /// Returns the connectors of a tunnel. A check that can wait: it is limited to the part of the budget that is for the
    /// background.
    async fn connectors(&self, tunnel: &TunnelId) -> Result<Vec<Connector>, MasterError>;

    /// Finds out what the token is and what it may, by harmless reads.
    async fn look_at_token(&self) -> Result<TokenFacts, MasterError> {
        Err(MasterError::NoCloudflareToken)
    }

    /// Returns the name of a zone, as far as it is known; makes no call.
    async fn zone_name(&self, _zone: &ZoneId) -> Option<String> {
        None
    }

    /// Returns what is known of the account, to be shown; makes no call. None without a token, and while its actor restarts.
    async fn view(&self) -> Option<AccountView> {
        None
    }

    /// Returns the service tokens of the account.
    async fn service_tokens(&self, _max: Duration) -> Result<Vec<ServiceToken>, MasterError> {
        Err(MasterError::NoCloudflareToken)
    }

    /// Makes a service token whose name is free.
    async fn create_service_token(&self, _: TokenDraft, _by: &str) -> Result<SecretToken, MasterError> {
        Err(MasterError::NoCloudflareToken)
    }

    /// Gives a service token another secret.
    async fn rotate_service_token(&self, _token: &str, _by: &str) -> Result<SecretToken, MasterError> {
        Err(MasterError::NoCloudflareToken)
    }

    /// Deletes a service token that no group names.
    async fn revoke_service_token(&self, _token: &str, _by: &str) -> Result<ServiceToken, MasterError> {
        Err(MasterError::NoCloudflareToken)
    }

    /// Says how many of each kind the account has, and may have.
    async fn limits(&self) -> Result<Vec<LimitUse>, MasterError> {
        Err(MasterError::NoCloudflareToken)
    }
}

/// How actors hold it.
pub type SharedAccount = Arc<dyn Account>;

/// The way to the actor.
pub struct Connected {
    port: Port<CloudflareAccount>,
    missed: Missed,
    /// Asked only how the last calls went.
    cloudflare: Cloudflare,
}

/// Without a token: routes are planned and shown, and nothing is carried out.
pub struct PlanOnly {
    /// For reading.
    pub db: Db,
    /// What may be published.
    pub settings: PublishSettings,
}

/// Describes the actor and returns the way to it.
pub fn describe(parts: AccountParts) -> (ChildSpec, Connected) {
    parts.cloudflare.keep_budget(Arc::new(StoredBudget {
        account: parts.cloudflare.account().clone(),
        db: parts.db.clone(),
        store: Arc::clone(&parts.store),
        clock: parts.clock.clone(),
    }));
    let missed = Missed::default();
    let heard = missed.clone();
    let cloudflare = parts.cloudflare.clone();
    let (spec, port) = ChildSpec::actor("cloudflare", CAPACITY, Overflow::Reject, move || {
        CloudflareAccount::new(parts.clone(), heard.clone())
    });
    (spec.role("master-cloudflare"), Connected { port, missed, cloudflare })
}

#[async_trait]
impl Account for Connected {
    fn refusal(&self) -> Option<String> {
        self.cloudflare.refusal()
    }

    fn wake(&self) {
        self.tell(WakeAll);
    }

    fn wake_agent(&self, agent_id: &AgentId) {
        self.tell(WakeAgent { agent_id: agent_id.clone() });
    }

    fn wake_tunnel(&self, tunnel_id: &TunnelId) {
        self.tell(Wake { tunnel_id: tunnel_id.clone() });
    }

    fn compare_agent(&self, agent_id: &AgentId) {
        // With no room many tunnels have work, and are looked at.
        let _ = self.port.tell(CompareAgent { agent_id: agent_id.clone() });
    }

    fn look_at_connectors(&self, agent_id: &AgentId) {
        // With no room many tunnels have work, and each comparison is followed by a look.
        let _ = self.port.tell(LookAtConnectors { agent_id: agent_id.clone() });
    }

    async fn provide_tunnel(&self, name: &str, max: Duration) -> Result<ProvidedTunnel, MasterError> {
        let name = name.to_owned();
        self.ask(|reply| ProvideTunnel { name, reply }, max).await
    }

    async fn find_tunnel(
        &self,
        name_or_id: &str,
        max: Duration,
    ) -> Result<Option<ProvidedTunnel>, MasterError> {
        let name_or_id = name_or_id.to_owned();
        self.ask(|reply| FindTunnel { name_or_id, reply }, max).await
    }

    async fn preview_import(
        &self,
        tunnel_id: &TunnelId,
        is_meant: IsMeant,
        max: Duration,
    ) -> Result<Preview, MasterError> {
        let tunnel_id = tunnel_id.clone();
        self.ask(|reply| PreviewImport { tunnel_id, is_meant, reply }, max).await
    }

    async fn offers(&self, max: Duration) -> Result<Vec<Offer>, MasterError> {
        self.ask(|reply| ListOffers { reply }, max).await
    }

    async fn adopt(&self, meant: Meant, by: &str, max: Duration) -> Result<Adopted, MasterError> {
        let by = by.to_owned();
        self.ask(|reply| Adopt { meant, by, reply }, max).await
    }

    async fn zones(&self, max: Duration) -> Result<Option<Vec<Zone>>, MasterError> {
        self.ask(|reply| ListZones { reply }, max).await
    }

    async fn has_tunnel(&self, tunnel_id: &TunnelId, max: Duration) -> Result<bool, MasterError> {
        let tunnel_id = tunnel_id.clone();
        self.ask(|reply| HasTunnel { tunnel_id, reply }, max).await
    }

    async fn plan(&self) -> Result<Plan, MasterError> {
        self.ask(|reply| GetPlan { reply }, PLAN_LIMIT).await
    }

    /// After `max` it goes on by itself, and the report says so.
    async fn apply(&self, by: &str, max: Duration) -> Result<ApplyReport, MasterError> {
        let until = Instant::now() + max;
        let (reply, answer) = oneshot::channel();
        let order = Apply { by: by.to_owned(), reply };
        self.port.tell_wait(order, PATIENCE.min(max)).await.map_err(|_| MasterError::Busy)?;
        match timeout(max.saturating_sub(SUMMARY), answer).await {
            Ok(report) => report.unwrap_or(Err(MasterError::Busy)),
            Err(_) => {
                let plan = timeout_at(until, self.plan()).await.ok().and_then(Result::ok).unwrap_or_default();
                Ok(ApplyReport { blocked: plan.blocked, failed: plan.failed, ..ApplyReport::default() })
            }
        }
    }

    async fn put_agent_rules(&self, _: &AgentId, tunnel_id: &TunnelId) -> Result<i64, MasterError> {
        let tunnel_id = tunnel_id.clone();
        self.ask(|reply| PutRules { tunnel_id, reply }, PUT_LIMIT).await
    }

    async fn connectors(&self, tunnel_id: &TunnelId) -> Result<Vec<Connector>, MasterError> {
        let tunnel_id = tunnel_id.clone();
        self.ask(|reply| GetConnectors { tunnel_id, reply }, CONNECTORS_LIMIT).await
    }

    async fn look_at_token(&self) -> Result<TokenFacts, MasterError> {
        self.ask(|reply| LookAtToken { reply }, LOOK_LIMIT).await
    }

    async fn zone_name(&self, zone: &ZoneId) -> Option<String> {
        let zone = zone.clone();
        self.ask(|reply| NameZone { zone, reply }, PATIENCE).await.ok().flatten()
    }

    async fn view(&self) -> Option<AccountView> {
        self.port.ask(GetView, PATIENCE).await.ok()
    }

    async fn service_tokens(&self, max: Duration) -> Result<Vec<ServiceToken>, MasterError> {
        self.ask(|reply| ListTokens { reply }, max).await
    }

    async fn create_service_token(&self, draft: TokenDraft, by: &str) -> Result<SecretToken, MasterError> {
        let by = by.to_owned();
        self.ask(|reply| CreateToken { draft, by, reply }, TOKEN_LIMIT).await
    }

    async fn rotate_service_token(&self, token: &str, by: &str) -> Result<SecretToken, MasterError> {
        let (token, by) = (token.to_owned(), by.to_owned());
        self.ask(|reply| RotateToken { token, by, reply }, TOKEN_LIMIT).await
    }

    async fn revoke_service_token(&self, token: &str, by: &str) -> Result<ServiceToken, MasterError> {
        let (token, by) = (token.to_owned(), by.to_owned());
        self.ask(|reply| RevokeToken { token, by, reply }, TOKEN_LIMIT).await
    }

    async fn limits(&self) -> Result<Vec<LimitUse>, MasterError> {
        self.ask(|reply| CountUse { reply }, LOOK_LIMIT).await
    }
}

#[async_trait]
impl Account for PlanOnly {
    fn is_connected(&self) -> bool {
        false
    }

    fn wake(&self) {}

    fn wake_agent(&self, _: &AgentId) {}

    fn wake_tunnel(&self, _: &TunnelId) {}

    async fn provide_tunnel(&self, _: &str, _: Duration) -> Result<ProvidedTunnel, MasterError> {
        Err(MasterError::NoCloudflareToken)
    }

    async fn find_tunnel(&self, _: &str, _: Duration) -> Result<Option<ProvidedTunnel>, MasterError> {
        Err(MasterError::NoCloudflareToken)
    }

    async fn plan(&self) -> Result<Plan, MasterError> {
        Ok(plan(&self.db, &self.settings, KnownZones::Unknown, KnownAccess::default(), false).await?)
    }

    async fn apply(&self, _: &str, _: Duration) -> Result<ApplyReport, MasterError> {
        Err(MasterError::NoCloudflareToken)
    }

    async fn put_agent_rules(&self, _: &AgentId, _: &TunnelId) -> Result<i64, MasterError> {
        Err(MasterError::NoCloudflareToken)
    }

    async fn connectors(&self, _: &TunnelId) -> Result<Vec<Connector>, MasterError> {
        Err(MasterError::NoCloudflareToken)
    }
}

impl Connected {
    /// A person agrees to what is in a tunnel.
    pub async fn confirm_tunnel(&self, tunnel_id: &TunnelId, by: &str) -> Result<(), MasterError> {
        let (tunnel_id, by) = (tunnel_id.clone(), by.to_owned());
        self.ask(|reply| ConfirmTunnel { tunnel_id, by, reply }, PLAN_LIMIT).await
    }

    /// Says how the account is doing; none while its actor restarts.
    pub async fn status(&self) -> Option<AccountStatus> {
        self.port.ask(GetStatus, PATIENCE).await.ok()
    }

    fn tell<M>(&self, message: M)
    where
        CloudflareAccount: Handler<M>,
        M: Message<Result = ()> + Send + 'static,
    {
        if self.port.tell(message).is_err() {
            self.missed.note();
        }
    }

    async fn ask<M, T>(&self, make: impl FnOnce(Reply<T>) -> M, max: Duration) -> Result<T, MasterError>
    where
        CloudflareAccount: Handler<M>,
        M: Message<Result = ()> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        self.port.tell_wait(make(reply), PATIENCE).await.map_err(|_| MasterError::Busy)?;
        match timeout(max, answer).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) | Err(_) => Err(MasterError::Busy),
        }
    }
}
