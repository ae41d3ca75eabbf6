//! Who may reach what is published: the groups that people made, and what is ours of Cloudflare Access.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder};

use super::database::{AT_ONCE, Db};
use super::entities::{access_application, access_group, access_policy};
use super::error::DbError;
use super::times::time;
use super::words::json;
use crate::domain::access::Group;
use crate::domain::id::{AccountId, ApplicationId, GroupId, PolicyId, TunnelId};

/// A group, and who set it.
#[derive(Debug, Clone, PartialEq)]
pub struct AccessGroupRow {
    /// The group.
    pub group: Group,
    /// When it was set.
    pub set_at: DateTime<Utc>,
    /// Who set it.
    pub set_by: String,
}

/// A reusable policy that is ours.
#[derive(Debug, Clone, PartialEq)]
pub struct AccessPolicyRow {
    /// Its account.
    pub account_id: AccountId,
    /// Its name at Cloudflare, which carries the mark of this installation.
    pub name: String,
    /// Its id; none while the call that makes it is under way.
    pub policy_id: Option<PolicyId>,
    /// What was asked for and read back last; while a change is under way, the more open of that and what it asks for.
    pub body: serde_json::Value,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// False from before a call that makes, changes or deletes it until its outcome is known: it was read back then.
    pub is_settled: bool,
}

/// An application that is ours.
#[derive(Debug, Clone, PartialEq)]
pub struct AccessApplicationRow {
    /// Its account.
    pub account_id: AccountId,
    /// What it protects: a hostname, and a path if there is one.
    pub domain: String,
    /// Its id; none while the call that makes it is under way.
    pub application_id: Option<ApplicationId>,
    /// What the tokens that it gives out are for.
    pub aud: Option<String>,
    /// The tunnel whose route it protects.
    pub tunnel_id: TunnelId,
    /// What was asked for and read back last; while a change is under way, the more open of that and what it asks for.
    pub body: serde_json::Value,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// False from before a call that makes, changes or deletes it until its outcome is known: it was read back then.
    pub is_settled: bool,
}

fn group(row: access_group::Model) -> Result<AccessGroupRow, DbError> {
    let group = json("access group", &row.id, &row.body)?;
    Ok(AccessGroupRow { group, set_at: time(row.set_at), set_by: row.set_by })
}

fn policy(row: access_policy::Model) -> Result<AccessPolicyRow, DbError> {
    Ok(AccessPolicyRow {
        body: json("access policy", &row.name, &row.body)?,
        account_id: AccountId::new(row.account_id),
        name: row.name,
        policy_id: row.policy_id.map(PolicyId::new),
        created_at: time(row.created_at),
        is_settled: row.settled,
    })
}

fn application(row: access_application::Model) -> Result<AccessApplicationRow, DbError> {
    Ok(AccessApplicationRow {
        body: json("access application", &row.domain, &row.body)?,
        account_id: AccountId::new(row.account_id),
        domain: row.domain,
        application_id: row.application_id.map(ApplicationId::new),
        aud: row.aud,
        tunnel_id: TunnelId::new(row.tunnel_id),
        created_at: time(row.created_at),
        is_settled: row.settled,
    })
}

/// Returns a group, if there is one of that id.
pub async fn find_group(db: &Db, id: &GroupId) -> Result<Option<AccessGroupRow>, DbError> {
    let id = id.as_str().to_owned();
    db.read(move |conn| async move {
        access_group::Entity::find_by_id(id).one(&conn).await?.map(group).transpose()
    })
    .await
}

/// Returns every group, by id.
pub async fn list_groups(db: &Db) -> Result<Vec<AccessGroupRow>, DbError> {
    db.read(move |conn| async move {
        let query = access_group::Entity::find().order_by_asc(access_group::Column::Id);
        query.all(&conn).await?.into_iter().map(group).collect()
    })
    .await
}

/// Returns a policy of ours, by its name.
pub async fn find_policy(
    db: &Db,
    account: &AccountId,
    name: &str,
) -> Result<Option<AccessPolicyRow>, DbError> {
    let key = (account.as_str().to_owned(), name.to_owned());
    db.read(move |conn| async move {
        access_policy::Entity::find_by_id(key).one(&conn).await?.map(policy).transpose()
    })
    .await
}

/// Returns the policies of an account that are ours, by name.
pub async fn policies_of(db: &Db, account: &AccountId) -> Result<BTreeMap<String, AccessPolicyRow>, DbError> {
    let account = account.as_str().to_owned();
    db.read(move |conn| async move {
        let query = access_policy::Entity::find().filter(access_policy::Column::AccountId.eq(account));
        let rows = query.all(&conn).await?.into_iter().map(policy);
        rows.map(|row| row.map(|row| (row.name.clone(), row))).collect()
    })
    .await
}

/// Returns an application of ours, by what it protects.
pub async fn find_application(
    db: &Db,
    account: &AccountId,
    domain: &str,
) -> Result<Option<AccessApplicationRow>, DbError> {
    let key = (account.as_str().to_owned(), domain.to_owned());
    db.read(move |conn| async move {
        access_application::Entity::find_by_id(key).one(&conn).await?.map(application).transpose()
    })
    .await
}

/// Returns the applications of an account that are ours, by domain.
pub async fn applications_of(db: &Db, account: &AccountId) -> Result<Vec<AccessApplicationRow>, DbError> {
    let account = account.as_str().to_owned();
    db.read(move |conn| async move {
        let query = access_application::Entity::find()
            .filter(access_application::Column::AccountId.eq(account))
            .order_by_asc(access_application::Column::Domain);
        query.all(&conn).await?.into_iter().map(application).collect()
    })
    .await
}

/// Returns our applications that protect the routes of these tunnels, each by domain.
pub async fn applications_of_tunnels(
    db: &Db,
    tunnels: &[TunnelId],
) -> Result<HashMap<TunnelId, Vec<AccessApplicationRow>>, DbError> {
    let tunnels: Vec<String> = tunnels.iter().map(|id| id.as_str().to_owned()).collect();
    db.read(move |conn| async move {
        let mut found = HashMap::<TunnelId, Vec<AccessApplicationRow>>::new();
        for chunk in tunnels.chunks(AT_ONCE) {
            let query = access_application::Entity::find()
                .filter(access_application::Column::TunnelId.is_in(chunk))
                .order_by_asc(access_application::Column::Domain);
            for row in query.all(&conn).await? {
                let row = application(row)?;
                found.entry(row.tunnel_id.clone()).or_default().push(row);
            }
        }
        Ok(found)
    })
    .await
}
