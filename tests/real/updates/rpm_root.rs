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
for repo in repo bare; do
  printf '[%s]\nname=%s\nbaseurl=%s/%s\nmetadata_expire=0\ngpgcheck=0\n' $repo $repo "$2" $repo >root/etc/yum.repos.d/$repo.repo
done
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
        said.lines().map(str::to_owned).collect()
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

    /// Verbs of a host that has this root and no APT.
    pub fn rig(&self) -> Rig {
        let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", self.at("bin"));
        Rig::new("agent", self.dir.path().join("state").as_path())
            .env("PATH", path)
            .env("APT_CONFIG", self.at("apt.conf"))
    }
}
