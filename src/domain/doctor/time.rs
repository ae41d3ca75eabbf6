//! This machine's clock against the time that somebody else tells.

use chrono::{DateTime, TimeDelta, Utc};

use super::Check;

/// Orders and certificates bear more; a clock that differs by so much is not kept by anybody.
const MOST: TimeDelta = TimeDelta::seconds(30);

/// What somebody said of the time, and what this machine's clock said in that moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    /// Their time, in whole seconds.
    pub theirs: DateTime<Utc>,
    /// Ours.
    pub ours: DateTime<Utc>,
}

/// Judges the clock by what `who` said.
pub fn judge(who: &str, told: Option<Told>) -> Check {
    let name = format!("Clock against {who}");
    let Some(Told { theirs, ours }) = told else {
        return Check::not_checked(
            name,
            format!("no answer of {who} told the time"),
            "put right why there was no answer; what it is stands with the other checks",
        );
    };
    let apart = ours - theirs;
    let seconds = apart.num_seconds().abs();
    if apart.abs() <= MOST {
        return Check::fine(name, format!("{seconds} s apart"));
    }
    let way = if apart > TimeDelta::zero() { "ahead of" } else { "behind" };
    Check::problem(
        name,
        format!("this machine's clock is {seconds} s {way} {who}'s"),
        "have the clock kept, as by `timedatectl set-ntp true`; commands expire and certificates begin by the clock",
    )
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn a_clock_that_is_kept_is_told_from_one_that_is_not() {
        let theirs = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        for (apart, verdict, words) in [
            (0, Verdict::Fine, "0 s apart"),
            (-30, Verdict::Fine, "30 s apart"),
            (31, Verdict::Problem, "31 s ahead of the master's"),
            (-86_400, Verdict::Problem, "86400 s behind the master's"),
        ] {
            let told = Told { theirs, ours: theirs + TimeDelta::seconds(apart) };
            let check = judge("the master", Some(told));
            assert_eq!(check.verdict, verdict, "{apart}");
            assert!(check.detail.contains(words), "{}", check.detail);
        }
        assert_eq!(judge("the master", None).verdict, Verdict::NotChecked);
    }
}
