//! RedFlag's limits: how many requests of one kind a caller may make in a while. Counted in memory over a sliding window;
//! what is set is kept.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

/// Where the settings are kept.
pub const SETTING: &str = "redflag.rate_limits";
/// Most callers that are remembered; the quietest are forgotten first.
const MOST: usize = 20_000;
/// Longest window that may be set.
const LONGEST: Duration = Duration::from_secs(86_400);

/// What is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Limit {
    /// Registrations, by address.
    AgentRegistration,
    /// Check-ins, by agent.
    AgentCheckin,
    /// Reports, by agent.
    AgentReports,
    /// Making registration tokens, by address.
    AdminTokenGeneration,
    /// Everything else below `/admin`, by address.
    AdminOperations,
    /// Signing in and renewing, by address.
    PublicAccess,
}

/// One limit as it is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rate {
    /// How many requests.
    pub requests: u32,
    /// In how many nanoseconds, as Go writes times.
    pub window: u64,
    /// False if it is not looked at.
    pub enabled: bool,
}

impl Rate {
    const fn a_minute(requests: u32) -> Self {
        Self { requests, window: 60_000_000_000, enabled: true }
    }

    /// The window.
    pub fn window(self) -> Duration {
        Duration::from_nanos(self.window)
    }
}

/// All limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rates {
    pub agent_registration: Rate,
    pub agent_checkin: Rate,
    pub agent_reports: Rate,
    pub admin_token_generation: Rate,
    pub admin_operations: Rate,
    pub public_access: Rate,
}

impl Default for Rates {
    fn default() -> Self {
        Self {
            agent_registration: Rate::a_minute(5),
            agent_checkin: Rate::a_minute(60),
            agent_reports: Rate::a_minute(30),
            admin_token_generation: Rate::a_minute(10),
            admin_operations: Rate::a_minute(100),
            public_access: Rate::a_minute(20),
        }
    }
}

impl Rates {
    /// The limits with their names.
    pub fn named(&self) -> [(&'static str, Rate); 6] {
        [
            ("agent_registration", self.agent_registration),
            ("agent_checkin", self.agent_checkin),
            ("agent_reports", self.agent_reports),
            ("admin_token_generation", self.admin_token_generation),
            ("admin_operations", self.admin_operations),
            ("public_access", self.public_access),
        ]
    }

    fn of(&self, limit: Limit) -> Rate {
        match limit {
            Limit::AgentRegistration => self.agent_registration,
            Limit::AgentCheckin => self.agent_checkin,
            Limit::AgentReports => self.agent_reports,
            Limit::AdminTokenGeneration => self.admin_token_generation,
            Limit::AdminOperations => self.admin_operations,
            Limit::PublicAccess => self.public_access,
        }
    }

    /// Says what is wrong with them. What anybody may call stays limited.
    pub fn complaint(&self) -> Option<String> {
        for (name, rate) in self.named() {
            let most = match name {
                "agent_registration" => 10,
                "public_access" => 50,
                _ => 1_000,
            };
            if !(1..=most).contains(&rate.requests) {
                return Some(format!("`{name}.requests` is a number from 1 to {most}"));
            }
            if rate.window == 0 || rate.window() > LONGEST {
                return Some(format!("`{name}.window` is a time in nanoseconds, at most a day"));
            }
        }
        None
    }
}

/// What a caller has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Left {
    /// How many requests the window allows.
    pub limit: u32,
    /// The window.
    pub window: Duration,
    /// How many are left.
    pub remaining: u32,
    /// When the oldest one leaves the window.
    pub resets_in: Duration,
    /// False if this one is too many.
    pub is_let: bool,
}

/// Counts requests.
#[derive(Default)]
pub struct RateLimits {
    set: RwLock<Rates>,
    seen: Mutex<HashMap<(Limit, String), VecDeque<Instant>>>,
}

impl RateLimits {
    /// Returns what is set.
    pub fn rates(&self) -> Rates {
        *self.set.read()
    }

    /// Sets other limits; what was counted stays counted.
    pub fn set(&self, rates: Rates) {
        *self.set.write() = rates;
    }

    /// Counts a request of `who`; none if the limit is not looked at.
    pub fn count(&self, limit: Limit, who: &str) -> Option<Left> {
        let rate = self.set.read().of(limit);
        if !rate.enabled {
            return None;
        }
        let (now, window, most) = (Instant::now(), rate.window(), rate.requests as usize);
        let mut seen = self.seen.lock();
        if seen.len() >= MOST {
            forget(&mut seen, now);
        }
        let times = seen.entry((limit, who.to_owned())).or_default();
        while times.front().is_some_and(|at| now.duration_since(*at) >= window) {
            times.pop_front();
        }
        let is_let = times.len() < most;
        if is_let {
            times.push_back(now);
        }
        let oldest = times.front().copied().unwrap_or(now);
        Some(Left {
            limit: rate.requests,
            window,
            remaining: u32::try_from(most.saturating_sub(times.len())).unwrap_or(0),
            resets_in: window.saturating_sub(now.duration_since(oldest)),
            is_let,
        })
    }

    /// Forgets who is quiet; returns how many are left.
    pub fn tidy(&self) -> usize {
        let mut seen = self.seen.lock();
        let now = Instant::now();
        let rates = self.rates();
        seen.retain(|(limit, _), times| {
            times.back().is_some_and(|at| now.duration_since(*at) < rates.of(*limit).window())
        });
        seen.len()
    }
}

/// Makes room: who was heard longest ago is forgotten.
fn forget(seen: &mut HashMap<(Limit, String), VecDeque<Instant>>, now: Instant) {
    let mut by_age: Vec<_> =
        seen.iter().map(|(key, times)| (times.back().copied().unwrap_or(now), key.clone())).collect();
    by_age.sort_by_key(|(last, _)| *last);
    for (_, key) in by_age.into_iter().take(MOST / 10) {
        seen.remove(&key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix_web::test]
    async fn a_window_slides_and_one_caller_takes_nothing_from_another() {
        tokio::time::pause();
        let limits = RateLimits::default();
        let is_let = |who: &str| limits.count(Limit::AgentRegistration, who).unwrap();
        for left in (0..5).rev() {
            assert_eq!((is_let("a").is_let, is_let("b").limit), (true, 5), "{left}");
            tokio::time::advance(Duration::from_secs(10)).await;
        }
        let refused = is_let("a");
        assert_eq!((refused.is_let, refused.remaining, refused.resets_in.as_secs()), (false, 0, 10));
        assert!(is_let("c").is_let);
        tokio::time::advance(Duration::from_secs(10)).await;
        assert!(is_let("a").is_let, "the oldest one is out of the window");
        assert!(!is_let("a").is_let);
    }

    #[actix_web::test]
    async fn limits_can_be_set_and_switched_off_but_not_away() {
        let limits = RateLimits::default();
        let mut rates = limits.rates();
        rates.public_access.enabled = false;
        limits.set(rates);
        assert_eq!(limits.count(Limit::PublicAccess, "a"), None);
        for (change, word) in [
            (Rates { agent_registration: Rate::a_minute(11), ..rates }, "`agent_registration.requests`"),
            (Rates { public_access: Rate::a_minute(0), ..rates }, "`public_access.requests`"),
            (
                Rates { agent_reports: Rate { window: 0, ..Rate::a_minute(1) }, ..rates },
                "`agent_reports.window`",
            ),
            (
                Rates { agent_reports: Rate { window: u64::MAX, ..Rate::a_minute(1) }, ..rates },
                "`agent_reports.window`",
            ),
        ] {
            assert!(change.complaint().unwrap().contains(word), "{word}");
        }
        assert_eq!(Rates::default().complaint(), None);
    }

    #[actix_web::test]
    async fn memory_is_bounded() {
        tokio::time::pause();
        let limits = RateLimits::default();
        for n in 0..MOST + 5_000 {
            limits.count(Limit::PublicAccess, &n.to_string());
        }
        assert!(limits.seen.lock().len() <= MOST);
        tokio::time::advance(Duration::from_secs(61)).await;
        assert_eq!(limits.tidy(), 0);
    }
}
