//! The long-lived multi-thread runtime that every pooled connection lives on.
//!
//! A blocked arbiter must not stall a connection pool that other arbiters share, so database, HTTP and
//! Docker clients are created and driven here; actors and web workers only await the outcome. Beside it: how a file
//! is opened whose lock says that something is in use.

use std::fs::{File, OpenOptions, Permissions};
use std::future::Future;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::runtime::{Handle, Runtime};
use tokio::task::JoinHandle;

/// Opens the file whose lock says that something is in use; makes it if it is absent. Only this user may open it, so that
/// nobody else can hold the lock. A symbolic link is not followed: whoever may put one there names the file that would be
/// overwritten.
pub fn open_lock_file(path: &Path) -> std::io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed())
        .open(path)
        .map_err(|error| if is_link(path) { std::io::Error::other(LINK) } else { error })?;
    if file.metadata()?.permissions().mode() & 0o077 != 0 {
        // Earlier versions left it to the umask. One of another user stays as it is: it can be locked all the same.
        let _ = file.set_permissions(Permissions::from_mode(0o600));
    }
    Ok(file)
}

const LINK: &str = "it is a symbolic link, and what it leads to would be overwritten; remove the link";

/// True if `path` is a symbolic link, wherever it leads.
pub fn is_link(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|metadata| metadata.is_symlink())
}

/// Owns the runtime; dropped last, by the command that built it.
pub struct IoRuntime(Option<Runtime>);

impl IoRuntime {
    /// Starts the runtime with two worker threads.
    pub fn start() -> std::io::Result<Self> {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("io")
            .enable_all()
            .build()
            .map(|runtime| Self(Some(runtime)))
    }

    /// Returns the handle that adapters keep.
    pub fn io(&self) -> Io {
        Io(self.0.as_ref().expect("present until dropped").handle().clone())
    }
}

impl Drop for IoRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// A handle to the `io` runtime.
#[derive(Clone, Debug)]
pub struct Io(Handle);

impl Io {
    /// The runtime the caller is on; for tests and for code that already runs on `io`.
    pub fn current() -> Self {
        Self(Handle::current())
    }

    /// Runs `future` on the `io` runtime. Dropping the returned future ends the work.
    ///
    /// A panic of the work is raised again in the caller, where its supervisor sees it.
    pub fn run<F>(&self, future: F) -> Running<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        Running(self.0.spawn(future))
    }

    /// The handle itself, for libraries that ask for one.
    pub fn handle(&self) -> &Handle {
        &self.0
    }
}

/// Work in progress on the `io` runtime; ends with its last holder.
pub struct Running<T>(JoinHandle<T>);

impl<T> Future for Running<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        match Pin::new(&mut self.0).poll(cx) {
            Poll::Ready(Ok(value)) => Poll::Ready(value),
            Poll::Ready(Err(error)) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            // The runtime is going away: so is the process, and nobody waits for this any more.
            Poll::Ready(Err(_)) => Poll::Pending,
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<T> Drop for Running<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
