//! The names settings are known by in the environment.

use super::settings::Role;
use crate::domain::agent_tunnel::{EDGE_IP_VERSION, POST_QUANTUM, PROTOCOL};

/// Names from DockFlare and RedFlag, and the key each one means; a later one wins over an earlier one.
pub(super) const ALIASES: &[(&str, &str)] = &[
    ("REDFLAG_JWT_SECRET", "security.jwt_secret"),
    ("REDFLAG_PUBLIC_URL", "server.public_url"),
    ("REDFLAG_DISPLAY_NAME", "agent.display_name"),
    ("REDFLAG_LOG_LEVEL", "log.level"),
    ("DOCKFLARE_MASTER_URL", "agent.master_url"),
    ("AGENT_DISPLAY_NAME", "agent.display_name"),
    ("REPORT_INTERVAL_SECONDS", "agent.report_interval_seconds"),
    ("CF_ACCESS_CLIENT_ID", "agent.cf_access_client_id"),
    ("CF_ACCESS_CLIENT_SECRET", "agent.cf_access_client_secret"),
    ("TUNNEL_NAME", "tunnel.name"),
    ("CLOUDFLARED_IMAGE", "tunnel.image"),
    ("CLOUDFLARED_NETWORK_NAME", "tunnel.network"),
    ("USE_EXTERNAL_CLOUDFLARED", "tunnel.external"),
    ("DOCKER_HOST", "docker.host"),
    (PROTOCOL, "tunnel.protocol"),
    (EDGE_IP_VERSION, "tunnel.edge_ip_version"),
    (POST_QUANTUM, "tunnel.post_quantum"),
    // Docker looks there if there is no DOCKER_CERT_PATH; the later name wins.
    ("DOCKER_CONFIG", "docker.cert_path"),
    ("DOCKER_CERT_PATH", "docker.cert_path"),
    ("LOG_LEVEL", "log.level"),
    ("WAITRESS_HOST", "server.host"),
    ("SERVER_HOST", "server.host"),
    ("WAITRESS_PORT", "server.port"),
    ("SERVER_PORT", "server.port"),
    ("DOCKFLARE_PUBLIC_URL", "server.public_url"),
    ("DATABASE_URL", "database.url"),
    ("JWT_SECRET", "security.jwt_secret"),
    ("REDFLAG_SERVER_URL", "updates.redflag_server_url"),
    ("REDFLAG_REGISTRATION_TOKEN", "agent.registration_token"),
    ("AGENT_CONFIG_PATH", "updates.agent_config_path"),
    ("REDIS_URL", "redis.url"),
    ("CF_API_TOKEN", "cloudflare.api_token"),
    ("CF_ACCOUNT_ID", "cloudflare.account_id"),
    ("CF_ZONE_ID", "cloudflare.zone_id"),
    ("CF_API_BASE_URL", "cloudflare.api_base_url"),
    ("LABEL_PREFIX", "labels.prefix"),
    ("GRACE_PERIOD_SECONDS", "publish.grace_period_seconds"),
    ("AGENT_HEARTBEAT_TIMEOUT", "publish.agent_timeout_seconds"),
    ("LIGHTSHIP_STATE_DIR", "state.dir"),
    ("LIGHTSHIP_ADMIN_TOKEN", "admin.token"),
    ("LIGHTSHIP_MASTER_URL", "admin.master_url"),
    ("LIGHTSHIP_SECRET_KEY", "security.secret_key"),
];

/// Names of DockFlare and RedFlag that have no counterpart here, and what there is instead.
pub(super) const NOT_READ: &[(&str, &str)] = &[
    (
        "EXTERNAL_TUNNEL_ID",
        "enrol the host with the tunnel that serves today, by its name (on `standalone`: `TUNNEL_NAME`)",
    ),
    ("CLOUDFLARED_CONTAINER_NAME", "the connector is always named `dockflare-agent-tunnel`"),
    (
        "CLOUDFLARED_METRICS_PORT",
        "the connector's metrics are on port 20241 of its network, on no port of the host",
    ),
    ("STATE_FILE_PATH", "`LIGHTSHIP_STATE_DIR` is the folder of all files, `DATABASE_URL` another database"),
    ("AGENT_KEY_STORAGE_PATH", "agent keys are in the database; `LIGHTSHIP_STATE_DIR` is its folder"),
    ("CLEANUP_INTERVAL_SECONDS", "a route goes when `GRACE_PERIOD_SECONDS` are over"),
    ("AGENT_STATUS_UPDATE_INTERVAL_SECONDS", "an agent reports every `REPORT_INTERVAL_SECONDS`"),
    ("AGENT_COMMAND_POLL_INTERVAL", "agents of ours are handed their commands at once"),
    ("AGENT_API_PREFIX", "the agent API is always below `/api/v2/agents`"),
    ("AGENT_ENROLLMENT_REQUIRED", "a new agent always waits until somebody enrols it"),
    (
        "AUTO_RESTORE_AGENT_RULES",
        "rules are always restored, every `LIGHTSHIP__PUBLISH__COMPARE_INTERVAL_SECONDS`",
    ),
    (
        "AUTO_RESTORE_COOLDOWN_SECONDS",
        "`LIGHTSHIP__PUBLISH__COMPARE_INTERVAL_SECONDS` is the time between two comparisons",
    ),
    ("SCAN_ALL_NETWORKS", "containers are found on every network"),
    ("MAX_CONCURRENT_DNS_OPS", "calls to Cloudflare follow its own limits"),
    ("RECONCILIATION_BATCH_SIZE", "calls to Cloudflare follow its own limits"),
    ("TUNNEL_DNS_SCAN_ZONE_NAMES", "records are remembered with their zone, so none is scanned"),
    ("USE_REUSABLE_POLICIES", "policies are always reusable ones"),
    ("SYNC_ALL_CLOUDFLARE_POLICIES", "policies that were not made here stay where they are"),
    ("REDIS_DB_INDEX", "nothing is kept in Redis"),
    ("CACHE_ENABLED", "nothing is cached in Redis"),
    ("DNS_RECORDS_CACHE_TIMEOUT", "records are not cached"),
    ("CACHE_REFRESH_INTERVAL", "records are not cached"),
    ("WAITRESS_THREADS", "threads follow the number of cores"),
    ("SWARM_PLACEMENT_CONSTRAINTS", "Docker Swarm is not supported"),
    ("REDFLAG_HTTP_PROXY", "`http_proxy` is what programs on a host go by, this one included"),
    ("REDFLAG_HTTPS_PROXY", "`https_proxy` is what programs on a host go by, this one included"),
    ("REDFLAG_NO_PROXY", "`no_proxy` is what programs on a host go by, this one included"),
    ("REDFLAG_ORGANIZATION", "it is never sent; name the host with `AGENT_DISPLAY_NAME`"),
];

/// Settings of earlier releases, and why they are gone: whoever has one set expects something that does not happen any more.
pub(super) const GONE: &[(&str, &str)] = &[(
    "publish.allow_unprotected_access",
    "protection by Cloudflare Access is built now, and what `access.*` labels ask for is never left out; remove the setting, \
     and write `access.policy=none` on what is to be public",
)];

/// One name with two meanings upstream: the agent's key there, the admin's here.
pub(super) const DOCKFLARE_API_KEY: &str = "DOCKFLARE_API_KEY";

/// To Docker any value of it means TLS, `0` and `false` included.
pub(super) const DOCKER_TLS_VERIFY: &str = "DOCKER_TLS_VERIFY";

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

/// What a name has behind it if its value is the path of a file that holds the setting.
const FILE: &str = "_FILE";

/// Returns the name of the variable that holds the path of a file with the value of `name`.
pub(super) fn file_variable(name: &str) -> String {
    format!("{name}{FILE}")
}

/// True if a variable of this name is read.
pub fn is_ours(name: &str) -> bool {
    let known = |name: &str| {
        [DOCKFLARE_API_KEY, DOCKER_TLS_VERIFY].contains(&name)
            || native_key(name).is_some()
            || ALIASES.iter().any(|(alias, _)| *alias == name)
    };
    known(name) || name.strip_suffix(FILE).is_some_and(known)
}

/// Returns the known key closest to `key`, if one is close enough to be meant.
pub(super) fn nearest<'a>(key: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (key.len() / 3).max(2);
    known
        .map(|candidate| (strsim::levenshtein(key, candidate), candidate))
        .min()
        .and_then(|(distance, candidate)| (distance <= limit).then_some(candidate))
}
