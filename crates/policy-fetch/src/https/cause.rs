//! What went wrong, from the error's source chain down to `rustls::Error`; never from its text.

use std::error::Error;
use std::io;

use mail_types::{HostName, Timestamp};
use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError, PeerIncompatible};

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
            return from_rustls(tls, host);
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
            Stage::Tls => FetchError::Tls(printable(what.as_bytes())),
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

fn from_rustls(error: &rustls::Error, host: &HostName) -> FetchError {
    match error {
        rustls::Error::InvalidCertificate(fault) => FetchError::Certificate(pkix(fault, host)),
        rustls::Error::NoCertificatesPresented => {
            FetchError::Certificate(PkixError::Other("the server shows none".into()))
        }
        old @ (rustls::Error::AlertReceived(AlertDescription::ProtocolVersion)
        | rustls::Error::PeerIncompatible(
            PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
        )) => FetchError::TlsVersion(printable(old.to_string().as_bytes())),
        other => FetchError::Tls(printable(other.to_string().as_bytes())),
    }
}

fn pkix(fault: &CertificateError, host: &HostName) -> PkixError {
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
        CertificateError::UnknownIssuer => PkixError::UnknownIssuer,
        CertificateError::Revoked => PkixError::Revoked,
        other => PkixError::Other(printable(other.to_string().as_bytes())),
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
