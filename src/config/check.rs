//! Checks what the types of the settings cannot say.

use std::collections::BTreeMap;

use super::error::{ConfigError, Origin};
use super::secret::Secret;
use super::settings::{Role, Settings};
use crate::domain::access::Selector;
use crate::domain::agent_tunnel::{EDGE_IP_VERSION, PROTOCOL};
use crate::domain::origin_option::read_team;

/// Fewest characters of an admin token, whose guesser has everything, and of others.
const ADMIN_TOKEN: usize = 16;

/// Checks what types cannot say; names the key, the place and the way out.
pub(super) fn check(
    settings: &Settings,
    origins: &BTreeMap<String, Origin>,
    role: Role,
) -> Result<(), ConfigError> {
    let mut problems = Vec::new();
    let mut expect = |fine: bool, key: &'static str, reason: &str| {
        if !fine {
            problems.push((key, reason.to_owned()));
        }
    };
    let web = |url: &Option<String>| url.as_deref().is_none_or(is_web_address);
    let id = |id: &Option<String>| id.as_deref().is_none_or(|id| is_opaque(id, 32));
    let secret = |secret: &Secret, max| secret.expose().is_none_or(|text| is_opaque(text, max));

    expect(web(&settings.agent.master_url), "agent.master_url", WEB_ADDRESS);
    expect(web(&settings.admin.master_url), "admin.master_url", WEB_ADDRESS);
    expect(web(&settings.server.public_url), "server.public_url", WEB_ADDRESS);
    expect(is_web_address(&settings.cloudflare.api_base_url), "cloudflare.api_base_url", WEB_ADDRESS);
    expect(id(&settings.cloudflare.account_id), "cloudflare.account_id", OPAQUE_ID);
    expect(id(&settings.cloudflare.zone_id), "cloudflare.zone_id", OPAQUE_ID);
    expect(
        secret(&settings.cloudflare.api_token, 512),
        "cloudflare.api_token",
        "expected 1 to 512 printable characters without blanks",
    );
    for (key, text) in [
        ("cloudflare.api_token", settings.cloudflare.api_token.expose()),
        ("cloudflare.account_id", settings.cloudflare.account_id.as_deref()),
        ("cloudflare.zone_id", settings.cloudflare.zone_id.as_deref()),
        ("agent.api_key", settings.agent.api_key.expose()),
        ("labels.prefix", settings.labels.prefix.as_deref()),
    ] {
        expect(
            text.is_none_or(|text| !has_quote_at_an_end(text)),
            key,
            "a quote stands at one end of it; leave it out",
        );
    }
    let is_tunnel_name =
        |name: &str| name.len() <= 100 && !name.trim().is_empty() && !name.chars().any(char::is_control);
    expect(
        settings.tunnel.name.as_deref().is_none_or(is_tunnel_name),
        "tunnel.name",
        "expected 1 to 100 bytes without control characters",
    );
    let is_master = matches!(role, Role::Master | Role::Standalone);
    expect(
        !is_master || settings.admin.token.expose().is_none_or(|token| token.chars().count() >= ADMIN_TOKEN),
        "admin.token",
        "it opens everything, so it needs 16 characters or more; `openssl rand -hex 16` makes one",
    );
    expect(
        !is_master || settings.security.jwt_secret.expose().is_none_or(|secret| secret.len() >= ADMIN_TOKEN),
        "security.jwt_secret",
        "whoever guesses it can be anybody, so it needs 16 characters or more; `openssl rand -hex 32` makes one",
    );
    expect(
        !is_master || settings.registry.push_token.expose().is_none_or(|token| token.len() >= ADMIN_TOKEN),
        "registry.push_token",
        "whoever guesses it keeps all hosts busy, so it needs 16 characters or more; `openssl rand -hex 16` makes one",
    );
    expect(web(&settings.updates.redflag_server_url), "updates.redflag_server_url", WEB_ADDRESS);
    expect(
        (1..=86_400).contains(&settings.agent.report_interval_seconds),
        "agent.report_interval_seconds",
        "expected 1 to 86400 seconds",
    );
    expect(
        (30..=86_400).contains(&settings.updates.scan_interval_seconds),
        "updates.scan_interval_seconds",
        "expected 30 to 86400 seconds",
    );
    expect(
        (1..=86_400).contains(&settings.updates.lock_wait_seconds),
        "updates.lock_wait_seconds",
        "expected 1 to 86400 seconds",
    );
    expect(
        (5..=86_400).contains(&settings.updates.silence_seconds),
        "updates.silence_seconds",
        "expected 5 to 86400 seconds",
    );
    expect((1..=365).contains(&settings.updates.undo_days), "updates.undo_days", "expected 1 to 365 days");
    expect(
        settings.publish.grace_period_seconds <= 30 * 86_400,
        "publish.grace_period_seconds",
        "expected 0 to 2592000 seconds",
    );
    expect(
        (10..=86_400).contains(&settings.publish.agent_timeout_seconds),
        "publish.agent_timeout_seconds",
        "expected 10 to 86400 seconds",
    );
    expect(
        matches!(settings.publish.compare_interval_seconds, 0 | 30..=86_400),
        "publish.compare_interval_seconds",
        "expected 0, or 30 to 86400 seconds",
    );
    let email = settings.publish.account_owner_email.clone();
    if let Some(Err(reason)) = email.map(|email| Selector::Email(email).check()) {
        expect(false, "publish.account_owner_email", &reason);
    }
    if let Some(Err(reason)) = settings.publish.access_team.as_deref().map(read_team) {
        expect(false, "publish.access_team", &reason);
    }
    expect(
        settings.notifications.grouping_seconds <= 3_600,
        "notifications.grouping_seconds",
        "expected 0 to 3600 seconds",
    );
    expect(!settings.server.host.trim().is_empty(), "server.host", "expected an address such as 0.0.0.0");
    expect(
        !settings.tunnel.network.trim().starts_with("container:"),
        "tunnel.network",
        "the connector cannot use the network of another container; name a network",
    );
    if let Err(bad) = settings.tunnel.options() {
        expect(false, key_of_option(bad.name), bad.reason);
    }
    expect(
        settings.redis.url.expose().is_none_or(|url| redis::Client::open(url).is_ok()),
        "redis.url",
        "expected an address such as redis://host:6379/0",
    );
    match problems.into_iter().next() {
        None => Ok(()),
        Some((key, reason)) => {
            let origin = origins.get(key).cloned();
            let origin = origin.unwrap_or_else(|| Origin::Variable("(default)".into()));
            Err(ConfigError::Invalid { key: key.into(), origin, reason })
        }
    }
}

fn key_of_option(name: &str) -> &'static str {
    match name {
        PROTOCOL => "tunnel.protocol",
        EDGE_IP_VERSION => "tunnel.edge_ip_version",
        _ => "tunnel.post_quantum",
    }
}

const WEB_ADDRESS: &str = "expected an address that starts with http:// or https:// and names a host";
const OPAQUE_ID: &str =
    "expected 1 to 32 printable characters without blanks, as the Cloudflare page shows it";

fn is_web_address(text: &str) -> bool {
    url::Url::parse(text.trim())
        .is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.host_str().is_some())
}

/// None of what is looked at begins or ends with a quote.
fn has_quote_at_an_end(text: &str) -> bool {
    let text = text.trim();
    text.starts_with(['"', '\'']) || text.ends_with(['"', '\''])
}

fn is_opaque(text: &str, max: usize) -> bool {
    (1..=max).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}
