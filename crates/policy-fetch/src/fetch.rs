//! The port through which policies are fetched, and every way in which that fails.

use std::net::IpAddr;
use std::time::Duration;

use mail_types::{AddressClass, BoxFuture, Domain, Timestamp};
use mta_sts::{Parsed, PolicyError};
use tls_words::Untrusted;

/// Fetches `https://mta-sts.<domain>/.well-known/mta-sts.txt` (RFC 8461 section 3.3), once, with
/// no redirect, no retry and no cache.
pub trait PolicyFetcher: Send + Sync {
    /// The whole valid policy, or why not, `within` this time for everything together.
    fn fetch<'a>(
        &'a self,
        domain: &'a Domain,
        within: Duration,
    ) -> BoxFuture<'a, Result<Parsed, FetchFailure>>;
}

/// A failed fetch.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{cause}")]
pub struct FetchFailure {
    /// What went wrong.
    pub cause: FetchError,
    /// The server's Retry-After; it only ever lengthens our own back-off, to a day at most.
    pub retry_after: Option<Duration>,
}

impl From<FetchError> for FetchFailure {
    fn from(cause: FetchError) -> Self {
        Self {
            cause,
            retry_after: None,
        }
    }
}

/// Why a policy could not be fetched. Texts from outside are already made printable and short.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// `mta-sts.` in front makes the name longer than DNS allows.
    #[error("the name mta-sts.<domain> is longer than DNS allows")]
    NameTooLong,
    /// The policy host has no address, or DNS did not say.
    #[error("the policy host has no address: {0}")]
    Dns(mail_types::DnsError),
    /// All its addresses are special-use ones, which we do not connect to.
    #[error(
        "the policy host resolves to {address}, {class}, which is not allowed (egress.allow-special-use)"
    )]
    RefusedAddress {
        /// The first refused address.
        address: IpAddr,
        /// What kind it is.
        class: AddressClass,
    },
    /// TCP did not come about.
    #[error("cannot connect to the policy host: {0}")]
    Connect(String),
    /// The certificate is not valid for the policy host.
    #[error("the certificate of the policy host is not valid: {0}")]
    Certificate(PkixError),
    /// By our own clock the certificate is out of its time, and that clock is doubted (row H8-01): nothing
    /// is known then of certificate or policy.
    #[error(
        "the certificate of the policy host was refused ({0}), but our own clock is doubted: see sealpost clock"
    )]
    ClockDoubted(PkixError),
    /// TLS failed for another reason than the certificate.
    #[error("the TLS handshake with the policy host failed: {0}")]
    Tls(String),
    /// Host and we have no version of TLS in common: it offers 1.1 at most (row H2-04).
    #[error("the policy host offers neither TLS 1.2 nor TLS 1.3: {0}")]
    TlsVersion(String),
    /// The deadline over everything has passed.
    #[error("timeout: {}", stage.in_vain(*bytes))]
    Timeout {
        /// What was being waited for.
        stage: Stage,
        /// Bytes of the body that had come.
        bytes: usize,
    },
    /// The addresses of the policy host failed, each in its way.
    #[error("none of the policy host's addresses answered: {said}")]
    Addresses {
        /// The cause that counts.
        main: Box<Self>,
        /// What each of them said; of many, only the first.
        said: String,
    },
    /// Only 200 is a policy; redirects are not followed (RFC 8461 section 3.3).
    #[error("HTTP status {status}{}", .location.as_ref().map(|l| format!(" to {l} (redirects are not followed)")).unwrap_or_default())]
    Status {
        /// The status code.
        status: u16,
        /// The Location header of a redirect.
        location: Option<String>,
    },
    /// Not `text/plain`.
    #[error("the media type is {}, not text/plain", .0.as_deref().unwrap_or("missing"))]
    MediaType(Option<String>),
    /// A content coding that we did not ask for.
    #[error("the answer has the content coding {0}, which was not asked for")]
    ContentEncoding(String),
    /// More than 64 KiB.
    #[error("the policy is longer than 65536 bytes")]
    Oversize,
    /// The connection ended before the body did.
    #[error("the answer ended after {bytes} bytes, before it was complete")]
    BodyIncomplete {
        /// Bytes of the body that had come.
        bytes: usize,
    },
    /// What came is no HTTP/1.1 answer within our limits.
    #[error("bad HTTP answer: {0}")]
    BadHttp(String),
    /// The body came, and is no policy.
    #[error("the policy is invalid: {0}")]
    Policy(PolicyError),
    /// Not tried now, for our own limits (rows A4-11, H1-07).
    #[error(
        "not fetched now{}: we ask a policy host at most once a minute and 20 times an hour",
        .after.map(|at| format!(", but after {}", at.rfc3339())).unwrap_or_default()
    )]
    RateLimited {
        /// When it is fetched, for whoever asks then.
        after: Option<Timestamp>,
    },
    /// Something of ours failed: memory, descriptors, the name servers that we ask, the TLS configuration.
    /// It says nothing about the policy host.
    #[error("our own side failed: {0}")]
    Local(String),
}

/// How far a fetch had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Waiting for a free slot of the fetch pool.
    Queue,
    /// Resolving the policy host.
    Dns,
    /// Connecting.
    Connect,
    /// In the TLS handshake.
    Tls,
    /// Waiting for status line and headers.
    Headers,
    /// Reading the body.
    Body,
}

impl Stage {
    /// What had not happened when the time was over.
    fn in_vain(self, bytes: usize) -> String {
        match self {
            Self::Queue => "too many other policies were being fetched".to_owned(),
            Self::Dns => "DNS did not say where the policy host is".to_owned(),
            Self::Connect => "no connection to the policy host came about".to_owned(),
            Self::Tls => {
                "the policy host took the connection, but not the TLS handshake to its end"
                    .to_owned()
            }
            Self::Headers => "the policy host took the connection, and answered nothing".to_owned(),
            Self::Body => format!("the answer did not end ({bytes} bytes of it had come)"),
        }
    }
}

impl std::fmt::Display for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Queue => "queue",
            Self::Dns => "dns",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Headers => "headers",
            Self::Body => "body",
        })
    }
}

/// What is wrong with a certificate (RFC 8461 section 3.3, RFC 5280, RFC 9525).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PkixError {
    /// Past its end.
    #[error("it expired on {}, and now it is {}", .not_after.rfc3339(), .now.rfc3339())]
    Expired {
        /// The end of its validity.
        not_after: Timestamp,
        /// Our clock.
        now: Timestamp,
    },
    /// Before its start.
    #[error("it is not valid before {}, and now it is {}", .not_before.rfc3339(), .now.rfc3339())]
    NotYetValid {
        /// The start of its validity.
        not_before: Timestamp,
        /// Our clock.
        now: Timestamp,
    },
    /// No DNS-ID in it is the policy host.
    #[error("it is for {}, not for {expected}", if .presented.is_empty() { "no DNS name".to_owned() } else { .presented.join(", ") })]
    Name {
        /// The policy host.
        expected: String,
        /// The DNS names in it; at most ten.
        presented: Vec<String>,
    },
    /// It does not lead to a root that we trust.
    #[error("{0}")]
    UnknownIssuer(Untrusted),
    /// Revoked.
    #[error("it has been revoked")]
    Revoked,
    /// Anything else, in the words of the TLS library.
    #[error("{0}")]
    Other(String),
}

/// The result types that a TLS report has for a failed fetch (RFC 8460 section 4.3.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ResultType {
    /// The policy could not be fetched.
    StsPolicyFetchError,
    /// The policy was fetched and is invalid.
    StsPolicyInvalid,
    /// The certificate of the policy host is not valid.
    StsWebpkiInvalid,
}

impl ResultType {
    /// The word of the report.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::StsPolicyFetchError => "sts-policy-fetch-error",
            Self::StsPolicyInvalid => "sts-policy-invalid",
            Self::StsWebpkiInvalid => "sts-webpki-invalid",
        }
    }
}

impl FetchError {
    /// The cause that counts where several addresses failed.
    #[must_use]
    pub fn main(&self) -> &Self {
        match self {
            Self::Addresses { main, .. } => main,
            one => one,
        }
    }

    /// How a TLS report names this failure.
    #[must_use]
    pub fn result_type(&self) -> ResultType {
        match self {
            Self::Addresses { main, .. } => main.result_type(),
            Self::Certificate(_) => ResultType::StsWebpkiInvalid,
            // A body over the limit is a policy that breaks the rules, not a transport failure.
            Self::Policy(_) | Self::Oversize => ResultType::StsPolicyInvalid,
            Self::NameTooLong
            | Self::Dns(_)
            | Self::RefusedAddress { .. }
            | Self::Connect(_)
            | Self::Tls(_)
            | Self::TlsVersion(_)
            | Self::Timeout { .. }
            | Self::Status { .. }
            | Self::MediaType(_)
            | Self::ContentEncoding(_)
            | Self::BodyIncomplete { .. }
            | Self::BadHttp(_)
            | Self::RateLimited { .. }
            | Self::ClockDoubted(_)
            | Self::Local(_) => ResultType::StsPolicyFetchError,
        }
    }

    /// Whether it is no fault of the policy host or its domain: nothing is known of the policy then, and mail
    /// must not go as if there were none.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        matches!(
            self.main(),
            Self::Local(_)
                | Self::Timeout {
                    stage: Stage::Queue,
                    ..
                }
        )
    }

    /// A short fixed word for the log and for grouping, for instance `http_status`.
    #[must_use]
    pub fn key(&self) -> &'static str {
        match self {
            Self::Addresses { main, .. } => main.key(),
            Self::NameTooLong => "name_too_long",
            Self::Dns(_) => "dns",
            Self::RefusedAddress { .. } => "refused_addr",
            Self::Connect(_) => "connect",
            Self::Certificate(PkixError::Expired { .. }) => "webpki:expired",
            Self::Certificate(PkixError::NotYetValid { .. }) => "webpki:not_yet_valid",
            Self::Certificate(PkixError::Name { .. }) => "webpki:name",
            Self::Certificate(PkixError::UnknownIssuer(_)) => "webpki:unknown_issuer",
            Self::Certificate(PkixError::Revoked) => "webpki:revoked",
            Self::Certificate(PkixError::Other(_)) => "webpki:other",
            Self::Tls(_) => "tls",
            Self::TlsVersion(_) => "tls_version",
            Self::Timeout { .. } => "timeout",
            Self::Status { .. } => "http_status",
            Self::MediaType(_) => "media_type",
            Self::ContentEncoding(_) => "content_encoding",
            Self::Oversize => "oversize",
            Self::BodyIncomplete { .. } => "body_incomplete",
            Self::BadHttp(_) => "bad_http",
            Self::Policy(_) => "policy_invalid",
            Self::RateLimited { .. } => "rate_limited",
            Self::ClockDoubted(_) => "clock_doubted",
            Self::Local(_) => "local",
        }
    }
}
