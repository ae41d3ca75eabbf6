//! DNS records for published names: which are made, which are left alone.
//!
//! A record is ours if we have a row for it *and* it carries our marker: both, because a person who takes the
//! marker off, or makes a new record, has taken it over. A foreign record of a wanted name blocks that name
//! and nothing else. Rows are written before the call that makes a record, without its id, so that a crash in
//! between leaves a trace.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use super::drift::Drift;
use super::id::{RecordId, TunnelId, ZoneId};
use super::owned::OwnedKind;

/// Kinds that cannot stand beside a CNAME of the same name.
const EXCLUSIVE: [&str; 4] = ["A", "AAAA", "CNAME", "NS"];
/// Where all tunnels are.
pub(super) const TUNNEL_SUFFIX: &str = ".cfargotunnel.com";
/// Most characters of a comment that every plan of Cloudflare takes.
const MAX_COMMENT: usize = 100;
/// What to do about a record that has a wanted name.
const FOREIGN: &str = "it stays as it is, so remove it or choose another hostname";
/// What to do about one that leads to the tunnel past Cloudflare, where no tunnel is reached.
const DNS_ONLY: &str = "it leads to this tunnel, but as it is DNS only (not proxied), nobody gets there; it stays as \
                        it is, so switch its proxy on at Cloudflare, or remove it and one is made";

/// Returns the comment by which this installation knows its records.
///
/// `installation` is the installation's own id; what does not fit is cut off.
pub fn owner_marker(installation: &str) -> String {
    format!("lightship:{installation}").chars().take(MAX_COMMENT).collect()
}

/// Returns where the record of a tunnel's hostname points.
pub fn tunnel_target(tunnel_id: &TunnelId) -> String {
    format!("{tunnel_id}{TUNNEL_SUFFIX}")
}

/// Returns the tunnel that a record with this content leads to.
pub fn tunnel_of_target(content: &str) -> Option<TunnelId> {
    content.strip_suffix(TUNNEL_SUFFIX).map(TunnelId::new)
}

/// Returns the zone's name if Cloudflare put it behind a `wanted` name, as it does with one that lies outside the zone.
pub fn zone_put_behind<'a>(made: &'a str, wanted: &str) -> Option<&'a str> {
    let (front, rest) = made.split_at_checked(wanted.len())?;
    rest.strip_prefix('.').filter(|rest| front.eq_ignore_ascii_case(wanted) && !rest.is_empty())
}

/// A name that must lead to a tunnel.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WantedName {
    /// Zone it is in.
    pub zone_id: ZoneId,
    /// The hostname; may start with `*.`.
    pub name: String,
    /// Its tunnel.
    pub tunnel_id: TunnelId,
}

/// A record as it was just read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundRecord {
    /// Zone it was found in.
    pub zone_id: ZoneId,
    /// Its id.
    pub id: RecordId,
    /// `A`, `CNAME`, ...
    pub kind: String,
    /// Its name.
    pub name: String,
    /// What it points at.
    pub content: String,
    /// True if requests go through Cloudflare; without that a tunnel is not reached.
    pub is_proxied: bool,
    /// Its comment.
    pub comment: Option<String>,
    /// Who keeps it, if nobody can change it among the records.
    pub keeper: Option<RecordKeeper>,
}

/// A product of Cloudflare that keeps a record: it can be removed there, and nowhere else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordKeeper {
    /// The custom domain of a Worker.
    Worker,
    /// Another one.
    Other,
}

impl RecordKeeper {
    fn way_out(self) -> &'static str {
        match self {
            Self::Worker => {
                "it was made by a Worker's custom domain, so remove it there (Workers, Settings, Domains), or choose \
                 another hostname"
            }
            Self::Other => {
                "another product of Cloudflare made it and nobody can change it among the records, so remove it in that \
                 product, or choose another hostname"
            }
        }
    }
}

/// Our note of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnRecord {
    /// Zone.
    pub zone_id: ZoneId,
    /// Name.
    pub name: String,
    /// What we made it point at.
    pub target: String,
    /// Its id; unknown until Cloudflare has answered.
    pub record_id: Option<RecordId>,
}

/// What to do with one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DnsStep {
    /// It is ours and right. If our note lacks the id, note it.
    Keep {
        /// The name.
        wanted: WantedName,
        /// The record.
        record_id: RecordId,
    },
    /// Somebody made a proxied record that leads to this tunnel: it serves, and is never changed or deleted.
    UseAsIs {
        /// The name.
        wanted: WantedName,
        /// The record.
        record_id: RecordId,
    },
    /// Note the intent, make the record, note its id.
    Create {
        /// The name.
        wanted: WantedName,
        /// What it points at.
        target: String,
    },
    /// Ours, but pointing elsewhere or not proxied: replace it.
    Update {
        /// The name.
        wanted: WantedName,
        /// The record.
        record_id: RecordId,
        /// What it is to point at.
        target: String,
    },
    /// Somebody else's record has the name, and leads elsewhere or past Cloudflare.
    Blocked {
        /// The name.
        wanted: WantedName,
        /// Kind of the record.
        kind: String,
        /// What it points at.
        content: String,
        /// Why, and the way out.
        reason: String,
    },
    /// Ours and no longer wanted.
    Delete {
        /// Zone.
        zone_id: ZoneId,
        /// Name.
        name: String,
        /// The record.
        record_id: RecordId,
    },
    /// Drop our note: the record is gone, or no longer ours.
    Forget {
        /// Zone.
        zone_id: ZoneId,
        /// Name.
        name: String,
    },
}

/// Decides about the records of all `wanted` names, and of names that only our rows (`own`) still know.
///
/// `found` must hold every record of each of these names; ask only for names whose look-up succeeded.
pub fn dns_steps(
    wanted: &[WantedName],
    found: &[FoundRecord],
    own: &[OwnRecord],
    marker: &str,
) -> Vec<DnsStep> {
    let world = World { found, own, marker };
    let unique: BTreeSet<&WantedName> = wanted.iter().collect();
    let mut steps: Vec<DnsStep> = Vec::new();
    // What goes comes first: a name that moves between zones or owners must be free before it is made anew.
    for row in own {
        let is_wanted = unique.iter().any(|name| is_same(&name.zone_id, &name.name, &row.zone_id, &row.name));
        if !is_wanted {
            steps.extend(world.withdraw(row));
        }
    }
    for name in unique {
        steps.extend(world.provide(name));
    }
    steps
}

/// Says what somebody changed of a record that was as our row has it.
pub fn record_drift(own: &OwnRecord, found: &[FoundRecord], marker: &str) -> Option<Drift> {
    let id = own.record_id.as_ref()?;
    let wanted = format!("CNAME {}, proxied", own.target);
    let said = |found: Option<String>| Some(Drift::in_words(OwnedKind::Record, &own.name, &wanted, found));
    let Some(there) = found.iter().find(|record| record.id == *id) else {
        let others: Vec<String> = found
            .iter()
            .filter(|record| EXCLUSIVE.contains(&record.kind.as_str()))
            .map(|record| format!("{} {}, made by somebody else", record.kind, record.content))
            .collect();
        return said((!others.is_empty()).then(|| others.join("; ")));
    };
    let is_marked = there.comment.as_deref().is_some_and(|comment| comment.trim() == marker);
    let leads_there = there.kind == "CNAME" && there.content.eq_ignore_ascii_case(&own.target);
    if leads_there && there.is_proxied && is_marked {
        return None;
    }
    let proxied = if there.is_proxied { "proxied" } else { "DNS only" };
    let comment = match is_marked {
        true => String::new(),
        false => format!(", with the comment `{}`", there.comment.as_deref().unwrap_or_default()),
    };
    said(Some(format!("{} {}, {proxied}{comment}", there.kind, there.content)))
}

struct World<'a> {
    found: &'a [FoundRecord],
    own: &'a [OwnRecord],
    marker: &'a str,
}

impl World<'_> {
    fn at<'s>(&'s self, zone: &'s ZoneId, name: &'s str) -> impl Iterator<Item = &'s FoundRecord> {
        self.found.iter().filter(move |record| is_same(&record.zone_id, &record.name, zone, name))
    }

    fn row(&self, zone: &ZoneId, name: &str) -> Option<&OwnRecord> {
        self.own.iter().find(|row| is_same(&row.zone_id, &row.name, zone, name))
    }

    /// Says whether a record is the one of our row. A row without id stands for a record whose making was
    /// interrupted: then it must be what we were about to make.
    fn is_ours(&self, record: &FoundRecord, row: &OwnRecord) -> bool {
        let marked = record.comment.as_deref().is_some_and(|comment| comment.trim() == self.marker);
        let noted = match &row.record_id {
            Some(id) => *id == record.id,
            None => record.content.eq_ignore_ascii_case(&row.target),
        };
        marked && noted && record.kind == "CNAME"
    }

    fn withdraw(&self, row: &OwnRecord) -> Vec<DnsStep> {
        let (zone_id, name) = (row.zone_id.clone(), row.name.clone());
        let ours = self.at(&row.zone_id, &row.name).find(|record| self.is_ours(record, row));
        match ours {
            // Led away from all tunnels by hand since: then it serves something else now. Another tunnel may also
            // be one that we led it to before a crash.
            Some(record) if record.content.to_ascii_lowercase().ends_with(TUNNEL_SUFFIX) => {
                vec![DnsStep::Delete { zone_id, name, record_id: record.id.clone() }]
            }
            _ => vec![DnsStep::Forget { zone_id, name }],
        }
    }

    fn provide(&self, name: &WantedName) -> Vec<DnsStep> {
        let target = tunnel_target(&name.tunnel_id);
        let row = self.row(&name.zone_id, &name.name);
        let ours =
            row.and_then(|row| self.at(&name.zone_id, &name.name).find(|record| self.is_ours(record, row)));
        let wanted = name.clone();
        if let Some(record) = ours {
            let record_id = record.id.clone();
            let is_right = record.content.eq_ignore_ascii_case(&target) && record.is_proxied;
            return vec![if is_right {
                DnsStep::Keep { wanted, record_id }
            } else {
                DnsStep::Update { wanted, record_id, target }
            }];
        }
        let taken =
            || self.at(&name.zone_id, &name.name).filter(|record| EXCLUSIVE.contains(&record.kind.as_str()));
        let equal =
            taken().find(|record| record.kind == "CNAME" && record.content.eq_ignore_ascii_case(&target));
        let step = match (equal, taken().next()) {
            (Some(record), _) if record.is_proxied => {
                DnsStep::UseAsIs { wanted, record_id: record.id.clone() }
            }
            (Some(record), _) => blocked(wanted, record, DNS_ONLY),
            (None, Some(record)) => blocked(wanted, record, FOREIGN),
            (None, None) => return vec![DnsStep::Create { wanted, target }],
        };
        // The record of our row is gone or taken over, so the row says nothing any more.
        let forget = row.map(|row| DnsStep::Forget { zone_id: row.zone_id.clone(), name: row.name.clone() });
        forget.into_iter().chain([step]).collect()
    }
}

fn blocked(wanted: WantedName, record: &FoundRecord, way_out: &'static str) -> DnsStep {
    let way_out = record.keeper.map_or(way_out, RecordKeeper::way_out);
    let content: String = record.content.chars().take(200).collect();
    let is_tunnel = content.to_ascii_lowercase().ends_with(TUNNEL_SUFFIX);
    let elsewhere = match is_tunnel && !content.eq_ignore_ascii_case(&tunnel_target(&wanted.tunnel_id)) {
        true => " and that points at another tunnel",
        false => "",
    };
    let reason = format!(
        "DNS has a record `{} {} {content}` that we did not make{elsewhere}; {way_out}",
        record.name, record.kind
    );
    DnsStep::Blocked { wanted, kind: record.kind.clone(), content, reason }
}

fn is_same(zone: &ZoneId, name: &str, other_zone: &ZoneId, other_name: &str) -> bool {
    zone == other_zone && name.trim_end_matches('.').eq_ignore_ascii_case(other_name.trim_end_matches('.'))
}
