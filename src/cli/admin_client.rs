//! Talks to a master's admin API for the verbs: over the network with the token, or over its socket.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use reqwest::{Method, StatusCode};
use serde_json::Value;

use super::{Common, output};
use crate::config::{Role, Settings};

/// Longer than `apply` may take.
const TIME_LIMIT: Duration = Duration::from_secs(30);
const SIZE_LIMIT: usize = 32 << 20;

/// What a verb names is not there, in the master's words.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct NotFound(String);

/// A master that can be asked.
pub(super) struct AdminClient {
    http: reqwest::Client,
    base: String,
    token: Option<String>,
}

impl AdminClient {
    /// Finds the master: `--master`, its socket in the state directory, or the configured address.
    pub(super) fn find(common: &Common) -> anyhow::Result<Self> {
        let settings = super::sources::load(common, Role::Client)?.settings;
        let token = settings.admin.token.expose().map(str::to_owned);
        let builder = reqwest::Client::builder().timeout(TIME_LIMIT);
        if let Some(url) = &settings.admin.master_url {
            let base = url.trim_end_matches('/').to_owned();
            return Ok(Self { http: builder.build()?, base, token });
        }
        let socket = settings.state.dir.as_deref().unwrap_or(Path::new("")).join("admin.sock");
        // A socket that nobody listens on is left over from a master that was killed.
        if std::os::unix::net::UnixStream::connect(&socket).is_ok() {
            let http = builder.unix_socket(socket).build()?;
            return Ok(Self { http, base: "http://localhost".into(), token: None });
        }
        Ok(Self { http: builder.build()?, base: local_address(&settings), token })
    }

    /// Returns the body of `GET path`.
    pub(super) async fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.call(Method::GET, path, None).await
    }

    /// Returns the answer to `POST path`.
    pub(super) async fn post(&self, path: &str, body: Value) -> anyhow::Result<Value> {
        self.call(Method::POST, path, Some(body)).await
    }

    /// Returns the answer to `DELETE path`.
    pub(super) async fn delete(&self, path: &str) -> anyhow::Result<Value> {
        self.call(Method::DELETE, path, None).await
    }

    async fn call(&self, method: Method, path: &str, body: Option<Value>) -> anyhow::Result<Value> {
        let mut request = self.http.request(method, format!("{}{path}", self.base));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.with_context(|| {
            format!(
                "no master answers at {}; start one, or name it with --master",
                output::address(&self.base)
            )
        })?;
        let status = answer.status();
        let body = limited_body(answer).await?;
        let value: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
        if status.is_success() {
            return Ok(value);
        }
        let words = value["message"].as_str().or(value["error"].as_str());
        match status {
            StatusCode::UNAUTHORIZED => bail!(
                "the master at {} refused the admin token; set LIGHTSHIP_ADMIN_TOKEN to the one it was \
                 started with, or run this verb on its host as its user",
                output::address(&self.base)
            ),
            StatusCode::NOT_FOUND => {
                let words = words.map_or_else(|| format!("the master answered {status}"), str::to_owned);
                Err(NotFound(words).into())
            }
            _ => bail!("{}", words.map_or_else(|| format!("the master answered {status}"), str::to_owned)),
        }
    }
}

async fn limited_body(mut answer: reqwest::Response) -> anyhow::Result<Vec<u8>> {
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.context("the master's answer broke off")? {
        if body.len() + chunk.len() > SIZE_LIMIT {
            bail!("the master's answer is larger than 32 MiB");
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn local_address(settings: &Settings) -> String {
    let host = match settings.server.host.as_str() {
        "0.0.0.0" => "127.0.0.1".to_owned(),
        "::" | "[::]" => "[::1]".to_owned(),
        host if host.contains(':') && !host.starts_with('[') => format!("[{host}]"),
        host => host.to_owned(),
    };
    format!("http://{host}:{}", settings.server.port)
}

/// Runs one conversation with a master.
pub(super) fn converse<T>(
    common: &Common,
    talk: impl AsyncFnOnce(AdminClient) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let client = AdminClient::find(common)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(talk(client))
}
