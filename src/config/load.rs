//! Reads the layers, checks every name, and remembers where each value came from.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use config::{Config, File, FileFormat, Map, Value, ValueKind};
use serde::Deserialize;

use super::error::{ConfigError, Origin};
use super::names::{
    ALIASES, DOCKER_TLS_VERIFY, DOCKFLARE_API_KEY, GONE, NOT_READ, dockflare_api_key, file_variable,
    native_key, nearest,
};
use super::settings::{Role, Settings};
use super::value_file;
use crate::domain::text::is_in_quotes;

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

impl Loaded {
    /// Reads all layers for `role`.
    pub fn read(sources: &Sources, role: Role) -> Result<Self, ConfigError> {
        let mut layers = Layers::new();
        if let Some(path) = &sources.file {
            layers.add_file(path)?;
        }
        layers.add_variables(&sources.dot_env, role, Origin::DotEnv)?;
        layers.add_variables(&sources.environment, role, Origin::Variable)?;
        layers.name_what_is_not_read([&sources.dot_env, &sources.environment]);
        for (key, option, value) in &sources.options {
            layers.set((*key).into(), Value::from(value.as_str()), Origin::Option(option))?;
        }
        layers.finish(role)
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
        let key = dockflare_api_key(role);
        // On a master it is another name of the admin token, whose own name wins wherever each of them stands.
        if role == Role::Agent || !self.is_from_dot_env(key) {
            self.add_variable(variables, DOCKFLARE_API_KEY, key, origin)?;
        }
        for (name, key) in ALIASES {
            self.add_variable(variables, name, key, origin)?;
        }
        if set(variables, DOCKER_TLS_VERIFY).is_some() {
            self.set("docker.tls".into(), Value::from(true), origin(DOCKER_TLS_VERIFY.into()))?;
        }
        for name in variables.keys() {
            let Some(key) = native_key(name) else { continue };
            let in_file = key.strip_suffix("_file").filter(|inner| !self.knows(&key) && self.knows(inner));
            match in_file {
                Some(inner) => {
                    self.add_variable(variables, &name[..name.len() - "_FILE".len()], inner, origin)?;
                }
                None => self.add_variable(variables, name, &key, origin)?,
            }
        }
        Ok(())
    }

    /// Adds what the variable holds, or the file that its `_FILE` names.
    fn add_variable(
        &mut self,
        variables: &BTreeMap<String, String>,
        name: &str,
        key: &str,
        origin: fn(String) -> Origin,
    ) -> Result<(), ConfigError> {
        let in_file = file_variable(name);
        let value = match (set(variables, name), set(variables, &in_file)) {
            (None, None) => return Ok(()),
            (Some(_), Some(_)) => {
                return Err(ConfigError::Both { value: origin(name.into()), file: origin(in_file) });
            }
            (Some(value), None) => (value.clone(), origin(name.into())),
            (None, Some(path)) => {
                let path = PathBuf::from(path.trim());
                let origin = Origin::ValueFile(path.clone(), Box::new(origin(in_file)));
                match value_file::read(&path) {
                    Ok(value) => (value, origin),
                    Err(reason) => return Err(ConfigError::ValueFile { key: key.into(), origin, reason }),
                }
            }
        };
        self.set(key.to_owned(), Value::from(value.0), value.1)
    }

    /// Names once each variable of DockFlare or RedFlag that has no counterpart, so that nobody waits for its effect.
    fn name_what_is_not_read(&mut self, layers: [&BTreeMap<String, String>; 2]) {
        for (name, instead) in NOT_READ {
            if layers.iter().any(|variables| set(variables, name).is_some()) {
                let whose = if name.starts_with("REDFLAG_") { "RedFlag" } else { "DockFlare" };
                self.warnings.push(format!("`{name}` of {whose} is not read: {instead}"));
            }
        }
    }

    /// True if `.env` has the key, under a name of ours.
    fn is_from_dot_env(&self, key: &str) -> bool {
        self.values.get(key).is_some_and(|(_, origin)| origin.is_dot_env() && !is_alias_of_the_token(origin))
    }

    fn knows(&self, key: &str) -> bool {
        self.known.iter().any(|known| known == key)
    }

    fn set(&mut self, key: String, value: Value, origin: Origin) -> Result<(), ConfigError> {
        if let Some((_, why)) = GONE.iter().find(|(gone, _)| *gone == key) {
            return Err(ConfigError::Invalid { key, origin, reason: (*why).to_owned() });
        }
        if !self.knows(&key) {
            let hint = nearest(&key, self.known.iter().map(String::as_str))
                .map(|near| format!("; did you mean `{near}`?"))
                .unwrap_or_default();
            return Err(ConfigError::UnknownKey { key, origin, hint });
        }
        if let ValueKind::String(text) = &value.kind
            && is_in_quotes(text)
        {
            return Err(ConfigError::Invalid { key, origin, reason: IN_QUOTES.into() });
        }
        self.values.insert(key, (value, origin));
        Ok(())
    }

    fn finish(mut self, role: Role) -> Result<Loaded, ConfigError> {
        self.soften_log_level();
        let mut builder = Config::builder();
        for (key, (value, _)) in &self.values {
            builder = builder.set_override(key, value.clone()).expect("known keys are valid paths");
        }
        let merged = builder.build().expect("single values cannot clash");
        for (key, (value, origin)) in &self.values {
            check_alone(key, value, origin)?;
        }
        let mut settings: Settings = merged.try_deserialize().map_err(|error| ConfigError::Invalid {
            key: "settings".into(),
            origin: Origin::Variable("LIGHTSHIP__*".into()),
            reason: error.to_string(),
        })?;
        if role == Role::Agent {
            self.warnings.extend(super::redflag_file::fill(&mut settings)?);
        }
        let origins: BTreeMap<_, _> =
            self.values.into_iter().map(|(key, (_, origin))| (key, origin)).collect();
        super::check::check(&settings, &origins, role)?;
        if settings.redis.url.is_set() {
            self.warnings.push(
                "`redis.url` is accepted, but nothing uses it yet: there is one master, and presence and \
                 wake-ups stay in its process"
                    .into(),
            );
        }
        if settings.tunnel.name.is_some() && matches!(role, Role::Master | Role::Agent) {
            self.warnings.push(
                "`tunnel.name` (`TUNNEL_NAME`) counts on `standalone` only: elsewhere a host's tunnel is chosen when it is \
                 enrolled"
                    .into(),
            );
        }
        let admin_token_is_alias = origins.get("admin.token").is_some_and(is_alias_of_the_token);
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

/// True if the name is not ours, but that of DockFlare for the token of its admin.
fn is_alias_of_the_token(origin: &Origin) -> bool {
    let alias = [DOCKFLARE_API_KEY.to_owned(), file_variable(DOCKFLARE_API_KEY)];
    origin.variable().is_some_and(|name| alias.iter().any(|alias| alias == name))
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

const IN_QUOTES: &str = "the value is in quotes, which belong to nobody: leave them out; in the list form of a compose \
                         file (`- NAME=\"value\"`) and in `docker run --env-file` they become part of the value";

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
