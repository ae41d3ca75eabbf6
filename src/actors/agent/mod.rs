//! The agent's actor tree.

pub mod command_poller;
pub mod link;
pub mod reporter;
pub mod retries;
pub mod status;
