//! What is logged on one thread, for tests.

use std::io::{Result, Write};
use std::sync::{Arc, LazyLock};

use parking_lot::Mutex;
use tracing::Dispatch;
use tracing::subscriber::NoSubscriber;
use tracing_subscriber::fmt::MakeWriter;

/// Whether a line is wanted is remembered for the whole process, and while there is only one logger, whoever comes to
/// the line first is asked: a thread that does not listen would silence it for the one that does. With two more that
/// want nothing, every line asks anew.
static OTHERS: LazyLock<[Dispatch; 2]> =
    LazyLock::new(|| [Dispatch::new(NoSubscriber::new()), Dispatch::new(NoSubscriber::new())]);

/// What was logged so far; clones share it.
#[derive(Clone, Default)]
pub struct Logged(Arc<Mutex<Vec<u8>>>);

impl Logged {
    /// Everything that the logger made of `logger` writes while `work` runs on this thread.
    pub fn during<L: Into<Dispatch>>(logger: impl FnOnce(Self) -> L, work: impl FnOnce()) -> String {
        let logged = Self::default();
        let _listening = logged.listen(logger);
        work();
        logged.text()
    }

    /// Listens to this thread until the guard is dropped.
    pub fn listen<L: Into<Dispatch>>(
        &self,
        logger: impl FnOnce(Self) -> L,
    ) -> tracing::dispatcher::DefaultGuard {
        LazyLock::force(&OTHERS);
        tracing::dispatcher::set_default(&logger(self.clone()).into())
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().clone()).expect("text")
    }
}

impl Write for Logged {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        self.0.lock().write(bytes)
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Logged {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}
