//! The master's actor tree.
