//! A thin client of the Cloudflare API: one method per call, typed results and errors.
//!
//! It sends each call once and decides nothing: what to write, and whether to try again, is the business of
//! its one caller, the account's actor. A write that may have taken effect says so
//! ([`CfError::is_uncertain`]), so that the caller looks before it writes again.

mod access;
mod base;
mod budget;
mod call;
mod counts;
mod dns;
mod envelope;
mod error;
mod people;
mod probe;
mod rights;
mod transport;
mod tunnels;
mod zones;

pub use access::{AccessApp, AccessPolicy};
pub use base::PUBLIC_API;
pub use budget::{ALLOWANCE, Budget, BudgetKeeper, BudgetNote, BudgetView, Class};
pub use dns::{DnsBatch, DnsBatchDone, DnsMeta, DnsRecord, NewDnsRecord};
pub use error::CfError;
pub use people::SecretToken;
pub use transport::Cloudflare;
pub use tunnels::{Connector, Tunnel, TunnelConfig};
pub use zones::TokenStatus;
