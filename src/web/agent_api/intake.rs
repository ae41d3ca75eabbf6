//! How reports come in: large ones are read where nobody waits, and what is refused is kept for people to see.

use actix_web::web;
use bytes::Bytes;

use crate::actors::master::Slot;
use crate::protocol::body::BodyError;
use crate::web::error::ApiError;

/// Longest body that is read on the spot; a longer one would hold up the other requests of its thread.
const ON_THE_SPOT: usize = 64 << 10;

/// Reads a body.
pub async fn read_apart<T: Send + 'static>(
    body: Bytes,
    decode: fn(&[u8]) -> Result<T, BodyError>,
) -> Result<T, ApiError> {
    if body.len() <= ON_THE_SPOT {
        return Ok(decode(&body)?);
    }
    let read = web::block(move || decode(&body)).await.map_err(ApiError::internal)?;
    Ok(read?)
}

/// Notes how it went with a report; the flag says if it held a list of containers.
pub fn noted<T>(slot: &Slot, taken: Result<(T, bool), ApiError>) -> Result<T, ApiError> {
    match taken {
        Ok((answer, has_list)) => {
            if has_list {
                slot.list_taken();
            }
            Ok(answer)
        }
        Err(error) => {
            if error.is_about_the_request() {
                slot.report_flawed(format!(
                    "Its last report was refused, so what is shown here may be old: {error}."
                ));
            }
            Err(error)
        }
    }
}
