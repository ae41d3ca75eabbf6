//! An Engine in memory: what is run in it runs, and its connectors are ready as soon as they run.

use std::collections::BTreeMap;
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

/// The Engine; clones are the same one.
#[derive(Clone, Default)]
pub struct FakeEngine(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    running: Vec<Container>,
    connectors: Vec<ContainerDetails>,
    made: u32,
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

    /// The tokens of the connectors that are there.
    pub fn tokens(&self) -> Vec<String> {
        let token = |c: &ContainerDetails| Some(c.token.as_ref()?.expose_secret().to_owned());
        self.0.lock().connectors.iter().filter_map(token).collect()
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
        Ok(self.0.lock().running.clone())
    }

    async fn find_container(&self, name: &str) -> Result<Option<ContainerDetails>, DockerError> {
        Ok(self.0.lock().connectors.iter().find(|c| c.name == name || c.id.as_str() == name).cloned())
    }

    async fn create_connector(&self, new: &NewConnector) -> Result<ContainerId, DockerError> {
        let mut state = self.0.lock();
        state.made += 1;
        let id = ContainerId::new(format!("connector-{}", state.made));
        let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
        state.connectors.push(ContainerDetails {
            id: id.clone(),
            name: new.name.clone(),
            image: new.image.clone(),
            command: new.command.clone(),
            token: Some(new.token.clone()),
            metrics: Some(new.metrics.clone()),
            labels: new.labels.clone(),
            network: new.network.clone(),
            restart_policy: RESTART_POLICY.into(),
            addresses: BTreeMap::from([(new.network.clone(), Some(address))]),
            state: RunState::Created,
            exit_code: None,
            error: None,
            restarts: 0,
        });
        Ok(id)
    }

    async fn start(&self, id: &ContainerId) -> Result<(), DockerError> {
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

    async fn last_log_line(&self, _: &ContainerId) -> Result<Option<String>, DockerError> {
        Ok(None)
    }

    async fn read_connector(&self, _: SocketAddr) -> ConnectorStatus {
        ConnectorStatus { is_ready: Some(true), ready_connections: Some(4), ..ConnectorStatus::default() }
    }
}
