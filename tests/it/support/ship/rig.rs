//! How the real program is set up before it is started.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{ADMIN_TOKEN, Ship, binary};
use crate::support::cloudflare::{ACCOUNT, CloudflareStandIn, TOKEN};
use crate::support::database;
use crate::support::docker::Engine;

/// How a ship is to be started; every start of it is the same.
#[derive(Clone)]
pub struct Rig {
    role: &'static str,
    dir: PathBuf,
    env: BTreeMap<String, String>,
    network: Option<PathBuf>,
    user: Option<u32>,
    pub(super) script: Option<PathBuf>,
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
        let mut env: BTreeMap<_, _> = env.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
        if role != "agent" {
            env.extend(database::url_for(dir).map(|url| ("DATABASE_URL".to_owned(), url)));
        }
        Self { role, dir: dir.to_owned(), env, network: None, user: None, script: None }
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

    /// Runs as this user and group, who gets its folder, and not as root.
    #[must_use]
    pub fn user(mut self, id: u32) -> Self {
        std::fs::create_dir_all(&self.dir).unwrap();
        std::os::unix::fs::chown(&self.dir, Some(id), Some(id)).unwrap();
        self.user = Some(id);
        self
    }

    /// Is started by this script, which names the role itself.
    #[must_use]
    pub fn script(mut self, path: &Path) -> Self {
        self.script = Some(path.to_owned());
        self.env("PATH", std::env::var("PATH").unwrap())
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
        limited.arg("300").arg(verb.get_program()).args(verb.get_args()).env_clear().envs(&self.env);
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
        command.args(args);
        self.prepare(command)
    }

    pub(super) fn start_command(&self) -> Command {
        match &self.script {
            None => self.command(&[self.role]),
            Some(script) => {
                let mut command = Command::new(script);
                // As a shell with a terminal does it: Ctrl-C goes to all of the group.
                command.process_group(0);
                self.prepare(command)
            }
        }
    }

    fn prepare(&self, mut command: Command) -> Command {
        command.env_clear().envs(&self.env).current_dir(&self.dir).stdin(Stdio::null());
        if let Some(id) = self.user {
            command.uid(id).gid(id);
        }
        command
    }
}
