//! Finds or makes the tunnel that an agent is to serve, and sees whether it is there still.

use std::sync::Arc;

use actix::prelude::*;
use futures_util::future::join;

use super::CloudflareAccount;
use super::desk::Desk;
use super::orders::{Reply, answer};
use crate::actors::master::account::ProvidedTunnel;
use crate::actors::master::error::MasterError;
use crate::actors::supervision::Ctx;
use crate::cloudflare::{CfError, Cloudflare, Tunnel};
use crate::domain::connector::Connector;
use crate::domain::id::TunnelId;

/// Asks whether a tunnel is there still.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct HasTunnel {
    /// Which tunnel.
    pub tunnel_id: TunnelId,
    /// Where the answer goes.
    pub reply: Reply<bool>,
}

impl Handler<HasTunnel> for CloudflareAccount {
    type Result = ();

    fn handle(&mut self, HasTunnel { tunnel_id, reply }: HasTunnel, ctx: &mut Ctx<Self>) {
        let desk = Arc::clone(&self.desk);
        let work = async move {
            let has_tunnel = match desk.cloudflare.get_tunnel(&tunnel_id).await {
                Err(error) if error.is_tunnel_gone() => Ok(false),
                tunnel => tunnel.map(|tunnel| !tunnel.is_deleted()),
            };
            answer(reply, has_tunnel.map_err(|error| MasterError::Cloudflare(error.to_string())));
        };
        ctx.spawn(work.into_actor(self));
    }
}

/// Finds the undeleted tunnel of exactly this name, or makes it. Nothing is stored; who stores it learns if another
/// agent has it.
pub(super) async fn provide(desk: &Desk, name: &str) -> Result<ProvidedTunnel, MasterError> {
    // Two agents that are enrolled with one new name at the same time get one tunnel, and the store decides.
    let _held = desk.names.lock(&format!("tunnel {name}")).await;
    let (tunnel, is_made) =
        find_or_create(desk, name).await.map_err(|error| MasterError::Cloudflare(error.to_string()))?;
    if tunnel.is_local() {
        return Err(MasterError::TunnelIsLocal(name.to_owned()));
    }
    let token = desk.cloudflare.tunnel_token(&tunnel.id);
    let (token, connectors) = join(token, list_connectors(&desk.cloudflare, &tunnel.id)).await;
    let token = token.map_err(|error| MasterError::Cloudflare(error.to_string()))?;
    // Without them an agent can still be enrolled; only one way to see that it did its part is closed.
    let connectors = connectors
        .inspect_err(|error| tracing::info!(%error, tunnel.id = %tunnel.id, "its connectors are not known"));
    Ok(ProvidedTunnel {
        connectors: connectors.ok().map(|found| found.into_iter().map(|connector| connector.id).collect()),
        tunnel_id: tunnel.id,
        name: tunnel.name,
        is_made,
        account_id: desk.cloudflare.account().clone(),
        token,
    })
}

/// Returns the connectors of a tunnel; also those whose connections only linger, because they too were started.
pub(super) async fn list_connectors(
    client: &Cloudflare,
    tunnel: &TunnelId,
) -> Result<Vec<Connector>, CfError> {
    let found = client.connections(tunnel).await?.into_iter().map(|found| Connector {
        id: found.id,
        config_version: found.config_version,
        connections: found.connections,
    });
    Ok(found.collect())
}

/// Returns the tunnel, and whether it is known to be of our making.
async fn find_or_create(desk: &Desk, name: &str) -> Result<(Tunnel, bool), CfError> {
    if let Some(tunnel) = desk.cloudflare.find_tunnel(name).await? {
        return Ok((tunnel, false));
    }
    match desk.cloudflare.create_tunnel(name).await {
        // It may have been made all the same, or by somebody else just now: look, and never make a second one.
        Err(error) if error.is_uncertain() || error.is_tunnel_name_taken() => {
            let tunnel = desk.cloudflare.find_tunnel(name).await?.ok_or(error)?;
            Ok((tunnel, false))
        }
        answer => Ok((answer?, true)),
    }
}
