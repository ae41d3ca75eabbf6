//! Where the master is. Paths are appended, so that a master below a prefix works, and slashes never double.

use url::Url;

use crate::http_client::shown;

/// Base address of a master, without a slash at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MasterUrl(Url);

/// An address that no master can have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{value}` is no address of a master: {reason}; set `DOCKFLARE_MASTER_URL` to one such as `https://master.example.com`"
)]
pub struct InvalidMasterUrl {
    /// What was given, without user name, password and query.
    pub value: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl MasterUrl {
    /// Checks an address; it may end with slashes.
    pub fn parse(value: &str) -> Result<Self, InvalidMasterUrl> {
        let shown =
            || value.split(['?', '#']).next().unwrap_or_default().rsplit('@').next().unwrap_or_default();
        let refuse = |reason| InvalidMasterUrl { value: shown().chars().take(200).collect(), reason };
        let mut url = Url::parse(value.trim()).map_err(|_| refuse("it cannot be read"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(refuse("it must start with http:// or https://"));
        }
        if !url.has_host() {
            return Err(refuse("it names no host"));
        }
        url.set_query(None);
        url.set_fragment(None);
        let path = url.path().trim_end_matches('/').to_owned();
        url.set_path(&path);
        Ok(Self(url))
    }

    /// Returns the address of `path`, which starts with a slash.
    pub fn join(&self, path: &str) -> Url {
        let mut url = self.0.clone();
        url.set_path(&format!("{}{path}", self.0.path().trim_end_matches('/')));
        url
    }
}

impl std::fmt::Display for MasterUrl {
    /// Without user name and password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&shown(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slashes_never_double_and_prefixes_stay() {
        for (base, wanted) in [
            ("http://m:5000", "http://m:5000/api/x"),
            ("http://m:5000/", "http://m:5000/api/x"),
            (" https://m/fleet// ", "https://m/fleet/api/x"),
            ("http://[::1]:8080/?a=b#c", "http://[::1]:8080/api/x"),
        ] {
            assert_eq!(MasterUrl::parse(base).unwrap().join("/api/x").as_str(), wanted, "{base}");
        }
    }

    #[test]
    fn other_addresses_are_refused_without_their_secrets() {
        for base in ["", "master:5000", "ftp://m", "http://", "unix:///x", "ldap://u:hidden@m/?k=hidden"] {
            let error = MasterUrl::parse(base).unwrap_err().to_string();
            assert!(error.contains("DOCKFLARE_MASTER_URL") && !error.contains("hidden"), "{error}");
        }
        let shown = MasterUrl::parse("https://u:hidden@m/x").unwrap().to_string();
        assert_eq!(shown, "https://m/x");
    }
}
