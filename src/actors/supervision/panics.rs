//! The panic hook: panics of supervised actors are logged with the actor's path, not printed.

use std::panic::{PanicHookInfo, set_hook, take_hook};

use super::exit::cut;
use super::here;

/// Installs the hook for the process; panics outside of actors go to the hook that was there before.
///
/// The supervisor logs what follows (restart, delay); this adds where it happened.
pub fn install_panic_hook() {
    let before = take_hook();
    set_hook(Box::new(move |info: &PanicHookInfo<'_>| match here::actor() {
        Some(path) => {
            let place = info.location().map(ToString::to_string).unwrap_or_default();
            let reason = cut(info.payload_as_str().unwrap_or("a panic without a message"));
            tracing::error!(actor = &*path, place, "actor panicked: {reason}");
        }
        None => before(info),
    }));
}
