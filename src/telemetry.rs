//! Logs to standard error, metrics for `/metrics`.

mod time_zone;

use std::io::IsTerminal;
use std::time::Duration;

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tracing::Dispatch;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{Log, LogFormat};
use crate::io::Io;
use time_zone::LogTime;

pub use time_zone::zone_problem;

/// Starts logging; `zone` is the value of `TZ`.
pub fn start_logging(log: &Log, zone: Option<&str>) {
    let time = LogTime::new(zone);
    // A second start happens only in tests that run several processes' worth of code in one.
    let _ = logger(log, time, std::io::stderr, std::io::stderr().is_terminal()).try_init();
}

/// Our own lines follow the level. Libraries speak up from `warn` on, from `info` on at `trace`, and never below:
/// there some of them write whole requests and answers, with the tokens in them. What a certificate lacks is in the
/// error of the call, which we log once; its library would at every attempt.
fn logger<W>(log: &Log, time: LogTime, writer: W, colours: bool) -> Dispatch
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let others = if log.level == "trace" { "info" } else { "warn" };
    let filter = EnvFilter::new(format!("{others},rustls_platform_verifier=off,lightship={}", log.level));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(colours)
        .with_timer(time)
        // A line that cannot be written is lost. The word about it would go to standard error by a macro that panics
        // if that cannot be written either, and mostly it is the same stream.
        .log_internal_errors(false)
        .with_writer(writer);
    match log.format {
        LogFormat::Text => builder.with_target(false).finish().into(),
        LogFormat::Json => builder.json().flatten_event(true).finish().into(),
    }
}

/// Upper bounds of the buckets that times are counted in, in seconds.
const SECONDS: [f64; 8] = [0.000_1, 0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0];
/// Upper bounds of the buckets for all else that is counted at once.
const COUNTS: [f64; 6] = [1.0, 2.0, 8.0, 32.0, 128.0, 512.0];
/// How often recorded times are folded into their buckets.
const UPKEEP: Duration = Duration::from_secs(5);

/// Collects metrics from now on; the handle renders them as Prometheus text.
///
/// Recorded times pile up until they are rendered or [kept up](keep_metrics_small).
pub fn start_metrics() -> Option<PrometheusHandle> {
    builder().ok()?.install_recorder().ok()
}

/// Fixed buckets: a summary with quantiles keeps more than 100 KiB for every role of actor.
fn builder() -> Result<PrometheusBuilder, BuildError> {
    PrometheusBuilder::new()
        .set_buckets(&COUNTS)?
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS)
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::{fmt, io};

    use super::*;
    use crate::actors::supervision::logged::Logged;

    /// Everything that is logged at `trace` while `work` runs.
    fn logged(format: LogFormat, work: impl FnOnce()) -> String {
        let log = Log { level: "trace".into(), format };
        Logged::during(|writer| logger(&log, LogTime::new(None), move || writer.clone(), false), work)
    }

    /// A stream that takes nothing, such as one to a full disk.
    struct Full(Arc<Noted>);

    /// What became of a line.
    #[derive(Debug, Default)]
    struct Noted {
        is_tried: AtomicBool,
        is_told: AtomicBool,
    }

    /// Notes that somebody puts it into words.
    #[derive(Debug)]
    struct NoSpace(Arc<Noted>);

    impl fmt::Display for NoSpace {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            self.0.is_told.store(true, Ordering::SeqCst);
            f.write_str("no space left")
        }
    }

    impl std::error::Error for NoSpace {}

    impl io::Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            self.0.is_tried.store(true, Ordering::SeqCst);
            Err(io::Error::other(NoSpace(Arc::clone(&self.0))))
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_that_cannot_be_written_is_lost_without_another_word() {
        for format in [LogFormat::Text, LogFormat::Json] {
            let noted = Arc::new(Noted::default());
            let stream = Arc::clone(&noted);
            let log = Log { level: "trace".into(), format };
            let logger = logger(&log, LogTime::new(None), move || Full(Arc::clone(&stream)), false);
            tracing::dispatcher::with_default(&logger, || tracing::error!("nobody reads this"));
            assert!(noted.is_tried.load(Ordering::SeqCst), "{format:?}");
            assert!(!noted.is_told.load(Ordering::SeqCst), "{format:?}");
        }
    }

    #[test]
    fn libraries_write_no_requests_and_answers_whatever_the_level() {
        for format in [LogFormat::Text, LogFormat::Json] {
            let text = logged(format, || {
                tracing::trace!("a word of ours");
                tracing::warn!(target: "hyper::client", "a library's warning");
                tracing::debug!(target: "bollard::docker", "TUNNEL_TOKEN=secret-1");
                tracing::debug!(target: "hyper_util::client", "authorization: secret-2");
                tracing::debug!(target: "h2::codec", "authorization: secret-3");
                tracing::trace!(target: "reqwest::connect", "secret-4");
                tracing::trace!(target: "rustls::client", "secret-5");
                tracing::error!(target: "rustls_platform_verifier::verification", "secret-8");
                tracing::debug!(target: "sqlx::query", "secret-6");
                tracing::debug!(target: "a_library_that_comes_later", "secret-7");
            });

            assert!(text.contains("a word of ours") && text.contains("a library's warning"), "{text}");
            assert!(!text.contains("secret"), "{text}");
        }
    }

    #[test]
    fn what_is_recorded_is_counted_in_fixed_buckets() {
        let recorder = builder().unwrap().build_recorder();
        metrics::with_local_recorder(&recorder, || {
            metrics::histogram!("actor_queue_seconds", "role" => "worker").record(0.003);
            metrics::histogram!("lightship_commit_batches").record(5.0);
        });
        let text = recorder.handle().render();
        for line in [
            r#"actor_queue_seconds_bucket{role="worker",le="0.001"} 0"#,
            r#"actor_queue_seconds_bucket{role="worker",le="0.005"} 1"#,
            r#"lightship_commit_batches_bucket{le="8"} 1"#,
        ] {
            assert!(text.contains(line), "`{line}` is missing in:\n{text}");
        }
        assert!(!text.contains("quantile"), "{text}");
    }
}
