//! Makes a database with many agents, through the events that a master writes when they register.

use std::io::Write;
use std::path::{Path, PathBuf};

use lightship::actors::master::digest_key;
use lightship::chance::Chance;
use lightship::clock::Clock;
use lightship::db::{Batch, Db, Expected};
use lightship::domain::event::{AgentEvent, Event, KeyEvent, Stream};
use lightship::domain::id::{AgentId, KeyId};
use lightship::io::IoRuntime;

/// Batches handed over at once.
const TOGETHER: usize = 500;

/// Writes `count` approved agents into the state directory `dir`; returns a file with one `id key` a line.
pub async fn agents(dir: &Path, count: usize) -> PathBuf {
    let (runtime, chance, clock) = (IoRuntime::start().unwrap(), Chance::system(), Clock::system());
    let url = format!("sqlite://{}", dir.join("lightship.db").display());
    let db = Db::open(&url, runtime.io()).await.unwrap();
    db.migrate().await.unwrap();
    let agents: Vec<(AgentId, String)> =
        (0..count).map(|_| (AgentId::new(chance.uuid().to_string()), chance.key())).collect();
    for group in agents.chunks(TOGETHER) {
        let batches = group.iter().map(|(id, key)| {
            let key_id = KeyId::new(chance.sorted_uuid(&clock).to_string());
            batch(&clock, id, key_id, key)
        });
        for outcome in db.commit_many(batches.collect()).await {
            outcome.unwrap();
        }
    }
    db.close().await.unwrap();
    let path = dir.join("agents.txt");
    let mut file = std::io::BufWriter::new(std::fs::File::create(&path).unwrap());
    for (id, key) in &agents {
        writeln!(file, "{id} {key}").unwrap();
    }
    file.flush().unwrap();
    path
}

/// Writes `count` keys that nobody used yet into the state directory `dir`; returns them.
pub async fn keys(dir: &Path, count: usize) -> Vec<String> {
    let (runtime, chance, clock) = (IoRuntime::start().unwrap(), Chance::system(), Clock::system());
    let url = format!("sqlite://{}", dir.join("lightship.db").display());
    let db = Db::open(&url, runtime.io()).await.unwrap();
    db.migrate().await.unwrap();
    let keys: Vec<String> = (0..count).map(|_| chance.key()).collect();
    for group in keys.chunks(TOGETHER) {
        let made = |key: &String| KeyEvent::Generated {
            key_id: KeyId::new(chance.sorted_uuid(&clock).to_string()),
            owner: "bench".into(),
            sha256: hex::encode(digest_key(key)),
            rolled_from: None,
        };
        let batch = Batch::new("bench", clock.now());
        db.commit(batch.append(Stream::keys(), Expected::Head, group.iter().map(made).collect()))
            .await
            .unwrap();
    }
    db.close().await.unwrap();
    keys
}

/// A key is made, an agent registers with it, a person approves it.
fn batch(clock: &Clock, agent: &AgentId, key_id: KeyId, key: &str) -> Batch {
    let generated = Event::Key(KeyEvent::Generated {
        key_id: key_id.clone(),
        owner: "bench".into(),
        sha256: hex::encode(digest_key(key)),
        rolled_from: None,
    });
    let registered = Event::Agent(AgentEvent::Registered {
        agent_id: agent.clone(),
        key_id,
        display_name: format!("host-{agent}"),
        version: Some("1.0.0".into()),
        key_owner: "bench".into(),
        shares_key: false,
    });
    let approved = Event::Agent(AgentEvent::Approved { agent_id: agent.clone() });
    Batch::new("bench", clock.now()).append(Stream::keys(), Expected::Head, vec![generated]).append(
        Stream::agent(agent),
        Expected::Version(0),
        vec![registered, approved],
    )
}
