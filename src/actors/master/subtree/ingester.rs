//! Takes in reports: drops what was committed before, and hands each part to the actor whose it is.

use actix::prelude::*;

use super::commands::{CommandDispatcher, Finish};
use super::containers::{ContainerMirror, Mirror};
use super::draft::Change;
use super::own::Own;
use super::tunnel::{TunnelReconciler, TunnelReported};
use super::updates::{OrderAnswered, TakeFindings, TakeHost, TakeProgress, TakeScan, UpdateCoordinator};
use crate::actors::master::error::MasterError;
use crate::actors::master::receipt::Part;
use crate::actors::master::requests::{Dialect, Incoming};
use crate::actors::supervision::{Ctx, Port, supervised};
use crate::domain::report::{GoneCause, Report};

/// Splits an agent's reports.
pub struct ReportIngester {
    own: Own,
    to: Sinks,
}

/// The actors that reports are for.
#[derive(Clone)]
pub struct Sinks {
    /// Containers.
    pub containers: Port<ContainerMirror>,
    /// The tunnel's state.
    pub tunnel: Port<TunnelReconciler>,
    /// Scans and the machine.
    pub updates: Port<UpdateCoordinator>,
    /// Results of commands.
    pub commands: Port<CommandDispatcher>,
}

/// Takes in what the agent said in one request; `part` is done when all of it is committed.
#[derive(Message)]
#[rtype(result = "()")]
pub struct TakeIn {
    /// What it said.
    pub reports: Incoming,
    /// Who waits for it.
    pub part: Part,
}

impl ReportIngester {
    /// Makes an ingester in front of its siblings.
    pub fn new(own: Own, to: Sinks) -> Self {
        Self { own, to }
    }

    /// Returns the items that are new.
    fn fresh(&self, reports: Incoming) -> Result<(Vec<Report>, Dialect), MasterError> {
        match reports {
            Incoming::Plain(items) => Ok((items, Dialect::V2)),
            Incoming::Batch(batch) => {
                let next =
                    self.own.known_slot()?.next_seq(&batch.session).ok_or(MasterError::SessionUnknown)?;
                let seen = usize::try_from(next.saturating_sub(batch.first_seq)).unwrap_or(usize::MAX);
                Ok((batch.items.into_iter().skip(seen).collect(), Dialect::Native))
            }
        }
    }

    /// Hands out the parts; what has no room is dropped, and with it the receipt: the agent sends again.
    fn split(&self, items: Vec<Report>, dialect: Dialect, part: &Part) {
        let mut changes = Vec::new();
        let mut tunnel = None;
        let is_removed = self.own.is_removed();
        for item in items {
            match item {
                // How a removed agent's last command ended is all that it still has to say.
                item if is_removed && !matches!(item, Report::CommandResult { .. }) => {}
                Report::Snapshot { containers } => {
                    // What was said before about single containers is overtaken, but for what the Engine said of ends.
                    changes.retain(|change| matches!(change, Change::Gone(_) | Change::Died(_)));
                    changes.push(Change::All(containers));
                }
                Report::SomeSeen { containers } => changes.extend(containers.into_iter().map(Change::Seen)),
                Report::ContainerSeen { container } => changes.push(Change::Seen(container)),
                Report::ContainerGone { id, cause: GoneCause::Stopped } => changes.push(Change::Gone(id)),
                Report::Tunnel { tunnel: report } => tunnel = Some(report),
                Report::CommandResult { id, outcome } => {
                    let _ = self.to.updates.tell(OrderAnswered {
                        command: id.clone(),
                        outcome: outcome.clone(),
                        part: part.split(),
                    });
                    let _ = self.to.commands.tell(Finish {
                        command: id,
                        outcome,
                        part: part.split(),
                        is_report: true,
                    });
                }
                Report::ContainerGone { id, cause: GoneCause::Died } => changes.push(Change::Died(id)),
                Report::Host { host } => {
                    let _ = self.to.updates.tell(TakeHost { host, part: part.split() });
                }
                // Of a host that no person said yes to, nothing is kept that takes room.
                Report::Scanned { .. } | Report::Findings { .. } if !self.own.is_enrolled() => {}
                Report::Scanned { scan } => {
                    let _ = self.to.updates.tell(TakeScan { scan, part: part.split() });
                }
                Report::Findings { findings } => {
                    let _ = self.to.updates.tell(TakeFindings { findings, part: part.split() });
                }
                Report::Run { progress } if self.own.is_enrolled() => {
                    let _ = self.to.updates.tell(TakeProgress { progress, part: part.split() });
                }
                Report::Heartbeat | Report::Run { .. } | Report::Unknown => {}
            }
        }
        if !changes.is_empty() {
            let _ = self.to.containers.tell(Mirror { changes, part: part.split() });
        }
        if let Some(report) = tunnel {
            let _ = self.to.tunnel.tell(TunnelReported { report, dialect, part: part.split() });
        }
    }
}

supervised!(ReportIngester);

impl Actor for ReportIngester {
    type Context = Ctx<Self>;
}

impl Handler<TakeIn> for ReportIngester {
    type Result = ();

    fn handle(&mut self, TakeIn { reports, part }: TakeIn, _: &mut Ctx<Self>) {
        match self.fresh(reports) {
            Ok((items, dialect)) => {
                self.split(items, dialect, &part);
                part.finish(Ok(()));
            }
            Err(error) => part.finish(Err(error)),
        }
    }
}
