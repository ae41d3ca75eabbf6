//! The product on real parts: the program that `make build` left, Docker Engines of its own, processes that
//! are killed. Needs root; `make test` runs it. Cloudflare alone is a stand-in.

#![allow(clippy::unwrap_used, reason = "in a test a failure is the point")]
#![allow(clippy::print_stdout, reason = "seeds and times are for whoever reads the output of a test")]

#[path = "../it/support/mod.rs"]
mod support;

mod access_page;
mod account_pages;
mod agent_docker;
mod agent_process;
mod agent_tunnel;
mod api_description;
mod blocked;
mod browser;
mod cloudflare_faults;
mod disk;
mod docker_engine;
mod dockflare;
mod doctor;
mod faults;
mod image;
mod journey;
mod make_run;
mod notifications_page;
mod raw_client;
mod registry;
mod role_process;
mod scene;
mod story_pages;
mod updates;
mod verbs;
mod withstand;
