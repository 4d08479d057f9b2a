//! What a worker may do with the files of a pool under one lease, signed by the engine.
//!
//! The engine knows who runs what; the file store knows the files. They share a key, and a *grant* is all that passes
//! between them: the worker asks the engine for one and shows it to the file store, which asks nobody.
//!
//! ```text
//!  worker ── GRANT_ASKED token ──► engine       signs with the key
//!  worker ◄── GRANTED grant ────── engine
//!  worker ── Authorization: Bearer grant ──► file store      checks with the same key
//! ```
//!
//! As text it is base64url, without padding, of: the claims (postcard, fields in the order of [`Claims`]), then the
//! HMAC-SHA256 of them under the key (32 bytes). It is good until it expires, also when the lease was superseded
//! meanwhile: what it lets be written carries the attempt in its name, so it stands in nobody's way.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use data_encoding::BASE64URL_NOPAD;
use ring::rand::SecureRandom;
use ring::{hmac, rand};
use thiserror::Error;
use wire_protocol::file::{Claims, FILE_NAME_BYTES_MAX};
use wire_protocol::limits::FILES_PER_WORK_MAX;
use wire_protocol::units::Instant;
use zeroize::Zeroizing;

/// What the file with the key is called in the engine's folder.
pub const KEY_FILE: &str = "grant.key";

/// Bytes of a grant's text. It is a header of requests.
pub const TEXT_BYTES_MAX: usize = 32 * 1024;

/// Bytes of a key.
const KEY_BYTES: usize = 32;

const MAC_BYTES: usize = 32;

/// The longest claims, of a work all of whose files have the longest names.
const _: () = assert!((FILES_PER_WORK_MAX + 2) * (FILE_NAME_BYTES_MAX + 3) * 4 / 3 + 128 < TEXT_BYTES_MAX);

/// Why a text is not a grant that is good now.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum GrantError {
    /// It is not the text of a grant, or was signed with another key.
    #[error("this is no grant of this pool's engine; does the file store have the engine's grant key?")]
    Forged,
    /// It was good once.
    #[error("the grant has expired; ask the engine for another")]
    Expired,
}

/// The key that engine and file store share.
pub struct Key(hmac::Key);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

impl Key {
    /// A key of these bytes.
    #[must_use]
    pub fn new(bytes: &[u8; KEY_BYTES]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, bytes))
    }

    /// Reads the key from a file of exactly 32 bytes.
    ///
    /// # Errors
    /// The file cannot be read, or has another length.
    pub fn read(file: &Path) -> io::Result<Self> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(KEY_BYTES + 1));
        File::open(file)?
            .take(KEY_BYTES as u64 + 1)
            .read_to_end(&mut bytes)?;
        let bytes: &[u8; KEY_BYTES] = bytes.as_slice().try_into().map_err(|_| {
            let problem = format!("a grant key has {KEY_BYTES} bytes, this file another number; remove it and start the engine again");
            io::Error::new(io::ErrorKind::InvalidData, problem)
        })?;
        Ok(Self::new(bytes))
    }

    /// Reads the key, or makes one that only this user can read where there is none. A crash leaves no half of one, and of
    /// several processes that come at once all get the same.
    ///
    /// # Errors
    /// As [`Self::read`]; or the file cannot be made.
    pub fn read_or_make(file: &Path) -> io::Result<Self> {
        match Self::read(file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => return other,
        }
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        rand::SystemRandom::new()
            .fill(&mut *bytes)
            .map_err(|_| io::Error::other("the system gives no randomness"))?;
        // Of each process its own: engine and file store may start at the same moment.
        let new = file.with_extension(format!("new-{}", std::process::id()));
        let _ = std::fs::remove_file(&new);
        let mut made = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&new)?;
        made.write_all(&*bytes)?;
        made.sync_data()?;
        // Unlike a rename, a link does not replace the key of whoever was faster.
        let linked = std::fs::hard_link(&new, file);
        std::fs::remove_file(&new)?;
        match linked {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Self::read(file),
            linked => linked.map(|()| Self::new(&bytes)),
        }
    }

    /// Signs.
    #[must_use]
    pub fn sign(&self, claims: &Claims) -> String {
        let mut bytes = postcard::to_stdvec(claims).expect("plain values are encoded");
        let mac = hmac::sign(&self.0, &bytes);
        bytes.extend_from_slice(mac.as_ref());
        BASE64URL_NOPAD.encode(&bytes)
    }

    /// The claims of a text that was signed with this key and has not expired at `now`.
    ///
    /// # Errors
    /// It was not, or it has.
    pub fn check(&self, text: &str, now: Instant) -> Result<Claims, GrantError> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(GrantError::Forged);
        }
        let bytes = BASE64URL_NOPAD
            .decode(text.as_bytes())
            .map_err(|_| GrantError::Forged)?;
        let (claims, mac) = bytes
            .len()
            .checked_sub(MAC_BYTES)
            .map(|at| bytes.split_at(at))
            .ok_or(GrantError::Forged)?;
        hmac::verify(&self.0, claims, mac).map_err(|_| GrantError::Forged)?;
        let claims: Claims = postcard::from_bytes(claims).map_err(|_| GrantError::Forged)?;
        if claims.expires <= now {
            return Err(GrantError::Expired);
        }
        Ok(claims)
    }
}

#[cfg(test)]
mod tests {
    use wire_protocol::file::{Digest, Source};
    use wire_protocol::ids::{Attempt, Epoch, LeaseToken, Shard, WorkId};
    use wire_protocol::units::Bytes;

    use super::*;

    fn claims() -> Claims {
        Claims {
            token: LeaseToken {
                work: WorkId(17),
                epoch: Epoch(3),
                attempt: Attempt(2),
                shard: Shard(0),
            },
            owner: "admin".to_owned(),
            reads: vec![Source::Content(Digest([7; 32])), Source::Name("a/b".to_owned())],
            write_max: Bytes(1 << 30),
            expires: Instant(1_000),
        }
    }

    #[test]
    fn a_grant_says_what_was_signed_until_it_expires() {
        let key = Key::new(&[1; 32]);
        let text = key.sign(&claims());
        assert_eq!(key.check(&text, Instant(999)), Ok(claims()));
        assert_eq!(key.check(&text, Instant(1_000)), Err(GrantError::Expired));
    }

    #[test]
    fn no_changed_character_and_no_other_key_passes() {
        let key = Key::new(&[1; 32]);
        let text = key.sign(&claims());
        assert_eq!(
            Key::new(&[2; 32]).check(&text, Instant(0)),
            Err(GrantError::Forged)
        );
        for at in 0..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).expect("it is ASCII");
            assert_eq!(
                key.check(&changed, Instant(0)),
                Err(GrantError::Forged),
                "character {at}"
            );
        }
        for cut in 0..text.len() {
            assert_eq!(key.check(&text[..cut], Instant(0)), Err(GrantError::Forged));
        }
    }

    #[test]
    fn a_key_is_made_once_for_its_user_alone() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("grant.key");
        let made = Key::read_or_make(&file).expect("it is made");
        let read = Key::read_or_make(&file).expect("it is read");
        let text = made.sign(&claims());
        assert_eq!(read.check(&text, Instant(0)), Ok(claims()));
        let left = std::fs::read_dir(folder.path()).expect("a folder").count();
        assert_eq!(left, 1, "nothing lies beside it");
        let mode = std::fs::metadata(&file)
            .expect("it is there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        File::create(&file)
            .and_then(|mut file| file.write_all(b"short"))
            .expect("it can be written");
        let error = Key::read_or_make(&file).expect_err("too short").to_string();
        assert!(error.contains("32 bytes"), "{error}");
    }
}
