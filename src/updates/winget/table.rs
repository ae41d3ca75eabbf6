//! The table of `winget upgrade`.
//!
//! Its words are in the host's language, so nothing in it is known by a word. A line of dashes stands below the heads of
//! the columns, and where a column begins is counted in places on the screen: a Chinese character takes two.

use unicode_width::UnicodeWidthStr;

use super::package::Package;

/// Fewest dashes of the line below the heads.
const MIN_DASHES: usize = 10;
/// Columns with a source and without.
const COLUMNS: std::ops::RangeInclusive<usize> = 4..=5;

/// Longest line that may be a row.
const LONGEST_LINE: usize = 4096;

/// What the tables of an output say.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Tables {
    /// Of all of them.
    pub packages: Vec<Package>,
    /// Rows that could not be read.
    pub unread: usize,
    /// True if there is a line of dashes below another line.
    pub has_any: bool,
}

/// Reads all tables of an output. A row that cannot be read takes none of the others with it.
pub(super) fn tables(output: &str) -> Tables {
    let lines: Vec<String> = output.lines().map(as_seen).collect();
    let mut found = Tables::default();
    let mut tables = 0;
    for (at, line) in lines.iter().enumerate() {
        if !is_dashes(line) || at == 0 {
            continue;
        }
        found.has_any = true;
        let rows = rows_below(&lines, at);
        // The first row may be the one that cannot be read.
        let Some(starts) = rows.iter().find_map(|row| columns(&lines[at - 1], row)) else {
            found.unread += rows.iter().filter(|row| has_gap(row)).count();
            continue;
        };
        // What stands above the second table says why its programs are left out.
        let above = lines[..at - 1].iter().rev().map(|line| line.trim()).find(|line| !line.is_empty());
        let asks_to_be_named = tables > 0 || above.is_some_and(|line| line.ends_with([':', '：']));
        tables += 1;
        for line in rows {
            match row(line, &starts) {
                Some(package) => found.packages.push(Package { asks_to_be_named, ..package }),
                // Others are sentences: how many there are, and what was left out.
                None => found.unread += usize::from(has_gap(line)),
            }
        }
    }
    found
}

/// The lines below the dashes at `at`, up to a blank one or to the heads of the next table.
fn rows_below(lines: &[String], at: usize) -> &[String] {
    let below = &lines[at + 1..];
    let nexts = below.iter().skip(1).map(Some).chain([None]);
    let is_end = |(line, next): (&String, Option<&String>)| {
        line.trim().is_empty() || next.is_some_and(|next| is_dashes(next))
    };
    let end = below.iter().zip(nexts).position(is_end).unwrap_or(below.len());
    &below[..end]
}

/// True of what stands in columns: nobody leaves two blanks between the words of a sentence.
fn has_gap(line: &str) -> bool {
    line.trim().contains("  ")
}

/// What is left of a line on the screen once it was written over.
fn as_seen(line: &str) -> String {
    let line = line.trim_end_matches('\r');
    let last = line.rsplit('\r').next().unwrap_or_default();
    let mut seen = String::with_capacity(last.len());
    for c in last.chars() {
        match c {
            '\u{8}' => drop(seen.pop()),
            '\u{feff}' => {}
            c => seen.push(c),
        }
    }
    seen
}

fn is_dashes(line: &str) -> bool {
    let line = line.trim();
    line.len() >= MIN_DASHES && line.bytes().all(|b| b == b'-')
}

/// Where each column begins, in places on the screen.
fn columns(heads: &str, first_row: &str) -> Option<Vec<usize>> {
    let words = word_starts(heads);
    if COLUMNS.contains(&words.len()) {
        return Some(words);
    }
    // A head may be two words. Only at the first of them something begins in the row below, too.
    let below = word_starts(first_row);
    let both: Vec<usize> = words.into_iter().filter(|place| below.contains(place)).collect();
    COLUMNS.contains(&both.len()).then_some(both)
}

fn word_starts(line: &str) -> Vec<usize> {
    let (mut starts, mut is_between) = (Vec::new(), true);
    for (place, c) in places(line) {
        if is_between && !c.is_whitespace() {
            starts.push(place);
        }
        is_between = c.is_whitespace();
    }
    starts
}

/// Each character with its place on the screen. What several characters are drawn as one, such as most emoji, takes the
/// place of one.
fn places(line: &str) -> impl Iterator<Item = (usize, char)> {
    let is_plain = line.is_ascii();
    line.char_indices().map(move |(at, c)| (if is_plain { at } else { line[..at].width() }, c))
}

/// Reads a line, if it is one of the table's: every column begins behind a blank, and an id has none in it.
fn row(line: &str, starts: &[usize]) -> Option<Package> {
    if line.len() > LONGEST_LINE {
        return None;
    }
    let mut cells = vec![String::new(); starts.len()];
    let mut before = ' ';
    for (place, c) in places(line) {
        let at = starts.iter().rposition(|start| *start <= place).unwrap_or(0);
        let is_beginning = at > 0 && cells[at].is_empty() && starts[at] == place;
        if is_beginning && !before.is_whitespace() {
            return None;
        }
        cells[at].push(c);
        before = c;
    }
    let mut cells = cells.into_iter().map(|cell| cell.trim().to_owned());
    let mut next = || cells.next().unwrap_or_default();
    let package = Package {
        name: next(),
        id: next(),
        version: next(),
        available: next(),
        source: Some(next()).filter(|source| !source.is_empty()),
        asks_to_be_named: false,
    };
    let has_all = [&package.name, &package.id, &package.version, &package.available]
        .iter()
        .all(|cell| !cell.is_empty());
    let is_id = package.id.chars().all(|c| c.is_ascii_alphanumeric() || "._+-…".contains(c));
    let has_source = package.source.as_ref().is_none_or(|source| !source.contains(char::is_whitespace));
    (has_all && is_id && has_source).then_some(package)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(output: &str) -> Vec<(String, String, String, bool)> {
        let told = |p: Package| (p.id, p.version, p.available, p.asks_to_be_named);
        tables(output).packages.into_iter().map(told).collect()
    }

    fn line(id: &str, version: &str, available: &str, asks: bool) -> (String, String, String, bool) {
        (id.into(), version.into(), available.into(), asks)
    }

    #[test]
    fn a_table_is_read_in_any_language() {
        let english = include_str!("fixtures/en.txt");
        let expected = [
            line("Example.Tool", "1.2.3", "1.3.0", false),
            line("Other.Package", "< 4.0", "4.1", false),
            line("Example.Unknown", "Unknown", "7.0", false),
            line("Example.Blank", "2.0 beta 3", "2.0", false),
            line("Example.Pinned", "5.1", "6.0", true),
        ];
        assert_eq!(read(english), expected);
        assert_eq!(
            read(include_str!("fixtures/de.txt")),
            [
                line("Beispiel.Werkzeug", "1.2.3", "1.3.0", false),
                line("Beispiel.Fenster", "10.0", "11.2", false)
            ]
        );
        assert_eq!(
            read(include_str!("fixtures/ja.txt")),
            [
                line("Example.Editor", "1.0.0", "1.1.0", false),
                line("Example.Browser", "99.0", "100.0", false)
            ]
        );
        assert_eq!(
            read(include_str!("fixtures/ko.txt")),
            [line("Example.Messenger", "3.1", "3.2", false), line("Example.Plain", "1.0", "2.0", false)]
        );
    }

    #[test]
    fn a_cut_id_stays_recognisable_and_a_table_of_its_own_is_known_by_the_line_above() {
        let cut = "Name     Id            Version Available Source\n\
                   -----------------------------------------------\n\
                   Tool     Example.Very… 1.0     2.0       winget\n";
        assert_eq!(read(cut), [line("Example.Very…", "1.0", "2.0", false)]);
        let named = format!("Folgende Pakete müssen benannt werden:\n{cut}");
        assert_eq!(read(&named), [line("Example.Very…", "1.0", "2.0", true)]);
        let without_source = "Name  Id         Version  Available\n----------------------------------\nTool  Example.A  1.0      2.0\n";
        assert_eq!(read(without_source), [line("Example.A", "1.0", "2.0", false)]);
    }

    #[test]
    fn a_row_that_cannot_be_read_is_passed_over_and_counted() {
        let heads =
            "Name     Id         Version Available Source\n--------------------------------------------\n";
        let odd = "To\u{301}ol Ex ample.B  1.0     2.0       winget\n";
        let good = |id: &str| format!("Tool     {id}  1.0     2.0       winget\n");
        let footer = "2 upgrades available.\n1 package(s) have pins that prevent upgrade.\n";
        let expected = [line("Example.A", "1.0", "2.0", false), line("Example.C", "1.0", "2.0", false)];
        for rows in [
            format!("{}{odd}{}{footer}", good("Example.A"), good("Example.C")),
            format!("{odd}{}{}{footer}", good("Example.A"), good("Example.C")),
            format!("{}{}{odd}{footer}", good("Example.A"), good("Example.C")),
        ] {
            let output = format!("{heads}{rows}\n{heads}{}", good("Example.D"));
            assert_eq!(read(&output)[..2], expected, "{output}");
            assert_eq!(read(&output)[2..], [line("Example.D", "1.0", "2.0", true)], "{output}");
            assert_eq!(tables(&output).unread, 1, "{output}");
        }
        for whole in [
            include_str!("fixtures/en.txt"),
            include_str!("fixtures/de.txt"),
            include_str!("fixtures/ko.txt"),
        ] {
            assert_eq!(tables(whole).unread, 0, "{whole}");
        }
    }

    #[test]
    fn what_is_drawn_as_one_takes_the_place_of_one() {
        // A family of three, a flag, a heart with a selector, an accent of its own.
        let names = [
            "\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467} Tool",
            "\u{1f1e9}\u{1f1ea} Tool",
            "\u{2764}\u{fe0f} Tool",
        ];
        for name in names {
            let output = format!(
                "Name    Id        Version Available Source\n------------------------------------------\n\
                 {name} Example.A 1.0     2.0       winget\n"
            );
            assert_eq!(read(&output), [line("Example.A", "1.0", "2.0", false)], "{output}");
        }
        let accent = "Name Id        Version Available\n---------------------------------\nTo\u{301}ol Example.A 1.0     2.0\n";
        assert_eq!(read(accent), [line("Example.A", "1.0", "2.0", false)]);
    }

    #[test]
    fn text_without_a_table_holds_no_package() {
        for text in [
            "",
            "No installed package found matching input criteria.",
            "5 upgrades available.",
            "----------------------",
            "\r\n----------------------\r\n1 2 3 4 5\r\n",
            "Id\n----------\nA",
        ] {
            assert_eq!(read(text), [], "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_printed_it_is_read(text in "(.{0,30}\n){0,3}-{10,20}\n(.{0,60}\n){0,3}") {
            for package in tables(&text).packages {
                prop_assert!(!package.id.contains(char::is_whitespace));
            }
        }
    }
}
