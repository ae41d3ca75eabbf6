//! The agent's actor tree: [`tree`] wires it, each actor has a file or folder of its own.

pub mod command_poller;
pub mod docker_watcher;
pub mod label_prefix;
pub mod link;
pub mod reporter;
pub mod retries;
pub mod status;
pub mod tree;
pub mod tunnel_supervisor;
pub mod update_installer;
pub mod update_scanner;

#[cfg(test)]
mod testing;
