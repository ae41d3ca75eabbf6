//! Request bodies within bounds: size after decompression, time, and depth of nesting.
//!
//! A body over its limit is refused at once; the server then reads and throws away what the client still
//! sends for a while (see `server`), so that a client that reads only after writing gets the answer.

use std::future::Future;
use std::io::Read;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use actix_web::{FromRequest, HttpRequest};
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use utoipa::ToSchema;

use super::error::ApiError;
use super::server::Patience;
use crate::protocol::body;
use crate::protocol::v2::answer::is_json_type;
pub use crate::protocol::{BODY_LIMIT as SMALL, REPORT_BODY_LIMIT as LARGE};

type Reading<T> = Pin<Box<dyn Future<Output = Result<T, ApiError>>>>;

/// A body of at most `LIMIT` bytes, whatever is in it.
pub struct Raw<const LIMIT: usize>(pub Bytes);

impl<const LIMIT: usize> FromRequest for Raw<LIMIT> {
    type Error = ApiError;
    type Future = Reading<Self>;

    fn from_request(req: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let declared = declared_length(req);
        let coding = coding(req);
        let payload = payload.take();
        let time = req.app_data::<Patience>().copied().unwrap_or_default().body;
        Box::pin(async move {
            let coding = coding?;
            if declared.is_some_and(|bytes| bytes > LIMIT) {
                return Err(ApiError::TooLarge { limit: LIMIT });
            }
            let sent = collect(payload, LIMIT, time).await?;
            match coding {
                Coding::Identity => Ok(Self(sent)),
                Coding::Gzip => unpack(&sent, LIMIT).map(Self),
            }
        })
    }
}

/// A JSON body of at most `LIMIT` bytes; the content type must say so.
pub struct Json<T, const LIMIT: usize = SMALL>(pub T);

impl<T: DeserializeOwned + 'static, const LIMIT: usize> FromRequest for Json<T, LIMIT> {
    type Error = ApiError;
    type Future = Reading<Self>;

    fn from_request(req: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let bytes = JsonBytes::<LIMIT>::from_request(req, payload);
        Box::pin(async move { Ok(Self(body::parse_as(&bytes.await?.0)?)) })
    }
}

/// The bytes of a body that says it is JSON; the protocol reads them.
pub struct JsonBytes<const LIMIT: usize>(pub Bytes);

impl<const LIMIT: usize> FromRequest for JsonBytes<LIMIT> {
    type Error = ApiError;
    type Future = Reading<Self>;

    fn from_request(req: &HttpRequest, payload: &mut Payload) -> Self::Future {
        if let Err(error) = must_be_json(req) {
            return Box::pin(std::future::ready(Err(error)));
        }
        let raw = Raw::<LIMIT>::from_request(req, payload);
        Box::pin(async move { Ok(Self(raw.await?.0)) })
    }
}

/// The body of an admin call: JSON or a form, and nothing at all counts as `{}`.
pub struct Lenient<T>(pub T);

impl<T: DeserializeOwned + 'static> FromRequest for Lenient<T> {
    type Error = ApiError;
    type Future = Reading<Self>;

    fn from_request(req: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let is_form = content_type(req).starts_with("application/x-www-form-urlencoded");
        let raw = Raw::<SMALL>::from_request(req, payload);
        Box::pin(async move {
            let bytes = raw.await?.0;
            match (bytes.is_empty(), is_form) {
                (true, _) => Ok(body::parse_as(b"{}")?),
                // curl says "form" unless it is told otherwise, also for JSON.
                (false, true) if !bytes.starts_with(b"{") => form(&bytes),
                _ => Ok(body::parse_as(&bytes)?),
            }
            .map(Self)
        })
    }
}

/// Hostname patterns: a list, or for forms one text with commas between them.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum Patterns {
    List(Vec<String>),
    Text(String),
}

impl Patterns {
    /// Returns them one by one, as they were written.
    pub fn list(self) -> Vec<String> {
        match self {
            Self::List(list) => list,
            Self::Text(text) => {
                text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
            }
        }
    }
}

/// The fields of a form sent by a page.
pub struct Form<T>(pub T);

impl<T: DeserializeOwned + 'static> FromRequest for Form<T> {
    type Error = ApiError;
    type Future = Reading<Self>;

    fn from_request(req: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let raw = Raw::<SMALL>::from_request(req, payload);
        Box::pin(async move { form(&raw.await?.0).map(Self) })
    }
}

/// Fails unless the content type is JSON.
pub fn must_be_json(req: &HttpRequest) -> Result<(), ApiError> {
    is_json_type(content_type(req)).then_some(()).ok_or(ApiError::UnsupportedMediaType)
}

fn content_type(req: &HttpRequest) -> &str {
    req.headers().get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default()
}

fn form<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    let pairs = url::form_urlencoded::parse(bytes)
        .map(|(k, v)| (k.into_owned(), serde_json::Value::String(v.into_owned())));
    serde_json::from_value(serde_json::Value::Object(pairs.collect()))
        .map_err(|error| ApiError::Malformed(error.to_string()))
}

/// How a body is packed.
enum Coding {
    Identity,
    Gzip,
}

fn coding(req: &HttpRequest) -> Result<Coding, ApiError> {
    match req.headers().get(CONTENT_ENCODING).map(|value| value.as_bytes().trim_ascii()) {
        None | Some(b"") => Ok(Coding::Identity),
        Some(word) if word.eq_ignore_ascii_case(b"identity") => Ok(Coding::Identity),
        Some(word) if word.eq_ignore_ascii_case(b"gzip") => Ok(Coding::Gzip),
        Some(_) => Err(ApiError::UnsupportedEncoding),
    }
}

/// Unpacks no more than `limit` bytes, however small what was sent is: the framework's own decoder unpacks each
/// piece whole before anybody can look at it.
fn unpack(sent: &[u8], limit: usize) -> Result<Bytes, ApiError> {
    let mut all = Vec::new();
    let mut reader = flate2::read::GzDecoder::new(sent).take(limit as u64 + 1);
    reader.read_to_end(&mut all).map_err(|error| ApiError::Malformed(error.to_string()))?;
    if all.len() > limit {
        return Err(ApiError::TooLarge { limit });
    }
    Ok(all.into())
}

fn declared_length(req: &HttpRequest) -> Option<usize> {
    req.headers().get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

async fn collect<S, E>(mut chunks: S, limit: usize, time: Duration) -> Result<Bytes, ApiError>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
    E: std::fmt::Display,
{
    let reading = async {
        // Nearly every body is one chunk: it is handed on without a copy.
        let Some(first) = next_chunk(&mut chunks, limit).await? else { return Ok(Bytes::new()) };
        let Some(second) = next_chunk(&mut chunks, limit - first.len()).await? else { return Ok(first) };
        let mut all = BytesMut::with_capacity((first.len() + second.len()) * 2);
        all.extend_from_slice(&first);
        all.extend_from_slice(&second);
        while let Some(chunk) = next_chunk(&mut chunks, limit - all.len()).await? {
            all.extend_from_slice(&chunk);
        }
        Ok(all.freeze())
    };
    let mut reading = std::pin::pin!(reading);
    // A small body has come with its head: no timer is set for it.
    let done = match futures_util::poll!(reading.as_mut()) {
        Poll::Ready(done) => done,
        Poll::Pending => match tokio::time::timeout(time, reading).await {
            Ok(done) => done,
            Err(_) => Err(ApiError::TooSlow { limit: time }),
        },
    };
    match done {
        Err(ApiError::TooLarge { .. }) => Err(ApiError::TooLarge { limit }),
        done => done,
    }
}

async fn next_chunk<S, E>(chunks: &mut S, room: usize) -> Result<Option<Bytes>, ApiError>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
    E: std::fmt::Display,
{
    match chunks.next().await {
        Some(Ok(chunk)) if chunk.len() > room => Err(ApiError::TooLarge { limit: room }),
        Some(Ok(chunk)) => Ok(Some(chunk)),
        Some(Err(error)) => Err(ApiError::Malformed(error.to_string())),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix_web::test]
    async fn the_limit_counts_over_all_chunks() {
        let chunks = |sizes: &[usize]| {
            let parts: Vec<_> = sizes.iter().map(|n| Ok::<_, String>(Bytes::from(vec![b'x'; *n]))).collect();
            futures_util::stream::iter(parts)
        };
        for (sizes, fits) in
            [(&[10][..], true), (&[11], false), (&[5, 5], true), (&[5, 6], false), (&[4, 4, 3], false)]
        {
            let outcome = collect(chunks(sizes), 10, Duration::from_secs(5)).await;
            assert_eq!(outcome.is_ok(), fits, "{sizes:?}");
            if !fits {
                assert!(matches!(outcome, Err(ApiError::TooLarge { limit: 10 })));
            }
        }
    }
}
