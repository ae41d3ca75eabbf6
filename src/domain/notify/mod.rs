//! Telling people: what is worth a word, when it is said, to whom and in which form. Whoever calls brings the time.
//!
//! A *notice* is one thing that began or ended; a *message* is what a *target* gets, one or many notices of one kind.

mod answer;
mod compare;
mod gather;
mod mail;
mod message;
mod notice;
mod occurrence;
mod quiet;
mod read;
mod request;
mod retry;
mod secrets;
mod target;
#[cfg(test)]
mod tests;
mod topic;

pub use answer::{is_about_the_message, refusal, was_taken};
pub use compare::{Changes, How, Known, Seen, compare};
pub use gather::{Due, MOST_PENDING, due, take_in, wants};
pub use mail::Mail;
pub use message::{Message, compose, test_message};
pub use notice::{Notice, Turn};
pub use occurrence::{Occurrence, occurrence};
pub use quiet::QuietHours;
pub use read::{Draft, read_target};
pub use request::{Call, Outgoing, outgoing};
pub use retry::pause;
pub use secrets::Secrets;
pub use target::{Channel, Encryption, KINDS, MAX_TARGETS, Target};
pub use topic::Topic;
