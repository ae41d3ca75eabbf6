//! What a role makes of its settings before it opens, binds or starts anything. A value that cannot be used stops the
//! start here, and `lightship config` with the same words.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use chrono::TimeDelta;
use secrecy::SecretString;

use super::{database, groups_file};
use crate::chance::Chance;
use crate::cloudflare::Cloudflare;
use crate::config::{Role, Settings};
use crate::db::{Db, SecretKey};
use crate::docker::{BollardDocker, DockerError, EngineAddress, Tls};
use crate::domain::access::Group;
use crate::domain::id::AccountId;
use crate::io::Io;
use crate::state_dir;
use crate::updates::Patience;
use crate::uplink::{AccessToken, HttpUplink, UplinkSettings};

/// Where the Engine is unless `DOCKER_HOST` says otherwise.
const LOCAL_ENGINE: &str = "unix:///var/run/docker.sock";

/// For so long a run can be taken back in any case.
pub(super) fn undo_window(settings: &Settings) -> TimeDelta {
    TimeDelta::days(i64::from(settings.updates.undo_days))
}

/// How long runs wait for others.
pub(super) fn patience(settings: &Settings) -> Patience {
    Patience {
        locks: Duration::from_secs(settings.updates.lock_wait_seconds),
        silence: Duration::from_secs(settings.updates.silence_seconds),
    }
}

/// Where the helper keeps its records, for another process of root that changes the same host; also before there is a helper.
/// Nobody else may see into it.
pub(super) fn helper_dir(settings: &Settings, own: &Path) -> Option<PathBuf> {
    let dir = &settings.updates.helper_state_dir;
    (rustix::process::geteuid().is_root() && dir != own).then(|| dir.clone())
}

/// Where the verbs of this user record what they do: beside the agent, unless root would record it in a folder of somebody else. He
/// could not be told of what lies there, and what lies there could tell root what to do.
pub(super) fn record_dir(settings: &Settings, own: &Path) -> anyhow::Result<PathBuf> {
    let is_others = std::fs::metadata(own).is_ok_and(|about| about.uid() != 0);
    if !is_others || !rustix::process::geteuid().is_root() {
        return Ok(own.to_owned());
    }
    let dir = &settings.updates.helper_state_dir;
    if dir.exists() {
        check_private(dir)?;
    }
    Ok(dir.clone())
}

/// Fails if others than root may write in a folder whose records decide what root does.
pub(super) fn check_private(dir: &Path) -> anyhow::Result<()> {
    let about = std::fs::symlink_metadata(dir)?;
    if !about.is_dir() || about.uid() != 0 || about.mode() & 0o022 != 0 {
        bail!(
            "others than root may write `{}`: make it a folder of root with mode 0700, or name another one with `updates.helper_state_dir`",
            dir.display()
        );
    }
    Ok(())
}

/// Fails for the first value that would stop a start as `role`.
pub(super) fn check(settings: &Settings, role: Role, io: Io) -> anyhow::Result<()> {
    if matches!(role, Role::Master | Role::Standalone) {
        let dir = settings.state.dir.as_deref().context("no state directory")?;
        MasterValues::read(settings, dir, io.clone())?;
    }
    match role {
        Role::Agent => {
            let (master, key) = agent_way(settings)?;
            AgentValues::read(settings, &master, key, io).map(drop)
        }
        // Its agent finds the master in the same process, with a key of its own.
        Role::Standalone => {
            AgentValues::read(settings, "http://127.0.0.1", SecretString::from("local"), io).map(drop)
        }
        Role::Master | Role::Client => Ok(()),
    }
}

/// What a master starts with.
pub(super) struct MasterValues {
    /// Addresses that `server.host` means; at least one.
    pub(super) addresses: Vec<SocketAddr>,
    /// Proxies whose word on the caller's address counts.
    pub(super) proxies: Vec<IpAddr>,
    /// The way to the account, if there is a token.
    pub(super) cloudflare: Option<Cloudflare>,
    /// Groups of Access that are set from a file.
    pub(super) groups: Vec<Group>,
}

impl MasterValues {
    pub(super) fn read(settings: &Settings, dir: &Path, io: Io) -> anyhow::Result<Self> {
        Db::check_url(&database::url(settings, dir))?;
        if let Some(key) = settings.security.secret_key.get() {
            SecretKey::load(&database::key_file(dir), Some(key), Chance::system())?;
        }
        Ok(Self {
            addresses: addresses(&settings.server.host, settings.server.port)?,
            proxies: proxies(&settings.security.trusted_proxies)?,
            cloudflare: cloudflare(settings, io)?,
            groups: settings
                .publish
                .access_groups_file
                .as_deref()
                .map(groups_file::read)
                .transpose()?
                .unwrap_or_default(),
        })
    }
}

/// The way to the account, if there is a token.
pub(super) fn cloudflare(settings: &Settings, io: Io) -> anyhow::Result<Option<Cloudflare>> {
    let config = &settings.cloudflare;
    match (config.api_token.get(), &config.account_id) {
        (Some(token), Some(account)) => {
            let account = AccountId::new(account.clone());
            Ok(Some(Cloudflare::new(&config.api_base_url, account, token.clone(), io)?))
        }
        (Some(_), None) => {
            bail!("CF_API_TOKEN is set and CF_ACCOUNT_ID is not; set both, or none to only plan")
        }
        (None, _) => Ok(None),
    }
}

fn proxies(list: &str) -> anyhow::Result<Vec<IpAddr>> {
    list.split(',')
        .map(str::trim)
        .filter(|address| !address.is_empty())
        .map(|address| {
            address.parse().with_context(|| {
                format!("`{address}` in `security.trusted_proxies` is no address; list addresses with commas")
            })
        })
        .collect()
}

/// Every address that `host` means.
pub(super) fn addresses(host: &str, port: u16) -> anyhow::Result<Vec<SocketAddr>> {
    let bare = host.trim().trim_start_matches('[').trim_end_matches(']');
    let no_address = || format!("`server.host` is `{host}`, which is no address of this host");
    let addresses: Vec<_> = (bare, port).to_socket_addrs().with_context(no_address)?.collect();
    if addresses.is_empty() { bail!(no_address()) } else { Ok(addresses) }
}

/// The master an agent belongs to, and its key there.
pub(super) fn agent_way(settings: &Settings) -> anyhow::Result<(String, SecretString)> {
    let master = settings.agent.master_url.clone().context(
        "no master: set DOCKFLARE_MASTER_URL or `--master` to the master's address, such as http://master:8080",
    )?;
    // The key that an earlier registration token brought wins over that token, which is used up.
    let given = settings.agent.api_key.get().cloned();
    let key = match (given, settings.state.dir.as_deref()) {
        (Some(key), _) => Some(key),
        (None, Some(dir)) => state_dir::find_agent_key(dir).map_err(|reason| {
            anyhow!("{reason}; set DOCKFLARE_API_KEY to the key of this agent, or remove the file and come with a new registration token")
        })?,
        (None, None) => None,
    };
    let key = key.or_else(|| settings.agent.registration_token.get().cloned()).context(
        "no agent key: make one on the master's page Agents or with `lightship keys create`, then set \
         DOCKFLARE_API_KEY; or set REDFLAG_REGISTRATION_TOKEN to a registration token",
    )?;
    Ok((master, key))
}

/// What an agent starts with.
pub(super) struct AgentValues {
    /// The way to the Engine.
    pub(super) docker: BollardDocker,
    /// The way to the master.
    pub(super) uplink: HttpUplink,
}

impl AgentValues {
    pub(super) fn read(settings: &Settings, master: &str, key: SecretString, io: Io) -> anyhow::Result<Self> {
        let docker = BollardDocker::at(engine(settings)?, io.clone());
        Ok(Self { docker, uplink: uplink(settings, master, key, io)? })
    }
}

/// The way to the master.
pub(super) fn uplink(
    settings: &Settings,
    master: &str,
    key: SecretString,
    io: Io,
) -> anyhow::Result<HttpUplink> {
    let agent = &settings.agent;
    let (id, secret) = (agent.cf_access_client_id.as_ref(), agent.cf_access_client_secret.get());
    let access = AccessToken::new(id, secret);
    let ca_file = agent.ca_file.clone();
    let uplink = UplinkSettings { master_url: master.to_owned(), api_key: key, access, ca_file };
    Ok(HttpUplink::new(&uplink, io)?)
}

/// Returns where the Engine is, by the settings.
pub(super) fn engine(settings: &Settings) -> Result<EngineAddress, DockerError> {
    let docker = &settings.docker;
    let tls = docker.tls.then(|| Tls {
        because: "`DOCKER_TLS_VERIFY` (`docker.tls`)".to_owned(),
        certificates: docker.cert_path.clone().unwrap_or_default(),
    });
    EngineAddress::new(docker.host.as_deref().unwrap_or(LOCAL_ENGINE), tls)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Loaded, Sources};
    use crate::io::IoRuntime;

    fn checked(role: Role, pairs: &[(&str, &str)]) -> anyhow::Result<()> {
        let environment = pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let loaded = Loaded::read(&Sources { environment, ..Sources::default() }, role)?;
        let runtime = IoRuntime::start()?;
        let _ = rustls::crypto::ring::default_provider().install_default();
        check(&loaded.settings, role, runtime.io())
    }

    #[test]
    fn what_would_stop_a_start_is_found_before_it() {
        let dir = ("LIGHTSHIP_STATE_DIR", "/nowhere/lightship");
        for (role, name, value, words) in [
            (Role::Master, "SERVER_HOST", "300.1.1.1", "`server.host` is `300.1.1.1`, which is no address"),
            (Role::Standalone, "SERVER_HOST", "no such host", "which is no address of this host"),
            (Role::Master, "DATABASE_URL", "mysql://db/x", "mysql"),
            (Role::Master, "DATABASE_URL", "lightship.db", "sqlite://"),
            (
                Role::Master,
                "LIGHTSHIP__SECURITY__TRUSTED_PROXIES",
                "10.0.0.1, proxy",
                "`proxy` in `security.trusted",
            ),
            (Role::Master, "LIGHTSHIP_SECRET_KEY", "abc", "LIGHTSHIP_SECRET_KEY"),
            (Role::Master, "CF_API_TOKEN", "abc", "CF_ACCOUNT_ID is not"),
            (
                Role::Master,
                "LIGHTSHIP__PUBLISH__ACCESS_GROUPS_FILE",
                "/nowhere/groups.json",
                "`/nowhere/groups.json` (`publish",
            ),
            (Role::Standalone, "DOCKER_HOST", "ftp://x", "DOCKER_HOST"),
            (Role::Agent, "LOG_LEVEL", "info", "no master: set DOCKFLARE_MASTER_URL"),
            (Role::Agent, "DOCKFLARE_MASTER_URL", "http://m", "no agent key"),
        ] {
            let error = checked(role, &[dir, (name, value)]).unwrap_err();
            let error = super::super::output::chain(&error);
            assert!(error.contains(words), "{name}={value}: {error}");
        }
        let agent = [dir, ("DOCKFLARE_MASTER_URL", "http://m:1"), ("DOCKFLARE_API_KEY", "k")];
        checked(Role::Agent, &agent).unwrap();
        for role in [Role::Master, Role::Standalone] {
            checked(role, &[dir, ("SERVER_HOST", "[::1]")]).unwrap();
        }
    }
}
