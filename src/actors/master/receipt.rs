//! Answers: to who asks one actor, and to a report that several carry out, sent when the last part is committed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::error::MasterError;

/// Where an answer goes; dropped unanswered it means that the work was lost and may be asked for again.
pub type Reply<T> = oneshot::Sender<Result<T, MasterError>>;

/// Waits for every part; [`MasterError::Busy`] if one was dropped undone, as a restart does.
pub struct Receipt(oneshot::Receiver<Result<(), MasterError>>);

impl Receipt {
    /// Returns a receipt and its first part.
    pub fn new() -> (Self, Part) {
        let (sender, receiver) = oneshot::channel();
        let whole = Arc::new(Whole {
            sender: Mutex::new(Some(sender)),
            lost: AtomicBool::new(false),
            failure: Mutex::new(None),
        });
        (Self(receiver), Part { whole, done: false })
    }

    /// Returns once everything is committed, or something is not.
    pub async fn wait(self) -> Result<(), MasterError> {
        self.0.await.unwrap_or(Err(MasterError::Busy))
    }
}

struct Whole {
    sender: Mutex<Option<oneshot::Sender<Result<(), MasterError>>>>,
    lost: AtomicBool,
    failure: Mutex<Option<MasterError>>,
}

impl Drop for Whole {
    fn drop(&mut self) {
        let failure = self.failure.get_mut().take();
        let result = match failure {
            Some(failure) => Err(failure),
            None if *self.lost.get_mut() => Err(MasterError::Busy),
            None => Ok(()),
        };
        if let Some(sender) = self.sender.get_mut().take() {
            // Nobody waits any more: the caller went away, what was committed stays.
            let _ = sender.send(result);
        }
    }
}

/// One part of the work. Dropping it undone fails the whole.
pub struct Part {
    whole: Arc<Whole>,
    done: bool,
}

impl Part {
    /// Returns another part of the same work.
    pub fn split(&self) -> Self {
        Self { whole: Arc::clone(&self.whole), done: false }
    }

    /// This part is committed, or failed for a reason that the caller should hear.
    pub fn finish(mut self, result: Result<(), MasterError>) {
        self.done = true;
        if let Err(error) = result {
            self.whole.failure.lock().get_or_insert(error);
        }
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.done {
            self.whole.lost.store(true, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_receipt_waits_for_the_last_part() {
        let (receipt, first) = Receipt::new();
        let second = first.split();
        first.finish(Ok(()));
        let wait = tokio::spawn(receipt.wait());
        tokio::task::yield_now().await;
        assert!(!wait.is_finished());
        second.finish(Ok(()));
        assert!(wait.await.unwrap().is_ok());
    }

    #[tokio::test]
    async fn a_part_lost_in_a_restart_makes_the_sender_try_again() {
        let (receipt, first) = Receipt::new();
        drop(first.split());
        first.finish(Ok(()));
        assert!(matches!(receipt.wait().await, Err(MasterError::Busy)));
    }

    #[tokio::test]
    async fn the_first_failure_is_the_answer() {
        let (receipt, first) = Receipt::new();
        first.split().finish(Err(MasterError::SessionUnknown));
        first.finish(Ok(()));
        assert!(matches!(receipt.wait().await, Err(MasterError::SessionUnknown)));
    }
}
