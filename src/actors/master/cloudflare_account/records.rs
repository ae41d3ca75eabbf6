//! DNS records: the first kind of thing that we own.

use std::collections::BTreeSet;

use super::owned::{Looked, Owned, OwnedError, Standing};
use super::picture::{Found, Read, leads_to};
use super::shared::{Shared, StoreFailed};
use crate::cloudflare::{Cloudflare, DnsMeta, DnsRecord, NewDnsRecord};
use crate::db::cloudflare::DnsRecordRow;
use crate::db::{DbError, Expected, RowChange, cloudflare};
use crate::domain::dns::{
    DnsStep, FoundRecord, OwnRecord, RecordKeeper, WantedName, dns_steps, record_drift, tunnel_of_target,
    tunnel_target, zone_put_behind,
};
use crate::domain::event::{Event, Stream, TunnelEvent};
use crate::domain::id::{RecordId, TunnelId, ZoneId};
use crate::domain::owned::OwnedKind;
use crate::domain::publish::PublicState;
use crate::domain::route::Service;
use crate::domain::zone::ZoneProblem;

/// The records of one tunnel.
pub(super) struct Records<'a> {
    pub shared: &'a Shared,
    pub client: &'a Cloudflare,
    pub tunnel: &'a TunnelId,
}

/// A name that is to lead to the tunnel.
#[derive(Debug, Clone)]
pub(super) struct WantedRecord {
    pub zone: ZoneId,
    pub name: String,
    /// Look before making it: there may be one already.
    pub look_first: bool,
    /// Its row, before this piece of work.
    pub row: Option<DnsRecordRow>,
}

impl WantedRecord {
    /// None if no zone is known for the name: it was published in one that is not listed any more, by a record that is
    /// not ours.
    pub fn of(read: &Read, name: &str, look_first: bool) -> Option<Self> {
        let zone = read.wanted.names.get(name)?.clone();
        let row = read.snapshot.record(name).filter(|row| row.zone_id == zone).cloned();
        Some(Self { zone, name: name.to_owned(), look_first, row })
    }

    /// Returns the names that were blocked. Without a zone nobody can look, and nothing of ours is there.
    pub fn blocked(read: &Read) -> Vec<Self> {
        if read.snapshot.is_left() {
            return Vec::new();
        }
        let is_blocked = |service: &&Service| read.snapshot.state(&service.key) == Some(PublicState::Blocked);
        let services = read.wanted.services.iter().filter(is_blocked);
        let names: BTreeSet<&String> = services.map(|service| &service.key.hostname).collect();
        // What others changed is looked at by comparisons.
        let waits = |name: &&String| read.snapshot.drifts.waits(OwnedKind::Record, name).is_some();
        names.into_iter().filter(|name| !waits(name)).filter_map(|name| Self::of(read, name, true)).collect()
    }

    /// Returns the names that need a call still.
    pub fn due(read: &Read, found: &Found, is_background: bool) -> Vec<Self> {
        let is_due = |name: &&String| {
            read.snapshot.leads(name) && !found.is_dealt_with(name) && !read.has_settled_name(name)
        };
        let wanted = read.wanted.names.keys().filter(is_due).filter_map(|name| {
            let mut states = read.wanted.of_name(name).map(|service| read.snapshot.state(&service.key));
            let is_unknown = states.all(|state| matches!(state, None | Some(PublicState::Publishing)));
            // Nobody has ever tried it: Cloudflare itself refuses a second record, so the look can be saved.
            let look_first = read.snapshot.record(name).is_some() || !is_unknown || is_background;
            Self::of(read, name, look_first)
        });
        wanted.collect()
    }

    /// Reads its row if it has none: one may lead to another tunnel still.
    pub async fn find_row(&mut self, shared: &Shared) -> Result<(), DbError> {
        if self.row.is_none() {
            self.row = cloudflare::find_dns_record(&shared.db, &self.zone, &self.name).await?;
            self.look_first |= self.row.is_some();
        }
        Ok(())
    }

    /// The other tunnel that our record of it leads to still, or whose it was.
    pub fn leads_from(&self, tunnel: &TunnelId) -> Option<TunnelId> {
        let row = self.row.as_ref()?;
        let led_to = tunnel_of_target(&row.content).filter(|_| row.record_id.is_some());
        led_to.into_iter().chain([row.tunnel_id.clone()]).find(|other| other != tunnel)
    }

    /// True if nobody has ever tried it.
    pub fn is_untried(&self) -> bool {
        self.row.is_none() && !self.look_first
    }

    /// True if its row says just this: our record of that id leads to `tunnel`.
    fn notes(&self, tunnel: &TunnelId, record: &RecordId) -> bool {
        self.row.as_ref().is_some_and(|row| row.record_id.as_ref() == Some(record) && leads_to(row, tunnel))
    }
}

impl Owned for Records<'_> {
    type Wanted = WantedRecord;
    type Key = (ZoneId, String);

    fn name(wanted: &WantedRecord) -> &str {
        &wanted.name
    }

    fn row_before(&self, wanted: &WantedRecord) -> Option<RowChange> {
        let row = self.unsettled(wanted);
        (wanted.row.as_ref() != Some(&row)).then_some(RowChange::PutDnsRecord(row))
    }

    async fn look(&self, wanted: &WantedRecord) -> Result<Looked, OwnedError> {
        let _held = self.shared.locks.lock(&wanted.name).await;
        let (row, found) = self.read(&wanted.zone, &wanted.name).await?;
        let noted = row.as_ref().filter(|row| leads_to(row, self.tunnel)).map(own_record);
        let drift = noted.and_then(|own| record_drift(&own, &found, &self.shared.marker));
        let own = row.as_ref().map(own_record);
        let wanted_name = self.wanted_name(wanted);
        let mut standing = None;
        for step in dns_steps(&[wanted_name], &found, own.as_slice(), &self.shared.marker) {
            standing = match step {
                DnsStep::Keep { record_id, .. } if wanted.notes(self.tunnel, &record_id) => {
                    Some(Standing::Ours)
                }
                DnsStep::UseAsIs { .. } => Some(Standing::Theirs),
                DnsStep::Blocked { reason, .. } => Some(Standing::Blocked(reason)),
                // It is no longer ours.
                DnsStep::Forget { zone_id, name } => {
                    self.forget(&zone_id, &name).await?;
                    continue;
                }
                _ => None,
            };
            break;
        }
        Ok(Looked { standing, drift })
    }

    async fn ensure(&self, wanted: &WantedRecord) -> Result<Standing, OwnedError> {
        let _held = self.shared.locks.lock(&wanted.name).await;
        if !wanted.look_first {
            match self.client.create_dns(&wanted.zone, &self.body(wanted)).await {
                Ok(record) => return self.keep_made(wanted, record).await,
                Err(error) if error.is_dns_conflict() => {}
                Err(error) => return Err(error.into()),
            }
        }
        for step in self.steps(&[self.wanted_name(wanted)], &wanted.zone, &wanted.name).await? {
            match step {
                DnsStep::Keep { record_id, .. } => return self.keep(wanted, record_id).await,
                DnsStep::Create { target, .. } => return self.make(wanted, target).await,
                DnsStep::Update { record_id, .. } => {
                    let record = self.client.put_dns(&wanted.zone, &record_id, &self.body(wanted)).await?;
                    return self.keep(wanted, record.id).await;
                }
                DnsStep::Forget { zone_id, name } => self.forget(&zone_id, &name).await?,
                DnsStep::UseAsIs { .. } => {
                    self.forget(&wanted.zone, &wanted.name).await?;
                    return Ok(Standing::Theirs);
                }
                DnsStep::Blocked { reason, .. } => {
                    self.forget(&wanted.zone, &wanted.name).await?;
                    return Ok(Standing::Blocked(reason));
                }
                DnsStep::Delete { .. } => {}
            }
        }
        Err(OwnedError::Unplanned(wanted.name.clone()))
    }

    /// If another tunnel gets the name, the record is left to that one, which leads it over: deleted, it would be missing
    /// until then.
    async fn remove(&self, (zone, name): &(ZoneId, String)) -> Result<(), OwnedError> {
        let _held = self.shared.locks.lock(name).await;
        let row = cloudflare::find_dns_record(&self.shared.db, zone, name).await?;
        // Another tunnel has taken the name over meanwhile, record and row.
        let Some(row) = row.filter(|row| row.tunnel_id == *self.tunnel) else { return Ok(()) };
        if let Some(next) = self.shared.next_tunnel(name).await?.filter(|next| next != self.tunnel) {
            let row = DnsRecordRow { tunnel_id: next, ..row };
            return Ok(self.shared.write(vec![RowChange::PutDnsRecord(row)]).await?);
        }
        let steps = match self.steps(&[], zone, name).await {
            Err(OwnedError::Cloudflare(error))
                if !error.is_transient() && self.shared.zones.has_lost(self.client, zone).await =>
            {
                return Ok(self.give_up(&row).await?);
            }
            steps => steps?,
        };
        for step in steps {
            if let DnsStep::Delete { record_id, .. } = step {
                // Applied or not, should the answer be lost: nobody knows then.
                if row.is_settled {
                    let row = DnsRecordRow { is_settled: false, ..row.clone() };
                    self.shared.write(vec![RowChange::PutDnsRecord(row)]).await?;
                }
                self.client.delete_dns(zone, &record_id).await?;
            }
        }
        Ok(self.forget(zone, name).await?)
    }
}

impl Records<'_> {
    /// As it is to be at Cloudflare.
    fn body(&self, wanted: &WantedRecord) -> NewDnsRecord {
        NewDnsRecord {
            name: wanted.name.clone(),
            content: tunnel_target(self.tunnel),
            comment: self.shared.marker.clone(),
        }
    }

    fn wanted_name(&self, wanted: &WantedRecord) -> WantedName {
        let (zone_id, name) = (wanted.zone.clone(), wanted.name.clone());
        WantedName { zone_id, name, tunnel_id: self.tunnel.clone() }
    }

    /// The row that says that a record may be ours: written before the call that makes it, or that leads it here from
    /// another tunnel; until then it says where the record leads.
    fn unsettled(&self, wanted: &WantedRecord) -> DnsRecordRow {
        let there = wanted.row.as_ref();
        DnsRecordRow {
            zone_id: wanted.zone.clone(),
            name: wanted.name.clone(),
            record_id: there.and_then(|row| row.record_id.clone()),
            tunnel_id: self.tunnel.clone(),
            content: there.map_or_else(|| tunnel_target(self.tunnel), |row| row.content.clone()),
            created_at: there.map_or_else(|| self.shared.clock.now(), |row| row.created_at),
            is_settled: false,
        }
    }

    /// Looks at a name and says what is to be done for it alone.
    async fn steps(
        &self,
        wanted: &[WantedName],
        zone: &ZoneId,
        name: &str,
    ) -> Result<Vec<DnsStep>, OwnedError> {
        let (row, found) = self.read(zone, name).await?;
        let own = row.as_ref().map(own_record);
        Ok(dns_steps(wanted, &found, own.as_slice(), &self.shared.marker))
    }

    /// Our row of a name, and all records of it.
    async fn read(
        &self,
        zone: &ZoneId,
        name: &str,
    ) -> Result<(Option<DnsRecordRow>, Vec<FoundRecord>), OwnedError> {
        let row = cloudflare::find_dns_record(&self.shared.db, zone, name).await?;
        let there = self.client.list_dns(zone, name).await?;
        Ok((row, there.into_iter().map(|record| found(zone, record)).collect()))
    }

    /// Makes the record. What was noted of one that is gone must not stand for the new one, should its answer be lost.
    async fn make(&self, wanted: &WantedRecord, target: String) -> Result<Standing, OwnedError> {
        let noted = self.unsettled(wanted);
        if noted.record_id.is_some() || noted.content != target {
            let row = DnsRecordRow { record_id: None, content: target, ..noted };
            self.shared.write(vec![RowChange::PutDnsRecord(row)]).await?;
        }
        let record = self.client.create_dns(&wanted.zone, &self.body(wanted)).await?;
        self.keep_made(wanted, record).await
    }

    /// Takes note of a record that was just made; takes it away again if Cloudflare put the zone's name behind a name
    /// that lies outside the zone.
    async fn keep_made(&self, wanted: &WantedRecord, made: DnsRecord) -> Result<Standing, OwnedError> {
        let Some(zone) = zone_put_behind(&made.name, &wanted.name) else {
            return self.keep(wanted, made.id).await;
        };
        let outside = ZoneProblem::Outside { hostname: wanted.name.clone(), zone: zone.to_owned() };
        self.shared.zones.learn(&wanted.zone, zone).await;
        // Noted under the name that it has: should it stay now, it goes at the next comparison.
        let (name, record_id) = (made.name.clone(), Some(made.id.clone()));
        let row = DnsRecordRow { name, record_id, ..self.unsettled(wanted) };
        self.shared.write(vec![RowChange::PutDnsRecord(row)]).await?;
        self.forget(&wanted.zone, &wanted.name).await?;
        match self.client.delete_dns(&wanted.zone, &made.id).await {
            Ok(()) => self.forget(&wanted.zone, &made.name).await?,
            Err(error) => {
                tracing::warn!(%error, dns.name = made.name, "a record under a wrong name stays for now")
            }
        }
        Ok(Standing::Blocked(outside.to_string()))
    }

    async fn keep(&self, wanted: &WantedRecord, id: RecordId) -> Result<Standing, OwnedError> {
        let (record_id, content) = (Some(id), tunnel_target(self.tunnel));
        let row = DnsRecordRow { record_id, content, is_settled: true, ..self.unsettled(wanted) };
        self.shared.write(vec![RowChange::PutDnsRecord(row)]).await?;
        Ok(Standing::Ours)
    }

    /// Forgets a record that nobody of this account can delete any more, and says so for good.
    async fn give_up(&self, row: &DnsRecordRow) -> Result<(), StoreFailed> {
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
        let batch = self.shared.batch().append(stream, Expected::Head, vec![event]);
        self.shared.store.commit(batch.row(RowChange::DeleteDnsRecord { zone_id, name })).await
    }

    async fn forget(&self, zone: &ZoneId, name: &str) -> Result<(), StoreFailed> {
        let row = RowChange::DeleteDnsRecord { zone_id: zone.clone(), name: name.to_owned() };
        self.shared.write(vec![row]).await
    }
}

fn own_record(row: &DnsRecordRow) -> OwnRecord {
    OwnRecord {
        zone_id: row.zone_id.clone(),
        name: row.name.clone(),
        target: row.content.clone(),
        record_id: row.record_id.clone(),
    }
}

pub(super) fn found(zone: &ZoneId, record: DnsRecord) -> FoundRecord {
    FoundRecord {
        zone_id: zone.clone(),
        id: record.id,
        kind: record.kind,
        name: record.name,
        content: record.content.unwrap_or_default(),
        // What is not said is no difference: it would be put right for ever.
        is_proxied: record.proxied.unwrap_or(true),
        comment: record.comment,
        keeper: record.meta.and_then(keeper),
    }
}

fn keeper(meta: DnsMeta) -> Option<RecordKeeper> {
    let keeper = if meta.origin_worker_id.is_some() { RecordKeeper::Worker } else { RecordKeeper::Other };
    (meta.read_only == Some(true)).then_some(keeper)
}
