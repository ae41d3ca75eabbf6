//! What each event makes of the tables that are derived from events. No input or output: rows are in memory.
//!
//! An event that concerns a row that is not there changes nothing: history is never refused afterwards. The rules
//! that only the whole database can keep (one agent per key, hostname and tunnel; no rule of a person for the hostname of an agent) are kept here, because the
//! transaction that calls this is the only one that writes.

mod access;
mod agents;
mod commands;
mod notifications;
mod origin;
mod owned;
mod removals;
mod routes;
mod rules;
mod settings;
mod tokens;
mod updates;

use super::batch::CommitError;
use super::needs::Needs;
use super::unit::Unit;
use crate::domain::event::Event;

pub(super) use origin::Origin;

/// Projects one event onto the rows that were loaded for it.
pub(super) fn project(unit: &mut Unit, origin: Origin<'_>, event: &Event) -> Result<(), CommitError> {
    match event {
        Event::Key(event) => agents::project_key(unit, origin, event),
        Event::Agent(event) => agents::project(unit, origin, event)?,
        Event::Command(event) => commands::project(unit, origin, event),
        Event::Route(event) => routes::project(unit, origin, event)?,
        Event::Update(event) => updates::project(unit, origin, event),
        Event::Tunnel(event) => settings::project_tunnel(unit, origin, event),
        Event::Admin(event) => settings::project(unit, origin, event),
        Event::Token(event) => tokens::project(unit, origin, event),
        Event::Access(event) => access::project(unit, origin, event),
        Event::Owned(event) => owned::project(unit, event),
        Event::Rule(event) => rules::project(unit, origin, event)?,
        Event::Notify(event) => notifications::project(unit, origin, event),
    }
    Ok(())
}

/// Names the rows that an event is projected onto.
pub(super) fn needs(needs: &mut Needs, event: &Event) {
    match event {
        Event::Key(event) => agents::needs_of_key(needs, event),
        Event::Agent(event) => agents::needs(needs, event),
        Event::Command(event) => commands::needs(needs, event),
        Event::Route(event) => routes::needs(needs, event),
        Event::Update(event) => updates::needs(needs, event),
        Event::Tunnel(event) => settings::needs_of_tunnel(needs, event),
        Event::Admin(event) => settings::needs(needs, event),
        Event::Token(event) => tokens::needs(needs, event),
        Event::Access(event) => access::needs(needs, event),
        Event::Owned(event) => owned::needs(needs, event),
        Event::Rule(event) => rules::needs(needs, event),
        Event::Notify(event) => notifications::needs(needs, event),
    }
}
