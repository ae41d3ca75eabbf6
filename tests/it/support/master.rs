//! A real master on a free port: real actors, real database, real HTTP, and a stand-in for Cloudflare.

use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use actix_rt::Arbiter;
use actix_web::cookie::Key;
use actix_web::dev::ServerHandle;
use lightship::actors::master::{MakeClient, Master, MasterParts, MasterSettings, TakeToken};
use lightship::actors::supervision::{Root, Tree};
use lightship::chance::Chance;
use lightship::clock::Clock;
use lightship::cloudflare::Cloudflare;
use lightship::domain::id::AccountId;
use lightship::io::{Io, IoRuntime};
use lightship::notify::Sender;
use lightship::web::state::RenderMetrics;
use lightship::web::{Listen, Patience, WebSettings, WebState, serve_with};
use metrics_exporter_prometheus::PrometheusHandle;
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::watch;

use super::asking::Answers;
pub use super::asking::Asking;
use super::cloudflare::{ACCOUNT, CloudflareStandIn, TOKEN};
use super::database::TestDatabase;

/// Opens the admin API of every test master.
pub const ADMIN: &str = "admin-token-of-the-tests-0123456789";
/// What the masters of tests tell agents to look for beside the known prefixes.
pub const LABEL_PREFIX: &str = "mine";

/// Where masters of tests listen unless they are told otherwise.
const ADDRESS: &str = "127.0.0.1:0";

/// A running master; stop it with [`TestMaster::stop`].
pub struct TestMaster {
    pub address: SocketAddr,
    pub state: WebState,
    pub master: Master,
    pub db: TestDatabase,
    pub standin: CloudflareStandIn,
    pub http: reqwest::Client,
    /// Every answer that was read, for the search for secrets.
    pub answers: Arc<Answers>,
    /// The threads that agents' actors live on, one per shard.
    pub shards: Vec<Arbiter>,
    /// Where the admin socket is.
    folder: TempDir,
    server: ServerHandle,
    root: Root,
    _io: IoRuntime,
}

impl TestMaster {
    /// With Cloudflare.
    pub async fn start() -> Self {
        Self::build(true, |_| {}).await
    }

    /// Without a Cloudflare token.
    pub async fn without_cloudflare() -> Self {
        Self::build(false, |_| {}).await
    }

    /// With other settings.
    pub async fn build(with_cloudflare: bool, change: impl FnOnce(&mut WebSettings)) -> Self {
        Self::assemble(ADDRESS, with_cloudflare, Clock::system(), MasterSettings::default(), change).await
    }

    /// With Cloudflare, at another address.
    pub async fn at(address: &str) -> Self {
        Self::assemble(address, true, Clock::system(), MasterSettings::default(), |_| {}).await
    }

    /// With Cloudflare and other settings of its actors.
    pub async fn with_actors(settings: MasterSettings) -> Self {
        Self::assemble(ADDRESS, true, Clock::system(), settings, |_| {}).await
    }

    /// With Cloudflare and other settings of its actors, on a clock that the test moves.
    pub async fn with_actors_on_clock(settings: MasterSettings, clock: Clock) -> Self {
        Self::assemble(ADDRESS, true, clock, settings, |_| {}).await
    }

    /// With Cloudflare, on a clock that the test moves.
    pub async fn on_clock(clock: Clock) -> Self {
        Self::assemble(ADDRESS, true, clock, MasterSettings::default(), |_| {}).await
    }

    async fn assemble(
        address: &str,
        with_cloudflare: bool,
        clock: Clock,
        settings: MasterSettings,
        change: impl FnOnce(&mut WebSettings),
    ) -> Self {
        rustls::crypto::ring::default_provider().install_default().ok();
        let (io, standin) = (IoRuntime::start().unwrap(), CloudflareStandIn::start());
        let chance = Chance::system();
        let db = TestDatabase::open(io.io()).await;
        let cloudflare = with_cloudflare.then(|| client_of(&standin, io.io()));
        let (changed, tree_changes) = watch::channel(());
        let tree = Tree::new(clock.clone(), chance.clone(), move |_| {
            changed.send_replace(());
        });
        let shards: Vec<_> = (0..settings.shards).map(|_| Arbiter::new()).collect();
        let parts = MasterParts {
            cloudflare,
            take_token: Some(TakeToken { make: maker_of(&standin, io.io()), is_persons: false }),
            default_zone: None,
            db: db.clone(),
            account: None,
            writer: None,
            registries: None,
            messenger: Some(Arc::new(Sender::new(io.io()).unwrap())),
            settings,
            clock,
            chance,
            tree: tree.clone(),
            arbiters: shards.iter().map(Arbiter::handle).collect(),
        };
        let (spec, master) = Master::start(parts).await.unwrap();
        let root = Root::start(tree, "master", spec).await;
        let mut settings = web_settings(tree_changes);
        change(&mut settings);
        let state = WebState::new(master.clone(), settings);
        let folder = tempfile::tempdir().unwrap();
        let (address, server) = listen(address, state.clone(), &socket_in(&folder));
        let answers = Arc::default();
        let http = client().build().unwrap();
        Self { address, state, master, db, standin, http, answers, shards, folder, server, root, _io: io }
    }

    /// The clock it was started on.
    pub fn clock(&self) -> &Clock {
        &self.master.clock
    }

    /// A client of its admin socket.
    pub fn local_client(&self) -> reqwest::Client {
        client().unix_socket(socket_in(&self.folder)).build().unwrap()
    }

    /// The address of a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Begins a request.
    pub fn ask(&self, method: Method, path: &str) -> Asking<'_> {
        let request = self.http.request(method.clone(), self.url(path));
        Asking { answers: &self.answers, what: format!("{method} {path}"), request }
    }

    /// Begins a `GET`.
    pub fn get(&self, path: &str) -> Asking<'_> {
        self.ask(Method::GET, path)
    }

    /// Begins a `POST`.
    pub fn post(&self, path: &str) -> Asking<'_> {
        self.ask(Method::POST, path)
    }

    /// Begins an admin's `GET`.
    pub fn admin_get(&self, path: &str) -> Asking<'_> {
        self.get(path).key(ADMIN)
    }

    /// Begins an admin's `POST` with a JSON body.
    pub fn admin_post(&self, path: &str, body: Value) -> Asking<'_> {
        self.post(path).key(ADMIN).json(body)
    }

    /// Makes a key; returns its id and the key.
    pub async fn make_key(&self, owner: &str) -> (String, String) {
        let made =
            self.admin_post("/api/v2/agents/generate-key", json!({ "owner": owner })).expect(201).await;
        let field = |name: &str| made.json()[name].as_str().unwrap().to_owned();
        (field("key_id"), field("key"))
    }

    /// Registers an agent with a key; returns its id.
    pub async fn register(&self, key: &str, body: Value) -> String {
        let answer = self.post("/api/v2/agents/register").key(key).json(body).send().await;
        assert!([200, 201].contains(&answer.status), "{answer:?}");
        answer.json()["agent_id"].as_str().unwrap().to_owned()
    }

    /// Makes a key and registers an agent with it; returns key and id.
    pub async fn new_agent(&self, name: &str) -> (String, String) {
        let (_, key) = self.make_key(name).await;
        let id = self.register(&key, json!({ "display_name": name, "version": "1.0.0" })).await;
        (key, id)
    }

    /// Registers an agent of ours; returns key, id and session.
    pub async fn new_native_agent(&self, name: &str) -> (String, String, String) {
        let (_, key) = self.make_key(name).await;
        let hello = json!({ "display_name": name, "lightship": { "protocols": [3], "host": name } });
        let answer = self.post("/api/v2/agents/register").key(&key).json(hello).expect(201).await.json();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        (key, text(&answer["agent_id"]), text(&answer["lightship"]["session"]))
    }

    /// Makes a registration token; returns its id and its text.
    pub async fn make_token(&self, seats: u32) -> (String, String) {
        let wish = json!({ "label": "tests", "expires_in": "24h", "max_seats": seats });
        let made = self.admin_post("/api/v1/admin/registration-tokens", wish).expect(201).await.json();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        (text(&made["id"]), text(&made["token"]))
    }

    /// Registers a RedFlag agent with a token of its own; returns its access token and its id.
    pub async fn new_redflag_agent(&self, name: &str) -> (String, String) {
        let (_, token) = self.make_token(1).await;
        let hello = json!({ "hostname": name, "os_type": "linux", "agent_version": "0.1.18" });
        let joined = self.post("/api/v1/agents/register").key(&token).json(hello).expect(200).await.json();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        (text(&joined["token"]), text(&joined["agent_id"]))
    }

    /// Signs an administrator in over RedFlag's API; returns the access token.
    pub async fn log_in(&self, name: &str, password: &str) -> String {
        let sign_in = json!({ "username": name, "password": password });
        let answer = self.post("/api/v1/auth/login").json(sign_in).expect(200).await.json();
        answer["token"].as_str().unwrap().to_owned()
    }

    /// Enrols an agent.
    pub async fn enroll(&self, id: &str, tunnel: &str) -> Value {
        let path = format!("/api/v2/agents/{id}/enroll");
        self.admin_post(&path, json!({ "tunnel_name": tunnel })).expect(200).await.json()
    }

    /// Waits until `check` holds for the rules that `/services` lists.
    pub async fn until_services(&self, wanted: &str, check: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let mut last = Vec::new();
        for _ in 0..500 {
            let answer = self.admin_get("/api/v2/services").expect(200).await.json();
            last = answer["services"].as_array().unwrap().clone();
            if check(&last) {
                return last;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("the services never came to: {wanted}; they are {last:#?}");
    }

    /// Ends server and actors.
    pub async fn stop(self) {
        self.state.end_streams();
        self.server.stop(true).await;
        self.root.shutdown(Duration::from_secs(10)).await;
        for shard in self.shards {
            shard.stop();
            shard.join().unwrap();
        }
        self.db.close().await.unwrap();
    }
}

fn client_of(standin: &CloudflareStandIn, io: Io) -> Cloudflare {
    Cloudflare::new(&standin.base_url(), AccountId::new(ACCOUNT), TOKEN.to_owned().into(), io).unwrap()
}

fn maker_of(standin: &CloudflareStandIn, io: Io) -> MakeClient {
    let base = standin.base_url();
    Arc::new(move |account, token| Cloudflare::new(&base, account, token, io.clone()))
}

fn web_settings(tree_changes: watch::Receiver<()>) -> WebSettings {
    WebSettings {
        admin_token: Some(ADMIN.to_owned().into()),
        cookie_key: Key::generate(),
        jwt_secret: "a-secret-of-the-tests-0123456789".to_owned().into(),
        push_token: None,
        secure_cookies: false,
        trusted_proxies: Vec::new(),
        public_url: None,
        is_loopback: true,
        offline_after: Duration::from_secs(60),
        requests_per_second: 0,
        apply_patience: Duration::from_secs(15),
        label_prefix: Some(LABEL_PREFIX.to_owned()),
        account_id: Some(ACCOUNT.to_owned()),
        tree_changes,
        metrics: render_metrics(),
        docker: None,
    }
}

/// A program has one recorder; the masters of all tests share it.
fn render_metrics() -> Option<RenderMetrics> {
    static RECORDER: OnceLock<Option<PrometheusHandle>> = OnceLock::new();
    let handle = RECORDER.get_or_init(lightship::telemetry::start_metrics).clone()?;
    Some(Arc::new(move || handle.render()))
}

fn socket_in(folder: &TempDir) -> PathBuf {
    folder.path().join("admin.sock")
}

fn listen(address: &str, state: WebState, local: &Path) -> (SocketAddr, ServerHandle) {
    let socket = TcpListener::bind(address).unwrap();
    let address = socket.local_addr().unwrap();
    let local = Some(UnixListener::bind(local).unwrap());
    let listen = Listen { tcp: vec![socket], local, workers: 1, stop_secs: 5 };
    let server = serve_with(listen, state, Patience::default()).unwrap();
    let handle = server.handle();
    actix_web::rt::spawn(server);
    (address, handle)
}

fn client() -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(Duration::from_secs(30))
        .no_proxy()
}
