//! Makes answers that list everything.
//!
//! A worker serves many agents; none of their calls waits until thousands of rows have become JSON or a page. Such
//! answers are made on threads where that hurts nobody, a few at a time.
//!
//! JSON is made in pieces, each of a page of rows, and a piece only once the reader has taken the one before. While it
//! waits for a slow reader a list holds no connection to the database, no thread and no turn: only its next piece. The
//! head of the answer waits for the first piece, so a failure there has its status; a later one cuts the connection, and
//! nobody takes half a list for the whole.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use actix_web::http::header;
use actix_web::{HttpResponse, HttpResponseBuilder};
use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use futures_util::{Stream, StreamExt, stream};
use serde::Serialize;
use serde_json::Value;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc};

use super::error::{ApiError, chain};

/// Most of them at once: each holds what it lists in memory, and takes a processor while it is made.
const AT_ONCE: usize = 2;
/// Size of a piece.
const PIECE: usize = 64 << 10;

/// See the module. Clones share the limit.
#[derive(Clone)]
pub struct Listings(Arc<Semaphore>);

impl Default for Listings {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(AT_ONCE)))
    }
}

impl Listings {
    /// Makes one, or a page of one, when it is its turn.
    pub async fn make<T, F>(&self, making: F) -> Result<T, ApiError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, ApiError>> + Send + 'static,
    {
        let turn = Arc::clone(&self.0).acquire_owned().await.map_err(ApiError::internal)?;
        let runtime = Handle::current();
        // It goes on when its caller has gone, and so does its turn.
        let made = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            runtime.block_on(making)
        });
        made.await.map_err(ApiError::internal)?
    }

    /// Writes all pages of a list to `out`. `page` makes the one after a place, and says where the next one begins.
    pub async fn pages<C, F>(&self, out: &mut Sink, page: impl Fn(Option<C>) -> F) -> Result<(), ApiError>
    where
        C: Send + 'static,
        F: Future<Output = Page<C>> + Send + 'static,
    {
        let mut after = None;
        loop {
            let (elements, next) = self.make(page(after)).await?;
            out.elements(elements).await;
            if next.is_none() {
                return Ok(());
            }
            after = next;
        }
    }
}

/// A page of a list: its elements, and where the next one begins.
pub type Page<C> = Result<(Elements, Option<C>), ApiError>;

/// Returns where the page after `rows` begins, if there can be more than the `max` that were asked for.
pub fn next<R, C>(rows: &[R], max: u64, place: impl FnOnce(&R) -> C) -> Option<C> {
    rows.last().filter(|_| rows.len() as u64 >= max).map(place)
}

/// Elements of a JSON array or object, with commas between them.
#[derive(Default)]
pub struct Elements {
    text: Vec<u8>,
    count: usize,
}

impl Elements {
    /// Adds an element of an array.
    pub fn push(&mut self, value: &impl Serialize) -> Result<(), ApiError> {
        if self.count > 0 {
            self.text.push(b',');
        }
        self.count += 1;
        self.write(value)
    }

    /// Adds an element of an object.
    pub fn entry(&mut self, name: &str, value: &impl Serialize) -> Result<(), ApiError> {
        self.push(&name)?;
        self.text.push(b':');
        self.write(value)
    }

    fn write(&mut self, value: &impl Serialize) -> Result<(), ApiError> {
        serde_json::to_writer(&mut self.text, value).map_err(ApiError::internal)
    }
}

/// Where the text of an answer goes.
pub struct Sink {
    pieces: mpsc::Sender<Bytes>,
    text: Vec<u8>,
    /// Elements of the list that is being written.
    count: usize,
}

impl Sink {
    /// Writes what stands around lists.
    pub fn text(&mut self, text: &str) {
        self.text.extend_from_slice(text.as_bytes());
        self.count = 0;
    }

    /// Returns how many elements the list has so far that is being written.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Writes further fields of an object.
    pub fn fields(&mut self, fields: &Value) -> Result<(), ApiError> {
        for (name, value) in fields.as_object().into_iter().flatten() {
            self.text.push(b',');
            serde_json::to_writer(&mut self.text, name).map_err(ApiError::internal)?;
            self.text.push(b':');
            serde_json::to_writer(&mut self.text, value).map_err(ApiError::internal)?;
        }
        Ok(())
    }

    /// Writes lines of a table; waits for a slow reader.
    pub async fn lines(&mut self, lines: &str) {
        if self.text.len() + lines.len() >= PIECE {
            self.send().await;
        }
        self.text.extend_from_slice(lines.as_bytes());
    }

    /// Writes the next elements of a list; waits for a slow reader.
    pub async fn elements(&mut self, elements: Elements) {
        if elements.count == 0 {
            return;
        }
        if self.count > 0 {
            self.text.push(b',');
        }
        self.count += elements.count;
        if self.text.len() + elements.text.len() < PIECE {
            self.text.extend_from_slice(&elements.text);
            return;
        }
        self.send().await;
        self.text = elements.text;
        self.send().await;
    }

    async fn send(&mut self) {
        // In pieces, however large it is: whoever sends them copies each.
        let mut rest = Bytes::from(std::mem::take(&mut self.text));
        while !rest.is_empty() {
            let piece = rest.split_to(rest.len().min(PIECE));
            // It fails when nobody reads any more, and then nobody goes on with this either.
            let _ = self.pieces.send(piece).await;
        }
    }
}

/// Answers with the JSON that `write` writes; see the module.
pub async fn json<F>(write: impl FnOnce(Sink) -> F) -> Result<HttpResponse, ApiError>
where
    F: Future<Output = Result<Sink, ApiError>> + 'static,
{
    stream_of(HttpResponse::Ok().insert_header(header::ContentType::json()), write).await
}

/// The same in another form: `answer` has its headers.
pub async fn stream_of<F>(
    answer: &mut HttpResponseBuilder,
    write: impl FnOnce(Sink) -> F,
) -> Result<HttpResponse, ApiError>
where
    F: Future<Output = Result<Sink, ApiError>> + 'static,
{
    let mut body = Body::of(write);
    let first = body.next().await.transpose()?.unwrap_or_default();
    if let Some(error) = body.failure.take() {
        return Err(error);
    }
    if body.making.is_none() && body.pieces.is_empty() {
        return Ok(answer.body(first));
    }
    let rest = body.inspect(|piece| {
        if let Err(error) = piece {
            tracing::error!(error = %chain(error), "a list broke off");
        }
    });
    Ok(answer.streaming(stream::iter([Ok(first)]).chain(rest)))
}

/// The pieces of an answer. They are made when they are asked for, by whoever asks.
struct Body {
    /// None once all is written, or failed.
    making: Option<LocalBoxFuture<'static, Result<(), ApiError>>>,
    pieces: mpsc::Receiver<Bytes>,
    failure: Option<ApiError>,
}

impl Body {
    fn of<F>(write: impl FnOnce(Sink) -> F) -> Self
    where
        F: Future<Output = Result<Sink, ApiError>> + 'static,
    {
        let (sender, pieces) = mpsc::channel(1);
        let writing = write(Sink { pieces: sender, text: Vec::new(), count: 0 });
        let making = Box::pin(async move {
            writing.await?.send().await;
            Ok(())
        });
        Self { making: Some(making), pieces, failure: None }
    }
}

impl Stream for Body {
    type Item = Result<Bytes, ApiError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if let Some(making) = &mut this.making
            && let Poll::Ready(made) = making.as_mut().poll(cx)
        {
            this.making = None;
            this.failure = made.err();
        }
        match this.pieces.poll_recv(cx) {
            Poll::Ready(Some(piece)) => Poll::Ready(Some(Ok(piece))),
            Poll::Ready(None) => Poll::Ready(this.failure.take().map(Err)),
            Poll::Pending => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};
    use std::time::Duration;

    use actix_web::body::{BodySize, MessageBody, to_bytes};

    use super::*;

    /// Holds its thread until it is told to go on.
    async fn slow(go_on: Receiver<()>) -> Result<&'static str, ApiError> {
        go_on.recv_timeout(Duration::from_secs(20)).map_err(ApiError::internal)?;
        Ok("made")
    }

    #[tokio::test]
    async fn a_slow_one_does_not_hold_the_thread_of_its_caller() {
        let (listings, (go_on, told)) = (Listings::default(), channel());

        let (made, ()) = tokio::join!(listings.make(slow(told)), async { go_on.send(()).unwrap() });

        assert_eq!(made.unwrap(), "made");
    }

    /// Writes pieces of its own, each in a page, and fails after them if it is told to.
    async fn answer(pieces: usize, fails: bool) -> Result<HttpResponse, ApiError> {
        let listings = Listings::default();
        json(move |mut out| async move {
            out.text("[");
            let page = |after: Option<usize>| async move {
                let (place, mut elements) = (after.unwrap_or_default() + 1, Elements::default());
                if place > pieces && fails {
                    return Err(ApiError::internal("the database is gone"));
                }
                elements.push(&"x".repeat(PIECE))?;
                Ok((elements, (place < pieces + usize::from(fails)).then_some(place)))
            };
            listings.pages(&mut out, page).await?;
            out.text("]");
            Ok(out)
        })
        .await
    }

    #[actix_web::test]
    async fn a_list_is_the_pages_one_after_the_other() {
        for pieces in [1, 2, 7] {
            let body = to_bytes(answer(pieces, false).await.unwrap().into_body()).await.unwrap();
            let list: Vec<String> = serde_json::from_slice(&body).unwrap();
            assert_eq!((list.len(), list[pieces - 1].len()), (pieces, PIECE));
        }
    }

    #[actix_web::test]
    async fn a_failure_of_the_first_page_has_its_status_and_a_later_one_breaks_the_answer_off() {
        assert!(matches!(answer(0, true).await, Err(ApiError::Internal(_))));
        for pieces in [1, 5] {
            let body = answer(pieces, true).await.unwrap().into_body();
            assert!(to_bytes(body).await.is_err(), "after {pieces} pages");
        }
    }

    #[actix_web::test]
    async fn a_short_answer_has_its_length_and_a_list_that_nobody_reads_takes_no_turn() {
        let listings = Listings::default();
        let short = json(|mut out| async move {
            out.text("[]");
            Ok(out)
        });
        assert_eq!(short.await.unwrap().body().size(), BodySize::Sized(2));

        let lists = listings.clone();
        let _unread = json(move |mut out| async move {
            let page = |after: Option<usize>| async move {
                let mut elements = Elements::default();
                elements.push(&"x".repeat(PIECE))?;
                Ok((elements, Some(after.unwrap_or_default() + 1)))
            };
            lists.pages(&mut out, page).await?;
            Ok(out)
        })
        .await
        .unwrap();
        // What was begun before the head was sent comes to its end.
        let both = listings.0.acquire_many(AT_ONCE as u32).await.unwrap();
        assert_eq!(both.num_permits(), AT_ONCE);
    }

    #[tokio::test]
    async fn more_than_may_be_made_at_once_wait_their_turn() {
        let listings = Listings::default();
        let (tell, told): (Vec<_>, Vec<_>) = (0..AT_ONCE).map(|_| channel()).unzip();
        let mut slow: Vec<_> = told.into_iter().map(|told| Box::pin(listings.make(slow(told)))).collect();
        for one in &mut slow {
            assert!(futures_util::poll!(one).is_pending());
        }
        let mut next = Box::pin(listings.make(async { Ok("made") }));
        assert!(futures_util::poll!(&mut next).is_pending());
        assert_eq!(listings.0.available_permits(), 0);

        tell[0].send(()).unwrap();

        assert_eq!(next.await.unwrap(), "made");
        for (tell, one) in tell[1..].iter().zip(slow.drain(..).skip(1)) {
            tell.send(()).unwrap();
            assert_eq!(one.await.unwrap(), "made");
        }
    }
}
