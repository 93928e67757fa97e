//! From the banner to the EHLO that counts.

use bytes::BytesMut;

use super::{Extensions, Stage};
use crate::{Reply, ReplyClass};

/// Opens a session: banner, EHLO (or HELO), STARTTLS, EHLO inside TLS.
///
/// The driver asks [`Opening::next`], obeys, and reports with [`Opening::on_reply`] and
/// [`Opening::on_tls`]. Commands are never pipelined here (row E2-24).
#[derive(Debug)]
pub struct Opening {
    name: Box<str>,
    rule: StartTlsRule,
    step: Step,
    in_tls: bool,
    extensions: Extensions,
    starttls: StartTls,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Banner,
    SendEhlo,
    Ehlo,
    SendHelo,
    Helo,
    SendStartTls,
    StartTls,
    Handshake,
    Ready,
}

/// What to do about STARTTLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum StartTlsRule {
    /// Nothing else will do: no STARTTLS, no session (RFC 8461 section 5).
    Require,
    /// Use it if it is offered and not refused.
    DangerousIfOffered,
    /// Do not try.
    DangerousSkip,
}

/// What became of STARTTLS.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum StartTls {
    /// The session is inside TLS.
    Used,
    /// The peer does not offer it.
    NotOffered,
    /// The peer refused it with this reply.
    Refused(Reply),
    /// It was not tried.
    NotTried,
}

/// What the driver has to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum OpeningAction {
    /// Write what is in the buffer (maybe nothing) and read one reply.
    Read(Stage),
    /// Make sure that nothing came in clear after the 220 (RFC 3207 section 4, row E2-28), then
    /// shake hands, then [`Opening::on_tls`].
    Handshake,
    /// The session is open: [`Opening::finish`].
    Ready,
}

/// Why a session does not open.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpeningFault {
    /// The peer refused the banner or EHLO.
    #[error("refused: {0}")]
    Refused(Reply),
    /// The rule is [`StartTlsRule::Require`], and STARTTLS is not among these.
    #[error("STARTTLS is not offered")]
    StartTlsNotOffered(Extensions),
    /// STARTTLS was refused, and the rule or a 421 ends the session.
    #[error("STARTTLS refused: {0}")]
    StartTlsRefused(Reply),
    /// A reply that makes no sense here.
    #[error("unexpected reply: {0}")]
    Unexpected(Reply),
}

impl Opening {
    /// With the name that EHLO gives.
    #[must_use]
    pub fn new(ehlo_name: &str, rule: StartTlsRule) -> Self {
        Self {
            name: ehlo_name.into(),
            rule,
            step: Step::Banner,
            in_tls: false,
            extensions: Extensions::default(),
            starttls: StartTls::NotTried,
        }
    }

    /// What to do now; commands to write are appended to `out`.
    pub fn next(&mut self, out: &mut BytesMut) -> OpeningAction {
        let ehlo_stage = if self.in_tls {
            Stage::EhloTls
        } else {
            Stage::Ehlo
        };
        let (step, action) = match self.step {
            Step::Banner => (Step::Banner, OpeningAction::Read(Stage::Banner)),
            Step::SendEhlo => {
                self.command(out, "EHLO ");
                (Step::Ehlo, OpeningAction::Read(ehlo_stage))
            }
            Step::SendHelo => {
                self.command(out, "HELO ");
                (Step::Helo, OpeningAction::Read(ehlo_stage))
            }
            Step::SendStartTls => {
                out.extend_from_slice(b"STARTTLS\r\n");
                (Step::StartTls, OpeningAction::Read(Stage::StartTls))
            }
            waiting @ (Step::Ehlo | Step::Helo) => (waiting, OpeningAction::Read(ehlo_stage)),
            Step::StartTls => (Step::StartTls, OpeningAction::Read(Stage::StartTls)),
            Step::Handshake => (Step::Handshake, OpeningAction::Handshake),
            Step::Ready => (Step::Ready, OpeningAction::Ready),
        };
        self.step = step;
        action
    }

    /// Takes the reply that was read.
    ///
    /// # Errors
    /// [`OpeningFault`]: say QUIT and close.
    pub fn on_reply(&mut self, reply: Reply) -> Result<(), OpeningFault> {
        match self.step {
            Step::Banner => self.accept(reply).map(|_| self.step = Step::SendEhlo),
            Step::Ehlo => self.on_ehlo(reply),
            Step::Helo => {
                let _ = self.accept(reply)?;
                self.on_extensions(Extensions::default())
            }
            Step::StartTls => self.on_starttls(reply),
            Step::SendEhlo
            | Step::SendHelo
            | Step::SendStartTls
            | Step::Handshake
            | Step::Ready => Err(OpeningFault::Unexpected(reply)),
        }
    }

    /// The handshake is done: everything learned before is forgotten (RFC 3207 section 4.2).
    pub fn on_tls(&mut self) {
        self.extensions = Extensions::default();
        self.starttls = StartTls::Used;
        self.in_tls = true;
        self.step = Step::SendEhlo;
    }

    /// What the peer offers, and what became of STARTTLS.
    pub fn finish(self) -> (Extensions, StartTls) {
        (self.extensions, self.starttls)
    }

    fn on_ehlo(&mut self, reply: Reply) -> Result<(), OpeningFault> {
        // RFC 5321 section 2.2.1: a peer that does not know EHLO gets HELO (row E2-02).
        if matches!(reply.code(), 500..=502 | 504 | 555) {
            self.step = Step::SendHelo;
            return Ok(());
        }
        let reply = self.accept(reply)?;
        self.on_extensions(Extensions::parse(&reply))
    }

    fn on_extensions(&mut self, offered: Extensions) -> Result<(), OpeningFault> {
        let starttls = offered.starttls;
        self.extensions = offered;
        // RFC 3207 section 4.2: inside TLS an offer of STARTTLS is ignored (row E2-29).
        if self.in_tls {
            self.step = Step::Ready;
            return Ok(());
        }
        self.step = match self.rule {
            StartTlsRule::DangerousSkip => Step::Ready,
            StartTlsRule::Require | StartTlsRule::DangerousIfOffered if starttls => {
                Step::SendStartTls
            }
            StartTlsRule::DangerousIfOffered => {
                self.starttls = StartTls::NotOffered;
                Step::Ready
            }
            StartTlsRule::Require => {
                let offered = std::mem::take(&mut self.extensions);
                return Err(OpeningFault::StartTlsNotOffered(offered));
            }
        };
        Ok(())
    }

    fn on_starttls(&mut self, reply: Reply) -> Result<(), OpeningFault> {
        match (reply.code(), reply.class(), self.rule) {
            // RFC 3207 section 4: the handshake follows 220 and no other reply.
            (220, _, _) => {
                self.step = Step::Handshake;
                Ok(())
            }
            (_, ReplyClass::Intermediate | ReplyClass::Other, _) => {
                Err(OpeningFault::Unexpected(reply))
            }
            // After a 421 the peer is gone; a new connection in plain text is the caller's choice.
            // Behind another 2yz it may wait for the handshake: nothing is sent in clear on this one either.
            (code, class, StartTlsRule::DangerousIfOffered)
                if code != 421 && class != ReplyClass::Completion =>
            {
                self.starttls = StartTls::Refused(reply);
                self.step = Step::Ready;
                Ok(())
            }
            _ => Err(OpeningFault::StartTlsRefused(reply)),
        }
    }

    fn accept(&self, reply: Reply) -> Result<Reply, OpeningFault> {
        match reply.class() {
            ReplyClass::Completion => Ok(reply),
            ReplyClass::Transient | ReplyClass::Permanent => Err(OpeningFault::Refused(reply)),
            ReplyClass::Intermediate | ReplyClass::Other => Err(OpeningFault::Unexpected(reply)),
        }
    }

    fn command(&self, out: &mut BytesMut, verb: &str) {
        out.extend_from_slice(verb.as_bytes());
        // A name with a line end in it would be two commands: cut it there.
        let name = self.name.split(|c: char| c.is_control() || c == ' ').next();
        out.extend_from_slice(name.unwrap_or_default().as_bytes());
        out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds replies and collects what was written; `T` in the replies is the handshake.
    fn run(rule: StartTlsRule, replies: &[&str]) -> (String, Result<Extensions, OpeningFault>) {
        let mut opening = Opening::new("us.test", rule);
        let (mut out, mut replies) = (BytesMut::new(), replies.iter());
        let result = loop {
            match opening.next(&mut out) {
                OpeningAction::Ready => break Ok(opening.finish().0),
                OpeningAction::Handshake => {
                    out.extend_from_slice(b"<TLS>");
                    opening.on_tls();
                }
                OpeningAction::Read(_) => {
                    let reply = Reply::parse(replies.next().expect("a reply")).unwrap();
                    if let Err(fault) = opening.on_reply(reply) {
                        break Err(fault);
                    }
                }
            }
        };
        (String::from_utf8_lossy(&out).replace("\r\n", "|"), result)
    }

    use StartTlsRule::{DangerousIfOffered, DangerousSkip, Require};

    #[test]
    fn e2_27_after_tls_the_plain_ehlo_is_forgotten() {
        let (sent, result) = run(
            Require,
            &[
                "220 hi",
                "250-mx\r\n250-STARTTLS\r\n250 DSN",
                "220 go",
                "250-mx\r\n250 CHUNKING",
            ],
        );
        assert_eq!(sent, "EHLO us.test|STARTTLS|<TLS>EHLO us.test|");
        let offered = result.unwrap();
        assert!(offered.chunking && !offered.dsn);
    }

    #[test]
    fn e2_29_starttls_inside_tls_is_ignored() {
        let (sent, result) = run(
            Require,
            &[
                "220 hi",
                "250-mx\r\n250 STARTTLS",
                "220 go",
                "250-mx\r\n250 STARTTLS",
            ],
        );
        assert_eq!(sent.matches("STARTTLS").count(), 1);
        assert!(result.is_ok());
    }

    #[test]
    fn e2_02_helo_after_500_or_502() {
        for code in ["500", "502"] {
            let ehlo = format!("{code} what");
            let (sent, result) = run(DangerousIfOffered, &["220 hi", &ehlo, "250 mx"]);
            assert_eq!(sent, "EHLO us.test|HELO us.test|");
            assert_eq!(result, Ok(Extensions::default()));
            let (_, required) = run(Require, &["220 hi", &ehlo, "250 mx"]);
            assert!(matches!(required, Err(OpeningFault::StartTlsNotOffered(_))));
        }
    }

    #[test]
    fn a6_03_a6_04_require_never_goes_on_in_clear() {
        for (replies, why) in [
            (vec!["220 hi", "250 mx"], "not offered"),
            (vec!["220 hi", "250-mx\r\n250 XXXXXXXX"], "stripped"),
            (vec!["220 hi", "250-mx\r\n250 STARTTLS", "454 no"], "454"),
            (vec!["220 hi", "250-mx\r\n250 STARTTLS", "501 no"], "501"),
            (vec!["220 hi", "250-mx\r\n250 STARTTLS", "502 no"], "502"),
            (vec!["220 hi", "250-mx\r\n250 STARTTLS", "554 no"], "554"),
            (
                vec!["220 hi", "250-mx\r\n250 STARTTLS", "250 ok"],
                "not the 220 of RFC 3207",
            ),
            (
                vec!["220 hi", "250-mx\r\n250 STARTTLS", "354 no"],
                "nonsense",
            ),
        ] {
            let (_, result) = run(Require, &replies);
            assert!(result.is_err(), "{why}");
        }
    }

    #[test]
    fn e2_32_if_offered_goes_on_after_a_refusal() {
        let answered = |reply: &str| {
            let replies = ["220 hi", "250-mx\r\n250 STARTTLS", reply];
            run(DangerousIfOffered, &replies)
        };
        let (sent, result) = answered("454 no");
        assert_eq!(sent, "EHLO us.test|STARTTLS|");
        assert!(result.is_ok());
        for (end, why) in [
            ("421 bye", "the peer is gone"),
            (
                "250 not the 220 of RFC 3207",
                "nobody knows what it waits for",
            ),
        ] {
            let (sent, ended) = answered(end);
            assert_eq!(sent, "EHLO us.test|STARTTLS|", "{why}");
            assert!(
                matches!(ended, Err(OpeningFault::StartTlsRefused(_))),
                "{why}"
            );
        }
    }

    #[test]
    fn skip_never_says_starttls() {
        let (sent, _) = run(DangerousSkip, &["220 hi", "250-mx\r\n250 STARTTLS"]);
        assert_eq!(sent, "EHLO us.test|");
    }

    #[test]
    fn e2_07_e2_09_h3_07_banners() {
        for (banner, refused) in [
            ("554 no", true),
            ("421 busy", true),
            ("521 never", true),
            ("650 hi", false),
            ("354 x", false),
        ] {
            let (sent, result) = run(Require, &[banner]);
            assert_eq!(sent, "", "{banner}");
            assert_eq!(
                matches!(result, Err(OpeningFault::Refused(_))),
                refused,
                "{banner}"
            );
            assert!(result.is_err());
        }
    }

    #[test]
    fn a_name_cannot_smuggle_a_command() {
        let mut opening = Opening::new("us.test\r\nMAIL FROM:<>", DangerousSkip);
        let mut out = BytesMut::new();
        opening.on_reply(Reply::parse("220 hi").unwrap()).unwrap();
        assert_eq!(opening.next(&mut out), OpeningAction::Read(Stage::Ehlo));
        assert_eq!(&out[..], b"EHLO us.test\r\n");
    }
}
