//! The server's certificate: the operator's own, or one under a development CA that is made once and
//! kept.
//!
//! Files of a folder, all PEM:
//!
//! | file | what | who makes it |
//! | --- | --- | --- |
//! | `server.pem` or `server.crt` | the server's certificate, then the chain that signs it | operator, or here |
//! | `server.key` | its private key (PKCS#8, SEC1 or PKCS#1) | operator, or here |
//! | `ca.pem` | the CA that clients are given (`--ca`) | operator, or here |
//! | `ca.key` | the development CA's private key | here, only with the certificate |
//!
//! What is in the folder is never overwritten: workers may have pinned it. A certificate made here
//! does not expire; whoever wants rotation brings certificates of their own.

use ring::{digest, hmac};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use thiserror::Error;

/// Who the server is, to its peers: a certificate chain and its private key.
pub struct ServerIdentity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    ca_file: Option<PathBuf>,
}

impl fmt::Debug for ServerIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerIdentity")
            .field("fingerprint", &self.fingerprint())
            .field("ca_file", &self.ca_file)
            .finish_non_exhaustive()
    }
}

/// Why a folder of certificates cannot be used.
#[derive(Debug, Error)]
pub enum CertsError {
    /// The folder or a file cannot be read, made or written.
    #[error("cannot {step} {path}: check that the folder exists and belongs to the user who runs the engine")]
    File {
        /// What was tried.
        step: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// One half of the pair is missing.
    #[error(
        "{present} is there but {missing} is not: add the missing file, or move {present} away to have a new pair made"
    )]
    Half {
        /// The half that is there.
        present: PathBuf,
        /// The half that is not.
        missing: PathBuf,
    },
    /// A file is not what its name says.
    #[error("{path} holds no {expected} in PEM form: replace it, or move it away to have a new one made")]
    Pem {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        expected: &'static str,
        /// What the parser says.
        source: rustls_pki_types::pem::Error,
    },
    /// The two halves do not belong together.
    #[error(
        "{key} is not the private key of {cert}, or not of a kind that TLS 1.3 uses: give the pair that belongs together"
    )]
    Mismatch {
        /// The certificate.
        cert: PathBuf,
        /// The key.
        key: PathBuf,
        /// What TLS says.
        source: rustls::Error,
    },
    /// No certificate could be made for these names.
    #[error("cannot make a certificate for {names}: each must be a DNS name or an IP address")]
    Make {
        /// The names, separated by commas.
        names: String,
        /// What the generator says.
        source: rcgen::Error,
    },
}

impl ServerIdentity {
    /// The identity in `folder`; if there is none, a development CA and a certificate for `names` (DNS
    /// names and IP addresses) are made and kept there. The folder is made with mode 0700, keys with 0600.
    ///
    /// Two processes may do this at the same time: one makes the files, the other loads them.
    ///
    /// # Errors
    /// See [`CertsError`]; each names the file and what to do about it.
    pub fn load_or_create(folder: &Path, names: &[String]) -> Result<Self, CertsError> {
        make_folder(folder)?;
        // A whole pair needs no lock, so a folder may be read-only. Half a pair may be one that another
        // process is just writing: under the lock it is whole, or really half.
        match Self::load(folder) {
            Ok(Some(identity)) => return Ok(identity),
            Ok(None) | Err(CertsError::Half { .. }) => {}
            Err(error) => return Err(error),
        }
        let lock_path = folder.join(".lock");
        let lock = File::create(&lock_path).map_err(|source| file_error("make", &lock_path, source))?;
        lock.lock()
            .map_err(|source| file_error("lock", &lock_path, source))?;
        if let Some(identity) = Self::load(folder)? {
            return Ok(identity);
        }
        create(folder, names)?;
        Self::load(folder)?.ok_or_else(|| {
            file_error(
                "find what was written to",
                folder,
                io::Error::from(io::ErrorKind::NotFound),
            )
        })
    }

    /// The identity in `folder`, `None` if it holds neither certificate nor key.
    ///
    /// # Errors
    /// See [`CertsError`].
    pub fn load(folder: &Path) -> Result<Option<Self>, CertsError> {
        let key_path = folder.join("server.key");
        let cert_path = ["server.pem", "server.crt"]
            .map(|name| folder.join(name))
            .into_iter()
            .find(|path| path.exists());
        let cert_path = match (cert_path, key_path.exists()) {
            (None, false) => return Ok(None),
            (None, true) => {
                return Err(CertsError::Half {
                    present: key_path,
                    missing: folder.join("server.pem"),
                });
            }
            (Some(cert), false) => {
                return Err(CertsError::Half {
                    present: cert,
                    missing: key_path,
                });
            }
            (Some(cert), true) => cert,
        };
        let chain = read_certificates(&cert_path)?;
        let key = PrivateKeyDer::from_pem_slice(&read(&key_path)?).map_err(|source| CertsError::Pem {
            path: key_path.clone(),
            expected: "private key",
            source,
        })?;
        rustls::sign::CertifiedKey::from_der(chain.clone(), key.clone_key(), &crate::tls::provider())
            .map_err(|source| CertsError::Mismatch {
                cert: cert_path,
                key: key_path,
                source,
            })?;
        let ca_file = Some(folder.join("ca.pem")).filter(|path| path.exists());
        Ok(Some(Self { chain, key, ca_file }))
    }

    /// The server's certificate, for clients that pin it.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.chain[0])
    }

    /// The CA that clients are given; `None` if the folder holds no `ca.pem`, as with a public CA.
    #[must_use]
    pub fn ca_file(&self) -> Option<&Path> {
        self.ca_file.as_deref()
    }

    pub(crate) fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    pub(crate) fn key(&self) -> &PrivateKeyDer<'static> {
        &self.key
    }

    /// A secret for another purpose that stays the same while the key does, across restarts.
    pub(crate) fn derive(&self, purpose: &str) -> [u8; 32] {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.key.secret_der());
        let tag = hmac::sign(&key, purpose.as_bytes());
        tag.as_ref().try_into().expect("SHA-256 is 32 bytes")
    }
}

/// With mode 0700, if it is not there.
pub(crate) fn make_folder(folder: &Path) -> Result<(), CertsError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|source| file_error("make", folder, source))
}

/// Certificates of a PEM file, at least one.
pub(crate) fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, CertsError> {
    let wrong = |source| CertsError::Pem {
        path: path.to_owned(),
        expected: "certificate",
        source,
    };
    let bytes = read(path)?;
    let chain = CertificateDer::pem_slice_iter(&bytes)
        .collect::<Result<Vec<_>, _>>()
        .map_err(wrong)?;
    if chain.is_empty() {
        return Err(wrong(rustls_pki_types::pem::Error::NoItemsFound));
    }
    Ok(chain)
}

/// Names under which a server on this machine is reached: `localhost`, its addresses, `iexecscheduler`
/// (the name in the predecessor's compose file) and the host name.
#[must_use]
pub fn default_names() -> Vec<String> {
    let mut names: Vec<String> = ["localhost", "127.0.0.1", "::1", "iexecscheduler"]
        .map(String::from)
        .to_vec();
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    if !host.is_empty() && host.chars().all(plain) && !names.contains(&host) {
        names.push(host);
    }
    names
}

/// SHA-256 of a certificate in DER form. Written as `sha256:` and 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint(pub [u8; 32]);

impl Fingerprint {
    /// SHA-256 of these bytes.
    #[must_use]
    pub fn of_bytes(bytes: &[u8]) -> Self {
        let digest = digest::digest(&digest::SHA256, bytes);
        Self(digest.as_ref().try_into().expect("SHA-256 is 32 bytes"))
    }

    pub(crate) fn of(certificate: &CertificateDer<'_>) -> Self {
        Self::of_bytes(certificate)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is no fingerprint.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("a fingerprint is sha256: and 64 hexadecimal digits, as the engine prints it at start")]
pub struct FingerprintError;

impl FromStr for Fingerprint {
    type Err = FingerprintError;

    /// Takes colons between the digits, as other tools print them, and either case.
    fn from_str(text: &str) -> Result<Self, FingerprintError> {
        let digits: Vec<u8> = text
            .strip_prefix("sha256:")
            .ok_or(FingerprintError)?
            .chars()
            .filter(|&c| c != ':')
            .map(|c| {
                c.to_digit(16)
                    .and_then(|digit| u8::try_from(digit).ok())
                    .ok_or(FingerprintError)
            })
            .collect::<Result<_, _>>()?;
        let bytes: Vec<u8> = digits
            .chunks(2)
            .map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit))
            .collect();
        if digits.len() != 64 {
            return Err(FingerprintError);
        }
        Ok(Self(bytes.try_into().map_err(|_| FingerprintError)?))
    }
}

/// Makes a certificate, and first the CA that signs it if there is none. A CA without its key cannot
/// sign, and a new one would not be what clients were given: that is an error.
fn create(folder: &Path, names: &[String]) -> Result<(), CertsError> {
    let (ca_cert, ca_key) = (folder.join("ca.pem"), folder.join("ca.key"));
    let make_error = |source| CertsError::Make {
        names: names.join(", "),
        source,
    };
    match (ca_cert.exists(), ca_key.exists()) {
        (true, true) => {}
        (true, false) => {
            return Err(CertsError::Half {
                present: ca_cert,
                missing: folder.join("server.pem"),
            });
        }
        (false, true) => {
            return Err(CertsError::Half {
                present: ca_key,
                missing: ca_cert,
            });
        }
        (false, false) => {
            let key = rcgen::KeyPair::generate().map_err(make_error)?;
            let cert = ca_params("workerpool development CA", &key)
                .self_signed(&key)
                .map_err(make_error)?;
            write_new(&ca_key, key.serialize_pem().as_bytes(), 0o600)?;
            write_new(&ca_cert, cert.pem().as_bytes(), 0o644)?;
        }
    }
    let ca_pem = String::from_utf8_lossy(&read(&ca_cert)?).into_owned();
    let ca_key_pem = String::from_utf8_lossy(&read(&ca_key)?).into_owned();
    let signer = rcgen::KeyPair::from_pem(&ca_key_pem).map_err(make_error)?;
    let issuer = rcgen::Issuer::from_ca_cert_pem(&ca_pem, signer).map_err(make_error)?;
    let key = rcgen::KeyPair::generate().map_err(make_error)?;
    let cert = server_params(names)
        .and_then(|params| params.signed_by(&key, &issuer))
        .map_err(make_error)?;
    write_new(&folder.join("server.key"), key.serialize_pem().as_bytes(), 0o600)?;
    write_new(&folder.join("server.pem"), cert.pem().as_bytes(), 0o644)
}

/// Two pools' CAs have different names, so that a mix-up is told as an unknown CA by every TLS.
pub(crate) fn ca_params(name: &str, key: &rcgen::KeyPair) -> rcgen::CertificateParams {
    let mut params = rcgen::CertificateParams::default();
    let digest = digest::digest(&digest::SHA256, key.public_key_raw());
    let mark: String = digest
        .as_ref()
        .iter()
        .take(4)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, format!("{name} {mark}"));
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Constrained(0));
    params.key_usages = vec![
        rcgen::KeyUsagePurpose::KeyCertSign,
        rcgen::KeyUsagePurpose::CrlSign,
    ];
    params
}

fn server_params(names: &[String]) -> Result<rcgen::CertificateParams, rcgen::Error> {
    let mut params = rcgen::CertificateParams::new(names.to_vec())?;
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, "workerpool engine");
    params.key_usages = vec![rcgen::KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

/// Writes a whole file or none: a temporary one beside it, synced, then renamed.
pub(crate) fn write_new(path: &Path, content: &[u8], mode: u32) -> Result<(), CertsError> {
    let temporary = path.with_extension("new");
    let write = || {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(mode)
            .open(&temporary)?;
        file.write_all(content)?;
        file.sync_data()?;
        fs::rename(&temporary, path)
    };
    write().map_err(|source| file_error("write", path, source))
}

pub(crate) fn read(path: &Path) -> Result<Vec<u8>, CertsError> {
    fs::read(path).map_err(|source| file_error("read", path, source))
}

fn file_error(step: &'static str, path: &Path, source: io::Error) -> CertsError {
    CertsError::File {
        step,
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests;
