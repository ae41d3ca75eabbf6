//! What verbs print: data on standard output, everything else on standard error.

use std::io::{BufRead, ErrorKind, IsTerminal, Write};

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

use crate::domain::text::{spell_out, spell_out_json};

/// Writes `text` and a line end; a reader that went away is no failure.
pub(super) fn line(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// Writes `value` as JSON.
pub(super) fn json(value: &impl Serialize) -> anyhow::Result<()> {
    line(&spell_out_json(&serde_json::to_string_pretty(value)?))
}

/// Writes a table, or `empty` where there is no row.
pub(super) fn table(header: &[&str], rows: Vec<Vec<String>>, empty: &str) -> anyhow::Result<()> {
    if rows.is_empty() {
        eprintln!("{empty}");
        return Ok(());
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(header.to_vec());
    for row in rows {
        table.add_row(row);
    }
    line(&table.to_string())
}

/// An error and its causes in one line, without a stack.
pub(super) fn chain(error: &anyhow::Error) -> String {
    let mut parts: Vec<String> = Vec::new();
    for cause in error.chain() {
        let text = cause.to_string();
        if !parts.iter().any(|part| part.contains(&text)) {
            parts.push(text);
        }
    }
    spell_out(&parts.join(": "))
}

/// An address without the password in it; any other text as it is.
pub(super) fn address(text: &str) -> String {
    if !(text.contains("://") && text.contains('@')) {
        return text.to_owned();
    }
    let Ok(mut url) = url::Url::parse(text.trim()) else {
        // Where the password ends is anybody's guess.
        return "[not shown: no address, and it may hold a password]".into();
    };
    if url.password().is_none() || url.set_password(Some("***")).is_err() {
        return text.to_owned();
    }
    url.into()
}

/// `1 route`, `2 routes`.
pub(super) fn count(number: u64, thing: &str) -> String {
    let ending = if number == 1 { "" } else { "s" };
    format!("{number} {thing}{ending}")
}

/// The text of a JSON field, or a dash.
pub(super) fn text(value: &serde_json::Value, key: &str) -> String {
    match value.get(key) {
        Some(serde_json::Value::String(text)) if !text.is_empty() => spell_out(text),
        None | Some(serde_json::Value::Null | serde_json::Value::String(_)) => "-".into(),
        Some(other) => other.to_string(),
    }
}

/// Asks a person at the terminal; fails with the way out if there is none.
pub(super) fn ask(question: &str, way_out: &str) -> anyhow::Result<bool> {
    if !std::io::stdin().is_terminal() {
        anyhow::bail!("nobody is there to ask: {way_out}");
    }
    eprint!("{question} [y/N] ");
    std::io::stderr().flush().ok();
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_seen_does_not_reach_the_terminal() {
        let value =
            serde_json::json!({ "reason": "`a\u{1b}[2J\nb\u{9b}\u{202e}\u{2028}` is no hostname, ü is one" });
        let expected = "`a\\u{1b}[2J\\nb\\u{9b}\\u{202e}\\u{2028}` is no hostname, ü is one";
        assert_eq!(text(&value, "reason"), expected);
        assert_eq!(chain(&anyhow::anyhow!("a\u{202e}b\nc")), "a\\u{202e}b\\nc");
    }

    #[test]
    fn an_address_is_shown_without_its_password() {
        let cases = [
            ("http://u:secret@h:81/x", "http://u:***@h:81/x"),
            ("tcp://u:sec%40ret@h:81", "tcp://u:***@h:81"),
            ("http://h:81", "http://h:81"),
            ("http://u@h/x", "http://u@h/x"),
            ("a@b, no address", "a@b, no address"),
        ];
        for (text, expected) in cases {
            assert_eq!(address(text), expected);
        }
        assert!(!address("http://u:secret@h:port").contains("secret"));
    }
}
