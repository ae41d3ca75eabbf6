//! Logs to standard error, metrics for `/metrics`.

use std::io::IsTerminal;
use std::time::Duration;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::time::ChronoLocal as LocalTime;

use crate::config::{Log, LogFormat};
use crate::io::Io;

/// Starts logging. Our own lines follow the level; other libraries speak up from `warn` on, or from
/// `debug` on when that was asked for.
pub fn start_logging(log: &Log) {
    let others = if log.level == "trace" { "debug" } else { "warn" };
    let filter = EnvFilter::new(format!("{others},lightship={}", log.level));
    let colours = std::io::stderr().is_terminal();
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(colours)
        .with_timer(LocalTime::rfc_3339())
        .with_writer(std::io::stderr);
    // A second start happens only in tests that run several processes' worth of code in one.
    let _ = match log.format {
        LogFormat::Text => builder.with_target(false).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
}

/// How often recorded times are folded into their summaries.
const UPKEEP: Duration = Duration::from_secs(5);

/// Collects metrics from now on; the handle renders them as Prometheus text.
///
/// Recorded times pile up until they are rendered or [kept up](keep_metrics_small).
pub fn start_metrics() -> Option<PrometheusHandle> {
    PrometheusBuilder::new().install_recorder().ok()
}

/// Folds what was recorded now and then, so that memory stays bounded although nobody reads the metrics.
pub fn keep_metrics_small(metrics: PrometheusHandle, io: &Io) {
    io.handle().spawn(async move {
        loop {
            tokio::time::sleep(UPKEEP).await;
            metrics.run_upkeep();
        }
    });
}
