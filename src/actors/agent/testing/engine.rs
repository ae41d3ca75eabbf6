//! An Engine in memory: what is run in it runs, and its connectors are ready as soon as they run, unless told
//! otherwise.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use parking_lot::Mutex;
use secrecy::ExposeSecret;
use tokio::sync::mpsc;

use crate::docker::{
    ConnectorStatus, ContainerDetails, Docker, DockerError, EngineAction, EngineEvent, EngineInfo, Events,
    NewConnector, RunState,
};
use crate::domain::agent_tunnel::RESTART_POLICY;
use crate::domain::container::Container;
use crate::domain::id::ContainerId;
use crate::domain::networks::Networks;

/// The Engine; clones are the same one.
#[derive(Clone, Default)]
pub struct FakeEngine(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    running: Vec<Container>,
    connectors: Vec<ContainerDetails>,
    /// Tokens whose connectors find no edge.
    cut_off: BTreeSet<String>,
    made: u8,
    /// Names of networks by their ids.
    networks: BTreeMap<String, String>,
    /// What the Engine says when a container is started.
    refusal: Option<String>,
    questions: usize,
    watchers: Vec<mpsc::Sender<Result<EngineEvent, DockerError>>>,
}

impl State {
    fn tell(&mut self, event: &EngineEvent) {
        self.watchers.retain(|watcher| watcher.try_send(Ok(event.clone())).is_ok());
    }

    /// Changes a connector; what is gone stays gone.
    fn change(&mut self, id: &ContainerId, action: EngineAction, change: impl FnOnce(&mut ContainerDetails)) {
        let Some(found) = self.connectors.iter_mut().find(|c| c.id == *id) else { return };
        change(found);
        let attributes = BTreeMap::from([("name".to_owned(), found.name.clone())]);
        self.tell(&EngineEvent { action, id: id.clone(), attributes, at: None });
    }
}

impl FakeEngine {
    /// This container runs from now on.
    pub fn run(&self, container: Container) {
        let mut attributes = container.labels.clone();
        attributes.insert("name".into(), container.name.clone());
        let event =
            EngineEvent { action: EngineAction::Start, id: container.id.clone(), attributes, at: None };
        let mut state = self.0.lock();
        state.running.push(container);
        state.tell(&event);
    }

    /// A container or connector is put on a network, under these further names, or taken off it with none.
    pub fn connect(&self, id: &str, network: &str, names: Option<&[&str]>) {
        let mut state = self.0.lock();
        let names = names.map(|names| names.iter().map(|&name| name.to_owned()).collect());
        let change = |networks: &mut Networks| match names {
            Some(names) => drop(networks.insert(network.to_owned(), names)),
            None => drop(networks.remove(network)),
        };
        match state.running.iter_mut().find(|found| found.id.as_str() == id) {
            Some(found) => change(found.networks.get_or_insert_default()),
            None => {
                let found =
                    state.connectors.iter_mut().find(|found| found.id.as_str() == id).expect("it runs");
                change(&mut found.networks);
            }
        }
        let (action, id) = (EngineAction::Networks, ContainerId::new(id));
        state.tell(&EngineEvent { action, id, attributes: BTreeMap::new(), at: None });
    }

    /// Every subscription ends; what happens before the next one is told to nobody.
    pub fn hang_up(&self) {
        self.0.lock().watchers.clear();
    }

    /// How often something was asked about a container that is no connector.
    pub fn questions(&self) -> usize {
        self.0.lock().questions
    }

    /// The tokens of the connectors that are there.
    pub fn tokens(&self) -> Vec<String> {
        let token = |c: &ContainerDetails| Some(c.token.as_ref()?.expose_secret().to_owned());
        self.0.lock().connectors.iter().filter_map(token).collect()
    }

    /// Connectors with this token find the edge, or do not, from now on.
    pub fn set_ready(&self, token: &str, is_ready: bool) {
        let cut_off = &mut self.0.lock().cut_off;
        if is_ready {
            cut_off.remove(token)
        } else {
            cut_off.insert(token.to_owned())
        };
    }

    /// A network has this id.
    pub fn name_network(&self, id: &str, name: &str) {
        self.0.lock().networks.insert(id.to_owned(), name.to_owned());
    }

    /// No container can be started from now on, for this reason; with none, they can again.
    pub fn refuse_starts(&self, reason: Option<&str>) {
        self.0.lock().refusal = reason.map(str::to_owned);
    }

    /// Names of the networks that connectors were made for.
    pub fn networks(&self) -> Vec<String> {
        self.0.lock().connectors.iter().map(|connector| connector.network.clone()).collect()
    }

    fn set_state(&self, id: &ContainerId, action: EngineAction, state: RunState) {
        self.0.lock().change(id, action, |connector| connector.state = state);
    }
}

#[async_trait]
impl Docker for FakeEngine {
    async fn connect(&self) -> Result<EngineInfo, DockerError> {
        Ok(EngineInfo { api_version: "1.41".into(), time: None })
    }

    async fn watch(&self, _: DateTime<Utc>) -> Result<Events, DockerError> {
        let (watcher, items) = mpsc::channel(64);
        self.0.lock().watchers.push(watcher);
        Ok(Events::from_channel(items))
    }

    async fn list_running(&self) -> Result<Vec<Container>, DockerError> {
        let state = self.0.lock();
        let connectors =
            state.connectors.iter().filter(|c| c.state == RunState::Running).map(|c| Container {
                id: c.id.clone(),
                name: c.name.clone(),
                labels: c.labels.clone(),
                image: None,
                status: None,
                networks: Some(c.networks.clone()),
            });
        // A listing names the networks, and not what a container goes by there.
        let without_names = |networks: Networks| networks.into_keys().map(|n| (n, BTreeSet::new())).collect();
        let running = state.running.iter().cloned().map(|mut found| {
            found.networks = found.networks.map(without_names);
            found
        });
        Ok(running.chain(connectors).collect())
    }

    async fn find_container(&self, name: &str) -> Result<Option<ContainerDetails>, DockerError> {
        let mut state = self.0.lock();
        if let Some(found) = state.running.iter().find(|c| c.id.as_str() == name).cloned() {
            state.questions += 1;
            return Ok(Some(details(found)));
        }
        Ok(state.connectors.iter().find(|c| c.name == name || c.id.as_str() == name).cloned())
    }

    async fn create_connector(&self, new: &NewConnector) -> Result<ContainerId, DockerError> {
        let mut state = self.0.lock();
        state.made += 1;
        let id = ContainerId::new(format!("connector-{}", state.made));
        let address = IpAddr::V4(Ipv4Addr::new(127, 0, 1, state.made));
        state.connectors.push(ContainerDetails {
            id: id.clone(),
            name: new.name.clone(),
            image: new.image.clone(),
            command: new.command.clone(),
            token: Some(new.token.clone()),
            metrics: Some(new.metrics.clone()),
            options: new.options.variables().map(|(k, v)| (k.to_owned(), v.to_owned())).collect(),
            labels: new.labels.clone(),
            network: new.network.clone(),
            restart_policy: RESTART_POLICY.into(),
            addresses: BTreeMap::from([(new.network.clone(), Some(address))]),
            networks: Networks::from([(new.network.clone(), BTreeSet::new())]),
            state: RunState::Created,
            exit_code: None,
            error: None,
            restarts: 0,
        });
        Ok(id)
    }

    async fn start(&self, id: &ContainerId) -> Result<(), DockerError> {
        if let Some(message) = self.0.lock().refusal.clone() {
            return Err(DockerError::Refused { what: "start a container", status: 500, message });
        }
        self.set_state(id, EngineAction::Start, RunState::Running);
        Ok(())
    }

    async fn stop(&self, id: &ContainerId) -> Result<(), DockerError> {
        self.set_state(id, EngineAction::Die, RunState::Exited);
        Ok(())
    }

    async fn remove(&self, id: &ContainerId) -> Result<(), DockerError> {
        self.set_state(id, EngineAction::Destroy, RunState::Dead);
        self.0.lock().connectors.retain(|connector| connector.id != *id);
        Ok(())
    }

    async fn rename(&self, id: &ContainerId, name: &str) -> Result<(), DockerError> {
        self.0.lock().change(id, EngineAction::Rename, |connector| connector.name = name.to_owned());
        Ok(())
    }

    async fn unpause(&self, id: &ContainerId) -> Result<(), DockerError> {
        self.set_state(id, EngineAction::Unpause, RunState::Running);
        Ok(())
    }

    async fn has_image(&self, _: &str) -> Result<bool, DockerError> {
        Ok(true)
    }

    async fn pull_image(&self, _: &str) -> Result<(), DockerError> {
        Ok(())
    }

    async fn ensure_network(&self, _: &str, _: &[(&str, &str)]) -> Result<bool, DockerError> {
        Ok(false)
    }

    async fn network_name(&self, network: &str) -> Result<Option<String>, DockerError> {
        Ok(Some(self.0.lock().networks.get(network).cloned().unwrap_or_else(|| network.to_owned())))
    }

    async fn last_log_lines(&self, _: &ContainerId) -> Result<Vec<String>, DockerError> {
        Ok(Vec::new())
    }

    async fn read_connector(&self, at: SocketAddr) -> ConnectorStatus {
        let state = self.0.lock();
        let asked = state.connectors.iter().find(|c| c.addresses.values().any(|ip| *ip == Some(at.ip())));
        let token = asked.and_then(|c| c.token.as_ref());
        let is_ready = token.is_some_and(|token| !state.cut_off.contains(token.expose_secret()));
        let connections = if is_ready { 4 } else { 0 };
        let (is_ready, ready_connections) = (Some(is_ready), Some(connections));
        ConnectorStatus { is_ready, ready_connections, ..ConnectorStatus::default() }
    }
}

/// A container as an inspection shows it.
fn details(of: Container) -> ContainerDetails {
    ContainerDetails {
        id: of.id,
        name: of.name,
        image: of.image.unwrap_or_default(),
        command: Vec::new(),
        token: None,
        metrics: None,
        options: BTreeMap::new(),
        labels: of.labels,
        network: String::new(),
        restart_policy: String::new(),
        addresses: BTreeMap::new(),
        networks: of.networks.unwrap_or_default(),
        state: RunState::Running,
        exit_code: None,
        error: None,
        restarts: 0,
    }
}
