//! Outbound SMTP sessions: connect, STARTTLS, certificate verification with exact causes.
//!
//! [`Connector::connect`] demands STARTTLS and a certificate that is valid for the MX name; others
//! are asked for by [`Connector::connect_with`]: the host's TLSA records instead or as well, and
//! every weaker [`Posture`] has `dangerous` in its name. A [`Connection`] carries transactions one after the other;
//! [`Pool`] keeps idle ones, keyed by all that a verdict depends on ([`PoolKey`]).
//!
//! Nothing here decides what a destination demands, and no failure here is permanent by itself:
//! errors say what happened, where, and what the peer said.

mod account;
mod body;
mod certificate;
mod config;
mod connection;
mod connector;
mod dane_verdict;
mod error;
mod facts;
mod handshake;
mod listed;
mod pool;
mod posture;
mod revocation;
mod roots;
mod specifics;
mod steps;
mod timer;
mod transcript;
mod verify;
mod wanted;
mod wire;

pub use account::{Account, AccountKey};
pub use body::Body;
pub use certificate::{CertificateFailure, CertificateFault, few_names};
pub use config::{Clock, ConnectorConfig, Peer, Timeouts};
pub use connection::Connection;
pub use connector::Connector;
pub use dane_verdict::{DaneFailure, DaneFault, DaneMatch, DaneVerdict};
pub use error::{
    Cause, HandshakeFault, Judged, ProtocolFault, SessionError, SocketFault, TransactionError,
};
pub use facts::{
    LeafCertificate, OpeningTimes, SessionFacts, SignatureCheck, TlsSession, TlsVerdict,
};
pub use listed::names_a_block_list;
pub use pool::{Pool, PoolKey, PoolLimits};
pub use posture::Posture;
pub use revocation::{Revocation, RevocationError, RevocationFailure, RevocationList};
pub use roots::{RootSet, RootSource, Roots, RootsError, RootsWarning, built_in_roots};
pub use smtp_proto::{
    AuthFault, Credentials, CredentialsError, Extensions, MissingExtension, RecipientOutcome,
    Reply, SizeLimit, Stage, StartTls, Transaction,
};
pub use steps::{awaited, stage_words};
pub use transcript::Transcript;
pub use verify::noting_config;
pub use wanted::{wants_a_login, wants_tls};
