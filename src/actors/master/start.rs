//! Puts the master's tree together. Start order: sinks first; stop order is the reverse.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use actix_rt::ArbiterHandle;

use super::bus::{self, Bus, Notices};
use super::cloudflare_account::{
    self, AccountParts, Late, MasterStore, PlanOnly, SharedAccount, forget_reviews, installation,
};
use super::desk::Desk;
use super::directory::Directory;
use super::env::Env;
use super::error::MasterError;
use super::facade::Master;
use super::fleet::Fleet;
use super::follow::Follower;
use super::leaps::Leaps;
use super::notifier::{self, Notifier};
use super::pushes::{self, PushGatherer};
use super::registrar::{self, Registrar};
use super::router::{self, Planted, Router};
use super::scheduler::{self, Scheduler};
use super::settings::MasterSettings;
use super::store::{self, Follow, Ledger, Store, Writer};
use super::token_desk::{Connects, TakeToken, TokenDesk};
use crate::actors::supervision::{ChildSpec, Overflow, Port, SupSpec, Tree};
use crate::chance::Chance;
use crate::clock::Clock;
use crate::cloudflare::Cloudflare;
use crate::db::Db;
use crate::domain::id::ZoneId;
use crate::domain::publish::ChangeMode;
use crate::notify::Messenger;
use crate::registry::Registries;

/// What the master is made of.
pub struct MasterParts {
    /// The database, migrated and unlocked.
    pub db: Db,
    /// The client of the account; none without a Cloudflare token: then routes are only planned.
    pub cloudflare: Option<Cloudflare>,
    /// How a token is taken from a person; none: only settings give one.
    pub take_token: Option<TakeToken>,
    /// Zone to use if the account's zones cannot be listed.
    pub default_zone: Option<ZoneId>,
    /// Who publishes instead of all that; for tests of other parts.
    pub account: Option<SharedAccount>,
    /// Who writes instead of the database itself; for tests of what becomes of a commit.
    pub writer: Option<Arc<dyn Writer>>,
    /// Who asks registries what tags hold; none: agents ask by themselves.
    pub registries: Option<Arc<dyn Registries>>,
    /// Who sends what people are told; none: nobody is told.
    pub messenger: Option<Arc<dyn Messenger>>,
    /// Times and bounds.
    pub settings: MasterSettings,
    /// The time of day.
    pub clock: Clock,
    /// Randomness.
    pub chance: Chance,
    /// The tree that the returned specification will be started in.
    pub tree: Tree,
    /// Threads for the fleet's shards; empty: the one the tree is started on.
    pub arbiters: Vec<ArbiterHandle>,
}

impl MasterParts {
    /// Returns who publishes, and its actor if it has one.
    async fn publisher(
        &mut self,
        ledger: &Ledger,
        notices: &Notices,
        registrar: &Port<Registrar>,
    ) -> Result<(SharedAccount, Option<ChildSpec>, TokenDesk), MasterError> {
        let settings = self.settings.publish.clone();
        if settings.changes == ChangeMode::Automatic {
            forget_reviews(&self.db, &self.clock).await?;
        }
        let plan_only =
            |db: &Db| -> SharedAccount { Arc::new(PlanOnly { db: db.clone(), settings: settings.clone() }) };
        let default_zone = self.default_zone.take();
        let (take, cloudflare) = match (self.account.take(), self.take_token.take(), self.cloudflare.take()) {
            (Some(account), ..) => return Ok((account, None, TokenDesk::closed())),
            (None, None, None) => return Ok((plan_only(&self.db), None, TokenDesk::closed())),
            (None, take, cloudflare) => (take, cloudflare),
        };
        let installation = installation(&self.db, &self.clock, &self.chance).await?;
        let parts = {
            let (db, clock, zone) = (self.db.clone(), self.clock.clone(), default_zone.clone());
            let (compare_every, settings) = (self.settings.compare_every, settings.clone());
            let (owner_email, limits) =
                (self.settings.account_owner_email.clone(), self.settings.account_limits);
            let (ledger, notices, registrar) = (ledger.clone(), notices.clone(), registrar.clone());
            move |cloudflare| AccountParts {
                cloudflare,
                db: db.clone(),
                store: Arc::new(MasterStore::new(ledger.clone(), notices.clone(), registrar.inlet())),
                clock: clock.clone(),
                settings: settings.clone(),
                default_zone: zone.clone(),
                compare_every,
                owner_email: owner_email.clone(),
                limits,
                installation: installation.clone(),
            }
        };
        let is_persons = take.as_ref().is_some_and(|take| take.is_persons);
        let desk = |connects| TokenDesk::new(take.map(|take| take.make), default_zone, connects);
        Ok(match cloudflare {
            Some(cloudflare) => {
                let (spec, account) = cloudflare_account::describe(parts(cloudflare.clone()));
                let connects = if is_persons { Connects::Exchange(cloudflare) } else { Connects::Never };
                (Arc::new(account), Some(spec), desk(connects))
            }
            None => {
                let late = Arc::new(Late::new(plan_only(&self.db)));
                let (spec, accounts) = ChildSpec::supervisor_with_handle("accounts", SupSpec::one_for_one());
                let connects = Connects::First { late: Arc::clone(&late), accounts, parts: Box::new(parts) };
                (late, Some(spec), desk(connects))
            }
        })
    }
}

impl Master {
    /// Reads keys and agents, and describes the children of supervisor `master`.
    ///
    /// The handle is complete at once; what needs an actor waits until the tree is started.
    pub async fn start(mut parts: MasterParts) -> Result<(SupSpec, Self), MasterError> {
        let directory = Arc::new(Directory::default());
        let settings = Arc::new(parts.settings.clone());
        let wiring = Wiring { env: Arc::default(), fleet: Fleet::default(), settings };
        let follower: Arc<dyn Follow> = Arc::new(
            Follower::start(parts.db.clone(), Arc::clone(&directory), Arc::clone(&wiring.env)).await?,
        );

        let (store_spec, store) = {
            let writer = parts.writer.take().unwrap_or_else(|| Arc::new(parts.db.clone()));
            ChildSpec::actor("store", store::CAPACITY, Overflow::Reject, move || {
                Store::new(Arc::clone(&writer), Arc::clone(&follower))
            })
        };
        let listeners = bus::channel();
        let (bus_spec, bus) = {
            let listeners = listeners.clone();
            ChildSpec::actor("bus", bus::CAPACITY, Overflow::DropOldest, move || Bus::new(listeners.clone()))
        };
        let leaps = Leaps::new(parts.clock.clone());
        let (scheduler_spec, scheduler) = wiring.scheduler(&parts.db, &parts.clock, &leaps);
        let (fleet_spec, registrar, routers) = wiring.fleet(&parts.arbiters);
        let (pushes_spec, pushes) = wiring.pushes();
        let notifier = parts.messenger.take().map(|messenger| wiring.notifier(messenger));
        wiring.fleet.complete(routers.iter().map(Port::inlet).collect());
        let ledger = Ledger::new(store.inlet());
        let notices = Notices::new(bus, listeners);
        let (account, cloudflare_spec, tokens) = parts.publisher(&ledger, &notices, &registrar).await?;

        let env = Env {
            db: parts.db.clone(),
            ledger,
            notices,
            directory: Arc::clone(&directory),
            fleet: wiring.fleet.clone(),
            desk: Desk::new(parts.registries.take()),
            account,
            due: scheduler.inlet(),
            finish_move: registrar.inlet(),
            retire: registrar.inlet(),
            other_machine: registrar.inlet(),
            started_at: parts.clock.now(),
            clock: parts.clock.clone(),
            leaps,
            chance: parts.chance.clone(),
            settings: wiring.settings,
        };
        let _ = wiring.env.set(env.clone());

        let mut spec =
            SupSpec::one_for_one().child(store_spec.role("master-store")).child(bus_spec.role("master-bus"));
        if let Some(cloudflare) = cloudflare_spec {
            spec = spec.child(cloudflare);
        }
        let spec = spec.child(scheduler_spec.role("master-scheduler")).child(fleet_spec.role("master-fleet"));
        let mut spec = spec.child(pushes_spec.role("master-pushes"));
        let mut told = None;
        if let Some((notifier_spec, notifier)) = notifier {
            spec = spec.child(notifier_spec.role("master-notifier"));
            told = Some(notifier);
        }
        let master = Self {
            directory,
            db: parts.db,
            clock: parts.clock,
            chance: parts.chance,
            tree: parts.tree,
            env,
            pushes,
            notifier: told,
            registrar,
            tokens: Arc::new(tokens),
            #[cfg(test)]
            routers,
        };
        Ok((spec, master))
    }
}

/// What actors need of each other before all ports are made.
struct Wiring {
    env: Arc<OnceLock<Env>>,
    fleet: Fleet,
    settings: Arc<MasterSettings>,
}

impl Wiring {
    fn scheduler(&self, db: &Db, clock: &Clock, leaps: &Leaps) -> (ChildSpec, Port<Scheduler>) {
        let (db, clock, leaps, fleet) = (db.clone(), clock.clone(), leaps.clone(), self.fleet.clone());
        ChildSpec::actor("scheduler", scheduler::CAPACITY, Overflow::DropNewest, move || {
            Scheduler::new(db.clone(), fleet.clone(), clock.clone(), leaps.clone())
        })
    }

    /// What is lost of it while it restarts costs minutes.
    fn pushes(&self) -> (ChildSpec, Port<PushGatherer>) {
        let env = Arc::clone(&self.env);
        ChildSpec::actor("pushes", pushes::CAPACITY, Overflow::Reject, move || {
            PushGatherer::new(Arc::clone(&env))
        })
    }

    /// A test takes as long as its target, and what became of a message is tried to be written for a minute.
    fn notifier(&self, messenger: Arc<dyn Messenger>) -> (ChildSpec, Port<Notifier>) {
        let env = Arc::clone(&self.env);
        let (spec, port) = ChildSpec::actor("notifier", notifier::CAPACITY, Overflow::Reject, move || {
            Notifier::new(Arc::clone(&env), Arc::clone(&messenger))
        });
        (spec.deadline(Duration::from_secs(120)), port)
    }

    /// The fleet: the registrar, and for each shard its agents' supervisor and the router in front of it.
    fn fleet(&self, arbiters: &[ArbiterHandle]) -> (ChildSpec, Port<Registrar>, Vec<Port<Router>>) {
        let env = Arc::clone(&self.env);
        let (registrar_spec, registrar) =
            ChildSpec::actor("registrar", registrar::CAPACITY, Overflow::Reject, move || {
                Registrar::new(Arc::clone(&env))
            });
        let mut fleet = SupSpec::one_for_one()
            // One child alone needs about two minutes, delays included, to fail so often.
            .intensity(10, Duration::from_secs(300))
            .child(registrar_spec.role("master-registrar").deadline(Duration::from_secs(30)));
        let mut routers = Vec::new();
        for shard in 0..self.settings.shards.max(1) {
            let arbiter = (!arbiters.is_empty()).then(|| arbiters[shard % arbiters.len()].clone());
            let (specs, router) = self.shard(shard);
            for spec in specs {
                fleet = fleet.child(match &arbiter {
                    Some(arbiter) => spec.on(arbiter.clone()),
                    None => spec,
                });
            }
            routers.push(router);
        }
        (ChildSpec::supervisor("fleet", fleet), registrar, routers)
    }

    fn shard(&self, shard: usize) -> ([ChildSpec; 2], Port<Router>) {
        let agents = SupSpec::one_for_one().intensity(5, Duration::from_secs(60)).per_child();
        let (agents_spec, agents) = ChildSpec::supervisor_with_handle(shard.to_string(), agents);
        let (env, planted) = (Arc::clone(&self.env), Planted::default());
        let (router_spec, router) =
            ChildSpec::actor(format!("router-{shard}"), router::CAPACITY, Overflow::Reject, move || {
                Router::new(shard, Arc::clone(&env), agents.clone(), Arc::clone(&planted))
            });
        ([agents_spec.role("master-shard"), router_spec.role("master-router")], router)
    }
}
