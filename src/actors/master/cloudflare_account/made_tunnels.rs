//! Tunnels of our making. A tunnel carries no comment, so what marks it is its name, which no two have: one that was not there
//! before the call that makes it, and is there after it, is ours. The row is written in between.

use super::owned::{Looked, Owned, OwnedError, Standing};
use super::shared::Shared;
use crate::cloudflare::{CfError, Cloudflare, Tunnel};
use crate::db::tunnels::{OwnedTunnelRow, TunnelRow, find_owned_tunnel};
use crate::db::{Expected, RowChange};
use crate::domain::account_limits::Limited;
use crate::domain::event::{Event, Stream, TunnelEvent};
use crate::domain::id::TunnelId;

/// The tunnels of the account.
pub(super) struct Tunnels<'a> {
    pub shared: &'a Shared,
    pub client: &'a Cloudflare,
}

impl Owned for Tunnels<'_> {
    type Wanted = String;
    type Key = TunnelRow;

    fn name(wanted: &String) -> &str {
        wanted
    }

    /// Written while its name is held.
    fn row_before(&self, _: &String) -> Option<RowChange> {
        None
    }

    async fn look(&self, name: &String) -> Result<Looked, OwnedError> {
        let _held = self.hold(name).await;
        let row = self.row(name).await?;
        let found = self.client.find_tunnel(name).await?;
        Ok(found.map(|tunnel| standing(row.as_ref(), &tunnel)).into())
    }

    async fn ensure(&self, name: &String) -> Result<Standing, OwnedError> {
        Ok(self.provide(name).await?.map_or_else(Standing::Blocked, |(_, standing)| standing))
    }

    /// Whoever asks for it has seen that it is empty and that nobody is connected.
    async fn remove(&self, row: &TunnelRow) -> Result<(), OwnedError> {
        self.note(&row.name, Some(row.id.clone()), false).await?;
        match self.client.delete_tunnel(&row.id).await {
            Err(error) if !error.is_tunnel_gone() => return Err(error.into()),
            _ => {}
        }
        let event = Event::Tunnel(TunnelEvent::Deleted { tunnel_id: row.id.clone() });
        let batch = self.shared.batch().append(Stream::tunnel(&row.id), Expected::Head, vec![event]);
        let (account_id, name) = (row.account_id.clone(), row.name.clone());
        let batch = batch.row(RowChange::DeleteTunnelStatus { tunnel_id: row.id.clone() });
        Ok(self.shared.store.commit(batch.row(RowChange::DeleteOwnedTunnel { account_id, name })).await?)
    }
}

impl Tunnels<'_> {
    /// Returns once nobody else works on tunnels of this name: two agents that are enrolled with one new name at the same time
    /// get one tunnel, and the store decides.
    pub async fn hold(&self, name: &str) -> tokio::sync::OwnedMutexGuard<()> {
        self.shared.locks.lock(&format!("tunnel {name}")).await
    }

    /// Finds the undeleted tunnel of exactly this name, or makes it. The reason if the account may have no more.
    pub async fn provide(&self, name: &str) -> Result<Result<(Tunnel, Standing), String>, OwnedError> {
        let _held = self.hold(name).await;
        let row = self.row(name).await?;
        if let Some(tunnel) = self.client.find_tunnel(name).await? {
            return self.keep(row, tunnel).await.map(Ok);
        }
        match self.shared.usage.take_place(self.client, Limited::Tunnels).await? {
            Some(reason) => Ok(Err(reason)),
            None => self.make(name, row).await.map(Ok),
        }
    }

    async fn make(&self, name: &str, row: Option<OwnedTunnelRow>) -> Result<(Tunnel, Standing), OwnedError> {
        self.note(name, None, false).await?;
        let made = self.client.create_tunnel(name).await;
        match self.shared.usage.made(Limited::Tunnels, made).await {
            Ok(tunnel) => self.keep_made(name, tunnel).await,
            // It was not there before, so it is of that call, if it is there at all. A second one is never made.
            Err(error) if error.is_uncertain() => match self.client.find_tunnel(name).await? {
                Some(tunnel) => self.keep_made(name, tunnel).await,
                None => Err(error.into()),
            },
            // Somebody made it just now, or an earlier call of ours did whose answer was lost.
            Err(error) if error.is_tunnel_name_taken() => {
                let tunnel = self.client.find_tunnel(name).await?.ok_or(error)?;
                match row {
                    Some(_) => self.keep_made(name, tunnel).await,
                    None => self.forget(name).await.map(|()| (tunnel, Standing::Theirs)),
                }
            }
            Err(error) => self.refused(name, error).await,
        }
    }

    async fn refused(&self, name: &str, error: CfError) -> Result<(Tunnel, Standing), OwnedError> {
        self.forget(name).await?;
        Err(error.into())
    }

    async fn row(&self, name: &str) -> Result<Option<OwnedTunnelRow>, OwnedError> {
        Ok(find_owned_tunnel(&self.shared.db, self.shared.cloudflare.account(), name).await?)
    }

    async fn keep(
        &self,
        row: Option<OwnedTunnelRow>,
        tunnel: Tunnel,
    ) -> Result<(Tunnel, Standing), OwnedError> {
        let standing = standing(row.as_ref(), &tunnel);
        match row {
            Some(row) if matches!(standing, Standing::Ours) && !row.is_settled => {
                self.keep_made(&row.name, tunnel).await
            }
            // The one of our row is gone, and somebody made another one.
            Some(row) if matches!(standing, Standing::Theirs) => {
                self.forget(&row.name).await.map(|()| (tunnel, Standing::Theirs))
            }
            _ => Ok((tunnel, standing)),
        }
    }

    async fn keep_made(&self, name: &str, tunnel: Tunnel) -> Result<(Tunnel, Standing), OwnedError> {
        self.note(name, Some(tunnel.id.clone()), true).await?;
        Ok((tunnel, Standing::Ours))
    }

    async fn note(
        &self,
        name: &str,
        tunnel_id: Option<TunnelId>,
        is_settled: bool,
    ) -> Result<(), OwnedError> {
        let row = OwnedTunnelRow {
            account_id: self.shared.cloudflare.account().clone(),
            name: name.to_owned(),
            tunnel_id,
            created_at: self.shared.clock.now(),
            is_settled,
        };
        Ok(self.shared.write(vec![RowChange::PutOwnedTunnel(row)]).await?)
    }

    async fn forget(&self, name: &str) -> Result<(), OwnedError> {
        let (account_id, name) = (self.shared.cloudflare.account().clone(), name.to_owned());
        Ok(self.shared.write(vec![RowChange::DeleteOwnedTunnel { account_id, name }]).await?)
    }
}

/// Whose a tunnel is that has the name of a row: ours by its id, or while nobody heard what became of its making.
fn standing(row: Option<&OwnedTunnelRow>, tunnel: &Tunnel) -> Standing {
    let is_ours = row.is_some_and(|row| row.tunnel_id.as_ref().is_none_or(|id| *id == tunnel.id));
    if is_ours { Standing::Ours } else { Standing::Theirs }
}
