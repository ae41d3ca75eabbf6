//! What a token may do, seen by harmless reads. What is judged of it stands in `domain::doctor::token`.

use chrono::DateTime;
use futures_util::{StreamExt, stream};
use serde::Deserialize;
use serde_json::Value;

use super::call::Call;
use super::error::CfError;
use super::rights;
use super::transport::Cloudflare;
use crate::domain::doctor::Answer;
use crate::domain::doctor::token::{Account, Facts, Need, Probe, Said};
use crate::domain::id::{TunnelId, ZoneId};
use crate::domain::zone::Zone;

/// Zones in which rights are tried: each takes a call.
const MOST_ZONES: usize = 25;
/// Calls that are under way at the same time.
const SIDE_BY_SIDE: usize = 4;
/// Accounts that are asked for: a token sees few.
const MOST_ACCOUNTS: &str = "50";
/// Shorter pages of members there are not.
const FEWEST_MEMBERS: &str = "5";

#[derive(Deserialize)]
struct SeenAccount {
    id: String,
    #[serde(default)]
    name: String,
}

#[derive(Deserialize)]
struct SeenTunnel {
    id: TunnelId,
}

impl Cloudflare {
    /// Asks what the token is and what it may read; writes nothing. `default_zone` is the zone by setting.
    pub async fn look_at_token(&self, default_zone: Option<&ZoneId>) -> Facts {
        let said = answer(self.verify_owned_token().await).map(|(status, owner)| Said {
            expires: status
                .expires_on
                .as_deref()
                .and_then(|text| DateTime::parse_from_rfc3339(text).ok().map(|at| at.to_utc())),
            status: status.status,
            owner,
        });
        let mut facts = Facts {
            account: self.account().to_string(),
            api: self.api(),
            said,
            accounts: Answer::None(NOT_TAKEN.into()),
            zones: Answer::None(NOT_TAKEN.into()),
            probes: Vec::new(),
            zones_left: 0,
            written: Vec::new(),
            asks_protection: None,
            asks_owner: None,
            time: self.told_time(),
        };
        // Each further call would be refused like this one.
        if matches!(facts.said, Answer::Refused(_)) {
            facts.probes = nothing_tried();
            return facts;
        }
        let (accounts, zones, tunnel) =
            tokio::join!(self.see_accounts(), self.see_zones(default_zone), self.probe_tunnels());
        facts.accounts = accounts;
        facts.probes.push(tunnel);
        let seen = if let Answer::Told(zones) = &zones { zones.as_slice() } else { &[] };
        facts.zones_left = seen.len().saturating_sub(MOST_ZONES);
        let tried: Vec<Zone> = seen.iter().take(MOST_ZONES).cloned().collect();
        let records = stream::iter(tried.into_iter().map(|zone| async move { self.probe_zone(zone).await }));
        facts.probes.extend(records.buffered(SIDE_BY_SIDE).collect::<Vec<_>>().await);
        facts.zones = zones.map(|zones| zones.into_iter().map(|zone| zone.name).collect());
        for (right, kind) in ACCESS {
            facts.probes.push(self.probe_access(right, kind).await);
        }
        facts.probes.push(self.probe_members().await);
        facts.written = self.written();
        facts.time = self.told_time();
        facts
    }

    async fn see_accounts(&self) -> Answer<Vec<Account>> {
        let call = Call::get("list accounts", &["accounts"]).query("per_page", MOST_ACCOUNTS);
        let seen = self.call::<Vec<SeenAccount>>(call).await.map(|answer| answer.result.unwrap_or_default());
        let account = |one: SeenAccount| Account { id: one.id, name: one.name };
        answer(seen).map(|seen| seen.into_iter().map(account).collect())
    }

    /// A token of a single zone may not list zones, or finds none; that zone is named by setting.
    async fn see_zones(&self, default: Option<&ZoneId>) -> Answer<Vec<Zone>> {
        let listed = answer(self.list_zones().await);
        let is_known = matches!(&listed, Answer::Told(zones) if !zones.is_empty());
        match default {
            Some(id) if !is_known => match answer(self.get_zone(id).await) {
                Answer::Told(zone) => Answer::Told(vec![zone]),
                _ => listed,
            },
            _ => listed,
        }
    }

    /// Reading the token of a tunnel takes the right to edit, so it shows that one where there is a tunnel. What was read is
    /// dropped.
    async fn probe_tunnels(&self) -> Probe {
        let account = self.account().as_str();
        let list = Call::get("list tunnels", &["accounts", account, "cfd_tunnel"])
            .query("is_deleted", "false")
            .query("per_page", "1")
            .needs(rights::TUNNEL);
        let listed = self.call::<Vec<SeenTunnel>>(list).await;
        let first = listed.map(|answer| answer.result.unwrap_or_default().into_iter().next());
        let tried = match first {
            Ok(Some(tunnel)) => {
                let path = ["accounts", account, "cfd_tunnel", tunnel.id.as_str(), "token"];
                let read =
                    self.call::<Value>(Call::get("read a tunnel's token", &path).needs(rights::TUNNEL)).await;
                if read.is_ok() {
                    self.note_shown(rights::TUNNEL);
                }
                read.map(drop)
            }
            other => other.map(drop),
        };
        probe(rights::TUNNEL, None, Need::Publish, tried)
    }

    async fn probe_zone(&self, zone: Zone) -> Probe {
        let call = Call::get("list DNS records", &["zones", zone.id.as_str(), "dns_records"])
            .query("per_page", "1")
            .needs(rights::DNS);
        let tried = self.call::<Value>(call).await.map(drop);
        probe(rights::DNS, Some(zone.name), Need::Publish, tried)
    }

    async fn probe_members(&self) -> Probe {
        let path = ["accounts", self.account().as_str(), "members"];
        let call = Call::get("list members", &path).query("per_page", FEWEST_MEMBERS).needs(rights::MEMBERS);
        probe(rights::MEMBERS, None, Need::Owner, self.call::<Value>(call).await.map(drop))
    }

    async fn probe_access(&self, right: &'static str, kind: &str) -> Probe {
        let path = ["accounts", self.account().as_str(), "access", kind];
        let call = Call::get("look at Access", &path).query("per_page", "1").needs(right);
        probe(right, None, Need::Protect, self.call::<Value>(call).await.map(drop))
    }
}

/// What of Access is read, and with which right.
const ACCESS: [(&str, &str); 3] = [
    (rights::ACCESS_APPS, "apps"),
    (rights::ACCESS_IDENTITY_PROVIDERS, "identity_providers"),
    (rights::ACCESS_SERVICE_TOKENS, "service_tokens"),
];

const NOT_TAKEN: &str = "Cloudflare does not take the token";

fn nothing_tried() -> Vec<Probe> {
    let publish = [rights::TUNNEL, rights::DNS].map(|right| (right, Need::Publish));
    let protect = ACCESS.map(|(right, _)| (right, Need::Protect));
    let untried = |(right, need)| Probe { right, zone: None, need, answer: Answer::None(NOT_TAKEN.into()) };
    publish.into_iter().chain(protect).chain([(rights::MEMBERS, Need::Owner)]).map(untried).collect()
}

fn probe(right: &'static str, zone: Option<String>, need: Need, tried: Result<(), CfError>) -> Probe {
    Probe { right, zone, need, answer: answer(tried) }
}

/// A refusal because of the token is one; anything else says nothing about it.
fn answer<T>(result: Result<T, CfError>) -> Answer<T> {
    match result {
        Ok(told) => Answer::Told(told),
        Err(error) if error.is_denied() => Answer::Refused(error.to_string()),
        Err(error) => Answer::None(error.to_string()),
    }
}
