//! How many of a kind an account at Cloudflare may have: what would be one too many is refused before Cloudflare does.

use serde::Serialize;

use super::doctor::Check;

/// So near to a limit a person should know of it.
const NEAR_PERCENT: usize = 90;

/// A kind of thing that an account may have only so many of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Limited {
    /// Tunnels that are not deleted.
    Tunnels,
    /// Access applications.
    Applications,
    /// Reusable policies of Access.
    Policies,
    /// Service tokens.
    ServiceTokens,
}

impl Limited {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Tunnels, Self::Applications, Self::Policies, Self::ServiceTokens];

    /// Returns several of it, in words.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tunnels => "tunnels",
            Self::Applications => "Access applications",
            Self::Policies => "reusable Access policies",
            Self::ServiceTokens => "service tokens",
        }
    }

    /// Returns the setting that says how many there may be.
    pub const fn setting(self) -> &'static str {
        match self {
            Self::Tunnels => "cloudflare.max_tunnels",
            Self::Applications => "cloudflare.max_access_applications",
            Self::Policies => "cloudflare.max_access_policies",
            Self::ServiceTokens => "cloudflare.max_service_tokens",
        }
    }
}

/// How many of each kind the account may have; zero: nobody counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AccountLimits {
    /// Tunnels.
    pub tunnels: u32,
    /// Access applications.
    pub applications: u32,
    /// Reusable policies.
    pub policies: u32,
    /// Service tokens.
    pub service_tokens: u32,
}

impl Default for AccountLimits {
    /// What Cloudflare documents for accounts without an agreement of their own.
    fn default() -> Self {
        Self { tunnels: 1_000, applications: 500, policies: 500, service_tokens: 50 }
    }
}

impl AccountLimits {
    /// Returns how many there may be of a kind; none if nobody counts.
    pub fn of(&self, kind: Limited) -> Option<usize> {
        let most = match kind {
            Limited::Tunnels => self.tunnels,
            Limited::Applications => self.applications,
            Limited::Policies => self.policies,
            Limited::ServiceTokens => self.service_tokens,
        };
        usize::try_from(most).ok().filter(|most| *most > 0)
    }

    /// Returns why no more of a kind are made, given how many the account has; none if there is room.
    pub fn refusal(&self, kind: Limited, used: usize) -> Option<String> {
        let most = self.of(kind).filter(|most| used >= *most)?;
        Some(format!(
            "the Cloudflare account has {used} {} and may have {most}, so no more are made; remove some that nothing needs, or \
             have Cloudflare raise the limit and set `{}` to it",
            kind.as_str(),
            kind.setting()
        ))
    }
}

/// How many of a kind there are, and how many there may be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LimitUse {
    /// The kind.
    pub kind: Limited,
    /// How many there may be; none if nobody counts.
    pub limit: Option<usize>,
    /// How many there are; none if that could not be found out.
    pub used: Option<usize>,
    /// Why it could not be found out.
    pub reason: Option<String>,
}

impl LimitUse {
    /// Judges it.
    pub fn judge(&self) -> Check {
        let words = self.kind.as_str();
        let name = format!("Limit of {words}");
        let (used, limit) = match (self.used, self.limit) {
            (Some(used), Some(limit)) => (used, limit),
            (Some(used), None) => {
                return Check::fine(name, format!("the account has {used}; no limit is set"));
            }
            (None, _) => {
                let reason = self.reason.clone().unwrap_or_else(|| "nobody counted them".into());
                return Check::not_checked(name, reason, "put right what stands above it, then look again");
            }
        };
        let detail = format!("the account has {used} of {limit}");
        if used * 100 < limit * NEAR_PERCENT {
            return Check::fine(name, detail);
        }
        let way_out = format!(
            "remove {words} that nothing needs, or have Cloudflare raise the limit and set `{}` to it",
            self.kind.setting()
        );
        Check::problem(name, detail, way_out)
    }
}

#[cfg(test)]
mod tests {
    use super::super::doctor::Verdict;
    use super::*;

    #[test]
    fn what_would_be_one_too_many_is_refused_with_the_setting() {
        let limits = AccountLimits { applications: 2, policies: 0, ..AccountLimits::default() };
        for (kind, used, is_refused) in [
            (Limited::Applications, 1, false),
            (Limited::Applications, 2, true),
            (Limited::Applications, 3, true),
            (Limited::Policies, 100_000, false),
            (Limited::Tunnels, 999, false),
            (Limited::Tunnels, 1_000, true),
            (Limited::ServiceTokens, 50, true),
        ] {
            let said = limits.refusal(kind, used);
            assert_eq!(said.is_some(), is_refused, "{kind:?} {used}");
            assert!(
                said.is_none_or(|said| said.contains(kind.setting()) && said.contains(&used.to_string()))
            );
        }
    }

    #[test]
    fn a_limit_that_is_near_is_a_problem_and_what_was_not_counted_is_not_fine() {
        for (limit, used, verdict) in [
            (Some(50), Some(0), Verdict::Fine),
            (Some(50), Some(44), Verdict::Fine),
            (Some(50), Some(45), Verdict::Problem),
            (Some(50), Some(50), Verdict::Problem),
            (Some(50), None, Verdict::NotChecked),
            (None, Some(7), Verdict::Fine),
        ] {
            let one = LimitUse { kind: Limited::ServiceTokens, limit, used, reason: None };
            assert_eq!(one.judge().verdict, verdict, "{one:?}");
        }
    }
}
