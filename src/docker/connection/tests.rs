//! Agreeing on an API version, with Engines older and newer than the client.

use std::path::Path;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};

use super::*;
use crate::docker::{BollardDocker, Docker};

type Asked = Arc<Mutex<Vec<String>>>;

/// An Engine that speaks `version` and has no containers; notes what it is asked.
fn engine(socket: &Path, version: &'static str) -> Asked {
    let (listener, asked) = (UnixListener::bind(socket).unwrap(), Asked::default());
    let notes = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream, version, Arc::clone(&notes)));
        }
    });
    asked
}

async fn answer(stream: UnixStream, version: &str, asked: Asked) {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    let mut path = String::new();
    while stream.read_line(&mut line).await.is_ok_and(|read| read > 0) {
        if line.starts_with("GET ") {
            path = line.split(' ').nth(1).unwrap_or_default().to_owned();
            asked.lock().push(path.clone());
        }
        if line == "\r\n" {
            let body = match path.split('?').next().unwrap_or_default() {
                p if p.ends_with("/version") => format!("{{\"ApiVersion\": \"{version}\"}}"),
                p if p.ends_with("/json") => "[]".to_owned(),
                _ => "{}".to_owned(),
            };
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length";
            let text = format!("{head}: {}\r\n\r\n{body}", body.len());
            if stream.write_all(text.as_bytes()).await.is_err() {
                return;
            }
        }
        line.clear();
    }
}

#[tokio::test]
async fn the_older_of_both_versions_is_spoken() {
    let newest = bollard::API_DEFAULT_VERSION;
    let newest = format!("{}.{}", newest.major_version, newest.minor_version);
    for (theirs, agreed) in [("1.41", "1.41"), ("1.44", "1.44"), ("1.99", newest.as_str())] {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("docker.sock");
        let asked = engine(&socket, theirs);
        let docker = BollardDocker::new(&format!("unix://{}", socket.display()), Io::current()).unwrap();

        let info = docker.connect().await.unwrap();
        let listed = docker.list_running().await.unwrap();

        assert_eq!((info.api_version.as_str(), listed), (agreed, vec![]), "{theirs}");
        let asked = asked.lock().clone();
        let prefix = format!("/v{agreed}/containers/json");
        assert!(asked.iter().any(|path| path.starts_with(&prefix)), "{theirs}: {asked:?}");
    }
}

#[tokio::test]
async fn an_engine_that_was_replaced_by_an_older_one_is_agreed_with_again() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("docker.sock");
    engine(&socket, "1.47");
    let docker = BollardDocker::new(&format!("unix://{}", socket.display()), Io::current()).unwrap();
    assert_eq!(docker.connect().await.unwrap().api_version, "1.47");

    std::fs::remove_file(&socket).unwrap();
    engine(&socket, "1.41");

    assert_eq!(docker.connect().await.unwrap().api_version, "1.41");
}
