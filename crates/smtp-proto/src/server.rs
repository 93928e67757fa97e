//! The server's half of SMTP (RFC 5321), without I/O.
//!
//! A driver feeds a [`Session`] with octets as they come and does what the returned [`Action`]
//! says. Replies gather in a buffer of the session; the driver writes them when it is told to
//! read, so that one write answers a whole pipelined batch (RFC 2920).
//!
//! ```text
//! loop {
//!     let (used, action) = session.handle(&input, now);
//!     input.advance(used);
//!     match action {
//!         Action::Read => { write session.output(); read more into input }
//!         Action::Admit { .. } => session.admitted(may mail come in now?),
//!         Action::Authenticate => look at session.take_auth_request() and answer it,
//!         Action::CheckRecipient => session.recipient_checked(Ok(())),
//!         Action::Xclient(claim) => session.impersonated(what that client may do),
//!         Action::Begin { .. } => if let Some(trace) = session.begun(queue id, now) { store trace },
//!         Action::Body(octets) => store octets; on failure session.body_refused(why),
//!         Action::Abandon => forget what was stored,
//!         Action::Commit(envelope) => session.committed(make it durable),
//!         Action::StartTls => { write; handshake; session.tls_started(facts) }
//!         Action::Close => { write; close }
//!     }
//!     for notice in session.take_notices() { count and log }
//! }
//! ```
//!
//! Invariants: each command gets exactly one reply (DATA one more after its content); a message
//! is committed at most once; nothing that came in before TLS is used in it.

mod auth;
mod header_scan;
mod identity;
mod names;
mod notice;
mod nul_dots;
mod refusal;
mod session;
mod settings;
mod trace;
mod xclient;
mod xforward;

pub use auth::{AuthAnswer, AuthRequest, ClientCertificate, Logins, SaslMechanism};
pub use identity::{Ground, Identity};
pub use names::prepared_name;
pub use notice::{Cause, Ended, Incident, LoginResult, Notice, Stage};
pub use refusal::Refusal;
pub use session::{Action, Session, Tally};
pub use settings::{Peer, Relaying, Role, Settings, TlsMode, TlsRequiredNo};
pub use trace::{Protocol, Trace, trace_name};
pub use xclient::{Claimed, ClaimedClient, XclientError};
pub use xforward::{Forwarded, Source, XforwardError};
