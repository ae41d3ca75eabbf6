//! Answers questions about tags: from what is known, or by asking once for all who ask.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::join_all;

use super::auth::Tokens;
use super::cells::Cells;
use super::credentials::Credentials;
use super::exchange::{Limits, Wire};
use super::fetch::{Fetcher, TagList};
use super::kept::{ContentKey, HeadKey, Kept, KeptContent, KeptHead};
use super::lanes::Lanes;
use super::site::Site;
use super::walk::{Resolved, describe, resolve};
use super::{Answer, Ask, Lookup, Registries};
use crate::clock::Clock;
use crate::domain::registry::{
    Circumstance, DOCKER_HUB, Digest, Found, Outcome, Refusal, Tags, newer, refusal,
};
use crate::domain::update::Cause;
use crate::http_client::SetupError;
use crate::io::Io;

/// How long an answer is good.
const GOOD_FOR: TimeDelta = TimeDelta::minutes(5);
/// How long it is good where the digest is only had by a fetch, which counts as a pull.
const FETCHED_GOOD_FOR: TimeDelta = TimeDelta::minutes(30);
/// How long a list of tags is good.
const TAGS_GOOD_FOR: TimeDelta = TimeDelta::hours(1);
/// How long an answer is good for a person who waits for a newer one.
const FRESH: TimeDelta = TimeDelta::seconds(10);
/// What is kept for the next process, at most this old.
const KEPT_FOR: TimeDelta = TimeDelta::days(2);

/// What a client needs to know.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Registries that may be asked without encryption, beside this machine.
    pub insecure: Vec<String>,
    /// Certificate authorities beside the system's.
    pub ca_file: Option<PathBuf>,
    /// How long and how large answers may be.
    pub limits: Limits,
}

/// A client of all registries. Clones share all that it knows.
#[derive(Clone)]
pub struct RegistryClient {
    inner: Arc<Inner>,
    io: Io,
}

struct Inner {
    fetch: Fetcher,
    credentials: Arc<dyn Credentials>,
    clock: Clock,
    heads: Cells<HeadKey, KnownHead>,
    contents: Cells<ContentKey, Resolved>,
    tags: Cells<(String, String, String), KnownTags>,
}

#[derive(Clone)]
struct KnownHead {
    at: DateTime<Utc>,
    /// True if another process was told so.
    is_resumed: bool,
    was_fetched: bool,
    outcome: Result<(Digest, Option<String>), Refusal>,
}

#[derive(Clone)]
struct KnownTags {
    at: DateTime<Utc>,
    outcome: Result<Arc<TagList>, Refusal>,
}

impl RegistryClient {
    /// Prepares a client; nothing is sent yet.
    pub fn new(
        settings: Settings,
        credentials: Arc<dyn Credentials>,
        clock: Clock,
        io: Io,
    ) -> Result<Self, SetupError> {
        let limits = settings.limits;
        let wire = Wire::new(settings.insecure, settings.ca_file.as_deref(), limits)?;
        let tokens = Tokens::new(clock.clone(), limits);
        let fetch = Fetcher::new(wire, Lanes::new(clock.clone()), tokens, limits);
        let inner = Inner {
            fetch,
            credentials,
            clock,
            heads: Cells::new(),
            contents: Cells::new(),
            tags: Cells::new(),
        };
        Ok(Self { inner: Arc::new(inner), io })
    }

    /// Returns what the next process may want to know.
    pub fn keep(&self) -> Kept {
        let inner = &self.inner;
        let now = inner.clock.now();
        let heads = inner.heads.all().into_iter().filter(|(_, known)| now - known.at < KEPT_FOR);
        let head = |(key, known): (HeadKey, KnownHead)| {
            let (digest, etag) = known.outcome.ok()?;
            Some(KeptHead { key, digest, etag, at: known.at, was_fetched: known.was_fetched })
        };
        let contents = inner.contents.all().into_iter();
        Kept {
            heads: heads.filter_map(head).collect(),
            contents: contents.map(|(key, resolved)| KeptContent { key, resolved }).collect(),
            paces: inner.fetch.lanes.paces(),
        }
    }

    /// How often a registry or a token server asked to wait since the start.
    pub fn refusals(&self) -> u64 {
        self.inner.fetch.lanes.refusals()
    }

    /// Takes the registries' clocks only: what another process beside this one was told.
    pub fn take_clocks(&self, kept: Kept) {
        for (host, pace) in kept.paces {
            self.inner.fetch.lanes.resume(&host, pace);
        }
    }

    /// Takes what an earlier process knew.
    pub fn resume(&self, mut kept: Kept) {
        let inner = &self.inner;
        let now = inner.clock.now();
        for head in std::mem::take(&mut kept.heads)
            .into_iter()
            .filter(|head| head.at <= now && now - head.at < KEPT_FOR)
        {
            let outcome = Ok((head.digest, head.etag));
            inner.heads.put(
                &head.key,
                KnownHead { at: head.at, is_resumed: true, was_fetched: head.was_fetched, outcome },
            );
        }
        for content in std::mem::take(&mut kept.contents) {
            inner.contents.put(&content.key, content.resolved);
        }
        self.take_clocks(kept);
    }
}

impl Registries for RegistryClient {
    fn forget(&self, registry: &str, repository: &str) {
        let inner = &self.inner;
        inner.heads.forget(|key| (key.registry.as_str(), key.repository.as_str()) == (registry, repository));
        inner.tags.forget(|(theirs, its, _)| (theirs.as_str(), its.as_str()) == (registry, repository));
    }

    fn forget_registry(&self, registry: &str) {
        let inner = &self.inner;
        inner.heads.forget(|key| key.registry == registry);
        inner.contents.forget(|key| key.registry == registry);
        inner.tags.forget(|(theirs, ..)| theirs == registry);
        // They are kept by token server, and which registries have the same one is not known.
        inner.fetch.tokens.forget();
    }
}

#[async_trait]
impl Lookup for RegistryClient {
    async fn look_up(&self, asks: Vec<Ask>) -> Vec<Answer> {
        let inner = self.inner.clone();
        self.io.run(async move { inner.answer_all(asks).await }).await
    }
}

impl Inner {
    async fn answer_all(&self, asks: Vec<Ask>) -> Vec<Answer> {
        let mut repositories = BTreeMap::<&str, BTreeSet<&str>>::new();
        for ask in &asks {
            repositories.entry(&ask.registry).or_default().insert(&ask.repository);
        }
        let sites =
            repositories.into_iter().map(|(registry, repositories)| self.site(registry, repositories));
        let sites: BTreeMap<String, Site> =
            join_all(sites).await.into_iter().map(|site| (site.registry.clone(), site)).collect();
        // Every question's registry is among them.
        let answers = asks.iter().filter_map(|ask| Some(self.answer(sites.get(&ask.registry)?, ask)));
        join_all(answers).await
    }

    async fn site(&self, registry: &str, repositories: BTreeSet<&str>) -> Site {
        let (login, note) = match self.credentials.find(registry).await {
            Ok(login) => (login, None),
            Err(reason) => (None, Some(reason)),
        };
        let repositories = repositories.into_iter().map(str::to_owned).collect();
        Site { registry: registry.to_owned(), login, note, repositories }
    }

    async fn answer(&self, site: &Site, ask: &Ask) -> Answer {
        let content = async {
            match ask.wants_content {
                true => self.found(site, ask).await.map_or_else(Outcome::Refused, Outcome::Found),
                false => Outcome::NotAsked,
            }
        };
        let tags = async {
            match ask.wants_tags {
                true => self.newer(site, ask).await,
                false => Tags::NotAsked,
            }
        };
        let (content, tags) = futures_util::future::join(content, tags).await;
        Answer { content, tags }
    }

    async fn found(&self, site: &Site, ask: &Ask) -> Result<Found, Refusal> {
        let (digest, at, body) = self.digest(site, ask).await?;
        if ask.known.contains(&digest) {
            return Ok(Found { digest, at, content: None });
        }
        let key = ContentKey {
            registry: ask.registry.clone(),
            repository: ask.repository.clone(),
            digest: digest.clone(),
            platform: ask.platform.clone(),
            account: site.account().to_owned(),
        };
        let place = self.contents.place(&key);
        let mut place = place.lock().await;
        let resolved = match place.as_mut() {
            Some(resolved) => resolved,
            None => {
                let found = resolve(&self.fetch, site, &ask.repository, &digest, &ask.platform, body).await;
                place.insert(found.map_err(|what| told(ask, &what))?)
            }
        };
        // What it says of itself is wanted only of an image that is not there yet.
        if !resolved.config.as_ref().is_some_and(|config| ask.known.contains(config)) {
            describe(&self.fetch, site, &ask.repository, resolved).await;
        }
        Ok(Found { digest, at, content: Some(resolved.content.clone()) })
    }

    /// Returns the tag's digest, when the registry said so, and what it holds if it was fetched just now.
    async fn digest(
        &self,
        site: &Site,
        ask: &Ask,
    ) -> Result<(Digest, DateTime<Utc>, Option<Bytes>), Refusal> {
        let key = HeadKey {
            registry: ask.registry.clone(),
            repository: ask.repository.clone(),
            tag: ask.tag.clone(),
            account: site.account().to_owned(),
        };
        let place = self.heads.place(&key);
        let mut place = place.lock().await;
        let now = self.clock.now();
        if let Some(known) = place.as_ref().filter(|known| known.is_good(now, ask.is_fresh)) {
            return known.outcome.clone().map(|(digest, _)| (digest, known.at, None));
        }
        let before = place.as_ref().and_then(|known| known.outcome.clone().ok());
        let before = before.and_then(|(digest, etag)| Some((digest, etag?)));
        let asked = self.fetch.head(site, &ask.repository, &ask.tag, before).await;
        let at = self.clock.now();
        match asked {
            Ok(head) => {
                let was_fetched = head.body.is_some();
                let outcome = Ok((head.digest.clone(), head.etag));
                *place = Some(KnownHead { at, is_resumed: false, was_fetched, outcome });
                Ok((head.digest, at, head.body))
            }
            Err(what) => {
                let refusal = told(ask, &what);
                if is_lasting(refusal.cause) {
                    *place = Some(KnownHead {
                        at,
                        is_resumed: false,
                        was_fetched: false,
                        outcome: Err(refusal.clone()),
                    });
                }
                Err(refusal)
            }
        }
    }

    async fn newer(&self, site: &Site, ask: &Ask) -> Tags {
        let key = (ask.registry.clone(), ask.repository.clone(), site.account().to_owned());
        let place = self.tags.place(&key);
        let mut place = place.lock().await;
        let now = self.clock.now();
        let known = match place.as_ref().filter(|known| known.is_good(now, ask.is_fresh)) {
            Some(known) => known.clone(),
            None => {
                let listed = self.fetch.list_tags(site, &ask.repository).await;
                let outcome = listed.map(Arc::new).map_err(|what| told(ask, &what));
                let known = KnownTags { at: self.clock.now(), outcome };
                let is_kept =
                    known.outcome.as_ref().map_or_else(|refusal| is_lasting(refusal.cause), |_| true);
                if is_kept {
                    *place = Some(known.clone());
                }
                known
            }
        };
        match known.outcome {
            Ok(list) => {
                let mut found = newer(&ask.tag, list.tags.iter().map(String::as_str));
                found.is_cut = list.is_cut;
                Tags::Newer(found)
            }
            Err(refusal) => Tags::Refused(refusal),
        }
    }
}

impl KnownHead {
    fn is_good(&self, now: DateTime<Utc>, is_fresh: bool) -> bool {
        let life = match self.was_fetched {
            // Who asks again by hand wants to know how it is now; only one and the same question is not sent twice.
            _ if is_fresh && self.is_resumed => return false,
            _ if is_fresh => FRESH,
            true => FETCHED_GOOD_FOR,
            false => GOOD_FOR,
        };
        is_young(self.at, now, life)
    }
}

impl KnownTags {
    fn is_good(&self, now: DateTime<Utc>, is_fresh: bool) -> bool {
        let life = match &self.outcome {
            _ if is_fresh => FRESH,
            Ok(_) => TAGS_GOOD_FOR,
            Err(_) => GOOD_FOR,
        };
        is_young(self.at, now, life)
    }
}

/// A time that is still to come is of a clock that was set back.
fn is_young(at: DateTime<Utc>, now: DateTime<Utc>, life: TimeDelta) -> bool {
    at <= now && now - at < life
}

/// What a registry said on purpose holds for a while; what its queue says, the queue says again without asking it.
fn is_lasting(cause: Cause) -> bool {
    !matches!(cause, Cause::Waits | Cause::NotReachable)
}

fn told(ask: &Ask, what: &Circumstance) -> Refusal {
    let is_hub = ask.registry == DOCKER_HUB;
    let repository = ask.repository.strip_prefix("library/").filter(|_| is_hub).unwrap_or(&ask.repository);
    refusal(&ask.registry, &format!("{repository}:{}", ask.tag), what)
}
