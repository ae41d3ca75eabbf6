//! Registration: the one call both dialects share, and where they part.

use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::domain::id::AgentId;
use crate::domain::order::KeyOffer;
use crate::protocol::body::{self, BodyError};

/// Longest name or version that is kept; the rest is cut.
const NAME_LIMIT: usize = 200;

/// What an agent says when it comes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct RegisterRequest {
    /// The id it was given before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<AgentId>,
    /// Its own name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// A second choice for the name; DockFlare agents never send it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// The agent's version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Present if the agent speaks more than the DockFlare dialect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lightship: Option<Hello>,
}

/// How one of our agents introduces itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Hello {
    /// Versions of the native protocol it speaks.
    pub protocols: Vec<u32>,
    /// The machine it runs on: tells two hosts with one key apart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
}

impl RegisterRequest {
    /// Says if the agent speaks the native protocol that this version speaks.
    pub fn is_native(&self) -> bool {
        self.lightship.as_ref().is_some_and(|hello| hello.protocols.contains(&super::super::v3::PROTOCOL))
    }
}

/// Reads the body of `POST /api/v2/agents/register`.
///
/// Fails with [`BodyError::Field`] on a field that is not a string, and with [`BodyError::Value`] on an id
/// outside `[A-Za-z0-9._-]{1,64}`. Unknown fields are ignored; blank ones count as absent.
pub fn decode_register(body: &[u8]) -> Result<RegisterRequest, BodyError> {
    let map = body::parse_object(body)?;
    let name = |field| body::optional_text(&map, field).map(|text| text.map(|t| shortened(&t)));
    let agent_id = match body::optional_text(&map, "agent_id")? {
        None => None,
        Some(text) => Some(own_id(&text).map_err(|reason| BodyError::Value { field: "agent_id", reason })?),
    };
    Ok(RegisterRequest {
        agent_id,
        display_name: name("display_name")?,
        hostname: name("hostname")?,
        version: name("version")?,
        lightship: map.get("lightship").and_then(Value::as_object).map(read_hello),
    })
}

fn own_id(text: &str) -> Result<AgentId, &'static str> {
    let id = AgentId::parse(text).map_err(|error| error.reason)?;
    match id.is_reserved() {
        true => Err("it is a word of the API's paths; choose another id, or send none to be given one"),
        false => Ok(id),
    }
}

/// Writes the answer to a registration; `agent` is the record, without keys and tokens.
///
/// With a session goes the label prefix that the operator set at the master, so that hosts look for it.
pub fn register_response(
    agent_id: &AgentId,
    agent: Value,
    session: Option<&str>,
    label_prefix: Option<&str>,
) -> Value {
    let mut answer = json!({ "status": "success", "agent_id": agent_id, "agent": agent });
    if let Some(session) = session {
        answer["lightship"] = json!({ "session": session, "protocol": super::super::v3::PROTOCOL });
        if let Some(prefix) = label_prefix {
            answer["lightship"]["label_prefix"] = json!(prefix);
        }
    }
    answer
}

/// Adds the key that was made for an agent of ours.
pub fn with_key(mut answer: Value, key: Option<&SecretString>) -> Value {
    if let Some(key) = key {
        answer["lightship"]["key"] = json!(key.expose_secret());
    }
    answer
}

/// Adds the key that the master signs orders with.
pub fn with_order_key(mut answer: Value, offer: Option<&KeyOffer>) -> Value {
    if let Some(offer) = offer.filter(|_| answer.get("lightship").is_some()) {
        answer["lightship"]["orders"] = json!(offer);
    }
    answer
}

/// A key that the master made for the agent; printed as a mark.
#[derive(Clone)]
pub struct GivenKey(pub SecretString);

impl PartialEq for GivenKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.expose_secret() == other.0.expose_secret()
    }
}

impl Eq for GivenKey {}

impl std::fmt::Debug for GivenKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[key]")
    }
}

/// What an agent takes from the answer to its registration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    /// The id to use from now on.
    pub agent_id: AgentId,
    /// Present if the master speaks the native protocol.
    pub session: Option<String>,
    /// The label prefix that was set at the master, if any.
    pub label_prefix: Option<String>,
    /// The key to use from now on, for one that came with a registration token.
    pub key: Option<GivenKey>,
    /// The key that the master signs orders with.
    pub orders: Option<KeyOffer>,
}

/// Reads the answer to a registration.
///
/// An id that could not be put in a path is refused: it would be sent back in every later call.
pub fn decode_registered(body: &[u8]) -> Result<Registered, BodyError> {
    let map = body::parse_object(body)?;
    let Some(id) = body::optional_text(&map, "agent_id")? else {
        return Err(BodyError::Field { field: "agent_id", found: "missing", expected: "a string" });
    };
    let agent_id =
        AgentId::parse(&id).map_err(|e| BodyError::Value { field: "agent_id", reason: e.reason })?;
    let lightship = map.get("lightship").and_then(Value::as_object);
    let speaks_ours = lightship.and_then(|l| l.get("protocol")).and_then(Value::as_u64)
        == Some(u64::from(super::super::v3::PROTOCOL));
    let session = lightship.and_then(|l| l.get("session")).and_then(Value::as_str);
    let session = session.filter(|s| speaks_ours && is_session(s)).map(str::to_owned);
    let prefix = lightship.and_then(|l| l.get("label_prefix")).and_then(Value::as_str);
    let label_prefix = prefix.filter(|p| session.is_some() && is_session(p)).map(str::to_owned);
    let key = lightship.and_then(|l| l.get("key")).and_then(Value::as_str).filter(|key| is_session(key));
    let key = key.map(|key| GivenKey(SecretString::from(key.to_owned())));
    let orders = lightship.and_then(|l| l.get("orders")).cloned();
    let orders = orders.filter(|_| session.is_some()).and_then(|offer| serde_json::from_value(offer).ok());
    Ok(Registered { agent_id, session, label_prefix, key, orders })
}

/// Sessions travel in a header, so they are short and visible ASCII.
fn is_session(text: &str) -> bool {
    (1..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
}

fn read_hello(hello: &Map<String, Value>) -> Hello {
    let protocols = hello.get("protocols").and_then(Value::as_array);
    Hello {
        protocols: protocols
            .map(|list| {
                list.iter().filter_map(Value::as_u64).filter_map(|n| u32::try_from(n).ok()).take(16).collect()
            })
            .unwrap_or_default(),
        host: hello.get("host").and_then(Value::as_str).filter(|h| !h.trim().is_empty()).map(shortened),
    }
}

/// Cuts to [`NAME_LIMIT`] characters and drops control characters, which have no place in a name.
fn shortened(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(NAME_LIMIT).collect::<String>().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(body: Value) -> Result<RegisterRequest, BodyError> {
        decode_register(body.to_string().as_bytes())
    }

    #[test]
    fn a_dockflare_agent_is_not_native_and_ours_is() {
        let theirs = decode(json!({"display_name": "Lab Host", "version": "1.0.0"})).unwrap();
        assert_eq!(theirs.display_name.as_deref(), Some("Lab Host"));
        assert!(!theirs.is_native());

        let ours = decode(json!({"lightship": {"protocols": [2, 3], "host": "h1"}})).unwrap();
        assert!(ours.is_native());
        assert_eq!(ours.lightship.unwrap().host.as_deref(), Some("h1"));
    }

    #[test]
    fn only_strings_and_plain_ids_are_taken() {
        for bad in [
            json!([]),
            json!("x"),
            json!({"agent_id": 5}),
            json!({"agent_id": [1]}),
            json!({"agent_id": "../../x"}),
            json!({"agent_id": "a b"}),
            json!({"display_name": {"a": 1}}),
            json!({"hostname": 1}),
            json!({"version": true}),
        ] {
            assert_eq!(decode(bad.clone()).unwrap_err().code(), "invalid_body", "{bad}");
        }
        for absent in [json!({}), json!({"agent_id": null}), json!({"agent_id": "", "display_name": "  "})] {
            assert_eq!(decode(absent).unwrap(), RegisterRequest::default());
        }
    }

    #[test]
    fn a_strange_introduction_is_no_error() {
        for hello in [json!(5), json!([]), json!({"protocols": "3"}), json!({"protocols": [-1, "3", 4]})] {
            assert!(!decode(json!({ "lightship": hello })).unwrap().is_native());
        }
    }

    #[test]
    fn the_answer_comes_back_as_it_was_written() {
        let id = AgentId::new("a1");
        let native = register_response(&id, json!({"id": "a1"}), Some("s-1"), Some("mine"));
        assert_eq!(
            native,
            json!({"status": "success", "agent_id": "a1", "agent": {"id": "a1"},
                   "lightship": {"session": "s-1", "protocol": 3, "label_prefix": "mine"}})
        );
        let read = decode_registered(native.to_string().as_bytes()).unwrap();
        assert_eq!(
            read,
            Registered {
                agent_id: id.clone(),
                session: Some("s-1".into()),
                label_prefix: Some("mine".into()),
                key: None,
                orders: None,
            }
        );

        let given = with_key(native, Some(&SecretString::from("k-1")));
        let read = decode_registered(given.to_string().as_bytes()).unwrap();
        assert_eq!(read.key.as_ref().unwrap().0.expose_secret(), "k-1");
        assert!(!format!("{read:?}").contains("k-1"));

        let plain = register_response(&id, json!({}), None, Some("mine")).to_string();
        let read = decode_registered(plain.as_bytes()).unwrap();
        assert_eq!((read.session, read.label_prefix), (None, None), "a DockFlare agent is told nothing more");
    }

    #[test]
    fn an_answer_without_a_usable_id_is_refused() {
        for body in [json!({}), json!({"agent_id": null}), json!({"agent_id": "../x"}), json!([])] {
            assert!(decode_registered(body.to_string().as_bytes()).is_err(), "{body}");
        }
    }

    #[test]
    fn a_session_of_another_protocol_or_shape_is_not_used() {
        for lightship in [
            json!({"session": "s", "protocol": 4}),
            json!({"session": "a\nb", "protocol": 3}),
            json!({"session": 1, "protocol": 3}),
        ] {
            let body = json!({"agent_id": "a1", "lightship": lightship}).to_string();
            assert_eq!(decode_registered(body.as_bytes()).unwrap().session, None);
        }
    }
}
