//! The product as its users meet it: one binary, one folder of support, one file per topic.

#![allow(clippy::unwrap_used, reason = "in a test a failure is the point")]

mod access_groups;
mod agent_wire;
mod allocator;
mod blocked;
mod callers;
mod cloudflare_account;
mod cloudflare_client;
mod connectors;
mod doctor;
mod excess;
mod explain;
mod from_dockflare;
mod garbage;
mod handing_over;
mod indexing;
mod ipv6;
mod layering;
mod lists;
mod machines;
mod manual_rules;
mod master_tree;
mod moved_containers;
mod moving;
mod networks;
mod notifications;
mod pages;
mod parameters;
mod plan_api;
mod plan_host;
mod plans_api;
mod protection;
mod redflag;
mod registries;
mod registry;
mod service_tokens;
mod slow_clients;
mod support;
mod updates;
mod v2_api;
mod v2_recording;
mod v3_api;
mod withstand;
