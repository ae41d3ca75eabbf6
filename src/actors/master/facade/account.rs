//! The account at Cloudflare, and the token for it.

use secrecy::SecretString;

use super::Master;
use crate::actors::master::bus::Note;
use crate::actors::master::cloudflare_account::AccountView;
use crate::actors::master::error::MasterError;
use crate::actors::master::registrar::SetCloudflareToken;
use crate::domain::doctor::token::Facts as TokenFacts;
use crate::domain::id::ZoneId;

impl Master {
    /// Finds out what the token for Cloudflare is and what it may, by harmless reads.
    pub async fn look_at_token(&self) -> Result<TokenFacts, MasterError> {
        self.env.account.look_at_token().await
    }

    /// Returns the name of a zone, as far as it is known; makes no call.
    pub async fn zone_name(&self, zone: &ZoneId) -> Option<String> {
        self.env.account.zone_name(zone).await
    }

    /// Returns what is known of the account at Cloudflare; makes no call. None without a token.
    pub async fn cloudflare_view(&self) -> Option<AccountView> {
        self.env.account.view().await
    }

    /// True if a token is taken from a person; one that settings give is changed there.
    pub fn takes_cloudflare_token(&self) -> bool {
        self.tokens.is_open()
    }

    /// Takes a token for an account: looks at it by harmless reads, keeps it sealed, and publishes with it from then on.
    /// What it lacks is in what is returned; one that nothing can be done with is refused, and nothing is changed.
    pub async fn take_cloudflare_token(
        &self,
        account: &str,
        token: SecretString,
        by: &str,
    ) -> Result<TokenFacts, MasterError> {
        let looked = self.tokens.look(account, token, self.clock.now()).await?;
        let (account, token) = (looked.account(), looked.token().clone());
        self.decide(SetCloudflareToken { account, token, by: by.to_owned() }).await?;
        let facts = looked.connect().await?;
        self.env.notices.announce(Note::Published);
        Ok(facts)
    }
}
