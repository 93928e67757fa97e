//! What is kept of a password: an Argon2id hash, and the keys of SCRAM-SHA-256.
//!
//! PLAIN and LOGIN are judged by Argon2id (RFC 9106) with the parameters of the OWASP Password
//! Storage Cheat Sheet: 19 MiB, 2 passes, 1 lane. SCRAM cannot use Argon2; its keys come from
//! PBKDF2 with that page's 600,000 rounds, which the client computes, not we. Whoever steals the
//! file can guess at the weaker of the two: a user without SCRAM keys has none but Argon2id.

use std::fmt;
use std::num::NonZeroU32;

use argon2::password_hash::{Output, PasswordHash, PasswordHasher, Salt, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use data_encoding::BASE64;
use smtp_proto::{ScramKeys, ScramSecret};

use crate::{Password, blocks};

/// What is kept of a password. Prints nothing of itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Verifier {
    /// In the PHC string format.
    argon2: Box<str>,
    scram: Option<ScramSecret>,
}

impl Verifier {
    /// Makes one; takes about as long as a login does, and with SCRAM a few times as long. The
    /// salt is random and made for this user alone.
    #[must_use]
    pub fn make(password: &Password, salt: &[u8; SALT], scram: bool) -> Option<Self> {
        let text = SaltString::encode_b64(salt).ok()?;
        let hash = argon2().hash_password(password.as_bytes(), &text).ok()?;
        let secret = || ScramSecret {
            salt: (*salt).into(),
            rounds: ROUNDS,
            keys: ScramKeys::derive(password.as_bytes(), salt, ROUNDS),
        };
        Some(Self {
            argon2: hash.to_string().into(),
            scram: scram.then(secret),
        })
    }

    /// From the two fields of a line.
    pub(crate) fn parse(argon2: &str, scram: &str) -> Result<Self, &'static str> {
        let hash = PasswordHash::new(argon2).map_err(|_| "the second field is no password hash")?;
        if hash.algorithm != Algorithm::Argon2id.ident() || hash.hash.is_none() {
            return Err("the second field is no Argon2id hash");
        }
        Params::try_from(&hash).map_err(|_| "the parameters of Argon2id are not valid")?;
        let scram = match scram {
            NONE => None,
            scram => {
                Some(parse_scram(scram).ok_or("the third field is no SCRAM-SHA-256 verifier")?)
            }
        };
        Ok(Self {
            argon2: argon2.into(),
            scram,
        })
    }

    /// Whether this is the password. Takes tens of milliseconds and 19 MiB.
    pub(crate) fn accepts(&self, password: &Password) -> bool {
        PasswordHash::new(&self.argon2)
            .ok()
            .and_then(|hash| is_of(&hash, password.as_bytes()))
            .unwrap_or(false)
    }

    pub(crate) const fn scram(&self) -> Option<&ScramSecret> {
        self.scram.as_ref()
    }

    pub(crate) fn argon2(&self) -> &str {
        &self.argon2
    }
}

/// The work of judging a password, for a user that does not exist.
pub(crate) fn pretend(password: &[u8]) {
    let mut hash = zeroize::Zeroizing::new([0; 32]);
    // The salt does not matter, and the outcome is thrown away.
    let done = blocks::fill(&argon2(), password, &[0; SALT], &mut *hash);
    std::hint::black_box((done, &hash));
}

/// Whether a hash is this password's; `None` if it lacks something. Takes as long either way: what `Output`
/// compares it compares in constant time.
fn is_of(hash: &PasswordHash<'_>, password: &[u8]) -> Option<bool> {
    let (salt, wanted) = (hash.salt?, hash.hash?);
    let mut octets = [0; Salt::MAX_LENGTH];
    let salt = salt.decode_b64(&mut octets).ok()?;
    let algorithm = Algorithm::try_from(hash.algorithm).ok()?;
    let version = hash.version.map_or(Ok(Version::V0x13), Version::try_from);
    let argon2 = Argon2::new(algorithm, version.ok()?, Params::try_from(hash).ok()?);
    let mut out = zeroize::Zeroizing::new([0; Output::MAX_LENGTH]);
    let out = out.get_mut(..wanted.len())?;
    let is_done = blocks::fill(&argon2, password, salt, out);
    Some(is_done && Output::new(out).ok()? == wanted)
}

fn argon2() -> Argon2<'static> {
    let params = Params::new(MEMORY, PASSES, LANES, None).unwrap_or(Params::DEFAULT);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

/// `SCRAM-SHA-256$rounds:salt$StoredKey:ServerKey` (RFC 5803 section 3).
fn parse_scram(text: &str) -> Option<ScramSecret> {
    let rest = text.strip_prefix("SCRAM-SHA-256$")?;
    let (front, keys) = rest.split_once('$')?;
    let (rounds, salt) = front.split_once(':')?;
    let (stored, server) = keys.split_once(':')?;
    let rounds: NonZeroU32 = rounds.parse().ok()?;
    let decode = |text: &str| BASE64.decode(text.as_bytes()).ok();
    let salt = decode(salt)?;
    if rounds < LEAST_ROUNDS || salt.is_empty() {
        return None;
    }
    let key = |text| <[u8; 32]>::try_from(decode(text)?).ok();
    Some(ScramSecret {
        salt: salt.into(),
        rounds,
        keys: ScramKeys::new(key(stored)?, key(server)?),
    })
}

/// The two fields of a line: this is what the users file is for.
impl fmt::Display for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.argon2)?;
        let Some(scram) = &self.scram else {
            return f.write_str(NONE);
        };
        let encode = |octets: &[u8]| BASE64.encode(octets);
        write!(
            f,
            "SCRAM-SHA-256${}:{}${}:{}",
            scram.rounds,
            encode(&scram.salt),
            encode(scram.keys.stored()),
            encode(scram.keys.server())
        )
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").finish_non_exhaustive()
    }
}

/// Octets of a salt (RFC 9106 section 4).
pub(crate) const SALT: usize = 16;
/// OWASP Password Storage Cheat Sheet, 2025: PBKDF2-HMAC-SHA256.
pub(crate) const ROUNDS: NonZeroU32 = NonZeroU32::new(600_000).unwrap();
/// RFC 7677 section 4.
const LEAST_ROUNDS: NonZeroU32 = NonZeroU32::new(4096).unwrap();
/// The same page: Argon2id. KiB.
const MEMORY: u32 = 19_456;
const PASSES: u32 = 2;
const LANES: u32 = 1;
const NONE: &str = "-";

#[cfg(test)]
mod tests {
    use super::*;

    fn password(text: &str) -> Password {
        Password::choose(text).unwrap()
    }

    #[test]
    fn what_is_written_can_be_read_and_judges_alike() {
        for scram in [true, false] {
            let made = Verifier::make(&password("pencil box"), &[7; SALT], scram).unwrap();
            let line = made.to_string();
            let (argon2, keys) = line.split_once(' ').unwrap();
            assert!(
                argon2.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
                "{line}"
            );
            assert!(!line.contains("pencil"));
            let read = Verifier::parse(argon2, keys).unwrap();
            assert_eq!(read, made);
            assert_eq!(read.scram().is_some(), scram);
            assert!(read.accepts(&password("pencil box")));
            assert!(!read.accepts(&password("pencil bog")));
            assert_eq!(format!("{read:?}"), "Verifier { .. }");
        }
    }

    #[test]
    fn the_keys_of_rfc_7677_in_the_form_of_rfc_5803() {
        let salt = BASE64.decode(b"W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let keys = ScramKeys::derive(b"pencil", &salt, LEAST_ROUNDS);
        let text = format!(
            "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==${}:{}",
            BASE64.encode(keys.stored()),
            BASE64.encode(keys.server())
        );
        assert_eq!(parse_scram(&text).unwrap().keys, keys);
        for bad in [
            "SCRAM-SHA-256$4095:W22ZaJ0SNY7soEsUEjb6gQ==$",
            "SCRAM-SHA-1$4096:AAAA$",
            "SCRAM-SHA-256$4096:$AAAA:AAAA",
            "",
        ] {
            assert!(parse_scram(bad).is_none(), "{bad}");
        }
        assert!(parse_scram(&text[..text.len() - 4]).is_none());
    }

    #[test]
    fn other_hashes_are_refused() {
        for argon2 in [
            "",
            "secret",
            "$argon2i$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAA",
            "$2b$12$abcdefghijklmnopqrstuu",
        ] {
            assert!(Verifier::parse(argon2, NONE).is_err(), "{argon2}");
        }
    }
}
