//! What the three roles share: the start, the signals, the ordered end.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::signal::unix::{SignalKind, signal};

use super::{Common, output, sources};
use crate::actors::supervision::{BLOCKED_EXIT_CODE, Root, Tree, WatchLimits, Watchdog, install_panic_hook};
use crate::chance::Chance;
use crate::clock::Clock;
use crate::config::{Loaded, Role};
use crate::io::{Io, IoRuntime};
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
    /// Names threads that do not come back; each arbiter is to be shown to it.
    pub(super) watchdog: Watchdog,
    /// Renders the metrics of this process.
    pub(super) metrics: Option<PrometheusHandle>,
}

/// Reads the settings, prepares the process and runs `role` until it ends.
pub(super) fn run(
    common: &Common,
    role: Role,
    body: impl AsyncFnOnce(Start) -> anyhow::Result<ExitCode>,
) -> anyhow::Result<ExitCode> {
    let loaded = sources::load(common, role)?;
    telemetry::start_logging(&loaded.settings.log);
    install_panic_hook();
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    let state_dir = loaded.settings.state.dir.clone().context("no state directory")?;
    make_private(&state_dir)?;
    let runtime = IoRuntime::start().context("cannot start the threads for input and output")?;
    let (clock, chance) = (Clock::system(), Chance::system());
    let io = runtime.io();
    // Who serves no metrics collects none.
    let metrics = if role == Role::Agent { None } else { telemetry::start_metrics() };
    if let Some(metrics) = &metrics {
        telemetry::keep_metrics_small(metrics.clone(), &io);
    }
    let system = actix_rt::System::new();
    // A thread that does not come back cannot be helped from within; the outer restart policy can.
    let watchdog = Watchdog::start(WatchLimits::default(), |_| std::process::exit(BLOCKED_EXIT_CODE))
        .context("cannot start the watchdog's thread")?;
    system.block_on(async move {
        watchdog.watch_here("main");
        let tree = Tree::new(clock.clone(), chance.clone(), |_| {});
        let start = Start { loaded, state_dir, io, clock, chance, tree, watchdog, metrics };
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

/// Why a role ends.
pub(super) enum End {
    /// Somebody asked for it.
    Signal(&'static str),
    /// The tree gave up; the outer restart policy takes over.
    GaveUp(String),
}

/// Waits until the process is asked to end or its tree gives up.
pub(super) async fn until_end(root: &Root) -> anyhow::Result<End> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let end = tokio::select! {
        _ = terminate.recv() => End::Signal("SIGTERM"),
        _ = interrupt.recv() => End::Signal("SIGINT"),
        reason = root.gave_up() => End::GaveUp(reason),
    };
    match &end {
        End::Signal(name) => tracing::info!("{name}: stopping"),
        End::GaveUp(reason) => tracing::error!(%reason, "gave up; the outer restart policy takes over"),
    }
    Ok(end)
}

/// Stops the tree and turns the end into an exit code.
pub(super) async fn finish(root: Root, end: End) -> ExitCode {
    let code = match &end {
        End::Signal(_) => ExitCode::SUCCESS,
        End::GaveUp(_) => ExitCode::FAILURE,
    };
    root.shutdown(STOP_TIME).await;
    code
}

/// Prints what a person who started the role by hand wants to see.
pub(super) fn say(line: &str) {
    // A closed standard output is no reason to end a service.
    let _ = output::line(line);
}
