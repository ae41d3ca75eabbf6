//! The real program as a process of its own: started, asked, killed.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde_json::Value;
use std::sync::Arc;

use super::cloudflare::{ACCOUNT, CloudflareStandIn, TOKEN};
use super::docker::Engine;
use super::until::until;

/// Opens the admin API of every ship here.
pub const ADMIN_TOKEN: &str = "admin-token-of-the-tests";

/// How a ship is to be started; every start of it is the same.
#[derive(Clone)]
pub struct Rig {
    role: &'static str,
    dir: PathBuf,
    env: BTreeMap<String, String>,
    network: Option<PathBuf>,
}

impl Rig {
    /// A role with its state in `dir` and nothing else.
    pub fn new(role: &'static str, dir: &Path) -> Self {
        let env = [
            ("LIGHTSHIP_STATE_DIR", dir.to_str().unwrap()),
            ("LIGHTSHIP_ADMIN_TOKEN", ADMIN_TOKEN),
            ("SERVER_HOST", "127.0.0.1"),
            ("SERVER_PORT", "0"),
            ("LOG_LEVEL", "debug"),
            // A socket that nobody listens on: tests never meet the machine's own Engine.
            ("DOCKER_HOST", "unix:///nonexistent/docker.sock"),
        ];
        let env = env.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
        Self { role, dir: dir.to_owned(), env, network: None }
    }

    /// Sets a variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.env.insert(name.into(), value.into());
        self
    }

    /// Publishes through the stand-in.
    #[must_use]
    pub fn cloudflare(self, standin: &CloudflareStandIn) -> Self {
        self.env("CF_API_BASE_URL", standin.base_url())
            .env("CF_ACCOUNT_ID", ACCOUNT)
            .env("CF_API_TOKEN", TOKEN)
    }

    /// Uses this Engine.
    #[must_use]
    pub fn engine(self, engine: &Engine) -> Self {
        self.env("DOCKER_HOST", engine.docker_host())
    }

    /// Runs on the host of this Engine instead of beside the test.
    #[must_use]
    pub fn on(mut self, engine: &Engine) -> Self {
        self.network = Some(engine.network());
        self.engine(engine)
    }

    /// Starts the program and waits until it says where it listens, if it does.
    pub fn start(&self) -> Ship {
        let mut ship = self.launch();
        if self.role != "agent" {
            ship.address = Some(ship.said("listening on "));
        }
        ship
    }

    /// Starts the program and waits for nothing.
    pub fn launch(&self) -> Ship {
        Ship::launch(self)
    }

    /// Runs one verb to its end; returns exit code, standard output and standard error. One that does not end
    /// within a minute has exit code 124.
    pub fn verb(&self, args: &[&str]) -> (i32, String, String) {
        self.verb_reading(args, "")
    }

    /// The same, with `input` on standard input.
    pub fn verb_reading(&self, args: &[&str], input: &str) -> (i32, String, String) {
        let verb = self.command(args);
        let mut limited = Command::new("/usr/bin/timeout");
        limited.arg("60").arg(verb.get_program()).args(verb.get_args()).env_clear().envs(&self.env);
        limited.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = limited.current_dir(&self.dir).spawn().unwrap();
        // A verb that reads nothing may have ended already.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let output = child.wait_with_output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = match &self.network {
            None => Command::new(binary()),
            Some(network) => {
                let mut command = Command::new("/usr/bin/nsenter");
                command.arg(format!("--net={}", network.display())).arg(binary());
                command
            }
        };
        command.args(args).env_clear().envs(&self.env).current_dir(&self.dir).stdin(Stdio::null());
        command
    }
}

/// The program under test: what `make build` left, or what `LIGHTSHIP_BIN` names.
pub fn binary() -> PathBuf {
    let path = std::env::var_os("LIGHTSHIP_BIN").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/release/lightship"),
        PathBuf::from,
    );
    assert!(path.exists(), "`{}` is missing; `make test` builds it first", path.display());
    path
}

/// A running program. Dropping it kills it.
pub struct Ship {
    child: Child,
    lines: mpsc::Receiver<String>,
    log: Arc<Mutex<String>>,
    address: Option<String>,
    http: reqwest::Client,
}

impl Ship {
    fn launch(rig: &Rig) -> Self {
        let mut child =
            rig.command(&[rig.role]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (sender, lines) = mpsc::channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let log = Arc::new(Mutex::new(String::new()));
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let kept = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let mut log = kept.lock();
                log.push_str(&line);
                log.push('\n');
            }
        });
        rustls::crypto::ring::default_provider().install_default().ok();
        let http = reqwest::Client::builder().timeout(Duration::from_secs(20)).build().unwrap();
        Self { child, lines, log, address: None, http }
    }

    /// Waits for a line of standard output that starts with `prefix`; returns the rest of it.
    pub fn said(&mut self, prefix: &str) -> String {
        let due = Instant::now() + Duration::from_secs(30);
        loop {
            match self.lines.recv_timeout(due.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    if let Some(rest) = line.strip_prefix(prefix) {
                        return rest.to_owned();
                    }
                }
                Err(_) => panic!("never said `{prefix}`; its log:\n{}", self.log()),
            }
        }
    }

    /// Where it listens, such as `http://127.0.0.1:40001`.
    pub fn url(&self) -> &str {
        self.address.as_deref().unwrap()
    }

    /// Where it listens, without the scheme.
    pub fn port(&self) -> u16 {
        self.url().rsplit(':').next().unwrap().parse().unwrap()
    }

    /// Everything it logged so far.
    pub fn log(&self) -> String {
        self.log.lock().clone()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// `kill -9`, also of one that was killed already.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for its end by itself; the exit code.
    pub async fn ended(&mut self) -> Option<i32> {
        let status = until("the program ends", || {
            let status = self.child.try_wait().unwrap();
            async move { status }
        });
        status.await.code()
    }

    /// `kill -TERM`, and the exit code.
    pub fn stop(mut self) -> ExitStatus {
        self.signal(rustix::process::Signal::TERM);
        let due = Instant::now() + Duration::from_secs(60);
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < due, "did not stop; its log:\n{}", self.log());
            std::thread::yield_now();
        }
    }

    /// Sends a signal.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(self.child.id().cast_signed()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// `GET path` with the admin token.
    pub async fn get(&self, path: &str) -> Value {
        let answer = self.http.get(format!("{}{path}", self.url())).bearer_auth(ADMIN_TOKEN).send().await;
        answer.unwrap().json().await.unwrap()
    }

    /// `POST path` with the admin token; status and body.
    pub async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        self.try_post(path, body).await.unwrap()
    }

    /// `POST path` to a program that may end meanwhile.
    pub async fn try_post(&self, path: &str, body: Value) -> reqwest::Result<(u16, Value)> {
        let url = format!("{}{path}", self.url());
        let answer = self.http.post(url).bearer_auth(ADMIN_TOKEN).json(&body).send().await?;
        Ok((answer.status().as_u16(), answer.json().await.unwrap_or_default()))
    }

    /// Makes an agent key.
    pub async fn new_key(&self) -> String {
        let (status, body) =
            self.post("/api/v2/agents/generate-key", serde_json::json!({ "owner": "test" })).await;
        assert_eq!(status, 201, "{body}");
        body["key"].as_str().unwrap().to_owned()
    }

    /// Routes as `hostname+path → state`, from the API.
    pub async fn routes(&self) -> BTreeMap<String, String> {
        let answer = self.get("/api/v3/routes").await;
        let text = |route: &Value, key: &str| route[key].as_str().unwrap_or_default().to_owned();
        let routes = answer["routes"].as_array().cloned().unwrap_or_default();
        routes
            .iter()
            .map(|route| {
                (format!("{}{}", text(route, "hostname"), text(route, "path")), text(route, "state"))
            })
            .collect()
    }

    /// Waits until a route is in `state`.
    pub async fn until_route(&self, name: &str, state: &str) {
        until(&format!("route {name} is {state}"), || async {
            (self.routes().await.get(name).map(String::as_str) == Some(state)).then_some(())
        })
        .await;
    }

    /// Waits for exactly one agent in `status`; returns its id.
    pub async fn until_agent(&self, status: &str) -> String {
        until(&format!("an agent is {status}"), || async {
            let answer = self.get("/api/v2/agents").await;
            let agents = answer["agents"].as_object().cloned().unwrap_or_default();
            agents.iter().find(|(_, agent)| agent["status"] == status).map(|(id, _)| id.clone())
        })
        .await
    }
}

impl Drop for Ship {
    fn drop(&mut self) {
        // Ended already, or ends now; a failing test shows what the program said.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- log of the program\n{}---", self.log());
        }
    }
}
