//! What was decided about tunnels, administrators and settings.

use super::Origin;
use crate::db::entities::{admin, setting};
use crate::db::unit::Unit;
use crate::db::words::to_json;
use crate::domain::event::Event;

/// Applies an event about what people set.
pub(super) fn apply(unit: &mut Unit, origin: Origin<'_>, event: &Event) {
    match event {
        Event::TunnelConfirmed { tunnel_id, by } => {
            unit.tunnels.change(&tunnel_id.as_str().into(), |tunnel| {
                tunnel.confirmed_at = Some(origin.at);
                tunnel.confirmed_by = Some(by.clone());
            })
        }
        Event::TunnelMade { tunnel_id } => {
            unit.tunnels.change(&tunnel_id.as_str().into(), |tunnel| tunnel.made = true)
        }
        Event::TunnelDeleted { tunnel_id } => unit.tunnels.delete(&tunnel_id.as_str().into()),
        Event::AdminCreated { name, role } => unit.admins.put(admin::Model {
            name: name.clone(),
            role: role.as_str().into(),
            created_at: origin.at,
            password_changed_at: None,
            session_version: 1,
        }),
        Event::AdminPasswordChanged { name } => unit.admins.change(name, |admin| {
            admin.password_changed_at = Some(origin.at);
            admin.session_version = admin.session_version.saturating_add(1);
        }),
        Event::SettingChanged { key, value } => unit.settings.put(setting::Model {
            key: key.clone(),
            value: to_json(value),
            changed_at: origin.at,
            changed_by: origin.by.into(),
        }),
        _ => {}
    }
}
