//! `order_keys.json`: the keys by which orders are known that change this host, and which order was taken last.
//!
//! A file that cannot be read is left where it is: who went on without it would pin whatever key comes next, and take an
//! order a second time.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{StateError, files};
use crate::domain::id::{AgentId, CommandId};
use crate::domain::order::{Fingerprint, KeyOffer, Offered, Order, PinnedKeys};
use crate::io::open_lock_file;

const FILE: &str = "order_keys.json";
const LOCK: &str = ".order_keys.lock";
/// Largest file that is read, in bytes.
const LIMIT: u64 = 1024 * 1024;

/// The keys and numbers of one state directory. Everything here blocks.
#[derive(Debug, Clone)]
pub struct OrderKeys {
    dir: PathBuf,
}

/// What is known of orders.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct KnownOrders {
    /// The keys that are trusted.
    pub keys: PinnedKeys,
    /// For whom orders are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentId>,
    /// The key that was shown last and is not trusted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<RefusedKey>,
    /// The last order that was taken, for each agent that this host was.
    pub taken: BTreeMap<AgentId, TakenOrder>,
}

/// A key that was shown and is not trusted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RefusedKey {
    /// What was shown.
    pub offer: KeyOffer,
    /// To whom.
    pub agent: AgentId,
    /// When.
    pub at: DateTime<Utc>,
}

/// An order that was taken: no other one with its number or a lower one is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TakenOrder {
    /// Its number.
    pub number: u64,
    /// Its id.
    pub order: CommandId,
    /// Why it was refused after it was taken; none if it was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

/// Whether the agent that shows a key says itself for whom orders are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AgentIs {
    /// This process is the agent.
    Own,
    /// Another process says so: the first one that it names is kept as the key is.
    Told,
}

impl KnownOrders {
    /// Returns the number of the last order for an agent that was taken, as it counts for this order: one that was taken
    /// and neither begun nor refused may be taken once more.
    pub fn last_before(&self, order: &Order) -> u64 {
        match self.taken.get(&order.agent) {
            Some(taken) if taken.number == order.number && taken.order == order.id => {
                taken.number.saturating_sub(1)
            }
            Some(taken) => taken.number,
            None => 0,
        }
    }

    /// Returns why this very order was refused before, if it was.
    pub fn refusal_of(&self, order: &Order) -> Option<&str> {
        self.taken.get(&order.agent).filter(|taken| taken.order == order.id)?.refused.as_deref()
    }
}

impl OrderKeys {
    /// Those of a state directory.
    pub fn of(state_dir: &Path) -> Self {
        Self { dir: state_dir.to_owned() }
    }

    /// Reads what is known; nothing before a key was shown.
    pub fn read(&self) -> Result<KnownOrders, StateError> {
        let path = self.dir.join(FILE);
        let mut bytes = Vec::new();
        let read = File::open(&path).and_then(|file| file.take(LIMIT + 1).read_to_end(&mut bytes));
        match read {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(KnownOrders::default()),
            read => read.map_err(|error| StateError::from_io(&path, "read", error))?,
        };
        let parsed = match bytes.len() as u64 > LIMIT {
            true => Err("it is larger than any file of ours".to_owned()),
            false => files::from_json(&bytes),
        };
        parsed.map_err(|reason| StateError::Unreadable { path, reason })
    }

    /// Takes in the key that a master shows to an agent, and says what it is to this host.
    pub fn offer(
        &self,
        offer: &KeyOffer,
        agent: &AgentId,
        is: AgentIs,
        now: DateTime<Utc>,
    ) -> Result<(Offered, KnownOrders), StateError> {
        self.change(|known| {
            let is_other = is == AgentIs::Told && known.agent.as_ref().is_some_and(|own| own != agent);
            let offered = if is_other { Offered::Refused } else { known.keys.offer(offer, now) };
            if offered == Offered::Refused {
                // What led to it is of no use any more, and may be long.
                let offer = KeyOffer { key: offer.key.clone(), endorsed: Vec::new() };
                known.refused = Some(RefusedKey { offer, agent: agent.clone(), at: now });
            } else {
                known.agent = Some(agent.clone());
                known.refused = None;
            }
            offered
        })
    }

    /// Trusts the key that was refused last, and no other one, if it has this fingerprint. False if it has not.
    pub fn trust(&self, fingerprint: &Fingerprint) -> Result<bool, StateError> {
        let trusted = self.change(|known| {
            let is_meant = |refused: &RefusedKey| refused.offer.key.fingerprint() == *fingerprint;
            let Some(refused) = known.refused.take_if(|refused| is_meant(refused)) else { return false };
            known.keys = PinnedKeys::only(refused.offer.key);
            known.agent = Some(refused.agent);
            true
        })?;
        Ok(trusted.0)
    }

    /// Writes down that an order is taken: from then on none with its number is.
    pub fn take(&self, order: &Order) -> Result<(), StateError> {
        self.set_taken(order, None)
    }

    /// Writes down why an order that was taken is not carried out.
    pub fn refuse(&self, order: &Order, reason: &str) -> Result<(), StateError> {
        self.set_taken(order, Some(reason.to_owned()))
    }

    fn set_taken(&self, order: &Order, refused: Option<String>) -> Result<(), StateError> {
        let taken = TakenOrder { number: order.number, order: order.id.clone(), refused };
        self.change(|known| drop(known.taken.insert(order.agent.clone(), taken))).map(drop)
    }

    /// Reads, changes and writes while no other process does.
    fn change<T>(&self, change: impl FnOnce(&mut KnownOrders) -> T) -> Result<(T, KnownOrders), StateError> {
        files::make_dir(&self.dir)?;
        let path = self.dir.join(LOCK);
        let lock = open_lock_file(&path).map_err(|error| StateError::from_io(&path, "opened", error))?;
        lock.lock().map_err(|error| StateError::from_io(&path, "locked", error))?;
        let before = self.read()?;
        let mut known = before.clone();
        let said = change(&mut known);
        if known != before {
            let json = serde_json::to_vec(&known).expect("it holds nothing that JSON cannot");
            let owner = self.owner();
            if let Some((user, group)) = owner {
                let _ = std::os::unix::fs::fchown(&lock, Some(user), Some(group));
            }
            files::replace_for(&self.dir.join(FILE), &json, owner)?;
        }
        Ok((said, known))
    }

    /// Root may write in the directory of an agent that is not root: the files stay the agent's.
    fn owner(&self) -> Option<(u32, u32)> {
        let about = fs::metadata(&self.dir).ok()?;
        let is_other = rustix::process::geteuid().is_root() && about.uid() != 0;
        is_other.then(|| (about.uid(), about.gid()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::order::SigningKey;
    use crate::domain::update::{Changes, PlanAsk, Wanted};

    fn now() -> DateTime<Utc> {
        "2026-01-31T12:00:00Z".parse().unwrap()
    }

    fn offer(seed: u8) -> KeyOffer {
        KeyOffer { key: SigningKey::from_seed(&[seed; 32]).public(), endorsed: Vec::new() }
    }

    fn order(id: &str, number: u64) -> Order {
        Order {
            id: CommandId::new(id),
            agent: AgentId::new("a1"),
            number,
            ask: PlanAsk::install(Wanted::All),
            changes: Changes::new(Vec::new()).unwrap(),
            by: "ann".into(),
            issued_at: now(),
            expires_at: now(),
        }
    }

    fn shown(keys: &OrderKeys, seed: u8, agent: &str, is: AgentIs) -> Offered {
        keys.offer(&offer(seed), &AgentId::new(agent), is, now()).unwrap().0
    }

    #[test]
    fn the_first_key_stays_until_a_person_trusts_the_one_that_was_refused() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let keys = OrderKeys::of(dir.path());
        assert_eq!(shown(&keys, 1, "a1", AgentIs::Own), Offered::First);
        assert_eq!(shown(&keys, 2, "a1", AgentIs::Own), Offered::Refused);
        let mode = fs::metadata(dir.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let known = keys.read().unwrap();
        assert_eq!(known.keys.present(), Some(&offer(1).key));
        assert_eq!(known.refused.as_ref().map(|refused| &refused.offer), Some(&offer(2)));

        assert!(!keys.trust(&offer(3).key.fingerprint()).unwrap(), "nobody showed it");
        assert!(keys.trust(&offer(2).key.fingerprint()).unwrap());
        assert_eq!(keys.read().unwrap().keys, PinnedKeys::only(offer(2).key));
        assert_eq!(shown(&keys, 2, "a1", AgentIs::Own), Offered::Same);
    }

    #[test]
    fn another_process_cannot_become_another_agent() {
        let dir = tempfile::tempdir().unwrap();
        let keys = OrderKeys::of(dir.path());
        assert_eq!(shown(&keys, 1, "a1", AgentIs::Told), Offered::First);
        assert_eq!(shown(&keys, 1, "a2", AgentIs::Told), Offered::Refused);
        assert_eq!(keys.read().unwrap().agent, Some(AgentId::new("a1")));
        assert!(keys.trust(&offer(1).key.fingerprint()).unwrap());
        assert_eq!(keys.read().unwrap().agent, Some(AgentId::new("a2")));
    }

    #[test]
    fn a_number_is_taken_once_and_a_refusal_is_remembered() {
        let dir = tempfile::tempdir().unwrap();
        let keys = OrderKeys::of(dir.path());
        keys.take(&order("c1", 5)).unwrap();
        let known = keys.read().unwrap();
        assert_eq!(known.last_before(&order("c1", 5)), 4, "it was not begun");
        assert_eq!(known.last_before(&order("c2", 5)), 5);
        assert_eq!(known.last_before(&order("c0", 4)), 5);
        assert_eq!(known.refusal_of(&order("c1", 5)), None);
        keys.refuse(&order("c1", 5), "no").unwrap();
        assert_eq!(keys.read().unwrap().refusal_of(&order("c1", 5)), Some("no"));
    }

    #[test]
    fn a_damaged_file_is_never_taken_for_none() {
        let dir = tempfile::tempdir().unwrap();
        let keys = OrderKeys::of(dir.path());
        fs::write(dir.path().join(FILE), "{half").unwrap();
        assert!(matches!(keys.read(), Err(StateError::Unreadable { .. })));
        assert!(keys.offer(&offer(1), &AgentId::new("a1"), AgentIs::Own, now()).is_err());
        assert_eq!(fs::read_to_string(dir.path().join(FILE)).unwrap(), "{half");
    }
}
