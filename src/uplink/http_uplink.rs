//! [`Uplink`] over HTTP. Connections live on the `io` runtime.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use parking_lot::RwLock;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method};
use secrecy::SecretString;
use serde::Serialize;
use serde_json::{Value, json};

use super::address::MasterUrl;
use super::error::UplinkError;
use super::exchange::{Answer, Call, Peeked, exchange, peek};
use super::{CommandDelivery, ReportsTaken, Uplink};
use crate::domain::command::Outcome;
use crate::domain::id::{AgentId, CommandId, TunnelId};
use crate::domain::registry::{self, Ask};
use crate::domain::report::Reports;
use crate::http_client::{self, AccessToken, Request, SetupError, credentials, secret_header};
use crate::io::Io;
use crate::protocol::body::{self, BodyError};
use crate::protocol::command::AgentCommand;
use crate::protocol::v2::{self, RegisterRequest, Registered};
use crate::protocol::{BODY_LIMIT, v3};

const CONNECT_LIMIT: Duration = Duration::from_secs(10);
const CALL_LIMIT: Duration = Duration::from_secs(15);
/// A DockFlare Master calls Cloudflare before it answers an event.
const EVENT_LIMIT: Duration = Duration::from_secs(60);
/// A plan or a run may have eight million bytes.
const RECORD_LIMIT: Duration = Duration::from_secs(60);
const CONFIG_LIMIT: Duration = Duration::from_secs(30);
/// Added to the wait of a poll, for the way there and back.
const POLL_MARGIN: Duration = Duration::from_secs(15);
/// A DockFlare Master answers a registration with everything it knows of the agent.
const REGISTER_ANSWER_LIMIT: usize = 16 * 1024 * 1024;
/// Orders hold whole plans.
const COMMANDS_ANSWER_LIMIT: usize = 32 * 1024 * 1024;
/// The desk asks registries, which may be slow.
const IMAGES_LIMIT: Duration = Duration::from_secs(120);
/// Smaller bodies are not worth compressing.
const GZIP_FROM: usize = 4 * 1024;

/// What the agent needs to reach its master.
#[derive(Debug, Clone)]
pub struct UplinkSettings {
    /// Base address of the master.
    pub master_url: String,
    /// The agent's key.
    pub api_key: SecretString,
    /// Service token, if the master is behind Cloudflare Access.
    pub access: Option<AccessToken>,
    /// Further certificate authorities in PEM form, beside the system's.
    pub ca_file: Option<PathBuf>,
}

/// The HTTP client of one master.
#[derive(Clone)]
pub struct HttpUplink(Arc<Inner>);

struct Inner {
    client: Client,
    base: MasterUrl,
    /// Key and service token; the key changes once, if the agent came with a registration token.
    headers: RwLock<HeaderMap>,
    io: Io,
}

impl HttpUplink {
    /// Sets the client up; nothing is sent yet.
    pub fn new(settings: &UplinkSettings, io: Io) -> Result<Self, UplinkError> {
        let base = MasterUrl::parse(&settings.master_url)?;
        let client = client(settings, &base)?;
        let key = (&settings.api_key, "`DOCKFLARE_API_KEY`");
        let headers = credentials(Some(key), settings.access.as_ref())?;
        Ok(Self(Arc::new(Inner { client, base, headers: RwLock::new(headers), io })))
    }

    async fn call(&self, call: Call) -> Result<Answer, UplinkError> {
        let client = self.0.client.clone();
        self.0.io.run(async move { exchange(&client, call).await }).await
    }

    /// Asks for `path` once; a refusal is an answer too.
    pub(super) async fn peek(&self, path: &str) -> Result<Peeked, UplinkError> {
        let (client, call) = (self.0.client.clone(), self.get(path));
        self.0.io.run(async move { peek(&client, call).await }).await
    }

    /// Returns where the master is, without secrets.
    pub(super) fn address(&self) -> String {
        self.0.base.to_string()
    }

    fn get(&self, path: &str) -> Call {
        let request = Request {
            method: Method::GET,
            url: self.0.base.join(path),
            headers: self.0.headers.read().clone(),
            body: None,
        };
        Call { request, time_limit: CALL_LIMIT, size_limit: BODY_LIMIT }
    }

    fn send(&self, method: Method, path: &str, body: &impl Serialize) -> Call {
        let body = serde_json::to_vec(body).expect("what agents send always becomes JSON");
        let mut call = self.get(path);
        (call.request.method, call.request.body) = (method, Some(Bytes::from(body)));
        call.request.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        call
    }
}

impl Call {
    fn within(mut self, limit: Duration) -> Self {
        self.time_limit = limit;
        self
    }

    fn in_session(mut self, session: &str) -> Result<Self, UplinkError> {
        let header = HeaderName::from_static("lightship-session");
        self.request.headers.insert(header, secret_header(session, "the session")?);
        Ok(self)
    }

    fn compressed(mut self) -> Self {
        let Some(body) = self.request.body.take() else { return self };
        self.request.body = Some(match body.len() {
            ..GZIP_FROM => body,
            _ => {
                self.request.headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
                gzip(&body)
            }
        });
        self
    }
}

#[async_trait]
impl Uplink for HttpUplink {
    async fn register(&self, request: &RegisterRequest) -> Result<Registered, UplinkError> {
        let mut call = self.send(Method::POST, "/api/v2/agents/register", request);
        call.size_limit = REGISTER_ANSWER_LIMIT;
        read(self.call(call).await?, v2::decode_registered)
    }

    fn use_key(&self, key: &SecretString) {
        match credentials(Some((key, "the key that the master made")), None) {
            Ok(headers) => self.0.headers.write().extend(headers),
            Err(error) => tracing::error!(%error, "the key that the master made cannot be used"),
        }
    }

    async fn send_event(&self, agent: &AgentId, event: Value) -> Result<(), UplinkError> {
        let call = self.send(Method::POST, &format!("/api/v2/agents/{agent}/events"), &event);
        self.call(call.within(EVENT_LIMIT)).await.map(drop)
    }

    async fn fetch_commands(&self, agent: &AgentId) -> Result<Vec<AgentCommand>, UplinkError> {
        let answer = self.call(self.get(&format!("/api/v2/agents/{agent}/commands"))).await?;
        read(answer, v2::answer::decode_commands)
    }

    async fn send_reports(&self, agent: &AgentId, batch: &Reports) -> Result<ReportsTaken, UplinkError> {
        let call = self.send(Method::POST, &format!("/api/v3/agents/{agent}/reports"), batch);
        let answer = self.call(call.in_session(&batch.session)?.compressed()).await?;
        let response: v3::ReportsResponse = read(answer, body::parse_as)?;
        // A kind that was made later is not looked at here.
        let wants = response.wants.iter().filter_map(|kind| kind.parse().ok()).collect();
        Ok(ReportsTaken { next_seq: response.next_seq, wants })
    }

    async fn ask_images(
        &self,
        agent: &AgentId,
        session: &str,
        asks: Vec<Ask>,
    ) -> Result<Vec<registry::Answer>, UplinkError> {
        let request = v3::ImagesRequest { asks };
        let call = self.send(Method::POST, &format!("/api/v3/agents/{agent}/images"), &request);
        let answer = self.call(call.in_session(session)?.within(IMAGES_LIMIT).compressed()).await?;
        let response: v3::ImagesResponse = read(answer, body::parse_as)?;
        Ok(response.answers)
    }

    async fn wait_for_commands(
        &self,
        agent: &AgentId,
        session: &str,
        wait: Duration,
    ) -> Result<CommandDelivery, UplinkError> {
        let wait = wait.min(Duration::from_secs(v3::WAIT_LIMIT_SECS));
        let mut call = self.get(&format!("/api/v3/agents/{agent}/commands"));
        call.request.url.set_query(Some(&format!("wait={}&max={}", wait.as_secs(), v3::COMMANDS_LIMIT)));
        call.size_limit = COMMANDS_ANSWER_LIMIT;
        let answer = self.call(call.in_session(session)?.within(wait + POLL_MARGIN)).await?;
        let master_time = answer.master_time;
        Ok(CommandDelivery { commands: read(answer, v3::decode_commands)?, master_time })
    }

    async fn acknowledge(
        &self,
        agent: &AgentId,
        session: &str,
        command: &CommandId,
    ) -> Result<(), UplinkError> {
        let path = format!("/api/v3/agents/{agent}/commands/{command}/ack");
        let call = self.send(Method::POST, &path, &json!({}));
        self.call(call.in_session(session)?).await.map(drop)
    }

    async fn send_result(
        &self,
        agent: &AgentId,
        session: &str,
        command: &CommandId,
        outcome: &Outcome,
    ) -> Result<(), UplinkError> {
        let path = format!("/api/v3/agents/{agent}/commands/{command}/result");
        let call = self.send(Method::POST, &path, outcome);
        self.call(call.in_session(session)?).await.map(drop)
    }

    async fn send_plan(
        &self,
        agent: &AgentId,
        session: &str,
        plan: &v3::PlanTold,
    ) -> Result<(), UplinkError> {
        let call = self.send(Method::POST, &format!("/api/v3/agents/{agent}/plans"), plan);
        self.call(call.in_session(session)?.within(RECORD_LIMIT).compressed()).await.map(drop)
    }

    async fn send_run(&self, agent: &AgentId, session: &str, run: &v3::RunTold) -> Result<(), UplinkError> {
        let call = self.send(Method::POST, &format!("/api/v3/agents/{agent}/runs"), run);
        self.call(call.in_session(session)?.within(RECORD_LIMIT).compressed()).await.map(drop)
    }

    async fn put_ingress(&self, tunnel: &TunnelId, ingress: Value) -> Result<(), UplinkError> {
        let mut call = self.get("/accounts");
        call.request.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let account = read(self.call(call).await?, first_account)?;

        let mut url = self.0.base.join("");
        url.path_segments_mut().expect("an http address has a path").pop_if_empty().extend([
            "accounts",
            &account,
            "cfd_tunnel",
            tunnel.as_str(),
            "configurations",
        ]);
        let mut call = self.send(Method::PUT, "", &json!({ "config": { "ingress": ingress } }));
        call.request.url = url;
        self.call(call.within(CONFIG_LIMIT)).await.map(drop)
    }
}

fn read<T>(answer: Answer, parse: impl FnOnce(&[u8]) -> Result<T, BodyError>) -> Result<T, UplinkError> {
    parse(&answer.body).map_err(|reason| UplinkError::Malformed { address: answer.address, reason })
}

/// The id of the first account of `{"success":true,"result":[{"id":...}]}`.
fn first_account(bytes: &[u8]) -> Result<String, BodyError> {
    let answer = body::parse(bytes)?;
    let id = answer["result"][0]["id"].as_str().filter(|id| (1..=64).contains(&id.len()));
    id.map(str::to_owned).ok_or(BodyError::Field {
        field: "result[0].id",
        found: "missing",
        expected: "a string",
    })
}

fn gzip(body: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4), Compression::fast());
    encoder.write_all(body).expect("memory takes any write");
    Bytes::from(encoder.finish().expect("memory takes any write"))
}

fn client(settings: &UplinkSettings, base: &MasterUrl) -> Result<Client, SetupError> {
    let builder = http_client::builder(&base.join("/"))
        .user_agent(concat!("lightship-agent/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_LIMIT)
        .pool_max_idle_per_host(2)
        // Half-open connections are noticed even while a poll waits.
        .tcp_keepalive(Duration::from_secs(15))
        .http2_keep_alive_interval(Duration::from_secs(20))
        .http2_keep_alive_while_idle(false);
    http_client::build(http_client::trusting(builder, settings.ca_file.as_deref())?)
}
