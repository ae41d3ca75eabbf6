//! What a tunnel costs where all of them are looked at together: the plan, a person's consent, the line of comparisons.
//! In this process, on a database in memory: what is measured is how the cost grows.

use std::collections::HashMap;
use std::hint::black_box;
use std::time::Instant;

use lightship::actors::master::cloudflare_account::{
    KnownAccess, KnownZones, PublishSettings, consents, plan_from_database,
};
use lightship::clock::Clock;
use lightship::db::cloudflare::{RouteStatusRow, TunnelStatusRow};
use lightship::db::{ALL, Batch, Db, Expected, RowChange, cloudflare, tunnels};
use lightship::domain::access::AccessAsk;
use lightship::domain::event::{AgentEvent, Event, KeyEvent, RouteEvent, Stream};
use lightship::domain::id::{AccountId, AgentId, ContainerId, KeyId, SecretId, TunnelId};
use lightship::domain::line::Line;
use lightship::domain::route::{OriginRequest, RouteKey, Service};
use lightship::io::IoRuntime;

use crate::plan::Plan;
use crate::sheet::{Goal, Row};

/// Numbers of tunnels.
const SIZES: [usize; 3] = [10, 100, 1_000];
/// Routes of each.
const ROUTES: usize = 5;

/// Measures the three at each size.
pub async fn measure(plan: &Plan) -> Vec<Row> {
    let mut costs = [Vec::new(), Vec::new(), Vec::new()];
    for size in SIZES {
        let runtime = IoRuntime::start().unwrap();
        let db = Db::in_memory(runtime.io()).await.unwrap();
        db.migrate().await.unwrap();
        seed(&db, size).await;
        let rounds = plan.count(2_000, 400).div_ceil(size).max(3);
        let (mut planned, mut agreed, mut lined) = (Vec::new(), Vec::new(), Vec::new());
        let rows = tunnels::list_tunnels(&db, None, ALL).await.unwrap();
        let statuses = cloudflare::list_tunnel_status(&db, ALL).await.unwrap();
        let routes = cloudflare::list_route_status(&db, None, ALL).await.unwrap();
        for _ in 0..rounds {
            let (settings, began) = (PublishSettings::default(), Instant::now());
            black_box(
                plan_from_database(&db, &settings, KnownZones::Unknown, KnownAccess::default(), true)
                    .await
                    .unwrap(),
            );
            planned.push(per_tunnel(size, began));
            let began = Instant::now();
            black_box(consents(&rows, &statuses, &routes, &HashMap::new()));
            agreed.push(per_tunnel(size, began));
            let began = Instant::now();
            compare_all(&rows);
            lined.push(per_tunnel(size, began));
        }
        for (costs, samples) in costs.iter_mut().zip([planned, agreed, lined]) {
            costs.push(least(samples));
        }
        db.close().await.unwrap();
    }
    let names = ["`plan`", "a person's consent", "a round of comparisons in line"];
    names.into_iter().zip(costs).map(|(name, costs)| row(name, &costs)).collect()
}

/// The largest cost per tunnel against that of ten tunnels.
fn row(name: &str, costs: &[f64]) -> Row {
    let ratio = costs.iter().map(|cost| cost / costs[0]).fold(0.0, f64::max);
    let each: Vec<String> =
        SIZES.iter().zip(costs).map(|(size, cost)| format!("{size}: {cost:.1} µs")).collect();
    let what = format!("cost per tunnel of {name}, 100 and 1,000 tunnels against 10");
    Row::new(what, Goal::AtMost(1.5), ratio, "").detail(each.join(", "))
}

/// Microseconds since `began` for each of so many.
fn per_tunnel(size: usize, began: Instant) -> f64 {
    began.elapsed().as_secs_f64() * 1e6 / size as f64
}

/// The least of several samples: what else the machine does only adds to it.
fn least(samples: Vec<f64>) -> f64 {
    samples.into_iter().fold(f64::INFINITY, f64::min)
}

/// All join, one in ten jumps the line, all are taken.
fn compare_all(rows: &[tunnels::TunnelRow]) {
    let mut line = Line::default();
    for row in rows {
        line.join(row.id.clone());
    }
    for row in rows.iter().step_by(10) {
        line.jump(row.id.clone());
    }
    while let Some(tunnel) = line.take_first() {
        black_box(tunnel);
    }
}

/// Agents with a tunnel and routes each, half of which are published.
async fn seed(db: &Db, size: usize) {
    let clock = Clock::system();
    let batches = (0..size).map(|number| batch(&clock, number));
    for outcome in db.commit_many(batches.collect()).await {
        outcome.unwrap();
    }
}

fn batch(clock: &Clock, number: usize) -> Batch {
    let (agent_id, key_id) = (AgentId::new(format!("a{number}")), KeyId::new(format!("k{number}")));
    let tunnel_id = TunnelId::new(format!("t{number}"));
    let key = Event::Key(KeyEvent::Generated {
        key_id: key_id.clone(),
        owner: "bench".into(),
        sha256: format!("{number:0>64}"),
        rolled_from: None,
    });
    let registered = Event::Agent(AgentEvent::Registered {
        agent_id: agent_id.clone(),
        key_id,
        display_name: "host".into(),
        version: None,
        key_owner: "bench".into(),
        shares_key: false,
    });
    let enrolled = Event::Agent(AgentEvent::Enrolled {
        agent_id: agent_id.clone(),
        account_id: AccountId::new("account"),
        tunnel_id: tunnel_id.clone(),
        tunnel_name: format!("edge-{number}"),
        secret_id: SecretId::new(format!("s{number}")),
        connectors: None,
    });
    let key_of = |route: usize| RouteKey {
        hostname: format!("app-{route}.host-{number}.example.com"),
        path: String::new(),
    };
    let claim = |route: usize| {
        Event::Route(RouteEvent::Claimed {
            agent_id: agent_id.clone(),
            container_id: ContainerId::new(format!("c{number}-{route}")),
            container_name: format!("app-{route}"),
            service: Service {
                key: key_of(route),
                service: "http://app:80".into(),
                origin_request: OriginRequest::default(),
                zone_name: None,
                access: AccessAsk::Nothing,
            },
        })
    };
    let mut batch = Batch::new("bench", clock.now())
        .append(Stream::keys(), Expected::Head, vec![key])
        .append(Stream::agent(&agent_id), Expected::Version(0), vec![registered, enrolled])
        .append(Stream::routes(&agent_id), Expected::Version(0), (0..ROUTES).map(claim).collect());
    for route in 0..ROUTES {
        batch = batch.row(RowChange::PutRouteStatus(RouteStatusRow {
            agent_id: Some(agent_id.clone()),
            key: key_of(route),
            state: if route % 2 == 0 { "published" } else { "waiting" }.into(),
            reason: None,
            cause: None,
            answer: None,
            updated_at: clock.now(),
        }));
    }
    batch.row(RowChange::PutTunnelStatus(TunnelStatusRow {
        tunnel_id,
        state: "waiting".into(),
        reason: None,
        cause: None,
        answer: None,
        config_version: Some(1),
        foreign_rules: serde_json::json!(["rule `theirs.example.com` to `http://theirs:1` stays"]),
        updated_at: clock.now(),
        version_since: None,
        is_settled: true,
    }))
}
