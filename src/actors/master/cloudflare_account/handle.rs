//! What everybody else holds of the account: with a token the way to its actor, without one plans only.

use std::sync::Arc;
use std::time::Duration;

use actix::{Handler, Message};

use super::desk::AccountParts;
use super::orders::{Apply, ConfirmTunnel, GetPlan, ProvideTunnel, PutRules, Reply, Wake, WakeAgent, WakeAll};
use super::plan::plan;
use super::provide::ProvidedTunnel;
use super::wishes::PublishSettings;
use super::{AccountStatus, CAPACITY, CloudflareAccount, GetStatus};
use crate::actors::master::MasterError;
use crate::actors::master::plan::{ApplyReport, Plan};
use crate::actors::supervision::{ChildSpec, Overflow, Port};
use crate::db::Db;
use crate::domain::id::{AgentId, TunnelId};

/// How long a question waits for a place in the mailbox.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a plan may take.
const PLAN_LIMIT: Duration = Duration::from_secs(20);
/// How long one tunnel may take for somebody who waits.
const PUT_LIMIT: Duration = Duration::from_secs(25);

/// The way to the account. Cheap to clone.
#[derive(Clone)]
pub struct Account(Arc<Way>);

enum Way {
    Connected(Port<CloudflareAccount>),
    Planned { db: Db, settings: PublishSettings },
}

/// Describes the actor and returns the handle to it.
pub fn describe(parts: AccountParts) -> (ChildSpec, Account) {
    let name = "cloudflare";
    let (spec, port) =
        ChildSpec::actor(name, CAPACITY, Overflow::Reject, move || CloudflareAccount::new(parts.clone()));
    (spec.role("master-cloudflare"), Account(Arc::new(Way::Connected(port))))
}

impl Account {
    /// Without a token: routes are planned and shown, and nothing is carried out.
    pub fn planned(db: Db, settings: PublishSettings) -> Self {
        Self(Arc::new(Way::Planned { db, settings }))
    }

    /// True if there is an account to call.
    pub fn is_connected(&self) -> bool {
        matches!(*self.0, Way::Connected(_))
    }

    /// Something changed for any tunnel.
    pub fn wake(&self) {
        self.tell(WakeAll);
    }

    /// Something changed for a tunnel.
    pub fn wake_tunnel(&self, tunnel_id: &TunnelId) {
        self.tell(Wake { tunnel_id: tunnel_id.clone() });
    }

    /// Something changed for an agent's tunnel.
    pub fn wake_agent(&self, agent_id: &AgentId) {
        self.tell(WakeAgent { agent_id: agent_id.clone() });
    }

    /// An agent was removed: what is ours in its tunnel is withdrawn.
    pub fn release_tunnel(&self, tunnel_id: &TunnelId) {
        // The database says that nobody has the tunnel any more, so nothing is wanted in it.
        self.wake_tunnel(tunnel_id);
    }

    /// Finds the undeleted tunnel of exactly this name, or makes it.
    pub async fn provide_tunnel(
        &self,
        name: &str,
        for_agent: Option<&AgentId>,
        max: Duration,
    ) -> Result<ProvidedTunnel, MasterError> {
        let (name, for_agent) = (name.to_owned(), for_agent.cloned());
        self.ask(|reply| ProvideTunnel { name, for_agent, reply }, max).await
    }

    /// A person agrees to what is in a tunnel.
    pub async fn confirm_tunnel(&self, tunnel_id: &TunnelId, by: &str) -> Result<(), MasterError> {
        let (tunnel_id, by) = (tunnel_id.clone(), by.to_owned());
        self.ask(|reply| ConfirmTunnel { tunnel_id, by, reply }, PLAN_LIMIT).await
    }

    /// Says what would be done.
    pub async fn plan(&self) -> Result<Plan, MasterError> {
        match &*self.0 {
            Way::Connected(_) => self.ask(|reply| GetPlan { reply }, PLAN_LIMIT).await,
            Way::Planned { db, settings } => plan(db, settings, None, false)
                .await
                .map_err(|error| MasterError::Database(Box::new(error))),
        }
    }

    /// Confirms what waits and carries everything out; after `max` it goes on by itself, and the report says so.
    pub async fn apply(&self, by: &str, max: Duration) -> Result<ApplyReport, MasterError> {
        let by = by.to_owned();
        match tokio::time::timeout(max, self.ask(|reply| Apply { by, reply }, Duration::MAX)).await {
            Ok(report) => report,
            Err(_) => {
                let blocked = self.plan().await?.blocked;
                Ok(ApplyReport { finished: false, blocked, ..ApplyReport::default() })
            }
        }
    }

    /// Brings an agent's tunnel up to date now; returns the version of its configuration.
    pub async fn put_agent_rules(&self, _agent: &AgentId, tunnel_id: &TunnelId) -> Result<i64, MasterError> {
        let tunnel_id = tunnel_id.clone();
        self.ask(|reply| PutRules { tunnel_id, reply }, PUT_LIMIT).await
    }

    /// Says how the account is doing; none without a token.
    pub async fn status(&self) -> Option<AccountStatus> {
        match &*self.0 {
            Way::Connected(port) => port.ask(GetStatus, PATIENCE).await.ok(),
            Way::Planned { .. } => None,
        }
    }

    fn tell<M>(&self, message: M)
    where
        CloudflareAccount: Handler<M>,
        M: Message<Result = ()> + Send + 'static,
    {
        if let Way::Connected(port) = &*self.0
            && port.tell(message).is_err()
        {
            // A full mailbox holds other wakes; the tunnel is compared again with its next change.
            tracing::warn!("the account's actor has no room for another wake-up");
        }
    }

    async fn ask<M, T>(&self, make: impl FnOnce(Reply<T>) -> M, max: Duration) -> Result<T, MasterError>
    where
        CloudflareAccount: Handler<M>,
        M: Message<Result = ()> + Send + 'static,
    {
        let Way::Connected(port) = &*self.0 else { return Err(MasterError::NoCloudflareToken) };
        let (reply, answer) = tokio::sync::oneshot::channel();
        port.tell_wait(make(reply), PATIENCE).await.map_err(|_| MasterError::Busy)?;
        match tokio::time::timeout(max, answer).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) | Err(_) => Err(MasterError::Busy),
        }
    }
}
