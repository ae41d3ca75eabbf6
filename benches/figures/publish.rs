//! From the Engine's start event to the configuration at Cloudflare, and to the record.
//!
//! The Engine stamps its event and the stand-in stamps each call with the same clock, so nothing that this
//! program does between is in the figure.

use std::time::Duration;

use crate::plan::Plan;
use crate::scene::{Scene, hostname};
use crate::sheet::{Goal, Row};
use crate::stats::{Samples, millis};
use crate::support::cloudflare::{Call, Op};
use crate::support::until::until;
use crate::{footprint, kills};

/// Changes closer together than 200 ms are collected; each of these is to be a first one.
const APART: Duration = Duration::from_millis(450);

/// One container: everything in milliseconds after its start event.
struct Start {
    put: f64,
    /// Configuration and record are both answered.
    done: f64,
    /// Calls before the PUT of which each waited for the one before it.
    chain: usize,
}

/// Measures what needs a whole installation.
pub async fn measure(plan: &Plan) -> Vec<Row> {
    let mut scene = Scene::start().await;
    let mut rows = Vec::new();
    let fast = starts(&scene, "fast", plan.count(40, 10)).await;
    let put = Samples::new(fast.iter().map(|start| start.put));
    let what = "start event to configuration PUT";
    let p50 = Row::new(format!("{what}, p50"), Goal::AtMost(20.0), put.median(), "ms");
    rows.push(p50.detail(format!("{}; 6.5 ms on a quiet machine", put.summary())));
    rows.push(Row::new(format!("{what}, p99"), Goal::AtMost(100.0), put.percentile(99), "ms"));

    scene.standin.set_latency(Duration::from_millis(150));
    let slow = starts(&scene, "slow", plan.count(15, 5)).await;
    scene.standin.set_latency(Duration::ZERO);
    rows.extend(slow_rows(&slow));

    rows.extend(kills::measure(&scene, plan.count(20, 5)).await);
    rows.extend(footprint::measure(&mut scene, plan).await);
    scene.standin.assert_no_violations();
    rows
}

fn slow_rows(slow: &[Start]) -> [Row; 3] {
    let put = Samples::new(slow.iter().map(|start| start.put));
    let done = Samples::new(slow.iter().map(|start| start.done));
    let chain = Samples::new(slow.iter().map(|start| start.chain as f64));
    [
        Row::new("calls in a row before the PUT", Goal::AtMost(1.0), chain.max(), ""),
        Row::new("start event to PUT, 150 ms a call", Goal::Shown, put.median(), "ms").detail(put.summary()),
        Row::new(
            "start event to PUT and record done, 150 ms a call",
            Goal::AtMost(350.0),
            done.median(),
            "ms",
        )
        .detail(done.summary()),
    ]
}

/// Starts `count` containers one after the other.
async fn starts(scene: &Scene, prefix: &str, count: usize) -> Vec<Start> {
    let mut starts = Vec::new();
    for number in 0..count {
        let name = format!("{prefix}-{number}");
        let first_call = scene.standin.calls().len();
        scene.publish(&name).await;
        let begun = scene.moment(&name, "start").await;
        starts.push(start(scene, &hostname(&name), first_call, begun).await);
        tokio::time::sleep(APART).await;
    }
    starts
}

/// Finds in the stand-in's log what one container caused.
async fn start(scene: &Scene, host: &str, first_call: usize, begun: u64) -> Start {
    let (calls, put, record) = until(&format!("the calls for {host} are answered"), || async {
        let calls: Vec<Call> = scene.standin.calls().split_off(first_call);
        let find = |op| calls.iter().position(|call| call.op == Some(op) && names(call, host));
        let (put, record) = (find(Op::PutConfig)?, find(Op::CreateRecord)?);
        calls[put].answered.and(calls[record].answered)?;
        Some((calls, put, record))
    })
    .await;
    let answered = |call: &Call| call.answered.map_or(0.0, |at| millis(at.duration_since(call.arrived)));
    let after = |call: &Call| (call.arrived_micros as f64 - begun as f64) / 1000.0;
    let end = |call: &Call| after(call) + answered(call);
    let before_put: Vec<&Call> =
        calls.iter().filter(|call| after(call) >= 0.0 && call.arrived < calls[put].arrived).collect();
    Start {
        put: after(&calls[put]),
        done: end(&calls[put]).max(end(&calls[record])),
        chain: chain(&before_put, &calls[put]),
    }
}

fn names(call: &Call, host: &str) -> bool {
    call.body.as_ref().is_some_and(|body| body.to_string().contains(&format!("\"{host}\"")))
}

/// The longest row of calls that were each over when the next one came, the last one before `put`.
fn chain(calls: &[&Call], put: &Call) -> usize {
    let mut over: Vec<_> = calls.iter().filter_map(|call| Some((call.answered?, call.arrived))).collect();
    over.retain(|(answered, _)| *answered <= put.arrived);
    over.sort();
    let mut last = None;
    let mut length = 0;
    for (answered, arrived) in over {
        if last.is_none_or(|last| arrived >= last) {
            length += 1;
            last = Some(answered);
        }
    }
    length
}
