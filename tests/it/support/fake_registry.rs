//! A registry that answers as a test says, byte by byte if need be, and notes what it was asked.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// A request as it came in.
#[derive(Debug, Clone)]
pub struct Seen {
    pub method: String,
    /// With its query.
    pub path: String,
    /// Header lines, names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// True if it is about a manifest.
    pub fn is_manifest(&self) -> bool {
        self.path.contains("/manifests/")
    }
}

/// What it answers.
pub enum Reply {
    /// Status, headers, body.
    Full(u16, Vec<(String, String)>, Vec<u8>),
    /// The same, a byte of the body at a time with a pause before each.
    Pieces(u16, Vec<(String, String)>, Vec<u8>, Duration),
    /// Nothing, ever.
    Never,
}

impl Reply {
    pub fn new(status: u16, headers: &[(&str, &str)], body: impl Into<Vec<u8>>) -> Self {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Self::Full(status, headers.collect(), body.into())
    }
}

pub struct FakeRegistry {
    name: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    server: JoinHandle<()>,
}

impl FakeRegistry {
    pub async fn start(answer: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_knowing(|_| answer).await
    }

    /// For answers that hold the registry's own name.
    pub async fn start_knowing<A>(answer: impl FnOnce(String) -> A) -> Self
    where
        A: Fn(&Seen) -> Reply + Send + Sync + 'static,
    {
        Self::serving(TcpListener::bind("127.0.0.1:0").await.unwrap(), answer)
    }

    /// In the place of one that was at this port.
    pub async fn start_at(port: u16, answer: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        Self::serving(TcpListener::bind(("127.0.0.1", port)).await.unwrap(), |_| answer)
    }

    fn serving<A>(listener: TcpListener, answer: impl FnOnce(String) -> A) -> Self
    where
        A: Fn(&Seen) -> Reply + Send + Sync + 'static,
    {
        let name = listener.local_addr().unwrap().to_string();
        let (answer, seen) = (Arc::new(answer(name.clone())), Arc::<Mutex<Vec<Seen>>>::default());
        let log = seen.clone();
        let server = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (answer, log) = (answer.clone(), log.clone());
                tokio::spawn(async move {
                    let _ = serve(stream, &*answer, &log).await;
                });
            }
        });
        Self { name, seen, server }
    }

    /// As it stands in names of images.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns what came in since the last time, and forgets it.
    pub fn take_seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.seen.lock())
    }
}

impl Drop for FakeRegistry {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn serve(
    mut stream: TcpStream,
    answer: &(dyn Fn(&Seen) -> Reply + Send + Sync),
    log: &Mutex<Vec<Seen>>,
) -> std::io::Result<()> {
    let Some(seen) = read(&mut stream).await? else { return Ok(()) };
    let is_head = seen.method == "HEAD";
    let reply = answer(&seen);
    log.lock().push(seen);
    match reply {
        Reply::Never => std::future::pending().await,
        Reply::Full(status, headers, body) => {
            stream.write_all(&head(status, &headers, body.len())).await?;
            if !is_head {
                stream.write_all(&body).await?;
            }
        }
        Reply::Pieces(status, headers, body, pause) => {
            for byte in [head(status, &headers, body.len()), body].concat() {
                sleep(pause).await;
                stream.write_all(&[byte]).await?;
            }
        }
    }
    stream.shutdown().await
}

fn head(status: u16, headers: &[(String, String)], length: usize) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {status} x\r\nconnection: close\r\ncontent-length: {length}\r\n");
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    (head + "\r\n").into_bytes()
}

/// Reads one request; whoever speaks TLS is hung up on.
async fn read(stream: &mut TcpStream) -> std::io::Result<Option<Seen>> {
    let mut bytes = Vec::new();
    let end = loop {
        if bytes.first() == Some(&0x16) || stream.read_buf(&mut bytes).await? == 0 {
            return Ok(None);
        }
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
    };
    let text = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = text.lines();
    let mut words = lines.next().unwrap_or_default().split(' ').map(str::to_owned);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
        .collect();
    let length =
        headers.iter().find(|(name, _)| name == "content-length").map_or(0, |(_, n)| n.parse().unwrap());
    while bytes.len() < end + 4 + length && stream.read_buf(&mut bytes).await? > 0 {}
    let body = String::from_utf8_lossy(&bytes[end + 4..]).into_owned();
    Ok(Some(Seen { method, path, headers, body }))
}
