//! Where the API is.

use url::Url;

use super::error::CfError;

/// Where the API is, unless settings say otherwise.
pub const PUBLIC_API: &str = "https://api.cloudflare.com/client/v4";

/// Reads the base URL of an API; refuses one that could not be one.
pub(super) fn read_base(text: &str) -> Result<Url, CfError> {
    let text = text.trim();
    let refuse = |why: &str| CfError::Settings(format!("`{text}` is not the base URL of an API: {why}"));
    let base = Url::parse(text).map_err(|error| refuse(&error.to_string()))?;
    if !matches!(base.scheme(), "http" | "https") {
        return Err(refuse("it must start with http:// or https://"));
    }
    if !base.username().is_empty() || base.password().is_some() || base.query().is_some() {
        return Err(CfError::Settings("the base URL of the API must hold no user, password or query".into()));
    }
    Ok(base)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_base_may_end_with_a_slash_or_not() {
        for base in ["http://127.0.0.1:1/client/v4", "http://127.0.0.1:1/client/v4/"] {
            let mut url = read_base(base).unwrap();
            url.path_segments_mut().unwrap().pop_if_empty().extend(["zones", "a/b"]);
            assert_eq!(url.as_str(), "http://127.0.0.1:1/client/v4/zones/a%2Fb");
        }
    }

    #[test]
    fn a_base_that_is_no_web_address_is_refused() {
        for bad in [
            "",
            "api.cloudflare.com",
            "ftp://x/",
            "unix:/x",
            "https://me:secret@x/",
            "https://x/?token=secret",
        ] {
            let error = read_base(bad).unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
