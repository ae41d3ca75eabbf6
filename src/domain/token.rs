//! Registration tokens: a person makes one, and as many hosts as it has seats register themselves with it. Making it was the
//! yes, so nobody is asked again for each host.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::id::{AgentId, TokenId};
use super::text::spell_out;

/// Most hosts that may register with one token.
pub const MOST_SEATS: u32 = 1_000;
/// Longest label, in characters.
pub const MAX_LABEL_CHARS: usize = 100;
/// Longest life of a token: whoever finds one later finds nothing.
pub const LONGEST_LIFE: Duration = Duration::from_secs(168 * 3_600);
/// Most bytes of what a person notes beside a token, as JSON.
const MAX_METADATA: usize = 4 * 1024;

/// Decisions about registration tokens. The stream of each token is its own, so that a seat is given away once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum TokenEvent {
    /// A token was made; `sha256` is the hex digest of its text.
    #[serde(rename = "token_made")]
    Made {
        token_id: TokenId,
        label: String,
        sha256: String,
        max_seats: u32,
        expires_at: DateTime<Utc>,
        /// What a person noted beside it.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        metadata: BTreeMap<String, Value>,
    },
    /// An agent registered with it.
    #[serde(rename = "token_seat_taken")]
    SeatTaken { token_id: TokenId, agent_id: AgentId },
    /// Nobody registers with it any more; who did stays.
    #[serde(rename = "token_revoked")]
    Revoked { token_id: TokenId, reason: Option<String> },
    /// It was dropped from the list.
    #[serde(rename = "token_deleted")]
    Deleted { token_id: TokenId },
}

impl TokenEvent {
    /// Returns the token that it is about.
    pub fn token(&self) -> &TokenId {
        match self {
            Self::Made { token_id, .. }
            | Self::SeatTaken { token_id, .. }
            | Self::Revoked { token_id, .. }
            | Self::Deleted { token_id } => token_id,
        }
    }
}

/// Whether hosts may register with a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenState {
    /// They may.
    Active,
    /// Every seat is taken.
    Used,
    /// Its time is over.
    Expired,
    /// A person took it back.
    Revoked,
}

impl TokenState {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Active, Self::Used, Self::Expired, Self::Revoked];

    /// The word in answers and on pages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Used => "used",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        }
    }

    /// Says where a token stands at `now`.
    pub fn of(
        is_revoked: bool,
        (used, seats): (u32, u32),
        expires_at: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Self {
        if is_revoked {
            Self::Revoked
        } else if used >= seats {
            Self::Used
        } else if now >= expires_at {
            Self::Expired
        } else {
            Self::Active
        }
    }
}

/// What a token is to be.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenWish {
    /// What it is for, in words.
    pub label: String,
    /// How many hosts may register with it.
    pub max_seats: u32,
    /// How long.
    pub life: Duration,
    /// What a person notes beside it.
    pub metadata: BTreeMap<String, Value>,
}

impl TokenWish {
    /// Says what is wrong with a wish, or returns it with its label fit to be shown.
    pub fn checked(mut self) -> Result<Self, String> {
        self.label = spell_out(self.label.trim()).chars().take(MAX_LABEL_CHARS).collect();
        if self.label.is_empty() {
            return Err("`label` is missing; say what the token is for".into());
        }
        if !(1..=MOST_SEATS).contains(&self.max_seats) {
            return Err(format!("`max_seats` is a number from 1 to {MOST_SEATS}"));
        }
        if self.life.is_zero() || self.life > LONGEST_LIFE {
            return Err("`expires_in` is a time such as `24h` or `7d`, at most `168h`".into());
        }
        if serde_json::to_vec(&self.metadata).is_ok_and(|json| json.len() > MAX_METADATA) {
            return Err(format!("`metadata` has more than {MAX_METADATA} bytes"));
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
    }

    #[test]
    fn a_token_is_active_until_its_seats_its_time_or_a_person_end_it() {
        for (is_revoked, seats, expires, expected) in [
            (false, (0, 1), 1, TokenState::Active),
            (false, (1, 2), 1, TokenState::Active),
            (false, (1, 1), 1, TokenState::Used),
            (false, (2, 2), -1, TokenState::Used),
            (false, (0, 1), 0, TokenState::Expired),
            (true, (1, 1), -1, TokenState::Revoked),
        ] {
            assert_eq!(
                TokenState::of(is_revoked, seats, at(expires), at(0)),
                expected,
                "{seats:?} {expires}"
            );
        }
    }

    #[test]
    fn a_wish_that_cannot_be_granted_is_named() {
        let wish = |label: &str, max_seats, hours: u64| TokenWish {
            label: label.into(),
            max_seats,
            life: Duration::from_secs(hours * 3_600),
            metadata: BTreeMap::new(),
        };
        for (wish, word) in [
            (wish(" ", 1, 1), "`label`"),
            (wish("a", 0, 1), "`max_seats`"),
            (wish("a", 1_001, 1), "`max_seats`"),
            (wish("a", 1, 0), "`expires_in`"),
            (wish("a", 1, 169), "`expires_in`"),
        ] {
            assert!(wish.clone().checked().unwrap_err().contains(word), "{wish:?}");
        }
        let odd = wish(" rack\u{202e} 4 ", 1, 168).checked().unwrap();
        assert_eq!(odd.label, "rack\\u{202e} 4");
    }
}
