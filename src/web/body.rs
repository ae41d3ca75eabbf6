//! Request bodies within bounds: size after decompression, time, depth of nesting, and the memory that all of them
//! take together.
//!
//! A body over its limit is refused at once; the server then reads and throws away what the client still
//! sends for a while (see `server`), so that a client that reads only after writing gets the answer.

use std::future::{Future, poll_fn};
use std::io::Write;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use actix_web::{FromRequest, HttpRequest};
use bytes::Bytes;
use flate2::write::GzDecoder;
use futures_util::{Stream, StreamExt, TryFutureExt};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use tokio::sync::OwnedSemaphorePermit;
use utoipa::ToSchema;

use super::error::ApiError;
use super::patience::Patience;
use super::room::{Room, UNIT};
use super::state::state;
use crate::actors::master::MasterError;
use crate::domain::agent::AgentStatus;
use crate::domain::text::repeated;
pub use crate::protocol::BODY_LIMIT as SMALL;
use crate::protocol::body::{self, BodyError};
use crate::protocol::v2::answer::is_json_type;
use crate::protocol::{PENDING_REPORT_BODY_LIMIT as PENDING, REPORT_BODY_LIMIT as LARGE};

/// Largest form of a page.
const FORM: usize = 64 << 10;
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

/// The bytes of a report: of an agent that nobody has enrolled yet a tenth of what others may send.
pub struct ReportBytes(pub Bytes);

impl FromRequest for ReportBytes {
    type Error = ApiError;
    type Future = Reading<Self>;

    fn from_request(req: &HttpRequest, payload: &mut Payload) -> Self::Future {
        if let Err(error) = must_be_json(req) {
            return Box::pin(std::future::ready(Err(error)));
        }
        // A heartbeat says how short it is, and asks nobody.
        let is_short = declared_length(req).is_some_and(|bytes| bytes <= PENDING)
            && matches!(coding(req), Ok(Coding::Identity));
        if is_short || !is_pending(req) {
            return Box::pin(read(req, payload, LARGE).map_ok(Self));
        }
        let reading = read(req, payload, PENDING);
        Box::pin(reading.map_ok(Self).map_err(|error| match error {
            ApiError::TooLarge { limit } => ApiError::TooLargeWhilePending { limit },
            error => error,
        }))
    }
}

/// True if the agent that the path names waits for a person.
fn is_pending(req: &HttpRequest) -> bool {
    let slot = state(req).master().directory.slot_named(req.match_info().query("id"));
    slot.is_some_and(|slot| slot.status() == AgentStatus::Pending)
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

/// The body of a call that says all that it has to say in its path: nothing, or `{}`.
pub struct NoBody;

impl FromRequest for NoBody {
    type Error = ApiError;
    type Future = Reading<Self>;

    fn from_request(req: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let reading = Lenient::<Map<String, Value>>::from_request(req, payload);
        Box::pin(async move {
            let Some((name, _)) = reading.await?.0.into_iter().next() else { return Ok(Self) };
            let words =
                format!("field `{}` is not known: this call takes no body; send `{{}}`", repeated(&name));
            Err(BodyError::Shape(words).into())
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
        let reading = read(req, payload, FORM);
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
        .map(|(k, v)| (k.into_owned(), Value::String(body::without_nul(&v))));
    Ok(body::shaped(Value::Object(pairs.collect()))?)
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
    let room = state(req).body_room().clone();
    async move {
        let coding = coding?;
        if declared.is_some_and(|bytes| bytes > limit) {
            return Err(ApiError::TooLarge { limit });
        }
        let expected = declared.filter(|_| matches!(coding, Coding::Identity));
        let gathered = Gathered::new(room, limit, expected.unwrap_or(0));
        match coding {
            Coding::Identity => in_time(collect(payload, gathered), time).await,
            Coding::Gzip => in_time(unpack(payload, gathered), time).await,
        }
    }
}

fn declared_length(req: &HttpRequest) -> Option<usize> {
    req.headers().get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// What has come of a body, within its limit and the room that all have.
struct Gathered {
    all: Vec<u8>,
    limit: usize,
    expected: usize,
    room: Room,
    held: Option<OwnedSemaphorePermit>,
    /// Why nothing more is taken.
    refused: Option<ApiError>,
}

impl Gathered {
    /// Takes at most `limit` bytes; `expected` is how many are announced, or 0.
    fn new(room: Room, limit: usize, expected: usize) -> Self {
        Self { all: Vec::new(), limit, expected, room, held: None, refused: None }
    }

    fn take(&mut self, piece: &[u8]) -> Result<(), ApiError> {
        let size = self.all.len() + piece.len();
        if size > self.limit {
            return Err(ApiError::TooLarge { limit: self.limit });
        }
        if size > self.all.capacity() {
            let wanted = size.max(self.all.capacity() * 2).max(self.expected).min(self.limit);
            self.hold(wanted)?;
            self.all.reserve_exact(wanted - self.all.len());
        }
        self.all.extend_from_slice(piece);
        Ok(())
    }

    /// Takes room for `bytes` in all.
    fn hold(&mut self, bytes: usize) -> Result<(), ApiError> {
        let has = self.held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let needs = if bytes <= UNIT { 0 } else { bytes.div_ceil(UNIT) };
        let Some(more) = needs.checked_sub(has).filter(|more| *more > 0) else { return Ok(()) };
        let more = u32::try_from(more).unwrap_or(u32::MAX);
        let permit = Arc::clone(&self.room.0).try_acquire_many_owned(more).map_err(|_| MasterError::Busy)?;
        match &mut self.held {
            Some(held) => held.merge(permit),
            None => self.held = Some(permit),
        }
        Ok(())
    }

    /// Returns it; its room is free again when the last of it is dropped.
    fn finish(self) -> Bytes {
        Bytes::from_owner(Kept { all: self.all, _held: self.held })
    }
}

/// Takes what is unpacked: no more than may be, however small what was sent is.
impl Write for Gathered {
    fn write(&mut self, piece: &[u8]) -> std::io::Result<usize> {
        match self.take(piece) {
            Ok(()) => Ok(piece.len()),
            Err(error) => {
                let words = error.to_string();
                self.refused = Some(error);
                Err(std::io::Error::other(words))
            }
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A body with the room it takes.
struct Kept {
    all: Vec<u8>,
    _held: Option<OwnedSemaphorePermit>,
}

impl AsRef<[u8]> for Kept {
    fn as_ref(&self) -> &[u8] {
        &self.all
    }
}

async fn collect<S, E>(mut chunks: S, mut gathered: Gathered) -> Result<Bytes, ApiError>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
    E: std::fmt::Display,
{
    // Nearly every body is one chunk: it is handed on without a copy.
    let Some(first) = next_chunk(&mut chunks).await? else { return Ok(Bytes::new()) };
    if first.len() > gathered.limit {
        return Err(ApiError::TooLarge { limit: gathered.limit });
    }
    let Some(second) = next_chunk(&mut chunks).await? else { return Ok(first) };
    gathered.take(&first)?;
    drop(first);
    gathered.take(&second)?;
    while let Some(chunk) = next_chunk(&mut chunks).await? {
        gathered.take(&chunk)?;
    }
    Ok(gathered.finish())
}

/// Unpacks each chunk as it comes, so that what was sent is not held beside what it holds.
async fn unpack<S, E>(mut chunks: S, gathered: Gathered) -> Result<Bytes, ApiError>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
    E: std::fmt::Display,
{
    let (limit, mut sent) = (gathered.limit, 0);
    let mut decoder = GzDecoder::new(gathered);
    let refused = |decoder: &mut GzDecoder<Gathered>, error: std::io::Error| {
        decoder.get_mut().refused.take().unwrap_or_else(|| ApiError::Malformed(error.to_string()))
    };
    while let Some(chunk) = next_chunk(&mut chunks).await? {
        sent += chunk.len();
        if sent > limit {
            return Err(ApiError::TooLarge { limit });
        }
        if let Err(error) = decoder.write_all(&chunk) {
            return Err(refused(&mut decoder, error));
        }
    }
    match decoder.try_finish() {
        Ok(()) => Ok(decoder.finish().map_err(|error| ApiError::Malformed(error.to_string()))?.finish()),
        Err(error) => Err(refused(&mut decoder, error)),
    }
}

/// Reads a body unless it takes too long.
async fn in_time(
    reading: impl Future<Output = Result<Bytes, ApiError>>,
    time: Duration,
) -> Result<Bytes, ApiError> {
    let mut reading = std::pin::pin!(reading);
    // A small body comes with its head. The framework hands it over after it has asked here once, and then asks again:
    // no timer is set before that.
    let mut so_far = futures_util::poll!(reading.as_mut());
    if so_far.is_pending() {
        asked_again().await;
        so_far = futures_util::poll!(reading.as_mut());
    }
    match so_far {
        Poll::Ready(done) => done,
        Poll::Pending => match tokio::time::timeout(time, reading).await {
            Ok(done) => done,
            Err(_) => Err(ApiError::TooSlow { limit: time }),
        },
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

async fn next_chunk<S, E>(chunks: &mut S) -> Result<Option<Bytes>, ApiError>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
    E: std::fmt::Display,
{
    match chunks.next().await {
        Some(Ok(chunk)) => Ok(Some(chunk)),
        Some(Err(error)) => Err(ApiError::Malformed(error.to_string())),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};

    use super::*;
    use crate::web::room::ROOM;

    #[actix_web::test]
    async fn the_limit_counts_over_all_chunks() {
        let chunks = |sizes: &[usize]| {
            let parts: Vec<_> = sizes.iter().map(|n| Ok::<_, String>(Bytes::from(vec![b'x'; *n]))).collect();
            futures_util::stream::iter(parts)
        };
        for (sizes, fits) in
            [(&[10][..], true), (&[11], false), (&[5, 5], true), (&[5, 6], false), (&[4, 4, 3], false)]
        {
            let outcome = collect(chunks(sizes), Gathered::new(Room::default(), 10, 0)).await;
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
        let body = collect(chunks, Gathered::new(Room::default(), 10, 0));
        let mut reading = std::pin::pin!(in_time(body, Duration::from_secs(5)));
        let mut ask = || reading.as_mut().poll(&mut Context::from_waker(Waker::noop()));

        assert!(ask().is_pending());
        assert!(matches!(ask(), Poll::Ready(Ok(bytes)) if bytes == "{}"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_never_comes_is_given_up_in_time() {
        let chunks = futures_util::stream::pending::<Result<Bytes, String>>();
        let body = collect(chunks, Gathered::new(Room::default(), 10, 0));
        let outcome = in_time(body, Duration::from_secs(5)).await;
        assert!(matches!(outcome, Err(ApiError::TooSlow { .. })));
    }
    fn in_pieces(body: &[u8], size: usize) -> impl Stream<Item = Result<Bytes, String>> + Unpin + use<> {
        let pieces: Vec<_> = body.chunks(size).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        futures_util::stream::iter(pieces)
    }

    fn packed(body: &[u8]) -> Vec<u8> {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        packed.write_all(body).unwrap();
        packed.finish().unwrap()
    }

    #[actix_web::test]
    async fn bodies_take_no_more_room_together_than_there_is() {
        // given: as many of the largest as there is room for
        let room = Room::default();
        let body = vec![b'x'; LARGE];
        let read = async |room: &Room| {
            collect(in_pieces(&body, 1 << 20), Gathered::new(room.clone(), LARGE, LARGE)).await
        };
        let mut held = Vec::new();
        for _ in 0..8 {
            held.push(read(&room).await.unwrap());
        }
        // when, then
        assert!(matches!(read(&room).await, Err(ApiError::Master(MasterError::Busy))));
        let bomb = in_pieces(&packed(&body), 1000);
        let outcome = unpack(bomb, Gathered::new(room.clone(), LARGE, 0)).await;
        assert!(matches!(outcome, Err(ApiError::Master(MasterError::Busy))));
        // and small ones are heard, and the room is free again with the last of a body
        let small = collect(in_pieces(b"{\"a\":1}", 2), Gathered::new(room.clone(), LARGE, 0)).await;
        assert_eq!(small.unwrap(), "{\"a\":1}");
        let part = held.pop().unwrap().slice(..10);
        assert!(read(&room).await.is_err(), "a part of it is in use");
        drop(part);
        assert_eq!(read(&room).await.unwrap().len(), LARGE);
    }

    #[actix_web::test]
    async fn a_packed_body_is_unpacked_within_its_limit_as_it_comes() {
        let room = Room::default();
        let body: Vec<u8> = (0..200_000_u32).flat_map(u32::to_le_bytes).collect();
        for size in [1000, usize::MAX] {
            let fits =
                unpack(in_pieces(&packed(&body), size), Gathered::new(room.clone(), body.len(), 0)).await;
            assert_eq!(fits.unwrap(), body);
            let limit = body.len() - 1;
            let over = unpack(in_pieces(&packed(&body), size), Gathered::new(room.clone(), limit, 0)).await;
            assert!(matches!(over, Err(ApiError::TooLarge { .. })), "{over:?}");
        }
        let cut = &packed(&body)[..100];
        let outcome = unpack(in_pieces(cut, 1000), Gathered::new(room.clone(), LARGE, 0)).await;
        assert!(matches!(outcome, Err(ApiError::Malformed(_))), "{outcome:?}");
        assert_eq!(room.0.available_permits(), ROOM);
    }
}
