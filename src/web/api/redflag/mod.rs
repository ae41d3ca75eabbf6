//! RedFlag's API for people and scripts: `/api/v1/...` beside what its agents call.
//!
//! Paths, fields and status codes are upstream's; where it does not do what it says, ours does: `docs/redflag.md` lists the
//! differences.

pub mod agents;
pub mod commands;
pub mod install;
pub mod limits;
pub mod login;
pub mod logs;
pub mod settings;
pub mod tokens;
pub mod updates;

use crate::web::error::ApiError;
use crate::web::query::number;

/// Most rows that a page may hold, and how far back pages reach.
const MOST: (u64, u64) = (1_000, 10_000);

/// A page of a list.
struct PageOf {
    page: u64,
    size: u64,
}

impl PageOf {
    /// Reads `page` and the size under the name that the route has for it.
    fn read(
        page: Option<&str>,
        (name, size): (&str, Option<&str>),
        by_default: u64,
    ) -> Result<Self, ApiError> {
        Ok(Self {
            page: number("page", page, 1, 1..=MOST.1)?,
            size: number(name, size, by_default, 1..=MOST.0)?,
        })
    }

    /// How many rows stand before it.
    fn skipped(&self) -> u64 {
        (self.page - 1).saturating_mul(self.size)
    }

    /// How many rows have to be read, the newest first, to have all of it.
    fn reach(&self) -> u64 {
        self.skipped().saturating_add(self.size).min(MOST.1)
    }

    /// Cuts it out of the rows that [`PageOf::reach`] asked for.
    fn cut<T>(&self, rows: Vec<T>) -> Vec<T> {
        let skipped = usize::try_from(self.skipped()).unwrap_or(usize::MAX);
        rows.into_iter().skip(skipped).take(usize::try_from(self.size).unwrap_or(usize::MAX)).collect()
    }
}

/// Returns the text of a query parameter, if it has any.
fn filled(text: &Option<String>) -> Option<String> {
    text.as_deref().map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_cut_out_of_what_was_read() {
        let page = PageOf::read(Some("2"), ("limit", Some("3")), 50).unwrap();
        assert_eq!((page.skipped(), page.reach()), (3, 6));
        assert_eq!(page.cut((0..6).collect()), [3, 4, 5]);
        let far = PageOf::read(Some("999999"), ("limit", None), 50).unwrap();
        assert_eq!(far.reach(), MOST.1);
        assert!(far.cut((0..MOST.1).collect::<Vec<_>>()).is_empty());
        assert!(PageOf::read(Some("x"), ("limit", None), 50).is_err());
    }
}
