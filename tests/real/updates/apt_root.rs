//! APT in a root of its own, with a repository of its own: no network, and the machine's packages are never seen.

use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use super::{shell, text};
use crate::support::ship::Rig;

const MAKE_ROOT: &str = r#"
cd "$1"; mkdir -p repo/pool/{stable,stable-security} state
R=$1/root
mkdir -p $R/etc/apt/{apt.conf.d,preferences.d,sources.list.d} $R/var/lib/apt/lists/partial \
  $R/var/cache/apt/archives/partial $R/var/lib/dpkg/{info,updates,triggers,alternatives,parts} $R/var/log/apt $R/run
: >$R/var/lib/dpkg/status; : >$R/var/lib/dpkg/available
cat >apt.conf <<CONF
Dir "$R"; Dir::State::status "$R/var/lib/dpkg/status"; Dir::Etc::parts "$R/etc/apt/apt.conf.d";
Dir::Bin::dpkg "/usr/bin/dpkg"; Dir::Log "$R/var/log/apt"; APT::Architecture "amd64"; APT::Sandbox::User "root";
Acquire::Languages "none"; Dpkg::Use-Pty "0"; APT::Machine-ID "912e43bd1c1d4ba481f9f8ccab25f9ee"; Acquire::Retries "0";
DPkg::Options { "--root=$R"; "--log=$R/var/log/dpkg.log"; "--force-script-chrootless"; "--force-unsafe-io"; };
CONF
chmod -R a+rX .
"#;

pub(super) const MAKE_PACKAGE: &str = r#"
repo=$1 suite=$2 name=$3 version=$4 fields=$5 postinst=$6
d=$(mktemp -d); mkdir -p $d/DEBIAN $d/usr/share/$name; echo $version >$d/usr/share/$name/version; chmod 755 $d
printf 'Package: %s\nVersion: %s\nArchitecture: all\nMaintainer: Lab <lab@example.test>\n%bDescription: fixture\n' \
  "$name" "$version" "$fields" >$d/DEBIAN/control
if [ -n "$postinst" ]; then printf '#!/bin/sh\n%s\n' "$postinst" >$d/DEBIAN/postinst; chmod 755 $d/DEBIAN/postinst; fi
dpkg-deb --root-owner-group -b $d $repo/pool/$suite/${name}_${version}_all.deb >/dev/null; rm -r $d
"#;

const MAKE_PACKAGE_WITH_TRIGGERS: &str = r#"
repo=$1 name=$2 version=$3 triggers=$4 script=$5
d=$(mktemp -d); mkdir -p $d/DEBIAN $d/usr/share/$name; echo $version >$d/usr/share/$name/version; chmod 755 $d
printf 'Package: %s\nVersion: %s\nArchitecture: all\nMaintainer: Lab <lab@example.test>\nDescription: fixture\n' \
  "$name" "$version" >$d/DEBIAN/control
echo "$triggers" >$d/DEBIAN/triggers
printf '#!/bin/sh\n%s\n' "$script" >$d/DEBIAN/postinst; chmod 755 $d/DEBIAN/postinst
dpkg-deb --root-owner-group -b $d $repo/pool/stable/${name}_${version}_all.deb >/dev/null; rm -r $d
"#;

const MAKE_PACKAGE_WITH_CONFIG: &str = r#"
repo=$1 name=$2 version=$3 content=$4
d=$(mktemp -d); mkdir -p $d/DEBIAN $d/etc; echo "$content" >$d/etc/$name.conf; chmod 755 $d
printf 'Package: %s\nVersion: %s\nArchitecture: all\nMaintainer: Lab <lab@example.test>\nDescription: fixture\n' \
  "$name" "$version" >$d/DEBIAN/control
echo /etc/$name.conf >$d/DEBIAN/conffiles
dpkg-deb --root-owner-group -b $d $repo/pool/stable/${name}_${version}_all.deb >/dev/null; rm -r $d
"#;

const MAKE_PACKAGE_OF: &str = r#"
repo=$1 arch=$2 name=$3 version=$4
d=$(mktemp -d); mkdir -p $d/DEBIAN $d/usr/lib/$arch; echo $version >$d/usr/lib/$arch/$name; chmod 755 $d
printf 'Package: %s\nVersion: %s\nArchitecture: %s\nMulti-Arch: same\nMaintainer: Lab <lab@example.test>\nDescription: fixture\n' \
  "$name" "$version" "$arch" >$d/DEBIAN/control
dpkg-deb --root-owner-group -b $d $repo/pool/stable/${name}_${version}_${arch}.deb >/dev/null; rm -r $d
"#;

pub(super) const PUBLISH: &str = r#"
cd "$1/repo"
for suite in stable stable-security; do
  [ $suite = stable ] && label=Lab || label=Lab-Security
  b=dists/$suite/main/binary-amd64; mkdir -p $b
  apt-ftparchive packages pool/$suite >$b/Packages; gzip -9nkf $b/Packages
  i=dists/$suite/main/binary-i386; mkdir -p $i; cp $b/Packages* $i
  apt-ftparchive -o APT::FTPArchive::Release::Origin=Lab -o APT::FTPArchive::Release::Label=$label \
    -o APT::FTPArchive::Release::Suite=$suite -o APT::FTPArchive::Release::Codename=lab \
    -o APT::FTPArchive::Release::Architectures='amd64 i386 all' -o APT::FTPArchive::Release::Components=main \
    release dists/$suite >../Release
  mv ../Release dists/$suite/Release
done
chmod -R a+rX .
"#;

const SIGN: &str = r#"
cd "$1"; mkdir -p keys; chmod 700 keys
G="gpg --batch --quiet --homedir $1/keys --pinentry-mode loopback --passphrase="
[ -e lab.gpg ] || { $G --quick-gen-key lab@example.test ed25519 sign never; $G --export >lab.gpg; }
for suite in stable stable-security; do
  rm -f repo/dists/$suite/InRelease; $G --clearsign -o repo/dists/$suite/InRelease repo/dists/$suite/Release
done
gpgconf --homedir "$1/keys" --kill gpg-agent; chmod -R a+rX repo lab.gpg
"#;

/// See the module.
pub struct AptRoot {
    dir: TempDir,
}

impl AptRoot {
    /// An empty root and an empty repository.
    pub fn empty() -> Self {
        let root = Self { dir: tempfile::tempdir().unwrap() };
        shell("chmod 755 \"$1\"", &[&root.at("")]);
        shell(MAKE_ROOT, &[&root.at("")]);
        root.sources(&format!("file:{}", root.at("repo")));
        root
    }

    /// A root in which version 1.0 of each of these is installed, and the repository has no newer one.
    pub fn with(packages: &[&str]) -> Self {
        let root = Self::empty();
        packages.iter().for_each(|name| root.package(name, "1.0", ""));
        root.publish();
        root.apt(&["update"]);
        let wanted: Vec<String> = packages.iter().map(|name| format!("{name}=1.0")).collect();
        let wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
        root.apt(&[&["install", "-y", "--allow-unauthenticated"], wanted.as_slice()].concat());
        root
    }

    /// A path below its folder.
    pub fn at(&self, path: &str) -> String {
        text(&self.dir.path().join(path)).trim_end_matches('/').to_owned()
    }

    /// The configuration that makes APT see this root only.
    pub fn config(&self) -> PathBuf {
        self.dir.path().join("apt.conf")
    }

    /// Where its lists of packages are.
    pub fn lists(&self) -> PathBuf {
        self.dir.path().join("root/var/lib/apt/lists")
    }

    /// Makes a package; `fields` are lines of its control file, each with `\n` behind it.
    pub fn package(&self, name: &str, version: &str, fields: &str) {
        shell(MAKE_PACKAGE, &[&self.at("repo"), "stable", name, version, fields, ""]);
    }

    /// Makes a package of the suite of security updates.
    pub fn security_package(&self, name: &str, version: &str) {
        shell(MAKE_PACKAGE, &[&self.at("repo"), "stable-security", name, version, "", ""]);
    }

    /// Makes a package that runs something when it is configured.
    pub fn package_that_runs(&self, name: &str, version: &str, script: &str) {
        shell(MAKE_PACKAGE, &[&self.at("repo"), "stable", name, version, "", script]);
    }

    /// Makes a package with a file of triggers (`deb-triggers(5)`) and a script that is run for them, too.
    pub fn package_with_triggers(&self, name: &str, version: &str, triggers: &str, script: &str) {
        shell(MAKE_PACKAGE_WITH_TRIGGERS, &[&self.at("repo"), name, version, triggers, script]);
    }

    /// Has dpkg write as it does on a host: what it unpacks is on the disk before it counts as unpacked.
    pub fn sync_what_is_unpacked(&self) {
        let config = std::fs::read_to_string(self.config()).unwrap();
        std::fs::write(self.config(), config.replace("\"--force-unsafe-io\"; ", "")).unwrap();
    }

    /// Makes a package with a configuration file of this content.
    pub fn package_with_config(&self, name: &str, version: &str, content: &str) {
        shell(MAKE_PACKAGE_WITH_CONFIG, &[&self.at("repo"), name, version, content]);
    }

    /// Makes a package of one architecture that may stand beside itself in another one.
    pub fn package_of(&self, arch: &str, name: &str, version: &str) {
        shell(MAKE_PACKAGE_OF, &[&self.at("repo"), arch, name, version]);
    }

    /// Lets packages of another architecture in, too.
    pub fn add_architecture(&self, arch: &str) {
        shell("dpkg --root=\"$1\" --add-architecture \"$2\"", &[&self.at("root"), arch]);
        let config = std::fs::read_to_string(self.config()).unwrap();
        let more = format!("{config}APT::Architectures {{ \"amd64\"; \"{arch}\"; }};\n");
        std::fs::write(self.config(), more).unwrap();
    }

    /// What is installed, as `name version state`, sorted.
    pub fn installed(&self) -> Vec<String> {
        let admin = format!("--admindir={}", self.at("root/var/lib/dpkg"));
        let form = "${Package} ${Version} ${db:Status-Abbrev}\n";
        let ended = Command::new("dpkg-query").args([&admin, "-W", "-f", form]).output().unwrap();
        let said = String::from_utf8(ended.stdout).unwrap();
        said.lines().map(|line| line.trim().to_owned()).filter(|line| !line.ends_with(" un")).collect()
    }

    /// Packages that are there for others' sake.
    pub fn automatic(&self) -> Vec<String> {
        let ended = self.program("apt-mark").arg("showauto").output().unwrap();
        String::from_utf8(ended.stdout).unwrap().lines().map(str::to_owned).collect()
    }

    /// What dpkg finds wrong.
    pub fn audit(&self) -> String {
        let root = format!("--root={}", self.at("root"));
        let ended = Command::new("dpkg").args([&root, "--audit"]).output().unwrap();
        String::from_utf8(ended.stdout).unwrap()
    }

    /// Offers what was made.
    pub fn publish(&self) {
        shell(PUBLISH, &[&self.at("")]);
    }

    /// Signs what it offers, with a key of its own, and has it taken only with that signature.
    pub fn sign(&self) {
        shell(SIGN, &[&self.at("")]);
        let signed = format!("deb [signed-by={}] file:{}", self.at("lab.gpg"), self.at("repo"));
        let lines = ["stable", "stable-security"].map(|suite| format!("{signed} {suite} main\n"));
        std::fs::write(self.at("root/etc/apt/sources.list"), lines.concat()).unwrap();
    }

    /// Where it takes its packages from.
    pub fn sources(&self, site: &str) {
        let lines =
            ["stable", "stable-security"].map(|suite| format!("deb [trusted=yes] {site} {suite} main\n"));
        std::fs::write(self.at("root/etc/apt/sources.list"), lines.concat()).unwrap();
    }

    /// Runs `apt-get`, which must work.
    pub fn apt(&self, args: &[&str]) {
        let ended = self.program("apt-get").args(args).output().unwrap();
        assert!(ended.status.success(), "{args:?}: {}", String::from_utf8_lossy(&ended.stderr));
    }

    /// A program that sees this root.
    pub fn program(&self, name: &str) -> Command {
        let mut command = Command::new(name);
        command
            .env("APT_CONFIG", self.config())
            .env("DEBIAN_FRONTEND", "noninteractive")
            .env("LC_ALL", "C.UTF-8");
        command
    }

    /// Verbs of a host that has this root.
    pub fn rig(&self) -> Rig {
        Rig::new("agent", self.dir.path().join("state").as_path()).env("APT_CONFIG", text(&self.config()))
    }
}
