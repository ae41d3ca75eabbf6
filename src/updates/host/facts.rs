//! Facts out of the texts in which the system tells them.

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};

/// What `os-release` says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Release {
    pub(super) version: Option<String>,
    pub(super) id: Option<String>,
}

/// Reads `os-release`.
pub(super) fn release(text: &str) -> Release {
    let value = |name: &str| {
        let line = text.lines().find_map(|line| line.trim().strip_prefix(name)?.strip_prefix('='))?;
        word(line.trim_matches(['"', '\'']))
    };
    let name = value("PRETTY_NAME").or_else(|| match (value("NAME"), value("VERSION_ID")) {
        (Some(name), Some(version)) => Some(format!("{name} {version}")),
        (name, _) => name,
    });
    Release { version: name, id: value("ID") }
}

/// A text without blanks around it, if there is any.
pub(super) fn word(text: &str) -> Option<String> {
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// Name and number of processors, from `/proc/cpuinfo`.
pub(super) fn cpu(text: &str) -> (Option<String>, Option<u32>) {
    let fields =
        || text.lines().filter_map(|line| line.split_once(':')).map(|(name, value)| (name.trim(), value));
    let field = |wanted: &str| fields().find(|(name, _)| *name == wanted).and_then(|(_, value)| word(value));
    let model = field("model name").or_else(|| field("Model")).or_else(|| field("Hardware"));
    let count = fields().filter(|(name, _)| *name == "processor").count();
    (model, u32::try_from(count).ok().filter(|count| *count > 0))
}

/// Bytes of memory.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Memory {
    pub(super) total: Option<u64>,
    pub(super) used: Option<u64>,
}

/// Reads `/proc/meminfo`. What can be taken back at once is not in use.
pub(super) fn memory(text: &str) -> Memory {
    let bytes = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
    };
    let total = bytes("MemTotal");
    let used = total.zip(bytes("MemAvailable")).map(|(total, available)| total.saturating_sub(available));
    Memory { total, used }
}

/// When the machine was started, from `/proc/stat`.
pub(super) fn booted_at(text: &str) -> Option<DateTime<Utc>> {
    let seconds = text.lines().find_map(|line| line.strip_prefix("btime "))?;
    DateTime::from_timestamp(seconds.trim().parse().ok()?, 0)
}

/// Reads `/proc/loadavg`.
pub(super) fn load(text: &str) -> Option<[f64; 3]> {
    let mut numbers = text.split_whitespace().map(|number| number.parse().ok());
    Some([numbers.next()??, numbers.next()??, numbers.next()??])
}

/// As Go and Docker call it.
pub(super) fn architecture(name: &str) -> &str {
    match name {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        name => name,
    }
}

/// What tells a machine from others without being its id: that one is for the machine alone.
pub(super) fn hashed(id: &str) -> Option<String> {
    let id = word(id).filter(|id| id != "uninitialized")?;
    let hash = Sha256::new().chain_update(b"lightship machine id\n").chain_update(id).finalize();
    Some(hex::encode(&hash[..16]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_read_however_they_are_written() {
        for (text, version, id) in [
            (
                "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nNAME=\"Debian\"\nID=debian\n",
                Some("Debian GNU/Linux 12 (bookworm)"),
                Some("debian"),
            ),
            (
                "NAME='Rocky Linux'\nVERSION_ID=\"9.4\"\nID=\"rocky\"\n",
                Some("Rocky Linux 9.4"),
                Some("rocky"),
            ),
            ("NAME=Arch", Some("Arch"), None),
            ("ID=\n", None, None),
            ("", None, None),
        ] {
            let read = release(text);
            assert_eq!((read.version.as_deref(), read.id.as_deref()), (version, id), "{text}");
        }
    }

    #[test]
    fn processors_are_named_and_counted() {
        let x86 = "processor\t: 0\nmodel name\t: AMD EPYC\n\nprocessor\t: 1\nmodel name\t: AMD EPYC\n";
        assert_eq!(cpu(x86), (Some("AMD EPYC".into()), Some(2)));
        let arm = "processor\t: 0\nBogoMIPS\t: 1\n\nHardware\t: BCM2835\nModel\t\t: Raspberry Pi 4\n";
        assert_eq!(cpu(arm), (Some("Raspberry Pi 4".into()), Some(1)));
        assert_eq!(cpu(""), (None, None));
    }

    #[test]
    fn memory_that_can_be_taken_back_is_not_in_use() {
        let text = "MemTotal:        2048 kB\nMemFree:  1 kB\nMemAvailable:    1024 kB\n";
        assert_eq!(memory(text), Memory { total: Some(2 * 1024 * 1024), used: Some(1024 * 1024) });
        assert_eq!(memory("MemTotal: many kB\n"), Memory::default());
    }

    #[test]
    fn times_and_load_are_numbers_or_absent() {
        assert_eq!(booted_at("cpu 1\nbtime 1700000000\n").unwrap().timestamp(), 1_700_000_000);
        assert_eq!(booted_at("btime soon"), None);
        assert_eq!(load("0.50 1.25 2.00 1/100 999\n"), Some([0.5, 1.25, 2.0]));
        assert_eq!(load("0.50 x"), None);
    }

    #[test]
    fn a_machine_is_told_from_others_without_its_id() {
        let id = "912e43bd1c1d4ba481f9f8ccab25f9ee";
        let hash = hashed(&format!("{id}\n")).unwrap();
        assert!(hash.len() == 32 && !hash.contains(id));
        assert_eq!(hashed(id), Some(hash.clone()));
        assert_ne!(hashed("another"), Some(hash));
        assert_eq!((hashed("\n"), hashed("uninitialized\n")), (None, None));
    }
}
