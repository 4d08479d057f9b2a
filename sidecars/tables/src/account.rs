//! Who may log in: what an account may do, and how its password is kept.
//!
//! A password is kept as an argon2id hash in the PHC string format, with the salt and the cost in it, so that
//! what was hashed at another cost is still verified. <https://github.com/P-H-C/phc-string-format>

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};

/// What stands in place of a hash where there is no password: none verifies against it.
pub const NO_PASSWORD: &str = "!";

/// What an account may do, as `pool_accounts.role` says it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Role {
    /// Everything, accounts included.
    Admin,
    /// Runs the pool: its workers and everybody's works.
    Operator,
    /// Looks at everything.
    Viewer,
    /// Joins as a worker.
    Worker,
    /// Submits works, and sees its own.
    User,
}

impl Role {
    /// As the table has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Operator => "operator",
            Self::Viewer => "viewer",
            Self::Worker => "worker",
            Self::User => "user",
        }
    }
}

/// The hash of a password with a new salt. It takes 19 MiB of memory, and so does a guess.
///
/// # Panics
/// The operating system gives no randomness.
#[must_use]
pub fn hash_password(password: &str) -> String {
    let hash = Argon2::default().hash_password(password.as_bytes());
    hash.expect("a password of any length can be hashed").to_string()
}

/// Whether it is the password that was hashed. What is no hash is nobody's.
#[must_use]
pub fn verify_password(password: &str, hash: &str) -> bool {
    PasswordHash::new(hash).is_ok_and(|hash| {
        Argon2::default()
            .verify_password(password.as_bytes(), &hash)
            .is_ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_verifies_against_its_hash_and_no_other() {
        let hash = hash_password("open sesame");
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(verify_password("open sesame", &hash));
        assert!(!verify_password("open sesam", &hash));
        assert_ne!(hash, hash_password("open sesame"), "each has a salt of its own");
    }

    #[test]
    fn where_there_is_no_password_none_verifies() {
        for password in ["", "!", "admin"] {
            assert!(!verify_password(password, NO_PASSWORD), "{password}");
            assert!(!verify_password(password, ""), "{password}");
        }
    }
}
