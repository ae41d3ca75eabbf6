//! What became ours at Cloudflare by a person's word. What is ours there otherwise is no projection: it is written before the
//! call that makes it so.

use crate::db::needs::Needs;
use crate::db::unit::Unit;
use crate::domain::event::OwnedEvent;
use crate::domain::owned::OwnedKind;

/// Names the tunnel that an event makes ours.
pub(super) fn needs(needs: &mut Needs, event: &OwnedEvent) {
    if let OwnedEvent::Adopted { tunnel_id: Some(tunnel_id), kind: OwnedKind::Tunnel, .. } = event {
        needs.tunnels.insert(tunnel_id.as_str().into());
    }
}

/// Projects an event: a tunnel that was adopted goes as one of our making does.
pub(super) fn project(unit: &mut Unit, event: &OwnedEvent) {
    if let OwnedEvent::Adopted { tunnel_id: Some(tunnel_id), kind: OwnedKind::Tunnel, .. } = event {
        unit.tunnels.change(&tunnel_id.as_str().into(), |tunnel| tunnel.made = true);
    }
}
