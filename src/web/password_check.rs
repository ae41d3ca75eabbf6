//! Whether somebody is the administrator he says he is, by password. Guesses are counted, wait for their turn, and nobody
//! locks another out.

use std::net::IpAddr;
use std::time::Duration;

use actix_web::HttpRequest;

use super::attempts::Guest;
use super::error::ApiError;
use super::hashing::Asker;
use super::password;
use super::session::Device;
use super::state::WebState;
use crate::db::read::{AdminRow, find_admin};

/// Why somebody is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// The name or the password is wrong.
    Wrong,
    /// Too many guesses; those who come through this proxy cannot be told apart, if it is named.
    TooMany { wait: Duration, proxy: Option<IpAddr> },
    /// Too many wait for their turn.
    Busy,
}

/// Compares a password with the one that is known; `device` is the browser, if it signed in with that name before.
pub async fn check(
    req: &HttpRequest,
    state: &WebState,
    (name, password): (&str, &str),
    device: Option<&Device>,
) -> Result<Result<AdminRow, Refused>, ApiError> {
    if password::name_complaint(name).is_some() {
        return Ok(Err(Refused::Wrong));
    }
    let proxy = state.strange_proxy(req);
    let (guest, asker) = guest(&state.source(req), proxy, device, name);
    let told = proxy.filter(|_| device.is_none()).map(|(proxy, _)| proxy);
    let too_many = |wait| Ok(Err(Refused::TooMany { wait, proxy: told }));
    if let Some(wait) = state.attempts().must_wait(&guest) {
        return too_many(wait);
    }
    let Some(turn) = state.hashing().turn(asker).await else { return Ok(Err(Refused::Busy)) };
    // Tries made at the same time have been counted by now.
    if let Some(wait) = state.attempts().must_wait(&guest) {
        return too_many(wait);
    }
    let admin = find_admin(&state.master().db, name).await.map_err(ApiError::internal)?;
    let known = state.master().admin_password_hash(name).await?;
    let hash = known.unwrap_or_else(|| state.decoy_hash().to_owned());
    let fits = turn.verify(password.to_owned(), hash).await?;
    let Some(admin) = admin.filter(|_| fits) else {
        state.attempts().sign_in_failed(&guest);
        tracing::warn!(source.ip = %state.source(req), "sign-in refused");
        return Ok(Err(Refused::Wrong));
    };
    state.attempts().signed_in(&guest);
    Ok(Ok(admin))
}

/// As whom a try is counted, and as whom it waits for its turn. A browser that signed in before is nobody's neighbour.
fn guest(
    source: &IpAddr,
    proxy: Option<(IpAddr, IpAddr)>,
    device: Option<&Device>,
    name: &str,
) -> (Guest, Asker) {
    if let Some(device) = device {
        return (Guest::new(format!("device/{}", device.id)), Asker::Known(device.id.clone()));
    }
    let source = network(*source);
    let guest = match proxy {
        Some((_, named)) => {
            Guest::new(format!("{source}/{}/{name}", network(named))).among(format!("{source}/{name}"))
        }
        None => Guest::new(format!("{source}/{name}")),
    };
    (guest, Asker::Stranger(source))
}

/// What failed attempts are counted by: a whole IPv6 network is one neighbour.
pub fn network(source: IpAddr) -> String {
    match source {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => v6.segments()[..4].iter().map(|part| format!("{part:x}:")).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_ipv6_network_is_one_neighbour() {
        let first = network("2001:db8:1:2:3:4:5:6".parse().unwrap());
        assert_eq!(first, network("2001:db8:1:2:ffff::1".parse().unwrap()));
        assert_ne!(first, network("2001:db8:1:3::1".parse().unwrap()));
    }
}
