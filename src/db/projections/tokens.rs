//! Registration tokens, and who took their seats.

use super::origin::Origin;
use crate::db::entities::{registration_token, registration_token_usage};
use crate::db::needs::Needs;
use crate::db::times::micros;
use crate::db::unit::Unit;
use crate::db::words::to_json;
use crate::domain::token::TokenEvent;

/// Names the token that an event is about.
pub(super) fn needs(needs: &mut Needs, event: &TokenEvent) {
    needs.registration_tokens.insert(event.token().as_str().into());
}

/// Projects an event about a token.
pub(super) fn project(unit: &mut Unit, origin: Origin<'_>, event: &TokenEvent) {
    let id = event.token().as_str().to_owned();
    match event {
        TokenEvent::Made { label, sha256, max_seats, expires_at, metadata, .. } => {
            unit.registration_tokens.put(registration_token::Model {
                id,
                label: label.clone(),
                sha256: sha256.clone(),
                max_seats: i32::try_from(*max_seats).unwrap_or(i32::MAX),
                seats_used: 0,
                expires_at: micros(*expires_at),
                created_at: origin.at,
                created_by: origin.by.into(),
                used_at: None,
                revoked_at: None,
                revoked_reason: None,
                metadata: to_json(metadata),
            });
        }
        TokenEvent::SeatTaken { agent_id, .. } => {
            let is_there = unit.registration_tokens.get(&id).is_some();
            let usage = registration_token_usage::Model {
                token_id: id.clone(),
                agent_id: agent_id.as_str().into(),
                used_at: origin.at,
            };
            unit.registration_tokens.change(&id, |token| {
                token.seats_used = token.seats_used.saturating_add(1);
                token.used_at.get_or_insert(origin.at);
            });
            if is_there {
                unit.registration_token_usage.put(usage);
            }
        }
        TokenEvent::Revoked { reason, .. } => unit.registration_tokens.change(&id, |token| {
            token.revoked_at.get_or_insert(origin.at);
            token.revoked_reason.clone_from(reason);
        }),
        TokenEvent::Deleted { .. } => {
            for usage in unit.registration_token_usage.all(|usage| usage.token_id == id) {
                unit.registration_token_usage.delete(&(usage.token_id, usage.agent_id));
            }
            unit.registration_tokens.delete(&id);
        }
    }
}
