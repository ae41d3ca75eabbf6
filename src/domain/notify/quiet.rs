//! Hours in which nothing is sent.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, FixedOffset, NaiveTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::domain::text::repeated;

/// From one time of day to another, over midnight too, by the clock on the master's wall.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct QuietHours {
    from: NaiveTime,
    to: NaiveTime,
}

impl QuietHours {
    /// Returns when they end, if they are now.
    pub fn until(self, now: DateTime<FixedOffset>) -> Option<DateTime<Utc>> {
        let time = now.time();
        let is_quiet = match self.from < self.to {
            true => time >= self.from && time < self.to,
            false => time >= self.from || time < self.to,
        };
        let left = self.to - time;
        // The end may be tomorrow. Where summer time begins or ends meanwhile it is an hour off, and looked at again.
        let left = if left <= TimeDelta::zero() { left + TimeDelta::days(1) } else { left };
        is_quiet.then(|| now.with_timezone(&Utc) + left)
    }
}

impl FromStr for QuietHours {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "`{}` are no hours; write from when to when nothing is sent, such as `22:00-07:00`",
                repeated(text)
            )
        };
        let (from, to) = text.split_once('-').ok_or_else(wrong)?;
        let time = |text: &str| NaiveTime::parse_from_str(text.trim(), "%H:%M").map_err(|_| wrong());
        let hours = Self { from: time(from)?, to: time(to)? };
        if hours.from == hours.to {
            return Err(format!(
                "`{}` is all day or never; leave the quiet hours out, or remove the target",
                repeated(text)
            ));
        }
        Ok(hours)
    }
}

impl TryFrom<String> for QuietHours {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<QuietHours> for String {
    fn from(hours: QuietHours) -> Self {
        hours.to_string()
    }
}

impl fmt::Display for QuietHours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.from.format("%H:%M"), self.to.format("%H:%M"))
    }
}
