//! Calls about people and programs: service tokens, members of the account, its team.

use std::fmt;

use reqwest::Method;
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::json;

use super::call::Call;
use super::error::CfError;
use super::rights;
use super::transport::Cloudflare;
use crate::domain::access::{Member, ServiceToken, Team, TokenDraft};
use crate::domain::id::ServiceTokenId;

const PER_PAGE: usize = 100;
/// Members come in shorter pages.
const MEMBERS_PER_PAGE: usize = 50;

/// A service token with its secret, which is told this one time.
#[derive(Deserialize)]
pub struct SecretToken {
    /// The token.
    #[serde(flatten)]
    pub token: ServiceToken,
    /// What its programs send as `CF-Access-Client-Secret`.
    #[serde(rename = "client_secret")]
    pub secret: SecretString,
}

impl fmt::Debug for SecretToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretToken").field("token", &self.token).finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct Organization {
    #[serde(default)]
    auth_domain: String,
}

/// Service tokens.
impl Cloudflare {
    /// Returns the service tokens of the account.
    pub async fn list_service_tokens(&self) -> Result<Vec<ServiceToken>, CfError> {
        let name = "list service tokens";
        let call =
            || self.access(name, Method::GET, "service_tokens", &[]).needs(rights::ACCESS_SERVICE_TOKENS);
        self.list(call, PER_PAGE).await
    }

    /// Makes a service token. Never send it twice without looking: names may be there twice, and what was made without an
    /// answer has a secret that nobody knows.
    pub async fn create_service_token(&self, draft: &TokenDraft) -> Result<SecretToken, CfError> {
        let name = "create service token";
        let body = json!({ "name": draft.name, "duration": draft.duration });
        self.call(self.token_call(name, Method::POST, &[]).body(body)).await?.required(name)
    }

    /// Gives a service token another secret; the one before is good no longer.
    pub async fn rotate_service_token(&self, id: &ServiceTokenId) -> Result<SecretToken, CfError> {
        let name = "rotate service token";
        self.call(self.token_call(name, Method::POST, &[id.as_str(), "rotate"])).await?.required(name)
    }

    /// Deletes a service token; one that is gone already is no error. Cloudflare refuses that while a policy names it.
    pub async fn delete_service_token(&self, id: &ServiceTokenId) -> Result<(), CfError> {
        self.delete(self.token_call("delete service token", Method::DELETE, &[id.as_str()])).await
    }

    fn token_call(&self, name: &'static str, method: Method, rest: &[&str]) -> Call {
        self.access(name, method, "service_tokens", rest).needs(rights::ACCESS_SERVICE_TOKENS_WRITE)
    }
}

/// The account and its team.
impl Cloudflare {
    /// Returns the members of the account.
    pub async fn list_members(&self) -> Result<Vec<Member>, CfError> {
        let path = ["accounts", self.account().as_str(), "members"];
        self.list(|| Call::get("list members", &path).needs(rights::MEMBERS), MEMBERS_PER_PAGE).await
    }

    /// Returns the team of the account.
    pub async fn read_team(&self) -> Result<Team, CfError> {
        let name = "read organization";
        let call =
            self.access(name, Method::GET, "organizations", &[]).needs(rights::ACCESS_IDENTITY_PROVIDERS);
        match self.call::<Organization>(call).await {
            Err(error) if error.is_access_object_gone() => Ok(Team::None),
            answer => Ok(Team::at(&answer?.required(name)?.auth_domain)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_in_no_log() {
        let text = r#"{"id":"t","name":"ci","client_id":"c.access","client_secret":"hush-hush"}"#;
        let made: SecretToken = serde_json::from_str(text).unwrap();
        let shown = format!("{made:?}");
        assert!(shown.contains("ci") && !shown.contains("hush"), "{shown}");
        let without = serde_json::from_str::<SecretToken>(r#"{"id":"t"}"#);
        assert!(without.is_err(), "a token without its secret is no answer");
    }
}
