//! Rights of an API token, by the names that Cloudflare gives them.

/// Applications and the policies that they link.
pub(super) const ACCESS_APPS: &str = "Access: Apps and Policies Write";
/// The ways to sign in that the account offers.
pub(super) const ACCESS_IDENTITY_PROVIDERS: &str =
    "Access: Organizations, Identity Providers, and Groups Read";
/// Names of service tokens; never their secrets.
pub(super) const ACCESS_SERVICE_TOKENS: &str = "Access: Service Tokens Read";
