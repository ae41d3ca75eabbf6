//! Over from DockFlare: a trial beside the running one, and the import of what it kept.

mod fernet;
mod files;
pub(super) mod import;
mod look;
mod report;
pub(super) mod trial;
mod zip;
