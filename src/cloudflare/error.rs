//! What can go wrong with a call, in words that can be shown to a person.

use std::time::Duration;

use super::budget::ALLOWANCE;

/// Code of "an unknown error has occurred".
const INTERNAL: i64 = 10013;
/// How Cloudflare names an error of its own that has another code, or none.
const INTERNAL_WORDS: [&str; 2] = ["internal error", "unknown error"];

/// "Authentication error", "invalid request headers", "invalid format for Authorization header", "invalid API token".
const TOKEN_REFUSED: [i64; 4] = [10000, 6003, 6111, 9109];
/// "Authentication error": with status 403 the token is good, and lacks a right or is for another account.
const NOT_ALLOWED: i64 = 10000;
/// "No route", "invalid identifier" and "Access is not enabled": these speak of the whole path, not of one thing.
const NO_SUCH_PLACE: [i64; 3] = [7000, 7003, 9999];

/// A call that did not succeed. No text in it holds the API token.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CfError {
    /// The base URL or the token cannot be used at all.
    #[error("the Cloudflare settings cannot be used: {0}")]
    Settings(String),
    /// No connection, no answer in time, or an answer that broke off.
    #[error("Cloudflare did not answer `{call}`: {reason}")]
    NoAnswer {
        /// What was asked.
        call: &'static str,
        /// Why there is no answer.
        reason: String,
        /// True if the request may have reached Cloudflare, and so may have taken effect.
        sent: bool,
    },
    /// Too many calls; nothing is sent before `retry_after` is over.
    #[error("Cloudflare's rate limit holds `{call}` back for {} s", retry_after.as_secs_f64().ceil())]
    RateLimited {
        /// What was asked.
        call: &'static str,
        /// How long to wait.
        retry_after: Duration,
    },
    /// So many calls were made that this one has to wait; it was not sent, and Cloudflare complained of nothing.
    #[error("`{call}` waits for its turn: {ALLOWANCE}")]
    NotYet {
        /// What is to be asked.
        call: &'static str,
        /// How long to wait.
        retry_after: Duration,
    },
    /// It was to be sent by a certain time, and its turn came later; it was not sent.
    #[error("`{call}` had to wait too long for its turn, and was not sent")]
    TooLate {
        /// What was to be asked.
        call: &'static str,
    },
    /// Cloudflare answered no; `message` has its own words.
    #[error("Cloudflare refused `{call}`: {message}{}{}", in_brackets(*status, codes), lacks(*missing_right))]
    Refused {
        /// What was asked.
        call: &'static str,
        /// HTTP status.
        status: u16,
        /// Cloudflare's error codes, as they came.
        codes: Vec<i64>,
        /// Its words, cut to a readable length.
        message: String,
        /// The right that the token lacks, as Cloudflare names it, if that is the reason and known.
        missing_right: Option<&'static str>,
    },
    /// It asks for more than Cloudflare takes at once; it was not sent.
    #[error("`{call}` was not sent: {reason}")]
    TooLarge {
        /// What was to be asked.
        call: &'static str,
        /// What is too large, and how large it may be.
        reason: String,
    },
    /// A success that does not hold what the call needs.
    #[error("Cloudflare's answer to `{call}` cannot be read: {reason}")]
    Malformed {
        /// What was asked.
        call: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

impl CfError {
    /// True if the same call may succeed later with nothing changed.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::NoAnswer { .. } | Self::Malformed { .. } => true,
            Self::RateLimited { .. } | Self::NotYet { .. } | Self::TooLate { .. } => true,
            Self::Refused { .. } => self.is_trouble_of_theirs(),
            Self::Settings(_) | Self::TooLarge { .. } => false,
        }
    }

    /// True if a write may have taken effect all the same: look before writing again.
    pub fn is_uncertain(&self) -> bool {
        match self {
            Self::NoAnswer { sent, .. } => *sent,
            Self::Malformed { .. } => true,
            Self::Refused { .. } => self.is_trouble_of_theirs(),
            Self::RateLimited { .. } | Self::NotYet { .. } | Self::TooLate { .. } => false,
            Self::Settings(_) | Self::TooLarge { .. } => false,
        }
    }

    /// True if it was not sent, because its turn did not come: nothing else that is asked has its turn either.
    pub fn is_out_of_turn(&self) -> bool {
        matches!(self, Self::RateLimited { .. } | Self::NotYet { .. } | Self::TooLate { .. })
    }

    /// True if it says nothing about the call: an error inside Cloudflare, also one that comes with status 200, or
    /// a page of somebody in between.
    fn is_trouble_of_theirs(&self) -> bool {
        let Self::Refused { status, codes, message, .. } = self else { return false };
        let words = message.to_ascii_lowercase();
        let says_so = INTERNAL_WORDS.iter().any(|wanted| words.contains(wanted));
        let is_no_answer_of_theirs = *status == 404 && codes.is_empty();
        *status >= 500
            || *status == 408
            || is_no_answer_of_theirs
            || codes.contains(&INTERNAL)
            || (*status < 300 && says_so)
    }

    /// True if Cloudflare does not take the token, whatever is asked with it.
    pub fn is_about_the_token(&self) -> bool {
        let Self::Refused { status, codes, missing_right, .. } = self else { return false };
        let is_refused = *status == 401 || codes.iter().any(|code| TOKEN_REFUSED.contains(code));
        is_refused && missing_right.is_none()
    }

    /// Returns the right that the token lacks, as Cloudflare names it, if that is the reason and known.
    pub fn missing_right(&self) -> Option<&'static str> {
        let Self::Refused { missing_right, .. } = self else { return None };
        *missing_right
    }

    /// The same, with the right that the call takes, if what was refused may lie there.
    pub(super) fn with_right(self, right: Option<&'static str>) -> Self {
        match self {
            Self::Refused { call, status: 403, codes, message, .. } if codes.contains(&NOT_ALLOWED) => {
                Self::Refused { call, status: 403, codes, message, missing_right: right }
            }
            other => other,
        }
    }

    /// True if Cloudflare says that nothing is there. That may be because of what was asked, such as a wrong account.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { status: 404, codes, .. } if !codes.is_empty())
    }

    /// True if there is no such tunnel in the account.
    pub fn is_tunnel_gone(&self) -> bool {
        // With another status the code says that the request is bad.
        self.is_not_found() && self.has_code(&[1003])
    }

    /// True if there is no such record in the zone.
    pub fn is_record_gone(&self) -> bool {
        self.has_code(&[81044])
    }

    /// True if there is no such application, policy or other thing of Access. Each of them has a code of its own.
    pub fn is_access_object_gone(&self) -> bool {
        self.is_not_found() && !self.has_code(&NO_SUCH_PLACE)
    }

    /// True if another thing of Access is in the way: an application that has the domain, or one that links the policy.
    pub fn is_access_conflict(&self) -> bool {
        self.has_code(&[11010, 12132])
    }

    /// True if a record of that name is there already.
    pub fn is_dns_conflict(&self) -> bool {
        self.has_code(&[81053, 81054, 81055, 81056, 81057, 81058])
    }

    /// True if the name lies below NS records, in a part of the zone that others answer for.
    pub fn is_below_delegation(&self) -> bool {
        self.has_code(&[89018])
    }

    /// True if an undeleted tunnel has the name already.
    pub fn is_tunnel_name_taken(&self) -> bool {
        self.has_code(&[1013])
    }

    /// True if what was sent is refused for what it says, so that another content may be taken.
    pub fn is_about_content(&self) -> bool {
        let is_bad_request = matches!(self, Self::Refused { status, .. }
            if *status < 300 || matches!(status, 400 | 409 | 413 | 422));
        is_bad_request && !self.is_transient() && !self.is_denied() && !self.is_tunnel_gone()
    }

    /// True if the token is wrong, expired, or lacks a right.
    pub fn is_denied(&self) -> bool {
        matches!(self, Self::Refused { status: 401 | 403, .. }) || self.has_code(&[10000, 9109, 6003, 6111])
    }

    /// How long to wait before the next call, if that is known.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_after, .. } | Self::NotYet { retry_after, .. } => Some(*retry_after),
            _ => None,
        }
    }

    fn has_code(&self, wanted: &[i64]) -> bool {
        matches!(self, Self::Refused { codes, .. } if codes.iter().any(|code| wanted.contains(code)))
    }
}

fn in_brackets(status: u16, codes: &[i64]) -> String {
    if codes.is_empty() {
        return format!(" (status {status})");
    }
    let list: Vec<String> = codes.iter().map(i64::to_string).collect();
    format!(" (status {status}, code {})", list.join(", "))
}

fn lacks(right: Option<&str>) -> String {
    let words = |right| format!("; the API token lacks the right `{right}`, or is for another account");
    right.map(words).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16, codes: &[i64]) -> CfError {
        let (codes, message) = (codes.to_vec(), "no".into());
        CfError::Refused { call: "list zones", status, codes, message, missing_right: None }
    }

    fn said(status: u16, message: &str) -> CfError {
        let message = message.into();
        CfError::Refused { call: "list zones", status, codes: vec![], message, missing_right: None }
    }

    #[test]
    fn only_what_time_can_heal_is_transient() {
        let no_answer = CfError::NoAnswer { call: "list zones", reason: "time-out".into(), sent: true };
        for (error, transient, uncertain) in [
            (refused(400, &[1003]), false, false),
            (refused(403, &[10000]), false, false),
            (refused(502, &[]), true, true),
            (refused(404, &[]), true, true),
            (refused(404, &[7003]), false, false),
            (refused(200, &[10000]), false, false),
            (refused(200, &[10013]), true, true),
            (refused(400, &[10013]), true, true),
            (said(200, "Internal error, please retry"), true, true),
            (said(400, "unknown error"), false, false),
            (CfError::RateLimited { call: "x", retry_after: Duration::from_secs(1) }, true, false),
            (CfError::NotYet { call: "x", retry_after: Duration::from_secs(1) }, true, false),
            (CfError::TooLate { call: "x" }, true, false),
            (CfError::TooLarge { call: "x", reason: "201 changes".into() }, false, false),
            (no_answer, true, true),
            (CfError::NoAnswer { call: "x", reason: "refused".into(), sent: false }, true, false),
            (CfError::Malformed { call: "x", reason: "empty".into() }, true, true),
        ] {
            assert_eq!((error.is_transient(), error.is_uncertain()), (transient, uncertain), "{error}");
        }
    }

    #[test]
    fn only_cloudflares_own_word_says_that_a_thing_is_gone() {
        for (error, not_found, tunnel, record) in [
            (refused(404, &[1003]), true, true, false),
            (refused(400, &[1003]), false, false, false),
            (refused(404, &[81044]), true, false, true),
            (refused(404, &[7003]), true, false, false),
            (refused(404, &[]), false, false, false),
        ] {
            let says = (error.is_not_found(), error.is_tunnel_gone(), error.is_record_gone());
            assert_eq!(says, (not_found, tunnel, record), "{error}");
        }
    }

    #[test]
    fn a_refusal_of_the_content_is_told_from_one_of_the_caller() {
        for (error, is) in [
            (refused(400, &[1056]), true),
            (refused(400, &[1003]), true),
            (refused(422, &[]), true),
            (refused(200, &[10001]), true),
            (refused(200, &[10013]), false),
            (refused(400, &[6003]), false),
            (refused(403, &[10000]), false),
            (refused(404, &[1003]), false),
            (refused(500, &[]), false),
            (CfError::TooLate { call: "x" }, false),
        ] {
            assert_eq!(error.is_about_content(), is, "{error}");
        }
    }

    #[test]
    fn a_missing_right_is_named_and_does_not_make_the_token_a_bad_one() {
        let right = Some("Access: Apps and Policies Write");
        for (status, code, named) in
            [(403, 10000, true), (403, 9109, false), (401, 10000, false), (404, 12135, false)]
        {
            let error = refused(status, &[code]).with_right(right);
            assert_eq!(error.missing_right(), right.filter(|_| named), "{error}");
            assert_eq!(error.to_string().contains("lacks the right `Access"), named, "{error}");
        }
        assert!(!refused(403, &[10000]).with_right(right).is_about_the_token());
        assert!(refused(403, &[10000]).with_right(right).is_denied());
        assert!(refused(403, &[10000]).with_right(None).is_about_the_token());
    }

    #[test]
    fn a_thing_of_access_is_gone_only_if_the_path_to_it_is_right() {
        for (error, gone) in [
            (refused(404, &[11021]), true),
            (refused(404, &[12135]), true),
            (refused(404, &[7003]), false),
            (refused(404, &[9999]), false),
            (refused(404, &[]), false),
            (refused(400, &[12130]), false),
            (refused(403, &[10000]), false),
        ] {
            assert_eq!(error.is_access_object_gone(), gone, "{error}");
        }
    }

    #[test]
    fn a_refusal_names_status_and_codes() {
        assert_eq!(
            refused(400, &[81053, 7]).to_string(),
            "Cloudflare refused `list zones`: no (status 400, code 81053, 7)"
        );
        assert!(refused(400, &[81053]).is_dns_conflict());
        assert!(refused(200, &[10000]).is_denied());
    }
}
