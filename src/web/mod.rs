//! The HTTP side of the master.
