//! DNF 4 with a root and repositories of its own: programs of its name in front of the machine's lead it there.

use std::path::PathBuf;

use tempfile::TempDir;

use super::{shell, text};
use crate::support::ship::Rig;

const MAKE_ROOT: &str = r#"
cd "$1"; mkdir -p repo bare build state bin root/{etc/yum.repos.d,log,cache,var/lib/dnf}
R=$1/root
cat >bin/dnf <<SH
#!/bin/sh
exec /usr/bin/dnf --installroot=$R --releasever=1 --setopt=reposdir=$R/etc/yum.repos.d --setopt=varsdir=/nonexistent \
  --setopt=cachedir=$R/cache --setopt=persistdir=$R/var/lib/dnf --setopt=logdir=$R/log --setopt=gpgcheck=0 "\$@"
SH
cat >bin/rpm <<SH
#!/bin/sh
# RPM names files as if the root were the machine's own.
case " \$* " in *" -l "*) /usr/bin/rpm --root=$R "\$@" | sed "s|^/|$R/|"; exit ;; esac
exec /usr/bin/rpm --root=$R "\$@"
SH
chmod 755 bin/*
: >empty.status
printf 'Dir::State::status "%s/empty.status";\n' "$1" >apt.conf
"#;

const MAKE_PACKAGE: &str = r#"
cd "$1"; name=$3 version=$4 release=$5
printf 'Name: %s\nVersion: %s\nRelease: %s\nSummary: fixture\nLicense: MIT\nBuildArch: noarch\n%b\n%%description\nfixture\n%%install\nmkdir -p %%{buildroot}/usr/share\necho x > %%{buildroot}/usr/share/%s-%s-%s\n%%files\n/usr/share/%s-%s-%s\n' \
  $name $version $release "$6" $name $version $release $name $version $release >build/$name.spec
rpmbuild -bb --quiet --define "_topdir $1/build" --define "_rpmdir $1/$2" \
  --define '_rpmfilename %%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm' build/$name.spec >build/log 2>&1 || { cat build/log >&2; exit 1; }
"#;

const PUBLISH: &str = r#"
cd "$1"; for repo in repo bare; do createrepo_c -q $repo; done
modifyrepo_c updateinfo.xml repo/repodata >/dev/null
[ ! -e modules.yaml ] || modifyrepo_c --mdtype=modules modules.yaml repo/repodata >/dev/null
for repo in repo bare; do
  trust=gpgcheck=0; [ ! -e $repo.trust ] || trust=$(cat $repo.trust)
  printf '[%s]\nname=%s\nbaseurl=%s/%s\nmetadata_expire=0\n%s\n' $repo $repo "$2" $repo "$trust" \
    >root/etc/yum.repos.d/$repo.repo
done
"#;

const MAKE_KEY: &str = r#"
cd "$1"; mkdir -p keys; chmod 700 keys
G="gpg --batch --quiet --homedir $1/keys --pinentry-mode loopback --passphrase="
$G --quick-gen-key "$2@example.test" rsa2048 sign never; $G --armor --export "$2@example.test" >"$2.asc"
gpgconf --homedir "$1/keys" --kill gpg-agent
"#;

const SIGN: &str = r#"
cd "$1"; key=$2; shift 2
rpmsign --define "__gpg $(command -v gpg)" --define "_gpg_name $key@example.test" --define "_gpg_path $PWD/keys" --addsign "$@" >/dev/null 2>&1
gpgconf --homedir "$PWD/keys" --kill gpg-agent
"#;

/// One advisory of the repository.
pub struct Advisory {
    pub id: &'static str,
    pub kind: &'static str,
    pub severity: &'static str,
    pub cve: Option<&'static str>,
    /// Name, epoch, version, release.
    pub package: (&'static str, &'static str, &'static str, &'static str),
}

/// See the module.
pub struct RpmRoot {
    dir: TempDir,
}

impl RpmRoot {
    /// A root without packages, and two repositories without packages, of which only the first has advisories.
    pub fn empty() -> Self {
        let root = Self { dir: tempfile::tempdir().unwrap() };
        shell(MAKE_ROOT, &[&root.at("")]);
        root.advisories(&[]);
        root
    }

    /// A path below its folder.
    pub fn at(&self, path: &str) -> String {
        text(&self.dir.path().join(path)).trim_end_matches('/').to_owned()
    }

    /// Its folder.
    pub fn folder(&self) -> PathBuf {
        self.dir.path().to_owned()
    }

    /// Makes a package; `fields` are lines of its recipe, each with `\n` behind it.
    pub fn package(&self, repository: &str, name: &str, version: &str, release: &str, fields: &str) {
        shell(MAKE_PACKAGE, &[&self.at(""), repository, name, version, release, fields]);
    }

    /// Makes a key of this name.
    pub fn make_key(&self, key: &str) {
        shell(MAKE_KEY, &[&self.at(""), key]);
    }

    /// Signs packages of the first repository with a key.
    pub fn sign(&self, key: &str, files: &[&str]) {
        let files: Vec<String> = files.iter().map(|file| format!("repo/{file}.noarch.rpm")).collect();
        let files: Vec<&str> = files.iter().map(String::as_str).collect();
        shell(SIGN, &[&[self.at("").as_str(), key], files.as_slice()].concat());
    }

    /// Has packages of the first repository taken only if this key signed them, from when they are offered next.
    pub fn take_only_signed_with(&self, key: &str) {
        let trust = format!("gpgcheck=1\ngpgkey=file://{}\n", self.at(&format!("{key}.asc")));
        std::fs::write(self.at("repo.trust"), trust).unwrap();
    }

    /// Says which packages of the first repository are of which module and stream.
    pub fn modules(&self, yaml: &str) {
        std::fs::write(self.at("modules.yaml"), yaml).unwrap();
    }

    /// What the first repository says of its packages.
    pub fn advisories(&self, advisories: &[Advisory]) {
        let of = |advisory: &Advisory| {
            let (name, epoch, version, release) = advisory.package;
            let cve = advisory.cve.map(|id| format!("<reference type=\"cve\" id=\"{id}\" href=\"x\"/>"));
            format!(
                "<update type=\"{}\" status=\"final\" from=\"x\" version=\"1\"><id>{}</id><title>x</title>\
                 <issued date=\"2026-01-01 00:00:00\"/><severity>{}</severity><references>{}</references><pkglist>\
                 <collection short=\"x\"><package name=\"{name}\" version=\"{version}\" release=\"{release}\" \
                 epoch=\"{epoch}\" arch=\"noarch\"><filename>{name}-{version}-{release}.noarch.rpm</filename></package>\
                 </collection></pkglist></update>",
                advisory.kind,
                advisory.id,
                advisory.severity,
                cve.unwrap_or_default()
            )
        };
        let all: String = advisories.iter().map(of).collect();
        std::fs::write(self.at("updateinfo.xml"), format!("<updates>{all}</updates>")).unwrap();
    }

    /// Offers what was made, at this address.
    pub fn publish(&self, site: &str) {
        shell(PUBLISH, &[&self.at(""), site]);
    }

    /// The address of its repositories without a server.
    pub fn files(&self) -> String {
        format!("file://{}", self.at(""))
    }

    /// Installs packages.
    pub fn install(&self, packages: &[&str]) {
        shell(
            "dnf=$1; shift; \"$dnf\" -y -q install \"$@\"",
            &[&[self.at("bin/dnf").as_str()], packages].concat(),
        );
    }

    /// Makes a package whose script, in Lua, runs after it is unpacked; the root has no shell.
    pub fn package_that_runs(&self, name: &str, version: &str, script: &str) {
        self.package("repo", name, version, "1", &format!(r"\n%%post -p <lua>\n{script}\n"));
    }

    /// Offers what was made, without a server, as if nobody had looked before.
    pub fn offer(&self) {
        // DNF takes what it read in the same second for fresh.
        shell("rm -rf \"$1\"/root/cache/*", &[&self.at("")]);
        self.publish(&self.files());
    }

    /// What is installed, as `name version`, sorted.
    pub fn installed(&self) -> Vec<String> {
        let form = "%{NAME} %|EPOCH?{%{EPOCH}:}:{}|%{VERSION}-%{RELEASE}\n";
        let said = shell("\"$1\" -qa --qf \"$2\" | LC_ALL=C sort", &[&self.at("bin/rpm"), form]);
        // Keys of publishers are packages to RPM.
        let said = said.lines().filter(|line| !line.starts_with("gpg-pubkey "));
        said.map(str::to_owned).collect()
    }

    /// Packages that are there for others' sake.
    pub fn automatic(&self) -> Vec<String> {
        let list = "\"$1\" -q --disablerepo='*' repoquery --installed --qf '%{name} %{reason}' | sed -n 's/ dependency$//p' | sort";
        shell(list, &[&self.at("bin/dnf")]).lines().map(str::to_owned).collect()
    }

    /// What RPM finds wrong with the files of what is installed.
    pub fn audit(&self) -> String {
        shell("\"$1\" -Va --nodeps 2>/dev/null || true", &[&self.at("bin/rpm")])
    }

    /// Where programs are, those that see this root first.
    pub fn programs(&self) -> String {
        format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", self.at("bin"))
    }

    /// Verbs of a host that has this root and no APT.
    pub fn rig(&self) -> Rig {
        Rig::new("agent", self.dir.path().join("state").as_path())
            .env("PATH", self.programs())
            .env("APT_CONFIG", self.at("apt.conf"))
    }
}
