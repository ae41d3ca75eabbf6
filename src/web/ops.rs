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
        notes.push("set-up is not done: nobody can sign in to the page");
    }
    if !state.master().has_cloudflare() {
        notes.push("no Cloudflare token is set: routes are planned and not published");
    }
    Ok(HttpResponse::Ok().json(json!({
        "status": "ready", "set_up": is_set_up, "cloudflare": state.master().has_cloudflare(), "notes": notes,
        "version": env!("CARGO_PKG_VERSION"),
    })))
}

/// `GET /metrics`: in the text form that Prometheus reads; names no agent and no host.
#[utoipa::path(get, path = "/metrics", tag = "health", responses((status = 200)), security(()))]
pub async fn metrics(_: Anyone, state: web::Data<WebState>) -> HttpResponse {
    let mut text = state.settings().metrics.as_ref().map(|render| render()).unwrap_or_default();
    fleet(&state, &mut text);
    actors(&state, &mut text);
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

fn actors(state: &WebState, text: &mut String) {
    let tree = state.master().tree.snapshot();
    let mut by_role = std::collections::BTreeMap::<String, (u64, u64, u64)>::new();
    for info in &tree {
        let sum = by_role.entry(info.role.to_string()).or_default();
        sum.0 += 1;
        sum.1 += u64::from(info.restarts);
        sum.2 += info.depth as u64;
    }
    let rows = [
        ("lightship_actors", "Actors that run, by role.", 0),
        ("lightship_actor_restarts", "Restarts of the actors that run, by role.", 1),
        ("lightship_actor_mailbox_depth", "Messages that wait, by role.", 2),
    ];
    for (name, help, column) in rows {
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge");
        for (role, sum) in &by_role {
            let value = [sum.0, sum.1, sum.2][column];
            let _ = writeln!(text, "{name}{{role=\"{role}\"}} {value}");
        }
    }
}
