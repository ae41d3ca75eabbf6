//! Reads `.env`. What is wrong in it is named by its line, never by its text: that may be a secret. Others read the same
//! file by other rules, so a line that sets nothing of ours may be as it likes.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, bail};

use crate::config::is_ours;

/// Returns the variables of the file; none if it is absent.
pub(super) fn read(path: &Path) -> anyhow::Result<BTreeMap<String, String>> {
    match std::fs::read_to_string(path) {
        Ok(text) => parse(&text),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(BTreeMap::new()),
        Err(error) => Err(error).context("check that it is a text file that this user may read"),
    }
}

fn parse(text: &str) -> anyhow::Result<BTreeMap<String, String>> {
    let mut lines: Vec<&str> =
        text.lines().map(|line| if has_stray_quote(line) { "" } else { line }).collect();
    loop {
        let read: Result<_, dotenvy::Error> = dotenvy::from_read_iter(lines.join("\n").as_bytes()).collect();
        match read {
            Ok(variables) => return Ok(variables),
            Err(dotenvy::Error::LineParse(wrong, _)) => match place(&lines, &wrong) {
                Some(number) if !is_ours(name(lines[number])) => lines[number] = "",
                number => bail!(
                    "{} is not `NAME=value`, or a quote that opens there is not closed; put a value with blanks, \
                     quotes, `#` or `$` in single quotes",
                    number.map_or_else(|| "a line".to_owned(), |number| format!("line {}", number + 1))
                ),
            },
            Err(dotenvy::Error::Io(error)) => return Err(error.into()),
            // It may hold the value of a variable.
            Err(_) => bail!("a value names another variable that cannot be read"),
        }
    }
}

/// Finds the line that begins with `wrong`, as the parser hands it back: the whole line, or only its value.
fn place(lines: &[&str], wrong: &str) -> Option<usize> {
    let first = wrong.lines().next().unwrap_or_default().trim();
    lines.iter().position(|line| !first.is_empty() && line.trim().ends_with(first))
}

fn name(line: &str) -> &str {
    let line = line.trim_start();
    let line = line.strip_prefix("export ").unwrap_or(line).trim_start();
    line.split(|c: char| c == '=' || c.is_whitespace()).next().unwrap_or(line)
}

/// True if a line that sets nothing of ours has a quote inside its value: it would take the lines after it along.
fn has_stray_quote(line: &str) -> bool {
    let value = line.split_once('=').map_or("", |(_, value)| value.trim_start());
    !is_ours(name(line)) && value.find(['\'', '"']).is_some_and(|at| at > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_wrong_is_named_and_not_repeated() {
        let cases = [
            ("A=1\n\nLABEL_PREFIX=\"not closed\nCF_API_TOKEN=secret-1\n", "line 3 "),
            ("# a remark\nCF_API_TOKEN='secret-1\n", "line 2 "),
            ("CF_API_TOKEN=secret-1 secret-2\n", "line 1 "),
            ("A=1\r\nB=2\r\nCF_API_TOKEN secret-1\r\nC=3\r\n", "line 3 "),
            ("CF_API_TOKEN=\"secret-1\\q\"\n", "line 1 "),
        ];
        for (text, place) in cases {
            let error = format!("{:#}", parse(text).unwrap_err());

            assert!(error.contains(place) && error.contains("single quotes"), "{text:?}: {error}");
            assert!(!error.contains("secret") && !error.contains("CF_API_TOKEN"), "{error}");
        }
    }

    #[test]
    fn a_line_that_sets_nothing_of_ours_may_be_as_it_likes() {
        for foreign in
            ["UNRELATED=some words here", "PASSWORD=it's", "EMPTY", "export WORDS=a b", "A=\"b\\q\""]
        {
            let text = format!("LOG_LEVEL=debug\n{foreign}\n\nCF_API_TOKEN='a # b'\n");
            let variables = parse(&text).unwrap_or_else(|error| panic!("{foreign}: {error:#}"));
            assert_eq!(variables["LOG_LEVEL"], "debug", "{foreign}");
            assert_eq!(variables["CF_API_TOKEN"], "a # b", "{foreign}");
        }
    }

    #[test]
    fn a_sound_file_is_read_and_an_absent_one_is_empty() {
        let variables = parse("# a remark\nexport A=1\nB='two words'\n").unwrap();
        assert_eq!((variables["A"].as_str(), variables["B"].as_str()), ("1", "two words"));
        assert!(read(Path::new("/nowhere/.env")).unwrap().is_empty());
    }
}
