//! Changes a host: plans, carries out, takes back. The verbs of the command line, the agent and the helper that runs as root
//! all do it with these.

mod fault;
mod own;
mod policy_file;

pub use fault::HandsFault;
pub use own::{HandsParts, OwnHands};
