//! A message on the socket: its length in four bytes, the greatest first, and then so many bytes of JSON.

use std::io::{Error, ErrorKind};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

/// Writes a message, in this time.
pub(super) async fn write(
    to: &mut (impl AsyncWrite + Unpin),
    message: &impl Serialize,
    limit: Duration,
) -> Result<(), Error> {
    let json = serde_json::to_vec(message).map_err(Error::other)?;
    let length = u32::try_from(json.len()).map_err(Error::other)?;
    let written = async {
        to.write_all(&length.to_be_bytes()).await?;
        to.write_all(&json).await?;
        to.flush().await
    };
    timeout(limit, written).await.unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()))
}

/// Reads a message of at most so many bytes, in this time.
pub(super) async fn read<T: DeserializeOwned>(
    from: &mut (impl AsyncRead + Unpin),
    size_limit: u32,
    limit: Duration,
) -> Result<T, Error> {
    let read = async {
        let length = from.read_u32().await?;
        if length > size_limit {
            let words = format!("a message of {length} bytes, and at most {size_limit} are read");
            return Err(Error::new(ErrorKind::InvalidData, words));
        }
        // What is announced and never comes takes no memory.
        let mut json = Vec::new();
        from.take(u64::from(length)).read_to_end(&mut json).await?;
        if json.len() as u64 != u64::from(length) {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        serde_json::from_slice(&json).map_err(|error| Error::new(ErrorKind::InvalidData, error))
    };
    timeout(limit, read).await.unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()))
}
