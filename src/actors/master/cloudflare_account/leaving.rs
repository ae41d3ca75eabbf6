//! Names that somebody else has by now, and that lead to this tunnel still: whether their rules may stay until the names lead
//! to the other tunnel, so that no request is lost meanwhile.
//!
//! They may if whoever comes meets the same before and after. What protects a name is led by its new tunnel alone: where that
//! is to change, the rules here go first, and the new tunnel waits for it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::drifts::Drifts;
use super::policies::is_settled;
use super::shared::tunnel_of_name;
use crate::db::access::{AccessApplicationRow, AccessPolicyRow, applications_of};
use crate::db::routes::RouteRow;
use crate::db::tunnels::TunnelRow;
use crate::db::{Db, DbError, cloudflare, drifts, manual_rules, story};
use crate::domain::access::{Need, WantedApplication, WantedPolicy};
use crate::domain::dns::tunnel_target;
use crate::domain::hostname::is_wildcard;
use crate::domain::id::{AgentId, PolicyId, TunnelId};
use crate::domain::ingress::{CLOSED, IngressRule, RuleId};
use crate::domain::manual_rule::ManualRule;
use crate::domain::owned::OwnedKind;
use crate::domain::publish::TunnelState;
use crate::domain::review::reviewed;
use crate::domain::route::{Route, Service};

/// A name that leads here, and is another tunnel's.
#[derive(Debug)]
pub(super) struct Leaving {
    /// The tunnel that it is to lead to.
    pub next: TunnelId,
    /// Everything that is asked for under it there.
    pub asks: Vec<Service>,
    /// True unless a person has to agree before anything is written there: until then nobody looks after its protection.
    is_led: bool,
    /// Our applications in front of it, whichever tunnel they are noted for.
    applications: Vec<AccessApplicationRow>,
}

impl Leaving {
    /// True if these rules of the name may stay until it leads to the other tunnel.
    pub fn may_stay(
        &self,
        hostname: &str,
        rules: &[&IngressRule],
        policies: &BTreeMap<String, AccessPolicyRow>,
        drifts: &Drifts,
        need_of: impl Fn(&Service) -> Result<Need, String>,
    ) -> bool {
        // What lies below a wildcard may be closed here, and would be answered for by it.
        if is_wildcard(hostname) {
            return false;
        }
        let mut others: BTreeSet<&str> = self.applications.iter().map(|row| row.domain.as_str()).collect();
        let mut asked = BTreeSet::new();
        for service in &self.asks {
            asked.insert(RuleId::of(&service.key));
            match need_of(service) {
                Ok(Need::Nothing) => {}
                Ok(Need::Application(wanted))
                    if self.is_led && self.is_in_place(&wanted, policies, drifts) =>
                {
                    others.remove(wanted.domain.as_str());
                }
                Ok(Need::Application(_) | Need::Zone) | Err(_) => return false,
            }
        }
        let is_as_written = |id: &RuleId| !drifts.is_open(OwnedKind::Rule, &id.route().to_string());
        let may_stay = |rule: &&IngressRule| {
            let id = rule.id();
            rule.service != CLOSED && asked.contains(&id) && is_as_written(&id)
        };
        others.is_empty() && rules.iter().all(may_stay)
    }

    /// What others changed is not in place, whatever the rows say.
    fn is_in_place(
        &self,
        wanted: &WantedApplication,
        policies: &BTreeMap<String, AccessPolicyRow>,
        drifts: &Drifts,
    ) -> bool {
        let row = self.applications.iter().find(|row| row.domain == wanted.domain);
        row.is_some_and(|row| is_noted(wanted, policies, row))
            && !drifts.is_open(OwnedKind::Application, &wanted.domain)
            && wanted.policies.iter().all(|policy| !drifts.is_open(OwnedKind::Policy, &policy.name))
    }
}

/// True if the rows say that just this application is there, with just these policies, and was read back.
pub(super) fn is_noted(
    wanted: &WantedApplication,
    policies: &BTreeMap<String, AccessPolicyRow>,
    row: &AccessApplicationRow,
) -> bool {
    let id = |policy: &WantedPolicy| -> Option<PolicyId> {
        let row = policies.get(&policy.name);
        row.filter(|_| is_settled(row, policy, None))?.policy_id.clone()
    };
    let ids: Option<Vec<PolicyId>> = wanted.policies.iter().map(id).collect();
    ids.is_some_and(|ids| row.is_settled && row.application_id.is_some() && row.body == wanted.body(&ids))
}

/// Finds the names that lead to each of these tunnels, although somebody has them who publishes them in another one of the
/// account. That is rare: they change hands one by one. While changes are reviewed, `approved` says what agents publish.
pub(super) async fn read_leaving(
    db: &Db,
    tunnels: &[TunnelRow],
    routes: &HashMap<AgentId, Vec<Route>>,
    rules: &HashMap<TunnelId, Vec<ManualRule>>,
    approved: Option<&HashMap<AgentId, Vec<Service>>>,
) -> Result<HashMap<TunnelId, BTreeMap<String, Leaving>>, DbError> {
    let targets: Vec<String> = tunnels.iter().map(|tunnel| tunnel_target(&tunnel.id)).collect();
    let records = cloudflare::dns_records_to(db, &targets).await?;
    let mut found = HashMap::new();
    for tunnel in tunnels {
        let own = tunnel.agent_id.as_ref().and_then(|agent| routes.get(agent));
        let own = own.into_iter().flatten().map(|route| &route.spec.key.hostname);
        let by_people = rules.get(&tunnel.id).into_iter().flatten().map(|rule| &rule.spec.key.hostname);
        let reviewed = tunnel.agent_id.as_ref().and_then(|agent| approved?.get(agent));
        let reviewed = reviewed.into_iter().flatten().map(|service| &service.key.hostname);
        let own: BTreeSet<&String> = own.chain(by_people).chain(reviewed).collect();
        let leads_here = records.get(&tunnel_target(&tunnel.id)).into_iter().flatten();
        for record in leads_here.filter(|record| record.record_id.is_some() && !own.contains(&record.name)) {
            if let Some(leaving) = read_one(db, tunnel, &record.name, approved.is_some()).await? {
                let names: &mut BTreeMap<_, _> = found.entry(tunnel.id.clone()).or_default();
                names.insert(record.name.clone(), leaving);
            }
        }
    }
    Ok(found)
}

async fn read_one(
    db: &Db,
    tunnel: &TunnelRow,
    hostname: &str,
    is_reviewed: bool,
) -> Result<Option<Leaving>, DbError> {
    let account = &tunnel.account_id;
    let Some(next) = tunnel_of_name(db, account, hostname).await?.filter(|next| *next != tunnel.id) else {
        return Ok(None);
    };
    let status = cloudflare::find_tunnel_status(db, &next).await?;
    let is_led = status.is_none_or(|status| status.state != TunnelState::Waiting.as_str());
    let routes = story::routes_of_hostname(db, hostname).await?;
    let by_agents = match is_reviewed {
        true => as_reviewed(db, hostname, routes).await?,
        false => routes.into_iter().map(|row| row.route.spec).collect(),
    };
    let by_people = manual_rules::rules_of_names(db, &[hostname.to_owned()]).await?;
    let asks = by_agents.into_iter().chain(by_people.into_iter().map(|row| row.rule.spec)).collect();
    let is_before = |domain: &str| {
        domain.strip_prefix(hostname).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let mut applications = applications_of(db, account).await?;
    applications.retain(|row| is_before(&row.domain));
    Ok(Some(Leaving { next, asks, is_led, applications }))
}

/// Of what labels ask for under a name, what a person said yes to: nothing else is published there.
async fn as_reviewed(db: &Db, hostname: &str, routes: Vec<RouteRow>) -> Result<Vec<Service>, DbError> {
    let mut asked = BTreeMap::<AgentId, Vec<Service>>::new();
    for row in routes {
        asked.entry(row.route.agent_id).or_default().push(row.route.spec);
    }
    let agents: Vec<AgentId> = asked.keys().cloned().collect();
    let mut approved = drifts::reviewed_of_agents(db, &agents).await?;
    let published = asked.into_iter().flat_map(|(agent, asked)| {
        let mut approved = approved.remove(&agent).unwrap_or_default();
        approved.retain(|service| service.key.hostname == hostname);
        reviewed(&asked, &approved).services
    });
    Ok(published.collect())
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::domain::access::{AccessAsk, AppOptions};
    use crate::domain::id::{AccountId, ApplicationId};
    use crate::domain::route::{OriginRequest, RouteKey};

    const NAME: &str = "app.example.com";

    fn service(hostname: &str, path: &str) -> Service {
        Service {
            key: RouteKey { hostname: hostname.into(), path: path.into() },
            service: "http://app:80".into(),
            origin_request: OriginRequest::default(),
            zone_name: None,
            access: AccessAsk::Nothing,
        }
    }

    fn application(domain: &str) -> WantedApplication {
        let options = AppOptions::default();
        WantedApplication { domain: domain.into(), name: "app".into(), options, policies: Vec::new() }
    }

    fn row(domain: &str, is_settled: bool) -> AccessApplicationRow {
        AccessApplicationRow {
            account_id: AccountId::new("account"),
            domain: domain.into(),
            application_id: Some(ApplicationId::new("a")),
            aud: None,
            tunnel_id: TunnelId::new("old"),
            body: application(domain).body(&[]),
            created_at: DateTime::UNIX_EPOCH,
            is_settled,
        }
    }

    struct Case {
        name: &'static str,
        paths: &'static [&'static str],
        rules: Vec<IngressRule>,
        need: Result<Need, String>,
        applications: Vec<AccessApplicationRow>,
        is_led: bool,
        /// What others changed, and is not put right yet.
        drifted: &'static [(OwnedKind, &'static str)],
        stays: bool,
    }

    impl Case {
        fn public() -> Self {
            Self {
                name: NAME,
                paths: &[""],
                rules: vec![IngressRule::new(&service(NAME, ""))],
                need: Ok(Need::Nothing),
                applications: Vec::new(),
                is_led: false,
                drifted: &[],
                stays: true,
            }
        }

        fn protected() -> Self {
            Self {
                need: Ok(Need::Application(application(NAME))),
                applications: vec![row(NAME, true)],
                is_led: true,
                ..Self::public()
            }
        }
    }

    #[test]
    fn rules_stay_only_if_whoever_comes_meets_the_same_before_and_after() {
        let gone = |case: Case| Case { stays: false, ..case };
        let closed = IngressRule { service: CLOSED.into(), ..IngressRule::new(&service(NAME, "/admin")) };
        let wild = "*.example.com";
        for (number, case) in [
            Case::public(),
            Case::protected(),
            Case { paths: &["", "/new"], ..Case::public() },
            gone(Case { name: wild, rules: vec![IngressRule::new(&service(wild, ""))], ..Case::public() }),
            // Of what was here the other tunnel has less: that would be answered for by the rest.
            gone(Case { rules: vec![IngressRule::new(&service(NAME, "/api"))], ..Case::public() }),
            gone(Case { rules: vec![closed], paths: &["", "/admin"], ..Case::public() }),
            // It was protected and is not to be, or the other way round, or a part of it was.
            gone(Case { applications: vec![row(NAME, true)], ..Case::public() }),
            gone(Case { applications: vec![row("app.example.com/admin", true)], ..Case::public() }),
            gone(Case { applications: Vec::new(), ..Case::protected() }),
            // It is not what it was, or nobody knows.
            gone(Case { applications: vec![row(NAME, false)], ..Case::protected() }),
            gone(Case {
                applications: vec![AccessApplicationRow { application_id: None, ..row(NAME, true) }],
                ..Case::protected()
            }),
            gone(Case {
                applications: vec![AccessApplicationRow { body: serde_json::json!({}), ..row(NAME, true) }],
                ..Case::protected()
            }),
            gone(Case { drifted: &[(OwnedKind::Application, NAME)], ..Case::protected() }),
            gone(Case { drifted: &[(OwnedKind::Rule, NAME)], ..Case::public() }),
            gone(Case { is_led: false, ..Case::protected() }),
            gone(Case { need: Ok(Need::Zone), ..Case::public() }),
            gone(Case { need: Err("an unknown group".into()), ..Case::public() }),
        ]
        .into_iter()
        .enumerate()
        {
            let leaving = Leaving {
                next: TunnelId::new("new"),
                asks: case.paths.iter().map(|path| service(case.name, path)).collect(),
                is_led: case.is_led,
                applications: case.applications,
            };
            let rules: Vec<&IngressRule> = case.rules.iter().collect();
            let stays =
                leaving.may_stay(case.name, &rules, &BTreeMap::new(), &Drifts::found(case.drifted), |_| {
                    case.need.clone()
                });
            assert_eq!(stays, case.stays, "case {number}");
        }
    }
}
