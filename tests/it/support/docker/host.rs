//! One host of its own for one `dockerd`: namespaces, a cable to the test, a folder.

use std::io::Read;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::{Instant, sleep};

/// `$1` is the folder, `$2` the name of the control groups. The inner shell is process 1 of the namespace: when
/// our end of its input closes, be it by our own end, it ends, and the kernel ends everything else in there.
/// (A frozen container has to be thawed first: cgroup v1 lets nobody die in his sleep.) Then the outer one
/// clears up.
const KEEPER: &str = r#"trap "" INT TERM HUP
unshare --net --mount --pid --fork --mount-proc bash -c '
  ip link set lo up; echo ready; read end
  for state in /sys/fs/cgroup/freezer/"$1"/*/freezer.state; do echo THAWED > "$state"; done
' inner "$2"
find /sys/fs/cgroup -depth -type d -path "*/$2*" -exec rmdir {} +
rm -rf "$1""#;

const DEADLINE: Duration = Duration::from_secs(120);

/// A host with at most one `dockerd`.
pub struct Host {
    dir: PathBuf,
    keeper: Child,
    /// Held open for as long as the host is to live.
    alive: Option<ChildStdin>,
    init: u32,
    slot: u8,
    daemon: Option<Child>,
}

impl Host {
    /// Makes the namespaces and the network cable; `dockerd` is not started.
    pub fn make() -> Self {
        let dir = TempDir::with_prefix("lightship-docker-").unwrap().keep();
        let mut keeper = Command::new("bash")
            .args(["-c", KEEPER, "keeper"])
            .arg(&dir)
            .arg(dir.file_name().unwrap())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Whoever reads the test's output must not have to wait for the clearing up.
            .stderr(Stdio::null())
            .spawn()
            .expect("bash, util-linux and root are needed");
        let alive = keeper.stdin.take().unwrap();
        let mut ready = [0; 6];
        let out = keeper.stdout.as_mut().unwrap();
        out.read_exact(&mut ready).expect("namespaces can be made by root only");
        let init = only_child(only_child(keeper.id()));
        let slot = lay_cable(init);
        Self { dir, keeper, alive: Some(alive), init, slot, daemon: None }
    }

    pub fn socket(&self) -> PathBuf {
        self.dir.join("docker.sock")
    }

    pub fn gateway(&self) -> IpAddr {
        near_end(self.slot).into()
    }

    pub fn network(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/ns/net", self.init))
    }

    pub fn has_daemon(&self) -> bool {
        self.daemon.is_some()
    }

    /// Starts `dockerd` and waits until it answers.
    pub async fn start_daemon(&mut self) {
        let log = std::fs::File::options().create(true).append(true).open(self.dir.join("log")).unwrap();
        let (base, bip) = (pool(self.slot), default_bridge(self.slot));
        let daemon = self
            .inside()
            .arg("dockerd")
            .arg("--data-root")
            .arg(self.dir.join("data"))
            .arg("--exec-root")
            .arg(self.dir.join("exec"))
            .arg("--pidfile")
            .arg(self.dir.join("pid"))
            .arg(format!("--host=unix://{}", self.socket().display()))
            .arg("--cgroup-parent")
            .arg(self.dir.file_name().unwrap())
            .args(["--iptables=false", "--ip-masq=false", "--shutdown-timeout=2"])
            // Registries of tests stand at the near end of the cable, without encryption.
            .arg("--insecure-registry=10.207.0.0/16")
            .arg(format!("--default-address-pool=base={base}/21,size=26"))
            .arg(format!("--bip={bip}/24"))
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("util-linux is needed");
        self.daemon = Some(daemon);
        let due = Instant::now() + DEADLINE;
        while !self.answers().await {
            let log = || std::fs::read_to_string(self.dir.join("log")).unwrap_or_default();
            let ended = self.daemon.as_mut().unwrap().try_wait().unwrap();
            assert!(
                ended.is_none() && Instant::now() < due,
                "dockerd (docker.io) does not come up:\n{}",
                log()
            );
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Ends `dockerd` with a signal and waits for its end.
    pub async fn stop_daemon(&mut self, signal: &str) {
        let Some(mut daemon) = self.daemon.take() else { return };
        let pid = std::fs::read_to_string(self.dir.join("pid")).unwrap();
        let sent = self.inside().args(["kill", &format!("-{signal}"), pid.trim()]).status().unwrap();
        assert!(sent.success());
        let due = Instant::now() + DEADLINE;
        while daemon.try_wait().unwrap().is_none() {
            assert!(Instant::now() < due, "dockerd does not end");
            sleep(Duration::from_millis(20)).await;
        }
        if signal == "KILL" {
            // A service manager would remove these; the next start refuses to come up beside them.
            let _ = std::fs::remove_file(self.dir.join("pid"));
        }
    }

    async fn answers(&self) -> bool {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let Ok(mut stream) = tokio::net::UnixStream::connect(self.socket()).await else { return false };
        let mut answer = String::new();
        stream.write_all(b"GET /_ping HTTP/1.0\r\n\r\n").await.is_ok()
            && stream.read_to_string(&mut answer).await.is_ok()
            && answer.ends_with("OK")
    }

    /// A program started inside the host.
    fn inside(&self) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.init.to_string(), "--net", "--mount", "--pid"]);
        command.stdin(Stdio::null());
        command
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.alive = None;
        let _ = self.keeper.wait();
        if let Some(mut daemon) = self.daemon.take() {
            let _ = daemon.wait();
        }
    }
}

fn only_child(of: u32) -> u32 {
    let listed = std::fs::read_to_string(format!("/proc/{of}/task/{of}/children")).unwrap();
    listed.trim().parse().expect("one child")
}

/// Connects the namespace of `init` with ours; the route that only one can add claims the addresses.
fn lay_cable(init: u32) -> u8 {
    let name = format!("lst{init}");
    let (init_ns, peer) = (init.to_string(), "uplink");
    run("ip", &["link", "add", &name, "type", "veth", "peer", "name", peer, "netns", &init_ns]);
    run("ip", &["link", "set", &name, "up"]);
    let slot = (0..=255)
        .find(|&slot| try_run("ip", &["route", "add", &format!("{}/20", pool(slot)), "dev", &name]))
        .expect("a free range of addresses");
    let (near, far) = (near_end(slot), Ipv4Addr::from(u32::from(near_end(slot)) + 1));
    run("ip", &["addr", "add", &format!("{near}/30"), "dev", &name]);
    run("ip", &["route", "replace", &format!("{}/20", pool(slot)), "via", &far.to_string()]);
    let inside = |args: &[&str]| {
        let enter = ["--target", &init_ns, "--net", "ip"];
        run("nsenter", &[&enter[..], args].concat());
    };
    inside(&["addr", "add", &format!("{far}/30"), "dev", peer]);
    inside(&["link", "set", peer, "up"]);
    inside(&["route", "add", "default", "via", &near.to_string()]);
    slot
}

/// 10.208.0.0/12 in slices of /20: the first half for networks, the last part for the default bridge.
fn pool(slot: u8) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 208, 0, 0)) + (u32::from(slot) << 12))
}

fn default_bridge(slot: u8) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(pool(slot)) + (15 << 8) + 1)
}

fn near_end(slot: u8) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 207, 0, 0)) + (u32::from(slot) << 2) + 1)
}

fn run(program: &str, args: &[&str]) {
    let output = Command::new(program).args(args).output().expect("iproute2 and util-linux are needed");
    assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn try_run(program: &str, args: &[&str]) -> bool {
    Command::new(program).args(args).output().expect("iproute2 is needed").status.success()
}

/// Where a file of the project is.
pub fn project_file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}
