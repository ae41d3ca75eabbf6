//! What is wrong with a label, as pages and stories say it.

use crate::db::read::ContainerProblem;

/// Says what is wrong with a label.
pub fn label_problem(problem: &ContainerProblem) -> String {
    let ContainerProblem { label, value, reason } = problem;
    match value.is_empty() {
        true => format!("`{label}`: {reason}"),
        false => format!("`{label}={}`: {reason}", shortened(value)),
    }
}

/// Returns a value that fits on a line.
pub fn shortened(value: &str) -> String {
    match value.char_indices().nth(120) {
        Some((end, _)) => format!("{}…", &value[..end]),
        None => value.to_owned(),
    }
}
