//! What was ordered: the state that is wanted, and the commands that wait for it.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretString};

use super::step::token_label;
use super::{TunnelSettings, step};
use crate::actors::agent::command_poller::{Reply, TunnelTask, TunnelWork};
use crate::docker::{METRICS_PORT, NewConnector};
use crate::domain::agent_tunnel::{COMMAND, Desired, TokenPrint, Wanted, own_labels};
use crate::domain::command::Outcome;
use crate::domain::id::{AgentId, CommandId};
use crate::state_dir::{DesiredState, TunnelState};

/// The wanted state and who waits for it.
#[derive(Default)]
pub(super) struct Orders {
    /// As it is kept on disk.
    pub(super) state: TunnelState,
    /// After a restart was ordered, only a container made for this command will do.
    made_for: Option<CommandId>,
    /// The last order; new containers carry it.
    ordered_by: Option<CommandId>,
    waiting: Vec<(CommandId, Reply)>,
}

impl Orders {
    /// Goes on with what was wanted before.
    pub(super) fn resume(&mut self, state: TunnelState) {
        self.state = state;
    }

    /// Takes an order. Returns true if the state changed and is to be kept.
    pub(super) fn take(&mut self, task: TunnelTask, now: DateTime<Utc>) -> bool {
        let TunnelTask { id, work, reply } = task;
        let mut state = self.state.clone();
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
                    return false;
                }
                // The same again is content with a container that a restart made.
                made_for = self.made_for.clone();
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
        let is_same = is_same(&state, &self.state);
        if !is_same || made_for != self.made_for {
            self.supersede(&id, now);
        }
        self.state = state;
        self.made_for = made_for;
        self.ordered_by = Some(id.clone());
        self.waiting.push((id, reply));
        !is_same
    }

    fn supersede(&mut self, by: &CommandId, now: DateTime<Utc>) {
        for (id, reply) in self.waiting.drain(..) {
            // The same command handed over again is not its own rival; its first answer is not waited for.
            if id != *by {
                reply.send(failed(format!("command `{by}` came before it was carried out"), now));
            }
        }
    }

    /// Tells everybody who waits that it is done.
    pub(super) fn succeed(&mut self, message: &str, now: DateTime<Utc>) {
        self.answer(&Outcome { succeeded: true, message: message.to_owned(), finished_at: Some(now) });
    }

    /// Tells everybody who waits that it cannot be done now. What is wanted stays wanted.
    pub(super) fn fail(&mut self, reason: impl Into<String>, now: DateTime<Utc>) {
        self.answer(&failed(reason, now));
    }

    fn answer(&mut self, outcome: &Outcome) {
        for (_, reply) in self.waiting.drain(..) {
            reply.send(outcome.clone());
        }
    }

    pub(super) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The connector is gone as ordered: forgets what it was. Returns true if there was something to forget.
    pub(super) fn forget_tunnel(&mut self) -> bool {
        let forgotten = TunnelState { desired_state: DesiredState::Stopped, ..TunnelState::default() };
        let is_same = is_same(&forgotten, &self.state);
        self.state = forgotten;
        self.made_for = None;
        !is_same
    }

    /// What the plan is to aim at.
    pub(super) fn desired(&self, settings: &TunnelSettings) -> Desired {
        match (self.state.desired_state, &self.state.token) {
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
            labels: token_label(token.expose_secret()),
            made_for: self.made_for.clone(),
        }
    }

    /// The container to make, except for its name.
    pub(super) fn new_connector(&self, agent: &AgentId, settings: &TunnelSettings) -> Option<NewConnector> {
        let token = self.state.token.clone()?;
        let by = self.made_for.as_ref().or(self.ordered_by.as_ref());
        let mut labels: BTreeMap<_, _> = own_labels(agent, by);
        labels.extend(token_label(token.expose_secret()));
        Some(NewConnector {
            name: String::new(),
            image: settings.image.clone(),
            command: COMMAND.map(str::to_owned).to_vec(),
            metrics: metrics(&settings.network),
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
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::*;
    use crate::config::OnShutdown;
    use crate::domain::id::TunnelId;
    use crate::protocol::command::TunnelOrder;

    type Answers = Arc<Mutex<Vec<(String, Option<bool>)>>>;

    fn give(orders: &mut Orders, answers: &Answers, id: &str, work: TunnelWork) -> bool {
        let (answers, name) = (Arc::clone(answers), id.to_owned());
        let reply = Reply::new(move |outcome: Option<Outcome>| {
            answers.lock().push((name, outcome.map(|outcome| outcome.succeeded)));
        });
        orders.take(TunnelTask { id: CommandId::new(id), work, reply }, DateTime::UNIX_EPOCH)
    }

    fn start(token: Option<&str>) -> TunnelWork {
        let token = token.map(SecretString::from);
        TunnelWork::Start(TunnelOrder { tunnel_id: Some(TunnelId::new("t1")), tunnel_name: None, token })
    }

    fn restart() -> TunnelWork {
        TunnelWork::Restart { tunnel_id: TunnelId::new("t1"), tunnel_name: "n".into(), token: "a".into() }
    }

    fn settings(network: &str) -> TunnelSettings {
        TunnelSettings::new("cf:1", network, OnShutdown::Keep)
    }

    fn wanted(orders: &Orders) -> Wanted {
        match orders.desired(&settings("edge")) {
            Desired::Running(wanted) => *wanted,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_same_order_again_changes_nothing_and_both_are_answered() {
        let (mut orders, answers) = (Orders::default(), Answers::default());
        assert!(give(&mut orders, &answers, "c1", start(Some("a"))), "to be kept");
        assert!(!give(&mut orders, &answers, "c2", start(None)), "what is absent stays as it is");

        orders.succeed("done", DateTime::UNIX_EPOCH);

        assert_eq!(*answers.lock(), [("c1".to_owned(), Some(true)), ("c2".to_owned(), Some(true))]);
        assert!(!orders.has_waiting());
    }

    #[test]
    fn a_later_order_supersedes_one_that_was_not_carried_out() {
        let (mut orders, answers) = (Orders::default(), Answers::default());
        give(&mut orders, &answers, "c1", start(Some("a")));
        give(&mut orders, &answers, "c2", TunnelWork::Stop);

        assert_eq!(*answers.lock(), [("c1".to_owned(), Some(false))]);
        assert_eq!(orders.desired(&settings("edge")), Desired::Stopped);
        assert!(orders.forget_tunnel(), "token and id go");
        assert!(!orders.forget_tunnel());
    }

    #[test]
    fn a_start_without_any_token_is_refused_and_wants_nothing() {
        let (mut orders, answers) = (Orders::default(), Answers::default());
        assert!(!give(&mut orders, &answers, "c1", start(None)));
        assert_eq!(*answers.lock(), [("c1".to_owned(), Some(false))]);
        assert_eq!(orders.desired(&settings("edge")), Desired::Unknown);
    }

    #[test]
    fn only_a_restart_asks_for_a_container_of_its_own() {
        let (mut orders, answers) = (Orders::default(), Answers::default());
        give(&mut orders, &answers, "c1", start(Some("a")));
        assert_eq!(wanted(&orders).made_for, None);
        give(&mut orders, &answers, "c2", restart());
        assert_eq!(wanted(&orders).made_for, Some(CommandId::new("c2")));
        give(&mut orders, &answers, "c3", start(Some("a")));
        assert_eq!(wanted(&orders).made_for, Some(CommandId::new("c2")), "its container will do");
    }

    #[test]
    fn on_the_hosts_own_network_the_metrics_page_is_not_open_to_others() {
        let (mut orders, answers) = (Orders::default(), Answers::default());
        give(&mut orders, &answers, "c1", start(Some("hidden-token")));
        for (network, metrics) in
            [("edge", "0.0.0.0:20241"), ("host", "127.0.0.1:0"), ("container:x", "127.0.0.1:0")]
        {
            let new = orders.new_connector(&AgentId::new("a"), &settings(network)).unwrap();
            assert_eq!(new.metrics, metrics, "{network}");
            assert!(!format!("{new:?}").contains("hidden-token"), "a token is never printed");
        }
    }
}
