//! What one more event costs when there are many already, on both databases.

use std::time::Instant;

use lightship::chance::Chance;
use lightship::clock::Clock;
use lightship::db::{Batch, Db, Expected, SecretKey};
use lightship::domain::access::AccessAsk;
use lightship::domain::event::{Event, RouteEvent, Stream};
use lightship::domain::id::{AgentId, ContainerId};
use lightship::domain::route::{OriginRequest, RouteKey, Service};
use lightship::io::IoRuntime;

use crate::plan::Plan;
use crate::process::cpu_time;
use crate::sheet::{Goal, Row};
use crate::stats::{Samples, millis};
use crate::support::postgres::Lease;

/// Routes that come and go.
const ROUTES: usize = 1_000;
/// Batches handed over at once while the record grows.
const TOGETHER: usize = 500;
/// Commits of one event that are timed, in groups of which the median counts.
const GROUPS: usize = 20;
const GROUP: usize = 50;

/// Grows a record to each size and times single events there.
pub async fn measure(plan: &Plan) -> Vec<Row> {
    let sizes = if plan.quick { [1_000, 10_000, 50_000] } else { [10_000, 100_000, 1_000_000] };
    let folder = tempfile::tempdir().unwrap();
    let file = format!("sqlite://{}", folder.path().join("lightship.db").display());
    let lease = Lease::empty();
    let mut rows = Vec::new();
    for (engine, url) in [("SQLite", file), ("PostgreSQL", lease.url())] {
        let costs = grow(&url, sizes).await;
        let [first, _, last] = costs.each_ref().map(|cost| cost.micros);
        let detail: Vec<String> = sizes
            .iter()
            .zip(&costs)
            .map(|(size, cost)| {
                format!("{size}: {:.0} µs and {:.0} µs processor time", cost.micros, cost.cpu_micros)
            })
            .collect();
        let what = format!("cost of an event at {} events against {}, {engine}", sizes[2], sizes[0]);
        rows.push(Row::new(what, Goal::AtMost(1.25), last / first, "").detail(detail.join("; ")));
    }
    rows
}

/// Of one event, committed alone.
struct Cost {
    micros: f64,
    /// Of this process only: what PostgreSQL's takes is in the time.
    cpu_micros: f64,
}

async fn grow(url: &str, sizes: [usize; 3]) -> [Cost; 3] {
    let runtime = IoRuntime::start().unwrap();
    let db = Db::open(url, runtime.io()).await.unwrap();
    db.become_writer().await.unwrap();
    db.migrate().await.unwrap();
    db.unlock_secrets(SecretKey::random(Chance::system())).await.unwrap();
    let mut next = 0;
    let mut costs = Vec::new();
    for size in sizes {
        while next < size {
            let group: Vec<Batch> = (next..size.min(next + TOGETHER)).map(batch).collect();
            next += group.len();
            for outcome in db.commit_many(group).await {
                outcome.unwrap();
            }
        }
        let (mut wall, mut cpu) = (Vec::new(), Vec::new());
        for _ in 0..GROUPS {
            let (begun, used) = (Instant::now(), cpu_time(std::process::id()));
            for _ in 0..GROUP {
                db.commit(batch(next)).await.unwrap();
                next += 1;
            }
            wall.push(millis(begun.elapsed()) * 1000.0 / GROUP as f64);
            cpu.push((cpu_time(std::process::id()) - used).as_secs_f64() * 1e6 / GROUP as f64);
        }
        costs.push(Cost { micros: Samples::new(wall).median(), cpu_micros: mean(&cpu) });
    }
    db.close().await.unwrap();
    costs.try_into().unwrap_or_else(|_| unreachable!("one for each size"))
}

/// The kernel counts in hundredths of a second: only all of them together say something.
fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The event with this number: first every route is claimed, then they are lost and come back in turn.
fn batch(number: usize) -> Batch {
    let route = number % ROUTES;
    let (agent_id, now) = (AgentId::new(format!("agent-{}", route % 100)), Clock::system().now());
    let key = RouteKey { hostname: format!("app-{route}.example.com"), path: String::new() };
    let container_id = ContainerId::new(format!("c{route}"));
    let stream = Stream::routes(&agent_id);
    let event = match number / ROUTES {
        0 => {
            let service = Service {
                key,
                service: "http://app:8080".into(),
                origin_request: OriginRequest::default(),
                zone_name: None,
                access: AccessAsk::Nothing,
            };
            Event::Route(RouteEvent::Claimed {
                agent_id,
                container_id,
                container_name: "app".into(),
                service,
            })
        }
        round if round % 2 == 1 => {
            Event::Route(RouteEvent::Lost { agent_id, route: key, due_at: now, explained: false })
        }
        _ => Event::Route(RouteEvent::Restored { agent_id, route: key, container_id }),
    };
    Batch::new("bench", now).append(stream, Expected::Head, vec![event])
}
