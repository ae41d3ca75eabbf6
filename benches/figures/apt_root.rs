//! A root of APT as large as a Debian host's: what is offered, what is installed, what is pending. Made of text; there are no
//! packages behind it, and no server.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// Packages that are offered, about as many as Debian 12 has.
const OFFERED: usize = 60_000;

/// See the module.
pub struct AptRoot {
    dir: TempDir,
}

impl AptRoot {
    /// With so many installed packages, of which the first `pending` have a newer version.
    pub fn new(installed: usize, pending: usize) -> Self {
        let root = Self { dir: tempfile::tempdir().unwrap() };
        for folder in [
            "etc/apt/apt.conf.d",
            "etc/apt/preferences.d",
            "var/lib/apt/lists/partial",
            "var/lib/dpkg/updates",
            "var/cache/apt/archives/partial",
        ] {
            fs::create_dir_all(root.at(folder)).unwrap();
        }
        let source = "deb [trusted=yes] http://127.0.0.1:9/debian stable main\n";
        fs::write(root.at("etc/apt/sources.list"), source).unwrap();
        let list =
            |end: &str| root.at("var/lib/apt/lists").join(format!("127.0.0.1:9_debian_dists_stable_{end}"));
        let release = "Origin: Debian\nLabel: Debian\nSuite: stable\nCodename: bookworm\n\
                       Architectures: amd64 all\nComponents: main\nDate: Thu, 01 Jan 2026 00:00:00 UTC\n";
        fs::write(list("Release"), release).unwrap();
        let version = |number| if number < pending { "1.0-2" } else { "1.0-1" };
        let offered: String = (0..OFFERED).map(|number| offered(number, version(number))).collect();
        fs::write(list("main_binary-amd64_Packages"), offered).unwrap();
        let status: String = (0..installed).map(|number| stanza(number, "1.0-1", true)).collect();
        fs::write(root.at("var/lib/dpkg/status"), status).unwrap();
        root.configure("");
        root
    }

    /// A path in it.
    pub fn at(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    /// The configuration that makes APT see this root only.
    pub fn config(&self) -> PathBuf {
        self.at("apt.conf")
    }

    /// Writes the configuration, with these lines at its end.
    pub fn configure(&self, more: &str) {
        let root = self.dir.path().display();
        let text = format!(
            "Dir \"{root}\"; Dir::State::status \"{root}/var/lib/dpkg/status\"; \
             Dir::Etc::parts \"{root}/etc/apt/apt.conf.d\"; Dir::Bin::dpkg \"/usr/bin/dpkg\"; \
             APT::Architecture \"amd64\"; APT::Sandbox::User \"root\"; Acquire::Languages \"none\";\n{more}"
        );
        fs::write(self.config(), text).unwrap();
    }

    /// Makes the list of packages another one for APT, so that no cache fits it.
    pub fn change_lists(&self) {
        let lists = fs::read_dir(self.at("var/lib/apt/lists")).unwrap().map(|file| file.unwrap().path());
        let is_list = |file: &PathBuf| file.to_str().unwrap().ends_with("_Packages");
        lists.filter(is_list).for_each(|file| add_a_line(&file));
    }
}

fn add_a_line(file: &Path) {
    use std::io::Write;
    writeln!(fs::File::options().append(true).open(file).unwrap()).unwrap();
}

fn stanza(number: usize, version: &str, is_installed: bool) -> String {
    let mut text = format!("Package: lib{number:05}-dev\n");
    if is_installed {
        text += "Status: install ok installed\nPriority: optional\nSection: libs\n";
    }
    write!(
        text,
        "Source: src{:05}\nVersion: {version}\nInstalled-Size: 123\n\
         Maintainer: Some Team <team@lists.example.org>\nArchitecture: amd64\n",
        number / 3
    )
    .unwrap();
    if number > 50 {
        // Only on those before it, so that what is installed has all it needs.
        let needed = (0..5).map(|nth| (number * 7 + nth * 13 + 1) % number);
        let needed: Vec<String> = needed.map(|needed| format!("lib{needed:05}-dev (>= 1.0)")).collect();
        writeln!(text, "Depends: {}", needed.join(", ")).unwrap();
    }
    writeln!(text, "Description: a library that does number {number} of many things").unwrap();
    if is_installed {
        text.push('\n');
    }
    text
}

fn offered(number: usize, version: &str) -> String {
    format!(
        "{}Homepage: https://example.org/lib{number}\nDescription-md5: {number:032x}\n\
         Tag: devel::library, role::devel-lib, implemented-in::c, uitoolkit::gtk\nSection: libs\n\
         Priority: optional\nFilename: pool/main/l/lib{number:05}/lib{number:05}-dev_{version}_amd64.deb\n\
         Size: {}\nMD5sum: {number:032x}\nSHA256: {number:064x}\n\n",
        stanza(number, version, false),
        1000 + number
    )
}
