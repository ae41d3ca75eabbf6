//! After a start every tunnel is compared with Cloudflare once: first by the database, where a change may
//! have been left undone, then one after the other in the background, where somebody may have changed it.

use std::collections::VecDeque;
use std::time::Duration;

use actix::prelude::*;

use super::CloudflareAccount;
use super::turn::Order;
use crate::actors::supervision::Ctx;
use crate::db::{Db, DbError, tunnels};
use crate::domain::id::{AccountId, TunnelId};

/// Tunnels read at a time.
const PAGE: u64 = 1_000;
/// Pause after a check that failed: most often the budget for the background is used up.
const PAUSE: Duration = Duration::from_secs(5);

/// Tunnels that were not compared yet.
#[derive(Debug, Default)]
pub(super) struct Checks {
    /// False until the database has said which tunnels there are.
    is_loaded: bool,
    left: VecDeque<TunnelId>,
    running: Option<TunnelId>,
    /// The last one failed: the next one waits.
    must_pause: bool,
    is_pausing: bool,
}

impl Checks {
    /// How many are left, the one under way included; one while that is not known.
    pub fn left(&self) -> usize {
        self.left.len() + usize::from(self.running.is_some() || !self.is_loaded)
    }

    /// A check ended; if it failed, it is made again after the others.
    pub fn ended(&mut self, tunnel: &TunnelId, has_failed: bool) {
        if self.running.as_ref() == Some(tunnel) {
            self.running = None;
        }
        if has_failed && !self.left.contains(tunnel) {
            self.left.push_back(tunnel.clone());
            self.must_pause = true;
        }
    }

    fn next(&mut self) -> Option<TunnelId> {
        if self.running.is_some() || self.is_pausing {
            return None;
        }
        self.running = self.left.pop_front();
        self.running.clone()
    }
}

impl CloudflareAccount {
    /// Reads which tunnels there are, again and again until the database answers.
    pub(super) fn begin_checks(&mut self, ctx: &mut Ctx<Self>) {
        let desk = std::sync::Arc::clone(&self.desk);
        let read = async move { list_tunnels(&desk.db, desk.cloudflare.account()).await };
        ctx.spawn(read.into_actor(self).map(|tunnels, actor, ctx| match tunnels {
            Ok(tunnels) => {
                for tunnel in &tunnels {
                    actor.wake(tunnel, Order::CHANGE, ctx);
                }
                actor.checks.left.extend(tunnels);
                actor.checks.is_loaded = true;
                actor.check_next(ctx);
            }
            Err(error) => {
                tracing::warn!(%error, "the tunnels could not be read");
                ctx.run_later(PAUSE, Self::begin_checks);
            }
        }));
    }

    /// Begins the next check, unless one is under way.
    pub(super) fn check_next(&mut self, ctx: &mut Ctx<Self>) {
        if std::mem::take(&mut self.checks.must_pause) {
            self.checks.is_pausing = true;
            ctx.run_later(PAUSE, |actor, ctx| {
                actor.checks.is_pausing = false;
                actor.check_next(ctx);
            });
        }
        if let Some(tunnel) = self.checks.next() {
            self.wake(&tunnel, Order::CHECK, ctx);
        }
    }
}

/// Returns the tunnels of the account, those without an agent too: something of ours may be left in them.
pub(super) async fn list_tunnels(db: &Db, account: &AccountId) -> Result<Vec<TunnelId>, DbError> {
    let mut ids = Vec::new();
    let mut after: Option<TunnelId> = None;
    loop {
        let page = tunnels::list_tunnels(db, after.as_ref(), PAGE).await?;
        ids.extend(page.iter().filter(|row| row.account_id == *account).map(|row| row.id.clone()));
        match page.last() {
            Some(last) if page.len() as u64 == PAGE => after = Some(last.id.clone()),
            _ => return Ok(ids),
        }
    }
}
