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
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::roots::RootSet;
use crate::timer::Timer;
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
        let until = Instant::now() + self.limit;
        match Timer::default().within(until, connecting).await {
            Some(Ok(stream)) => {
                let session = describe(&stream, &record);
                Ok((stream, session))
            }
            Some(Err(error)) => Err(HandshakeError {
                cause: explain(&error, &record),
                judged: record.judged(),
            }),
            None => Err(Cause::Handshake(HandshakeFault::Timeout).into()),
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
            HandshakeFault::ClientCertificate(tls_words::alert(&format!("{alert:?}")))
        }
        Error::AlertReceived(AlertDescription::Unknown(number)) => {
            HandshakeFault::Alert(format!("unknown-{number}").into())
        }
        Error::AlertReceived(alert) => {
            HandshakeFault::Alert(tls_words::alert(&format!("{alert:?}")))
        }
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

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::net::{SocketAddr, TcpListener};
    use std::pin::pin;
    use std::sync::mpsc;
    use std::task::Poll;

    use mail_types::HostName;
    use rustls::{ServerConfig, ServerConnection};
    use rustls_pki_types::PrivatePkcs8KeyDer;

    use super::*;
    use crate::RootSource;

    const PATIENCE: Duration = Duration::from_secs(600);

    /// A TLS server in a thread of its own, which answers the client's first words when it may, and says so.
    fn server(
        provider: &Arc<CryptoProvider>,
        may_answer: mpsc::Receiver<()>,
    ) -> (SocketAddr, mpsc::Receiver<()>) {
        let own = rcgen::generate_simple_self_signed(["mx1.d.test".to_owned()]).unwrap();
        let key = PrivatePkcs8KeyDer::from(own.signing_key.serialize_der());
        let config = ServerConfig::builder_with_provider(Arc::clone(provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![own.cert.into()], key.into())
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let (answered, answers) = mpsc::channel();
        std::thread::spawn(move || {
            let (mut tcp, _) = listener.accept().unwrap();
            let mut server = ServerConnection::new(Arc::new(config)).unwrap();
            while !server.wants_write() {
                server.read_tls(&mut tcp).unwrap();
                server.process_new_packets().unwrap();
            }
            may_answer.recv_timeout(PATIENCE).unwrap();
            while server.wants_write() {
                server.write_tls(&mut tcp).unwrap();
            }
            answered.send(()).unwrap();
            // Until the client closes.
            while matches!(server.read_tls(&mut tcp), Ok(1..)) {
                let _ = server.process_new_packets();
            }
        });
        (addr, answers)
    }

    #[tokio::test]
    async fn an_answer_that_came_while_nothing_ran_is_read_before_the_limit_counts() {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let (go, may_answer) = mpsc::channel();
        let (addr, answers) = server(&provider, may_answer);
        let tcp = TcpStream::connect(addr).await.unwrap();
        tcp.writable().await.unwrap();
        let handshake = Handshake {
            strictness: Strictness::DangerousObserve,
            provider: &provider,
            roots: Arc::new(RootSet::load(&[RootSource::Webpki]).unwrap().0),
            now: Timestamp::from_secs(1_772_366_400),
            limit: Duration::ZERO,
        };
        let peer = Peer::new(HostName::parse("mx1.d.test").unwrap(), addr);
        let mut run = pin!(handshake.run(&peer, tcp));
        let first = poll_fn(|cx| Poll::Ready(run.as_mut().poll(cx)));
        assert!(first.await.is_pending());
        tokio::time::sleep(Duration::from_millis(20)).await;
        // The time is over. The answer comes now, and is not read yet.
        let mut is_answered = false;
        let ended = poll_fn(|cx| {
            let polled = run.as_mut().poll(cx);
            if polled.is_pending() && !std::mem::replace(&mut is_answered, true) {
                go.send(()).unwrap();
                answers.recv_timeout(PATIENCE).unwrap();
            }
            polled
        });
        match ended.await {
            Ok((_, session)) => assert_eq!(&*session.version, "TLSv1.3"),
            Err(error) => panic!("{}", error.cause),
        }
    }

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
