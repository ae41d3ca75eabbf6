//! Clients that take their time: they are let go, and hold up nobody else meanwhile.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use actix_web::dev::ServerHandle;
use lightship::web::{Listen, Patience, serve_with};
use serde_json::json;

use crate::support::master::{ADMIN, TestMaster};
use crate::support::until::until;

/// Requests that a client sends at once; their answers are more than all buffers on the way hold.
const REQUESTS: usize = 150;

async fn apart<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    actix_web::web::block(work).await.unwrap()
}

/// Sends `start` and then one byte every 100 ms until the server hangs up; returns what it answered and when.
fn drip(address: SocketAddr, start: &str) -> (String, Duration) {
    let begun = Instant::now();
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    socket.write_all(start.as_bytes()).unwrap();
    let (mut answer, mut piece) = (Vec::new(), [0; 1024]);
    while begun.elapsed() < Duration::from_secs(20) {
        match socket.read(&mut piece) {
            Ok(0) => break,
            Ok(read) => answer.extend_from_slice(&piece[..read]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                // The server may have hung up meanwhile; its answer is still to be read.
                let _ = socket.write_all(b"a");
            }
            Err(_) => break,
        }
        if !answer.is_empty() {
            break;
        }
    }
    (String::from_utf8_lossy(&answer).into_owned(), begun.elapsed())
}

#[actix_web::test]
async fn a_client_that_sends_byte_by_byte_is_let_go_in_time() {
    // What docs/api.md promises; here it is a tenth of it.
    let promised = Patience::default();
    assert_eq!((promised.head, promised.body), (Duration::from_secs(10), Duration::from_secs(20)));
    let master = TestMaster::start().await;
    let (head, body) = (Duration::from_secs(1), Duration::from_secs(2));
    let (address, handle) = serve(&master, Patience { head, body, ..Patience::default() });
    let (key, id) = master.new_agent("web-1").await;
    let head = "GET /healthz HTTP/1.1\r\nhost: x\r\nx-slow: ".to_owned();
    let body = format!(
        "POST /api/v2/agents/{id}/events HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\ncontent-type: application/json\r\ncontent-length: 5000\r\n\r\n{{\"type\""
    );
    let form = format!(
        "POST /api/v2/agents/generate-key HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {ADMIN}\r\ntransfer-encoding: chunked\r\n\r\n1388\r\n"
    );
    for (start, limit) in [(head, 1), (body, 2), (form, 2)] {
        let text = start.clone();
        let (answer, took) = apart(move || drip(address, &text)).await;
        assert!(answer.starts_with("HTTP/1.1 408 "), "{start}: {answer:?} after {took:?}");
        // More than the limit, for the machine may be busy; at this pace all of it would take minutes.
        assert!(took > Duration::from_secs(limit) / 2 && took < Duration::from_secs(10), "{start}: {took:?}");
    }
    master.get("/healthz").expect(200).await;
    handle.stop(true).await;
    master.stop().await;
}

#[actix_web::test]
async fn connections_without_a_request_end_in_time_however_many_wait() {
    // given: thousands that say nothing
    assert_eq!(Patience::default().head, Duration::from_secs(10), "as docs/api.md promises");
    let master = TestMaster::start().await;
    let patience = Patience { head: Duration::from_secs(2), ..Patience::default() };
    let (address, handle) = serve(&master, patience);
    let silent =
        apart(move || (0..2_000).map(|_| TcpStream::connect(address).unwrap()).collect::<Vec<TcpStream>>())
            .await;
    // when, then
    until("the server has ended all of them", || async {
        let open = silent.iter().filter(|client| !has_ended(client)).count();
        (open == 0).then_some(())
    })
    .await;
    master.get("/healthz").expect(200).await;
    handle.stop(true).await;
    master.stop().await;
}

/// True once the server has closed its side.
fn has_ended(client: &TcpStream) -> bool {
    client.set_nonblocking(true).unwrap();
    match (&mut &*client).read(&mut [0; 512]) {
        Ok(read) => read == 0,
        Err(error) => error.kind() != ErrorKind::WouldBlock,
    }
}

/// Serves the master at another address too.
fn serve(master: &TestMaster, patience: Patience) -> (SocketAddr, ServerHandle) {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let listen = Listen { tcp: vec![socket], local: None, workers: 1, stop_secs: 5 };
    let server = serve_with(listen, master.state.clone(), patience).unwrap();
    let handle = server.handle();
    actix_web::rt::spawn(server);
    (address, handle)
}

fn ask_for_much(address: SocketAddr, path: &str) -> TcpStream {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let ask = format!("GET {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {ADMIN}\r\n\r\n");
    socket.write_all(ask.repeat(REQUESTS).as_bytes()).unwrap();
    socket
}

/// Gives `/api/v2/agents` a long answer; returns an agent's key and id, and how long it is.
async fn with_long_answer(master: &TestMaster) -> (String, String, usize) {
    let (key, id) = master.new_agent("web-1").await;
    let labels = json!({ "note": "x".repeat(200) });
    let container =
        |n: usize| json!({ "id": format!("{n:064}"), "name": format!("app-{n}"), "labels": labels });
    let containers: Vec<_> = (0..500).map(container).collect();
    let report = json!({ "type": "status_report", "container": { "containers": containers } });
    master.post(&format!("/api/v2/agents/{id}/events")).key(&key).json(report).expect(202).await;
    let length = master.admin_get("/api/v2/agents").expect(200).await.text.len();
    (key, id, length)
}

/// True while the server has its end of a client's connection, by the system's table: the client is not told.
fn is_open(client: &TcpStream) -> bool {
    let ends = [client.peer_addr(), client.local_addr()].map(|end| format!(":{:04X}", end.unwrap().port()));
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    table.lines().any(|line| {
        let mut words = line.split_whitespace().skip(1);
        ends.iter().all(|end| words.next().is_some_and(|word| word.ends_with(end)))
    })
}

#[actix_web::test]
async fn a_client_that_does_not_read_is_let_go_in_time() {
    assert_eq!(Patience::default().unread, Duration::from_secs(60), "as docs/api.md promises");
    let master = TestMaster::start().await;
    with_long_answer(&master).await;
    let patience = Patience { unread: Duration::from_secs(1), ..Patience::default() };
    let (address, handle) = serve(&master, patience);
    for reads_a_little in [false, true] {
        let socket = ask_for_much(address, "/api/v2/agents");
        assert!(is_open(&socket));
        until("it is let go", || async {
            if reads_a_little {
                let _ = (&socket).read(&mut [0]);
            }
            (!is_open(&socket)).then_some(())
        })
        .await;
    }
    handle.stop(true).await;
    master.stop().await;
}

/// A client that asked for much and reads little of it: one byte every `pause`, or nothing.
struct Lazy {
    reading: JoinHandle<usize>,
    end: mpsc::Sender<()>,
}

impl Lazy {
    fn connect(address: SocketAddr, path: &str, pause: Option<Duration>) -> Self {
        let mut socket = ask_for_much(address, path);
        let (end, ended) = mpsc::channel::<()>();
        let reading = std::thread::spawn(move || {
            let mut read = 0;
            while ended.recv_timeout(pause.unwrap_or(Duration::MAX)) == Err(RecvTimeoutError::Timeout) {
                read += socket.read(&mut [0]).unwrap_or(0);
            }
            // What is left in the buffers, until the server's end of the line.
            let mut piece = vec![0; 1 << 20];
            while let Ok(more @ 1..) = socket.read(&mut piece) {
                read += more;
            }
            read
        });
        Self { reading, end }
    }

    /// Reads on at once; returns how much came in all.
    fn finish(self) -> usize {
        drop(self.end);
        self.reading.join().unwrap()
    }
}

#[actix_web::test]
async fn clients_that_do_not_read_hold_up_neither_others_nor_the_end() {
    // given: a long answer, and clients that ask for it again and again
    let master = TestMaster::start().await;
    let (key, id, length) = with_long_answer(&master).await;
    let events = format!("/api/v2/agents/{id}/events");
    let lazy = |pause| Lazy::connect(master.address, "/api/v2/agents", pause);
    let clients: Vec<Lazy> = (0..6).map(|n| lazy((n % 2 == 0).then_some(Duration::from_secs(1)))).collect();
    // when: others go on, on the one thread that serves them all
    for _ in 0..50 {
        let begun = Instant::now();
        master.post(&events).key(&key).json(json!({ "type": "heartbeat" })).expect(202).await;
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    }
    // then: the end comes in its time
    let begun = Instant::now();
    master.stop().await;
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    for client in clients {
        let read = apart(move || client.finish()).await;
        assert!((1..length * REQUESTS).contains(&read), "{read}: it was held up half-way");
    }
}
