//! What is to be said about the routes of a tunnel, while a pass goes on and at its end.

use std::collections::{BTreeMap, BTreeSet};

use super::pass::Pass;
use super::status::{Said, route_puts};
use super::stop::{RULE_REFUSED, Stop, TRIED_AGAIN};
use super::wishes::Wishes;
use crate::cloudflare::ALLOWANCE;
use crate::db::RowChange;
use crate::db::cloudflare::RouteStatusRow;
use crate::domain::ingress::{Foreign, IngressRule, RuleConflict, RuleId};
use crate::domain::publish::{Cause, PublicState};
use crate::domain::route::{RouteKey, Service};

const LEADS_HERE_ALREADY: &str =
    "a DNS record that was there already leads here; it is used and never changed";
const CHANGE_REFUSED: &str = "Cloudflare does not take its new rule, and it serves as before; change its labels, other routes are not concerned";

impl Pass<'_> {
    /// Says which of these names serve by now, while calls about others are still under way.
    pub async fn tell_progress(&mut self, names: &[String]) -> Result<(), Stop> {
        let Some(agent) = &self.snap.tunnel.agent_id else { return Ok(()) };
        let names: BTreeSet<&String> = names.iter().collect();
        let in_force = self.rules_in_force();
        let services = self.wishes.services.iter().filter(|service| names.contains(&service.key.hostname));
        let said = services.map(|service| (service.key.clone(), self.say(service, &in_force, &Ok(()))));
        let said = said.filter(|(_, said)| said.state == PublicState::Published).collect();
        let rows = route_puts(agent, &self.snap.route_status, &said, self.desk.clock.now());
        if rows.is_empty() {
            return Ok(());
        }
        self.desk.write(rows.iter().cloned().map(RowChange::PutRouteStatus).collect()).await?;
        self.desk.store.announce();
        self.take_rows(rows);
        Ok(())
    }

    /// The rows that say of these names that they wait for their turn, and of what waited for a person that it is on
    /// its way. What serves goes on serving.
    pub fn set_out(&self, in_line_now: &BTreeSet<&String>) -> Vec<RouteStatusRow> {
        let Some(agent) = &self.snap.tunnel.agent_id else { return Vec::new() };
        let word = |service: &Service| match self.snap.state(&service.key) {
            Some(PublicState::Published) => None,
            _ if in_line_now.contains(&service.key.hostname) => Some(in_line()),
            Some(PublicState::Waiting) => Some(still_on_its_way()),
            _ => None,
        };
        let services = self.wishes.services.iter();
        let said = services.filter_map(|service| Some((service.key.clone(), word(service)?))).collect();
        route_puts(agent, &self.snap.route_status, &said, self.desk.clock.now())
    }

    /// These rows are written now.
    pub fn take_rows(&mut self, rows: Vec<RouteStatusRow>) {
        self.snap.route_status.retain(|row| rows.iter().all(|new| new.key != row.key));
        self.snap.route_status.extend(rows);
    }

    fn rules_in_force(&self) -> BTreeSet<RuleId> {
        self.in_force.iter().flatten().map(IngressRule::id).collect()
    }

    /// What is to be said about each route.
    pub fn said(&self, result: &Result<(), Stop>) -> BTreeMap<RouteKey, Said> {
        let Some(wishes) = self.wishes_if_read() else { return self.said_without_zones(result) };
        let mut said = wishes.refused.clone();
        let in_force = self.rules_in_force();
        for service in &self.wishes.services {
            let word = match self.has_looked || result.is_err() {
                true => Some(self.say(service, &in_force, result)),
                false => self.said_before(service),
            };
            if let Some(word) = word {
                said.insert(service.key.clone(), word);
            }
        }
        said
    }

    fn wishes_if_read(&self) -> Option<&Wishes> {
        self.has_wishes.then_some(&self.wishes)
    }

    /// The zones could not be read, or a fault of ours came first: what was said holds, and what is new waits.
    fn said_without_zones(&self, result: &Result<(), Stop>) -> BTreeMap<RouteKey, Said> {
        let services = self.snap.routes.iter().map(|route| &route.spec);
        let words = services.map(|service| {
            let holds = |said: &Said| match result {
                Err(Stop::Internal) => said.state == PublicState::Published,
                _ => said.state != PublicState::Failed,
            };
            let is_known = |said: &Said| said.state != PublicState::Published || self.is_known(service);
            let before = self.said_before(service).filter(holds).filter(is_known);
            let failing = || result.as_ref().err().map_or_else(still_on_its_way, failing);
            (service.key.clone(), before.unwrap_or_else(failing))
        });
        words.collect()
    }

    /// Nothing was asked, so what was said still holds.
    fn said_before(&self, service: &Service) -> Option<Said> {
        let row = self.snap.row(&service.key)?;
        let state = self.snap.state(&service.key)?;
        Some(Said { state, reason: row.reason.clone(), cause: row.cause, answer: row.answer.clone() })
    }

    fn say(&self, service: &Service, in_force: &BTreeSet<RuleId>, result: &Result<(), Stop>) -> Said {
        let name = &service.key.hostname;
        let id = IngressRule::new(service).id();
        if let Err(error @ Stop::Local) = result {
            return Said::because(PublicState::Blocked, error.to_string());
        }
        if let Some(conflict) = self.conflicts.iter().find(|conflict| conflict.wanted.id() == id) {
            let cause = conflict.is_equal.then_some(Cause::EqualRule);
            return Said { cause, ..Said::because(PublicState::Blocked, in_conflict(conflict)) };
        }
        if self.is_waiting {
            return Said::because(PublicState::Waiting, self.why_it_waits());
        }
        if let Some(reason) = self.blocked.get(name) {
            return Said::because(PublicState::Blocked, reason.clone());
        }
        if let Some(failure) = self.failed_names.get(name) {
            return Said {
                state: PublicState::Failed,
                reason: Some(failure.reason.into()),
                cause: None,
                answer: Some(failure.answer.clone()),
            };
        }
        if let Some(words) = self.trial.refused().get(&id) {
            let reason = if in_force.contains(&id) { CHANGE_REFUSED } else { RULE_REFUSED };
            let failed = Said::because(PublicState::Failed, reason);
            return Said { answer: Some(words.clone()), ..failed };
        }
        if self.put_off.contains_key(name) {
            return in_line();
        }
        let leads_here = self.names.contains_key(name) || self.has_settled_name(name);
        if in_force.contains(&id) && leads_here {
            let reason = match self.names.get(name) {
                Some(false) => Some(LEADS_HERE_ALREADY.into()),
                // Nobody looked this time.
                None if self.snap.record(name).is_none()
                    && !self.wishes.warnings.contains_key(&service.key) =>
                {
                    let before = self.said_before(service);
                    before.filter(|said| said.state == PublicState::Published).and_then(|said| said.reason)
                }
                _ => self.wishes.warnings.get(&service.key).cloned(),
            };
            return Said { reason, ..Said::plain(PublicState::Published) };
        }
        match result {
            Err(error @ Stop::Gone(_)) => failing(error),
            // What was published stays so while Cloudflare cannot be asked.
            Err(_) if self.was_published(service) => self.said_before(service).unwrap_or(still_on_its_way()),
            Err(error) => failing(error),
            Ok(()) => still_on_its_way(),
        }
    }

    fn was_published(&self, service: &Service) -> bool {
        let rule = IngressRule::new(service);
        let is_applied = || self.snap.applied.iter().any(|applied| applied.as_wished() == rule);
        self.snap.state(&service.key) == Some(PublicState::Published)
            && is_applied()
            && self.is_known(service)
    }

    /// False while nobody knows what a call about the route's rule or name has come to.
    fn is_known(&self, service: &Service) -> bool {
        let record = self.snap.record(&service.key.hostname);
        self.is_config_known && record.is_none_or(|row| row.is_settled)
    }

    /// Names of the containers behind the rules that are wanted.
    pub fn containers(&self) -> BTreeMap<RuleId, &str> {
        let routes = self.snap.routes.iter();
        routes.map(|route| (IngressRule::new(&route.spec).id(), route.container_name.as_str())).collect()
    }

    pub fn why_it_waits(&self) -> String {
        let foreign = self.foreign.as_deref().unwrap_or_default();
        let is_equal = |foreign: &&Foreign| matches!(foreign, Foreign::Rule { equal_to: Some(_), .. });
        let fate = match foreign.iter().filter(is_equal).count() {
            0 => "they stay as they are".to_owned(),
            equal if equal == foreign.len() => "they become ours, as labels ask for just them".to_owned(),
            equal => format!("{equal} of them become ours, as labels ask for just them, and the rest stays"),
        };
        format!(
            "tunnel `{}` holds {} rules or settings that are not ours; nothing is written to it until you confirm \
             with `lightship apply --yes` or on the page, and then {fate}",
            self.snap.tunnel.name,
            foreign.len()
        )
    }
}

fn failing(error: &Stop) -> Said {
    if error.is_put_off() {
        return in_line();
    }
    let answer = error.answer();
    let reason = match error {
        Stop::Cloudflare(_) | Stop::Name(_) => TRIED_AGAIN.to_owned(),
        _ => error.to_string(),
    };
    Said { state: PublicState::Failed, reason: Some(reason), cause: error.cause(), answer }
}

fn still_on_its_way() -> Said {
    Said::plain(PublicState::Publishing)
}

fn in_line() -> Said {
    Said::because(PublicState::Publishing, format!("it waits for its turn: {ALLOWANCE}"))
}

fn in_conflict(conflict: &RuleConflict) -> String {
    let service = &conflict.service;
    match conflict.is_equal {
        true => format!(
            "a rule that is not ours serves it already, from `{service}` too; `lightship apply --yes` makes it ours"
        ),
        false => format!(
            "a rule that is not ours sends it to `{service}`; it stays, so remove it at Cloudflare or choose another name"
        ),
    }
}
