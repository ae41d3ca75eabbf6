//! The database as its callers use it, on every engine there is.
//!
//! SQLite in memory and in a file, and a PostgreSQL that the tests start themselves.

mod assumptions;
mod chain;
mod claims;
mod commit;
mod history;
mod lists;
mod observations;
mod open;
#[path = "../../../tests/it/support/postgres.rs"]
mod postgres;
mod record;
mod secrets;
mod sessions;
mod severed;
mod support;
mod updates;
