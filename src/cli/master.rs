//! `lightship master`: the control plane. Also the larger half of `standalone`.

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use actix_web::cookie::Key;
use actix_web::dev::ServerHandle;
use anyhow::Context;
use secrecy::{ExposeSecret, SecretString};

use super::common::Common;
use super::database;
use super::desk::RegistryDesk;
use super::run as process;
use super::run::Start;
use super::shards::Shards;
use super::values::MasterValues;
use crate::actors::master::{MakeClient, Master, MasterParts, MasterSettings, TakeToken};
use crate::actors::supervision::{Root, SupSpec};
use crate::cloudflare::Cloudflare;
use crate::config::{Role, Settings};
use crate::db::{Batch, Db, RowChange, secrets, settings};
use crate::domain::access::Group;
use crate::domain::account_limits::AccountLimits;
use crate::domain::id::{AccountId, SecretId, ZoneId};
use crate::domain::publish::PublishSettings;
use crate::domain::role::BY_FILE;
use crate::io::Io;
use crate::notify::Sender;
use crate::web::state::AskDocker;
use crate::web::{Listen, WebSettings, WebState, serve};

/// How long running requests may take to end at a stop.
const STOP_SECONDS: u64 = 10;
/// How long a person looks at an empty page after pressing the button.
const APPLY_PATIENCE: Duration = Duration::from_secs(15);

/// Runs the master until it is asked to end.
pub(super) fn run(common: &Common) -> anyhow::Result<ExitCode> {
    process::run(common, Role::Master, async |start| {
        let (spec, half) = MasterHalf::build(&start).await?;
        let root = Root::start(start.tree.clone(), "master", spec).await;
        let serving = half.serve(&start, None).await?;
        let end = process::until_end(&root, start.signals.next()).await;
        serving.stop().await;
        let code = process::finish(root, end).await;
        half.end().await?;
        Ok(code)
    })
}

/// Everything of the master but its running tree.
pub(super) struct MasterHalf {
    pub(super) db: Db,
    pub(super) master: Master,
    has_cloudflare: bool,
    addresses: Vec<SocketAddr>,
    proxies: Vec<IpAddr>,
    groups: Vec<Group>,
    shards: Shards,
    desk: RegistryDesk,
}

impl MasterHalf {
    /// Opens the database and describes the tree.
    pub(super) async fn build(start: &Start) -> anyhow::Result<(SupSpec, Self)> {
        let settings = &start.loaded.settings;
        let MasterValues { addresses, proxies, cloudflare, groups } =
            MasterValues::read(settings, &start.state_dir, start.io.clone())?;
        let db =
            database::open_for_master(settings, &start.state_dir, start.io.clone(), start.chance.clone())
                .await?;
        let make = make_client(&settings.cloudflare.api_base_url, &start.io);
        let persons = match cloudflare {
            Some(_) => None,
            None => stored_client(&db, &make).await?,
        };
        let take_token = Some(TakeToken { make, is_persons: persons.is_some() });
        let cloudflare = cloudflare.or(persons);
        let has_cloudflare = cloudflare.is_some();
        let shards = Shards::start(&start.watchdog);
        let desk = RegistryDesk::open(start, db.clone())?;
        let parts = MasterParts {
            db: db.clone(),
            cloudflare,
            take_token,
            writer: None,
            default_zone: settings.cloudflare.zone_id.clone().map(ZoneId::new),
            account: None,
            registries: Some(desk.registries()),
            messenger: Some(Arc::new(Sender::new(start.io.clone())?)),
            settings: MasterSettings { shards: shards.count(), ..master_settings(settings) },
            clock: start.clock.clone(),
            chance: start.chance.clone(),
            tree: start.tree.clone(),
            arbiters: shards.handles(),
        };
        let (spec, master) = Master::start(parts).await?;
        Ok((spec, Self { db, master, has_cloudflare, addresses, proxies, groups, shards, desk }))
    }

    /// Ends what is left after the tree is stopped: the fleet's threads, then the database they used.
    pub(super) async fn end(self) -> anyhow::Result<()> {
        self.desk.keep();
        self.shards.end().await;
        self.db.close().await.context("cannot close the database")
    }

    /// Binds the addresses and serves; says where. `docker` asks the agent in this process, if there is one.
    pub(super) async fn serve(&self, start: &Start, docker: Option<AskDocker>) -> anyhow::Result<Serving> {
        let settings = &start.loaded.settings;
        self.set_groups().await?;
        let sockets = bind(&self.addresses)?;
        let address = sockets[0].local_addr()?;
        let admin_socket = bind_admin_socket(&start.state_dir.join("admin.sock"))?;
        let is_loopback = sockets.iter().all(|s| s.local_addr().is_ok_and(|a| a.ip().is_loopback()));
        let admin_token = self.admin_token(start);
        let web_settings = WebSettings {
            admin_token,
            cookie_key: cookie_key(&self.db, start).await?,
            jwt_secret: jwt_secret(&self.db, start).await?,
            push_token: settings.registry.push_token.get().cloned(),
            secure_cookies: settings.security.secure_cookies,
            trusted_proxies: self.proxies.clone(),
            public_url: settings.server.public_url.clone(),
            is_loopback,
            offline_after: Duration::from_secs(settings.publish.agent_timeout_seconds),
            requests_per_second: settings.security.requests_per_second,
            apply_patience: APPLY_PATIENCE,
            label_prefix: settings.labels.prefix.clone(),
            account_id: settings.cloudflare.account_id.clone(),
            tree_changes: start.tree_changes.clone(),
            metrics: start.metrics.clone().map(|handle| Arc::new(move || handle.render()) as _),
            docker,
        };
        let state = WebState::new(self.master.clone(), web_settings);
        state.recall_rates().await.context("cannot read the rate limits that were set")?;
        let listen = Listen { tcp: sockets, local: Some(admin_socket), workers: 2, stop_secs: STOP_SECONDS };
        let server = serve(listen, state.clone()).context("cannot start the web server")?;
        let handle = server.handle();
        actix_rt::spawn(async move {
            if let Err(error) = server.await {
                tracing::error!(%error, "the web server ended");
            }
        });
        let serving = Serving { handle, state, address };
        self.announce(&serving, is_loopback).await?;
        Ok(serving)
    }

    /// Sets the groups of Access that a file names; those that are as they are there already are left alone.
    async fn set_groups(&self) -> anyhow::Result<()> {
        for group in &self.groups {
            let set = self.master.set_group(group.clone(), BY_FILE).await;
            set.with_context(|| {
                format!("cannot set the group `{}` of `publish.access_groups_file`", group.id)
            })?;
        }
        Ok(())
    }

    /// The admin token; on `standalone` its old name is not read when it holds an agent's key.
    fn admin_token(&self, start: &Start) -> Option<SecretString> {
        let token = start.loaded.settings.admin.token.get()?.clone();
        let is_agent_key = self.master.directory.authenticate(token.expose_secret()).is_some();
        if start.loaded.admin_token_is_alias && is_agent_key {
            tracing::info!("DOCKFLARE_API_KEY holds an agent's key, so it does not open the admin API");
            return None;
        }
        Some(token)
    }

    async fn announce(&self, serving: &Serving, is_loopback: bool) -> anyhow::Result<()> {
        let page = format!("http://{}", reachable(serving.address));
        process::say(&format!("listening on {page}"));
        if !settings::has_admin(&self.db).await? {
            let token = serving.state.open_setup();
            // The link is the one place this token is ever shown; it opens one page, once.
            process::say(&format!("first run: open {page}/setup?token={}", token.expose_secret()));
        }
        if is_loopback {
            tracing::info!("only this host can connect; for other hosts set SERVER_HOST=0.0.0.0");
        }
        if self.has_cloudflare {
            tracing::info!("publishing through Cloudflare");
        } else {
            tracing::info!(
                "no Cloudflare token: routes are planned; give one on the page Settings, or set CF_API_TOKEN and CF_ACCOUNT_ID"
            );
        }
        Ok(())
    }
}

/// A running web server.
pub(super) struct Serving {
    handle: ServerHandle,
    state: WebState,
    /// Where it listens.
    pub(super) address: SocketAddr,
}

impl Serving {
    /// Ends streams and long polls, then the server: running requests are finished first.
    pub(super) async fn stop(&self) {
        self.state.end_streams();
        self.handle.stop(true).await;
    }
}

/// Where a local client reaches `address`.
pub(super) fn reachable(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => SocketAddr::from(([127, 0, 0, 1], address.port())),
        IpAddr::V6(ip) if ip.is_unspecified() => {
            SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, address.port()))
        }
        _ => address,
    }
}

/// How the client of an account is made, once a person gives a token.
fn make_client(api_base_url: &str, io: &Io) -> MakeClient {
    let (base, io) = (api_base_url.to_owned(), io.clone());
    Arc::new(move |account, token| Cloudflare::new(&base, account, token, io.clone()))
}

/// The client with the token that a person gave, if one did.
async fn stored_client(db: &Db, make: &MakeClient) -> anyhow::Result<Option<Cloudflare>> {
    let account = settings::find_setting(db, settings::CLOUDFLARE_ACCOUNT).await?;
    let account = account.as_ref().and_then(|row| row.value.as_str()).map(AccountId::new);
    let token = secrets::find_secret(db, &settings::cloudflare_token_secret()).await?;
    match (account, token) {
        (Some(account), Some(token)) => Ok(Some(make(account, token)?)),
        _ => Ok(None),
    }
}

fn master_settings(settings: &Settings) -> MasterSettings {
    MasterSettings {
        grace: Duration::from_secs(settings.publish.grace_period_seconds),
        offline_after: Duration::from_secs(settings.publish.agent_timeout_seconds),
        label_prefix: settings.labels.prefix.clone(),
        publish: PublishSettings {
            publish_host_access: settings.publish.allow_host_access,
            drift: settings.publish.drift,
            changes: settings.publish.changes,
            access_team: settings.publish.team(),
        },
        account_owner_email: settings.publish.account_owner_email.clone(),
        account_limits: AccountLimits {
            tunnels: settings.cloudflare.max_tunnels,
            applications: settings.cloudflare.max_access_applications,
            policies: settings.cloudflare.max_access_policies,
            service_tokens: settings.cloudflare.max_service_tokens,
        },
        compare_every: Duration::from_secs(settings.publish.compare_interval_seconds),
        second_approval: settings.updates.second_approval,
        notify_window: Duration::from_secs(settings.notifications.grouping_seconds),
        ..MasterSettings::default()
    }
}

/// Binds every address. IPv6 sockets take IPv4 too where the system allows it.
fn bind(addresses: &[SocketAddr]) -> anyhow::Result<Vec<TcpListener>> {
    let mut sockets = Vec::new();
    for address in addresses {
        let socket = TcpListener::bind(address).with_context(|| {
            format!(
                "cannot listen on {address}; another program may have the port: set SERVER_PORT to a free one"
            )
        })?;
        socket.set_nonblocking(true)?;
        sockets.push(socket);
        // Each would take another free port.
        if address.port() == 0 {
            break;
        }
    }
    Ok(sockets)
}

/// A socket that a killed master left behind is replaced; the database's lock says that no other one runs.
fn bind_admin_socket(path: &Path) -> anyhow::Result<UnixListener> {
    // Absent is the normal case; any other reason shows at the bind.
    let _ = std::fs::remove_file(path);
    let socket = UnixListener::bind(path).with_context(|| {
        format!("cannot listen on `{}`; is the state directory writable?", path.display())
    })?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// The key that seals cookies, made once: a restart signs nobody out.
async fn cookie_key(db: &Db, start: &Start) -> anyhow::Result<Key> {
    let id = SecretId::new("cookie-key");
    if let Some(stored) = secrets::find_secret(db, &id).await? {
        let bytes = hex::decode(stored.expose_secret()).unwrap_or_default();
        if let Ok(key) = Key::try_from(bytes.as_slice()) {
            return Ok(key);
        }
    }
    let mut bytes = [0; 64];
    start.chance.fill(&mut bytes);
    let mut batch = Batch::new("system", start.clock.now());
    batch.rows.push(RowChange::PutSecret {
        id,
        purpose: "cookie key".into(),
        plain: SecretString::from(hex::encode(bytes)),
    });
    db.commit(batch).await?;
    Ok(Key::from(&bytes))
}

/// What signs access tokens: set, or made once, so that a restart puts no agent out.
async fn jwt_secret(db: &Db, start: &Start) -> anyhow::Result<SecretString> {
    if let Some(set) = start.loaded.settings.security.jwt_secret.get() {
        return Ok(set.clone());
    }
    let id = SecretId::new("jwt-secret");
    if let Some(stored) = secrets::find_secret(db, &id).await? {
        return Ok(stored);
    }
    let made = SecretString::from(start.chance.key());
    let mut batch = Batch::new("system", start.clock.now());
    let purpose = "access token secret".into();
    batch.rows.push(RowChange::PutSecret { id, purpose, plain: made.clone() });
    db.commit(batch).await?;
    Ok(made)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::values::addresses;

    #[test]
    fn ipv6_is_listened_on_however_it_is_written() {
        for host in ["::1", "[::1]", " [::1] "] {
            let sockets = bind(&addresses(host, 0).unwrap()).unwrap();
            let address = sockets[0].local_addr().unwrap();
            assert!(address.is_ipv6() && address.ip().is_loopback() && address.port() > 0, "{address}");
            std::net::TcpStream::connect(address).unwrap();
        }
        let all = bind(&addresses("::", 0).unwrap()).unwrap()[0].local_addr().unwrap();
        assert_eq!(reachable(all), SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, all.port())));
        assert!(addresses("::x", 0).is_err());
    }
}
