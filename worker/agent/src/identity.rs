//! The worker's key and certificate, in its folder.
//!
//! | file | what |
//! | --- | --- |
//! | `identity.pem` | the key, made here, and the certificate that the pool gave for it; mode 0600 |
//! | `identity.token` | SHA-256 of the enrolment token that it was given for |
//!
//! A worker that has a certificate shows it. One that is started with an enrolment token that it has not seen enrols
//! anew, under the key that it has: that is how to go on after a certificate has ended or was revoked.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use wire_link::ClientIdentity;
use wire_protocol::units::Instant;
use worker_core::Identity as Settings;

use crate::status::now_ms;

const PEM: &str = "identity.pem";
const TOKEN: &str = "identity.token";

/// What to do about a worker that cannot prove any more who it is.
pub(crate) const ENROL_AGAIN: &str = "ask the pool's operator for a token (`pool worker token create`) and start the worker \
                                      with it (--enrol-token-file, POOL_ENROL_TOKEN_FILE)";

/// A key pair that is kept, and what it is good for.
pub struct Identity {
    pub(crate) kept: ClientIdentity,
    folder: PathBuf,
    /// The token that a certificate is asked for with; `None`: there is a certificate.
    token: Option<String>,
}

impl Identity {
    /// The identity in `folder`. With a token that was not used yet it is made, or enrols anew; without one, and without a
    /// certificate, there is none.
    ///
    /// # Errors
    /// The files cannot be read or made, or the certificate has ended and there is no token.
    pub fn open(folder: &Path, token: Option<String>) -> anyhow::Result<Option<Self>> {
        let kept = ClientIdentity::load(&folder.join(PEM))?;
        let certified = kept.as_ref().and_then(ClientIdentity::validity);
        let is_good = certified.is_some_and(|(_, ends)| ends > now_s());
        let folder = folder.to_owned();
        let Some(token) = token else {
            return match kept {
                Some(kept) if is_good => Ok(Some(Self {
                    kept,
                    folder,
                    token: None,
                })),
                Some(_) if certified.is_some() => {
                    bail!("the certificate of this worker has expired: {ENROL_AGAIN}")
                }
                _ => Ok(None),
            };
        };
        let is_used = is_used(&folder, &token);
        if let Some(kept) = kept {
            let token = (!is_good || !is_used).then_some(token);
            return Ok(Some(Self { kept, folder, token }));
        }
        let kept = ClientIdentity::generate()?;
        kept.save(&folder.join(PEM))?;
        Ok(Some(Self {
            kept,
            folder,
            token: Some(token),
        }))
    }

    /// What the core has to know of it.
    pub(crate) fn settings(&self) -> anyhow::Result<Settings> {
        let at = |seconds: u64| Instant(seconds.saturating_mul(1_000_000_000));
        let validity = self.kept.validity().filter(|_| self.token.is_none());
        Ok(Settings {
            request: self
                .kept
                .request()
                .context("the key of this worker cannot be used")?,
            token: self.token.clone(),
            validity: validity.map(|(begins, ends)| (at(begins), at(ends))),
        })
    }

    /// What its links show: the certificate, unless it is about to get another by a token.
    pub(crate) fn shown(&self) -> Option<ClientIdentity> {
        self.token.is_none().then(|| self.kept.clone())
    }

    /// Keeps a certificate that the engine gave.
    pub(crate) fn keep(&mut self, certificate: Vec<u8>) -> anyhow::Result<()> {
        let token = self.token.take();
        self.kept = self.kept.with_certificate(certificate);
        self.kept.save(&self.folder.join(PEM))?;
        if let Some(token) = token {
            let path = self.folder.join(TOKEN);
            fs::write(&path, digest(&token))
                .with_context(|| format!("{} cannot be written", path.display()))?;
        }
        Ok(())
    }
}

/// What is wrong with the identity in `folder`, or how long it is good: for whoever only looks. `None`: there is none.
pub(crate) fn look(folder: &Path) -> anyhow::Result<Option<Validity>> {
    let Some(kept) = ClientIdentity::load(&folder.join(PEM))? else {
        return Ok(None);
    };
    Ok(kept.validity().map(|(begins, ends)| Validity {
        left_s: ends.saturating_sub(now_s()),
        lasts_s: ends.saturating_sub(begins),
    }))
}

/// The certificate in `folder` was given for this token.
pub(crate) fn is_used(folder: &Path, token: &str) -> bool {
    fs::read_to_string(folder.join(TOKEN)).is_ok_and(|used| used.trim() == digest(token))
}

/// How long a certificate is good.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Validity {
    /// From now; 0: it has ended.
    pub(crate) left_s: u64,
    pub(crate) lasts_s: u64,
}

/// The first line of a file, or what was given; `None`: neither.
pub(crate) fn token_of(given: Option<String>, file: Option<&Path>) -> anyhow::Result<Option<String>> {
    let text = match (given, file) {
        (Some(token), _) => token,
        (None, None) => return Ok(None),
        (None, Some(file)) => match fs::read_to_string(file) {
            Ok(text) => text,
            // A token is of no use once it was used, and whoever removes it does well.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                return Err(error)
                    .with_context(|| format!("the token file {} cannot be read", file.display()));
            }
        },
    };
    let token = text.trim();
    Ok((!token.is_empty()).then(|| token.to_owned()))
}

fn digest(token: &str) -> String {
    wire_link::Fingerprint::of_bytes(token.as_bytes()).to_string()
}

fn now_s() -> u64 {
    now_ms() / 1_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_without_what_surrounds_it_and_may_be_gone() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("token");
        assert_eq!(token_of(None, Some(&file)).expect("may be gone"), None);
        fs::write(&file, " pool-enrol-x \n").expect("own folder");
        let read = token_of(None, Some(&file)).expect("it is there");
        assert_eq!(read.as_deref(), Some("pool-enrol-x"));
        assert_eq!(token_of(Some(String::new()), None).expect("empty"), None);
    }

    #[test]
    fn a_key_is_made_once_and_enrols_until_there_is_a_certificate() {
        let folder = tempfile::tempdir().expect("a folder");
        assert!(
            Identity::open(folder.path(), None)
                .expect("nothing there")
                .is_none()
        );
        let token = || Some("pool-enrol-x".to_owned());
        let first = Identity::open(folder.path(), token())
            .expect("made")
            .expect("made");
        let again = Identity::open(folder.path(), token())
            .expect("kept")
            .expect("kept");
        let settings = again.settings().expect("good");
        assert_eq!(settings.token, token());
        assert_eq!((settings.validity, again.shown().is_none()), (None, true));
        drop(first);
        assert!(
            Identity::open(folder.path(), None)
                .expect("no certificate")
                .is_none()
        );
    }
}
