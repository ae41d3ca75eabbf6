//! The agent's actor tree.
