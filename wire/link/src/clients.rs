//! Certificates of clients: the CA that signs them, the request for one, and what a peer shows.
//!
//! The CA is another than that of the server's certificate, which an operator may have brought: what it signs says who
//! may connect, and nobody else is to say that. Its files stand in a folder of the server's owner:
//!
//! | file | what |
//! | --- | --- |
//! | `workers-ca.pem` | its certificate |
//! | `workers-ca.key` | its private key, mode 0600 |
//!
//! A certificate names its owner in the common name of its subject. That it has ended is not the handshake's to judge:
//! an alert of TLS says little, and whoever accepts the link can say what to do about it. All else is: a certificate of
//! another CA, or without its key, never becomes a link.

use crate::certs::Fingerprint;
use crate::certs::{CertsError, make_folder, read, read_certificates, write_new};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateSigningRequestDer, PrivateKeyDer};
use std::fmt;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use thiserror::Error;
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer, X509Certificate};

const CA_CERT: &str = "workers-ca.pem";
const CA_KEY: &str = "workers-ca.key";

/// A certificate begins this long before it was asked for, in seconds, so that a peer's slow clock does not matter.
const SLOW_CLOCK_S: i64 = 3_600;

/// The CA that signs certificates of clients.
pub struct ClientCa {
    certificate: CertificateDer<'static>,
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
}

impl fmt::Debug for ClientCa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCa").finish_non_exhaustive()
    }
}

impl ClientCa {
    /// The CA in `folder`, which is made there if there is none. The folder gets mode 0700, the key 0600.
    ///
    /// # Errors
    /// See [`CertsError`]; half a pair is not made whole, because that would disown every certificate.
    pub fn load_or_create(folder: &Path) -> Result<Self, CertsError> {
        make_folder(folder)?;
        let lock_path = folder.join(".workers-ca.lock");
        let file_error = |source| CertsError::File {
            step: "lock",
            path: lock_path.clone(),
            source,
        };
        let lock = File::create(&lock_path).map_err(file_error)?;
        lock.lock().map_err(file_error)?;
        let (cert, key) = (folder.join(CA_CERT), folder.join(CA_KEY));
        match (cert.exists(), key.exists()) {
            (true, true) => {}
            (true, false) => {
                return Err(CertsError::Half {
                    present: cert,
                    missing: key,
                });
            }
            (false, true) => {
                return Err(CertsError::Half {
                    present: key,
                    missing: cert,
                });
            }
            (false, false) => create(&cert, &key)?,
        }
        let made = |source| CertsError::Make {
            names: "workers".to_owned(),
            source,
        };
        let certificate = read_certificates(&cert)?.remove(0);
        let pem = String::from_utf8_lossy(&read(&key)?).into_owned();
        let signer = rcgen::KeyPair::from_pem(&pem).map_err(made)?;
        let issuer = rcgen::Issuer::from_ca_cert_der(&certificate, signer).map_err(made)?;
        Ok(Self { certificate, issuer })
    }

    /// Its certificate, in DER form: what a listener checks peers by.
    #[must_use]
    pub fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// Signs a certificate for the key of this request, which names `name`, in DER form. Times are seconds since 1970.
    ///
    /// # Errors
    /// [`RequestError`]: the name or the times cannot stand in a certificate.
    pub fn sign(
        &self,
        request: &ClientRequest,
        name: &str,
        serial: u64,
        not_before: u64,
        not_after: u64,
    ) -> Result<Vec<u8>, RequestError> {
        let at = |seconds: u64| {
            i64::try_from(seconds)
                .ok()
                .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
                .ok_or(RequestError)
        };
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, name.to_owned());
        params.serial_number = Some(serial.into());
        params.not_before = at(not_before.saturating_sub(SLOW_CLOCK_S.unsigned_abs()))?;
        params.not_after = at(not_after)?;
        params.key_usages = vec![rcgen::KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let signed = params.signed_by(&request.public_key, &self.issuer);
        Ok(signed.map_err(|_| RequestError)?.der().to_vec())
    }
}

fn create(cert: &Path, key: &Path) -> Result<(), CertsError> {
    let made = |source| CertsError::Make {
        names: "workers".to_owned(),
        source,
    };
    let pair = rcgen::KeyPair::generate().map_err(made)?;
    let params = crate::certs::ca_params("workerpool workers CA", &pair);
    let signed = params.self_signed(&pair).map_err(made)?;
    write_new(key, pair.serialize_pem().as_bytes(), 0o600)?;
    write_new(cert, signed.pem().as_bytes(), 0o644)
}

/// A request for a certificate that is signed with the key that it is for.
pub struct ClientRequest {
    public_key: rcgen::PublicKey,
}

impl fmt::Debug for ClientRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientRequest").finish_non_exhaustive()
    }
}

/// Bytes that are no request for a certificate, or one that cannot be met.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("this is no request for a certificate (PKCS #10), or none that was signed with its own key")]
pub struct RequestError;

impl ClientRequest {
    /// Reads a request and checks its signature. What it asks for beside the key counts for nothing.
    ///
    /// # Errors
    /// [`RequestError`].
    pub fn parse(der: &[u8]) -> Result<Self, RequestError> {
        let request = CertificateSigningRequestDer::from(der);
        let params = rcgen::CertificateSigningRequestParams::from_der(&request).map_err(|_| RequestError)?;
        Ok(Self {
            public_key: params.public_key,
        })
    }

    /// SHA-256 of the public key (SubjectPublicKeyInfo).
    #[must_use]
    pub fn key(&self) -> [u8; 32] {
        use rcgen::PublicKeyData;
        Fingerprint::of_bytes(&self.public_key.subject_public_key_info()).0
    }
}

/// What the certificate says that a peer has shown, and whose key it has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PeerCertificate {
    /// Whose it is.
    pub name: String,
    /// SHA-256 of its public key (SubjectPublicKeyInfo).
    pub key: [u8; 32],
    /// When it ends, in seconds since 1970. Nobody has compared that with a clock.
    pub not_after: u64,
}

impl PeerCertificate {
    /// `None`: it names nobody, and this CA has not signed it.
    pub(crate) fn parse(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
        let name = parsed.subject().iter_common_name().next()?.as_str().ok()?;
        Some(Self {
            name: name.to_owned(),
            key: Fingerprint::of_bytes(parsed.public_key().raw).0,
            not_after: u64::try_from(parsed.validity().not_after.timestamp()).unwrap_or(0),
        })
    }
}

/// A client's key pair, and the certificate that it shows once it has one. Clones share both.
#[derive(Clone)]
pub struct ClientIdentity {
    key: Arc<PrivateKeyDer<'static>>,
    certificate: Option<CertificateDer<'static>>,
}

impl fmt::Debug for ClientIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientIdentity")
            .field("certificate", &self.certificate_says())
            .finish_non_exhaustive()
    }
}

impl ClientIdentity {
    /// The identity that a PEM file holds: a key, and a certificate if there is one. `None`: there is no such file.
    ///
    /// # Errors
    /// See [`CertsError`].
    pub fn load(path: &Path) -> Result<Option<Self>, CertsError> {
        if !path.exists() {
            return Ok(None);
        }
        let bytes = read(path)?;
        let wrong = |expected| {
            move |source| CertsError::Pem {
                path: path.to_owned(),
                expected,
                source,
            }
        };
        let key = PrivateKeyDer::from_pem_slice(&bytes).map_err(wrong("private key"))?;
        let certificate = CertificateDer::pem_slice_iter(&bytes)
            .next()
            .transpose()
            .map_err(wrong("certificate"))?;
        Ok(Some(Self {
            key: Arc::new(key),
            certificate,
        }))
    }

    /// A new key pair, without a certificate.
    ///
    /// # Errors
    /// [`CertsError::Make`]: the system gives no randomness.
    pub fn generate() -> Result<Self, CertsError> {
        let pair = rcgen::KeyPair::generate().map_err(|source| CertsError::Make {
            names: "a client".to_owned(),
            source,
        })?;
        let key = PrivateKeyDer::try_from(pair.serialize_der()).expect("what was just made can be read");
        Ok(Self {
            key: Arc::new(key),
            certificate: None,
        })
    }

    /// Keeps it in a file of mode 0600, as a whole or not at all.
    ///
    /// # Errors
    /// See [`CertsError`].
    pub fn save(&self, path: &Path) -> Result<(), CertsError> {
        let mut text = pem("PRIVATE KEY", self.key.secret_der());
        if let Some(certificate) = &self.certificate {
            text.push_str(&pem("CERTIFICATE", certificate));
        }
        write_new(path, text.as_bytes(), 0o600)
    }

    /// The same key with this certificate, in DER form.
    #[must_use]
    pub fn with_certificate(&self, der: Vec<u8>) -> Self {
        Self {
            key: Arc::clone(&self.key),
            certificate: Some(der.into()),
        }
    }

    /// What its certificate says; `None`: it has none.
    #[must_use]
    pub fn certificate_says(&self) -> Option<PeerCertificate> {
        PeerCertificate::parse(self.certificate.as_ref()?)
    }

    /// When its certificate begins and ends, in seconds since 1970; `None`: it has none.
    #[must_use]
    pub fn validity(&self) -> Option<(u64, u64)> {
        let (_, parsed) = X509Certificate::from_der(self.certificate.as_ref()?).ok()?;
        let seconds = |at: x509_parser::time::ASN1Time| u64::try_from(at.timestamp()).unwrap_or(0);
        let validity = parsed.validity();
        Some((seconds(validity.not_before), seconds(validity.not_after)))
    }

    /// A request for a certificate, in DER form.
    ///
    /// # Errors
    /// [`CertsError::Make`]: the key is of a kind that cannot sign one.
    pub fn request(&self) -> Result<Vec<u8>, CertsError> {
        let made = |source| CertsError::Make {
            names: "a client".to_owned(),
            source,
        };
        let pair = rcgen::KeyPair::try_from(self.key.as_ref()).map_err(made)?;
        let params = rcgen::CertificateParams::default();
        Ok(params.serialize_request(&pair).map_err(made)?.der().to_vec())
    }

    /// For TLS; `None`: there is no certificate yet.
    pub(crate) fn for_tls(&self) -> Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
        Some((vec![self.certificate.clone()?], self.key.clone_key()))
    }
}

/// RFC 7468: base64 in lines of 64 between two lines that name the content.
fn pem(label: &str, der: &[u8]) -> String {
    let mut text = format!("-----BEGIN {label}-----\n");
    for line in data_encoding::BASE64.encode(der).as_bytes().chunks(64) {
        text.push_str(std::str::from_utf8(line).expect("base64 is ASCII"));
        text.push('\n');
    }
    text.push_str(&format!("-----END {label}-----\n"));
    text
}
