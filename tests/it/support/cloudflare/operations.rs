//! What each operation does, one line each; the rules are in `tunnels`, `dns`, `access`, `apps` and `service_tokens`.

use serde_json::{Value, json};

use super::ACCOUNT;
use super::answer::{self, Outcome, Refusal};
use super::ops::Op;
use super::server::Call;
use super::state::State;

/// What a call asks for, in parts.
struct Asked<'a> {
    call: &'a Call,
    values: &'a [String],
}

impl<'a> Asked<'a> {
    /// The value of a parameter in the path.
    fn value(&self, index: usize) -> &'a str {
        self.values.get(index).map_or("", String::as_str)
    }

    fn query(&self, name: &str) -> Option<String> {
        self.call.query.get(name).cloned()
    }

    fn body(&self) -> &'a Value {
        self.call.body.as_ref().unwrap_or(&Value::Null)
    }

    fn text(&self, key: &str) -> &'a str {
        self.body()[key].as_str().unwrap_or_default()
    }

    /// The page of `items` that is asked for; `size` is how long pages are unless it says so.
    fn page(&self, items: Vec<Value>, size: usize) -> Outcome {
        Ok(answer::page(items, self.number("page", 1), self.number("per_page", size)))
    }

    fn number(&self, name: &str, default: usize) -> usize {
        self.query(name).and_then(|value| value.parse().ok()).filter(|&n| n > 0).unwrap_or(default)
    }
}

/// Carries a call out; returns the envelope.
pub(super) fn operate(state: &mut State, call: &Call, values: &[String]) -> Outcome {
    let asked = Asked { call, values };
    let (first, second, body) = (asked.value(0), asked.value(1), asked.body());
    let Some(op) = call.op else { return Err(Refusal::new(404, 7003, "not kept by this stand-in")) };
    let result = match op {
        Op::VerifyUserToken if state.has_account_token => Err(Refusal::new(401, 1000, "Invalid API Token")),
        Op::VerifyUserToken | Op::VerifyAccountToken => Ok(json!({ "id": "token-1", "status": "active" })),
        Op::ListAccounts => {
            return asked.page(vec![json!({ "id": ACCOUNT, "name": "Stand-in", "type": "standard" })], 20);
        }
        Op::ListZones => {
            let fits = |name: &str| asked.query("name").is_none_or(|wanted| wanted == name);
            let is_ours = asked.query("account.id").is_none_or(|account| account == ACCOUNT);
            let is_shown = |name: &String| is_ours && !state.hidden_zones.contains(name);
            let zones = state.zones.iter().filter(|zone| is_shown(&zone.name) && fits(&zone.name));
            return asked.page(zones.map(|zone| zone.to_json(ACCOUNT)).collect(), 20);
        }
        Op::GetZone => state.zone(first).map(|zone| zone.to_json(ACCOUNT)),
        Op::ListTunnels => {
            let is_deleted = asked.query("is_deleted").map(|value| value == "true");
            return asked.page(state.list_tunnels(ACCOUNT, asked.query("name").as_deref(), is_deleted), 100);
        }
        Op::CreateTunnel => {
            let source = if asked.text("config_src").is_empty() { "local" } else { asked.text("config_src") };
            let id = state.create_tunnel(asked.text("name"), source);
            id.and_then(|id| state.tunnel(&id).map(|tunnel| tunnel.to_json(ACCOUNT)))
        }
        Op::GetTunnel => state.tunnel(second).map(|tunnel| tunnel.to_json(ACCOUNT)),
        Op::DeleteTunnel => state.delete_tunnel(ACCOUNT, second),
        Op::GetToken => state.live_tunnel(second).map(|tunnel| json!(tunnel.token(ACCOUNT))),
        Op::GetConfig => state.live_tunnel(second).map(|tunnel| tunnel.config_json(ACCOUNT)),
        Op::PutConfig => state.put_config(ACCOUNT, second, body),
        Op::ListConnectors => state.live_tunnel(second).map(|tunnel| json!(tunnel.clients)),
        Op::DropConnectors => state.live_tunnel(second).map(|tunnel| {
            tunnel.clients.clear();
            Value::Null
        }),
        Op::ListMembers => {
            return asked.page(state.list_members(asked.query("status").as_deref()), 20);
        }
        Op::ListRecords => {
            let records = state.list_records(first, |name| asked.query(name))?;
            return asked.page(records, 100);
        }
        Op::CreateRecord => state.create_record(first, body).map(|record| record.to_json()),
        Op::GetRecord => state.get_record(first, second),
        Op::PutRecord => state.put_record(first, second, body),
        Op::PatchRecord => state.patch_record(first, second, body),
        Op::DeleteRecord => state.delete_record(first, second),
        Op::BatchRecords => state.batch_records(first, body),
        _ => return on_access(state, op, &asked),
    };
    result.map(answer::success)
}

fn on_access(state: &mut State, op: Op, asked: &Asked<'_>) -> Outcome {
    /// How long Access's pages are unless a call says so.
    const SIZE: usize = 25;
    state.access.check_is_on()?;
    let (id, policy, body) = (asked.value(1), asked.value(2), asked.body());
    let result = match op {
        Op::ListApps => return asked.page(state.list_apps(|name| asked.query(name)), SIZE),
        Op::CreateApp => state.create_app(body),
        Op::GetApp => state.get_app(id),
        Op::PutApp => state.put_app(id, body),
        Op::DeleteApp => state.delete_app(id),
        Op::ListAppPolicies => return asked.page(state.list_app_policies(id)?, SIZE),
        Op::CreateAppPolicy => state.create_app_policy(id, body),
        Op::GetAppPolicy => state.get_app_policy(id, policy),
        Op::PutAppPolicy => state.put_app_policy(id, policy, body),
        Op::DeleteAppPolicy => state.delete_app_policy(id, policy),
        Op::ListPolicies => return asked.page(state.list_policies(), SIZE),
        Op::CreatePolicy => state.create_policy(body),
        Op::GetPolicy => state.get_policy(id),
        Op::PutPolicy => state.put_policy(id, body),
        Op::DeletePolicy => state.delete_policy(id),
        Op::ListGroups => return asked.page(state.list_groups(asked.query("name").as_deref()), SIZE),
        Op::CreateGroup => state.create_group(body),
        Op::GetGroup => state.get_group(id),
        Op::PutGroup => state.put_group(id, body),
        Op::DeleteGroup => state.delete_group(id),
        Op::ListIdentityProviders => return asked.page(state.access.identity_providers.clone(), SIZE),
        Op::ListServiceTokens => {
            return asked.page(state.list_service_tokens(asked.query("name").as_deref()), SIZE);
        }
        Op::CreateServiceToken => state.create_service_token(body),
        Op::PutServiceToken => state.put_service_token(id, body),
        Op::DeleteServiceToken => state.delete_service_token(id),
        Op::RotateServiceToken => state.rotate_service_token(id),
        Op::GetOrganization => state.get_organization(),
        _ => Err(Refusal::new(404, 7003, format!("{op:?} is not kept by this stand-in"))),
    };
    result.map(answer::success)
}
