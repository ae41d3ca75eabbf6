//! What agents speak.

/// What an agent speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// DockFlare's: no acknowledgement, no result.
    V2,
    /// Ours.
    Native,
}

impl Dialect {
    /// The word that is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V2 => "v2",
            Self::Native => "native",
        }
    }

    /// Reads a stored word; anything else is the dialect that asks for least.
    pub fn of(word: &str) -> Self {
        if word == Self::Native.as_str() { Self::Native } else { Self::V2 }
    }
}
