//! The calls a reporter makes, one at a time, and what comes of them.

use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use serde_json::Value;

use super::key;
use crate::actors::agent::link::Link;
use crate::domain::delivery::Dialect;
use crate::domain::id::AgentId;
use crate::domain::report::Reports;
use crate::protocol::v2::{GivenKey, RegisterRequest, Registered};
use crate::state_dir::{Spooled, SpooledItem, StateDir, StateError};
use crate::updates::{Hands, KeyNews};
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
    Registered(Result<Registered, UplinkError>, Option<KeyNews>),
    /// Nothing waits.
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
    pub(super) async fn make(self, uplink: &dyn Uplink, state: &StateDir, hands: &dyn Hands) -> CallEnd {
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
                let news = match &registered {
                    Ok(Registered { agent_id, orders: Some(offer), .. }) => {
                        key::offer(hands, offer, agent_id).await
                    }
                    _ => None,
                };
                if let Ok(registered) = &registered {
                    let said = registered.label_prefix.as_deref();
                    if let Err(problem) = hands.learn_label_prefix(said).await {
                        tracing::warn!(
                            reason = %problem.reason,
                            "whoever replaces containers here does not know which prefix of labels the master names"
                        );
                    }
                }
                CallEnd::Registered(registered, news)
            }
            Self::Result { link } => send_spooled(link, uplink, state).await,
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

/// Sends what has waited longest, and forgets it when the master has it or will never take it.
async fn send_spooled(link: Arc<Link>, uplink: &dyn Uplink, state: &StateDir) -> CallEnd {
    let Spooled { number, item } = match state.next_spooled().await {
        Ok(Some(spooled)) => spooled,
        Ok(None) => return CallEnd::NoResult,
        Err(error) => return CallEnd::Spool(error),
    };
    let session = link.session.clone().unwrap_or_default();
    let (agent, session) = (&link.agent_id, session.as_str());
    let (what, sent) = match &item {
        SpooledItem::Result { id, outcome } => {
            (format!("the result of {id}"), uplink.send_result(agent, session, id, outcome).await)
        }
        SpooledItem::Plan { plan } => {
            (format!("the plan for {}", plan.command), uplink.send_plan(agent, session, plan).await)
        }
        SpooledItem::Run { run } => {
            (format!("the run {}", run.run.id), uplink.send_run(agent, session, run).await)
        }
    };
    // A master older than plans and runs has no such routes; that does not end the session.
    let has_no_route = |error: &UplinkError| {
        let is_newer = !matches!(item, SpooledItem::Result { .. });
        is_newer && matches!(error, UplinkError::Refused { status: 404 | 405, .. })
    };
    let result = match sent {
        Err(error) if error.verdict(Dialect::Native) == Verdict::Refused || has_no_route(&error) => {
            tracing::warn!(error = %error, "the master does not want {what}; it is dropped");
            Ok(None)
        }
        other => other.map(|()| None),
    };
    if result.is_ok()
        && let Err(error) = state.drop_spooled(number).await
    {
        return CallEnd::Spool(error);
    }
    CallEnd::Sent { link, result }
}
