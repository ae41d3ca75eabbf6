//! What can be made to go wrong.

use std::time::Duration;

use serde_json::Value;

use super::ops::Op;
use super::server::Call;

/// A way to fail.
#[derive(Debug, Clone)]
pub enum Trouble {
    /// 429, with or without `Retry-After` in seconds.
    RateLimited(Option<u64>),
    /// 500 without a body.
    ServerError,
    /// 502 with an HTML page, as proxies send it.
    BadGatewayPage,
    /// 404 with an HTML page, as a wrong base URL brings it.
    NotFoundPage,
    /// Status 200, but `success` is false.
    RefusedWith200 { code: i64, message: String },
    /// A refusal with this status and code, such as 401 and 10000.
    Refused { status: u16, code: i64, message: String },
    /// The right answer, late.
    Slow(Duration),
    /// No answer at all; the connection stays open.
    NeverAnswers,
    /// The right answer, cut in the middle.
    HalfAnswer,
    /// Success, with this result instead of the right one.
    Result(Value),
    /// The right page with a wrong `total_count`.
    WrongTotal(u64),
}

/// A trouble, for which calls, and how often.
#[derive(Debug, Clone)]
pub struct Fault {
    pub(super) op: Option<Op>,
    pub(super) trouble: Trouble,
    pub(super) left: usize,
    pub(super) after_effect: bool,
    about: Option<String>,
}

impl Fault {
    /// For the next call of this kind.
    pub fn on(op: Op, trouble: Trouble) -> Self {
        Self { op: Some(op), trouble, left: 1, after_effect: false, about: None }
    }

    /// For the next call of any kind.
    pub fn any(trouble: Trouble) -> Self {
        Self { op: None, trouble, left: 1, after_effect: false, about: None }
    }

    /// For the next `count` calls.
    pub fn times(self, count: usize) -> Self {
        Self { left: count, ..self }
    }

    /// Until [`heal`](super::CloudflareStandIn::heal).
    pub fn always(self) -> Self {
        self.times(usize::MAX)
    }

    /// Only for calls whose body or path holds this text.
    pub fn about(self, text: &str) -> Self {
        Self { about: Some(text.to_owned()), ..self }
    }

    /// The call takes effect; only its answer is lost.
    pub fn after_effect(self) -> Self {
        Self { after_effect: true, ..self }
    }

    /// True if the call is carried out in spite of the fault.
    pub(super) fn has_effect(&self) -> bool {
        let spoils_the_answer_only =
            matches!(self.trouble, Trouble::Slow(_) | Trouble::HalfAnswer | Trouble::WrongTotal(_));
        self.after_effect || spoils_the_answer_only
    }
}

/// Takes the first fault that is meant for `call`.
pub(super) fn take(faults: &mut Vec<Fault>, call: &Call) -> Option<Fault> {
    let body = call.body.as_ref().map(Value::to_string).unwrap_or_default();
    let is_meant = |fault: &Fault| {
        (fault.op.is_none() || fault.op == call.op)
            && fault
                .about
                .as_ref()
                .is_none_or(|text| body.contains(text.as_str()) || call.path.contains(text.as_str()))
    };
    let index = faults.iter().position(is_meant)?;
    faults[index].left -= 1;
    let fault = faults[index].clone();
    if fault.left == 0 {
        faults.remove(index);
    }
    Some(fault)
}
