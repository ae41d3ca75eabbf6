//! What is said of packages of the container Engine in plans.

use std::io::Read;

use crate::domain::update::{Changes, LeftOut, is_engine_package, while_engine_restarts};

/// Where the Engine's settings are.
const SETTINGS: &str = "/etc/docker/daemon.json";
/// Most of them that is read.
const MOST: u64 = 64 * 1024;

/// What becomes of this host's containers while its Engine is replaced.
fn meanwhile() -> &'static str {
    let mut text = String::new();
    let read = std::fs::File::open(SETTINGS).and_then(|file| file.take(MOST).read_to_string(&mut text));
    match read {
        Ok(_) => while_engine_restarts(Some(&text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => while_engine_restarts(None),
        // Nothing can be understood of it.
        Err(_) => while_engine_restarts(Some("")),
    }
}

/// Says why a package of the Engine stays, unless somebody names it.
pub(super) fn stays(name: &str) -> LeftOut {
    LeftOut {
        name: name.to_owned(),
        reason: format!("containers hang on it: it is installed only by its name; {}", meanwhile()),
    }
}

/// Says of those that are in a plan what they mean.
pub(super) fn stands_on(changes: &Changes) -> Vec<String> {
    let engine = changes.all().iter().filter(|change| is_engine_package(&change.name));
    engine.map(|change| format!("{}: {}", change.name, meanwhile())).collect()
}
