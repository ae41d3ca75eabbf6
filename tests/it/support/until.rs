//! Waiting for a state instead of for a time.

use std::fmt::Debug;
use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, sleep};

/// Long enough for a busy machine; a test that needs it has failed.
pub const DEADLINE: Duration = Duration::from_secs(120);

/// Asks `look` again and again until it gives a value; `what` names it in the failure.
pub async fn until<T, F, Fut>(what: &str, mut look: F) -> T
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Option<T>>,
{
    let due = Instant::now() + DEADLINE;
    loop {
        if let Some(value) = look().await {
            return value;
        }
        assert!(Instant::now() < due, "{what}: not within {DEADLINE:?}");
        sleep(Duration::from_millis(10)).await;
    }
}

/// Asks `look` until it gives `expected`; a failure shows what it gave last.
pub async fn until_equal<T, F, Fut>(what: &str, expected: T, mut look: F)
where
    T: PartialEq + Debug,
    F: FnMut() -> Fut,
    Fut: Future<Output = T>,
{
    let due = Instant::now() + DEADLINE;
    loop {
        let seen = look().await;
        if seen == expected {
            return;
        }
        assert!(Instant::now() < due, "{what}: wanted {expected:?}, still {seen:?}");
        sleep(Duration::from_millis(10)).await;
    }
}
