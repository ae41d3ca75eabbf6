//! What other actors have the registrar decide. It stands here, and not beside its handlers, because [`Env`] leads to
//! the registrar and the registrar holds an [`Env`].
//!
//! [`Env`]: super::env::Env

use actix::prelude::*;

use super::error::MasterError;
use super::receipt::Part;
use crate::domain::host::Host;
use crate::domain::id::{AgentId, TunnelId};

/// The names of an agent move now; one whose names are in its tunnel already is left as it is.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), MasterError>")]
pub struct FinishMove {
    /// Which agent.
    pub agent: AgentId,
    /// The tunnel whose connector was seen; none if a person does not want to wait.
    pub seen: Option<TunnelId>,
    /// Who asks.
    pub by: String,
}

impl FinishMove {
    /// The connector of `tunnel` was seen.
    pub fn seen(agent: &AgentId, tunnel: &TunnelId) -> Self {
        Self { agent: agent.clone(), seen: Some(tunnel.clone()), by: "system".into() }
    }

    /// A person does not want to wait.
    pub fn ordered(agent: &AgentId, by: &str) -> Self {
        Self { agent: agent.clone(), seen: None, by: by.into() }
    }
}

/// A removed agent has done its last command, or never fetched it: its key goes.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), MasterError>")]
pub struct Retire {
    /// Which agent.
    pub agent: AgentId,
}

/// An agent tells of another machine than the one that is known.
#[derive(Message)]
#[rtype(result = "Result<(), MasterError>")]
pub struct TakeOtherMachine {
    /// Which agent.
    pub agent: AgentId,
    /// What it tells.
    pub host: Box<Host>,
    /// Who waits for the commit.
    pub part: Part,
}

/// Makes the first key that orders are signed with; changes nothing if there is one.
#[derive(Message)]
#[rtype(result = "Result<(), MasterError>")]
pub struct EnsureOrderKey;
