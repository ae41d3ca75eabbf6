//! What is known of one agent's containers and routes, and how decisions about them are committed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use chrono::{DateTime, TimeDelta, Utc};

use super::Own;
use super::containers::Change;
use crate::actors::master::bus::Note;
use crate::actors::master::error::MasterError;
use crate::actors::master::store::CommitFailed;
use crate::db::cloudflare::RouteStatusRow;
use crate::db::containers::ContainerProblem;
use crate::db::{self, Batch, CommitError, Expected, RowChange};
use crate::domain::agent::AgentStatus;
use crate::domain::container::Container;
use crate::domain::event::{Event, Stream};
use crate::domain::guard;
use crate::domain::id::{AgentId, ContainerId};
use crate::domain::labels::{Labels, read_labels};
use crate::domain::mirror::{Decided, Mirrored, Running, apply, decide_routes, postpone};
use crate::domain::route::{Route, RouteKey};

/// How often a decision is taken again after somebody else was faster.
const TRIES: usize = 5;
/// Word of a route that is asked for and not given; its row is ours, not the publisher's.
pub const CONFLICT: &str = "conflict";

/// Decides and commits for one agent. The picture is a cache: forgotten whenever it may be wrong.
pub struct Mirrorer {
    own: Own,
    picture: Option<Picture>,
    /// Times of recent withdrawals, for the removal guard.
    released: VecDeque<DateTime<Utc>>,
}

/// What the database holds.
#[derive(Debug, Clone)]
struct Picture {
    version: u64,
    routes: Vec<Route>,
    containers: BTreeMap<ContainerId, Seen>,
    conflicts: BTreeMap<RouteKey, String>,
}

/// A container with what is shown of its labels.
#[derive(Debug, Clone, PartialEq)]
struct Seen {
    container: Container,
    problems: Vec<ContainerProblem>,
}

/// What an operation changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Outlook {
    /// Decisions about routes.
    pub decided: usize,
}

/// What is to be committed, and how the picture looks after that.
struct Draft {
    events: Vec<Event>,
    rows: Vec<RowChange>,
    containers: BTreeMap<ContainerId, Seen>,
    conflicts: BTreeMap<RouteKey, String>,
}

impl Mirrorer {
    /// Makes one that has read nothing yet.
    pub fn new(own: Own) -> Self {
        Self { own, picture: None, released: VecDeque::new() }
    }

    /// Forgets what it read.
    pub fn forget(&mut self) {
        self.picture = None;
    }

    /// True if the agent is on the list.
    pub fn is_listed(&self) -> bool {
        self.own.slot.as_ref().is_some_and(|slot| slot.status() != AgentStatus::Removed)
    }

    /// Takes in changes of containers and decides about routes.
    pub async fn mirror(&mut self, changes: Vec<Change>) -> Result<Outlook, MasterError> {
        if !self.is_listed() {
            return Err(MasterError::KeyRevoked);
        }
        let by = format!("agent:{}", self.own.agent);
        self.commit(&by, async |own, picture, _| draft_mirror(own, picture, &changes).await).await
    }

    /// Withdraws routes whose grace period is over, as far as the guard lets them go.
    pub async fn withdraw_due(&mut self) -> Result<Outlook, MasterError> {
        let now = self.own.env.now();
        self.commit("system", async |own, picture, released| {
            Ok(picture.with_events(guard::decide_due(&own.agent, &picture.routes, released, now)))
        })
        .await
    }

    /// Withdraws what the guard holds.
    pub async fn release_held(&mut self, by: &str) -> Result<Outlook, MasterError> {
        self.commit(by, async |own, picture, _| {
            Ok(picture.with_events(guard::confirm_held(&own.agent, &picture.routes)))
        })
        .await
    }

    /// Moves running grace periods by a leap of the wall clock.
    pub async fn postpone(&mut self, leap: TimeDelta) -> Result<Outlook, MasterError> {
        self.commit("system", async |own, picture, _| {
            Ok(picture.with_events(postpone(&own.agent, &picture.routes, leap)))
        })
        .await
    }

    /// Decides and commits; if somebody else was faster, reads and decides again.
    async fn commit(
        &mut self,
        by: &str,
        decide: impl AsyncFn(&Own, &Picture, &[DateTime<Utc>]) -> Result<Draft, MasterError>,
    ) -> Result<Outlook, MasterError> {
        for _ in 0..TRIES {
            let picture = match self.picture.take() {
                Some(picture) => picture,
                None => Picture::read(&self.own).await?,
            };
            let draft = decide(&self.own, &picture, self.released.make_contiguous()).await?;
            let batch = draft.batch(&self.own, by, picture.version);
            if batch.appends.is_empty() && batch.rows.is_empty() {
                self.remember(picture, draft, None).await;
                return Ok(Outlook::default());
            }
            match self.own.env.ledger.commit(batch).await {
                Ok(committed) => {
                    let decided = draft.events.len();
                    let version = committed.versions.first().map(|(_, version)| *version);
                    self.remember(picture, draft, version).await;
                    return Ok(Outlook { decided });
                }
                // Somebody was faster: the picture is gone, so it is read again.
                Err(CommitFailed::Refused(
                    CommitError::VersionConflict { .. } | CommitError::Claimed { .. },
                )) => {}
                Err(failed) => return Err(failed.into()),
            }
        }
        Err(MasterError::Busy)
    }

    /// Keeps the picture as it is after the commit, and tells who has to know.
    async fn remember(&mut self, mut picture: Picture, draft: Draft, version: Option<u64>) {
        let now = self.own.env.now();
        let mut freed = Vec::new();
        for event in &draft.events {
            apply(&mut picture.routes, event);
            if let Event::RouteReleased { route, .. } = event {
                self.released.push_back(now);
                freed.push(route.hostname.clone());
            }
        }
        while self.released.front().is_some_and(|at| now - *at > guard::WINDOW) {
            self.released.pop_front();
        }
        if !draft.rows.is_empty() {
            self.own.env.notices.announce(Note::Containers(self.own.agent.clone()));
        }
        if !draft.events.is_empty() {
            picture.version = version.unwrap_or(picture.version);
            self.own.env.notices.announce(Note::Routes(self.own.agent.clone()));
        }
        picture.containers = draft.containers;
        picture.conflicts = draft.conflicts;
        if let Some(slot) = &self.own.slot {
            slot.set_containers_digest(digest_containers(
                picture.containers.values().map(|seen| &seen.container),
            ));
        }
        if let Some(due) = guard::next_due(&picture.routes) {
            self.own.env.due_at(&self.own.agent, due);
        }
        self.picture = Some(picture);
        self.own.env.names_freed(&self.own.agent, &freed).await;
    }
}

impl Picture {
    async fn read(own: &Own) -> Result<Self, MasterError> {
        let db = &own.env.db;
        // The version first: what is written after it shows as a conflict.
        let version = db::events::stream_version(db, &Stream::routes(&own.agent)).await?;
        let routes = db::routes::list_agent_routes(db, &own.agent).await?;
        let mut problems: BTreeMap<ContainerId, Vec<ContainerProblem>> = BTreeMap::new();
        for row in db::containers::list_container_problems(db, Some(&own.agent), u64::MAX).await? {
            problems.entry(row.container_id).or_default().push(row.problem);
        }
        let containers = db::containers::list_containers(db, &own.agent).await?;
        let containers = containers.into_iter().map(|row| {
            let problems = problems.remove(&row.container.id).unwrap_or_default();
            (row.container.id.clone(), Seen { container: row.container, problems })
        });
        let statuses = db::cloudflare::list_route_status(db, Some(&own.agent), u64::MAX).await?;
        let conflicts = statuses.into_iter().filter(|row| row.state == CONFLICT);
        Ok(Self {
            version,
            routes,
            containers: containers.collect(),
            conflicts: conflicts.map(|row| (row.key, row.reason.unwrap_or_default())).collect(),
        })
    }

    /// Decisions that leave containers as they are.
    fn with_events(&self, events: Vec<Event>) -> Draft {
        Draft {
            events,
            rows: Vec::new(),
            containers: self.containers.clone(),
            conflicts: self.conflicts.clone(),
        }
    }
}

async fn draft_mirror(own: &Own, picture: &Picture, changes: &[Change]) -> Result<Draft, MasterError> {
    let containers = after(&picture.containers, changes);
    let prefix = own.env.settings.label_prefix.as_deref();
    let read: Vec<(&Container, Labels)> =
        containers.values().map(|container| (container, read_labels(&container.labels, prefix))).collect();
    let running: Vec<Running> = read
        .iter()
        .map(|(container, labels)| Running {
            container_id: container.id.clone(),
            container_name: container.name.clone(),
            services: labels.services.clone(),
        })
        .collect();
    let enrolled = own.slot()?.status() == AgentStatus::Enrolled;
    let others = if enrolled { claims_of_others(own, &running).await? } else { BTreeMap::new() };
    let decided = decide_routes(&Mirrored {
        agent_id: &own.agent,
        enrolled,
        running: &running,
        routes: &picture.routes,
        others: &others,
        allowed: &[],
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
    Ok(Draft { events: decided.events, rows, containers: seen, conflicts })
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
        }
    }
    containers
}

async fn claims_of_others(own: &Own, running: &[Running]) -> Result<BTreeMap<String, AgentId>, MasterError> {
    let hostnames: BTreeSet<&String> =
        running.iter().flat_map(|r| r.services.iter().map(|service| &service.key.hostname)).collect();
    let hostnames: Vec<String> = hostnames.into_iter().cloned().collect();
    let mut others = BTreeMap::new();
    // Looked up in bites: one query takes a limited number of names.
    for names in hostnames.chunks(500) {
        let claims = db::routes::list_claims(&own.env.db, names).await?;
        others.extend(claims.into_iter().filter(|(_, by)| *by != own.agent));
    }
    Ok(others)
}

fn with_problems(read: &[(&Container, Labels)], decided: &Decided) -> BTreeMap<ContainerId, Seen> {
    let seen = read.iter().map(|(container, labels)| {
        let of_labels = labels.problems.iter().map(|problem| ContainerProblem {
            label: problem.label.clone(),
            value: problem.value.clone(),
            reason: problem.reason.clone(),
        });
        let of_claims = decided.conflicts.iter().filter(|c| c.container_id == container.id);
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
    let gone = gone.map(|key| RowChange::DeleteRouteStatus { agent_id: own.agent.clone(), key: key.clone() });
    // Between two containers of this agent the route itself is held: its state is the publisher's to tell.
    let is_held = |key: &RouteKey| picture.routes.iter().any(|route| route.spec.key == *key);
    let new = conflicts
        .iter()
        .filter(|(key, reason)| picture.conflicts.get(*key) != Some(*reason) && !is_held(key));
    let new = new.map(|(key, reason)| {
        RowChange::PutRouteStatus(RouteStatusRow {
            agent_id: own.agent.clone(),
            key: key.clone(),
            state: CONFLICT.into(),
            reason: Some(reason.clone()),
            answer: None,
            updated_at: own.env.now(),
        })
    });
    gone.chain(new).collect()
}

impl Draft {
    fn batch(&self, own: &Own, by: &str, version: u64) -> Batch {
        let mut batch = own.env.batch(by);
        if !self.events.is_empty() {
            batch = batch.append(Stream::routes(&own.agent), Expected::Version(version), self.events.clone());
        }
        batch.rows.clone_from(&self.rows);
        batch
    }
}

/// Returns a digest of containers, whatever their order; never 0.
pub fn digest_containers<'a>(containers: impl IntoIterator<Item = &'a Container>) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut sum = 1_u64;
    for container in containers {
        let mut hasher = DefaultHasher::new();
        container.hash(&mut hasher);
        sum = sum.wrapping_add(hasher.finish() | 1);
    }
    sum.max(1)
}
