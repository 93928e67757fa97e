//! AUTH towards a next hop (RFC 4954): SCRAM-SHA-256, PLAIN, LOGIN, in this order.
//!
//! The caller sees to it that this only ever runs inside TLS whose peer was verified; nothing here
//! knows sockets. What is written has secrets in it: it belongs in no transcript.

use bytes::BytesMut;
use data_encoding::BASE64;
use zeroize::Zeroizing;

use super::scram::{Scram, ScramFault};
use super::{Credentials, Extensions};
use crate::{Reply, ReplyClass};

/// A way to log in (RFC 4422).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// SCRAM-SHA-256 (RFC 7677): the password stays with us.
    ScramSha256,
    /// PLAIN (RFC 4616).
    Plain,
    /// LOGIN: of no standard, but the only one that some servers have.
    Login,
}

/// The mechanisms of ours that a peer offers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mechanisms {
    /// SCRAM-SHA-256.
    pub scram_sha_256: bool,
    /// PLAIN.
    pub plain: bool,
    /// LOGIN.
    pub login: bool,
}

/// One login. The driver asks [`Authentication::next`], writes, reads one reply, reports it with
/// [`Authentication::on_reply`], until it is [`AuthAction::Done`].
pub struct Authentication<'a> {
    credentials: &'a Credentials,
    /// Not tried yet, in the order of preference.
    left: Vec<Mechanism>,
    nonce: Box<str>,
    step: Step,
}

enum Step {
    Begin(Mechanism),
    Plain,
    LoginUser,
    LoginPassword,
    LoginDone,
    Scram(Box<Scram>),
    /// This is to be said in answer to a challenge.
    Answer(Zeroizing<String>, Box<Self>),
    Done,
}

/// What the driver has to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum AuthAction {
    /// Write what is in the buffer and read one reply. The transcript may only show this.
    Exchange(&'static str),
    /// We are logged in.
    Done,
}

/// Why we could not log in. Never final for mail: it is our credentials that are wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthFault {
    /// The peer offers none of our mechanisms.
    #[error(
        "the host offers no way to log in that we have (SCRAM-SHA-256, PLAIN, LOGIN); it offers: {0}"
    )]
    NotOffered(Box<str>),
    /// The connection is not one over which credentials may be sent.
    #[error("the connection was not opened to a verified host: credentials are not sent over it")]
    NotVerified,
    /// The peer refused: 535, 534, 454 and their like.
    #[error("the host refused the login: {0}")]
    Refused(Reply),
    /// The peer wants a login for mail, after or without one.
    #[error("the host wants a login: {0}")]
    Wanted(Reply),
    /// SCRAM: the server is not believed.
    #[error("the host is not believed: {0}")]
    Server(ScramFault),
    /// A reply or challenge that makes no sense here.
    #[error("the host broke the protocol of the login")]
    Protocol,
}

impl Mechanism {
    const fn name(self) -> &'static str {
        match self {
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::Plain => "PLAIN",
            Self::Login => "LOGIN",
        }
    }
}

impl Mechanisms {
    /// Notes one word of an AUTH keyword.
    pub(super) fn add(&mut self, word: &str) {
        for (mechanism, flag) in [
            (Mechanism::ScramSha256, &mut self.scram_sha_256),
            (Mechanism::Plain, &mut self.plain),
            (Mechanism::Login, &mut self.login),
        ] {
            *flag |= word.eq_ignore_ascii_case(mechanism.name());
        }
    }
}

impl<'a> Authentication<'a> {
    /// Chooses a mechanism. `nonce` is printable ASCII without a comma, random, for this login only.
    ///
    /// # Errors
    /// [`AuthFault::NotOffered`].
    pub fn new(
        offered: &Extensions,
        credentials: &'a Credentials,
        nonce: &str,
    ) -> Result<Self, AuthFault> {
        let auth = offered.auth;
        let mut left: Vec<Mechanism> = [
            (auth.login, Mechanism::Login),
            (auth.plain, Mechanism::Plain),
            (
                auth.scram_sha_256 && credentials.is_prepared(),
                Mechanism::ScramSha256,
            ),
        ]
        .into_iter()
        .filter_map(|(usable, mechanism)| usable.then_some(mechanism))
        .collect();
        let first = left
            .pop()
            .ok_or_else(|| AuthFault::NotOffered(offered.keyword_list().into()))?;
        Ok(Self {
            credentials,
            left,
            nonce: nonce.into(),
            step: Step::Begin(first),
        })
    }

    /// What to do now; what is to be written is appended to `out`.
    pub fn next(&mut self, out: &mut BytesMut) -> AuthAction {
        match std::mem::replace(&mut self.step, Step::Done) {
            Step::Begin(mechanism) => {
                self.step = self.begin(mechanism, out);
                AuthAction::Exchange(match mechanism {
                    Mechanism::ScramSha256 => "AUTH SCRAM-SHA-256 (not shown)",
                    Mechanism::Plain => "AUTH PLAIN (not shown)",
                    Mechanism::Login => "AUTH LOGIN",
                })
            }
            Step::Answer(text, then) => {
                out.extend_from_slice(text.as_bytes());
                out.extend_from_slice(b"\r\n");
                self.step = *then;
                AuthAction::Exchange("(not shown)")
            }
            Step::Done => AuthAction::Done,
            // Not asked for in this state by a driver that reports each reply.
            step => {
                self.step = step;
                AuthAction::Exchange("")
            }
        }
    }

    /// Takes the reply that was read.
    ///
    /// # Errors
    /// [`AuthFault`]: say QUIT and close.
    pub fn on_reply(&mut self, reply: Reply) -> Result<(), AuthFault> {
        match reply.class() {
            ReplyClass::Intermediate => self.on_challenge(&reply),
            ReplyClass::Completion => self.on_success(),
            ReplyClass::Transient | ReplyClass::Permanent => self.on_refusal(reply),
            ReplyClass::Other => Err(AuthFault::Protocol),
        }
    }

    fn begin(&self, mechanism: Mechanism, out: &mut BytesMut) -> Step {
        out.extend_from_slice(b"AUTH ");
        out.extend_from_slice(mechanism.name().as_bytes());
        let step = match mechanism {
            Mechanism::ScramSha256 => {
                let scram = Scram::new(self.credentials, &self.nonce);
                out.extend_from_slice(b" ");
                out.extend_from_slice(encode(scram.initial().as_bytes()).as_bytes());
                Step::Scram(Box::new(scram))
            }
            Mechanism::Plain => {
                out.extend_from_slice(b" ");
                out.extend_from_slice(self.plain().as_bytes());
                Step::Plain
            }
            Mechanism::Login => Step::LoginUser,
        };
        out.extend_from_slice(b"\r\n");
        step
    }

    /// RFC 4616 section 2: no authorisation identity, the user, the password.
    fn plain(&self) -> Zeroizing<String> {
        let (user, password) = (self.credentials.username(), self.credentials.password());
        encode(Zeroizing::new(format!("\0{user}\0{password}")).as_bytes())
    }

    fn on_challenge(&mut self, reply: &Reply) -> Result<(), AuthFault> {
        let (answer, then) = match std::mem::replace(&mut self.step, Step::Done) {
            Step::Scram(mut scram) => {
                let text = reply.lines().next().unwrap_or_default();
                let challenge = BASE64.decode(text.trim().as_bytes());
                let challenge = challenge.map_err(|_| AuthFault::Protocol)?;
                let answer = scram
                    .answer(&challenge, self.credentials)
                    .map_err(AuthFault::Server)?;
                (encode(answer.as_bytes()), Step::Scram(scram))
            }
            // A server that did not take the initial response gets it now (RFC 4954 section 4).
            Step::Plain => (self.plain(), Step::LoginDone),
            Step::LoginUser => {
                let user = self.credentials.username().as_bytes();
                (encode(user), Step::LoginPassword)
            }
            Step::LoginPassword => {
                let password = self.credentials.password().as_bytes();
                (encode(password), Step::LoginDone)
            }
            Step::Begin(_) | Step::LoginDone | Step::Answer(..) | Step::Done => {
                return Err(AuthFault::Protocol);
            }
        };
        self.step = Step::Answer(answer, Box::new(then));
        Ok(())
    }

    fn on_success(&mut self) -> Result<(), AuthFault> {
        match &self.step {
            // RFC 5802 section 5: the client MUST verify the server's signature.
            Step::Scram(scram) if !scram.is_verified() => {
                Err(AuthFault::Server(ScramFault::Signature))
            }
            Step::Scram(_) | Step::Plain | Step::LoginDone => {
                self.step = Step::Done;
                Ok(())
            }
            Step::Begin(_)
            | Step::LoginUser
            | Step::LoginPassword
            | Step::Answer(..)
            | Step::Done => Err(AuthFault::Protocol),
        }
    }

    /// 504 and 534: not this mechanism, perhaps another (RFC 4954 section 4).
    fn on_refusal(&mut self, reply: Reply) -> Result<(), AuthFault> {
        if matches!(reply.code(), 504 | 534)
            && let Some(next) = self.left.pop()
        {
            self.step = Step::Begin(next);
            return Ok(());
        }
        Err(AuthFault::Refused(self.without_secrets(reply)))
    }

    /// A reply that repeats what we said is not passed on: replies are logged.
    fn without_secrets(&self, reply: Reply) -> Reply {
        let password = self.credentials.password();
        let shown = reply.to_string();
        let secrets = [
            password.to_owned(),
            BASE64.encode(password.as_bytes()),
            self.plain().to_string(),
        ];
        if !secrets.iter().any(|secret| shown.contains(secret.as_str())) {
            return reply;
        }
        let text = "(the host's words repeat our credentials and are not shown)";
        Reply::new(reply.code(), reply.enhanced(), text)
    }
}

fn encode(octets: &[u8]) -> Zeroizing<String> {
    Zeroizing::new(BASE64.encode(octets))
}

#[cfg(test)]
mod tests;
