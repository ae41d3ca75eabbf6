//! A master, a host with an Engine and an agent, and Cloudflare's stand-in: what most tests here begin with.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use lightship::chance::Chance;
use lightship::domain::agent_tunnel::{COMMAND_LABEL, CONTAINER_NAME, NEXT_NAME};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::cloudflare::CloudflareStandIn;
use crate::support::docker::Engine;
use crate::support::fault_proxy::FaultProxy;
use crate::support::ship::{Rig, Ship};
use crate::support::until::until;

/// The agent's host, the master behind a line that can be cut. Programs come first: they end before what
/// they use.
pub struct Scene {
    pub agent: Option<Ship>,
    pub master: Option<Ship>,
    pub proxy: FaultProxy,
    pub engine: Engine,
    pub standin: CloudflareStandIn,
    pub agent_id: String,
    pub tunnel: String,
    master_rig: Rig,
    agent_rig: Rig,
    agent_dir: PathBuf,
    _dir: TempDir,
}

impl Scene {
    /// All of it, the agent enrolled and its connector running.
    pub async fn enrolled() -> Self {
        let dir = TempDir::new().unwrap();
        let agent_dir = subfolder(&dir, "agent");
        Self::set(dir, agent_dir).await
    }

    /// The same, with the agent's files in a folder that the test has made.
    pub async fn enrolled_in(agent_dir: &Path) -> Self {
        Self::set(TempDir::new().unwrap(), agent_dir.to_owned()).await
    }

    async fn set(dir: TempDir, agent_dir: PathBuf) -> Self {
        let engine = Engine::lease().await;
        let standin = CloudflareStandIn::start();
        let tunnel = standin.add_tunnel("edge", "cloudflare");
        let master_rig = Rig::new("master", &subfolder(&dir, "master")).cloudflare(&standin);
        let master = master_rig.start();
        let proxy = FaultProxy::start(address(&master));
        let agent_rig = Rig::new("agent", &agent_dir)
            // The most that can be logged: no secret may be in it.
            .env("LOG_LEVEL", "trace")
            .engine(&engine)
            .env("DOCKFLARE_MASTER_URL", proxy.url())
            .env("DOCKFLARE_API_KEY", master.new_key().await);
        let agent = agent_rig.start();
        let agent_id = master.until_agent("pending").await;
        let scene = Self {
            agent: Some(agent),
            master: Some(master),
            proxy,
            engine,
            standin,
            agent_id,
            tunnel,
            master_rig,
            agent_rig,
            agent_dir,
            _dir: dir,
        };
        scene.enroll("edge").await;
        scene.until_done("start_tunnel", 1).await;
        scene
    }

    pub fn master(&self) -> &Ship {
        self.master.as_ref().expect("it runs")
    }

    /// Where the agent's files are.
    pub fn agent_dir(&self) -> &Path {
        &self.agent_dir
    }

    /// How the agent is started.
    pub fn agent_rig(&self) -> &Rig {
        &self.agent_rig
    }

    pub async fn enroll(&self, tunnel: &str) {
        let path = format!("/api/v2/agents/{}/enroll", self.agent_id);
        let (status, body) = self.master().post(&path, json!({ "tunnel_name": tunnel })).await;
        assert_eq!(status, 200, "{body}");
    }

    /// Ends the master with `kill -9`, if it was not done yet.
    pub fn kill_master(&mut self) {
        if let Some(master) = self.master.take() {
            master.kill();
        }
    }

    /// Starts a master on the same files and leads the agent's line to it.
    pub fn start_master(&mut self) {
        self.kill_master();
        let master = self.master_rig.start();
        self.proxy.mend(address(&master));
        self.master = Some(master);
    }

    /// Ends the agent with `kill -9`, if it was not done yet.
    pub fn kill_agent(&mut self) {
        if let Some(agent) = self.agent.take() {
            agent.kill();
        }
    }

    /// Starts an agent on the same files.
    pub fn start_agent(&mut self) {
        self.kill_agent();
        self.agent = Some(self.agent_rig.start());
    }

    /// What was decided about the agent's commands, in order.
    pub async fn command_events(&self) -> Vec<Value> {
        let path = format!("/api/v3/events?stream=agent/{}/commands&limit=1000", self.agent_id);
        let answer = self.master().get(&path).await;
        let rows = answer["events"].as_array().cloned().unwrap_or_default();
        rows.into_iter().map(|row| row["event"].clone()).collect()
    }

    /// Ids of the commands that order `action`, in order.
    pub async fn commands(&self, action: &str) -> Vec<String> {
        let events = self.command_events().await;
        let ordered = events
            .iter()
            .filter(|event| event["type"] == "command_queued" && event["command"]["action"] == action);
        ordered.map(|event| event["command_id"].as_str().unwrap().to_owned()).collect()
    }

    /// Waits until `count` commands of a kind were ordered and the last of them succeeded; returns its id.
    pub async fn until_done(&self, action: &str, count: usize) -> String {
        until(&format!("{count} {action} done"), || async {
            let ids = self.commands(action).await;
            let last = ids.last().filter(|_| ids.len() == count)?;
            self.all_succeeded(std::slice::from_ref(last)).await.then(|| last.clone())
        })
        .await
    }

    /// Waits until every command of a kind succeeded, however many there are; returns their ids.
    pub async fn until_all_done(&self, action: &str) -> Vec<String> {
        until(&format!("every {action} done"), || async {
            let ids = self.commands(action).await;
            self.all_succeeded(&ids).await.then_some(ids)
        })
        .await
    }

    async fn all_succeeded(&self, ids: &[String]) -> bool {
        let events = self.command_events().await;
        ids.iter().all(|id| {
            let end = events.iter().find(|e| e["type"] == "command_finished" && e["command_id"] == **id);
            end.inspect(|end| assert_eq!(end["outcome"]["succeeded"], true, "{end}")).is_some()
        })
    }

    /// Asserts that a command was carried out once and its result is on record once.
    pub async fn assert_once(&self, id: &str) {
        let events = self.command_events().await;
        let count = |kind: &str| events.iter().filter(|e| e["type"] == kind && e["command_id"] == id).count();
        assert_eq!((count("command_queued"), count("command_finished")), (1, 1), "{events:#?}");
        assert_eq!(self.engine.created_with(COMMAND_LABEL, id).await, 1, "made once for command {id}");
    }

    /// Waits until there is exactly one connector and it serves with `token`; returns its id.
    pub async fn until_one_connector(&self, token: &str) -> String {
        until("one connector with the right token", || async {
            let all = self.engine.containers().await;
            let connectors: Vec<_> =
                all.iter().filter(|(name, _)| [CONTAINER_NAME, NEXT_NAME].contains(&name.as_str())).collect();
            let [(name, state)] = connectors.as_slice() else { return None };
            let found = self.engine.inspect(CONTAINER_NAME).await?;
            let env = found.config?.env.unwrap_or_default();
            let is_right = env.contains(&format!("TUNNEL_TOKEN={token}"));
            (name == CONTAINER_NAME && state == "running" && is_right).then_some(found.id?)
        })
        .await
    }

    /// Token of the tunnel with this name.
    pub fn token(&self, name: &str) -> String {
        let state = self.standin.state();
        let tunnel = state.tunnels.iter().find(|tunnel| tunnel.name == name).expect("a known tunnel");
        tunnel.token(crate::support::cloudflare::ACCOUNT)
    }

    /// Waits until exactly these hostnames are routes that stay, and they are published.
    pub async fn until_routes(&self, hostnames: &BTreeSet<String>) {
        let wanted: BTreeMap<String, String> =
            hostnames.iter().map(|name| (name.clone(), "published".to_owned())).collect();
        crate::support::until::until_equal("routes equal labels", wanted, || async {
            let mut routes = self.master().routes().await;
            routes.retain(|_, state| state != "pending_deletion");
            routes
        })
        .await;
    }
}

/// Where a master listens.
pub fn address(master: &Ship) -> SocketAddr {
    ([127, 0, 0, 1], master.port()).into()
}

/// A folder of its own in `dir`.
pub fn subfolder(dir: &TempDir, name: &str) -> PathBuf {
    let path = dir.path().join(name);
    std::fs::create_dir_all(&path).unwrap();
    path
}

/// Labels that publish `hostname`.
pub fn labels(hostname: &str) -> [(&str, &str); 3] {
    [("dockflare.enable", "true"), ("dockflare.hostname", hostname), ("dockflare.service", "http://app:80")]
}

/// How often each fault happens.
const ROUNDS: u64 = 5;

/// Runs a fault five times, with seeds that are printed; `LIGHTSHIP_SEED` repeats one of them.
pub async fn with_seeds(fault: &str, mut run: impl AsyncFnMut(Dice)) {
    let seeds: Vec<u64> = match std::env::var("LIGHTSHIP_SEED") {
        Ok(seed) => vec![seed.parse().expect("LIGHTSHIP_SEED is a number")],
        Err(_) => (0..ROUNDS).map(new_seed).collect(),
    };
    for seed in seeds {
        let begun = std::time::Instant::now();
        println!("{fault}: seed {seed}");
        let round = usize::try_from(seed % ROUNDS).expect("a small number");
        run(Dice { chance: Chance::seeded(seed), round }).await;
        println!("{fault}: seed {seed} took {:?}", begun.elapsed());
    }
}

/// Returns a seed that tells the number of its run as well, so that it repeats all of it.
fn new_seed(round: u64) -> u64 {
    // Each hasher of the standard library starts from the system's randomness.
    let random = RandomState::new().build_hasher().finish() >> 32;
    random - random % ROUNDS + round
}

/// What varies from seed to seed.
pub struct Dice {
    chance: Chance,
    /// The number of the run, for what is to be gone through in order; the seed decides it.
    pub round: usize,
}

impl Dice {
    /// From 0 up to, and not including, 1.
    pub fn share(&self) -> f64 {
        self.chance.fraction()
    }

    /// One of `0..count`.
    pub fn below(&self, count: usize) -> usize {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small and not negative")]
        let number = (self.share() * count as f64) as usize;
        number.min(count - 1)
    }
}
