//! What both halves of SCRAM-SHA-256 compute with (RFC 5802 section 3, RFC 7677).

use std::fmt;
use std::num::NonZeroU32;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::{digest, hmac, pbkdf2};
use zeroize::Zeroizing;

/// Octets of every key, signature and proof.
pub(crate) const LENGTH: usize = 32;
/// RFC 7677 section 4.
pub(crate) const LEAST_ROUNDS: u32 = 4_096;

/// What a server keeps of a password: with it a login can be judged, and not be made. Prints
/// nothing of itself.
#[derive(Clone, PartialEq, Eq)]
pub struct ScramKeys {
    stored: [u8; LENGTH],
    server: Zeroizing<[u8; LENGTH]>,
}

/// What a server needs for one login by SCRAM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScramSecret {
    /// Told to the client.
    pub salt: Box<[u8]>,
    /// Rounds of PBKDF2, told to the client; at least 4,096 (RFC 7677 section 4).
    pub rounds: NonZeroU32,
    /// Never told.
    pub keys: ScramKeys,
}

impl ScramKeys {
    /// Computes the keys; costs time on purpose. The password is SASLprep's result.
    #[must_use]
    pub fn derive(password: &[u8], salt: &[u8], rounds: NonZeroU32) -> Self {
        let salted = salted(password, salt, rounds);
        let client_key = sign(&*salted, b"Client Key");
        Self {
            stored: octets(digest::digest(&digest::SHA256, client_key.as_ref()).as_ref()),
            server: Zeroizing::new(octets(sign(&*salted, b"Server Key").as_ref())),
        }
    }

    /// Keys that were derived before.
    #[must_use]
    pub fn new(stored: [u8; LENGTH], server: [u8; LENGTH]) -> Self {
        Self {
            stored,
            server: Zeroizing::new(server),
        }
    }

    /// `StoredKey`, for the users file.
    #[must_use]
    pub const fn stored(&self) -> &[u8; LENGTH] {
        &self.stored
    }

    /// `ServerKey`, for the users file.
    #[must_use]
    pub fn server(&self) -> &[u8; LENGTH] {
        &self.server
    }

    /// Whether `ClientProof` shows that its maker knows the password. In constant time.
    pub(crate) fn accept(&self, message: &[u8], proof: &[u8]) -> bool {
        let Ok(proof) = <[u8; LENGTH]>::try_from(proof) else {
            return false;
        };
        let signature = sign(&self.stored, message);
        let mut client_key = Zeroizing::new(proof);
        for (key, signature) in client_key.iter_mut().zip(signature.as_ref()) {
            *key ^= signature;
        }
        let stored = digest::digest(&digest::SHA256, &*client_key);
        verify_slices_are_equal(stored.as_ref(), &self.stored).is_ok()
    }

    /// `ServerSignature`.
    pub(crate) fn signature(&self, message: &[u8]) -> [u8; LENGTH] {
        octets(sign(&*self.server, message).as_ref())
    }
}

impl fmt::Debug for ScramKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScramKeys").finish_non_exhaustive()
    }
}

/// `SaltedPassword`.
pub(crate) fn salted(password: &[u8], salt: &[u8], rounds: NonZeroU32) -> Zeroizing<[u8; LENGTH]> {
    let mut salted = Zeroizing::new([0; LENGTH]);
    pbkdf2::derive(
        pbkdf2::PBKDF2_HMAC_SHA256,
        rounds,
        salt,
        password,
        &mut *salted,
    );
    salted
}

/// HMAC-SHA-256.
pub(crate) fn sign(key: &[u8], message: &[u8]) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message)
}

/// Of an output of SHA-256, which has as many.
fn octets(of: &[u8]) -> [u8; LENGTH] {
    let mut octets = [0; LENGTH];
    for (to, from) in octets.iter_mut().zip(of) {
        *to = *from;
    }
    octets
}
