//! What an agent's queue reads when its actors start, after few and after many old commands.

use std::time::Instant;

use chrono::TimeDelta;
use lightship::chance::Chance;
use lightship::clock::Clock;
use lightship::db::{Batch, Db, Expected, commands};
use lightship::domain::command::{CommandKind, Outcome};
use lightship::domain::event::{CommandEvent, Event, Stream};
use lightship::domain::id::{AgentId, CommandId};
use lightship::io::IoRuntime;

use crate::plan::Plan;
use crate::sheet::{Goal, Row};
use crate::stats::{Samples, millis};

/// Commands that came to their end long ago.
const OLD: [usize; 3] = [10, 1_000, 10_000];

/// Reads the open commands of agents that were told more and more.
pub async fn measure(plan: &Plan) -> Vec<Row> {
    let (runtime, dir) = (IoRuntime::start().unwrap(), tempfile::tempdir().unwrap());
    let url = format!("sqlite://{}", dir.path().join("lightship.db").display());
    let db = Db::open(&url, runtime.io()).await.unwrap();
    db.migrate().await.unwrap();
    let mut medians = Vec::new();
    for old in OLD {
        let agent = AgentId::new(format!("told-{old}-times"));
        tell(&db, &agent, old).await;
        let mut samples = Vec::new();
        for _ in 0..plan.count(300, 100) {
            let begun = Instant::now();
            assert_eq!(commands::list_open_commands(&db, &agent).await.unwrap().len(), 1);
            samples.push(millis(begun.elapsed()));
        }
        medians.push(Samples::new(samples).median());
    }
    db.close().await.unwrap();
    let ratio = medians[2] / medians[0];
    let detail = OLD.iter().zip(&medians).map(|(old, median)| format!("{old}: {median:.2} ms"));
    let what = "reading an agent's open commands after 10,000 old ones, against after 10";
    vec![Row::new(what, Goal::AtMost(1.5), ratio, "").detail(detail.collect::<Vec<_>>().join(", "))]
}

/// Many commands that ended, and one that waits.
async fn tell(db: &Db, agent: &AgentId, old: usize) {
    let (chance, clock) = (Chance::system(), Clock::system());
    let queued = |command_id: &CommandId| {
        Event::Command(CommandEvent::Queued {
            agent_id: agent.clone(),
            command_id: command_id.clone(),
            command: CommandKind::StopTunnel,
            expires_at: clock.now() + TimeDelta::days(1),
        })
    };
    let mut events = Vec::new();
    for _ in 0..old {
        let command_id = CommandId::new(chance.sorted_uuid(&clock).to_string());
        events.push(queued(&command_id));
        let outcome = Outcome { succeeded: true, message: "done".into(), finished_at: None };
        events.push(Event::Command(CommandEvent::Finished { agent_id: agent.clone(), command_id, outcome }));
    }
    events.push(queued(&CommandId::new(chance.sorted_uuid(&clock).to_string())));
    for part in events.chunks(1_000) {
        let batch = Batch::new("bench", clock.now());
        let batch = batch.append(Stream::commands(agent), Expected::Head, part.to_vec());
        db.commit(batch).await.unwrap();
    }
}
