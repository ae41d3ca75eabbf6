//! Makes a folder of packages a repository: DNF installs exactly from it, and needs no other program for it.
//!
//! Only what the solver asks for is written: what packages are, have, need, and what they stand in the way of.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use sha2::{Digest, Sha256};

/// What [`Described::read`] reads; the name is the last field, because anything may be in one.
pub(super) const FORMAT: &str = "package|%|EPOCH?{%{EPOCH}}:{0}||%{VERSION}|%{RELEASE}|%{ARCH}|%{SIZE}|%{NAME}\n\
    [provides|%{PROVIDEFLAGS}|%{PROVIDEVERSION}|%{PROVIDENAME}\n]\
    [requires|%{REQUIREFLAGS}|%{REQUIREVERSION}|%{REQUIRENAME}\n]\
    [conflicts|%{CONFLICTFLAGS}|%{CONFLICTVERSION}|%{CONFLICTNAME}\n]\
    [obsoletes|%{OBSOLETEFLAGS}|%{OBSOLETEVERSION}|%{OBSOLETENAME}\n]\
    [file|%{FILENAMES}\n]";

const RELATIONS: [&str; 4] = ["provides", "requires", "conflicts", "obsoletes"];

/// A package by its own words.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Described {
    name: String,
    epoch: String,
    version: String,
    release: String,
    arch: String,
    size: u64,
    /// Which relation, flags, version, name.
    relations: Vec<(&'static str, u32, String, String)>,
    files: Vec<String>,
}

impl Described {
    /// None if it is no package.
    pub(super) fn read(text: &str) -> Option<Self> {
        let mut found = Self::default();
        for line in text.lines() {
            let (word, rest) = line.split_once('|')?;
            if word == "package" {
                let fields: Vec<&str> = rest.splitn(6, '|').collect();
                let [epoch, version, release, arch, size, name] = fields[..] else { return None };
                found.epoch = epoch.into();
                found.version = version.into();
                found.release = release.into();
                found.arch = arch.into();
                found.size = size.parse().unwrap_or(0);
                found.name = name.into();
            } else if word == "file" {
                found.files.push(rest.into());
            } else if let Some(relation) = RELATIONS.into_iter().find(|relation| *relation == word) {
                let fields: Vec<&str> = rest.splitn(3, '|').collect();
                let [flags, version, name] = fields[..] else { return None };
                // What RPM itself must be able to do no package provides.
                if name != "(none)" && !name.starts_with("rpmlib(") {
                    let flags = flags.parse().unwrap_or(0);
                    found.relations.push((relation, flags, version.into(), name.into()));
                }
            }
        }
        (!found.name.is_empty()).then_some(found)
    }

    /// Which package it is, as `t-lib-1:1.1-1.noarch`.
    pub(super) fn nevra(&self) -> String {
        let evr = super::evr::Evr::new(&self.epoch, &self.version, &self.release);
        format!("{}-{}.{}", self.name, evr.text(), self.arch)
    }

    /// Which packages it takes the place of, by their names.
    pub(super) fn replaces(&self, name: &str) -> bool {
        self.relations.iter().any(|(relation, _, _, other)| *relation == "obsoletes" && other == name)
    }
}

/// A package's file in the folder.
pub(super) struct Offered<'a> {
    pub(super) file: &'a str,
    pub(super) bytes: u64,
    pub(super) sha256: &'a str,
    pub(super) described: &'a Described,
}

/// Writes the description of a repository into its folder.
pub(super) fn write(folder: &Path, all: &[Offered<'_>]) -> std::io::Result<()> {
    let data = folder.join("repodata");
    fs::create_dir_all(&data)?;
    let primary = primary(all);
    fs::write(data.join("primary.xml"), &primary)?;
    let digest = hex::encode(Sha256::digest(&primary));
    fs::write(
        data.join("repomd.xml"),
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
             <repomd xmlns=\"http://linux.duke.edu/metadata/repo\"><revision>1</revision><data type=\"primary\">\
             <checksum type=\"sha256\">{digest}</checksum><open-checksum type=\"sha256\">{digest}</open-checksum>\
             <location href=\"repodata/primary.xml\"/></data></repomd>\n"
        ),
    )
}

fn primary(all: &[Offered<'_>]) -> String {
    let mut xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<metadata xmlns=\"http://linux.duke.edu/metadata/common\" \
         xmlns:rpm=\"http://linux.duke.edu/metadata/rpm\" packages=\"{}\">\n",
        all.len()
    );
    for Offered { file, bytes, sha256, described } in all {
        let Described { name, epoch, version, release, arch, size, relations, files } = described;
        let [name, epoch, version, release, arch] =
            [name, epoch, version, release, arch].map(|word| quoted(word));
        let (file, sha256) = (quoted(file), quoted(sha256));
        // Writing to a text cannot fail.
        let _ = write!(
            xml,
            "<package type=\"rpm\"><name>{name}</name><arch>{arch}</arch>\
             <version epoch=\"{epoch}\" ver=\"{version}\" rel=\"{release}\"/>\
             <checksum type=\"sha256\" pkgid=\"YES\">{sha256}</checksum><summary/><description/><packager/><url/>\
             <time file=\"0\" build=\"0\"/><size package=\"{bytes}\" installed=\"{size}\" archive=\"{size}\"/>\
             <location href=\"{file}\"/><format>"
        );
        for relation in RELATIONS {
            let _ = write!(xml, "<rpm:{relation}>");
            for (_, flags, version, name) in relations.iter().filter(|(of, ..)| *of == relation) {
                let _ = write!(xml, "<rpm:entry name=\"{}\"{}/>", quoted(name), compared(*flags, version));
            }
            let _ = write!(xml, "</rpm:{relation}>");
        }
        for file in files {
            let _ = write!(xml, "<file>{}</file>", quoted(file));
        }
        xml += "</format></package>\n";
    }
    xml + "</metadata>\n"
}

/// RPM's flags and version as attributes: 2 is less, 4 greater, 8 equal.
fn compared(flags: u32, version: &str) -> String {
    let word = match flags & 14 {
        2 => "LT",
        4 => "GT",
        8 => "EQ",
        10 => "LE",
        12 => "GE",
        _ => return String::new(),
    };
    let (epoch, rest) = version.split_once(':').unwrap_or(("0", version));
    let (version, release) = rest.split_once('-').unwrap_or((rest, ""));
    let release = if release.is_empty() { String::new() } else { format!(" rel=\"{}\"", quoted(release)) };
    format!(" flags=\"{word}\" epoch=\"{}\" ver=\"{}\"{release}", quoted(epoch), quoted(version))
}

fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => quoted += "&amp;",
            '<' => quoted += "&lt;",
            '>' => quoted += "&gt;",
            '"' => quoted += "&quot;",
            // There is no way to write them in XML.
            '\0'..='\u{1f}' => quoted.push('\u{fffd}'),
            letter => quoted.push(letter),
        }
    }
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "package|1|1.1|1|noarch|7|t-app\nprovides|8|1:1.1-1|t-app\nrequires|12|1:1.1|t-lib\n\
        requires|0||(a or b)\nrequires|16777226|4.6.0-1|rpmlib(FileDigests)\nconflicts|0|(none)|(none)\n\
        obsoletes|2|2|t-old\nfile|/usr/share/a & \"b\"\n";

    #[test]
    fn a_package_is_described_by_its_own_words() {
        let described = Described::read(SAID).unwrap();
        assert_eq!(described.nevra(), "t-app-1:1.1-1.noarch");
        assert!(described.replaces("t-old") && !described.replaces("t-lib"));
        let xml = primary(&[Offered { file: "a.rpm", bytes: 9, sha256: "ff", described: &described }]);
        for part in [
            "<version epoch=\"1\" ver=\"1.1\" rel=\"1\"/>",
            "<size package=\"9\" installed=\"7\" archive=\"7\"/><location href=\"a.rpm\"/>",
            "<rpm:provides><rpm:entry name=\"t-app\" flags=\"EQ\" epoch=\"1\" ver=\"1.1\" rel=\"1\"/></rpm:provides>",
            "<rpm:requires><rpm:entry name=\"t-lib\" flags=\"GE\" epoch=\"1\" ver=\"1.1\"/><rpm:entry name=\"(a or b)\"/></rpm:requires>",
            "<rpm:conflicts></rpm:conflicts>",
            "<rpm:obsoletes><rpm:entry name=\"t-old\" flags=\"LT\" epoch=\"0\" ver=\"2\"/></rpm:obsoletes>",
            "<file>/usr/share/a &amp; &quot;b&quot;</file>",
        ] {
            assert!(xml.contains(part), "{part} in {xml}");
        }
        assert_eq!(Described::read(""), None);
        assert_eq!(Described::read("package|0|1"), None);
    }
}
