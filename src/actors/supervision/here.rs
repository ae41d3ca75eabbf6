//! Which actor this thread is polling: for the panic hook and the watchdog.

use std::cell::RefCell;
use std::sync::Arc;

use parking_lot::Mutex;

thread_local! {
    static HERE: RefCell<Here> = const { RefCell::new(Here { actor: None, shown: None }) };
}

struct Here {
    actor: Option<Arc<str>>,
    /// Where the watchdog reads it.
    shown: Option<Arc<Shown>>,
}

/// The actor an arbiter is polling, readable from other threads.
#[derive(Default)]
pub(super) struct Shown(Mutex<Option<Arc<str>>>);

impl Shown {
    pub(super) fn actor(&self) -> Option<Arc<str>> {
        self.0.lock().clone()
    }
}

/// Marks this thread as polling an actor until dropped.
pub(super) struct Polling(Option<Arc<str>>);

/// Notes that `path` is being polled here.
pub(super) fn polling(path: Option<&Arc<str>>) -> Polling {
    Polling(swap(path.cloned()))
}

impl Drop for Polling {
    fn drop(&mut self) {
        swap(self.0.take());
    }
}

fn swap(actor: Option<Arc<str>>) -> Option<Arc<str>> {
    // Gone only while the thread ends, when nobody asks any more.
    HERE.try_with(|here| {
        let mut here = here.borrow_mut();
        if let Some(shown) = &here.shown {
            shown.0.lock().clone_from(&actor);
        }
        std::mem::replace(&mut here.actor, actor)
    })
    .unwrap_or_default()
}

/// Returns the actor this thread is polling.
pub(super) fn actor() -> Option<Arc<str>> {
    HERE.try_with(|here| here.try_borrow().ok().and_then(|here| here.actor.clone())).ok().flatten()
}

/// Has this thread's actor shown in `shown`.
pub(super) fn show_in(shown: Arc<Shown>) {
    HERE.with(|here| here.borrow_mut().shown = Some(shown));
}
