//! Supervision under moved time: one thread, exact milliseconds.

mod restart;
mod support;
