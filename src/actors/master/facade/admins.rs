//! What administrators do: keys, enrolment, removal, publishing, settings.

use std::time::Duration;

use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::Master;
use crate::actors::master::cloudflare_account::{ApplyReport, Plan};
use crate::actors::master::error::MasterError;
use crate::actors::master::fleet::Work;
use crate::actors::master::for_registrar::FinishMove;
use crate::actors::master::registrar::{self, Enrolment};
use crate::actors::master::requests::{Enrolled, KeyDropped, KeyRef, NewKey, RemovedAgent, TakenKey};
use crate::db;
use crate::db::keys::KeyRow;
use crate::domain::agent::AgentStatus;
use crate::domain::command::{Command, CommandKind};
use crate::domain::id::{AgentId, TunnelId};

/// Longest time that Cloudflare may take to provide a tunnel.
const PROVIDE: Duration = Duration::from_secs(60);
/// Longest time that Cloudflare may take to say whether a tunnel is there.
const LOOK: Duration = Duration::from_secs(10);
/// Longest time that an `apply` looks for what is due.
const PLAN: Duration = Duration::from_secs(5);

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

    /// Says how many agents may be enrolled with a key; those that are enrolled stay.
    pub async fn seat_key(&self, key: KeyRef, seats: u32, by: &str) -> Result<KeyDropped, MasterError> {
        self.decide(registrar::SeatKey { key, seats, by: by.into() }).await
    }

    /// Allows the key that an agent shares one seat more, so that it can be enrolled.
    pub async fn allow_seat(&self, agent: &AgentId, by: &str) -> Result<(), MasterError> {
        self.directory.slot(agent).ok_or_else(|| MasterError::AgentNotFound(agent.clone()))?;
        let Some(lacking) = self.directory.lacking_seat(agent) else { return Ok(()) };
        self.seat_key(KeyRef::Id(lacking.key_id), lacking.seats + 1, by).await.map(drop)
    }

    /// Drops a revoked key from the list.
    pub async fn delete_key(&self, key: KeyRef, by: &str) -> Result<KeyDropped, MasterError> {
        self.decide(registrar::DeleteKey { key, by: by.into() }).await
    }

    /// Drops revoked keys from the list: those that were revoked before, or all.
    pub async fn delete_revoked_keys(
        &self,
        before: Option<DateTime<Utc>>,
        by: &str,
    ) -> Result<Vec<KeyDropped>, MasterError> {
        self.decide(registrar::DeleteRevokedKeys { before, by: by.into() }).await
    }

    /// Takes over a key that another program made, by its digest; one that is known stays as it is.
    pub async fn take_key(
        &self,
        sha256: &str,
        owner: &str,
        seats: u32,
        by: &str,
    ) -> Result<TakenKey, MasterError> {
        let ask = registrar::TakeKey { sha256: sha256.into(), owner: owner.into(), seats, by: by.into() };
        self.decide(ask).await
    }

    /// Returns the key of a digest.
    pub async fn key_of_digest(&self, sha256: &str) -> Result<KeyRow, MasterError> {
        let row = db::keys::find_key_by_digest(&self.db, sha256).await?;
        row.ok_or_else(|| MasterError::KeyNotFound("under this digest".into()))
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
    /// Safe to repeat: with the same name it answers the command that is open, or the one that started the tunnel if
    /// that runs. A second one is queued only if the first failed, was given up, or the tunnel is down or deleted.
    pub async fn enroll(
        &self,
        agent: &AgentId,
        tunnel_name: &str,
        by: &str,
    ) -> Result<Enrolled, MasterError> {
        let begin = registrar::BeginEnrolment { agent: agent.clone(), tunnel_name: tunnel_name.into() };
        let name = match self.decide(begin).await? {
            Enrolment::Done(enrolled) => {
                if !self.is_gone(&enrolled.tunnel_id).await {
                    return Ok(*enrolled);
                }
                enrolled.tunnel_name
            }
            Enrolment::NeedsTunnel(name) => name,
        };
        let tunnel = self.env.account.provide_tunnel(&name, PROVIDE).await?;
        self.decide(registrar::CommitEnrolment { agent: agent.clone(), tunnel, by: by.into() }).await
    }

    /// True if Cloudflare says so: somebody may have deleted the tunnel, and nobody noticed yet. While Cloudflare does
    /// not answer, what is written down holds.
    async fn is_gone(&self, tunnel: &TunnelId) -> bool {
        let has_tunnel = self.env.account.has_tunnel(tunnel, LOOK).await;
        let has_tunnel = has_tunnel
            .inspect_err(|error| tracing::info!(%error, tunnel.id = %tunnel, "nobody knows if it is there"));
        !has_tunnel.unwrap_or(true)
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

    /// Moves the names of an agent to the tunnel that it was given last, although its connector was not seen there.
    pub async fn move_names(&self, agent: &AgentId, by: &str) -> Result<(), MasterError> {
        self.decide(FinishMove::ordered(agent, by)).await
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

    /// Confirms what waits for a person and carries it out. Returns when the calls are done, or after `max`: then
    /// it goes on by itself, and the report says so. Without a Cloudflare token nothing is changed.
    pub async fn apply(&self, by: &str, max: Duration) -> Result<ApplyReport, MasterError> {
        if !self.has_cloudflare() {
            return Err(MasterError::NoCloudflareToken);
        }
        let until = Instant::now() + max;
        let (released, all) = self.release_held(by, until).await?;
        // What was released is due only now.
        let plan = timeout_at(until.min(Instant::now() + PLAN), self.plan()).await;
        let left = until.saturating_duration_since(Instant::now());
        let mut report = self.env.account.apply(by, left).await?;
        report.finished &= all;
        report.released_routes += released;
        // Only for saying what was done.
        report.planned = plan.ok().and_then(Result::ok).unwrap_or_default().changes;
        Ok(report)
    }

    /// Lets go of every route that the removal guard holds. Returns how many went before `until`, and whether
    /// these were all.
    async fn release_held(&self, by: &str, until: Instant) -> Result<(usize, bool), MasterError> {
        let mut answers = Vec::new();
        for agent in db::due::list_agents_with_held_routes(&self.db).await? {
            let (reply, answer) = oneshot::channel();
            self.env.fleet.send(&agent, Work::ReleaseHeld { by: by.into(), reply })?;
            answers.push(answer);
        }
        let (mut released, mut all) = (0, true);
        for answer in answers {
            match timeout_at(until, answer).await {
                Ok(answer) => released += answer.unwrap_or(Err(MasterError::Busy))?,
                Err(_) => all = false,
            }
        }
        Ok((released, all))
    }

    /// Has what is published compared with what is wanted; returns at once.
    pub fn compare(&self) -> Result<(), MasterError> {
        if !self.has_cloudflare() {
            return Err(MasterError::NoCloudflareToken);
        }
        self.env.account.wake();
        Ok(())
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

    /// Signs a browser in with the password that `version` stands for; returns what its cookie has to name.
    pub async fn open_session(&self, name: &str, version: u32) -> Result<String, MasterError> {
        self.decide(registrar::OpenSession { name: name.into(), version }).await
    }

    /// Signs a browser out: its cookie opens nothing any more, wherever a copy of it is.
    pub async fn end_session(&self, id: &str, name: &str) -> Result<(), MasterError> {
        self.decide(registrar::EndSession { id: id.into(), name: name.into() }).await
    }

    /// Returns the hash of an administrator's password, for signing in.
    pub async fn admin_password_hash(&self, name: &str) -> Result<Option<String>, MasterError> {
        let hash = db::secrets::find_secret(&self.db, &db::settings::password_secret(name)).await?;
        Ok(hash.map(|hash| hash.expose_secret().to_owned()))
    }

    /// Sets the account that the desk has at a registry, before those that `docker login` left.
    pub async fn set_registry_login(
        &self,
        registry: &str,
        account: &str,
        password: SecretString,
        by: &str,
    ) -> Result<(), MasterError> {
        let (registry, account, by) = (registry.into(), account.into(), by.into());
        self.decide(registrar::SetRegistryLogin { registry, account, password, by }).await
    }

    /// Forgets the account at a registry.
    pub async fn remove_registry_login(&self, registry: &str, by: &str) -> Result<(), MasterError> {
        self.decide(registrar::RemoveRegistryLogin { registry: registry.into(), by: by.into() }).await
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
}
