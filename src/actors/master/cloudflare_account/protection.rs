//! What routes need before they may be reachable, and what a pass has found of that. No calls.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use super::owned::{OwnedError, Standing};
use super::schedule::REFUSED_RETRY;
use super::words::{NameFailure, Stop};
use crate::cloudflare::CfError;
use crate::domain::access::{Account, Group, Need, need_of};
use crate::domain::id::{GroupId, TunnelId};
use crate::domain::protection::Protection;
use crate::domain::route::{RouteKey, Service};
use crate::domain::wanted::Wanted;

const WAITS_FOR_ITS_TURN: &str = "its protection waits for its turn at Cloudflare";
const WAITS_FOR_OTHERS: &str = "its protection is to change, and waits until the rules for its name are gone from the tunnel that had it before";

/// What each route needs, or why that cannot be said.
pub(super) type Needs = BTreeMap<RouteKey, Result<Need, String>>;

/// Says what the routes need.
pub(super) fn needs(
    groups: &BTreeMap<GroupId, Group>,
    wanted: &Wanted,
    account: &Account<'_>,
    mark: &str,
) -> Needs {
    let need_of = |service: &Service| {
        let check = wanted.open_checks.get(&service.key);
        (service.key.clone(), need_of(service, check, groups, account, mark))
    };
    wanted.services.iter().map(need_of).collect()
}

/// What came of one thing.
pub(super) enum End {
    /// It was looked at, or its row says how it is.
    Known(Standing),
    /// A change failed in a way that time may heal, and what was there before protects still.
    Kept(CfError),
    /// What should be in place could not be looked at.
    Unseen(CfError),
    /// It is to be another one, and the rules of these tunnels would be answered for by it.
    Elsewhere(BTreeSet<TunnelId>),
    /// The whole pass ends.
    Stopped(Stop),
    Failed(OwnedError),
}

impl From<Result<Standing, OwnedError>> for End {
    fn from(end: Result<Standing, OwnedError>) -> Self {
        end.map_or_else(Self::Failed, Self::Known)
    }
}

/// Protections that Cloudflare does not take, and is not asked for all the time.
pub(super) type RefusedNeeds = BTreeMap<RouteKey, RefusedNeed>;

/// A protection that Cloudflare does not take.
#[derive(Debug, Clone)]
pub(super) struct RefusedNeed {
    need: Need,
    reason: String,
    failure: NameFailure,
    at: Instant,
}

/// What a pass has found of the routes' protection.
#[derive(Debug, Default)]
pub(super) struct FoundProtection {
    /// Where each route stands that this pass is done with.
    pub said: BTreeMap<RouteKey, Protection>,
    /// Why calls failed.
    failed: BTreeMap<RouteKey, NameFailure>,
    /// Protections that Cloudflare does not take.
    refused: RefusedNeeds,
    /// What could not be changed, although what was there before protects still.
    kept: BTreeMap<RouteKey, NameFailure>,
    /// Routes whose calls wait for their turn still, and how long.
    put_off: BTreeMap<RouteKey, Duration>,
    /// Tunnels whose rules have to go first.
    pub elsewhere: BTreeSet<TunnelId>,
}

impl FoundProtection {
    /// Takes up what earlier passes found out, as far as the same is needed still.
    pub fn take_up(&mut self, remembered: &RefusedNeeds, needs: &Needs) {
        for (route, refused) in remembered {
            let is_needed = needs.get(route).is_some_and(|need| need.as_ref() == Ok(&refused.need));
            if is_needed && refused.at.elapsed() < REFUSED_RETRY {
                self.said.insert(route.clone(), Protection::Missing(refused.reason.clone()));
                self.failed.insert(route.clone(), refused.failure.clone());
                self.refused.insert(route.clone(), refused.clone());
            }
        }
    }

    /// Protections that are refused now.
    pub fn refused(&self) -> &RefusedNeeds {
        &self.refused
    }

    /// Why calls failed.
    pub fn failures(&self) -> impl Iterator<Item = &NameFailure> + Clone {
        self.failed.values().chain(self.kept.values())
    }

    /// Why a route is closed, if a call failed.
    pub fn failure(&self, route: &RouteKey) -> Option<&NameFailure> {
        self.failed.get(route)
    }

    /// Why what protects a route is as it was before.
    pub fn kept(&self, route: &RouteKey) -> Option<&NameFailure> {
        self.kept.get(route)
    }

    /// How long the first call waits for its turn still.
    pub fn put_off(&self) -> Option<Duration> {
        self.put_off.values().min().copied()
    }

    /// True if a route is closed only because calls wait for their turn still.
    pub fn is_put_off(&self, route: &RouteKey) -> bool {
        self.put_off.contains_key(route)
    }

    /// What protects a route is in place, and its rule cannot be written for this reason.
    pub fn close(&mut self, route: &RouteKey, reason: String) {
        if self.said.get(route) == Some(&Protection::InPlace) {
            self.said.insert(route.clone(), Protection::Missing(reason));
        }
    }

    /// Nothing is to be put in place for a route, for this reason: it waits.
    pub fn leave_out(&mut self, route: &RouteKey, reason: String) {
        self.said.insert(route.clone(), Protection::Missing(reason));
    }

    /// Takes note of what came of a route.
    pub fn take(&mut self, route: &RouteKey, need: &Need, end: End) -> Result<(), Stop> {
        let said = match end {
            End::Known(Standing::Ours | Standing::Theirs) => Protection::InPlace,
            End::Known(Standing::Blocked(reason)) => Protection::Missing(reason),
            End::Kept(error) => {
                self.kept.insert(route.clone(), NameFailure::new(&error));
                Protection::InPlace
            }
            End::Elsewhere(tunnels) => {
                self.elsewhere.extend(tunnels);
                Protection::Missing(WAITS_FOR_OTHERS.into())
            }
            // That a look failed says nothing about what is there.
            End::Unseen(error) => return Err(Stop::Cloudflare(error)),
            End::Stopped(stop) => return Err(stop),
            End::Failed(OwnedError::Cloudflare(CfError::NotYet { retry_after, .. })) => {
                self.put_off.insert(route.clone(), retry_after);
                Protection::Missing(WAITS_FOR_ITS_TURN.into())
            }
            End::Failed(OwnedError::Cloudflare(error)) => self.take_failure(route, need, &error),
            End::Failed(error) => return Err(error.into()),
        };
        self.said.insert(route.clone(), said);
        Ok(())
    }

    fn take_failure(&mut self, route: &RouteKey, need: &Need, error: &CfError) -> Protection {
        let failure = NameFailure::of_protection(error);
        let reason = format!("its protection could not be put in place, so it is closed: {error}");
        if failure.refused_at.is_some() {
            let (failure, at) = (failure.clone(), Instant::now());
            let refused = RefusedNeed { need: need.clone(), reason: reason.clone(), failure, at };
            self.refused.insert(route.clone(), refused);
        }
        self.failed.insert(route.clone(), failure);
        Protection::Missing(reason)
    }
}
