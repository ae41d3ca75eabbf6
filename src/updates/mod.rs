//! Looking for pending updates, one folder a kind, and what the machine is.
//!
//! A scanner never fails: what goes wrong is said in its findings, beside what was last known. It changes nothing on the
//! host but the lists of what there is, and those only with the right to; it never takes a lock that an installer needs.
//! Its parsers are pure and apart from its calls.

mod apt;
mod dnf;
mod host;
mod keep;
mod list;
mod print;
mod scanner;

pub use apt::Apt;
pub use dnf::Dnf;
pub use host::{HostReader, Virtualisation};
pub use list::{scan_all, scanners};
pub use scanner::{ScanAsk, Scanner};
