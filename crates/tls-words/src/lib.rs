//! What is wrong with a peer's TLS, in the words that logs, reports and commands say it in: alike of mail
//! hosts and of policy hosts; and what is wrong with a PEM file of ours. Nothing here decides whether a certificate is valid.

mod chain;
mod handshake;
mod pem;

pub use chain::{Untrusted, is_self_issued, printable, why_untrusted};
pub use handshake::{CLOSED, NOT_TLS, RESET, alert};
pub use pem::why_no_pem;
