//! The image of the connector: what an operator may write, and when it is pulled.

/// The image that is used if none is set.
pub const DEFAULT_IMAGE: &str = "cloudflare/cloudflared:2025.9.0";

/// An image reference that can be used, and what was wrong with the one given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CleanImage {
    /// The reference.
    pub image: String,
    /// Why it is not the one that was written, for the log.
    pub warning: Option<String>,
}

/// Cleans a reference as it is written in a `.env`: white space, a comment behind it, a digest in capitals.
///
/// A digest that is none, or a missing repository in front of it, gives [`DEFAULT_IMAGE`] and a warning: a pin
/// must never be loosened in silence.
pub fn clean_image(text: &str) -> CleanImage {
    let word = text.split_whitespace().next().unwrap_or_default();
    let word = word.split('#').next().unwrap_or_default();
    let fallback = |why: &str| CleanImage {
        image: DEFAULT_IMAGE.to_owned(),
        warning: Some(format!("{why}, so `{DEFAULT_IMAGE}` is used; correct `CLOUDFLARED_IMAGE`")),
    };
    if word.is_empty() {
        return match text.trim() {
            "" => CleanImage { image: DEFAULT_IMAGE.to_owned(), warning: None },
            _ => fallback("the image is empty"),
        };
    }
    let Some((repository, digest)) = word.split_once('@') else {
        return CleanImage { image: word.to_owned(), warning: None };
    };
    if repository.is_empty() {
        return fallback("the image has a digest and no repository");
    }
    let hex = digest.strip_prefix("sha256:").filter(|hex| is_sha256(hex));
    match hex {
        Some(hex) => {
            CleanImage { image: format!("{repository}@sha256:{}", hex.to_ascii_lowercase()), warning: None }
        }
        None => fallback("the digest of the image is not `sha256:` and 64 hex digits"),
    }
}

/// Says whether a reference is pinned to one content.
pub fn is_pinned(image: &str) -> bool {
    image.split_once("@sha256:").is_some_and(|(_, hex)| is_sha256(hex)) || is_local_id(image)
}

/// Whether an image must be fetched before a container can be made of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pull {
    /// The Engine has it. It is not fetched again: a tag that moved is an update, which somebody decides.
    NotNeeded,
    /// It must be fetched.
    Needed,
    /// It is missing, and no registry has it: it is named by its local id.
    Impossible,
}

/// Decides whether an image is pulled. An image built on the host is there, and so never asked for.
pub fn must_pull(image: &str, is_present: bool) -> Pull {
    match (is_present, is_local_id(image)) {
        (true, _) => Pull::NotNeeded,
        (false, true) => Pull::Impossible,
        (false, false) => Pull::Needed,
    }
}

fn is_local_id(image: &str) -> bool {
    image.strip_prefix("sha256:").is_some_and(is_sha256) || is_sha256(image)
}

fn is_sha256(hex: &str) -> bool {
    hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn references_are_cleaned() {
        let digest = "AB".repeat(32);
        for (text, image) in [
            ("cloudflare/cloudflared:latest".to_owned(), "cloudflare/cloudflared:latest".to_owned()),
            ("  host:5000/cf:1  # pinned".to_owned(), "host:5000/cf:1".to_owned()),
            ("cf:1#note".to_owned(), "cf:1".to_owned()),
            (format!("cf@sha256:{digest}"), format!("cf@sha256:{}", digest.to_ascii_lowercase())),
            (format!("cf:1@sha256:{digest} x"), format!("cf:1@sha256:{}", digest.to_ascii_lowercase())),
            (String::new(), DEFAULT_IMAGE.to_owned()),
            ("  ".to_owned(), DEFAULT_IMAGE.to_owned()),
        ] {
            assert_eq!(clean_image(&text), CleanImage { image, warning: None }, "{text}");
        }
    }

    #[test]
    fn a_broken_pin_gives_the_default_and_a_warning() {
        let short = format!("cf@sha256:{}", "a".repeat(63));
        let odd = format!("cf@sha256:{}", "g".repeat(64));
        let nameless = format!("@sha256:{}", "a".repeat(64));
        for text in [&short, &odd, &nameless, "cf@md5:aa", "cf@", "# only a comment"] {
            let clean = clean_image(text);
            assert_eq!(clean.image, DEFAULT_IMAGE, "{text}");
            assert!(clean.warning.unwrap().contains("CLOUDFLARED_IMAGE"));
        }
    }

    #[test]
    fn only_missing_images_of_a_registry_are_pulled() {
        let id = format!("sha256:{}", "a".repeat(64));
        assert_eq!(must_pull("lightship-test:local", true), Pull::NotNeeded);
        assert_eq!(must_pull("cloudflare/cloudflared:1", false), Pull::Needed);
        assert_eq!(must_pull(&id, false), Pull::Impossible);
        assert!(is_pinned(&id) && is_pinned(&format!("cf@{id}")) && !is_pinned("cf:1"));
    }

    proptest! {
        #[test]
        fn a_cleaned_reference_stays_and_holds_no_white_space(text in ".{0,80}") {
            let clean = clean_image(&text).image;
            prop_assert!(!clean.is_empty() && !clean.contains(char::is_whitespace) && !clean.contains('#'));
            prop_assert_eq!(clean_image(&clean).image, clean);
        }
    }
}
