//! Where a value came from, and why it cannot be used.

use std::path::PathBuf;

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A configuration file.
    File(PathBuf),
    /// A variable of the environment.
    Variable(String),
    /// A variable of `.env`.
    DotEnv(String),
    /// A file that holds the value alone, such as a mounted secret, and the variable that names it.
    ValueFile(PathBuf, Box<Origin>),
    /// An option of the command line.
    Option(&'static str),
}

impl Origin {
    /// Returns the variable, if it is one.
    pub(super) fn variable(&self) -> Option<&str> {
        match self {
            Self::Variable(name) | Self::DotEnv(name) => Some(name),
            Self::ValueFile(_, named_by) => named_by.variable(),
            Self::File(_) | Self::Option(_) => None,
        }
    }

    /// True if `.env` has it.
    pub(super) fn is_dot_env(&self) -> bool {
        match self {
            Self::ValueFile(_, named_by) => named_by.is_dot_env(),
            other => matches!(other, Self::DotEnv(_)),
        }
    }
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => write!(f, "file `{}`", path.display()),
            Self::Variable(name) => write!(f, "environment variable `{name}`"),
            Self::DotEnv(name) => write!(f, "`{name}` in `.env`"),
            Self::ValueFile(path, named_by) => write!(f, "file `{}`, named by {named_by}", path.display()),
            Self::Option(name) => write!(f, "option `{name}`"),
        }
    }
}

/// Why the settings cannot be used. Each names the key, the place and the way out.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file is not there or cannot be read.
    #[error("cannot read the configuration file `{}`: {reason}; check the path and its permissions", path.display())]
    Unreadable { path: PathBuf, reason: String },
    /// The file is not TOML.
    #[error("the configuration file `{}` is not valid TOML: {reason}; correct it: a text value stands in quotes", path.display())]
    Malformed { path: PathBuf, reason: String },
    /// Nobody knows the key.
    #[error("unknown setting `{key}` in {origin}{hint}; `docs/configuration.md` lists all of them")]
    UnknownKey { key: String, origin: Origin, hint: String },
    /// A file that should hold one value cannot be used.
    #[error("`{key}` cannot be read from {origin}: {reason}")]
    ValueFile { key: String, origin: Origin, reason: String },
    /// A value is given, and a file that holds it, too.
    #[error("{value} and {file} are both set; leave one of them out")]
    Both { value: Origin, file: Origin },
    /// A value is of the wrong type or out of its range.
    #[error("`{key}` from {origin} cannot be used: {reason}")]
    Invalid { key: String, origin: Origin, reason: String },
}
