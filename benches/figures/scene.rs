//! A whole installation: a real Engine, agent and master as processes of their own, Cloudflare's stand-in.

use std::collections::HashMap;
use std::sync::Arc;

use bollard::models::EventMessage;
use bollard::query_parameters::EventsOptionsBuilder;
use futures_util::StreamExt;
use parking_lot::Mutex;
use serde_json::json;
use tempfile::TempDir;
use tokio::task::AbortHandle;

use crate::support::cloudflare::CloudflareStandIn;
use crate::support::docker::Engine;
use crate::support::ship::{Rig, Ship};
use crate::support::until::until;

/// What is started first, so that connections are open and code is in memory when it counts.
const WARM_UP: usize = 2;

/// See the module. Ends with its owner.
pub struct Scene {
    agent: Option<Ship>,
    agent_rig: Rig,
    /// The master under test.
    pub master: Ship,
    /// What it publishes to.
    pub standin: CloudflareStandIn,
    /// The agent's Engine.
    pub engine: Engine,
    moments: Moments,
    _dirs: [TempDir; 2],
}

impl Scene {
    /// Starts everything, enrols the agent and publishes a first container.
    pub async fn start() -> Self {
        let engine = Engine::lease().await;
        let standin = CloudflareStandIn::start();
        standin.warm();
        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let master = Rig::new("master", dirs[0].path()).cloudflare(&standin).env("LOG_LEVEL", "info").start();
        let agent_rig = Rig::new("agent", dirs[1].path())
            .env("LOG_LEVEL", "info")
            .env("DOCKER_HOST", engine.docker_host())
            .env("DOCKFLARE_MASTER_URL", master.url())
            .env("DOCKFLARE_API_KEY", master.new_key().await);
        let agent = Some(agent_rig.start());
        let id = master.until_agent("pending").await;
        let path = format!("/api/v2/agents/{id}/enroll");
        let (status, body) = master.post(&path, json!({ "tunnel_name": "bench" })).await;
        assert_eq!(status, 200, "{body}");
        let moments = Moments::watch(&engine);
        let scene = Self { agent, agent_rig, master, standin, engine, moments, _dirs: dirs };
        for number in 0..WARM_UP {
            scene.publish(&format!("warm-{number}")).await;
        }
        scene
    }

    /// Starts a container that asks for a route, and waits until the route has its DNS record.
    pub async fn publish(&self, name: &str) {
        self.start_container(name).await;
        let host = hostname(name);
        until(&format!("{host} has a record"), || async {
            (!self.standin.records(&host).is_empty()).then_some(())
        })
        .await;
    }

    async fn start_container(&self, name: &str) {
        let (host, origin) = (hostname(name), format!("http://{name}:8080"));
        let labels =
            [("dockflare.enable", "true"), ("dockflare.hostname", &*host), ("dockflare.service", &*origin)];
        self.engine.run(name, &labels).await;
    }

    /// When the Engine said that this happened to a container, in microseconds since 1970.
    pub async fn moment(&self, container: &str, action: &str) -> u64 {
        let key = (container.to_owned(), action.to_owned());
        until(&format!("event {action} of {container}"), || async {
            self.moments.seen.lock().get(&key).copied()
        })
        .await
    }

    /// The agent's process.
    pub fn agent_pid(&self) -> u32 {
        self.agent.as_ref().expect("runs but while it is replaced").pid()
    }

    /// Kills the agent and starts it again.
    pub fn restart_agent(&mut self) {
        if let Some(agent) = self.agent.take() {
            agent.kill();
        }
        self.agent = Some(self.agent_rig.start());
    }
}

/// The hostname that a container of this name asks for.
pub fn hostname(container: &str) -> String {
    format!("{container}.example.com")
}

/// The Engine's own record of what happened when.
struct Moments {
    seen: Arc<Mutex<HashMap<(String, String), u64>>>,
    listening: AbortHandle,
}

impl Moments {
    fn watch(engine: &Engine) -> Self {
        let seen = Arc::new(Mutex::new(HashMap::new()));
        let (kept, client) = (Arc::clone(&seen), engine.client().clone());
        let listen = async move {
            let filters: HashMap<&str, Vec<&str>> = [("type", vec!["container"])].into();
            let options = EventsOptionsBuilder::default().filters(&filters).build();
            let mut events = std::pin::pin!(client.events(Some(options)));
            while let Some(event) = events.next().await {
                if let Some((key, micros)) = read(event.unwrap()) {
                    kept.lock().insert(key, micros);
                }
            }
        };
        Self { seen, listening: tokio::spawn(listen).abort_handle() }
    }
}

impl Drop for Moments {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

/// Name and action, and when; the newest of its kind is kept.
fn read(event: EventMessage) -> Option<((String, String), u64)> {
    let name = event.actor?.attributes?.remove("name")?;
    let micros = u64::try_from(event.time_nano? / 1000).ok()?;
    Some(((name, event.action?), micros))
}
