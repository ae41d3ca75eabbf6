//! The agent's files.
