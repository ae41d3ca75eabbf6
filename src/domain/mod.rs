//! The rules of the product: pure types and functions. No input or output, no clock, no `async`.

pub mod command;
pub mod container;
pub mod event;
pub mod id;
pub mod report;
pub mod route;
pub mod tunnel;
