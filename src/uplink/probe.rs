//! A look at a master: whether it is one, and whether it takes the key. Nothing is registered and nothing is fetched.

use super::exchange::Peeked;
use super::http_uplink::HttpUplink;
use crate::clock::Clock;
use crate::domain::doctor::master::{AgentAnswer, Asked, KeyAnswer};
use crate::domain::doctor::time::Told;
use crate::domain::id::AgentId;

/// An id that no agent has: a master looks at the key first, and hands out nothing for it.
const NOBODY: &str = "lightship-doctor-asks-only";

impl HttpUplink {
    /// Asks. `shows_key` is false for what is used up by being shown; `agent` is who registered from here before.
    pub async fn look(&self, shows_key: bool, agent: Option<&AgentId>) -> (Asked, Option<Told>) {
        let path =
            if shows_key { format!("/api/v2/agents/{NOBODY}/commands") } else { "/healthz".to_owned() };
        let failed = |reason| Asked::Failed { address: self.address(), reason };
        let peeked = match self.peek(&path).await {
            Ok(peeked) => peeked,
            Err(error) => return (failed(error.to_string()), None),
        };
        let told = peeked.master_time.map(|theirs| Told { theirs, ours: Clock::system().now() });
        let Some(key) = key_answer(shows_key, &peeked) else {
            let Peeked { address, status, .. } = peeked;
            let reason = format!(
                "what answers at {address} is no master: status {status}; is `DOCKFLARE_MASTER_URL` right?"
            );
            return (failed(reason), told);
        };
        let (agent, is_native) = match key {
            KeyAnswer::Taken => self.look_for(agent).await,
            KeyAnswer::Refused | KeyAnswer::NotShown => (None, true),
        };
        (Asked::Answered { address: self.address(), key, agent, is_native }, told)
    }

    /// Asks for an agent by a call that needs a session: without one a master of ours says that it knows none, and one of
    /// DockFlare does not know the call.
    async fn look_for(&self, agent: Option<&AgentId>) -> (Option<AgentAnswer>, bool) {
        let id = agent.map_or(NOBODY, AgentId::as_str);
        let Ok(peeked) = self.peek(&format!("/api/v3/agents/{id}/commands")).await else {
            return (None, true);
        };
        let said = match (peeked.status, agent) {
            _ if !peeked.has_words => None,
            (_, None) => Some(AgentAnswer::NoneYet),
            (409, _) => Some(AgentAnswer::Known),
            (403, _) => Some(AgentAnswer::KeyOfAnother),
            (404, _) => Some(AgentAnswer::Unknown),
            _ => None,
        };
        (said, peeked.has_words)
    }
}

/// What a master said to the key; none if it was no master.
fn key_answer(shows_key: bool, peeked: &Peeked) -> Option<KeyAnswer> {
    match (shows_key, peeked.status) {
        _ if !peeked.has_words => None,
        (false, _) => Some(KeyAnswer::NotShown),
        (true, 401) => Some(KeyAnswer::Refused),
        // Nobody has the id; if somebody has it all the same, he has another key.
        (true, 404 | 403) => Some(KeyAnswer::Taken),
        (true, _) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_words_of_a_master_say_anything_of_a_key() {
        for (shows_key, status, has_words, expected) in [
            (true, 401, true, Some(KeyAnswer::Refused)),
            (true, 404, true, Some(KeyAnswer::Taken)),
            (true, 403, true, Some(KeyAnswer::Taken)),
            (true, 404, false, None),
            (true, 401, false, None),
            (true, 200, true, None),
            (false, 200, true, Some(KeyAnswer::NotShown)),
            (false, 502, false, None),
        ] {
            let peeked = Peeked { status, address: "http://m".into(), has_words, master_time: None };
            assert_eq!(key_answer(shows_key, &peeked), expected, "{status} {has_words}");
        }
    }
}
