//! What a session shows about the policies of those it is for, as TLS reports count it (RFC 8460 section 4; pure).
//!
//! | applies | counts for | compliant is |
//! |---|---|---|
//! | a policy of mode enforce or testing | the policy domain, `sts` | the MX name is listed, and the certificate valid for it |
//! | TLSA records | the TLSA base domain, `tlsa` | they accept the certificate |
//! | neither, or a policy of mode none (decision AMB-20) | the policy domain, `no-policy-found` | TLS, with any certificate |
//!
//! What sets a policy aside for one message changes nothing: what is told is how TLS fared.

mod counts;
#[cfg(test)]
mod tests;

pub use counts::{About, Checked, Count, Fault, Records, Shown, counts, overlooked, reported};
