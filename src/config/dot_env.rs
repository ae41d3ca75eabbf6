//! Reads `.env` as DockFlare's reader and compose do. No reader for Rust that is kept up takes unquoted blanks, and one of
//! our own is shorter than working around that.
//!
//! What is wrong is named by its line, never by its text: that may be a secret. Others read the same file, so a line that
//! sets nothing of ours may be as it likes.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use super::names::is_ours;

/// Largest file that is read.
const SIZE_LIMIT: u64 = 1 << 20;

/// Why `.env` cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DotEnvError {
    /// It is there and cannot be read.
    #[error("it cannot be read: {0}; check that it is a text file in UTF-8 that this user may read")]
    Unreadable(String),
    /// A line that sets something of ours is no assignment.
    #[error(
        "line {0} is not `NAME=value`, or a quote that opens there is not closed, or something stands behind the closing \
         one; put a value that begins with a quote or holds ` #` in single quotes"
    )]
    Line(usize),
}

/// Returns the variables of the file; none if it is absent.
///
/// `environment` is what `${NAME}` means; it wins over an earlier line.
pub fn read_dot_env(
    path: &Path,
    environment: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, DotEnvError> {
    let unreadable = |error: std::io::Error| DotEnvError::Unreadable(error.to_string());
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(unreadable(error)),
    };
    let mut text = String::new();
    file.take(SIZE_LIMIT + 1).read_to_string(&mut text).map_err(unreadable)?;
    if text.len() as u64 > SIZE_LIMIT {
        return Err(DotEnvError::Unreadable("it is larger than 1 MiB".into()));
    }
    parse(&text, environment)
}

fn parse(
    text: &str,
    environment: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, DotEnvError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text).replace("\r\n", "\n").replace('\r', "\n");
    let mut found = BTreeMap::new();
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, after_line) = rest.split_once('\n').unwrap_or((rest, ""));
        match statement(rest) {
            Ok((assignment, after)) => {
                if let Some((name, value)) = assignment {
                    let value =
                        value.filled_in(|name| environment.get(name).or_else(|| found.get(name)).cloned());
                    found.insert(name.to_owned(), value);
                }
                rest = after;
            }
            Err(NotRead) if is_ours(name_of(line)) => {
                let before = &text[..text.len() - rest.len()];
                return Err(DotEnvError::Line(before.matches('\n').count() + 1));
            }
            // A quote that somebody left open must not take the lines after it along.
            Err(NotRead) => rest = after_line,
        }
    }
    Ok(found)
}

/// The text is no assignment, comment or blank line.
struct NotRead;

/// A name, and the value that it is given.
type Assignment<'a> = (&'a str, Raw);

/// Reads the statement that `text` begins with; returns what it assigns, and the text after its last line.
fn statement(text: &str) -> Result<(Option<Assignment<'_>>, &str), NotRead> {
    let (line, after_line) = text.split_once('\n').unwrap_or((text, ""));
    if line.trim().is_empty() || line.trim_start().starts_with('#') {
        return Ok((None, after_line));
    }
    let (name, after_name) = name_at(without_export(line))?;
    let after_name = after_name.trim_start();
    if after_name.is_empty() || is_comment(after_name) {
        // Compose takes such a name from the environment, where it is found anyway.
        return Ok((None, after_line));
    }
    let value = after_name.strip_prefix('=').ok_or(NotRead)?;
    let bare = value.trim_start();
    let Some(quote) = bare.chars().next().filter(|first| matches!(first, '"' | '\'')) else {
        return Ok((Some((name, Raw::Plain(without_comment(value).trim().to_owned()))), after_line));
    };
    // The value may go on over several lines, so it is looked for in the whole text.
    let start = text.len() - after_line.len() - usize::from(line.len() < text.len()) - bare.len() + 1;
    let inner = &text[start..];
    let end = end_of_quoted(inner, quote).ok_or(NotRead)?;
    let (tail, after) = inner[end + 1..].split_once('\n').unwrap_or((&inner[end + 1..], ""));
    if !(tail.trim().is_empty() || is_comment(tail.trim_start())) {
        return Err(NotRead);
    }
    let value = match quote {
        '"' => Raw::Double(inner[..end].to_owned()),
        _ => Raw::Single(inner[..end].to_owned()),
    };
    Ok((Some((name, value)), after))
}

fn without_export(line: &str) -> &str {
    let line = line.trim_start();
    match line.strip_prefix("export") {
        Some(rest) if rest.starts_with(char::is_whitespace) => rest.trim_start(),
        _ => line,
    }
}

/// Splits a line into the name it begins with and the rest.
fn name_at(line: &str) -> Result<(&str, &str), NotRead> {
    let (name, rest) = match line.strip_prefix('\'') {
        Some(quoted) => quoted.split_once('\'').ok_or(NotRead)?,
        None => {
            let end = line.find(|c: char| matches!(c, '=' | '#') || c.is_whitespace()).unwrap_or(line.len());
            line.split_at(end)
        }
    };
    // Double quotes around a name mean nothing to anybody.
    if name.is_empty() || name.starts_with('"') { Err(NotRead) } else { Ok((name, rest)) }
}

/// The name a line that cannot be read most likely means to set; `NAME: value` is another habit.
fn name_of(line: &str) -> &str {
    let line = without_export(line).trim_start_matches(['\'', '"']);
    let end = line.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(line.len());
    &line[..end]
}

fn is_comment(text: &str) -> bool {
    text.starts_with('#')
}

/// Cuts an unquoted value at a `#` that stands behind a blank.
fn without_comment(value: &str) -> &str {
    let mut before = None;
    for (at, c) in value.char_indices() {
        if c == '#' && before.is_some_and(char::is_whitespace) {
            return &value[..at];
        }
        before = Some(c);
    }
    value
}

/// Finds the quote that ends a quoted value.
fn end_of_quoted(inner: &str, quote: char) -> Option<usize> {
    let mut is_escaped = false;
    for (at, c) in inner.char_indices() {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            _ if c == quote => return Some(at),
            _ => {}
        }
    }
    None
}

/// A value as it is written.
enum Raw {
    Plain(String),
    Single(String),
    Double(String),
}

impl Raw {
    /// The value as it is meant; `known` says what another variable holds.
    fn filled_in(&self, known: impl Fn(&str) -> Option<String>) -> String {
        match self {
            Self::Plain(text) => unfold(text, |_| None, Some(&known)),
            Self::Single(text) => unfold(text, |c| matches!(c, '\\' | '\'').then_some(c), None),
            Self::Double(text) => unfold(text, escaped, Some(&known)),
        }
    }
}

/// Finds the value of a name.
type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Puts in what backslashes and `${NAME}` stand for; what stands for nothing stays as it is.
fn unfold(text: &str, escape: impl Fn(char) -> Option<char>, known: Option<Lookup<'_>>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let after = &rest[c.len_utf8()..];
        let meant = after
            .chars()
            .next()
            .filter(|_| c == '\\')
            .and_then(|next| Some((escape(next)?, next.len_utf8())));
        if let Some((meant, length)) = meant {
            out.push(meant);
            rest = &after[length..];
            continue;
        }
        let named = known
            .filter(|_| c == '$')
            .and_then(|known| Some((known, after.strip_prefix('{')?.split_once('}')?)));
        if let Some((known, (inner, behind))) = named {
            // A bare `$NAME` stays: passwords have dollar signs.
            let (name, default) = inner.split_once(":-").unwrap_or((inner, ""));
            let value = known(name).filter(|value| !value.is_empty());
            out.push_str(value.as_deref().unwrap_or(default));
            rest = behind;
            continue;
        }
        out.push(c);
        rest = after;
    }
    out
}

/// What a backslash and `c` mean between double quotes.
fn escaped(c: char) -> Option<char> {
    Some(match c {
        '\\' | '\'' | '"' | '$' => c,
        'a' => '\u{7}',
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\u{b}',
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> BTreeMap<String, String> {
        let environment = BTreeMap::from([("HOME".to_owned(), "/root".to_owned())]);
        parse(text, &environment).unwrap_or_else(|error| panic!("{text:?}: {error}"))
    }

    #[test]
    fn values_are_read_as_dockflare_and_compose_read_them() {
        for (text, expected) in [
            ("A=Production Server", "Production Server"),
            ("A = b c  \t", "b c"),
            ("A=x # a remark", "x"),
            ("A=x\t# a remark", "x"),
            ("A=x#y", "x#y"),
            ("A=#x", "#x"),
            // Both of them take the remark for the value; nobody means that.
            ("A= # a remark", ""),
            ("A=", ""),
            ("A=\"\"", ""),
            ("A=''", ""),
            ("export A=1", "1"),
            ("export\tA=1", "1"),
            ("  A=1", "1"),
            ("'A'=1", "1"),
            ("A=b=c", "b=c"),
            ("A=  'two words'  ", "two words"),
            ("A='it\\'s'", "it's"),
            (r"A='a\nb\\c'", r"a\nb\c"),
            (r#"A="a\nb\tc\"d\\e""#, "a\nb\tc\"d\\e"),
            (r#"A="a\qb""#, r"a\qb"),
            (r"A=a\nb", r"a\nb"),
            ("A=\"x # y\" # a remark", "x # y"),
            ("A='x'# a remark", "x"),
            ("A='a\"b'", "a\"b"),
            ("A=a'b'c \"d\"", "a'b'c \"d\""),
            ("A=it's", "it's"),
            ("A=\"first\nsecond\"", "first\nsecond"),
            ("A='first\r\n# second'\r\n", "first\n# second"),
            ("A=${HOME}/x", "/root/x"),
            ("A=\"${HOME}/x\"", "/root/x"),
            ("A='${HOME}'", "${HOME}"),
            (r#"A="\${HOME}""#, "${HOME}"),
            ("A=${NONE:-b c}", "b c"),
            ("A=x${NONE}y", "xy"),
            ("A=pa$$w$HOME$", "pa$$w$HOME$"),
            ("A=x\u{a0}", "x"),
            ("\u{feff}A=1", "1"),
            ("A=1\r\nB=2\r\n", "1"),
            ("A=1\rB=2\r", "1"),
            ("A=0\nA=1", "1"),
            ("# A=0\n\nA=1", "1"),
            ("A=1\nA", "1"),
            ("HOST=h\nA=${HOST}:${HOME}", "h:/root"),
        ] {
            assert_eq!(read(text).get("A").map(String::as_str), Some(expected), "{text:?}");
        }
        assert_eq!(read("A\nexport A\n#A=1\n"), BTreeMap::new());
    }

    #[test]
    fn a_line_that_is_wrong_is_named_and_not_repeated() {
        for (text, place) in [
            ("A=1\n\nLABEL_PREFIX=\"not closed\nCF_API_TOKEN=secret-1\n", "line 3 "),
            ("# a remark\nCF_API_TOKEN='secret-1\n", "line 2 "),
            ("CF_API_TOKEN=\"secret-1\" secret-2\n", "line 1 "),
            ("A=1\r\nB=2\r\nCF_API_TOKEN secret-1\r\nC=3\r\n", "line 3 "),
            ("A='1\n2'\nCF_API_TOKEN: secret-1", "line 3 "),
            ("\"CF_API_TOKEN\"=secret-1", "line 1 "),
            ("CF_API_TOKEN_FILE '/secret-1'", "line 1 "),
        ] {
            let error = parse(text, &BTreeMap::new()).unwrap_err().to_string();

            assert!(error.contains(place) && error.contains("single quotes"), "{text:?}: {error}");
            assert!(!error.contains("secret") && !error.contains("CF_API_TOKEN"), "{error}");
        }
    }

    #[test]
    fn a_line_that_sets_nothing_of_ours_may_be_as_it_likes() {
        for foreign in [
            "UNRELATED=some words here",
            "PASSWORD=it's",
            "PASSWORD='it's",
            "EMPTY",
            "export WORDS=a b",
            "A=\"b\\q\"",
            "A=\"open",
            "A=\"b\" c",
            "A: b",
            "=b",
            "two words",
        ] {
            let variables = read(&format!("LOG_LEVEL=debug\n{foreign}\n\nCF_API_TOKEN=\"a # b\"\n"));
            assert_eq!(variables["LOG_LEVEL"], "debug", "{foreign}");
            assert_eq!(variables["CF_API_TOKEN"], "a # b", "{foreign}");
        }
    }

    #[test]
    fn an_absent_file_is_empty_and_one_that_is_no_text_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let read = |name: &str| read_dot_env(&dir.path().join(name), &BTreeMap::new());
        std::fs::write(dir.path().join("utf16"), b"\xff\xfeA\x00=\x001\x00").unwrap();
        std::fs::write(dir.path().join("large"), vec![b'\n'; SIZE_LIMIT as usize + 1]).unwrap();

        assert!(read("none").unwrap().is_empty());
        for wrong in ["utf16", "large", "."] {
            assert!(read(wrong).unwrap_err().to_string().contains("check that it is a text file"), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "([A-Z_]{0,3}[=: \"'#$\\\\{}]{0,3}.{0,8}[\r\n]?){0,8}") {
            let _ = parse(&text, &BTreeMap::new());
        }

        #[test]
        fn a_value_in_single_quotes_is_read_as_it_was(value in "[^\r]{0,40}") {
            let quoted = value.replace('\\', "\\\\").replace('\'', "\\'");
            prop_assert_eq!(&read(&format!("A='{quoted}'\nB=1"))["A"], &value);
        }
    }
}
