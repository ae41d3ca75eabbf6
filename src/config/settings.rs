//! Every setting there is, with its default. The documented list is `docs/configuration.md`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::secret::Secret;
use crate::domain::account_limits::AccountLimits;
use crate::domain::agent_tunnel::{BadOption, ConnectorOptions};
use crate::domain::origin_option::read_team;
use crate::domain::publish::{ChangeMode, DriftMode};

/// What this process is. Some names of the environment mean different things to different roles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Master and local agent in one process.
    Standalone,
    /// Control plane.
    Master,
    /// One per host.
    Agent,
    /// A verb of the command line.
    Client,
}

/// All settings of all roles.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Where the master listens.
    pub server: Server,
    /// Where files are kept.
    pub state: State,
    /// Where decisions are kept.
    pub database: Database,
    /// Who may administer.
    pub admin: Admin,
    /// Page and API protection.
    pub security: Security,
    /// What is logged.
    pub log: Log,
    /// The Cloudflare account.
    pub cloudflare: Cloudflare,
    /// Which labels count.
    pub labels: Labels,
    /// When a route is published and withdrawn.
    pub publish: Publish,
    /// When people are told what happened.
    pub notifications: Notifications,
    /// This host as an agent.
    pub agent: Agent,
    /// The Docker Engine.
    pub docker: Docker,
    /// The connector's container.
    pub tunnel: Tunnel,
    /// Container registries.
    pub registry: Registry,
    /// Redis; accepted, not used yet.
    pub redis: Redis,
    /// Pending updates.
    pub updates: Updates,
}

/// `[server]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Server {
    /// Address to listen on; IPv6 too. Default: `127.0.0.1` for `standalone`, `0.0.0.0` in the image.
    pub host: String,
    /// Port to listen on; 0 takes a free one (default 8080).
    pub port: u16,
    /// Address under which other hosts and browsers reach this master, such as `https://ship.example.com`.
    pub public_url: Option<String>,
}

impl Default for Server {
    fn default() -> Self {
        Self { host: "127.0.0.1".into(), port: 8080, public_url: None }
    }
}

/// `[state]`
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct State {
    /// State directory. Default: `/app/data` in the image, else `/var/lib/lightship` for root, else
    /// `$XDG_STATE_HOME/lightship`.
    pub dir: Option<PathBuf>,
}

/// `[database]`
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Database {
    /// `sqlite://PATH` or `postgres://...`; default: `lightship.db` in the state directory.
    pub url: Secret,
}

/// `[admin]`
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Admin {
    /// Opens the admin API.
    pub token: Secret,
    /// Master that the admin verbs talk to.
    pub master_url: Option<String>,
}

/// `[security]`
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Security {
    /// Key of the stored secrets, 64 hex digits; default: file `secret.key` in the state directory.
    pub secret_key: Secret,
    /// Mark cookies `Secure`; set it when the page is reached over https only (default false).
    pub secure_cookies: bool,
    /// Proxies whose `X-Forwarded-For` is believed, comma separated addresses (default none).
    pub trusted_proxies: String,
    /// Requests per second allowed to one agent; 0 is no limit (default).
    pub requests_per_second: u32,
    /// Signs the access tokens of RedFlag's API; default: made at the first start and kept with the stored secrets.
    pub jwt_secret: Secret,
}

/// `[log]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// `error`, `warn`, `info`, `debug` or `trace`, any case (default `info`).
    pub level: String,
    /// `text` or `json`; both go to standard error.
    pub format: LogFormat,
}

impl Default for Log {
    fn default() -> Self {
        Self { level: "info".into(), format: LogFormat::Text }
    }
}

/// How log lines look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// For machines.
    Json,
}

/// `[cloudflare]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Cloudflare {
    /// API token; without it routes are planned and not published.
    pub api_token: Secret,
    /// Account the tunnels belong to.
    pub account_id: Option<String>,
    /// Zone for hostnames when the account's zones cannot be listed.
    pub zone_id: Option<String>,
    /// Base of the API (default: the public v4 API).
    pub api_base_url: String,
    /// Tunnels that the account may have (default 1000, as Cloudflare documents it); 0: nobody counts.
    pub max_tunnels: u32,
    /// Access applications that the account may have (default 500); 0: nobody counts.
    pub max_access_applications: u32,
    /// Reusable policies of Access that the account may have (default 500); 0: nobody counts.
    pub max_access_policies: u32,
    /// Service tokens that the account may have (default 50); 0: nobody counts.
    pub max_service_tokens: u32,
}

impl Default for Cloudflare {
    fn default() -> Self {
        let limits = AccountLimits::default();
        Self {
            api_token: Secret::default(),
            account_id: None,
            zone_id: None,
            api_base_url: "https://api.cloudflare.com/client/v4".into(),
            max_tunnels: limits.tunnels,
            max_access_applications: limits.applications,
            max_access_policies: limits.policies,
            max_service_tokens: limits.service_tokens,
        }
    }
}

/// `[labels]`
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Labels {
    /// A prefix that is read beside `dockflare.` and `cloudflare.tunnel.`, and before them.
    pub prefix: Option<String>,
}

/// `[publish]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Publish {
    /// Seconds between the loss of a container and the withdrawal of its route (default 600).
    pub grace_period_seconds: u64,
    /// Publish what opens the host or its network as a whole: `bastion`, the Engine, metadata addresses (default
    /// false).
    pub allow_host_access: bool,
    /// Seconds of silence after which an agent counts as offline (default 60).
    pub agent_timeout_seconds: u64,
    /// Seconds between two comparisons with Cloudflare although nothing changed here; 0: after a start only
    /// (default 300).
    pub compare_interval_seconds: u64,
    /// What becomes of what somebody changed or deleted of ours at Cloudflare: `heal` (default) puts it right, `show` waits
    /// for a person. What protects a route closes it meanwhile.
    pub drift: DriftMode,
    /// When what labels ask for is carried out: `automatic` (default), or `review`: once a person said yes.
    pub changes: ChangeMode,
    /// File with groups of Access (a JSON array, docs/access.md): what of them differs is set when the master starts.
    pub access_groups_file: Option<PathBuf>,
    /// E-mail address of the account's owner, whom `access.policy=authenticate` lets in; it is read from the account if
    /// it is left out.
    pub account_owner_email: Option<String>,
    /// Name of the Zero Trust team whose Access tokens connectors check; it is read from the account if it is left out.
    pub access_team: Option<String>,
}

impl Publish {
    /// The team by setting, whether its name or its address was written.
    pub fn team(&self) -> Option<String> {
        self.access_team.as_deref().and_then(|team| read_team(team).ok())
    }
}

impl Default for Publish {
    fn default() -> Self {
        Self {
            grace_period_seconds: 600,
            allow_host_access: false,
            agent_timeout_seconds: 60,
            compare_interval_seconds: 300,
            drift: DriftMode::Heal,
            changes: ChangeMode::Automatic,
            access_groups_file: None,
            account_owner_email: None,
            access_team: None,
        }
    }
}

/// `[notifications]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Notifications {
    /// Seconds in which further things of a kind go into the same message, after the first (default 30).
    pub grouping_seconds: u64,
}

impl Default for Notifications {
    fn default() -> Self {
        Self { grouping_seconds: 30 }
    }
}

/// `[agent]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Agent {
    /// Base URL of the master, with or without a slash at the end.
    pub master_url: Option<String>,
    /// Agent key, made on the Agents page or by `lightship keys create`.
    pub api_key: Secret,
    /// A registration token; used once, when there is no key: the master makes one, which is kept in the state directory.
    pub registration_token: Secret,
    /// Name shown for this host.
    pub display_name: Option<String>,
    /// Seconds between two reports to a DockFlare Master, and between two heartbeats (default 30).
    pub report_interval_seconds: u64,
    /// Sent as `CF-Access-Client-Id` if both are set.
    pub cf_access_client_id: Option<String>,
    /// Sent as `CF-Access-Client-Secret`.
    pub cf_access_client_secret: Secret,
    /// Certificate authorities in PEM form that are trusted beside the system's, for a master behind one of yours.
    pub ca_file: Option<PathBuf>,
}

impl Default for Agent {
    fn default() -> Self {
        Self {
            master_url: None,
            api_key: Secret::default(),
            registration_token: Secret::default(),
            display_name: None,
            report_interval_seconds: 30,
            cf_access_client_id: None,
            cf_access_client_secret: Secret::default(),
            ca_file: None,
        }
    }
}

/// `[docker]`
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Docker {
    /// `unix://PATH` or `tcp://HOST:PORT` (default: the local socket).
    pub host: Option<String>,
    /// Speak TLS with an Engine on TCP (default false).
    pub tls: bool,
    /// Folder with `ca.pem`, `cert.pem` and `key.pem` for it (default `~/.docker`).
    pub cert_path: Option<PathBuf>,
}

/// `[tunnel]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tunnel {
    /// On `standalone`: name of the tunnel of its own host (default `lightship-HOSTNAME`); found, or made.
    pub name: Option<String>,
    /// Image of the connector; a digest may be pinned.
    pub image: String,
    /// Network the connector joins; made if it is missing.
    pub network: String,
    /// Transport to the edge: `auto`, `quic` or `http2` (default: left to `cloudflared`).
    pub protocol: Option<String>,
    /// IP on the way to the edge: `auto`, `4` or `6` (default: left to `cloudflared`).
    pub edge_ip_version: Option<String>,
    /// Insist on post-quantum key agreement, or do without (default: left to `cloudflared`).
    pub post_quantum: Option<bool>,
    /// What happens to the connector when the agent is stopped (default `remove`).
    pub on_shutdown: OnShutdown,
    /// Somebody else runs the connector of this host's tunnel; the agent starts, changes and stops none (default `false`).
    pub external: bool,
}

impl Default for Tunnel {
    fn default() -> Self {
        Self {
            name: None,
            image: "cloudflare/cloudflared:2025.9.0".into(),
            network: "cloudflare-net".into(),
            protocol: None,
            edge_ip_version: None,
            post_quantum: None,
            on_shutdown: OnShutdown::Remove,
            external: false,
        }
    }
}

impl Tunnel {
    /// The options of the connector; checked when the settings are read.
    pub fn options(&self) -> Result<ConnectorOptions, BadOption> {
        let (protocol, ip) = (self.protocol.as_deref(), self.edge_ip_version.as_deref());
        ConnectorOptions::new(protocol, ip, self.post_quantum)
    }
}

/// What becomes of the connector at the end of the agent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnShutdown {
    /// It is stopped and removed.
    #[default]
    Remove,
    /// It goes on serving, so that an upgrade of the agent does not cut the door.
    Keep,
}

/// `[redis]`
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Redis {
    /// Accepted with one warning; one master keeps presence and wake-ups in its own process.
    pub url: Secret,
}

/// Whether the agent looks at packages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckPackages {
    /// Unless it runs in a container.
    #[default]
    Auto,
    /// Wherever it runs.
    Always,
    /// Not at all.
    Never,
}

/// `[registry]`
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Registry {
    /// Registries that may be asked without encryption, separated by commas; this machine itself always may.
    pub insecure: String,
    /// Opens the master's route for what registries say of pushes; without it nobody is heard there.
    pub push_token: Secret,
}

impl Registry {
    /// Returns each of them, such as `10.0.0.5:5000`; without a port it means all of that host.
    pub fn insecure(&self) -> Vec<String> {
        self.insecure.split(',').map(str::trim).filter(|host| !host.is_empty()).map(str::to_owned).collect()
    }
}

/// `[updates]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Updates {
    /// Seconds between two looks for pending updates, 30 to 86400 (default 300).
    pub scan_interval_seconds: u64,
    /// Whether the agent looks at packages: `auto` (default) unless it runs in a container, whose packages are not its host's;
    /// `always` or `never`.
    pub check_packages: CheckPackages,
    /// Master of this agent under RedFlag's name; `agent.master_url` wins.
    pub redflag_server_url: Option<String>,
    /// Configuration file of RedFlag's agent (JSON): its server, registration token and display name are read where no
    /// other setting says them.
    pub agent_config_path: Option<String>,
    /// What the owner of this host allows runs to change on it (TOML, docs/updates.md); it must belong to root. Without the
    /// file everything is allowed.
    pub policy_file: PathBuf,
    /// Seconds that a run waits for another installation of packages to end, 1 to 86400 (default 600).
    pub lock_wait_seconds: u64,
    /// Seconds that the package manager may say nothing before its run counts as one that hangs, 5 to 86400 (default 3600).
    /// It is not ended by that.
    pub silence_seconds: u64,
    /// Days for which what a run replaced is kept in any case, so that it can be taken back, 1 to 365 (default 7).
    pub undo_days: u32,
    /// Whether a plan is carried out only after two people said yes to it (default false). Read by the master.
    pub second_approval: bool,
    /// Where `lightship host-helper` listens, and where an agent that is not root looks for it.
    pub helper_socket: PathBuf,
    /// User, by name or number, whose agent may ask the helper beside root.
    pub helper_user: String,
    /// Group that may open the helper's socket, by name or number; without one only root may.
    pub helper_group: String,
    /// State directory of the helper; it must belong to root.
    pub helper_state_dir: PathBuf,
}

impl Default for Updates {
    fn default() -> Self {
        Self {
            scan_interval_seconds: 300,
            check_packages: CheckPackages::Auto,
            redflag_server_url: None,
            agent_config_path: None,
            policy_file: "/etc/lightship/policy.toml".into(),
            lock_wait_seconds: 600,
            silence_seconds: 3_600,
            undo_days: 7,
            second_approval: false,
            helper_socket: "/run/lightship/helper.sock".into(),
            helper_user: "lightship".into(),
            helper_group: String::new(),
            helper_state_dir: "/var/lib/lightship-helper".into(),
        }
    }
}
