//! What is known of an open session.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use dane::HostRecords;
use mail_types::{HostName, Timestamp};
use smtp_proto::{Extensions, StartTls};

use crate::{CertificateFailure, DaneVerdict, Posture};

/// What is known of an open session. Before each MAIL FROM the caller evaluates these again.
#[derive(Clone, Debug)]
pub struct SessionFacts {
    /// The name that was connected to.
    pub mx: HostName,
    /// The address that was connected to.
    pub addr: SocketAddr,
    /// The address that we sent from.
    pub source: Option<IpAddr>,
    /// What was asked of the connection.
    pub posture: Posture,
    /// The TLSA records that its certificate was held against, with their base domain: it serves
    /// only what asks for exactly these.
    pub dane: Option<Arc<HostRecords>>,
    /// When it was open for mail.
    pub opened: Timestamp,
    /// What the peer offers: after TLS where there is TLS; nothing from before is believed.
    pub extensions: Extensions,
    /// What became of STARTTLS.
    pub starttls: StartTls,
    /// The TLS session; `None` in plain text.
    pub tls: Option<TlsSession>,
    /// The generation of trust anchors that was in force.
    pub roots_generation: u64,
    /// When it was opened, step by step.
    pub times: OpeningTimes,
}

/// When the steps of an opening ended; what was not reached has no time. For traces only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpeningTimes {
    /// TCP stood.
    pub connected: Option<Instant>,
    /// The peer had said 220 to STARTTLS: the handshake began.
    pub handshake: Option<Instant>,
    /// The handshake was done and the certificate judged.
    pub secured: Option<Instant>,
}

/// The TLS session, after the handshake.
#[derive(Clone, Debug)]
pub struct TlsSession {
    /// For instance `TLSv1.3`.
    pub version: Box<str>,
    /// For instance `TLS_AES_256_GCM_SHA384`.
    pub cipher: Box<str>,
    /// Key exchange, for instance `X25519MLKEM768`.
    pub group: Box<str>,
    /// The peer's certificate.
    pub certificate: Option<LeafCertificate>,
    /// Whether the peer is who it claims to be.
    pub verdict: TlsVerdict,
    /// What its TLSA records say.
    pub dane: DaneVerdict,
    /// The peer asked for a certificate of ours; none was sent (row H3-27).
    pub client_certificate_requested: bool,
}

/// Whether the peer of a TLS session is who it claims to be.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum TlsVerdict {
    /// PKIX: valid chain, valid for the MX name, and the connection was opened to demand that.
    Authenticated,
    /// Only observed: authenticated for nobody, whatever it saw.
    Observed {
        /// What *authenticate* would have said.
        certificate: Result<(), Box<CertificateFailure>>,
        /// Whether the peer proved to hold the certificate's key.
        signature: SignatureCheck,
    },
}

/// Whether the handshake's signature was checked (row I4-02). A wrong one ends the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum SignatureCheck {
    /// It was, with the certificate's key.
    Checked,
    /// It could not be: the certificate or its key is of a kind that we cannot read.
    Unchecked,
}

impl TlsVerdict {
    /// For the record of an attempt (`would_verify`): whether *authenticate* would have passed.
    /// Never a ground for relying on the connection.
    #[must_use]
    pub const fn would_verify(&self) -> bool {
        match self {
            Self::Authenticated => true,
            Self::Observed {
                certificate,
                signature,
            } => certificate.is_ok() && matches!(signature, SignatureCheck::Checked),
        }
    }

    /// Why *authenticate* would have refused the certificate, if it would.
    #[must_use]
    pub fn failure(&self) -> Option<&CertificateFailure> {
        match self {
            Self::Authenticated => None,
            Self::Observed { certificate, .. } => certificate.as_ref().err().map(|f| &**f),
        }
    }
}

/// What is shown of a certificate; all text is printable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeafCertificate {
    /// DNS names of the subjectAltName, at most 32.
    pub subject_alt_names: Vec<Box<str>>,
    /// The issuer's distinguished name.
    pub issuer: Box<str>,
    /// First valid moment.
    pub not_before: Timestamp,
    /// Last valid moment.
    pub not_after: Timestamp,
    /// SHA-256 of the certificate, in lower-case hexadecimal (row H4-17).
    pub sha256: Box<str>,
}
