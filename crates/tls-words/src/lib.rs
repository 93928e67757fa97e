//! What is wrong with a peer's TLS, in the words that logs, reports and commands say it in: alike of mail
//! hosts and of policy hosts. Nothing here decides whether a certificate is valid.

mod chain;
mod handshake;

pub use chain::{Untrusted, is_self_issued, printable, why_untrusted};
pub use handshake::{CLOSED, NOT_TLS, RESET, alert};
