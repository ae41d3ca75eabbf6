//! The HTTP server: log, latency, faults and the contract around the operations.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, mpsc};
use std::time::{Duration, Instant, SystemTime};

use actix_web::body::SizedStream;
use actix_web::dev::ServerHandle;
use actix_web::http::StatusCode;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};

use super::answer::{self, Refusal};
use super::contract::{Contract, Operation};
use super::faults::{self, Fault, Trouble};
use super::operations::operate;
use super::ops::Op;
use super::state::State;
use super::{ACCOUNT, TOKEN, control, lock};

/// A call as it came in.
#[derive(Debug, Clone)]
pub struct Call {
    pub op: Option<Op>,
    pub method: String,
    pub path: String,
    pub query: BTreeMap<String, String>,
    pub body: Option<Value>,
    /// When its last byte was here.
    pub arrived: Instant,
    /// The same by the machine's clock, for other processes: microseconds since 1970.
    pub arrived_micros: u64,
    /// When the answer was handed over; none if there was none yet.
    pub answered: Option<Instant>,
    pub status: Option<u16>,
}

/// Looks at what Cloudflare holds, and says what is wrong with it.
pub(super) type Watcher = Box<dyn Fn(&State) -> Result<(), String> + Send>;

/// What the server thread and the tests share.
#[derive(Default)]
pub(super) struct Shared {
    state: Mutex<State>,
    faults: Mutex<Vec<Fault>>,
    calls: Mutex<Vec<Call>>,
    violations: Mutex<Vec<String>>,
    watchers: Mutex<Vec<Watcher>>,
    latency_micros: AtomicU64,
}

impl Shared {
    pub fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    pub fn faults(&self) -> MutexGuard<'_, Vec<Fault>> {
        lock(&self.faults)
    }

    pub fn calls(&self) -> MutexGuard<'_, Vec<Call>> {
        lock(&self.calls)
    }

    pub fn violations(&self) -> MutexGuard<'_, Vec<String>> {
        lock(&self.violations)
    }

    pub fn watchers(&self) -> MutexGuard<'_, Vec<Watcher>> {
        lock(&self.watchers)
    }

    /// Carries a call out; who watches sees every change, and no state in between.
    fn operate(&self, call: &Call, values: &[String]) -> answer::Outcome {
        let mut state = self.state();
        let outcome = operate(&mut state, call, values);
        if call.method != "GET" && outcome.is_ok() {
            let complaints: Vec<String> =
                self.watchers().iter().filter_map(|watcher| watcher(&state).err()).collect();
            self.violate(call, complaints.into_iter().map(|why| format!("after this: {why}")));
        }
        outcome
    }

    fn log(&self, call: Call) -> usize {
        let mut calls = self.calls();
        calls.push(call);
        calls.len() - 1
    }

    fn log_answer(&self, index: usize, status: StatusCode) {
        // The log may have been emptied meanwhile.
        if let Some(call) = self.calls().get_mut(index) {
            call.answered = Some(Instant::now());
            call.status = Some(status.as_u16());
        }
    }

    fn violate(&self, call: &Call, wrong: impl IntoIterator<Item = String>) {
        let wrong = wrong.into_iter().map(|why| format!("{} {}: {why}", call.method, call.path));
        self.violations().extend(wrong);
    }

    pub fn set_latency(&self, latency: Duration) {
        self.latency_micros.store(latency.as_micros() as u64, Ordering::Relaxed);
    }
}

/// Starts the server in a thread of its own and waits until it listens.
pub(super) fn spawn(shared: Arc<Shared>) -> (SocketAddr, ServerHandle) {
    let (tell, told) = mpsc::channel();
    let serve = move || async move {
        let data = web::Data::from(shared);
        let app = move || {
            App::new()
                .app_data(data.clone())
                .app_data(web::PayloadConfig::new(16 << 20))
                .service(web::scope("/__").configure(control::routes))
                .default_service(web::to(receive))
        };
        let server =
            HttpServer::new(app).workers(1).disable_signals().bind(("127.0.0.1", 0)).expect("a free port");
        let address = server.addrs()[0];
        let running = server.run();
        tell.send((address, running.handle())).expect("the starter waits");
        running.await.expect("the stand-in serves until it is stopped");
    };
    std::thread::Builder::new()
        .name("cloudflare-stand-in".into())
        .spawn(move || actix_web::rt::System::new().block_on(serve()))
        .expect("a thread");
    told.recv().expect("the stand-in starts")
}

async fn receive(request: HttpRequest, bytes: web::Bytes, shared: web::Data<Shared>) -> HttpResponse {
    let Some(path) = request.path().strip_prefix("/client/v4") else {
        shared.violations().push(format!("{} {}: not below /client/v4", request.method(), request.path()));
        return refuse(&Refusal::new(404, 7000, "No route for that URI"), None);
    };
    let found = Contract::get().find(request.method().as_str(), path);
    let body = (!bytes.is_empty()).then(|| serde_json::from_slice(&bytes).unwrap_or(Value::Null));
    let op = found.as_ref().and_then(|(operation, _)| operation.op);
    let call = Call {
        op,
        method: request.method().to_string(),
        path: path.to_owned(),
        query: read_query(request.query_string()),
        body,
        arrived: Instant::now(),
        arrived_micros: micros_since_1970(),
        answered: None,
        status: None,
    };
    let index = shared.log(call.clone());
    let response = carry_out(&request, &shared, &call, found).await;
    shared.log_answer(index, response.status());
    response
}

async fn carry_out(
    request: &HttpRequest,
    shared: &Shared,
    call: &Call,
    found: Option<(&Operation, Vec<String>)>,
) -> HttpResponse {
    wait(Duration::from_micros(shared.latency_micros.load(Ordering::Relaxed))).await;
    let fault = faults::take(&mut shared.faults(), call);
    if let Some(fault) = fault.as_ref().filter(|fault| !fault.has_effect()) {
        return in_trouble(&fault.trouble, StatusCode::OK, Value::Null).await;
    }
    let outcome = match refuse_early(request, shared, call, &found) {
        Some(refusal) => Err(refusal),
        None => shared.operate(call, found.as_ref().map_or(&[], |(_, values)| values.as_slice())),
    };
    let is_in_script = call.path.contains("/dns_records") && shared.state().answers_in_script;
    let outcome = outcome.map(|envelope| match is_in_script {
        true => in_script(&envelope),
        false => envelope,
    });
    if let (Ok(envelope), Some((operation, _))) = (&outcome, &found) {
        let wrong = Contract::get().check_answer(operation, envelope);
        shared.violate(call, wrong.into_iter().map(|why| format!("answer: {why}")));
    }
    let status = match &outcome {
        Ok(_) => found.as_ref().map_or(200, |(operation, _)| operation.status),
        Err(refusal) => refusal.status,
    };
    let (status, envelope) = (status_code(status), envelope_of(&outcome));
    match fault {
        None => HttpResponse::build(status).json(envelope),
        Some(fault) => in_trouble(&fault.trouble, status, envelope).await,
    }
}

/// The same answer with the names of `bücher.example` as people write them.
fn in_script(envelope: &Value) -> Value {
    let text = envelope.to_string().replace("xn--bcher-kva", "bücher");
    serde_json::from_str(&text).expect("names hold nothing that JSON would mind")
}

/// What is refused before anything is looked up: unknown paths, wrong shapes, a wrong token.
fn refuse_early(
    request: &HttpRequest,
    shared: &Shared,
    call: &Call,
    found: &Option<(&Operation, Vec<String>)>,
) -> Option<Refusal> {
    let Some((operation, values)) = found else {
        shared.violate(call, ["no such operation".to_owned()]);
        return Some(Refusal::new(404, 7000, "No route for that URI"));
    };
    let mut wrong = Contract::get().check_request(operation, values, &call.query, call.body.as_ref());
    let content_type = request.headers().get("content-type").and_then(|value| value.to_str().ok());
    if call.body.is_some() && content_type != Some("application/json") {
        wrong.push(format!("the body's type is {content_type:?}"));
    }
    if !wrong.is_empty() {
        let message = wrong.join("; ");
        shared.violate(call, wrong);
        return Some(Refusal::new(400, 1003, message));
    }
    let authorization = request.headers().get("authorization").and_then(|value| value.to_str().ok());
    match authorization.and_then(|value| value.strip_prefix("Bearer ")) {
        Some(token) if token == TOKEN => {}
        _ => return Some(Refusal::new(401, 10000, "Authentication error")),
    }
    let is_our_account = !operation.template.starts_with("/accounts/{") || values[0] == ACCOUNT;
    let is_allowed = is_our_account && has_right(&operation.rights, &shared.state().taken_rights);
    (!is_allowed).then(|| Refusal::new(403, 10000, "Authentication error"))
}

fn has_right(enough: &[String], taken: &[String]) -> bool {
    let is_left = |right: &String| !taken.iter().any(|beginning| right.starts_with(beginning.as_str()));
    enough.is_empty() || enough.iter().any(is_left)
}

/// Answers as the trouble demands; `status` and `right` are what should have been sent.
async fn in_trouble(trouble: &Trouble, status: StatusCode, right: Value) -> HttpResponse {
    match trouble {
        Trouble::RateLimited(after) => {
            let refusal = Refusal::new(429, 10429, "rate limit exceeded");
            refuse(&refusal, *after)
        }
        Trouble::ServerError => HttpResponse::InternalServerError().finish(),
        Trouble::BadGatewayPage => page(StatusCode::BAD_GATEWAY),
        Trouble::NotFoundPage => page(StatusCode::NOT_FOUND),
        Trouble::RefusedWith200 { code, message } => {
            HttpResponse::Ok().json(answer::failure(&Refusal::new(200, *code, message)))
        }
        Trouble::Refused { status, code, message } => refuse(&Refusal::new(*status, *code, message), None),
        Trouble::Slow(delay) => {
            wait(*delay).await;
            HttpResponse::build(status).json(right)
        }
        Trouble::NeverAnswers => std::future::pending().await,
        Trouble::HalfAnswer => half(&right),
        Trouble::Result(result) => HttpResponse::Ok().json(answer::success(result.clone())),
        Trouble::WrongTotal(total) => {
            let mut right = right;
            right["result_info"]["total_count"] = json!(total);
            HttpResponse::Ok().json(right)
        }
    }
}

fn page(status: StatusCode) -> HttpResponse {
    let body = format!("<!DOCTYPE html><html><body><h1>{status}</h1></body></html>");
    HttpResponse::build(status).content_type("text/html").body(body)
}

/// The first half, then nothing: the connection breaks.
fn half(right: &Value) -> HttpResponse {
    let bytes = right.to_string().into_bytes();
    let first = web::Bytes::copy_from_slice(&bytes[..bytes.len() / 2]);
    // The pause lets the first half out before the connection goes.
    let cut = stream::once(async {
        wait(Duration::from_millis(20)).await;
        Err(std::io::Error::other("cut"))
    });
    let body = SizedStream::new(bytes.len() as u64, stream::iter([Ok(first)]).chain(cut).boxed_local());
    HttpResponse::Ok().content_type("application/json").body(body)
}

fn refuse(refusal: &Refusal, retry_after: Option<u64>) -> HttpResponse {
    let mut response = HttpResponse::build(status_code(refusal.status));
    if let Some(seconds) = retry_after {
        response.insert_header(("retry-after", seconds.to_string()));
    }
    response.json(answer::failure(refusal))
}

fn status_code(status: u16) -> StatusCode {
    StatusCode::from_u16(status).expect("a status")
}

fn envelope_of(outcome: &answer::Outcome) -> Value {
    outcome.as_ref().map_or_else(answer::failure, Value::clone)
}

async fn wait(delay: Duration) {
    if !delay.is_zero() {
        actix_web::rt::time::sleep(delay).await;
    }
}

fn read_query(text: &str) -> BTreeMap<String, String> {
    web::Query::<BTreeMap<String, String>>::from_query(text).map(web::Query::into_inner).unwrap_or_default()
}

/// Two processes can only compare the machine's clock.
fn micros_since_1970() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_micros()).unwrap_or(u64::MAX)
}
