//! A process whose arbiter does not come back ends by itself, for the outer restart policy.

use std::io::Read;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, Mode, OFlags, mkfifoat};
use tempfile::TempDir;

use crate::support::ship::{Rig, Ship, binary};

/// When a blocked arbiter ends the process, and what a busy machine may add.
const LIMIT: Duration = Duration::from_secs(30 + 30);

#[tokio::test]
async fn a_master_whose_main_thread_does_not_return_from_reading_a_file_is_named_and_ends_with_70() {
    // given: a file that nobody ever writes to
    let dir = TempDir::new().unwrap();
    fifo(&dir.path().join("secret.key"));
    // when
    let mut master = Rig::new("master", dir.path()).launch();
    // then
    assert_eq!(end_of(&mut master).await, Some(70), "{}", master.log());
    let log = master.log();
    assert!(log.contains("arbiter is blocked for too long") && log.contains("arbiter=\"main\""), "{log}");
}

#[tokio::test]
async fn a_master_whose_log_is_not_read_any_more_ends_with_70_although_it_cannot_say_so() {
    // given: a reader of the log that stops reading, as that of a container may
    let dir = TempDir::new().unwrap();
    let (log, script) = (dir.path().join("log"), dir.path().join("start"));
    fifo(&log);
    let mut reader = std::fs::File::options()
        .read(true)
        .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
        .open(&log)
        .unwrap();
    std::fs::write(&script, format!("#!/bin/sh\nexec {} master 2>log\n", binary().display())).unwrap();
    std::fs::set_permissions(&script, PermissionsExt::from_mode(0o755)).unwrap();
    let filler = OFlags::WRONLY | OFlags::NONBLOCK;
    let filler = rustix::fs::open(&log, filler, Mode::empty()).unwrap();
    for size in [4_096, 1] {
        while rustix::io::write(&filler, &vec![b'x'; size]).is_ok() {}
    }
    // when
    let mut master = Rig::new("master", dir.path()).script(&script).launch();
    // then
    assert_eq!(end_of(&mut master).await, Some(70));
    let mut held = Vec::new();
    let _ = reader.read_to_end(&mut held);
    assert!(held.iter().all(|byte| *byte == b'x'), "nothing was read meanwhile, so nothing could be said");
}

fn fifo(path: &Path) {
    mkfifoat(CWD, path, Mode::RUSR | Mode::WUSR).unwrap();
}

/// Waits longer than other tests do.
async fn end_of(ship: &mut Ship) -> Option<i32> {
    let begun = Instant::now();
    loop {
        if let Some(status) = ship.try_ended() {
            return status.code();
        }
        assert!(begun.elapsed() < LIMIT, "it does not end: {}", ship.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
