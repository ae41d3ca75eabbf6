//! Questions about images: an agent asks its master instead of the registries.

use serde::{Deserialize, Serialize};

use crate::domain::registry::{Answer, Ask};
use crate::protocol::body::{self, BodyError};

/// Most questions of one request.
pub const ASKS_LIMIT: usize = 500;

/// Body of `POST /api/v3/agents/{id}/images`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImagesRequest {
    /// The questions.
    pub asks: Vec<Ask>,
}

/// Its answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImagesResponse {
    /// As many as there were questions, in their order.
    pub answers: Vec<Answer>,
}

/// Reads questions. What is asked about becomes part of an address, so it has to be a name.
pub fn decode_asks(bytes: &[u8]) -> Result<Vec<Ask>, BodyError> {
    let request: ImagesRequest = body::parse_as(bytes)?;
    if request.asks.len() > ASKS_LIMIT {
        return Err(BodyError::Value { field: "asks", reason: "at most 500 questions are answered at once" });
    }
    if !request.asks.iter().all(Ask::is_sound) {
        let reason = "registry, repository and tag are those of an image's full name, and at most 200 digests are known";
        return Err(BodyError::Value { field: "asks[]", reason });
    }
    Ok(request.asks)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn ask(registry: &str, repository: &str, tag: &str) -> Value {
        json!({ "registry": registry, "repository": repository, "tag": tag,
            "platform": { "os": "linux", "architecture": "arm", "variant": "v7" },
            "wants_content": true, "wants_tags": false })
    }

    fn decode(asks: &[Value]) -> Result<Vec<Ask>, BodyError> {
        decode_asks(json!({ "asks": asks }).to_string().as_bytes())
    }

    #[test]
    fn questions_are_read_and_what_is_no_name_is_refused() {
        let read =
            decode(&[ask("docker.io", "library/nginx", "1"), ask("10.0.0.5:5000", "a/b", "v1")]).unwrap();
        assert_eq!((read.len(), read[0].known.len(), read[0].is_fresh), (2, 0, false));
        for (registry, repository, tag) in [
            ("docker.io", "nginx", "1"),
            ("reg.example/x", "a", "1"),
            ("reg.example", "../a", "1"),
            ("reg.example", "a", "1/../2"),
            ("user:pw@reg.example", "a", "1"),
            ("reg.example", "a?x=1", "1"),
            ("", "a", "1"),
        ] {
            assert!(decode(&[ask(registry, repository, tag)]).is_err(), "{registry} {repository} {tag}");
        }
        let many = vec![ask("reg.example", "a", "1"); ASKS_LIMIT + 1];
        assert!(decode(&many).is_err() && decode(&many[1..]).is_ok());
    }
}
