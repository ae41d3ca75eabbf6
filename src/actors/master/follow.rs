//! What is held in memory of decisions follows the record, and whoever has to look again is woken by it.
//!
//! The store hands on what it committed, in the order of the record. After a gap, or a commit whose outcome is not
//! known, the record is read on from the last event that was followed; until that is possible nothing further is
//! followed, and no commit is answered with success.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use parking_lot::Mutex;

use super::bus::Note;
use super::directory::Directory;
use super::env::Env;
use super::fleet::Work;
use super::orders::key_offer;
use super::store::Follow;
use crate::db::events::{EventFilter, last_seq, list_events};
use crate::db::roster::load_roster;
use crate::db::{self, Db, DbError, Recorded};
use crate::domain::delivery::Dialect;
use crate::domain::event::{AdminEvent, AgentEvent, CommandEvent, Event, RouteEvent, RuleEvent};
use crate::domain::id::{AgentId, TunnelId};
use crate::domain::route::Release;

/// Events that are read on at a time.
const PAGE: u64 = 500;

/// Follows the record for one master. Cheap to clone.
#[derive(Clone)]
pub struct Follower {
    db: Db,
    directory: Arc<Directory>,
    env: Arc<OnceLock<Env>>,
    /// Number of the last event that was followed.
    last: Arc<Mutex<u64>>,
}

impl Follower {
    /// Reads where everything stands, and follows the record from there.
    pub async fn start(db: Db, directory: Arc<Directory>, env: Arc<OnceLock<Env>>) -> Result<Self, DbError> {
        // The number first: what is added while the tables are read is followed again, which changes nothing.
        let last = last_seq(&db).await?;
        let loaded = load_roster(&db).await?;
        directory.load(loaded.roster, loaded.keys_version);
        directory.load_order_key(key_offer(&db).await?);
        for row in loaded.agents {
            if let Some(slot) = directory.slot(&row.id) {
                slot.set_dialect(row.dialect.as_deref().map_or(Dialect::V2, Dialect::of));
                if let Some(last_seen) = row.last_seen {
                    slot.set_last_seen(last_seen);
                }
            }
        }
        for agent in db::commands::list_agents_with_open_commands(&db).await? {
            if let Some(slot) = directory.slot(&agent) {
                // Open is not yet waiting: the dispatcher counts exactly when the agent asks.
                slot.set_queued(1);
            }
        }
        Ok(Self { db, directory, env, last: Arc::new(Mutex::new(last)) })
    }

    fn carry_out(&self, recorded: &[Recorded]) {
        let mut aftermath = Aftermath::default();
        for event in recorded {
            let tunnels = self.directory.follow(event).tunnels;
            aftermath.add(event, tunnels);
        }
        if let Some(newest) = recorded.last() {
            *self.last.lock() = newest.seq;
        }
        if let Some(env) = self.env.get() {
            aftermath.carry_out(env);
        }
    }
}

#[async_trait]
impl Follow for Follower {
    fn follow(&self, recorded: &[Recorded]) -> bool {
        let last = *self.last.lock();
        let is_next = recorded.iter().zip(last + 1..).all(|(event, next)| event.seq == next);
        if is_next {
            self.carry_out(recorded);
        }
        is_next
    }

    async fn read_on(&self) -> Result<(), DbError> {
        self.db.settle().await?;
        loop {
            let after_seq = *self.last.lock();
            let filter = EventFilter { after_seq, ..EventFilter::default() };
            let recorded: Vec<Recorded> =
                list_events(&self.db, &filter, PAGE).await?.into_iter().map(Recorded::from).collect();
            // What the record itself says goes on from what was followed, whatever its numbers are.
            self.carry_out(&recorded);
            if (recorded.len() as u64) < PAGE {
                return Ok(());
            }
        }
    }
}

/// Who has to look again after some events; each once, however many events there were.
#[derive(Default)]
struct Aftermath {
    notes: BTreeSet<Note>,
    standing: BTreeSet<AgentId>,
    routes: BTreeSet<AgentId>,
    tunnels: BTreeSet<TunnelId>,
    all_tunnels: bool,
    due: BTreeMap<AgentId, chrono::DateTime<chrono::Utc>>,
    ended: BTreeSet<AgentId>,
    freed: BTreeMap<AgentId, Vec<String>>,
    given_up: BTreeMap<AgentId, Vec<String>>,
    /// Hostnames of rules that people removed.
    unruled: Vec<String>,
    /// Agents of which a person took names.
    taken_from: BTreeSet<AgentId>,
    registries: BTreeSet<String>,
}

impl Aftermath {
    fn add(&mut self, recorded: &Recorded, tunnels: Vec<TunnelId>) {
        self.tunnels.extend(tunnels);
        match &recorded.event {
            Event::Key(_) | Event::Token(_) => drop(self.notes.insert(Note::Keys)),
            Event::Agent(event) => self.add_of_agent(event, recorded.version == 1),
            Event::Command(event) => self.add_of_command(event),
            Event::Route(event) => self.add_of_route(event),
            Event::Update(event) => drop(self.notes.insert(Note::Updates(event.agent().clone()))),
            Event::Tunnel(_) | Event::Owned(_) => {}
            Event::Rule(event) => self.add_of_rule(event),
            // A group may protect routes of any tunnel.
            Event::Access(_) => {
                self.notes.insert(Note::Settings);
                self.all_tunnels = true;
            }
            Event::Notify(_) => drop(self.notes.insert(Note::Settings)),
            Event::Admin(event) => {
                self.notes.insert(Note::Settings);
                match event {
                    AdminEvent::SettingChanged { .. } => self.all_tunnels = true,
                    // What was said to one account is nothing for another.
                    AdminEvent::RegistryLoginSet { registry, .. }
                    | AdminEvent::RegistryLoginRemoved { registry } => {
                        self.registries.insert(registry.clone());
                    }
                    AdminEvent::Created { .. }
                    | AdminEvent::PasswordChanged { .. }
                    | AdminEvent::OrderKeySet { .. }
                    | AdminEvent::ImageLetGo { .. } => {}
                }
            }
        }
    }

    fn add_of_agent(&mut self, event: &AgentEvent, is_first: bool) {
        let agent = event.agent();
        self.notes.insert(Note::Agent(agent.clone()));
        match event {
            // Whether it is heard, and what it is called, change nothing of what it may do.
            AgentEvent::Offline { .. }
            | AgentEvent::Back { .. }
            | AgentEvent::Updated { .. }
            | AgentEvent::Renamed { .. } => return,
            // Nothing is known of it that its actors could look at again, and a whole fleet may come at once.
            AgentEvent::Registered { .. } if is_first => return,
            AgentEvent::Moved { .. } | AgentEvent::Removed { .. } => {
                self.notes.insert(Note::Routes(agent.clone()));
            }
            _ => {}
        }
        self.standing.insert(agent.clone());
    }

    fn add_of_command(&mut self, event: &CommandEvent) {
        let agent = event.agent();
        self.notes.insert(Note::Commands(agent.clone()));
        match event {
            CommandEvent::Queued { expires_at, .. } | CommandEvent::Postponed { expires_at, .. } => {
                let due = self.due.entry(agent.clone()).or_insert(*expires_at);
                *due = (*due).min(*expires_at);
            }
            // Whether it had its effect is looked at anew.
            CommandEvent::Finished { .. } | CommandEvent::Expired { .. } => {
                self.ended.insert(agent.clone());
            }
            _ => {}
        }
    }

    fn add_of_rule(&mut self, event: &RuleEvent) {
        self.notes.insert(Note::Published);
        self.tunnels.insert(event.tunnel().clone());
        if matches!(event, RuleEvent::Removed { .. }) {
            self.unruled.push(event.route().hostname.clone());
        }
    }

    fn add_of_route(&mut self, event: &RouteEvent) {
        let agent = event.agent();
        if matches!(event, RouteEvent::Released { why: Release::TakenOver, .. }) {
            // Its container runs still, and is to be shown without the name.
            self.taken_from.insert(agent.clone());
        }
        self.notes.insert(Note::Routes(agent.clone()));
        self.routes.insert(agent.clone());
        let names = match event {
            RouteEvent::Released { .. } => &mut self.freed,
            // Nobody here asks for it as loudly as before.
            RouteEvent::Lost { .. } => &mut self.given_up,
            _ => return,
        };
        names.entry(agent.clone()).or_default().push(event.route().hostname.clone());
    }

    fn carry_out(self, env: &Env) {
        for agent in &self.standing {
            env.fleet.nudge(agent, Work::StandingChanged);
        }
        for agent in &self.routes {
            env.account.wake_agent(agent);
        }
        for tunnel in &self.tunnels {
            env.account.wake_tunnel(tunnel);
        }
        if self.all_tunnels {
            env.account.wake();
        }
        for (agent, at) in &self.due {
            env.due_at(agent, *at);
        }
        for agent in &self.ended {
            env.due_at(agent, env.now());
        }
        for registry in &self.registries {
            env.desk.forget_registry(registry);
        }
        for note in self.notes {
            env.notices.announce(note);
        }
        for agent in &self.taken_from {
            env.fleet.nudge(agent, Work::NameFreed);
        }
        if self.freed.is_empty() && self.given_up.is_empty() && self.unruled.is_empty() {
            return;
        }
        let env = env.clone();
        // Who waits for a name is read from the database, and no commit waits for that.
        actix_rt::spawn(async move {
            for (agent, names) in &self.freed {
                env.names_freed(Some(agent), names).await;
            }
            env.names_freed(None, &self.unruled).await;
            for (agent, names) in &self.given_up {
                env.names_given_up(agent, names).await;
            }
        });
    }
}
