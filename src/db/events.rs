//! The record of decisions, for people and for actors that start again.

use std::cmp::{max, min};

use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::sea_query::{Expr, ExprTrait, Func, LikeExpr};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, DbBackend, DbErr, EntityTrait, QueryFilter, QueryOrder,
    QuerySelect, Select,
};
use serde::{Deserialize, Serialize};

use super::database::{Db, limit};
use super::entities::{event, stream};
use super::error::DbError;
use super::search::{escaped, has_text};
use super::times::{micros, time};
use super::words::json;
use crate::domain::activity::Earlier;
use crate::domain::event::{AgentEvent, Event, Stream};
use crate::domain::id::{AgentId, TunnelId};
use crate::domain::role::{BY_AGENT, BY_MASTER};

/// Events that are read at a time on the way back from a stream's end.
const SINCE_PAGE: u64 = 64;
/// A clock that was set back by less than this hides no event from a look by time.
const CLOCK_SLACK: TimeDelta = TimeDelta::days(1);
/// Of so many events of its stream an earlier one about the same thing is looked for.
const LOOKED_BACK: u64 = 20_000;

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
    /// Only what this one decided.
    pub actor: Option<String>,
    /// Only what people decided, and not agents or the master itself.
    pub people_only: bool,
    /// Only these types; one that ends with `_` stands for all that begin so. None: all.
    pub kinds: Vec<String>,
    /// Only those with this in what they say, or in the name of their stream, in any case.
    pub text: Option<String>,
    /// Only those from then on.
    pub since: Option<DateTime<Utc>>,
    /// Only those until then.
    pub until: Option<DateTime<Utc>>,
}

/// What was found of events in one look.
#[derive(Debug, Clone, PartialEq)]
pub struct FoundEvents {
    /// Those that fit.
    pub rows: Vec<EventRow>,
    /// Where to go on: the next look is at events before this one, or after it if the oldest come first. None if there are no
    /// others.
    pub next: Option<u64>,
    /// True if it ended because enough was looked at, and not because enough was found.
    pub is_cut: bool,
}

impl EventFilter {
    fn applied_to(&self, mut query: Select<event::Entity>, backend: DbBackend) -> Select<event::Entity> {
        use event::Column;
        if let Some(actor) = &self.actor {
            query = query.filter(Column::Actor.eq(actor));
        }
        if self.people_only {
            query = query.filter(Column::Actor.ne(BY_MASTER)).filter(starts(Column::Actor, BY_AGENT).not());
        }
        if !self.kinds.is_empty() {
            let is_one = self.kinds.iter().fold(Condition::any(), |any, kind| match kind.ends_with('_') {
                true => any.add(starts(Column::Kind, kind)),
                false => any.add(Column::Kind.eq(kind)),
            });
            query = query.filter(is_one);
        }
        if let Some(text) = self.text.as_deref().map(str::trim).filter(|text| !text.is_empty()) {
            let has = |column| has_text((event::Entity, column), text);
            query = query.filter(has(Column::Payload).or(has(Column::Stream)));
        }
        if let Some(since) = self.since {
            query = query.filter(Column::At.gte(micros(since)));
        }
        if let Some(until) = self.until {
            query = query.filter(Column::At.lte(micros(until)));
        }
        if let Some(prefix) = &self.stream_prefix {
            query = query.filter(begins_with(prefix));
            if backend == DbBackend::Sqlite {
                // Lets SQLite use its index; elsewhere text may be ordered by a language's rules.
                let end = format!("{prefix}{}", char::MAX);
                query = query.filter(Column::Stream.between(prefix, &end));
            }
        }
        match self.newest_first {
            true => query.order_by_desc(Column::Seq),
            false => query.order_by_asc(Column::Seq),
        }
    }
}

/// True for texts that begin with `start`; only for texts of ours, where capitals make no difference.
fn starts(column: event::Column, start: &str) -> Expr {
    Expr::col((event::Entity, column)).like(LikeExpr::new(format!("{}%", escaped(start))).escape('\\'))
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
        query = filter.applied_to(query, conn.get_database_backend());
        query.all(&conn).await?.into_iter().map(EventRow::of).collect()
    })
    .await
}

/// Returns events that fit `filter`, at most `most`, and looks at no more than `look` for them.
pub async fn find_events(
    db: &Db,
    filter: &EventFilter,
    most: u64,
    look: u64,
) -> Result<FoundEvents, DbError> {
    let filter = filter.clone();
    db.read(move |conn| async move {
        let last = newest_seq(&conn).await?;
        let place = |seq: u64| i64::try_from(seq).unwrap_or(i64::MAX);
        // Events between these two, which are not among them.
        let (mut below, mut above) = (place(filter.after_seq), last + 1);
        above = min(above, filter.before_seq.map_or(i64::MAX, place));
        if let Some(until) = filter.until {
            above = min(above, seq_at(&conn, last, until + CLOCK_SLACK).await? + 1);
        }
        if let Some(since) = filter.since {
            below = max(below, seq_at(&conn, last, since - CLOCK_SLACK).await?);
        }
        let (first, end) = match filter.newest_first {
            true => (max(below, above.saturating_sub(place(look)) - 1), above),
            false => (below, min(above, below.saturating_add(place(look)).saturating_add(1))),
        };
        let query = event::Entity::find()
            .filter(event::Column::Seq.gt(first))
            .filter(event::Column::Seq.lt(end))
            .limit(limit(most.saturating_add(1)));
        let query = filter.applied_to(query, conn.get_database_backend());
        let found = query.all(&conn).await?.into_iter().map(EventRow::of);
        let mut rows = found.collect::<Result<Vec<_>, DbError>>()?;
        let (is_full, has_rest) = (rows.len() as u64 > most, first > below || end < above);
        rows.truncate(usize::try_from(most).unwrap_or(usize::MAX));
        let onward = if filter.newest_first { first + 1 } else { end - 1 };
        let next = match (is_full, has_rest) {
            (true, _) => rows.last().map(|row| row.seq),
            (false, true) => Some(u64::try_from(onward).unwrap_or(0)),
            (false, false) => None,
        };
        Ok(FoundEvents { rows, next, is_cut: !is_full && has_rest })
    })
    .await
}

/// Returns the number of the last event that was written down until `at`, by bisection: times grow with numbers.
async fn seq_at(conn: &impl ConnectionTrait, last: i64, at: DateTime<Utc>) -> Result<i64, DbErr> {
    let (mut low, mut high) = (0, last);
    while low < high {
        let middle = low + (high - low + 1) / 2;
        let found: Option<i64> = event::Entity::find_by_id(middle)
            .select_only()
            .column(event::Column::At)
            .into_tuple()
            .one(conn)
            .await?;
        match found.is_some_and(|time| time <= micros(at)) {
            true => low = middle,
            false => high = middle - 1,
        }
    }
    Ok(low)
}

/// Returns an event by its number.
pub async fn find_event(db: &Db, seq: u64) -> Result<Option<EventRow>, DbError> {
    let seq = i64::try_from(seq).unwrap_or(i64::MAX);
    db.read(move |conn| async move {
        event::Entity::find_by_id(seq).one(&conn).await?.map(EventRow::of).transpose()
    })
    .await
}

/// Returns what was said before of the thing that an event says how it is; none if it says that of nothing.
pub async fn find_earlier(db: &Db, row: &EventRow) -> Result<Option<Earlier<EventRow>>, DbError> {
    let Some(thing) = row.event.thing() else { return Ok(None) };
    let (stream, version) = (row.stream.0.clone(), i64::try_from(row.version).unwrap_or(i64::MAX));
    db.read(move |conn| async move {
        // What JSON writes in another way is not looked for by its text.
        let is_plain =
            thing.hint.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\'));
        let hint = if is_plain { thing.hint.clone() } else { String::new() };
        let lowest = version.saturating_sub(i64::try_from(LOOKED_BACK).unwrap_or(i64::MAX));
        let mut before = version;
        loop {
            let page = event::Entity::find()
                .filter(has_text((event::Entity, event::Column::Payload), &hint))
                .filter(event::Column::Stream.eq(&stream))
                .filter(event::Column::Version.lt(before))
                .filter(event::Column::Version.gte(lowest))
                .filter(event::Column::Kind.is_in(thing.kinds.iter().copied()))
                .order_by_desc(event::Column::Version)
                .limit(SINCE_PAGE);
            let rows = page.all(&conn).await?;
            let is_last = (rows.len() as u64) < SINCE_PAGE;
            for row in rows {
                before = row.version;
                let row = EventRow::of(row)?;
                if row.event.thing().as_ref() == Some(&thing) {
                    let is_gone = row.event.takes_away();
                    return Ok(Some(if is_gone { Earlier::Nothing } else { Earlier::Was(row) }));
                }
            }
            if is_last {
                return Ok(Some(if lowest > 1 { Earlier::NotLookedUp } else { Earlier::Nothing }));
            }
        }
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
