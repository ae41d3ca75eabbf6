//! Rules that people make: set, removed, taken over from what others made in a tunnel.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::Master;
use crate::actors::master::cloudflare_account::Adopted;
use crate::actors::master::error::MasterError;
use crate::actors::master::registrar::{RemoveRule, RuleTunnel, RulesSet, SetRules};
use crate::db;
use crate::db::manual_rules::find_rule;
use crate::db::tunnels::TunnelRow;
use crate::domain::adopt::{Meant, Offer};
use crate::domain::agent::AgentStatus;
use crate::domain::id::{AgentId, TunnelId};
use crate::domain::import::{Preview, is_named};
use crate::domain::manual_rule::RuleDraft;
use crate::domain::route::{RouteKey, Service};
use crate::domain::zone::Zone;

/// Longest time that Cloudflare may take to find or make a tunnel.
const PROVIDE: Duration = Duration::from_secs(20);
/// Longest time that it may take to say what is in one.
const LOOK: Duration = Duration::from_secs(15);
/// Longest time that may pass over what others made in a whole account.
const ADOPT: Duration = Duration::from_secs(25);
/// Longest name of a tunnel that is passed on.
const MAX_NAME: usize = 100;

/// Where a person wants a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RulePlace {
    /// In the tunnel of this agent.
    Agent(AgentId),
    /// In the tunnel of this name or id.
    Tunnel(String),
}

/// What a person orders.
#[derive(Debug, Clone, PartialEq)]
pub struct RuleOrder {
    /// The rule.
    pub draft: RuleDraft,
    /// Where; none leaves one that is there where it is.
    pub place: Option<RulePlace>,
    /// True if a tunnel that is not there is to be made.
    pub make_tunnel: bool,
    /// True if the hostname is taken from whoever has it.
    pub take_over: bool,
}

/// What came of an order.
#[derive(Debug, Clone, PartialEq)]
pub struct RuleSet {
    /// The rule, as it is kept.
    pub spec: Service,
    /// Where it is.
    pub tunnel_id: TunnelId,
    /// What else happened.
    pub outcome: RulesSet,
}

/// Rules of others, one hostname after the other.
#[derive(Debug)]
pub struct Imported {
    /// Those that are rules of people now.
    pub taken: Vec<RouteKey>,
    /// Hostnames whose rules were left, and why.
    pub left: Vec<(String, MasterError)>,
}

impl Master {
    /// Makes a rule, or puts it in the place of the one that has its hostname and path.
    pub async fn set_rule(&self, order: RuleOrder, by: &str) -> Result<RuleSet, MasterError> {
        let spec = order.draft.check().map_err(|bad| MasterError::Invalid(bad.join("; ")))?;
        let tunnel = match &order.place {
            Some(place) => self.tunnel_at(place, order.make_tunnel).await?,
            None => match find_rule(&self.db, &spec.key).await? {
                Some(row) => RuleTunnel::Known(row.rule.tunnel_id),
                None => {
                    let reason =
                        "say in which tunnel the rule is to be: `agent`, or `tunnel` with its name or id";
                    return Err(MasterError::Invalid(reason.into()));
                }
            },
        };
        let tunnel_id = tunnel.id().clone();
        let specs = vec![spec.clone()];
        let ask = SetRules { specs, tunnel, take_over: order.take_over, confirms: false, by: by.into() };
        Ok(RuleSet { spec, tunnel_id, outcome: self.decide(ask).await? })
    }

    /// Removes a rule; its record goes with it.
    pub async fn remove_rule(&self, key: &RouteKey, by: &str) -> Result<(), MasterError> {
        self.decide(RemoveRule { key: key.clone(), by: by.into() }).await
    }

    /// Says what others made in a tunnel, and what would become of it if rules of these hostnames were taken over; none:
    /// of all.
    pub async fn preview_import(
        &self,
        tunnel: &str,
        hostnames: Option<&[String]>,
    ) -> Result<(TunnelId, Preview), MasterError> {
        let tunnel = self.tunnel_at(&RulePlace::Tunnel(tunnel.to_owned()), false).await?;
        let preview = self.preview(&tunnel, hostnames).await?;
        Ok((tunnel.id().clone(), preview))
    }

    /// Takes over what others made in a tunnel for these hostnames, or all of it. The tunnel counts as agreed to.
    pub async fn import_rules(
        &self,
        tunnel: &str,
        hostnames: Option<&[String]>,
        by: &str,
    ) -> Result<Imported, MasterError> {
        let tunnel = self.tunnel_at(&RulePlace::Tunnel(tunnel.to_owned()), false).await?;
        let preview = self.preview(&tunnel, hostnames).await?;
        let mut imported = Imported { taken: Vec::new(), left: Vec::new() };
        let mut by_name = BTreeMap::<String, Vec<Service>>::new();
        for rule in preview.rules {
            match rule.spec {
                Ok(spec) => by_name.entry(spec.key.hostname.clone()).or_default().push(spec),
                Err(reason) => {
                    let name = rule.there.get("hostname").and_then(|name| name.as_str()).unwrap_or("*");
                    imported.left.push((name.to_owned(), MasterError::Invalid(reason)));
                }
            }
        }
        for (name, specs) in by_name {
            let keys: Vec<RouteKey> = specs.iter().map(|spec| spec.key.clone()).collect();
            let ask =
                SetRules { specs, tunnel: tunnel.clone(), take_over: false, confirms: true, by: by.into() };
            match self.decide(ask).await {
                Ok(_) => imported.taken.extend(keys),
                Err(error) => imported.left.push((name, error)),
            }
        }
        Ok(imported)
    }

    /// Says what others made at Cloudflare that could be made ours.
    pub async fn offers(&self) -> Result<Vec<Offer>, MasterError> {
        self.env.account.offers(ADOPT).await
    }

    /// Makes ours what is meant.
    pub async fn adopt(&self, meant: Meant, by: &str) -> Result<Adopted, MasterError> {
        self.env.account.adopt(meant, by, ADOPT).await
    }

    /// Returns the zones of the account; none if they are not known.
    pub async fn zones(&self) -> Result<Option<Vec<Zone>>, MasterError> {
        self.env.account.zones(LOOK).await
    }

    async fn preview(
        &self,
        tunnel: &RuleTunnel,
        hostnames: Option<&[String]>,
    ) -> Result<Preview, MasterError> {
        let names = hostnames.map(<[String]>::to_vec);
        let is_meant =
            move |name: &str| names.as_ref().is_none_or(|names| is_named(&name.to_ascii_lowercase(), names));
        self.env.account.preview_import(tunnel.id(), Arc::new(is_meant), LOOK).await
    }

    /// Finds the tunnel at a place; one that is known costs no call.
    async fn tunnel_at(&self, place: &RulePlace, make: bool) -> Result<RuleTunnel, MasterError> {
        let text = match place {
            RulePlace::Agent(agent) => return self.tunnel_of_agent(agent).await,
            RulePlace::Tunnel(text) => text.trim(),
        };
        if text.is_empty() || text.len() > MAX_NAME || text.chars().any(char::is_control) {
            let reason = format!(
                "a tunnel's name or id belongs here, of at most {MAX_NAME} bytes and without control characters"
            );
            return Err(MasterError::Invalid(reason));
        }
        if let Some(row) = self.known_tunnel(text).await? {
            return Ok(RuleTunnel::Known(row.id));
        }
        let found = match self.env.account.find_tunnel(text, PROVIDE).await? {
            Some(found) => found,
            None if make => self.env.account.provide_tunnel(text, PROVIDE).await?,
            None => return Err(MasterError::TunnelNotFound(text.to_owned())),
        };
        Ok(RuleTunnel::Provided(Box::new(found)))
    }

    async fn tunnel_of_agent(&self, agent: &AgentId) -> Result<RuleTunnel, MasterError> {
        let row = db::agents::find_agent(&self.db, agent).await?;
        let row = row.filter(|row| row.status != AgentStatus::Removed);
        let row = row.ok_or_else(|| MasterError::AgentNotFound(agent.clone()))?;
        let tunnel = row.publishes_in().cloned();
        tunnel.map(RuleTunnel::Known).ok_or_else(|| MasterError::NotEnrolled(agent.clone()))
    }

    /// A tunnel of ours, by its id or name.
    async fn known_tunnel(&self, text: &str) -> Result<Option<TunnelRow>, MasterError> {
        let rows = db::tunnels::list_tunnels(&self.db, None, db::ALL).await?;
        // A name belongs to one tunnel at a time: an older one of that name was deleted.
        let is_named =
            |row: &&TunnelRow| row.name == text && (row.agent_id.is_some() || row.joining.is_some());
        let by_id = rows.iter().find(|row| row.id.as_str() == text);
        Ok(by_id.or_else(|| rows.iter().find(is_named)).cloned())
    }
}
