//! A host introduces itself, and renews its access.

use secrecy::SecretString;
use serde_json::{Map, Value};

use super::facts::{Facts, facts};
use super::text;
use crate::domain::id::AgentId;
use crate::protocol::body::{self, BodyError};

/// Longest name and version that are read.
const NAME_CHARS: usize = 255;

/// What a host says of itself.
#[derive(Debug)]
pub struct Registration {
    /// The name of its machine.
    pub hostname: String,
    /// The agent's version.
    pub agent_version: String,
    /// What the machine is.
    pub facts: Facts,
}

/// The body of `POST /api/v1/agents/register`, of which the token is looked at before the rest.
pub struct Said(Map<String, Value>);

impl Said {
    /// Reads it.
    pub fn read(bytes: &[u8]) -> Result<Self, BodyError> {
        body::parse_object(bytes).map(Self)
    }

    /// Returns the token, if there is one.
    pub fn token(&self) -> Result<Option<SecretString>, BodyError> {
        Ok(body::optional_text(&self.0, "registration_token")?.map(SecretString::from))
    }

    /// Returns what the host says of itself. A machine has a name, a system and an agent with a version.
    pub fn registration(&self) -> Result<Registration, BodyError> {
        let required = |field: &'static str| match body::optional_text(&self.0, field)? {
            Some(text) => Ok(text.chars().take(NAME_CHARS).collect::<String>()),
            None => Err(BodyError::Field { field, found: "missing", expected: "a string" }),
        };
        let (hostname, agent_version) = (required("hostname")?, required("agent_version")?);
        required("os_type")?;
        Ok(Registration { hostname, agent_version, facts: facts(&self.0) })
    }
}

/// How an agent renews its access.
#[derive(Debug)]
pub struct Renewal {
    /// Whose access.
    pub agent_id: AgentId,
    /// With what.
    pub refresh_token: SecretString,
    /// True if the client can take another refresh token with the answer.
    pub rotates: bool,
}

/// Reads the body of `POST /api/v1/agents/renew`.
pub fn decode_renewal(bytes: &[u8]) -> Result<Renewal, BodyError> {
    let map = body::parse_object(bytes)?;
    let missing = |field| BodyError::Field { field, found: "missing", expected: "a string" };
    let id = body::optional_text(&map, "agent_id")?.ok_or_else(|| missing("agent_id"))?;
    let agent_id =
        AgentId::parse(&id).map_err(|e| BodyError::Value { field: "agent_id", reason: e.reason })?;
    let token = text(&map, "refresh_token").ok_or_else(|| missing("refresh_token"))?;
    let rotates = map.get("rotate").and_then(Value::as_bool).unwrap_or(false);
    Ok(Renewal { agent_id, refresh_token: token.into(), rotates })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        for (body, field) in [
            (r#"{"os_type":"linux","agent_version":"0.1.18"}"#, "hostname"),
            (r#"{"hostname":"web-1","agent_version":"0.1.18"}"#, "os_type"),
            (r#"{"hostname":"web-1","os_type":"linux"}"#, "agent_version"),
            (r#"{"hostname":7,"os_type":"linux","agent_version":"0.1.18"}"#, "hostname"),
        ] {
            let said = Said::read(body.as_bytes()).unwrap();
            let error = said.registration().unwrap_err().to_string();
            assert!(error.contains(&format!("`{field}`")), "{body}: {error}");
        }
        for (body, field) in [
            (r#"{"refresh_token":"x"}"#, "agent_id"),
            (r#"{"agent_id":"a"}"#, "refresh_token"),
            (r#"{"agent_id":"../x","refresh_token":"x"}"#, "agent_id"),
        ] {
            let error = decode_renewal(body.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(&format!("`{field}`")), "{body}: {error}");
        }
        assert!(!decode_renewal(br#"{"agent_id":"a","refresh_token":"x"}"#).unwrap().rotates);
    }
}
