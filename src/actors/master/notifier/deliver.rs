//! Sends one message. That it is on its way is written before, and what became of it after: who is cut off in between does
//! not know, and sends it again.

use std::time::Duration;

use secrecy::ExposeSecret;

use crate::actors::master::bus::Note;
use crate::actors::master::env::Env;
use crate::actors::master::error::MasterError;
use crate::db::notifications::{
    MessageRow, MessageState, TargetStateRow, find_message, find_target, find_target_state, target_secret,
};
use crate::db::secrets::find_secret;
use crate::db::{Batch, RowChange};
use crate::domain::id::TargetId;
use crate::domain::notify::{Secrets, Target, pause, test_message};
use crate::notify::{Messenger, NotSent};

/// How often the outcome is tried to be written, a second apart, before the message is left as one that may be sent again.
const TRIES: u32 = 60;
/// How often a message is tried that its target answers and does not want. Others wait behind it.
const REFUSALS: u32 = 5;

/// Sends a message and notes how that went; does nothing if it is at its end already. False if that could not be written
/// down.
pub(super) async fn deliver(env: &Env, messenger: &dyn Messenger, target: &TargetId, id: &str) -> bool {
    let delivered = try_deliver(env, messenger, target, id).await;
    if let Err(error) = &delivered {
        tracing::warn!(%error, target.id = %target, "a message could not be sent; it is tried again");
    }
    delivered.is_ok()
}

async fn try_deliver(
    env: &Env,
    messenger: &dyn Messenger,
    target: &TargetId,
    id: &str,
) -> Result<(), MasterError> {
    let Some(row) = find_message(&env.db, id).await?.filter(|row| row.state.is_open()) else { return Ok(()) };
    let Some(found) = find_target(&env.db, target).await? else { return Ok(()) };
    let begun = MessageRow { state: MessageState::Sending, attempts: row.attempts.saturating_add(1), ..row };
    env.ledger.commit(env.batch("system").row(RowChange::PutMessage(Box::new(begun.clone())))).await?;
    let sent = send(env, messenger, &found.target, &begun).await;
    settle(env, begun, sent, true).await
}

/// Sends a test and says how that went. It is tried once.
pub(super) async fn test(
    env: &Env,
    messenger: &dyn Messenger,
    target: &TargetId,
    by: &str,
) -> Result<(), MasterError> {
    let found = find_target(&env.db, target).await?.ok_or(MasterError::TargetNotFound)?;
    let now = env.now();
    let message = test_message(env.chance.sorted_uuid(&env.clock).to_string(), &found.target, by, now);
    let row = MessageRow {
        target_id: target.clone(),
        state: MessageState::Sending,
        attempts: 1,
        message,
        error: None,
        created_at: now,
        settled_at: None,
    };
    env.ledger.commit(env.batch("system").row(RowChange::PutMessage(Box::new(row.clone())))).await?;
    let sent = send(env, messenger, &found.target, &row).await;
    let answer = sent.clone().map_err(|failed| MasterError::TargetFailed {
        name: found.target.name.clone(),
        reason: failed.reason,
    });
    settle(env, row, sent, false).await?;
    answer
}

async fn send(
    env: &Env,
    messenger: &dyn Messenger,
    target: &Target,
    row: &MessageRow,
) -> Result<(), NotSent> {
    let not_sent = |reason: String| NotSent { reason, wait: None, is_refused: false };
    let sealed = find_secret(&env.db, &target_secret(&target.id)).await;
    let secrets = match sealed {
        Ok(Some(sealed)) => serde_json::from_str(sealed.expose_secret())
            .map_err(|_| not_sent("what opens it cannot be read; set the target again".into()))?,
        Ok(None) => Secrets::default(),
        Err(error) => return Err(not_sent(format!("what opens it could not be read: {error}"))),
    };
    messenger.send(target, &secrets, &row.message).await
}

/// Writes down what became of it, and how the target is.
async fn settle(
    env: &Env,
    row: MessageRow,
    sent: Result<(), NotSent>,
    is_tried_again: bool,
) -> Result<(), MasterError> {
    for _ in 0..TRIES {
        let state = find_target_state(&env.db, &row.target_id).await;
        let state = state.map(|state| state.unwrap_or_else(|| TargetStateRow::new(row.target_id.clone())));
        let settled = match state {
            Ok(state) => {
                env.ledger.commit(outcome(env, &row, state, &sent, is_tried_again)).await.map_err(Into::into)
            }
            Err(error) => Err(MasterError::from(error)),
        };
        match settled {
            Ok(_) => {
                env.notices.announce(Note::Notifications);
                return Ok(());
            }
            Err(error) => {
                tracing::warn!(%error, "what became of a message could not be written; it is tried again");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
    Err(MasterError::Busy)
}

fn outcome(
    env: &Env,
    row: &MessageRow,
    state: TargetStateRow,
    sent: &Result<(), NotSent>,
    is_tried_again: bool,
) -> Batch {
    let now = env.now();
    let (message, state) = match sent {
        Ok(()) => (
            MessageRow { state: MessageState::Sent, error: None, settled_at: Some(now), ..row.clone() },
            TargetStateRow { last_sent_at: Some(now), ..TargetStateRow::new(row.target_id.clone()) },
        ),
        Err(failed) => {
            let failures = state.failures.saturating_add(1);
            let pause = env.chance.jitter(pause(env.settings.notify_retry, failures, failed.wait), 0.1);
            let state = TargetStateRow {
                failing_since: state.failing_since.or(Some(now)),
                failures,
                error: Some(failed.reason.clone()),
                next_try_at: Some(now + pause),
                ..state
            };
            let is_tried_again = is_tried_again && !(failed.is_refused && row.attempts >= REFUSALS);
            let settled_at = (!is_tried_again).then_some(now);
            let after = if is_tried_again { MessageState::Waiting } else { MessageState::Failed };
            (
                MessageRow { state: after, error: Some(failed.reason.clone()), settled_at, ..row.clone() },
                state,
            )
        }
    };
    env.batch("system").row(RowChange::PutMessage(Box::new(message))).row(RowChange::PutTargetState(state))
}
