//! The zones of the account, read once and again when a name fits none of them.
//!
//! If they cannot be listed, or the list is empty as for a token of a single zone, the zone by setting stands for
//! them. Its name is read by its id, so that hostnames outside of it can be refused.

use std::time::Duration;

use tokio::time::Instant;

use crate::cloudflare::{CfError, Cloudflare};
use crate::domain::id::ZoneId;
use crate::domain::wanted::KnownZones;
use crate::domain::zone::{DefaultZone, Zone};

/// A list this young is not read again for a name that fits none of its zones.
const FRESH: Duration = Duration::from_secs(60);
/// So long a failure counts for everybody who asks: many tunnels ask at the same time.
const STILL_FAILED: Duration = Duration::from_secs(1);

/// What is known of the zones. Whoever asks while they are being read waits for that.
#[derive(Default)]
pub(super) struct Zones {
    /// Zone by setting (`CF_ZONE_ID`).
    default: Option<ZoneId>,
    known: tokio::sync::Mutex<Known>,
}

/// The zones as they were read last.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Listing {
    /// None if the token may not list them.
    pub zones: Option<Vec<Zone>>,
    /// The zone by setting.
    pub default: Option<DefaultZone>,
}

impl Listing {
    /// As far as hostnames are concerned.
    pub fn known(&self) -> KnownZones<'_> {
        KnownZones::of(self.zones.as_deref(), self.default.as_ref())
    }
}

#[derive(Default)]
struct Known {
    last: Last,
    /// Name of the zone by setting, once it was needed and could be read.
    default_name: Option<String>,
}

#[derive(Default)]
enum Last {
    #[default]
    Nothing,
    Failed {
        reason: String,
        retry_after: Option<Duration>,
        at: Instant,
    },
    /// None if the token may not list them.
    List {
        zones: Option<Vec<Zone>>,
        at: Instant,
    },
}

/// The zones as far as anybody knows them, to be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LastZones {
    /// Nobody needed them yet.
    NotRead,
    /// They are being read now.
    BeingRead,
    /// They could not be read, because of this.
    Failed(String),
    /// The token may not list them.
    NotAllowed,
    /// They are these, and were read so long ago.
    Listed {
        /// All of them.
        zones: Vec<Zone>,
        /// Since when they were not read again.
        age: Duration,
    },
}

impl Zones {
    /// Returns what is known of them and of the zone by setting; waits for nobody.
    pub fn last(&self) -> (LastZones, Option<DefaultZone>) {
        let by_setting = |name| self.default.clone().map(|id| DefaultZone { id, name });
        let Ok(known) = self.known.try_lock() else { return (LastZones::BeingRead, by_setting(None)) };
        let last = match &known.last {
            Last::Nothing => LastZones::NotRead,
            Last::Failed { reason, .. } => LastZones::Failed(reason.clone()),
            Last::List { zones: None, .. } => LastZones::NotAllowed,
            Last::List { zones: Some(zones), at } => {
                LastZones::Listed { zones: zones.clone(), age: at.elapsed() }
            }
        };
        (last, by_setting(known.default_name.clone()))
    }

    /// With the zone by setting, if there is one.
    pub fn new(default: Option<ZoneId>) -> Self {
        Self { default, known: tokio::sync::Mutex::default() }
    }

    /// Returns the zone by setting.
    pub fn by_setting(&self) -> Option<&ZoneId> {
        self.default.as_ref()
    }

    /// Returns the name of a zone, as far as it was read already; asks nobody.
    pub async fn name_of(&self, zone: &ZoneId) -> Option<String> {
        let known = self.known.lock().await;
        let listed = match &known.last {
            Last::List { zones, .. } => zones.as_deref().unwrap_or_default(),
            Last::Nothing | Last::Failed { .. } => &[],
        };
        let by_list = listed.iter().find(|one| one.id == *zone).map(|one| one.name.clone());
        by_list.or_else(|| known.default_name.clone().filter(|_| self.default.as_ref() == Some(zone)))
    }

    /// Returns the zones. `is_missing` asks to read a list again that is not fresh. Fails only if time may heal
    /// it; a token without the right is an answer too.
    pub async fn get(&self, cloudflare: &Cloudflare, is_missing: bool) -> Result<Listing, CfError> {
        let mut known = self.known.lock().await;
        match &known.last {
            Last::List { zones, at } if !is_missing || at.elapsed() < FRESH => {
                return Ok(self.listing(zones.clone(), &known));
            }
            Last::Failed { reason, retry_after, at } if at.elapsed() < STILL_FAILED => {
                return Err(again(reason, *retry_after));
            }
            _ => {}
        }
        match self.read(cloudflare, &mut known).await {
            Ok(zones) => {
                known.last = Last::List { zones: zones.clone(), at: Instant::now() };
                Ok(self.listing(zones, &known))
            }
            Err(error) => {
                // That a call has to wait for its turn says nothing about the zones.
                if !matches!(error, CfError::NotYet { .. }) {
                    let (reason, retry_after) = (error.to_string(), error.retry_after());
                    known.last = Last::Failed { reason, retry_after, at: Instant::now() };
                }
                Err(error)
            }
        }
    }

    /// True if the zone is known to have left the account: a whole list was read, and it is not there. Two lists say
    /// nothing: one that could not be read, and an empty one, as a token of a single zone gets it.
    pub async fn has_lost(&self, cloudflare: &Cloudflare, zone: &ZoneId) -> bool {
        let listing = self.get(cloudflare, true).await;
        let zones = listing.ok().and_then(|listing| listing.zones).unwrap_or_default();
        !zones.is_empty() && zones.iter().all(|known| known.id != *zone)
    }

    async fn read(&self, cloudflare: &Cloudflare, known: &mut Known) -> Result<Option<Vec<Zone>>, CfError> {
        let zones = unless_refused(cloudflare.list_zones().await)?;
        if let Some(id) = &self.default
            && known.default_name.is_none()
            && zones.as_ref().is_none_or(Vec::is_empty)
        {
            let zone = unless_refused(cloudflare.get_zone(id).await)?;
            known.default_name = zone.map(|zone| zone.name);
        }
        Ok(zones)
    }

    fn listing(&self, zones: Option<Vec<Zone>>, known: &Known) -> Listing {
        let default = self.default.clone().map(|id| DefaultZone { id, name: known.default_name.clone() });
        Listing { zones, default }
    }

    /// A record showed the name of its zone.
    pub async fn learn(&self, zone: &ZoneId, name: &str) {
        if self.default.as_ref() == Some(zone) {
            self.known.lock().await.default_name = Some(name.to_owned());
        }
    }

    /// A person wants it tried again: the last failure does not count any more. While they are being read there is
    /// none to forgive, and nobody is to wait.
    pub fn forgive(&self) {
        let Ok(mut known) = self.known.try_lock() else { return };
        if matches!(known.last, Last::Failed { .. }) {
            known.last = Last::Nothing;
        }
    }
}

fn unless_refused<T>(answer: Result<T, CfError>) -> Result<Option<T>, CfError> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.is_transient() => Err(error),
        Err(error) => {
            tracing::warn!(%error, "the zones of the account cannot be read");
            Ok(None)
        }
    }
}

fn again(reason: &str, retry_after: Option<Duration>) -> CfError {
    let call = "list zones";
    match retry_after {
        Some(retry_after) => CfError::RateLimited { call, retry_after },
        None => CfError::NoAnswer { call, reason: reason.to_owned(), sent: false },
    }
}
