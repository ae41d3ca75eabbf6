//! The database as its callers use it.
