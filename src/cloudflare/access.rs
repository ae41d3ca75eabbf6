//! Calls about Access: applications, reusable policies and ways to sign in. What of people and programs: `people`.
//!
//! What Cloudflare holds is handed on whole, with keys that nobody here knows: a PUT replaces, so whoever writes puts
//! its own fields over what was read.

use reqwest::Method;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::call::Call;
use super::error::CfError;
use super::rights;
use super::transport::Cloudflare;
use crate::domain::access::IdentityProvider;
use crate::domain::id::{ApplicationId, PolicyId};

const PER_PAGE: usize = 100;

/// An application as Cloudflare keeps it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(try_from = "Map<String, Value>")]
pub struct AccessApp {
    /// Its id.
    pub id: ApplicationId,
    /// What its tokens are made out to; kinds that issue none have none.
    pub aud: Option<String>,
    /// All of it, as it came.
    pub raw: Map<String, Value>,
}

/// A policy that applications can share, as Cloudflare keeps it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(try_from = "Map<String, Value>")]
pub struct AccessPolicy {
    /// Its id.
    pub id: PolicyId,
    /// Its name; several may have the same.
    pub name: String,
    /// All of it, as it came.
    pub raw: Map<String, Value>,
}

impl TryFrom<Map<String, Value>> for AccessApp {
    type Error = &'static str;

    fn try_from(raw: Map<String, Value>) -> Result<Self, Self::Error> {
        let id = text(&raw, "id").ok_or("an application has no id")?;
        Ok(Self { id: id.into(), aud: text(&raw, "aud"), raw })
    }
}

impl TryFrom<Map<String, Value>> for AccessPolicy {
    type Error = &'static str;

    fn try_from(raw: Map<String, Value>) -> Result<Self, Self::Error> {
        let id = text(&raw, "id").ok_or("a policy has no id")?;
        Ok(Self { id: id.into(), name: text(&raw, "name").unwrap_or_default(), raw })
    }
}

/// The text of a field; an empty one is none.
fn text(raw: &Map<String, Value>, key: &str) -> Option<String> {
    raw.get(key).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
}

/// Applications.
impl Cloudflare {
    /// Returns all applications of the account.
    pub async fn list_access_apps(&self) -> Result<Vec<AccessApp>, CfError> {
        self.list(|| self.apps("list Access applications", Method::GET, &[]), PER_PAGE).await
    }

    /// Returns the applications whose first domain is or holds `domain`; who asks has to compare. One that stands
    /// before several names is found by the first only.
    pub async fn find_access_apps(&self, domain: &str) -> Result<Vec<AccessApp>, CfError> {
        let call = || self.apps("find Access applications", Method::GET, &[]).query("domain", domain);
        self.list(call, PER_PAGE).await
    }

    /// Returns an application, if there is one of this id.
    pub async fn read_access_app(&self, id: &ApplicationId) -> Result<Option<AccessApp>, CfError> {
        let name = "read Access application";
        self.read(name, self.apps(name, Method::GET, &[id.as_str()])).await
    }

    /// Makes an application. Never send it twice without looking: the first may have taken effect.
    pub async fn create_access_app(&self, body: &Value) -> Result<AccessApp, CfError> {
        let name = "create Access application";
        self.call(self.apps(name, Method::POST, &[]).body(body.clone())).await?.required(name)
    }

    /// Replaces an application: what `body` leaves out is gone, its policies too.
    pub async fn put_access_app(&self, id: &ApplicationId, body: &Value) -> Result<AccessApp, CfError> {
        let name = "put Access application";
        let call = self.apps(name, Method::PUT, &[id.as_str()]).body(body.clone());
        self.call(call).await?.required(name)
    }

    /// Deletes an application; one that is gone already is no error.
    pub async fn delete_access_app(&self, id: &ApplicationId) -> Result<(), CfError> {
        self.delete(self.apps("delete Access application", Method::DELETE, &[id.as_str()])).await
    }

    fn apps(&self, name: &'static str, method: Method, rest: &[&str]) -> Call {
        self.access(name, method, "apps", rest).needs(rights::ACCESS_APPS)
    }
}

/// Reusable policies.
impl Cloudflare {
    /// Returns all reusable policies of the account.
    pub async fn list_access_policies(&self) -> Result<Vec<AccessPolicy>, CfError> {
        self.list(|| self.policies("list Access policies", Method::GET, &[]), PER_PAGE).await
    }

    /// Returns the reusable policies of exactly this name. The API has no filter for it, so all pages are read.
    pub async fn find_access_policies(&self, name: &str) -> Result<Vec<AccessPolicy>, CfError> {
        let policies = self.list_access_policies().await?;
        Ok(policies.into_iter().filter(|policy| policy.name == name).collect())
    }

    /// Returns a reusable policy, if there is one of this id.
    pub async fn read_access_policy(&self, id: &PolicyId) -> Result<Option<AccessPolicy>, CfError> {
        let name = "read Access policy";
        self.read(name, self.policies(name, Method::GET, &[id.as_str()])).await
    }

    /// Makes a reusable policy. Never send it twice without looking: names may be there twice.
    pub async fn create_access_policy(&self, body: &Value) -> Result<AccessPolicy, CfError> {
        let name = "create Access policy";
        self.call(self.policies(name, Method::POST, &[]).body(body.clone())).await?.required(name)
    }

    /// Replaces a reusable policy, in all applications that link it.
    pub async fn put_access_policy(&self, id: &PolicyId, body: &Value) -> Result<AccessPolicy, CfError> {
        let name = "put Access policy";
        let call = self.policies(name, Method::PUT, &[id.as_str()]).body(body.clone());
        self.call(call).await?.required(name)
    }

    /// Deletes a reusable policy; one that is gone already is no error. Cloudflare refuses that while an application
    /// links it.
    pub async fn delete_access_policy(&self, id: &PolicyId) -> Result<(), CfError> {
        self.delete(self.policies("delete Access policy", Method::DELETE, &[id.as_str()])).await
    }

    fn policies(&self, name: &'static str, method: Method, rest: &[&str]) -> Call {
        self.access(name, method, "policies", rest).needs(rights::ACCESS_APPS)
    }
}

/// Ways to sign in, and what all calls about Access share.
impl Cloudflare {
    /// Returns the ways to sign in that the account offers.
    pub async fn list_identity_providers(&self) -> Result<Vec<IdentityProvider>, CfError> {
        let name = "list identity providers";
        let call = || {
            self.access(name, Method::GET, "identity_providers", &[]).needs(rights::ACCESS_IDENTITY_PROVIDERS)
        };
        self.list(call, PER_PAGE).await
    }

    pub(super) fn access(&self, name: &'static str, method: Method, kind: &str, rest: &[&str]) -> Call {
        let path = [&["accounts", self.account().as_str(), "access", kind], rest].concat();
        Call::new(name, method, &path)
    }

    async fn read<T>(&self, name: &'static str, call: Call) -> Result<Option<T>, CfError>
    where
        T: serde::de::DeserializeOwned + Send + 'static,
    {
        match self.call(call).await {
            Err(error) if error.is_access_object_gone() => Ok(None),
            answer => answer?.required(name).map(Some),
        }
    }

    pub(super) async fn delete(&self, call: Call) -> Result<(), CfError> {
        match self.call::<Value>(call).await {
            Err(error) if error.is_access_object_gone() => Ok(()),
            answer => answer.map(drop),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_id_is_not_taken_for_a_thing() {
        let read = |text: &str| serde_json::from_str::<AccessApp>(text).map_err(|error| error.to_string());
        assert_eq!(read(r#"{"name":"x"}"#).unwrap_err(), "an application has no id");
        assert!(read(r#"{"id":""}"#).is_err() && read(r#"{"id":7}"#).is_err() && read("[]").is_err());

        let app = read(r#"{"id":"a","aud":null,"new":{"deep":[1.5]}}"#).unwrap();
        assert_eq!((app.id.as_str(), app.aud), ("a", None));
        assert_eq!(app.raw.get("new"), Some(&serde_json::json!({ "deep": [1.5] })), "unknown keys stay");
    }
}
