//! Logs to standard error, metrics for `/metrics`.

mod time_zone;

use std::collections::HashMap;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use parking_lot::Mutex;
use tracing::callsite::Identifier;
use tracing::{Dispatch, Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{Log, LogFormat};
use crate::domain::text::{is_hidden, spell_out_json};
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
        .with_writer(Spelt { inner: writer, format: log.format });
    match log.format {
        LogFormat::Text => builder.with_target(false).finish().with(Rations::default()).into(),
        LogFormat::Json => builder.json().flatten_event(true).finish().with(Rations::default()).into(),
    }
}

/// Most lines of one kind that strangers bring about, in [`RATION_TIME`].
const RATION: u32 = 20;
const RATION_TIME: Duration = Duration::from_secs(60);

/// Anybody who reaches the port can make the libraries and the web side say something: of each such line a few a minute
/// tell enough. What is left out is counted in the metrics.
#[derive(Default)]
struct Rations(Mutex<HashMap<Identifier, Ration>>);

/// What was said of one kind since a moment.
struct Ration {
    since: Instant,
    said: u32,
}

impl Ration {
    fn lets(&mut self, now: Instant) -> bool {
        if now.duration_since(self.since) >= RATION_TIME {
            *self = Self { since: now, said: 0 };
        }
        self.said = self.said.saturating_add(1);
        self.said <= RATION
    }
}

impl<S: Subscriber> Layer<S> for Rations {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        let about = event.metadata();
        let is_ours =
            about.target().starts_with("lightship") && !about.target().starts_with("lightship::web");
        if is_ours {
            return true;
        }
        let now = Instant::now();
        let mut rations = self.0.lock();
        let ration = rations.entry(about.callsite()).or_insert(Ration { since: now, said: 0 });
        let lets = ration.lets(now);
        if !lets {
            metrics::counter!("lightship_log_lines_left_out_total").increment(1);
        }
        lets
    }
}

/// True for what the subscriber writes as it came; it spells out control characters of fields by itself, and uses some
/// for colours.
fn turns_text(c: char) -> bool {
    is_hidden(c) && !c.is_control()
}

/// Writes lines in which nothing turns the words around or ends them: parts of them come from labels and requests.
struct Spelt<W> {
    inner: W,
    format: LogFormat,
}

impl<'w, W: MakeWriter<'w>> MakeWriter<'w> for Spelt<W> {
    type Writer = Spelt<W::Writer>;

    fn make_writer(&'w self) -> Self::Writer {
        Spelt { inner: self.inner.make_writer(), format: self.format }
    }
}

impl<W: Write> Write for Spelt<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = if line.is_ascii() { None } else { std::str::from_utf8(line).ok() };
        match text.filter(|text| text.contains(turns_text)) {
            None => self.inner.write(line),
            Some(text) => {
                let spelt = match self.format {
                    LogFormat::Json => spell_out_json(text),
                    LogFormat::Text => text.chars().fold(String::new(), |mut spelt, c| {
                        match turns_text(c) {
                            true => spelt.extend(c.escape_unicode()),
                            false => spelt.push(c),
                        }
                        spelt
                    }),
                };
                self.inner.write_all(spelt.as_bytes()).map(|()| line.len())
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
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
    use std::fmt;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

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
    fn what_strangers_bring_about_fills_no_log() {
        let text = logged(LogFormat::Text, || {
            for n in 0..500 {
                tracing::error!(target: "actix_http::h1::dispatcher", "stream error {n}");
                tracing::warn!(target: "lightship::web::pages::sign_in", "sign-in refused {n}");
                tracing::warn!(target: "lightship::actors", "a word of ours {n}");
            }
        });
        let lines = |of: &str| text.matches(of).count();
        assert_eq!(lines("stream error"), RATION as usize);
        assert_eq!(lines("sign-in refused"), RATION as usize);
        assert_eq!(lines("a word of ours"), 500);
    }

    #[test]
    fn a_ration_is_full_again_after_its_time() {
        let start = Instant::now();
        let mut ration = Ration { since: start, said: 0 };
        assert_eq!((0..100).filter(|_| ration.lets(start)).count(), RATION as usize);
        assert!(!ration.lets(start + RATION_TIME / 2));
        assert!(ration.lets(start + RATION_TIME));
    }

    #[test]
    fn nothing_in_a_line_turns_its_words_around() {
        for (format, spelt) in
            [(LogFormat::Text, "exe\\u{202e}gpj\\u{2028}ü"), (LogFormat::Json, "exe\\u202egpj\\u2028ü")]
        {
            let name = "exe\u{202e}gpj\u{2028}ü";
            let text = logged(format, || tracing::info!(container.name = %name, "seen {name}"));
            assert_eq!(text.matches(spelt).count(), 2, "{text}");
            assert!(!text.contains(turns_text), "{text}");
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
