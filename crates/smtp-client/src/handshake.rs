//! The TLS handshake, and what its errors mean.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use mail_types::Timestamp;
use rustls::crypto::CryptoProvider;
use rustls::{
    AlertDescription, CertificateError, Error, InvalidMessage, PeerIncompatible, PeerMisbehaved,
    ProtocolVersion,
};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::roots::RootSet;
use crate::verify::{Names, Record, Strictness, client_config, server_name};
use crate::{Cause, HandshakeFault, Judged, Peer, TlsSession};

/// What a handshake depends on.
pub(crate) struct Handshake<'a> {
    pub(crate) strictness: Strictness,
    pub(crate) provider: &'a Arc<CryptoProvider>,
    pub(crate) roots: Arc<RootSet>,
    pub(crate) now: Timestamp,
    pub(crate) limit: Duration,
}

/// It failed; the socket is closed.
pub(crate) struct HandshakeError {
    pub(crate) cause: Cause,
    /// What is said of the certificate, if the handshake ended over it.
    pub(crate) judged: Option<Box<Judged>>,
}

impl From<Cause> for HandshakeError {
    fn from(cause: Cause) -> Self {
        Self {
            cause,
            judged: None,
        }
    }
}

impl Handshake<'_> {
    /// Shakes hands as a client. SNI and the name to verify are the MX name, in every mode
    /// (RFC 8461 section 7.1, row A5-12); with TLSA records SNI is their base domain (RFC 7672
    /// section 8.1, rows C3-11, C4-04), and PKIX still verifies the MX name.
    pub(crate) async fn run(
        self,
        peer: &Peer,
        tcp: TcpStream,
    ) -> Result<(TlsStream<TcpStream>, TlsSession), HandshakeError> {
        let dns_name = |name| server_name(name).map_err(|f| Cause::Certificate(Box::new(f)));
        let name = dns_name(&peer.tls_name)?;
        let sni = match &peer.dane {
            Some(records) => dns_name(&records.base)?,
            None => name.clone(),
        };
        let names = Names {
            pkix: name,
            dane: peer.dane.clone(),
        };
        let (config, record) =
            client_config(self.strictness, self.provider, self.roots, names, self.now)
                .map_err(|e| Cause::Local(e.to_string().into()))?;
        let connecting = TlsConnector::from(Arc::new(config)).connect(sni, tcp);
        match timeout(self.limit, connecting).await {
            Ok(Ok(stream)) => {
                let session = describe(&stream, &record);
                Ok((stream, session))
            }
            Ok(Err(error)) => Err(HandshakeError {
                cause: explain(&error, &record),
                judged: record.judged(),
            }),
            Err(_) => Err(Cause::Handshake(HandshakeFault::Timeout).into()),
        }
    }
}

fn describe(stream: &TlsStream<TcpStream>, record: &Record) -> TlsSession {
    let (_, session) = stream.get_ref();
    let version = match session.protocol_version() {
        Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
        Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
        _ => "unknown",
    };
    let cipher = session.negotiated_cipher_suite().map(|suite| {
        let name = format!("{:?}", suite.suite());
        // rustls' name for the suites of TLS 1.3 differs from IANA's.
        name.replacen("TLS13_", "TLS_", 1)
    });
    let group = session
        .negotiated_key_exchange_group()
        .map(|group| format!("{:?}", group.name()));
    TlsSession {
        version: version.into(),
        cipher: cipher.unwrap_or_default().into(),
        group: group.unwrap_or_default().into(),
        certificate: record.leaf(),
        verdict: record.verdict(),
        dane: record.dane_verdict(),
        client_certificate_requested: record.client_certificate_requested(),
    }
}

/// What an error means: from its type, never from its text.
fn explain(error: &io::Error, record: &Record) -> Cause {
    let tls = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<Error>());
    let Some(tls) = tls else {
        return Cause::Handshake(socket_fault(error));
    };
    let own_verdict = Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure);
    match record.refusal() {
        Some(cause) if *tls == own_verdict => cause,
        Some(_) | None => Cause::Handshake(wanted_of_us(tls_fault(tls), record)),
    }
}

/// Up to TLS 1.2 the alert itself does not say that a certificate is wanted: what came before it does, since
/// version and cipher are settled by then.
fn wanted_of_us(fault: HandshakeFault, record: &Record) -> HandshakeFault {
    match fault {
        HandshakeFault::Alert(name)
            if record.client_certificate_requested()
                && matches!(&*name, "handshake-failure" | "bad-certificate") =>
        {
            HandshakeFault::ClientCertificate(name)
        }
        other => other,
    }
}

/// The alert that the peer ended the TLS session with, if that is what this error is.
pub(crate) fn alert(error: &io::Error) -> Option<HandshakeFault> {
    let inner = error.get_ref()?.downcast_ref::<Error>()?;
    matches!(inner, Error::AlertReceived(_)).then(|| tls_fault(inner))
}

fn socket_fault(error: &io::Error) -> HandshakeFault {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => HandshakeFault::Eof,
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::ConnectionAborted => HandshakeFault::Reset,
        io::ErrorKind::TimedOut => HandshakeFault::Timeout,
        _ => HandshakeFault::Other(error.to_string().into()),
    }
}

fn tls_fault(error: &Error) -> HandshakeFault {
    match error {
        Error::AlertReceived(AlertDescription::ProtocolVersion)
        | Error::PeerIncompatible(
            PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
        ) => HandshakeFault::ProtocolVersion,
        Error::AlertReceived(alert @ AlertDescription::CertificateRequired) => {
            HandshakeFault::ClientCertificate(kebab(&format!("{alert:?}")))
        }
        Error::AlertReceived(AlertDescription::Unknown(number)) => {
            HandshakeFault::Alert(format!("unknown-{number}").into())
        }
        Error::AlertReceived(alert) => HandshakeFault::Alert(kebab(&format!("{alert:?}"))),
        // The certificate's own faults never stop the handshake here, so this is about the key.
        Error::InvalidCertificate(_)
        | Error::PeerMisbehaved(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme) => {
            HandshakeFault::WrongSignature
        }
        Error::InvalidMessage(InvalidMessage::HandshakePayloadTooLarge) => {
            HandshakeFault::CertificateTooLarge
        }
        Error::InvalidMessage(
            InvalidMessage::InvalidContentType
            | InvalidMessage::UnknownProtocolVersion
            | InvalidMessage::InvalidEmptyPayload
            | InvalidMessage::MessageTooLarge,
        ) => HandshakeFault::NotTls,
        // The list of rustls is open.
        other => HandshakeFault::Other(other.to_string().into()),
    }
}

/// `HandshakeFailure` becomes `handshake-failure`, `UnknownCA` becomes `unknown-ca`.
fn kebab(name: &str) -> Box<str> {
    let mut text = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() && text.ends_with(|before: char| before.is_ascii_lowercase()) {
            text.push('-');
        }
        text.push(c);
    }
    text.make_ascii_lowercase();
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn m3_alert_names() {
        for (alert, want) in [
            (
                AlertDescription::HandshakeFailure,
                "alert-handshake-failure",
            ),
            (AlertDescription::UnknownCA, "alert-unknown-ca"),
            (AlertDescription::Unknown(200), "alert-unknown-200"),
        ] {
            let code = tls_fault(&Error::AlertReceived(alert)).code();
            assert_eq!(&*code, want);
        }
        let version = tls_fault(&Error::AlertReceived(AlertDescription::ProtocolVersion));
        assert_eq!(&*version.code(), "protocol-version");
    }

    #[test]
    fn what_is_too_large_is_named_in_plain_words() {
        let fault = tls_fault(&InvalidMessage::HandshakePayloadTooLarge.into());
        assert_eq!(fault.to_string(), "its certificate is larger than 64 KiB");
        assert_eq!(&*fault.code(), "certificate-too-large");
    }
}
