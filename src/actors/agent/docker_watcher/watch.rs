//! A subscription with the listing that was made after it.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::{Instant, sleep_until};

use super::names::{KnownNetworks, with_names};
use crate::actors::agent::label_prefix::PrefixChanges;
use crate::docker::{Docker, DockerError, EngineEvent, EngineInfo, Events};
use crate::domain::container::Container;
use crate::domain::leap::clock_leap;

/// Where the Engine's clock cannot be asked, ours may be off by this much.
const CLOCK_MARGIN: TimeDelta = TimeDelta::seconds(10);
/// How soon after a subscription the Engine has told what it noted before.
const CATCH_UP: Duration = Duration::from_secs(2);

/// What a subscription begins with.
pub(super) struct Watch {
    pub engine: EngineInfo,
    pub events: Events,
    pub listed: Vec<Container>,
    pub origin: Origin,
}

/// What came of waiting for an event.
pub(super) enum Next {
    Event(EngineEvent),
    ListingDue,
    Lost(DockerError),
}

/// When a subscription began, by both clocks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Origin {
    wall: DateTime<Utc>,
    steady: Instant,
}

impl Origin {
    /// True for an event that the listing knows better. An Engine whose clock was set back holds events that lie
    /// ahead of it, and tells them as the latest ones to everybody who subscribes.
    pub(super) fn is_listed_already(self, event: &EngineEvent) -> bool {
        let (Some(at), went_by) = (event.at, self.steady.elapsed()) else { return false };
        let is_ahead = clock_leap(at - self.wall, went_by).is_some_and(|leap| leap > TimeDelta::zero());
        is_ahead && went_by < CATCH_UP
    }
}

/// Subscribes, then lists, with the names of those that are ours.
pub(super) async fn open(
    docker: &dyn Docker,
    now: DateTime<Utc>,
    networks: &KnownNetworks,
    is_ours: impl Fn(&Container) -> bool,
) -> Result<Watch, DockerError> {
    let engine = docker.connect().await?;
    let origin = Origin { wall: engine.time.unwrap_or(now), steady: Instant::now() };
    let events = docker.watch(engine.time.unwrap_or(now - CLOCK_MARGIN)).await?;
    let listed = with_names(docker, docker.list_running().await?, networks, is_ours).await;
    Ok(Watch { engine, events, listed, origin })
}

/// Waits for an event, the next listing, or another label prefix to list by.
pub(super) async fn next(mut events: Events, due: Instant, mut prefix: PrefixChanges) -> (Events, Next) {
    let other_prefix = async {
        if prefix.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    let next = tokio::select! {
        item = events.next() => match item {
            Some(Ok(event)) => Next::Event(event),
            Some(Err(error)) => Next::Lost(error),
            None => Next::Lost(DockerError::StreamEnded),
        },
        () = sleep_until(due) => Next::ListingDue,
        () = other_prefix => Next::ListingDue,
    };
    (events, next)
}
