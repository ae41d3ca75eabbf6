//! Talks to a master's admin API for the verbs: over the network with the token, or over its socket.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, StatusCode};
use serde_json::Value;
use url::Url;

use super::common::Common;
use super::output;
use crate::config::{Role, Settings};
use crate::http_client::{self, AccessToken, Request, SendError, credentials, send};

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
    /// Token, and what opens a Cloudflare Access before the master.
    headers: HeaderMap,
}

impl AdminClient {
    /// Finds the master: `--master`, its socket in the state directory, or the configured address.
    pub(super) fn find(common: &Common) -> anyhow::Result<Self> {
        let settings = super::sources::load(common, Role::Client)?.settings;
        if let Some(url) = &settings.admin.master_url {
            return Self::over_network(url.trim().trim_end_matches('/').to_owned(), &settings);
        }
        let socket = settings.state.dir.as_deref().unwrap_or(Path::new("")).join("admin.sock");
        // A socket that nobody listens on is left over from a master that was killed.
        if std::os::unix::net::UnixStream::connect(&socket).is_ok() {
            let http = http_client::build(http_client::socket_builder(&socket).timeout(TIME_LIMIT))?;
            return Ok(Self { http, base: "http://localhost".into(), headers: HeaderMap::new() });
        }
        Self::over_network(local_address(&settings), &settings)
    }

    fn over_network(base: String, settings: &Settings) -> anyhow::Result<Self> {
        let agent = &settings.agent;
        let builder = http_client::builder(&read(&base)?).timeout(TIME_LIMIT);
        let http = http_client::build(http_client::trusting(builder, agent.ca_file.as_deref())?)?;
        let token = settings.admin.token.get().map(|token| (token, "LIGHTSHIP_ADMIN_TOKEN"));
        let access =
            AccessToken::new(agent.cf_access_client_id.as_ref(), agent.cf_access_client_secret.get());
        Ok(Self { http, base, headers: credentials(token, access.as_ref())? })
    }

    /// Returns the body of `GET path`.
    pub(super) async fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.call(Method::GET, path, None).await
    }

    /// Returns the answer to `POST path`.
    pub(super) async fn post(&self, path: &str, body: Value) -> anyhow::Result<Value> {
        self.call(Method::POST, path, Some(body)).await
    }

    /// Returns the answer to `PUT path`.
    pub(super) async fn put(&self, path: &str, body: Value) -> anyhow::Result<Value> {
        self.call(Method::PUT, path, Some(body)).await
    }

    /// Returns the answer to `DELETE path`.
    pub(super) async fn delete(&self, path: &str) -> anyhow::Result<Value> {
        self.call(Method::DELETE, path, None).await
    }

    async fn call(&self, method: Method, path: &str, body: Option<Value>) -> anyhow::Result<Value> {
        let mut headers = self.headers.clone();
        let body = body.map(|body| {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            Bytes::from(body.to_string())
        });
        let url = read(&format!("{}{path}", self.base))?;
        let sent = send(&self.http, Request { method, url, headers, body }).await;
        let (answer, _) = sent.map_err(|error| self.not_sent(error))?;
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

    fn not_sent(&self, error: SendError) -> anyhow::Error {
        match error {
            SendError::NoAnswer { reason, .. } => anyhow::anyhow!(reason).context(format!(
                "no master answers at {}; start one, or name it with --master",
                output::address(&self.base)
            )),
            SendError::Elsewhere { address, target } => anyhow::anyhow!(
                "the master at {address} points to {target}, where the admin token is not sent; use that address \
                 with --master if it is the master's, or, behind Cloudflare Access, set CF_ACCESS_CLIENT_ID and \
                 CF_ACCESS_CLIENT_SECRET"
            ),
        }
    }
}

fn read(url: &str) -> anyhow::Result<Url> {
    Url::parse(url).with_context(|| format!("`{}` is no address of a master", output::address(url)))
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

/// Makes a name that a person gave one segment of a path, whatever is in it: it never names another call.
pub(super) fn segment(name: &str) -> anyhow::Result<String> {
    // These stay what they are for whoever reads the path, also when they are encoded.
    if matches!(name, "" | "." | "..") {
        bail!("`{name}` is no id and no name; `--help` says which verb lists them");
    }
    Ok(url::form_urlencoded::byte_serialize(name.as_bytes()).collect::<String>().replace('+', "%20"))
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

#[cfg(test)]
mod tests {
    use url::Url;

    use super::segment;

    #[test]
    fn no_name_reaches_another_call() {
        let base = Url::parse("http://localhost/").unwrap();
        for name in [
            "a/../../order-key/exchange?",
            "../agents/x/approve#",
            "a b",
            "a%2fb",
            "\\..\\x",
            "sha256:ab",
            "ü",
        ] {
            let path = format!("/api/v3/plans/{}/approve", segment(name).unwrap());
            let url = base.join(&path).unwrap();
            let segments: Vec<&str> = url.path_segments().unwrap().collect();
            assert_eq!((segments.len(), url.query(), url.fragment()), (5, None, None), "{name}");
            assert_eq!((segments[2], segments[4]), ("plans", "approve"), "{name}");
        }
        assert!(["", ".", ".."].iter().all(|name| segment(name).is_err()));
    }
}
