//! Files of a pool: what names them, and where a work's inputs come from.

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::ids::LeaseToken;
use crate::units::{Bytes, Instant};

/// Bytes of a file's name.
pub const FILE_NAME_BYTES_MAX: usize = 256;

/// Bytes of a source with all its placeholders filled in.
pub const SOURCE_BYTES_MAX: usize = 4_096;

/// What names content: its SHA-256. Written `sha256:` and 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Digest(pub [u8; 32]);

/// A text that names no content, file or place.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum FileError {
    /// Not the text of a digest.
    #[error("`{0}` is no digest: it is `sha256:` and 64 hexadecimal digits")]
    Digest(String),
    /// Not the name of a file.
    #[error("`{name}` is no name of a file: {problem}")]
    Name {
        /// The text.
        name: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Not a source.
    #[error("`{source_text}` is no place to fetch a file from: {problem}")]
    Source {
        /// The text.
        source_text: String,
        /// What is wrong with it.
        problem: &'static str,
    },
}

impl Digest {
    /// What its text begins with.
    pub const PREFIX: &str = "sha256:";

    /// The 64 hexadecimal digits alone.
    #[must_use]
    pub fn hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Reads 64 hexadecimal digits.
    ///
    /// # Errors
    /// The text is not that.
    pub fn from_hex(hex: &str) -> Result<Self, FileError> {
        let problem = || FileError::Digest(hex.to_owned());
        if hex.len() != 64 || !hex.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(problem());
        }
        let mut bytes = [0; 32];
        for (byte, digits) in bytes.iter_mut().zip(hex.as_bytes().chunks(2)) {
            let digits = core::str::from_utf8(digits).map_err(|_| problem())?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| problem())?;
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", Self::PREFIX, self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = FileError;

    fn from_str(text: &str) -> Result<Self, FileError> {
        text.strip_prefix(Self::PREFIX)
            .ok_or_else(|| FileError::Digest(text.to_owned()))
            .and_then(Self::from_hex)
            .map_err(|_| FileError::Digest(text.to_owned()))
    }
}

/// Checks the name of a file: segments of letters, digits, `.`, `_`, `-`, `+`, `=` and `@` with `/` between them, none
/// empty, none `.` or `..`, at most [`FILE_NAME_BYTES_MAX`] bytes, and not the text of a digest or of a URL.
///
/// # Errors
/// What is wrong with it.
pub fn check_name(name: &str) -> Result<(), FileError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-+=@".contains(c);
    let problem = if name.is_empty() {
        "it is empty"
    } else if name.len() > FILE_NAME_BYTES_MAX {
        "it is longer than 256 bytes"
    } else if name.split('/').any(str::is_empty) {
        "it begins or ends with `/`, or has two in a row"
    } else if name.split('/').any(|segment| segment == "." || segment == "..") {
        "`.` and `..` lead elsewhere"
    } else if !name.split('/').all(|segment| segment.chars().all(plain)) {
        "it may have letters, digits, and `.`, `_`, `-`, `+`, `=`, `@`, `/`"
    } else {
        return Ok(());
    };
    Err(FileError::Name {
        name: name.to_owned(),
        problem,
    })
}

/// Where a file comes from.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Source {
    /// Content of the pool's file store: `sha256:…`.
    Content(Digest),
    /// A file of the work's owner in the pool's file store, by its name at the time of the attempt.
    Name(String),
    /// An `http://` or `https://` URL. `#sha256=…` at its end says what its content must be.
    Url {
        /// The URL without that end.
        url: String,
        /// What its content must be.
        digest: Option<Digest>,
    },
}

impl Source {
    /// Reads a source without placeholders.
    ///
    /// # Errors
    /// The text is none.
    pub fn parse(text: &str) -> Result<Self, FileError> {
        if text.starts_with(Digest::PREFIX) {
            return text.parse().map(Self::Content);
        }
        let refuse = |problem| {
            Err(FileError::Source {
                source_text: text.chars().take(200).collect(),
                problem,
            })
        };
        if text.len() > SOURCE_BYTES_MAX {
            return refuse("it is longer than 4096 bytes");
        }
        if text.starts_with("http://") || text.starts_with("https://") {
            if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
                return refuse("a URL has no spaces");
            }
            let (url, digest) = match text.split_once('#') {
                None => (text, None),
                Some((url, fragment)) => {
                    let digest = fragment.strip_prefix("sha256=").map(Digest::from_hex);
                    let Some(Ok(digest)) = digest else {
                        return refuse("after `#` comes `sha256=` and 64 hexadecimal digits, or nothing");
                    };
                    (url, Some(digest))
                }
            };
            return Ok(Self::Url {
                url: url.to_owned(),
                digest,
            });
        }
        if text.contains("://") {
            return refuse("of URLs only http:// and https:// can be fetched");
        }
        check_name(text)?;
        Ok(Self::Name(text.to_owned()))
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Content(digest) => digest.fmt(f),
            Self::Name(name) => f.write_str(name),
            Self::Url { url, digest: None } => f.write_str(url),
            Self::Url {
                url,
                digest: Some(digest),
            } => write!(f, "{url}#sha256={}", digest.hex()),
        }
    }
}

/// What a worker may do with the pool's files under one lease. Signed it is a grant, see the crate `wire-grant`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Claims {
    /// The lease that it is granted under.
    pub token: LeaseToken,
    /// The login whose work it is: names are looked up among this account's files, and what is written is its own.
    pub owner: String,
    /// What may be read: [`Source::Content`] and [`Source::Name`]; URLs are not the file store's.
    pub reads: Vec<Source>,
    /// The most bytes that one file written under it may have; zero: nothing may be written.
    pub write_max: Bytes,
    /// From this instant on it is no longer good.
    pub expires: Instant,
}

impl Claims {
    /// What an output of this attempt is called in the file store: `works/17/2/NAME` for the second attempt at
    /// work 17 of shard 0, `works/s1/17/2/NAME` of shard 1.
    #[must_use]
    pub fn output_name(&self, name: &str) -> String {
        let LeaseToken {
            work, attempt, shard, ..
        } = self.token;
        match shard.0 {
            0 => format!("works/{}/{}/{name}", work.0, attempt.0),
            shard => format!("works/s{shard}/{}/{}/{name}", work.0, attempt.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Attempt, Epoch, Shard, WorkId};

    const HEX: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

    #[test]
    fn a_source_is_read_as_it_is_written() {
        for text in [
            format!("sha256:{HEX}"),
            "models/v2/weights.bin".to_owned(),
            "https://example.org/a%20b?x=1".to_owned(),
            format!("http://example.org/a#sha256={HEX}"),
        ] {
            assert_eq!(Source::parse(&text).map(|source| source.to_string()), Ok(text));
        }
    }

    #[test]
    fn what_is_no_source_is_refused_with_the_cause() {
        for (text, problem) in [
            ("", "empty"),
            ("/etc/passwd", "begins or ends"),
            ("a//b", "two in a row"),
            ("a/../b", "lead elsewhere"),
            ("./a", "lead elsewhere"),
            ("a b", "letters"),
            ("a\0", "letters"),
            ("ftp://host/x", "only http"),
            ("file:///etc/passwd", "only http"),
            ("sha256:12", "64 hexadecimal"),
            ("https://host/a#top", "sha256="),
            ("https://host/a b", "spaces"),
        ] {
            let error = Source::parse(text).expect_err(text).to_string();
            assert!(error.contains(problem), "{text}: {error}");
        }
        assert!(Source::parse(&"x".repeat(257)).is_err());
        assert!(Source::parse(&format!("https://{}", "x".repeat(5_000))).is_err());
        assert!(Digest::from_hex(&"+1".repeat(32)).is_err(), "a sign is no digit");
    }

    #[test]
    fn an_output_is_named_by_work_and_attempt() {
        let token = |shard| LeaseToken {
            work: WorkId(17),
            epoch: Epoch(3),
            attempt: Attempt(2),
            shard: Shard(shard),
        };
        let claims = |shard| Claims {
            token: token(shard),
            owner: "admin".to_owned(),
            reads: Vec::new(),
            write_max: Bytes(0),
            expires: Instant(0),
        };
        assert_eq!(claims(0).output_name("output.tar"), "works/17/2/output.tar");
        assert_eq!(claims(1).output_name("output.tar"), "works/s1/17/2/output.tar");
    }
}
