//! Who serves the tunnels: looked at where an agent cannot say it, one tunnel after the other, in the background.
//!
//! A look is due some time after a configuration was written, after each comparison, and when an agent's word leaves it
//! open. It costs a call only if the agent's word does not tell.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use tokio::time::Instant;

use super::CloudflareAccount;
use super::conclude::Outcome;
use super::desk::Desk;
use super::pass::Job;
use super::provide::list_connectors;
use super::stop::Stop;
use super::turn::Order;
use crate::actors::supervision::Ctx;
use crate::cloudflare::CfError;
use crate::db::agents::AgentRow;
use crate::db::cloudflare::{TunnelConnectorsRow, TunnelStatusRow};
use crate::db::tunnels::TunnelRow;
use crate::db::{Expected, RowChange, agents, cloudflare, events, tunnels};
use crate::domain::connector::{Connector, Listed, Remedy, Said, Sight, TAKES_IT_WITHIN};
use crate::domain::delivery::Dialect;
use crate::domain::event::{Event, Stream, TunnelEvent};
use crate::domain::id::{AgentId, TunnelId};
use crate::domain::moving::{is_over, is_seen};

/// A connector that is not there yet is looked for again after this time, and then later and later.
const STARTS_WITHIN: Duration = Duration::from_secs(5);
/// How often one that is not there is looked for again before the next comparison.
const TRIES: u32 = 3;
/// Pause after a look that failed.
const PAUSE: Duration = Duration::from_secs(60);

/// An agent said how its tunnel is, and left open whether it serves: Cloudflare is asked soon.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct LookAtConnectors {
    /// Which agent.
    pub agent_id: AgentId,
}

/// Tunnels whose connectors are to be looked at, and when.
#[derive(Debug, Default)]
pub(super) struct Looks {
    due: BTreeSet<(Instant, TunnelId)>,
    at: HashMap<TunnelId, Instant>,
    /// Looks in a row that found nobody.
    misses: HashMap<TunnelId, u32>,
    is_running: bool,
    rings_at: Option<Instant>,
}

/// What to do about the looks that are due.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Rest,
    Look(TunnelId),
    At(Instant),
}

/// What a look led to.
#[derive(Debug, Default, PartialEq, Eq)]
struct Looked {
    /// When it is to be looked at again.
    again: Option<Duration>,
    /// True if Cloudflare lists nobody who is connected.
    is_missing: bool,
    /// True if the configuration is to be written once more.
    write_again: bool,
}

impl Looks {
    /// One look at a tunnel, the earlier of two that are asked for.
    fn add(&mut self, tunnel: TunnelId, at: Instant) {
        match self.at.get(&tunnel) {
            Some(due) if *due <= at => return,
            Some(due) => drop(self.due.remove(&(*due, tunnel.clone()))),
            None => {}
        }
        self.at.insert(tunnel.clone(), at);
        self.due.insert((at, tunnel));
    }

    fn next(&mut self, now: Instant) -> Next {
        match self.due.first() {
            _ if self.is_running => Next::Rest,
            None => Next::Rest,
            Some((at, _)) if *at > now => Next::At(*at),
            Some(_) => {
                let Some((_, tunnel)) = self.due.pop_first() else { return Next::Rest };
                self.at.remove(&tunnel);
                self.is_running = true;
                Next::Look(tunnel)
            }
        }
    }

    /// How many are under way, or could be.
    pub fn left(&self, now: Instant) -> usize {
        self.due.iter().take_while(|(at, _)| *at <= now).count() + usize::from(self.is_running)
    }

    /// Returns how long to wait before somebody who was not there is looked for again.
    fn missed(&mut self, tunnel: &TunnelId) -> Option<Duration> {
        let misses = self.misses.entry(tunnel.clone()).or_default();
        *misses += 1;
        (*misses <= TRIES).then(|| STARTS_WITHIN.saturating_mul(2_u32.saturating_pow(*misses - 1)))
    }
}

impl Handler<LookAtConnectors> for CloudflareAccount {
    type Result = ();

    fn handle(&mut self, LookAtConnectors { agent_id }: LookAtConnectors, ctx: &mut Ctx<Self>) {
        self.with_tunnel_of(agent_id, ctx, |tunnel, _, actor, ctx| {
            // One that cannot be read comes with the next comparison.
            if let Ok(tunnel) = tunnel {
                actor.looks.misses.remove(&tunnel);
                actor.look_after(tunnel, Duration::ZERO, ctx);
            }
        });
    }
}

impl CloudflareAccount {
    /// A pass over a tunnel ended: who serves it is looked at, once a connector has had time for what was written.
    pub(super) fn look_after_pass(&mut self, job: &Job, outcome: &Outcome, ctx: &mut Ctx<Self>) {
        let tunnel = job.tunnel.clone();
        match outcome {
            Outcome { is_to_go: true, .. } => self.look_after(tunnel, Duration::ZERO, ctx),
            Outcome { has_written: true, .. } => {
                self.look_after(tunnel, TAKES_IT_WITHIN.to_std().unwrap_or(PAUSE), ctx);
            }
            _ if job.order.background => self.look_after(tunnel, Duration::ZERO, ctx),
            _ => {}
        }
    }

    fn look_after(&mut self, tunnel: TunnelId, pause: Duration, ctx: &mut Ctx<Self>) {
        self.looks.add(tunnel, Instant::now() + pause);
        self.look_next(ctx);
    }

    fn look_next(&mut self, ctx: &mut Ctx<Self>) {
        let now = Instant::now();
        match self.looks.next(now) {
            Next::Rest => {}
            Next::At(at) if self.looks.rings_at.is_some_and(|rings| rings > now && rings <= at) => {}
            Next::At(at) => {
                self.looks.rings_at = Some(at);
                ctx.run_later(at - now, |actor, ctx| actor.look_next(ctx));
            }
            Next::Look(tunnel) => {
                let desk = Arc::clone(&self.desk);
                let work = async move { (look(&desk, &tunnel).await, tunnel) };
                ctx.spawn(work.into_actor(self).map(|(looked, tunnel), actor, ctx| {
                    actor.looks.is_running = false;
                    actor.take_look(tunnel, looked, ctx);
                    actor.look_next(ctx);
                }));
            }
        }
    }

    fn take_look(&mut self, tunnel: TunnelId, looked: Result<Looked, Stop>, ctx: &mut Ctx<Self>) {
        let mut looked = looked.unwrap_or_else(|stop| {
            tracing::info!(%stop, tunnel.id = %tunnel, "who serves a tunnel could not be looked at");
            let again = match &stop {
                Stop::Cloudflare(CfError::NotYet { retry_after, .. }) => *retry_after,
                _ => PAUSE,
            };
            Looked { again: Some(again), ..Looked::default() }
        });
        match looked.is_missing {
            true => looked.again = self.looks.missed(&tunnel),
            false => drop(self.looks.misses.remove(&tunnel)),
        }
        if looked.write_again {
            tracing::info!(tunnel.id = %tunnel, "its connector does not take its configuration, which is written again");
            self.wake(&tunnel, Order::WRITE_AGAIN, ctx);
        }
        if let Some(again) = looked.again {
            self.looks.add(tunnel, Instant::now() + again);
        }
    }
}

/// Looks who serves a tunnel, as far as its agent does not say it, and decides about one that is behind.
async fn look(desk: &Desk, tunnel: &TunnelId) -> Result<Looked, Stop> {
    let row = tunnels::find_tunnel(&desk.db, tunnel).await?;
    let Some(row) = row else { return Ok(Looked::default()) };
    let Some(agent) = &row.agent_id else { return let_go(desk, &row).await };
    let (agent, observed, status, known) = futures_util::try_join!(
        agents::find_agent(&desk.db, agent),
        tunnels::find_tunnel_observed(&desk.db, agent),
        cloudflare::find_tunnel_status(&desk.db, tunnel),
        cloudflare::find_tunnel_connectors(&desk.db, tunnel),
    )?;
    if let Some(row) = agent.as_ref().filter(|row| row.moving_from.as_ref() == Some(tunnel)) {
        return look_for_the_new_one(desk, row).await;
    }
    let is_native =
        agent.as_ref().and_then(|row| row.dialect.as_deref()).map(Dialect::of) == Some(Dialect::Native);
    let is_heard = agent.is_some_and(|row| row.offline_since.is_none());
    let said =
        observed.as_ref().map(|seen| Said { report: &seen.report, is_heard, asks_connector: is_native });
    let written = status.as_ref().and_then(written);
    let by_agent = Sight { tunnel, name: Some(&row.name), said, listed: None, written };
    let now = desk.clock.now();
    let is_late = by_agent.lag(now).is_some_and(|lag| now - lag.since >= TAKES_IT_WITHIN);
    let written_again = known.as_ref().and_then(|row| row.written_again);
    if !by_agent.needs_a_list() && !is_late && written_again.is_none() {
        let again = by_agent.lag(now).map(|lag| lag.since + TAKES_IT_WITHIN);
        return Ok(Looked { again: again.map(|at| until(at - now)), ..Looked::default() });
    }
    let connectors = list_connectors(&desk.cloudflare.background(), tunnel).await?;
    let listed = Listed { connectors, at: desk.clock.now() };
    decide(desk, Sight { listed: Some(&listed), ..by_agent }, known).await
}

/// Looks whether the connector of the tunnel that an agent moves to is there: then its names move.
async fn look_for_the_new_one(desk: &Desk, agent: &AgentRow) -> Result<Looked, Stop> {
    let (Some(to), Some(since)) = (&agent.tunnel_id, agent.enrolled_at) else { return Ok(Looked::default()) };
    let there_before = events::connectors_at_enrolment(&desk.db, &agent.id, to).await?.unwrap_or_default();
    let connectors = list_connectors(&desk.cloudflare.background(), to).await?;
    if is_seen(&connectors, &there_before) {
        desk.store.connector_seen(&agent.id, to);
        return Ok(Looked { again: Some(PAUSE), ..Looked::default() });
    }
    let pause = if is_over(since, desk.clock.now()) { PAUSE } else { STARTS_WITHIN };
    Ok(Looked { again: Some(pause), ..Looked::default() })
}

/// Deletes a tunnel of our making whose agent was removed, once it is empty and nobody is connected.
async fn let_go(desk: &Desk, row: &TunnelRow) -> Result<Looked, Stop> {
    if !row.is_to_go() || row.account_id != *desk.cloudflare.account() {
        return Ok(Looked::default());
    }
    let later = Ok(Looked { again: Some(STARTS_WITHIN.saturating_mul(3)), ..Looked::default() });
    let (rules, records) = futures_util::try_join!(
        cloudflare::list_applied_rules(&desk.db, &row.id),
        cloudflare::list_dns_records(&desk.db, &row.id),
    )?;
    // Somebody may be about to enrol an agent with its name.
    let _held = desk.names.lock(&format!("tunnel {}", row.name)).await;
    let client = desk.cloudflare.background();
    let gone = match list_connectors(&client, &row.id).await {
        Err(error) if error.is_tunnel_gone() => true,
        connectors => {
            let is_served = connectors?.iter().any(Connector::is_connected);
            if !rules.is_empty() || !records.is_empty() || is_served {
                return later;
            }
            false
        }
    };
    let is_still_to_go = tunnels::find_tunnel(&desk.db, &row.id).await?.is_some_and(|row| row.is_to_go());
    if !is_still_to_go {
        return Ok(Looked::default());
    }
    match client.delete_tunnel(&row.id).await {
        Ok(()) => {}
        Err(error) if gone || error.is_tunnel_gone() => {}
        // Such as connections that only linger.
        Err(error) => return Err(error.into()),
    }
    tracing::info!(tunnel.id = %row.id, tunnel.name = row.name, "a tunnel of our making was deleted: its agent is removed");
    let event = Event::Tunnel(TunnelEvent::Deleted { tunnel_id: row.id.clone() });
    let batch = desk.batch().append(Stream::tunnel(&row.id), Expected::Head, vec![event]);
    desk.store.commit(batch.row(RowChange::DeleteTunnelStatus { tunnel_id: row.id.clone() })).await?;
    desk.store.announce();
    Ok(Looked::default())
}

/// Notes what was listed, and says what follows from it.
async fn decide(desk: &Desk, sight: Sight<'_>, known: Option<TunnelConnectorsRow>) -> Result<Looked, Stop> {
    let mut written_again = known.as_ref().and_then(|row| row.written_again);
    let Some(listed) = sight.listed else { return Ok(Looked::default()) };
    let now = listed.at;
    let is_missing = !listed.connectors.iter().any(Connector::is_connected);
    let mut looked = Looked { is_missing, ..Looked::default() };
    match (sight.lag(now), sight.version_in_force(now)) {
        (Some(lag), _) => match lag.remedy(written_again.is_some(), now) {
            Remedy::LookAgain(at) => looked.again = Some(until(at - now)),
            Remedy::WriteAgain => {
                // Written down first: a master that is killed here tries it no second time.
                written_again = Some(lag.wants);
                looked.write_again = true;
            }
            Remedy::Nothing => {}
        },
        (None, Some(_)) => written_again = None,
        (None, None) => {}
    }
    let row = TunnelConnectorsRow { tunnel_id: sight.tunnel.clone(), listed: listed.clone(), written_again };
    desk.write(vec![RowChange::PutTunnelConnectors(row)]).await?;
    if known.is_none_or(|known| known.listed.connectors != listed.connectors) {
        desk.store.announce();
    }
    Ok(looked)
}

/// The configuration that is to be in force, and since when it is at Cloudflare.
fn written(status: &TunnelStatusRow) -> Option<(i64, chrono::DateTime<chrono::Utc>)> {
    Some((status.config_version?, status.version_since?))
}

fn until(left: chrono::TimeDelta) -> Duration {
    left.to_std().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> TunnelId {
        TunnelId::new(name)
    }

    #[test]
    fn one_tunnel_after_the_other_is_looked_at_when_it_is_due_and_once() {
        let (mut looks, now) = (Looks::default(), Instant::now());
        let later = now + PAUSE;
        looks.add(id("late"), later);
        looks.add(id("soon"), now);
        looks.add(id("soon"), later);

        assert_eq!(looks.next(now), Next::Look(id("soon")));
        assert_eq!(looks.next(now), Next::Rest, "one at a time");
        looks.is_running = false;
        assert_eq!(looks.next(now), Next::At(later));
        looks.add(id("late"), now);
        assert_eq!(looks.next(now), Next::Look(id("late")));
        looks.is_running = false;
        assert_eq!(looks.next(later), Next::Rest);
    }

    #[test]
    fn a_connector_that_is_not_there_is_looked_for_a_few_times_more() {
        let mut looks = Looks::default();
        let waits = [(); 5].map(|()| looks.missed(&id("t")).map(|wait| wait.as_secs()));
        assert_eq!(waits, [Some(5), Some(10), Some(20), None, None]);
    }
}
