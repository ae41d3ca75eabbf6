//! What agents do: register, report, fetch commands and answer them.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::{Master, WORK, within};
use crate::actors::master::desk::Desk;
use crate::actors::master::directory::KeyAccess;
use crate::actors::master::error::MasterError;
use crate::actors::master::fleet::Work;
use crate::actors::master::receipt::Receipt;
use crate::actors::master::registrar;
use crate::actors::master::requests::{DeliveredCommand, Dialect, Incoming, RegisterInput, Registered};
use crate::actors::master::slot::Slot;
use crate::domain::agent::AgentStatus;
use crate::domain::command::Outcome;
use crate::domain::container;
use crate::domain::id::{AgentId, CommandId};
use crate::domain::registration::{Admission, identity_digest, shown_name};
use crate::domain::registry::{Answer, Ask};
use crate::domain::report::{Report, Reports};

impl Master {
    /// Says what tags of images hold, and which are newer; registries are asked once for all agents that a person said yes
    /// to.
    pub async fn look_up(&self, slot: &Slot, asks: Vec<Ask>) -> Vec<Answer> {
        match slot.status() {
            AgentStatus::Enrolled => self.env.desk.look_up(asks).await,
            AgentStatus::Pending | AgentStatus::Revoked | AgentStatus::Removed => Desk::turn_away(&asks),
        }
    }

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
        let Ok(Admission::Known(own)) = registrar::identify(&self.env, &key.key_id, input, None) else {
            return None;
        };
        let slot = self.directory.slot(&own)?;
        let name = shown_name(input.display_name.as_deref(), input.hostname.as_deref(), &own);
        let version = registrar::version_of(input);
        let is_same = [false, true]
            .into_iter()
            .any(|custom_name| slot.same_identity(identity_digest(&name, custom_name, version.as_deref())));
        let is_heard = slot.status().is_heard();
        let in_force = slot.key_id().as_ref() == Some(&key.key_id) && slot.previous_key_id().is_none();
        let speaks_as_before = slot.dialect() == input.dialect();
        (is_same && is_heard && in_force && speaks_as_before).then_some(slot)
    }

    /// Takes in what an agent reports; returns after the commit, with the number its next item should bear (0 for
    /// DockFlare events). Heartbeats and reports equal to the last committed ones cross to no actor.
    pub async fn report(&self, agent: &AgentId, reports: impl Into<Incoming>) -> Result<u64, MasterError> {
        let slot = self.directory.slot(agent).ok_or_else(|| MasterError::AgentNotFound(agent.clone()))?;
        slot.touch(self.clock.now());
        match reports.into() {
            Incoming::Plain(items) => {
                for item in &items {
                    if let Report::Snapshot { containers } = item {
                        slot.note_list(containers);
                    }
                }
                let now = self.clock.now();
                if items.iter().any(|item| is_news(&slot, item, now)) {
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
        let now = self.clock.now();
        if end > next && batch.items.iter().any(|item| is_news(slot, item, now)) {
            self.take_in(slot.id(), Incoming::Batch(batch)).await?;
        }
        Ok(slot.advance(&session, end).unwrap_or(end))
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
fn is_news(slot: &Slot, item: &Report, now: DateTime<Utc>) -> bool {
    match item {
        Report::Heartbeat | Report::Unknown => false,
        Report::Snapshot { containers } => !slot.same_report(container::digest(containers)),
        Report::Tunnel { tunnel } => !slot.same_tunnel(tunnel.digest()),
        Report::Scanned { scan } => !slot.same_scan(scan, now),
        _ => true,
    }
}
