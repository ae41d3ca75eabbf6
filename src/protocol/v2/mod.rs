//! The DockFlare dialect, as DockFlare agents and masters speak it on `/api/v2/agents/...`.
//!
//! Reading is as tolerant as the programs that are out there need; what is written is the shape both sides
//! read best.

pub mod answer;
mod event;
mod event_form;
mod register;

pub use event::{Event, decode_event};
pub use event_form::event_form;
pub use register::{
    GivenKey, Hello, RegisterRequest, Registered, decode_register, decode_registered, register_response,
    with_key, with_order_key,
};

#[cfg(test)]
mod recording_tests;
