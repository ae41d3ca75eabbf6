//! Settings: built-in defaults, then the configuration file, then the environment.
//!
//! Nothing else reads the environment. Each value remembers where it came from, so that an error can name
//! the key, the place and the way out.

mod check;
mod load;
mod names;
mod secret;
mod settings;

pub use load::{ConfigError, Loaded, Origin, Sources};
pub use names::is_ours;
pub use secret::Secret;
pub use settings::{
    Admin, Agent, Cloudflare, Database, Docker, Labels, Log, LogFormat, OnShutdown, Publish, Redis, Role,
    Security, Server, Settings, State, Tunnel, Updates,
};

#[cfg(test)]
mod tests;
