//! Passwords: what they must be, and argon2id.

use argon2::password_hash::phc::{Output, ParamsString, PasswordHash, Salt};
use argon2::{Algorithm, Argon2, Block, Params, Version};

use crate::chance::Chance;

/// Shortest password, in characters.
pub const SHORTEST: usize = 10;
/// Longest password, in bytes: hashing must stay cheap to refuse.
pub const LONGEST: usize = 256;

/// Says what is wrong with a new password.
pub fn complaint(password: &str, again: &str) -> Option<&'static str> {
    if password.chars().count() < SHORTEST {
        Some("The password needs 10 characters or more.")
    } else if password.len() > LONGEST {
        Some("The password may have 256 bytes at most.")
    } else if password != again {
        Some("The two passwords are not the same.")
    } else {
        None
    }
}

/// Says what is wrong with an administrator's name.
pub fn name_complaint(name: &str) -> Option<&'static str> {
    let fits = (1..=64).contains(&name.chars().count())
        && !name.chars().any(char::is_control)
        && name.trim() == name;
    (!fits).then_some("The name needs 1 to 64 characters, without blanks around it.")
}

/// The block that hashing works in: tens of megabytes, so it is used again while it is wanted, and dropped after.
#[derive(Default)]
pub struct Memory(Vec<Block>);

impl Memory {
    /// Returns as many blocks as `params` ask for; what an earlier use left in them does not matter.
    fn of(&mut self, params: &Params) -> &mut [Block] {
        let blocks = params.block_count();
        if self.0.len() < blocks {
            self.0 = vec![Block::new(); blocks];
        }
        &mut self.0[..blocks]
    }

    /// True if it holds anything.
    pub fn is_held(&self) -> bool {
        !self.0.is_empty()
    }
}

/// Hashes a password (argon2id, PHC text). Takes about 50 ms: done in `hashing` only.
pub fn hash(password: &str, chance: &Chance, memory: &mut Memory) -> String {
    let mut salt = [0; 16];
    chance.fill(&mut salt);
    let mut out = [0; Params::DEFAULT_OUTPUT_LEN];
    let params = Params::DEFAULT;
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone())
        .hash_password_into_with_memory(password.as_bytes(), &salt, &mut out, memory.of(&params))
        .expect("default parameters and a salt of 16 bytes are valid");
    phc(&params, &salt, &out)
}

/// A hash that no password has, for names that nobody has: comparing with it takes as long as with another.
pub fn decoy(chance: &Chance) -> String {
    let (mut salt, mut out) = ([0; 16], [0; Params::DEFAULT_OUTPUT_LEN]);
    chance.fill(&mut salt);
    chance.fill(&mut out);
    phc(&Params::DEFAULT, &salt, &out)
}

fn phc(params: &Params, salt: &[u8], out: &[u8]) -> String {
    let hash = PasswordHash {
        algorithm: Algorithm::Argon2id.ident(),
        version: Some(Version::V0x13.into()),
        params: ParamsString::try_from(params).expect("default parameters can be written"),
        salt: Some(Salt::new(salt).expect("16 bytes are a salt")),
        hash: Some(Output::new(out).expect("32 bytes are a hash")),
    };
    hash.to_string()
}

/// Compares a password with a hash; takes as long.
pub fn fits(password: &str, hash: &str, memory: &mut Memory) -> bool {
    password.len() <= LONGEST && again(password, hash, memory).is_some_and(|(made, known)| made == known)
}

/// Hashes a password as `hash` was made; returns both. Comparing them takes the same time whatever is in them.
fn again(password: &str, hash: &str, memory: &mut Memory) -> Option<(Output, Output)> {
    let known = PasswordHash::new(hash).ok()?;
    let params = Params::try_from(&known).ok()?;
    let algorithm = Algorithm::try_from(known.algorithm.as_str()).ok()?;
    let version = known.version.map_or(Some(Version::V0x13), |version| Version::try_from(version).ok())?;
    let (salt, output) = (known.salt?, known.hash?);
    let mut buffer = [0; Output::MAX_LENGTH];
    let out = buffer.get_mut(..output.len())?;
    let argon = Argon2::new(algorithm, version, params.clone());
    argon.hash_password_into_with_memory(password.as_bytes(), &salt, out, memory.of(&params)).ok()?;
    Some((Output::new(out).ok()?, output))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weak_passwords_and_odd_names_are_named() {
        assert!(complaint("short", "short").is_some());
        assert!(complaint("long enough", "long enougH").is_some());
        assert!(complaint("long enough", "long enough").is_none());
        for bad in ["", " ann", "a\nb", &"x".repeat(65)] {
            assert!(name_complaint(bad).is_some(), "{bad:?}");
        }
        assert!(name_complaint("Ann Lee").is_none());
    }
    #[test]
    fn one_block_serves_many_passwords() {
        let (chance, mut memory) = (Chance::seeded(1), Memory::default());
        let hash = hash("correct horse", &chance, &mut memory);
        let (place, size) = (memory.0.as_ptr(), memory.0.len());
        for _ in 0..2 {
            assert!(!fits("wrong horse", &hash, &mut memory), "what was left in the block does not matter");
            assert!(fits("correct horse", &hash, &mut memory));
        }
        assert!(!fits("correct horse", &decoy(&chance), &mut memory));
        assert!(!fits("correct horse", "not a hash", &mut memory));
        assert_eq!((memory.0.as_ptr(), memory.0.len()), (place, size));
    }

    #[test]
    fn hashes_are_those_of_the_library() {
        use argon2::password_hash::{PasswordHasher, PasswordVerifier};

        let own = hash("correct horse", &Chance::seeded(1), &mut Memory::default());
        assert!(Argon2::default().verify_password(b"correct horse", own.as_str()).is_ok());
        let theirs = Argon2::default().hash_password_with_salt(b"correct horse", &[7; 16]).unwrap();
        assert!(fits("correct horse", &theirs.to_string(), &mut Memory::default()));
    }
}
