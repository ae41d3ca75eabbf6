//! Service tokens, and who is in the account. A secret is answered once; names may be there twice; what a policy or a group
//! names cannot be deleted; a rotation ends the secret before it.

use std::time::SystemTime;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::access::{LISTS, conflict, invalid, not_found};
use super::answer::{Outcome, Refusal};
use super::state::{LONG_AGO, State};

/// How long a token is good unless a call says so.
const A_YEAR: &str = "8760h";
/// The role that may do everything.
const SUPER_ADMINISTRATOR: &str = "Super Administrator - All Privileges";

/// Service tokens.
impl State {
    pub fn add_service_token(&mut self, name: &str) -> String {
        let token = self.new_service_token(name, A_YEAR).expect("a good length of time");
        token["id"].as_str().expect("an id").to_owned()
    }

    pub fn expire_service_token(&mut self, id: &str) {
        let index = self.token_index(id).expect("a known token");
        self.access.service_tokens[index]["expires_at"] = json!(LONG_AGO);
    }

    pub(super) fn create_service_token(&mut self, body: &Value) -> Outcome {
        if self.access.max_service_tokens.is_some_and(|max| self.access.service_tokens.len() >= max) {
            return Err(invalid("maximum number of service tokens has been reached"));
        }
        let name = body["name"].as_str().unwrap_or_default();
        if name.trim().is_empty() {
            return Err(invalid("a service token needs a name"));
        }
        let token = self.new_service_token(name, body["duration"].as_str().unwrap_or(A_YEAR))?;
        Ok(self.with_new_secret(token))
    }

    pub(super) fn put_service_token(&mut self, id: &str, body: &Value) -> Outcome {
        let index = self.token_index(id)?;
        let token = &mut self.access.service_tokens[index];
        if let Some(name) = body["name"].as_str() {
            token["name"] = json!(name);
        }
        if let Some(duration) = body["duration"].as_str() {
            token["expires_at"] = expiry(duration)?;
            token["duration"] = json!(duration);
        }
        Ok(token.clone())
    }

    pub(super) fn rotate_service_token(&mut self, id: &str) -> Outcome {
        let token = self.access.service_tokens[self.token_index(id)?].clone();
        Ok(self.with_new_secret(token))
    }

    pub(super) fn delete_service_token(&mut self, id: &str) -> Outcome {
        let index = self.token_index(id)?;
        let names_it = |rule: &Value| rule["service_token"]["token_id"] == id;
        let policies = self.access.policies.iter().map(|policy| &policy.body);
        let bodies = policies.chain(self.access.groups.iter().map(|group| &group.body));
        let mut rules = bodies.flat_map(|body| LISTS.iter().filter_map(|list| body.get(*list)?.as_array()));
        if rules.any(|list| list.iter().any(names_it)) {
            return Err(conflict("the service token is used by a policy"));
        }
        Ok(self.access.service_tokens.remove(index))
    }

    pub(super) fn list_service_tokens(&self, name: Option<&str>) -> Vec<Value> {
        let fits = |token: &&Value| name.is_none_or(|name| token["name"] == name);
        self.access.service_tokens.iter().filter(fits).cloned().collect()
    }

    fn new_service_token(&mut self, name: &str, duration: &str) -> Outcome {
        let expires_at = expiry(duration)?;
        let token = json!({
            "id": self.uuid(),
            "name": name,
            "client_id": format!("{}.access", self.hex_id()),
            "duration": duration,
            "expires_at": expires_at,
            "created_at": LONG_AGO,
            "updated_at": LONG_AGO,
        });
        self.access.service_tokens.push(token.clone());
        Ok(token)
    }

    fn with_new_secret(&mut self, mut token: Value) -> Value {
        let secret = format!("s3cret{}{}", self.hex_id(), self.hex_id());
        let id = token["id"].as_str().expect("an id").to_owned();
        self.access.service_secrets.push((id, secret.clone()));
        token["client_secret"] = json!(secret);
        token
    }

    fn token_index(&self, id: &str) -> Result<usize, Refusal> {
        self.access.service_tokens.iter().position(|token| token["id"] == id).ok_or_else(not_found)
    }
}

/// Who is in the account, and the team that it has.
impl State {
    pub fn set_members(&mut self, members: &[(&str, &str, bool)]) {
        self.members.clear();
        for (email, status, is_super) in members {
            let role = if *is_super { SUPER_ADMINISTRATOR } else { "Administrator Read Only" };
            let member = json!({
                "id": self.hex_id(),
                "status": status,
                "user": { "id": self.hex_id(), "email": email, "first_name": null, "last_name": null,
                    "two_factor_authentication_enabled": false },
                "roles": [{ "id": self.hex_id(), "name": role, "description": "" }],
            });
            self.members.push(member);
        }
    }

    pub(super) fn list_members(&self, status: Option<&str>) -> Vec<Value> {
        let fits = |member: &&Value| status.is_none_or(|status| member["status"] == status);
        self.members.iter().filter(fits).cloned().collect()
    }

    pub(super) fn get_organization(&self) -> Outcome {
        let domain = self.auth_domain.as_ref().ok_or_else(not_found)?;
        Ok(
            json!({ "auth_domain": domain, "name": "Stand-in", "created_at": LONG_AGO, "updated_at": LONG_AGO }),
        )
    }
}

/// When a token ends that is made now.
fn expiry(duration: &str) -> Outcome {
    if duration == "forever" {
        return Ok(Value::Null);
    }
    let hours = duration.strip_suffix('h').and_then(|hours| hours.parse::<i64>().ok()).map(TimeDelta::hours);
    let minutes =
        duration.strip_suffix('m').and_then(|minutes| minutes.parse::<i64>().ok()).map(TimeDelta::minutes);
    let life = hours.or(minutes).ok_or_else(|| invalid("duration is not a duration"))?;
    let ends = DateTime::<Utc>::from(SystemTime::now()) + life;
    Ok(json!(ends.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)))
}
