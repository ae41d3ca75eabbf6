//! What the three roles share: the start, the signals, the ordered end.

use std::future::Future;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use super::common::Common;
use super::{output, sources};
use crate::actors::supervision::{BLOCKED_EXIT_CODE, Root, Tree, WatchLimits, Watchdog, install_panic_hook};
use crate::chance::Chance;
use crate::clock::Clock;
use crate::config::{Loaded, Role};
use crate::io::{Io, IoRuntime};
use crate::process::until_all_ended;
use crate::telemetry;

/// How long the whole tree may take to stop: the connector's own time to finish requests is 30 s.
const STOP_TIME: Duration = Duration::from_secs(75);

/// What every role starts from.
pub(super) struct Start {
    /// Settings and where they came from.
    pub(super) loaded: Loaded,
    /// State directory; it exists.
    pub(super) state_dir: PathBuf,
    /// Runtime of the adapters.
    pub(super) io: Io,
    /// The machine's clock.
    pub(super) clock: Clock,
    /// Randomness from the system.
    pub(super) chance: Chance,
    /// Supervision, shared by all branches.
    pub(super) tree: Tree,
    /// Changes with every event of the tree.
    pub(super) tree_changes: watch::Receiver<()>,
    /// Names threads that do not come back; each arbiter is to be shown to it.
    pub(super) watchdog: Watchdog,
    /// Renders the metrics of this process.
    pub(super) metrics: Option<PrometheusHandle>,
    /// What asks this process to end.
    pub(super) signals: Signals,
}

/// SIGTERM and SIGINT, heard from the beginning: one that comes during the start ends the process in order as
/// soon as it is up. Nobody but the kernel would take it otherwise, and for the first process of a container
/// the kernel drops it.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> anyhow::Result<Self> {
        let terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
        let interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
        Ok(Self { terminate, interrupt })
    }

    /// Waits for one of them; returns its name.
    pub(super) async fn next(mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// Reads the settings, prepares the process and runs `role` until it ends.
pub(super) fn run(
    common: &Common,
    role: Role,
    body: impl AsyncFnOnce(Start) -> anyhow::Result<ExitCode>,
) -> anyhow::Result<ExitCode> {
    if common.master.is_some() && role != Role::Agent {
        bail!("a master talks to no other master; leave `--master` out");
    }
    let system = actix_rt::System::new();
    let signals = system.block_on(async { Signals::listen() })?;
    let loaded = sources::load(common, role)?;
    telemetry::start_logging(&loaded.settings.log, sources::time_zone().as_deref());
    install_panic_hook();
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    let state_dir = loaded.settings.state.dir.clone().context("no state directory")?;
    make_private(&state_dir)?;
    if let Some(others) = others_who_may_write(&state_dir) {
        tracing::warn!(
            dir = %state_dir.display(),
            "{others} may write in the state directory, and so decide what this process does; \
             make it writable for this user only (mode 0700)"
        );
    }
    let runtime = IoRuntime::start().context("cannot start the threads for input and output")?;
    let (clock, chance) = (Clock::system(), Chance::system());
    let io = runtime.io();
    // Who serves no metrics collects none.
    let metrics = if role == Role::Agent { None } else { telemetry::start_metrics() };
    if let Some(metrics) = &metrics {
        telemetry::keep_metrics_small(metrics.clone(), &io);
    }
    // A thread that does not come back cannot be helped from within; the outer restart policy can.
    let watchdog = Watchdog::start(WatchLimits::default(), |_| std::process::exit(BLOCKED_EXIT_CODE))
        .context("cannot start the watchdog's thread")?;
    system.block_on(async move {
        watchdog.watch_here("main");
        let (changed, tree_changes) = watch::channel(());
        let tree = Tree::new(clock.clone(), chance.clone(), move |_| {
            changed.send_replace(());
        });
        let start =
            Start { loaded, state_dir, io, clock, chance, tree, tree_changes, watchdog, metrics, signals };
        body(start).await
    })
}

/// Makes the state directory, readable by this user only if it is new.
fn make_private(dir: &std::path::Path) -> anyhow::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).with_context(|| {
        format!(
            "cannot make the state directory `{}`; set LIGHTSHIP_STATE_DIR to a folder that this user may write",
            dir.display()
        )
    })
}

fn others_who_may_write(dir: &std::path::Path) -> Option<&'static str> {
    use std::os::unix::fs::MetadataExt;
    let found = std::fs::metadata(dir).ok()?;
    let (user, group) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    writers(found.mode(), (found.uid(), found.gid()), (user, group))
}

/// Says who but this user (and root) may write in a directory of this mode and these owners. A group that is this
/// process's own is how container platforms share a volume.
fn writers(mode: u32, (owner, group): (u32, u32), (user, own_group): (u32, u32)) -> Option<&'static str> {
    if mode & 0o002 != 0 {
        Some("everybody")
    } else if mode & 0o020 != 0 && group != own_group {
        Some("a group that is not this process's own")
    } else if owner != user && owner != 0 {
        Some("another user")
    } else {
        None
    }
}

/// Why a role ends.
pub(super) enum End {
    /// Somebody asked for it.
    Signal(&'static str),
    /// The tree gave up; the outer restart policy takes over.
    GaveUp(String),
}

/// Waits until the process is `asked` to end, by a signal of this name, or its tree gives up.
pub(super) async fn until_end(root: &Root, asked: impl Future<Output = &'static str>) -> End {
    let end = tokio::select! {
        name = asked => End::Signal(name),
        reason = root.gave_up() => End::GaveUp(reason),
    };
    match &end {
        End::Signal(name) => tracing::info!("{name}: stopping"),
        End::GaveUp(reason) => tracing::error!(%reason, "gave up; the outer restart policy takes over"),
    }
    end
}

/// Stops the tree and turns the end into an exit code.
pub(super) async fn finish(root: Root, end: End) -> ExitCode {
    let code = match &end {
        End::Signal(_) => ExitCode::SUCCESS,
        End::GaveUp(_) => ExitCode::FAILURE,
    };
    root.shutdown(STOP_TIME).await;
    until_all_ended().await;
    code
}

/// Prints what a person who started the role by hand wants to see.
pub(super) fn say(line: &str) {
    // A closed standard output is no reason to end a service.
    let _ = output::line(line);
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use actix::prelude::*;
    use chrono::DateTime;
    use tokio::task::LocalSet;

    use super::*;
    use crate::actors::supervision::{ChildSpec, Ctx, Overflow, SupSpec};
    use crate::supervised;

    /// Panics whenever it is started, if it is told to.
    struct Child {
        is_broken: bool,
    }

    impl Actor for Child {
        type Context = Ctx<Self>;

        fn started(&mut self, _: &mut Ctx<Self>) {
            assert!(!self.is_broken, "it cannot start");
        }
    }

    supervised!(Child);

    async fn root(is_broken: bool) -> Root {
        install_panic_hook();
        let (child, _) = ChildSpec::actor("child", 4, Overflow::DropNewest, move || Child { is_broken });
        let tree = Tree::new(Clock::moved(DateTime::UNIX_EPOCH), Chance::seeded(1), |_| {});
        Root::start(tree, "root", SupSpec::one_for_one().child(child)).await
    }

    #[test]
    fn a_state_directory_that_others_may_write_is_told_from_a_private_one() {
        for (mode, owners, expected) in [
            (0o700, (7, 7), None),
            (0o755, (7, 7), None),
            (0o775, (7, 7), None),
            (0o775, (0, 7), None),
            (0o775, (7, 8), Some("a group that is not this process's own")),
            (0o757, (7, 7), Some("everybody")),
            (0o1777, (0, 0), Some("everybody")),
            (0o700, (8, 7), Some("another user")),
            (0o700, (0, 0), None),
        ] {
            assert_eq!(writers(mode, owners, (7, 7)), expected, "{mode:o} {owners:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_tree_that_gives_up_ends_the_process_with_a_failure() {
        let given_up = async {
            let root = root(true).await;
            let end = until_end(&root, pending()).await;
            assert!(matches!(&end, End::GaveUp(reason) if reason.contains("`root/child`")));
            assert_eq!(finish(root, end).await, ExitCode::FAILURE);
        };
        LocalSet::new().run_until(given_up).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_signal_ends_the_process_with_success() {
        let asked = async {
            let root = root(false).await;
            let end = until_end(&root, ready("SIGTERM")).await;
            assert!(matches!(end, End::Signal("SIGTERM")));
            assert_eq!(finish(root, end).await, ExitCode::SUCCESS);
        };
        LocalSet::new().run_until(asked).await;
    }
}
