//! Makes answers that list everything.
//!
//! A worker serves many agents; none of their calls waits until thousands of rows have become JSON or a page. Such
//! answers are made on threads where that hurts nobody, a few at a time.

use std::future::Future;
use std::sync::Arc;

use actix_web::HttpResponse;
use actix_web::http::header;
use serde_json::Value;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use super::error::ApiError;

/// Most of them at once: each holds what it lists in memory, and takes a processor while it is made.
const AT_ONCE: usize = 2;

/// See the module. Clones share the limit.
#[derive(Clone)]
pub struct Listings(Arc<Semaphore>);

impl Default for Listings {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(AT_ONCE)))
    }
}

impl Listings {
    /// Makes one when it is its turn.
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

    /// Makes one as JSON.
    pub async fn json<F>(&self, making: F) -> Result<HttpResponse, ApiError>
    where
        F: Future<Output = Result<Value, ApiError>> + Send + 'static,
    {
        let text = self.make(async { Ok(making.await?.to_string()) }).await?;
        Ok(HttpResponse::Ok().insert_header(header::ContentType::json()).body(text))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};
    use std::time::Duration;

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
