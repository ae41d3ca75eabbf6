//! The way to the actor that is the only caller of Cloudflare, if there is an account at all.

use std::time::Duration;

use secrecy::SecretString;

use super::error::MasterError;
use super::plan::{ApplyReport, Plan};
use crate::actors::supervision::Port;
use crate::domain::id::{AccountId, AgentId, TunnelId};

/// A tunnel that is there, with what it takes to run it.
#[derive(Debug, Clone)]
pub struct ProvidedTunnel {
    /// Its account.
    pub account_id: AccountId,
    /// Which tunnel.
    pub tunnel_id: TunnelId,
    /// Its name.
    pub name: String,
    /// What a connector needs to run it.
    pub token: SecretString,
}
