//! The command poller under moved time.
