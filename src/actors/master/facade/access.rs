//! Who may reach what is published.

use super::Master;
use crate::actors::master::error::MasterError;
use crate::actors::master::registrar;
use crate::domain::access::Group;
use crate::domain::id::GroupId;

impl Master {
    /// Makes a group, or puts it in the place of the one that has its id.
    pub async fn set_group(&self, group: Group, by: &str) -> Result<(), MasterError> {
        self.decide(registrar::SetGroup { group, by: by.into() }).await
    }

    /// Removes a group. If routes ask for it, it goes only with `close_routes`: they are not reachable then.
    pub async fn remove_group(&self, id: &GroupId, close_routes: bool, by: &str) -> Result<(), MasterError> {
        self.decide(registrar::RemoveGroup { id: id.clone(), close_routes, by: by.into() }).await
    }
}
