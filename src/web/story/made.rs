//! The rule that a person made: who, when, and all that was said in it.

use super::scene::Scene;
use super::times::moment;
use crate::domain::manual_rule::without_effect;
use crate::domain::story::Section;
use crate::domain::text::spell_out;
use crate::web::rules::RuleView;

pub(super) fn section(scene: &Scene, rule: &RuleView) -> Section {
    let (row, spec) = (&rule.row, &rule.row.rule.spec);
    let options = serde_json::to_value(&spec.origin_request).unwrap_or_default();
    let options = options.as_object().filter(|options| !options.is_empty());
    let agent = scene.known.as_ref().map(|known| known.row.display_name.as_str());
    let mut section = Section::new("Made by a person")
        .fact("Set by", spell_out(&row.set_by))
        .fact("Set at", moment(row.set_at))
        .fact("Asks for", spell_out(&format!("{} → {}", spec.key, spec.service)))
        .maybe("Zone", spec.zone_name.as_deref())
        .maybe("Options", options.map(|options| spell_out(&serde_json::json!(options).to_string())))
        .fact("Tunnel", format!("{} ({})", rule.tunnel_name(), row.rule.tunnel_id))
        .fact(
            "Served by",
            match agent {
                Some(agent) => format!("the connector of agent {agent}"),
                None => "a connector that no agent looks after".to_owned(),
            },
        );
    for words in without_effect(spec) {
        section = section.note(words);
    }
    section.note("It stays until a person removes it.")
}
