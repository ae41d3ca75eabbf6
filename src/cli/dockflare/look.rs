//! Gathers what a trial needs: containers of the Engine, tunnels, records and applications of Cloudflare. Every call reads.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, bail};
use futures_util::{StreamExt, stream};

use super::files::Files;
use crate::clock::Clock;
use crate::cloudflare::{AccessApp, CfError, Cloudflare, DnsRecord};
use crate::config::Settings;
use crate::docker::{BollardDocker, Docker};
use crate::domain::access::{
    Account, FoundApplication, Group, IdentityProvider, Owner, ServiceToken, asks_for_owner, need_of,
    policy_mark,
};
use crate::domain::dns::{FoundRecord, RecordKeeper, WantedName, dns_steps, owner_marker};
use crate::domain::dockflare::state::{OddKind, Rule};
use crate::domain::dockflare::switch::Setup;
use crate::domain::dockflare::takeover::{groups, manual_service, only_on_the_page};
use crate::domain::dockflare::trial::{
    Asks, Host, Name, Part, Verdict, left_alone, protection_part, read_host, record_part, rule_parts,
};
use crate::domain::doctor::drivers::Running;
use crate::domain::hostname::kept_form;
use crate::domain::id::{AgentId, GroupId, TunnelId, ZoneId};
use crate::domain::path::normalise_path;
use crate::domain::publish::PublishSettings;
use crate::domain::route::{RouteKey, Service};
use crate::domain::tunnel::CONTAINER_NAME;
use crate::domain::wanted::{KnownZones, Published, Wanted};
use crate::domain::zone::{DefaultZone, Zone};

/// Questions to Cloudflare at a time: DockFlare asks beside us, and all of an account share its limit.
const SIDE_BY_SIDE: usize = 4;
/// Stands for an installation that there is not yet.
const NOBODY: &str = "trial";
const HERE: &str = "this host";
/// Where an agent of DockFlare keeps its id.
const AGENT_ID: &str = "/app/data/agent_id.txt";
/// What DockFlare's master calls its connector begins so.
const MASTERS_CONNECTOR: &str = "cloudflared-agent-";

/// Who looks.
pub(super) struct Look<'a> {
    pub(super) settings: &'a Settings,
    pub(super) client: Cloudflare,
    pub(super) docker: BollardDocker,
    /// Tunnel of this host, by its name or id, as far as somebody says it.
    pub(super) tunnel: Option<String>,
    /// True if a person said it: then it counts more than what runs.
    pub(super) is_tunnel_told: bool,
    pub(super) files: Option<&'a Files>,
}

/// What was found.
pub(super) struct Found {
    pub(super) names: Vec<Name>,
    pub(super) setup: Setup,
}

/// The agents of DockFlare that run on this host.
#[derive(Default)]
struct AgentsHere {
    ids: BTreeSet<String>,
    /// Why there may be another one.
    unknown: Option<String>,
}

/// What the hosts of other agents have.
#[derive(Default)]
struct OtherHosts {
    /// Each with its tunnel, or why that is not known.
    hosts: Vec<(Result<TunnelId, String>, Host)>,
    /// Names of which nobody knows whose they are.
    names: Vec<Name>,
}

/// What is asked for in one tunnel.
struct InTunnel {
    /// The tunnel, or why it is not known.
    tunnel: Result<TunnelId, String>,
    asked: Vec<(String, Service)>,
}

/// What of the account is the same for all tunnels.
struct Facts {
    zones: Result<Option<Vec<Zone>>, String>,
    default: Option<DefaultZone>,
    apps: Result<Vec<FoundApplication>, String>,
    idps: Option<Vec<IdentityProvider>>,
    tokens: Option<Vec<ServiceToken>>,
    /// Who owns the account; none if nothing asks for it, or nobody answered.
    owner: Option<Owner>,
    groups: BTreeMap<GroupId, Group>,
}

impl Look<'_> {
    /// Looks at everything.
    pub(super) async fn at_all(&self) -> anyhow::Result<Found> {
        let containers =
            self.docker.list_running().await.context("the containers of this host cannot be listed")?;
        let running =
            self.docker.list_drivers().await.context("the containers of this host cannot be listed")?;
        let here = self.tunnel_here(&running).await?;
        let mut names = Vec::new();
        let mut held = BTreeMap::new();
        let mut in_tunnels = self.of_people(&mut names, &mut held).await;
        let containers = containers.into_iter().map(|one| (one.name, one.labels)).collect();
        let mut hosts =
            vec![(Ok(here.clone()), Host { name: HERE.into(), agent: AgentId::new(HERE), containers })];
        let others = self.other_hosts(&here, &self.agents_here(&running).await);
        hosts.extend(others.hosts);
        names.extend(others.names);
        for (tunnel, host) in hosts {
            let asks = read_host(&host, self.settings.labels.prefix.as_deref(), &held, Clock::system().now());
            let Asks { given, others } = asks;
            held.extend(
                given.iter().map(|(_, service)| (service.key.hostname.clone(), Some(host.agent.clone()))),
            );
            names.extend(others);
            in_tunnels.push(InTunnel { tunnel, asked: given });
        }
        let facts = self.facts(&in_tunnels).await;
        for one in &by_tunnel(in_tunnels) {
            names.extend(self.compare(one, &facts).await);
        }
        self.add_what_no_label_says(&mut names);
        self.add_what_cannot_be_read(&mut names);
        names.sort_by(|one, other| one.name.cmp(&other.name));
        let tunnel = self.client.get_tunnel(&here).await.ok().map(|tunnel| tunnel.name);
        Ok(Found { names, setup: Setup { tunnel, ..self.setup(&running).await } })
    }

    /// The tunnel of this host.
    async fn tunnel_here(&self, running: &[Running]) -> anyhow::Result<TunnelId> {
        let of = |wanted: fn(&str) -> bool| -> Vec<&TunnelId> {
            let mut served: Vec<_> = running
                .iter()
                .filter(|one| wanted(&one.name))
                .filter_map(|one| one.tunnel.as_ref())
                .collect();
            served.sort();
            served.dedup();
            served
        };
        // Another connector may run here that is no business of DockFlare's.
        let own = of(|name| name == CONTAINER_NAME || name.starts_with(MASTERS_CONNECTOR));
        let served = if own.is_empty() { of(|_| true) } else { own };
        match (&self.tunnel, &served[..]) {
            (told, [served]) if told.is_none() || !self.is_tunnel_told => Ok((*served).clone()),
            (Some(told), _) => self.find_tunnel(told).await.map_err(anyhow::Error::msg),
            (None, []) => bail!(
                "no connector runs here whose tunnel could be read, so nobody knows which one this host has; say it with --tunnel NAME"
            ),
            (None, several) => {
                let several: Vec<&str> = several.iter().map(|tunnel| tunnel.as_str()).collect();
                bail!(
                    "connectors of several tunnels run here ({}); say with --tunnel which is DockFlare's",
                    several.join(", ")
                )
            }
        }
    }

    async fn find_tunnel(&self, text: &str) -> Result<TunnelId, String> {
        let by_name = self.client.find_tunnel(text).await.map_err(|error| error.to_string())?;
        let found = match by_name {
            Some(tunnel) => Some(tunnel),
            None => match self.client.get_tunnel(&TunnelId::new(text)).await {
                Ok(tunnel) => Some(tunnel).filter(|tunnel| !tunnel.is_deleted()),
                Err(error) if error.is_transient() => return Err(error.to_string()),
                Err(_) => None,
            },
        };
        found.map(|tunnel| tunnel.id).ok_or_else(|| format!("the account has no tunnel `{text}`"))
    }

    /// Rules of people, as far as DockFlare's files are at hand; they hold their names before any container.
    async fn of_people(
        &self,
        names: &mut Vec<Name>,
        held: &mut BTreeMap<String, Option<AgentId>>,
    ) -> Vec<InTunnel> {
        let mut by_tunnel = BTreeMap::<String, Vec<(String, Service)>>::new();
        let by = "a rule of a person".to_owned();
        for rule in self.rules().filter(|rule| rule.is_manual()) {
            match manual_service(rule) {
                Err(reason) => {
                    names.push(Name::new(rule.name(), &by, vec![Part::new("rule", Verdict::Refuse, reason)]));
                }
                Ok((service, tunnel)) => {
                    held.insert(service.key.hostname.clone(), None);
                    by_tunnel.entry(tunnel).or_default().push((by.clone(), service));
                }
            }
        }
        let mut in_tunnels = Vec::new();
        for (tunnel, asked) in by_tunnel {
            in_tunnels.push(InTunnel { tunnel: self.find_tunnel(&tunnel).await, asked });
        }
        in_tunnels
    }

    fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.files.iter().flat_map(|files| &files.state.rules)
    }

    /// Which agents of DockFlare run on this host, by the file in which each keeps its id.
    async fn agents_here(&self, running: &[Running]) -> AgentsHere {
        let mut here = AgentsHere::default();
        let old = || running.iter().filter(|one| one.is_dockflare() && !one.is_cloudflared());
        if old().next().is_none() {
            here.unknown = Some("no DockFlare runs here".to_owned());
        }
        for agent in old().filter(|one| one.is_dockflare_agent()) {
            let why = match self.docker.read_small_file(&agent.name, AGENT_ID).await {
                Ok(Some(id)) => match String::from_utf8(id) {
                    Ok(id) => {
                        here.ids.insert(id.trim().to_owned());
                        continue;
                    }
                    Err(_) => "it is not text".to_owned(),
                },
                Ok(None) => "it is not there".to_owned(),
                Err(error) => error.to_string(),
            };
            here.unknown = Some(format!("`{AGENT_ID}` of container `{}` cannot be read: {why}", agent.name));
        }
        here
    }

    /// Hosts of DockFlare's agents, as they reported last, but for those that run on this one: of it the Engine says more.
    fn other_hosts(&self, here: &TunnelId, agents_here: &AgentsHere) -> OtherHosts {
        let agents = self.files.iter().flat_map(|files| &files.state.agents);
        let mut others = OtherHosts::default();
        for agent in
            agents.filter(|agent| !agent.containers.is_empty() && !agents_here.ids.contains(&agent.id))
        {
            let host = Host {
                name: agent.name.clone(),
                agent: AgentId::new(agent.id.clone()),
                containers: agent.containers.clone(),
            };
            match &agents_here.unknown {
                Some(reason) if agent.tunnel_id.as_deref() == Some(here.as_str()) => {
                    others.names.extend(self.not_checked(&host, reason));
                }
                _ => {
                    let tunnel = agent.tunnel_id.clone().map(TunnelId::new);
                    others.hosts.push((tunnel.ok_or_else(|| "its host has no tunnel yet".to_owned()), host));
                }
            }
        }
        others
    }

    /// The names of an agent of which nobody knows if it is the one of this host.
    fn not_checked(&self, host: &Host, reason: &str) -> Vec<Name> {
        let words = format!(
            "its agent has the tunnel of this host, so it may be the one that runs here, and nobody knows: {reason}"
        );
        let prefix = self.settings.labels.prefix.as_deref();
        let asks = read_host(host, prefix, &BTreeMap::new(), Clock::system().now());
        let given = asks.given.into_iter().map(|(by, service)| (service.key.to_string(), by));
        let others = asks.others.into_iter().map(|name| (name.name, name.asked_by));
        let part = || vec![Part::new("rule", Verdict::NotChecked, words.clone())];
        given.chain(others).map(|(name, by)| Name::new(name, by, part())).collect()
    }

    async fn facts(&self, in_tunnels: &[InTunnel]) -> Facts {
        let groups = self.files.map(|files| groups(&files.state)).unwrap_or_default();
        let mut asked = in_tunnels.iter().flat_map(|one| &one.asked);
        let asks_owner = asked.any(|(_, service)| asks_for_owner(&service.access, &groups));
        let (zones, apps, idps, tokens) = futures_util::join!(
            self.client.list_zones(),
            self.client.list_access_apps(),
            self.client.list_identity_providers(),
            self.client.list_service_tokens(),
        );
        let default = match self.settings.cloudflare.zone_id.clone().map(ZoneId::new) {
            Some(id) => {
                Some(DefaultZone { name: self.client.get_zone(&id).await.ok().map(|zone| zone.name), id })
            }
            None => None,
        };
        Facts {
            zones: unless_refused(zones),
            default,
            apps: apps
                .map(|apps| apps.into_iter().map(application).collect())
                .map_err(|error| error.to_string()),
            idps: idps.ok(),
            tokens: tokens.ok(),
            owner: if asks_owner { self.owner().await } else { None },
            groups,
        }
    }

    async fn owner(&self) -> Option<Owner> {
        if let Some(email) = &self.settings.publish.account_owner_email {
            return Some(Owner::Known(email.clone()));
        }
        let members = unless_refused(self.client.list_members().await).ok()?;
        Some(members.map_or(Owner::Unreadable, |members| Owner::among(&members)))
    }

    /// Compares what is asked for in a tunnel with what is there.
    async fn compare(&self, one: &InTunnel, facts: &Facts) -> Vec<Name> {
        let services = one.asked.iter().map(|(_, service)| service);
        let publish = &self.settings.publish;
        let settings = PublishSettings {
            publish_host_access: publish.allow_host_access,
            access_team: publish.team(),
            ..PublishSettings::default()
        };
        let wanted = Wanted::read(services, facts.zones(), &settings, &Published::default());
        let rules = self.rules_of(one, &wanted).await;
        let records: BTreeMap<&String, Part> = stream::iter(&wanted.names)
            .map(async |(name, zone)| (name, self.record(one, name, zone, facts).await))
            .buffer_unordered(SIDE_BY_SIDE)
            .collect()
            .await;
        let name = |(by, service): &(String, Service)| {
            let key = &service.key;
            if let Some(reason) = wanted.refused.get(key) {
                return Name::new(key.to_string(), by, vec![Part::new("labels", Verdict::Refuse, reason)]);
            }
            let rule = match &rules {
                Ok((rules, _)) => rules.get(key).cloned(),
                Err(part) => Some(part.clone()),
            };
            let warning = wanted.warnings.get(key).map(|words| Part::new("record", Verdict::Change, words));
            let record = records.get(&key.hostname).cloned();
            let parts =
                [rule, record, warning, Some(facts.protection(service, wanted.names.get(&key.hostname)))];
            Name::new(key.to_string(), by, parts.into_iter().flatten().collect())
        };
        let left = rules.as_ref().map(|(_, left)| left.clone()).unwrap_or_default();
        one.asked.iter().map(name).chain(left).collect()
    }

    /// The rules that are asked for, and the names that nobody asks for.
    async fn rules_of(
        &self,
        one: &InTunnel,
        wanted: &Wanted,
    ) -> Result<(BTreeMap<RouteKey, Part>, Vec<Name>), Part> {
        let part = |verdict, words: String| Part::new("rule", verdict, words);
        let tunnel = one.tunnel.as_ref().map_err(|reason| part(Verdict::NotChecked, reason.clone()))?;
        let config = match self.client.get_config(tunnel).await {
            Ok(config) if config.is_local() => {
                let words =
                    "its tunnel takes its rules from a file on its host, so nobody can write to it from here";
                return Err(part(Verdict::Refuse, words.to_owned()));
            }
            Ok(config) => config.config,
            Err(error) => return Err(part(Verdict::NotChecked, error.to_string())),
        };
        let rules = rule_parts(wanted, &config).map_err(|reason| part(Verdict::Refuse, reason))?;
        Ok((rules, left_alone(wanted, &config)))
    }

    async fn record(&self, one: &InTunnel, name: &str, zone: &ZoneId, facts: &Facts) -> Part {
        let part = |words: &str| Part::new("record", Verdict::NotChecked, words);
        let tunnel_id = match (&one.tunnel, &facts.zones) {
            (Err(reason), _) | (_, Err(reason)) => return part(reason),
            (Ok(tunnel), Ok(_)) => tunnel.clone(),
        };
        match self.client.list_dns(zone, name).await {
            Err(error) => part(&error.to_string()),
            Ok(found) => {
                let found: Vec<FoundRecord> = found.into_iter().map(|one| record(zone, one)).collect();
                let wanted = WantedName { zone_id: zone.clone(), name: name.to_owned(), tunnel_id };
                record_part(&dns_steps(&[wanted], &found, &[], &owner_marker(NOBODY)))
            }
        }
    }

    /// What a person set on DockFlare's page for a container stands in no label.
    fn add_what_no_label_says(&self, names: &mut Vec<Name>) {
        for rule in self.rules().filter(|rule| !rule.is_manual()) {
            let Some(reason) = only_on_the_page(rule) else { continue };
            let path = normalise_path(rule.path.as_deref().unwrap_or_default()).unwrap_or_default();
            let key = RouteKey { hostname: kept_form(rule.hostname.as_deref().unwrap_or_default()), path };
            let part = Part::new("labels", Verdict::Change, reason);
            let mut is_met = false;
            for name in names.iter_mut().filter(|name| name.name == key.to_string()) {
                let mut parts = name.parts.clone();
                parts.push(part.clone());
                *name = Name::new(&name.name, &name.asked_by, parts);
                is_met = true;
            }
            if !is_met {
                let nobody = "no container that was found asks for it; start it, and try again";
                let parts = vec![part, Part::new("labels", Verdict::NotChecked, nobody)];
                names.push(Name::new(rule.name(), "a rule of a container, in DockFlare's files", parts));
            }
        }
    }

    /// What DockFlare's files hold and nobody can read may be published all the same.
    fn add_what_cannot_be_read(&self, names: &mut Vec<Name>) {
        for odd in self.files.iter().flat_map(|files| &files.state.odd) {
            let part = match odd.kind {
                OddKind::Rule => Part::new("rule", Verdict::Refuse, odd.reason()),
                OddKind::Agent => Part::new("labels", Verdict::NotChecked, odd.reason()),
            };
            let by = format!("{} in DockFlare's files", odd.kind.as_str());
            names.push(Name::new(odd.name(), by, vec![part]));
        }
    }

    async fn setup(&self, running: &[Running]) -> Setup {
        let old = || running.iter().filter(|one| one.is_dockflare() && !one.is_cloudflared());
        let names = |is_agent: bool| {
            old()
                .filter(move |one| one.is_dockflare_agent() == is_agent)
                .map(|one| one.name.clone())
                .collect()
        };
        let network = match old().next() {
            Some(one) => {
                self.docker.find_container(&one.name).await.ok().flatten().map(|found| found.network)
            }
            None => None,
        };
        let is_own = |name: &String| !["default", "bridge", "host", "none"].contains(&name.as_str());
        Setup {
            masters: names(false),
            agents: names(true),
            network: network.filter(is_own),
            ..Setup::default()
        }
    }
}

impl Facts {
    fn zones(&self) -> KnownZones<'_> {
        match &self.zones {
            Ok(zones) => KnownZones::of(zones.as_deref(), self.default.as_ref()),
            Err(_) => KnownZones::Unknown,
        }
    }

    fn protection(&self, service: &Service, zone: Option<&ZoneId>) -> Part {
        let apps = match &self.apps {
            Ok(apps) => apps,
            Err(reason) => return Part::new("protection", Verdict::NotChecked, reason),
        };
        let (idps, tokens) = (self.idps.as_deref(), self.tokens.as_deref());
        let account = Account { idps, tokens, owner: self.owner.as_ref() };
        let check = service.origin_request.access.as_ref();
        let needed = need_of(service, check, &self.groups, &account, &policy_mark(NOBODY));
        let listed = self.zones.iter().flatten().flatten().map(|zone| (&zone.id, Some(&zone.name)));
        let mut known = listed.chain(self.default.iter().map(|zone| (&zone.id, zone.name.as_ref())));
        let name = known.find(|(id, _)| Some(*id) == zone).and_then(|(_, name)| name);
        protection_part(&service.key, &needed, name.map(String::as_str), apps)
    }
}

/// Puts what is asked for in one tunnel together, whoever asks.
fn by_tunnel(all: Vec<InTunnel>) -> Vec<InTunnel> {
    let mut tunnels = Vec::<InTunnel>::new();
    for one in all {
        match tunnels.iter_mut().find(|known| known.tunnel == one.tunnel) {
            Some(known) => known.asked.extend(one.asked),
            None => tunnels.push(one),
        }
    }
    tunnels
}

/// A token without the right is an answer too.
fn unless_refused<T>(answer: Result<T, CfError>) -> Result<Option<T>, String> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.is_transient() => Err(error.to_string()),
        Err(_) => Ok(None),
    }
}

fn application(app: AccessApp) -> FoundApplication {
    let domain = app.raw.get("domain").and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
    FoundApplication { id: app.id, aud: app.aud, domain, raw: app.raw }
}

fn record(zone: &ZoneId, record: DnsRecord) -> FoundRecord {
    let meta = record.meta.filter(|meta| meta.read_only == Some(true));
    let keeper = meta.map(|meta| match meta.origin_worker_id {
        Some(_) => RecordKeeper::Worker,
        None => RecordKeeper::Other,
    });
    FoundRecord {
        zone_id: zone.clone(),
        id: record.id,
        kind: record.kind,
        name: record.name,
        content: record.content.unwrap_or_default(),
        is_proxied: record.proxied.unwrap_or(true),
        comment: record.comment,
        keeper,
    }
}
