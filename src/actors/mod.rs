//! The actor trees: one for the agent, one for the master, and the supervision both stand on.

pub mod agent;
pub mod master;
pub mod supervision;
