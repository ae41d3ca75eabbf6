//! The database: events, projections, secrets.
