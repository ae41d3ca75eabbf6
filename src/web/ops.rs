//! For machines that watch: alive, ready, metrics, and the description of the API.

use std::fmt::Write;

use actix_web::{HttpResponse, web};
use serde_json::json;

use super::auth::Anyone;
use super::error::ApiError;
use super::picture::presence;
use super::state::WebState;

/// `GET /healthz`: the process answers.
#[utoipa::path(get, path = "/healthz", tag = "health", responses((status = 200)), security(()))]
pub async fn healthz(_: Anyone) -> HttpResponse {
    HttpResponse::Ok().json(json!({ "status": "ok" }))
}

/// `GET /readyz`: migrations ran, keys are loaded, requests are served. What is away is named and keeps 200.
#[utoipa::path(get, path = "/readyz", tag = "health", responses((status = 200), (status = 500)), security(()))]
pub async fn readyz(_: Anyone, state: web::Data<WebState>) -> Result<HttpResponse, ApiError> {
    // The listener is opened after migrations and keys, so that being asked means both are done.
    let is_set_up = crate::db::read::has_admin(&state.master().db).await.map_err(ApiError::internal)?;
    let mut notes = Vec::new();
    if !is_set_up {
        notes.push("set-up is not done: nobody can sign in to the page".to_owned());
    }
    if !state.master().has_cloudflare() {
        notes.push("no Cloudflare token is set: routes are planned and not published".to_owned());
    }
    let refusal = state.master().cloudflare_refusal();
    if let Some(refusal) = &refusal {
        notes.push(format!("Cloudflare refuses the token, so nothing is published or withdrawn: {refusal}"));
    }
    let publishes = state.master().has_cloudflare() && refusal.is_none();
    if let Some(ask) = &state.settings().docker
        && let Some(problem) = ask().await
    {
        notes.push(problem);
    }
    Ok(HttpResponse::Ok().json(json!({
        "status": "ready", "set_up": is_set_up, "cloudflare": publishes, "notes": notes,
        "version": env!("CARGO_PKG_VERSION"),
    })))
}

/// `GET /metrics`: in the text form that Prometheus reads; names no agent and no host.
#[utoipa::path(get, path = "/metrics", tag = "health", responses((status = 200)), security(()))]
pub async fn metrics(_: Anyone, state: web::Data<WebState>) -> HttpResponse {
    // Gauges of the supervision tree are looked up when somebody asks for them.
    state.master().tree.publish_gauges();
    let mut text = state.settings().metrics.as_ref().map(|render| render()).unwrap_or_default();
    fleet(&state, &mut text);
    HttpResponse::Ok().content_type("text/plain; version=0.0.4; charset=utf-8").body(text)
}

fn fleet(state: &WebState, text: &mut String) {
    let mut counts = [("pending", 0), ("enrolled", 0), ("revoked", 0)];
    let mut online = 0;
    for slot in state.master().directory.slots() {
        let word = slot.status().as_str();
        // Removed agents, which only fetch their last command, are not counted.
        let Some(count) = counts.iter_mut().find(|(state, _)| *state == word) else { continue };
        count.1 += 1;
        online += u64::from(presence(state, slot.id(), None).is_online);
    }
    text.push_str("# HELP lightship_agents Agents by state.\n# TYPE lightship_agents gauge\n");
    for (word, count) in counts {
        let _ = writeln!(text, "lightship_agents{{state=\"{word}\"}} {count}");
    }
    text.push_str(
        "# HELP lightship_agents_online Agents heard lately.\n# TYPE lightship_agents_online gauge\n",
    );
    let _ = writeln!(text, "lightship_agents_online {online}");
}
