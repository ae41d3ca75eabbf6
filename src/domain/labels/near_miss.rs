//! Labels that are nearly right: the most frequent reason why nothing happens.

use std::collections::BTreeSet;

use super::problem::LabelProblem;
use super::table::{Labelled, Level, SUFFIXES};

/// Words that people write for a suffix that looks quite different.
const ALIASES: [(&str, &str); 21] = [
    ("enabled", "enable"),
    ("active", "enable"),
    ("host", "hostname"),
    ("hostnames", "hostname"),
    ("domain", "hostname"),
    ("url", "service"),
    ("port", "service"),
    ("protocol", "service"),
    ("target", "service"),
    ("zone", "zonename"),
    ("zone_name", "zonename"),
    ("originservername", "originsrvname"),
    ("origin_server_name", "originsrvname"),
    ("http_host_header", "httpHostHeader"),
    ("connecttimeout", "connect_timeout"),
    ("capool", "ca_pool"),
    ("proxytype", "proxy_type"),
    ("notlsverify", "no_tls_verify"),
    ("http2origin", "http2_origin"),
    ("group", "access.group"),
    ("policy", "access.policy"),
];
/// Longer words are not compared, since that takes time and helps nobody.
const MAX_COMPARED: usize = 64;

/// Notes every label of ours whose suffix has no meaning. What was meant is looked for only `most` times: problems
/// beyond that are counted and not shown.
pub(super) fn find(table: &Labelled<'_>, most: usize, problems: &mut Vec<LabelProblem>) {
    for (label, level, suffix) in table.all() {
        let known = SUFFIXES.contains(&suffix);
        if known && (suffix != "enable" || level == Level::Base) {
            continue;
        }
        let reason = if known {
            "`enable` is for the whole container and takes no number; leave the number out".to_owned()
        } else if let Some((number, word)) = misplaced_number(suffix).filter(|_| level == Level::Base) {
            let meant = table.beside(label, &format!("{number}.{word}"));
            format!(
                "this label has no meaning; the number goes before the word, without zeros in front: write `{meant}`"
            )
        } else {
            match Some(suffix).filter(|_| problems.len() < most).and_then(|suffix| nearest(suffix, |_| true))
            {
                Some(meant) => format!("this label has no meaning; `{meant}` was probably meant"),
                None => "this label has no meaning; see the table of labels".to_owned(),
            }
        };
        problems.push(LabelProblem::new(label, "", reason));
    }
}

/// Finds the number and the known word in `hostname.0`, `hostname_0`, `hostname[0]` or `00.hostname`.
fn misplaced_number(suffix: &str) -> Option<(usize, &'static str)> {
    let is_between = |c: char| matches!(c, '.' | '_' | '-' | '[' | ']');
    let without_end = suffix.trim_end_matches(is_between);
    let behind = without_end.trim_end_matches(|c: char| c.is_ascii_digit());
    let before = suffix.trim_start_matches(|c: char| c.is_ascii_digit());
    let (number, word) = match before.len() < suffix.len() {
        true => (&suffix[..suffix.len() - before.len()], before.trim_start_matches(is_between)),
        false => (&without_end[behind.len()..], behind.trim_end_matches(is_between)),
    };
    let known = SUFFIXES.into_iter().find(|known| *known == word && *known != "enable")?;
    Some((number.parse().ok()?, known))
}

/// Notes numbered labels that are never reached, since a number before them has no hostname.
pub(super) fn find_gaps(table: &Labelled<'_>, indices: usize, problems: &mut Vec<LabelProblem>) {
    let mut seen = BTreeSet::new();
    for (label, level, _) in table.all() {
        let Level::Index(i) = level else { continue };
        if i < indices || !seen.insert(i) {
            continue;
        }
        let missing = table.name_at(Level::Index(indices), "hostname");
        let reason = format!("never read, since `{missing}` is not set; number routes from 0 without a gap");
        problems.push(LabelProblem::new(label, "", reason));
    }
}

/// A label about protection that has no meaning as it is written: nobody can tell what it asks for.
pub(super) struct AccessTypo<'a> {
    pub(super) label: &'a str,
    pub(super) level: Level,
    meant: Option<&'static str>,
}

/// Labels whose nearest word is looked for: every label is compared with every word, and few of them are shown.
const MAX_MEANT: usize = 3;

/// Returns all labels that are about protection and that nobody knows.
///
/// A misspelt one counts too, and so does a blank one: whoever writes it does not want an open door.
pub(super) fn access_typos<'a>(table: &Labelled<'a>) -> Vec<AccessTypo<'a>> {
    let unknown = table.all().filter(|(.., suffix)| !SUFFIXES.contains(suffix) && means_access(suffix));
    let typo = |(i, (label, level, suffix)): (usize, (&'a str, Level, &'a str))| AccessTypo {
        label,
        level,
        meant: if i < MAX_MEANT { nearest(suffix, is_access) } else { None },
    };
    unknown.enumerate().map(typo).collect()
}

impl AccessTypo<'_> {
    /// Why nobody can tell what is asked for.
    pub(super) fn reason(&self) -> String {
        let meant = match self.meant {
            Some(meant) => format!("; `{meant}` was probably meant"),
            None => "; see the table of labels".to_owned(),
        };
        let problem = LabelProblem::new(self.label, "", format!("has no meaning{meant}"));
        format!("`{}` {}", problem.label, problem.reason)
    }
}

/// True for a known suffix that is about protection.
pub(super) fn is_access(suffix: &str) -> bool {
    suffix.starts_with("access.")
}

/// Says whether a suffix that nobody knows is about protection.
fn means_access(suffix: &str) -> bool {
    suffix.to_ascii_lowercase().contains("acces") || nearest(suffix, is_access).is_some()
}

/// Returns the known suffix that a word is most like, of those that are asked for.
fn nearest(word: &str, is_asked: impl Fn(&str) -> bool) -> Option<&'static str> {
    if word.len() > MAX_COMPARED {
        return None;
    }
    let word = word.to_ascii_lowercase();
    if let Some((_, meant)) = ALIASES.iter().find(|(alias, _)| *alias == word) {
        return Some(*meant).filter(|meant| is_asked(meant));
    }
    // Words that are longer or shorter by more than is allowed need not be compared: that is most of them.
    let near = SUFFIXES
        .into_iter()
        .filter(|known| known.len().abs_diff(word.len()) <= allowed(known) && is_asked(known));
    let best = near.map(|known| (distance(&word, &known.to_ascii_lowercase()), known)).min()?;
    (best.0 <= allowed(best.1)).then_some(best.1)
}

fn distance(word: &str, known: &str) -> usize {
    #[cfg(test)]
    COMPARISONS.set(COMPARISONS.get() + 1);
    strsim::levenshtein(word, known)
}

#[cfg(test)]
thread_local! {
    /// Comparisons of two words on this thread: by far the most expensive step of reading labels.
    pub(super) static COMPARISONS: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// Counts the letters that may be wrong in a word that was meant to be this one.
fn allowed(known: &str) -> usize {
    (known.len() / 4).clamp(1, 3)
}
