//! Images of a plan that failed on a host before: said before anybody approves it.

use super::stand::Known;
use crate::domain::text::spell_out;
use crate::domain::update::FailedImage;
use crate::web::pages::view::Moment;
use crate::web::planned::Held;

/// An image that is held.
pub struct HeldLine {
    /// Its digest.
    pub digest: String,
    /// Stands for it in names of places.
    pub mark: String,
    /// What failed, where and why.
    pub words: String,
    /// When.
    pub at: Moment,
    /// The run that failed.
    pub run: Option<String>,
}

impl HeldLine {
    /// Puts one on a line.
    pub fn of(held: &Held, known: &Known) -> Self {
        let FailedImage { digest, image, reason } = &held.row.image;
        Self {
            digest: digest.clone(),
            mark: digest.chars().filter(char::is_ascii_alphanumeric).take(18).collect(),
            words: spell_out(&format!("`{image}` failed on `{}`: {reason}", held.host)),
            at: Moment::of(held.row.failed_at, known.now),
            run: held.row.run_id.as_ref().map(|run| format!("/runs/{}/{run}", held.row.agent_id)),
        }
    }
}
