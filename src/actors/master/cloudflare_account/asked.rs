//! Comparisons that an agent's words ask for: a tunnel that does not connect may have been deleted at Cloudflare.

use std::time::Duration;

use actix::prelude::*;
use tokio::time::Instant;

use super::CloudflareAccount;
use crate::actors::supervision::Ctx;
use crate::domain::id::{AgentId, TunnelId};

/// Time between two of them for one tunnel: it may fail to connect for days, for other reasons.
const AT_MOST_EVERY: Duration = Duration::from_secs(180);

/// An agent's tunnel does not connect: it is compared with Cloudflare soon.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct CompareAgent {
    /// Which agent.
    pub agent_id: AgentId,
}

impl Handler<CompareAgent> for CloudflareAccount {
    type Result = ();

    fn handle(&mut self, CompareAgent { agent_id }: CompareAgent, ctx: &mut Ctx<Self>) {
        self.with_tunnel_of(agent_id, ctx, |tunnel, _, actor, ctx| {
            // One that cannot be read comes with the next round.
            if let Ok(tunnel) = tunnel {
                actor.compare_soon(tunnel, ctx);
            }
        });
    }
}

impl CloudflareAccount {
    fn compare_soon(&mut self, tunnel: TunnelId, ctx: &mut Ctx<Self>) {
        let now = Instant::now();
        let entry = self.tunnels.entry(tunnel.clone()).or_default();
        let Some(at) = next_asked(entry.asked_at, now) else { return };
        entry.asked_at = Some(at);
        ctx.run_later(at - now, |actor, ctx| {
            actor.checks.add_first(tunnel);
            actor.check_next(ctx);
        });
    }
}

/// Returns when a tunnel is compared, if the last such comparison was or will be at `last`; none if that one is yet to
/// come.
fn next_asked(last: Option<Instant>, now: Instant) -> Option<Instant> {
    match last {
        Some(last) if last > now => None,
        Some(last) => Some(now.max(last + AT_MOST_EVERY)),
        None => Some(now),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tunnel_that_never_connects_is_compared_at_once_and_then_every_three_minutes() {
        let began = Instant::now();
        let (mut last, mut asked) = (None, Vec::new());
        for now in (0..600).step_by(10).map(|secs| began + Duration::from_secs(secs)) {
            if let Some(at) = next_asked(last, now) {
                last = Some(at);
                asked.push((at - began).as_secs());
            }
        }
        assert_eq!(asked, [0, 180, 360, 540, 720]);
    }
}
