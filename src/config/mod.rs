//! Settings: built-in defaults, then the configuration file, then the environment.
//!
//! Nothing else reads the environment. Each value remembers where it came from, so that an error can name
//! the key, the place and the way out.

mod check;
mod dot_env;
mod error;
mod load;
mod names;
mod redflag_file;
mod secret;
mod settings;
mod value_file;

pub use dot_env::{DotEnvError, read_dot_env};
pub use error::{ConfigError, Origin};
pub use load::{Loaded, Sources};
pub use names::is_ours;
pub use secret::Secret;
pub use settings::{
    Admin, Agent, CheckPackages, Cloudflare, Database, Docker, Labels, Log, LogFormat, OnShutdown, Publish,
    Redis, Role, Security, Server, Settings, State, Tunnel, Updates,
};

#[cfg(test)]
mod tests;
