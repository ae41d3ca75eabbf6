//! Takes the token for Cloudflare from a person while the master runs. One that settings give is not taken from anybody else.

use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Mutex;

use super::cloudflare_account::{AccountParts, Late, SharedAccount, describe};
use super::error::MasterError;
use crate::actors::supervision::SupervisorHandle;
use crate::cloudflare::{CfError, Cloudflare};
use crate::domain::doctor::token::Facts as TokenFacts;
use crate::domain::id::{AccountId, ZoneId};

/// How long one read of a look at a new token may take.
const LOOK_LIMIT: Duration = Duration::from_secs(8);
/// How long the whole look may take.
const LOOKS_LIMIT: Duration = Duration::from_secs(40);

/// Makes the client of an account.
pub type MakeClient = Arc<dyn Fn(AccountId, SecretString) -> Result<Cloudflare, CfError> + Send + Sync>;

/// How a token is taken.
#[derive(Clone)]
pub struct TakeToken {
    /// Makes the client.
    pub make: MakeClient,
    /// True if the client that the master starts with has a token that a person gave it, and none of its settings.
    pub is_persons: bool,
}

/// Where a token goes that was looked at.
pub enum Connects {
    /// Nobody publishes yet: the account's actor is started.
    First {
        /// Who publishes, from then on by this.
        late: Arc<Late>,
        /// Supervisor of the account's actor.
        accounts: SupervisorHandle,
        /// What the actor is made of.
        parts: Box<dyn Fn(Cloudflare) -> AccountParts + Send + Sync>,
    },
    /// It takes the place of the one before, for the same account.
    Exchange(Cloudflare),
    /// Settings give the token.
    Never,
}

/// Takes tokens, one at a time.
pub struct TokenDesk {
    make: Option<MakeClient>,
    default_zone: Option<ZoneId>,
    /// Whether a token may be taken from a person; that never changes.
    is_open: bool,
    connects: Mutex<Connects>,
}

/// A token that was looked at and may be kept.
pub struct Looked<'a> {
    desk: tokio::sync::MutexGuard<'a, Connects>,
    client: Cloudflare,
    token: SecretString,
    /// What was found of it.
    pub facts: TokenFacts,
}

impl TokenDesk {
    /// Puts it together.
    pub fn new(make: Option<MakeClient>, default_zone: Option<ZoneId>, connects: Connects) -> Self {
        let is_open = make.is_some() && !matches!(connects, Connects::Never);
        Self { make, default_zone, is_open, connects: Mutex::new(connects) }
    }

    /// Takes none.
    pub fn closed() -> Self {
        Self::new(None, None, Connects::Never)
    }

    /// True if a token may be taken from a person.
    pub fn is_open(&self) -> bool {
        self.is_open
    }

    /// Looks at a token, by harmless reads; fails if it could not be used.
    pub async fn look(
        &self,
        account: &str,
        token: SecretString,
        now: chrono::DateTime<chrono::Utc>,
    ) -> Result<Looked<'_>, MasterError> {
        let account = read_id("account id", account, 32)?;
        read_id("token", token.expose_secret(), 512)?;
        let desk = self.connects.lock().await;
        let make = match (&*desk, &self.make) {
            (Connects::Never, _) | (_, None) => {
                return Err(MasterError::Invalid(
                    "the token for Cloudflare is given by `CF_API_TOKEN`; change it there and start the master again".into(),
                ));
            }
            (Connects::Exchange(client), _) if client.account().as_str() != account => {
                return Err(MasterError::Invalid(format!(
                    "this master publishes in account `{}`; another account would leave what it made there behind, so set \
                     `CF_API_TOKEN` and `CF_ACCOUNT_ID` and start it again if that is meant",
                    client.account()
                )));
            }
            (_, Some(make)) => make,
        };
        let client = make(AccountId::new(account), token.clone())
            .map_err(|error| MasterError::Invalid(error.to_string()))?;
        let reader = client.background().with_time_limit(LOOK_LIMIT);
        let looking = reader.look_at_token(self.default_zone.as_ref());
        let facts = tokio::time::timeout(LOOKS_LIMIT, looking).await.map_err(|_| MasterError::Busy)?;
        match facts.unusable(now) {
            Some(reason) => Err(MasterError::Invalid(format!("the token was not taken: {reason}"))),
            None => Ok(Looked { desk, client, token, facts }),
        }
    }
}

impl Looked<'_> {
    /// The account that it is for.
    pub fn account(&self) -> AccountId {
        self.client.account().clone()
    }

    /// The token itself, to be kept sealed.
    pub fn token(&self) -> &SecretString {
        &self.token
    }

    /// From now on the master publishes with it; call it once it is kept.
    pub async fn connect(mut self) -> Result<TokenFacts, MasterError> {
        let next = match &*self.desk {
            Connects::First { late, accounts, parts } => {
                let (spec, account) = describe(parts(self.client.clone()));
                accounts.add(spec).await.map_err(|error| {
                    tracing::error!(%error, "the account's actor could not be started");
                    MasterError::Busy
                })?;
                let account: SharedAccount = Arc::new(account);
                late.connect(Arc::clone(&account));
                account.wake();
                Some(Connects::Exchange(self.client.clone()))
            }
            Connects::Exchange(client) => {
                client.exchange_token(self.token.clone());
                None
            }
            Connects::Never => None,
        };
        if let Some(next) = next {
            *self.desk = next;
        }
        Ok(self.facts)
    }
}

fn read_id(what: &str, text: &str, most: usize) -> Result<String, MasterError> {
    let text = text.trim();
    let is_good = !text.is_empty() && text.len() <= most && text.bytes().all(|byte| byte.is_ascii_graphic());
    is_good.then(|| text.to_owned()).ok_or_else(|| {
        MasterError::Invalid(format!("the {what} has 1 to {most} printable characters, and no blanks"))
    })
}

#[cfg(test)]
mod tests {
    use super::read_id;

    #[test]
    fn what_can_be_no_id_is_refused_without_repeating_it() {
        assert_eq!(read_id("token", " abc-_. ", 8).unwrap(), "abc-_.");
        for odd in ["", " ", "a b", "abcdefghi", "a\nb", "sch\u{fc}ssel"] {
            let error = read_id("token", odd, 8).unwrap_err().to_string();
            assert!(
                error.contains("1 to 8 printable") && (odd.trim().is_empty() || !error.contains(odd)),
                "{error}"
            );
        }
    }
}
