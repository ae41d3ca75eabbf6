//! Sentences as HTML: names and labels in them look like what they are.

/// A sentence as HTML: what stands between backticks is shown as code, and it begins with a capital.
pub fn said(text: impl AsRef<str>) -> String {
    let parts: Vec<&str> = text.as_ref().split('`').collect();
    let mut html = String::with_capacity(text.as_ref().len() + 32);
    for (place, part) in parts.iter().enumerate() {
        let is_closed = place + 1 < parts.len();
        match (place % 2 == 1, is_closed) {
            (true, true) => {
                html.push_str("<code>");
                escape(part, &mut html);
                html.push_str("</code>");
            }
            (true, false) => {
                html.push('`');
                escape(part, &mut html);
            }
            (false, _) if place == 0 => escape(&capital(part), &mut html),
            (false, _) => escape(part, &mut html),
        }
    }
    html
}

fn capital(text: &str) -> String {
    let mut rest = text.chars();
    rest.next().map_or_else(String::new, |first| format!("{}{}", first.to_ascii_uppercase(), rest.as_str()))
}

fn escape(text: &str, html: &mut String) {
    for c in text.chars() {
        match c {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            c => html.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_shows_code_and_nothing_of_a_stranger_is_html() {
        for (text, html) in [
            ("the disk is full", "The disk is full"),
            ("", ""),
            ("its `a.*` labels; set `B=1`", "Its <code>a.*</code> labels; set <code>B=1</code>"),
            ("`x` is taken", "<code>x</code> is taken"),
            ("an open ` stays", "An open ` stays"),
            ("`<b>` & \"it's\"", "<code>&lt;b&gt;</code> &amp; &quot;it&#39;s&quot;"),
            ("`a<` `<i>", "<code>a&lt;</code> `&lt;i&gt;"),
        ] {
            assert_eq!(said(text), html, "{text}");
        }
    }
}
