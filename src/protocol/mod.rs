//! What travels between agent and master.
