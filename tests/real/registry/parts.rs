//! `docker-registry` in all its ways of letting people in, what it holds, and a token server.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use flate2::Compression;
use flate2::write::GzEncoder;
use lightship::domain::registry::Digest;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::fake_registry::{FakeRegistry, Reply, Seen};
use crate::support::until::until;

/// `pw`, as `htpasswd -B` writes it for bob.
const HTPASSWD: &str = "bob:$2b$05$abcdefghijklmnopqrstuuHIrMEWpUCQe2YqFR3sXwQ75u4od..9q\n";

/// How a registry lets people in.
pub enum Way<'a> {
    Open,
    Basic,
    Token(&'a TokenServer),
}

/// What registries hold; several may stand on one.
pub struct Store(TempDir);

impl Store {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }
}

/// A running `docker-registry`.
pub struct Registry {
    pub port: u16,
    process: Child,
    log: PathBuf,
    _dir: TempDir,
}

impl Registry {
    pub async fn start(store: &Store, way: Way<'_>) -> Self {
        Self::start_at(store, way, free_port(), None).await
    }

    /// Starts one that tells a master of what is pushed.
    pub async fn start_telling(store: &Store, port: u16, master: &str, token: &str) -> Self {
        let endpoint = json!({ "name": "lightship", "url": format!("{master}/api/v3/registries/events"),
            "headers": { "Authorization": [format!("Bearer {token}")] }, "timeout": "20s", "threshold": 3,
            "backoff": "1s" });
        let more = json!({ "notifications": { "endpoints": [endpoint] } });
        Self::launch(store, Way::Open, port, None, &more).await
    }

    /// Starts one at a port, in a network namespace if one is given.
    pub async fn start_at(store: &Store, way: Way<'_>, port: u16, network: Option<&Path>) -> Self {
        Self::launch(store, way, port, network, &json!({})).await
    }

    async fn launch(store: &Store, way: Way<'_>, port: u16, network: Option<&Path>, more: &Value) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("config.yml");
        let auth = match way {
            Way::Open => json!({}),
            Way::Basic => {
                let file = dir.path().join("htpasswd");
                std::fs::write(&file, HTPASSWD).unwrap();
                json!({ "htpasswd": { "realm": "registry", "path": file } })
            }
            Way::Token(server) => json!({ "token": { "realm": server.realm(), "service": "registry",
                "issuer": "tokens", "rootcertbundle": server.certificate() } }),
        };
        let mut text = json!({ "version": "0.1", "log": { "level": "info" },
            "storage": { "filesystem": { "rootdirectory": store.0.path() } },
            "http": { "addr": format!("0.0.0.0:{port}") } });
        if auth.as_object().is_some_and(|auth| !auth.is_empty()) {
            text["auth"] = auth;
        }
        text.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        // JSON is YAML.
        std::fs::write(&config, text.to_string()).unwrap();
        let log = dir.path().join("log");
        let out = std::fs::File::create(&log).unwrap();
        let mut command = match network {
            Some(network) => {
                let mut command = Command::new("nsenter");
                command.arg(format!("--net={}", network.display())).arg("docker-registry");
                command
            }
            None => Command::new("docker-registry"),
        };
        let command = command.arg("serve").arg(&config).stdin(Stdio::null());
        let process = command
            .stdout(out.try_clone().unwrap())
            .stderr(out)
            .spawn()
            .expect("docker-registry is needed: scripts/need updates");
        let mut this = Self { port, process, log, _dir: dir };
        until("the registry listens", || {
            // Inside a namespace nobody can connect from here.
            let is_up = this.said().contains("listening on");
            let is_up = is_up && (network.is_some() || TcpStream::connect(("127.0.0.1", port)).is_ok());
            async move { is_up.then_some(()) }
        })
        .await;
        assert!(this.process.try_wait().unwrap().is_none(), "{}", this.said());
        this
    }

    /// As it stands in names of images.
    pub fn name(&self) -> String {
        format!("localhost:{}", self.port)
    }

    fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// What it was asked, by its own access log: method, path and status.
    pub fn asked(&self) -> Vec<(String, String, u16)> {
        let line = |line: &str| {
            let (_, rest) = line.split_once("] \"")?;
            let (request, rest) = rest.split_once("\" ")?;
            let mut words = request.split(' ').map(str::to_owned);
            Some((words.next()?, words.next()?, rest.split(' ').next()?.parse().ok()?))
        };
        self.said().lines().filter_map(line).collect()
    }

    /// How often it was asked with HEAD and with GET for manifests, and how often for configurations.
    pub fn counts(&self) -> (usize, usize, usize) {
        let asked = self.asked();
        let count = |method: &str, part: &str| {
            asked.iter().filter(|(m, path, _)| m == method && path.contains(part)).count()
        };
        (count("HEAD", "/manifests/"), count("GET", "/manifests/"), count("GET", "/blobs/"))
    }

    /// Pushes an index of two platforms under a tag.
    pub async fn push(&self, repository: &str, tag: &str, image: &TwoPlatforms) {
        self.push_as(&format!("127.0.0.1:{}", self.port), repository, tag, image).await;
    }

    /// The same under another of its names, which it tells of.
    pub async fn push_as(&self, name: &str, repository: &str, tag: &str, image: &TwoPlatforms) {
        rustls::crypto::ring::default_provider().install_default().ok();
        let http = reqwest::Client::new();
        let base = format!("http://{name}/v2/{repository}");
        for blob in [&image.layer, &image.amd64.config, &image.arm64.config] {
            let begun = http.post(format!("{base}/blobs/uploads/")).send().await.unwrap();
            let place = begun.headers()["location"].to_str().unwrap().to_owned();
            let query = if place.contains('?') { '&' } else { '?' };
            let done = http.put(format!("{place}{query}digest={}", Digest::of(blob))).body(blob.clone());
            assert_eq!(done.send().await.unwrap().status(), 201);
        }
        let manifest = "application/vnd.oci.image.manifest.v1+json";
        for one in [&image.amd64.manifest, &image.arm64.manifest] {
            put(&http, &format!("{base}/manifests/{}", Digest::of(one)), manifest, one).await;
        }
        let index = "application/vnd.oci.image.index.v1+json";
        put(&http, &format!("{base}/manifests/{tag}"), index, &image.index).await;
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

async fn put(http: &reqwest::Client, url: &str, kind: &str, body: &[u8]) {
    let done = http.put(url).header("content-type", kind).body(body.to_vec()).send().await.unwrap();
    let (status, said) = (done.status(), done.text().await.unwrap());
    assert_eq!(status, 201, "{url}: {said}");
}

pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// One platform's image.
pub struct OneImage {
    pub config: Vec<u8>,
    pub manifest: Vec<u8>,
}

/// An index of two platforms; both have one layer, in which there is a program that waits.
pub struct TwoPlatforms {
    pub layer: Vec<u8>,
    pub amd64: OneImage,
    pub arm64: OneImage,
    pub index: Vec<u8>,
}

impl TwoPlatforms {
    /// `ours` and `other` are the versions of the two platforms' images.
    pub fn new(ours: &str, other: &str) -> Self {
        Self::with(ours, other, &json!({}))
    }

    /// The same for both, with more in their configuration.
    pub fn saying(version: &str, more: &Value) -> Self {
        Self::with(version, version, more)
    }

    fn with(ours: &str, other: &str, more: &Value) -> Self {
        let tar = layer();
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        std::io::Write::write_all(&mut packed, &tar).unwrap();
        let layer = packed.finish().unwrap();
        let one = |architecture: &str, version: &str| one_image(architecture, version, more, &tar, &layer);
        let (amd64, arm64) = (one("amd64", ours), one("arm64", other));
        let line = |image: &OneImage, architecture: &str| {
            json!({ "mediaType": "application/vnd.oci.image.manifest.v1+json", "size": image.manifest.len(),
                "digest": Digest::of(&image.manifest), "platform": { "os": "linux", "architecture": architecture } })
        };
        let index = json!({ "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [line(&arm64, "arm64"), line(&amd64, "amd64")] });
        Self { layer, amd64, arm64, index: index.to_string().into_bytes() }
    }

    pub fn digest(&self) -> Digest {
        Digest::of(&self.index)
    }
}

fn one_image(architecture: &str, version: &str, more: &Value, tar: &[u8], layer: &[u8]) -> OneImage {
    let mut config = json!({ "architecture": architecture, "os": "linux",
        "config": { "Cmd": ["/bin/sh", "-c", "trap 'exit 0' TERM; sleep 1000000 & wait"],
            "Labels": { "org.opencontainers.image.version": version } },
        "rootfs": { "type": "layers", "diff_ids": [Digest::of(tar)] } });
    config["config"].as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let config = config.to_string().into_bytes();
    let blob = |kind: &str, bytes: &[u8]| json!({ "mediaType": kind, "size": bytes.len(), "digest": Digest::of(bytes) });
    let manifest = json!({ "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": blob("application/vnd.oci.image.config.v1+json", &config),
        "layers": [blob("application/vnd.oci.image.layer.v1.tar+gzip", layer)] });
    OneImage { manifest: manifest.to_string().into_bytes(), config }
}

fn layer() -> Vec<u8> {
    let root = tempfile::tempdir().unwrap();
    let bin = root.path().join("bin");
    std::fs::create_dir(&bin).unwrap();
    std::fs::copy("/bin/busybox", bin.join("busybox")).expect("busybox-static is needed");
    for name in ["sh", "sleep"] {
        std::os::unix::fs::symlink("busybox", bin.join(name)).unwrap();
    }
    // The same bytes each time.
    let tar = Command::new("tar")
        .args(["--sort=name", "--mtime=@0", "--owner=0", "--group=0", "-C"])
        .arg(root.path())
        .args(["-c", "."])
        .output();
    tar.expect("tar is needed").stdout
}

/// A token server: bob's password is `pw`, and whoever is not bob sees `open/...` only.
pub struct TokenServer {
    dir: TempDir,
    server: FakeRegistry,
}

impl TokenServer {
    pub async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=tokens"])
            .args(["-keyout", "key.pem", "-out", "cert.pem"])
            .current_dir(dir.path())
            .output();
        assert!(made.expect("openssl is needed").status.success());
        let folder = dir.path().to_owned();
        let server = FakeRegistry::start(move |seen| hand_out(&folder, seen)).await;
        Self { dir, server }
    }

    fn realm(&self) -> String {
        format!("http://{}/token", self.server.name())
    }

    fn certificate(&self) -> PathBuf {
        self.dir.path().join("cert.pem")
    }

    /// How often it was asked since the last time.
    pub fn asked(&self) -> usize {
        self.server.take_seen().len()
    }
}

fn hand_out(folder: &Path, seen: &Seen) -> Reply {
    let user = match seen.header("authorization") {
        None => "",
        Some(basic) if basic == format!("Basic {}", STANDARD.encode("bob:pw")) => "bob",
        Some(_) => return Reply::new(401, &[], r#"{"details":"incorrect username or password"}"#),
    };
    let url = url::Url::parse(&format!("http://localhost{}", seen.path)).unwrap();
    let scopes = url.query_pairs().filter(|(name, _)| name == "scope").map(|(_, scope)| scope.into_owned());
    let names = scopes.map(|scope| scope.split(':').nth(1).unwrap().to_owned());
    let access: Vec<Value> = names
        .filter(|name| user == "bob" || name.starts_with("open/"))
        .map(|name| json!({ "type": "repository", "name": name, "actions": ["pull"] }))
        .collect();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let pem = std::fs::read_to_string(folder.join("cert.pem")).unwrap();
    let x5c: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    let head = json!({ "typ": "JWT", "alg": "RS256", "x5c": [x5c] });
    let claims = json!({ "iss": "tokens", "sub": user, "aud": "registry", "exp": now + 300, "nbf": now - 10,
        "iat": now, "jti": now.to_string(), "access": access });
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(&head), part(&claims));
    let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(sign(folder, &signed)));
    Reply::new(200, &[], json!({ "token": token, "expires_in": 300 }).to_string())
}

fn sign(folder: &Path, text: &str) -> Vec<u8> {
    let mut openssl = Command::new("openssl")
        .args(["dgst", "-sha256", "-sign", "key.pem"])
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut openssl.stdin.take().unwrap(), text.as_bytes()).unwrap();
    openssl.wait_with_output().unwrap().stdout
}
