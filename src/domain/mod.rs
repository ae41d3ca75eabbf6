//! The rules of the product: pure types and functions. No input or output, no clock, no `async`.

pub mod agent;
pub mod agent_tunnel;
pub mod command;
pub mod container;
pub mod delivery;
pub mod dns;
pub mod event;
pub mod guard;
pub mod hostname;
pub mod id;
pub mod image;
pub mod ingress;
pub mod labels;
pub mod leap;
pub mod limits;
pub mod mirror;
pub mod origin;
pub mod path;
pub mod presence;
pub mod publish;
pub mod registration;
pub mod report;
pub mod restart;
pub mod route;
pub mod tunnel;
pub mod zone;
