//! What the account shows of itself on a page: what is known here. No call is made for it.

use std::time::Duration;

use actix::prelude::*;

use super::actor::CloudflareAccount;
use super::requests::{AccountStatus, GetStatus};
use super::zones::LastZones;
use crate::actors::supervision::Ctx;
use crate::domain::id::AccountId;
use crate::domain::zone::DefaultZone;

pub use crate::cloudflare::BudgetView;

/// What is known of the account.
#[derive(Debug, Clone)]
pub struct AccountView {
    /// The account.
    pub account: AccountId,
    /// What is under way, and what waits.
    pub status: AccountStatus,
    /// How many calls it may make.
    pub budget: BudgetView,
    /// Its zones, as they were read last.
    pub zones: LastZones,
    /// The zone by setting.
    pub default_zone: Option<DefaultZone>,
    /// How often everything is compared; zero: after a start only.
    pub compare_every: Duration,
}

/// Asks for it.
#[derive(Debug, Message)]
#[rtype(result = "AccountView")]
pub struct GetView;

impl Handler<GetView> for CloudflareAccount {
    type Result = MessageResult<GetView>;

    fn handle(&mut self, _: GetView, ctx: &mut Ctx<Self>) -> Self::Result {
        let MessageResult(status) = self.handle(GetStatus, ctx);
        let (zones, default_zone) = self.shared.zones.last();
        MessageResult(AccountView {
            account: self.shared.cloudflare.account().clone(),
            status,
            budget: self.shared.cloudflare.budget(),
            zones,
            default_zone,
            compare_every: self.shared.compare_every,
        })
    }
}
