//! HTTP clients: the one place that makes them, what they send to a master, and redirects that keep what was asked.
//!
//! This machine's own addresses are never asked through a proxy: Docker's client puts `HTTP_PROXY` into every
//! container, and no proxy leads back to the loopback of the one who asks.

mod send;

use std::path::Path;

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, ClientBuilder};
use secrecy::{ExposeSecret, SecretString};
use url::{Host, Url};

pub use send::{Request, SendError, send, shown, why};

/// Why a client cannot be made: what is wrong, and what to change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SetupError(String);

/// Begins a client for `target` and the addresses below it. It follows no redirect by itself: [`send`] does.
pub fn builder(target: &Url) -> ClientBuilder {
    let builder = Client::builder().redirect(Policy::none());
    if is_loopback(target) { builder.no_proxy() } else { builder }
}

/// Begins a client that asks whoever listens on a unix socket, whatever host an address names.
pub fn socket_builder(socket: &Path) -> ClientBuilder {
    Client::builder().redirect(Policy::none()).no_proxy().unix_socket(socket.to_owned())
}

/// Has the client trust the certificate authorities in `file` (`agent.ca_file`) beside the system's.
pub fn trusting(builder: ClientBuilder, file: Option<&Path>) -> Result<ClientBuilder, SetupError> {
    match file {
        Some(file) => Ok(builder.tls_certs_merge(certificates(file)?)),
        None => Ok(builder),
    }
}

/// Finishes a client.
pub fn build(builder: ClientBuilder) -> Result<Client, SetupError> {
    builder.build().map_err(|e| SetupError(format!("{e}; is a certificate bundle installed on this system?")))
}

fn certificates(path: &Path) -> Result<Vec<Certificate>, SetupError> {
    let fail = |reason: String| {
        SetupError(format!(
            "the certificates in `{}` cannot be used: {reason}; set `agent.ca_file` \
             (LIGHTSHIP__AGENT__CA_FILE) to a PEM file that this user may read, or unset it",
            path.display()
        ))
    };
    let pem = std::fs::read(path).map_err(|error| fail(error.to_string()))?;
    let certificates = Certificate::from_pem_bundle(&pem).map_err(|error| fail(error.to_string()))?;
    match certificates.is_empty() {
        true => Err(fail("there is no `BEGIN CERTIFICATE` in it".into())),
        false => Ok(certificates),
    }
}

/// A service token of Cloudflare Access.
#[derive(Debug, Clone)]
pub struct AccessToken {
    /// Sent as `CF-Access-Client-Id`.
    pub client_id: String,
    /// Sent as `CF-Access-Client-Secret`.
    pub client_secret: SecretString,
}

impl AccessToken {
    /// Takes the two settings; without either there is no token.
    pub fn new(id: Option<&String>, secret: Option<&SecretString>) -> Option<Self> {
        Some(Self { client_id: id?.clone(), client_secret: secret?.clone() })
    }
}

/// What opens a master, as headers: a key or token that `name` names, and a service token if it is behind
/// Cloudflare Access.
pub fn credentials(
    bearer: Option<(&SecretString, &str)>,
    access: Option<&AccessToken>,
) -> Result<HeaderMap, SetupError> {
    let mut headers = HeaderMap::new();
    if let Some((key, name)) = bearer {
        let text = format!("Bearer {}", key.expose_secret().trim());
        headers.insert(AUTHORIZATION, secret_header(&text, name)?);
    }
    if let Some(access) = access {
        let id = secret_header(access.client_id.trim(), "`CF_ACCESS_CLIENT_ID`")?;
        let secret = secret_header(access.client_secret.expose_secret().trim(), "`CF_ACCESS_CLIENT_SECRET`")?;
        headers.insert(HeaderName::from_static("cf-access-client-id"), id);
        headers.insert(HeaderName::from_static("cf-access-client-secret"), secret);
    }
    Ok(headers)
}

/// Marked so that neither the HTTP client nor HTTP/2 header tables keep or show it.
pub fn secret_header(text: &str, name: &str) -> Result<HeaderValue, SetupError> {
    let mut value = HeaderValue::from_str(text)
        .map_err(|_| SetupError(format!("{name} holds characters that no header can carry")))?;
    value.set_sensitive(true);
    Ok(value)
}

/// True for an address of this machine alone, the unspecified ones included: whoever calls them reaches himself.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback() || ip.is_unspecified(),
        Some(Host::Ipv6(ip)) => {
            let mapped = ip.to_ipv4_mapped().is_some_and(|ip| ip.is_loopback() || ip.is_unspecified());
            ip.is_loopback() || ip.is_unspecified() || mapped
        }
        Some(Host::Domain(name)) => {
            let name = name.strip_suffix('.').unwrap_or(name);
            name == "localhost" || name.ends_with(".localhost")
        }
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machines_own_addresses_are_known_by_all_their_names() {
        for (url, expected) in [
            ("http://127.0.0.1:8080/x", true),
            ("http://127.9.9.9", true),
            ("http://0.0.0.0:1", true),
            ("http://[::1]:8080", true),
            ("http://[::]:8080", true),
            ("http://[::ffff:127.0.0.1]", true),
            ("https://LocalHost./", true),
            ("http://master.localhost", true),
            ("http://localhost.example.com", false),
            ("http://notlocalhost", false),
            ("http://10.0.0.1", false),
            ("http://[fd00::1]", false),
            ("https://master.example.com", false),
        ] {
            assert_eq!(is_loopback(&Url::parse(url).unwrap()), expected, "{url}");
        }
    }

    #[test]
    fn a_key_that_no_header_can_carry_is_named_and_not_shown() {
        let key = SecretString::from("hidden\nkey".to_owned());
        let error = credentials(Some((&key, "`DOCKFLARE_API_KEY`")), None).unwrap_err().to_string();
        assert!(error.contains("`DOCKFLARE_API_KEY`") && !error.contains("hidden"), "{error}");
    }
}
