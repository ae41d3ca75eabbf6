//! Who can be let in: the identity providers and service tokens of the account, its owner and its team. Each is read once,
//! and again when something is named that is not known.

use std::time::Duration;

use tokio::time::Instant;

use crate::cloudflare::{CfError, Cloudflare};
use crate::domain::access::{Account, IdentityProvider, Owner, ServiceToken, Team};
use crate::domain::id::ServiceTokenId;

/// What was read so lately is not read again.
const FRESH: Duration = Duration::from_secs(60);

/// What is known of them. Whoever asks while they are being read waits for that.
#[derive(Default)]
pub(super) struct People {
    /// The account's owner, by setting.
    owner: Option<Owner>,
    /// The account's team, by setting.
    team: Option<Team>,
    known: tokio::sync::Mutex<Known>,
}

/// What was read last, and when.
#[derive(Default)]
struct Known {
    /// None if the token may not list them.
    idps: Read<Option<Vec<IdentityProvider>>>,
    /// None if the token may not list them.
    tokens: Read<Option<Vec<ServiceToken>>>,
    owner: Read<Owner>,
    team: Read<Team>,
}

/// Something that is read from the account.
struct Read<T>(Option<(T, Instant)>);

/// What somebody needs to know.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Asked {
    /// Identity providers and service tokens.
    pub lists: bool,
    pub owner: bool,
    pub team: bool,
}

impl Asked {
    /// True if anything is asked for.
    pub fn is_any(self) -> bool {
        self.lists || self.owner || self.team
    }
}

/// What is known, as it was read last.
#[derive(Debug, Clone, Default)]
pub(super) struct Listed {
    idps: Option<Vec<IdentityProvider>>,
    tokens: Option<Vec<ServiceToken>>,
    owner: Option<Owner>,
    /// The team; none if nobody looked.
    pub team: Option<Team>,
}

impl Listed {
    /// As far as rules of Access are concerned.
    pub fn account(&self) -> Account<'_> {
        Account { idps: self.idps.as_deref(), tokens: self.tokens.as_deref(), owner: self.owner.as_ref() }
    }
}

impl<T> Default for Read<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T: Clone> Read<T> {
    fn is_fresh(&self) -> bool {
        self.0.as_ref().is_some_and(|(_, at)| at.elapsed() < FRESH)
    }

    fn value(&self) -> Option<T> {
        self.0.as_ref().map(|(value, _)| value.clone())
    }

    fn put(&mut self, value: T) {
        self.0 = Some((value, Instant::now()));
    }
}

impl People {
    /// With what settings say of the account.
    pub fn new(owner_email: Option<String>, team: Option<String>) -> Self {
        let (owner, team) = (owner_email.map(Owner::Known), team.map(Team::Named));
        Self { owner, team, known: tokio::sync::Mutex::default() }
    }

    /// Returns what is known without asking.
    pub async fn known(&self) -> Listed {
        self.listed(&*self.known.lock().await)
    }

    /// Reads what is asked for, unless that is fresh. Fails only if time may heal it; a token without the right is an answer
    /// too.
    pub async fn read(&self, client: &Cloudflare, asked: Asked) -> Result<Listed, CfError> {
        let mut known = self.known.lock().await;
        if asked.lists {
            let (reads_idps, reads_tokens) = (!known.idps.is_fresh(), !known.tokens.is_fresh());
            let idps = async { if reads_idps { Some(client.list_identity_providers().await) } else { None } };
            let tokens = async { if reads_tokens { Some(client.list_service_tokens().await) } else { None } };
            let (idps, tokens) = futures_util::join!(idps, tokens);
            // What was read is kept though the other was not: with few calls left only one has its turn.
            let idps = idps.map(|idps| unless_refused(idps).map(|idps| known.idps.put(idps)));
            let tokens = tokens.map(|tokens| unless_refused(tokens).map(|tokens| known.tokens.put(tokens)));
            idps.transpose()?;
            tokens.transpose()?;
        }
        if asked.owner && self.owner.is_none() && !known.owner.is_fresh() {
            let members = unless_refused(client.list_members().await)?;
            known.owner.put(members.map_or(Owner::Unreadable, |members| Owner::among(&members)));
        }
        if asked.team && self.team.is_none() && !known.team.is_fresh() {
            known.team.put(unless_refused(client.read_team().await)?.unwrap_or(Team::Unreadable));
        }
        Ok(self.listed(&known))
    }

    /// Takes note of the service tokens as they are now.
    pub async fn put_tokens(&self, tokens: Vec<ServiceToken>) {
        if let Read(Some((known, _))) = &mut self.known.lock().await.tokens {
            *known = Some(tokens);
        }
    }

    /// There is a service token more.
    pub async fn add_token(&self, token: ServiceToken) {
        if let Read(Some((Some(tokens), _))) = &mut self.known.lock().await.tokens {
            tokens.push(token);
        }
    }

    /// There is one less.
    pub async fn remove_token(&self, id: &ServiceTokenId) {
        if let Read(Some((Some(tokens), _))) = &mut self.known.lock().await.tokens {
            tokens.retain(|token| token.id != *id);
        }
    }

    fn listed(&self, known: &Known) -> Listed {
        Listed {
            idps: known.idps.value().flatten(),
            tokens: known.tokens.value().flatten(),
            owner: self.owner.clone().or_else(|| known.owner.value()),
            team: self.team.clone().or_else(|| known.team.value()),
        }
    }
}

fn unless_refused<T>(answer: Result<T, CfError>) -> Result<Option<T>, CfError> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.is_transient() => Err(error),
        Err(error) => {
            tracing::warn!(%error, "who can be let in cannot be read");
            Ok(None)
        }
    }
}
