//! Groups of Access with who set them and what asks for them, read for one answer or one page.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::error::ApiError;
use super::listings::next;
use super::picture::ROWS;
use super::state::WebState;
use crate::actors::master::MasterError;
use crate::db::read::{AccessGroupRow, list_groups, list_routes};
use crate::domain::access::{Group, system_groups};
use crate::domain::id::GroupId;
use crate::domain::route::RouteKey;

/// Most routes that are named of a group; the others are counted.
const ROUTES: usize = 100;

/// A group with all that is told of it.
pub struct GroupView {
    /// The group.
    pub group: Group,
    /// When it was set, and by whom; none if it is built in.
    pub set: Option<(DateTime<Utc>, String)>,
    /// The first routes that ask for it.
    pub routes: Vec<RouteKey>,
    /// How many ask for it.
    pub routes_total: usize,
}

impl GroupView {
    /// True if it is always there, and nobody changes it.
    pub fn is_built_in(&self) -> bool {
        self.set.is_none()
    }

    /// Returns it as the API tells it: what a group is, as it is handed in, and beside that what is known of it.
    pub fn record(&self) -> Value {
        let route = |key: &RouteKey| json!({ "hostname": key.hostname, "path": key.path });
        let mut record = json!(self.group);
        record["in_words"] = json!(self.group.in_words());
        record["is_built_in"] = json!(self.is_built_in());
        record["is_open_to_everyone"] = json!(self.group.is_open_to_everyone());
        record["set_at"] = json!(self.set.as_ref().map(|(at, _)| at));
        record["set_by"] = json!(self.set.as_ref().map(|(_, by)| by));
        record["routes"] = self.routes.iter().map(route).collect();
        record["routes_total"] = json!(self.routes_total);
        record
    }
}

/// Routes by the group that they ask for: the first ones, and how many there are.
type Asked = BTreeMap<GroupId, (Vec<RouteKey>, usize)>;

/// Reads every group: those that people made, by id, and then those that are built in.
pub async fn read_groups(state: &WebState) -> Result<Vec<GroupView>, ApiError> {
    let all = state.clone();
    state.listings().make(async move { read_all(&all).await }).await
}

/// Reads one group; fails with 404 if there is none.
pub async fn read_group(state: &WebState, id: &str) -> Result<GroupView, ApiError> {
    let groups = read_groups(state).await?;
    let found = groups.into_iter().find(|view| view.group.id.as_str() == id);
    found.ok_or_else(|| MasterError::GroupNotFound.into())
}

async fn read_all(state: &WebState) -> Result<Vec<GroupView>, ApiError> {
    let rows = list_groups(&state.master().db).await.map_err(ApiError::internal)?;
    let mut asked = read_asked(state).await?;
    let of_people =
        rows.into_iter().map(|AccessGroupRow { group, set_at, set_by }| (group, Some((set_at, set_by))));
    let built_in = system_groups().into_iter().map(|group| (group, None));
    let view = |(group, set): (Group, Option<(DateTime<Utc>, String)>)| {
        let (routes, routes_total) = asked.remove(&group.id).unwrap_or_default();
        GroupView { group, set, routes, routes_total }
    };
    Ok(of_people.chain(built_in).map(view).collect())
}

async fn read_asked(state: &WebState) -> Result<Asked, ApiError> {
    let (mut asked, mut after) = (Asked::new(), None);
    loop {
        let rows = list_routes(&state.master().db, after.as_ref(), ROWS).await.map_err(ApiError::internal)?;
        for spec in rows.iter().map(|row| &row.route.spec) {
            for group in spec.access.groups() {
                let (routes, total) = asked.entry(group.clone()).or_default();
                *total += 1;
                if routes.len() < ROUTES {
                    routes.push(spec.key.clone());
                }
            }
        }
        after = next(&rows, ROWS, |row| row.route.spec.key.clone());
        if after.is_none() {
            return Ok(asked);
        }
    }
}
