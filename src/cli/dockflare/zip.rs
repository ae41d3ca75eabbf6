//! Reads the few files of a backup out of its zip file, within bounds.
//!
//! DockFlare writes plain files, stored or deflated; whatever else a zip file may hold is refused.

use std::io::Read;

use flate2::Crc;
use flate2::read::DeflateDecoder;

/// Ends the list of what is in it.
const END: &[u8] = b"PK\x05\x06";
const ENTRY: &[u8] = b"PK\x01\x02";
const FILE: &[u8] = b"PK\x03\x04";
/// Bytes of the end, without its remark.
const END_LENGTH: usize = 22;
/// Most bytes of that remark.
const MAX_REMARK: usize = 0xffff;
/// Most files that are looked through.
const MOST_FILES: usize = 1_000;
const CUT_OFF: &str = "it is cut off, or no zip file";

/// True if these bytes may be a zip file.
pub(super) fn is_zip(bytes: &[u8]) -> bool {
    bytes.starts_with(b"PK")
}

/// Returns the file of this name, at most `limit` bytes of it; none if there is none. Folders before the name do not count.
pub(super) fn find(zip: &[u8], name: &str, limit: usize) -> Result<Option<Vec<u8>>, String> {
    let from = zip.len().saturating_sub(END_LENGTH + MAX_REMARK);
    let tail = zip.get(from..).unwrap_or_default();
    let end = tail.windows(END.len()).rposition(|window| window == END).ok_or(CUT_OFF)? + from;
    let (count, mut at) = (number(zip, end + 10, 2)?, number(zip, end + 16, 4)?);
    if count > MOST_FILES {
        return Err(format!("it holds more than {MOST_FILES} files, so it is no backup of DockFlare"));
    }
    for _ in 0..count {
        let entry = Entry::read(zip, at)?;
        if entry.name.rsplit('/').next() == Some(name) {
            return entry.unpack(zip, limit).map(Some).map_err(|reason| format!("`{name}` in it: {reason}"));
        }
        at = entry.next;
    }
    Ok(None)
}

/// What the list says of a file.
struct Entry {
    name: String,
    is_encrypted: bool,
    method: usize,
    crc: usize,
    packed: usize,
    length: usize,
    place: usize,
    next: usize,
}

impl Entry {
    fn read(zip: &[u8], at: usize) -> Result<Self, String> {
        if part(zip, at, ENTRY.len())? != ENTRY {
            return Err(CUT_OFF.into());
        }
        let name_length = number(zip, at + 28, 2)?;
        let more = number(zip, at + 30, 2)? + number(zip, at + 32, 2)?;
        Ok(Self {
            name: String::from_utf8_lossy(part(zip, at + 46, name_length)?).into_owned(),
            is_encrypted: number(zip, at + 8, 2)? & 1 == 1,
            method: number(zip, at + 10, 2)?,
            crc: number(zip, at + 16, 4)?,
            packed: number(zip, at + 20, 4)?,
            length: number(zip, at + 24, 4)?,
            place: number(zip, at + 42, 4)?,
            next: at + 46 + name_length + more,
        })
    }

    fn unpack(&self, zip: &[u8], limit: usize) -> Result<Vec<u8>, String> {
        if self.is_encrypted {
            return Err(
                "it is encrypted; DockFlare's own backups are not, so unpack it and name the folder".into()
            );
        }
        if self.length > limit {
            return Err(format!("it is larger than {} MiB", limit >> 20));
        }
        if part(zip, self.place, FILE.len())? != FILE {
            return Err(CUT_OFF.into());
        }
        let begin = self.place + 30 + number(zip, self.place + 26, 2)? + number(zip, self.place + 28, 2)?;
        let packed = part(zip, begin, self.packed)?;
        let mut bytes = Vec::new();
        // One more than it should have shows that it has more.
        let most = u64::try_from(self.length).unwrap_or(u64::MAX).saturating_add(1);
        match self.method {
            0 => packed.take(most).read_to_end(&mut bytes),
            8 => DeflateDecoder::new(packed).take(most).read_to_end(&mut bytes),
            _ => return Err("it is packed in a way that DockFlare does not use".into()),
        }
        .map_err(|_| "it cannot be unpacked")?;
        let mut crc = Crc::new();
        crc.update(&bytes);
        let is_whole = bytes.len() == self.length && usize::try_from(crc.sum()) == Ok(self.crc);
        if is_whole { Ok(bytes) } else { Err("it is damaged".into()) }
    }
}

fn part(zip: &[u8], at: usize, length: usize) -> Result<&[u8], String> {
    at.checked_add(length).and_then(|end| zip.get(at..end)).ok_or_else(|| CUT_OFF.into())
}

/// A number of this many bytes, the smallest first.
fn number(zip: &[u8], at: usize, length: usize) -> Result<usize, String> {
    Ok(part(zip, at, length)?.iter().rev().fold(0, |number, byte| number << 8 | usize::from(*byte)))
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    /// A zip file of these files, as Python writes one.
    pub(in crate::cli::dockflare) fn zip(files: &[(&str, &[u8])], is_deflated: bool) -> Vec<u8> {
        let (mut zip, mut list) = (Vec::new(), Vec::new());
        for (name, content) in files {
            let mut crc = Crc::new();
            crc.update(content);
            let packed = match is_deflated {
                true => {
                    let mut encoder =
                        flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
                    encoder.write_all(content).unwrap();
                    encoder.finish().unwrap()
                }
                false => content.to_vec(),
            };
            let method: u16 = if is_deflated { 8 } else { 0 };
            let size = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap().to_le_bytes();
            let name_length = u16::try_from(name.len()).unwrap().to_le_bytes();
            let mut facts = vec![20, 0, 0, 0];
            facts.extend(method.to_le_bytes());
            facts.extend([0; 4]);
            facts.extend(crc.sum().to_le_bytes());
            facts.extend(size(&packed));
            facts.extend(size(content));
            facts.extend(name_length);
            facts.extend([0, 0]);
            list.extend(ENTRY);
            list.extend([20, 3]);
            list.extend(&facts);
            list.extend([0; 10]);
            list.extend(size(&zip));
            list.extend(name.as_bytes());
            zip.extend(FILE);
            zip.extend(&facts);
            zip.extend(name.as_bytes());
            zip.extend(packed);
        }
        let (begin, length) = (u32::try_from(zip.len()).unwrap(), u32::try_from(list.len()).unwrap());
        zip.extend(list);
        zip.extend(END);
        zip.extend([0; 4]);
        let count = u16::try_from(files.len()).unwrap().to_le_bytes();
        zip.extend([count, count].concat());
        zip.extend([length.to_le_bytes(), begin.to_le_bytes()].concat());
        zip.extend([0, 0]);
        zip
    }

    #[test]
    fn files_are_found_stored_and_deflated_in_any_folder() {
        let long = "a".repeat(100_000);
        for is_deflated in [false, true] {
            let zip = zip(&[("state.json", b"{}"), ("data/long.txt", long.as_bytes())], is_deflated);
            assert!(is_zip(&zip));
            assert_eq!(find(&zip, "state.json", 10).unwrap().unwrap(), b"{}");
            assert_eq!(find(&zip, "long.txt", 100_000).unwrap().unwrap(), long.as_bytes());
            assert_eq!(find(&zip, "other", 10).unwrap(), None);
            let refused = find(&zip, "long.txt", 99_999).unwrap_err();
            assert!(refused.contains("`long.txt`") && refused.contains("larger than"), "{refused}");
        }
    }

    #[test]
    fn what_is_damaged_encrypted_or_none_says_so() {
        let good = zip(&[("state.json", b"{\"agents\":{}}")], true);
        let list = good.windows(4).position(|window| window == ENTRY).unwrap();
        let changed = |at: usize, to: u8| {
            let mut zip = good.clone();
            zip[at] = to;
            zip
        };
        for (zip, words) in [
            (b"PK".to_vec(), "no zip file"),
            (good[..good.len() - 10].to_vec(), "cut off"),
            (changed(list + 8, 1), "encrypted"),
            (changed(list + 10, 99), "in a way that"),
            (changed(list + 16, good[list + 16] ^ 1), "damaged"),
            (changed(list + 42, 200), "cut off"),
            (changed(list, 0), "cut off"),
        ] {
            let said = find(&zip, "state.json", 100).unwrap_err();
            assert!(said.contains(words), "{words}: {said}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_bring_it_down(noise in proptest::collection::vec(any::<(u16, u8)>(), 1..20), cut in 0_usize..200) {
            let mut zip = zip(&[("state.json", b"{\"agents\":{}}")], true);
            for (at, byte) in noise {
                let at = usize::from(at) % zip.len();
                zip[at] = byte;
            }
            zip.truncate(zip.len().saturating_sub(cut % 7));
            if let Ok(Some(bytes)) = find(&zip, "state.json", 100) {
                prop_assert!(bytes.len() <= 100);
            }
        }
    }
}
