//! The record of decisions, for people and for actors that start again.

use chrono::{DateTime, Utc};
use sea_orm::sea_query::{Expr, ExprTrait, Func};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbBackend, DbErr, EntityTrait, QueryFilter, QueryOrder, QuerySelect,
};
use serde::{Deserialize, Serialize};

use super::database::{Db, limit};
use super::entities::{event, stream};
use super::error::DbError;
use super::times::{micros, time};
use super::words::json;
use crate::domain::event::{AgentEvent, Event, Stream};
use crate::domain::id::{AgentId, TunnelId};

/// Events that are read at a time on the way back from a stream's end.
const SINCE_PAGE: u64 = 64;

/// An event as it was written down.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EventRow {
    /// Place in the order of all events.
    pub seq: u64,
    /// Its stream.
    pub stream: Stream,
    /// Its place in the stream, from 1.
    pub version: u64,
    /// What was decided; its tag is the event's type.
    pub event: Event,
    /// Who decided it.
    pub actor: String,
    /// When, by the master's clock.
    pub at: DateTime<Utc>,
    /// Hex hash of the event and, through the one before it, of its whole stream.
    pub hash: String,
}

/// An event with its place in the record: what is held in memory of decisions follows these, in the order of `seq`.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    /// Place in the order of all events, without gaps from 1.
    pub seq: u64,
    /// Its stream.
    pub stream: Stream,
    /// Its place in the stream, from 1.
    pub version: u64,
    /// What was decided.
    pub event: Event,
}

impl From<EventRow> for Recorded {
    fn from(row: EventRow) -> Self {
        Self { seq: row.seq, stream: row.stream, version: row.version, event: row.event }
    }
}

impl EventRow {
    fn of(row: event::Model) -> Result<Self, DbError> {
        Ok(Self {
            event: json("event", &row.seq.to_string(), &row.payload)?,
            seq: u64::try_from(row.seq).unwrap_or(0),
            version: u64::try_from(row.version).unwrap_or(0),
            stream: Stream(row.stream),
            actor: row.actor,
            at: time(row.at),
            hash: hex::encode(row.hash),
        })
    }
}

/// Which events are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// Only streams whose name begins with this.
    pub stream_prefix: Option<String>,
    /// Only events after this number.
    pub after_seq: u64,
    /// Only events before this number.
    pub before_seq: Option<u64>,
    /// Newest first instead of oldest first.
    pub newest_first: bool,
}

/// True for streams whose name begins with `prefix`. Not LIKE: names may hold `_`, and SQLite's ignores case.
fn begins_with(prefix: &str) -> Expr {
    let length = i32::try_from(prefix.chars().count()).unwrap_or(i32::MAX);
    let stream = Expr::col((event::Entity, event::Column::Stream));
    let start = Func::cust("substr").args([stream, Expr::val(1), Expr::val(length)]);
    Expr::expr(start).eq(prefix)
}

/// Returns events that fit `filter`, at most `max`.
pub async fn list_events(db: &Db, filter: &EventFilter, max: u64) -> Result<Vec<EventRow>, DbError> {
    let filter = filter.clone();
    db.read(move |conn| async move {
        let after = i64::try_from(filter.after_seq).unwrap_or(i64::MAX);
        let mut query = event::Entity::find().filter(event::Column::Seq.gt(after)).limit(limit(max));
        if let Some(before) = filter.before_seq {
            query = query.filter(event::Column::Seq.lt(i64::try_from(before).unwrap_or(i64::MAX)));
        }
        query = match filter.newest_first {
            true => query.order_by_desc(event::Column::Seq),
            false => query.order_by_asc(event::Column::Seq),
        };
        if let Some(prefix) = filter.stream_prefix {
            query = query.filter(begins_with(&prefix));
            if conn.get_database_backend() == DbBackend::Sqlite {
                // Lets SQLite use its index; elsewhere text may be ordered by a language's rules.
                let end = format!("{prefix}{}", char::MAX);
                query = query.filter(event::Column::Stream.between(prefix, end));
            }
        }
        query.all(&conn).await?.into_iter().map(EventRow::of).collect()
    })
    .await
}

/// Returns a stream's events after `after_version`, oldest first, at most `max`.
pub async fn list_stream(
    db: &Db,
    stream: &Stream,
    after_version: u64,
    max: u64,
) -> Result<Vec<EventRow>, DbError> {
    let stream = stream.0.clone();
    db.read(move |conn| async move {
        let after = i64::try_from(after_version).unwrap_or(i64::MAX);
        let query = event::Entity::find()
            .filter(event::Column::Stream.eq(stream))
            .filter(event::Column::Version.gt(after))
            .order_by_asc(event::Column::Version)
            .limit(limit(max));
        query.all(&conn).await?.into_iter().map(EventRow::of).collect()
    })
    .await
}

/// Returns a stream's events from `since` on, newest first. Costs what it returns, however long the
/// stream is.
pub async fn list_stream_since(
    db: &Db,
    stream: &Stream,
    since: DateTime<Utc>,
) -> Result<Vec<EventRow>, DbError> {
    let stream = stream.0.clone();
    db.read(move |conn| async move {
        let (mut found, mut before) = (Vec::new(), i64::MAX);
        loop {
            let page = event::Entity::find()
                .filter(event::Column::Stream.eq(&stream))
                .filter(event::Column::Version.lt(before))
                .order_by_desc(event::Column::Version)
                .limit(SINCE_PAGE);
            let rows = page.all(&conn).await?;
            let is_last = (rows.len() as u64) < SINCE_PAGE;
            for row in rows {
                if row.at < micros(since) {
                    return Ok(found);
                }
                before = row.version;
                found.push(EventRow::of(row)?);
            }
            if is_last {
                return Ok(found);
            }
        }
    })
    .await
}

/// Returns the latest event of a type in a stream. Reads back from the stream's end, and no further than to it.
async fn find_latest(db: &Db, stream: &Stream, kind: &'static str) -> Result<Option<EventRow>, DbError> {
    let stream = stream.0.clone();
    db.read(move |conn| async move {
        let query = event::Entity::find()
            .filter(event::Column::Stream.eq(stream))
            .filter(event::Column::Kind.eq(kind))
            .order_by_desc(event::Column::Version);
        query.one(&conn).await?.map(EventRow::of).transpose()
    })
    .await
}

/// Returns the number of the newest event; 0 if there is none.
pub async fn last_seq(db: &Db) -> Result<u64, DbError> {
    db.read(move |conn| async move { Ok(u64::try_from(newest_seq(&conn).await?).unwrap_or(0)) }).await
}

/// The same, within a transaction.
pub(super) async fn newest_seq(conn: &impl ConnectionTrait) -> Result<i64, DbErr> {
    let newest: Option<i64> = event::Entity::find()
        .select_only()
        .column(event::Column::Seq)
        .order_by_desc(event::Column::Seq)
        .limit(1)
        .into_tuple()
        .one(conn)
        .await?;
    Ok(newest.unwrap_or(0))
}

/// Returns a stream's version; 0 if it has no events.
pub async fn stream_version(db: &Db, stream: &Stream) -> Result<u64, DbError> {
    let stream = stream.0.clone();
    db.read(move |conn| async move {
        let head = stream::Entity::find_by_id(stream).one(&conn).await?;
        Ok(head.map_or(0, |head| u64::try_from(head.version).unwrap_or(0)))
    })
    .await
}

/// Returns the ids of the connectors that served a tunnel when its agent was enrolled with it; none if Cloudflare did not
/// say, or if the agent's last enrolment was with another one.
pub async fn connectors_at_enrolment(
    db: &Db,
    agent: &AgentId,
    tunnel: &TunnelId,
) -> Result<Option<Vec<String>>, DbError> {
    let enrolled = find_latest(db, &Stream::agent(agent), "agent_enrolled").await?;
    Ok(enrolled.and_then(|row| match row.event {
        Event::Agent(AgentEvent::Enrolled { tunnel_id, connectors, .. }) if tunnel_id == *tunnel => {
            connectors
        }
        _ => None,
    }))
}
