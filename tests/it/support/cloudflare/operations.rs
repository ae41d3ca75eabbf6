//! What each operation does, one line each; the rules are in `tunnels` and `dns`.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::ACCOUNT;
use super::answer::{self, Refusal};
use super::contract::Op;
use super::server::Call;
use super::state::State;

/// Carries a call out; returns the envelope.
pub(super) fn operate(state: &mut State, call: &Call, values: &[String]) -> answer::Outcome {
    let value = |index: usize| values.get(index).map_or("", String::as_str);
    let (first, second) = (value(0), value(1));
    let query = |name: &str| call.query.get(name).cloned();
    let body = call.body.as_ref().unwrap_or(&Value::Null);
    let text = |key: &str| body[key].as_str().unwrap_or_default();
    let list = |items, size| {
        Ok(answer::page(items, number(&call.query, "page", 1), number(&call.query, "per_page", size)))
    };
    let Some(op) = call.op else { return Err(Refusal::new(404, 7003, "not kept by this stand-in")) };
    let result = match op {
        Op::VerifyUserToken if state.has_account_token => Err(Refusal::new(401, 1000, "Invalid API Token")),
        Op::VerifyUserToken | Op::VerifyAccountToken => Ok(json!({ "id": "token-1", "status": "active" })),
        Op::ListAccounts => {
            return list(vec![json!({ "id": ACCOUNT, "name": "Stand-in", "type": "standard" })], 20);
        }
        Op::ListZones => {
            let fits = |name: &str| query("name").is_none_or(|wanted| wanted == name);
            let is_ours = query("account.id").is_none_or(|account| account == ACCOUNT);
            let is_shown = |name: &String| is_ours && !state.hidden_zones.contains(name);
            let zones = state.zones.iter().filter(|zone| is_shown(&zone.name) && fits(&zone.name));
            return list(zones.map(|zone| zone.to_json(ACCOUNT)).collect(), 20);
        }
        Op::GetZone => state.zone(first).map(|zone| zone.to_json(ACCOUNT)),
        Op::ListTunnels => {
            let is_deleted = query("is_deleted").map(|value| value == "true");
            return list(state.list_tunnels(ACCOUNT, query("name").as_deref(), is_deleted), 100);
        }
        Op::CreateTunnel => {
            let source = if text("config_src").is_empty() { "local" } else { text("config_src") };
            let id = state.create_tunnel(text("name"), source);
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
        Op::ListRecords => return state.list_records(first, query).and_then(|records| list(records, 100)),
        Op::CreateRecord => state.create_record(first, body).map(|record| record.to_json()),
        Op::GetRecord => state.get_record(first, second),
        Op::PutRecord => state.put_record(first, second, body),
        Op::DeleteRecord => state.delete_record(first, second),
    };
    result.map(answer::success)
}

fn number(query: &BTreeMap<String, String>, name: &str, default: usize) -> usize {
    query.get(name).and_then(|value| value.parse().ok()).filter(|&n| n > 0).unwrap_or(default)
}
