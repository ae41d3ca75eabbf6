//! Tokens: one for many repositories, kept while it is good, fetched by one at a time.

use chrono::{DateTime, TimeDelta, Utc};
use reqwest::Method;
use reqwest::header::{AUTHORIZATION, HeaderMap};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use url::Url;

use super::cells::Cells;
use super::credentials::Secret;
use super::exchange::{Limits, Reply, Request, Wire, authority};
use super::lanes::{Lanes, Weight};
use super::site::Site;
use crate::clock::Clock;
use crate::domain::registry::{Bearer, Circumstance};
use crate::http_client::{is_loopback, secret_header, shown};

/// Repositories that one token is asked for.
const MOST_SCOPES: usize = 50;
/// Characters of all scopes of one request: addresses are not endless.
const MOST_SCOPE_CHARS: usize = 4_000;
/// Longest token that is sent on.
const MAX_TOKEN: usize = 32 << 10;
/// How long a token is good if the server does not say.
const USUAL_LIFE: i64 = 60;
/// It is not used in its last seconds.
const LAST_SECONDS: i64 = 30;
/// How long a server that refused several scopes at once is asked for one at a time.
const ALONE: TimeDelta = TimeDelta::hours(1);
/// What we are called at token servers.
const CLIENT_ID: &str = "lightship";

/// Which token is wanted.
#[derive(Clone)]
pub(super) enum Which {
    /// Any that is good for the repository.
    Any,
    /// One for the repository alone.
    Own,
    /// Any but this one, which was refused.
    Not(SecretString),
}

/// A token, and where it comes from.
#[derive(Clone)]
pub(super) struct Token {
    pub text: SecretString,
    /// It was asked for with several repositories.
    pub is_shared: bool,
    /// It was fetched for another request.
    pub is_kept: bool,
}

#[derive(Clone, Default)]
struct Holder {
    tokens: Vec<Held>,
    alone_until: Option<DateTime<Utc>>,
}

#[derive(Clone)]
struct Held {
    text: SecretString,
    scopes: Vec<String>,
    until: DateTime<Utc>,
}

/// Realm, service, account.
type Key = (String, Option<String>, String);

/// All tokens that we hold.
pub(super) struct Tokens {
    clock: Clock,
    limits: Limits,
    held: Cells<Key, Holder>,
}

#[derive(Deserialize)]
struct Answer {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<i64>,
}

impl Tokens {
    pub fn new(clock: Clock, limits: Limits) -> Self {
        Self { clock, limits, held: Cells::new() }
    }

    /// Forgets them all: whose they were is another one now.
    pub fn forget(&self) {
        self.held.forget(|_| true);
    }

    /// Returns a token for `repository`, fetching one if there is none.
    pub async fn token(
        &self,
        wire: &Wire,
        lanes: &Lanes,
        site: &Site,
        bearer: &Bearer,
        repository: &str,
        which: &Which,
    ) -> Result<Token, Circumstance> {
        let realm = realm(site, bearer)?;
        let key = (bearer.realm.clone(), bearer.service.clone(), site.account().to_owned());
        let place = self.held.place(&key);
        let mut place = place.lock().await;
        let holder = place.get_or_insert_default();
        let usual = scope_of(repository);
        // A registry that names things otherwise at its token server is taken at its word.
        let scope = bearer.scope.clone().filter(|named| !named.starts_with(&usual)).unwrap_or(usual);
        holder.drop_old(self.clock.now(), which);
        if let Some(token) = holder.find(&scope, matches!(which, Which::Own)) {
            return Ok(token);
        }
        let is_alone = matches!(which, Which::Own) || holder.alone_until.is_some();
        if !is_alone {
            let scopes = scopes(&scope, &site.repositories);
            match self.fetch(wire, lanes, site, bearer, &realm, &scopes).await {
                // One repository that it does not like is enough for some to refuse all.
                Err(Circumstance::Denied { .. } | Circumstance::Odd { .. }) if scopes.len() > 1 => {
                    holder.alone_until = Some(self.clock.now() + ALONE);
                }
                outcome => return outcome.map(|held| holder.keep(held)),
            }
        }
        let held = self.fetch(wire, lanes, site, bearer, &realm, &[scope]).await?;
        Ok(holder.keep(held))
    }

    async fn fetch(
        &self,
        wire: &Wire,
        lanes: &Lanes,
        site: &Site,
        bearer: &Bearer,
        realm: &Url,
        scopes: &[String],
    ) -> Result<Held, Circumstance> {
        let request = self.request(site, bearer, realm, scopes)?;
        let sent = lanes.through(&authority(realm), Weight::Light, wire.send(request)).await;
        if let Err(Circumstance::Paused { until }) = &sent {
            lanes.pause(site.host(), *until);
        }
        self.read(site, &sent?, scopes)
    }

    fn request(
        &self,
        site: &Site,
        bearer: &Bearer,
        realm: &Url,
        scopes: &[String],
    ) -> Result<Request, Circumstance> {
        let mut request = Request {
            method: Method::GET,
            url: realm.clone(),
            headers: HeaderMap::new(),
            form: None,
            limit: self.limits.answer,
            bytes: self.limits.token_bytes,
        };
        let service = bearer.service.iter().map(|service| ("service", service.clone()));
        if let Some(Secret::Identity(token)) = site.login.as_ref().map(|login| &login.secret) {
            let fixed = [
                ("grant_type", "refresh_token".to_owned()),
                ("client_id", CLIENT_ID.to_owned()),
                ("scope", scopes.join(" ")),
                ("refresh_token", token.expose_secret().to_owned()),
            ];
            request.method = Method::POST;
            request.form = Some(service.chain(fixed).collect());
            return Ok(request);
        }
        let scopes = scopes.iter().map(|scope| ("scope", scope.clone()));
        request.url.query_pairs_mut().extend_pairs(service.chain(scopes));
        if let Some(basic) = site.login.as_ref().and_then(|login| login.basic()) {
            request.headers.insert(AUTHORIZATION, header(&basic)?);
        }
        Ok(request)
    }

    fn read(&self, site: &Site, reply: &Reply, scopes: &[String]) -> Result<Held, Circumstance> {
        let odd = |reason: &str| Circumstance::Odd { reason: format!("its token server {reason}") };
        match reply.status.as_u16() {
            200..=299 => {}
            401 | 403 => return Err(denied(site)),
            status @ 500..=599 => return Err(Circumstance::Failed { status }),
            status => return Err(odd(&format!("answered {status}"))),
        }
        let answer: Answer =
            serde_json::from_slice(&reply.body).map_err(|_| odd("sent something else than a token"))?;
        let text = [answer.token, answer.access_token].into_iter().flatten().find(|text| !text.is_empty());
        let text = text.ok_or_else(|| odd("sent no token"))?;
        if text.len() > MAX_TOKEN || !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(odd("sent a token that no header can carry"));
        }
        let life = answer.expires_in.filter(|life| *life > 0).unwrap_or(USUAL_LIFE).min(86_400);
        let until = self.clock.now() + TimeDelta::seconds(life - LAST_SECONDS);
        Ok(Held { text: SecretString::from(text), scopes: scopes.to_vec(), until })
    }
}

impl Holder {
    fn drop_old(&mut self, now: DateTime<Utc>, which: &Which) {
        self.alone_until = self.alone_until.filter(|until| *until > now);
        self.tokens.retain(|held| match which {
            Which::Not(refused) if refused.expose_secret() == held.text.expose_secret() => false,
            _ => held.until > now,
        });
    }

    fn find(&self, scope: &String, is_own: bool) -> Option<Token> {
        let held = self.tokens.iter().find(|held| held.is_for(scope, is_own))?;
        Some(Token { text: held.text.clone(), is_shared: held.scopes.len() > 1, is_kept: true })
    }

    fn keep(&mut self, held: Held) -> Token {
        let token = Token { text: held.text.clone(), is_shared: held.scopes.len() > 1, is_kept: false };
        // The newest come first: one of its own beats an older one that did not do.
        self.tokens.insert(0, held);
        self.tokens.truncate(200);
        token
    }
}

impl Held {
    fn is_for(&self, scope: &String, is_own: bool) -> bool {
        self.scopes.contains(scope) && (!is_own || self.scopes.len() == 1)
    }
}

/// What a registry is not allowed to show us.
pub(super) fn denied(site: &Site) -> Circumstance {
    let account = site.login.as_ref().map(|login| login.account.clone());
    Circumstance::Denied { account, note: site.note.clone() }
}

/// A header that no log shows.
pub(super) fn header(text: &str) -> Result<reqwest::header::HeaderValue, Circumstance> {
    secret_header(text, "the login").map_err(|error| Circumstance::Odd { reason: error.to_string() })
}

fn realm(site: &Site, bearer: &Bearer) -> Result<Url, Circumstance> {
    let realm = Url::parse(&bearer.realm)
        .map_err(|_| Circumstance::Odd { reason: "it names no token server".into() })?;
    let is_safe = realm.scheme() == "https" || (realm.scheme() == "http" && is_loopback(&realm));
    match is_safe || site.login.is_none() {
        true => Ok(realm),
        false => Err(Circumstance::UnsafeRealm { realm: shown(&realm) }),
    }
}

fn scope_of(repository: &str) -> String {
    format!("repository:{repository}:pull")
}

/// The scope that is needed now, and those that will be.
fn scopes(first: &str, repositories: &[String]) -> Vec<String> {
    let mut room = MOST_SCOPE_CHARS.saturating_sub(first.len());
    let mut scopes = vec![first.to_owned()];
    for scope in repositories.iter().map(|repository| scope_of(repository)) {
        if scopes.len() >= MOST_SCOPES || scope.len() > room {
            break;
        }
        if scope != first {
            room -= scope.len();
            scopes.push(scope);
        }
    }
    scopes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_asked_for_what_is_needed_now_and_for_as_much_more_as_fits() {
        let names: Vec<String> = (0..80).map(|n| format!("team/app{n}")).collect();
        let asked = scopes("repository:team/app70:pull", &names);
        assert_eq!((asked.len(), asked[0].as_str()), (50, "repository:team/app70:pull"));
        assert_eq!(asked.iter().filter(|scope| **scope == asked[0]).count(), 1);
        let long: Vec<String> = (0..80).map(|n| format!("{n}{}", "x".repeat(200))).collect();
        let asked = scopes("repository:a:pull", &long);
        assert!(asked.len() > 10 && asked.iter().map(String::len).sum::<usize>() <= MOST_SCOPE_CHARS);
    }
}
