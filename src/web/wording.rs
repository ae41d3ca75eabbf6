//! How a failure is worded: told from the path, because that says who calls.

use actix_web::HttpResponse;
use actix_web::http::header::{self, HeaderValue};
use serde_json::json;

use super::error::ApiError;
use super::pages;
use crate::protocol::v2::answer;

/// Whose clients a path belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wording {
    /// DockFlare: `{"status":"error","message":"..."}`.
    V2,
    /// DockFlare agents that take us for Cloudflare: its envelope.
    Cloudflare,
    /// Ours: `{"error":"...","code":"..."}`.
    Native,
    /// A person with a browser.
    Page,
}

impl Wording {
    /// Tells it from the path.
    pub fn of(path: &str) -> Self {
        let path = path.trim_start_matches('/');
        if path.starts_with("api/v2/") || path == "api/v2" {
            Self::V2
        } else if path.starts_with("accounts/") || path == "accounts" {
            Self::Cloudflare
        } else if path.starts_with("api/") || ["healthz", "readyz", "metrics"].contains(&path) {
            Self::Native
        } else {
            Self::Page
        }
    }

    /// Returns the body for `error` and declares its kind in `response`.
    pub fn render(self, error: &ApiError, response: &mut HttpResponse) -> String {
        let (code, status) = error.code();
        let (media, text) = match self {
            Self::V2 => ("application/json", answer::error(&error.v2_message()).to_string()),
            Self::Cloudflare => (
                "application/json",
                answer::cloudflare_error(status.as_u16(), &error.to_string()).to_string(),
            ),
            Self::Native => {
                let mut body = json!({"error": error.to_string(), "code": code});
                if let ApiError::RateLimited { limit, window, retry_after } = error {
                    body["limit"] = json!(limit);
                    body["window"] = json!(go_duration(*window));
                    body["reset_time"] = json!(crate::clock::Clock::system().now() + *retry_after);
                }
                ("application/json", body.to_string())
            }
            Self::Page => ("text/html; charset=utf-8", pages::failure(status, &error.to_string())),
        };
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
        text
    }
}

/// Writes a time as Go does: `1m0s`.
fn go_duration(time: std::time::Duration) -> String {
    let seconds = time.as_secs();
    let (hours, minutes) = (seconds / 3_600, seconds % 3_600 / 60);
    match (hours, minutes) {
        (0, 0) => format!("{seconds}s"),
        (0, minutes) => format!("{minutes}m{}s", seconds % 60),
        (hours, minutes) => format!("{hours}h{minutes}m{}s", seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_path_has_its_own_wording() {
        let cases = [
            ("/api/v2/agents", Wording::V2),
            ("//api/v2/agents", Wording::V2),
            ("/accounts", Wording::Cloudflare),
            ("/accounts/a/cfd_tunnel/t/configurations", Wording::Cloudflare),
            ("/api/v3/agents/a/reports", Wording::Native),
            ("/api/v9", Wording::Native),
            ("/readyz", Wording::Native),
            ("/agents", Wording::Page),
        ];
        for (path, expected) in cases {
            assert_eq!(Wording::of(path), expected, "{path}");
        }
    }
}
