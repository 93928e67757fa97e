//! What each command does.

use mail_types::{
    EnhancedStatus, Mailbox, Notify, OrigClient, Recipient, ReversePath, Timestamp, harmless,
};

use super::{Action, Helo, Pending, Session, State, errors};
use crate::server::{
    Cause, ClaimedClient, Forwarded, Ground, Incident, Notice, Refusal, Role, Stage, TlsMode,
};
use crate::{Command, CommandError, ForwardPath, MailCommand, RcptCommand};

impl Session {
    /// Carries out one line. `behind` is what has come after it already.
    pub(super) fn command(
        &mut self,
        line: &[u8],
        behind: &[u8],
        now: Timestamp,
    ) -> Option<Action<'static>> {
        self.tally.said(line);
        let parsed = Command::parse(line);
        // RFC 5321 section 3.1: after a 554 greeting nothing but QUIT.
        let is_quit = matches!(
            &parsed,
            Ok(Command::Quit) | Err(CommandError::OtherProtocol)
        );
        if self.settings.closed.is_some() && !is_quit {
            self.out_of_order("No service here; only QUIT");
            return match &parsed {
                Ok(command) => self.skip_chunk_of(command),
                Err(error) => {
                    self.close_after(error);
                    None
                }
            };
        }
        let command = match parsed {
            Ok(command) => command,
            Err(error) => {
                self.bad_command(line, &self.not_offered(error));
                return None;
            }
        };
        if self.lacks_required_tls(&command) {
            self.refusal(&errors::starttls_first());
            return self.skip_chunk_of(&command);
        }
        match command {
            Command::Ehlo(name) => self.ehlo(name),
            Command::Helo(name) => self.helo_command(name),
            Command::StartTls => return self.starttls(behind),
            Command::Mail(mail) => return self.mail(mail, now),
            Command::Rcpt(rcpt) => return self.rcpt(rcpt),
            Command::Data => return self.data(),
            Command::Bdat { size, last } => return self.bdat(size, last),
            Command::Rset => {
                self.end_transaction();
                self.ok("Ok");
            }
            Command::Noop => self.ok("Ok"),
            // RFC 5321 section 3.5.3: 252 where nothing was verified.
            Command::Vrfy => self.reply(
                252,
                Some(EnhancedStatus::success(0, 0)),
                "Not verified; send mail to find out",
            ),
            Command::Expn => self.unimplemented("EXPN is not implemented"),
            Command::Help => self.reply(
                214,
                Some(EnhancedStatus::success(0, 0)),
                "EHLO HELO STARTTLS AUTH MAIL RCPT DATA BDAT RSET NOOP VRFY QUIT; see RFC 5321",
            ),
            Command::Quit => {
                self.end_transaction();
                self.abandon = false; // closing forgets the content anyway
                self.reply(221, Some(EnhancedStatus::success(0, 0)), "Bye");
                self.state = State::Closed;
            }
            Command::Xforward(attributes) => self.xforward(attributes),
            Command::Xclient(attributes) => return self.xclient(attributes),
            Command::Auth(text) => return self.auth(text),
        }
        None
    }

    fn bad_command(&mut self, line: &[u8], error: &CommandError) {
        if *error == CommandError::OtherProtocol {
            self.incident(Incident::CrossProtocol);
            let refusal = Refusal::transient(421, 7, 0, "This is an SMTP server");
            self.end(&refusal);
            return;
        }
        let refusal = errors::command(error);
        let verb = line.get(..4).unwrap_or_default();
        if verb.eq_ignore_ascii_case(b"MAIL") {
            let given = given_path(line, "FROM:");
            self.notice(
                Stage::Mail,
                errors::cause(error),
                &refusal,
                Some(given),
                None,
            );
        } else if verb.eq_ignore_ascii_case(b"RCPT") {
            if let Some(transaction) = &mut self.transaction {
                transaction.had_rcpt = true;
            }
            let given = given_path(line, "TO:");
            let (sender, cause) = (self.sender_text(), errors::cause(error));
            self.notice(Stage::Rcpt, cause, &refusal, sender, Some(&given));
        }
        if verb.eq_ignore_ascii_case(b"EHLO") || verb.eq_ignore_ascii_case(b"HELO") {
            // RFC 2034 section 4: no enhanced status in a reply to these two.
            if self.count_error() {
                self.reply(refusal.code(), None, refusal.text());
            }
        } else {
            self.refusal(&refusal);
        }
        self.close_after(error);
    }

    /// Nobody knows how many octets to skip behind a broken BDAT: what follows must not be taken for
    /// commands.
    fn close_after(&mut self, error: &CommandError) {
        if *error == CommandError::Chunk {
            self.state = State::Closed;
        }
    }

    /// Row F1-01: a bad value of a parameter that is not offered is no other mistake than a good one.
    fn not_offered(&self, error: CommandError) -> CommandError {
        match error {
            CommandError::Parameter { name, .. } if !self.takes_parameter(name) => {
                CommandError::UnknownParameter
            }
            other => other,
        }
    }

    /// Whether the parameter belongs to what the client was offered. SIZE, BODY and AUTH say nothing
    /// that binds us, and old programs send the former two after HELO: they pass everywhere.
    fn takes_parameter(&self, parameter: &str) -> bool {
        let extended = self.helo.as_ref().is_none_or(|helo| helo.extended);
        match parameter {
            "RET" | "ENVID" | "NOTIFY" | "ORCPT" => extended && self.settings.dsn,
            "SMTPUTF8" | "REQUIRETLS" => extended,
            _ => true,
        }
    }

    /// RFC 3207 section 4: 530 to everything else where TLS is required.
    fn lacks_required_tls(&self, command: &Command<'_>) -> bool {
        self.tls.is_none()
            && self.settings.tls == TlsMode::Required
            && !self.peer.plaintext // row G1-07
            && !matches!(
                command,
                Command::Ehlo(_)
                    | Command::Helo(_)
                    | Command::StartTls
                    // It has a reply of its own in clear: 538 5.7.11.
                    | Command::Auth(_)
                    | Command::Noop
                    | Command::Rset
                    | Command::Help
                    | Command::Quit
            )
    }

    fn ehlo(&mut self, name: &str) {
        self.hello(name, true);
        let settings = std::sync::Arc::clone(&self.settings);
        let size = format!("SIZE {}", self.max_message_size());
        let inside_tls = self.tls.is_some();
        let mechanisms = self.mechanisms();
        let lines = [
            (settings.hostname.as_str(), true),
            ("PIPELINING", true),
            (&size, true),
            ("STARTTLS", self.offers_starttls()), // RFC 3207 section 4.2: never inside TLS
            ("ENHANCEDSTATUSCODES", true),
            ("8BITMIME", true),
            ("DSN", settings.dsn),
            ("SMTPUTF8", true),
            ("CHUNKING", true),
            ("REQUIRETLS", inside_tls), // RFC 8689 section 2: only inside TLS
            (&mechanisms, !mechanisms.is_empty()),
            (Forwarded::OFFER, self.peer.xforward),
            (ClaimedClient::OFFER, self.peer.xclient),
        ];
        let offered = lines.iter().filter(|(_, on)| *on).map(|(line, _)| *line);
        self.tally.done();
        crate::write_reply(&mut self.output, 250, None, offered);
    }

    fn helo_command(&mut self, name: &str) {
        self.hello(name, false);
        let hostname = self.settings.hostname.clone();
        self.reply(250, None, hostname.as_str());
    }

    /// RFC 5321 section 4.1.4: as if RSET had been said.
    fn hello(&mut self, name: &str, extended: bool) {
        self.end_transaction();
        self.helo = Some(Helo::new(name.into(), extended));
    }

    fn starttls(&mut self, behind: &[u8]) -> Option<Action<'static>> {
        if self.tls.is_some() {
            self.out_of_order("TLS is active already"); // RFC 3207 section 4.2
            return None;
        }
        if !self.offers_starttls() {
            self.unimplemented("STARTTLS is not available here");
            return None;
        }
        if !behind.is_empty() {
            // RFC 3207 section 4 with CVE-2011-0411: what was sent in clear behind the command
            // might be taken for part of the protected session. It is dropped with the session.
            self.incident(Incident::StartTlsInjection);
            let why = "Commands behind STARTTLS before the handshake; closing the connection";
            self.end(&Refusal::transient(421, 5, 1, why));
            return None;
        }
        self.end_transaction();
        self.ok_code(220, "Ready to start TLS");
        self.state = State::Answer(Pending::StartTls);
        Some(Action::StartTls)
    }

    fn mail(&mut self, mail: MailCommand, now: Timestamp) -> Option<Action<'static>> {
        if self.helo.is_none() {
            self.out_of_order("Say EHLO first");
            return None;
        }
        if self.transaction.is_some() {
            self.out_of_order("A transaction is under way: RSET first");
            return None;
        }
        if self.messages >= self.settings.max_messages {
            self.incident(Incident::TooManyMessages);
            self.end(&errors::too_many_messages(self.messages));
            return None;
        }
        if let Some((cause, refusal)) = self.sender_refused(&mail) {
            let sender = Some(mail.path.to_string());
            self.notice(Stage::Mail, cause, &refusal, sender, None);
            self.refusal(&refusal);
            return None;
        }
        let size = mail.size;
        self.state = State::Answer(Pending::Admit(Box::new(mail), now));
        Some(Action::Admit { size })
    }

    fn sender_refused(&self, mail: &MailCommand) -> Option<(Cause, Refusal)> {
        let max = self.max_message_size();
        let path = mail.path.mailbox().map_or("", Mailbox::as_str);
        if let Some(refused) = self
            .stranger_refused()
            .or_else(|| self.other_sender(&mail.path))
        {
            Some(refused)
        } else if mail.requiretls && (self.tls.is_none() || !self.takes_parameter("REQUIRETLS")) {
            let refusal = if self.tls.is_none() && self.offers_starttls() {
                errors::starttls_first()
            } else {
                errors::unknown_parameter() // row D1-03: it was not offered
            };
            Some((Cause::TlsRequired, refusal))
        } else if (mail.ret.is_some() && !self.takes_parameter("RET"))
            || (mail.envid.is_some() && !self.takes_parameter("ENVID"))
            || (mail.smtputf8 && !self.takes_parameter("SMTPUTF8"))
        {
            // RFC 5321 section 4.1.1.11: also if it was offered to EHLO only.
            Some((Cause::Parameter, errors::unknown_parameter()))
        } else if !path.is_ascii() && !mail.smtputf8 {
            Some((Cause::Utf8Address, errors::utf8_address())) // RFC 6531 section 3.5
        } else if max > 0 && mail.size.is_some_and(|size| size > max) {
            Some((Cause::TooLarge, errors::too_large(max))) // RFC 1870 section 6.1
        } else {
            None
        }
    }

    /// RFC 4954 section 6: 530 where a login comes first.
    fn stranger_refused(&self) -> Option<(Cause, Refusal)> {
        match (self.settings.role, self.ground()) {
            (Role::Submission, Ground::Nothing) => {
                Some((Cause::AuthRequired, errors::login_first()))
            }
            (Role::Relay, Ground::Nothing)
            | (_, Ground::Network | Ground::Login | Ground::Certificate) => None,
        }
    }

    /// Row G3-07: as whom an identity may send; row G3-08: submitted addresses are complete (RFC
    /// 6409 section 4.2).
    fn other_sender(&self, path: &ReversePath) -> Option<(Cause, Refusal)> {
        if let Some(identity) = self.identity()
            && !identity.senders.include(path)
        {
            let text = format!("{} may not send as this address", identity.name);
            return Some((Cause::SenderDenied, Refusal::permanent(550, 7, 1, text)));
        }
        // RFC 3463 section 3.2: X.1.8 bad sender's system address.
        self.unqualified(path.mailbox()?)
            .then(|| (Cause::Syntax, errors::unqualified((1, 8), "sender")))
    }

    fn unqualified(&self, mailbox: &Mailbox) -> bool {
        self.settings.role == Role::Submission
            && mailbox.domain().is_some_and(|d| !d.as_str().contains('.'))
    }

    pub(super) fn refuse_sender(&mut self, sender: ReversePath, refusal: Refusal) {
        let cause = if refusal.is_transient() {
            Cause::Queue
        } else {
            Cause::SenderDomain
        };
        self.notice(Stage::Mail, cause, &refusal, Some(sender.to_string()), None);
        self.refuse_for_now(&refusal);
    }

    fn rcpt(&mut self, rcpt: RcptCommand) -> Option<Action<'static>> {
        let Some(transaction) = &mut self.transaction else {
            self.out_of_order("Say MAIL first");
            return None;
        };
        if transaction.content.is_some() {
            self.out_of_order("The content has begun");
            return None;
        }
        transaction.had_rcpt = true;
        let rcpt = self.for_postmaster(rcpt);
        let refused = self.recipient_refused(&rcpt);
        let mailbox = match rcpt.path {
            ForwardPath::Mailbox(mailbox) => Some(mailbox),
            ForwardPath::Postmaster => self.postmaster(),
        };
        let Some(mailbox) = mailbox else {
            self.refusal(&Refusal::permanent(
                550,
                1,
                1,
                "There is no postmaster here",
            ));
            return None;
        };
        if let Some((cause, refusal)) = refused {
            self.refuse_recipient(cause, refusal, &mailbox);
            return None;
        }
        self.state = State::Answer(Pending::Recipient(Box::new(Recipient {
            mailbox,
            notify: rcpt.notify,
            orcpt: rcpt.orcpt,
        })));
        Some(Action::CheckRecipient)
    }

    /// Row F1-07: valid DSN parameters change no decision here.
    fn recipient_refused(&self, rcpt: &RcptCommand) -> Option<(Cause, Refusal)> {
        let transaction = self.transaction.as_ref()?;
        let utf8 = transaction.mail.smtputf8;
        let ascii = |text: Option<&str>| text.is_none_or(str::is_ascii);
        let address = match &rcpt.path {
            ForwardPath::Mailbox(mailbox) => Some(mailbox.as_str()),
            ForwardPath::Postmaster => None,
        };
        let (orcpt, notify) = (rcpt.orcpt.is_some(), rcpt.notify != Notify::Unspecified);
        if (orcpt && !self.takes_parameter("ORCPT")) || (notify && !self.takes_parameter("NOTIFY"))
        {
            return Some((Cause::Parameter, errors::unknown_parameter()));
        }
        let all_ascii = ascii(address) && ascii(rcpt.orcpt.as_deref());
        if !utf8 && !all_ascii {
            return Some((Cause::Utf8Address, errors::utf8_address()));
        }
        // RFC 5321 section 7.9. Mail to postmaster (section 4.5.1) is for ourselves, if the
        // operator said where it goes.
        let for_us = address.is_none() && self.settings.postmaster.is_some();
        match self.ground() {
            Ground::Network | Ground::Login | Ground::Certificate => {}
            Ground::Nothing if for_us => {}
            Ground::Nothing => {
                let client = mail_types::Host::Address(self.peer.address);
                let text = format!("Relay access denied: {client} may not send mail through here");
                return Some((Cause::RelayDenied, Refusal::permanent(550, 7, 1, text)));
            }
        }
        if let ForwardPath::Mailbox(mailbox) = &rcpt.path
            && self.unqualified(mailbox)
        {
            let refusal = errors::unqualified((1, 2), "recipient");
            return Some((Cause::Syntax, refusal));
        }
        if transaction.recipients.len() >= self.settings.max_recipients {
            // RFC 5321 section 4.5.3.1.10: the client sends the rest in another transaction.
            let text = "Too many recipients; send the others in another transaction";
            let refusal = Refusal::transient(452, 5, 3, text);
            return Some((Cause::TooManyRecipients, refusal));
        }
        None
    }

    /// RFC 5321 section 4.5.1: postmaster of this server is the operator, with or without our name
    /// behind it, in any case; and so is whom our notifications say they are from.
    fn for_postmaster(&self, rcpt: RcptCommand) -> RcptCommand {
        let is_meant = |mailbox: &Mailbox| {
            let local = mailbox.local_part();
            let names = ["postmaster", "mailer-daemon"];
            mailbox.domain() == Some(&self.settings.hostname)
                && names.iter().any(|name| local.eq_ignore_ascii_case(name))
        };
        match &rcpt.path {
            ForwardPath::Mailbox(mailbox)
                if self.settings.postmaster.is_some() && is_meant(mailbox) =>
            {
                RcptCommand {
                    path: ForwardPath::Postmaster,
                    ..rcpt
                }
            }
            ForwardPath::Mailbox(_) | ForwardPath::Postmaster => rcpt,
        }
    }

    fn postmaster(&self) -> Option<Mailbox> {
        let here = || Mailbox::parse(&format!("postmaster@{}", self.settings.hostname)).ok();
        self.settings.postmaster.clone().or_else(here)
    }

    pub(super) fn settle_recipient(&mut self, recipient: Recipient, answer: Result<(), Refusal>) {
        match answer {
            Ok(()) => {
                if let Some(transaction) = &mut self.transaction {
                    transaction.recipients.push(recipient);
                }
                self.reply(250, Some(EnhancedStatus::success(1, 5)), "Recipient ok");
            }
            Err(refusal) => self.refuse_recipient(Cause::Recipient, refusal, &recipient.mailbox),
        }
    }

    fn refuse_recipient(&mut self, cause: Cause, refusal: Refusal, recipient: &Mailbox) {
        let (sender, to) = (self.sender_text(), Some(recipient.as_str()));
        self.notice(Stage::Rcpt, cause, &refusal, sender, to);
        match cause {
            // A long list of recipients may have many of these: no mistake of the client.
            Cause::Recipient | Cause::TooManyRecipients => self.refuse_for_now(&refusal),
            _ => self.refusal(&refusal),
        }
    }

    fn xforward(&mut self, attributes: &str) {
        if !self.peer.xforward {
            self.incident(Incident::XforwardDenied);
            self.refusal(&Refusal::permanent(
                550,
                7,
                0,
                "XFORWARD is not for this client",
            ));
        } else if self.transaction.is_some() {
            self.out_of_order("A transaction is under way");
        } else {
            match self.forwarded.update(attributes) {
                Ok(()) => self.ok("Ok"),
                Err(error) => {
                    self.refusal(&Refusal::permanent(501, 5, 4, error.to_string()));
                }
            }
        }
    }

    fn ok(&mut self, text: &str) {
        self.ok_code(250, text);
    }

    fn ok_code(&mut self, code: u16, text: &str) {
        self.reply(code, Some(EnhancedStatus::success(0, 0)), text);
    }

    pub(super) fn out_of_order(&mut self, text: &'static str) {
        self.refusal(&errors::out_of_order(text));
    }

    pub(super) fn unimplemented(&mut self, text: &'static str) {
        self.refusal(&Refusal::permanent(502, 5, 1, text));
    }

    /// A refusal that counts as the client's mistake.
    pub(super) fn refusal(&mut self, refusal: &Refusal) {
        self.error(refusal.code(), refusal.status(), refusal.text());
    }

    /// A refusal that is nobody's mistake; 421 closes (RFC 5321 section 4.2.3).
    pub(super) fn refuse_for_now(&mut self, refusal: &Refusal) {
        self.reply_refusal(refusal);
        if refusal.code() == 421 {
            self.state = State::Closed;
        }
    }

    /// The sender of the transaction, as events name it.
    pub(super) fn sender_text(&self) -> Option<String> {
        let transaction = self.transaction.as_ref()?;
        Some(transaction.mail.path.to_string())
    }

    /// Whose mail it is, if XFORWARD said anything of that.
    #[must_use]
    pub fn orig_client(&self) -> Option<&OrigClient> {
        Some(&self.forwarded.client).filter(|client| client.is_known())
    }

    pub(super) fn notice(
        &mut self,
        stage: Stage,
        cause: Cause,
        refusal: &Refusal,
        sender: Option<String>,
        recipient: Option<&str>,
    ) {
        self.notices.push(Notice::Refused {
            stage,
            cause: refusal.cause().unwrap_or(cause),
            refusal: refusal.clone(),
            sender: sender.map(Into::into),
            recipient: recipient.map(Into::into),
            orig_client: self.orig_client().cloned().map(Box::new),
        });
    }
}

/// What stands where an address should, for whoever looks for the mail that was refused: without
/// control characters, and no longer than a path may be (RFC 5321 section 4.5.3.1.3).
fn given_path(line: &[u8], keyword: &str) -> String {
    let text = String::from_utf8_lossy(line.get(4..).unwrap_or_default());
    let text = text.trim_matches(' ');
    let head = text.get(..keyword.len());
    let text = match head {
        Some(head) if head.eq_ignore_ascii_case(keyword) => &text[keyword.len()..],
        _ => text,
    };
    let text = text.trim_start_matches(' ');
    let path = match text.strip_prefix('<') {
        Some(inner) => inner.split_once("> ").map_or(inner, |(path, _)| path),
        None => text,
    };
    let path = path.strip_suffix('>').unwrap_or(path);
    path.chars().take(MAX_PATH).map(harmless).collect()
}

const MAX_PATH: usize = 256;
