//! Options of an Access application.

use serde::{Deserialize, Serialize};

use super::super::text::{is_hidden, repeated};
use super::duration::parse_duration;

/// Most bytes of a name that a person gives.
pub(super) const MAX_NAME: usize = 255;
/// Most identity providers that one application names.
const MAX_IDPS: usize = 100;

/// How an application behaves, whoever comes in.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct AppOptions {
    /// What it is called at Cloudflare; without one it is called by its hostname. Never set in a group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// How long a sign-in lasts, such as `24h`; `0s`: every request is checked anew.
    pub session_duration: String,
    /// True if it is shown in the App Launcher.
    pub app_launcher_visible: bool,
    /// Identity providers that may be used, by id or by name; all if none is named.
    pub allowed_idps: Vec<String>,
    /// True if the page where one is chosen is left out; there must be just one then.
    pub auto_redirect_to_identity: bool,
}

impl Default for AppOptions {
    fn default() -> Self {
        Self {
            name: None,
            session_duration: "24h".to_owned(),
            app_launcher_visible: false,
            allowed_idps: Vec::new(),
            auto_redirect_to_identity: false,
        }
    }
}

/// What is to be done about a redirect that has no one place to go to.
pub(super) const ONE_IDP: &str = "`auto_redirect_to_identity` needs exactly one identity provider in `allowed_idps`; name one, or leave it out";

impl AppOptions {
    /// Returns what is wrong with them, each with the way out.
    pub fn check(&self) -> Result<(), Vec<String>> {
        let mut wrong = Vec::new();
        if let Some(name) = &self.name {
            wrong.extend(check_name("the name", name).err());
        }
        if let Err(reason) = parse_duration(&self.session_duration) {
            wrong.push(format!("`session_duration`: {reason}"));
        }
        if self.allowed_idps.len() > MAX_IDPS {
            wrong.push(format!("`allowed_idps`: at most {MAX_IDPS} identity providers can be named"));
        }
        for idp in &self.allowed_idps {
            wrong.extend(check_name("an entry of `allowed_idps`", idp).err());
        }
        if self.auto_redirect_to_identity && self.allowed_idps.len() != 1 {
            wrong.push(ONE_IDP.to_owned());
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }
}

/// Checks a name that a person gave to `what`.
pub(super) fn check_name(what: &str, name: &str) -> Result<(), String> {
    let reason = if name.trim().is_empty() {
        "it is empty".to_owned()
    } else if name.len() > MAX_NAME {
        format!("it is longer than {MAX_NAME} bytes")
    } else if name.contains(is_hidden) {
        "it holds a character that is not seen".to_owned()
    } else {
        return Ok(());
    };
    Err(format!("{what} cannot be `{}`: {reason}", repeated(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_told_one_by_one() {
        assert_eq!(AppOptions::default().check(), Ok(()));
        let good = AppOptions {
            name: Some("Shop".into()),
            session_duration: "30m".into(),
            allowed_idps: vec!["Google".into()],
            auto_redirect_to_identity: true,
            ..AppOptions::default()
        };
        assert_eq!(good.check(), Ok(()));
        let bad = AppOptions {
            name: Some("a\u{202e}b".into()),
            session_duration: "1d".into(),
            allowed_idps: vec!["".into(), "x".repeat(300)],
            ..good.clone()
        };
        let wrong = bad.check().unwrap_err();
        assert_eq!(wrong.len(), 5, "{wrong:?}");
        for none_or_two in [vec![], vec!["a".into(), "b".into()]] {
            let bad = AppOptions { allowed_idps: none_or_two, ..good.clone() };
            assert_eq!(bad.check(), Err(vec![ONE_IDP.to_owned()]));
        }
    }

    #[test]
    fn what_is_left_out_has_its_default() {
        let read: AppOptions = serde_json::from_str("{}").unwrap();
        assert_eq!(read, AppOptions::default());
        assert_eq!(read.session_duration, "24h");
    }
}
