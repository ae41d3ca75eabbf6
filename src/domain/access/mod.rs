//! Protection by Cloudflare Access: what labels and people ask for, what that takes at Cloudflare, and what is due there.
//!
//! From the bottom: `selector` (one condition), `policy` (who comes in), `options` (of an application), `group` (what a
//! person makes of them), `ask` (what the labels of a route ask for), `account` (what Cloudflare knows of people), `need`
//! (what a route takes at Cloudflare), `owner` and `service_token` (two of those that policies are about), `check` (what the
//! connector checks beside that), `compare`, `policy_step` and `application_step` (what is to be done about what was
//! found), `words` (a policy as people read it). What people hand in: `lines` (conditions on lines), `read` (groups and asks
//! in calls and files); `open` (whether a group keeps anybody out), `said` (what protects a route, in words).
//!
//! Everything fails closed: what cannot be read or had is an error with its reason, and never "public".

mod account;
mod application_step;
mod ask;
mod check;
mod compare;
mod duration;
mod group;
mod lines;
mod need;
mod open;
mod options;
mod owner;
mod policy;
mod policy_step;
mod read;
mod said;
mod selector;
mod service_token;
#[cfg(test)]
mod tests;
mod words;

pub use account::{Account, IDENTITY_RIGHT, IdentityProvider, TOKENS_RIGHT};
pub use application_step::{
    ApplicationStep, FoundApplication, OwnApplication, adoption, application_step, is_as_wanted,
    zone_application,
};
pub use ask::AccessAsk;
pub use check::{Team, need_of};
pub use duration::parse_duration;
pub use group::{AUTHENTICATED, Group, PUBLIC_BYPASS, find_group, system_groups};
pub use lines::{read_lines, write_lines};
pub use need::{Need, PolicyKey, WantedApplication, WantedPolicy, is_policy_of, need, policy_mark};
pub use open::asks_somebody;
pub use options::AppOptions;
pub use owner::{MEMBERS_RIGHT, Member, Owner, asks_for_owner};
pub use policy::{Decision, MAX_RULES, PolicySpec, parse_rules};
pub use policy_step::{FoundPolicy, OwnPolicy, PolicyStep, is_policy_as_wanted, policy_step};
pub use read::{MAX_FILE, MAX_GROUPS, is_built_in, read_ask, read_group, read_groups};
pub use said::policy_in_words;
pub use selector::{Selector, check_email};
pub use service_token::{ServiceToken, TOKEN_DURATION, TokenDraft};
