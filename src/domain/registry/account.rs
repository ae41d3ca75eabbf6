//! Accounts at registries, as people set them.

use super::reference::{is_loopback, registry_named};

/// Longest name of an account.
const MAX_NAME: usize = 255;
/// Longest password; a key of Google's registry is a file of about 2,400 bytes.
const MAX_PASSWORD: usize = 16 << 10;

/// Who somebody is at a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Which registry, as it stands in names of images.
    pub registry: String,
    /// The account's name.
    pub name: String,
}

/// Why something is no account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadAccount {
    /// What no name of an image begins with.
    #[error(
        "field `registry` is not allowed: send it as it stands in names of images, such as `ghcr.io` or `10.0.0.5:5000`; Docker Hub is `docker.io`"
    )]
    Registry,
    /// What is another machine for every host.
    #[error(
        "field `registry` is not allowed: every host asks its own registry itself; run `docker login` there"
    )]
    Loopback,
    /// No name, or one that cannot be sent.
    #[error(
        "field `username` is not allowed: send 1 to {MAX_NAME} characters without a colon and without control characters"
    )]
    Name,
    /// No password, or one that cannot be sent.
    #[error("field `password` is not allowed: send 1 to {MAX_PASSWORD} bytes")]
    Password,
}

impl Account {
    /// Checks what a person wrote; the password is looked at and not kept.
    pub fn new(registry: &str, name: &str, password: &str) -> Result<Self, BadAccount> {
        let registry = registry_named(registry.trim()).ok_or(BadAccount::Registry)?;
        if is_loopback(&registry) {
            return Err(BadAccount::Loopback);
        }
        let name = name.trim();
        // Name and password are sent with a colon between them.
        let is_odd = |c: char| c == ':' || c.is_control();
        if name.is_empty() || name.chars().count() > MAX_NAME || name.contains(is_odd) {
            return Err(BadAccount::Name);
        }
        if password.is_empty() || password.len() > MAX_PASSWORD {
            return Err(BadAccount::Password);
        }
        Ok(Self { registry, name: name.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_kept_under_the_registrys_one_name_and_what_cannot_be_sent_is_refused() {
        let long = "x".repeat(MAX_PASSWORD + 1);
        for (registry, name, password, expected) in [
            ("ghcr.io", "bob", "pw", Ok(("ghcr.io", "bob"))),
            (" https://index.docker.io/v1/ ", " bob ", " ", Ok(("docker.io", "bob"))),
            ("Reg.Example:5000", "_json_key", "{\n}", Ok(("reg.example:5000", "_json_key"))),
            ("ghcr.io", "bob", &long[1..], Ok(("ghcr.io", "bob"))),
            ("", "bob", "pw", Err(BadAccount::Registry)),
            ("registry", "bob", "pw", Err(BadAccount::Registry)),
            ("bob:pw@ghcr.io", "bob", "pw", Err(BadAccount::Registry)),
            ("localhost:5000", "bob", "pw", Err(BadAccount::Loopback)),
            ("ghcr.io", "", "pw", Err(BadAccount::Name)),
            ("ghcr.io", "bob:b", "pw", Err(BadAccount::Name)),
            ("ghcr.io", "b\nb", "pw", Err(BadAccount::Name)),
            ("ghcr.io", &long[..256], "pw", Err(BadAccount::Name)),
            ("ghcr.io", "bob", "", Err(BadAccount::Password)),
            ("ghcr.io", "bob", &long, Err(BadAccount::Password)),
        ] {
            let account = Account::new(registry, name, password);
            let parts = account.as_ref().map(|found| (found.registry.as_str(), found.name.as_str()));
            assert_eq!(parts.map_err(|bad| *bad), expected, "{registry} {name}");
        }
    }
}
