//! What is to be committed about one agent's containers and routes. All rules are in `domain`.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};

use super::own::Own;
use super::picture::{Picture, Seen};
use crate::actors::master::error::MasterError;
use crate::db::cloudflare::RouteStatusRow;
use crate::db::containers::ContainerProblem;
use crate::db::{self, Batch, Expected, RowChange, SaidBy};
use crate::domain::agent::AgentStatus;
use crate::domain::container::{Container, check_all};
use crate::domain::event::{RouteEvent, Stream};
use crate::domain::id::{AgentId, ContainerId};
use crate::domain::labels::{Allowance, Labels};
use crate::domain::mirror::{Away, Conflict, Decided, Holder, Mirrored, Running, decide_routes};
use crate::domain::publish::PublicState;
use crate::domain::route::{Release, RouteKey};

/// Labels that are read at a stretch; then the shard's other agents have their turn.
const STRETCH: usize = 500;

/// What became of containers.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// These run, and no others.
    All(Vec<Container>),
    /// This one runs.
    Seen(Container),
    /// The Engine said that this one ended, and it does not run any more.
    Gone(ContainerId),
    /// The Engine said that this one died. It may be back at once: the next list decides.
    Died(ContainerId),
}

/// What is known of containers beside what is written down. Lost with the actor: then a loss is explained by less, and a
/// restless route is waited for anew.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    /// Containers of which the Engine said that they died, until a list says whether they are back.
    pub died: BTreeSet<ContainerId>,
    /// Restless routes whose container is away.
    pub away: BTreeMap<RouteKey, Away>,
}

/// A hostname that another agent gave up, taken over with what it still holds of it.
pub struct Taken {
    /// Who gave it up.
    pub agent: AgentId,
    /// Version of its stream of routes that says so.
    version: u64,
    events: Vec<RouteEvent>,
}

/// What is to be committed, and how the picture looks after that.
pub struct Draft {
    /// Decisions about routes.
    pub events: Vec<RouteEvent>,
    /// Rows of containers and refused routes that change.
    pub rows: Vec<RowChange>,
    /// Containers that run.
    pub containers: BTreeMap<ContainerId, Seen>,
    /// Routes that are asked for and not given.
    pub conflicts: BTreeMap<RouteKey, String>,
    /// What is taken over from others.
    pub taken: Vec<Taken>,
    /// What is known after that beside it; none if nothing changes.
    pub memory: Option<Memory>,
    /// When to look again although nothing was heard.
    pub look_again: Option<DateTime<Utc>>,
}

impl Draft {
    /// What follows from changes of containers.
    pub async fn mirror(
        own: &Own,
        picture: &Picture,
        memory: &Memory,
        changes: &[Change],
    ) -> Result<Self, MasterError> {
        if picture.standing.status == AgentStatus::Removed {
            return Err(MasterError::KeyRevoked);
        }
        let containers = after(&picture.containers, changes);
        let mut died = memory.died.clone();
        let ended = ended(&picture.containers, &containers, &mut died, changes);
        if changes.iter().any(|change| matches!(change, Change::All(_) | Change::Seen(_))) {
            check_all(containers.values()).map_err(|too_much| MasterError::TooMuch(too_much.to_string()))?;
        }
        let read = read_all(own, picture, &containers).await;
        let running: Vec<Running> = read
            .iter()
            .map(|(container, labels)| Running {
                container_id: container.id.clone(),
                container_name: container.name.clone(),
                services: labels.services.clone(),
            })
            .collect();
        let enrolled = picture.standing.status == AgentStatus::Enrolled;
        let others = if enrolled { Others::read(own, &running).await? } else { Others::default() };
        let decided = decide_routes(&Mirrored {
            agent_id: &own.agent,
            enrolled,
            running: &running,
            routes: &picture.routes,
            ended: &ended,
            others: &others.holders,
            ruled: &others.ruled,
            turns: &picture.turns,
            away: &memory.away,
            limits: &picture.limits,
            now: own.env.now(),
            grace: TimeDelta::from_std(own.env.settings.grace).unwrap_or(TimeDelta::MAX),
        });
        let conflicts = decided
            .conflicts
            .iter()
            .map(|c| (c.wanted.key.clone(), c.reason.to_string()))
            .collect::<BTreeMap<_, _>>();
        let seen = with_problems(&read, &decided);
        let mut rows = container_rows(&own.agent, &picture.containers, &seen);
        rows.extend(conflict_rows(own, picture, &conflicts));
        Ok(Self {
            taken: others.give_up(own, &decided.taken),
            memory: Some(Memory { died, away: decided.away }),
            look_again: decided.look_again,
            events: decided.events,
            rows,
            containers: seen,
            conflicts,
        })
    }

    /// Decisions that leave containers as they are.
    pub fn of_routes(picture: &Picture, events: Vec<RouteEvent>) -> Self {
        let (containers, conflicts) = (picture.containers.clone(), picture.conflicts.clone());
        Self {
            events,
            rows: Vec::new(),
            containers,
            conflicts,
            taken: Vec::new(),
            memory: None,
            look_again: None,
        }
    }

    /// What is to be written, if the agent still stands as `picture` says and its stream of routes still ends there.
    pub fn batch(&self, own: &Own, by: &str, picture: &Picture) -> Batch {
        let mut batch = own.env.batch(by).assume(own.stands_at(picture.standing.version));
        // First the one that gives a name up: while it holds it, the claim would be refused.
        for Taken { agent, version, events } in &self.taken {
            batch = batch.append(Stream::routes(agent), Expected::Version(*version), events.clone());
        }
        if !self.events.is_empty() {
            let end = Expected::Version(picture.version);
            batch = batch.append(Stream::routes(&own.agent), end, self.events.clone());
        }
        batch.rows.clone_from(&self.rows);
        batch
    }
}

/// Returns the containers that run after these changes.
fn after(known: &BTreeMap<ContainerId, Seen>, changes: &[Change]) -> BTreeMap<ContainerId, Container> {
    let mut containers: BTreeMap<_, _> =
        known.iter().map(|(id, seen)| (id.clone(), seen.container.clone())).collect();
    for change in changes {
        match change {
            Change::All(all) => containers = all.iter().map(|c| (c.id.clone(), c.clone())).collect(),
            Change::Seen(container) => {
                containers.insert(container.id.clone(), container.clone());
            }
            Change::Gone(id) => {
                containers.remove(id);
            }
            Change::Died(_) => {}
        }
    }
    containers
}

/// Reads what the containers ask for. Those that hold routes come first, so that no other one takes their share.
async fn read_all<'a>(
    own: &Own,
    picture: &Picture,
    containers: &'a BTreeMap<ContainerId, Container>,
) -> Vec<(&'a Container, Labels)> {
    let holders: HashSet<&str> = picture.routes.iter().map(|route| route.container_name.as_str()).collect();
    let mut sorted: Vec<&Container> = containers.values().collect();
    sorted.sort_by_key(|container| {
        (!holders.contains(container.name.as_str()), &container.name, &container.id)
    });
    let prefix = own.env.settings.label_prefix.as_deref();
    let (mut allowance, mut at_a_stretch) = (Allowance::default(), 0);
    let mut read = Vec::with_capacity(sorted.len());
    for container in sorted {
        at_a_stretch += container.labels.len();
        if at_a_stretch > STRETCH {
            at_a_stretch = 0;
            tokio::task::yield_now().await;
        }
        read.push((container, allowance.read(&container.labels, prefix)));
    }
    read
}

/// Names that other agents hold.
#[derive(Default)]
struct Others {
    holders: BTreeMap<String, Holder>,
    /// All routes of each name.
    routes: BTreeMap<String, Vec<RouteKey>>,
    /// Version of each holder's stream of routes.
    versions: BTreeMap<AgentId, u64>,
    /// Names that rules of people have.
    ruled: BTreeSet<String>,
}

impl Others {
    /// Reads who holds what the containers ask for.
    async fn read(own: &Own, running: &[Running]) -> Result<Self, MasterError> {
        let db = &own.env.db;
        let hostnames: BTreeSet<&String> =
            running.iter().flat_map(|r| r.services.iter().map(|service| &service.key.hostname)).collect();
        let hostnames: Vec<String> = hostnames.into_iter().cloned().collect();
        let mut others = Self::default();
        // Looked up in bites: one query takes a limited number of names.
        for names in hostnames.chunks(500) {
            let ruled = db::manual_rules::rules_of_names(db, names).await?;
            others.ruled.extend(ruled.into_iter().map(|row| row.rule.spec.key.hostname));
            let claims = db::routes::list_claims(db, names).await?;
            let held: Vec<(String, AgentId)> =
                claims.into_iter().filter(|(_, by)| *by != own.agent).collect();
            for (_, agent) in &held {
                if !others.versions.contains_key(agent) {
                    // The versions first: what is decided after them shows as a conflict.
                    let version = db::events::stream_version(db, &Stream::routes(agent)).await?;
                    others.versions.insert(agent.clone(), version);
                }
            }
            let held: Vec<String> = held.into_iter().map(|(hostname, _)| hostname).collect();
            for (hostname, (holder, routes)) in db::routes::list_holders(db, &held).await? {
                if holder.agent != own.agent {
                    others.holders.insert(hostname.clone(), holder);
                    others.routes.insert(hostname, routes);
                }
            }
        }
        Ok(others)
    }

    /// Has these names given up by those who hold them.
    fn give_up(&self, own: &Own, names: &BTreeMap<String, AgentId>) -> Vec<Taken> {
        let mut events: BTreeMap<&AgentId, Vec<RouteEvent>> = BTreeMap::new();
        for (hostname, agent) in names {
            let released =
                self.routes.get(hostname).into_iter().flatten().map(|route| RouteEvent::Released {
                    agent_id: agent.clone(),
                    route: route.clone(),
                    why: Release::Moved { to: own.agent.clone() },
                });
            events.entry(agent).or_default().extend(released);
        }
        let taken = events.into_iter().map(|(agent, events)| Taken {
            agent: agent.clone(),
            version: self.versions.get(agent).copied().unwrap_or_default(),
            events,
        });
        taken.collect()
    }
}

/// Returns the containers that do not run because they ended, as the Engine said, with their names. `died` keeps those
/// of which nobody knows yet whether they are back.
fn ended(
    before: &BTreeMap<ContainerId, Seen>,
    after: &BTreeMap<ContainerId, Container>,
    died: &mut BTreeSet<ContainerId>,
    changes: &[Change],
) -> BTreeMap<ContainerId, String> {
    let mut ended = BTreeSet::new();
    for change in changes {
        match change {
            Change::Gone(id) => ended.extend([id.clone()]),
            Change::Died(id) => died.extend([id.clone()]),
            Change::Seen(container) => died.retain(|id| *id != container.id),
            Change::All(all) => died.retain(|id| all.iter().all(|container| container.id != *id)),
        }
    }
    ended.extend(died.iter().filter(|id| !after.contains_key(*id)).cloned());
    died.retain(|id| after.contains_key(id));
    ended.retain(|id| !after.contains_key(id));
    let name = |id: &ContainerId| before.get(id).map_or_else(String::new, |seen| seen.container.name.clone());
    ended.into_iter().map(|id| (id.clone(), name(&id))).collect()
}

fn with_problems(read: &[(&Container, Labels)], decided: &Decided) -> BTreeMap<ContainerId, Seen> {
    let mut refused: HashMap<&ContainerId, Vec<&Conflict>> = HashMap::new();
    for conflict in &decided.conflicts {
        refused.entry(&conflict.container_id).or_default().push(conflict);
    }
    let seen = read.iter().map(|(container, labels)| {
        let of_labels = labels.problems.iter().map(|problem| ContainerProblem {
            label: problem.label.clone(),
            value: problem.value.clone(),
            reason: problem.reason.clone(),
        });
        let of_claims = refused.get(&container.id).into_iter().flatten();
        let of_claims = of_claims.map(|conflict| ContainerProblem {
            label: "hostname".into(),
            value: conflict.wanted.key.to_string(),
            reason: conflict.reason.to_string(),
        });
        let problems = of_labels.chain(of_claims).collect();
        (container.id.clone(), Seen { container: (*container).clone(), problems })
    });
    seen.collect()
}

fn container_rows(
    agent: &AgentId,
    known: &BTreeMap<ContainerId, Seen>,
    seen: &BTreeMap<ContainerId, Seen>,
) -> Vec<RowChange> {
    let gone = known.keys().filter(|id| !seen.contains_key(id));
    let gone =
        gone.map(|id| RowChange::DeleteContainer { agent_id: agent.clone(), container_id: id.clone() });
    let changed = seen.iter().filter(|(id, now)| known.get(*id) != Some(*now));
    let changed = changed.map(|(_, seen)| RowChange::PutContainer {
        agent_id: agent.clone(),
        container: seen.container.clone(),
        problems: seen.problems.clone(),
    });
    gone.chain(changed).collect()
}

fn conflict_rows(own: &Own, picture: &Picture, conflicts: &BTreeMap<RouteKey, String>) -> Vec<RowChange> {
    // A route that was given meanwhile gets its row from the publisher; ours is in its way until then.
    let gone = picture.conflicts.keys().filter(|key| !conflicts.contains_key(key));
    let gone = gone.map(|key| RowChange::DeleteRouteStatus {
        agent_id: Some(own.agent.clone()),
        key: key.clone(),
        said_by: SaidBy::Mirror,
    });
    // Between two containers of this agent the route itself is held: its state is the publisher's to tell.
    let held: HashSet<&RouteKey> = picture.routes.iter().map(|route| &route.spec.key).collect();
    let new = conflicts
        .iter()
        .filter(|(key, reason)| picture.conflicts.get(*key) != Some(*reason) && !held.contains(key));
    let new = new.map(|(key, reason)| {
        RowChange::PutRouteStatus(RouteStatusRow {
            agent_id: Some(own.agent.clone()),
            key: key.clone(),
            state: PublicState::Conflict.as_str().into(),
            reason: Some(reason.clone()),
            cause: None,
            answer: None,
            updated_at: own.env.now(),
        })
    });
    gone.chain(new).collect()
}
