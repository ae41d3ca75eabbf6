//! Who we are at a registry: what `docker login` left.
//!
//! A login belongs to one registry and is found by its name alone; no other registry is ever shown it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use crate::domain::registry::{DOCKER_HUB, registry_named};
use crate::process::{ProcessError, Program};

/// Largest `config.json` that is read.
const MAX_FILE: u64 = 1 << 20;
/// Name of those whose password is a token of another kind.
const TOKEN_USER: &str = "<token>";
/// What a helper says of a registry that it knows nothing of.
const NOT_FOUND: &str = "credentials not found";

/// An account at one registry.
#[derive(Clone)]
pub struct Login {
    /// Its name, as people see it.
    pub account: String,
    /// What proves it.
    pub secret: Secret,
}

/// What proves an account.
#[derive(Clone)]
pub enum Secret {
    /// The account's password.
    Password(SecretString),
    /// A token that is exchanged for others at the token server.
    Identity(SecretString),
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("account", &self.account).finish_non_exhaustive()
    }
}

impl Login {
    /// The value of an `Authorization` header, if it is a name and a password.
    pub(super) fn basic(&self) -> Option<String> {
        let Secret::Password(password) = &self.secret else { return None };
        Some(format!("Basic {}", STANDARD.encode(format!("{}:{}", self.account, password.expose_secret()))))
    }
}

/// Where logins are kept.
#[async_trait]
pub trait Credentials: Send + Sync {
    /// Returns the login for a registry, none if there is none. Fails with why the one that there is cannot be had.
    async fn find(&self, registry: &str) -> Result<Option<Login>, String>;
}

/// Nobody is signed in anywhere.
pub struct NoLogins;

#[async_trait]
impl Credentials for NoLogins {
    async fn find(&self, _registry: &str) -> Result<Option<Login>, String> {
        Ok(None)
    }
}

/// How a helper ended.
#[derive(Clone)]
pub struct HelperEnded {
    /// True if its exit code was 0.
    pub is_success: bool,
    /// What it printed.
    pub stdout: SecretString,
}

/// Runs `docker-credential-NAME get` with a registry's name on its standard input.
#[async_trait]
pub trait RunHelper: Send + Sync {
    /// Runs it to its end; fails with why it could not be run.
    async fn get(&self, helper: &str, server: &str) -> Result<HelperEnded, String>;
}

/// Runs those of this host.
pub struct HostHelpers;

/// Longest name of a registry that a helper is asked for: a page is what it is handed at most.
const MAX_SERVER: usize = 2 << 10;
/// Helpers ask a key ring, and some of them a cloud.
const HELPER_LIMIT: Duration = Duration::from_secs(20);
/// What helpers look at to find what they keep.
const HELPER_VARIABLES: [&str; 8] = [
    "DBUS_SESSION_BUS_ADDRESS",
    "XDG_RUNTIME_DIR",
    "GNUPGHOME",
    "PASSWORD_STORE_DIR",
    "AWS_PROFILE",
    "AWS_REGION",
    "AWS_SHARED_CREDENTIALS_FILE",
    "GOOGLE_APPLICATION_CREDENTIALS",
];

#[async_trait]
impl RunHelper for HostHelpers {
    async fn get(&self, helper: &str, server: &str) -> Result<HelperEnded, String> {
        let name = format!("docker-credential-{helper}");
        if server.len() > MAX_SERVER {
            return Err(format!("`{name}` is not asked for a registry with so long a name"));
        }
        match helper_program(&name, server).run().await {
            Err(ProcessError::Missing(_)) => Err(format!("`{name}` is not installed")),
            Ok(ended) => Ok(HelperEnded {
                is_success: ended.code == Some(0),
                stdout: SecretString::from(ended.stdout),
            }),
            Err(error) => Err(format!("`{name}` could not be asked: {error}")),
        }
    }
}

/// A helper reads which registry it is about from its standard input.
fn helper_program(name: &str, server: &str) -> Program {
    let mut program = Program::new(name).arg("get").input(format!("{server}\n"));
    for name in HELPER_VARIABLES {
        if let Some(value) = std::env::var_os(name) {
            program = program.env(name, value);
        }
    }
    program.time_limit(HELPER_LIMIT).stdout_limit(64 << 10)
}

/// What `docker login` left in a `config.json`, and in the helpers that it names.
pub struct DockerLogins {
    file: PathBuf,
    helpers: Arc<dyn RunHelper>,
}

impl DockerLogins {
    /// Takes the file; it need not be there.
    pub fn new(file: PathBuf, helpers: Arc<dyn RunHelper>) -> Self {
        Self { file, helpers }
    }

    /// Takes the file of this user: in `$DOCKER_CONFIG`, else in `~/.docker`.
    pub fn of_this_user() -> Self {
        let set = |name: &str| std::env::var_os(name).filter(|text| !text.is_empty()).map(PathBuf::from);
        let folder = set("DOCKER_CONFIG").or_else(|| set("HOME").map(|home| home.join(".docker")));
        let file = folder.unwrap_or_else(|| PathBuf::from("/root/.docker")).join("config.json");
        Self::new(file, Arc::new(HostHelpers))
    }

    async fn read(&self) -> Result<Option<DockerConfig>, String> {
        let shown = self.file.display();
        let found = match tokio::fs::metadata(&self.file).await {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(format!("`{shown}` cannot be read: {error}")),
            Ok(found) => found,
        };
        if !found.is_file() || found.len() > MAX_FILE {
            return Err(format!("`{shown}` is no file of at most 1 MiB"));
        }
        let bytes = tokio::fs::read(&self.file)
            .await
            .map_err(|error| format!("`{shown}` cannot be read: {error}"))?;
        // The parser's words quote what they stumble over.
        serde_json::from_slice(&bytes).map(Some).map_err(|_| format!("`{shown}` is no Docker configuration"))
    }

    async fn ask(&self, helper: &str, registry: &str) -> Result<Option<Login>, String> {
        if helper.is_empty() || !helper.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') {
            return Err("its credential helper has no usable name".into());
        }
        let ended = self.helpers.get(helper, server_of(registry)).await?;
        let printed = ended.stdout.expose_secret();
        if !ended.is_success {
            return match printed.to_ascii_lowercase().contains(NOT_FOUND) {
                true => Ok(None),
                false => Err(format!("`docker-credential-{helper}` did not hand out the login")),
            };
        }
        let answer: HelperAnswer = serde_json::from_str(printed)
            .map_err(|_| format!("the answer of `docker-credential-{helper}` was not understood"))?;
        Ok(answer.login())
    }
}

#[async_trait]
impl Credentials for DockerLogins {
    async fn find(&self, registry: &str) -> Result<Option<Login>, String> {
        let Some(config) = self.read().await? else { return Ok(None) };
        match config.place(registry) {
            Place::Here(login) => Ok(login),
            Place::Helper { name, else_here } => match self.ask(&name, registry).await {
                Ok(None) => Ok(else_here),
                Err(_) if else_here.is_some() => Ok(else_here),
                outcome => outcome,
            },
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HelperAnswer {
    #[serde(default)]
    username: String,
    #[serde(default)]
    secret: String,
}

impl HelperAnswer {
    fn login(self) -> Option<Login> {
        if self.secret.is_empty() {
            return None;
        }
        let secret = SecretString::from(self.secret);
        Some(match self.username == TOKEN_USER {
            true => Login { account: "token".into(), secret: Secret::Identity(secret) },
            false => Login { account: self.username, secret: Secret::Password(secret) },
        })
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct DockerConfig {
    auths: BTreeMap<String, Auth>,
    cred_helpers: BTreeMap<String, String>,
    creds_store: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Auth {
    auth: String,
    username: String,
    password: String,
    identitytoken: String,
}

/// Where a registry's login is.
enum Place {
    Here(Option<Login>),
    Helper { name: String, else_here: Option<Login> },
}

impl DockerConfig {
    fn place(&self, registry: &str) -> Place {
        let own = |key: &String| registry_named(key).as_deref() == Some(registry);
        let here = self.auths.iter().find(|(key, _)| own(key)).and_then(|(_, auth)| auth.login());
        let helper = self.cred_helpers.iter().find(|(key, _)| own(key)).map(|(_, name)| name);
        match helper.or(self.creds_store.as_ref()).filter(|name| !name.is_empty()) {
            Some(name) => Place::Helper { name: name.clone(), else_here: here },
            None => Place::Here(here),
        }
    }
}

impl Auth {
    /// None means "look elsewhere": an empty entry stands for a login that a store holds.
    fn login(&self) -> Option<Login> {
        let pair = STANDARD.decode(self.auth.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let pair =
            pair.as_deref().map(|text| text.trim_end_matches('\0')).and_then(|text| text.split_once(':'));
        let (user, password) = pair.unwrap_or((&self.username, &self.password));
        let name =
            |or: &str| if user.is_empty() || user == TOKEN_USER { or.to_owned() } else { user.to_owned() };
        if !self.identitytoken.is_empty() {
            let secret = Secret::Identity(SecretString::from(self.identitytoken.clone()));
            return Some(Login { account: name("token"), secret });
        }
        let is_whole = !user.is_empty() && !password.is_empty();
        is_whole.then(|| Login {
            account: user.to_owned(),
            secret: Secret::Password(SecretString::from(password.to_owned())),
        })
    }
}

/// What a helper knows a registry as.
fn server_of(registry: &str) -> &str {
    if registry == DOCKER_HUB { "https://index.docker.io/v1/" } else { registry }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Knows one server, with what it prints and whether that is a success.
    struct Helper(&'static str, &'static str, bool);

    #[async_trait]
    impl RunHelper for Helper {
        async fn get(&self, helper: &str, server: &str) -> Result<HelperEnded, String> {
            assert_eq!(helper, "own");
            match server == self.0 {
                true => Ok(HelperEnded { is_success: self.2, stdout: SecretString::from(self.1) }),
                false => Ok(HelperEnded {
                    is_success: false,
                    stdout: SecretString::from("credentials not found in native keychain\n"),
                }),
            }
        }
    }

    async fn found(
        config: &serde_json::Value,
        helper: Helper,
        registry: &str,
    ) -> Result<Option<String>, String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.json");
        std::fs::write(&file, config.to_string()).unwrap();
        let logins = DockerLogins::new(file, Arc::new(helper));
        let told = |login: Login| match login.secret {
            Secret::Password(text) => format!("{} {}", login.account, text.expose_secret()),
            Secret::Identity(text) => format!("{} token {}", login.account, text.expose_secret()),
        };
        logins.find(registry).await.map(|login| login.map(told))
    }

    fn nothing() -> Helper {
        Helper("", "", false)
    }

    #[tokio::test]
    async fn a_login_is_found_under_its_registry_and_nowhere_else() {
        let auth = |text: &str| json!({ "auth": STANDARD.encode(text) });
        let config = json!({ "auths": {
            "https://index.docker.io/v1/": auth("hub:a:b"),
            "Reg.example:5000": auth("bob:pw"),
            "https://old.example/v2/": auth("old:pw"),
            "identity.example": { "auth": STANDARD.encode("<token>:"), "identitytoken": "idt" },
            "plain.example": { "username": "eve", "password": "pw" },
            "empty.example": {},
            "odd.example": { "auth": "%%%" },
        }, "HttpHeaders": { "User-Agent": "x" }, "detachKeys": "ctrl-e,e" });
        for (registry, expected) in [
            ("docker.io", Some("hub a:b")),
            ("reg.example:5000", Some("bob pw")),
            ("reg.example", None),
            ("old.example", Some("old pw")),
            ("identity.example", Some("token token idt")),
            ("plain.example", Some("eve pw")),
            ("empty.example", None),
            ("odd.example", None),
            ("evil-reg.example:5000", None),
        ] {
            let found = found(&config, nothing(), registry).await.unwrap();
            assert_eq!(found.as_deref(), expected, "{registry}");
        }
    }

    #[tokio::test]
    async fn a_helper_of_the_registry_comes_before_the_store_and_the_store_before_the_file() {
        let answer = r#"{"ServerURL":"reg.example","Username":"h","Secret":"s"}"#;
        let here = json!({ "reg.example": { "auth": STANDARD.encode("bob:pw") } });
        for (config, expected) in [
            (
                json!({ "credHelpers": { "reg.example": "own" }, "credsStore": "other", "auths": here }),
                Some("h s"),
            ),
            (json!({ "credsStore": "own", "auths": here }), Some("h s")),
            (json!({ "credsStore": "own", "auths": { "reg.example": {} } }), Some("h s")),
            (json!({ "credHelpers": { "another.example": "other" }, "auths": here }), Some("bob pw")),
        ] {
            let found = found(&config, Helper("reg.example", answer, true), "reg.example").await.unwrap();
            assert_eq!(found.as_deref(), expected, "{config}");
        }
    }

    #[tokio::test]
    async fn a_helper_speaks_of_tokens_of_nothing_and_of_failure() {
        let store = json!({ "credsStore": "own" });
        let token = r#"{"Username":"<token>","Secret":"idt"}"#;
        let hub = "https://index.docker.io/v1/";
        assert_eq!(
            found(&store, Helper(hub, token, true), "docker.io").await,
            Ok(Some("token token idt".into()))
        );
        assert_eq!(found(&store, nothing(), "reg.example").await, Ok(None));
        let failed =
            found(&store, Helper("reg.example", "secret service is locked", false), "reg.example").await;
        assert!(
            failed.as_ref().is_err_and(|e| e.contains("docker-credential-own") && !e.contains("locked")),
            "{failed:?}"
        );
        let odd = found(&store, Helper("reg.example", "s3cret", true), "reg.example").await;
        assert!(odd.is_err_and(|e| !e.contains("s3cret")));
        let path = found(&json!({ "credsStore": "../own" }), nothing(), "reg.example").await;
        assert!(path.is_err());
    }

    #[tokio::test]
    async fn no_file_is_no_login_and_a_broken_one_says_so_without_its_words() {
        let logins = DockerLogins::new("/nonexistent/config.json".into(), Arc::new(nothing()));
        assert!(logins.find("docker.io").await.unwrap().is_none());
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.json");
        std::fs::write(&file, r#"{"auths": {"a": {"auth": s3cret}}}"#).unwrap();
        let error = DockerLogins::new(file, Arc::new(nothing())).find("a").await.unwrap_err();
        assert!(error.contains("config.json") && !error.contains("s3cret"), "{error}");
        let folder = DockerLogins::new(folder.path().to_owned(), Arc::new(nothing()));
        assert!(folder.find("a").await.is_err());
    }

    #[tokio::test]
    async fn a_helper_is_run_with_the_registry_on_its_standard_input() {
        let missing = HostHelpers.get("lightship-test-missing", "reg.example").await;
        assert!(missing.is_err_and(|reason| reason.contains("not installed")));
        let folder = tempfile::tempdir().unwrap();
        let helper = folder.path().join("docker-credential-x");
        std::fs::write(&helper, "#!/bin/sh\nread server\nread parent < /proc/$PPID/comm\nprintf '%s|%s|%s' \"$*\" \"$server\" \"$parent\"\n").unwrap();
        std::fs::set_permissions(&helper, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();

        let server = "reg.example; $(id) \"";
        let asked = helper_program(helper.to_str().unwrap(), server).run().await.unwrap();

        let parent = asked.stdout.strip_prefix(&format!("get|{server}|"));
        // It is started by us, and not by a shell between us and it.
        assert!(parent.is_some_and(|parent| parent != "sh"), "{}", asked.stdout);
        assert!(HostHelpers.get("x", &"r".repeat(MAX_SERVER + 1)).await.is_err());
    }
}
