//! One mail transaction: which commands go together, and which reply belongs to which.
//!
//! With PIPELINING everything up to DATA (or up to and including the content after BDAT) is one
//! flight; without it each command waits for its reply. Replies are matched by count (RFC 2920
//! section 3.1). Nothing is sent across DATA or a failed transaction (row E2-24).

use std::collections::VecDeque;

use bytes::BytesMut;

use super::{Extensions, Framing, MissingExtension, Stage, Transaction, command};
use crate::{Reply, ReplyClass};

#[cfg(test)]
mod tests;

/// One mail transaction. The driver asks [`Exchange::next`], obeys, and reports with
/// [`Exchange::on_reply`] and [`Exchange::on_body_sent`].
#[derive(Debug)]
pub struct Exchange<'a> {
    tx: &'a Transaction<'a>,
    offered: &'a Extensions,
    framing: Framing,
    smtputf8: bool,
    unsent: VecDeque<Command>,
    pending: VecDeque<Command>,
    body: BodyState,
    recipients: Vec<State>,
    /// How many of the recipients take part: the others are beyond the peer's RCPTMAX.
    asked: usize,
    mail_refusal: Option<Reply>,
    closing: bool,
    clean: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Command {
    Rset,
    Mail,
    Rcpt(usize),
    /// DATA, or `BDAT … LAST`: then its reply is the final one.
    Content,
    /// Not a command: the reply to the end of the content.
    Final,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BodyState {
    /// Not the time for it.
    NotYet,
    /// To be sent now.
    Due,
    /// DATA was answered with 354 though nobody is accepted: a lone dot (row E2-23).
    EmptyDue,
    Sent,
}

#[derive(Clone, Debug)]
enum State {
    Undecided,
    Accepted,
    Decided(RecipientOutcome),
}

/// What became of one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum RecipientOutcome {
    /// The peer has taken responsibility: its final reply.
    Delivered(Reply),
    /// Refused for this attempt. The reply's class says whether for good.
    Refused {
        /// Which command was refused: MAIL, RCPT, DATA or the final dot.
        stage: Stage,
        /// The reply.
        reply: Reply,
    },
    /// Too many recipients for one transaction: send it at once in a further one (row E2-20).
    NextTransaction(Option<Reply>),
}

/// What the driver has to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum ExchangeAction {
    /// Write what is in the buffer (maybe nothing) and read one reply.
    Read(Stage),
    /// Write what is in the buffer and the content in this framing, then
    /// [`Exchange::on_body_sent`].
    SendBody(Framing),
    /// Write what is in the buffer and end the content at once, without any of it, then
    /// [`Exchange::on_body_sent`].
    SendEmptyBody,
    /// The transaction is over: [`Exchange::finish`].
    Done,
}

/// Why a transaction cannot go on; the session cannot either.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExchangeFault {
    /// 421: the peer closes the session (row E2-13).
    #[error("the host closes the session: {0}")]
    Closing(Reply),
    /// A reply that makes no sense here.
    #[error("unexpected reply: {0}")]
    Unexpected(Reply),
    /// A reply without a command (row H3-06).
    #[error("a reply that nothing asked for: {0}")]
    Desync(Reply),
}

impl<'a> Exchange<'a> {
    /// Begins a transaction; nothing is written yet. `reset` puts RSET before it, after one that
    /// did not end with an accepted message (row E2-15). Contents of up to `one_flight_max` octets
    /// go with the envelope where the peer allows it.
    ///
    /// # Errors
    /// The message needs an extension that is not offered.
    pub fn new(
        tx: &'a Transaction<'a>,
        offered: &'a Extensions,
        reset: bool,
        one_flight_max: u64,
    ) -> Result<Self, MissingExtension> {
        tx.fits(offered)?;
        let limit = offered
            .recipients_max
            .map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX));
        let asked = tx.recipients.len().min(limit);
        let framing = if offered.chunking {
            Framing::Bdat
        } else {
            Framing::Data
        };
        let one_flight =
            framing == Framing::Bdat && offered.pipelining && tx.size <= one_flight_max;
        let mut unsent = VecDeque::with_capacity(asked + 3);
        unsent.extend(reset.then_some(Command::Rset));
        unsent.push_back(Command::Mail);
        unsent.extend((0..asked).map(Command::Rcpt));
        // DATA may end a group of pipelined commands (RFC 2920 section 3.1).
        if framing == Framing::Data || one_flight {
            unsent.push_back(Command::Content);
        }
        let skipped = RecipientOutcome::NextTransaction(None);
        let mut recipients = vec![State::Undecided; asked];
        recipients.resize(tx.recipients.len(), State::Decided(skipped));
        Ok(Self {
            tx,
            offered,
            framing,
            smtputf8: tx.needs_smtputf8(),
            unsent,
            pending: VecDeque::with_capacity(asked + 3),
            body: BodyState::NotYet,
            recipients,
            asked,
            mail_refusal: None,
            closing: false,
            clean: false,
        })
    }

    /// What to do now; commands to write are appended to `out`.
    pub fn next(&mut self, out: &mut BytesMut) -> ExchangeAction {
        match self.body {
            BodyState::Due => return ExchangeAction::SendBody(self.framing),
            BodyState::EmptyDue => return ExchangeAction::SendEmptyBody,
            BodyState::NotYet | BodyState::Sent => {}
        }
        if self.offered.pipelining {
            while let Some(command) = self.unsent.pop_front() {
                self.send(command, out);
            }
        } else if self.pending.is_empty() {
            self.send_next(out);
        }
        if self.body == BodyState::Due {
            return ExchangeAction::SendBody(self.framing);
        }
        if let Some(command) = self.pending.front() {
            return ExchangeAction::Read(command.stage(self.framing));
        }
        // BDAT after the replies to RCPT.
        let waiting = self.framing == Framing::Bdat && self.body == BodyState::NotYet;
        if waiting && self.accepted() && !self.closing {
            self.send(Command::Content, out);
            return ExchangeAction::SendBody(self.framing);
        }
        ExchangeAction::Done
    }

    /// The content is written to its last octet.
    pub fn on_body_sent(&mut self) {
        self.body = BodyState::Sent;
        self.pending.push_back(Command::Final);
    }

    /// Takes the reply that was read.
    ///
    /// # Errors
    /// [`ExchangeFault`]: the session is over; [`Exchange::into_states`] tells what was decided.
    pub fn on_reply(&mut self, reply: Reply) -> Result<(), ExchangeFault> {
        let Some(command) = self.pending.pop_front() else {
            return Err(ExchangeFault::Desync(reply));
        };
        if reply.code() == 421 && command != Command::Final {
            return Err(ExchangeFault::Closing(reply));
        }
        if reply.class() == ReplyClass::Other {
            return Err(ExchangeFault::Unexpected(reply));
        }
        match command {
            Command::Rset if reply.is_positive() => Ok(()),
            Command::Rset => Err(ExchangeFault::Unexpected(reply)),
            Command::Mail => self.on_mail(reply),
            Command::Rcpt(n) => self.on_rcpt(n, reply),
            Command::Content => self.on_content(reply),
            Command::Final => self.on_final(reply),
        }
    }

    /// The outcome of each recipient, in the order of the transaction.
    #[must_use]
    pub fn finish(mut self) -> Vec<Option<RecipientOutcome>> {
        self.mark_too_many();
        self.into_states()
    }

    /// What was decided of each recipient so far; `None` is undecided.
    #[must_use]
    pub fn into_states(self) -> Vec<Option<RecipientOutcome>> {
        let decided = |state| match state {
            State::Decided(outcome) => Some(outcome),
            State::Undecided | State::Accepted => None,
        };
        self.recipients.into_iter().map(decided).collect()
    }

    /// The peer said 421 with its final reply: close.
    #[must_use]
    pub const fn is_closing(&self) -> bool {
        self.closing
    }

    /// The last reply ended the transaction: the next one needs no RSET.
    #[must_use]
    pub const fn is_clean(&self) -> bool {
        self.clean
    }

    fn send_next(&mut self, out: &mut BytesMut) {
        while let Some(command) = self.unsent.pop_front() {
            // Nobody to send to: MAIL was refused, or every RCPT.
            let pointless = match command {
                Command::Rset | Command::Mail | Command::Final => false,
                Command::Rcpt(_) => self.mail_refusal.is_some(),
                Command::Content => !self.accepted(),
            };
            if !pointless {
                return self.send(command, out);
            }
        }
    }

    fn send(&mut self, command: Command, out: &mut BytesMut) {
        match command {
            Command::Rset => out.extend_from_slice(b"RSET\r\n"),
            Command::Mail => command::mail(out, self.tx, self.offered, self.smtputf8),
            Command::Rcpt(n) => {
                if let Some(recipient) = self.tx.recipients.get(n) {
                    command::rcpt(out, recipient, self.offered, self.smtputf8);
                }
            }
            Command::Content if self.framing == Framing::Bdat => {
                command::bdat(out, self.tx.size);
                self.body = BodyState::Due;
                return; // Its reply is the final one.
            }
            Command::Content => out.extend_from_slice(b"DATA\r\n"),
            Command::Final => {}
        }
        self.pending.push_back(command);
    }

    fn on_mail(&mut self, reply: Reply) -> Result<(), ExchangeFault> {
        match reply.class() {
            ReplyClass::Completion => Ok(()),
            ReplyClass::Transient | ReplyClass::Permanent => {
                self.decide_all(|| RecipientOutcome::Refused {
                    stage: Stage::Mail,
                    reply: reply.clone(),
                });
                self.mail_refusal = Some(reply);
                Ok(())
            }
            ReplyClass::Intermediate | ReplyClass::Other => Err(ExchangeFault::Unexpected(reply)),
        }
    }

    fn on_rcpt(&mut self, n: usize, reply: Reply) -> Result<(), ExchangeFault> {
        if self.mail_refusal.is_some() {
            return Ok(()); // Decided by MAIL, whatever is said here.
        }
        let state = match reply.class() {
            ReplyClass::Completion => State::Accepted,
            ReplyClass::Transient | ReplyClass::Permanent => {
                State::Decided(RecipientOutcome::Refused {
                    stage: Stage::Rcpt,
                    reply,
                })
            }
            ReplyClass::Intermediate | ReplyClass::Other => {
                return Err(ExchangeFault::Unexpected(reply));
            }
        };
        if let Some(slot) = self.recipients.get_mut(n) {
            *slot = state;
        }
        Ok(())
    }

    /// The reply to DATA.
    fn on_content(&mut self, reply: Reply) -> Result<(), ExchangeFault> {
        match reply.class() {
            // RFC 5321 section 3.3: content only after 354 (row E2-16).
            ReplyClass::Intermediate => {
                self.body = if self.accepted() {
                    BodyState::Due
                } else {
                    BodyState::EmptyDue
                };
                Ok(())
            }
            ReplyClass::Transient | ReplyClass::Permanent => {
                self.refuse_accepted(Stage::Data, &reply);
                Ok(())
            }
            ReplyClass::Completion | ReplyClass::Other => Err(ExchangeFault::Unexpected(reply)),
        }
    }

    fn on_final(&mut self, reply: Reply) -> Result<(), ExchangeFault> {
        self.closing = reply.code() == 421;
        match reply.class() {
            ReplyClass::Completion => {
                self.clean = true;
                // Those who were refused stay refused, also if this is all of them (row H3-20).
                for state in &mut self.recipients {
                    if matches!(state, State::Accepted) {
                        *state = State::Decided(RecipientOutcome::Delivered(reply.clone()));
                    }
                }
                Ok(())
            }
            // RFC 5321 section 4.2.5: for all accepted recipients (row E2-21).
            ReplyClass::Transient | ReplyClass::Permanent => {
                self.refuse_accepted(Stage::Dot, &reply);
                Ok(())
            }
            ReplyClass::Intermediate | ReplyClass::Other => Err(ExchangeFault::Unexpected(reply)),
        }
    }

    fn accepted(&self) -> bool {
        self.recipients.iter().any(|s| matches!(s, State::Accepted))
    }

    fn refuse_accepted(&mut self, stage: Stage, reply: &Reply) {
        for state in &mut self.recipients {
            if matches!(state, State::Accepted) {
                *state = State::Decided(RecipientOutcome::Refused {
                    stage,
                    reply: reply.clone(),
                });
            }
        }
    }

    fn decide_all(&mut self, outcome: impl Fn() -> RecipientOutcome) {
        for state in self.recipients.iter_mut().take(self.asked) {
            *state = State::Decided(outcome());
        }
    }

    /// RFC 5321 section 4.5.3.1.10: 452 (and 552) after some recipients were accepted means "too
    /// many", if it goes on to the last of them and does not speak of the mailbox itself (rows
    /// E2-20, E2-36).
    fn mark_too_many(&mut self) {
        let asked = self.asked;
        let Some(recipients) = self.recipients.get_mut(..asked) else {
            return;
        };
        let refused_at_rcpt = |s: &State| {
            matches!(
                s,
                State::Decided(RecipientOutcome::Refused {
                    stage: Stage::Rcpt,
                    ..
                })
            )
        };
        if recipients.iter().all(refused_at_rcpt) || self.mail_refusal.is_some() {
            return;
        }
        let first_after_accepted = recipients
            .iter()
            .position(|s| !refused_at_rcpt(s))
            .unwrap_or(asked);
        let tail = recipients.iter_mut().skip(first_after_accepted).rev();
        for state in tail {
            let State::Decided(RecipientOutcome::Refused {
                stage: Stage::Rcpt,
                reply,
            }) = state
            else {
                return;
            };
            if !says_too_many(reply) {
                return;
            }
            *state = State::Decided(RecipientOutcome::NextTransaction(Some(reply.clone())));
        }
    }
}

impl Command {
    const fn stage(self, framing: Framing) -> Stage {
        match (self, framing) {
            (Self::Rset, _) => Stage::Rset,
            (Self::Mail, _) => Stage::Mail,
            (Self::Rcpt(_), _) => Stage::Rcpt,
            (Self::Content, Framing::Data) => Stage::Data,
            (Self::Content, Framing::Bdat) | (Self::Final, _) => Stage::Dot,
        }
    }
}

/// 452 and 552, unless the enhanced status speaks of the address or the mailbox (x.1.z, x.2.z).
fn says_too_many(reply: &Reply) -> bool {
    let status = reply.enhanced().map(|s| s.to_string());
    let detail = status.as_deref().and_then(|s| s.get(2..));
    match detail {
        Some("5.3") => true,
        Some(d) if d.starts_with("1.") || d.starts_with("2.") => false,
        Some(_) | None => matches!(reply.code(), 452 | 552),
    }
}
