//! Reads `.env`. What is wrong in it is named by its line, never by its text: that may be a secret.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, bail};

/// Returns the variables of the file; none if it is absent.
pub(super) fn read(path: &Path) -> anyhow::Result<BTreeMap<String, String>> {
    match std::fs::read_to_string(path) {
        Ok(text) => parse(&text),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(BTreeMap::new()),
        Err(error) => Err(error).context("check that it is a text file that this user may read"),
    }
}

fn parse(text: &str) -> anyhow::Result<BTreeMap<String, String>> {
    let mut variables = BTreeMap::new();
    for pair in dotenvy::from_read_iter(text.as_bytes()) {
        match pair {
            Ok((name, value)) => {
                variables.insert(name, value);
            }
            Err(dotenvy::Error::LineParse(wrong, _)) => bail!(
                "{} is not `NAME=value`, or a quote that opens there is not closed; put a value with blanks, quotes, \
                 `#` or `$` in single quotes",
                place(text, &wrong)
            ),
            Err(dotenvy::Error::Io(error)) => return Err(error.into()),
            // It may hold the value of a variable.
            Err(_) => bail!("a value names another variable that cannot be read"),
        }
    }
    Ok(variables)
}

/// Says which line begins with `wrong`, as the parser hands it back: the whole line, or only its value.
fn place(text: &str, wrong: &str) -> String {
    let first = wrong.lines().next().unwrap_or_default().trim();
    let number = text.lines().position(|line| !first.is_empty() && line.trim().ends_with(first));
    number.map_or_else(|| "a line".to_owned(), |number| format!("line {}", number + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_wrong_is_named_and_not_repeated() {
        let cases = [
            ("A=1\n\nNAME=\"not closed\nCF_API_TOKEN=secret-1\n", "line 3 "),
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
    fn a_sound_file_is_read_and_an_absent_one_is_empty() {
        let variables = parse("# a remark\nexport A=1\nB='two words'\n").unwrap();
        assert_eq!((variables["A"].as_str(), variables["B"].as_str()), ("1", "two words"));
        assert!(read(Path::new("/nowhere/.env")).unwrap().is_empty());
    }
}
