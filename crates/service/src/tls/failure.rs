//! Explains TLS handshake failures, so that operators know which file or setting to check.

use std::{error::Error, io};

use rustls::{AlertDescription, CertificateError};

/// Returns the reason if an error, or one of its causes, is a TLS error; else `None`.
#[must_use]
pub fn explain(error: &(dyn Error + 'static)) -> Option<String> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<rustls::Error>() {
            return Some(of(found));
        }
        // An IO error wraps another error, which is not its source.
        let inside = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = inside.map_or_else(|| error.source(), |inside| Some(inside));
    }
    None
}

fn of(error: &rustls::Error) -> String {
    let text = match error {
        rustls::Error::InvalidCertificate(why) => return certificate(why),
        rustls::Error::AlertReceived(alert) => match alert {
            AlertDescription::CertificateRequired => "the server requires a client certificate, and got none",
            AlertDescription::UnknownCA => "the server does not know the CA of our client certificate",
            AlertDescription::CertificateExpired => "our client certificate has expired",
            AlertDescription::BadCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::CertificateRevoked
            | AlertDescription::DecryptError
            | AlertDescription::UnsupportedCertificate => "the server refuses our client certificate",
            AlertDescription::ProtocolVersion => "the server has neither TLS 1.2 nor TLS 1.3",
            AlertDescription::UnrecognisedName => "the server has no certificate for this host",
            _ => return error.to_string(),
        },
        rustls::Error::InvalidMessage(_) => "the server does not speak TLS",
        _ => return error.to_string(),
    };
    text.to_owned()
}

fn certificate(why: &CertificateError) -> String {
    match why {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "the server's certificate has expired".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "the server's certificate is not valid yet, or this machine's clock is wrong".to_owned()
        }
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "the server's certificate is not issued by a CA that is trusted here".to_owned()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            let named = match why {
                CertificateError::NotValidForNameContext { presented, .. } if !presented.is_empty() => {
                    format!("it names {}", presented.join(", "))
                }
                _ => "it has no name (subjectAltName) at all".to_owned(),
            };
            format!("the server's certificate is for another host: {named}")
        }
        other => format!("the server's certificate cannot be used: {other}"),
    }
}
