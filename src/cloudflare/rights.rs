//! Rights of an API token, by the names that Cloudflare gives them.

/// Zones and their names.
pub(super) use crate::domain::doctor::token::ZONE_READ;

/// Tunnels, their configurations and their tokens. Newer forms call the group `Cloudflare One Connector: cloudflared`.
pub(super) const TUNNEL: &str = "Cloudflare Tunnel Write";
/// Records of a zone.
pub(super) const DNS: &str = "DNS Write";
/// Applications and the policies that they link.
pub(super) const ACCESS_APPS: &str = "Access: Apps and Policies Write";
/// The ways to sign in that the account offers.
pub(super) const ACCESS_IDENTITY_PROVIDERS: &str =
    "Access: Organizations, Identity Providers, and Groups Read";
/// Names of service tokens; never their secrets.
pub(super) const ACCESS_SERVICE_TOKENS: &str = "Access: Service Tokens Read";
/// Making, rotating and revoking them.
pub(super) const ACCESS_SERVICE_TOKENS_WRITE: &str = "Access: Service Tokens Write";
/// Who is in the account.
pub(super) use crate::domain::access::MEMBERS_RIGHT as MEMBERS;

/// Returns the right that somebody has who wrote at this path.
pub(super) fn shown_by_write(path: &[String]) -> Option<&'static str> {
    let words: Vec<&str> = path.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["accounts", _, "cfd_tunnel", ..] => Some(TUNNEL),
        ["zones", _, "dns_records", ..] => Some(DNS),
        ["accounts", _, "access", "apps" | "policies", ..] => Some(ACCESS_APPS),
        ["accounts", _, "access", "service_tokens", ..] => Some(ACCESS_SERVICE_TOKENS_WRITE),
        _ => None,
    }
}
