//! The agent's client of the master.
