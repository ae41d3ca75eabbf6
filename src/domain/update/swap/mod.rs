//! Making a container anew on another image: what the new one is made of, which others go along, who must not be touched, and
//! whether the new one is good.
//!
//! Containers and images are taken as the Engine's inspection says them, so that no option is lost on the way.

mod anew;
mod group;
mod record;
mod refuse;
mod verdict;

pub use anew::{Anew, Instead, anew};
pub use group::{Node, groups, node};
pub use record::{Group, Phase, Swap, Swaps};
pub use refuse::{StandsOn, own_container, refused};
pub use verdict::{Check, Verdict, check_of, judge};
