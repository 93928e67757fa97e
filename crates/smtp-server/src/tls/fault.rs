//! Failed handshakes in words that say whose move it is.

use std::io;

use rustls::{CertificateError, Error, InvalidMessage, PeerIncompatible};

/// Why a handshake failed: in our words where we have some, with those of the TLS library in
/// parentheses behind them, or else in its words alone.
#[must_use]
pub fn handshake_fault(error: &io::Error) -> String {
    let cause = error.get_ref().and_then(|e| e.downcast_ref());
    match cause.and_then(ours) {
        Some(ours) => format!("{ours} ({error})"),
        None => error.to_string(),
    }
}

fn ours(error: &Error) -> Option<&'static str> {
    match error {
        // A ClientHello without that extension is of TLS 1.1 or older in all but theory: RFC 5246
        // section 7.4.1.4.1 allows it in 1.2, and nobody leaves it out.
        Error::PeerIncompatible(
            PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled
            | PeerIncompatible::SignatureAlgorithmsExtensionRequired,
        ) => Some("the client speaks TLS 1.1 or older; 1.2 is the least"),
        Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            Some("the client's certificate is neither in client-ca nor signed by one in it")
        }
        // WebPKI's own error, which rustls hands on as it is.
        Error::InvalidCertificate(CertificateError::Other(other))
            if other.0.to_string() == "CaUsedAsEndEntity" =>
        {
            Some(
                "the client's certificate is an authority's (CA:TRUE): such a one counts only if it \
                 is in client-ca itself",
            )
        }
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            Some("plain text where TLS was due")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_the_library_stand_behind_ours() {
        let text = |error: Error| handshake_fault(&io::Error::other(error));
        let stranger = text(CertificateError::UnknownIssuer.into());
        assert_eq!(
            stranger,
            "the client's certificate is neither in client-ca nor signed by one in it \
             (invalid peer certificate: UnknownIssuer)"
        );
        let ended = text(CertificateError::Expired.into());
        assert_eq!(ended, "invalid peer certificate: Expired");
    }
}
