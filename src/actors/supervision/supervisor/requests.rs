//! Children added and removed at run time.

use tokio::sync::oneshot;

use super::super::handle::{AddError, RemoveError};
use super::super::order::Verb;
use super::super::spec::{ChildSpec, is_name};
use super::super::tree::Change;
use super::child::Standing;
use super::steps::Step;
use super::{Phase, Supervisor};

impl Supervisor {
    pub(super) fn on_add(&mut self, spec: ChildSpec, reply: oneshot::Sender<Result<(), AddError>>) {
        if let Err(error) = self.check_add(&spec) {
            let _ = reply.send(Err(error));
            return;
        }
        let number = self.install(spec);
        let Some(child) = self.children.get_mut(&number) else { return };
        child.await_add(reply);
        let node = child.node.clone();
        self.tree.emit(&node, Change::Added);
        match self.phase {
            // A group on its way up or down: the newcomer starts when it is complete.
            Phase::Running if !self.steps.is_empty() => {
                self.steps.push_back(Step::Start(number));
            }
            Phase::Running => self.start_child(number),
            Phase::Parked | Phase::Parking(_) | Phase::Ending(_) => {
                if let Some(child) = self.children.get_mut(&number) {
                    child.settle_add();
                }
            }
        }
    }

    fn check_add(&self, spec: &ChildSpec) -> Result<(), AddError> {
        let name = spec.name();
        if matches!(self.phase, Phase::Ending(_)) {
            Err(AddError::Closed)
        } else if !is_name(name) {
            Err(AddError::BadName(name.to_owned()))
        } else if self.names.contains_key(name) {
            Err(AddError::NameTaken(name.to_owned()))
        } else {
            Ok(())
        }
    }

    pub(super) fn on_remove(&mut self, name: &str, reply: Option<oneshot::Sender<Result<(), RemoveError>>>) {
        let Some((&number, child)) =
            self.names.get(name).and_then(|number| Some((number, self.children.get_mut(number)?)))
        else {
            if let Some(reply) = reply {
                let _ = reply.send(Err(RemoveError::NotFound(name.to_owned())));
            }
            return;
        };
        child.await_removal(reply);
        match child.standing {
            Standing::Closing(_) => {}
            Standing::LeftBehind => {
                child.settle_removal(&Err(RemoveError::LeftBehind(name.to_owned())));
                child.order.give(Verb::Close, child.run);
            }
            _ => self.close_child(number, Verb::Close),
        }
    }
}
