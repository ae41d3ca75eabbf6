//! The rule in the tunnel: as labels ask for it, and as it was written.

use serde_json::Value;

use super::scene::Scene;
use super::times::moment;
use crate::domain::story::Section;
use crate::domain::text::spell_out;

pub(super) fn section(scene: &Scene) -> Section {
    let section = Section::new("Rule");
    let Some(wanted) = scene.wanted() else {
        return section.note("None is wanted: this agent does not hold the route.");
    };
    let section = section.fact("Wanted", shown(&wanted.to_json()));
    let Some(known) = &scene.known else { return section };
    let Some(tunnel_id) = scene.tunnel_id() else {
        return section.note("Its agent has no tunnel that it could stand in.");
    };
    let id = wanted.id();
    let applied =
        known.applied.iter().find(|rule| rule.key.hostname == id.hostname && rule.key.path == id.path);
    let written = applied.map(|rule| shown(&rule.rule));
    let name = known
        .row
        .tunnel_name
        .as_deref()
        .filter(|_| known.row.moving_from.is_none())
        .unwrap_or("the one before");
    let mut section = section
        .fact("Written", written.unwrap_or_else(|| "not yet, or taken away".to_owned()))
        .fact("Tunnel", format!("{name} ({tunnel_id})"));
    match &known.tunnel {
        Some(tunnel) => {
            section = section
                .fact("Tunnel's configuration", tunnel.state.as_str())
                .maybe("Version at Cloudflare", tunnel.config_version.map(|version| version.to_string()))
                .maybe("That version since", tunnel.version_since.map(moment))
                .maybe_note(tunnel.reason.as_deref());
            if !tunnel.is_settled {
                section =
                    section.note("A write of the configuration is under way, or its end is not known yet.");
            }
        }
        None => section = section.note("Nothing was written to the tunnel, and it was not looked at yet."),
    }
    let in_force = known.observed.as_ref().and_then(|seen| seen.report.config_version);
    section.maybe("Version in force at the connector", in_force.map(|version| version.to_string()))
}

/// A rule in one line.
fn shown(rule: &Value) -> String {
    spell_out(&rule.to_string())
}
