//! The way from a verb to its master: proxies of the environment, redirects, authorities of one's own.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use tempfile::TempDir;

use super::{Desk, ended};
use crate::support::ship::{ADMIN_TOKEN, Rig};
use crate::support::until::until;

/// Nobody listens on the port that these name.
const NOWHERE: [&str; 5] = ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"];

fn behind_a_proxy(rig: Rig) -> Rig {
    NOWHERE.iter().fold(rig, |rig, name| rig.env(name, "http://127.0.0.1:9"))
}

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/tls")).join(name)
}

/// Reads one request, head and body.
fn request(stream: &mut impl Read) -> Option<String> {
    let (mut seen, mut chunk) = (Vec::new(), [0; 4096]);
    loop {
        let text = String::from_utf8_lossy(&seen).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.to_ascii_lowercase();
            let length = length.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
            if body.len() >= length.unwrap_or(0) {
                return Some(text);
            }
        }
        match stream.read(&mut chunk).ok()? {
            0 => return None,
            read => seen.extend_from_slice(&chunk[..read]),
        }
    }
}

/// A server that answers each connection with what `answer` makes of its request; returns its port.
fn serve(answer: impl Fn(TcpStream) + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let answer = Arc::new(answer);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let answer = Arc::clone(&answer);
            std::thread::spawn(move || answer(stream));
        }
    });
    port
}

/// Points everybody to the same path below `base`.
fn pointing_to(base: String) -> u16 {
    serve(move |mut stream| {
        let Some(text) = request(&mut stream) else { return };
        let path = text.split(' ').nth(1).unwrap_or("/");
        let head = format!("HTTP/1.1 301 Moved Permanently\r\nLocation: {base}{path}\r\n");
        let _ = write!(stream, "{head}Content-Length: 0\r\nConnection: close\r\n\r\n");
    })
}

/// Serves what listens on `port` over TLS, with a certificate of an authority that no system knows, to whoever
/// sends these service tokens.
fn over_tls(port: u16, wanted: &'static [&'static str]) -> u16 {
    rustls::crypto::ring::default_provider().install_default().ok();
    let chain = vec![CertificateDer::from_pem_file(fixture("server.pem")).unwrap()];
    let key = PrivateKeyDer::from_pem_file(fixture("server.key")).unwrap();
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).unwrap();
    let config = Arc::new(config);
    serve(move |stream| {
        let mut tls = StreamOwned::new(ServerConnection::new(Arc::clone(&config)).unwrap(), stream);
        let Some(text) = request(&mut tls) else { return };
        let mut answer = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_vec();
        if wanted.iter().all(|header| text.contains(header)) {
            let mut master = TcpStream::connect(("127.0.0.1", port)).unwrap();
            let text = text.replacen("\r\n", "\r\nConnection: close\r\n", 1);
            master.write_all(text.as_bytes()).unwrap();
            answer.clear();
            master.read_to_end(&mut answer).unwrap();
        }
        let _ = tls.write_all(&answer);
        tls.conn.send_close_notify();
        let _ = tls.flush();
    })
}

#[tokio::test]
async fn this_machines_own_addresses_are_never_asked_through_a_proxy() {
    // given: an environment whose proxy leads nowhere
    let dir = TempDir::new().unwrap();
    let rig = behind_a_proxy(Rig::new("standalone", dir.path()));
    // when
    let ship = rig.start();
    // then: the local agent registers, and verbs are answered over the network and over the socket
    until("the local agent is there", || async {
        let agents = ship.get("/api/v2/agents").await["agents"].clone();
        (agents.as_object()?.len() == 1).then_some(())
    })
    .await;
    let elsewhere = TempDir::new().unwrap();
    let far = behind_a_proxy(Rig::new("master", elsewhere.path()));
    for host in ["127.0.0.1", "localhost"] {
        let url = format!("http://{host}:{}", ship.port());
        let args = ["--master", &url, "routes"];
        ended(0, &args, far.verb(&args));
    }
    ended(0, &["routes"], rig.verb(&["routes"]));
    ended(0, &["health"], rig.verb(&["health"]));
}

#[tokio::test]
async fn a_redirect_from_http_to_https_keeps_method_body_and_token() {
    // given: a master behind a TLS front of one's own authority, and behind an Access that wants its headers
    let desk = Desk::start();
    let tls =
        over_tls(desk.master.port(), &["cf-access-client-id: id.access", "cf-access-client-secret: s1"]);
    let plain = pointing_to(format!("https://localhost:{tls}"));
    let master = format!("http://localhost:{plain}");
    let far = (desk.far.clone())
        .env("CF_ACCESS_CLIENT_ID", "id.access")
        .env("CF_ACCESS_CLIENT_SECRET", "s1")
        .env("LIGHTSHIP__AGENT__CA_FILE", fixture("authority.pem").to_str().unwrap());
    for (args, expected) in [
        (&["keys", "create", "--owner", "x"][..], 0),
        (&["routes"], 0),
        (&["plan"], 0),
        (&["apply", "--yes"], 0),
    ] {
        // when
        let args = [&["--master", &master][..], args].concat();
        let (out, said) = ended(expected, &args, far.verb(&args));
        // then
        assert!(!said.contains(ADMIN_TOKEN) && !out.contains(ADMIN_TOKEN), "{args:?}: {said}");
    }
    assert_eq!(desk.key_of("x").1["owner"], "x");
    // Without the authority nothing is believed.
    let (code, _, said) = desk.far.verb(&["--master", &master, "routes"]);
    assert!(code == 1 && said.contains("certificate"), "{said}");
}

#[tokio::test]
async fn a_redirect_to_elsewhere_is_named_with_the_address_to_use() {
    let desk = Desk::start();
    let master = desk.master.url().to_owned();
    let plain = format!("http://127.0.0.1:{}", pointing_to(master.clone()));
    for args in
        [&["routes"][..], &["plan"], &["keys", "create", "--owner", "x"], &["apply", "--yes"], &["agents"]]
    {
        let args = [&["--master", &plain][..], args].concat();
        let (_, said) = ended(1, &args, desk.far.verb(&args));
        let points = format!("points to {master}, where the admin token is not sent; use that address");
        assert!(said.contains(&points), "{args:?}: {said}");
        assert!(!said.contains("refused the admin token"), "{args:?}: {said}");
    }
}
