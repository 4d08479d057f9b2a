//! TLS 1.3 for QUIC, and TLS for HTTPS, with *ring* named explicitly: a binary in which a second provider has crept in
//! would otherwise panic at its first connection.

use crate::certs::{Fingerprint, ServerIdentity};
use crate::clients::ClientIdentity;
use quinn_proto::crypto::rustls::QuicServerConfig;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WantsClientCert};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::version::TLS13;
use rustls::{
    CertificateError, ClientConfig, ConfigBuilder, DigitallySignedStruct, DistinguishedName, Error,
    RootCertStore, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use std::sync::Arc;

pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// A server that speaks `alpn`, takes certificates under `client_ca` from peers that show one, and gives out no tickets: a
/// session remembered costs memory per peer, and links are long.
pub(crate) fn server(
    identity: &ServerIdentity,
    alpn: Vec<Vec<u8>>,
    client_ca: Option<&[u8]>,
) -> Result<QuicServerConfig, Error> {
    let builder =
        rustls::ServerConfig::builder_with_provider(provider()).with_protocol_versions(&[&TLS13])?;
    let builder = match client_ca {
        None => builder.with_no_client_auth(),
        Some(ca) => builder.with_client_cert_verifier(Arc::new(OfferedCertificates::under(ca)?)),
    };
    let mut config = builder.with_single_cert(identity.chain().to_vec(), identity.key().clone_key())?;
    config.alpn_protocols = alpn;
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(QuicServerConfig::try_from(config).expect("ring has AES-128-GCM, which QUIC's first packets need"))
}

/// A server over TCP with the same certificate, for whoever speaks HTTPS, TLS 1.2 too: it speaks the first of `alpn` that its
/// client also does.
///
/// # Errors
/// TLS does not take the certificate.
pub fn https_config(identity: &ServerIdentity, alpn: &[&[u8]]) -> Result<rustls::ServerConfig, Error> {
    let mut config = rustls::ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(identity.chain().to_vec(), identity.key().clone_key())?;
    config.alpn_protocols = alpn.iter().map(|alpn| alpn.to_vec()).collect();
    Ok(config)
}

/// A client that trusts certificates under `roots` for the name it asks for.
pub(crate) fn client_by_roots(
    roots: RootCertStore,
    alpn: Vec<Vec<u8>>,
    identity: Option<&ClientIdentity>,
) -> Result<ClientConfig, Error> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .with_root_certificates(roots);
    Ok(client(with_identity(builder, identity)?, alpn))
}

fn with_identity(
    builder: ConfigBuilder<ClientConfig, WantsClientCert>,
    identity: Option<&ClientIdentity>,
) -> Result<ClientConfig, Error> {
    match identity.and_then(ClientIdentity::for_tls) {
        None => Ok(builder.with_no_client_auth()),
        Some((chain, key)) => builder.with_client_auth_cert(chain, key),
    }
}

/// A client that trusts one certificate, whatever name it carries.
pub(crate) fn client_by_fingerprint(
    pinned: Fingerprint,
    alpn: Vec<Vec<u8>>,
    identity: Option<&ClientIdentity>,
) -> Result<ClientConfig, Error> {
    let verifier = Pinned {
        pinned,
        provider: provider(),
    };
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    Ok(client(with_identity(builder, identity)?, alpn))
}

fn client(mut config: ClientConfig, alpn: Vec<Vec<u8>>) -> ClientConfig {
    config.alpn_protocols = alpn;
    config.resumption = Resumption::disabled();
    config
}

/// Takes certificates under one CA, also such that have ended, and peers that show none; see [`crate::clients`].
#[derive(Debug)]
struct OfferedCertificates(Arc<dyn ClientCertVerifier>);

impl OfferedCertificates {
    fn under(ca: &[u8]) -> Result<Self, Error> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(ca.to_vec()))?;
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
            .allow_unauthenticated()
            .build()
            .map_err(|error| Error::General(error.to_string()))?;
        Ok(Self(verifier))
    }
}

impl ClientCertVerifier for OfferedCertificates {
    fn offer_client_auth(&self) -> bool {
        self.0.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.0.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verify = |at| self.0.verify_client_cert(end_entity, intermediates, at);
        match verify(now) {
            Err(Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. })) => {
                verify(not_after)
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

/// Accepts exactly the certificate with this fingerprint; the signature over the handshake is checked
/// as always, so a copy of the certificate without its key is of no use.
#[derive(Debug)]
struct Pinned {
    pinned: Fingerprint,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if Fingerprint::of(end_entity) == self.pinned {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(Error::InvalidCertificate(
                CertificateError::ApplicationVerificationFailure,
            ))
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(
            message,
            cert,
            dss,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            cert,
            dss,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
