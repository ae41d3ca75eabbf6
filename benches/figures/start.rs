//! From the start of an agent's process to its first words.

use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::time::timeout;

use crate::plan::Plan;
use crate::sheet::{Goal, Row};
use crate::stats::{Samples, millis};
use crate::support::ship::binary;

const LIMIT: Duration = Duration::from_secs(10);

/// Starts agents one after the other, each with an empty state directory.
pub async fn measure(plan: &Plan) -> Vec<Row> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let mut times = Vec::new();
    for _ in 0..plan.count(20, 8) {
        let dir = tempfile::tempdir().unwrap();
        let mut command = Command::new(binary());
        command.arg("agent").env_clear().current_dir(dir.path()).kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.env("LIGHTSHIP_STATE_DIR", dir.path()).env("DOCKER_HOST", "unix:///nonexistent/docker.sock");
        command.env("DOCKFLARE_MASTER_URL", &url).env("DOCKFLARE_API_KEY", "key-that-is-only-shown");
        let begun = Instant::now();
        let mut agent = command.spawn().unwrap();
        timeout(LIMIT, registration(&listener)).await.expect("the agent registers");
        times.push(millis(begun.elapsed()));
        agent.kill().await.unwrap();
    }
    let times = Samples::new(times);
    let what = "agent process start to first register";
    vec![Row::new(what, Goal::AtMost(30.0), times.median(), "ms").detail(times.summary())]
}

/// Waits for the head of a registration. Nobody answers: the agent is of no use after that.
async fn registration(listener: &TcpListener) {
    let mut head = Vec::new();
    let (mut stream, _) = listener.accept().await.unwrap();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let read = stream.read_buf(&mut head).await.unwrap();
        assert!(read > 0 && head.len() < 16 << 10, "no registration: {}", String::from_utf8_lossy(&head));
    }
    let line = String::from_utf8_lossy(&head);
    assert!(line.starts_with("POST /api/v2/agents/register "), "{line}");
}
