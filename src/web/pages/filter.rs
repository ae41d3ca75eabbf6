//! Long lists: what of them a person asked for, and one page of it. All of it stands in the address, so that it works
//! without scripts, can be kept as a bookmark, and stays when the live part is fetched again.

use serde::Deserialize;
use url::form_urlencoded::Serializer;
use utoipa::IntoParams;

/// Most lines on a page.
pub const LINES: usize = 200;
/// So few lines need no filter.
const FEW: usize = 20;

/// What a person wants to see of a list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, IntoParams)]
#[serde(default)]
pub struct Wanted {
    /// Only lines with this text; capitals make no difference.
    find: String,
    /// Only lines that stand where this word says.
    state: String,
    /// Which page, from 1; the first if it is none, the last if there are not so many.
    page: String,
}

/// A line of a long list.
pub trait Line {
    /// Where a text is looked for.
    fn texts(&self) -> Vec<&str>;
    /// The word for where it stands; none if it stands nowhere.
    fn word(&self) -> Option<&str>;
}

/// One page of a list.
pub struct Shown<T> {
    /// The lines on it.
    pub lines: Vec<T>,
    /// How many there are, as the heading says it.
    pub count: String,
    /// True if there are lines, and none is as wanted.
    pub is_missed: bool,
    /// The whole list.
    pub path: &'static str,
    /// The way to the other pages, if there are any.
    pub pages: Option<Pages>,
}

/// The way to the other pages of a list.
pub struct Pages {
    /// Which lines are shown, of how many.
    pub place: String,
    /// Address of the page before.
    pub back: Option<String>,
    /// Address of the page after.
    pub onward: Option<String>,
}

/// The form that says what is wanted.
pub struct Filter {
    /// The whole list.
    pub path: &'static str,
    /// The text that was asked for.
    pub find: String,
    /// Where a text is looked for, in words.
    pub hint: &'static str,
    /// The words for where a line can stand, and which of them was chosen.
    pub states: Vec<(String, bool)>,
    /// True if not all of the list is wanted.
    pub is_narrow: bool,
}

impl Wanted {
    /// True if a line is as wanted.
    pub fn fits<T: Line>(&self, line: &T) -> bool {
        let find = self.find.trim().to_lowercase();
        let is_found =
            || find.is_empty() || line.texts().iter().any(|text| text.to_lowercase().contains(&find));
        (self.state.is_empty() || line.word() == Some(self.state.as_str())) && is_found()
    }

    /// The number of the page that is wanted, from 1.
    fn number(&self) -> usize {
        self.page.trim().parse().unwrap_or(1).max(1)
    }

    /// Returns the address at which `path` shows what is wanted.
    pub fn at(&self, path: &str) -> String {
        self.address(path, self.number())
    }

    /// Returns the form, unless a list of `total` lines is seen at a glance.
    pub fn filter(
        &self,
        path: &'static str,
        hint: &'static str,
        words: Vec<String>,
        total: usize,
    ) -> Option<Filter> {
        let is_narrow = self.is_narrow();
        let chosen = |word: String| {
            let is_chosen = word == self.state;
            (word, is_chosen)
        };
        let states = words.into_iter().map(chosen).collect();
        (is_narrow || total > FEW).then(|| Filter { path, find: self.find.clone(), hint, states, is_narrow })
    }

    fn is_narrow(&self) -> bool {
        !self.find.trim().is_empty() || !self.state.is_empty()
    }

    fn address(&self, path: &str, page: usize) -> String {
        let page = if page > 1 { page.to_string() } else { String::new() };
        let mut query = Serializer::new(String::new());
        let pairs = [("find", self.find.trim()), ("state", &self.state), ("page", &page)];
        query.extend_pairs(pairs.iter().filter(|(_, value)| !value.is_empty()));
        match query.finish() {
            query if query.is_empty() => path.to_owned(),
            query => format!("{path}?{query}"),
        }
    }
}

/// A list that is read in pages: of what is wanted it keeps the lines up to the page that is shown, in their order.
pub struct Gathering<T, K> {
    wanted: Wanted,
    order: fn(&T) -> K,
    lines: Vec<T>,
    total: usize,
    found: usize,
}

impl<T: Line, K: Ord> Gathering<T, K> {
    /// Begins one whose lines stand in this order; equal ones as they come.
    pub fn new(wanted: Wanted, order: fn(&T) -> K) -> Self {
        Self { wanted, order, lines: Vec::new(), total: 0, found: 0 }
    }

    /// Adds a line.
    pub fn add(&mut self, line: T) {
        self.total += 1;
        if !self.wanted.fits(&line) {
            return;
        }
        self.found += 1;
        self.lines.push(line);
        let most = self.wanted.number().saturating_mul(LINES);
        if self.lines.len() >= most.saturating_mul(2) {
            self.lines.sort_by_cached_key(self.order);
            self.lines.truncate(most);
        }
    }

    /// Returns how many lines there are, wanted or not.
    pub fn total(&self) -> usize {
        self.total
    }

    /// Returns the page that is wanted of the list at `path`.
    pub fn page(mut self, path: &'static str) -> Shown<T> {
        self.lines.sort_by_cached_key(self.order);
        let (wanted, found, total) = (&self.wanted, self.found, self.total);
        let last = found.div_ceil(LINES).max(1);
        let page = wanted.number().min(last);
        let first = (page - 1) * LINES;
        let lines: Vec<T> = self.lines.into_iter().skip(first).take(LINES).collect();
        let pages = (last > 1).then(|| Pages {
            place: format!("{} to {} of {found}", first + 1, first + lines.len()),
            back: (page > 1).then(|| wanted.address(path, page - 1)),
            onward: (page < last).then(|| wanted.address(path, page + 1)),
        });
        let count = if wanted.is_narrow() { format!("{found} of {total}") } else { total.to_string() };
        Shown { is_missed: total > 0 && found == 0, lines, count, path, pages }
    }
}

/// The first of many lines, and how many there are.
pub struct Cut<T> {
    /// The first.
    pub lines: Vec<T>,
    /// All of them.
    pub total: usize,
    most: usize,
}

impl<T> Cut<T> {
    /// Begins one that keeps `most` lines.
    pub fn new(most: usize) -> Self {
        Self { lines: Vec::new(), total: 0, most }
    }

    /// Adds a line.
    pub fn add(&mut self, line: T) {
        self.total += 1;
        if self.lines.len() < self.most {
            self.lines.push(line);
        }
    }

    /// Adds another one.
    pub fn append(&mut self, other: Self) {
        let more = other.total - other.lines.len();
        other.lines.into_iter().for_each(|line| self.add(line));
        self.total += more;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Named(String, &'static str);

    impl Line for Named {
        fn texts(&self) -> Vec<&str> {
            vec![&self.0]
        }

        fn word(&self) -> Option<&str> {
            Some(self.1)
        }
    }

    fn lines(number: usize) -> Vec<Named> {
        (0..number).map(|n| Named(format!("Host-{n}"), if n % 2 == 0 { "live" } else { "gone" })).collect()
    }

    fn page(wanted: Wanted, lines: Vec<Named>) -> Shown<Named> {
        let mut gathering = Gathering::new(wanted, |_| ());
        lines.into_iter().for_each(|line| gathering.add(line));
        gathering.page("/x")
    }

    fn wanted(find: &str, state: &str, page: &str) -> Wanted {
        Wanted { find: find.into(), state: state.into(), page: page.into() }
    }

    #[test]
    fn a_long_list_is_cut_into_pages_and_every_line_is_on_one() {
        for (number, first, lines_on_it, place, back, onward) in [
            ("", "Host-0", 200, "1 to 200 of 450", None, Some("/x?page=2")),
            ("2", "Host-200", 200, "201 to 400 of 450", Some("/x"), Some("/x?page=3")),
            ("3", "Host-400", 50, "401 to 450 of 450", Some("/x?page=2"), None),
            // It has become shorter, or somebody wrote the address.
            ("9", "Host-400", 50, "401 to 450 of 450", Some("/x?page=2"), None),
            ("0", "Host-0", 200, "1 to 200 of 450", None, Some("/x?page=2")),
            ("two", "Host-0", 200, "1 to 200 of 450", None, Some("/x?page=2")),
        ] {
            let shown = page(wanted("", "", number), lines(450));
            assert_eq!((shown.lines[0].0.as_str(), shown.lines.len()), (first, lines_on_it), "{number}");
            let pages = shown.pages.unwrap();
            assert_eq!((pages.place.as_str(), shown.count.as_str()), (place, "450"), "{number}");
            assert_eq!((pages.back.as_deref(), pages.onward.as_deref()), (back, onward), "{number}");
        }
    }

    #[test]
    fn lines_are_ordered_however_they_come_and_no_more_of_them_are_kept_than_are_shown() {
        for (number, first) in [("1", 0), ("2", LINES)] {
            let mut gathering = Gathering::new(wanted("", "", number), |line: &Named| line.0.clone());
            for n in (0..3_000).rev() {
                gathering.add(Named(format!("Host-{n:04}"), "live"));
                assert!(gathering.lines.len() < 4 * LINES);
            }
            let names: Vec<_> = gathering.page("/x").lines.into_iter().map(|line| line.0).collect();
            let expected: Vec<_> = (first..first + LINES).map(|n| format!("Host-{n:04}")).collect();
            assert_eq!(names, expected);
        }
    }

    #[test]
    fn only_what_is_wanted_is_shown_and_counted() {
        let shown = page(wanted(" hOST-1 ", "gone", ""), lines(20));
        let names: Vec<&str> = shown.lines.iter().map(|line| line.0.as_str()).collect();
        assert_eq!(names, ["Host-1", "Host-11", "Host-13", "Host-15", "Host-17", "Host-19"]);
        assert_eq!((shown.count.as_str(), shown.is_missed, shown.pages.is_none()), ("6 of 20", false, true));

        let shown = page(wanted("nobody", "", ""), lines(20));
        assert_eq!((shown.count.as_str(), shown.is_missed), ("0 of 20", true));
        assert!(!page(wanted("nobody", "", ""), lines(0)).is_missed);
    }

    #[test]
    fn what_is_wanted_stays_in_the_address() {
        let shown = wanted("a&b c", "being published", "2").at("/fragments/routes");
        assert_eq!(shown, "/fragments/routes?find=a%26b+c&state=being+published&page=2");
        assert_eq!(wanted(" ", "", "1").at("/routes"), "/routes");
    }

    #[test]
    fn a_short_list_needs_no_filter_unless_it_is_one_already() {
        let words = || vec!["live".to_owned(), "gone".to_owned()];
        assert!(Wanted::default().filter("/x", "names", words(), 20).is_none());
        assert!(Wanted::default().filter("/x", "names", words(), 21).is_some());
        let filter = wanted("", "gone", "").filter("/x", "names", words(), 3).unwrap();
        assert_eq!(filter.states, [("live".to_owned(), false), ("gone".to_owned(), true)]);
    }
}
