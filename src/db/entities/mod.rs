//! One file per table; columns as the migrations make them.

pub mod admin;
pub mod agent;
pub mod agent_key;
pub mod agent_observed;
pub mod applied_rule;
pub mod call_budget;
pub mod claim;
pub mod command;
pub mod container;
pub mod container_problem;
pub mod dns_record;
pub mod event;
pub mod refresh_token;
pub mod registration_token;
pub mod registration_token_usage;
pub mod route;
pub mod route_status;
pub mod secret;
pub mod session;
pub mod setting;
pub mod stream;
pub mod tunnel;
pub mod tunnel_connectors;
pub mod tunnel_observed;
pub mod tunnel_status;
pub mod update_log;
