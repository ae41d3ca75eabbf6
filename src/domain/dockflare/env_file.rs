//! A file with variables, as `docker run --env-file` reads it: each line as it stands, quotes, comments and `${NAME}`
//! included. Compose and DockFlare read the same file in another way, and so does a trial.

use std::collections::{BTreeMap, BTreeSet};

/// Longest line that Docker reads.
const LONGEST: usize = 64 << 10;

/// What Docker makes of a line.
enum Line<'t> {
    /// A comment, nothing, or a name that it takes from its own environment.
    Nothing,
    /// A variable.
    Sets(&'t str, &'t str),
    /// It ends with an error, and starts nothing.
    Refused,
}

/// Says for each line that stands in the way of a start with this file what has to be done, without the values: they may be
/// secrets. `read` is what was read of it here; of others' variables only what Docker refuses counts.
pub fn hindrances(
    text: &str,
    read: &BTreeMap<String, String>,
    is_ours: impl Fn(&str) -> bool,
) -> Vec<String> {
    let (mut found, mut passed) = (Vec::new(), BTreeMap::new());
    for (at, line) in lines(text) {
        match line {
            Line::Nothing => {}
            Line::Sets(name, value) => drop(passed.insert(name, (at, value))),
            Line::Refused => found.push(format!(
                "line {at}: Docker takes no name with a blank in it, as behind `export` or before ` =`, and none that is empty; \
                 write `NAME=value`"
            )),
        }
    }
    let is_refused = !found.is_empty();
    let names: BTreeSet<&str> = passed.keys().copied().chain(read.keys().map(String::as_str)).collect();
    for name in names.into_iter().filter(|name| is_ours(name)) {
        let here = read.get(name).map_or("", String::as_str);
        match passed.get(name) {
            Some((_, value)) if *value == here => {}
            Some((at, _)) => found.push(format!(
                "line {at}: Docker takes the value of `{name}` as it stands there, with quotes, blanks, ` #` and `${{…}}` in it, \
                 which is not what was read here; write it without"
            )),
            // Told above, most likely.
            None if here.is_empty() || is_refused => {}
            None => found.push(format!(
                "`{name}`: Docker finds no line that sets it; write `{name}=value`, without quotes around the name"
            )),
        }
    }
    found
}

/// Returns the file that makes Docker pass just these variables; fails for a value that no line can hold.
pub fn plain(variables: &BTreeMap<String, String>) -> Result<String, String> {
    let mut text = String::new();
    for (name, value) in variables {
        if value.contains(['\n', '\r']) || name.contains(char::is_whitespace) || name.starts_with('#') {
            return Err(format!("`{name}` has more than one line, which no file for Docker can hold"));
        }
        text.push_str(&format!("{name}={value}\n"));
    }
    Ok(text)
}

/// The lines with their numbers.
fn lines(text: &str) -> impl Iterator<Item = (usize, Line<'_>)> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines = text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
    (1..).zip(lines.map(|line| match line.len() < LONGEST {
        true => read(line),
        false => Line::Refused,
    }))
}

fn read(line: &str) -> Line<'_> {
    let line = line.trim_start();
    if line.is_empty() || line.starts_with('#') {
        return Line::Nothing;
    }
    let (name, value) = match line.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (line, None),
    };
    match value {
        _ if name.is_empty() || name.contains([' ', '\t']) => Line::Refused,
        Some(value) => Line::Sets(name, value),
        None => Line::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read_here(variables: &[(&str, &str)]) -> BTreeMap<String, String> {
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_line_that_docker_reads_in_another_way_is_named_without_its_value() {
        let ours = |name: &str| name.starts_with("CF_");
        for (text, read, words) in [
            ("CF_TOKEN=secret\n", [("CF_TOKEN", "secret")], None),
            ("\u{feff}  CF_TOKEN=secret\r\n# c\n\nHOME\n", [("CF_TOKEN", "secret")], None),
            ("CF_TOKEN=\n", [("CF_TOKEN", "")], None),
            ("CF_TOKEN=old\nCF_TOKEN=secret", [("CF_TOKEN", "secret")], None),
            ("OTHER=\"x\"\nCF_TOKEN=secret", [("CF_TOKEN", "secret")], None),
            (
                "\nCF_TOKEN=\"secret\"\n",
                [("CF_TOKEN", "secret")],
                Some("line 2: Docker takes the value of `CF_TOKEN`"),
            ),
            ("CF_TOKEN=secret # mine\n", [("CF_TOKEN", "secret")], Some("line 1: Docker takes the value")),
            ("CF_TOKEN=secret \n", [("CF_TOKEN", "secret")], Some("line 1: Docker takes the value")),
            ("CF_TOKEN=${A}\n", [("CF_TOKEN", "secret")], Some("line 1: Docker takes the value")),
            ("export CF_TOKEN=secret\n", [("CF_TOKEN", "secret")], Some("line 1: Docker takes no name")),
            ("CF_TOKEN = secret\n", [("CF_TOKEN", "secret")], Some("line 1: Docker takes no name")),
            // Not ours, and yet nothing starts with it.
            ("CF_TOKEN=secret\nexport A=1\n", [("CF_TOKEN", "secret")], Some("line 2: Docker takes no name")),
            ("=1\nCF_TOKEN=secret", [("CF_TOKEN", "secret")], Some("line 1: Docker takes no name")),
            ("'CF_TOKEN'=secret\n", [("CF_TOKEN", "secret")], Some("`CF_TOKEN`: Docker finds no line")),
        ] {
            let found = hindrances(text, &read_here(&read), ours);
            match words {
                None => assert_eq!(found, Vec::<String>::new(), "{text:?}"),
                Some(words) => {
                    assert_eq!(found.len(), 1, "{text:?}: {found:?}");
                    assert!(found[0].contains(words) && !found[0].contains("secret"), "{text:?}: {found:?}");
                }
            }
        }
        let long = format!("CF_TOKEN={}\n", "x".repeat(LONGEST));
        assert_eq!(hindrances(&long, &BTreeMap::new(), ours).len(), 1);
    }

    proptest! {
        #[test]
        fn what_is_written_plainly_is_read_by_docker_as_it_was_here(
            variables in prop::collection::btree_map("[A-Z_][A-Z0-9_]{0,8}", "[^\r\n]{0,20}", 0..6)
        ) {
            let text = plain(&variables).unwrap();
            prop_assert_eq!(hindrances(&text, &variables, |_| true), Vec::<String>::new());
        }
    }

    #[test]
    fn a_value_that_no_line_holds_is_refused_by_its_name() {
        let said = plain(&read_here(&[("A", "1"), ("KEY", "secret\nmore")])).unwrap_err();
        assert!(said.contains("`KEY`") && !said.contains("secret"), "{said}");
    }
}
