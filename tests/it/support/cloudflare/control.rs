//! Lets another process do over HTTP, below `/__`, what a test does by calls: for benches and shell scripts.

use std::time::Duration;

use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde_json::{Value, json};

use super::faults::{Fault, Trouble};
use super::server::Shared;
use super::state::Moment;

pub(super) fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/state", web::get().to(show_state))
        .route("/edge", web::get().to(show_edge))
        .route("/calls", web::get().to(show_calls))
        .route("/calls", web::delete().to(forget_calls))
        .route("/violations", web::get().to(show_violations))
        .route("/latency", web::post().to(set_latency))
        .route("/faults", web::post().to(add_fault))
        .route("/faults", web::delete().to(end_faults))
        .route("/connectors", web::post().to(add_connector))
        .route("/second-writer", web::post().to(add_second_writer))
        .route("/zones", web::post().to(add_zone))
        .route("/tunnels", web::post().to(add_tunnel))
        .route("/config", web::post().to(write_config))
        .route("/records", web::post().to(add_record));
}

async fn show_state(shared: web::Data<Shared>) -> HttpResponse {
    let state = shared.state();
    let tunnels: Vec<Value> = state
        .tunnels
        .iter()
        .map(|tunnel| {
            json!({
                "id": tunnel.id, "name": tunnel.name, "deleted": tunnel.is_deleted,
                "version": tunnel.version, "config": tunnel.config, "connectors": tunnel.clients,
            })
        })
        .collect();
    let zones: Vec<Value> =
        state.zones.iter().map(|zone| json!({ "id": zone.id, "name": zone.name })).collect();
    let records: Vec<Value> = state.records.iter().map(|record| record.to_json()).collect();
    let apps: Vec<Value> = state.access.apps.iter().map(|app| state.app_json(app)).collect();
    HttpResponse::Ok().json(json!({
        "zones": zones, "tunnels": tunnels, "records": records,
        "apps": apps, "policies": state.list_policies(),
    }))
}

#[derive(Deserialize)]
struct Visit {
    hostname: String,
    #[serde(default = "root")]
    path: String,
}

fn root() -> String {
    "/".into()
}

async fn show_edge(shared: web::Data<Shared>, visit: web::Query<Visit>) -> HttpResponse {
    let edge = shared.state().edge(&visit.hostname, &visit.path);
    HttpResponse::Ok().json(json!({ "open": edge.is_open(), "edge": format!("{edge:?}") }))
}

async fn show_calls(shared: web::Data<Shared>) -> HttpResponse {
    let calls: Vec<Value> = shared
        .calls()
        .iter()
        .map(|call| {
            json!({
                "op": call.op.map(|op| format!("{op:?}")), "method": call.method, "path": call.path,
                "query": call.query, "body": call.body, "status": call.status,
                "arrived_micros": call.arrived_micros,
                "took_micros": call.answered.map(|at| at.duration_since(call.arrived).as_micros() as u64),
            })
        })
        .collect();
    HttpResponse::Ok().json(calls)
}

async fn forget_calls(shared: web::Data<Shared>) -> HttpResponse {
    shared.calls().clear();
    HttpResponse::NoContent().finish()
}

async fn show_violations(shared: web::Data<Shared>) -> HttpResponse {
    HttpResponse::Ok().json(shared.violations().clone())
}

#[derive(Deserialize)]
struct Latency {
    millis: u64,
}

async fn set_latency(shared: web::Data<Shared>, order: web::Json<Latency>) -> HttpResponse {
    shared.set_latency(Duration::from_millis(order.millis));
    HttpResponse::NoContent().finish()
}

/// `trouble` is `rate_limited`, `server_error`, `bad_gateway`, `never_answers`, `half_answer` or `slow`.
#[derive(Deserialize)]
struct FaultOrder {
    trouble: String,
    #[serde(default)]
    seconds: u64,
    times: Option<usize>,
    #[serde(default)]
    after_effect: bool,
}

async fn add_fault(shared: web::Data<Shared>, order: web::Json<FaultOrder>) -> HttpResponse {
    let trouble = match order.trouble.as_str() {
        "rate_limited" => Trouble::RateLimited(Some(order.seconds)),
        "server_error" => Trouble::ServerError,
        "bad_gateway" => Trouble::BadGatewayPage,
        "never_answers" => Trouble::NeverAnswers,
        "half_answer" => Trouble::HalfAnswer,
        "slow" => Trouble::Slow(Duration::from_secs(order.seconds)),
        other => return HttpResponse::BadRequest().body(format!("unknown trouble `{other}`")),
    };
    let mut fault = Fault::any(trouble).times(order.times.unwrap_or(1));
    fault.after_effect = order.after_effect;
    shared.faults().push(fault);
    HttpResponse::NoContent().finish()
}

async fn end_faults(shared: web::Data<Shared>) -> HttpResponse {
    shared.faults().clear();
    HttpResponse::NoContent().finish()
}

#[derive(Deserialize)]
struct Connector {
    tunnel_id: String,
    client_id: String,
    config_version: i64,
}

async fn add_connector(shared: web::Data<Shared>, order: web::Json<Connector>) -> HttpResponse {
    match shared.state().tunnel_mut(&order.tunnel_id) {
        Ok(tunnel) => tunnel.connect(&order.client_id, order.config_version),
        Err(refusal) => return HttpResponse::NotFound().body(refusal.message),
    }
    HttpResponse::NoContent().finish()
}

/// `moment` is `before_put` or `after_put`.
#[derive(Deserialize)]
struct SecondWriter {
    moment: String,
    rule: Value,
}

async fn add_second_writer(shared: web::Data<Shared>, order: web::Json<SecondWriter>) -> HttpResponse {
    let moment = if order.moment == "after_put" { Moment::AfterPut } else { Moment::BeforePut };
    shared.state().second_writers.push_back((moment, order.rule.clone()));
    HttpResponse::NoContent().finish()
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

async fn add_zone(shared: web::Data<Shared>, order: web::Json<Named>) -> HttpResponse {
    let id = shared.state().add_zone(&order.name);
    HttpResponse::Ok().json(json!({ "id": id }))
}

async fn add_tunnel(shared: web::Data<Shared>, order: web::Json<Named>) -> HttpResponse {
    match shared.state().create_tunnel(&order.name, "cloudflare") {
        Ok(id) => HttpResponse::Ok().json(json!({ "id": id })),
        Err(refusal) => HttpResponse::Conflict().body(refusal.message),
    }
}

#[derive(Deserialize)]
struct Written {
    tunnel_id: String,
    config: Value,
}

async fn write_config(shared: web::Data<Shared>, order: web::Json<Written>) -> HttpResponse {
    match shared.state().tunnel_mut(&order.tunnel_id) {
        Ok(tunnel) => HttpResponse::Ok().json(json!({ "version": tunnel.write(order.config.clone()) })),
        Err(refusal) => HttpResponse::NotFound().body(refusal.message),
    }
}

#[derive(Deserialize)]
struct NewRecord {
    zone_id: String,
    record: Value,
}

async fn add_record(shared: web::Data<Shared>, order: web::Json<NewRecord>) -> HttpResponse {
    match shared.state().create_record(&order.zone_id, &order.record) {
        Ok(record) => HttpResponse::Ok().json(record.to_json()),
        Err(refusal) => HttpResponse::Conflict().body(refusal.message),
    }
}
