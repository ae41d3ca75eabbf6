//! What people and scripts call: DockFlare's admin endpoints, and our own below `/api/v3`.

pub mod access;
pub mod admins;
pub mod adopt;
pub mod agents;
pub mod doctor;
pub mod events;
pub mod explain;
pub mod keys;
pub mod legacy;
pub mod legacy_rules;
pub mod limits;
pub mod native;
pub mod notifications;
pub mod overview;
pub mod plan_asks;
pub mod plans;
pub mod redflag;
pub mod refused;
pub mod registries;
pub mod removed;
pub mod rules;
pub mod runs;
pub mod service_tokens;
pub mod updates;
