//! Over from DockFlare: what its files hold, what becomes of it here, and what would change for each published name.
//!
//! Nothing here reads a file or makes a call: `cli::dockflare` does.

pub mod env_file;
pub mod keys;
pub mod state;
pub mod switch;
pub mod takeover;
pub mod trial;
