//! Who is who, as requests need it: which keys open, whose they are, and where each agent stands. A fold over events:
//! who follows every event in the order of the record holds what a fresh start would read from the database.

use std::collections::{BTreeSet, HashMap};

use super::agent::AgentStatus;
use super::event::{AgentEvent, Event, KeyEvent};
use super::id::{AgentId, KeyId, TunnelId};

/// A key that opens something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenKey {
    /// Whom it was made for, in a person's words.
    pub owner: String,
    /// Hex SHA-256 of the key.
    pub sha256: String,
    /// The agent that registered with it or was given it.
    pub agent: Option<AgentId>,
    /// How many agents may be enrolled with it.
    pub seats: u32,
}

/// An agent that was heard, and that a key still opens or a person did not take off the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Where it stands.
    pub status: AgentStatus,
    /// The key it uses; none after removal.
    pub key: Option<KeyId>,
    /// The key of another agent that it shares, or shared until it used its own.
    pub shared_key: Option<KeyId>,
    /// Name for people.
    pub display_name: String,
    /// True if a person gave the name.
    pub custom_name: bool,
    /// Version it runs, as it says.
    pub version: Option<String>,
    /// Its tunnel.
    pub tunnel: Option<TunnelId>,
    /// The tunnel that its names are still in.
    pub moving_from: Option<TunnelId>,
    /// True once it was noted as offline.
    pub is_offline: bool,
}

/// Keys and agents.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Roster {
    keys: HashMap<KeyId, OpenKey>,
    members: HashMap<AgentId, Member>,
    keys_of: HashMap<AgentId, BTreeSet<KeyId>>,
    /// Agents that share a key of another one.
    guests: HashMap<KeyId, BTreeSet<AgentId>>,
}

/// What an event changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Touched {
    /// The key that was made or opens nothing any more.
    pub key: Option<KeyId>,
    /// Agents that stand elsewhere, or whose keys are others.
    pub agents: Vec<AgentId>,
    /// Tunnels that an agent joined or left.
    pub tunnels: Vec<TunnelId>,
}

impl Touched {
    fn agent(id: &AgentId) -> Self {
        Self { agents: vec![id.clone()], ..Self::default() }
    }
}

impl Roster {
    /// Puts a key that opens something in its place.
    pub fn put_key(&mut self, id: KeyId, key: OpenKey) {
        self.drop_key(&id);
        if let Some(agent) = &key.agent {
            self.keys_of.entry(agent.clone()).or_default().insert(id.clone());
        }
        self.keys.insert(id, key);
    }

    /// Puts an agent in its place; a removed one that no key opens has none.
    pub fn put_member(&mut self, id: AgentId, member: Member) {
        self.share(&id, member.shared_key.as_ref());
        self.members.insert(id.clone(), member);
        self.drop_if_gone(&id);
    }

    /// Returns a key that opens something.
    pub fn key(&self, id: &KeyId) -> Option<&OpenKey> {
        self.keys.get(id)
    }

    /// Returns every key that opens something, in no order.
    pub fn keys(&self) -> impl Iterator<Item = (&KeyId, &OpenKey)> {
        self.keys.iter()
    }

    /// Returns an agent.
    pub fn member(&self, id: &AgentId) -> Option<&Member> {
        self.members.get(id)
    }

    /// Returns every agent, in no order.
    pub fn members(&self) -> impl Iterator<Item = (&AgentId, &Member)> {
        self.members.iter()
    }

    /// Returns the keys of an agent that open something, but for one that it shares.
    pub fn own_keys(&self, agent: &AgentId) -> Vec<KeyId> {
        self.keys_of.get(agent).into_iter().flatten().cloned().collect()
    }

    /// Returns the agents that share a key of another one.
    pub fn guests(&self, key: &KeyId) -> impl Iterator<Item = &AgentId> {
        self.guests.get(key).into_iter().flatten()
    }

    /// Returns every agent that uses a key.
    pub fn users(&self, key: &KeyId) -> Vec<AgentId> {
        let own = self.keys.get(key).and_then(|key| key.agent.as_ref());
        let uses =
            |id: &&AgentId| self.members.get(*id).is_some_and(|member| member.key.as_ref() == Some(key));
        own.into_iter().chain(self.guests(key)).filter(uses).cloned().collect()
    }

    /// True if as many agents are enrolled with a key, or may be, as it has seats: the one whose it is, and those that
    /// share it.
    pub fn has_no_seat(&self, key: &KeyId, agent: &AgentId) -> bool {
        let is_seated = |id: &&AgentId| {
            *id != agent
                && self.members.get(*id).is_some_and(|member| {
                    member.status == AgentStatus::Enrolled && member.key.as_ref() == Some(key)
                })
        };
        let seated = 1 + self.guests(key).filter(is_seated).count();
        self.keys.get(key).is_some_and(|open| seated >= open.seats as usize)
    }

    /// Returns the key in force of an agent and the one that it replaces. A removed agent has none in force: any of its
    /// own will do. A shared one opens until the agent is revoked.
    pub fn keys_in_force(&self, agent: &AgentId) -> (Option<KeyId>, Option<KeyId>) {
        let member = self.members.get(agent);
        let shared = member.filter(|member| member.status != AgentStatus::Revoked);
        let shared =
            shared.and_then(|member| member.shared_key.as_ref()).filter(|id| self.keys.contains_key(*id));
        let keys: Vec<&KeyId> = self.keys_of.get(agent).into_iter().flatten().chain(shared).collect();
        let current = member.and_then(|member| member.key.as_ref());
        let current = current.filter(|id| keys.contains(id)).or_else(|| keys.first().copied());
        let previous = keys.iter().copied().find(|id| Some(*id) != current);
        (current.cloned(), previous.cloned())
    }

    /// Follows an event; those that are about neither keys nor agents change nothing.
    pub fn follow(&mut self, event: &Event) -> Touched {
        match event {
            Event::Key(event) => self.follow_key(event),
            Event::Agent(event) => self.follow_agent(event),
            _ => Touched::default(),
        }
    }

    fn follow_key(&mut self, event: &KeyEvent) -> Touched {
        let touched = Touched { key: Some(event.key().clone()), ..Touched::default() };
        match event {
            KeyEvent::Generated { key_id, owner, sha256, .. } => {
                let key = OpenKey { owner: owner.clone(), sha256: sha256.clone(), agent: None, seats: 1 };
                self.put_key(key_id.clone(), key);
                touched
            }
            KeyEvent::Limited { .. } => touched,
            KeyEvent::Seated { key_id, seats } => {
                if let Some(key) = self.keys.get_mut(key_id) {
                    key.seats = *seats;
                }
                touched
            }
            KeyEvent::Revoked { key_id } | KeyEvent::Deleted { key_id } => {
                let guests: Vec<AgentId> = self.guests(key_id).cloned().collect();
                let agents: Vec<AgentId> = self.drop_key(key_id).into_iter().chain(guests).collect();
                agents.iter().for_each(|agent| self.drop_if_gone(agent));
                Touched { agents, ..touched }
            }
        }
    }

    fn follow_agent(&mut self, event: &AgentEvent) -> Touched {
        match event {
            AgentEvent::Registered { .. } => self.register(event),
            AgentEvent::LeftKey { agent_id, key_id } => self.leave_key(agent_id, key_id),
            AgentEvent::Enrolled { agent_id, .. }
            | AgentEvent::Moving { agent_id, .. }
            | AgentEvent::Moved { agent_id, .. }
            | AgentEvent::Removed { agent_id } => self.change_tunnel(agent_id, event),
            _ => {
                self.touch_up(event.agent(), event);
                Touched::agent(event.agent())
            }
        }
    }

    fn register(&mut self, event: &AgentEvent) -> Touched {
        let AgentEvent::Registered { agent_id: id, key_id: key, display_name, version, shares_key, .. } =
            event
        else {
            return Touched::default();
        };
        if !shares_key {
            self.bind(id, key);
        }
        let shared = shares_key.then_some(key);
        self.share(id, shared);
        let before = self.members.remove(id).filter(|member| member.status != AgentStatus::Removed);
        let member = Member {
            status: AgentStatus::Pending,
            key: Some(key.clone()),
            shared_key: shared.cloned(),
            display_name: display_name.clone(),
            custom_name: before.as_ref().is_some_and(|before| before.custom_name),
            version: version.clone(),
            tunnel: before.as_ref().and_then(|before| before.tunnel.clone()),
            moving_from: before.and_then(|before| before.moving_from),
            is_offline: false,
        };
        self.members.insert(id.clone(), member);
        Touched::agent(id)
    }

    fn change_tunnel(&mut self, id: &AgentId, event: &AgentEvent) -> Touched {
        let Some(member) = self.members.get_mut(id) else { return Touched::agent(id) };
        let left = [member.moving_from.clone(), member.tunnel.clone()].into_iter().flatten();
        let mut tunnels: Vec<TunnelId> = Vec::new();
        match event {
            AgentEvent::Enrolled { tunnel_id, .. } => {
                tunnels.extend(left.filter(|left| left != tunnel_id));
                tunnels.push(tunnel_id.clone());
                member.status = AgentStatus::Enrolled;
                member.tunnel = Some(tunnel_id.clone());
                member.moving_from = None;
            }
            AgentEvent::Moving { from, .. } => member.moving_from = Some(from.clone()),
            AgentEvent::Moved { from, to, .. } => {
                tunnels.extend([from.clone(), to.clone()]);
                member.moving_from = None;
            }
            AgentEvent::Removed { .. } => {
                tunnels.extend(left);
                member.status = AgentStatus::Removed;
                member.key = None;
                member.moving_from = None;
                member.is_offline = false;
                self.drop_if_gone(id);
            }
            _ => {}
        }
        Touched { tunnels, ..Touched::agent(id) }
    }

    /// Changes that concern nothing but what is kept of the agent itself.
    fn touch_up(&mut self, id: &AgentId, event: &AgentEvent) {
        if let AgentEvent::KeyRolled { key_id, .. } = event {
            self.bind(id, key_id);
        }
        let Some(member) = self.members.get_mut(id) else { return };
        match event {
            AgentEvent::Updated { display_name, version, .. } => {
                member.version.clone_from(version);
                if !member.custom_name {
                    member.display_name.clone_from(display_name);
                }
            }
            AgentEvent::Renamed { display_name, .. } => {
                member.display_name.clone_from(display_name);
                member.custom_name = true;
            }
            AgentEvent::Approved { .. } => member.status = AgentStatus::Enrolled,
            AgentEvent::MachineChanged { .. } if member.status == AgentStatus::Enrolled => {
                member.status = AgentStatus::Pending;
            }
            AgentEvent::Revoked { .. } => member.status = AgentStatus::Revoked,
            AgentEvent::KeyRolled { key_id, .. } => {
                member.key = Some(key_id.clone());
                if member.status == AgentStatus::Revoked {
                    member.status = status_with(member.tunnel.as_ref());
                }
            }
            AgentEvent::Offline { .. } => member.is_offline = true,
            AgentEvent::Back { .. } => member.is_offline = false,
            _ => {}
        }
    }

    fn bind(&mut self, agent: &AgentId, key: &KeyId) {
        let Some(open) = self.keys.get_mut(key) else { return };
        if let Some(before) = open.agent.replace(agent.clone()) {
            self.unbind(&before, key);
        }
        self.keys_of.entry(agent.clone()).or_default().insert(key.clone());
    }

    fn unbind(&mut self, agent: &AgentId, key: &KeyId) {
        if let Some(keys) = self.keys_of.get_mut(agent) {
            keys.remove(key);
            if keys.is_empty() {
                self.keys_of.remove(agent);
            }
        }
    }

    /// An agent shares this key from now on, and no other one.
    fn share(&mut self, agent: &AgentId, key: Option<&KeyId>) {
        let before = self.members.get(agent).and_then(|member| member.shared_key.clone());
        if let Some(before) = before
            && let Some(guests) = self.guests.get_mut(&before)
        {
            guests.remove(agent);
            if guests.is_empty() {
                self.guests.remove(&before);
            }
        }
        if let Some(member) = self.members.get_mut(agent) {
            member.shared_key = key.cloned();
        }
        if let Some(key) = key {
            self.guests.entry(key.clone()).or_default().insert(agent.clone());
        }
    }

    /// A key that others use goes on with them: the first of them has it now, if it was this agent's.
    fn leave_key(&mut self, agent: &AgentId, key: &KeyId) -> Touched {
        self.share(agent, None);
        let mut agents = vec![agent.clone()];
        if self.keys.get(key).is_some_and(|open| open.agent.as_ref() == Some(agent)) {
            let heir = self.guests(key).min().cloned();
            self.unbind(agent, key);
            if let Some(heir) = &heir {
                self.share(heir, None);
                self.keys_of.entry(heir.clone()).or_default().insert(key.clone());
                agents.push(heir.clone());
            }
            if let Some(open) = self.keys.get_mut(key) {
                open.agent = heir;
            }
        }
        self.drop_if_gone(agent);
        Touched { agents, ..Touched::default() }
    }

    /// Returns whose key it was.
    fn drop_key(&mut self, id: &KeyId) -> Option<AgentId> {
        let agent = self.keys.remove(id)?.agent?;
        self.unbind(&agent, id);
        Some(agent)
    }

    fn drop_if_gone(&mut self, id: &AgentId) {
        let is_removed = self.members.get(id).is_some_and(|member| member.status == AgentStatus::Removed);
        if is_removed && self.keys_in_force(id) == (None, None) {
            self.share(id, None);
            self.members.remove(id);
        }
    }
}

/// Where an agent stands that was revoked and got a new key.
fn status_with(tunnel: Option<&TunnelId>) -> AgentStatus {
    if tunnel.is_some() { AgentStatus::Enrolled } else { AgentStatus::Pending }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(events: &[&str]) -> Roster {
        let mut roster = Roster::default();
        for event in events {
            roster.follow(&serde_json::from_str(event).unwrap());
        }
        roster
    }

    const MADE: &str =
        r#"{"type":"key_generated","key_id":"k1","owner":"lab","sha256":"aa","rolled_from":null}"#;
    const MADE_2: &str =
        r#"{"type":"key_generated","key_id":"k2","owner":"lab","sha256":"bb","rolled_from":"k1"}"#;
    const CAME: &str = r#"{"type":"agent_registered","agent_id":"a1","key_id":"k1","display_name":"edge","version":"1","key_owner":"lab"}"#;
    const ENROLLED: &str = r#"{"type":"agent_enrolled","agent_id":"a1","account_id":"acc","tunnel_id":"t1","tunnel_name":"edge","secret_id":"s"}"#;
    const ROLLED: &str = r#"{"type":"agent_key_rolled","agent_id":"a1","key_id":"k2"}"#;
    const REVOKED: &str = r#"{"type":"agent_revoked","agent_id":"a1","key_id":"k1"}"#;
    const KEY_REVOKED: &str = r#"{"type":"key_revoked","key_id":"k1"}"#;
    const APPROVED: &str = r#"{"type":"agent_approved","agent_id":"a1"}"#;
    const OTHER_MACHINE: &str = r#"{"type":"agent_machine_changed","agent_id":"a1","sign":"machine_id"}"#;
    const REMOVED: &str = r#"{"type":"agent_removed","agent_id":"a1"}"#;

    #[test]
    fn an_agent_stands_where_its_events_left_it_and_is_opened_by_its_keys() {
        use AgentStatus::{Enrolled, Pending, Removed, Revoked};
        type Case<'a> = (&'a [&'a str], Option<AgentStatus>, Option<&'a str>, Option<&'a str>);
        let cases: [Case; 12] = [
            (&[MADE], None, None, None),
            (&[MADE, CAME], Some(Pending), Some("k1"), None),
            (&[MADE, CAME, ENROLLED], Some(Enrolled), Some("k1"), None),
            (&[MADE, CAME, ENROLLED, MADE_2, ROLLED], Some(Enrolled), Some("k2"), Some("k1")),
            (&[MADE, CAME, ENROLLED, MADE_2, ROLLED, KEY_REVOKED], Some(Enrolled), Some("k2"), None),
            (&[MADE, CAME, KEY_REVOKED, REVOKED], Some(Revoked), None, None),
            (&[MADE, CAME, ENROLLED, KEY_REVOKED, REVOKED, MADE_2, ROLLED], Some(Enrolled), Some("k2"), None),
            (&[MADE, CAME, ENROLLED, OTHER_MACHINE], Some(Pending), Some("k1"), None),
            (&[MADE, CAME, ENROLLED, OTHER_MACHINE, APPROVED], Some(Enrolled), Some("k1"), None),
            // Nobody said yes to it yet, or not any more.
            (&[MADE, CAME, KEY_REVOKED, REVOKED, OTHER_MACHINE], Some(Revoked), None, None),
            // Its key fetches the last command.
            (&[MADE, CAME, ENROLLED, REMOVED], Some(Removed), Some("k1"), None),
            (&[MADE, CAME, ENROLLED, REMOVED, KEY_REVOKED], None, None, None),
        ];
        for (events, status, current, previous) in cases {
            let roster = after(events);
            let agent = AgentId::new("a1");
            assert_eq!(roster.member(&agent).map(|member| member.status), status, "{events:?}");
            let (found, replaced) = roster.keys_in_force(&agent);
            let words = |key: &Option<KeyId>| key.as_ref().map(|key| key.as_str().to_owned());
            assert_eq!(
                (words(&found).as_deref(), words(&replaced).as_deref()),
                (current, previous),
                "{events:?}"
            );
        }
    }

    #[test]
    fn tunnels_that_an_agent_joins_or_leaves_are_named() {
        let mut roster = after(&[MADE, CAME]);
        let mut tunnels = |event: &str| {
            let touched = roster.follow(&serde_json::from_str(event).unwrap());
            touched.tunnels.iter().map(|id| id.as_str().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(tunnels(ENROLLED), ["t1"]);
        assert_eq!(tunnels(&ENROLLED.replace("t1", "t2")), ["t1", "t2"]);
        assert_eq!(tunnels(r#"{"type":"agent_moving","agent_id":"a1","from":"t1","to":"t2"}"#), [""; 0]);
        assert_eq!(tunnels(REMOVED), ["t1", "t2"]);
    }
}
