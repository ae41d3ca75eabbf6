//! The database as its callers use it, on every engine there is.
//!
//! SQLite in memory and in a file always; PostgreSQL too if `LIGHTSHIP_TEST_POSTGRES_URL` names a server on which
//! databases may be made.

mod assumptions;
mod chain;
mod claims;
mod commit;
mod history;
mod lists;
mod observations;
mod open;
mod secrets;
mod sessions;
mod support;
