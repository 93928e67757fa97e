//! The client's half of a session (RFC 5321 section 3, and the extensions it uses), without I/O.
//!
//! [`Opening`] leads from the banner to the EHLO that counts, [`Exchange`] through one mail
//! transaction. Both are asked what to do next and told what the peer replied; neither knows
//! sockets or clocks. Commands are written with CRLF into a buffer that the driver owns.

mod auth;
mod command;
mod credentials;
mod ehlo;
mod exchange;
mod opening;
mod scram;
mod stage;
mod transaction;

pub use auth::{AuthAction, AuthFault, Authentication, Mechanism, Mechanisms};
pub use credentials::{Credentials, CredentialsError};
pub use ehlo::{Extensions, SizeLimit};
pub use exchange::{Exchange, ExchangeAction, ExchangeFault, RecipientOutcome};
pub use opening::{Opening, OpeningAction, OpeningFault, StartTls, StartTlsRule};
pub use scram::ScramFault;
pub use stage::Stage;
pub use transaction::{Framing, MissingExtension, Transaction};
