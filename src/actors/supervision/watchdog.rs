//! A thread that notices when an arbiter does not come round any more.
//!
//! A handler that blocks its thread freezes every actor of that arbiter and cannot be stopped from
//! within. The watchdog names it, and in the end has the process end for the outer restart policy.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::time::{Duration, Instant};

use actix_rt::ArbiterHandle;
use parking_lot::Mutex;

use super::here::{self, Shown};

/// The exit code of a process whose arbiter is blocked (`EX_SOFTWARE`).
pub const BLOCKED_EXIT_CODE: i32 = 70;

/// How long a line may take to be written before the watchdog goes on without it.
const WORDS: Duration = Duration::from_secs(1);

/// How patient the watchdog is.
#[derive(Clone, Copy, Debug)]
pub struct WatchLimits {
    /// How often arbiters beat and are looked at.
    pub check_every: Duration,
    /// Silence after which an arbiter is named.
    pub name_after: Duration,
    /// Silence after which the action is called.
    pub act_after: Duration,
}

impl Default for WatchLimits {
    fn default() -> Self {
        Self {
            check_every: Duration::from_secs(1),
            name_after: Duration::from_secs(10),
            act_after: Duration::from_secs(30),
        }
    }
}

/// An arbiter that does not come round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocked {
    /// The name it is watched under.
    pub arbiter: String,
    /// The actor it was polling when it was looked at.
    pub actor: Option<String>,
    /// How long it has been silent.
    pub silent: Duration,
}

/// The watchdog; its thread ends when it is dropped.
pub struct Watchdog {
    check_every: Duration,
    pulses: Arc<Mutex<Vec<Arc<Pulse>>>>,
    blocked: Arc<Mutex<Vec<Blocked>>>,
    _stop: Sender<()>,
}

/// The heartbeat of one arbiter.
struct Pulse {
    name: String,
    beats: AtomicU64,
    shown: Arc<Shown>,
}

impl Watchdog {
    /// Starts the thread. `act` is called once per blockage, with [`BLOCKED_EXIT_CODE`] in mind:
    /// `|_| std::process::exit(BLOCKED_EXIT_CODE)`.
    ///
    /// Fails if the system gives no thread.
    pub fn start(limits: WatchLimits, act: impl Fn(&Blocked) + Send + 'static) -> std::io::Result<Self> {
        let (stop, stopped) = channel();
        let (pulses, blocked) = (Arc::default(), Arc::default());
        let watch = Watch {
            limits,
            speaker: Speaker::start()?,
            pulses: Arc::clone(&pulses),
            blocked: Arc::clone(&blocked),
            act,
            seen: Vec::new(),
        };
        std::thread::Builder::new().name("watchdog".into()).spawn(move || watch.run(&stopped))?;
        Ok(Self { check_every: limits.check_every, pulses, blocked, _stop: stop })
    }

    /// Watches the current thread, which must be an arbiter or run a `LocalSet`.
    pub fn watch_here(&self, name: impl Into<String>) {
        watch_here(name.into(), self.check_every, Arc::clone(&self.pulses));
    }

    /// Watches another arbiter.
    pub fn watch(&self, name: impl Into<String>, arbiter: &ArbiterHandle) {
        let (name, every, pulses) = (name.into(), self.check_every, Arc::clone(&self.pulses));
        arbiter.spawn_fn(move || watch_here(name, every, pulses));
    }

    /// Returns the arbiters that are silent for longer than allowed, as of the last look.
    pub fn blocked(&self) -> Vec<Blocked> {
        self.blocked.lock().clone()
    }
}

fn watch_here(name: String, every: Duration, pulses: Arc<Mutex<Vec<Arc<Pulse>>>>) {
    let pulse = Arc::new(Pulse { name, beats: AtomicU64::new(0), shown: Arc::default() });
    here::show_in(Arc::clone(&pulse.shown));
    pulses.lock().push(Arc::clone(&pulse));
    let beating = Beating { pulse, pulses };
    tokio::task::spawn_local(async move {
        loop {
            beating.pulse.beats.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(every).await;
        }
    });
}

/// Takes the pulse off the list when the arbiter ends.
struct Beating {
    pulse: Arc<Pulse>,
    pulses: Arc<Mutex<Vec<Arc<Pulse>>>>,
}

impl Drop for Beating {
    fn drop(&mut self) {
        self.pulses.lock().retain(|pulse| !Arc::ptr_eq(pulse, &self.pulse));
    }
}

/// The thread's own state.
struct Watch<F> {
    limits: WatchLimits,
    speaker: Speaker,
    pulses: Arc<Mutex<Vec<Arc<Pulse>>>>,
    blocked: Arc<Mutex<Vec<Blocked>>>,
    act: F,
    seen: Vec<Seen>,
}

struct Seen {
    pulse: Arc<Pulse>,
    beats: u64,
    silent: Duration,
}

impl<F: Fn(&Blocked)> Watch<F> {
    fn run(mut self, stopped: &Receiver<()>) {
        let mut last = Instant::now();
        while stopped.recv_timeout(self.limits.check_every) == Err(RecvTimeoutError::Timeout) {
            // A suspended or starved process comes back with a long gap that is no arbiter's fault.
            let gap = last.elapsed().min(2 * self.limits.check_every);
            last = Instant::now();
            self.look(gap);
        }
    }

    fn look(&mut self, gap: Duration) {
        let pulses = self.pulses.lock().clone();
        self.seen.retain(|seen| pulses.iter().any(|pulse| Arc::ptr_eq(pulse, &seen.pulse)));
        let mut found = Vec::new();
        for pulse in pulses {
            let beats = pulse.beats.load(Ordering::Relaxed);
            let Some(seen) = self.seen.iter_mut().find(|seen| Arc::ptr_eq(&pulse, &seen.pulse)) else {
                self.seen.push(Seen { pulse, beats, silent: Duration::ZERO });
                continue;
            };
            if seen.beats != beats {
                (seen.beats, seen.silent) = (beats, Duration::ZERO);
                continue;
            }
            let before = seen.silent;
            seen.silent += gap;
            if seen.silent < self.limits.name_after {
                continue;
            }
            let actor = pulse.shown.actor().map(|path| path.to_string());
            let blocked = Blocked { arbiter: pulse.name.clone(), actor, silent: seen.silent };
            if before < self.limits.name_after {
                self.speaker.say(Word::Named(blocked.clone()));
            }
            if before < self.limits.act_after && seen.silent >= self.limits.act_after {
                self.speaker.say(Word::TooLong(blocked.clone()));
                (self.act)(&blocked);
            }
            found.push(blocked);
        }
        *self.blocked.lock() = found;
    }
}

/// A line for the log.
enum Word {
    Named(Blocked),
    TooLong(Blocked),
}

impl Word {
    fn log(&self) {
        let (Self::Named(blocked) | Self::TooLong(blocked)) = self;
        let (arbiter, silent_ms) = (&*blocked.arbiter, blocked.silent.as_millis());
        let actor = blocked.actor.as_deref().unwrap_or("none");
        match self {
            Self::Named(_) => {
                tracing::error!(arbiter, actor, silent_ms, "arbiter is blocked: a handler does not return");
            }
            Self::TooLong(_) => {
                tracing::error!(arbiter, actor, silent_ms, "arbiter is blocked for too long");
            }
        }
    }
}

/// Writes to the log from a thread of its own: what blocks the arbiter may be the log, whose reader stopped reading.
struct Speaker(SyncSender<(Word, SyncSender<()>)>);

impl Speaker {
    fn start() -> std::io::Result<Self> {
        let (words, said) = sync_channel::<(Word, SyncSender<()>)>(4);
        std::thread::Builder::new().name("watchdog-log".into()).spawn(move || {
            for (word, done) in said {
                word.log();
                // The watchdog may have gone on.
                let _ = done.try_send(());
            }
        })?;
        Ok(Self(words))
    }

    /// Returns when the line is written, or will not be in time.
    fn say(&self, word: Word) {
        let (done, is_done) = sync_channel(1);
        if self.0.try_send((word, done)).is_ok() {
            let _ = is_done.recv_timeout(WORDS);
        }
    }
}
