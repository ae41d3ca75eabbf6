//! Sends one call: budget, time limit, size limit, and nothing of the token in any text.

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;
use reqwest::Method;
use reqwest::header::HeaderMap;
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use tokio::time::Instant;
use url::Url;

use super::base::read_base;
use super::budget::{Budget, BudgetKeeper, BudgetView, COVERED, Class};
use super::call::Call;
use super::envelope::{Answer, date, decode};
use super::error::CfError;
use super::rights::shown_by_write;
use crate::clock::Clock;
use crate::domain::doctor::time::Told;
use crate::domain::id::AccountId;
use crate::http_client;
use crate::io::Io;

const TIME_LIMIT: Duration = Duration::from_secs(15);
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
const SIZE_LIMIT_BYTES: usize = 8 << 20;
/// A call waits this long for its turn; beyond that its caller had better know, unless it is a patient one.
const MAX_BUDGET_WAIT: Duration = Duration::from_secs(2);
/// Pages of one list; a list that is longer is refused rather than read for ever.
const MAX_PAGES: usize = 200;

/// A client for one account. Clones share connections and budget.
#[derive(Clone)]
pub struct Cloudflare {
    inner: Arc<Inner>,
    class: Class,
    is_patient: bool,
    time_limit: Duration,
    /// Nothing is sent after this.
    deadline: Option<Instant>,
    /// Calls that have had their turn already.
    turns: Option<Arc<AtomicU32>>,
}

struct Inner {
    http: reqwest::Client,
    base: Url,
    account: AccountId,
    token: Mutex<SecretString>,
    io: Io,
    budget: Mutex<Budget>,
    /// Where the budget is noted, if anywhere.
    keeper: OnceLock<Arc<dyn BudgetKeeper>>,
    /// Calls that the last note covers still; none until it was read.
    covered: tokio::sync::Mutex<Option<u32>>,
    /// Where patient calls wait, one behind the other: only the first of them competes with calls that cannot wait.
    line: tokio::sync::Mutex<()>,
    /// What was said when the token was refused; none once it was taken again.
    refusal: Mutex<Option<String>>,
    /// What the last answer said of the time.
    told: Mutex<Option<Told>>,
    /// Rights that were shown by more than reading since the start.
    written: Mutex<Vec<&'static str>>,
}

impl Cloudflare {
    /// Prepares a client; nothing is sent yet.
    ///
    /// `base_url` may be http or https, with or without a slash at its end. Fails with [`CfError::Settings`]
    /// if it is no URL, or if no TLS provider is installed.
    pub fn new(base_url: &str, account: AccountId, token: SecretString, io: Io) -> Result<Self, CfError> {
        let base = read_base(base_url)?;
        let builder = http_client::builder(&base)
            .user_agent(concat!("lightship/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_LIMIT);
        let http = builder.build().map_err(|error| CfError::Settings(cause_of(&error)))?;
        let budget = Mutex::new(Budget::new(Instant::now()));
        let inner = Arc::new(Inner {
            http,
            base,
            account,
            token: Mutex::new(token),
            io,
            budget,
            keeper: OnceLock::new(),
            covered: tokio::sync::Mutex::default(),
            line: tokio::sync::Mutex::default(),
            refusal: Mutex::default(),
            told: Mutex::default(),
            written: Mutex::default(),
        });
        Ok(Self {
            inner,
            class: Class::Change,
            is_patient: false,
            time_limit: TIME_LIMIT,
            deadline: None,
            turns: None,
        })
    }

    /// From now on what was used of the budget outlasts the process. The first keeper stays.
    pub fn keep_budget(&self, keeper: Arc<dyn BudgetKeeper>) {
        let _ = self.inner.keeper.set(keeper);
    }

    /// The same client for reads that can wait: they use at most a quarter of the budget.
    pub fn background(&self) -> Self {
        Self { class: Class::Background, ..self.clone() }
    }

    /// The same client for long pieces of work: a call waits for its turn as long as it takes. A wait that
    /// Cloudflare asked for is still told.
    pub fn patient(&self) -> Self {
        Self { is_patient: true, ..self.clone() }
    }

    /// The same client with another time limit per call (15 s by default).
    pub fn with_time_limit(&self, limit: Duration) -> Self {
        Self { time_limit: limit, ..self.clone() }
    }

    /// The same client for what is worth nothing later: a call that has not had its turn by then is not sent, and fails
    /// with [`CfError::TooLate`].
    pub fn sent_before(&self, deadline: Instant) -> Self {
        Self { deadline: Some(deadline), ..self.clone() }
    }

    /// The same client, once `count` calls have had their turn: they follow one another without a wait in between.
    pub async fn with_turns(&self, count: u32) -> Result<Self, CfError> {
        for _ in 0..count {
            self.await_turn("calls that belong together").await?;
        }
        Ok(Self { turns: Some(Arc::new(AtomicU32::new(count))), ..self.clone() })
    }

    /// Returns the account it speaks for.
    pub fn account(&self) -> &AccountId {
        &self.inner.account
    }

    /// Uses another token from now on, for the same account; nothing that was said of the one before counts any more.
    pub fn exchange_token(&self, token: SecretString) {
        *self.inner.token.lock() = token;
        *self.inner.refusal.lock() = None;
        self.inner.written.lock().clear();
    }

    /// Says how the budget stands.
    pub fn budget(&self) -> BudgetView {
        self.inner.budget.lock().view(Instant::now())
    }

    /// Returns how many calls could be made now.
    pub fn calls_left(&self) -> u32 {
        self.inner.budget.lock().left(Instant::now())
    }

    /// Returns what Cloudflare said when it last refused the token; none if it took it since.
    pub fn refusal(&self) -> Option<String> {
        self.inner.refusal.lock().clone()
    }

    /// Returns what the last answer said of the time; none before one did.
    pub fn told_time(&self) -> Option<Told> {
        *self.inner.told.lock()
    }

    /// Returns the rights that were shown by more than reading since the start, by the names that Cloudflare gives them.
    pub fn written(&self) -> Vec<&'static str> {
        self.inner.written.lock().clone()
    }

    /// Something was done that takes this right.
    pub(super) fn note_shown(&self, right: &'static str) {
        self.inner.note_write(Some(right));
    }

    /// Returns where the API is, without its path.
    pub fn api(&self) -> String {
        self.inner.base.origin().ascii_serialization()
    }

    /// Makes one call.
    pub(super) async fn call<T>(&self, call: Call) -> Result<Answer<T>, CfError>
    where
        T: DeserializeOwned + Send + 'static,
    {
        let this = self.clone();
        self.inner.io.run(async move { this.send(call).await }).await
    }

    /// Reads all pages of a list. A full page asks for the next one whatever `total_count` says: that figure
    /// is wrong at times, and some lists have none.
    pub(super) async fn list<T>(&self, call: impl Fn() -> Call, per_page: usize) -> Result<Vec<T>, CfError>
    where
        T: DeserializeOwned + Send + 'static,
    {
        let mut items = Vec::new();
        for page in 1..=MAX_PAGES {
            let call = call().query("page", page.to_string()).query("per_page", per_page.to_string());
            let answer = self.call::<Vec<T>>(call).await?;
            let size = answer.per_page.filter(|&size| size > 0).unwrap_or(per_page).min(per_page);
            let found = answer.result.unwrap_or_default();
            let is_last = found.len() < size;
            items.extend(found);
            if is_last {
                return Ok(items);
            }
        }
        Err(CfError::Malformed {
            call: call().name,
            reason: format!("the list has more than {MAX_PAGES} pages"),
        })
    }

    async fn send<T: DeserializeOwned>(&self, call: Call) -> Result<Answer<T>, CfError> {
        self.await_turn(call.name).await?;
        if self.deadline.is_some_and(|deadline| Instant::now() > deadline) {
            return Err(CfError::TooLate { call: call.name });
        }
        let (name, right, limit, inner) = (call.name, call.right, self.time_limit, &self.inner);
        let shown = if call.method == Method::GET { None } else { shown_by_write(&call.path) };
        let exchange = tokio::time::timeout(limit, inner.exchange(call)).await;
        let (status, headers, body) = exchange.unwrap_or_else(|_| {
            let reason = format!("no answer within {} s", limit.as_secs_f64());
            Err(CfError::NoAnswer { call: name, reason, sent: true })
        })?;
        inner.note_time(&headers);
        let answer = decode(name, status, &headers, &body)
            .map_err(|error| inner.without_token(error).with_right(right));
        if let Err(CfError::RateLimited { retry_after, .. }) = &answer {
            inner.budget.lock().block(Instant::now(), *retry_after);
            inner.note_pause().await;
        }
        match &answer {
            Ok(_) => {
                *inner.refusal.lock() = None;
                inner.note_write(shown);
            }
            Err(error) if error.is_about_the_token() => *inner.refusal.lock() = Some(error.to_string()),
            Err(_) => {}
        }
        answer
    }

    /// Takes a turn that was waited for before, unless Cloudflare has asked for a pause since.
    fn takes_kept_turn(&self) -> bool {
        let take = |turns: &Arc<AtomicU32>| {
            turns.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
        };
        self.turns.as_ref().is_some_and(take) && !self.inner.budget.lock().is_blocked(Instant::now())
    }

    async fn await_turn(&self, call: &'static str) -> Result<(), CfError> {
        if self.takes_kept_turn() {
            return Ok(());
        }
        self.inner.resume_budget().await;
        let _place = if self.is_patient { Some(self.inner.line.lock().await) } else { None };
        let deadline = Instant::now() + MAX_BUDGET_WAIT;
        loop {
            let now = Instant::now();
            let (taken, is_theirs) = {
                let mut budget = self.inner.budget.lock();
                (budget.take(now, self.class), budget.is_blocked(now))
            };
            let Err(retry_after) = taken else {
                self.inner.cover_call().await;
                return Ok(());
            };
            let is_late = match self.is_patient {
                true => retry_after > MAX_BUDGET_WAIT,
                false => now + retry_after > deadline,
            };
            match is_theirs {
                true if is_late => return Err(CfError::RateLimited { call, retry_after }),
                false if is_late && !self.is_patient => return Err(CfError::NotYet { call, retry_after }),
                _ => tokio::time::sleep(retry_after).await,
            }
        }
    }
}

impl Inner {
    /// Before the first call: what a process before this one used up counts.
    async fn resume_budget(&self) {
        let Some(keeper) = self.keeper.get() else { return };
        let mut covered = self.covered.lock().await;
        if covered.is_none() {
            let note = keeper.last().await;
            self.budget.lock().resume(Instant::now(), keeper.now(), note);
            *covered = Some(0);
        }
    }

    /// Sees to it that a call is noted before it is made; one note is good for some of them.
    async fn cover_call(&self) {
        let Some(keeper) = self.keeper.get() else { return };
        let mut covered = self.covered.lock().await;
        let mut left = covered.unwrap_or(0);
        if left == 0 {
            let note = self.budget.lock().note(Instant::now(), keeper.now(), COVERED - 1);
            keeper.keep(note).await;
            left = COVERED;
        }
        *covered = Some(left - 1);
    }

    fn note_time(&self, headers: &HeaderMap) {
        if let Some(theirs) = date(headers) {
            *self.told.lock() = Some(Told { theirs, ours: Clock::system().now() });
        }
    }

    fn note_write(&self, shown: Option<&'static str>) {
        let mut written = self.written.lock();
        if let Some(right) = shown.filter(|right| !written.contains(right)) {
            written.push(right);
        }
    }

    /// A pause that Cloudflare asked for is noted at once.
    async fn note_pause(&self) {
        let Some(keeper) = self.keeper.get() else { return };
        let covered = self.covered.lock().await;
        let note = self.budget.lock().note(Instant::now(), keeper.now(), covered.unwrap_or(0));
        keeper.keep(note).await;
    }

    async fn exchange(&self, call: Call) -> Result<(u16, HeaderMap, Vec<u8>), CfError> {
        let name = call.name;
        let lost = |error: reqwest::Error| CfError::NoAnswer {
            call: name,
            sent: !error.is_connect() && !error.is_builder(),
            reason: cause_of(&error),
        };
        let mut answer = self.request(call).send().await.map_err(lost)?;
        let (status, headers) = (answer.status().as_u16(), std::mem::take(answer.headers_mut()));
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(lost)? {
            if body.len() + chunk.len() > SIZE_LIMIT_BYTES {
                let reason = format!("it is larger than {} MiB", SIZE_LIMIT_BYTES >> 20);
                return Err(CfError::Malformed { call: name, reason });
            }
            body.extend_from_slice(&chunk);
        }
        Ok((status, headers, body))
    }

    fn request(&self, call: Call) -> reqwest::RequestBuilder {
        let mut url = self.base.clone();
        // Ids are opaque: each becomes one path segment, whatever it holds.
        url.path_segments_mut().expect("checked when the base was read").pop_if_empty().extend(&call.path);
        let token = self.token.lock().clone();
        let mut request = self.http.request(call.method, url).bearer_auth(token.expose_secret());
        if !call.query.is_empty() {
            request = request.query(&call.query);
        }
        match &call.body {
            Some(body) => request.json(body),
            None => request,
        }
    }

    /// Takes the token out of Cloudflare's words, should they repeat it.
    fn without_token(&self, error: CfError) -> CfError {
        let token = self.token.lock().clone();
        let token = token.expose_secret();
        let hide = |text: String| if token.is_empty() { text } else { text.replace(token, "[token]") };
        match error {
            CfError::Refused { call, status, codes, message, missing_right } => {
                CfError::Refused { call, status, codes, message: hide(message), missing_right }
            }
            CfError::Malformed { call, reason } => CfError::Malformed { call, reason: hide(reason) },
            other => other,
        }
    }
}

impl fmt::Debug for Cloudflare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cloudflare")
            .field("base", &self.inner.base.as_str())
            .field("account", &self.inner.account)
            .field("class", &self.class)
            .finish_non_exhaustive()
    }
}

/// The innermost cause: what a person can act on. The URL in the outer text is left out.
fn cause_of(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    if cause.downcast_ref::<reqwest::Error>().is_some() {
        return if error.is_timeout() {
            "the connection timed out".into()
        } else {
            "the request failed".into()
        };
    }
    cause.to_string()
}
