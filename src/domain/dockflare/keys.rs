//! Agent keys of DockFlare. It keeps them as they are; here they are digests from the moment they are read, so that none
//! of them gets into a plan, a call or a log.

use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// What its store keeps beside keys begins so.
const NO_KEY: &str = "__";
/// Fewest characters of a key that DockFlare made.
const SHORTEST: usize = 40;

/// A key, without the key itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Hex SHA-256 of it.
    pub sha256: String,
    /// Whom it was made for.
    pub owner: String,
    /// False once it was revoked.
    pub is_active: bool,
    /// The agent that used it last.
    pub agent: Option<String>,
}

#[derive(Deserialize)]
struct Stored {
    owner: Option<String>,
    status: Option<String>,
    bound_agent_id: Option<String>,
}

/// Returns the digest by which a key is kept.
pub fn digest(raw: &str) -> String {
    hex::encode(Sha256::digest(raw.as_bytes()))
}

/// Reads the store of keys (`agent_keys.dat`, opened).
pub fn read_keys(store: &Value) -> Result<Vec<Key>, String> {
    let Some(keys) = store.get("keys").and_then(Value::as_object) else {
        return Err("it has no list `keys`".into());
    };
    let keys = keys.iter().filter(|(raw, _)| !raw.starts_with(NO_KEY));
    keys.enumerate()
        .map(|(at, (raw, meta))| read_key(raw, meta).map_err(|why| format!("key {}: {why}", at + 1)))
        .collect()
}

fn read_key(raw: &str, meta: &Value) -> Result<Key, String> {
    // Never the text itself in a reason.
    if raw.len() < SHORTEST || !raw.bytes().all(|b| b.is_ascii_graphic()) {
        return Err("it is shorter than a key, or holds other characters".into());
    }
    let meta = Stored::deserialize(meta).map_err(|_| "what is noted beside it cannot be read".to_owned())?;
    Ok(Key {
        sha256: digest(raw),
        owner: meta.owner.unwrap_or_default(),
        is_active: meta.status.is_none_or(|status| status == "active"),
        agent: meta.bound_agent_id,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_are_digests_from_the_beginning_and_other_secrets_are_not_read() {
        let raw = "k".repeat(43);
        let store = json!({"keys": {
            raw.clone(): {"owner": "web-1", "status": "active", "bound_agent_id": "a-1", "last_used_at": null},
            "r".repeat(43): {"status": "revoked"},
            "n".repeat(43): {},
            "__cf_service_token__": {"secret": "hidden"},
        }});
        let keys = read_keys(&store).unwrap();
        assert_eq!(keys.len(), 3);
        assert_eq!(
            keys[0],
            Key { sha256: digest(&raw), owner: "web-1".into(), is_active: true, agent: Some("a-1".into()) }
        );
        assert_eq!((keys[1].is_active, keys[2].is_active), (false, true));
        let said = format!("{keys:?}");
        assert!(!said.contains(&raw) && !said.contains("hidden"), "{said}");
        assert_eq!(digest("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn what_is_no_key_is_refused_without_repeating_it() {
        for (store, words) in [
            (json!({}), "no list `keys`"),
            (json!({"keys": {"short": {}}}), "key 1: it is shorter"),
            (json!({"keys": {"k".repeat(43): 7}}), "key 1: what is noted"),
            (json!({"keys": {"k".repeat(43): {"owner": 7}}}), "key 1: what is noted"),
        ] {
            let said = read_keys(&store).unwrap_err();
            assert!(said.contains(words) && !said.contains("kkk") && !said.contains("short\""), "{said}");
        }
    }
}
