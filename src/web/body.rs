//! Request bodies within bounds: size after decompression, time, and depth of nesting.
//!
//! A body over its limit is refused at once; the server then reads and throws away what the client still
//! sends for a while (see `server`), so that a client that reads only after writing gets the answer.

use std::future::{Future, poll_fn};
use std::io::Read;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use actix_web::{FromRequest, HttpRequest};
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt, TryFutureExt};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use utoipa::ToSchema;

use super::error::ApiError;
use super::server::Patience;
use crate::protocol::body;
use crate::protocol::v2::answer::is_json_type;
pub use crate::protocol::{BODY_LIMIT as SMALL, REPORT_BODY_LIMIT as LARGE};

type Reading<T> = Pin<Box<dyn Future<Output = Result<T, ApiError>>>>;

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
        // No async block around it, which would hold it twice: reports and heartbeats come this way.
        Box::pin(read(req, payload, LIMIT).map_ok(Self))
    }
}

/// The body of an admin call: JSON or a form, and nothing at all counts as `{}`.
pub struct Lenient<T>(pub T);

impl<T: DeserializeOwned + 'static> FromRequest for Lenient<T> {
    type Error = ApiError;
    type Future = Reading<Self>;

    fn from_request(req: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let is_form = content_type(req).starts_with("application/x-www-form-urlencoded");
        let reading = read(req, payload, SMALL);
        Box::pin(async move {
            let bytes = reading.await?;
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
        let reading = read(req, payload, SMALL);
        Box::pin(async move { form(&reading.await?).map(Self) })
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
        .map(|(k, v)| (k.into_owned(), serde_json::Value::String(body::without_nul(&v))));
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

/// Reads a body of at most `limit` bytes.
fn read(
    req: &HttpRequest,
    payload: &mut Payload,
    limit: usize,
) -> impl Future<Output = Result<Bytes, ApiError>> + use<> {
    let declared = declared_length(req);
    let coding = coding(req);
    let payload = payload.take();
    let time = req.app_data::<Patience>().copied().unwrap_or_default().body;
    async move {
        let coding = coding?;
        if declared.is_some_and(|bytes| bytes > limit) {
            return Err(ApiError::TooLarge { limit });
        }
        let sent = collect(payload, limit, time).await?;
        match coding {
            Coding::Identity => Ok(sent),
            Coding::Gzip => unpack(&sent, limit),
        }
    }
}

fn declared_length(req: &HttpRequest) -> Option<usize> {
    req.headers().get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

async fn collect<S, E>(mut chunks: S, limit: usize, time: Duration) -> Result<Bytes, ApiError>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
    E: std::fmt::Display,
{
    let mut reading = std::pin::pin!(async {
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
    });
    // A small body comes with its head. The framework hands it over after it has asked here once, and then asks again:
    // no timer is set before that.
    let mut so_far = futures_util::poll!(reading.as_mut());
    if so_far.is_pending() {
        asked_again().await;
        so_far = futures_util::poll!(reading.as_mut());
    }
    let done = match so_far {
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

/// Ends when it is asked for the second time, and sees to it that it is.
async fn asked_again() {
    let mut was_asked = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut was_asked, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
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
    use std::task::{Context, Waker};

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

    #[test]
    fn no_timer_is_set_for_a_body_that_comes_with_its_head() {
        // A timer panics here, where no runtime is.
        let (mut was_asked, mut body) = (false, Some(Bytes::from_static(b"{}")));
        let chunks = futures_util::stream::poll_fn(move |_| {
            if std::mem::replace(&mut was_asked, true) {
                return Poll::Ready(body.take().map(Ok::<_, String>));
            }
            Poll::Pending
        });
        let mut reading = std::pin::pin!(collect(chunks, 10, Duration::from_secs(5)));
        let mut ask = || reading.as_mut().poll(&mut Context::from_waker(Waker::noop()));

        assert!(ask().is_pending());
        assert!(matches!(ask(), Poll::Ready(Ok(bytes)) if bytes == "{}"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_never_comes_is_given_up_in_time() {
        let chunks = futures_util::stream::pending::<Result<Bytes, String>>();
        let outcome = collect(chunks, 10, Duration::from_secs(5)).await;
        assert!(matches!(outcome, Err(ApiError::TooSlow { .. })));
    }
}
