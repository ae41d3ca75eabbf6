//! The time zone in which people want to read times, kept for clients; ours are UTC everywhere.

use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::db::read::find_setting;
use crate::web::auth::{Admin, Viewer};
use crate::web::body::Lenient;
use crate::web::error::ApiError;
use crate::web::state::WebState;

const SETTING: &str = "redflag.timezone";

/// The zones that can be chosen, as RedFlag lists them.
const ZONES: [(&str, &str); 11] = [
    ("UTC", "UTC (Coordinated Universal Time)"),
    ("America/New_York", "Eastern Time (ET)"),
    ("America/Chicago", "Central Time (CT)"),
    ("America/Denver", "Mountain Time (MT)"),
    ("America/Los_Angeles", "Pacific Time (PT)"),
    ("Europe/London", "London (GMT)"),
    ("Europe/Paris", "Paris (CET)"),
    ("Europe/Berlin", "Berlin (CET)"),
    ("Asia/Tokyo", "Tokyo (JST)"),
    ("Asia/Shanghai", "Shanghai (CST)"),
    ("Australia/Sydney", "Sydney (AEST)"),
];

/// A time zone.
#[derive(Debug, Deserialize, ToSchema)]
pub struct ZoneBody {
    timezone: Option<String>,
}

fn record(name: &str) -> Value {
    let (name, label) = ZONES.into_iter().find(|(zone, _)| *zone == name).unwrap_or(ZONES[0]);
    json!({ "timezone": name, "label": label })
}

/// `GET /api/v1/settings/timezone`.
#[utoipa::path(get, path = "/api/v1/settings/timezone", tag = "v1", responses((status = 200), (status = 401)),
    security(("admin_token" = [])))]
pub async fn zone(_: Viewer, state: web::Data<WebState>) -> Result<HttpResponse, ApiError> {
    let row = find_setting(&state.master().db, SETTING).await.map_err(ApiError::internal)?;
    let name = row.and_then(|row| row.value.as_str().map(str::to_owned));
    Ok(HttpResponse::Ok().json(record(name.as_deref().unwrap_or("UTC"))))
}

/// `GET /api/v1/settings/timezones`.
#[utoipa::path(get, path = "/api/v1/settings/timezones", tag = "v1", responses((status = 200), (status = 401)),
    security(("admin_token" = [])))]
pub async fn zones(_: Viewer) -> HttpResponse {
    let all = ZONES.map(|(value, label)| json!({ "value": value, "label": label }));
    HttpResponse::Ok().json(json!({ "timezones": all }))
}

/// `PUT /api/v1/settings/timezone`.
#[utoipa::path(put, path = "/api/v1/settings/timezone", tag = "v1", request_body = ZoneBody,
    responses((status = 200), (status = 400), (status = 401), (status = 403)), security(("admin_token" = [])))]
pub async fn set_zone(
    admin: Admin,
    state: web::Data<WebState>,
    body: Lenient<ZoneBody>,
) -> Result<HttpResponse, ApiError> {
    let name = body.0.timezone.unwrap_or_default();
    if !ZONES.iter().any(|(zone, _)| *zone == name) {
        return Err(ApiError::Invalid(
            "`timezone` is none of those that `GET /settings/timezones` lists".into(),
        ));
    }
    state.master().change_setting(SETTING, json!(name), &admin.name).await?;
    let mut answer = record(&name);
    answer["message"] = json!("timezone updated successfully");
    Ok(HttpResponse::Ok().json(answer))
}
