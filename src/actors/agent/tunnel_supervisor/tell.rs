//! What the master is told of the tunnel: how it is, and what stands in the way of an order.

use chrono::{DateTime, Utc};

use super::look::SeenContainers;
use super::step::StepError;
use super::{TunnelSupervisor, health};
use crate::domain::tunnel::{ELSEWHERE, TunnelHealth, TunnelReport};

impl TunnelSupervisor {
    pub(super) fn tell(&mut self, trouble: Option<String>, now: DateTime<Utc>) {
        let kept = self.keeping.problem().or(self.no_commands.as_ref()).or(self.notice.as_ref());
        let trouble = trouble.or_else(|| kept.cloned());
        let mut report = health::report(self.orders.state(), &self.sight, trouble.clone(), now);
        if self.parts.settings.is_external && report.health != TunnelHealth::Stopped {
            report.health = TunnelHealth::Unknown;
            report.reason = trouble.or_else(|| Some(ELSEWHERE.into()));
        }
        self.tell_if_new(report);
    }

    /// While the Engine does not answer, a connector that ran may well run on, but nobody knows.
    pub(super) fn tell_trouble(&mut self, error: &StepError, now: DateTime<Utc>) {
        let mut report = health::report(self.orders.state(), &self.sight, Some(error.to_string()), now);
        if error.is_away() && matches!(report.health, TunnelHealth::Running | TunnelHealth::Degraded) {
            report.health = TunnelHealth::Unknown;
        }
        self.tell_if_new(report);
    }

    pub(super) fn tell_stopped(&mut self, now: DateTime<Utc>) {
        let mut report = health::report(self.orders.state(), &SeenContainers::default(), None, now);
        report.health = TunnelHealth::Stopped;
        report.reason = Some("its agent was stopped".into());
        self.tell_if_new(report);
    }

    fn tell_if_new(&mut self, report: TunnelReport) {
        let is_old = self.told.as_ref().is_some_and(|told| {
            TunnelReport { observed_at: None, ..told.clone() }
                == TunnelReport { observed_at: None, ..report.clone() }
        });
        if !is_old {
            (self.parts.observed)(report.clone());
            self.told = Some(report);
        }
    }
}
