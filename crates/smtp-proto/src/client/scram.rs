//! The client's half of SCRAM-SHA-256 (RFC 5802, RFC 7677), without channel binding.
//!
//! The server never learns the password, and has to prove that it knows a derivative of it: a login
//! whose last word from the server was not verified has failed, whatever the reply code says.

use std::num::NonZeroU32;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest;
use data_encoding::BASE64;

use super::Credentials;
use crate::scram::{LEAST_ROUNDS, LENGTH, salted, sign};

/// The exchange under way.
pub(super) struct Scram {
    /// `client-first-message-bare`.
    first: String,
    nonce: Box<str>,
    state: State,
}

enum State {
    First,
    /// Our proof is out: this is what the server's signature has to be.
    Final([u8; LENGTH]),
    Verified,
}

/// Why the server is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScramFault {
    /// Not the grammar of RFC 5802 section 7.
    #[error("its challenge cannot be read")]
    Malformed,
    /// The nonce is not ours with something added (RFC 5802 section 5.1).
    #[error("its nonce does not continue ours")]
    Nonce,
    /// Fewer rounds than RFC 7677 section 4 wants, or so many that they would keep us busy.
    #[error("it asks for an unreasonable number of rounds")]
    Iterations,
    /// `e=`: the server has something against us.
    #[error("it ended the exchange with an error")]
    Error,
    /// The signature is wrong: the server does not know the password's derivative.
    #[error("it could not prove that it knows the password: it is not the server that we know")]
    Signature,
}

impl Scram {
    /// With a nonce of printable ASCII without a comma, made for this exchange alone.
    pub(super) fn new(credentials: &Credentials, nonce: &str) -> Self {
        // RFC 5802 section 5.1: saslname.
        let name = credentials
            .username()
            .replace('=', "=3D")
            .replace(',', "=2C");
        Self {
            first: format!("n={name},r={nonce}"),
            nonce: nonce.into(),
            state: State::First,
        }
    }

    /// The first message: no channel binding, no other identity.
    pub(super) fn initial(&self) -> String {
        format!("{GS2}{}", self.first)
    }

    /// The answer to a challenge.
    pub(super) fn answer(
        &mut self,
        challenge: &[u8],
        credentials: &Credentials,
    ) -> Result<String, ScramFault> {
        let text = str::from_utf8(challenge).map_err(|_| ScramFault::Malformed)?;
        match &self.state {
            State::First => self.prove(text, credentials),
            State::Final(expected) => {
                if text.starts_with("e=") {
                    return Err(ScramFault::Error);
                }
                let signature = text.strip_prefix("v=").ok_or(ScramFault::Malformed)?;
                let signature = signature.split(',').next().unwrap_or_default();
                let given = BASE64
                    .decode(signature.as_bytes())
                    .map_err(|_| ScramFault::Malformed)?;
                verify_slices_are_equal(&given, expected).map_err(|_| ScramFault::Signature)?;
                self.state = State::Verified;
                Ok(String::new())
            }
            State::Verified => Err(ScramFault::Malformed),
        }
    }

    /// Whether the server has proved itself.
    pub(super) const fn is_verified(&self) -> bool {
        matches!(self.state, State::Verified)
    }

    fn prove(&mut self, server: &str, credentials: &Credentials) -> Result<String, ScramFault> {
        // `m=` in front would be an extension that we do not know (RFC 5802 section 5.1).
        let mut parts = server.split(',');
        let mut part = |name: &str| parts.next().and_then(|p| p.strip_prefix(name));
        let nonce = part("r=").ok_or(ScramFault::Malformed)?;
        let salt = part("s=").ok_or(ScramFault::Malformed)?;
        let rounds = part("i=").ok_or(ScramFault::Malformed)?;
        if nonce.len() <= self.nonce.len() || !nonce.starts_with(&*self.nonce) {
            return Err(ScramFault::Nonce);
        }
        let salt = BASE64
            .decode(salt.as_bytes())
            .map_err(|_| ScramFault::Malformed)?;
        let rounds: NonZeroU32 = rounds.parse().map_err(|_| ScramFault::Malformed)?;
        if !(LEAST_ROUNDS..=MOST_ROUNDS).contains(&rounds.get()) {
            return Err(ScramFault::Iterations);
        }
        let salted = salted(credentials.password().as_bytes(), &salt, rounds);
        let without_proof = format!("c={},r={nonce}", BASE64.encode(GS2.as_bytes()));
        let message = format!("{},{server},{without_proof}", self.first);
        let client_key = sign(&*salted, b"Client Key");
        let stored_key = digest::digest(&digest::SHA256, client_key.as_ref());
        let signature = sign(stored_key.as_ref(), message.as_bytes());
        let pairs = client_key.as_ref().iter().zip(signature.as_ref());
        let proof: Vec<u8> = pairs.map(|(key, signature)| key ^ signature).collect();
        let server_key = sign(&*salted, b"Server Key");
        let expected = sign(server_key.as_ref(), message.as_bytes());
        let expected = expected.as_ref().try_into();
        self.state = State::Final(expected.map_err(|_| ScramFault::Malformed)?);
        Ok(format!("{without_proof},p={}", BASE64.encode(&proof)))
    }
}

const GS2: &str = "n,,";
/// A fifth of a second of one core.
const MOST_ROUNDS: u32 = 600_000;

#[cfg(test)]
mod tests {
    use super::*;
    use zeroize::Zeroizing;

    /// RFC 7677 section 3.
    const NONCE: &str = "rOprNGfwEbeRWgbNEkqO";
    const SERVER_FIRST: &str =
        "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
    const PROOF: &str = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
    const SERVER_FINAL: &str = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

    fn user() -> Credentials {
        Credentials::new("user", Zeroizing::new("pencil".to_owned())).unwrap()
    }

    #[test]
    fn the_vector_of_rfc_7677() {
        let mut scram = Scram::new(&user(), NONCE);
        assert_eq!(scram.initial(), format!("n,,n=user,r={NONCE}"));
        let proof = scram.answer(SERVER_FIRST.as_bytes(), &user());
        assert_eq!(proof.as_deref(), Ok(PROOF));
        assert!(!scram.is_verified());
        assert_eq!(
            scram.answer(SERVER_FINAL.as_bytes(), &user()),
            Ok(String::new())
        );
        assert!(scram.is_verified());
    }

    #[test]
    fn a_server_that_does_not_know_the_password_is_found_out() {
        for (last, fault) in [
            (
                "v=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
                ScramFault::Signature,
            ),
            ("v=6rri", ScramFault::Signature),
            ("e=invalid-proof", ScramFault::Error),
            ("ok", ScramFault::Malformed),
            ("v=*", ScramFault::Malformed),
        ] {
            let mut scram = Scram::new(&user(), NONCE);
            assert!(scram.answer(SERVER_FIRST.as_bytes(), &user()).is_ok());
            assert_eq!(scram.answer(last.as_bytes(), &user()), Err(fault), "{last}");
            assert!(!scram.is_verified());
        }
    }

    #[test]
    fn challenges_that_make_no_sense_are_refused() {
        for (first, fault) in [
            ("", ScramFault::Malformed),
            (
                "m=x,r=rOprNGfwEbeRWgbNEkqOx,s=AAAA,i=4096",
                ScramFault::Malformed,
            ),
            ("r=rOprNGfwEbeRWgbNEkqO,s=AAAA,i=4096", ScramFault::Nonce),
            (
                "r=somebodyelsesnonceofsomelength,s=AAAA,i=4096",
                ScramFault::Nonce,
            ),
            ("r=rOprNGfwEbeRWgbNEkqOx,s=A,i=4096", ScramFault::Malformed),
            ("r=rOprNGfwEbeRWgbNEkqOx,s=AAAA,i=-1", ScramFault::Malformed),
            ("r=rOprNGfwEbeRWgbNEkqOx,s=AAAA,i=1", ScramFault::Iterations),
            (
                "r=rOprNGfwEbeRWgbNEkqOx,s=AAAA,i=4000000000",
                ScramFault::Iterations,
            ),
        ] {
            let mut scram = Scram::new(&user(), NONCE);
            assert_eq!(
                scram.answer(first.as_bytes(), &user()),
                Err(fault),
                "{first}"
            );
        }
        assert_eq!(
            Scram::new(&user(), NONCE).answer(b"\xff", &user()),
            Err(ScramFault::Malformed)
        );
    }

    #[test]
    fn names_with_separators_are_escaped() {
        let odd = Credentials::new("a=b,c", Zeroizing::new("x".to_owned())).unwrap();
        assert_eq!(Scram::new(&odd, "N").initial(), "n,,n=a=3Db=2Cc,r=N");
    }
}
