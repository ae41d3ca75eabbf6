//! Making ours what others made, and what names here could have: a person says so, one by one or by filter.
//!
//! A record gets our marker, and is led over like any other of ours. An application gets our row, unsettled: the next pass puts
//! it right and reads it back before the route is published; until then the route is closed as before. A policy is left as it
//! is and goes once nothing uses it. Everything that is not adopted stays untouched.

use std::collections::BTreeSet;
use std::sync::Arc;

use actix::prelude::*;

use super::actor::CloudflareAccount;
use super::applications::found_application;
use super::people::Asked;
use super::picture::Snapshot;
use super::policies::found_policy;
use super::protect::TIDY_AFTER;
use super::protection::needs;
use super::records::found as found_record;
use super::requests::answer;
use super::shared::{Shared, StoreFailed};
use super::tunnels::read_tunnels;
use super::words::refused;
use crate::actors::master::error::MasterError;
use crate::actors::master::receipt::Reply;
use crate::actors::supervision::Ctx;
use crate::cloudflare::{AccessApp, Cloudflare, DnsBatch, DnsRecord, NewDnsRecord};
use crate::db::access::{self, AccessApplicationRow, AccessPolicyRow, find_application};
use crate::db::cloudflare::{DnsRecordRow, find_dns_record};
use crate::db::{Batch, Expected, RowChange};
use crate::domain::access::{WantedApplication, adoption, asks_for_owner};
use crate::domain::adopt::{Meant, Offer, policy_offer, record_offer, tunnel_offer};
use crate::domain::dns::tunnel_target;
use crate::domain::event::{OwnedEvent, Stream};
use crate::domain::id::{PolicyId, TunnelId, ZoneId};
use crate::domain::owned::OwnedKind;

/// Most bytes of what is said in the record of an adoption.
const MOST_CHANGES: usize = 20;

/// What came of an adoption.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Adopted {
    /// What is ours from now on.
    pub taken: Vec<Offer>,
    /// What is not, and why.
    pub left: Vec<(Offer, String)>,
}

/// Asks what could be made ours.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct ListOffers {
    /// Where the answer goes.
    pub reply: Reply<Vec<Offer>>,
}

/// Makes ours what is meant.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Adopt {
    /// What.
    pub meant: Meant,
    /// Who orders it.
    pub by: String,
    /// Where the answer goes.
    pub reply: Reply<Adopted>,
}

impl Handler<ListOffers> for CloudflareAccount {
    type Result = ();

    fn handle(&mut self, ListOffers { reply }: ListOffers, ctx: &mut Ctx<Self>) {
        let shared = Arc::clone(&self.shared);
        let work = async move {
            let offers = offers(&shared).await;
            answer(reply, offers.map(|all| all.into_iter().map(|found| found.offer).collect()));
        };
        ctx.spawn(work.into_actor(self));
    }
}

impl Handler<Adopt> for CloudflareAccount {
    type Result = ();

    fn handle(&mut self, Adopt { meant, by, reply }: Adopt, ctx: &mut Ctx<Self>) {
        let shared = Arc::clone(&self.shared);
        let work = async move {
            let adopted = adopt(&shared, &meant, &by).await;
            let tunnels = adopted.as_ref().map(concerned).unwrap_or_default();
            answer(reply, adopted);
            tunnels
        };
        ctx.spawn(work.into_actor(self).map(|tunnels, actor, ctx| {
            for tunnel in tunnels {
                actor.try_again(&tunnel, ctx);
            }
        }));
    }
}

fn concerned(adopted: &Adopted) -> BTreeSet<TunnelId> {
    adopted.taken.iter().filter_map(|offer| offer.tunnel_id.clone()).collect()
}

/// An offer, with the thing that it is about.
struct Found {
    offer: Offer,
    thing: Thing,
}

enum Thing {
    Record(ZoneId, DnsRecord),
    Application(AccessApp),
    Policy(serde_json::Value),
    Tunnel,
}

/// Everything that could be made ours, or could not although it is in the way.
async fn offers(shared: &Shared) -> Result<Vec<Found>, MasterError> {
    let client = shared.cloudflare.clone();
    let tunnels = read_tunnels(&shared.db, shared.cloudflare.account()).await?;
    let mut all = Vec::new();
    for row in tunnels.iter().filter(|row| !row.made && row.agent_id.is_some()) {
        all.push(Found { offer: tunnel_offer(&row.id, &row.name), thing: Thing::Tunnel });
    }
    let snapshots = Snapshot::read_many(&shared.db, tunnels, &shared.settings).await?;
    add_records(shared, &client, &snapshots, &mut all).await?;
    add_access(shared, &client, &snapshots, &mut all).await?;
    Ok(all)
}

/// Records of wanted names that lead to a tunnel and are not ours.
async fn add_records(
    shared: &Shared,
    client: &Cloudflare,
    snapshots: &[Snapshot],
    all: &mut Vec<Found>,
) -> Result<(), MasterError> {
    let zones = shared.zones.get(client, false).await.map_err(refused)?;
    let mut wanted = Vec::new();
    for snapshot in snapshots {
        let names = snapshot.wanted(zones.known(), &shared.settings).names;
        let is_left = |name: &String| snapshot.leads(name) && snapshot.record(name).is_none();
        let names = names.into_iter().filter(|(name, _)| is_left(name));
        wanted.extend(names.map(|(name, zone)| (zone, name, &snapshot.tunnel.id)));
    }
    let in_zones: BTreeSet<ZoneId> = wanted.iter().map(|(zone, ..)| zone.clone()).collect();
    for zone in in_zones {
        let records = client.list_tunnel_records(&zone).await.map_err(refused)?;
        for (_, name, tunnel) in wanted.iter().filter(|(of, ..)| *of == zone) {
            let of_name = records.iter().filter(|record| record.name.eq_ignore_ascii_case(name));
            for record in of_name {
                let found = found_record(&zone, record.clone());
                if let Some(offer) = record_offer(&found, tunnel, &tunnel_target(tunnel), &shared.marker) {
                    all.push(Found { offer, thing: Thing::Record(zone.clone(), record.clone()) });
                }
            }
        }
    }
    Ok(())
}

/// Applications that stand before what is asked for, and policies that DockFlare made. None is looked for if nothing here has to
/// do with Access.
async fn add_access(
    shared: &Shared,
    client: &Cloudflare,
    snapshots: &[Snapshot],
    all: &mut Vec<Found>,
) -> Result<(), MasterError> {
    let (db, account) = (&shared.db, shared.cloudflare.account());
    let zones = shared.zones.get(client, false).await.map_err(refused)?;
    let is_about_owner = |snapshot: &Snapshot| {
        snapshot.specs().any(|service| asks_for_owner(&service.access, &snapshot.groups))
    };
    let who = Asked { lists: true, owner: snapshots.iter().any(is_about_owner), team: false };
    let people = shared.people.read(client, who).await.map_err(refused)?;
    let mut wanted: Vec<(WantedApplication, &Snapshot)> = Vec::new();
    for snapshot in snapshots {
        let asked = snapshot.wanted(zones.known(), &shared.settings);
        let needs = needs(&snapshot.groups, &asked, &people.account(), &shared.mark);
        let applications = needs.into_values().flatten().filter_map(|need| need.application().cloned());
        wanted.extend(applications.map(|application| (application, snapshot)));
    }
    if wanted.is_empty() {
        return Ok(());
    }
    let ours: BTreeSet<String> = access::applications_of(db, account)
        .await?
        .into_iter()
        .filter_map(|row| row.application_id.map(|id| id.to_string()))
        .collect();
    let policies = access::policies_of(db, account).await?;
    let apps = client.list_access_apps().await.map_err(refused)?;
    for app in apps.into_iter().filter(|app| !ours.contains(app.id.as_str())) {
        let found = found_application(app.clone());
        for (application, snapshot) in &wanted {
            let ids: Vec<PolicyId> = application
                .policies
                .iter()
                .filter_map(|policy| policies.get(&policy.name)?.policy_id.clone())
                .collect();
            let Some(fate) = adoption(application, &ids, &found) else { continue };
            let (changes, reason) = match fate {
                Ok(changes) => (changes, None),
                Err(reason) => (Vec::new(), Some(reason)),
            };
            let offer = Offer {
                kind: OwnedKind::Application,
                name: application.domain.clone(),
                id: app.id.to_string(),
                tunnel_id: Some(snapshot.tunnel.id.clone()),
                changes,
                reason,
            };
            all.push(Found { offer, thing: Thing::Application(app.clone()) });
        }
    }
    let known: BTreeSet<&str> =
        policies.values().filter_map(|row| row.policy_id.as_ref().map(PolicyId::as_str)).collect();
    let reusable = client.list_access_policies().await.map_err(refused)?;
    for policy in reusable.into_iter().map(found_policy).filter(|policy| !known.contains(policy.id.as_str()))
    {
        if let Some(offer) = policy_offer(&policy) {
            all.push(Found { offer, thing: Thing::Policy(policy.body) });
        }
    }
    Ok(())
}

async fn adopt(shared: &Shared, meant: &Meant, by: &str) -> Result<Adopted, MasterError> {
    let mut adopted = Adopted::default();
    for found in offers(shared).await?.into_iter().filter(|found| meant.is(&found.offer)) {
        if let Some(reason) = found.offer.reason.clone() {
            adopted.left.push((found.offer, reason));
            continue;
        }
        match take(shared, &found, by).await {
            Ok(()) => adopted.taken.push(found.offer),
            Err(error) => adopted.left.push((found.offer, error.to_string())),
        }
    }
    Ok(adopted)
}

async fn take(shared: &Shared, found: &Found, by: &str) -> Result<(), MasterError> {
    let event = adopted_event(shared, &found.offer);
    let mut batch =
        shared.batch().append(Stream::account(shared.cloudflare.account()), Expected::Head, vec![event]);
    batch.by = by.to_owned();
    match &found.thing {
        Thing::Record(zone, record) => take_record(shared, &found.offer, zone, record, batch).await,
        Thing::Application(app) => take_application(shared, &found.offer, app, batch).await,
        Thing::Policy(body) => take_policy(shared, &found.offer, body, batch).await,
        Thing::Tunnel => Ok(shared.store.commit(batch).await?),
    }
}

fn adopted_event(shared: &Shared, offer: &Offer) -> OwnedEvent {
    OwnedEvent::Adopted {
        account_id: shared.cloudflare.account().clone(),
        tunnel_id: offer.tunnel_id.clone(),
        kind: offer.kind,
        name: offer.name.clone(),
        id: offer.id.clone(),
        changes: offer.changes.iter().take(MOST_CHANGES).cloned().collect(),
    }
}

/// A record carries our marker from now on, and nothing else of it changes: should it lead to another tunnel it is led over
/// once its rule is in ours, as any record of ours is.
async fn take_record(
    shared: &Shared,
    offer: &Offer,
    zone: &ZoneId,
    record: &DnsRecord,
    batch: Batch,
) -> Result<(), MasterError> {
    let Some(tunnel_id) = offer.tunnel_id.clone() else { return Ok(()) };
    let _held = shared.locks.lock(&record.name).await;
    if find_dns_record(&shared.db, zone, &record.name).await?.is_some() {
        return Err(MasterError::Invalid("there is a record of ours meanwhile".into()));
    }
    let content = record.content.clone().unwrap_or_default();
    let row = DnsRecordRow {
        zone_id: zone.clone(),
        name: record.name.clone(),
        record_id: Some(record.id.clone()),
        tunnel_id,
        content: content.clone(),
        created_at: shared.clock.now(),
        is_settled: false,
    };
    shared.write(vec![RowChange::PutDnsRecord(row.clone())]).await?;
    let marked = NewDnsRecord { name: record.name.clone(), content, comment: shared.marker.clone() };
    let patches = vec![(record.id.clone(), marked)];
    let done = shared.cloudflare.batch_dns(zone, &DnsBatch { patches, ..DnsBatch::default() }).await;
    if let Err(error) = done {
        // It may have taken effect: the next look says whose it is.
        if !error.is_uncertain() {
            let (zone_id, name) = (zone.clone(), record.name.clone());
            shared.write(vec![RowChange::DeleteDnsRecord { zone_id, name }]).await?;
        }
        return Err(refused(error));
    }
    let settled = DnsRecordRow { is_settled: true, ..row };
    Ok(shared.store.commit(batch.row(RowChange::PutDnsRecord(settled))).await?)
}

/// An application is ours by its id from now on, and not known to be as it should: the route stays closed until the next pass
/// has written it and read it back.
async fn take_application(
    shared: &Shared,
    offer: &Offer,
    app: &AccessApp,
    batch: Batch,
) -> Result<(), MasterError> {
    let Some(tunnel_id) = offer.tunnel_id.clone() else { return Ok(()) };
    let (account_id, domain) = (shared.cloudflare.account().clone(), offer.name.clone());
    let _held = shared.locks.lock(&format!("application {domain}")).await;
    let known = find_application(&shared.db, &account_id, &domain).await?;
    if known.is_some_and(|row| row.application_id.is_some()) {
        return Err(MasterError::Invalid("there is an application of ours meanwhile".into()));
    }
    let row = AccessApplicationRow {
        account_id,
        domain,
        application_id: Some(app.id.clone()),
        aud: app.aud.clone(),
        tunnel_id,
        body: serde_json::Value::Object(app.raw.clone()),
        created_at: shared.clock.now(),
        is_settled: false,
    };
    Ok(shared.store.commit(batch.row(RowChange::PutAccessApplication(row))).await?)
}

/// A policy stays as it is, since others may use it, and goes once nothing does. Nobody is about to use it: it is as old as
/// one that may be tidied away.
async fn take_policy(
    shared: &Shared,
    offer: &Offer,
    body: &serde_json::Value,
    batch: Batch,
) -> Result<(), MasterError> {
    let row = AccessPolicyRow {
        account_id: shared.cloudflare.account().clone(),
        name: offer.name.clone(),
        policy_id: Some(PolicyId::new(offer.id.clone())),
        body: body.clone(),
        created_at: shared.clock.now() - TIDY_AFTER - chrono::TimeDelta::seconds(1),
        is_settled: true,
    };
    let written: Result<(), StoreFailed> =
        shared.store.commit(batch.row(RowChange::PutAccessPolicy(row))).await;
    Ok(written?)
}
