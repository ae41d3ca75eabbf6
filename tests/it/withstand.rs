//! Garbage and excess from outside: each is refused by name, and the master goes on.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::master::TestMaster;

/// Sends `head` and `body` as fast as the socket takes them, and reads only then.
fn upload_then_read(address: std::net::SocketAddr, head: String, body: Vec<u8>) -> std::io::Result<String> {
    let mut socket = TcpStream::connect(address)?;
    socket.set_read_timeout(Some(Duration::from_secs(20)))?;
    socket.set_write_timeout(Some(Duration::from_secs(20)))?;
    socket.write_all(head.as_bytes())?;
    for piece in body.chunks(64 * 1024) {
        socket.write_all(piece)?;
    }
    let mut answer = Vec::new();
    let mut piece = [0; 4096];
    while !answer.windows(4).any(|w| w == b"\r\n\r\n") || !answer.ends_with(b"}") {
        let read = socket.read(&mut piece)?;
        if read == 0 {
            break;
        }
        answer.extend_from_slice(&piece[..read]);
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

async fn apart<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    actix_web::web::block(work).await.unwrap()
}

#[actix_web::test]
async fn a_client_that_still_uploads_ten_megabytes_reads_the_refusal() {
    let master = TestMaster::start().await;
    let (key, id) = master.new_agent("web-1").await;
    let cases = [
        (format!("/api/v2/agents/{id}/events"), key.as_str(), 10_000_000, "413"),
        ("/api/v2/agents/register".to_owned(), &key, 10_000_000, "413"),
        ("/api/v2/agents/register".to_owned(), &key, 1_100_000, "413"),
        // Refused before its body was looked at: it reads that as well.
        (format!("/api/v2/agents/{id}/events"), "wrong", 10_000_000, "401"),
    ];
    for (path, key, size, status) in cases {
        for chunked in [false, true] {
            let length = match chunked {
                true => "transfer-encoding: chunked".to_owned(),
                false => format!("content-length: {size}"),
            };
            let head = format!(
                "POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\ncontent-type: application/json\r\n{length}\r\n\r\n"
            );
            let mut body = vec![b' '; size];
            if chunked {
                body = [format!("{size:x}\r\n").into_bytes(), body, b"\r\n0\r\n\r\n".to_vec()].concat();
            }
            let address = master.address;
            let answer = apart(move || upload_then_read(address, head, body)).await;
            let answer = answer.unwrap_or_else(|error| panic!("{path} {size} chunked={chunked}: {error}"));
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{path} {size}: {answer}");
            assert!(answer.contains(r#""status":"error""#), "{answer}");
        }
    }
    master
        .post(&format!("/api/v2/agents/{id}/events"))
        .key(&key)
        .json(json!({ "type": "heartbeat" }))
        .expect(202)
        .await;
    master.stop().await;
}

#[actix_web::test]
async fn a_small_upload_that_unpacks_to_a_large_one_is_refused() {
    let master = TestMaster::start().await;
    let (key, id, session) = master.new_native_agent("web-1").await;
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    packed.write_all(&vec![b' '; 64 << 20]).unwrap();
    let packed = packed.finish().unwrap();
    assert!(packed.len() < 100_000);
    let asking =
        master.post(&format!("/api/v3/agents/{id}/reports")).key(&key).header("lightship-session", &session);
    let refused = asking.header("content-encoding", "gzip").raw(packed).expect(413).await.json();
    assert_eq!(refused["code"], "too_large");
    // What we do not unpack ourselves is not unpacked at all.
    for coding in ["zstd", "br", "deflate", "gzip, gzip"] {
        let asking = master.post(&format!("/api/v3/agents/{id}/reports")).key(&key);
        let asking = asking.header("lightship-session", &session).header("content-encoding", coding);
        let refused = asking.raw(vec![0; 100]).expect(415).await.json();
        assert_eq!(refused["code"], "unsupported_encoding", "{coding}");
    }
    master.stop().await;
}

#[actix_web::test]
async fn garbage_is_refused_by_name_and_the_next_event_is_heard() {
    let master = TestMaster::start().await;
    let (key, id) = master.new_agent("web-1").await;
    let events = format!("/api/v2/agents/{id}/events");
    let cases: Vec<Vec<u8>> = vec![
        b"".to_vec(),
        b"{".to_vec(),
        b"nonsense".to_vec(),
        b"\xff\xfe\x00".to_vec(),
        b"[1,2]".to_vec(),
        b"null".to_vec(),
        b"{}".to_vec(),
        br#"{"type":"container_start","container":5}"#.to_vec(),
        br#"{"type":"container_start","container":{"id":{}}}"#.to_vec(),
        br#"{"type":"heartbeat"} trailing"#.to_vec(),
        b"[".repeat(100_000),
        format!(r#"{{"type":"x","a":{}1{}}}"#, r#"{"a":"#.repeat(64), "}".repeat(64)).into_bytes(),
    ];
    for body in cases {
        let shown = String::from_utf8_lossy(&body[..body.len().min(40)]).into_owned();
        let answer = master.post(&events).key(&key).raw(body).send().await;
        assert_eq!(answer.status, 400, "{shown}: {}", answer.text);
        assert_eq!(answer.json()["status"], "error", "{shown}");
        assert!(answer.json()["message"].as_str().is_some_and(|words| words.len() > 5), "{shown}");
    }
    for body in [
        json!({ "type": ["x"] }),
        json!({ "type": "status_report", "containers": "none" }),
        json!({ "a": 1 }),
    ] {
        master.post(&events).key(&key).json(body).expect(202).await;
    }
    master.stop().await;
}

#[actix_web::test]
async fn unknown_paths_and_methods_are_named_in_the_dialect_of_the_path() {
    let master = TestMaster::start().await;
    let v2 = master.get("/api/v2/nothing").expect(404).await.json();
    assert_eq!(v2, json!({ "status": "error", "message": "no such path" }));
    let wrong = master.ask(reqwest::Method::DELETE, "/api/v2/agents/register").expect(405).await;
    assert_eq!((wrong.header("allow"), wrong.json()["status"].as_str()), ("OPTIONS, POST", Some("error")));
    let page = master.get("/nothing/here").expect(404).await;
    assert!(
        page.header("content-type").starts_with("text/html") && page.text.contains("There is nothing here")
    );
    assert!(!page.header("content-security-policy").is_empty());
    let text = master.post("/api/v2/agents/register").key("x").body("x").expect(401).await.json();
    assert_eq!(text["status"], "error");
    master.stop().await;
}

#[actix_web::test]
async fn odd_labels_are_kept_as_they_are_and_shown_with_the_reason() {
    let master = TestMaster::start().await;
    let (key, id) = master.new_agent("web-1").await;
    master.enroll(&id, "edge-1").await;
    let events = format!("/api/v2/agents/{id}/events");
    for (number, odd) in
        ["a\"b'c", "line\nbreak", "🚢.example.com", &"x".repeat(4096), "<script>alert(1)</script>"]
            .iter()
            .enumerate()
    {
        let labels = json!({ "dockflare.enable": "true", "dockflare.hostname": odd, "dockflare.service": "http://app:80" });
        let container =
            json!({ "id": format!("{number:064}"), "name": format!("app-{number}"), "labels": labels });
        master
            .post(&events)
            .key(&key)
            .json(json!({ "type": "container_start", "container": container }))
            .expect(202)
            .await;
    }
    let record = master.admin_get("/api/v2/agents").expect(200).await.json()["agents"][&id].clone();
    let kept = record["last_containers"].as_array().unwrap();
    assert_eq!(kept.len(), 5);
    assert!(kept.iter().any(|one| one["labels"]["dockflare.hostname"] == "line\nbreak"), "{kept:?}");
    assert!(kept.iter().any(|one| one["labels"]["dockflare.hostname"].as_str().unwrap().len() == 4096));
    // A name in another script is a name, written as DNS writes it; nothing else of this is.
    let rules = master.until_services("one route", |rules| rules.len() == 1).await;
    assert_eq!(rules[0]["hostname"], "xn--068h.example.com");
    let answer = master.admin_get("/api/v3/routes").expect(200).await.json();
    let problems = answer["label_problems"].as_array().unwrap();
    for name in ["app-0", "app-1", "app-3", "app-4"] {
        let told = problems.iter().find(|problem| problem["container"] == name);
        let told = told.unwrap_or_else(|| panic!("{name} is not told of: {problems:?}"));
        assert_eq!((&told["agent_id"], &told["label"]), (&json!(id), &json!("dockflare.hostname")), "{told}");
        assert!(told["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{told}");
    }
    assert!(problems.iter().all(|problem| problem["container"] != "app-2"), "{problems:?}");
    let plan = master.admin_get("/api/v3/plan").expect(200).await;
    assert!(!plan.text.contains("alert(1)"), "{}", plan.text);
    master.stop().await;
}

#[actix_web::test]
async fn five_hundred_containers_are_one_report() {
    let master = TestMaster::start().await;
    let (key, id) = master.new_agent("web-1").await;
    master.enroll(&id, "edge-1").await;
    let list: Vec<Value> = (0..500)
        .map(|n| {
            let host = format!("app-{n}.example.com");
            json!({ "id": format!("{n:064}"), "name": format!("app-{n}"), "status": "running", "labels": {
                "dockflare.enable": "true", "dockflare.hostname": host, "dockflare.service": "http://app:80" } })
        })
        .collect();
    let report = json!({ "type": "status_report", "container": { "containers": list } });
    master.post(&format!("/api/v2/agents/{id}/events")).key(&key).json(report).expect(202).await;
    let rules = master.until_services("500 routes", |rules| rules.len() == 500).await;
    assert_eq!(rules.len(), 500);
    master.stop().await;
}

#[actix_web::test]
async fn guessing_keys_gets_slow_and_a_good_key_never_does() {
    let master = TestMaster::start().await;
    let (key, id) = master.new_agent("web-1").await;
    let path = format!("/api/v2/agents/{id}/commands");
    let mut refused = None;
    for _ in 0..400 {
        let answer = master.get(&path).key("guess").send().await;
        match answer.status {
            401 => {}
            429 => {
                refused = Some(answer);
                break;
            }
            other => panic!("{other}"),
        }
    }
    let refused = refused.expect("300 wrong keys a minute are enough");
    assert!(refused.header("retry-after").parse::<u64>().unwrap() >= 1);
    master.get(&path).key(&key).expect(200).await;
    master.stop().await;
}

#[actix_web::test]
async fn one_caller_behind_a_trusted_proxy_slows_down_no_other_and_cannot_hide() {
    let proxy = std::net::IpAddr::from([127, 0, 0, 1]);
    let master = TestMaster::build(true, |settings| settings.trusted_proxies = vec![proxy]).await;
    let (_, id) = master.new_agent("web-1").await;
    let path = format!("/api/v2/agents/{id}/commands");
    let guess = async |forwarded: &[&str]| {
        let asking = master.get(&path).key("guess");
        let asking = forwarded.iter().fold(asking, |asking, line| asking.header("x-forwarded-for", line));
        asking.send().await.status
    };
    for _ in 0..300 {
        assert_eq!(guess(&["198.51.100.1"]).await, 401);
    }

    assert_eq!(guess(&["198.51.100.1"]).await, 429);
    assert_eq!(guess(&["203.0.113.5, 198.51.100.1"]).await, 429, "what it wrote itself does not count");
    assert_eq!(guess(&["203.0.113.5", "198.51.100.1"]).await, 429, "nor as a header of its own");
    assert_eq!(guess(&["198.51.100.2"]).await, 401);
    master.stop().await;
}
