//! What can be set about the master's actors. Defaults are the product's.

use std::time::Duration;

use crate::domain::account_limits::AccountLimits;
use crate::domain::command::CommandKind;
use crate::domain::delivery::lifetime;
use crate::domain::presence::DEFAULT_TIMEOUT;
use crate::domain::publish::PublishSettings;

/// How the master keeps time and bounds.
#[derive(Debug, Clone)]
pub struct MasterSettings {
    /// Fleet shards, each with its own live subtrees.
    pub shards: usize,
    /// How long a lost container's route stays.
    pub grace: Duration,
    /// Silence after which an agent counts as offline.
    pub offline_after: Duration,
    /// How often presence is swept.
    pub sweep_every: Duration,
    /// Silence after which a live subtree is stopped.
    pub idle_after: Duration,
    /// How often idle subtrees are looked for.
    pub reap_every: Duration,
    /// Live subtrees in all shards together; the least recently used one gives way.
    pub max_live: usize,
    /// How long an agent's subtree is left alone after it failed too often.
    pub cool_down: Duration,
    /// How long a removed agent's key still fetches `stop_tunnel`: as long as other commands wait, so that a host
    /// that is switched off over a holiday stops its connector when it is back. The key opens nothing else.
    pub removal_limit: Duration,
    /// Prefix of labels besides the two built-in ones.
    pub label_prefix: Option<String>,
    /// What may be published, and when.
    pub publish: PublishSettings,
    /// Address of the Cloudflare account's owner; none if it is to be read.
    pub account_owner_email: Option<String>,
    /// How many of each kind the Cloudflare account may have.
    pub account_limits: AccountLimits,
    /// How often everything is compared with Cloudflare although nothing changed here; zero: after a start only.
    pub compare_every: Duration,
    /// From a push to a registry until hosts are told: whoever pushes one image often pushes more, and a registry may speak
    /// before it moves the tag.
    pub push_settles: Duration,
    /// Shortest time between two rounds of telling them, so that a registry that never rests has no host look all the time.
    pub push_rests: Duration,
    /// True if a host changes only after a second person's yes.
    pub second_approval: bool,
    /// How long after something that is to be told further things of its kind go into the same message.
    pub notify_window: Duration,
    /// Shortest time between two looks at what is to be told.
    pub notify_rests: Duration,
    /// Longest time between them.
    pub notify_look_again: Duration,
    /// How long a target is left alone after it took a message for the first time not.
    pub notify_retry: Duration,
}

impl MasterSettings {
    /// Why one person may not have RedFlag's agent change its host, if that is so: a second yes has no way to it. `instead` is what
    /// is left to do.
    pub fn why_not_by_one(&self, instead: &str) -> Option<String> {
        self.second_approval.then(|| {
            format!(
                "a second person has to agree to changes of hosts (`updates.second_approval`), and RedFlag's agent knows of no \
                 such yes: {instead}"
            )
        })
    }
}

impl Default for MasterSettings {
    fn default() -> Self {
        Self {
            shards: 2,
            grace: Duration::from_secs(600),
            offline_after: DEFAULT_TIMEOUT,
            sweep_every: Duration::from_secs(5),
            idle_after: Duration::from_secs(300),
            reap_every: Duration::from_secs(10),
            max_live: 100,
            cool_down: Duration::from_secs(10),
            removal_limit: lifetime(&CommandKind::StopTunnel),
            label_prefix: None,
            publish: PublishSettings::default(),
            account_owner_email: None,
            account_limits: AccountLimits::default(),
            compare_every: Duration::from_secs(300),
            push_settles: Duration::from_secs(1),
            push_rests: Duration::from_secs(5),
            second_approval: false,
            notify_window: Duration::from_secs(30),
            notify_rests: Duration::from_secs(2),
            notify_look_again: Duration::from_secs(30),
            notify_retry: Duration::from_secs(30),
        }
    }
}
