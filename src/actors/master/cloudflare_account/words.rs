//! The words for people: what is said of a route, and why a pass did not come to its end. For what is decided by it there
//! is a state, an ending or a cause beside the sentence.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::schedule::Ending;
use super::shared::StoreFailed;
use crate::actors::master::error::MasterError;
use crate::cloudflare::{ALLOWANCE, CfError};
use crate::db::DbError;
use crate::domain::id::AccountId;
use crate::domain::ingress::{Foreign, IngressRule, MergeError, RuleConflict, RuleId};
use crate::domain::publish::{Cause, PublicState};
use crate::domain::review::NOT_REVIEWED;

const NOT_PROTECTED: &str =
    "Cloudflare did not take what protects it, so it is closed; it is tried again by itself";
const PROTECTED_AS_BEFORE: &str = "Cloudflare did not take a change of what protects it, and it is protected as before; it is tried again by itself";
const TRIED_AGAIN: &str = "Cloudflare did not take it; it is tried again by itself";
const RULE_REFUSED: &str =
    "Cloudflare does not take its rule, so change its labels; other routes are not concerned";
const NAME_REFUSED: &str =
    "Cloudflare does not take a DNS record of this name; put right what it says, or choose another hostname";
const BELOW_DELEGATION: &str = "the name lies in a part of the zone that is delegated to other name servers; remove the \
                                NS records of that part at Cloudflare, or choose another hostname";
const CHANGE_REFUSED: &str = "Cloudflare does not take its new rule, and it serves as before; change its labels, other routes are not concerned";
pub(super) const LEADS_HERE_ALREADY: &str =
    "a DNS record that was there already leads here; it is used and never changed";

/// What is to be said about one route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Said {
    pub state: PublicState,
    pub reason: Option<String>,
    pub cause: Option<Cause>,
    pub answer: Option<String>,
}

impl Said {
    pub fn plain(state: PublicState) -> Self {
        Self { state, reason: None, cause: None, answer: None }
    }

    pub fn because(state: PublicState, reason: impl Into<String>) -> Self {
        Self { reason: Some(reason.into()), ..Self::plain(state) }
    }

    /// Others changed something of it, and it waits for a person.
    pub fn drifted(reason: &str) -> Self {
        Self { cause: Some(Cause::Drift), ..Self::because(PublicState::Blocked, reason) }
    }

    /// Nobody said yes to it yet.
    pub fn in_review() -> Self {
        Self { cause: Some(Cause::InReview), ..Self::because(PublicState::Waiting, NOT_REVIEWED) }
    }

    /// It is on its way.
    pub fn on_its_way() -> Self {
        Self::plain(PublicState::Publishing)
    }

    /// Its calls wait for their turn.
    pub fn in_line() -> Self {
        Self::because(PublicState::Publishing, format!("it waits for its turn: {ALLOWANCE}"))
    }

    /// A rule that is not ours serves it.
    pub fn in_conflict(conflict: &RuleConflict) -> Self {
        let service = &conflict.service;
        let reason = match conflict.is_equal {
            true => format!(
                "a rule that is not ours serves it already, from `{service}` too; `lightship apply --yes` makes it ours"
            ),
            false => format!(
                "a rule that is not ours sends it to `{service}`; it stays, so remove it at Cloudflare or choose another name"
            ),
        };
        let cause = conflict.is_equal.then_some(Cause::EqualRule);
        Self { cause, ..Self::because(PublicState::Blocked, reason) }
    }

    /// Its protection is missing, and a rule that is not ours answers for it meanwhile.
    pub fn closed_beside(reason: &str, conflict: &RuleConflict) -> Self {
        let service = &conflict.service;
        let reason = format!("{reason}; until then a rule that is not ours sends it to `{service}`");
        Self::because(PublicState::Blocked, reason)
    }

    /// Cloudflare does not take its rule, with these words; `serves` as before if one of ours is there.
    pub fn rule_refused(words: &str, serves: bool) -> Self {
        let reason = if serves { CHANGE_REFUSED } else { RULE_REFUSED };
        Self { answer: Some(words.to_owned()), ..Self::because(PublicState::Failed, reason) }
    }

    /// Its protection is missing, and its rule could not be taken away.
    pub fn still_open(reason: &str, stop: &Stop) -> Self {
        let reason = format!(
            "{reason}; its rule is still in the tunnel, and is taken away as soon as that can be done"
        );
        Self { answer: stop.answer(), ..Self::because(PublicState::Failed, reason) }
    }

    /// Cloudflare does not take its name.
    pub fn name_failed(failure: &NameFailure) -> Self {
        Self { answer: Some(failure.answer.clone()), ..Self::because(PublicState::Failed, failure.reason) }
    }

    /// It serves, and what protects it is as it was before.
    pub fn protected_as_before(failure: &NameFailure) -> Self {
        let said = Self::because(PublicState::Published, PROTECTED_AS_BEFORE);
        Self { answer: Some(failure.answer.clone()), ..said }
    }

    /// The pass over its tunnel did not come to its end.
    pub fn failing(stop: &Stop) -> Self {
        if stop.is_put_off() {
            return Self::in_line();
        }
        let reason = match stop {
            Stop::Cloudflare(_) | Stop::Name(_) => TRIED_AGAIN.to_owned(),
            _ => stop.to_string(),
        };
        let failed = Self::because(PublicState::Failed, reason);
        Self { cause: stop.cause(), answer: stop.answer(), ..failed }
    }
}

/// Why nothing is written to a tunnel that holds `foreign` content, until a person agrees.
pub(super) fn why_it_waits(tunnel_name: &str, foreign: &[Foreign]) -> String {
    let is_equal = |foreign: &&Foreign| matches!(foreign, Foreign::Rule { equal_to: Some(_), .. });
    let fate = match foreign.iter().filter(is_equal).count() {
        0 => "they stay as they are".to_owned(),
        equal if equal == foreign.len() => "they become ours, as labels ask for just them".to_owned(),
        equal => format!("{equal} of them become ours, as labels ask for just them, and the rest stays"),
    };
    format!(
        "tunnel `{tunnel_name}` holds {} rules or settings that are not ours; nothing is written to it until you confirm \
         with `lightship apply --yes` or on the page, and then {fate}",
        foreign.len()
    )
}

/// What others wrote into a tunnel and what becomes of it, one text each; who wants each, in words, by its rule.
pub(super) fn foreign_words(foreign: &[Foreign], wanted_by: &BTreeMap<RuleId, String>) -> Vec<String> {
    let words = |foreign: &Foreign| match foreign {
        Foreign::Rule { id, service, equal_to } => {
            let fate = match equal_to.as_ref().and_then(|equal| wanted_by.get(equal)) {
                Some(for_whom) => format!("becomes ours, for {for_whom}"),
                None => "stays".to_owned(),
            };
            format!("rule `{}{}` to `{service}` {fate}", id.hostname, id.path)
        }
        Foreign::Key(name) => format!("setting `{name}` stays"),
    };
    foreign.iter().map(words).collect()
}

/// Why a pass did not come to its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum Stop {
    #[error(transparent)]
    Cloudflare(#[from] CfError),
    /// The tunnel itself is not there any more.
    #[error(
        "the tunnel was deleted at Cloudflare; enrol its agent again, with the same tunnel name or another: it gets a new tunnel, and its names \
         go along"
    )]
    Gone(CfError),
    #[error(transparent)]
    Store(#[from] StoreFailed),
    #[error("the database could not be read")]
    Db(#[from] DbError),
    #[error(transparent)]
    Merge(#[from] MergeError),
    /// The setting names another account than the one that the tunnel was made in.
    #[error(
        "the tunnel belongs to Cloudflare account `{theirs}`, and the master works for account `{ours}`; correct \
         `CF_ACCOUNT_ID`, or enrol the tunnel's agent again with another tunnel name"
    )]
    OtherAccount { theirs: AccountId, ours: AccountId },
    /// What is written at Cloudflare takes no effect.
    #[error(
        "the tunnel is configured locally on its host, so what is written at Cloudflare takes no effect; make it remotely managed in the dashboard of \
         Cloudflare, or enrol its agent again with another tunnel name"
    )]
    Local,
    /// Cloudflare answered with an older version than one that it had already.
    #[error(
        "Cloudflare answered with version {answered} of the tunnel's configuration, but version {known} is known; \
         nothing is written after such an old answer, and it is read again later"
    )]
    Stale { answered: i64, known: i64 },
    #[error("somebody else keeps writing to this tunnel; it is tried again later")]
    Outwritten,
    #[error("{}", .0.answer)]
    Name(NameFailure),
    #[error("nothing could be planned for `{0}`")]
    Unplanned(String),
    /// Names are left, and so long the first of them has to wait.
    #[error("it waits for its turn: {ALLOWANCE}")]
    PutOff(Duration),
    /// A fault of ours ended the pass.
    #[error("internal error; it is tried again by itself, and the log of the master says more")]
    Internal,
    #[error("nothing changed since Cloudflare refused it")]
    StillRefused,
    #[error("a change came first")]
    Interrupted,
}

/// Why a name does not lead to the tunnel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NameFailure {
    /// In our words, with the way out.
    pub reason: &'static str,
    /// Cloudflare's words.
    pub answer: String,
    pub ending: Ending,
    /// When the name itself was refused: until an interval is over nobody asks again.
    pub refused_at: Option<Instant>,
}

/// Names of which Cloudflare takes no record.
pub(super) type RefusedNames = BTreeMap<String, NameFailure>;

/// Rules that Cloudflare does not take.
pub(super) type RefusedRules = BTreeMap<RuleId, RefusedRule>;

/// A rule that Cloudflare does not take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RefusedRule {
    /// As labels ask for it: another one is tried at once.
    pub rule: IngressRule,
    /// Cloudflare's words.
    pub words: String,
    pub at: Instant,
}

impl NameFailure {
    pub fn new(error: &CfError) -> Self {
        let is_refused = error.is_about_content();
        let reason = match is_refused {
            true if error.is_below_delegation() => BELOW_DELEGATION,
            true => NAME_REFUSED,
            false => TRIED_AGAIN,
        };
        let refused_at = is_refused.then(Instant::now);
        Self { reason, answer: error.to_string(), ending: ending_of(error), refused_at }
    }

    /// What protects a route could not be put in place.
    pub fn of_protection(error: &CfError) -> Self {
        let ending = ending_of(error);
        let refused_at = (ending == Ending::Refused).then(Instant::now);
        Self { reason: NOT_PROTECTED, answer: error.to_string(), ending, refused_at }
    }

    /// A rule was refused.
    pub fn of_rule(words: &str) -> Self {
        let answer = words.to_owned();
        Self { reason: RULE_REFUSED, answer, ending: Ending::Refused, refused_at: None }
    }
}

/// What a refusal or a silence of Cloudflare means for the next pass.
fn ending_of(error: &CfError) -> Ending {
    match error {
        CfError::NotYet { retry_after, .. } => Ending::PutOff(*retry_after),
        error if error.is_transient() => Ending::Failed(error.retry_after()),
        _ => Ending::Refused,
    }
}

impl Stop {
    /// Cloudflare's last words, if it was Cloudflare.
    pub fn answer(&self) -> Option<String> {
        if self.is_put_off() {
            return None;
        }
        match self {
            Self::Gone(error) => Some(error.to_string()),
            Self::Cloudflare(_) | Self::Name(_) => Some(self.to_string()),
            _ => None,
        }
    }

    /// What those learn of it who wait.
    pub fn failure(&self) -> Failure {
        let is_storage_full = matches!(
            self,
            Self::Store(StoreFailed(MasterError::StorageFull)) | Self::Db(DbError::Full { .. })
        );
        Failure { words: self.to_string(), is_storage_full }
    }

    /// The cause, if anything is decided by it.
    pub fn cause(&self) -> Option<Cause> {
        match self {
            Self::Gone(_) => Some(Cause::TunnelGone),
            Self::Local => Some(Cause::TunnelLocal),
            _ => None,
        }
    }

    /// True if calls are held back for now, by Cloudflare or by our own budget.
    pub fn is_held_back(&self) -> bool {
        self.is_put_off() || matches!(self, Self::Cloudflare(CfError::RateLimited { .. }))
    }

    /// True if nobody refused anything: calls wait for their turn.
    pub fn is_put_off(&self) -> bool {
        matches!(self.ending(), Ending::PutOff(_))
    }

    /// What it means for the next pass.
    pub fn ending(&self) -> Ending {
        match self {
            Self::Interrupted => Ending::Interrupted,
            Self::Cloudflare(error) | Self::Gone(error) => ending_of(error),
            Self::Name(failure) => failure.ending,
            Self::PutOff(wait) => Ending::PutOff(*wait),
            Self::Merge(_) | Self::StillRefused => Ending::Refused,
            Self::OtherAccount { .. } | Self::Local => Ending::Refused,
            Self::Store(_) | Self::Db(_) | Self::Unplanned(_) => Ending::Failed(None),
            Self::Outwritten | Self::Stale { .. } | Self::Internal => Ending::Failed(None),
        }
    }
}

/// Cloudflare did not do what somebody asked for, who waits for it.
pub(super) fn refused(error: CfError) -> MasterError {
    MasterError::Cloudflare(error.to_string())
}

/// Why a pass did not come to its end, for those who wait for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    /// In words.
    pub words: String,
    /// True if the disk of the database is full: a person can heal that, and it is not Cloudflare's.
    pub is_storage_full: bool,
}

impl From<Failure> for MasterError {
    fn from(failure: Failure) -> Self {
        match failure.is_storage_full {
            true => Self::StorageFull,
            false => Self::Cloudflare(failure.words),
        }
    }
}
