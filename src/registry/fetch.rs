//! Requests to a registry: by http or https, with what it wants to see, and its answers sorted.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use parking_lot::Mutex;
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderValue, IF_NONE_MATCH};
use reqwest::{Method, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use url::Url;

use super::auth::{Tokens, Which, denied, header};
use super::cells::Cells;
use super::exchange::{Limits, NoReply, Reply, Request, Wire, authority};
use super::lanes::{Lanes, Weight};
use super::site::Site;
use crate::domain::registry::{
    Challenge, Circumstance, Digest, Manifest, Sent, Step, Tried, next_step, read_challenges,
};

/// All kinds of manifests at once: with fewer, some registries say that there is nothing, and others convert.
const MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.v2+json";
/// Tags of one page.
const PAGE: &str = "1000";
/// Pages of tags that are read.
const MAX_PAGES: usize = 20;
/// Longest tag that there can be.
const MAX_TAG: usize = 128;
/// Registries whose ways are kept in mind.
const MOST: usize = 1_000;

/// Asks registries.
pub(super) struct Fetcher {
    pub wire: Wire,
    pub lanes: Lanes,
    pub tokens: Tokens,
    pub limits: Limits,
    challenges: Mutex<HashMap<String, Challenge>>,
    /// Registries that speak plain http.
    plain: Mutex<HashSet<String>>,
    /// Registries that answered once, so that it is known what they want to see.
    met: Cells<String, ()>,
}

/// What a tag is, by its name alone.
#[derive(Debug, Clone)]
pub(super) struct Head {
    pub digest: Digest,
    pub etag: Option<String>,
    /// What it holds, if it had to be fetched to know its digest.
    pub body: Option<Bytes>,
}

/// All tags of a repository, as far as they were read.
#[derive(Debug, Clone, Default)]
pub(super) struct TagList {
    pub tags: Vec<String>,
    pub is_cut: bool,
}

struct What<'a> {
    method: Method,
    path: String,
    query: Option<(&'a str, &'a str)>,
    headers: HeaderMap,
    weight: Weight,
    bytes: usize,
}

enum With {
    Nothing,
    Basic,
    Token(Which),
}

impl Fetcher {
    pub fn new(wire: Wire, lanes: Lanes, tokens: Tokens, limits: Limits) -> Self {
        Self {
            wire,
            lanes,
            tokens,
            limits,
            challenges: Mutex::default(),
            plain: Mutex::default(),
            met: Cells::new(),
        }
    }

    /// Returns a tag's digest. `known` is what it was, with the registry's own name for that answer.
    pub async fn head(
        &self,
        site: &Site,
        repository: &str,
        tag: &str,
        known: Option<(Digest, String)>,
    ) -> Result<Head, Circumstance> {
        let mut what = self.manifest(Method::HEAD, tag);
        what.weight = Weight::Light;
        if let Some(value) = known.as_ref().and_then(|(_, etag)| HeaderValue::from_str(etag).ok()) {
            what.headers.insert(IF_NONE_MATCH, value);
        }
        let reply = self.ask(site, repository, &what).await?;
        if let (StatusCode::NOT_MODIFIED, Some((digest, etag))) = (reply.status, known) {
            return Ok(Head { digest, etag: Some(etag), body: None });
        }
        let etag = reply.header("etag").filter(|etag| etag.len() <= 200).map(str::to_owned);
        let is_no_way = matches!(reply.status.as_u16(), 405 | 501);
        let reply = if is_no_way { None } else { Some(sorted(site, reply)?) };
        let digest = reply.and_then(|reply| Digest::parse(reply.header("docker-content-digest")?));
        match digest {
            Some(digest) => Ok(Head { digest, etag, body: None }),
            None => {
                let (digest, body) = self.get_manifest(site, repository, tag, None).await?;
                Ok(Head { digest, etag, body: Some(body) })
            }
        }
    }

    /// Fetches a manifest by tag or digest. Its bytes decide what its digest is.
    pub async fn get_manifest(
        &self,
        site: &Site,
        repository: &str,
        name: &str,
        expected: Option<&Digest>,
    ) -> Result<(Digest, Bytes), Circumstance> {
        let what = self.manifest(Method::GET, name);
        let reply = sorted(site, self.ask(site, repository, &what).await?)?;
        let said = reply.header("docker-content-digest").and_then(Digest::parse);
        let wrong = |digest: &&Digest| !digest.is_of(&reply.body);
        if expected.into_iter().chain(&said).any(|digest| wrong(&digest)) {
            return Err(Circumstance::Odd { reason: "a manifest has another digest than it says".into() });
        }
        // A page for people, of a proxy that wants to be signed in to, has a digest too.
        Manifest::read(&reply.body).map_err(|reason| Circumstance::Odd { reason: reason.into() })?;
        Ok((said.unwrap_or_else(|| Digest::of(&reply.body)), reply.body))
    }

    /// Fetches a configuration; registries do not count that as a pull.
    pub async fn get_config(
        &self,
        site: &Site,
        repository: &str,
        digest: &Digest,
    ) -> Result<Bytes, Circumstance> {
        let what = What {
            method: Method::GET,
            path: format!("blobs/{digest}"),
            query: None,
            headers: HeaderMap::new(),
            weight: Weight::Light,
            bytes: self.limits.manifest_bytes,
        };
        let reply = sorted(site, self.ask(site, repository, &what).await?)?;
        match digest.is_of(&reply.body) {
            true => Ok(reply.body),
            false => {
                Err(Circumstance::Odd { reason: "a configuration has another digest than it says".into() })
            }
        }
    }

    /// Lists tags, page by page; what is too much is left out.
    pub async fn list_tags(&self, site: &Site, repository: &str) -> Result<TagList, Circumstance> {
        let mut list = TagList::default();
        let (mut room, mut next) = (self.limits.tags_bytes, None::<Url>);
        let mut seen = HashSet::new();
        for page in 0..MAX_PAGES {
            let what = What {
                method: Method::GET,
                path: "tags/list".into(),
                query: Some(("n", PAGE)),
                headers: HeaderMap::new(),
                weight: Weight::Light,
                bytes: room,
            };
            let asked = match &next {
                None => self.ask(site, repository, &what).await,
                Some(url) => self.ask_at(site, repository, &what, Some(url)).await,
            };
            // What was read before a page that is too large, or does not come, is still true.
            let reply = match asked.and_then(|reply| sorted(site, reply)) {
                Err(_) if page > 0 => break,
                outcome => outcome?,
            };
            room -= reply.body.len();
            let read: Page = serde_json::from_slice(&reply.body)
                .map_err(|_| Circumstance::Odd { reason: "its list of tags is none".into() })?;
            list.tags.extend(read.tags.into_iter().flatten().filter(|tag| tag.len() <= MAX_TAG));
            let here = next.take().unwrap_or(self.address(site, repository, &what)?);
            let Some(target) = reply.headers("link").find_map(|link| next_page(link, &here)) else {
                // There may be more where we do not go.
                list.is_cut = reply.headers("link").any(|link| link.contains("next"));
                return Ok(list);
            };
            if !seen.insert(target.clone()) || target == here {
                break;
            }
            next = Some(target);
        }
        list.is_cut = true;
        Ok(list)
    }

    fn manifest(&self, method: Method, name: &str) -> What<'static> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static(MANIFESTS));
        let bytes = self.limits.manifest_bytes;
        What { method, path: format!("manifests/{name}"), query: None, headers, weight: Weight::Pull, bytes }
    }

    async fn ask(&self, site: &Site, repository: &str, what: &What<'_>) -> Result<Reply, Circumstance> {
        self.ask_at(site, repository, what, None).await
    }

    /// Asks, and answers what the registry wants to see. Each way is tried once.
    async fn ask_at(
        &self,
        site: &Site,
        repository: &str,
        what: &What<'_>,
        url: Option<&Url>,
    ) -> Result<Reply, Circumstance> {
        // The first one goes alone: what it learns, all others need not be refused for.
        let first = self.met.place(&site.registry).lock_owned().await;
        let mut first = Some(first).filter(|met| met.is_none());
        let mut tried = Tried::default();
        let mut challenge = self.challenges.lock().get(&site.registry).cloned();
        let has_password = site.login.as_ref().is_some_and(|login| login.basic().is_some());
        let mut with = match &challenge {
            Some(Challenge::Bearer(_)) => With::Token(Which::Any),
            Some(Challenge::Basic) if has_password => With::Basic,
            _ => With::Nothing,
        };
        loop {
            let (value, sent, token) = self.proof(site, repository, challenge.as_ref(), &with).await?;
            let reply = self.send(site, repository, what, url, value).await?;
            let is_shared = matches!(sent, Sent::Token { is_shared: true, .. });
            match reply.status.as_u16() {
                401 => {
                    let said = read_challenges(reply.headers("www-authenticate"));
                    challenge = said.or(challenge.filter(|_| is_shared));
                    self.learn(site, repository, challenge.as_ref());
                }
                // Some say so instead of 401 to a token that is not for this repository.
                403 if is_shared => {}
                _ => {
                    if let Some(mut met) = first {
                        *met = Some(());
                    }
                    return Ok(reply);
                }
            }
            if let Some(mut met) = first.take() {
                *met = Some(());
            }
            with = match next_step(sent, challenge.as_ref(), has_password, &mut tried) {
                Step::SendBasic => With::Basic,
                Step::SendToken => With::Token(Which::Any),
                Step::SendOwnToken => With::Token(Which::Own),
                Step::RenewToken => With::Token(token.map_or(Which::Any, Which::Not)),
                Step::Stop => return Err(denied(site)),
            };
        }
    }

    /// The header that proves who we are.
    async fn proof(
        &self,
        site: &Site,
        repository: &str,
        challenge: Option<&Challenge>,
        with: &With,
    ) -> Result<(Option<HeaderValue>, Sent, Option<SecretString>), Circumstance> {
        match (with, challenge) {
            (With::Basic, _) => {
                let basic = site.login.as_ref().and_then(|login| login.basic()).unwrap_or_default();
                Ok((Some(header(&basic)?), Sent::Basic, None))
            }
            (With::Token(which), Some(Challenge::Bearer(bearer))) => {
                let token =
                    self.tokens.token(&self.wire, &self.lanes, site, bearer, repository, which).await?;
                let value = header(&format!("Bearer {}", token.text.expose_secret()))?;
                let sent = Sent::Token { is_shared: token.is_shared, is_kept: token.is_kept };
                Ok((Some(value), sent, Some(token.text)))
            }
            _ => Ok((None, Sent::Nothing, None)),
        }
    }

    /// Keeps in mind what a registry wants to see, so that nobody has to be refused again to know. What it said of one
    /// repository alone is left out.
    fn learn(&self, site: &Site, repository: &str, challenge: Option<&Challenge>) {
        let Some(challenge) = challenge else { return };
        let kept = match challenge {
            Challenge::Bearer(bearer) => {
                let usual = format!("repository:{repository}:");
                if bearer.scope.as_ref().is_some_and(|scope| !scope.starts_with(&usual)) {
                    return;
                }
                let mut bearer = bearer.clone();
                (bearer.scope, bearer.error) = (None, None);
                Challenge::Bearer(bearer)
            }
            Challenge::Basic => Challenge::Basic,
        };
        let mut challenges = self.challenges.lock();
        if challenges.len() >= MOST {
            challenges.clear();
        }
        challenges.insert(site.registry.clone(), kept);
    }

    fn address(&self, site: &Site, repository: &str, what: &What<'_>) -> Result<Url, Circumstance> {
        let scheme = if self.plain.lock().contains(&site.registry) { "http" } else { "https" };
        let text = format!("{scheme}://{}/v2/{repository}/{}", site.host(), what.path);
        let mut url =
            Url::parse(&text).map_err(|_| Circumstance::Odd { reason: "its name is no address".into() })?;
        if let Some((name, value)) = what.query {
            url.query_pairs_mut().append_pair(name, value);
        }
        Ok(url)
    }

    async fn send(
        &self,
        site: &Site,
        repository: &str,
        what: &What<'_>,
        url: Option<&Url>,
        proof: Option<HeaderValue>,
    ) -> Result<Reply, Circumstance> {
        let mut headers = what.headers.clone();
        if let Some(proof) = proof {
            headers.insert(AUTHORIZATION, proof);
        }
        let url = url.cloned().map_or_else(|| self.address(site, repository, what), Ok)?;
        let limit = if what.path == "tags/list" { self.limits.page } else { self.limits.answer };
        let request =
            Request { method: what.method.clone(), url, headers, form: None, limit, bytes: what.bytes };
        let sent = self.lanes.through(site.host(), what.weight, self.by_any_scheme(site, request)).await;
        sent.map_err(|circumstance| match circumstance {
            Circumstance::NoAnswer { reason, .. } => {
                Circumstance::NoAnswer { reason, is_https_only: !self.wire.may_be_plain(&site.registry) }
            }
            other => other,
        })
    }

    /// Asks without encryption who may be asked so and does not understand the other way.
    async fn by_any_scheme(&self, site: &Site, request: Request) -> Result<Reply, NoReply> {
        let is_open = request.url.scheme() == "https" && self.wire.may_be_plain(&site.registry);
        let first = self.wire.send(request.clone()).await;
        match first {
            Err(NoReply::NotConnected(_)) if is_open => {
                let mut plain = request;
                if plain.url.set_scheme("http").is_err() {
                    return first;
                }
                let second = self.wire.send(plain).await;
                if second.is_ok() {
                    self.plain.lock().insert(site.registry.clone());
                }
                second
            }
            Err(NoReply::NotConnected(_)) => {
                self.plain.lock().remove(&site.registry);
                first
            }
            _ => first,
        }
    }
}

#[derive(Deserialize)]
struct Page {
    tags: Option<Vec<String>>,
}

/// An answer that says what was asked; every other one has a meaning of its own.
fn sorted(site: &Site, reply: Reply) -> Result<Reply, Circumstance> {
    match reply.status.as_u16() {
        200 => Ok(reply),
        401 | 403 => Err(denied(site)),
        404 => Err(Circumstance::NotFound),
        status @ 500..=599 => Err(Circumstance::Failed { status }),
        status => Err(Circumstance::Odd { reason: format!("it answered {status}") }),
    }
}

/// Reads `Link: </v2/…>; rel="next"`. Another host's page is none: our credentials do not go there.
fn next_page(link: &str, here: &Url) -> Option<Url> {
    link.split(',').find_map(|part| {
        let (target, rest) = part.trim().strip_prefix('<')?.split_once('>')?;
        let is_next = rest.split(';').any(|word| matches!(word.trim(), "rel=\"next\"" | "rel=next"));
        let target = here.join(target).ok().filter(|_| is_next)?;
        let is_here = (authority(&target), target.scheme()) == (authority(here), here.scheme());
        is_here.then_some(target)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_at_the_same_registry() {
        let here = Url::parse("https://reg.example/v2/a/tags/list?n=1000").unwrap();
        for (link, expected) in [
            (
                "</v2/a/tags/list?n=1000&last=x>; rel=\"next\"",
                Some("https://reg.example/v2/a/tags/list?n=1000&last=x"),
            ),
            ("<https://reg.example/p2>; rel=next", Some("https://reg.example/p2")),
            ("<?last=b>;rel=\"next\"", Some("https://reg.example/v2/a/tags/list?last=b")),
            ("</p1>; rel=\"prev\", </p3>; rel=\"next\"", Some("https://reg.example/p3")),
            ("<https://other.example/p2>; rel=\"next\"", None),
            ("<http://reg.example/p2>; rel=\"next\"", None),
            ("</p2>", None),
            ("rubbish", None),
            ("", None),
        ] {
            let found = next_page(link, &here).map(String::from);
            assert_eq!(found.as_deref(), expected, "{link}");
        }
    }
}
