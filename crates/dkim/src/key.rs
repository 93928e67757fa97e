//! Private keys: RSA of 2048 bits and more, Ed25519.

use std::fmt;

use aws_lc_rs::digest::Digest;
use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rsa::KeyPair as RsaKeyPair;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;

use crate::{Record, SignError};

/// A private key that may sign.
pub struct SigningKey(Kind);

enum Kind {
    Rsa(RsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

/// What is signed with (the `a=` tag).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// RFC 6376 section 3.3.2.
    RsaSha256,
    /// RFC 8463.
    Ed25519Sha256,
}

/// Why a key cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// There is no private key in PEM form in it.
    #[error("no private key in PEM form is in it")]
    Missing,
    /// It is protected by a passphrase.
    #[error("the key is encrypted with a passphrase")]
    Encrypted,
    /// RFC 8301 section 3.2: signers SHOULD use at least 2048 bits.
    #[error("the RSA key has fewer than 2048 bits, which receivers may disregard")]
    TooShort,
    /// Longer than verifiers have to handle (RFC 8301 section 3.2 asks for up to 4096).
    #[error("the RSA key has more than 4096 bits, which receivers need not verify")]
    TooLong,
    /// Neither RSA nor Ed25519, or damaged.
    #[error("it is neither an RSA nor an Ed25519 key, or it is damaged")]
    Kind,
}

impl SigningKey {
    /// Reads PKCS #8 (`BEGIN PRIVATE KEY`) or, for RSA, PKCS #1 (`BEGIN RSA PRIVATE KEY`).
    ///
    /// # Errors
    /// Says what is wrong with the key.
    pub fn from_pem(pem: &[u8]) -> Result<Self, KeyError> {
        let der = PrivateKeyDer::from_pem_slice(pem).map_err(|_| {
            let text = String::from_utf8_lossy(pem);
            if text.contains("ENCRYPTED") {
                KeyError::Encrypted
            } else {
                KeyError::Missing
            }
        })?;
        match &der {
            PrivateKeyDer::Pkcs8(key) => Self::from_pkcs8(key.secret_pkcs8_der()),
            PrivateKeyDer::Pkcs1(key) => {
                if pem.windows(9).any(|w| w == b"ENCRYPTED") {
                    return Err(KeyError::Encrypted);
                }
                rsa(RsaKeyPair::from_der(key.secret_pkcs1_der()))
            }
            _ => Err(KeyError::Kind),
        }
    }

    /// Reads PKCS #8 in DER.
    ///
    /// # Errors
    /// Says what is wrong with the key.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, KeyError> {
        match Ed25519KeyPair::from_pkcs8_maybe_unchecked(der) {
            Ok(key) => Ok(Self(Kind::Ed25519(key))),
            Err(_) => rsa(RsaKeyPair::from_pkcs8(der)),
        }
    }

    /// What it signs with.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        match &self.0 {
            Kind::Rsa(_) => Algorithm::RsaSha256,
            Kind::Ed25519(_) => Algorithm::Ed25519Sha256,
        }
    }

    /// What is to be published in DNS.
    ///
    /// # Errors
    /// [`SignError`] if the key cannot be encoded; it never is for a key that was read.
    pub fn record(&self) -> Result<Record, SignError> {
        let public = match &self.0 {
            // In practice p= is a SubjectPublicKeyInfo (RFC 6376 section 3.6.1, erratum 3017).
            Kind::Rsa(key) => {
                let der: PublicKeyX509Der<'_> = key.public_key().as_der().map_err(|_| SignError)?;
                der.as_ref().to_vec()
            }
            // RFC 8463 section 4: the bare 32 octets.
            Kind::Ed25519(key) => key.public_key().as_ref().to_vec(),
        };
        Ok(Record::new(self.algorithm(), &public))
    }

    /// Octets of a signature.
    pub(crate) fn signature_len(&self) -> usize {
        match &self.0 {
            Kind::Rsa(key) => key.public_modulus_len(),
            Kind::Ed25519(_) => ED25519_SIGNATURE,
        }
    }

    /// Signs the digest of the canonical header.
    pub(crate) fn sign(&self, digest: &Digest) -> Result<Vec<u8>, SignError> {
        match &self.0 {
            Kind::Rsa(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign_digest(&RSA_PKCS1_SHA256, digest, &mut signature)
                    .map_err(|_| SignError)?;
                Ok(signature)
            }
            // RFC 8463 section 3: PureEdDSA over the SHA-256.
            Kind::Ed25519(key) => {
                let signature = key.try_sign(digest.as_ref()).map_err(|_| SignError)?;
                Ok(signature.as_ref().to_vec())
            }
        }
    }
}

impl Algorithm {
    /// The value of `a=`.
    #[must_use]
    pub const fn tag(self) -> &'static str {
        match self {
            Self::RsaSha256 => "rsa-sha256",
            Self::Ed25519Sha256 => "ed25519-sha256",
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.tag())
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Never the key itself.
        f.debug_tuple("SigningKey")
            .field(&self.algorithm())
            .finish()
    }
}

fn rsa(read: Result<RsaKeyPair, aws_lc_rs::error::KeyRejected>) -> Result<SigningKey, KeyError> {
    let key = read.map_err(|rejected| match rejected.to_string().as_str() {
        "TooSmall" => KeyError::TooShort,
        "TooLarge" => KeyError::TooLong,
        _ => KeyError::Kind,
    })?;
    if key.public_modulus_len() > MAX_MODULUS {
        return Err(KeyError::TooLong);
    }
    Ok(SigningKey(Kind::Rsa(key)))
}

const ED25519_SIGNATURE: usize = 64;
/// 4096 bits.
const MAX_MODULUS: usize = 512;
