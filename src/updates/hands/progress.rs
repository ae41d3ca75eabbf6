//! Tells how a run goes on: at every step, else at most once a second, and now and then while nothing changes, so that
//! whoever waits knows that it lives.

use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use super::TellProgress;
use crate::domain::update::{Run, RunProgress};
use crate::state_dir::read_end;
use crate::updates::Progress;

/// Shortest time between two words about one step.
const PAUSE: Duration = Duration::from_secs(1);
/// Longest time without a word.
const SILENCE: Duration = Duration::from_secs(14);
/// Longest end of the log that is told, in bytes.
const LOG_END: u64 = 16 * 1024;

/// How far a run is, as its steps say it.
pub(super) struct Teller(watch::Sender<RunProgress>);

impl Teller {
    /// For a run of which these steps are done.
    pub(super) fn of(run: &Run) -> Self {
        Self(watch::Sender::new(RunProgress {
            run: run.id.clone(),
            order: run.order.clone(),
            plan: run.plan.id(),
            by: run.by.clone(),
            started_at: run.started_at,
            done: run.steps.iter().map(|done| done.name.clone()).collect(),
            step: None,
            percent: None,
            words: String::new(),
            log: String::new(),
        }))
    }

    /// Takes in what a step says.
    pub(super) fn heard(&self, progress: Progress) {
        self.0.send_modify(|said| match progress {
            Progress::Begins(step) => {
                // What was begun before is done.
                said.done.extend(said.step.replace(step.to_owned()));
                (said.percent, said.words) = (None, String::new());
            }
            Progress::Percent(percent, words) => (said.percent, said.words) = (Some(percent), words),
            Progress::Waits(words) | Progress::Does(words) => said.words = words,
        });
    }

    /// Tells it until it is dropped.
    pub(super) async fn tell(&self, log: PathBuf, tell: TellProgress) -> std::convert::Infallible {
        let mut news = self.0.subscribe();
        loop {
            let said = news.borrow_and_update().clone();
            tell(RunProgress { log: log_end(&log), ..said.clone() });
            let at_new_step = news.wait_for(|now| now.step != said.step);
            if timeout(PAUSE, at_new_step).await.is_ok() {
                continue;
            }
            let is_news = news.wait_for(|now| *now != said);
            // Without any news it is told once more.
            let _ = timeout(SILENCE, is_news).await;
        }
    }

    /// Waits for the end of the work and tells how it goes on meanwhile.
    pub(super) async fn along<T>(
        &self,
        work: impl Future<Output = T>,
        log: PathBuf,
        tell: TellProgress,
    ) -> T {
        tokio::select! {
            ended = work => ended,
            never = self.tell(log, tell) => match never {},
        }
    }
}

fn log_end(log: &std::path::Path) -> String {
    read_end(log, 0, LOG_END)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;
    use tokio::time::sleep;

    use super::*;
    use crate::domain::update::{Plan, RunId};

    #[tokio::test(start_paused = true)]
    async fn every_step_is_told_at_once_and_all_else_once_a_second() {
        let at = "2026-01-31T12:00:00Z".parse().unwrap();
        let run = Run::new(RunId::parse("1").unwrap(), Plan::nothing(), "ann", at);
        let (teller, told) = (Teller::of(&run), Arc::new(Mutex::new(Vec::new())));
        let sink = Arc::clone(&told);
        let tell: TellProgress = Arc::new(move |said| sink.lock().push((said.step, said.percent, said.done)));
        let work = async {
            sleep(Duration::from_millis(100)).await;
            teller.heard(Progress::Begins("check"));
            sleep(Duration::from_millis(100)).await;
            teller.heard(Progress::Begins("change"));
            for percent in 0..50 {
                teller.heard(Progress::Percent(percent, String::new()));
                sleep(Duration::from_millis(60)).await;
            }
            sleep(Duration::from_secs(31)).await;
        };

        teller.along(work, "/nowhere/log.txt".into(), tell).await;

        let told = told.lock();
        let steps: Vec<_> = told.iter().map(|(step, ..)| step.as_deref().unwrap_or("-")).collect();
        assert_eq!(steps[..3], ["-", "check", "change"]);
        assert_eq!(told[2].2, ["check"]);
        assert!((8..=10).contains(&told.len()), "{told:?}");
        assert_eq!(told.last().unwrap().1, Some(49));
    }
}
