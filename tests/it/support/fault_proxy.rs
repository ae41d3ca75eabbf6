//! A TCP proxy that breaks connections when it is told to. It lives in threads of its own, so that a test may
//! block while traffic goes on.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

/// See the module. Its listener goes on until the test process ends.
pub struct FaultProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// Where connections go; none while the line is down.
    target: Mutex<Option<SocketAddr>>,
    trap: Mutex<Option<Trap>>,
    open: Mutex<Vec<TcpStream>>,
    sprung: AtomicUsize,
}

/// Waits for a reply that holds `needle`, lets a share of it through and breaks the connection.
struct Trap {
    needle: String,
    share: f64,
    then: Box<dyn FnOnce() + Send>,
}

impl FaultProxy {
    /// Listens on a free port and leads to `target`.
    pub fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        *shared.target.lock() = Some(target);
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                accepting.serve(client);
            }
        });
        Self { address, shared }
    }

    /// Where to connect to.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Cuts every connection and lets no new one through.
    pub fn cut(&self) {
        *self.shared.target.lock() = None;
        for stream in self.shared.open.lock().drain(..) {
            // It may have ended by itself.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Lets connections through, to `target`.
    pub fn mend(&self, target: SocketAddr) {
        *self.shared.target.lock() = Some(target);
    }

    /// Breaks the next reply that holds `needle` after `share` of it went through, having called `then`.
    pub fn trap(&self, needle: &str, share: f64, then: impl FnOnce() + Send + 'static) {
        *self.shared.trap.lock() = Some(Trap { needle: needle.to_owned(), share, then: Box::new(then) });
    }

    /// How many replies were broken.
    pub fn sprung(&self) -> usize {
        self.shared.sprung.load(Ordering::SeqCst)
    }
}

impl Shared {
    fn serve(self: &Arc<Self>, client: TcpStream) {
        let Some(target) = *self.target.lock() else { return };
        // Refused here as it would be refused there.
        let Ok(server) = TcpStream::connect(target) else { return };
        let (client_too, server_too) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        let mut open = self.open.lock();
        open.push(client.try_clone().unwrap());
        open.push(server.try_clone().unwrap());
        drop(open);
        std::thread::spawn(move || copy(client, server, |_| None));
        let shared = Arc::clone(self);
        std::thread::spawn(move || copy(server_too, client_too, |bytes| shared.spring(bytes)));
    }

    /// Returns how much of a reply goes through, if it is the one that is waited for.
    fn spring(&self, bytes: &[u8]) -> Option<usize> {
        let mut trap = self.trap.lock();
        let is_it = trap.as_ref().is_some_and(|trap| String::from_utf8_lossy(bytes).contains(&trap.needle));
        let trap = trap.take_if(|_| is_it)?;
        (trap.then)();
        self.sprung.fetch_add(1, Ordering::SeqCst);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a length")]
        Some((bytes.len() as f64 * trap.share) as usize)
    }
}

fn copy(mut from: TcpStream, mut to: TcpStream, cut: impl Fn(&[u8]) -> Option<usize>) {
    let mut buffer = vec![0; 256 << 10];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        let allowed = cut(&buffer[..count]);
        if to.write_all(&buffer[..allowed.unwrap_or(count)]).is_err() || allowed.is_some() {
            break;
        }
    }
    // Either may be closed already.
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}
