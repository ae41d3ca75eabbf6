//! A way to an Engine over TCP that notes what is asked, as a socket proxy would see it, and refuses what it is told to.

use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::task::JoinSet;

/// Passes everything on to a unix socket.
pub struct Proxy {
    /// What `DOCKER_HOST` is to be.
    pub docker_host: String,
    asked: Arc<Mutex<Vec<String>>>,
    _serving: JoinSet<()>,
}

/// What a proxy refuses, by its request line.
type Refuse = fn(&str) -> bool;

impl Proxy {
    pub async fn start(socket: PathBuf) -> Self {
        Self::refusing(socket, |_| false).await
    }

    /// One that answers 403 to what it refuses.
    pub async fn refusing(socket: PathBuf, refuse: Refuse) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let docker_host = format!("tcp://{}", listener.local_addr().unwrap());
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let notes = Arc::clone(&asked);
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                connections.spawn(pass_on(client, socket.clone(), Arc::clone(&notes), refuse));
            }
        });
        Self { docker_host, asked, _serving: serving }
    }

    /// Every request line so far, such as `GET /v1.41/info`.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().clone()
    }
}

async fn pass_on(client: TcpStream, socket: PathBuf, asked: Arc<Mutex<Vec<String>>>, refuse: Refuse) {
    let Ok(engine) = UnixStream::connect(socket).await else { return };
    let (mut from_client, to_client) = client.into_split();
    let (mut from_engine, mut to_engine) = engine.into_split();
    let to_client = tokio::sync::Mutex::new(to_client);
    let there = async {
        let mut bytes = vec![0; 64 * 1024];
        while let Ok(count @ 1..) = from_client.read(&mut bytes).await {
            // A head may be cut in two by the network, but not on loopback and at this size.
            let text = String::from_utf8_lossy(&bytes[..count]);
            let heads: Vec<&str> = text.lines().filter_map(|line| line.strip_suffix(" HTTP/1.1")).collect();
            asked.lock().extend(heads.iter().map(|head| (*head).to_owned()));
            let sent = match heads.iter().any(|head| refuse(head)) {
                true => to_client.lock().await.write_all(REFUSAL).await,
                false => to_engine.write_all(&bytes[..count]).await,
            };
            if sent.is_err() {
                break;
            }
        }
    };
    let back = async {
        let mut bytes = vec![0; 64 * 1024];
        while let Ok(count @ 1..) = from_engine.read(&mut bytes).await {
            if to_client.lock().await.write_all(&bytes[..count]).await.is_err() {
                break;
            }
        }
    };
    tokio::select! { () = there => {}, () = back => {} }
}

const REFUSAL: &[u8] = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n";
