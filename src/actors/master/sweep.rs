//! Presence: who went silent, who is back, and when everybody was last heard.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::env::Env;
use super::slot::Slot;
use crate::db::{Assumption, Expected, RowChange};
use crate::domain::event::{AgentEvent, Stream};
use crate::domain::presence::{Presence, presence};
use crate::domain::shard::shard_of;

/// How often the times when agents were heard are written.
pub const WRITE_TIMES_EVERY: Duration = Duration::from_secs(30);
/// Agents in one commit.
const CHUNK: usize = 250;

/// What the sweep saw of an agent.
enum Turn {
    Offline { last_seen: DateTime<Utc> },
    Back,
}

/// Writes down whose presence changed since we listen, and with `with_times` when everybody was last heard.
pub async fn sweep(env: &Env, shard: usize, listening_since: DateTime<Utc>, with_times: bool) {
    let slots: Vec<_> = env
        .directory
        .slots()
        .into_iter()
        .filter(|slot| shard_of(slot.id(), env.settings.shards) == shard)
        .collect();
    let turned: Vec<_> =
        slots.iter().filter_map(|slot| Some((Arc::clone(slot), turn(env, slot, listening_since)?))).collect();
    for chunk in turned.chunks(CHUNK) {
        write_turns(env, chunk).await;
    }
    if with_times {
        let listed = slots.iter().filter(|slot| slot.status().is_heard());
        let heard: Vec<_> =
            listed.filter_map(|slot| Some((Arc::clone(slot), slot.unwritten_seen()?))).collect();
        for chunk in heard.chunks(CHUNK) {
            write_times(env, chunk).await;
        }
    }
}

fn turn(env: &Env, slot: &Slot, listening_since: DateTime<Utc>) -> Option<Turn> {
    if !slot.status().is_heard() {
        return None;
    }
    let last_seen = slot.last_seen()?;
    let timeout = slot.dialect().silence(env.settings.offline_after);
    let is_there = |since| presence(Some(last_seen), env.now(), timeout, since) == Presence::Online;
    match slot.offline() {
        false if !is_there(Some(listening_since)) => Some(Turn::Offline { last_seen }),
        // Only a word of its own brings it back, not our restart.
        true if is_there(None) => Some(Turn::Back),
        _ => None,
    }
}

async fn write_turns(env: &Env, turned: &[(Arc<Slot>, Turn)]) {
    let mut batch = env.batch("system");
    for (slot, turn) in turned {
        let agent_id = slot.id().clone();
        let stream = Stream::presence(&agent_id);
        let event = match turn {
            Turn::Offline { last_seen } => AgentEvent::Offline { agent_id, last_seen: *last_seen },
            Turn::Back => AgentEvent::Back { agent_id },
        };
        let is_listed = Assumption::IsListed { agent_id: slot.id().clone() };
        batch = batch.assume(is_listed).append(stream, Expected::Head, vec![event]);
    }
    // What could not be written is seen again by the next sweep.
    if let Err(error) = env.ledger.commit(batch).await {
        tracing::warn!(%error, "presence could not be written");
    }
}

async fn write_times(env: &Env, heard: &[(Arc<Slot>, DateTime<Utc>)]) {
    let mut batch = env.batch("system");
    let times = heard.iter().map(|(slot, at)| (slot.id().clone(), *at)).collect();
    batch = batch.row(RowChange::TouchAgents(times));
    for (slot, _) in heard {
        if let Some(row) = slot.peer_row() {
            batch = batch.row(row);
        }
    }
    match env.ledger.commit(batch).await {
        Ok(_) => heard.iter().for_each(|(slot, at)| slot.set_written_seen(*at)),
        Err(error) => tracing::warn!(%error, "the times when agents were heard could not be written"),
    }
}
