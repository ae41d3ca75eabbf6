//! Images made here, because nothing can be pulled: one that idles, and one that behaves as `cloudflared`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bollard::Docker as Client;
use bollard::query_parameters::CreateImageOptionsBuilder;
use futures_util::TryStreamExt;

use super::host::project_file;

/// An image whose container does nothing until it is told to stop.
pub const APP_IMAGE: &str = "lightship-test/app:latest";
/// The stand-in under the name that the agent uses when nothing is set.
pub const CLOUDFLARED_IMAGE: &str = "cloudflare/cloudflared:2025.9.0";

/// Returns a tunnel token; `behave` is what the stand-in does with it, such as `ready_after_ms=200,never_ready`.
pub fn token(tunnel: &str, behave: &str) -> String {
    let secret = STANDARD.encode(format!("behave:{behave}"));
    STANDARD.encode(serde_json::json!({"a": "account", "t": tunnel, "s": secret}).to_string())
}

/// Loads both images into an Engine.
pub async fn load(client: &Client) {
    let idle = r#"["/bin/sh", "-c", "trap 'exit 0' TERM; sleep 1000000 & wait"]"#;
    import(client, APP_IMAGE, app_archive(), &format!("CMD {idle}")).await;
    // As the real image: the flag is part of the entry point.
    let entry = r#"ENTRYPOINT ["cloudflared", "--no-autoupdate"]"#;
    let changes = format!("ENV PATH=/usr/local/bin\n{entry}\nCMD [\"version\"]");
    import(client, CLOUDFLARED_IMAGE, cloudflared_archive(), &changes).await;
}

async fn import(client: &Client, image: &str, archive: &'static [u8], changes: &str) {
    let (repo, tag) = image.rsplit_once(':').unwrap();
    let changes = changes.lines().map(str::to_owned).collect();
    let options =
        CreateImageOptionsBuilder::default().from_src("-").repo(repo).tag(tag).changes(changes).build();
    let body = bollard::body_full(bytes::Bytes::from_static(archive));
    let made = client.create_image(Some(options), Some(body), None).try_collect::<Vec<_>>().await;
    made.unwrap_or_else(|error| panic!("image {image} cannot be made: {error}"));
}

fn app_archive() -> &'static [u8] {
    static ARCHIVE: OnceLock<Vec<u8>> = OnceLock::new();
    ARCHIVE.get_or_init(|| {
        let root = tempfile::tempdir().unwrap();
        let bin = root.path().join("bin");
        std::fs::create_dir(&bin).unwrap();
        std::fs::copy("/bin/busybox", bin.join("busybox")).expect("busybox-static is needed");
        for name in ["sh", "sleep", "httpd", "echo", "wget"] {
            std::os::unix::fs::symlink("busybox", bin.join(name)).unwrap();
        }
        archive(root.path())
    })
}

fn cloudflared_archive() -> &'static [u8] {
    static ARCHIVE: OnceLock<Vec<u8>> = OnceLock::new();
    ARCHIVE.get_or_init(|| {
        let root = tempfile::tempdir().unwrap();
        let bin = root.path().join("usr/local/bin");
        std::fs::create_dir_all(&bin).unwrap();
        std::fs::copy(static_program("cloudflared"), bin.join("cloudflared")).unwrap();
        archive(root.path())
    })
}

/// Builds a program of `tests/fixtures` once per state of its source; a container without files needs a static one.
pub fn static_program(name: &str) -> PathBuf {
    let source = project_file(&format!("tests/fixtures/{name}/main.rs"));
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let digest = {
        use sha2::Digest;
        hex::encode(sha2::Sha256::digest(std::fs::read(&source).unwrap()))
    };
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", &digest[..16]));
    if !program.exists() {
        let fresh = folder.path().join(name);
        let built = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
            .args([
                "--edition",
                "2024",
                "-O",
                "-C",
                "target-feature=+crt-static",
                "-C",
                "strip=symbols",
                "-o",
            ])
            .arg(&fresh)
            .arg(&source)
            .output()
            .expect("rustc is needed");
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        std::fs::rename(&fresh, &program).unwrap();
    }
    program
}

fn archive(root: &Path) -> Vec<u8> {
    let made = Command::new("tar").arg("-C").arg(root).args(["-c", "."]).output().expect("tar is needed");
    assert!(made.status.success());
    made.stdout
}
