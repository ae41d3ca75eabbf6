//! The tunnels themselves: which there are, one found or made for an agent, its configuration read, who serves it, and
//! one of our making let go.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::join;
use secrecy::SecretString;

use super::made_tunnels::Tunnels;
use super::owned::{Owned, OwnedError, Standing};
use super::schedule::{LOOKED_AT_AGAIN, STARTS_WITHIN};
use super::shared::Shared;
use super::words::Stop;
use crate::actors::master::error::MasterError;
use crate::cloudflare::{CfError, Cloudflare, Tunnel, TunnelConfig};
use crate::db::agents::AgentRow;
use crate::db::cloudflare::{TunnelConnectorsRow, TunnelStatusRow};
use crate::db::tunnels::TunnelRow;
use crate::db::{Db, DbError, RowChange, agents, cloudflare, events, manual_rules, tunnels};
use crate::domain::connector::{Connector, Listed, Remedy, Said, Sight, TAKES_IT_WITHIN};
use crate::domain::delivery::Dialect;
use crate::domain::id::{AccountId, TunnelId};
use crate::domain::moving::{is_over, is_seen};

/// Tunnels read at a time.
const PAGE: u64 = 1_000;

/// A tunnel that is there, with what it takes to run it.
#[derive(Debug, Clone)]
pub struct ProvidedTunnel {
    /// Its account.
    pub account_id: AccountId,
    /// Which tunnel.
    pub tunnel_id: TunnelId,
    /// Its name.
    pub name: String,
    /// True if it was not there before.
    pub is_made: bool,
    /// What a connector needs to run it.
    pub token: SecretString,
    /// Ids of the connectors that serve it already; none if Cloudflare did not say.
    pub connectors: Option<Vec<String>>,
}

/// Reads the tunnels of the account, those without an agent too: something of ours may be left in them.
pub(super) async fn read_tunnels(db: &Db, account: &AccountId) -> Result<Vec<TunnelRow>, DbError> {
    let mut rows = Vec::new();
    let mut after: Option<TunnelId> = None;
    loop {
        let page = tunnels::list_tunnels(db, after.as_ref(), PAGE).await?;
        after = page.last().filter(|_| page.len() as u64 == PAGE).map(|last| last.id.clone());
        rows.extend(page.into_iter().filter(|row| row.account_id == *account));
        if after.is_none() {
            return Ok(rows);
        }
    }
}

/// Says whether a tunnel is there still.
pub(super) async fn has_tunnel(client: &Cloudflare, tunnel: &TunnelId) -> Result<bool, CfError> {
    match client.get_tunnel(tunnel).await {
        Err(error) if error.is_tunnel_gone() => Ok(false),
        tunnel => tunnel.map(|tunnel| !tunnel.is_deleted()),
    }
}

/// Reads the configuration of a tunnel for one who wants something in it, or nothing any more; calls that are needed
/// beside it go through `client`. `known` is the newest version that was read or written.
pub(super) async fn read_config(
    reader: &Cloudflare,
    client: &Cloudflare,
    tunnel: &TunnelId,
    is_wanted: bool,
    known: Option<i64>,
) -> Result<TunnelConfig, Stop> {
    match reader.get_config(tunnel).await {
        Err(error) if is_gone(client, tunnel, &error).await => match is_wanted {
            true => Err(Stop::Gone(error)),
            // Nothing can be left in a tunnel that is gone; its names still have to go.
            false => Ok(TunnelConfig { version: 0, config: serde_json::Value::Null, source: None }),
        },
        // The tunnel's own record decides: it is the one by which tunnels are provided.
        Ok(config) if config.is_local() && client.get_tunnel(tunnel).await?.is_local() => Err(Stop::Local),
        answer => unless_stale(answer?, known),
    }
}

/// True if this answer means that the tunnel was deleted. Its own record is asked if the code does not tell.
async fn is_gone(client: &Cloudflare, tunnel: &TunnelId, answer: &CfError) -> bool {
    if answer.is_tunnel_gone() || !answer.is_not_found() {
        return answer.is_tunnel_gone();
    }
    let tunnel = client.get_tunnel(tunnel).await;
    tunnel.map_or_else(|error| error.is_tunnel_gone(), |tunnel| tunnel.is_deleted())
}

/// Versions only grow: merged with an older one, what others wrote since would be lost.
fn unless_stale(config: TunnelConfig, known: Option<i64>) -> Result<TunnelConfig, Stop> {
    match known.filter(|known| config.version < *known) {
        Some(known) => Err(Stop::Stale { answered: config.version, known }),
        None => Ok(config),
    }
}

/// Finds the undeleted tunnel of exactly this name, or makes it. Nothing is stored; who stores it learns if another
/// agent has it.
pub(super) async fn provide(shared: &Shared, name: &str) -> Result<ProvidedTunnel, MasterError> {
    let kind = Tunnels { shared, client: &shared.cloudflare };
    let (tunnel, standing) =
        kind.provide(name).await.map_err(of_tunnel)?.map_err(MasterError::AccountFull)?;
    // What is on record as made here is no news to whoever stores it.
    let is_known = tunnels::find_tunnel(&shared.db, &tunnel.id).await?.is_some_and(|row| row.made);
    provided(shared, tunnel, matches!(standing, Standing::Ours) && !is_known).await
}

fn of_tunnel(error: OwnedError) -> MasterError {
    match error {
        OwnedError::Store(error) => error.into(),
        OwnedError::Db(error) => error.into(),
        error => MasterError::Cloudflare(error.to_string()),
    }
}

/// Reads what it takes to run a tunnel. Fails for one whose configuration is on its host.
pub(super) async fn provided(
    shared: &Shared,
    tunnel: Tunnel,
    is_made: bool,
) -> Result<ProvidedTunnel, MasterError> {
    if tunnel.is_local() {
        return Err(MasterError::TunnelIsLocal(tunnel.name));
    }
    let token = shared.cloudflare.tunnel_token(&tunnel.id);
    let (token, connectors) = join(token, list_connectors(&shared.cloudflare, &tunnel.id)).await;
    let token = token.map_err(|error| MasterError::Cloudflare(error.to_string()))?;
    // Without them an agent can still be enrolled; only one way to see that it did its part is closed.
    let connectors = connectors
        .inspect_err(|error| tracing::info!(%error, tunnel.id = %tunnel.id, "its connectors are not known"));
    Ok(ProvidedTunnel {
        connectors: connectors.ok().map(|found| found.into_iter().map(|connector| connector.id).collect()),
        tunnel_id: tunnel.id,
        name: tunnel.name,
        is_made,
        account_id: shared.cloudflare.account().clone(),
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
        places: found.places,
        version: found.version,
        run_at: found.run_at.and_then(|at| DateTime::parse_from_rfc3339(&at).ok()).map(|at| at.to_utc()),
    });
    Ok(found.collect())
}

/// What a look led to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Looked {
    /// When it is to be looked at again.
    pub again: Option<Duration>,
    /// True if Cloudflare lists nobody who is connected.
    pub is_missing: bool,
    /// True if the configuration is to be written once more.
    pub write_again: bool,
}

/// Looks who serves a tunnel, and decides about a connector that is behind. It costs a call only if the agent's word does
/// not tell.
pub(super) async fn look(shared: &Shared, tunnel: &TunnelId) -> Result<Looked, Stop> {
    let row = tunnels::find_tunnel(&shared.db, tunnel).await?;
    let Some(row) = row else { return Ok(Looked::default()) };
    let Some(agent) = &row.agent_id else { return look_without_agent(shared, &row).await };
    let (agent, observed, status, known) = futures_util::try_join!(
        agents::find_agent(&shared.db, agent),
        tunnels::find_tunnel_observed(&shared.db, agent),
        cloudflare::find_tunnel_status(&shared.db, tunnel),
        cloudflare::find_tunnel_connectors(&shared.db, tunnel),
    )?;
    if let Some(row) = agent.as_ref().filter(|row| row.moving_from.as_ref() == Some(tunnel)) {
        return look_for_the_new_one(shared, row).await;
    }
    let is_native =
        agent.as_ref().and_then(|row| row.dialect.as_deref()).map(Dialect::of) == Some(Dialect::Native);
    let is_heard = agent.is_some_and(|row| row.offline_since.is_none());
    let said =
        observed.as_ref().map(|seen| Said { report: &seen.report, is_heard, asks_connector: is_native });
    let written = status.as_ref().and_then(written);
    let by_agent = Sight { tunnel, name: Some(&row.name), said, listed: None, written };
    let now = shared.clock.now();
    let is_late = by_agent.lag(now).is_some_and(|lag| now - lag.since >= TAKES_IT_WITHIN);
    let written_again = known.as_ref().and_then(|row| row.written_again);
    if !by_agent.needs_a_list() && !is_late && written_again.is_none() {
        let again = by_agent.lag(now).map(|lag| lag.since + TAKES_IT_WITHIN);
        return Ok(Looked { again: again.map(|at| until(at - now)), ..Looked::default() });
    }
    let connectors = list_connectors(&shared.cloudflare.background(), tunnel).await?;
    let listed = Listed { connectors, at: shared.clock.now() };
    decide(shared, Sight { listed: Some(&listed), ..by_agent }, known).await
}

/// Looks who serves a tunnel that no agent of ours has. If rules of people are in it, somebody should.
async fn look_without_agent(shared: &Shared, row: &TunnelRow) -> Result<Looked, Stop> {
    let ids = std::slice::from_ref(&row.id);
    let by_people = manual_rules::rules_of_tunnels(&shared.db, ids).await?;
    if by_people.is_empty() || row.account_id != *shared.cloudflare.account() {
        return let_go(shared, row).await;
    }
    let (status, known) = futures_util::try_join!(
        cloudflare::find_tunnel_status(&shared.db, &row.id),
        cloudflare::find_tunnel_connectors(&shared.db, &row.id),
    )?;
    let connectors = list_connectors(&shared.cloudflare.background(), &row.id).await?;
    let listed = Listed { connectors, at: shared.clock.now() };
    let written = status.as_ref().and_then(written);
    let sight = Sight { tunnel: &row.id, name: Some(&row.name), said: None, listed: Some(&listed), written };
    decide(shared, sight, known).await
}

/// Looks whether the connector of the tunnel that an agent moves to is there: then its names move.
async fn look_for_the_new_one(shared: &Shared, agent: &AgentRow) -> Result<Looked, Stop> {
    let (Some(to), Some(since)) = (&agent.tunnel_id, agent.enrolled_at) else { return Ok(Looked::default()) };
    let there_before = events::connectors_at_enrolment(&shared.db, &agent.id, to).await?.unwrap_or_default();
    let connectors = list_connectors(&shared.cloudflare.background(), to).await?;
    if is_seen(&connectors, &there_before) {
        shared.store.connector_seen(&agent.id, to);
        return Ok(Looked { again: Some(LOOKED_AT_AGAIN), ..Looked::default() });
    }
    let pause = if is_over(since, shared.clock.now()) { LOOKED_AT_AGAIN } else { STARTS_WITHIN };
    Ok(Looked { again: Some(pause), ..Looked::default() })
}

/// Deletes a tunnel of our making whose agent was removed, once it is empty and nobody is connected.
async fn let_go(shared: &Shared, row: &TunnelRow) -> Result<Looked, Stop> {
    if !row.is_to_go() || row.account_id != *shared.cloudflare.account() {
        return Ok(Looked::default());
    }
    let later = Ok(Looked { again: Some(STARTS_WITHIN.saturating_mul(3)), ..Looked::default() });
    let ids = std::slice::from_ref(&row.id);
    let (rules, records, by_people) = futures_util::try_join!(
        cloudflare::list_applied_rules(&shared.db, &row.id),
        cloudflare::list_dns_records(&shared.db, &row.id),
        manual_rules::rules_of_tunnels(&shared.db, ids),
    )?;
    if !by_people.is_empty() {
        return later;
    }
    // Somebody may be about to enrol an agent with its name.
    let client = shared.cloudflare.background();
    let kind = Tunnels { shared, client: &client };
    let _held = kind.hold(&row.name).await;
    match list_connectors(&client, &row.id).await {
        Err(error) if error.is_tunnel_gone() => {}
        connectors => {
            let is_served = connectors?.iter().any(Connector::is_connected);
            if !rules.is_empty() || !records.is_empty() || is_served {
                return later;
            }
        }
    }
    let is_still_to_go = tunnels::find_tunnel(&shared.db, &row.id).await?.is_some_and(|row| row.is_to_go());
    if !is_still_to_go {
        return Ok(Looked::default());
    }
    // Refused, for instance, while connections linger.
    kind.remove(row).await?;
    tracing::info!(tunnel.id = %row.id, tunnel.name = row.name, "a tunnel of our making was deleted: its agent is removed");
    shared.store.announce();
    Ok(Looked::default())
}

/// Notes what was listed, and says what follows from it.
async fn decide(
    shared: &Shared,
    sight: Sight<'_>,
    known: Option<TunnelConnectorsRow>,
) -> Result<Looked, Stop> {
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
    shared.write(vec![RowChange::PutTunnelConnectors(row)]).await?;
    if known.is_none_or(|known| known.listed.connectors != listed.connectors) {
        shared.store.announce();
    }
    Ok(looked)
}

/// The configuration that is to be in force, and since when it is at Cloudflare.
fn written(status: &TunnelStatusRow) -> Option<(i64, DateTime<Utc>)> {
    Some((status.config_version?, status.version_since?))
}

fn until(left: TimeDelta) -> Duration {
    left.to_std().unwrap_or_default()
}
