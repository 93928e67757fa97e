//! An open session that carries transactions.

use bytes::{Bytes, BytesMut};
use smtp_proto::{
    DataEncoder, Exchange, ExchangeAction, ExchangeFault, Framing, RecipientOutcome, Reply,
    ReplyClass, Stage, Transaction,
};
use tokio::time::Instant;

use crate::error::ProtocolFault;
use crate::wire::{Unasked, Wire};
use crate::{
    Body, Cause, PoolKey, SessionFacts, SocketFault, Timeouts, TransactionError, Transcript,
};

/// An open session. It carries one transaction after the other; dropping it closes the socket
/// without QUIT.
pub struct Connection {
    wire: Wire,
    facts: SessionFacts,
    key: PoolKey,
    settings: Settings,
    since: Instant,
    transactions: u32,
    needs_reset: bool,
    usable: bool,
    counted_for: Vec<Box<str>>,
}

/// What the connector hands on.
#[derive(Clone, Copy)]
pub(crate) struct Settings {
    pub(crate) timeouts: Timeouts,
    pub(crate) one_flight_max: u64,
}

impl Connection {
    pub(crate) fn new(wire: Wire, facts: SessionFacts, key: PoolKey, settings: Settings) -> Self {
        Self {
            wire,
            facts,
            key,
            settings,
            since: Instant::now(),
            transactions: 0,
            needs_reset: false,
            usable: true,
            counted_for: Vec::new(),
        }
    }

    /// What is known of the session. To be evaluated again before each transaction.
    #[must_use]
    pub const fn facts(&self) -> &SessionFacts {
        &self.facts
    }

    /// What this connection may be reused for.
    #[must_use]
    pub const fn key(&self) -> &PoolKey {
        &self.key
    }

    /// The dialogue so far.
    #[must_use]
    pub const fn transcript(&self) -> &Transcript {
        self.wire.transcript()
    }

    /// Transactions begun on this connection.
    #[must_use]
    pub const fn transactions(&self) -> u32 {
        self.transactions
    }

    /// Whether this is asked of this session for the first time: TLS reports count sessions for each policy,
    /// however much mail they carry (RFC 8460 section 4).
    pub fn is_new_to(&mut self, policy: &str) -> bool {
        let is_new = self.counted_for.iter().all(|known| **known != *policy);
        if is_new {
            self.counted_for.push(policy.into());
        }
        is_new
    }

    /// When it was opened, on the monotonic clock.
    pub(crate) const fn since(&self) -> Instant {
        self.since
    }

    /// Whether another transaction may be tried: the last one left the session in order, and the
    /// peer's LIMITS MAILMAX is not reached.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        let max = self.facts.extensions.transactions_max;
        self.usable && max.is_none_or(|max| self.transactions < max)
    }

    /// Whether the peer has neither closed nor said anything since; does not wait.
    pub(crate) fn is_quiet(&mut self) -> bool {
        self.wire.unasked() == Unasked::Nothing
    }

    /// Carries out one transaction. The outcomes are in the order of the recipients.
    ///
    /// # Errors
    /// It did not come to its end; after anything but [`Cause::Missing`] the connection is not
    /// usable any more.
    pub async fn transact(
        &mut self,
        transaction: &Transaction<'_>,
        body: Body,
    ) -> Result<Vec<RecipientOutcome>, TransactionError> {
        let mut exchange = match Exchange::new(
            transaction,
            &self.facts.extensions,
            self.needs_reset,
            self.settings.one_flight_max,
        ) {
            Ok(exchange) => exchange,
            Err(missing) => return Err(self.refuse(transaction, Cause::Missing(missing))),
        };
        if !self.usable {
            let gone = SocketFault::closed();
            return Err(self.refuse(transaction, Cause::Lost(gone)));
        }
        // Stays so if this future is dropped on its way.
        self.usable = false;
        self.wire
            .transcript_mut()
            .begin_transaction(self.transactions);
        self.transactions += 1;
        let cap = Instant::now() + self.settings.timeouts.transaction;
        self.wire.set_deadline(Some(cap));
        let mut drive = Drive {
            wire: &mut self.wire,
            timeouts: &self.settings.timeouts,
            stage: Stage::Mail,
            answered: false,
            handed_over: false,
        };
        let result = drive.run(&mut exchange, transaction.size, body).await;
        let (stage, answered, handed_over) = (drive.stage, drive.answered, drive.handed_over);
        self.wire.set_deadline(None);
        match result {
            Ok(()) => {
                self.needs_reset = !exchange.is_clean();
                // Octets beyond the last reply belong to nothing (row H3-06), but do not change
                // what was said before.
                self.usable = !exchange.is_closing() && self.wire.unasked() == Unasked::Nothing;
                let outcomes = exchange.finish();
                let decided: Option<Vec<_>> = outcomes.iter().cloned().collect();
                decided.ok_or_else(|| TransactionError {
                    stage,
                    cause: Cause::Protocol(ProtocolFault::Desync),
                    recipients: outcomes,
                    after_final_dot: handed_over,
                    unanswered: false,
                    transcript: self.wire.transcript().clone(),
                })
            }
            Err(cause) => Err(TransactionError {
                stage,
                // A 421 to MAIL or RCPT says that the content behind it was not looked at.
                after_final_dot: handed_over
                    && (stage == Stage::Dot || !matches!(cause, Cause::Remote(_))),
                cause,
                recipients: exchange.into_states(),
                unanswered: !answered,
                transcript: self.wire.transcript().clone(),
            }),
        }
    }

    /// Says QUIT, waits a short while for the reply, closes.
    pub async fn quit(mut self) {
        let limit = self.settings.timeouts.quit;
        if self.usable {
            self.wire.quit(limit).await;
        } else {
            self.wire.close(limit).await;
        }
    }

    fn refuse(&self, transaction: &Transaction<'_>, cause: Cause) -> TransactionError {
        TransactionError {
            stage: Stage::Mail,
            cause,
            recipients: vec![None; transaction.recipients.len()],
            after_final_dot: false,
            unanswered: true,
            transcript: self.wire.transcript().clone(),
        }
    }
}

/// One transaction under way.
struct Drive<'a> {
    wire: &'a mut Wire,
    timeouts: &'a Timeouts,
    stage: Stage,
    /// A command was answered, not only with the end of the session.
    answered: bool,
    /// The end of the content was given to the system: the peer may have all of it.
    handed_over: bool,
}

impl Drive<'_> {
    async fn run(
        &mut self,
        exchange: &mut Exchange<'_>,
        size: u64,
        mut body: Body,
    ) -> Result<(), Cause> {
        match self.wire.unasked() {
            Unasked::Nothing => {}
            Unasked::Octets => return Err(self.wire.explain_unasked()),
            Unasked::End => return Err(self.wire.ended()),
        }
        let mut out = BytesMut::with_capacity(1_024);
        loop {
            let action = exchange.next(&mut out);
            if !out.is_empty() {
                self.wire.command(&out);
                out.clear();
            }
            match action {
                ExchangeAction::Read(stage) => {
                    self.stage = stage;
                    let limit = self.limit(stage);
                    if !self.wire.outbox().is_empty() {
                        self.write(exchange).await?;
                    }
                    let reply = self.wire.read_reply(limit).await?;
                    exchange.on_reply(reply).map_err(cause_of)?;
                    self.answered = true;
                }
                ExchangeAction::SendBody(framing) => {
                    self.stage = Stage::Data;
                    self.send_body(exchange, framing, size, &mut body).await?;
                    exchange.on_body_sent();
                }
                ExchangeAction::SendEmptyBody => {
                    self.wire.command(b".\r\n");
                    self.write(exchange).await?;
                    exchange.on_body_sent();
                }
                ExchangeAction::Done => return Ok(()),
            }
        }
    }

    /// The content, a piece ahead, so that its end leaves together with its last octets.
    async fn send_body(
        &mut self,
        exchange: &mut Exchange<'_>,
        framing: Framing,
        size: u64,
        body: &mut Body,
    ) -> Result<(), Cause> {
        let mut encoder = DataEncoder::new(framing);
        let mut piece = read(body).await?;
        while let Some(this) = piece {
            piece = read(body).await?;
            encoder.encode(this, self.wire.outbox());
            if encoder.taken() > size {
                return Err(wrong_size(size));
            }
            if piece.is_some() && self.wire.outbox().len() >= WRITE_AT {
                self.write(exchange).await?;
            }
        }
        // Never end a message that is not the one that was promised.
        if encoder.taken() != size {
            return Err(wrong_size(size));
        }
        if encoder.repaired() > 0 {
            let repaired = encoder.repaired();
            let transcript = self.wire.transcript_mut();
            transcript.note(&format_args!("{repaired} stray CR or LF became spaces"));
        }
        encoder.finish(self.wire.outbox());
        let transcript = self.wire.transcript_mut();
        transcript.note(&format_args!("content, {size} octets"));
        self.handed_over = true;
        self.write(exchange).await
    }

    /// Writes what is queued. If the peer is gone, what it said before it went is taken in.
    async fn write(&mut self, exchange: &mut Exchange<'_>) -> Result<(), Cause> {
        match self.wire.flush(self.timeouts.block).await {
            Err(Cause::Lost(fault)) => Err(self.last_words(exchange, fault).await),
            other => other,
        }
    }

    async fn last_words(&mut self, exchange: &mut Exchange<'_>, fault: SocketFault) -> Cause {
        while let Ok(reply) = self.wire.read_reply(LAST_WORDS).await {
            match exchange.on_reply(reply) {
                Ok(()) => self.answered = true,
                Err(ExchangeFault::Desync(reply)) if is_refusal(&reply) => {
                    return Cause::Remote(reply);
                }
                Err(fault) => return cause_of(fault),
            }
        }
        Cause::Lost(fault)
    }

    const fn limit(&self, stage: Stage) -> std::time::Duration {
        let t = self.timeouts;
        match stage {
            Stage::Mail => t.mail,
            Stage::Rcpt => t.rcpt,
            Stage::Data => t.data,
            Stage::Dot => t.dot,
            Stage::Quit => t.quit,
            Stage::Connect
            | Stage::Banner
            | Stage::Ehlo
            | Stage::StartTls
            | Stage::Handshake
            | Stage::EhloTls
            | Stage::Auth
            | Stage::Rset => t.other,
        }
    }
}

async fn read(body: &mut Body) -> Result<Option<Bytes>, Cause> {
    body.next()
        .await
        .map_err(|e| Cause::Local(format!("the content cannot be read: {e}").into()))
}

fn wrong_size(size: u64) -> Cause {
    Cause::Local(format!("the content does not have the {size} octets that were announced").into())
}

fn is_refusal(reply: &Reply) -> bool {
    matches!(reply.class(), ReplyClass::Transient | ReplyClass::Permanent)
}

fn cause_of(fault: ExchangeFault) -> Cause {
    match fault {
        ExchangeFault::Closing(reply) => Cause::Remote(reply),
        ExchangeFault::Unexpected(reply) => Cause::Protocol(ProtocolFault::Unexpected(reply)),
        ExchangeFault::Desync(_) => Cause::Protocol(ProtocolFault::Desync),
    }
}

const WRITE_AT: usize = 64 * 1024;
const LAST_WORDS: std::time::Duration = std::time::Duration::from_secs(1);
