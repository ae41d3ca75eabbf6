//! Who can be let in: the identity providers and service tokens of the account, read once, and again when something is
//! named that is not among them.

use std::time::Duration;

use tokio::time::Instant;

use crate::cloudflare::{CfError, Cloudflare};
use crate::domain::access::{Account, IdentityProvider, ServiceToken};

/// Lists this young are not read again for a name that is not in them.
const FRESH: Duration = Duration::from_secs(60);

/// What is known of them. Whoever asks while they are being read waits for that.
#[derive(Default)]
pub(super) struct People {
    /// E-mail address of the account's owner, by setting.
    owner_email: Option<String>,
    known: tokio::sync::Mutex<Option<(Listed, Instant)>>,
}

/// The lists as they were read last.
#[derive(Debug, Clone, Default)]
pub(super) struct Listed {
    /// None if the token may not list them.
    idps: Option<Vec<IdentityProvider>>,
    /// None if the token may not list them.
    tokens: Option<Vec<ServiceToken>>,
    owner_email: Option<String>,
}

impl Listed {
    /// As far as rules of Access are concerned.
    pub fn account(&self) -> Account<'_> {
        Account {
            idps: self.idps.as_deref(),
            tokens: self.tokens.as_deref(),
            owner_email: self.owner_email.as_deref(),
        }
    }
}

impl People {
    /// With the address of the account's owner, if it is known.
    pub fn new(owner_email: Option<String>) -> Self {
        Self { owner_email, known: tokio::sync::Mutex::default() }
    }

    /// Returns what is known without asking.
    pub async fn known(&self) -> Listed {
        let known = self.known.lock().await;
        let listed = known.as_ref().map(|(listed, _)| listed.clone());
        Listed { owner_email: self.owner_email.clone(), ..listed.unwrap_or_default() }
    }

    /// Reads the lists, unless they are fresh. Fails only if time may heal it; a token without the right is an answer too.
    pub async fn read(&self, client: &Cloudflare) -> Result<Listed, CfError> {
        let mut known = self.known.lock().await;
        if let Some((listed, at)) = known.as_ref()
            && at.elapsed() < FRESH
        {
            return Ok(Listed { owner_email: self.owner_email.clone(), ..listed.clone() });
        }
        let (idps, tokens) =
            futures_util::join!(client.list_identity_providers(), client.list_service_tokens());
        let listed = Listed {
            idps: unless_refused(idps)?,
            tokens: unless_refused(tokens)?,
            owner_email: self.owner_email.clone(),
        };
        *known = Some((listed.clone(), Instant::now()));
        Ok(listed)
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
