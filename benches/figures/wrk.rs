//! Load from `wrk`.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use tokio::process::Command;

/// What `heartbeat.lua` says at its end.
#[derive(Debug, Deserialize)]
pub struct Load {
    /// Answers that were read.
    pub requests: u64,
    micros: u64,
    /// 99 of 100 answers came within it.
    pub p99_micros: u64,
    errors: u64,
}

impl Load {
    /// Answers per second.
    pub fn per_second(&self) -> f64 {
        self.requests as f64 / (self.micros as f64 / 1e6)
    }
}

/// Sends heartbeats of the agents in `file` to `url` over `connections` connections for `time`.
pub async fn heartbeats(url: &str, file: &Path, connections: usize, time: Duration) -> Load {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/figures/heartbeat.lua");
    let output = Command::new("wrk")
        .arg(format!("-t{}", connections.min(2)))
        .arg(format!("-c{connections}"))
        .arg(format!("-d{}s", time.as_secs()))
        .args(["--timeout", "5s", "-s"])
        .arg(script)
        .arg(url)
        .env("LIGHTSHIP_BENCH_AGENTS", file)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .expect("wrk is needed");
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().find(|line| line.starts_with('{')).unwrap_or_else(|| {
        panic!("wrk gave no result: {text}{}", String::from_utf8_lossy(&output.stderr));
    });
    let load: Load = serde_json::from_str(line).unwrap();
    assert_eq!(load.errors, 0, "answers other than success cannot be counted: {text}");
    assert!(load.requests > 0, "{text}");
    load
}
