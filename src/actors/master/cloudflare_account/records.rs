//! One DNS record: made once, changed or deleted only if it is ours.
//!
//! Ours is what carries our mark and has a row. Before a call that makes, changes or deletes the record the row is
//! written as not settled; it stays so until the outcome is known, and as long as it does, the next one looks first.

use super::desk::{Desk, StoreFailed};
use super::snapshot::leads_to;
use crate::cloudflare::{CfError, Cloudflare, DnsMeta, DnsRecord, NewDnsRecord};
use crate::db::cloudflare::DnsRecordRow;
use crate::db::{DbError, Expected, RowChange, agents, cloudflare, routes};
use crate::domain::dns::{
    DnsStep, FoundRecord, OwnRecord, RecordKeeper, WantedName, plan_dns, tunnel_target,
};
use crate::domain::event::{Event, Stream, TunnelEvent};
use crate::domain::id::{RecordId, TunnelId, ZoneId};
use crate::domain::zone::ZoneProblem;

/// A name to be led to a tunnel.
#[derive(Debug, Clone)]
pub(super) struct NameTask {
    pub zone: ZoneId,
    pub name: String,
    /// Look before making it: there may be one already.
    pub look_first: bool,
    /// Its row, before this piece of work.
    pub row: Option<DnsRecordRow>,
}

impl NameTask {
    /// True if its row says just this: our record of that id leads to `tunnel`.
    fn notes(&self, tunnel: &TunnelId, record: &RecordId) -> bool {
        self.row.as_ref().is_some_and(|row| row.record_id.as_ref() == Some(record) && leads_to(row, tunnel))
    }
}

/// What became of a name.
#[derive(Debug)]
pub(super) enum NameEnd {
    /// It leads to the tunnel, by a record of ours.
    Ours,
    /// It leads to the tunnel, by a record of somebody else; we use it and leave it.
    AsItIs,
    /// It leads elsewhere, by a record of somebody else.
    Blocked(String),
}

/// Why a name could not be dealt with.
#[derive(Debug, thiserror::Error)]
pub(super) enum RecordError {
    #[error(transparent)]
    Cloudflare(#[from] CfError),
    #[error(transparent)]
    Store(#[from] StoreFailed),
    #[error("the database could not be read")]
    Db(#[from] DbError),
    #[error("nothing could be planned for `{0}`")]
    Unplanned(String),
    /// Nothing was sent.
    #[error("a change came first")]
    PutOff,
}

/// Leads a name to `tunnel`. The row must be written already.
pub(super) async fn ensure(
    desk: &Desk,
    client: &Cloudflare,
    tunnel: &TunnelId,
    task: &NameTask,
) -> Result<NameEnd, RecordError> {
    let _held = desk.names.lock(&task.name).await;
    let wanted = NewDnsRecord {
        name: task.name.clone(),
        content: tunnel_target(tunnel),
        comment: desk.marker.clone(),
    };
    if !task.look_first {
        match client.create_dns(&task.zone, &wanted).await {
            Ok(record) => return keep_made(desk, client, tunnel, task, record).await,
            Err(error) if error.is_dns_conflict() => {}
            Err(error) => return Err(error.into()),
        }
    }
    let wanted_name = wanted_name(tunnel, task);
    let steps = plan(desk, client, &[wanted_name], &task.zone, &task.name).await?;
    for step in steps {
        match step {
            DnsStep::Keep { record_id, .. } => return keep(desk, tunnel, task, record_id).await,
            DnsStep::Create { target, .. } => {
                // What was noted of a record that is gone must not stand for the new one, should its answer be lost.
                let noted = row_before(desk, tunnel, task);
                if noted.record_id.is_some() || noted.content != target {
                    let row = DnsRecordRow { record_id: None, content: target, ..noted };
                    desk.write(vec![RowChange::PutDnsRecord(row)]).await?;
                }
                let record = client.create_dns(&task.zone, &wanted).await?;
                return keep_made(desk, client, tunnel, task, record).await;
            }
            DnsStep::Update { record_id, .. } => {
                let record = client.put_dns(&task.zone, &record_id, &wanted).await?;
                return keep(desk, tunnel, task, record.id).await;
            }
            DnsStep::Forget { zone_id, name } => forget(desk, &zone_id, &name).await?,
            DnsStep::UseAsIs { .. } => {
                forget(desk, &task.zone, &task.name).await?;
                return Ok(NameEnd::AsItIs);
            }
            DnsStep::Blocked { reason, .. } => {
                forget(desk, &task.zone, &task.name).await?;
                return Ok(NameEnd::Blocked(reason));
            }
            DnsStep::Delete { .. } => {}
        }
    }
    Err(RecordError::Unplanned(task.name.clone()))
}

/// Says how a name stands, if nothing is to be done for it at Cloudflare; changes nothing there.
pub(super) async fn look(
    desk: &Desk,
    client: &Cloudflare,
    tunnel: &TunnelId,
    task: &NameTask,
) -> Result<Option<NameEnd>, RecordError> {
    let _held = desk.names.lock(&task.name).await;
    for step in plan(desk, client, &[wanted_name(tunnel, task)], &task.zone, &task.name).await? {
        match step {
            DnsStep::Keep { record_id, .. } if task.notes(tunnel, &record_id) => {
                return Ok(Some(NameEnd::Ours));
            }
            DnsStep::UseAsIs { .. } => return Ok(Some(NameEnd::AsItIs)),
            DnsStep::Blocked { reason, .. } => return Ok(Some(NameEnd::Blocked(reason))),
            // It is no longer ours.
            DnsStep::Forget { zone_id, name } => forget(desk, &zone_id, &name).await?,
            _ => return Ok(None),
        }
    }
    Ok(None)
}

/// Deletes the record of a row, if it is still ours, and forgets the row. If another tunnel gets the name, the
/// record is left to that one, which leads it over: deleted, it would be missing until then.
pub(super) async fn remove(
    desk: &Desk,
    client: &Cloudflare,
    tunnel: &TunnelId,
    zone: &ZoneId,
    name: &str,
) -> Result<(), RecordError> {
    let _held = desk.names.lock(name).await;
    let row = cloudflare::find_dns_record(&desk.db, zone, name).await?;
    // Another tunnel has taken the name over meanwhile, record and row.
    let Some(row) = row.filter(|row| row.tunnel_id == *tunnel) else { return Ok(()) };
    if let Some(next) = next_tunnel(desk, name).await?.filter(|next| next != tunnel) {
        let row = DnsRecordRow { tunnel_id: next, ..row };
        return Ok(desk.write(vec![RowChange::PutDnsRecord(row)]).await?);
    }
    let steps = match plan(desk, client, &[], zone, name).await {
        Err(RecordError::Cloudflare(error))
            if !error.is_transient() && desk.zones.has_lost(client, zone).await =>
        {
            return Ok(give_up(desk, &row).await?);
        }
        steps => steps?,
    };
    for step in steps {
        if let DnsStep::Delete { record_id, .. } = step {
            // Applied or not, should the answer be lost: nobody knows then.
            if row.is_settled {
                let row = DnsRecordRow { is_settled: false, ..row.clone() };
                desk.write(vec![RowChange::PutDnsRecord(row)]).await?;
            }
            client.delete_dns(zone, &record_id).await?;
        }
    }
    Ok(forget(desk, zone, name).await?)
}

/// The tunnel of whoever holds the name now.
async fn next_tunnel(desk: &Desk, name: &str) -> Result<Option<TunnelId>, DbError> {
    let Some(holder) = routes::find_claim(&desk.db, name).await? else { return Ok(None) };
    let agent = agents::find_agent(&desk.db, &holder).await?;
    let here = agent.filter(|agent| agent.account_id.as_ref() == Some(desk.cloudflare.account()));
    Ok(here.and_then(|agent| agent.publishes_in().cloned()))
}

/// Looks at a name and plans for it alone.
async fn plan(
    desk: &Desk,
    client: &Cloudflare,
    wanted: &[WantedName],
    zone: &ZoneId,
    name: &str,
) -> Result<Vec<DnsStep>, RecordError> {
    let row = cloudflare::find_dns_record(&desk.db, zone, name).await?;
    let there = client.list_dns(zone, name).await?;
    let found: Vec<FoundRecord> = there
        .into_iter()
        .map(|record| FoundRecord {
            zone_id: zone.clone(),
            id: record.id,
            kind: record.kind,
            name: record.name,
            content: record.content.unwrap_or_default(),
            // What is not said is no difference: it would be put right for ever.
            is_proxied: record.proxied.unwrap_or(true),
            comment: record.comment,
            keeper: record.meta.and_then(keeper),
        })
        .collect();
    let own = row.map(|row| OwnRecord {
        zone_id: row.zone_id,
        name: row.name,
        target: row.content,
        record_id: row.record_id,
    });
    Ok(plan_dns(wanted, &found, own.as_slice(), &desk.marker))
}

fn keeper(meta: DnsMeta) -> Option<RecordKeeper> {
    let keeper = if meta.origin_worker_id.is_some() { RecordKeeper::Worker } else { RecordKeeper::Other };
    (meta.read_only == Some(true)).then_some(keeper)
}

fn wanted_name(tunnel: &TunnelId, task: &NameTask) -> WantedName {
    WantedName { zone_id: task.zone.clone(), name: task.name.clone(), tunnel_id: tunnel.clone() }
}

/// Takes note of a record that was just made; takes it away again if Cloudflare put the zone's name behind a name
/// that lies outside the zone.
async fn keep_made(
    desk: &Desk,
    client: &Cloudflare,
    tunnel: &TunnelId,
    task: &NameTask,
    made: DnsRecord,
) -> Result<NameEnd, RecordError> {
    let Some(zone) = behind(&made.name, &task.name) else { return keep(desk, tunnel, task, made.id).await };
    let hostname = task.name.clone();
    let outside = ZoneProblem::Outside { hostname, zone: zone.to_owned() };
    desk.zones.learn(&task.zone, zone).await;
    // Noted under the name that it has: should it stay now, it goes at the next comparison.
    let row = DnsRecordRow {
        name: made.name.clone(),
        record_id: Some(made.id.clone()),
        ..row_before(desk, tunnel, task)
    };
    desk.write(vec![RowChange::PutDnsRecord(row)]).await?;
    forget(desk, &task.zone, &task.name).await?;
    match client.delete_dns(&task.zone, &made.id).await {
        Ok(()) => forget(desk, &task.zone, &made.name).await?,
        Err(error) => {
            tracing::warn!(%error, dns.name = made.name, "a record under a wrong name stays for now")
        }
    }
    Ok(NameEnd::Blocked(outside.to_string()))
}

/// Returns what stands behind `name` and a dot in `made`.
fn behind<'a>(made: &'a str, name: &str) -> Option<&'a str> {
    let (front, rest) = made.split_at_checked(name.len())?;
    rest.strip_prefix('.').filter(|rest| front.eq_ignore_ascii_case(name) && !rest.is_empty())
}

async fn keep(desk: &Desk, tunnel: &TunnelId, task: &NameTask, id: RecordId) -> Result<NameEnd, RecordError> {
    let content = tunnel_target(tunnel);
    let row =
        DnsRecordRow { record_id: Some(id), content, is_settled: true, ..row_before(desk, tunnel, task) };
    desk.write(vec![RowChange::PutDnsRecord(row)]).await?;
    Ok(NameEnd::Ours)
}

/// The row that says that a record may be ours: written before the call that makes it, or that leads it here from
/// another tunnel; until then it says where the record leads.
pub(super) fn row_before(desk: &Desk, tunnel: &TunnelId, task: &NameTask) -> DnsRecordRow {
    let there = task.row.as_ref();
    DnsRecordRow {
        zone_id: task.zone.clone(),
        name: task.name.clone(),
        record_id: there.and_then(|row| row.record_id.clone()),
        tunnel_id: tunnel.clone(),
        content: there.map_or_else(|| tunnel_target(tunnel), |row| row.content.clone()),
        created_at: there.map_or_else(|| desk.clock.now(), |row| row.created_at),
        is_settled: false,
    }
}

/// Forgets a record that nobody of this account can delete any more, and says so for good.
async fn give_up(desk: &Desk, row: &DnsRecordRow) -> Result<(), StoreFailed> {
    let (tunnel_id, zone_id, name) = (row.tunnel_id.clone(), row.zone_id.clone(), row.name.clone());
    tracing::warn!(
        dns.name = name,
        zone.id = %zone_id,
        "a record of ours cannot be deleted, because its zone left the account; it is forgotten"
    );
    let stream = Stream::tunnel(&tunnel_id);
    let event = Event::Tunnel(TunnelEvent::RecordForgotten {
        tunnel_id,
        zone_id: zone_id.clone(),
        name: name.clone(),
    });
    let batch = desk.batch().append(stream, Expected::Head, vec![event]);
    desk.store.commit(batch.row(RowChange::DeleteDnsRecord { zone_id, name })).await
}

async fn forget(desk: &Desk, zone: &ZoneId, name: &str) -> Result<(), StoreFailed> {
    desk.write(vec![RowChange::DeleteDnsRecord { zone_id: zone.clone(), name: name.to_owned() }]).await
}
