//! The master as pages, API and command line see it.

use std::sync::Arc;
use std::time::Duration;

use actix::{Handler, Message};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::oneshot;

use super::bus::Changes;
use super::directory::{Directory, KeyAccess};
use super::env::Env;
use super::error::MasterError;
use super::plan::{ApplyReport, Plan};
use super::receipt::Receipt;
use super::registrar::{self, Enrolment, Registrar};
use super::requests::{
    DeliveredCommand, Dialect, Enrolled, Incoming, KeyDropped, KeyRef, NewKey, RegisterInput, Registered,
    RemovedAgent,
};
use super::slot::Slot;
use super::subtree::{digest_containers, digest_tunnel};
use super::work::{Reply, Work};
use crate::actors::supervision::{AskError, Tree};
use crate::chance::Chance;
use crate::clock::Clock;
use crate::db::{self, Db};
use crate::domain::agent::AgentStatus;
use crate::domain::command::{Command, CommandKind, Outcome};
use crate::domain::id::{AgentId, CommandId, TunnelId};
use crate::domain::registration::shown_name;
use crate::domain::report::{Report, Reports};

/// Longest wait for a decision about identity.
const DECISION: Duration = Duration::from_secs(10);
/// Longest wait for an agent's actors; below the 15 s that a DockFlare agent waits.
const WORK: Duration = Duration::from_secs(12);
/// Longest time that Cloudflare may take to provide a tunnel.
const PROVIDE: Duration = Duration::from_secs(60);

/// Handle to the master: cheap to clone, safe to share. Reads go to `db`, changes go through here.
#[derive(Clone)]
pub struct Master {
    /// Keys and slots, for requests that change nothing.
    pub directory: Arc<Directory>,
    /// For reading.
    pub db: Db,
    /// The time of day.
    pub clock: Clock,
    /// Randomness.
    pub chance: Chance,
    /// The live supervision tree.
    pub tree: Tree,
    pub(super) env: Env,
}

/// What agents do.
impl Master {
    /// Registers an agent, or greets one that is known; a known one that brings nothing new costs no actor.
    pub async fn register(
        &self,
        key: Arc<KeyAccess>,
        input: RegisterInput,
    ) -> Result<Registered, MasterError> {
        if let Some(slot) = self.greeted(&key, &input) {
            let session = registrar::open_session(&self.env, &slot, &input);
            return Ok(Registered { created: false, agent_id: slot.id().clone(), session });
        }
        self.decide(registrar::Register { key: key.key_id.clone(), input }).await
    }

    /// Returns the slot of an agent whose registration changes nothing.
    fn greeted(&self, key: &KeyAccess, input: &RegisterInput) -> Option<Arc<Slot>> {
        let own = key.bound_agent()?;
        if input.agent_id.as_ref().is_some_and(|asked| *asked != own) {
            return None;
        }
        let slot = self.directory.slot(&own)?;
        let name = shown_name(input.display_name.as_deref(), input.hostname.as_deref(), &own);
        let version = registrar::version_of(input);
        let is_same = [false, true].into_iter().any(|custom_name| {
            slot.same_identity(registrar::identity_digest(&name, custom_name, version.as_deref()))
        });
        let is_heard = matches!(slot.status(), AgentStatus::Pending | AgentStatus::Enrolled);
        let in_force = slot.key_id().as_ref() == Some(&key.key_id) && slot.previous_key_id().is_none();
        (is_same && is_heard && in_force).then_some(slot)
    }

    /// Takes in what an agent reports; returns after the commit, with the number its next item should bear (0 for
    /// DockFlare events). Heartbeats and reports equal to the last committed ones cross to no actor.
    pub async fn report(&self, agent: &AgentId, reports: impl Into<Incoming>) -> Result<u64, MasterError> {
        let slot = self.directory.slot(agent).ok_or_else(|| MasterError::AgentNotFound(agent.clone()))?;
        slot.touch(self.clock.now());
        match reports.into() {
            Incoming::Plain(items) => {
                if items.iter().any(|item| is_news(&slot, item)) {
                    self.take_in(agent, Incoming::Plain(items)).await?;
                }
                Ok(0)
            }
            Incoming::Batch(batch) => self.report_batch(&slot, batch).await,
        }
    }

    async fn report_batch(&self, slot: &Slot, batch: Reports) -> Result<u64, MasterError> {
        let next = slot.next_seq(&batch.session).ok_or(MasterError::SessionUnknown)?;
        let session = batch.session.clone();
        let end = batch.first_seq.saturating_add(batch.items.len() as u64);
        if end > next && batch.items.iter().any(|item| is_news(slot, item)) {
            self.take_in(slot.id(), Incoming::Batch(batch)).await?;
        }
        slot.advance(&session, end);
        Ok(slot.next_seq(&session).unwrap_or(end))
    }

    async fn take_in(&self, agent: &AgentId, reports: Incoming) -> Result<(), MasterError> {
        let (receipt, part) = Receipt::new();
        self.env.fleet.send(agent, Work::Report { reports, part })?;
        within(WORK, receipt.wait()).await
    }

    /// Hands over commands, at most `max`; committed before it returns. Costs no actor if none waits.
    pub async fn lease_commands(
        &self,
        agent: &AgentId,
        max: usize,
        dialect: Dialect,
    ) -> Result<Vec<DeliveredCommand>, MasterError> {
        let slot = self.directory.slot(agent).ok_or_else(|| MasterError::AgentNotFound(agent.clone()))?;
        slot.touch(self.clock.now());
        if !slot.pending_commands() {
            return Ok(Vec::new());
        }
        self.work(agent, |reply| Work::Lease { max, dialect, reply }).await
    }

    /// Records that the agent has a command.
    pub async fn acknowledge(&self, agent: &AgentId, command: &CommandId) -> Result<(), MasterError> {
        self.work(agent, |reply| Work::Acknowledge { command: command.clone(), reply }).await
    }

    /// Records how a command ended; a second time changes nothing.
    pub async fn finish(
        &self,
        agent: &AgentId,
        command: &CommandId,
        outcome: Outcome,
    ) -> Result<(), MasterError> {
        let (receipt, part) = Receipt::new();
        self.env.fleet.send(agent, Work::Finish { command: command.clone(), outcome, part })?;
        within(WORK, receipt.wait()).await
    }
}

/// True if the item may change something.
fn is_news(slot: &Slot, item: &Report) -> bool {
    match item {
        Report::Heartbeat | Report::Unknown => false,
        Report::Snapshot { containers } => !slot.same_report(digest_containers(containers)),
        Report::Tunnel { tunnel } => !slot.same_tunnel(digest_tunnel(tunnel)),
        _ => true,
    }
}

/// What administrators do.
impl Master {
    /// Makes an agent key whose agent may claim any hostname.
    pub async fn generate_key(&self, owner: &str, by: &str) -> Result<NewKey, MasterError> {
        self.generate_limited_key(owner, Vec::new(), by).await
    }

    /// Makes an agent key whose agent may claim these hostnames only; no pattern permits any.
    pub async fn generate_limited_key(
        &self,
        owner: &str,
        hostname_patterns: Vec<String>,
        by: &str,
    ) -> Result<NewKey, MasterError> {
        self.decide(registrar::GenerateKey { owner: owner.into(), hostname_patterns, by: by.into() }).await
    }

    /// Revokes a key; its agent is not heard any more, its tunnel and routes stay.
    pub async fn revoke_key(&self, key: KeyRef, by: &str) -> Result<KeyDropped, MasterError> {
        self.decide(registrar::RevokeKey { key, by: by.into() }).await
    }

    /// Drops a revoked key from the list.
    pub async fn delete_key(&self, key: KeyRef, by: &str) -> Result<KeyDropped, MasterError> {
        self.decide(registrar::DeleteKey { key, by: by.into() }).await
    }

    /// Drops every revoked key from the list.
    pub async fn delete_revoked_keys(&self, by: &str) -> Result<Vec<KeyDropped>, MasterError> {
        self.decide(registrar::DeleteRevokedKeys { by: by.into() }).await
    }

    /// Gives an agent a new key. The old one works until the agent registers with the new one, or is revoked.
    pub async fn roll_key(&self, agent: &AgentId, by: &str) -> Result<NewKey, MasterError> {
        self.decide(registrar::RollKey { agent: agent.clone(), by: by.into() }).await
    }

    /// Lets an agent claim its routes before it has a tunnel: they are shown as planned. Safe to repeat.
    pub async fn approve(&self, agent: &AgentId, by: &str) -> Result<(), MasterError> {
        self.decide(registrar::Approve { agent: agent.clone(), by: by.into() }).await
    }

    /// Gives an agent a tunnel, found by name or made, and queues the command that starts it.
    ///
    /// Safe to repeat: with the same name it answers the command that is open, and queues no second one.
    pub async fn enroll(
        &self,
        agent: &AgentId,
        tunnel_name: &str,
        by: &str,
    ) -> Result<Enrolled, MasterError> {
        let begin = registrar::BeginEnrolment { agent: agent.clone(), tunnel_name: tunnel_name.into() };
        let name = match self.decide(begin).await? {
            Enrolment::Done(enrolled) => return Ok(*enrolled),
            Enrolment::NeedsTunnel(name) => name,
        };
        let tunnel = self.env.account.provide_tunnel(&name, PROVIDE).await?;
        let connectors = self.env.account.connectors(&tunnel.tunnel_id).await.ok();
        self.decide(registrar::CommitEnrolment { agent: agent.clone(), tunnel, connectors, by: by.into() })
            .await
    }

    /// Queues a command that replaces the agent's connector.
    pub async fn redeploy(&self, agent: &AgentId, by: &str) -> Result<Command, MasterError> {
        let row = db::agents::find_agent(&self.db, agent).await?;
        let row = row.filter(|row| row.status != AgentStatus::Removed);
        let row = row.ok_or_else(|| MasterError::AgentNotFound(agent.clone()))?;
        let (AgentStatus::Enrolled, Some(tunnel_id), Some(tunnel_name), Some(secret_id)) =
            (row.status, row.tunnel_id, row.tunnel_name, row.secret_id)
        else {
            return Err(MasterError::NotEnrolled(agent.clone()));
        };
        let kind = CommandKind::RestartTunnel { tunnel_id, tunnel_name, secret_id };
        self.work(agent, |reply| Work::Enqueue { kind, by: by.into(), reply }).await
    }

    /// Names an agent; the name it gives itself no longer counts.
    pub async fn rename(&self, agent: &AgentId, display_name: &str, by: &str) -> Result<(), MasterError> {
        let display_name = display_name.into();
        self.decide(registrar::Rename { agent: agent.clone(), display_name, by: by.into() }).await
    }

    /// Limits an agent to these hostnames, beside what its key permits; no pattern permits any. What it publishes
    /// already stays until its container goes.
    pub async fn limit(
        &self,
        agent: &AgentId,
        hostname_patterns: Vec<String>,
        by: &str,
    ) -> Result<(), MasterError> {
        self.decide(registrar::LimitAgent { agent: agent.clone(), hostname_patterns, by: by.into() }).await
    }

    /// Revokes every key of an agent; its tunnel and routes stay.
    pub async fn revoke(&self, agent: &AgentId, by: &str) -> Result<(), MasterError> {
        self.decide(registrar::Revoke { agent: agent.clone(), by: by.into() }).await
    }

    /// Takes an agent off the list: stops its tunnel, withdraws its routes, revokes its key.
    ///
    /// It is not heard any more at once; only `stop_tunnel` may still be fetched, for a limited time.
    pub async fn remove(&self, agent: &AgentId, by: &str) -> Result<RemovedAgent, MasterError> {
        self.decide(registrar::Remove { agent: agent.clone(), by: by.into() }).await
    }

    /// Says what would be done at Cloudflare.
    pub async fn plan(&self) -> Result<Plan, MasterError> {
        self.env.account.plan().await
    }

    /// Confirms what waits for a person and carries it out; returns when the calls are done, or after `max`.
    pub async fn apply(&self, by: &str, max: Duration) -> Result<ApplyReport, MasterError> {
        let released = self.release_held(by).await?;
        let mut report = self.env.account.apply(by, max).await?;
        report.released_routes += released;
        Ok(report)
    }

    /// Lets go of every route that the removal guard holds.
    async fn release_held(&self, by: &str) -> Result<usize, MasterError> {
        let mut released = 0;
        for agent in db::due::list_agents_with_held_routes(&self.db).await? {
            released += self.work(&agent, |reply| Work::ReleaseHeld { by: by.into(), reply }).await?;
        }
        Ok(released)
    }

    /// Writes this agent's wanted rules to its tunnel now; returns the version of the configuration.
    pub async fn put_agent_rules(&self, agent: &AgentId, tunnel: &TunnelId) -> Result<i64, MasterError> {
        let row = db::agents::find_agent(&self.db, agent).await?;
        if row.is_none_or(|row| row.tunnel_id.as_ref() != Some(tunnel)) {
            return Err(MasterError::NotYourTunnel);
        }
        self.env.account.put_agent_rules(agent, tunnel).await
    }

    /// Makes the first administrator; refused if there is one.
    pub async fn set_up_admin(&self, name: &str, password_hash: SecretString) -> Result<(), MasterError> {
        self.decide(registrar::SetUpAdmin { name: name.into(), password_hash }).await
    }

    /// Sets an administrator's password; sessions of the old one end.
    pub async fn set_admin_password(
        &self,
        name: &str,
        password_hash: SecretString,
        by: &str,
    ) -> Result<(), MasterError> {
        self.decide(registrar::SetAdminPassword { name: name.into(), password_hash, by: by.into() }).await
    }

    /// Returns the hash of an administrator's password, for signing in.
    pub async fn admin_password_hash(&self, name: &str) -> Result<Option<String>, MasterError> {
        let hash = db::secrets::find_secret(&self.db, &db::settings::password_secret(name)).await?;
        Ok(hash.map(|hash| hash.expose_secret().to_owned()))
    }

    /// True if routes are published; without a Cloudflare token they are only planned.
    pub fn has_cloudflare(&self) -> bool {
        self.env.account.is_connected()
    }

    /// Changes a setting.
    pub async fn change_setting(
        &self,
        key: &str,
        value: serde_json::Value,
        by: &str,
    ) -> Result<(), MasterError> {
        self.decide(registrar::ChangeSetting { key: key.into(), value, by: by.into() }).await
    }

    /// Listens to changes from now on.
    pub fn subscribe(&self) -> Changes {
        self.env.notices.subscribe()
    }
}

impl Master {
    /// Asks the registrar.
    async fn decide<M, T>(&self, question: M) -> Result<T, MasterError>
    where
        M: Message<Result = Result<T, MasterError>> + Send + 'static,
        T: Send + 'static,
        Registrar: Handler<M>,
    {
        match self.env.registrar.ask(question, DECISION).await {
            Ok(answer) => answer,
            Err(AskError::Full | AskError::Closed | AskError::Timeout | AskError::Lost) => {
                Err(MasterError::Busy)
            }
        }
    }

    /// Asks an agent's actors.
    async fn work<T>(&self, agent: &AgentId, work: impl FnOnce(Reply<T>) -> Work) -> Result<T, MasterError> {
        let (reply, answer) = oneshot::channel();
        self.env.fleet.send(agent, work(reply))?;
        within(WORK, async { answer.await.unwrap_or(Err(MasterError::Busy)) }).await
    }
}

async fn within<T>(
    max: Duration,
    answer: impl Future<Output = Result<T, MasterError>>,
) -> Result<T, MasterError> {
    tokio::time::timeout(max, answer).await.unwrap_or(Err(MasterError::Busy))
}
