//! Database migrations, oldest first. Never edit one that was released; add another at the end.
//!
//! Conventions: ids, JSON and words are `text`; times are `bigint`, microseconds since 1970 in UTC, so that
//! both engines keep and order them alike; every migration runs in one transaction, so that one that was cut
//! short leaves nothing behind.

pub use sea_orm_migration::prelude::{MigrationTrait, MigratorTrait};

mod m0001_create_events;
mod m0002_create_projections;
mod m0003_create_observations;
mod m0004_create_secrets;
mod m0005_limit_hostnames;
mod m0006_create_sessions;
mod m0007_explain_losses;
mod m0008_find_open_commands;
mod m0009_create_tunnel_connectors;
mod m0010_note_moves;
mod m0011_know_outcomes;
mod m0012_seat_keys;
mod m0013_admin_roles;
mod m0014_container_networks;
mod m0015_create_updates;
mod m0016_redflag;
mod m0017_seed_views;
mod m0018_machine_changes;
mod m0019_registry_logins;
mod m0020_create_plans;
mod m0021_approval_modes;
mod m0022_access;
mod m0023_schedule_approvals;
mod m0024_manual_rules;
mod m0025_notifications;
mod m0026_drift_and_review;
mod m0027_removals;

/// Runs the migrations.
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m0001_create_events::Migration),
            Box::new(m0002_create_projections::Migration),
            Box::new(m0003_create_observations::Migration),
            Box::new(m0004_create_secrets::Migration),
            Box::new(m0005_limit_hostnames::Migration),
            Box::new(m0006_create_sessions::Migration),
            Box::new(m0007_explain_losses::Migration),
            Box::new(m0008_find_open_commands::Migration),
            Box::new(m0009_create_tunnel_connectors::Migration),
            Box::new(m0010_note_moves::Migration),
            Box::new(m0011_know_outcomes::Migration),
            Box::new(m0012_seat_keys::Migration),
            Box::new(m0013_admin_roles::Migration),
            Box::new(m0014_container_networks::Migration),
            Box::new(m0015_create_updates::Migration),
            Box::new(m0016_redflag::Migration),
            Box::new(m0017_seed_views::Migration),
            Box::new(m0018_machine_changes::Migration),
            Box::new(m0019_registry_logins::Migration),
            Box::new(m0020_create_plans::Migration),
            Box::new(m0021_approval_modes::Migration),
            Box::new(m0022_access::Migration),
            Box::new(m0023_schedule_approvals::Migration),
            Box::new(m0024_manual_rules::Migration),
            Box::new(m0025_notifications::Migration),
            Box::new(m0026_drift_and_review::Migration),
            Box::new(m0027_removals::Migration),
        ]
    }
}
