//! Looks at this host for pending updates: on start, every few minutes, and when somebody asks.
//!
//! One look at a time. The work runs elsewhere; here is only when it is due, and whom its outcome is told. Nothing on the
//! host is changed.

use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, ActorFutureExt, AsyncContext, Handler, Message, SpawnHandle, WrapFuture};
use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use serde_json::json;
use tracing::{info, warn};

use super::status::{ActorStatus, GetStatus};
use crate::actors::supervision::Ctx;
use crate::domain::host::Host;
use crate::domain::update::{Checked, HostScan};

/// Share by which the interval varies, so that a fleet does not ask registries and mirrors in step.
const JITTER: f64 = 0.1;
/// A host that starts has other things to do first.
const FIRST_LOOK_AFTER: Duration = Duration::from_secs(3);
/// What runs changes in bursts; one look after it serves all.
const AFTER_CHANGES: Duration = Duration::from_secs(20);
/// Longest look; what takes longer is given up, and its programs are ended.
const LOOK_LIMIT: Duration = Duration::from_secs(20 * 60);

/// What was seen of the host.
#[derive(Debug, Clone)]
pub struct Seen {
    /// What is pending.
    pub scan: Arc<HostScan>,
    /// The machine.
    pub host: Box<Host>,
}

/// Looks at the host; `true` if a person waits for it. Runs off the arbiter, and ends when it is dropped.
pub type LookAtHost = Arc<dyn Fn(bool) -> BoxFuture<'static, Result<Seen, String>> + Send + Sync>;

/// Somebody who waits for a look: how it came out, in words.
pub type Looked = Box<dyn FnOnce(Result<String, String>) + Send>;

/// What the scanner works with.
#[derive(Clone)]
pub struct ScannerParts {
    /// Looks at the host.
    pub look: LookAtHost,
    /// Time between two looks that nobody asked for.
    pub interval: Duration,
    /// Takes what was seen; false if there was no room.
    pub tell_reporter: Arc<dyn Fn(Seen) -> bool + Send + Sync>,
}

/// A person wants the host to be looked at now.
#[derive(Message)]
#[rtype(result = "()")]
pub struct ScanNow {
    /// Who waits for it.
    pub done: Looked,
}

/// What runs on this host changed: its images may be others.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct ImagesChanged;

/// It is time for the next look.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
struct LookDue;

/// See the module.
pub struct UpdateScanner {
    parts: ScannerParts,
    timer: Option<SpawnHandle>,
    is_looking: bool,
    /// Those who wait for the look that is under way.
    waiting: Vec<Looked>,
    /// Those who asked while one was under way: it may have passed what they ask about.
    asked_meanwhile: Vec<Looked>,
    last: Option<(DateTime<Utc>, Arc<HostScan>)>,
    problem: Option<String>,
}

impl UpdateScanner {
    /// Makes one that looks soon.
    pub fn new(parts: ScannerParts) -> Self {
        Self {
            parts,
            timer: None,
            is_looking: false,
            waiting: Vec::new(),
            asked_meanwhile: Vec::new(),
            last: None,
            problem: None,
        }
    }

    fn look_after(&mut self, wait: Duration, ctx: &mut Ctx<Self>) {
        if let Some(timer) = self.timer.take() {
            ctx.cancel_future(timer);
        }
        self.timer = Some(ctx.notify_later(LookDue, wait));
    }

    fn look(&mut self, ctx: &mut Ctx<Self>) {
        self.is_looking = true;
        self.waiting.append(&mut self.asked_meanwhile);
        let look = (self.parts.look)(!self.waiting.is_empty());
        let limited = async move {
            tokio::time::timeout(LOOK_LIMIT, look).await.unwrap_or_else(|_| {
                Err(format!("looking at the host took longer than {} min", LOOK_LIMIT.as_secs() / 60))
            })
        };
        ctx.spawn(limited.into_actor(self).map(|outcome, actor, ctx| actor.looked(outcome, ctx)));
    }

    fn looked(&mut self, outcome: Result<Seen, String>, ctx: &mut Ctx<Self>) {
        self.is_looking = false;
        let words = match outcome {
            Ok(seen) => Ok(self.tell(seen, ctx)),
            Err(problem) => {
                warn!(problem, "this host could not be looked at for updates");
                self.problem = Some(problem.clone());
                Err(problem)
            }
        };
        for done in self.waiting.drain(..) {
            done(words.clone());
        }
        let wait = match self.asked_meanwhile.is_empty() {
            true => ctx.chance().jitter(self.parts.interval, JITTER),
            false => Duration::ZERO,
        };
        self.look_after(wait, ctx);
    }

    fn tell(&mut self, seen: Seen, ctx: &mut Ctx<Self>) -> String {
        let words = summary(&seen.scan);
        let is_news = self.last.as_ref().is_none_or(|(_, last)| summary(last) != words);
        if is_news {
            info!("{words}");
        }
        self.problem = seen.scan.scanned().scanners.iter().find_map(|checked| {
            let problem = checked.problem.as_ref()?;
            Some(format!("{}: {}", checked.kind, problem.reason))
        });
        self.last = Some((ctx.clock().now(), Arc::clone(&seen.scan)));
        if !(self.parts.tell_reporter)(seen) {
            warn!("the reporter is busy; what was found is told with the next look");
        }
        words
    }
}

/// Says in one line what a look found.
fn summary(scan: &HostScan) -> String {
    let scanners = &scan.scanned().scanners;
    if scanners.is_empty() {
        return "there is nothing on this host that could be looked at for updates".into();
    }
    let one = |checked: &Checked| {
        let doubt = if checked.ok { "" } else { ", not all could be checked" };
        format!("{}: {} pending{doubt}", checked.kind, checked.pending)
    };
    scanners.iter().map(one).collect::<Vec<_>>().join("; ")
}

impl Actor for UpdateScanner {
    type Context = Ctx<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.look_after(FIRST_LOOK_AFTER, ctx);
    }
}

crate::supervised!(UpdateScanner);

impl Handler<LookDue> for UpdateScanner {
    type Result = ();

    fn handle(&mut self, _: LookDue, ctx: &mut Self::Context) {
        self.timer = None;
        if !self.is_looking {
            self.look(ctx);
        }
    }
}

impl Handler<ScanNow> for UpdateScanner {
    type Result = ();

    fn handle(&mut self, ScanNow { done }: ScanNow, ctx: &mut Self::Context) {
        self.asked_meanwhile.push(done);
        if !self.is_looking {
            self.look_after(Duration::ZERO, ctx);
        }
    }
}

impl Handler<ImagesChanged> for UpdateScanner {
    type Result = ();

    fn handle(&mut self, _: ImagesChanged, ctx: &mut Self::Context) {
        // Before the first look one is due anyway, and soon.
        if !self.is_looking && self.last.is_some() {
            self.look_after(AFTER_CHANGES, ctx);
        }
    }
}

impl Handler<GetStatus> for UpdateScanner {
    type Result = ActorStatus;

    fn handle(&mut self, _: GetStatus, _: &mut Self::Context) -> ActorStatus {
        let state = match (self.is_looking, &self.last) {
            (true, _) => "looking",
            (false, None) => "not looked yet",
            (false, Some(_)) => "waiting",
        };
        let detail = json!({
            "last_look": self.last.as_ref().map(|(at, _)| at),
            "found": self.last.as_ref().map(|(_, scan)| &scan.scanned().scanners),
        });
        ActorStatus { state, problem: self.problem.clone(), detail }
    }
}

#[cfg(test)]
mod tests;
