//! Registration tokens, the agents that come with one, and what RedFlag's agents say beside their reports.

use secrecy::{ExposeSecret, SecretString};

use super::Master;
use crate::actors::master::directory::digest_key;
use crate::actors::master::error::MasterError;
use crate::actors::master::registrar;
use crate::actors::master::requests::{Dialect, Joined, NewToken, RegisterInput, Renewed};
use crate::actors::master::scans::{ask_for_connector_log, scan_now, set_heartbeat};
use crate::db;
use crate::db::tokens::TokenRow;
use crate::db::update_logs::UpdateLogRow;
use crate::domain::command::{Command, Outcome};
use crate::domain::id::{AgentId, CommandId, TokenId};
use crate::domain::registration::identity_digest;
use crate::domain::token::TokenWish;

impl Master {
    /// Makes a registration token.
    pub async fn make_token(&self, wish: TokenWish, by: &str) -> Result<NewToken, MasterError> {
        self.decide(registrar::MakeToken { wish, by: by.into() }).await
    }

    /// Takes a registration token back; who registered with it stays.
    pub async fn revoke_token(
        &self,
        token: &TokenId,
        reason: Option<String>,
        by: &str,
    ) -> Result<(), MasterError> {
        self.decide(registrar::RevokeToken { token: token.clone(), reason, by: by.into() }).await
    }

    /// Drops a registration token from the list.
    pub async fn delete_token(&self, token: &TokenId, by: &str) -> Result<(), MasterError> {
        self.decide(registrar::DeleteToken { token: token.clone(), by: by.into() }).await
    }

    /// Drops the registration tokens that ended without any host; returns how many.
    pub async fn drop_expired_tokens(&self, by: &str) -> Result<usize, MasterError> {
        self.decide(registrar::DropExpiredTokens { by: by.into() }).await
    }

    /// Returns the registration token with this text.
    pub async fn find_token(&self, raw: &SecretString) -> Result<Option<TokenRow>, MasterError> {
        let digest = hex::encode(digest_key(raw.expose_secret()));
        Ok(db::tokens::find_token_by_digest(&self.db, &digest).await?)
    }

    /// Registers a host with a registration token.
    pub async fn join(
        &self,
        token: SecretString,
        input: RegisterInput,
        dialect: Dialect,
    ) -> Result<Joined, MasterError> {
        self.decide(registrar::Join { token, input, dialect }).await
    }

    /// Renews the access of a RedFlag agent.
    pub async fn renew(
        &self,
        agent: &AgentId,
        token: SecretString,
        rotates: bool,
    ) -> Result<Renewed, MasterError> {
        self.decide(registrar::Renew { agent: agent.clone(), token, rotates }).await
    }

    /// Notes the version that an agent says when it checks in; one that is known costs no actor.
    pub async fn note_version(&self, agent: &AgentId, version: &str) -> Result<(), MasterError> {
        let (Some(slot), Some((name, is_given))) = (self.directory.slot(agent), self.name_of(agent)) else {
            return Err(MasterError::AgentNotFound(agent.clone()));
        };
        if slot.same_identity(identity_digest(&name, is_given, Some(version))) {
            return Ok(());
        }
        self.decide(registrar::NoteVersion { agent: agent.clone(), version: version.to_owned() }).await
    }

    /// Keeps what an agent says of a command.
    pub async fn keep_log(&self, log: UpdateLogRow) -> Result<(), MasterError> {
        self.decide(registrar::KeepLog(Box::new(log))).await
    }

    /// Tells an agent to look for pending updates now; one that was told and has not fetched it is not told twice.
    pub async fn scan_now(&self, agent: &AgentId, by: &str) -> Result<Command, MasterError> {
        scan_now(&self.env, agent, by).await
    }

    /// Asks an agent for the last lines that its connector wrote; the result of the command holds them.
    pub async fn ask_for_connector_log(&self, agent: &AgentId, by: &str) -> Result<Command, MasterError> {
        ask_for_connector_log(&self.env, agent, by).await
    }

    /// Tells a RedFlag agent to check in every few seconds for so many minutes; for none, as often as before.
    pub async fn set_heartbeat(
        &self,
        agent: &AgentId,
        minutes: Option<u32>,
        by: &str,
    ) -> Result<Command, MasterError> {
        set_heartbeat(&self.env, agent, minutes, by).await
    }

    /// Ends a command that its agent has not finished. One that was handed over may be carried out all the same.
    pub async fn give_up(&self, agent: &AgentId, command: &CommandId, by: &str) -> Result<(), MasterError> {
        self.finish(agent, command, Outcome::cancelled_by(by)).await
    }

    fn name_of(&self, agent: &AgentId) -> Option<(String, bool)> {
        let named =
            |member: &crate::domain::roster::Member| (member.display_name.clone(), member.custom_name);
        self.directory.look(|roster| roster.member(agent).map(named))
    }
}
