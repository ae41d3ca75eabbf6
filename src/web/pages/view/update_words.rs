//! How updates are shown wherever they are.

use super::{Badge, badge};
use crate::domain::id::AgentId;
use crate::domain::update::Severity;

/// A digest is shown by its beginning, as the Engine does.
pub fn shown_version(version: &str) -> String {
    match version.strip_prefix("sha256:") {
        Some(hex) => format!("sha256:{}", hex.chars().take(12).collect::<String>()),
        None => version.to_owned(),
    }
}

/// What makes an update urgent, the worst first.
pub fn update_marks(is_open: bool, is_public: bool, is_security: bool, severity: Severity) -> Vec<Badge> {
    let mut marks = Vec::new();
    match (is_open, is_public) {
        (true, _) => marks.push(badge("bad", "public, no login")),
        (false, true) => marks.push(badge("warn", "public")),
        _ => {}
    }
    if is_security {
        marks.push(badge("warn", "security"));
    }
    marks.push(badge(severity_tone(severity), severity.as_str()));
    marks
}

fn severity_tone(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "bad",
        Severity::Important => "warn",
        Severity::Moderate => "busy",
        Severity::Low => "idle",
    }
}

/// A state as a person says it.
pub fn state_word(status: &str) -> &str {
    match status {
        "discovered" => "pending",
        "rolled_back" => "rolled back",
        "snoozed" => "put off",
        "unchecked" => "not checked",
        "current" => "up to date",
        word => word,
    }
}

/// Address of a host's page.
pub fn host_href(id: &AgentId) -> String {
    format!("/agents/{id}")
}
