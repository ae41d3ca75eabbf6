//! Refresh tokens: what renews an agent's access, kept as digests.
//!
//! A client that can take another one is given one with each renewal. Old and new both work until the new one was used:
//! the answer with it may have been lost. From then on the old one is *spent*, and who comes with a spent one has a copy of
//! what somebody else uses: the whole family is revoked. RedFlag's own agent keeps one token for good; its life slides.

use chrono::{DateTime, TimeDelta, Utc};

use super::id::{AgentId, KeyId};

/// How long a token lives from its last use.
pub const LIFE: TimeDelta = TimeDelta::days(90);
/// Successors of one token that may wait for their first use: as many answers may be lost in a row.
const MOST_SUCCESSORS: usize = 8;

/// Where a token stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It renews.
    Live,
    /// Its successor was used.
    Spent,
    /// It was taken back.
    Revoked,
}

/// A token, without its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefreshToken {
    /// Its id.
    pub id: String,
    /// Whose it is.
    pub agent_id: AgentId,
    /// The key that its renewals speak for; the text of that key is nobody's.
    pub key_id: KeyId,
    /// Hex SHA-256 of its text.
    pub sha256: String,
    /// The tokens that came from one registration.
    pub family: String,
    /// How many came before it in its family.
    pub generation: u32,
    /// Where it stands.
    pub standing: Standing,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it last renewed.
    pub last_used_at: Option<DateTime<Utc>>,
    /// When it ends, if it is not used before.
    pub expires_at: DateTime<Utc>,
}

/// What renews an agent's access now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InForce<'a> {
    /// The token that was used last, or made last.
    pub token: &'a RefreshToken,
    /// True if its client takes another one with each renewal. RedFlag's own agent cannot: its one token stays, and belongs
    /// to its machine.
    pub is_rotated: bool,
}

/// Returns what renews access, of all tokens of an agent; none if nothing does.
pub fn in_force(known: &[RefreshToken], now: DateTime<Utc>) -> Option<InForce<'_>> {
    let live = known.iter().filter(|token| token.standing == Standing::Live && token.expires_at > now);
    let token = live.max_by_key(|token| (token.last_used_at, token.created_at))?;
    let is_rotated = known.iter().any(|other| other.family == token.family && other.generation > 0);
    Some(InForce { token, is_rotated })
}

/// What becomes of a renewal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Renewal {
    /// No such token, or it is over.
    Unknown,
    /// A spent one: somebody has a copy. These are revoked now.
    Reused(Vec<RefreshToken>),
    /// Access is renewed.
    Granted {
        /// The key that access is for.
        key_id: KeyId,
        /// Tokens that stand elsewhere now.
        changed: Vec<RefreshToken>,
        /// Ids of tokens that are forgotten.
        forgotten: Vec<String>,
        /// The successor, for a client that asked for one.
        successor: Option<Box<RefreshToken>>,
    },
}

/// Decides about a renewal with the token of digest `sha256`. `known` are all of the agent; `successor` has the id and the
/// digest of the next one, if the client can take one.
pub fn renew(
    known: &[RefreshToken],
    sha256: &str,
    successor: Option<(String, String)>,
    now: DateTime<Utc>,
) -> Renewal {
    let Some(used) = known.iter().find(|token| token.sha256 == sha256) else { return Renewal::Unknown };
    let family = || known.iter().filter(|token| token.family == used.family);
    match used.standing {
        Standing::Revoked => return Renewal::Unknown,
        Standing::Spent => {
            let open = family().filter(|token| token.standing != Standing::Revoked);
            return Renewal::Reused(
                open.map(|token| RefreshToken { standing: Standing::Revoked, ..token.clone() }).collect(),
            );
        }
        Standing::Live if now >= used.expires_at => return Renewal::Unknown,
        Standing::Live => {}
    }
    let renewed = RefreshToken { last_used_at: Some(now), expires_at: now + LIFE, ..used.clone() };
    // Its predecessor, and what else was handed out in its place.
    let spent = family().filter(|token| {
        token.id != used.id && token.generation <= used.generation && token.standing == Standing::Live
    });
    let spent = spent.map(|token| RefreshToken { standing: Standing::Spent, ..token.clone() });
    let changed: Vec<_> = std::iter::once(renewed).chain(spent).collect();
    let mut waiting: Vec<_> = family().filter(|token| token.generation > used.generation).collect();
    waiting.sort_by_key(|token| std::cmp::Reverse(token.created_at));
    let too_many = waiting.into_iter().skip(MOST_SUCCESSORS - 1).filter(|_| successor.is_some());
    let over = known.iter().filter(|token| token.id != used.id && token.expires_at <= now);
    let mut forgotten: Vec<String> = over.chain(too_many).map(|token| token.id.clone()).collect();
    forgotten.sort();
    forgotten.dedup();
    let next = successor.map(|(id, sha256)| RefreshToken {
        id,
        sha256,
        generation: used.generation.saturating_add(1),
        created_at: now,
        last_used_at: None,
        expires_at: now + LIFE,
        ..used.clone()
    });
    let changed = changed.into_iter().filter(|token| !forgotten.contains(&token.id)).collect();
    Renewal::Granted { key_id: used.key_id.clone(), changed, forgotten, successor: next.map(Box::new) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hours: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000, 0).unwrap() + TimeDelta::hours(hours)
    }

    fn first() -> RefreshToken {
        RefreshToken {
            id: "0".into(),
            agent_id: AgentId::new("a"),
            key_id: KeyId::new("k"),
            sha256: "0".into(),
            family: "f".into(),
            generation: 0,
            standing: Standing::Live,
            created_at: at(0),
            last_used_at: None,
            expires_at: at(0) + LIFE,
        }
    }

    /// Carries a renewal out on what is kept.
    struct Kept(Vec<RefreshToken>);

    impl Kept {
        fn renew(&mut self, with: &str, next: Option<&str>, hour: i64) -> Renewal {
            let renewal = renew(&self.0, with, next.map(|next| (next.to_owned(), next.to_owned())), at(hour));
            let (changed, forgotten) = match renewal.clone() {
                Renewal::Unknown => return renewal,
                Renewal::Reused(revoked) => (revoked, Vec::new()),
                Renewal::Granted { mut changed, forgotten, successor, .. } => {
                    changed.extend(successor.map(|next| *next));
                    (changed, forgotten)
                }
            };
            self.0.retain(|token| {
                !forgotten.contains(&token.id) && !changed.iter().any(|other| other.id == token.id)
            });
            self.0.extend(changed);
            renewal
        }

        fn grants(&mut self, with: &str, next: Option<&str>, hour: i64) -> bool {
            matches!(self.renew(with, next, hour), Renewal::Granted { .. })
        }
    }

    #[test]
    fn one_that_is_never_replaced_renews_as_long_as_it_is_used() {
        let mut kept = Kept(vec![first()]);
        for day in [0, 80, 160, 240] {
            assert!(kept.grants("0", None, day * 24), "day {day}");
        }
        assert_eq!(kept.0.len(), 1);
        assert!(!kept.grants("0", None, (240 + 90) * 24), "not used for ninety days");
        assert!(!kept.grants("other", None, 0));
    }

    #[test]
    fn old_and_new_both_work_until_the_new_one_was_used() {
        let mut kept = Kept(vec![first()]);
        assert!(kept.grants("0", Some("1"), 1), "the answer with it is lost");
        assert!(kept.grants("0", Some("2"), 2));
        assert!(kept.grants("2", Some("3"), 3), "both old ones are spent by this");
        assert!(kept.grants("3", Some("4"), 4));
    }

    #[test]
    fn a_spent_one_revokes_its_family_and_nothing_else() {
        let other = RefreshToken { id: "x".into(), sha256: "x".into(), family: "g".into(), ..first() };
        for spent in ["0", "1"] {
            // given: the answer with 1 was lost, 2 arrived and was used
            let mut kept = Kept(vec![first(), other.clone()]);
            assert!(kept.grants("0", Some("1"), 1) && kept.grants("0", Some("2"), 2));
            assert!(kept.grants("2", Some("3"), 3));
            // when, then
            assert!(matches!(kept.renew(spent, Some("4"), 4), Renewal::Reused(_)), "{spent}");
            for over in ["0", "1", "2", "3"] {
                assert_eq!(kept.renew(over, None, 5), Renewal::Unknown, "{over} after {spent}");
            }
            assert!(kept.grants("x", None, 5));
        }
    }

    #[test]
    fn answers_that_are_lost_for_ever_do_not_pile_up() {
        let mut kept = Kept(vec![first()]);
        for n in 1..100 {
            assert!(kept.grants("0", Some(&n.to_string()), n));
        }
        assert_eq!(kept.0.len(), 1 + MOST_SUCCESSORS);
        assert!(kept.grants("99", None, 100), "the newest one works");
        // A year of daily renewals leaves what is younger than a token lives.
        let mut kept = Kept(vec![first()]);
        for day in 0..365 {
            assert!(kept.grants(&day.to_string(), Some(&(day + 1).to_string()), day * 24), "{day}");
        }
        assert!(kept.0.len() <= 93, "{}", kept.0.len());
    }
}
