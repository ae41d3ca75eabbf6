//! The rule in the tunnel: as it is asked for, and as it was written.

use serde_json::Value;

use super::find::Owner;
use super::scene::Scene;
use super::times::moment;
use crate::domain::story::Section;
use crate::domain::text::spell_out;

pub(super) fn section(scene: &Scene) -> Section {
    let section = Section::new("Rule");
    let Some(wanted) = scene.wanted() else {
        return section.note(match scene.owner {
            Owner::Agent(_) => "None is wanted: this agent does not hold the route.",
            Owner::Person => "None is wanted: the rule is not there any more.",
        });
    };
    let section = section.fact("Wanted", shown(&wanted.to_json()));
    if scene.agent().is_some() && scene.known.is_none() {
        return section;
    }
    let Some(place) = &scene.tunnel else {
        return section.note("Its agent has no tunnel that it could stand in.");
    };
    let id = wanted.id();
    let applied =
        place.applied.iter().find(|rule| rule.key.hostname == id.hostname && rule.key.path == id.path);
    let written = applied.map(|rule| shown(&rule.rule));
    let mut section = section
        .fact("Written", written.unwrap_or_else(|| "not yet, or taken away".to_owned()))
        .fact("Tunnel", format!("{} ({})", place.name(), place.id));
    match &place.status {
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
    let observed = scene.known.as_ref().and_then(|known| known.observed.as_ref());
    let in_force = observed.and_then(|seen| seen.report.config_version);
    section.maybe("Version in force at the connector", in_force.map(|version| version.to_string()))
}

/// A rule in one line.
fn shown(rule: &Value) -> String {
    spell_out(&rule.to_string())
}
