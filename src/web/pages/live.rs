//! Tells open pages that something changed; they fetch their live part again.
//!
//! One stream per page. A burst of changes is one event; a slow page misses nothing, because the event says
//! only "look again".

use std::convert::Infallible;
use std::time::Duration;

use actix_web::http::header;
use actix_web::{HttpResponse, web};
use bytes::Bytes;
use futures_util::{Stream, stream};
use tokio::time::{Instant, sleep, sleep_until};

use super::SignedIn;
use crate::actors::master::Changes;
use crate::web::error::ApiError;
use crate::web::state::{StreamGuard, WebState};

/// Changes within this time are one event.
const BURST: Duration = Duration::from_millis(150);
/// A sign of life, so that nothing on the way closes a quiet stream.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Then the browser connects again, and the session is looked at again.
const LONGEST: Duration = Duration::from_secs(1800);

const HELLO: &[u8] = b"retry: 2000\n\n";
const CHANGED: &[u8] = b"event: changed\ndata: .\n\n";
const QUIET: &[u8] = b": .\n\n";

/// `GET /live`.
#[utoipa::path(get, path = "/live", tag = "pages", responses((status = 200), (status = 303), (status = 503)),
    security(("session" = [])))]
pub async fn live(_: SignedIn, state: web::Data<WebState>) -> Result<HttpResponse, ApiError> {
    let guard = state.open_stream().ok_or(crate::actors::master::MasterError::Busy)?;
    let listener = Listener {
        changes: state.master().subscribe(),
        stopping: state.stopping().clone(),
        until: Instant::now() + LONGEST,
        greeted: false,
        _guard: guard,
    };
    Ok(HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, "text/event-stream"))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header(("x-accel-buffering", "no"))
        .insert_header(header::ContentEncoding::Identity)
        .streaming(events(listener)))
}

struct Listener {
    changes: Changes,
    stopping: tokio_util::sync::CancellationToken,
    until: Instant,
    greeted: bool,
    _guard: StreamGuard,
}

fn events(listener: Listener) -> impl Stream<Item = Result<Bytes, Infallible>> {
    stream::unfold(listener, |mut listener| async move {
        let text = listener.next_event().await?;
        Some((Ok(Bytes::from_static(text)), listener))
    })
}

impl Listener {
    async fn next_event(&mut self) -> Option<&'static [u8]> {
        if !std::mem::replace(&mut self.greeted, true) {
            return Some(HELLO);
        }
        tokio::select! {
            note = self.changes.next() => note?,
            () = self.stopping.cancelled() => return None,
            () = sleep_until(self.until) => return None,
            () = sleep(KEEP_ALIVE) => return Some(QUIET),
        };
        let burst = sleep(BURST);
        tokio::pin!(burst);
        loop {
            tokio::select! {
                () = &mut burst => return Some(CHANGED),
                () = self.stopping.cancelled() => return None,
                note = self.changes.next() => { note?; }
            }
        }
    }
}
