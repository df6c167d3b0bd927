//! Verifies servers in the modes of PostgreSQL's `sslmode`. rustls itself supports only the strictest.

use rustls::{
    CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor, verify_server_name,
    },
    crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::ParsedCertificate,
};
use x509_parser::{certificate::X509Certificate, prelude::FromDer as _};

use super::Verification;

#[derive(Debug)]
pub(super) struct Verifier {
    verification: Verification,
    roots: RootCertStore,
    /// The configured roots. Each may be the server's own certificate.
    own: Vec<CertificateDer<'static>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Verifier {
    pub(super) fn new(
        verification: Verification,
        roots: RootCertStore,
        own: Vec<CertificateDer<'static>>,
        algorithms: WebPkiSupportedAlgorithms,
    ) -> Self {
        Self { verification, roots, own, algorithms }
    }

    /// Checks that a trusted CA issued the certificate, or that the certificate itself is a configured root.
    ///
    /// A self-signed certificate, as in PostgreSQL's documentation, is server and CA in one. webpki refuses such a
    /// certificate, although trusting exactly one certificate is the strictest choice.
    fn check_issuer(
        &self,
        shown: &CertificateDer<'_>,
        parsed: &ParsedCertificate<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        if self.own.iter().any(|own| own.as_ref() == shown.as_ref()) {
            return check_time(shown, now);
        }
        verify_server_cert_signed_by_trust_anchor(parsed, &self.roots, others, now, self.algorithms.all).map_err(
            |error| {
                // webpki would report the type of the certificate. Operators need to know that it is not trusted.
                if is_ca(shown) && matches!(error, Error::InvalidCertificate(CertificateError::Other(_))) {
                    return CertificateError::UnknownIssuer.into();
                }
                error
            },
        )
    }
}

fn is_ca(certificate: &CertificateDer<'_>) -> bool {
    X509Certificate::from_der(certificate).is_ok_and(|(_, read)| read.is_ca())
}

fn check_time(certificate: &CertificateDer<'_>, now: UnixTime) -> Result<(), Error> {
    let (_, read) = X509Certificate::from_der(certificate).map_err(|_| CertificateError::BadEncoding)?;
    let (from, until) = (read.validity().not_before.timestamp(), read.validity().not_after.timestamp());
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    if now < from {
        return Err(CertificateError::NotValidYet.into());
    }
    if now > until {
        return Err(CertificateError::Expired.into());
    }
    Ok(())
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.verification >= Verification::Issuer {
            let parsed = ParsedCertificate::try_from(end_entity)?;
            self.check_issuer(end_entity, &parsed, intermediates, now)?;
            if self.verification >= Verification::IssuerAndHost {
                verify_server_name(&parsed, server_name)?;
            }
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
