//! The whole story of a route or a container, section by section, for somebody who wonders why it is not reached.
//!
//! Here are its words; what they are about is read by whoever tells it.

mod asked;
mod nearest;
mod waits;

use serde::{Deserialize, Serialize};

use super::connector::Reach;

pub use asked::Asked;
pub use nearest::nearest;
pub use waits::{Asker, Place, Wait, waits_for};

/// One part of a story.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Section {
    /// What it is about.
    pub title: String,
    /// What is known, each with what it is.
    pub facts: Vec<Fact>,
    /// What there is to say beside that.
    pub notes: Vec<String>,
}

/// Something that is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fact {
    /// What it is.
    pub title: String,
    /// What there is to say.
    pub text: String,
}

impl Section {
    /// Begins a section.
    pub fn new(title: &str) -> Self {
        Self { title: title.to_owned(), facts: Vec::new(), notes: Vec::new() }
    }

    /// Adds something that is known.
    #[must_use]
    pub fn fact(mut self, title: impl Into<String>, text: impl Into<String>) -> Self {
        self.facts.push(Fact { title: title.into(), text: text.into() });
        self
    }

    /// The same, if it is known.
    #[must_use]
    pub fn maybe(self, title: impl Into<String>, text: Option<impl Into<String>>) -> Self {
        match text {
            Some(text) => self.fact(title, text),
            None => self,
        }
    }

    /// Adds a sentence.
    #[must_use]
    pub fn note(mut self, text: impl Into<String>) -> Self {
        self.notes.push(text.into());
        self
    }

    /// The same, if there is one.
    #[must_use]
    pub fn maybe_note(self, text: Option<impl Into<String>>) -> Self {
        match text {
            Some(text) => self.note(text),
            None => self,
        }
    }
}

/// The story of one route on one agent, of a rule that a person made, or of a container that asks for nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Story {
    /// Hostname and path of the route; none for a container that asks for nothing that can be read.
    pub route: Option<String>,
    /// Who asks for it: a container or a person.
    pub source: Asker,
    /// The agent that it is on; none for a rule of a person.
    pub agent: Option<String>,
    /// The tunnel that a rule of a person is in.
    pub tunnel: Option<String>,
    /// The container that asks for it, if it is known.
    pub container: Option<String>,
    /// Where it stands, in the word that every list has for it.
    pub state: String,
    /// Whether requests reach the tunnel that it is published in; none if it is not published.
    pub serves: Option<Reach>,
    /// From who asks for it to what it waits for, in this order.
    pub sections: Vec<Section>,
}

impl Story {
    /// Says whose it is, to be followed by where it stands.
    pub fn whose(&self) -> String {
        match (&self.agent, &self.tunnel) {
            (Some(agent), _) => format!("on {agent}"),
            (None, Some(tunnel)) => format!("by a rule in tunnel {tunnel}"),
            (None, None) => "by a rule".to_owned(),
        }
    }
}
