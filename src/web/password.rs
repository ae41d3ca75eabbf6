//! Passwords: what they must be, and argon2id.

use argon2::Argon2;
use argon2::password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash};

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

/// Hashes a password (argon2id, PHC text). Takes about 50 ms: done in `hashing` only.
pub fn hash(password: &str, chance: &Chance) -> String {
    let mut salt = [0; 16];
    chance.fill(&mut salt);
    Argon2::default()
        .hash_password_with_salt(password.as_bytes(), &salt)
        .expect("default parameters and a salt of 16 bytes are valid")
        .to_string()
}

/// Compares a password with a hash; takes as long.
pub fn fits(password: &str, hash: &str) -> bool {
    let Ok(parsed) = PasswordHash::new(hash) else { return false };
    password.len() <= LONGEST && Argon2::default().verify_password(password.as_bytes(), &parsed).is_ok()
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
}
