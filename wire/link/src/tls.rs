//! TLS 1.3 for QUIC, and TLS for HTTPS, with *ring* named explicitly: a binary in which a second provider has crept in
//! would otherwise panic at its first connection.

use crate::certs::{Fingerprint, ServerIdentity};
use quinn_proto::crypto::rustls::QuicServerConfig;
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::server::NoServerSessionStorage;
use rustls::version::TLS13;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use std::sync::Arc;

pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// A server that speaks `alpn` and gives out no tickets: a session remembered costs memory per peer,
/// and links are long.
pub(crate) fn server(identity: &ServerIdentity, alpn: Vec<Vec<u8>>) -> Result<QuicServerConfig, Error> {
    let mut config = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .with_no_client_auth()
        .with_single_cert(identity.chain().to_vec(), identity.key().clone_key())?;
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
pub(crate) fn client_by_roots(roots: RootCertStore, alpn: Vec<Vec<u8>>) -> Result<ClientConfig, Error> {
    let config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(client(config, alpn))
}

/// A client that trusts one certificate, whatever name it carries.
pub(crate) fn client_by_fingerprint(pinned: Fingerprint, alpn: Vec<Vec<u8>>) -> Result<ClientConfig, Error> {
    let verifier = Pinned {
        pinned,
        provider: provider(),
    };
    let config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(client(config, alpn))
}

fn client(mut config: ClientConfig, alpn: Vec<Vec<u8>>) -> ClientConfig {
    config.alpn_protocols = alpn;
    config.resumption = Resumption::disabled();
    config
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
