//! What was ordered: the state that is wanted, and the commands that wait for it.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretString};

use super::step::token_label;
use super::{TunnelSettings, step};
use crate::actors::agent::command_poller::{TaskReply, TunnelTask, TunnelWork};
use crate::docker::{METRICS_PORT, NewConnector};
use crate::domain::agent_tunnel::{COMMAND, Desired, FORM_LABEL, TokenPrint, Wanted, own_labels};
use crate::domain::command::Outcome;
use crate::domain::id::{AgentId, CommandId};
use crate::state_dir::{DesiredState, TunnelState};

/// What is wanted and who waits for it.
#[derive(Default)]
pub(super) struct Orders {
    /// As it was written last.
    on_disk: TunnelState,
    /// What is acted on: it is on disk.
    target: Target,
    /// What was ordered and is not on disk yet.
    ordered: Option<Target>,
    waiting: Vec<(CommandId, TaskReply)>,
}

/// A wanted state with the commands that it comes from.
#[derive(Default, Clone)]
struct Target {
    /// As it is kept on disk.
    state: TunnelState,
    /// After a restart was ordered, only a container made for this command will do.
    made_for: Option<CommandId>,
    /// The last order; new containers carry it.
    ordered_by: Option<CommandId>,
}

impl Orders {
    /// Goes on with what was wanted before.
    pub(super) fn resume(&mut self, state: TunnelState) {
        self.on_disk = state.clone();
        self.target.state = state;
    }

    /// The wanted state that is acted on.
    pub(super) fn state(&self) -> &TunnelState {
        &self.target.state
    }

    /// Takes an order. It is acted on as soon as [`Orders::to_save`] has nothing left.
    pub(super) fn take(&mut self, task: TunnelTask, now: DateTime<Utc>) {
        let TunnelTask { id, work, reply } = task;
        let before = self.ordered.as_ref().unwrap_or(&self.target).clone();
        let mut state = before.state.clone();
        let mut made_for = None;
        match work {
            TunnelWork::Start(order) => {
                state.id = order.tunnel_id.or(state.id);
                state.name = order.tunnel_name.or(state.name);
                state.token = order.token.or(state.token);
                state.desired_state = DesiredState::Running;
                if state.token.is_none() {
                    reply.send(failed(
                        "start_tunnel came without a token, and none is kept on this host",
                        now,
                    ));
                    return;
                }
                // The same again is content with a container that a restart made.
                made_for.clone_from(&before.made_for);
            }
            TunnelWork::Restart { tunnel_id, tunnel_name, token } => {
                state.id = Some(tunnel_id);
                state.name = Some(tunnel_name);
                state.token = Some(token);
                state.desired_state = DesiredState::Running;
                made_for = Some(id.clone());
            }
            TunnelWork::Stop => state.desired_state = DesiredState::Stopped,
        }
        if !is_same(&state, &before.state) || made_for != before.made_for {
            self.supersede(&id, now);
        }
        self.ordered = Some(Target { state, made_for, ordered_by: Some(id.clone()) });
        self.waiting.push((id, reply));
        self.promote();
    }

    /// What has to go to disk before it is acted on, or at all.
    pub(super) fn to_save(&self) -> Option<TunnelState> {
        let latest = &self.ordered.as_ref().unwrap_or(&self.target).state;
        (!is_same(latest, &self.on_disk)).then(|| latest.clone())
    }

    /// This is on disk now.
    pub(super) fn saved(&mut self, state: TunnelState) {
        self.on_disk = state;
        self.promote();
    }

    /// An order whose state is on disk is acted on.
    fn promote(&mut self) {
        let is_kept = self.ordered.as_ref().is_some_and(|ordered| is_same(&ordered.state, &self.on_disk));
        if is_kept && let Some(ordered) = self.ordered.take() {
            self.target = ordered;
        }
    }

    /// True while the latest order is not on disk, and so is not acted on.
    pub(super) fn is_held_up(&self) -> bool {
        self.ordered.is_some()
    }

    fn supersede(&mut self, by: &CommandId, now: DateTime<Utc>) {
        for (id, reply) in self.waiting.drain(..) {
            // The same command handed over again is not its own rival; its first answer is not waited for.
            if id != *by {
                reply.send(failed(format!("command `{by}` came before it was carried out"), now));
            }
        }
    }

    /// Tells everybody who waits for what is acted on that it is done.
    pub(super) fn succeed(&mut self, message: &str, now: DateTime<Utc>) {
        if !self.is_held_up() {
            self.answer(&Outcome { succeeded: true, message: message.to_owned(), finished_at: Some(now) });
        }
    }

    /// Tells everybody who waits for what is acted on that it cannot be done now. What is wanted stays wanted.
    pub(super) fn fail(&mut self, reason: impl Into<String>, now: DateTime<Utc>) {
        if !self.is_held_up() {
            self.answer(&failed(reason, now));
        }
    }

    /// Tells everybody who waits for what could not be kept that it is not carried out now. It stays wanted.
    pub(super) fn fail_held_up(&mut self, reason: impl Into<String>, now: DateTime<Utc>) {
        if self.is_held_up() {
            self.answer(&failed(reason, now));
        }
    }

    fn answer(&mut self, outcome: &Outcome) {
        for (_, reply) in self.waiting.drain(..) {
            reply.send(outcome.clone());
        }
    }

    pub(super) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The connector is gone as ordered: forgets what it was.
    pub(super) fn forget_tunnel(&mut self) {
        self.target.state = TunnelState { desired_state: DesiredState::Stopped, ..TunnelState::default() };
        self.target.made_for = None;
    }

    /// What the next step is to aim at.
    pub(super) fn desired(&self, settings: &TunnelSettings) -> Desired {
        let state = &self.target.state;
        match (state.desired_state, &state.token) {
            (DesiredState::Stopped, _) => Desired::Stopped,
            (DesiredState::Running, Some(token)) => Desired::Running(Box::new(self.wanted(token, settings))),
            (DesiredState::Running, None) | (DesiredState::Unknown, _) => Desired::Unknown,
        }
    }

    fn wanted(&self, token: &SecretString, settings: &TunnelSettings) -> Wanted {
        Wanted {
            token: TokenPrint::of(token.expose_secret()),
            image: settings.image.clone(),
            command: COMMAND.map(str::to_owned).to_vec(),
            metrics: metrics(&settings.network),
            network: settings.network.clone(),
            options: settings.options.clone(),
            labels: token_label(token.expose_secret()),
            made_for: self.target.made_for.clone(),
        }
    }

    /// The container to make, except for its name.
    pub(super) fn new_connector(&self, agent: &AgentId, settings: &TunnelSettings) -> Option<NewConnector> {
        let token = self.target.state.token.clone()?;
        let by = self.target.made_for.as_ref().or(self.target.ordered_by.as_ref());
        let mut labels: BTreeMap<_, _> = own_labels(agent, by);
        labels.extend(token_label(token.expose_secret()));
        labels.insert(FORM_LABEL.to_owned(), settings.options.form());
        Some(NewConnector {
            name: String::new(),
            image: settings.image.clone(),
            command: COMMAND.map(str::to_owned).to_vec(),
            metrics: metrics(&settings.network),
            options: settings.options.clone(),
            network: settings.network.clone(),
            labels,
            token,
        })
    }
}

/// In a network of the host's own, two connectors side by side would fight for one port, and the page would be
/// open to the outside: there it takes any free port, and its readiness stays unknown.
fn metrics(network: &str) -> String {
    if step::is_own_network(network) { format!("0.0.0.0:{METRICS_PORT}") } else { "127.0.0.1:0".to_owned() }
}

fn is_same(one: &TunnelState, other: &TunnelState) -> bool {
    let text = |state: &TunnelState| state.token.as_ref().map(|token| token.expose_secret().to_owned());
    text(one) == text(other)
        && one.id == other.id
        && one.name == other.name
        && one.desired_state == other.desired_state
}

fn failed(reason: impl Into<String>, now: DateTime<Utc>) -> Outcome {
    Outcome { succeeded: false, message: reason.into(), finished_at: Some(now) }
}

#[cfg(test)]
mod tests;
