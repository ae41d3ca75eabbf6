//! One round: follow the record, compare what is the case, put messages together, and say what is to be sent.

use std::collections::BTreeSet;

use chrono::{DateTime, Local, TimeDelta, Utc};

use super::look::{TokenSight, look};
use super::waiting::Waiting;
use crate::actors::master::bus::Note;
use crate::actors::master::env::Env;
use crate::actors::master::error::MasterError;
use crate::db::agents::agent_names;
use crate::db::events::{EventFilter, EventRow, last_seq, list_events};
use crate::db::notifications::{
    MessageRow, MessageState, TargetRow, list_conditions, list_old_messages, list_open_messages,
    list_targets, notification_place,
};
use crate::db::{Batch, RowChange};
use crate::domain::event::{Event, NotifyEvent};
use crate::domain::id::{AgentId, TargetId};
use crate::domain::notify::{Changes, Message, Notice, Occurrence, Turn, compare, compose, due, occurrence};

/// Events that are read at a time.
const PAGE: u64 = 500;
/// Messages at their end that are kept to be looked at.
const KEPT: u64 = 500;
/// Messages that are dropped in one round.
const DROPPED: u64 = 500;
/// A test that was begun so long ago was cut off by a restart.
const TEST_LIMIT: TimeDelta = TimeDelta::minutes(2);
/// No target is left alone for longer.
const LONGEST_PAUSE: TimeDelta = TimeDelta::hours(2);

/// What comes after a round.
#[derive(Debug, Default)]
pub(super) struct Next {
    /// Messages to send, one a target.
    pub(super) to_send: Vec<(TargetId, String)>,
    /// When the next round is due at the latest.
    pub(super) at: Option<DateTime<Utc>>,
    /// True if there is anybody to tell.
    pub(super) is_on: bool,
}

/// Does all that is due now; looks at each single route only if `at_routes`.
pub(super) async fn round(env: &Env, token: TokenSight, at_routes: bool) -> Result<Next, MasterError> {
    let targets = list_targets(&env.db).await?;
    let place = notification_place(&env.db).await?;
    if targets.is_empty() {
        if place.is_some() {
            commit(env, env.batch("system").row(RowChange::StopTelling)).await?;
        }
        return Ok(Next::default());
    }
    match place {
        // Nobody was to be told before: what is the case already is no news.
        None => begin(env, token).await?,
        Some(place) => follow(env, token, at_routes, &targets, place).await?,
    }
    gather(env, &targets).await?;
    what_to_send(env, &targets).await
}

async fn commit(env: &Env, batch: Batch) -> Result<(), MasterError> {
    if !batch.rows.is_empty() {
        env.ledger.commit(batch).await?;
    }
    Ok(())
}

async fn begin(env: &Env, token: TokenSight) -> Result<(), MasterError> {
    // The number first: what is added while the rest is read is followed then.
    let seq = last_seq(&env.db).await?;
    let sight = look(env, token, &[], true).await?;
    // Of its end nobody wants to hear who was not told when it began: that was before there was a target.
    let begun = compare(&[], sight.seen, &sight.looked_at, DateTime::UNIX_EPOCH).begun;
    let mut batch = env.batch("system").row(RowChange::PutNotificationPlace { seq });
    batch.rows.extend(begun.into_iter().map(RowChange::PutCondition));
    commit(env, batch).await
}

/// Takes in what happened since the last round. How far that was, what is the case and what waits to be told are written
/// together: after a restart nothing is missing, and nothing there twice.
async fn follow(
    env: &Env,
    token: TokenSight,
    at_routes: bool,
    targets: &[TargetRow],
    place: u64,
) -> Result<(), MasterError> {
    let (mut place, mut waits) = (place, Waiting::read(env).await?);
    let mut batch = env.batch("system");
    loop {
        let filter = EventFilter { after_seq: place, ..EventFilter::default() };
        let events = list_events(&env.db, &filter, PAGE).await?;
        for notice in notices_of(env, &events).await? {
            waits.add(targets, &notice, notice.at);
        }
        batch.rows.extend(events.iter().filter_map(retry));
        let Some(last) = events.last() else { break };
        place = last.seq;
        batch.rows.retain(|row| !matches!(row, RowChange::PutNotificationPlace { .. }));
        batch = batch.row(RowChange::PutNotificationPlace { seq: place });
        if (events.len() as u64) < PAGE {
            break;
        }
    }
    let known = list_conditions(&env.db).await?;
    let sight = look(env, token, &known, at_routes).await?;
    let Changes { begun, ended, notices } = compare(&known, sight.seen, &sight.looked_at, env.now());
    for (notice, since) in &notices {
        waits.add(targets, notice, *since);
    }
    batch.rows.extend(begun.into_iter().map(RowChange::PutCondition));
    batch.rows.extend(
        ended
            .into_iter()
            .map(|known| RowChange::DeleteCondition { topic: known.topic, subject: known.subject }),
    );
    batch.rows.extend(waits.rows());
    commit(env, batch).await
}

/// What events tell by themselves.
async fn notices_of(env: &Env, events: &[EventRow]) -> Result<Vec<Notice>, MasterError> {
    let told: Vec<_> = events.iter().filter_map(|row| Some((row.at, occurrence(&row.event)?))).collect();
    let agents: Vec<AgentId> = told.iter().map(|(_, occurrence)| occurrence.agent.clone()).collect();
    let names = agent_names(&env.db, &agents).await?;
    let notice = |(at, occurrence): (DateTime<Utc>, Occurrence)| Notice {
        topic: occurrence.topic,
        turn: Turn::Began,
        subject: occurrence.subject,
        name: names.get(&occurrence.agent).cloned().unwrap_or_else(|| occurrence.agent.to_string()),
        detail: Some(occurrence.detail),
        at,
    };
    Ok(told.into_iter().map(notice).collect())
}

/// A target that a person set is tried at once, however long it failed as it was before.
fn retry(row: &EventRow) -> Option<RowChange> {
    match &row.event {
        Event::Notify(NotifyEvent::TargetSet { target }) => {
            Some(RowChange::RetryTarget { target_id: target.id.clone() })
        }
        _ => None,
    }
}

/// Puts messages together of what is due, and drops old ones. A target that something waits for already gets nothing more
/// until that arrived: what comes meanwhile goes together then.
async fn gather(env: &Env, targets: &[TargetRow]) -> Result<(), MasterError> {
    let waits = Waiting::read(env).await?;
    let open = list_open_messages(&env.db).await?;
    let stuck: BTreeSet<&TargetId> =
        open.iter().filter(|row| row.attempts > 0 && !is_test(row)).map(|row| &row.target_id).collect();
    let (now, window) = (env.now(), window(env));
    let mut batch = env.batch("system");
    for row in targets.iter().filter(|row| !stuck.contains(&row.target.id)) {
        let id = &row.target.id;
        let mut left_out = waits.state(id).map_or(0, |state| state.left_out);
        for group in due(waits.of(id), window, quiet_until(row, now), now).groups {
            let gone = group.iter().map(|notice| RowChange::DeleteNotice {
                target_id: id.clone(),
                topic: notice.topic,
                subject: notice.subject.clone(),
            });
            batch.rows.extend(gone);
            let message_id = env.chance.sorted_uuid(&env.clock).to_string();
            if let Some(message) = compose(message_id, group, left_out, now) {
                batch.rows.push(RowChange::PutMessage(Box::new(waiting(id.clone(), message, now))));
            }
            if std::mem::take(&mut left_out) > 0 {
                batch.rows.push(RowChange::SetLeftOut { target_id: id.clone(), left_out: 0 });
            }
        }
    }
    batch.rows.extend(cut_off_tests(&open, now));
    let old = list_old_messages(&env.db, KEPT, DROPPED).await?;
    batch.rows.extend(old.into_iter().map(|id| RowChange::DeleteMessage { id }));
    let has_news = !batch.rows.is_empty();
    commit(env, batch).await?;
    if has_news {
        env.notices.announce(Note::Notifications);
    }
    Ok(())
}

fn waiting(target_id: TargetId, message: Message, now: DateTime<Utc>) -> MessageRow {
    MessageRow {
        target_id,
        state: MessageState::Waiting,
        attempts: 0,
        message,
        error: None,
        created_at: now,
        settled_at: None,
    }
}

fn is_test(row: &MessageRow) -> bool {
    row.message.topic.is_none()
}

/// Tests are not tried again: whoever asked for one has long seen that there was no answer.
fn cut_off_tests(open: &[MessageRow], now: DateTime<Utc>) -> Vec<RowChange> {
    let tests = open.iter().filter(|row| is_test(row) && row.created_at + TEST_LIMIT < now);
    let failed = |row: &MessageRow| MessageRow {
        state: MessageState::Failed,
        error: Some("the master stopped before it was known whether it arrived".into()),
        settled_at: Some(now),
        ..row.clone()
    };
    tests.map(|row| RowChange::PutMessage(Box::new(failed(row)))).collect()
}

fn window(env: &Env) -> TimeDelta {
    TimeDelta::from_std(env.settings.notify_window).unwrap_or(TimeDelta::zero())
}

/// When the quiet hours of a target end, by the clock on this master's wall (`TZ`).
fn quiet_until(row: &TargetRow, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    row.target.quiet_hours?.until(now.with_timezone(&Local).fixed_offset())
}

/// Says which message each target gets next, the oldest first, and when to look again.
async fn what_to_send(env: &Env, targets: &[TargetRow]) -> Result<Next, MasterError> {
    let (now, waits) = (env.now(), Waiting::read(env).await?);
    let mut next = Next { is_on: true, ..Next::default() };
    let mut served = BTreeSet::new();
    for row in list_open_messages(&env.db).await? {
        if is_test(&row) || !served.insert(row.target_id.clone()) {
            continue;
        }
        let Some(target) = targets.iter().find(|one| one.target.id == row.target_id) else { continue };
        let again = waits.state(&row.target_id).and_then(|state| state.next_try_at);
        // A clock that was put back would hold it up for as long.
        let again = again.filter(|at| *at > now && *at - now <= LONGEST_PAUSE);
        match again.max(quiet_until(target, now)) {
            Some(at) => next.at = earlier(next.at, Some(at)),
            None => next.to_send.push((row.target_id, row.message.id)),
        }
    }
    for row in targets.iter().filter(|row| !served.contains(&row.target.id)) {
        let due = due(waits.of(&row.target.id), window(env), quiet_until(row, now), now);
        next.at = earlier(next.at, due.next);
    }
    Ok(next)
}

/// The earlier of two times.
fn earlier(one: Option<DateTime<Utc>>, other: Option<DateTime<Utc>>) -> Option<DateTime<Utc>> {
    [one, other].into_iter().flatten().min()
}
