//! An Engine that tells of more events than a real one could bring about: what the agent asks of one, and no more.

use std::sync::Arc;

use actix_web::dev::ServerHandle;
use actix_web::web::{self, Bytes};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};
use lightship::clock::Clock;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::support::until::until;

/// Events that may wait for the agent to read them.
const BUFFER: usize = 256;

type Listener = Arc<Mutex<Option<mpsc::Sender<Bytes>>>>;

/// Runs on a thread of its own; ends with its owner.
pub struct Engine {
    address: String,
    listener: Listener,
    server: ServerHandle,
}

impl Engine {
    /// Starts one with this many labelled containers, all of them running.
    pub fn start(containers: usize) -> Self {
        let listener = Listener::default();
        let (told, shared) = (std::sync::mpsc::channel(), listener.clone());
        let (tell, learn) = told;
        std::thread::spawn(move || {
            actix_web::rt::System::new().block_on(async move {
                let app = move || {
                    let listener = shared.clone();
                    App::new().default_service(web::to(move |request: HttpRequest| {
                        let answer = answer(&request, containers, &listener);
                        async move { answer }
                    }))
                };
                let server =
                    HttpServer::new(app).workers(1).disable_signals().bind(("127.0.0.1", 0)).unwrap();
                let address = format!("tcp://{}", server.addrs()[0]);
                let server = server.run();
                tell.send((address, server.handle())).unwrap();
                server.await.unwrap();
            });
        });
        let (address, server) = learn.recv().unwrap();
        Self { address, listener, server }
    }

    /// What `DOCKER_HOST` is to be.
    pub fn docker_host(&self) -> &str {
        &self.address
    }

    /// True once somebody listens to events.
    pub fn is_watched(&self) -> bool {
        self.listener.lock().is_some()
    }

    /// Tells of an event; waits while the agent reads more slowly.
    pub async fn tell(&self, action: &str, number: usize) {
        let now = Clock::system().now();
        let mut attributes = labels(number);
        attributes["name"] = name(number).into();
        attributes["image"] = "app:1".into();
        let event = json!({
            "Type": "container", "Action": action, "scope": "local",
            "Actor": { "ID": id(number), "Attributes": attributes },
            "time": now.timestamp(), "timeNano": now.timestamp_nanos_opt(),
        });
        let line = Bytes::from(format!("{event}\n"));
        // Every now and then the agent lists again, and listens anew for that: the listener of before is gone then.
        until("the agent listens", || async {
            let listener = self.listener.lock().clone()?;
            listener.send(line.clone()).await.ok()
        })
        .await;
    }

    /// True once every event was read.
    pub fn is_drained(&self) -> bool {
        self.listener.lock().as_ref().is_some_and(|listener| listener.capacity() == BUFFER)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.listener.lock().take();
        // It ends when it comes to it: nobody waits.
        drop(self.server.stop(false));
    }
}

fn answer(request: &HttpRequest, containers: usize, listener: &Listener) -> HttpResponse {
    let path = request.path();
    // Without the version in front.
    let path = path.strip_prefix("/v").and_then(|rest| rest.find('/').map(|at| &rest[at..])).unwrap_or(path);
    match path {
        "/_ping" => HttpResponse::Ok().body("OK"),
        "/version" => HttpResponse::Ok().json(json!({ "Version": "27.0.0", "ApiVersion": "1.46" })),
        "/info" => HttpResponse::Ok().json(json!({ "SystemTime": Clock::system().now().to_rfc3339() })),
        "/containers/json" => HttpResponse::Ok().json((0..containers).map(listed).collect::<Vec<_>>()),
        "/events" => {
            let (sender, receiver) = mpsc::channel(BUFFER);
            *listener.lock() = Some(sender);
            let lines = futures_util::stream::unfold(receiver, |mut receiver| async {
                let line = receiver.recv().await?;
                Some((Ok::<_, std::convert::Infallible>(line), receiver))
            });
            HttpResponse::Ok().content_type("application/json").streaming(lines)
        }
        _ => HttpResponse::NotFound().json(json!({ "message": "no such thing here" })),
    }
}

fn id(number: usize) -> String {
    format!("{number:064x}")
}

fn name(number: usize) -> String {
    format!("app-{number}")
}

fn labels(number: usize) -> Value {
    json!({
        "dockflare.enable": "true", "dockflare.hostname": format!("app-{number}.example.com"),
        "dockflare.service": "http://app:80",
    })
}

fn listed(number: usize) -> Value {
    json!({
        "Id": id(number), "Names": [format!("/{}", name(number))], "Image": "app:1", "State": "running",
        "Status": "Up", "Labels": labels(number),
    })
}
