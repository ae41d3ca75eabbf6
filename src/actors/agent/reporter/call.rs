//! The calls a reporter makes, one at a time, and what comes of them.

use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use serde_json::Value;

use crate::actors::agent::link::Link;
use crate::domain::delivery::Dialect;
use crate::domain::id::AgentId;
use crate::domain::report::Reports;
use crate::protocol::v2::{GivenKey, RegisterRequest, Registered};
use crate::state_dir::{StateDir, StateError};
use crate::uplink::{ReportsTaken, Uplink, UplinkError, Verdict};

/// Before a key that could not be written down is written again.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// A call to make.
pub(super) enum Call {
    Register { request: RegisterRequest, known_id: Option<AgentId> },
    Result { link: Arc<Link> },
    Batch { link: Arc<Link>, batch: Reports },
    Event { link: Arc<Link>, event: Value },
}

/// What came of it.
pub(super) enum CallEnd {
    Registered(Result<Registered, UplinkError>),
    /// No result waits.
    NoResult,
    /// The outbox cannot be used.
    Spool(StateError),
    /// With the master's answer, if it was a batch.
    Sent {
        link: Arc<Link>,
        result: Result<Option<ReportsTaken>, UplinkError>,
    },
}

impl Call {
    pub(super) async fn make(self, uplink: &dyn Uplink, state: &StateDir) -> CallEnd {
        match self {
            Self::Register { request, known_id } => {
                let registered = uplink.register(&request).await;
                if let Ok(Registered { key: Some(GivenKey(key)), .. }) = &registered {
                    uplink.use_key(key);
                    keep_key(state, key.clone()).await;
                }
                if let Ok(registered) = &registered
                    && known_id.as_ref() != Some(&registered.agent_id)
                {
                    keep_id(state, &registered.agent_id).await;
                }
                CallEnd::Registered(registered)
            }
            Self::Result { link } => send_result(link, uplink, state).await,
            Self::Batch { link, batch } => {
                let result = uplink.send_reports(&link.agent_id, &batch).await.map(Some);
                CallEnd::Sent { link, result }
            }
            Self::Event { link, event } => {
                let result = uplink.send_event(&link.agent_id, event).await.map(|()| None);
                CallEnd::Sent { link, result }
            }
        }
    }
}

/// The key works at once, and is written down until that succeeds: without it the agent could not come back.
async fn keep_key(state: &StateDir, key: SecretString) {
    let Err(error) = state.put_agent_key(key.clone()).await else { return };
    tracing::error!(
        error = &error as &dyn std::error::Error,
        "the key that the master made cannot be kept; it is tried again until it is"
    );
    let state = state.clone();
    actix_rt::spawn(async move {
        let mut pause = FIRST_PAUSE;
        loop {
            tokio::time::sleep(pause).await;
            if state.put_agent_key(key.clone()).await.is_ok() {
                tracing::info!("the key that the master made is kept now");
                return;
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    });
}

/// An id that cannot be kept is no reason to stop: the master knows it by the key.
async fn keep_id(state: &StateDir, id: &AgentId) {
    if let Err(error) = state.put_agent_id(id).await {
        tracing::error!(
            agent.id = %id,
            error = &error as &dyn std::error::Error,
            "the agent's id cannot be kept; the master is asked for it at the next start"
        );
    }
}

/// Sends the oldest result, and forgets it when the master has it or will never take it.
async fn send_result(link: Arc<Link>, uplink: &dyn Uplink, state: &StateDir) -> CallEnd {
    let spooled = match state.next_result().await {
        Ok(Some(spooled)) => spooled,
        Ok(None) => return CallEnd::NoResult,
        Err(error) => return CallEnd::Spool(error),
    };
    let session = link.session.clone().unwrap_or_default();
    let sent = uplink.send_result(&link.agent_id, &session, &spooled.id, &spooled.outcome).await;
    let result = match sent {
        Err(error) if error.verdict(Dialect::Native) == Verdict::Refused => {
            tracing::warn!(command.id = %spooled.id, error = %error, "the master does not want this result; it is dropped");
            Ok(None)
        }
        other => other.map(|()| None),
    };
    if result.is_ok()
        && let Err(error) = state.drop_result(spooled.number).await
    {
        return CallEnd::Spool(error);
    }
    CallEnd::Sent { link, result }
}
