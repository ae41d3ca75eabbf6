//! `lightship explain`: the whole story of a container or a hostname.

use std::process::ExitCode;

use serde::Deserialize;
use serde_json::Value;
use url::form_urlencoded::byte_serialize;

use super::common::Common;
use super::{admin_client, output};
use crate::domain::story::Story;
use crate::domain::text::spell_out;

/// Options of `lightship explain`.
#[derive(clap::Args)]
pub(super) struct ExplainArgs {
    /// Name or id of a container, a hostname, or a hostname with a path; rules that people made are told of, too.
    name: String,
}

#[derive(Deserialize)]
struct Told {
    stories: Vec<Story>,
}

pub(super) fn run(args: &ExplainArgs, common: &Common) -> anyhow::Result<ExitCode> {
    let name: String = byte_serialize(args.name.as_bytes()).collect();
    let path = format!("/api/v3/explain?name={name}");
    let answer: Value = admin_client::converse(common, async |master| master.get(&path).await)?;
    if common.json {
        output::json(&answer)?;
        return Ok(ExitCode::SUCCESS);
    }
    let told: Told = serde_json::from_value(answer)?;
    let stories: Vec<String> = told.stories.iter().map(text).collect();
    output::line(stories.join("\n\n").trim_end())?;
    Ok(ExitCode::SUCCESS)
}

/// A story as it stands on a terminal.
fn text(story: &Story) -> String {
    let name = story.route.as_deref().or(story.container.as_deref()).unwrap_or("?");
    let mut text =
        format!("{} {}: {}\n", spell_out(name), spell_out(&story.whose()), story.state.replace('_', " "));
    for section in &story.sections {
        text.push_str(&format!("\n{}\n", section.title));
        let width = section.facts.iter().map(|fact| fact.title.chars().count()).max().unwrap_or(0).min(32);
        for fact in &section.facts {
            text.push_str(&format!("  {:width$}  {}\n", spell_out(&fact.title), spell_out(&fact.text)));
        }
        for note in &section.notes {
            text.push_str(&format!("  {}\n", spell_out(note)));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::story::{Asker, Section};

    #[test]
    fn a_story_is_told_in_the_order_of_its_sections_and_nothing_hidden_reaches_the_terminal() {
        let story = Story {
            route: Some("app.example.com".into()),
            source: Asker::Container,
            agent: Some("web-1".into()),
            tunnel: None,
            container: None,
            state: "pending_deletion".into(),
            serves: None,
            sections: vec![
                Section::new("Container").fact("Name", "a\u{202e}b"),
                Section::new("Claim").note("nobody"),
            ],
        };
        let said = text(&story);
        assert!(
            said.starts_with(
                "app.example.com on web-1: pending deletion\n\nContainer\n  Name  a\\u{202e}b\n"
            ),
            "{said}"
        );
        assert!(said.ends_with("\nClaim\n  nobody\n"), "{said}");
        let rule = Story { source: Asker::Person, agent: None, tunnel: Some("edge".into()), ..story };
        assert!(text(&rule).starts_with("app.example.com by a rule in tunnel edge: "), "{}", text(&rule));
    }
}
