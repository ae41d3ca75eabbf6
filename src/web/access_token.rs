//! Tokens that give access for a day (JWT, HS256), to RedFlag's agents and to people's scripts. One secret signs both, and
//! the audience in the token tells them apart: an agent's opens nothing that people use, and the other way round.
//!
//! A token alone is not enough: the agent's key must still open its slot, and the administrator have the password of then.

use std::sync::Once;

use chrono::{DateTime, TimeDelta, Utc};
use hmac::{Hmac, KeyInit, Mac};
use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{ErrorKind, Result as JwtResult};
use jsonwebtoken::signature::{Error as SignatureError, Signer, Verifier};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::domain::id::{AgentId, KeyId};

/// How long a token gives access.
pub const LIFE: TimeDelta = TimeDelta::hours(24);
/// Longest token that is looked at: our own are far shorter.
const MAX_LEN: usize = 2_048;
/// Whom an agent's token is for.
const AGENT: &str = "lightship-agent";
/// Whom a person's token is for.
const PERSON: &str = "lightship-person";

/// What an agent's token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentClaims {
    /// Which agent.
    pub agent_id: AgentId,
    /// The key that it speaks for.
    pub key_id: KeyId,
    aud: String,
    exp: u64,
    iat: u64,
}

/// What a person's token says. What the person may do stands in the database and not here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PersonClaims {
    /// Sign-in name, under both names that RedFlag's clients read.
    pub user_id: String,
    /// The same.
    pub username: String,
    /// Which password it was given for: it ends with it.
    pub version: u32,
    aud: String,
    exp: u64,
    iat: u64,
}

/// Whose a token is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claims {
    /// An agent's.
    Agent(AgentClaims),
    /// A person's.
    Person(PersonClaims),
}

/// Makes and reads tokens. It holds the secret, so it prints nothing.
pub struct AccessTokens {
    encoding: EncodingKey,
    decoding: DecodingKey,
}

impl AccessTokens {
    /// Signs with `secret`.
    pub fn new(secret: &SecretString) -> Self {
        static INSTALLED: Once = Once::new();
        // A second one is refused, and is the same.
        INSTALLED.call_once(|| {
            let _ = PROVIDER.install_default();
        });
        let bytes = secret.expose_secret().as_bytes();
        Self {
            encoding: EncodingKey::from_secret(bytes).expect("a secret of any length signs"),
            decoding: DecodingKey::from_secret(bytes).expect("a secret of any length signs"),
        }
    }

    /// Makes a token for an agent.
    pub fn for_agent(&self, agent_id: &AgentId, key_id: &KeyId, now: DateTime<Utc>) -> String {
        let (iat, exp) = life(now);
        let (agent_id, key_id) = (agent_id.clone(), key_id.clone());
        self.sign(&AgentClaims { agent_id, key_id, aud: AGENT.into(), exp, iat })
    }

    /// Makes a token for a person who showed the password that `version` stands for.
    pub fn for_person(&self, name: &str, version: u32, now: DateTime<Utc>) -> String {
        let (iat, exp) = life(now);
        let (user_id, username) = (name.to_owned(), name.to_owned());
        self.sign(&PersonClaims { user_id, username, version, aud: PERSON.into(), exp, iat })
    }

    /// Reads a token that is good at `now`.
    pub fn read(&self, token: &[u8], now: DateTime<Utc>) -> Option<Claims> {
        if token.len() > MAX_LEN || !looks_like_one(token) {
            return None;
        }
        let now = u64::try_from(now.timestamp()).ok()?;
        let is_good = |exp: u64, iat: u64| now < exp && iat < exp;
        if let Some(claims) = self.verified::<AgentClaims>(token, AGENT) {
            return is_good(claims.exp, claims.iat).then_some(Claims::Agent(claims));
        }
        let claims = self.verified::<PersonClaims>(token, PERSON)?;
        is_good(claims.exp, claims.iat).then_some(Claims::Person(claims))
    }

    fn sign(&self, claims: &impl Serialize) -> String {
        encode(&Header::new(Algorithm::HS256), claims, &self.encoding).expect("our claims become JSON")
    }

    /// One algorithm, whatever the token says. When it ends is compared with the master's clock, not here.
    fn verified<T: DeserializeOwned + Clone>(&self, token: &[u8], audience: &str) -> Option<T> {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.validate_exp = false;
        validation.set_required_spec_claims(&["exp", "aud"]);
        validation.set_audience(&[audience]);
        Some(decode::<T>(token, &self.decoding, &validation).ok()?.claims)
    }
}

fn life(now: DateTime<Utc>) -> (u64, u64) {
    let seconds = |at: DateTime<Utc>| u64::try_from(at.timestamp()).unwrap_or(0);
    (seconds(now), seconds(now + LIFE))
}

/// True for three parts with dots between them.
pub fn looks_like_one(token: &[u8]) -> bool {
    token.iter().filter(|byte| **byte == b'.').count() == 2
}

/// The one algorithm that there is here: others, and what they bring along, are not built in.
static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: |algorithm, key| {
        let mac = Hmac256::new(*algorithm, key.as_bytes())?;
        Ok(Box::new(mac))
    },
    verifier_factory: |algorithm, key| {
        let mac = Hmac256::new(*algorithm, key.try_get_as_bytes()?)?;
        Ok(Box::new(mac))
    },
    key_utils: KeyUtils::new_unimplemented(),
};

struct Hmac256(Hmac<Sha256>);

impl Hmac256 {
    fn new(algorithm: Algorithm, key: &[u8]) -> JwtResult<Self> {
        if algorithm != Algorithm::HS256 {
            return Err(ErrorKind::InvalidAlgorithm.into());
        }
        Hmac::new_from_slice(key).map(Self).map_err(|_| ErrorKind::InvalidKeyFormat.into())
    }
}

impl Signer<Vec<u8>> for Hmac256 {
    fn try_sign(&self, message: &[u8]) -> Result<Vec<u8>, SignatureError> {
        let mut mac = self.0.clone();
        mac.update(message);
        Ok(mac.finalize().into_bytes().to_vec())
    }
}

impl Verifier<Vec<u8>> for Hmac256 {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), SignatureError> {
        let mut mac = self.0.clone();
        mac.update(message);
        // Takes the same time for every wrong one.
        mac.verify_slice(signature).map_err(|_| SignatureError::new())
    }
}

impl JwtSigner for Hmac256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

impl JwtVerifier for Hmac256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use serde_json::{Value, json};

    use super::*;

    fn tokens(secret: &str) -> AccessTokens {
        AccessTokens::new(&SecretString::from(secret.to_owned()))
    }

    fn at(hours: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000, 0).unwrap() + TimeDelta::hours(hours)
    }

    fn part(value: &Value) -> String {
        URL_SAFE_NO_PAD.encode(value.to_string())
    }

    /// Signs any header and claims with `secret`.
    fn forged(header: &Value, claims: &Value, secret: &str) -> String {
        let message = format!("{}.{}", part(header), part(claims));
        let mac = Hmac256::new(Algorithm::HS256, secret.as_bytes()).unwrap();
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(mac.sign(message.as_bytes())))
    }

    fn agent_token(tokens: &AccessTokens) -> String {
        tokens.for_agent(&AgentId::new("a"), &KeyId::new("k"), at(0))
    }

    #[test]
    fn a_token_says_whose_it_is_for_a_day() {
        let tokens = tokens("0123456789abcdef");
        let token = agent_token(&tokens);
        for (hour, is_good) in [(0, true), (23, true), (24, false), (48, false)] {
            assert_eq!(tokens.read(token.as_bytes(), at(hour)).is_some(), is_good, "{hour}");
        }
        assert!(
            matches!(tokens.read(token.as_bytes(), at(1)), Some(Claims::Agent(of)) if of.agent_id.as_str() == "a")
        );
        let person = tokens.for_person("ann", 3, at(0));
        assert!(matches!(tokens.read(person.as_bytes(), at(1)), Some(Claims::Person(of)) if of.version == 3));
    }

    #[test]
    fn what_is_signed_by_nobody_by_others_or_otherwise_is_none() {
        let (tokens, others) = (tokens("0123456789abcdef"), tokens("another-master-0123"));
        let hs256 = json!({"alg": "HS256", "typ": "JWT"});
        let claims = json!({"agent_id": "a", "key_id": "k", "aud": AGENT, "iat": at(0).timestamp(),
            "exp": at(24).timestamp()});
        let good = forged(&hs256, &claims, "0123456789abcdef");
        assert!(tokens.read(good.as_bytes(), at(1)).is_some(), "the forger works");
        let none = format!("{}.{}.", part(&json!({"alg": "none"})), part(&claims));
        let with = |name: &str, value: Value| {
            let mut claims = claims.clone();
            claims[name] = value;
            forged(&hs256, &claims, "0123456789abcdef")
        };
        let without = |name: &str| {
            let mut claims = claims.clone();
            claims.as_object_mut().unwrap().remove(name);
            forged(&hs256, &claims, "0123456789abcdef")
        };
        let signature = good.rsplit('.').next().unwrap();
        for bad in [
            none.clone(),
            format!("{none}{signature}"),
            agent_token(&others),
            forged(&json!({"alg": "HS512"}), &claims, "0123456789abcdef"),
            forged(&json!({"alg": "RS256"}), &claims, "0123456789abcdef"),
            forged(&json!({"typ": "JWT"}), &claims, "0123456789abcdef"),
            forged(&hs256, &claims, ""),
            with("aud", json!("redflag")),
            with("exp", json!("never")),
            with("exp", json!(at(1).timestamp())),
            with("exp", json!(-1)),
            without("exp"),
            without("aud"),
            without("key_id"),
            good[..good.len() - 2].to_owned(),
            format!("{good}."),
            format!(" {good}"),
            "a.b.c".to_owned(),
            "..".to_owned(),
            String::new(),
            format!("{}.{}.{}", "x".repeat(4_000), "x", "x"),
        ] {
            assert_eq!(tokens.read(bad.as_bytes(), at(1)), None, "{bad}");
        }
    }
}
