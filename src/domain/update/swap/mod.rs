//! Making a container anew on another image: what the new one is made of, which others go along, who must not be touched, and
//! whether the new one is good.
//!
//! Containers and images are taken as the Engine's inspection says them, so that no option is lost on the way.

mod anew;
mod beside;
mod group;
mod lodger;
mod platform;
mod record;
mod refuse;
mod verdict;
mod visit;

pub use anew::{Anew, Instead, anew, providers_of};
pub use beside::stops_first;
pub use group::{Node, Tie, groups, node, ties};
pub use lodger::{has_interfaces, has_none_to_lend, lender_of, not_in_network};
pub use platform::other_platform;
pub use record::{Group, Phase, Swap, Swaps};
pub use refuse::{StandsOn, own_container, refused};
pub use verdict::{Check, Verdict, check_of, judge};
pub use visit::{Answer, Compared, Here, Visit, Visited, compare_answers, visits};
