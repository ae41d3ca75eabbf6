//! A queue for each registry: few requests at a time, none before its clock says so, and none for a while if it is away.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chrono::{DateTime, TimeDelta, Utc};
use parking_lot::Mutex;
use reqwest::StatusCode;
use tokio::sync::Semaphore;

use super::exchange::{NoReply, Reply};
use crate::clock::Clock;
use crate::domain::registry::{Circumstance, Pace, read_retry_after};

/// Requests to one registry that are under way at the same time.
const IN_FLIGHT: usize = 4;
/// How long nobody asks again after a registry could not be reached.
const AWAY: TimeDelta = TimeDelta::seconds(30);
/// Answers in a row that came too late, after which it counts as away.
const LATE: u32 = 3;
/// Registries and token servers that are kept in mind.
const MOST: usize = 1_000;

/// Whether a request counts as a pull.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Weight {
    /// It does not.
    Light,
    /// It does.
    Pull,
}

/// All queues.
pub(super) struct Lanes {
    clock: Clock,
    lanes: Mutex<HashMap<String, Arc<Lane>>>,
    refusals: AtomicU64,
}

struct Lane {
    places: Semaphore,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    pace: Pace,
    away: Option<(DateTime<Utc>, String)>,
    late: u32,
}

impl Lanes {
    pub fn new(clock: Clock) -> Self {
        Self { clock, lanes: Mutex::default(), refusals: AtomicU64::new(0) }
    }

    fn lane(&self, host: &str) -> Arc<Lane> {
        let mut lanes = self.lanes.lock();
        if lanes.len() >= MOST {
            let now = self.clock.now();
            lanes.retain(|_, lane| {
                Arc::strong_count(lane) > 1 || lane.state.lock().pace.waits_until(now).is_some()
            });
        }
        let make = || Arc::new(Lane { places: Semaphore::new(IN_FLIGHT), state: Mutex::default() });
        lanes.entry(host.to_owned()).or_insert_with(make).clone()
    }

    /// Makes one request when its turn comes.
    pub async fn through<F>(&self, host: &str, weight: Weight, exchange: F) -> Result<Reply, Circumstance>
    where
        F: Future<Output = Result<Reply, NoReply>>,
    {
        let lane = self.lane(host);
        lane.state.lock().check(self.clock.now(), weight)?;
        let _place = lane.places.acquire().await.expect("never closed");
        // Whoever went before may have been told to wait.
        lane.state.lock().check(self.clock.now(), weight)?;
        let outcome = exchange.await;
        let learnt = lane.state.lock().learn(self.clock.now(), outcome);
        if matches!(learnt, Err(Circumstance::Paused { .. })) {
            self.refusals.fetch_add(1, Ordering::Relaxed);
        }
        learnt
    }

    /// How often somebody asked to wait since the start.
    pub fn refusals(&self) -> u64 {
        self.refusals.load(Ordering::Relaxed)
    }

    /// Takes another host's word that `host` is to be left alone, such as its token server's.
    pub fn pause(&self, host: &str, until: DateTime<Utc>) {
        let now = self.clock.now();
        self.lane(host).state.lock().pace.refuse(now, Some(until - now));
        self.refusals.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the clocks that still say something.
    pub fn paces(&self) -> Vec<(String, Pace)> {
        let now = self.clock.now();
        let lanes = self.lanes.lock();
        let all = lanes.iter().map(|(host, lane)| (host.clone(), lane.state.lock().pace.clone()));
        all.filter(|(_, pace)| pace.pulls_wait_until(now).is_some()).collect()
    }

    /// Takes a clock of another process, where it says more than is known here.
    pub fn resume(&self, host: &str, pace: Pace) {
        self.lane(host).state.lock().pace.take_up(self.clock.now(), pace);
    }
}

impl State {
    fn check(&mut self, now: DateTime<Utc>, weight: Weight) -> Result<(), Circumstance> {
        if let Some(until) = self.pace.waits_until(now) {
            return Err(Circumstance::Paused { until });
        }
        if let Some((until, reason)) = &self.away
            && *until > now
        {
            return Err(Circumstance::NoAnswer { reason: reason.clone(), is_https_only: false });
        }
        match self.pace.pulls_wait_until(now).filter(|_| weight == Weight::Pull) {
            Some(until) => Err(Circumstance::PullsAreScarce { until }),
            None => Ok(()),
        }
    }

    fn learn(&mut self, now: DateTime<Utc>, outcome: Result<Reply, NoReply>) -> Result<Reply, Circumstance> {
        let reply = match outcome {
            Ok(reply) => reply,
            Err(NoReply::TooLarge(reason) | NoReply::Elsewhere(reason)) => {
                return Err(Circumstance::Odd { reason });
            }
            Err(NoReply::NotConnected(reason)) => return Err(self.is_away(now, reason)),
            Err(NoReply::Late(reason)) => {
                self.late += 1;
                if self.late < LATE {
                    return Err(Circumstance::NoAnswer { reason, is_https_only: false });
                }
                return Err(self.is_away(now, reason));
            }
        };
        (self.late, self.away) = (0, None);
        let limits =
            ["ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"].map(|name| reply.header(name));
        self.pace.note_quota(now, limits[0], limits[1], limits[2]);
        let after = reply.header("retry-after").and_then(|text| read_retry_after(text, now));
        // Some forbid where others say that it was too much; who is forbidden for good is given no time.
        let is_for_a_while = matches!(reply.status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::FORBIDDEN)
            && after.is_some();
        let is_refusal = reply.status == StatusCode::TOO_MANY_REQUESTS || is_for_a_while;
        if is_refusal {
            return Err(Circumstance::Paused { until: self.pace.refuse(now, after) });
        }
        if reply.status.is_success() {
            self.pace.answered();
        }
        Ok(reply)
    }

    fn is_away(&mut self, now: DateTime<Utc>, reason: String) -> Circumstance {
        self.late = 0;
        self.away = Some((now + AWAY, reason.clone()));
        Circumstance::NoAnswer { reason, is_https_only: false }
    }
}
