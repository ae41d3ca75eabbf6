//! Text of others: what must not reach a terminal or a page as it is.

/// Says whether a character has no shape of its own: it moves the cursor, turns the direction of what follows, breaks a
/// line or is simply not seen, so that a text looks like another one.
pub fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}'
                | '\u{61c}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

/// Returns the text with hidden characters spelt out, such as `\u{202e}`.
pub fn spell_out(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_hidden(c) {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

/// Returns what somebody called something as it may be repeated to him: spelt out, and no longer than a line.
pub fn repeated(text: &str) -> String {
    beginning(text, 80)
}

/// Returns the first `most` characters of a text, spelt out, and a mark if there are more.
pub fn beginning(text: &str, most: usize) -> String {
    let cut: String = text.chars().take(most).collect();
    let more = if cut.len() < text.len() { "…" } else { "" };
    format!("{}{more}", spell_out(&cut))
}

/// Returns the first of these names, each as code, and how many more there are.
pub fn some_of(names: &[String]) -> String {
    const MOST: usize = 10;
    let shown: Vec<String> = names.iter().take(MOST).map(|name| format!("`{}`", repeated(name))).collect();
    match names.len().saturating_sub(MOST) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// Returns JSON whose texts have hidden characters spelt out: it means the same.
pub fn spell_out_json(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        // What controls is spelt out in JSON already, and its line ends stand between the texts.
        if is_hidden(c) && !c.is_control() {
            out.extend(c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")));
        } else {
            out.push(c);
        }
    }
    out
}

/// True if the text means yes, as DockFlare reads it.
pub fn is_yes(text: &str) -> bool {
    ["true", "1", "t", "yes"].iter().any(|yes| text.trim().eq_ignore_ascii_case(yes))
}

/// True if the text means no, or nothing stands there.
pub fn is_no(text: &str) -> bool {
    ["", "false", "0", "f", "no"].iter().any(|no| text.trim().eq_ignore_ascii_case(no))
}

/// True if quotes stand around the text: they belong to a file that it was copied from.
pub fn is_in_quotes(text: &str) -> bool {
    let text = text.trim();
    ['"', '\''].iter().any(|quote| text.len() > 1 && text.starts_with(*quote) && text.ends_with(*quote))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_shape_is_spelt_out_and_all_else_stays() {
        for (text, shown) in [
            ("app.example.com", "app.example.com"),
            ("bücher 書 😀 é", "bücher 書 😀 é"),
            ("a\u{202e}b", "a\\u{202e}b"),
            ("a\u{2028}b\u{2029}", "a\\u{2028}b\\u{2029}"),
            ("a\u{1b}[2J\n\t", "a\\u{1b}[2J\\n\\t"),
            ("\u{feff}a\u{200b}\u{2066}\u{ad}", "\\u{feff}a\\u{200b}\\u{2066}\\u{ad}"),
            ("\u{e0041}", "\\u{e0041}"),
        ] {
            assert_eq!(spell_out(text), shown, "{text:?}");
        }
    }

    #[test]
    fn of_a_long_text_the_beginning_is_shown() {
        for (text, shown) in [("", ""), ("abc", "abc"), ("abcd", "abc…"), ("ü書\u{202e}x", "ü書\\u{202e}…")]
        {
            assert_eq!(beginning(text, 3), shown);
        }
        assert_eq!(repeated(&"x".repeat(81)), format!("{}…", "x".repeat(80)));
    }

    #[test]
    fn of_many_names_some_are_told_and_the_others_counted() {
        let names = |count: usize| (0..count).map(|n| n.to_string()).collect::<Vec<_>>();
        assert_eq!(some_of(&names(2)), "`0`, `1`");
        assert!(some_of(&names(12)).ends_with("`9` and 2 more"));
    }

    #[test]
    fn json_means_the_same_with_its_hidden_characters_spelt_out() {
        let json = "{\n  \"a\": \"exe\u{202e}gpj\u{2028}\u{e0041}ü\"\n}";
        assert_eq!(spell_out_json(json), "{\n  \"a\": \"exe\\u202egpj\\u2028\\udb40\\udc41ü\"\n}");
    }

    #[test]
    fn quotes_around_a_text_are_told_from_quotes_in_it() {
        for (text, expected) in [
            ("\"a\"", true),
            (" 'a b' ", true),
            ("\"\"", true),
            ("\"", false),
            ("a", false),
            ("\"a'", false),
            ("it's", false),
            ("", false),
        ] {
            assert_eq!(is_in_quotes(text), expected, "{text}");
        }
    }
}
