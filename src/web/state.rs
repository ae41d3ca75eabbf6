//! What every handler may use.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::cookie::Key;
use futures_util::future::LocalBoxFuture;
use parking_lot::Mutex;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::access_token::AccessTokens;
use super::agent_limit::AgentLimit;
use super::attempts::Attempts;
use super::check_ins::CheckIns;
use super::forwarded::{claimed, host, source};
use super::hashing::Hashing;
use super::listings::Listings;
use super::rates::{self, RateLimits};
use super::room::Room;
use super::token_check::TokenCheck;
use crate::actors::master::Master;
use crate::db::read::{DbError, find_setting};

/// Says what is wrong with the Engine of the agent in this process, if anything is.
pub type AskDocker = Arc<dyn Fn() -> LocalBoxFuture<'static, Option<String>> + Send + Sync>;

/// Most proxies that are named in the log: anybody can look like one.
const STRANGE_PROXIES: usize = 16;

/// Most live streams at once; a page opens one.
pub const STREAMS: usize = 512;

/// Writes the metrics of this process in the text form that Prometheus reads.
pub type RenderMetrics = Arc<dyn Fn() -> String + Send + Sync>;

/// What the command that starts the server decides.
pub struct WebSettings {
    /// Opens the admin API, if set.
    pub admin_token: Option<SecretString>,
    /// Seals the cookies; kept over restarts, so that nobody is signed out by one.
    pub cookie_key: Key,
    /// Signs access tokens; kept over restarts, so that agents stay in.
    pub jwt_secret: SecretString,
    /// Opens the route for what registries say of pushes, if set.
    pub push_token: Option<SecretString>,
    /// True if pages are reached over https only.
    pub secure_cookies: bool,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpAddr>,
    /// Address under which others reach this master, if it was set.
    pub public_url: Option<String>,
    /// True if nobody but this host can connect.
    pub is_loopback: bool,
    /// Silence after which an agent counts as offline.
    pub offline_after: Duration,
    /// Requests per second allowed to one agent; 0 is no limit.
    pub requests_per_second: u32,
    /// How long the page waits for what its button set in motion; it goes on by itself.
    pub apply_patience: Duration,
    /// The operator's own label prefix; agents are told it.
    pub label_prefix: Option<String>,
    /// Account that `/accounts` names to DockFlare agents.
    pub account_id: Option<String>,
    /// Changes with every event of the supervision tree.
    pub tree_changes: watch::Receiver<()>,
    /// Writes the metrics.
    pub metrics: Option<RenderMetrics>,
    /// Asks the agent in this process, if there is one.
    pub docker: Option<AskDocker>,
}

/// Shared by all workers; cheap to clone.
#[derive(Clone)]
pub struct WebState(Arc<Inner>);

struct Inner {
    master: Master,
    settings: WebSettings,
    token_digest: Option<[u8; 32]>,
    push_digest: Option<[u8; 32]>,
    setup_token: Mutex<Option<[u8; 32]>>,
    attempts: Attempts,
    agent_limit: Option<AgentLimit>,
    access_tokens: AccessTokens,
    rate_limits: RateLimits,
    check_ins: CheckIns,
    /// Proxies that were named in the log because they are not trusted.
    strange_proxies: Mutex<BTreeSet<IpAddr>>,
    streams: AtomicUsize,
    listings: Listings,
    hashing: Hashing,
    body_room: Room,
    token_check: TokenCheck,
    stop: CancellationToken,
    /// Compared with when a name is unknown, so that the time does not tell.
    decoy_hash: String,
}

impl WebState {
    /// Puts the parts together.
    pub fn new(master: Master, settings: WebSettings) -> Self {
        let token_digest = settings.admin_token.as_ref().map(|token| digest(token.expose_secret()));
        let push_digest = settings.push_token.as_ref().map(|token| digest(token.expose_secret()));
        let agent_limit = std::num::NonZeroU32::new(settings.requests_per_second).map(AgentLimit::new);
        let access_tokens = AccessTokens::new(&settings.jwt_secret);
        let decoy_hash = super::password::decoy(&master.chance);
        Self(Arc::new(Inner {
            master,
            settings,
            token_digest,
            push_digest,
            setup_token: Mutex::new(None),
            attempts: Attempts::default(),
            agent_limit,
            access_tokens,
            rate_limits: RateLimits::default(),
            check_ins: CheckIns::default(),
            strange_proxies: Mutex::default(),
            streams: AtomicUsize::new(0),
            listings: Listings::default(),
            hashing: Hashing::default(),
            body_room: Room::default(),
            token_check: TokenCheck::default(),
            stop: CancellationToken::new(),
            decoy_hash,
        }))
    }

    /// The master.
    pub fn master(&self) -> &Master {
        &self.0.master
    }

    /// What was decided at start.
    pub fn settings(&self) -> &WebSettings {
        &self.0.settings
    }

    /// Failed attempts.
    pub fn attempts(&self) -> &Attempts {
        &self.0.attempts
    }

    /// Makes and reads access tokens.
    pub fn access_tokens(&self) -> &AccessTokens {
        &self.0.access_tokens
    }

    /// RedFlag's limits.
    pub fn rate_limits(&self) -> &RateLimits {
        &self.0.rate_limits
    }

    /// What RedFlag agents said lately.
    pub fn check_ins(&self) -> &CheckIns {
        &self.0.check_ins
    }

    /// Reads the limits that were set in an earlier run.
    pub async fn recall_rates(&self) -> Result<(), DbError> {
        if let Some(row) = find_setting(&self.master().db, rates::SETTING).await? {
            match serde_json::from_value(row.value) {
                Ok(set) => self.rate_limits().set(set),
                Err(error) => {
                    tracing::warn!(%error, "stored rate limits cannot be read; the defaults are in force")
                }
            }
        }
        Ok(())
    }

    pub(super) fn decoy_hash(&self) -> &str {
        &self.0.decoy_hash
    }

    /// Opens the first-run page and returns the token of its link; an earlier link is void.
    pub fn open_setup(&self) -> SecretString {
        let token = self.master().chance.key();
        *self.0.setup_token.lock() = Some(digest(&token));
        SecretString::from(token)
    }

    /// True if this is the token of the first-run link.
    pub fn is_setup_token(&self, token: &str) -> bool {
        self.0.setup_token.lock().is_some_and(|known| known.ct_eq(&digest(token)).into())
    }

    /// Voids the first-run link.
    pub fn close_setup(&self) {
        *self.0.setup_token.lock() = None;
    }

    /// True if this is the admin token; takes the same time for every wrong one.
    pub fn is_admin_token(&self, token: impl AsRef<[u8]>) -> bool {
        self.0.token_digest.is_some_and(|known| known.ct_eq(&digest(token)).into())
    }

    /// True if this is the token of registries; none if they have none.
    pub fn is_push_token(&self, token: impl AsRef<[u8]>) -> Option<bool> {
        self.0.push_digest.map(|known| known.ct_eq(&digest(token)).into())
    }

    /// False if an agent sends more than its share; always true while no limit is set.
    pub fn lets_agent(&self, id: &str) -> bool {
        self.0.agent_limit.as_ref().is_none_or(|limit| limit.lets(id))
    }

    /// Returns where a request comes from: the peer, or what a trusted proxy says.
    pub fn source(&self, req: &HttpRequest) -> IpAddr {
        source(peer(req), req.headers(), &self.0.settings.trusted_proxies)
    }

    /// Returns the proxy that a request came through and whom it names, if it is not trusted. The first time it is
    /// named in the log, with the way out.
    pub fn strange_proxy(&self, req: &HttpRequest) -> Option<(IpAddr, IpAddr)> {
        let proxy = peer(req);
        let named = claimed(proxy, req.headers(), &self.0.settings.trusted_proxies)?;
        let mut known = self.0.strange_proxies.lock();
        if known.len() < STRANGE_PROXIES && known.insert(proxy) {
            tracing::warn!(
                proxy.ip = %proxy,
                "sign-ins come through a proxy that is not trusted, so who they come from is not known; list it in \
                 `security.trusted_proxies` if it is yours"
            );
        }
        Some((proxy, named))
    }

    /// Returns the host that a request was sent to: its own word, or what a trusted proxy says.
    pub fn host(&self, req: &HttpRequest) -> String {
        host(peer(req), req, &self.0.settings.trusted_proxies)
    }

    /// Counts a stream while the returned guard lives; none if there are too many.
    pub fn open_stream(&self) -> Option<StreamGuard> {
        let before = self.0.streams.fetch_add(1, Ordering::Relaxed);
        let guard = StreamGuard(self.clone());
        (before < STREAMS).then_some(guard)
    }

    /// Where passwords are hashed and compared.
    pub fn hashing(&self) -> &Hashing {
        &self.0.hashing
    }

    /// The memory that bodies take together.
    pub(super) fn body_room(&self) -> &Room {
        &self.0.body_room
    }

    /// How the token for Cloudflare was found.
    pub fn token_check(&self) -> &TokenCheck {
        &self.0.token_check
    }

    /// Where answers that list everything are made.
    pub fn listings(&self) -> &Listings {
        &self.0.listings
    }

    /// Resolves when streams and long polls have to end.
    pub fn stopping(&self) -> &CancellationToken {
        &self.0.stop
    }

    /// Ends streams and long polls, so that the server can stop.
    pub fn end_streams(&self) {
        self.0.stop.cancel();
    }
}

/// One open stream.
pub struct StreamGuard(WebState);

impl Drop for StreamGuard {
    fn drop(&mut self) {
        self.0.0.streams.fetch_sub(1, Ordering::Relaxed);
    }
}

fn peer(req: &HttpRequest) -> IpAddr {
    req.peer_addr().map_or(IpAddr::from([127, 0, 0, 1]), |address| address.ip().to_canonical())
}

fn digest(token: impl AsRef<[u8]>) -> [u8; 32] {
    Sha256::digest(token).into()
}
/// Returns the shared state of a request.
pub fn state(req: &HttpRequest) -> &WebState {
    req.app_data::<actix_web::web::Data<WebState>>().expect("`serve` and the tests set it").get_ref()
}
