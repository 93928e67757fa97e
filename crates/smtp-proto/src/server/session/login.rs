//! AUTH (RFC 4954): the dialogue of each mechanism, and what becomes of its outcome.
//!
//! Nobody is logged in before the driver said so, and nothing that is refused tells whether a user
//! exists.

use data_encoding::BASE64;
use mail_types::harmless;
use zeroize::Zeroizing;

use super::{Action, Pending, Session, State, errors};
use crate::command::AuthText;
use crate::scram::ScramSecret;
use crate::server::auth::{self, ClientFirst, Exchange, ScramError};
use crate::server::names;
use crate::server::{
    AuthAnswer, AuthRequest, ClientCertificate, Ground, Identity, LoginResult, Notice, Refusal,
    Relaying, Role, SaslMechanism, TlsMode,
};

/// What the client's next line is.
#[derive(Debug)]
pub(super) enum Dialogue {
    Plain,
    LoginUser,
    LoginPassword {
        user: Box<str>,
    },
    ScramFirst {
        plus: bool,
    },
    ScramFinal {
        plus: bool,
        exchange: Box<Exchange>,
    },
    /// Our last word is out; an empty line ends the exchange.
    ScramDone {
        plus: bool,
        identity: Box<Identity>,
    },
    External,
}

/// A question that the driver owes an answer to.
#[derive(Debug)]
pub(super) struct Login {
    mechanism: SaslMechanism,
    /// As whom, for the log.
    user: Box<str>,
    /// Until the driver takes it.
    request: Option<AuthRequest>,
    then: Then,
}

#[derive(Debug)]
enum Then {
    Settle,
    Challenge(Box<ClientFirst>),
    /// SCRAM's last word, if the driver agrees.
    Confirm(Box<str>),
    /// The proof does not hold: whatever the driver says, it is refused.
    Refuse,
}

impl Session {
    /// What [`Action::Authenticate`] asks. Once for each.
    pub fn take_auth_request(&mut self) -> Option<AuthRequest> {
        match &mut self.state {
            State::Answer(Pending::Login(login)) => login.request.take(),
            _ => None,
        }
    }

    /// Answers [`AuthRequest::Scram`]. `nonce` is made for this exchange alone: 16 characters or
    /// more of printable ASCII without a comma.
    pub fn scram_secret(&mut self, secret: ScramSecret, nonce: &str) {
        let Some(login) = self.take_login() else {
            return;
        };
        let Then::Challenge(first) = login.then else {
            return;
        };
        let plus = login.mechanism == SaslMechanism::ScramSha256Plus;
        let (exchange, challenge) = first.challenge(secret, nonce);
        let exchange = Box::new(exchange);
        self.challenge(
            challenge.as_bytes(),
            Dialogue::ScramFinal { plus, exchange },
        );
    }

    /// Answers all other requests, and may end one for a SCRAM secret as well.
    pub fn authenticated(&mut self, answer: AuthAnswer) {
        let Some(login) = self.take_login() else {
            return;
        };
        let (mechanism, user) = (login.mechanism, login.user);
        let (result, refusal) = match (answer, login.then) {
            (AuthAnswer::Accepted(identity), Then::Settle) => {
                return self.log_in(mechanism, identity);
            }
            (AuthAnswer::Accepted(identity), Then::Confirm(signature)) => {
                let plus = mechanism == SaslMechanism::ScramSha256Plus;
                let identity = Box::new(identity);
                let done = Dialogue::ScramDone { plus, identity };
                return self.challenge(signature.as_bytes(), done);
            }
            (AuthAnswer::Rejected, _)
            | (AuthAnswer::Accepted(_), Then::Challenge(_) | Then::Refuse) => {
                (LoginResult::Rejected, errors::bad_credentials())
            }
            (AuthAnswer::TooWeak, _) => (LoginResult::TooWeak, errors::weak_mechanism()),
            (AuthAnswer::NotNow(text), _) => (
                LoginResult::NotNow,
                Refusal::transient(454, 7, 0, text), // RFC 4954 section 6
            ),
        };
        self.attempts += 1;
        self.login_notice(mechanism, &user, result);
        self.refuse_for_now(&refusal);
    }

    /// What is known of the client since the handshake: its certificate, and the connection's
    /// `tls-exporter` (RFC 9266; TLS 1.3 only). After [`Session::tls_started`]. After XCLIENT
    /// neither counts: the handshake was the proxy's, and the client is another, whose own TLS, if it
    /// has any, has another exporter.
    pub fn tls_client(&mut self, certificate: ClientCertificate, exporter: Option<[u8; 32]>) {
        if !self.impersonates {
            (self.certificate, self.exporter) = (certificate, exporter);
        }
    }

    /// Who the client is: by its login, or else by its certificate.
    #[must_use]
    pub const fn identity(&self) -> Option<&Identity> {
        match (&self.identity, &self.certificate) {
            (Some(identity), _) => Some(identity),
            (None, ClientCertificate::Of(identity)) => Some(identity),
            (None, ClientCertificate::None | ClientCertificate::Unknown) => None,
        }
    }

    /// Why this client may send mail to the world. The one place that decides it (rows G3-01,
    /// G1-04).
    pub(super) fn ground(&self) -> Ground {
        if self.identity.is_some() {
            return Ground::Login;
        }
        if let ClientCertificate::Of(_) = self.certificate {
            return Ground::Certificate;
        }
        match (self.settings.role, self.peer.relaying) {
            (Role::Relay, Relaying::Allowed) => Ground::Network,
            // RFC 6409 section 4.3: a submission listener knows who submits.
            (Role::Submission, _) | (Role::Relay, Relaying::Refused) => Ground::Nothing,
        }
    }

    /// The mechanisms for EHLO's AUTH line; empty where AUTH is not offered.
    pub(super) fn mechanisms(&self) -> String {
        let mut line = String::new();
        for mechanism in SaslMechanism::ALL {
            if self.offers(mechanism) {
                line.push_str(if line.is_empty() { "AUTH " } else { " " });
                line.push_str(mechanism.name());
            }
        }
        line
    }

    /// RFC 4954 section 4, row G2-02: nothing is offered in clear.
    fn offers(&self, mechanism: SaslMechanism) -> bool {
        let logins = self.settings.logins;
        self.tls.is_some()
            && match mechanism {
                SaslMechanism::Plain | SaslMechanism::ScramSha256 => logins.passwords,
                SaslMechanism::ScramSha256Plus => logins.passwords && self.exporter.is_some(),
                SaslMechanism::Login => logins.passwords && logins.login,
                SaslMechanism::External => {
                    logins.certificates && self.certificate != ClientCertificate::None
                }
            }
    }

    pub(super) fn auth(&mut self, text: AuthText<'_>) -> Option<Action<'static>> {
        let logins = self.settings.logins;
        // Without TLS nobody can log in, and STARTTLS is no way out where there is none.
        let is_offered = self.tls.is_some() || self.settings.tls != TlsMode::Off;
        if !is_offered || (!logins.passwords && !logins.certificates) {
            self.unimplemented("AUTH is not offered here");
            return None;
        }
        if !self.helo.as_ref().is_some_and(|helo| helo.extended) {
            self.out_of_order("Say EHLO first");
            return None;
        }
        if self.tls.is_none() {
            self.refusal(&errors::encryption_first());
            return None;
        }
        // RFC 4954 section 4: once, and not within a transaction.
        if self.identity.is_some() {
            self.out_of_order("You are logged in already");
            return None;
        }
        if self.transaction.is_some() {
            self.out_of_order("A transaction is under way: RSET first");
            return None;
        }
        if self.attempts >= MAX_ATTEMPTS {
            self.end(&errors::too_many_logins());
            return None;
        }
        let (name, initial) = text.parts();
        let Some(mechanism) = SaslMechanism::of(name).filter(|m| self.offers(*m)) else {
            self.refusal(&errors::unknown_mechanism());
            return None;
        };
        let dialogue = match mechanism {
            SaslMechanism::Plain => Dialogue::Plain,
            SaslMechanism::Login => Dialogue::LoginUser,
            SaslMechanism::ScramSha256 => Dialogue::ScramFirst { plus: false },
            SaslMechanism::ScramSha256Plus => Dialogue::ScramFirst { plus: true },
            SaslMechanism::External => Dialogue::External,
        };
        match initial {
            // RFC 4954 section 4: "=" is an initial response of no octets.
            Some("=") => self.respond(dialogue, &[]),
            Some(initial) => self.decoded(dialogue, initial.as_bytes()),
            None => {
                let prompt: &[u8] = match mechanism {
                    SaslMechanism::Login => b"Username:",
                    _ => b"",
                };
                self.challenge(prompt, dialogue);
                None
            }
        }
    }

    /// A line within a dialogue.
    pub(super) fn response(&mut self, line: &[u8]) -> Option<Action<'static>> {
        let State::Auth(dialogue) = self.take_state() else {
            return None;
        };
        if line == b"*" {
            self.refusal(&Refusal::permanent(501, 7, 0, "Login cancelled"));
            return None;
        }
        self.decoded(*dialogue, line)
    }

    fn decoded(&mut self, dialogue: Dialogue, text: &[u8]) -> Option<Action<'static>> {
        let Ok(octets) = BASE64.decode(text).map(Zeroizing::new) else {
            self.refusal(&Refusal::permanent(501, 5, 2, "That is not base64"));
            return None;
        };
        self.respond(dialogue, &octets)
    }

    fn respond(&mut self, dialogue: Dialogue, octets: &[u8]) -> Option<Action<'static>> {
        match dialogue {
            Dialogue::Plain => self.plain(octets),
            Dialogue::LoginUser => {
                let user = str::from_utf8(octets).unwrap_or_default().into();
                self.challenge(b"Password:", Dialogue::LoginPassword { user });
                None
            }
            Dialogue::LoginPassword { user } => {
                let password = str::from_utf8(octets).unwrap_or_default().to_owned();
                self.password(SaslMechanism::Login, user, Zeroizing::new(password))
            }
            Dialogue::ScramFirst { plus } => self.scram_first(octets, plus),
            Dialogue::ScramFinal { plus, exchange } => self.scram_final(octets, plus, *exchange),
            Dialogue::ScramDone { plus, identity } => {
                if octets.is_empty() {
                    self.log_in(scram(plus), *identity);
                } else {
                    self.malformed();
                }
                None
            }
            Dialogue::External => self.external(octets),
        }
    }

    fn plain(&mut self, octets: &[u8]) -> Option<Action<'static>> {
        let Some(plain) = auth::plain(octets) else {
            self.malformed();
            return None;
        };
        // Row G2-06: nobody acts for somebody else.
        let own = plain.authzid.is_empty() || names::is_same(plain.authzid, plain.authcid);
        let user = plain.authcid.into();
        let password = if own {
            plain.password
        } else {
            Zeroizing::default()
        };
        self.password(SaslMechanism::Plain, user, password)
    }

    /// An empty name or password is nobody's; the driver is asked all the same, so that it is
    /// counted and answered like any wrong one.
    fn password(
        &mut self,
        mechanism: SaslMechanism,
        user: Box<str>,
        password: Zeroizing<String>,
    ) -> Option<Action<'static>> {
        let request = AuthRequest::Password {
            user: user.clone(),
            password,
        };
        self.ask(mechanism, user, request, Then::Settle)
    }

    fn scram_first(&mut self, octets: &[u8], plus: bool) -> Option<Action<'static>> {
        let exporter = self.exporter.as_ref().map(|e| &e[..]);
        match ClientFirst::parse(octets, plus, exporter) {
            Ok(first) => {
                let user = first.user.clone();
                let request = AuthRequest::Scram { user: user.clone() };
                self.ask(scram(plus), user, request, Then::Challenge(Box::new(first)))
            }
            Err(error) => {
                self.scram_error(plus, error);
                None
            }
        }
    }

    fn scram_final(
        &mut self,
        octets: &[u8],
        plus: bool,
        exchange: Exchange,
    ) -> Option<Action<'static>> {
        match exchange.judge(octets) {
            Ok(signature) => {
                let user = exchange.user;
                let holds = signature.is_some();
                let request = AuthRequest::Proof {
                    user: user.clone(),
                    holds,
                };
                // Without a signature an answer that accepts is not ours to act on.
                let then = signature.map_or(Then::Refuse, |s| Then::Confirm(s.into()));
                self.ask(scram(plus), user, request, then)
            }
            Err(error) => {
                self.scram_error(plus, error);
                None
            }
        }
    }

    fn scram_error(&mut self, plus: bool, error: ScramError) {
        match error {
            ScramError::Malformed => self.malformed(),
            ScramError::OtherIdentity | ScramError::Downgraded | ScramError::Binding => {
                self.attempts += 1;
                self.login_notice(scram(plus), "", LoginResult::Rejected);
                self.refuse_for_now(&errors::bad_credentials());
            }
        }
    }

    /// RFC 4422 appendix A: the response is the name to act as, or nothing.
    fn external(&mut self, octets: &[u8]) -> Option<Action<'static>> {
        let identity = match &self.certificate {
            ClientCertificate::Of(identity)
                if str::from_utf8(octets)
                    .is_ok_and(|name| name.is_empty() || names::is_same(name, &identity.name)) =>
            {
                Some(identity.clone())
            }
            ClientCertificate::Of(_) | ClientCertificate::Unknown | ClientCertificate::None => None,
        };
        let user = match &identity {
            Some(identity) => identity.name.clone(),
            None => String::from_utf8_lossy(octets).into(),
        };
        let request = AuthRequest::Certificate { identity };
        self.ask(SaslMechanism::External, user, request, Then::Settle)
    }

    fn ask(
        &mut self,
        mechanism: SaslMechanism,
        user: Box<str>,
        request: AuthRequest,
        then: Then,
    ) -> Option<Action<'static>> {
        self.state = State::Answer(Pending::Login(Box::new(Login {
            mechanism,
            user,
            request: Some(request),
            then,
        })));
        Some(Action::Authenticate)
    }

    fn take_login(&mut self) -> Option<Login> {
        let State::Answer(Pending::Login(_)) = &self.state else {
            return None;
        };
        match self.take_state() {
            State::Answer(Pending::Login(login)) => Some(*login),
            _ => None,
        }
    }

    fn challenge(&mut self, octets: &[u8], dialogue: Dialogue) {
        self.state = State::Auth(Box::new(dialogue));
        // RFC 4954 section 4: no enhanced status in a challenge.
        self.reply(334, None, &BASE64.encode(octets));
    }

    fn log_in(&mut self, mechanism: SaslMechanism, identity: Identity) {
        self.login_notice(mechanism, &identity.name, LoginResult::Accepted);
        self.identity = Some(identity);
        let ok = mail_types::EnhancedStatus::success(7, 0);
        self.reply(235, Some(ok), "Welcome");
    }

    fn malformed(&mut self) {
        let text = "The response is not what the mechanism asks for";
        self.refusal(&Refusal::permanent(501, 5, 2, text));
    }

    fn login_notice(&mut self, mechanism: SaslMechanism, user: &str, result: LoginResult) {
        self.notices.push(Notice::Login {
            mechanism,
            user: printable(user),
            result,
        });
    }
}

const fn scram(plus: bool) -> SaslMechanism {
    if plus {
        SaslMechanism::ScramSha256Plus
    } else {
        SaslMechanism::ScramSha256
    }
}

/// A name for a log line: the client may have said anything, of any length.
fn printable(name: &str) -> Box<str> {
    name.chars()
        .map(harmless)
        .take(MAX_NAME)
        .collect::<String>()
        .into()
}

/// Row G2-11.
const MAX_ATTEMPTS: u32 = 3;
/// Characters of a user's name that are logged.
const MAX_NAME: usize = 64;
