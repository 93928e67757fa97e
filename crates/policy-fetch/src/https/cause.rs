//! What went wrong, from the error's source chain down to `rustls::Error`; never from its text.

use std::error::Error;
use std::io;

use mail_types::{HostName, Timestamp};
use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError, InvalidMessage, PeerIncompatible};
use tls_words::Untrusted;

use super::answer::printable;
use super::connect::Progress;
use crate::fetch::{FetchError, FetchFailure, PkixError, Stage};

/// The exact cause of a failed request or body.
pub(super) fn of(
    error: &reqwest::Error,
    host: &HostName,
    progress: &Progress,
    bytes: usize,
) -> FetchFailure {
    cause(error, host, progress, bytes).into()
}

fn cause(error: &reqwest::Error, host: &HostName, progress: &Progress, bytes: usize) -> FetchError {
    for e in chain(error) {
        if let Some(tls) = tls_error(e) {
            return from_rustls(tls, host, progress);
        }
    }
    if error.is_builder() {
        // All that a request has of a domain is the name. What is wrong with that is no fault of ours.
        let what = format!("its name cannot stand in a URL: {}", words(error));
        return FetchError::Connect(what);
    }
    if error.is_connect() && error.is_timeout() {
        let stage = progress.stage();
        return FetchError::Timeout { stage, bytes };
    }
    if error.is_connect() {
        let io = chain(error).find_map(|e| e.downcast_ref::<io::Error>());
        if let Some(lack) = io.and_then(mail_types::socket_lack) {
            return FetchError::Local(lack);
        }
        let what = io.map_or_else(|| words(error), ToString::to_string);
        return match progress.stage() {
            Stage::Tls => FetchError::Tls(
                io.and_then(ended)
                    .map_or_else(|| printable(what.as_bytes()), Into::into),
            ),
            Stage::Queue | Stage::Dns | Stage::Connect | Stage::Headers | Stage::Body => {
                // The system's number says no more than its words.
                let what = what.split(" (os error").next().unwrap_or(&what);
                FetchError::Connect(printable(what.as_bytes()))
            }
        };
    }
    if progress.stage() == Stage::Body {
        // Cut short, or without close_notify where only the close ends the body (row H2-18).
        return FetchError::BodyIncomplete { bytes };
    }
    FetchError::BadHttp(words(error))
}

/// The innermost error's words, cleaned.
pub(super) fn words(error: &reqwest::Error) -> String {
    let last = chain(error).last().map(ToString::to_string);
    printable(last.unwrap_or_else(|| error.to_string()).as_bytes())
}

fn chain(error: &reqwest::Error) -> impl Iterator<Item = &(dyn Error + 'static)> {
    std::iter::successors(error.source(), |e: &&(dyn Error + 'static)| (**e).source())
}

/// `io::Error` hides what it wraps from the source chain, and is itself wrapped at times.
fn tls_error<'a>(mut e: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    loop {
        if let Some(tls) = e.downcast_ref::<rustls::Error>() {
            return Some(tls);
        }
        e = e.downcast_ref::<io::Error>()?.get_ref()?;
    }
}

/// The library's words for a connection that ended in the handshake are for programmers. What wraps the error
/// has no kind of its own.
fn ended(error: &io::Error) -> Option<&'static str> {
    let wrapped = error.get_ref().and_then(|e| e.downcast_ref());
    if let Some(inner) = wrapped {
        return ended(inner);
    }
    match error.kind() {
        io::ErrorKind::UnexpectedEof => Some(tls_words::CLOSED),
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::ConnectionAborted => Some(tls_words::RESET),
        _ => None,
    }
}

fn from_rustls(error: &rustls::Error, host: &HostName, progress: &Progress) -> FetchError {
    match error {
        rustls::Error::InvalidCertificate(fault) => {
            FetchError::Certificate(pkix(fault, host, progress))
        }
        rustls::Error::NoCertificatesPresented => {
            FetchError::Certificate(PkixError::Other("the server shows none".into()))
        }
        old @ (rustls::Error::AlertReceived(AlertDescription::ProtocolVersion)
        | rustls::Error::PeerIncompatible(
            PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
        )) => FetchError::TlsVersion(printable(old.to_string().as_bytes())),
        rustls::Error::AlertReceived(AlertDescription::Unknown(number)) => {
            FetchError::Tls(format!("the host sent the alert unknown-{number}"))
        }
        rustls::Error::AlertReceived(alert) => {
            let name = tls_words::alert(&format!("{alert:?}"));
            FetchError::Tls(format!("the host sent the alert {name}"))
        }
        rustls::Error::InvalidMessage(
            InvalidMessage::InvalidContentType
            | InvalidMessage::UnknownProtocolVersion
            | InvalidMessage::InvalidEmptyPayload
            | InvalidMessage::MessageTooLarge,
        ) => FetchError::Tls(tls_words::NOT_TLS.into()),
        other => FetchError::Tls(printable(other.to_string().as_bytes())),
    }
}

fn pkix(fault: &CertificateError, host: &HostName, progress: &Progress) -> PkixError {
    match fault {
        CertificateError::ExpiredContext { time, not_after } => PkixError::Expired {
            not_after: at(*not_after),
            now: at(*time),
        },
        CertificateError::NotValidYetContext { time, not_before } => PkixError::NotYetValid {
            not_before: at(*not_before),
            now: at(*time),
        },
        CertificateError::NotValidForNameContext { presented, .. } => PkixError::Name {
            expected: host.to_string(),
            presented: presented.iter().take(10).map(|n| shown(n)).collect(),
        },
        CertificateError::NotValidForName => PkixError::Name {
            expected: host.to_string(),
            presented: Vec::new(),
        },
        CertificateError::Revoked => PkixError::Revoked,
        other => match progress.untrusted() {
            Some(why) => PkixError::UnknownIssuer(why),
            None if *other == CertificateError::UnknownIssuer => {
                let issuer = "(not noted)".into();
                PkixError::UnknownIssuer(Untrusted::UnknownIssuer { issuer })
            }
            None => PkixError::Other(printable(other.to_string().as_bytes())),
        },
    }
}

/// rustls writes names as `DnsName("x")`.
fn shown(presented: &str) -> String {
    let name = presented
        .strip_prefix("DnsName(\"")
        .and_then(|n| n.strip_suffix("\")"))
        .unwrap_or(presented);
    printable(name.as_bytes())
}

fn at(time: UnixTime) -> Timestamp {
    Timestamp::from_secs(time.as_secs())
}
