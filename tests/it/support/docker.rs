//! Real Docker Engines for tests: each in a network, mount and pid namespace of its own.
//!
//! `dockerd` needs root, `docker.io` and `iproute2`; nothing is pulled. An Engine here touches neither the
//! machine's own Engine nor its iptables, its containers are reachable by address from the test, and all of it
//! is gone with the test process, however that ends.

mod host;
mod images;
mod proxy;

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bollard::Docker as Client;
use bollard::models::{ContainerCreateBody, EventMessage, HostConfig, RestartPolicy, RestartPolicyNameEnum};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, EventsOptionsBuilder, InspectContainerOptions,
    KillContainerOptionsBuilder, ListContainersOptionsBuilder, ListNetworksOptions,
    RemoveContainerOptionsBuilder, StartContainerOptions, StopContainerOptionsBuilder,
};
use futures_util::TryStreamExt;
use parking_lot::Mutex;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, sleep};

pub use proxy::Proxy;

pub use images::{APP_IMAGE, CLOUDFLARED_IMAGE};
#[allow(unused_imports, reason = "each of the test binaries that include this uses a part of it")]
pub use images::{static_program, token};

use host::Host;

/// Engines that may run side by side; more would only fight for the cores.
static PLACES: Semaphore = Semaphore::const_new(2);
/// Engines that were used before and can be used again.
static IDLE: Mutex<Vec<Host>> = Mutex::new(Vec::new());

/// An Engine that this test has for itself.
pub struct Engine {
    host: Option<Host>,
    client: Option<Client>,
    _place: SemaphorePermit<'static>,
}

impl Engine {
    /// Takes an Engine without containers and networks, starting one if none is idle.
    pub async fn lease() -> Self {
        let place = PLACES.acquire().await.unwrap();
        let idle = IDLE.lock().pop();
        if let Some(host) = idle {
            let client = connect(&host.socket());
            match clear(&client).await {
                Ok(()) => return Self { host: Some(host), client: Some(client), _place: place },
                // An Engine that was killed may believe for ever that a network is in use.
                Err(why) => eprintln!("an Engine that cannot be cleared is replaced: {why}"),
            }
        }
        let mut engine = Self { host: Some(Host::make()), client: None, _place: place };
        engine.start_daemon().await;
        engine
    }

    /// Takes a host on which `dockerd` was not started yet.
    pub async fn lease_asleep() -> Self {
        let place = PLACES.acquire().await.unwrap();
        Self { host: Some(Host::make()), client: None, _place: place }
    }

    /// What `DOCKER_HOST` is to be.
    pub fn docker_host(&self) -> String {
        format!("unix://{}", self.host().socket().display())
    }

    /// A way to this Engine over TCP that notes what is asked.
    pub async fn proxy(&self) -> Proxy {
        Proxy::start(self.host().socket()).await
    }

    /// A way to this Engine over TCP that answers 403 to what it is told to refuse, by the request line.
    pub async fn proxy_refusing(&self, refuse: fn(&str) -> bool) -> Proxy {
        Proxy::refusing(self.host().socket(), refuse).await
    }

    /// The address at which containers of this Engine reach the test's own listeners.
    pub fn gateway(&self) -> IpAddr {
        self.host().gateway()
    }

    /// The network namespace of this host, for programs that are to run on it.
    pub fn network(&self) -> PathBuf {
        self.host().network()
    }

    /// Starts `dockerd`, waits until it answers, and loads the images if that was not done yet.
    pub async fn start_daemon(&mut self) {
        let host = self.host.as_mut().expect("present until dropped");
        host.start_daemon().await;
        if self.client.is_none() {
            let client = connect(&host.socket());
            images::load(&client).await;
            self.client = Some(client);
        }
    }

    /// Ends `dockerd` as a service manager does.
    pub async fn stop_daemon(&mut self) {
        self.host.as_mut().expect("present until dropped").stop_daemon("TERM").await;
    }

    /// Ends `dockerd` as the kernel does when memory is short; its containers go on.
    pub async fn kill_daemon(&mut self) {
        self.host.as_mut().expect("present until dropped").stop_daemon("KILL").await;
    }

    fn host(&self) -> &Host {
        self.host.as_ref().expect("present until dropped")
    }

    /// A client of its own, for what this file has no word for.
    pub fn client(&self) -> &Client {
        self.client.as_ref().expect("the daemon was started")
    }

    /// Starts a container that does nothing, with these labels; returns its id.
    pub async fn run(&self, name: &str, labels: &[(&str, &str)]) -> String {
        let body = ContainerCreateBody {
            image: Some(APP_IMAGE.to_owned()),
            labels: Some(labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()),
            ..Default::default()
        };
        self.run_body(name, body).await
    }

    /// Starts a container that the Engine is to start again whenever it ends.
    pub async fn run_always(&self, name: &str, labels: &[(&str, &str)]) -> String {
        let policy = RestartPolicy { name: Some(RestartPolicyNameEnum::ALWAYS), maximum_retry_count: None };
        let body = ContainerCreateBody {
            image: Some(APP_IMAGE.to_owned()),
            labels: Some(labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()),
            host_config: Some(HostConfig { restart_policy: Some(policy), ..Default::default() }),
            ..Default::default()
        };
        self.run_body(name, body).await
    }

    /// Creates and starts a container as described.
    pub async fn run_body(&self, name: &str, body: ContainerCreateBody) -> String {
        let options = CreateContainerOptionsBuilder::default().name(name).build();
        let id = self.client().create_container(Some(options), body).await.unwrap().id;
        self.client().start_container(&id, None::<StartContainerOptions>).await.unwrap();
        id
    }

    /// `docker start`
    pub async fn start(&self, name: &str) {
        self.client().start_container(name, None::<StartContainerOptions>).await.unwrap();
    }

    /// `docker kill`
    pub async fn kill(&self, name: &str) {
        let options = KillContainerOptionsBuilder::default().signal("KILL").build();
        self.client().kill_container(name, Some(options)).await.unwrap();
    }

    /// `docker stop -t 2`
    pub async fn stop(&self, name: &str) {
        let options = StopContainerOptionsBuilder::default().t(2).build();
        self.client().stop_container(name, Some(options)).await.unwrap();
    }

    /// `docker rm -f`
    pub async fn remove(&self, name: &str) {
        let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
        self.client().remove_container(name, Some(options)).await.unwrap();
    }

    /// Names of all containers, in whatever state, with their states; sorted.
    pub async fn containers(&self) -> Vec<(String, String)> {
        let options = ListContainersOptionsBuilder::default().all(true).build();
        let mut listed: Vec<_> = self
            .client()
            .list_containers(Some(options))
            .await
            .unwrap()
            .into_iter()
            .map(|c| {
                let name = c.names.unwrap_or_default().join(",").trim_start_matches('/').to_owned();
                (name, c.state.map(|s| s.to_string()).unwrap_or_default())
            })
            .collect();
        listed.sort();
        listed
    }

    /// `docker inspect`, or `None` if there is no such container.
    pub async fn inspect(&self, name: &str) -> Option<bollard::models::ContainerInspectResponse> {
        self.client().inspect_container(name, None::<InspectContainerOptions>).await.ok()
    }

    /// Loads the images again, after a test that removed one.
    pub async fn reload_images(&self) {
        images::load(self.client()).await;
    }

    /// How many containers with this label were made, among the Engine's last 256 events.
    pub async fn created_with(&self, label: &str, value: &str) -> usize {
        let pair = format!("{label}={value}");
        self.past_events(&[("event", "create"), ("label", &pair)]).await.len()
    }

    /// When the process of a container ended last, by the Engine, among its last 256 events.
    pub async fn ended_at(&self, id: &str) -> SystemTime {
        let events = self.past_events(&[("event", "die"), ("container", id)]).await;
        let nanos = events.last().and_then(|event| event.time_nano).expect("it ended");
        UNIX_EPOCH + Duration::from_nanos(nanos.unsigned_abs())
    }

    async fn past_events(&self, filters: &[(&str, &str)]) -> Vec<EventMessage> {
        let mut filters: HashMap<&str, Vec<&str>> =
            filters.iter().map(|(name, value)| (*name, vec![*value])).collect();
        filters.insert("type", vec!["container"]);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let until = format!("{}.{:09}", now.as_secs(), now.subsec_nanos());
        let options = EventsOptionsBuilder::default().since("1").until(&until).filters(&filters).build();
        self.client().events(Some(options)).try_collect().await.unwrap()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Some(host) = self.host.take()
            && host.has_daemon()
            && self.client.is_some()
            // What a failed test left behind is nothing for the next one.
            && !std::thread::panicking()
        {
            IDLE.lock().push(host);
        }
    }
}

/// Removes all containers and networks. What an agent asked for just before its end may still be carried out,
/// so this goes on until there is nothing left.
async fn clear(client: &Client) -> Result<(), String> {
    let due = Instant::now() + Duration::from_secs(10);
    loop {
        let left = match clear_once(client).await {
            Ok(0) => return Ok(()),
            Ok(removed) => format!("{removed} containers and networks come again and again"),
            Err(why) => {
                // Asked too early; the Engine says by no event when it would be the time.
                sleep(Duration::from_millis(50)).await;
                why.to_string()
            }
        };
        if Instant::now() > due {
            return Err(left);
        }
    }
}

/// Returns how much there was to remove.
async fn clear_once(client: &Client) -> Result<usize, bollard::errors::Error> {
    let all = ListContainersOptionsBuilder::default().all(true).build();
    let containers = client.list_containers(Some(all)).await?;
    for id in containers.iter().filter_map(|container| container.id.as_deref()) {
        let force = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
        client.remove_container(id, Some(force)).await?;
    }
    let networks = client.list_networks(None::<ListNetworksOptions>).await?;
    let names = networks.into_iter().filter_map(|network| network.name);
    let ours: Vec<_> = names.filter(|name| !["bridge", "host", "none"].contains(&name.as_str())).collect();
    for name in &ours {
        client.remove_network(name).await?;
    }
    Ok(containers.len() + ours.len())
}

fn connect(socket: &Path) -> Client {
    let limit = Duration::from_secs(60);
    Client::connect_with_unix(&socket.display().to_string(), limit.as_secs(), bollard::API_DEFAULT_VERSION)
        .unwrap()
}
