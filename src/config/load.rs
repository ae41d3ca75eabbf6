//! Reads the layers, checks every name, and remembers where each value came from.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use config::{Config, File, FileFormat, Map, Value, ValueKind};
use serde::Deserialize;

use super::names::{ALIASES, DOCKFLARE_API_KEY, dockflare_api_key, native_key, nearest};
use super::settings::{Role, Settings};

/// What settings are read from; gathered once, by the command line.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// Configuration file; it must exist.
    pub file: Option<PathBuf>,
    /// The process's environment.
    pub environment: BTreeMap<String, String>,
    /// Content of `.env` in the working directory; it does not override the environment.
    pub dot_env: BTreeMap<String, String>,
    /// Options of the command line: key, option, value.
    pub options: Vec<(&'static str, &'static str, String)>,
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A configuration file.
    File(PathBuf),
    /// A variable of the environment.
    Variable(String),
    /// A variable of `.env`.
    DotEnv(String),
    /// An option of the command line.
    Option(&'static str),
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => write!(f, "file `{}`", path.display()),
            Self::Variable(name) => write!(f, "environment variable `{name}`"),
            Self::DotEnv(name) => write!(f, "`{name}` in `.env`"),
            Self::Option(name) => write!(f, "option `{name}`"),
        }
    }
}

/// Settings, and where they came from.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// Origin by key; a key that is absent has its default.
    pub origins: BTreeMap<String, Origin>,
    /// What a person should know, though it is no error.
    pub warnings: Vec<String>,
    /// True if the admin token was given as `DOCKFLARE_API_KEY`.
    pub admin_token_is_alias: bool,
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
    /// A value is of the wrong type or out of its range.
    #[error("`{key}` from {origin} cannot be used: {reason}")]
    Invalid { key: String, origin: Origin, reason: String },
}

impl Loaded {
    /// Reads all layers for `role`.
    pub fn read(sources: &Sources, role: Role) -> Result<Self, ConfigError> {
        let mut layers = Layers::new();
        if let Some(path) = &sources.file {
            layers.add_file(path)?;
        }
        layers.add_variables(&sources.dot_env, role, Origin::DotEnv)?;
        layers.add_variables(&sources.environment, role, Origin::Variable)?;
        for (key, option, value) in &sources.options {
            layers.set((*key).into(), Value::from(value.as_str()), Origin::Option(option))?;
        }
        layers.finish()
    }
}

struct Layers {
    known: Vec<String>,
    values: BTreeMap<String, (Value, Origin)>,
    warnings: Vec<String>,
}

impl Layers {
    fn new() -> Self {
        let defaults = serde_json::to_value(Settings::default()).expect("settings are plain data");
        Self { known: leaf_keys(&defaults), values: BTreeMap::new(), warnings: Vec::new() }
    }

    fn add_file(&mut self, path: &Path) -> Result<(), ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| ConfigError::Unreadable { path: path.into(), reason: error.to_string() })?;
        let malformed = |reason: String| ConfigError::Malformed { path: path.into(), reason };
        // The error of `config` repeats the line, and with it a secret that stands there.
        toml::de::DeTable::parse(&text).map_err(|error| malformed(without_the_line(&text, &error)))?;
        let parsed = Config::builder()
            .add_source(File::from_str(&text, FileFormat::Toml))
            .build()
            .map_err(|_| malformed("it holds something that no setting can hold".into()))?;
        let mut flat = BTreeMap::new();
        flatten("", parsed.cache, &mut flat);
        for (key, value) in flat {
            self.set(key, value, Origin::File(path.into()))?;
        }
        Ok(())
    }

    /// Adds one layer of variables. Inside a layer our own name wins over an alias.
    fn add_variables(
        &mut self,
        variables: &BTreeMap<String, String>,
        role: Role,
        origin: fn(String) -> Origin,
    ) -> Result<(), ConfigError> {
        let text = |value: &String| Value::from(value.as_str());
        let key = dockflare_api_key(role);
        // On a master it is another name of the admin token, whose own name wins wherever each of them stands.
        let counts = role == Role::Agent || !self.is_from_dot_env(key);
        if let Some(value) = set(variables, DOCKFLARE_API_KEY).filter(|_| counts) {
            self.set(key.into(), text(value), origin(DOCKFLARE_API_KEY.into()))?;
        }
        for (name, key) in ALIASES {
            if let Some(value) = set(variables, name) {
                self.set((*key).into(), text(value), origin((*name).into()))?;
            }
        }
        for (name, value) in variables {
            if let Some(key) = native_key(name) {
                self.set(key, text(value), origin(name.clone()))?;
            }
        }
        Ok(())
    }

    /// True if `.env` has the key, under a name of ours.
    fn is_from_dot_env(&self, key: &str) -> bool {
        matches!(self.values.get(key), Some((_, Origin::DotEnv(name))) if name != DOCKFLARE_API_KEY)
    }

    fn set(&mut self, key: String, value: Value, origin: Origin) -> Result<(), ConfigError> {
        if !self.known.contains(&key) {
            let hint = nearest(&key, self.known.iter().map(String::as_str))
                .map(|near| format!("; did you mean `{near}`?"))
                .unwrap_or_default();
            return Err(ConfigError::UnknownKey { key, origin, hint });
        }
        self.values.insert(key, (value, origin));
        Ok(())
    }

    fn finish(mut self) -> Result<Loaded, ConfigError> {
        self.soften_log_level();
        let mut builder = Config::builder();
        for (key, (value, _)) in &self.values {
            builder = builder.set_override(key, value.clone()).expect("known keys are valid paths");
        }
        let merged = builder.build().expect("single values cannot clash");
        for (key, (value, origin)) in &self.values {
            check_alone(key, value, origin)?;
        }
        let settings: Settings = merged.try_deserialize().map_err(|error| ConfigError::Invalid {
            key: "settings".into(),
            origin: Origin::Variable("LIGHTSHIP__*".into()),
            reason: error.to_string(),
        })?;
        let origins: BTreeMap<_, _> =
            self.values.into_iter().map(|(key, (_, origin))| (key, origin)).collect();
        super::check::check(&settings, &origins)?;
        if settings.redis.url.is_set() {
            self.warnings.push(
                "`redis.url` is accepted, but nothing uses it yet: there is one master, and presence and \
                 wake-ups stay in its process"
                    .into(),
            );
        }
        let admin_token_is_alias = matches!(origins.get("admin.token"),
            Some(Origin::Variable(name) | Origin::DotEnv(name)) if name == DOCKFLARE_API_KEY);
        Ok(Loaded { settings, origins, warnings: self.warnings, admin_token_is_alias })
    }

    /// An unknown log level is no reason to stay down: DockFlare takes INFO, and so do we, with a word.
    fn soften_log_level(&mut self) {
        let Some((value, origin)) = self.values.get_mut("log.level") else { return };
        let given = value.to_string().trim().to_ascii_lowercase();
        let level = match given.as_str() {
            "warning" => "warn",
            "critical" | "fatal" => "error",
            "error" | "warn" | "info" | "debug" | "trace" => &given,
            _ => {
                self.warnings.push(format!(
                    "`log.level` from {origin} is not error, warn, info, debug or trace; using info"
                ));
                "info"
            }
        };
        *value = Value::from(level);
    }
}

/// Says where the file is wrong and why.
fn without_the_line(text: &str, error: &toml::de::Error) -> String {
    let before = error.span().and_then(|span| text.get(..span.start));
    let line = before.map(|before| format!("line {}: ", before.matches('\n').count() + 1));
    format!("{}{}", line.unwrap_or_default(), error.message())
}

/// Reads one value as part of otherwise default settings, so that an error can name it.
fn check_alone(key: &str, value: &Value, origin: &Origin) -> Result<(), ConfigError> {
    let alone = Config::builder()
        .set_override(key, value.clone())
        .and_then(|builder| builder.build())
        .and_then(Settings::deserialize);
    alone.map(drop).map_err(|error| ConfigError::Invalid {
        key: key.into(),
        origin: origin.clone(),
        reason: format!("{}; see `docs/configuration.md`", reason(key, value, &error)),
    })
}

fn reason(key: &str, value: &Value, error: &config::ConfigError) -> String {
    match error {
        config::ConfigError::Message(text) if text.starts_with("enum ") => known_words(key, value),
        config::ConfigError::Type { unexpected, expected, .. } => {
            format!("expected {expected}, found {unexpected}")
        }
        config::ConfigError::At { error, .. } => reason(key, value, error),
        other => other.to_string(),
    }
}

/// Says which words a setting knows. `config` names only the one it does not know; serde_json names all.
fn known_words(key: &str, value: &Value) -> String {
    let mut json = serde_json::Value::String(value.to_string());
    for part in key.rsplit('.') {
        json = serde_json::json!({ part: json });
    }
    serde_json::from_value::<Settings>(json).err().map_or_else(String::new, |error| error.to_string())
}

/// An empty variable counts as absent: that is how compose files leave one out.
fn set<'a>(variables: &'a BTreeMap<String, String>, name: &str) -> Option<&'a String> {
    variables.get(name).filter(|value| !value.trim().is_empty())
}

fn flatten(prefix: &str, value: Value, into: &mut BTreeMap<String, Value>) {
    let join = |key: &str| if prefix.is_empty() { key.to_owned() } else { format!("{prefix}.{key}") };
    match value.kind {
        ValueKind::Table(table) => {
            let table: Map<String, Value> = table;
            for (key, value) in table {
                flatten(&join(&key), value, into);
            }
        }
        _ => {
            into.insert(prefix.to_owned(), value);
        }
    }
}

fn leaf_keys(value: &serde_json::Value) -> Vec<String> {
    fn walk(prefix: &str, value: &serde_json::Value, into: &mut Vec<String>) {
        match value {
            serde_json::Value::Object(fields) => {
                for (key, value) in fields {
                    let path = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
                    walk(&path, value, into);
                }
            }
            _ => into.push(prefix.to_owned()),
        }
    }
    let mut keys = Vec::new();
    walk("", value, &mut keys);
    keys
}
