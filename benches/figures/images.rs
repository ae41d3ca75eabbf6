//! Checks of images at a real registry, against the rate at which it answers bare requests; and what a fleet costs it.

#[allow(dead_code, reason = "shared with the tests; a part of it is used here")]
#[path = "../../tests/real/registry/parts.rs"]
mod parts;

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use futures_util::{StreamExt, stream};
use lightship::clock::Clock;
use lightship::domain::registry::{Ask, Outcome, Platform};
use lightship::io::Io;
use lightship::registry::{Lookup, NoLogins, RegistryClient, Settings};

use crate::plan::Plan;
use crate::sheet::{Goal, Row};
use crate::stats::Samples;
use parts::{Registry, Store, TwoPlatforms, Way};

/// Images that a fleet shares.
const SHARED: usize = 50;
/// Agents of that fleet.
const AGENTS: usize = 200;
/// Tags that are asked for in one round; each is another question.
const TAGS: usize = 600;
/// Requests under way at one registry; the client's own limit.
const IN_FLIGHT: usize = 4;
/// All kinds of manifests: without them the registry has other work.
const MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json";

/// Measures rounds of the two right after each other, then a fleet.
pub async fn measure(plan: &Plan) -> Vec<Row> {
    let (store, image) = (Store::new(), TwoPlatforms::new("1", "1"));
    let registry = Registry::start(&store, Way::Open).await;
    for number in 0..SHARED {
        registry.push(&repository(number), "1", &image).await;
    }
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for round in 0..plan.count(9, 5) {
        // One in every second round is the first.
        for is_ours in [round % 2 == 0, round % 2 == 1] {
            let took = if is_ours { checks(&registry, &image).await } else { requests(&registry).await };
            if is_ours { &mut ours } else { &mut bare }.push(TAGS as f64 / took.as_secs_f64());
        }
    }
    let shares = Samples::new(ours.iter().zip(&bare).map(|(ours, bare)| ours / bare));
    let [ours, bare] = [ours, bare].map(|rates| Samples::new(rates).median());
    let before = registry.counts();
    let desk = client(Clock::system());
    let answers = join_all((0..AGENTS).map(|_| desk.look_up(asks(&registry, &image, SHARED)))).await;
    assert!(answers.iter().flatten().all(|answer| matches!(answer.content, Outcome::Found(_))));
    let after = registry.counts();
    let (heads, gets) = (after.0 - before.0, after.1 - before.1);
    let fleet = format!("{AGENTS} agents with the same {SHARED} images:");
    vec![
        Row::new(
            "checks of images, share of the registry's bare rate",
            Goal::AtLeast(0.8),
            shares.median(),
            "",
        )
        .detail(format!("{ours:.0}/s against {bare:.0}/s, {IN_FLIGHT} at a time")),
        Row::new(format!("{fleet} HEADs"), Goal::AtMost(SHARED as f64), heads as f64, ""),
        Row::new(format!("{fleet} GETs of manifests"), Goal::AtMost(0.0), gets as f64, ""),
    ]
}

fn client(clock: Clock) -> RegistryClient {
    RegistryClient::new(Settings::default(), Arc::new(NoLogins), clock, Io::current()).unwrap()
}

fn repository(number: usize) -> String {
    format!("team/app{number}")
}

fn asks(registry: &Registry, image: &TwoPlatforms, count: usize) -> Vec<Ask> {
    let ask = |number: usize| Ask {
        registry: registry.name(),
        repository: repository(number),
        tag: "1".into(),
        platform: Platform::new("linux", "amd64", None),
        known: vec![image.digest()],
        wants_content: true,
        wants_tags: false,
        is_fresh: false,
    };
    (0..count).map(ask).collect()
}

/// As many checks, each list by a client that knows nothing yet.
async fn checks(registry: &Registry, image: &TwoPlatforms) -> Duration {
    let clients: Vec<RegistryClient> = (0..TAGS / SHARED).map(|_| client(Clock::system())).collect();
    let begun = Instant::now();
    for client in clients {
        let answers = client.look_up(asks(registry, image, SHARED)).await;
        assert!(answers.iter().all(|answer| matches!(answer.content, Outcome::Found(_))));
    }
    begun.elapsed()
}

/// As many requests, as many at a time, with as many new connections.
async fn requests(registry: &Registry) -> Duration {
    let begun = Instant::now();
    for _ in 0..TAGS / SHARED {
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let one = |number| {
            let url = format!("http://{}/v2/{}/manifests/1", registry.name(), repository(number));
            let request = http.head(url).header("accept", MANIFESTS);
            async move { assert_eq!(request.send().await.unwrap().status().as_u16(), 200) }
        };
        stream::iter((0..SHARED).map(one)).buffer_unordered(IN_FLIGHT).collect::<Vec<()>>().await;
    }
    begun.elapsed()
}
