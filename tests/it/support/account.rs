//! An account that provides tunnels through the real client and publishes nothing.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use lightship::actors::master::{Account, ApplyReport, MasterError, Plan, ProvidedTunnel, SharedAccount};
use lightship::cloudflare::Cloudflare;
use lightship::domain::id::{AccountId, AgentId, TunnelId};
use lightship::io::Io;

use super::cloudflare::{ACCOUNT, CloudflareStandIn, TOKEN};

/// See the module.
pub struct DirectAccount(Cloudflare);

impl DirectAccount {
    /// Makes one that talks to the stand-in.
    pub fn shared(standin: &CloudflareStandIn, io: Io) -> SharedAccount {
        let token = TOKEN.to_owned().into();
        Arc::new(Self(Cloudflare::new(&standin.base_url(), AccountId::new(ACCOUNT), token, io).unwrap()))
    }
}

fn refused(error: impl std::fmt::Display) -> MasterError {
    MasterError::Cloudflare(error.to_string())
}

#[async_trait]
impl Account for DirectAccount {
    fn wake(&self) {}

    async fn provide_tunnel(&self, name: &str, _: Duration) -> Result<ProvidedTunnel, MasterError> {
        let tunnel = match self.0.find_tunnel(name).await.map_err(refused)? {
            Some(tunnel) => tunnel,
            None => self.0.create_tunnel(name).await.map_err(refused)?,
        };
        if tunnel.is_local() {
            return Err(MasterError::TunnelIsLocal(name.into()));
        }
        let token = self.0.tunnel_token(&tunnel.id).await.map_err(refused)?;
        Ok(ProvidedTunnel {
            account_id: AccountId::new(ACCOUNT),
            tunnel_id: tunnel.id,
            name: tunnel.name,
            token,
        })
    }

    async fn plan(&self) -> Result<Plan, MasterError> {
        Ok(Plan { connected: true, ..Plan::default() })
    }

    async fn apply(&self, _: &str, _: Duration) -> Result<ApplyReport, MasterError> {
        Ok(ApplyReport { finished: true, ..ApplyReport::default() })
    }

    async fn put_agent_rules(&self, _: &AgentId, _: &TunnelId) -> Result<i64, MasterError> {
        Ok(1)
    }
}
