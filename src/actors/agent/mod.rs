//! The agent's actor tree.

pub mod command_poller;
pub mod docker_watcher;
pub mod link;
pub mod reporter;
pub mod retries;
pub mod status;
pub mod tunnel_supervisor;
