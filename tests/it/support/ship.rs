//! The real program as a process of its own: started, asked, killed.

mod rig;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde_json::Value;

pub use self::rig::Rig;
use super::until::until;

/// Opens the admin API of every ship here.
pub const ADMIN_TOKEN: &str = "admin-token-of-the-tests";

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
    is_group: bool,
}

impl Ship {
    fn launch(rig: &Rig) -> Self {
        let mut child = rig.start_command().stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
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
        Self { child, lines, log, address: None, http, is_group: rig.script.is_some() }
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

    /// How it ended, if it has.
    pub fn try_ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Waits for its end by itself; the exit code.
    pub async fn ended(&mut self) -> Option<i32> {
        let status = until("the program ends", || {
            let status = self.try_ended();
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

    /// Sends a signal; to a script and all that it started.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(self.child.id().cast_signed()).unwrap();
        let kill =
            if self.is_group { rustix::process::kill_process_group } else { rustix::process::kill_process };
        kill(pid, signal).unwrap();
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
        if self.is_group && matches!(self.child.try_wait(), Ok(None)) {
            self.signal(rustix::process::Signal::KILL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- log of the program\n{}---", self.log());
        }
    }
}
