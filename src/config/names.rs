//! The names settings are known by in the environment.

use super::settings::Role;

/// Names from DockFlare and RedFlag, and the key each one means.
pub(super) const ALIASES: &[(&str, &str)] = &[
    ("DOCKFLARE_MASTER_URL", "agent.master_url"),
    ("AGENT_DISPLAY_NAME", "agent.display_name"),
    ("REPORT_INTERVAL_SECONDS", "agent.report_interval_seconds"),
    ("CF_ACCESS_CLIENT_ID", "agent.cf_access_client_id"),
    ("CF_ACCESS_CLIENT_SECRET", "agent.cf_access_client_secret"),
    ("CLOUDFLARED_IMAGE", "tunnel.image"),
    ("CLOUDFLARED_NETWORK_NAME", "tunnel.network"),
    ("DOCKER_HOST", "docker.host"),
    ("LOG_LEVEL", "log.level"),
    ("SERVER_HOST", "server.host"),
    ("SERVER_PORT", "server.port"),
    ("DATABASE_URL", "database.url"),
    ("JWT_SECRET", "security.jwt_secret"),
    ("REDFLAG_SERVER_URL", "updates.redflag_server_url"),
    ("AGENT_CONFIG_PATH", "updates.agent_config_path"),
    ("REDIS_URL", "redis.url"),
    ("CF_API_TOKEN", "cloudflare.api_token"),
    ("CF_ACCOUNT_ID", "cloudflare.account_id"),
    ("CF_ZONE_ID", "cloudflare.zone_id"),
    ("CF_API_BASE_URL", "cloudflare.api_base_url"),
    ("LABEL_PREFIX", "labels.prefix"),
    ("LIGHTSHIP_STATE_DIR", "state.dir"),
    ("LIGHTSHIP_ADMIN_TOKEN", "admin.token"),
    ("LIGHTSHIP_MASTER_URL", "admin.master_url"),
    ("LIGHTSHIP_SECRET_KEY", "security.secret_key"),
];

/// One name with two meanings upstream: the agent's key there, the admin's here.
pub(super) const DOCKFLARE_API_KEY: &str = "DOCKFLARE_API_KEY";

/// Returns what `DOCKFLARE_API_KEY` means to `role`.
pub(super) fn dockflare_api_key(role: Role) -> &'static str {
    match role {
        Role::Agent => "agent.api_key",
        Role::Standalone | Role::Master | Role::Client => "admin.token",
    }
}

/// Returns the key that `LIGHTSHIP__SECTION__KEY` names, or none for any other name.
pub(super) fn native_key(name: &str) -> Option<String> {
    name.strip_prefix("LIGHTSHIP__").map(|rest| rest.to_ascii_lowercase().replace("__", "."))
}

/// True if a variable of this name is read.
pub fn is_ours(name: &str) -> bool {
    name == DOCKFLARE_API_KEY || native_key(name).is_some() || ALIASES.iter().any(|(alias, _)| *alias == name)
}

/// Returns the known key closest to `key`, if one is close enough to be meant.
pub(super) fn nearest<'a>(key: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (key.len() / 3).max(2);
    known
        .map(|candidate| (strsim::levenshtein(key, candidate), candidate))
        .min()
        .and_then(|(distance, candidate)| (distance <= limit).then_some(candidate))
}
