//! One request to a registry, its redirects and its limits.
//!
//! Credentials go to the address that they are for and to no other: a redirect elsewhere goes on without them, and
//! nothing goes from https to plain http.

use std::path::Path;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, LOCATION};
use reqwest::{Client, Method, Response, StatusCode};
use tokio::time::timeout;
use url::Url;

use crate::domain::registry::is_loopback;
use crate::http_client::{self, SetupError, shown, why};

/// Redirects that are followed in a row.
const HOPS: usize = 5;

/// How long and how large answers may be.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// To connect.
    pub connect: Duration,
    /// For one answer.
    pub answer: Duration,
    /// For one page of a list of tags.
    pub page: Duration,
    /// Bytes of a manifest or a configuration.
    pub manifest_bytes: usize,
    /// Bytes of all pages of tags together.
    pub tags_bytes: usize,
    /// Bytes of a token server's answer.
    pub token_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            answer: Duration::from_secs(15),
            page: Duration::from_secs(30),
            manifest_bytes: 4 << 20,
            tags_bytes: 5_000_000,
            token_bytes: 256 << 10,
        }
    }
}

/// What is sent.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub method: Method,
    pub url: Url,
    pub headers: HeaderMap,
    pub form: Option<Vec<(&'static str, String)>>,
    pub limit: Duration,
    pub bytes: usize,
}

/// What came back.
#[derive(Debug)]
pub(super) struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// Why nothing came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NoReply {
    /// No connection.
    NotConnected(String),
    /// A connection, and no answer.
    Late(String),
    /// More than is read.
    TooLarge(String),
    /// It leads where we do not go.
    Elsewhere(String),
}

/// The clients: this machine's own addresses are never asked through a proxy.
#[derive(Clone)]
pub(super) struct Wire {
    ordinary: Client,
    own: Client,
    /// Hosts that may be asked without encryption.
    insecure: Vec<String>,
}

impl Wire {
    pub fn new(insecure: Vec<String>, ca_file: Option<&Path>, limits: Limits) -> Result<Self, SetupError> {
        let client = |target: &str| {
            let target = Url::parse(target).expect("a constant");
            let builder = http_client::builder(&target)
                .user_agent(concat!("lightship/", env!("CARGO_PKG_VERSION")))
                .connect_timeout(limits.connect)
                // A digest is of the bytes as they are.
                .no_gzip()
                .no_zstd();
            http_client::build(http_client::trusting(builder, ca_file)?)
        };
        let insecure = insecure.iter().map(|host| host.trim().to_ascii_lowercase()).collect();
        Ok(Self { ordinary: client("https://registry.invalid")?, own: client("http://127.0.0.1")?, insecure })
    }

    /// True if a registry may be asked without encryption.
    pub fn may_be_plain(&self, registry: &str) -> bool {
        let host = registry.split(':').next().unwrap_or_default();
        is_loopback(registry) || self.insecure.iter().any(|listed| listed == registry || listed == host)
    }

    fn may_go(&self, url: &Url) -> bool {
        match url.scheme() {
            "https" => true,
            "http" => self.may_be_plain(&authority(url)),
            _ => false,
        }
    }

    /// Sends it and reads the answer, within its limits.
    pub async fn send(&self, request: Request) -> Result<Reply, NoReply> {
        let (limit, at) = (request.limit, shown(&request.url));
        let late = |_| NoReply::Late(format!("no whole answer from {at} within {} s", limit.as_secs_f64()));
        timeout(limit, self.follow(request)).await.unwrap_or_else(|elapsed| Err(late(elapsed)))
    }

    async fn follow(&self, mut request: Request) -> Result<Reply, NoReply> {
        for _ in 0..=HOPS {
            if !self.may_go(&request.url) {
                return Err(NoReply::Elsewhere(format!("{} is not encrypted", shown(&request.url))));
            }
            let response = self.hop(&request).await?;
            let Some(target) = target_of(&request.url, &response) else {
                return read(response, request.bytes).await;
            };
            if request.form.is_some() {
                return Err(NoReply::Elsewhere(format!("{} points elsewhere", shown(&request.url))));
            }
            if (request.url.scheme(), target.scheme()) == ("https", "http") {
                return Err(NoReply::Elsewhere(format!(
                    "it points to {}, without encryption",
                    shown(&target)
                )));
            }
            if authority(&target) != authority(&request.url) {
                request.headers.remove(AUTHORIZATION);
            }
            request.url = target;
        }
        Err(NoReply::Elsewhere("it points in a circle".into()))
    }

    async fn hop(&self, request: &Request) -> Result<Response, NoReply> {
        let client = if http_client::is_loopback(&request.url) { &self.own } else { &self.ordinary };
        let mut hop =
            client.request(request.method.clone(), request.url.clone()).headers(request.headers.clone());
        if let Some(form) = &request.form {
            hop = hop.form(form);
        }
        hop.send().await.map_err(|error| match error.is_connect() {
            true => NoReply::NotConnected(why(&error)),
            false => NoReply::Late(why(&error)),
        })
    }
}

fn target_of(from: &Url, response: &Response) -> Option<Url> {
    let is_redirect = matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308);
    let location = response.headers().get(LOCATION).filter(|_| is_redirect)?.to_str().ok()?;
    let mut target = from.join(location).ok()?;
    // A name and a password in an address are nobody's credentials but its author's.
    let _ = (target.set_username(""), target.set_password(None));
    Some(target)
}

async fn read(mut response: Response, limit: usize) -> Result<Reply, NoReply> {
    let (status, headers) = (response.status(), std::mem::take(response.headers_mut()));
    let at = shown(response.url());
    let mut body = BytesMut::new();
    loop {
        let chunk = response.chunk().await.map_err(|error| NoReply::Late(why(&error)))?;
        let Some(chunk) = chunk else { break };
        if body.len() + chunk.len() > limit {
            return Err(NoReply::TooLarge(format!("the answer of {at} is larger than {} KiB", limit >> 10)));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Reply { status, headers, body: body.freeze() })
}

/// Host and port of an address, as registries are written.
pub(super) fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

impl Reply {
    /// Returns a header's text; none if it holds what no text does.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Returns all values of a header.
    pub fn headers<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.headers.get_all(name).into_iter().filter_map(|value| HeaderValue::to_str(value).ok())
    }
}
