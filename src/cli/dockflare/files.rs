//! What DockFlare keeps, read from its data folder, from a backup of it, or from a `state.json` alone.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::fernet::Fernet;
use super::zip;
use crate::domain::dockflare::keys::{Key, read_keys};
use crate::domain::dockflare::state::State;

/// Most bytes of a backup.
const MAX_BACKUP: usize = 64 << 20;
/// Most bytes of one file of it.
const MAX_PART: usize = 32 << 20;
/// What a sealed file begins with.
const SEALED: &[u8] = b"gAAAA";

const STATE: &str = "state.json";
const KEY: &str = "dockflare.key";
const KEYS: &str = "agent_keys.dat";
const CONFIG: &str = "dockflare_config.dat";
const MANIFEST: &str = "manifest.json";

/// What was read.
pub(super) struct Files {
    /// Rules, groups and agents.
    pub(super) state: State,
    /// Agent keys.
    pub(super) keys: Vec<Key>,
    /// What was set on its page.
    pub(super) config: Config,
    /// What is not known, and why.
    pub(super) notes: Vec<String>,
}

/// What was set on DockFlare's page, as far as it counts here.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Config {
    pub(super) cf_api_token: Option<SecretString>,
    pub(super) cf_account_id: Option<String>,
    pub(super) cf_zone_id: Option<String>,
    pub(super) tunnel_name: Option<String>,
}

/// Where files come from.
enum Place {
    Folder(PathBuf),
    Zip(Vec<u8>),
    State(Vec<u8>),
}

/// Reads a folder, a backup, or a `state.json`.
pub(super) fn read(path: &Path) -> anyhow::Result<Files> {
    Place::open(path)
        .and_then(|place| place.read())
        .with_context(|| format!("cannot take over from `{}`", path.display()))
}

impl Place {
    fn open(path: &Path) -> anyhow::Result<Self> {
        let facts = std::fs::metadata(path)
            .context("it cannot be read; check the path, and that this user may read it")?;
        if facts.is_dir() {
            return Ok(Self::Folder(path.to_owned()));
        }
        let bytes = bounded(path, MAX_BACKUP)?;
        if zip::is_zip(&bytes) {
            return Ok(Self::Zip(bytes));
        }
        if bytes.starts_with(SEALED) {
            bail!(
                "it is sealed, and opens only with the `{KEY}` beside it; name the folder that holds both, or a backup"
            );
        }
        Ok(Self::State(bytes))
    }

    /// Returns a file of it; none if there is none.
    fn find(&self, name: &str) -> anyhow::Result<Option<Zeroizing<Vec<u8>>>> {
        let found = match self {
            Self::Folder(folder) => {
                let path = folder.join(name);
                if path.try_exists().with_context(|| format!("`{name}` cannot be read"))? {
                    Some(bounded(&path, MAX_PART).with_context(|| format!("`{name}`"))?)
                } else {
                    None
                }
            }
            Self::Zip(zip) => zip::find(zip, name, MAX_PART).map_err(|reason| anyhow!(reason))?,
            Self::State(bytes) => (name == STATE).then(|| bytes.clone()),
        };
        Ok(found.map(Zeroizing::new))
    }

    fn read(&self) -> anyhow::Result<Files> {
        self.check_manifest()?;
        let state = self.find(STATE)?.with_context(|| {
            format!("there is no `{STATE}` in it; name the folder that DockFlare has as `/app/data`, or a backup from its page")
        })?;
        let state = State::read(&json(&state, STATE)?).map_err(|reason| anyhow!("`{STATE}`: {reason}"))?;
        let mut notes = Vec::new();
        let opener = self
            .find(KEY)?
            .map(|file| Fernet::new(&file).map_err(|reason| anyhow!("`{KEY}`: {reason}")))
            .transpose()?;
        let mut sealed = |name: &str, without: &str| -> anyhow::Result<Option<Value>> {
            match (self.find(name)?, &opener) {
                (None, _) => notes.push(format!("there is no `{name}`, so {without}")),
                (Some(_), None) => {
                    notes.push(format!("`{name}` is sealed and there is no `{KEY}`, so {without}"))
                }
                (Some(file), Some(opener)) => {
                    let open = opener
                        .open(&file)
                        .map_err(|reason| anyhow!("`{name}` cannot be opened with `{KEY}`: {reason}"))?;
                    return json(&open, name).map(Some);
                }
            }
            Ok(None)
        };
        let keys = sealed(KEYS, "of agent keys only those are known that an agent uses")?;
        let config = sealed(CONFIG, "what was set on DockFlare's page is not known")?;
        let keys =
            keys.map(|keys| read_keys(&keys)).transpose().map_err(|reason| anyhow!("`{KEYS}`: {reason}"))?;
        // An error of the reader may repeat what it met, and that may be a token.
        let config = config
            .map(Config::deserialize)
            .transpose()
            .map_err(|_| anyhow!("`{CONFIG}` holds other fields than DockFlare writes"))?;
        Ok(Files { state, keys: keys.unwrap_or_default(), config: config.unwrap_or_default(), notes })
    }

    /// A backup says what its files are; one that is not as it says was changed or damaged.
    fn check_manifest(&self) -> anyhow::Result<()> {
        let Some(manifest) = self.find(MANIFEST)? else { return Ok(()) };
        let manifest = json(&manifest, MANIFEST)?;
        if manifest["schema"].as_u64().is_some_and(|schema| schema > 1) {
            bail!(
                "it is a backup of a later DockFlare than is known here (`schema` {}); name its data folder",
                manifest["schema"]
            );
        }
        for file in manifest["files"].as_array().into_iter().flatten() {
            let (Some(name), Some(sha256)) = (file["name"].as_str(), file["sha256"].as_str()) else {
                continue;
            };
            if ![STATE, KEY, KEYS, CONFIG].contains(&name) {
                continue;
            }
            let found = self
                .find(name)?
                .with_context(|| format!("`{name}` is missing, although `{MANIFEST}` names it"))?;
            if !hex::encode(Sha256::digest(&*found)).eq_ignore_ascii_case(sha256) {
                bail!("`{name}` is not what `{MANIFEST}` says; take a new backup");
            }
        }
        Ok(())
    }
}

fn json(bytes: &[u8], name: &str) -> anyhow::Result<Value> {
    serde_json::from_slice(bytes)
        .map_err(|error| anyhow!("`{name}` is no JSON (line {}, column {})", error.line(), error.column()))
}

/// Reads a file that has at most so many bytes.
pub(super) fn bounded(path: &Path, limit: usize) -> anyhow::Result<Vec<u8>> {
    // Opening a pipe that nobody writes to would wait for ever.
    if !std::fs::metadata(path).context("it cannot be read")?.is_file() {
        bail!("it is not a file");
    }
    let mut bytes = Vec::new();
    let most = u64::try_from(limit).unwrap_or(u64::MAX);
    let file = File::open(path).context("it cannot be read; check that this user may read it")?;
    file.take(most + 1).read_to_end(&mut bytes).context("it cannot be read")?;
    if bytes.len() > limit {
        bail!("it is larger than {} MiB", limit >> 20);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use aes::cipher::{BlockEncrypt, KeyInit as _};
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE;
    use hmac::{Hmac, Mac};
    use secrecy::ExposeSecret;
    use serde_json::json;
    use tempfile::TempDir;

    use super::super::zip::tests::zip;
    use super::*;
    use crate::cli::output::chain;

    const OPENER: [u8; 32] = [7; 32];

    /// Seals as DockFlare does.
    fn sealed(value: &Value) -> Vec<u8> {
        let cipher = aes::Aes128::new_from_slice(&OPENER[16..]).unwrap();
        let mut text = value.to_string().into_bytes();
        let filled = 16 - text.len() % 16;
        text.extend(std::iter::repeat_n(u8::try_from(filled).unwrap(), filled));
        let mut token = vec![0x80, 0, 0, 0, 0, 1, 2, 3, 4];
        let mut before = [9_u8; 16];
        token.extend(before);
        for block in text.chunks(16) {
            let mixed: Vec<u8> = block.iter().zip(before).map(|(byte, mixed)| byte ^ mixed).collect();
            let mut block = aes::Block::default();
            block.copy_from_slice(&mixed);
            cipher.encrypt_block(&mut block);
            before.copy_from_slice(&block);
            token.extend(block);
        }
        let mut mac = <Hmac<Sha256> as hmac::KeyInit>::new_from_slice(&OPENER[..16]).unwrap();
        mac.update(&token);
        token.extend(mac.finalize().into_bytes());
        URL_SAFE.encode(token).into_bytes()
    }

    fn parts() -> Vec<(&'static str, Vec<u8>)> {
        let state = json!({"agents": {"a-1": {"display_name": "web-1"}}});
        vec![
            (STATE, state.to_string().into_bytes()),
            (KEY, URL_SAFE.encode(OPENER).into_bytes()),
            (KEYS, sealed(&json!({"keys": {"k".repeat(43): {"owner": "web-1"}}}))),
            (
                CONFIG,
                sealed(
                    &json!({"cf_api_token": "secret-token", "cf_account_id": "acc", "tunnel_name": "edge", "password": "x"}),
                ),
            ),
        ]
    }

    fn folder(parts: &[(&str, Vec<u8>)]) -> TempDir {
        let dir = TempDir::new().unwrap();
        for (name, content) in parts {
            std::fs::write(dir.path().join(name), content).unwrap();
        }
        dir
    }

    fn backup(parts: &[(&str, Vec<u8>)], manifest: Value) -> (TempDir, PathBuf) {
        let manifest = manifest.to_string().into_bytes();
        let mut all: Vec<(&str, &[u8])> =
            parts.iter().map(|(name, content)| (*name, content.as_slice())).collect();
        all.push((MANIFEST, &manifest));
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("dockflare_backup.zip");
        std::fs::write(&path, zip(&all, true)).unwrap();
        (dir, path)
    }

    fn manifest(parts: &[(&str, Vec<u8>)]) -> Value {
        let file = |(name, content): &(&str, Vec<u8>)| json!({"name": name, "sha256": hex::encode(Sha256::digest(content)), "size": content.len(), "required": true});
        json!({"schema": 1, "app_version": "3.1.2", "files": parts.iter().map(file).collect::<Vec<_>>()})
    }

    #[test]
    fn a_folder_and_a_backup_of_it_say_the_same() {
        let parts = parts();
        let dir = folder(&parts);
        let (_kept, zip) = backup(&parts, manifest(&parts));
        for path in [dir.path(), &zip] {
            let files = read(path).unwrap();
            assert_eq!(
                (files.state.agents[0].name.as_str(), files.keys[0].owner.as_str()),
                ("web-1", "web-1")
            );
            assert_eq!(files.config.cf_api_token.unwrap().expose_secret(), "secret-token");
            assert_eq!(files.config.tunnel_name.as_deref(), Some("edge"));
            assert_eq!(files.notes, Vec::<String>::new());
        }
    }

    #[test]
    fn what_is_missing_beside_the_state_is_noted() {
        let dir = folder(&parts()[..1]);
        for path in [dir.path().to_owned(), dir.path().join(STATE)] {
            let files = read(&path).unwrap();
            assert_eq!((files.state.agents.len(), files.keys.len(), files.notes.len()), (1, 0, 2));
        }
        let without_key: Vec<_> = parts().into_iter().filter(|(name, _)| *name != KEY).collect();
        let files = read(folder(&without_key).path()).unwrap();
        assert!(
            files.notes.iter().all(|note| note.contains("sealed and there is no `dockflare.key`")),
            "{:?}",
            files.notes
        );
    }

    #[test]
    fn odd_files_are_named_with_the_reason_and_no_secret() {
        let with = |name: &'static str, content: &[u8]| {
            let mut parts = parts();
            parts.retain(|(other, _)| *other != name);
            parts.push((name, content.to_vec()));
            folder(&parts)
        };
        let other_key = URL_SAFE.encode([1; 32]);
        for (dir, words) in [
            (folder(&parts()[1..]), "no `state.json` in it"),
            (with(STATE, b"{"), "`state.json` is no JSON"),
            (with(STATE, b"{}"), "no `state.json` of DockFlare"),
            (with(KEY, b"short"), "`dockflare.key`: it is no key"),
            (with(KEY, other_key.as_bytes()), "`agent_keys.dat` cannot be opened with `dockflare.key`"),
            (with(KEYS, b"noise"), "`agent_keys.dat` cannot be opened"),
            (
                with(CONFIG, &sealed(&json!({"cf_api_token": ["secret-token"]}))),
                "`dockflare_config.dat` holds other fields",
            ),
        ] {
            let said = chain(&read(dir.path()).err().unwrap());
            assert!(said.contains(words) && !said.contains("secret-token"), "{words}: {said}");
        }
        let dir = folder(&parts());
        for (path, words) in [
            (dir.path().join("nothing"), "check the path"),
            (dir.path().join(KEYS), "name the folder that holds both"),
            (dir.path().join(KEY), "`state.json` is no JSON"),
        ] {
            let said = chain(&read(&path).err().unwrap());
            assert!(said.contains(words) && said.contains(path.to_str().unwrap()), "{words}: {said}");
        }
        let mut changed = manifest(&parts());
        changed["files"][0]["sha256"] = json!("00");
        for (manifest, words) in
            [(changed, "`state.json` is not what"), (json!({"schema": 2}), "a later DockFlare")]
        {
            let (_kept, zip) = backup(&parts(), manifest);
            assert!(chain(&read(&zip).err().unwrap()).contains(words), "{words}");
        }
        let (_kept, zip) = backup(&parts()[1..], manifest(&parts()));
        assert!(chain(&read(&zip).err().unwrap()).contains("`state.json` is missing"));
        let large = folder(&[]);
        File::create(large.path().join(STATE)).unwrap().set_len(MAX_PART as u64 + 1).unwrap();
        assert!(chain(&read(large.path()).err().unwrap()).contains("larger than 32 MiB"));
    }
}
