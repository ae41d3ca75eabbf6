//! The append-only record: versions, hash chain, and the check that nobody changed it.

use sea_orm::{ColumnTrait, ConnectionTrait, DbErr, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::batch::{Append, Batch, CommitError, Expected};
use super::entities::{event, stream};
use super::error::DbError;
use super::events::Recorded;
use super::projections::{self, Origin};
use super::times::micros;
use super::unit::Unit;
use super::words::to_json;
use crate::domain::event::{Event, Stream};

/// Largest event, as JSON.
const MAX_EVENT_BYTES: usize = 64 << 10;
/// Events read at a time when the whole record is read.
pub(super) const PAGE: u64 = 2_000;

/// The part of an event's JSON that says what it is.
#[derive(Deserialize)]
struct Tag<'a> {
    #[serde(rename = "type", borrow)]
    kind: &'a str,
}

/// Adds the events of one append and what follows from them; returns the stream's new version.
pub(super) fn append(unit: &mut Unit, batch: &Batch, append: &Append) -> Result<u64, CommitError> {
    let Append { stream, expected, events } = append;
    let head = unit.streams.get(&stream.0);
    let (mut version, mut prev) =
        head.map_or_else(|| (0, vec![0; 32]), |head| (head.version, head.hash.clone()));
    let actual = u64::try_from(version).unwrap_or(0);
    if let Expected::Version(expected) = *expected
        && expected != actual
    {
        return Err(CommitError::VersionConflict { stream: stream.clone(), expected, actual });
    }
    for event in events {
        version += 1;
        let row = next_row(unit.last_seq + 1, stream, version, event, batch, prev)?;
        unit.last_seq = row.seq;
        prev = row.hash.clone();
        let origin = Origin { at: row.at, by: &batch.by, seq: row.seq };
        unit.recorded.push(Recorded {
            seq: u64::try_from(row.seq).unwrap_or(0),
            stream: stream.clone(),
            version: u64::try_from(version).unwrap_or(0),
            event: event.clone(),
        });
        unit.events.push(row);
        projections::project(unit, origin, event)?;
    }
    if !events.is_empty() {
        unit.streams.put(stream::Model { stream: stream.0.clone(), version, hash: prev });
    }
    Ok(u64::try_from(version).unwrap_or(0))
}

fn next_row(
    seq: i64,
    stream: &Stream,
    version: i64,
    event: &Event,
    batch: &Batch,
    prev_hash: Vec<u8>,
) -> Result<event::Model, CommitError> {
    let payload = to_json(event);
    let kind =
        serde_json::from_str::<Tag<'_>>(&payload).expect("every event carries its type").kind.to_owned();
    if payload.len() > MAX_EVENT_BYTES {
        return Err(CommitError::TooLarge { stream: stream.clone(), kind, size_bytes: payload.len() });
    }
    let mut row = event::Model {
        seq,
        stream: stream.0.clone(),
        version,
        kind,
        payload,
        actor: batch.by.clone(),
        at: micros(batch.at),
        prev_hash,
        hash: Vec::new(),
    };
    row.hash = hash(&row);
    Ok(row)
}

/// Hash of all that a row says and of the row before it in its stream. Texts carry their length, so that no two
/// different rows read alike.
fn hash(row: &event::Model) -> Vec<u8> {
    let mut digest = Sha256::new();
    digest.update(&row.prev_hash);
    for number in [row.seq, row.version, row.at] {
        digest.update(number.to_be_bytes());
    }
    for text in [&row.stream, &row.kind, &row.payload, &row.actor] {
        digest.update((text.len() as u64).to_be_bytes());
        digest.update(text.as_bytes());
    }
    digest.finalize().to_vec()
}

/// Reads the next page of the whole record after `after`.
pub(super) async fn page(conn: &impl ConnectionTrait, after: i64) -> Result<Vec<event::Model>, DbErr> {
    event::Entity::find()
        .filter(event::Column::Seq.gt(after))
        .order_by_asc(event::Column::Seq)
        .limit(PAGE)
        .all(conn)
        .await
}

/// What a check of the record found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainReport {
    /// Number of events that were read.
    pub events: u64,
    /// Number of streams.
    pub streams: u64,
    /// What does not fit, at most 100 findings.
    pub problems: Vec<String>,
}

/// Checks every event against the one before it, and every stream's end against its head.
pub(super) async fn verify_chain(conn: &impl ConnectionTrait) -> Result<ChainReport, DbError> {
    let heads = stream::Entity::find().all(conn).await?;
    let mut ends: std::collections::HashMap<String, (i64, Vec<u8>)> = std::collections::HashMap::new();
    let mut report = ChainReport { events: 0, streams: heads.len() as u64, problems: Vec::new() };
    let mut last = 0;
    loop {
        let rows = page(conn, last).await?;
        let Some(newest) = rows.last() else {
            break;
        };
        last = newest.seq;
        for row in rows {
            report.events += 1;
            let (version, prev) = ends.get(&row.stream).cloned().unwrap_or_else(|| (0, vec![0; 32]));
            if row.version != version + 1 || row.prev_hash != prev {
                report
                    .note(format!("event {} does not follow version {version} of `{}`", row.seq, row.stream));
            } else if row.hash != hash(&row) {
                report.note(format!("event {} of `{}` was changed", row.seq, row.stream));
            }
            ends.insert(row.stream, (row.version, row.hash));
        }
    }
    for head in &heads {
        if ends.get(&head.stream) != Some(&(head.version, head.hash.clone())) {
            report.note(format!("stream `{}` does not end at version {}", head.stream, head.version));
        }
    }
    let known: std::collections::HashSet<&str> = heads.iter().map(|head| head.stream.as_str()).collect();
    for stream in ends.keys().filter(|stream| !known.contains(stream.as_str())) {
        report.note(format!("stream `{stream}` has no head"));
    }
    Ok(report)
}

impl ChainReport {
    /// True if nothing was found.
    pub fn is_sound(&self) -> bool {
        self.problems.is_empty()
    }

    fn note(&mut self, problem: String) {
        if self.problems.len() < 100 {
            self.problems.push(problem);
        }
    }
}
