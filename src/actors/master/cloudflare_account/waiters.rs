//! Those who wait until tunnels are up to date, or are known not to be.

use std::collections::HashSet;

use tokio::sync::oneshot;

use super::words::Failure;
use crate::domain::id::TunnelId;

/// How the last of the tunnels ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Ended {
    /// Version of its configuration, if known.
    pub version: Option<i64>,
    /// Why it is not up to date.
    pub error: Option<Failure>,
}

/// Those who wait until tunnels are up to date, or are known not to be.
#[derive(Debug, Default)]
pub(super) struct Waiters(Vec<Waiter>);

#[derive(Debug)]
struct Waiter {
    left: HashSet<TunnelId>,
    reply: oneshot::Sender<Ended>,
}

impl Waiters {
    /// Returns what tells the end of all of `tunnels`; at once if there are none.
    pub fn add(&mut self, tunnels: HashSet<TunnelId>) -> oneshot::Receiver<Ended> {
        let (reply, end) = oneshot::channel();
        self.0.retain(|waiter| !waiter.reply.is_closed());
        if tunnels.is_empty() {
            // The receiver is below, so it is there.
            let _ = reply.send(Ended::default());
        } else {
            self.0.push(Waiter { left: tunnels, reply });
        }
        end
    }

    /// A tunnel came to rest, or failed.
    pub fn ended(&mut self, tunnel: &TunnelId, version: Option<i64>, error: Option<Failure>) {
        for waiter in std::mem::take(&mut self.0) {
            let Waiter { mut left, reply } = waiter;
            left.remove(tunnel);
            if left.is_empty() {
                // Who gave up waiting needs no answer.
                let _ = reply.send(Ended { version, error: error.clone() });
            } else {
                self.0.push(Waiter { left, reply });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_tunnel_ends_the_wait() {
        let mut waiters = Waiters::default();
        let (a, b) = (TunnelId::new("a"), TunnelId::new("b"));
        let mut end = waiters.add([a.clone(), b.clone()].into());
        waiters.ended(&a, Some(1), None);
        assert!(end.try_recv().is_err());
        let failure = Failure { words: "no".into(), is_storage_full: false };
        waiters.ended(&b, Some(2), Some(failure.clone()));
        assert_eq!(end.try_recv().unwrap(), Ended { version: Some(2), error: Some(failure) });
        assert_eq!(waiters.add(HashSet::new()).try_recv().unwrap(), Ended::default());
    }
}
