//! What was decided about tunnels, administrators and settings.

use super::origin::Origin;
use crate::db::entities::{admin, order_key, registry_login, setting, tunnel};
use crate::db::needs::Needs;
use crate::db::unit::Unit;
use crate::db::words::to_json;
use crate::domain::event::{AdminEvent, TunnelEvent};

/// Names the tunnel that an event is about.
pub(super) fn needs_of_tunnel(needs: &mut Needs, event: &TunnelEvent) {
    match event {
        TunnelEvent::Confirmed { tunnel_id, .. }
        | TunnelEvent::Added { tunnel_id, .. }
        | TunnelEvent::Made { tunnel_id }
        | TunnelEvent::Deleted { tunnel_id } => {
            needs.tunnels.insert(tunnel_id.as_str().into());
        }
        TunnelEvent::RecordForgotten { .. } => {}
    }
}

/// Names what an event about what people set touches.
pub(super) fn needs(needs: &mut Needs, event: &AdminEvent) {
    match event {
        AdminEvent::Created { name, .. } | AdminEvent::PasswordChanged { name } => {
            needs.admins.insert(name.clone());
        }
        AdminEvent::SettingChanged { key, .. } => {
            needs.settings.insert(key.clone());
        }
        AdminEvent::RegistryLoginSet { registry, .. } | AdminEvent::RegistryLoginRemoved { registry } => {
            needs.registry_logins.insert(registry.clone());
        }
        AdminEvent::OrderKeySet { .. } => {}
        AdminEvent::ImageLetGo { digest } => drop(needs.failed_images.insert(digest.clone())),
    }
}

/// Projects an event about a tunnel.
pub(super) fn project_tunnel(unit: &mut Unit, origin: Origin<'_>, event: &TunnelEvent) {
    match event {
        TunnelEvent::Confirmed { tunnel_id, by } => {
            unit.tunnels.change(&tunnel_id.as_str().into(), |tunnel| {
                tunnel.confirmed_at = Some(origin.at);
                tunnel.confirmed_by = Some(by.clone());
            })
        }
        TunnelEvent::Added { .. } => add_tunnel(unit, origin, event),
        TunnelEvent::Made { tunnel_id } => {
            unit.tunnels.change(&tunnel_id.as_str().into(), |tunnel| tunnel.made = true)
        }
        TunnelEvent::Deleted { tunnel_id } => unit.tunnels.delete(&tunnel_id.as_str().into()),
        // Its row is not derived from events.
        TunnelEvent::RecordForgotten { .. } => {}
    }
}

/// One that is known stays as it is: an agent may have it by now.
fn add_tunnel(unit: &mut Unit, origin: Origin<'_>, event: &TunnelEvent) {
    let TunnelEvent::Added { tunnel_id, account_id, tunnel_name, secret_id } = event else { return };
    if unit.tunnels.get(&tunnel_id.as_str().into()).is_some() {
        return;
    }
    unit.tunnels.put(tunnel::Model {
        id: tunnel_id.as_str().into(),
        account_id: account_id.as_str().into(),
        name: tunnel_name.clone(),
        agent_id: None,
        secret_id: secret_id.as_str().into(),
        enrolled_at: origin.at,
        confirmed_at: None,
        confirmed_by: None,
        joining: None,
        left_by: None,
        made: false,
        removed: false,
    });
}

/// Projects an event about what people set.
pub(super) fn project(unit: &mut Unit, origin: Origin<'_>, event: &AdminEvent) {
    match event {
        AdminEvent::Created { name, role } => unit.admins.put(admin::Model {
            name: name.clone(),
            role: role.as_str().into(),
            created_at: origin.at,
            password_changed_at: None,
            session_version: 1,
        }),
        AdminEvent::PasswordChanged { name } => unit.admins.change(name, |admin| {
            admin.password_changed_at = Some(origin.at);
            admin.session_version = admin.session_version.saturating_add(1);
        }),
        AdminEvent::SettingChanged { key, value } => unit.settings.put(setting::Model {
            key: key.clone(),
            value: to_json(value),
            changed_at: origin.at,
            changed_by: origin.by.into(),
        }),
        AdminEvent::RegistryLoginSet { registry, account } => {
            unit.registry_logins.put(registry_login::Model {
                registry: registry.clone(),
                account: account.clone(),
                set_at: origin.at,
                set_by: origin.by.into(),
            });
        }
        AdminEvent::RegistryLoginRemoved { registry } => unit.registry_logins.delete(registry),
        AdminEvent::ImageLetGo { digest } => {
            unit.failed_images.change(digest, |row| row.let_go_by = Some(origin.by.to_owned()));
        }
        AdminEvent::OrderKeySet { key, endorsed } => unit.order_keys.put(order_key::Model {
            fingerprint: key.fingerprint().to_string(),
            public_key: String::from(key.clone()),
            endorsed: endorsed.as_ref().map(to_json),
            place: origin.seq,
            set_at: origin.at,
            set_by: origin.by.into(),
        }),
    }
}
