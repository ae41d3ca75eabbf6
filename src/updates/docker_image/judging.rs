//! Judges new containers: by their health check, by what visitors are answered, by the network that they live in.

use std::io::Write;

use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::basis::name_of;
use super::interfaces::has_network;
use super::swap::{Fault, LOOK_EVERY, Swapper, text};
use super::visitor::ask;
use crate::domain::update::swap::{
    Check, Compared, Swap, Verdict, Visit, check_of, compare_answers, has_none_to_lend, judge, lender_of,
    not_in_network,
};

/// Lines of a new container's log that are kept if it is not good.
const LINES: usize = 20;

impl Swapper<'_> {
    /// Waits until a new container is good; else says why it is not.
    pub(super) async fn until_good(&mut self, number: usize, place: usize, new: &str) -> Result<(), Fault> {
        let swap = self.swaps.groups[number].swaps[place].clone();
        if !swap.runs {
            return Ok(());
        }
        let mut since = Instant::now();
        let (mut is_said, mut good_since, mut lines) = (false, None, Vec::new());
        loop {
            let Some(found) = self.engine.inspect(new).await.map_err(text)? else {
                return Err(self.with_last_words(&swap, lines, self.gone(&swap, new)));
            };
            let check = check_of(&found);
            let verdict = match judge(&found, &check, since.elapsed()) {
                Verdict::Good => {
                    let good_since = *good_since.get_or_insert_with(Instant::now);
                    match self.until_asked(number, place, &found).await? {
                        None => return Ok(()),
                        Some(reason) if good_since.elapsed() > check.answers_within() => Verdict::Bad(reason),
                        Some(_) => Verdict::Waits,
                    }
                }
                verdict => verdict,
            };
            if let Verdict::Bad(reason) = verdict {
                // One that removes itself would be gone.
                if !self.started.contains(new) && swap.was.is_none() {
                    self.start_again(&swap, &found, &reason).await?;
                    (since, good_since) = (Instant::now(), None);
                    continue;
                }
                let last = self.engine.last_lines(new, LINES).await.unwrap_or(lines);
                return Err(self.with_last_words(&swap, last, self.verdict(&found, reason)));
            }
            if !is_said {
                is_said = true;
                self.say(&swap, &waits(&check));
            }
            if swap.was.is_some() {
                // With its end its log is gone too.
                lines = self.engine.last_lines(new, LINES).await.unwrap_or(lines);
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// Makes the requests of visitors. Returns what speaks against the new container as yet; what is settled is written down.
    async fn until_asked(
        &mut self,
        number: usize,
        place: usize,
        new: &Value,
    ) -> Result<Option<String>, String> {
        let swap = self.swaps.groups[number].swaps[place].clone();
        if swap.visits.is_empty() {
            return Ok(None);
        }
        let visits = self.visitor.visits(new).await.map_err(text)?;
        let mut visited = swap.visits.clone();
        for one in &mut visited {
            let is_same = |visit: &&Visit| (&visit.route, &visit.service) == (&one.route, &one.service);
            // What an old image asked for the new one may not.
            let Some(visit) = visits.iter().find(is_same) else { continue };
            let answer = ask(visit).await;
            one.after = Some(answer.clone());
            if compare_answers(&one.before, &answer) == Compared::Worse {
                let at = visit.at.as_ref().map(ToString::to_string).unwrap_or_default();
                return Ok(Some(format!("it was asked at {at} as visitors ask it: {one}")));
            }
        }
        for one in &visited {
            self.say(&swap, &one.to_string());
        }
        self.swaps.groups[number].swaps[place].visits = visited;
        self.write()?;
        Ok(None)
    }

    /// Looks whether a container that lives in another one's network has it.
    pub(super) async fn has_its_network(&self, new: &Value) -> Result<(), Fault> {
        let Some(lender) = lender_of(new) else { return Ok(()) };
        let lender =
            self.look(lender).await.map_err(|error| format!("in whose network it lives: {error}"))?;
        if let Some(reason) = not_in_network(new, &lender) {
            return Err(self.verdict(new, reason));
        }
        match has_network(new) {
            Some(false) if !has_none_to_lend(&lender) => {
                let reason =
                    format!("it has nothing but a loopback in the network of `{}`", name_of(&lender));
                Err(self.verdict(new, reason))
            }
            _ => Ok(()),
        }
    }

    /// Keeps the end of its log with the run; the last line is said at once.
    fn with_last_words(&self, swap: &Swap, lines: Vec<String>, fault: Fault) -> Fault {
        let reason = &fault.reason;
        let mut kept = format!("{}: {reason}\n", swap.name);
        for line in &lines {
            kept += &format!("{} | {line}\n", swap.name);
        }
        let file = std::fs::File::options().create(true).append(true).open(self.at.log());
        if let Err(error) = file.and_then(|mut file| file.write_all(kept.as_bytes())) {
            tracing::warn!(error = &error as &dyn std::error::Error, "the log of a run cannot be written");
        }
        let reason = match lines.iter().rev().find(|line| !line.trim().is_empty()) {
            Some(last) => format!("{reason}; its last line: `{}`", last.trim()),
            None => format!("{reason}; it wrote nothing"),
        };
        Fault { reason, ..fault }
    }

    /// What is to be thought of a new container that is not there any more.
    fn gone(&self, swap: &Swap, new: &str) -> Fault {
        match &swap.was {
            Some(_) => Fault {
                reason: "it ended, and is gone as `--rm` wants it".to_owned(),
                is_of_image: self.started.contains(new),
            },
            None => Fault::from("somebody removed it meanwhile".to_owned()),
        }
    }
}

fn waits(check: &Check) -> String {
    match check {
        Check::Health { limit, .. } => format!("waits until it is healthy, at most {} s", limit.as_secs()),
        Check::Runs => "has no health check; looks whether it keeps running".to_owned(),
    }
}
