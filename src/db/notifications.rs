//! Where people are told what happened, and how far that is.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use serde::{Deserialize, Serialize};

use super::database::{Db, limit};
use super::entities::{
    notice, notification_condition, notification_message, notification_place, notification_target,
    notification_target_state,
};
use super::error::DbError;
use super::times::{micros, time};
use super::words::{json, to_json, word};
use crate::domain::id::{SecretId, TargetId};
use crate::domain::notify::{Known, Message, Notice, Target, Topic};

/// The one row that says how far the record was followed.
pub(super) const PLACE: i32 = 1;

/// A target, and who set it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetRow {
    /// The target. What opens it is the secret named by [`target_secret`].
    pub target: Target,
    /// When it was first set.
    pub made_at: DateTime<Utc>,
    /// When it was last set.
    pub set_at: DateTime<Utc>,
    /// Who did that.
    pub set_by: String,
}

/// How a target is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetStateRow {
    /// Which one.
    pub target_id: TargetId,
    /// When it last took a message.
    pub last_sent_at: Option<DateTime<Utc>>,
    /// Since when it takes none, though there are some.
    pub failing_since: Option<DateTime<Utc>>,
    /// How often in a row it did not.
    pub failures: u32,
    /// Why it did not the last time.
    pub error: Option<String>,
    /// When it is tried again.
    pub next_try_at: Option<DateTime<Utc>>,
    /// How many things were to be told since the last message and were not kept.
    pub left_out: u32,
}

impl TargetStateRow {
    /// One of which nothing is known.
    pub fn new(target_id: TargetId) -> Self {
        Self {
            target_id,
            last_sent_at: None,
            failing_since: None,
            failures: 0,
            error: None,
            next_try_at: None,
            left_out: 0,
        }
    }
}

/// How far a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MessageState {
    /// It is to be sent, for the first time or again.
    Waiting,
    /// It is on its way: whether it arrived is known once this changes.
    Sending,
    /// The target took it.
    Sent,
    /// It is not sent any more.
    Failed,
}

impl MessageState {
    /// Returns the word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Sending => "sending",
            Self::Sent => "sent",
            Self::Failed => "failed",
        }
    }

    /// True if something is still to be done about it.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Waiting | Self::Sending)
    }
}

/// A message for a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageRow {
    /// Whose it is.
    pub target_id: TargetId,
    /// How far it is.
    pub state: MessageState,
    /// How often it was begun to be sent.
    pub attempts: u32,
    /// What it says.
    pub message: Message,
    /// Why it was not taken the last time.
    pub error: Option<String>,
    /// When it was put together.
    pub created_at: DateTime<Utc>,
    /// When it was taken, or given up.
    pub settled_at: Option<DateTime<Utc>>,
}

/// Returns where what opens a target is kept.
pub fn target_secret(id: &TargetId) -> SecretId {
    SecretId::new(format!("notification/{id}"))
}

fn target(row: notification_target::Model) -> Result<TargetRow, DbError> {
    Ok(TargetRow {
        target: json("target", &row.id, &row.body)?,
        made_at: time(row.made_at),
        set_at: time(row.set_at),
        set_by: row.set_by,
    })
}

impl From<notification_target_state::Model> for TargetStateRow {
    fn from(row: notification_target_state::Model) -> Self {
        Self {
            target_id: TargetId::new(row.target_id),
            last_sent_at: row.last_sent_at.map(time),
            failing_since: row.failing_since.map(time),
            failures: u32::try_from(row.failures).unwrap_or(0),
            error: row.error,
            next_try_at: row.next_try_at.map(time),
            left_out: u32::try_from(row.left_out).unwrap_or(0),
        }
    }
}

pub(super) fn state_model(row: &TargetStateRow) -> notification_target_state::Model {
    notification_target_state::Model {
        target_id: row.target_id.as_str().into(),
        last_sent_at: row.last_sent_at.map(micros),
        failing_since: row.failing_since.map(micros),
        failures: i32::try_from(row.failures).unwrap_or(i32::MAX),
        error: row.error.clone(),
        next_try_at: row.next_try_at.map(micros),
        left_out: i32::try_from(row.left_out).unwrap_or(i32::MAX),
    }
}

fn message(row: notification_message::Model) -> Result<MessageRow, DbError> {
    Ok(MessageRow {
        target_id: TargetId::new(row.target_id),
        state: word("message", &row.id, &row.state)?,
        attempts: u32::try_from(row.attempts).unwrap_or(0),
        message: json("message", &row.id, &row.body)?,
        error: row.error,
        created_at: time(row.created_at),
        settled_at: row.settled_at.map(time),
    })
}

pub(super) fn message_model(row: &MessageRow) -> notification_message::Model {
    notification_message::Model {
        id: row.message.id.clone(),
        target_id: row.target_id.as_str().into(),
        state: row.state.as_str().into(),
        attempts: i32::try_from(row.attempts).unwrap_or(i32::MAX),
        body: to_json(&row.message),
        error: row.error.clone(),
        created_at: micros(row.created_at),
        settled_at: row.settled_at.map(micros),
    }
}

/// Returns a target, if there is one of that id.
pub async fn find_target(db: &Db, id: &TargetId) -> Result<Option<TargetRow>, DbError> {
    let id = id.as_str().to_owned();
    db.read(move |conn| async move {
        notification_target::Entity::find_by_id(id).one(&conn).await?.map(target).transpose()
    })
    .await
}

/// Returns every target, by id.
pub async fn list_targets(db: &Db) -> Result<Vec<TargetRow>, DbError> {
    db.read(move |conn| async move {
        let query = notification_target::Entity::find().order_by_asc(notification_target::Column::Id);
        query.all(&conn).await?.into_iter().map(target).collect()
    })
    .await
}

/// Returns how a target is, if anything was sent to it.
pub async fn find_target_state(db: &Db, id: &TargetId) -> Result<Option<TargetStateRow>, DbError> {
    let id = id.as_str().to_owned();
    db.read(move |conn| async move {
        let found = notification_target_state::Entity::find_by_id(id).one(&conn).await?;
        Ok(found.map(TargetStateRow::from))
    })
    .await
}

/// Returns how targets are, of those that anything was sent to.
pub async fn list_target_states(db: &Db) -> Result<Vec<TargetStateRow>, DbError> {
    db.read(move |conn| async move {
        let rows = notification_target_state::Entity::find().all(&conn).await?;
        Ok(rows.into_iter().map(TargetStateRow::from).collect())
    })
    .await
}

/// Returns how far the record was followed; none while nobody is to be told.
pub async fn notification_place(db: &Db) -> Result<Option<u64>, DbError> {
    db.read(move |conn| async move {
        let place = notification_place::Entity::find_by_id(PLACE).one(&conn).await?;
        Ok(place.map(|row| u64::try_from(row.seq).unwrap_or(0)))
    })
    .await
}

/// Returns what was the case when it was last looked at.
pub async fn list_conditions(db: &Db) -> Result<Vec<Known>, DbError> {
    db.read(move |conn| async move {
        let rows = notification_condition::Entity::find().all(&conn).await?;
        let known = |row: notification_condition::Model| {
            // A release after this one may know more; what it noted is left alone.
            let topic = Topic::parse(&row.topic)?;
            Some(Known { topic, subject: row.subject, name: row.name, since: time(row.since) })
        };
        Ok(rows.into_iter().filter_map(known).collect())
    })
    .await
}

/// Returns what waits to be told, and to whom.
pub async fn list_notices(db: &Db) -> Result<Vec<(TargetId, Notice)>, DbError> {
    db.read(move |conn| async move {
        let rows = notice::Entity::find().all(&conn).await?;
        let read = |row: notice::Model| {
            let notice = json("notice", &row.subject, &row.body)?;
            Ok((TargetId::new(row.target_id), notice))
        };
        rows.into_iter().map(read).collect()
    })
    .await
}

/// Returns messages about which something is still to be done, the oldest first.
pub async fn list_open_messages(db: &Db) -> Result<Vec<MessageRow>, DbError> {
    use notification_message::Column;
    db.read(move |conn| async move {
        let open = [MessageState::Waiting, MessageState::Sending].map(MessageState::as_str);
        let query = notification_message::Entity::find()
            .filter(Column::State.is_in(open))
            .order_by_asc(Column::CreatedAt)
            .order_by_asc(Column::Id);
        query.all(&conn).await?.into_iter().map(message).collect()
    })
    .await
}

/// Returns a message.
pub async fn find_message(db: &Db, id: &str) -> Result<Option<MessageRow>, DbError> {
    let id = id.to_owned();
    db.read(move |conn| async move {
        notification_message::Entity::find_by_id(id).one(&conn).await?.map(message).transpose()
    })
    .await
}

/// Returns messages, those to one target only if one is named, the newest first, at most `max`.
pub async fn list_messages(db: &Db, target: Option<&TargetId>, max: u64) -> Result<Vec<MessageRow>, DbError> {
    use notification_message::Column;
    let target = target.map(|id| id.as_str().to_owned());
    db.read(move |conn| async move {
        let mut query = notification_message::Entity::find()
            .order_by_desc(Column::CreatedAt)
            .order_by_desc(Column::Id)
            .limit(limit(max));
        if let Some(target) = target {
            query = query.filter(Column::TargetId.eq(target));
        }
        query.all(&conn).await?.into_iter().map(message).collect()
    })
    .await
}

/// Returns the ids of messages that are at their end, but for the newest `keep` of them; at most `max`.
pub async fn list_old_messages(db: &Db, keep: u64, max: u64) -> Result<Vec<String>, DbError> {
    use notification_message::Column;
    db.read(move |conn| async move {
        let query = notification_message::Entity::find()
            .select_only()
            .column(Column::Id)
            .filter(Column::SettledAt.is_not_null())
            .order_by_desc(Column::SettledAt)
            .order_by_desc(Column::Id)
            .offset(limit(keep))
            .limit(limit(max));
        Ok(query.into_tuple().all(&conn).await?)
    })
    .await
}

/// Returns how many notices and messages wait, by target; tests do not wait.
pub async fn count_waiting(db: &Db) -> Result<BTreeMap<TargetId, u64>, DbError> {
    use notification_message::Column;
    db.read(move |conn| async move {
        let notices: Vec<(String, i64)> = notice::Entity::find()
            .select_only()
            .column(notice::Column::TargetId)
            .column_as(notice::Column::Subject.count(), "count")
            .group_by(notice::Column::TargetId)
            .into_tuple()
            .all(&conn)
            .await?;
        let open = [MessageState::Waiting, MessageState::Sending].map(MessageState::as_str);
        let messages: Vec<(String, i64)> = notification_message::Entity::find()
            .select_only()
            .column(Column::TargetId)
            .column_as(Column::Id.count(), "count")
            .filter(Column::State.is_in(open))
            .group_by(Column::TargetId)
            .into_tuple()
            .all(&conn)
            .await?;
        let mut waiting = BTreeMap::<TargetId, u64>::new();
        for (target, count) in notices.into_iter().chain(messages) {
            *waiting.entry(TargetId::new(target)).or_default() += u64::try_from(count).unwrap_or(0);
        }
        Ok(waiting)
    })
    .await
}
