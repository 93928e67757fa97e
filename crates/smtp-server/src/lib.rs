//! Listeners and inbound SMTP sessions; declares the port through which mail is handed over.
//!
//! [`Server::bind`] opens the ports, so that whoever starts it learns of trouble before anything
//! runs; [`Server::run`] accepts until it is told to stop, then lets sessions that are in the
//! midst of a message finish. Each session is a task that drives a
//! [`smtp_proto::server::Session`] and hands its mail to an [`Intake`]. What happens is told to an
//! [`Observer`]; time, mail store, access rules and certificates come in by argument.

mod access;
mod authenticator;
mod bind;
mod connection;
mod identities;
mod intake;
mod limits;
mod memory;
mod observer;
mod server;
mod terms;
mod timeouts;
mod tls;
mod turn_away;

pub use access::Access;
pub use authenticator::{Authenticator, LoginAttempt, LoginVerdict};
pub use bind::BindError;
pub use identities::{AllowedRate, Identities, IdentityRules};
pub use intake::{Incoming, Intake, Origin};
pub use limits::{ConnectionRate, Limit, Limits};
pub use memory::ContentMemory;
pub use observer::{Client, Event, Observer, Received, TimeoutStage};
pub use server::{Clock, ListenerSettings, Server, ServerSettings};
pub use smtp_proto::server::{
    Cause, Ended, Forwarded, Identity, Incident, LoginResult, Logins, Refusal, Relaying, Role,
    SaslMechanism, Settings, Source, Stage, Tally, TlsMode, TlsRequiredNo, prepared_name,
};
pub use smtp_proto::{BareNewline, ScramSecret};
pub use terms::{Change, Reins};
pub use timeouts::Timeouts;
pub use tls::{
    CertificateDates, KeyPairFiles, LoadedTls, NamedKeyPair, ServerTls, TlsFiles, TlsLoadError,
    VerifiedCertificate, handshake_fault,
};
