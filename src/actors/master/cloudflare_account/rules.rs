//! What the account is asked for who makes rules himself: a tunnel by its name or id, what others made in it, and which zones
//! there are.

use std::sync::Arc;

use actix::prelude::*;

use super::actor::CloudflareAccount;
use super::picture::Snapshot;
use super::requests::answer;
use super::shared::Shared;
use super::tunnels::{ProvidedTunnel, provided};
use super::words::refused;
use crate::actors::master::error::MasterError;
use crate::actors::master::receipt::Reply;
use crate::actors::supervision::Ctx;
use crate::domain::id::TunnelId;
use crate::domain::import::{Preview, preview};
use crate::domain::ingress::IngressRule;
use crate::domain::wanted::KnownZones;
use crate::domain::zone::Zone;

/// Tells which hostnames are meant.
pub type IsMeant = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// Finds the undeleted tunnel of exactly this name or id; none if there is none.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct FindTunnel {
    /// Its name or id.
    pub name_or_id: String,
    /// Where the answer goes.
    pub reply: Reply<Option<ProvidedTunnel>>,
}

/// Asks what would become of what others made in a tunnel if rules of these hostnames were taken over.
#[derive(Message)]
#[rtype(result = "()")]
pub struct PreviewImport {
    /// Which tunnel.
    pub tunnel_id: TunnelId,
    /// Which hostnames.
    pub is_meant: IsMeant,
    /// Where the answer goes.
    pub reply: Reply<Preview>,
}

/// Asks which zones the account has; none if the token may not list them.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct ListZones {
    /// Where the answer goes.
    pub reply: Reply<Option<Vec<Zone>>>,
}

impl Handler<FindTunnel> for CloudflareAccount {
    type Result = ();

    fn handle(&mut self, FindTunnel { name_or_id, reply }: FindTunnel, ctx: &mut Ctx<Self>) {
        let shared = Arc::clone(&self.shared);
        ctx.spawn(async move { answer(reply, find(&shared, &name_or_id).await) }.into_actor(self));
    }
}

impl Handler<PreviewImport> for CloudflareAccount {
    type Result = ();

    fn handle(&mut self, ask: PreviewImport, ctx: &mut Ctx<Self>) {
        let shared = Arc::clone(&self.shared);
        let work = async move {
            let seen = read_preview(&shared, &ask.tunnel_id, &*ask.is_meant).await;
            answer(ask.reply, seen);
        };
        ctx.spawn(work.into_actor(self));
    }
}

impl Handler<ListZones> for CloudflareAccount {
    type Result = ();

    fn handle(&mut self, ListZones { reply }: ListZones, ctx: &mut Ctx<Self>) {
        let shared = Arc::clone(&self.shared);
        let work = async move {
            let zones = shared.zones.get(&shared.cloudflare, false).await;
            answer(reply, zones.map(|listing| listing.zones).map_err(refused));
        };
        ctx.spawn(work.into_actor(self));
    }
}

async fn find(shared: &Shared, name_or_id: &str) -> Result<Option<ProvidedTunnel>, MasterError> {
    let _held = shared.locks.lock(&format!("tunnel {name_or_id}")).await;
    let by_name = shared.cloudflare.find_tunnel(name_or_id).await.map_err(refused)?;
    let tunnel = match by_name {
        Some(tunnel) => tunnel,
        // Every id is one of those, and a name may look like one too.
        None if uuid::Uuid::try_parse(name_or_id).is_ok() => {
            match shared.cloudflare.get_tunnel(&TunnelId::new(name_or_id)).await {
                Ok(tunnel) if !tunnel.is_deleted() => tunnel,
                Ok(_) => return Ok(None),
                Err(error) if error.is_tunnel_gone() || error.is_not_found() => return Ok(None),
                Err(error) => return Err(refused(error)),
            }
        }
        None => return Ok(None),
    };
    provided(shared, tunnel, false).await.map(Some)
}

async fn read_preview(
    shared: &Shared,
    tunnel: &TunnelId,
    is_meant: &(dyn Fn(&str) -> bool + Send + Sync),
) -> Result<Preview, MasterError> {
    let config = shared.cloudflare.get_config(tunnel).await.map_err(refused)?;
    let snapshot = Snapshot::read(&shared.db, tunnel, &shared.settings).await?;
    let (applied, wanted) = match &snapshot {
        Some(snapshot) => {
            // Nobody has to be asked for it: what is published already is among what is ours.
            let wanted = snapshot.wanted(KnownZones::Unknown, &shared.settings);
            (snapshot.applied.clone(), wanted.services.iter().map(IngressRule::new).collect())
        }
        None => (Vec::new(), Vec::new()),
    };
    preview(&applied, &wanted, &config.config, is_meant)
        .map_err(|error| MasterError::Cloudflare(error.to_string()))
}
