//! How many of a kind an account has.

use reqwest::Method;
use serde_json::Value;

use super::call::Call;
use super::error::CfError;
use super::rights;
use super::transport::Cloudflare;
use crate::domain::account_limits::Limited;

impl Cloudflare {
    /// Returns how many of a kind the account has, with one short call. The figure is Cloudflare's own, and wrong at times:
    /// [`count_all`](Self::count_all) knows better, and costs more.
    pub async fn count(&self, kind: Limited) -> Result<usize, CfError> {
        let answer = self.call::<Vec<Value>>(self.counting(kind).query("per_page", "1")).await?;
        match answer.total_count {
            Some(total) => Ok(total),
            None => self.count_all(kind).await,
        }
    }

    /// Returns the same by reading all of them.
    pub async fn count_all(&self, kind: Limited) -> Result<usize, CfError> {
        Ok(self.list::<Value>(|| self.counting(kind), 100).await?.len())
    }

    fn counting(&self, kind: Limited) -> Call {
        let of_access = |what, right| self.access("count", Method::GET, what, &[]).needs(right);
        match kind {
            Limited::Tunnels => Call::get("count", &["accounts", self.account().as_str(), "cfd_tunnel"])
                .query("is_deleted", "false")
                .needs(rights::TUNNEL),
            Limited::Applications => of_access("apps", rights::ACCESS_APPS),
            Limited::Policies => of_access("policies", rights::ACCESS_APPS),
            Limited::ServiceTokens => of_access("service_tokens", rights::ACCESS_SERVICE_TOKENS),
        }
    }
}
