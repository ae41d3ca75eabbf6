//! The token for Cloudflare. A master that runs here is asked, since nobody else may call Cloudflare for its account, and it
//! knows what it wrote; without one the token is looked at from here.

use std::time::Duration;

use serde::Deserialize;

use super::patient::Patient;
use crate::cli::{output, values};
use crate::clock::Clock;
use crate::domain::doctor::{Check, Family};
use crate::domain::id::ZoneId;
use crate::http_client;

/// How long a running master may take to look.
const LIMIT: Duration = Duration::from_secs(45);
/// Largest answer of it, in bytes.
const SIZE_LIMIT: usize = 1 << 20;

pub(super) async fn look(patient: &Patient) -> Vec<Check> {
    if let Some(checks) = ask_master(patient).await {
        let who = format!("the master that runs with its state in {}", patient.dir.display());
        return [vec![Check::fine("By the word of", who)], checks].concat();
    }
    let name = "API token";
    match values::cloudflare(&patient.settings, patient.io.clone()) {
        Ok(Some(client)) => {
            let zone = patient.settings.cloudflare.zone_id.clone().map(ZoneId::new);
            client.look_at_token(zone.as_ref()).await.judge(Clock::system().now())
        }
        Ok(None) => vec![Check::not_checked(
            name,
            "none is set: routes are planned, and not published",
            "set CF_API_TOKEN and CF_ACCOUNT_ID",
        )],
        Err(error) => {
            vec![Check::problem(name, output::chain(&error), "set both CF_API_TOKEN and CF_ACCOUNT_ID")]
        }
    }
}

#[derive(Deserialize)]
struct Told {
    families: Vec<Family>,
}

/// What a master says that runs here; none if none does, or it is one that has no word for it.
async fn ask_master(patient: &Patient) -> Option<Vec<Check>> {
    let socket = patient.dir.join("admin.sock");
    std::os::unix::net::UnixStream::connect(&socket).ok()?;
    let http = http_client::build(http_client::socket_builder(&socket).timeout(LIMIT)).ok()?;
    let mut answer = http.get("http://localhost/api/v3/doctor").send().await.ok()?;
    if !answer.status().is_success() {
        return None;
    }
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.ok()? {
        if body.len() + chunk.len() > SIZE_LIMIT {
            return None;
        }
        body.extend_from_slice(&chunk);
    }
    let told: Told = serde_json::from_slice(&body).ok()?;
    Some(told.families.into_iter().flat_map(|family| family.checks).collect())
}
