//! What a trial found, on a terminal and as JSON.

use serde_json::json;

use crate::cli::output;
use crate::domain::dockflare::trial::{Name, Verdict};
use crate::domain::text::spell_out;

/// The order in which they are shown: what needs somebody comes last, where it is seen.
const ORDER: [Verdict; 4] = [Verdict::Kept, Verdict::Change, Verdict::NotChecked, Verdict::Refuse];

/// The commands to switch and to switch back; or what has to be done before there can be any.
pub(super) type Commands = Result<(String, String), Vec<String>>;

/// Prints it.
pub(super) fn print(
    names: &[Name],
    notes: &[String],
    commands: &Commands,
    as_json: bool,
) -> anyhow::Result<()> {
    let count = |verdict: Verdict| names.iter().filter(|name| name.verdict == verdict).count();
    if as_json {
        let (switch, back) = commands.as_ref().ok().cloned().unzip();
        return output::json(&json!({
            "names": names, "notes": notes, "switch": switch, "switch_back": back,
            "hindrances": commands.as_ref().err().map(Vec::as_slice).unwrap_or_default(),
            "counts": { "kept": count(Verdict::Kept), "change": count(Verdict::Change),
                "not_checked": count(Verdict::NotChecked), "refuse": count(Verdict::Refuse) },
        }));
    }
    for note in notes {
        eprintln!("note: {}", spell_out(note));
    }
    let shown = ORDER.iter().flat_map(|verdict| names.iter().filter(move |name| name.verdict == *verdict));
    let text: String = shown.map(text).collect();
    if names.is_empty() {
        eprintln!("no container asks to be published, and there is no rule of a person");
    } else {
        output::line(text.trim_end())?;
    }
    let counts = ORDER.map(|verdict| format!("{} {}", count(verdict), verdict.in_words()));
    eprintln!("\n{}; nothing was changed", counts.join(", "));
    output::line(&match commands {
        Ok((switch, back)) => format!("\nTo switch:\n  {switch}\nTo switch back:\n  {back}"),
        Err(hindrances) => {
            let listed: Vec<String> = hindrances.iter().map(|one| format!("  {}", spell_out(one))).collect();
            format!("\nBefore there is a command to switch:\n{}", listed.join("\n"))
        }
    })
}

fn text(name: &Name) -> String {
    let mut text = format!(
        "{:<19}  {} ({})\n",
        name.verdict.in_words(),
        spell_out(&name.name),
        spell_out(&name.asked_by)
    );
    for part in &name.parts {
        // Of what is kept as a whole nobody needs to read each side.
        if name.verdict == Verdict::Kept {
            continue;
        }
        text.push_str(&format!("{:21}{}: {}\n", "", part.about, spell_out(&part.words)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::dockflare::trial::Part;

    #[test]
    fn a_name_is_shown_with_what_is_not_kept_and_nothing_hidden() {
        let part = |verdict, words: &str| Part::new("rule", verdict, words);
        let kept =
            Name::new("a.example.com", "container a on this host", vec![part(Verdict::Kept, "it stays")]);
        assert_eq!(text(&kept), "kept                 a.example.com (container a on this host)\n");
        let refused = Name::new(
            "b\u{202e}",
            "x",
            vec![part(Verdict::Kept, "it stays"), part(Verdict::Refuse, "in the way\n")],
        );
        assert_eq!(
            text(&refused),
            "would refuse         b\\u{202e} (x)\n                     rule: it stays\n                     rule: in the way\\n\n"
        );
    }
}
