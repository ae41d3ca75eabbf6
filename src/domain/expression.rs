//! Regular expressions that people write for a path, checked for the engine of the connector, which is Go's.
//!
//! Ours is another one. Where the two read a text in different ways, or Go's does not read it at all, it is refused: a connector
//! that cannot read one rule takes up none of a configuration.

use regex_syntax::ast::{
    self, AssertionKind, Ast, ClassSet, ClassSetItem, ClassUnicode, ClassUnicodeKind, Flag, Flags,
    FlagsItemKind, GroupKind, HexLiteralKind, Literal, LiteralKind, RepetitionKind, RepetitionRange,
};

use super::text::{is_hidden, repeated};

/// Most bytes of an expression.
const MAX_BYTES: usize = 1024;
/// Most repeats of anything, those around it counted too.
const MAX_REPEATS: u32 = 1_000;
/// Classes of characters that both engines know by the same name.
const CATEGORIES: [&str; 36] = [
    "L", "Lu", "Ll", "Lt", "Lm", "Lo", "M", "Mn", "Mc", "Me", "N", "Nd", "Nl", "No", "P", "Pc", "Pd", "Ps",
    "Pe", "Pi", "Pf", "Po", "S", "Sm", "Sc", "Sk", "So", "Z", "Zs", "Zl", "Zp", "C", "Cc", "Cf", "Co", "Any",
];

/// Fails, with the reason, if the connector could not read the expression, or would read something else in it.
pub fn check_expression(pattern: &str) -> Result<(), String> {
    if pattern.len() > MAX_BYTES || pattern.chars().any(is_hidden) {
        return Err(format!(
            "the regular expression is longer than {MAX_BYTES} bytes, or holds what is not seen"
        ));
    }
    let unreadable = "this is no regular expression that the connector could read; mind brackets and what stands behind `\\`";
    let tree = ast::parse::Parser::new().parse(pattern).map_err(|_| unreadable.to_owned())?;
    ast::visit(&tree, Check { pattern, repeats: Vec::new() })?;
    let read = regex::RegexBuilder::new(pattern).size_limit(1 << 20).build();
    read.map(drop).map_err(|_| unreadable.to_owned())
}

/// Walks an expression.
struct Check<'p> {
    pattern: &'p str,
    /// How often what is inside may be repeated still, for each repetition around the place.
    repeats: Vec<u32>,
}

impl ast::Visitor for Check<'_> {
    type Output = ();
    type Err = String;

    fn finish(self) -> Result<(), String> {
        Ok(())
    }

    fn visit_pre(&mut self, tree: &Ast) -> Result<(), String> {
        match tree {
            Ast::Flags(set) => check_flags(&set.flags),
            Ast::Literal(literal) => self.check_literal(literal),
            Ast::Assertion(assertion) => match assertion.kind {
                AssertionKind::StartLine
                | AssertionKind::EndLine
                | AssertionKind::StartText
                | AssertionKind::EndText
                | AssertionKind::WordBoundary
                | AssertionKind::NotWordBoundary => Ok(()),
                _ => Err(self.differs(&assertion.span, "write `\\b`")),
            },
            Ast::ClassUnicode(class) => self.check_class(class),
            Ast::ClassBracketed(class) => self.check_set(&class.kind),
            Ast::Group(group) => match &group.kind {
                GroupKind::CaptureIndex(_) => Ok(()),
                GroupKind::CaptureName { starts_with_p: true, name } if is_word(&name.name) => Ok(()),
                GroupKind::CaptureName { name, .. } => {
                    Err(self.differs(&name.span, "nothing uses the name of a group; write `(?:…)`"))
                }
                GroupKind::NonCapturing(flags) => check_flags(flags),
            },
            Ast::Repetition(repetition) => {
                if matches!(*repetition.ast, Ast::Repetition(_)) {
                    return Err(self.differs(
                        &repetition.op.span,
                        "it repeats a repeat; put what is repeated in `(?:…)`",
                    ));
                }
                self.repeat(&repetition.op.kind)
            }
            Ast::Empty(_) | Ast::Dot(_) | Ast::ClassPerl(_) | Ast::Alternation(_) | Ast::Concat(_) => Ok(()),
        }
    }

    fn visit_post(&mut self, tree: &Ast) -> Result<(), String> {
        if matches!(tree, Ast::Repetition(_)) {
            self.repeats.pop();
        }
        Ok(())
    }

    fn visit_class_set_item_pre(&mut self, item: &ClassSetItem) -> Result<(), String> {
        match item {
            ClassSetItem::Literal(literal) => self.check_literal(literal),
            ClassSetItem::Range(range) => {
                self.check_literal(&range.start)?;
                self.check_literal(&range.end)
            }
            ClassSetItem::Unicode(class) => self.check_class(class),
            ClassSetItem::Bracketed(class) => {
                Err(self.differs(&class.span, "a `[` among others is written `\\[`"))
            }
            ClassSetItem::Empty(_)
            | ClassSetItem::Ascii(_)
            | ClassSetItem::Perl(_)
            | ClassSetItem::Union(_) => Ok(()),
        }
    }
}

impl Check<'_> {
    /// Says that the engines do not read this part in the same way.
    fn differs(&self, span: &ast::Span, way_out: &str) -> String {
        let part = self.pattern.get(span.start.offset..span.end.offset).unwrap_or_default();
        format!("the connector does not read `{}` of this regular expression so: {way_out}", repeated(part))
    }

    fn check_literal(&self, literal: &Literal) -> Result<(), String> {
        let is_known = match &literal.kind {
            LiteralKind::Verbatim
            | LiteralKind::Meta
            | LiteralKind::Superfluous
            | LiteralKind::Special(_) => true,
            LiteralKind::HexFixed(kind) | LiteralKind::HexBrace(kind) => *kind == HexLiteralKind::X,
            LiteralKind::Octal => false,
        };
        if is_known {
            Ok(())
        } else {
            Err(self.differs(&literal.span, "write the character itself, or `\\x{…}`"))
        }
    }

    fn check_class(&self, class: &ClassUnicode) -> Result<(), String> {
        let is_known = match &class.kind {
            ClassUnicodeKind::OneLetter(letter) => CATEGORIES.contains(&letter.to_string().as_str()),
            ClassUnicodeKind::Named(name) => CATEGORIES.contains(&name.as_str()),
            ClassUnicodeKind::NamedValue { .. } => false,
        };
        match is_known {
            true => Ok(()),
            false => Err(self.differs(&class.span, "name a general category, such as `\\p{L}` or `\\p{Lu}`")),
        }
    }

    fn check_set(&self, set: &ClassSet) -> Result<(), String> {
        match set {
            ClassSet::Item(_) => Ok(()),
            ClassSet::BinaryOp(operation) => {
                let way_out = "it takes `&&`, `--` and `~~` for characters; write what is to be matched, one of these behind a `\\`";
                Err(self.differs(&operation.span, way_out))
            }
        }
    }

    /// Counts as Go does: a repeat takes what is inside as often as its larger number says.
    fn repeat(&mut self, kind: &RepetitionKind) -> Result<(), String> {
        let times = match kind {
            RepetitionKind::ZeroOrOne | RepetitionKind::ZeroOrMore | RepetitionKind::OneOrMore => 1,
            RepetitionKind::Range(RepetitionRange::Exactly(times) | RepetitionRange::AtLeast(times)) => {
                *times
            }
            RepetitionKind::Range(RepetitionRange::Bounded(_, times)) => *times,
        };
        let left = self.repeats.last().copied().unwrap_or(MAX_REPEATS);
        if times > left {
            return Err(format!(
                "the connector repeats nothing more than {MAX_REPEATS} times, repeats within repeats counted together; \
                 write smaller numbers, or `*`"
            ));
        }
        self.repeats.push(left.checked_div(times).unwrap_or(left));
        Ok(())
    }
}

fn check_flags(flags: &Flags) -> Result<(), String> {
    let unknown = flags.items.iter().find_map(|item| match item.kind {
        FlagsItemKind::Flag(Flag::Unicode) => Some('u'),
        FlagsItemKind::Flag(Flag::CRLF) => Some('R'),
        FlagsItemKind::Flag(Flag::IgnoreWhitespace) => Some('x'),
        FlagsItemKind::Flag(
            Flag::CaseInsensitive | Flag::MultiLine | Flag::DotMatchesNewLine | Flag::SwapGreed,
        )
        | FlagsItemKind::Negation => None,
    });
    match unknown {
        None => Ok(()),
        Some(flag) => Err(format!(
            "the connector knows no flag `{flag}` of regular expressions; it knows `i`, `m`, `s` and `U`"
        )),
    }
}

fn is_word(name: &str) -> bool {
    name.chars().all(|c| c == '_' || c.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_both_engines_read_in_the_same_way_is_taken() {
        for pattern in [
            "",
            "^/api",
            r"\.(jpg|png)$",
            r"^/(?:v\d+|beta)/\w*[^a-c\s]\b",
            "(?i)/Admin(?-i:/x)(?s:.)(?U)a+?",
            r"[[:alpha:][:^digit:]_&~.-]",
            r"[]a][^]a][a\-z\[\]]",
            r"\A/x{2,5}\z|\B",
            r"(?P<year>[0-9]{4})",
            r"\pL\p{Lu}\P{Nd}[\p{L}]\p{Any}",
            r"\x41\x{1F600}\t\/\-\_\%",
            "(a{10}){100}",
            "(a{1000})?",
            "/ä/ b ",
            "(|a)*",
        ] {
            assert_eq!(check_expression(pattern), Ok(()), "{pattern}");
        }
    }

    #[test]
    fn what_the_connector_reads_in_another_way_is_refused_with_the_reason() {
        for (pattern, words) in [
            ("(", "mind brackets"),
            (r"\1", "mind brackets"),
            (r"(?=a)", "mind brackets"),
            ("a\u{202e}b", "what is not seen"),
            (&"x".repeat(1025), "longer than 1024"),
            ("(?x) a b", "no flag `x`"),
            ("(?u)a", "no flag `u`"),
            ("(?R:a$)", "no flag `R`"),
            ("[a&&b]", "`&&`, `--` and `~~` for characters"),
            ("[a-z--b]", "`&&`, `--` and `~~` for characters"),
            ("[a~~b]", "`&&`, `--` and `~~` for characters"),
            ("[a[bc]]", "`[bc]` of this"),
            ("[[:alfa:]]", "`[:alfa:]` of this"),
            (r"\b{start}a", r"`\b{start}` of this"),
            (r"a\b{end-half}", r"write `\b`"),
            (r"\<a\>", r"`\<` of this"),
            ("(?<year>a)", "`year` of this"),
            ("(?P<a.b>a)", "`a.b` of this"),
            ("a{1001}", "more than 1000 times"),
            ("a{2,1001}", "more than 1000 times"),
            ("a{1001,}", "more than 1000 times"),
            ("((a{100}b){5}c){3}", "more than 1000 times"),
            ("a**", "repeats a repeat"),
            ("a{2}{3}", "repeats a repeat"),
            ("a+?+", "repeats a repeat"),
            (r"\p{Greek}", "general category"),
            (r"\p{sc=Greek}", "general category"),
            (r"[\p{letter}]", "general category"),
            (r"\u0041", r"`\u0041` of this"),
            (r"[a-\U0000007a]", r"`\U0000007a` of this"),
            (r"\u{41}", r"`\u{41}` of this"),
        ] {
            let said = check_expression(pattern).expect_err(pattern);
            assert!(said.contains(words), "{pattern}: {said}");
        }
    }
}
