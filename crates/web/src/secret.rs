//! Secrets: made, hashed, compared.

use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::HEXLOWER;

/// 32 random octets; `None` if the system has none.
pub type Random = Arc<dyn Fn() -> Option<[u8; 32]> + Send + Sync>;

/// What is kept of a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Digest([u8; 32]);

impl Digest {
    /// SHA-256.
    pub(crate) fn of(secret: &str) -> Self {
        let mut out = [0; 32];
        for (to, from) in out
            .iter_mut()
            .zip(digest(&SHA256, secret.as_bytes()).as_ref())
        {
            *to = *from;
        }
        Self(out)
    }

    /// 64 hexadecimal digits.
    pub(crate) fn from_hex(text: &str) -> Option<Self> {
        let octets = HEXLOWER.decode(text.to_ascii_lowercase().as_bytes()).ok()?;
        octets.try_into().ok().map(Self)
    }

    /// Takes the same time wherever they differ.
    pub(crate) fn equals(&self, other: &Self) -> bool {
        verify_slices_are_equal(&self.0, &other.0).is_ok()
    }
}

/// A fresh secret as text.
pub(crate) fn fresh(random: &Random) -> Option<String> {
    random().map(|octets| HEXLOWER.encode(&octets))
}
