//! What `cloudflared` says about itself on its metrics listener.

use std::net::SocketAddr;
use std::time::Duration;

use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// The port that we give the metrics listener.
pub const METRICS_PORT: u16 = 20241;

/// Time for one question; the listener is on the same host.
const LIMIT: Duration = Duration::from_secs(2);
/// The metrics page has some 100 KiB with many edge locations.
const MAX_ANSWER_BYTES: u64 = 1024 * 1024;

/// How a connector is, as far as it could be read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConnectorStatus {
    /// True if at least one connection to the edge stands; null if nobody answered.
    pub is_ready: Option<bool>,
    /// Connections to the edge.
    pub ready_connections: Option<u32>,
    /// The connector's id as Cloudflare lists it.
    pub connector_id: Option<String>,
    /// Version of `cloudflared`.
    pub version: Option<String>,
    /// Version of the configuration in force; -1 before the first one.
    pub config_version: Option<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Ready {
    #[serde(default)]
    ready_connections: Option<u32>,
    #[serde(default)]
    connector_id: Option<String>,
}

/// Takes the answer of `/ready`: HTTP status and body.
pub fn read_ready(status: u16, body: &str, into: &mut ConnectorStatus) {
    match status {
        200 => into.is_ready = Some(true),
        503 => into.is_ready = Some(false),
        // Something else listens there.
        _ => return,
    }
    if let Ok(ready) = serde_json::from_str::<Ready>(body) {
        into.ready_connections = ready.ready_connections;
        into.connector_id = ready.connector_id.filter(|id| !id.is_empty() && id.len() <= 64);
    }
}

/// Takes the answer of `/metrics` (Prometheus text).
pub fn read_metrics(body: &str, into: &mut ConnectorStatus) {
    for line in body.lines() {
        if let Some(labels) = line.strip_prefix("build_info{") {
            into.version = label(labels, "version").filter(|v| !v.is_empty() && v.len() <= 64);
        } else if let Some(value) = line.strip_prefix("cloudflared_orchestration_config_version ") {
            into.config_version = number(value);
        } else if let Some(value) = line.strip_prefix("cloudflared_tunnel_ha_connections ") {
            let connections = number(value).and_then(|n| u32::try_from(n).ok());
            into.ready_connections = into.ready_connections.or(connections);
        }
    }
}

/// Prometheus writes whole numbers also as `4e+00`.
#[expect(clippy::cast_possible_truncation, reason = "versions and counts are far below 2^52")]
fn number(value: &str) -> Option<i64> {
    value.trim().parse::<f64>().ok().filter(|n| n.is_finite()).map(|n| n as i64)
}

/// The values of `build_info` hold no commas.
fn label(labels: &str, name: &str) -> Option<String> {
    let pairs = labels.split('}').next()?.split(',');
    let value = pairs.filter_map(|pair| pair.split_once('=')).find(|(key, _)| key.trim() == name)?.1;
    Some(value.trim_matches('"').to_owned())
}

/// Asks both pages at the same time.
pub(super) async fn read_connector(at: SocketAddr) -> ConnectorStatus {
    let (ready, metrics) = tokio::join!(get(at, "/ready"), get(at, "/metrics"));
    let mut status = ConnectorStatus::default();
    if let Some((code, body)) = ready {
        read_ready(code, &body, &mut status);
    }
    if let Some((200, body)) = metrics {
        read_metrics(&body, &mut status);
    }
    status
}

/// HTTP/1.0 by hand: no proxy of the environment, no pool, no redirect may get between us and the container.
async fn get(at: SocketAddr, path: &str) -> Option<(u16, String)> {
    let asked = async {
        let mut stream = TcpStream::connect(at).await.ok()?;
        let question = format!("GET {path} HTTP/1.0\r\nHost: {at}\r\nConnection: close\r\n\r\n");
        stream.write_all(question.as_bytes()).await.ok()?;
        let mut answer = Vec::new();
        stream.take(MAX_ANSWER_BYTES).read_to_end(&mut answer).await.ok()?;
        parse_answer(&String::from_utf8_lossy(&answer))
    };
    timeout(LIMIT, asked).await.ok().flatten()
}

fn parse_answer(answer: &str) -> Option<(u16, String)> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_and_metrics_are_read_as_cloudflared_writes_them() {
        let mut status = ConnectorStatus::default();
        let body = r#"{"status":200,"readyConnections":4,"connectorId":"6a4b"}"#;
        let metrics = "# HELP build_info Build and version information\n# TYPE build_info gauge\n\
            build_info{goversion=\"go1.24\",revision=\"2025-09-22\",type=\"\",version=\"2025.9.0\"} 1\n\
            cloudflared_orchestration_config_version 7\ncloudflared_tunnel_ha_connections 4\n";

        read_ready(200, body, &mut status);
        read_metrics(metrics, &mut status);

        let expected = ConnectorStatus {
            is_ready: Some(true),
            ready_connections: Some(4),
            connector_id: Some("6a4b".into()),
            version: Some("2025.9.0".into()),
            config_version: Some(7),
        };
        assert_eq!(status, expected);
    }

    #[test]
    fn not_ready_and_garbage_are_told_apart() {
        let cases = [(503, Some(false)), (404, None), (500, None)];
        for (code, expected) in cases {
            let mut status = ConnectorStatus::default();
            read_ready(code, "<html>", &mut status);
            assert_eq!(status.is_ready, expected, "{code}");
        }
    }

    #[test]
    fn before_the_first_configuration_the_version_is_minus_one() {
        let mut status = ConnectorStatus::default();
        read_metrics("cloudflared_orchestration_config_version -1\n", &mut status);
        assert_eq!(status.config_version, Some(-1));
    }

    #[test]
    fn answers_that_are_not_http_are_no_answer() {
        for text in ["", "SSH-2.0-x\r\n\r\n", "HTTP/1.1\r\n\r\n", "HTTP/1.1 abc\r\n\r\n"] {
            assert_eq!(parse_answer(text), None, "{text:?}");
        }
        assert_eq!(parse_answer("HTTP/1.0 503 Busy\r\nA: b\r\n\r\nx"), Some((503, "x".into())));
    }
}
