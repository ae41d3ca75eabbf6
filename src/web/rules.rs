//! Rules that people made, as API and pages show them, and the forms in which people write them.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::error::ApiError;
use super::listings::{Elements, Page, next};
use super::picture::{Members, ROWS, Standing};
use super::records::{serves, spec_record};
use super::state::WebState;
use crate::db::read::{self, ManualRuleRow, RouteStatusRow, TunnelConnectorsRow, TunnelRow, TunnelStatusRow};
use crate::domain::connector::{Reachability, Sight};
use crate::domain::id::TunnelId;
pub use crate::domain::manual_rule::key_text;
use crate::domain::manual_rule::without_effect;
use crate::domain::path::{EXPRESSION, kept_path};
use crate::domain::publish::{PublicState, public_state};
use crate::domain::route::{RouteKey, RouteState};

/// A rule with what is known of it.
pub struct RuleView {
    /// The rule.
    pub row: ManualRuleRow,
    /// What Cloudflare made of it.
    pub status: Option<RouteStatusRow>,
    /// Its tunnel.
    pub tunnel: Option<TunnelRow>,
    /// Whether requests reach the tunnel.
    reach: Option<Reachability>,
    /// True if somebody leads it to a tunnel.
    is_led: bool,
}

impl RuleView {
    /// Reads what is known of a rule. `of_agent` says whether requests reach the tunnel of an agent, who knows it best.
    pub async fn read(
        state: &WebState,
        row: ManualRuleRow,
        tunnel: Option<TunnelRow>,
        of_agent: Option<Reachability>,
    ) -> Result<Self, ApiError> {
        let (db, id) = (&state.master().db, &row.rule.tunnel_id);
        let names = [row.rule.spec.key.hostname.clone()];
        let said = read::status_of_rules(db, &names).await.map_err(ApiError::internal)?;
        let reach = match &tunnel {
            Some(one) if one.agent_id.is_none() => {
                let status = read::find_tunnel_status(db, id).await.map_err(ApiError::internal)?;
                let listed = read::find_tunnel_connectors(db, id).await.map_err(ApiError::internal)?;
                Some(reach_without_agent(state, one, status.as_ref(), listed.as_ref()))
            }
            _ => of_agent,
        };
        Ok(Self {
            status: said.into_iter().find(|status| status.key == row.rule.spec.key),
            is_led: state.master().has_cloudflare(),
            tunnel,
            reach,
            row,
        })
    }

    /// Returns where it stands.
    pub fn standing(&self) -> Standing<'_> {
        let said = self.status.as_ref().and_then(|row| PublicState::parse(&row.state));
        Standing {
            state: public_state(&RouteState::Active, said, self.is_led),
            reach: self.reach.as_ref().filter(|_| said == Some(PublicState::Published)),
            reason: self.status.as_ref().and_then(|row| row.reason.as_deref()),
            answer: self.status.as_ref().and_then(|row| row.answer.as_deref()),
            doubt: None,
        }
    }

    /// Returns what the tunnel is called.
    pub fn tunnel_name(&self) -> &str {
        self.tunnel.as_ref().map_or(self.row.rule.tunnel_id.as_str(), |tunnel| &tunnel.name)
    }
}

/// Returns rules after `after` by hostname and path, and where the next page begins.
pub async fn rule_views(
    state: &WebState,
    members: &Members,
    after: Option<&RouteKey>,
) -> Result<(Vec<RuleView>, Option<RouteKey>), ApiError> {
    let db = &state.master().db;
    let rows = read::list_rules(db, after, ROWS).await.map_err(ApiError::internal)?;
    let names: Vec<String> = rows.iter().map(|row| row.rule.spec.key.hostname.clone()).collect();
    let said = read::status_of_rules(db, &names).await.map_err(ApiError::internal)?;
    let mut said: HashMap<RouteKey, RouteStatusRow> =
        said.into_iter().map(|row| (row.key.clone(), row)).collect();
    let mut ids: Vec<TunnelId> = rows.iter().map(|row| row.rule.tunnel_id.clone()).collect();
    ids.sort();
    ids.dedup();
    let statuses = read::tunnel_status_of(db, &ids).await.map_err(ApiError::internal)?;
    let listed = read::tunnel_connectors_of(db, &ids).await.map_err(ApiError::internal)?;
    let mut tunnels = HashMap::new();
    for id in &ids {
        if let Some(tunnel) = read::find_tunnel(db, id).await.map_err(ApiError::internal)? {
            let reach = match &tunnel.agent_id {
                Some(agent) => members.member(agent).and_then(|member| member.reach.clone()),
                None => Some(reach_without_agent(state, &tunnel, statuses.get(id), listed.get(id))),
            };
            tunnels.insert(id.clone(), (tunnel, reach));
        }
    }
    let end = next(&rows, ROWS, |row| row.rule.spec.key.clone());
    let is_led = state.master().has_cloudflare();
    let view = |row: ManualRuleRow| {
        let (tunnel, reach) = tunnels.get(&row.rule.tunnel_id).cloned().unzip();
        RuleView { status: said.remove(&row.rule.spec.key), tunnel, reach: reach.flatten(), is_led, row }
    };
    Ok((rows.into_iter().map(view).collect(), end))
}

/// Of a tunnel without an agent Cloudflare was asked.
pub fn reach_without_agent(
    state: &WebState,
    tunnel: &TunnelRow,
    status: Option<&TunnelStatusRow>,
    listed: Option<&TunnelConnectorsRow>,
) -> Reachability {
    let sight = Sight {
        tunnel: &tunnel.id,
        name: Some(&tunnel.name),
        said: None,
        listed: listed.map(|row| &row.listed),
        written: status.and_then(|row| Some((row.config_version?, row.version_since?))),
    };
    sight.reachability(state.master().clock.now())
}

/// Makes a page of a list of rules; `add` says how they are shown.
pub async fn rule_page(
    state: WebState,
    members: Arc<Members>,
    add: fn(&mut Elements, &RuleView) -> Result<(), ApiError>,
    after: Option<RouteKey>,
) -> Page<RouteKey> {
    let (views, end) = rule_views(&state, &members, after.as_ref()).await?;
    let mut elements = Elements::default();
    for view in &views {
        add(&mut elements, view)?;
    }
    Ok((elements, end))
}

/// Returns a rule as DockFlare's lists have it.
pub fn legacy_record(view: &RuleView) -> Value {
    let rule = &view.row.rule;
    let standing = view.standing();
    let mut record = spec_record(&rule.spec, &standing, "manual");
    record["agent_id"] = json!(view.tunnel.as_ref().and_then(|tunnel| tunnel.agent_id.as_ref()));
    record["container_id"] = Value::Null;
    record["container_name"] = Value::Null;
    record["delete_at"] = Value::Null;
    record["tunnel_id"] = json!(rule.tunnel_id);
    record["tunnel_name"] = json!(view.tunnel_name());
    record
}

/// Returns a rule as it is listed among routes.
pub fn route_record(view: &RuleView) -> Value {
    let mut record = legacy_record(view);
    record["state"] = json!(view.standing().state);
    record["path"] = json!(view.row.rule.spec.key.path);
    record["agent"] = Value::Null;
    record["container"] = Value::Null;
    record["claimed_at"] = json!(view.row.set_at);
    record
}

/// Returns a rule with everything that a person wrote.
pub fn rule_record(view: &RuleView) -> Value {
    let (row, standing) = (&view.row, view.standing());
    let spec = &row.rule.spec;
    json!({
        "key": key_text(&spec.key), "hostname": spec.key.hostname, "path": spec.key.path, "service": spec.service,
        "zone_name": spec.zone_name, "origin_request": spec.origin_request, "access": spec.access,
        "tunnel_id": row.rule.tunnel_id, "tunnel_name": view.tunnel_name(),
        "agent_id": view.tunnel.as_ref().and_then(|tunnel| tunnel.agent_id.as_ref()),
        "state": standing.state, "reason": standing.reasons(), "cloudflare_answer": standing.answer,
        "serves": serves(standing.reach), "serves_reason": standing.reach.and_then(|reach| reach.reason.as_deref()),
        "without_effect": without_effect(spec), "set_at": row.set_at, "set_by": row.set_by,
    })
}

/// Reads the key of a rule. A path may stand there as it is kept or as somebody would write it.
pub fn read_key(text: &str) -> RouteKey {
    let (hostname, path) = text.split_once('|').unwrap_or((text, ""));
    let hostname = crate::domain::hostname::kept_form(hostname);
    let path = match path.trim_start().strip_prefix(EXPRESSION) {
        Some(pattern) => kept_path(pattern),
        None => crate::domain::path::normalise_path(path).unwrap_or_else(|_| path.to_owned()),
    };
    RouteKey { hostname, path }
}

/// Where a rule is, on the pages.
pub fn place_of(key: &RouteKey) -> String {
    format!("/routes/rule/{}", encoded(key))
}

/// The address of the form for a rule.
pub fn form_of(key: &RouteKey) -> String {
    format!("/routes/rule?key={}", encoded(key))
}

fn encoded(key: &RouteKey) -> String {
    let text: String = url::form_urlencoded::byte_serialize(key_text(key).as_bytes()).collect();
    text.replace('+', "%20")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_however_it_is_written() {
        for (text, kept) in [
            ("app.example.com|", "app.example.com"),
            ("App.example.com.", "app.example.com"),
            ("app.example.com|api/", "app.example.com/api"),
            ("app.example.com|~^/(a|b)", "app.example.com~^/(a|b)"),
            ("app.example.com| ~\\.jpg ", "app.example.com~\\.jpg "),
            ("app.example.com| /api ", "app.example.com/api"),
            ("*.example.com|/x|y", "*.example.com/x|y"),
        ] {
            assert_eq!(read_key(text).to_string(), kept, "{text}");
        }
        let key = RouteKey { hostname: "app.example.com".into(), path: "~^/(a|b)".into() };
        assert_eq!(read_key(&key_text(&key)), key);
    }
}
