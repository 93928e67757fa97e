//! DATA and BDAT: from the command to the message as a whole.

use std::collections::HashMap;

use mail_types::{
    Arrival, BodyType, EnhancedStatus, Envelope, Host, Mailbox, MessageClass, Notify, QueueId,
    Recipient, ReversePath, Submitter, Timestamp,
};

use super::{Action, Pending, Session, State, Transaction, errors};
use crate::server::header_scan::HeaderScan;
use crate::server::nul_dots::NulDots;
use crate::server::trace::{Protocol, Trace};
use crate::server::{Cause, Incident, Refusal, Settings, Stage, TlsRequiredNo};
use crate::{BdatReader, Command, ContentCounts, DataDecoder, Piece};

/// Each mailbox once, where it was named first: who names one again asks for no second copy, but
/// may ask to be told of more.
fn without_repeats(recipients: Vec<Recipient>) -> Vec<Recipient> {
    if recipients.len() < 2 {
        return recipients;
    }
    let mut first = HashMap::with_capacity(recipients.len());
    let mut asked: Vec<Option<Notify>> = Vec::with_capacity(recipients.len());
    for (n, recipient) in recipients.iter().enumerate() {
        let first = *first.entry(&recipient.mailbox).or_insert(n);
        let before = asked.get_mut(first).and_then(Option::as_mut);
        if let Some(before) = before {
            *before = both(*before, recipient.notify);
        }
        asked.push((first == n).then_some(recipient.notify));
    }
    let kept = recipients.into_iter().zip(asked);
    kept.filter_map(|(mut recipient, asked)| {
        recipient.notify = asked?;
        Some(recipient)
    })
    .collect()
}

/// Whoever asks for nothing forbids nothing that is asked for besides.
fn both(one: Notify, other: Notify) -> Notify {
    let told = |notify| match notify {
        Notify::Never => [false; 3],
        // What is told unasked (RFC 3461 section 4.1).
        Notify::Unspecified => [false, true, true],
        Notify::On {
            success,
            failure,
            delay,
        } => [success, failure, delay],
    };
    match (one, other) {
        (Notify::Never, notify) | (notify, Notify::Never) => notify,
        _ if one == other => one,
        _ => {
            let ([s1, f1, d1], [s2, f2, d2]) = (told(one), told(other));
            Notify::On {
                success: s1 || s2,
                failure: f1 || f2,
                delay: d1 || d2,
            }
        }
    }
}

/// The content of one message while it comes in.
#[derive(Debug)]
pub(super) struct Content {
    reader: Reader,
    scan: HeaderScan,
    /// Octets as queued: trace header and content.
    size: u64,
    /// Octets of the content alone, for the limit.
    received: u64,
    eight_bit: bool,
    nul_dots: NulDots,
    /// Nothing has come yet.
    at_start: bool,
    /// Whether it is refused for that.
    has_nul_dot: bool,
    /// Why it will be refused once it has been read.
    refused: Option<(Cause, Refusal)>,
    /// Nothing is stored for it any more, or never was.
    pub(super) abandoned: bool,
}

#[derive(Debug)]
enum Reader {
    Data(DataDecoder),
    Bdat(BdatReader),
}

/// No more is looked at to know what the first octet of content is.
const DECIDING: usize = 8;

impl Content {
    pub(super) fn refuse(&mut self, cause: Cause, refusal: Refusal) {
        if self.refused.is_none() {
            self.refused = Some((cause, refusal));
        }
    }

    /// Whether content begins with white space: its first line would be folded into the field that
    /// stands above it, which is ours, and say who knows what there (row E4-30).
    fn needs_empty_line(&mut self, input: &[u8]) -> bool {
        if !self.at_start {
            return false;
        }
        // What counts is what will be stored: dots are taken away, stray line ends replaced. A few octets
        // decide that.
        let input = input.get(..DECIDING).unwrap_or(input);
        let piece = match &self.reader {
            Reader::Data(decoder) => decoder.clone().next(input).1,
            Reader::Bdat(reader) => reader.clone().next(input).1,
        };
        let Piece::Content([first, ..]) = piece else {
            return false;
        };
        self.at_start = false;
        matches!(first, b' ' | b'\t') && self.refused.is_none()
    }

    /// The end of the header: what follows is the body of a message without one.
    fn empty_line(&mut self) -> &'static [u8] {
        const EMPTY: &[u8] = b"\r\n";
        self.size += EMPTY.len() as u64;
        self.scan.feed(EMPTY);
        EMPTY
    }

    fn refuse_nul_dot(&mut self) {
        self.has_nul_dot |= self.refused.is_none();
        self.refuse(Cause::Content, errors::nul_dot());
    }

    /// Whether the driver holds something for it.
    pub(super) const fn is_open(&self) -> bool {
        !self.abandoned
    }

    /// Octets so far.
    pub(super) const fn received(&self) -> u64 {
        self.received
    }

    fn take(&mut self, octets: &[u8], max: u64) {
        let len = octets.len() as u64;
        self.received += len;
        self.size += len;
        if self.refused.is_some() {
            return;
        }
        if max > 0 && self.received > max {
            // Row E4-24: read to its end, then refused.
            self.refuse(Cause::TooLarge, errors::too_large(max));
            return;
        }
        self.eight_bit = self.eight_bit || !octets.is_ascii();
        self.scan.feed(octets);
        if self.nul_dots.feed(octets) {
            self.refuse_nul_dot();
        }
    }

    const fn counts(&self) -> ContentCounts {
        match &self.reader {
            Reader::Data(decoder) => decoder.counts(),
            Reader::Bdat(reader) => reader.counts(),
        }
    }

    /// Judges the whole content.
    fn judge(&mut self, settings: &Settings) {
        self.scan.end();
        if self.counts().longest_line > MAX_LINE {
            let text = format!("A line is longer than {MAX_LINE} octets");
            self.refuse(Cause::LineTooLong, Refusal::permanent(554, 6, 0, text));
        } else if self.scan.received > settings.max_hops || self.scan.own >= MAX_OWN_TRACES {
            // RFC 5321 section 6.3.
            let text = "Mail loop: too many Received fields";
            self.refuse(Cause::Loop, Refusal::permanent(554, 4, 6, text));
        } else if self.nul_dots.is_dot() {
            self.refuse_nul_dot();
        }
    }
}

impl Session {
    /// The listener's limit, or that of the identity if it is less; 0: none.
    pub(super) fn max_message_size(&self) -> u64 {
        let all = self.settings.max_message_size;
        match self.identity().and_then(|i| i.max_message_size) {
            Some(own) if all == 0 => own,
            Some(own) => own.min(all),
            None => all,
        }
    }

    /// The sender of the transaction under way.
    #[must_use]
    pub fn sender(&self) -> Option<&ReversePath> {
        self.transaction.as_ref().map(|t| &t.mail.path)
    }

    /// The name of whoever authenticated.
    #[must_use]
    pub fn identity_name(&self) -> Option<&str> {
        self.identity().map(|identity| &*identity.name)
    }

    pub(super) fn data(&mut self) -> Option<Action<'static>> {
        if let Some(refusal) = self.content_refused(BodyCommand::Data) {
            self.refusal(&refusal);
            return None;
        }
        let size = self.transaction.as_ref().and_then(|t| t.mail.size);
        self.state = State::Answer(Pending::Data);
        Some(Action::Begin { size })
    }

    pub(super) fn bdat(&mut self, size: u64, last: bool) -> Option<Action<'static>> {
        if let Some(refusal) = self.content_refused(BodyCommand::Bdat) {
            return self.begin_skip(size, refusal);
        }
        let transaction = self.transaction.as_mut()?;
        if let Some(content) = &mut transaction.content {
            content.begin_chunk(size, last);
            self.state = State::Content;
            return None;
        }
        let declared = transaction.mail.size;
        self.state = State::Answer(Pending::Chunk { size, last });
        // A chunk that is too large is refused for that, whatever room there is on the disk.
        let max = self.max_message_size();
        let fits = last && (max == 0 || size <= max);
        let size = declared.or_else(|| fits.then_some(size));
        Some(Action::Begin { size })
    }

    /// What stands against DATA or BDAT now.
    fn content_refused(&self, command: BodyCommand) -> Option<Refusal> {
        let Some(transaction) = &self.transaction else {
            return Some(errors::out_of_order("Say MAIL first"));
        };
        if transaction.content.is_some() && command == BodyCommand::Data {
            // RFC 3030 section 2: DATA and BDAT do not mix.
            return Some(errors::out_of_order("The content has begun with BDAT"));
        }
        if !transaction.recipients.is_empty() {
            return None;
        }
        Some(if transaction.had_rcpt {
            Refusal::permanent(554, 5, 1, "No valid recipients")
        } else {
            errors::out_of_order("Say RCPT first")
        })
    }

    /// If a refused command is BDAT its octets still have to be passed over. The reply is written
    /// already.
    pub(super) fn skip_chunk_of(&mut self, command: &Command<'_>) -> Option<Action<'static>> {
        if let Command::Bdat { size, .. } = command
            && !self.is_closed()
        {
            self.state = State::SkipChunk {
                remaining: *size,
                refusal: None,
            };
        }
        None
    }

    fn begin_skip(&mut self, size: u64, refusal: Refusal) -> Option<Action<'static>> {
        self.state = State::SkipChunk {
            remaining: size,
            refusal: Some(refusal),
        };
        None
    }

    /// RFC 3030 section 2: the octets of a refused chunk are read and dropped, since commands
    /// may follow them already.
    pub(super) fn skip_chunk(&mut self, input: &[u8]) -> (usize, Option<Action<'static>>) {
        let State::SkipChunk { remaining, refusal } = &mut self.state else {
            return (0, None);
        };
        let here = input
            .len()
            .min(usize::try_from(*remaining).unwrap_or(usize::MAX));
        *remaining -= here as u64;
        if *remaining > 0 {
            return (here, Some(Action::Read));
        }
        let refusal = refusal.take();
        self.state = State::Command;
        match refusal {
            Some(refusal) if refusal.is_transient() => self.refuse_for_now(&refusal),
            Some(refusal) => self.refusal(&refusal),
            None => {}
        }
        (here, None)
    }

    pub(super) fn begin_data(
        &mut self,
        answer: Result<QueueId, Refusal>,
        now: Timestamp,
    ) -> Option<String> {
        self.state = State::Command;
        match answer {
            Ok(id) => {
                let reader = Reader::Data(DataDecoder::new(self.peer.bare_newline));
                let trace = self.open_content(reader, id, now);
                self.reply(354, None, "End data with <CR><LF>.<CR><LF>");
                self.state = State::Content;
                trace
            }
            Err(refusal) => {
                let sender = self.sender_text();
                self.notice(Stage::Begin, Cause::Queue, &refusal, sender, None);
                self.end_transaction();
                self.refuse_for_now(&refusal);
                None
            }
        }
    }

    pub(super) fn begin_first_chunk(
        &mut self,
        answer: Result<QueueId, Refusal>,
        now: Timestamp,
        size: u64,
        last: bool,
    ) -> Option<String> {
        match answer {
            Ok(id) => {
                let mut reader = BdatReader::new(self.peer.bare_newline);
                reader.begin_chunk(size, last);
                let trace = self.open_content(Reader::Bdat(reader), id, now);
                self.state = State::Content;
                trace
            }
            Err(refusal) => {
                let sender = self.sender_text();
                self.notice(Stage::Begin, Cause::Queue, &refusal, sender, None);
                self.end_transaction();
                self.begin_skip(size, refusal);
                None
            }
        }
    }

    fn open_content(&mut self, reader: Reader, id: QueueId, now: Timestamp) -> Option<String> {
        let user = self.identity_name().filter(|_| self.settings.show_user);
        let user = user.map(str::to_owned);
        let helo = self.helo.as_ref()?;
        let transaction = self.transaction.as_mut()?;
        let only_recipient = match transaction.recipients.as_slice() {
            [one] => Some(&one.mailbox),
            _ => None,
        };
        let trace = Trace {
            from: match self.settings.hide_client {
                true => None,
                false => Some((helo.traced(), self.peer.address)),
            },
            user: user.as_deref(),
            hostname: &self.settings.hostname,
            protocol: Protocol {
                extended: helo.extended,
                tls: self.tls.is_some(),
                authenticated: self.identity.is_some(),
                utf8: transaction.mail.smtputf8,
            },
            id,
            only_recipient,
            at: now,
        }
        .header();
        transaction.content = Some(Content {
            reader,
            scan: HeaderScan::new(self.settings.hostname.clone(), now),
            size: trace.len() as u64,
            received: 0,
            eight_bit: false,
            nul_dots: NulDots::default(),
            at_start: true,
            has_nul_dot: false,
            refused: None,
            abandoned: false,
        });
        Some(trace)
    }

    /// The next piece of the content under way.
    pub(super) fn content<'i>(
        &mut self,
        input: &'i [u8],
        now: Timestamp,
    ) -> (usize, Option<Action<'i>>) {
        let max = self.max_message_size();
        let Some(content) = self.transaction.as_mut().and_then(|t| t.content.as_mut()) else {
            self.state = State::Command;
            return (0, None);
        };
        if content.needs_empty_line(input) {
            return (0, Some(Action::Body(content.empty_line())));
        }
        let (used, piece) = match &mut content.reader {
            Reader::Data(decoder) => decoder.next(input),
            Reader::Bdat(reader) => reader.next(input),
        };
        match piece {
            Piece::Content(octets) => {
                content.take(octets, max);
                if content.refused.is_none() {
                    return (used, Some(Action::Body(octets)));
                }
                let abandon = !std::mem::replace(&mut content.abandoned, true);
                (used, abandon.then_some(Action::Abandon))
            }
            Piece::More => (used, Some(Action::Read)),
            Piece::End => (used, self.end_of_input(now)),
            Piece::BareNewline => self.bare_newline(input.len()),
        }
    }

    /// The end of data, or of a chunk.
    fn end_of_input(&mut self, now: Timestamp) -> Option<Action<'static>> {
        let content = self.transaction.as_mut()?.content.as_mut()?;
        if let Reader::Bdat(reader) = &content.reader
            && !reader.is_last()
            && content.refused.is_none()
        {
            self.reply(250, Some(EnhancedStatus::success(0, 0)), "Chunk received");
            self.state = State::Command;
            return None;
        }
        content.judge(&self.settings);
        if let Some((cause, refusal)) = content.refused.take() {
            let has_nul_dot = content.has_nul_dot;
            self.state = State::Command;
            if has_nul_dot {
                self.incident(Incident::NulDot);
            }
            self.refuse_content(cause, refusal);
            return None;
        }
        let counts = content.counts();
        if counts.bare_newlines > 0 {
            let count = counts.bare_newlines;
            self.incident(Incident::BareNewlineNormalized { count });
        }
        if counts.long_lines > 0 {
            let count = counts.long_lines;
            self.incident(Incident::LongLines { count });
        }
        self.state = State::Answer(Pending::Commit);
        self.envelope(now).map(|e| Action::Commit(Box::new(e)))
    }

    /// Refuses the whole message; the transaction is over.
    pub(super) fn refuse_content(&mut self, cause: Cause, refusal: Refusal) {
        let sender = self.sender_text();
        self.notice(Stage::Content, cause, &refusal, sender, None);
        self.end_transaction();
        self.refuse_for_now(&refusal);
    }

    fn envelope(&mut self, now: Timestamp) -> Option<Envelope> {
        let identity = self.identity();
        // RFC 4954 section 5: from whom we do not trust, or who is not known, it is `<>`.
        let trusted = identity.is_some_and(|identity| identity.names_submitters);
        let identity = identity.map(|identity| identity.name.clone());
        let Transaction {
            mail,
            recipients,
            began,
            content,
            ..
        } = self.transaction.as_mut()?;
        let content = content.as_mut()?;
        content.abandoned = true; // from here on the content is the driver's
        let honoured = match self.settings.dangerous_tls_required_no {
            TlsRequiredNo::Never => false,
            TlsRequiredNo::Authenticated => identity.is_some(),
            TlsRequiredNo::All => true,
        };
        // RFC 8689 section 4.3: a submission server may add the tag by a rule of its own.
        let sender = mail.path.mailbox().map(Mailbox::host);
        let requiretls = mail.requiretls
            || self.peer.adds_requiretls
            || self
                .settings
                .requiretls_senders
                .iter()
                .any(|d| matches!(sender, Some(Host::Domain(s)) if s == d));
        Some(Envelope {
            reverse_path: mail.path.clone(),
            recipients: without_repeats(std::mem::take(recipients)),
            body: if content.eight_bit {
                BodyType::EightBit
            } else {
                mail.body.unwrap_or_default()
            },
            // Row E2-42: what is ASCII goes on without it, addresses apart, which the client looks at.
            smtputf8: mail.smtputf8 && content.scan.may_need_utf8(content.eight_bit),
            requiretls,
            // RFC 8689 section 4.1: with REQUIRETLS the header field is ignored.
            tls_required_no: honoured && content.scan.tls_required_no() && !requiretls,
            ret: mail.ret,
            envid: mail.envid.take(),
            size: content.size,
            class: MessageClass::Mail,
            arrival: Arrival {
                at: now,
                began: *began,
                listener: self.settings.listener.clone(),
                client: Some(self.peer.address),
                helo: self
                    .helo
                    .as_ref()
                    .map(|h| h.name.clone())
                    .unwrap_or_default(),
                upstream_id: match &self.forwarded.ident {
                    Some(ident) => Some(ident.clone()),
                    None => content.scan.upstream_id.take(),
                },
                message_id: content.scan.message_id.take(),
                identity,
                submitter: mail.submitter.take().map(|submitter| match submitter {
                    Submitter::Mailbox(_) if trusted => submitter,
                    Submitter::Mailbox(_) | Submitter::Unknown => Submitter::Unknown,
                }),
                tls: self.tls.clone(),
            },
        })
    }
}

impl Content {
    const fn begin_chunk(&mut self, size: u64, last: bool) {
        if let Reader::Bdat(reader) = &mut self.reader {
            reader.begin_chunk(size, last);
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum BodyCommand {
    Data,
    Bdat,
}

/// Decision AMB-27: longer lines are refused, shorter ones pass unchanged.
const MAX_LINE: u64 = 65_536;
/// Row E4-35: a message that has been here so often goes round in circles.
const MAX_OWN_TRACES: u32 = 3;
