//! The envelope.

use serde_json::{Value, json};

/// A refusal with one of Cloudflare's codes.
#[derive(Debug, Clone)]
pub struct Refusal {
    pub status: u16,
    pub code: i64,
    pub message: String,
}

impl Refusal {
    pub fn new(status: u16, code: i64, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into() }
    }
}

/// What an operation comes to.
pub type Outcome = Result<Value, Refusal>;

pub(super) fn success(result: Value) -> Value {
    json!({ "success": true, "errors": [], "messages": [], "result": result })
}

pub(super) fn failure(refusal: &Refusal) -> Value {
    let error = json!({ "code": refusal.code, "message": refusal.message });
    json!({ "success": false, "errors": [error], "messages": [], "result": null })
}

/// Cuts a list into the page asked for, with the figures about it beside it.
pub(super) fn page(items: Vec<Value>, page: usize, per_page: usize) -> Value {
    let total = items.len();
    let shown: Vec<Value> = items.into_iter().skip((page - 1) * per_page).take(per_page).collect();
    let info = json!({
        "page": page,
        "per_page": per_page,
        "count": shown.len(),
        "total_count": total,
        "total_pages": total.div_ceil(per_page),
    });
    let mut envelope = success(Value::Array(shown));
    envelope["result_info"] = info;
    envelope
}
