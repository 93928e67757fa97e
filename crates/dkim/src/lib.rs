//! DKIM signatures (RFC 6376, RFC 8301, RFC 8463), made while a message streams by.
//!
//! A [`Signer`] looks at the header once it is complete and gives a [`Pending`] signature, whose
//! length is known already; a [`BodyHash`] then takes the body as it passes; with its digest the
//! signature is made. So nobody has to keep the body, and whoever stores the message can leave
//! room for the field at its top.
//!
//! ```text
//! header complete ── Signer::begin ──→ Pending ── len() ──→ leave so many octets at the top
//! body, in pieces ── BodyHash::update                │
//! end             ── BodyHash::finish ── digest ──→ Pending::finish ──→ the field
//! ```
//!
//! Only relaxed/relaxed, rsa-sha256 and ed25519-sha256; never `l=` (section 8.2), never rsa-sha1
//! (RFC 8301 section 3.1). The field comes out of our own few hundred lines rather than of
//! mail-auth: that crate signs messages that are whole in memory, and brings a resolver, a parser
//! and a second set of cryptography.

mod body;
mod header;
mod key;
mod record;
mod signer;

#[cfg(test)]
mod tests;

pub use body::{BodyDigest, BodyHash};
pub use key::{Algorithm, KeyError, SigningKey};
pub use record::Record;
pub use signer::{
    HeaderNameError, OVERSIGNED_BY_DEFAULT, Pending, SIGNED_BY_DEFAULT, SignError, Signer,
};
