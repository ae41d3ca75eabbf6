//! Supervision under moved time: one thread, exact milliseconds.

mod bounds;
mod chaos;
mod dynamic;
mod escalation;
mod futures;
mod inlets;
mod order;
mod real_time;
mod restart;
mod scale;
mod shutdown;
mod source;
mod support;
mod views;
