//! One attempt: walks the hosts of the plan until every recipient has its verdict.
//!
//! RFC 5321 section 5.1 and RFC 8461 section 5.1: hosts in MX order, each address of each host; a
//! host that does not fit what is demanded counts as unreachable, and nothing is sorted out before.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use attempt::{Case, Reason};
use bytes::Bytes;
use mail_types::{HostName, Recipient, Timestamp};
use outbound_queue::{Leased, QueueError, QueueStore};
use smtp_client::{
    AuthFault, Body, Cause, Connector, RecipientOutcome, Reply, Stage, Transaction,
    TransactionError, Transcript, wants_a_login,
};

use crate::decide::demand::{HostDecision, Requirement};
use crate::decide::failure::{HostFailure, Weight};
use crate::decide::hosts::{Candidate, shuffle_equals};
use crate::decide::literal::shown;
use crate::decide::orcpt;
use crate::decide::verdict::{Failure, Verdict};
use crate::engine::dice::Dice;
use crate::ports::PossibleDuplicate;
use crate::worker::content;
use crate::worker::findings::Findings;
use crate::worker::sessions::{Session, Sessions, Source, Way};
use crate::worker::unknown;

/// What an attempt needs beside the message.
pub(crate) struct Attempt<'a, S> {
    pub(crate) queue: &'a S,
    pub(crate) sessions: &'a Sessions,
    pub(crate) connector: &'a Connector,
    pub(crate) requirement: &'a Requirement,
    pub(crate) leased: &'a Leased,
    /// The recipients' domain, for sentences.
    pub(crate) domain: &'a str,
    /// Whose reports tell what is seen of TLS, if anybody's.
    pub(crate) reports: Option<&'a str>,
    /// An explicit route applies: the host is one that may know us.
    pub(crate) routed: bool,
    pub(crate) max_addresses: usize,
    pub(crate) per_transaction: usize,
    pub(crate) add_orcpt: bool,
    pub(crate) patience: Duration,
    /// Sent instead of the content in the queue.
    pub(crate) redacted: Option<Bytes>,
    /// The times of its steps are kept.
    pub(crate) timed: bool,
    pub(crate) dice: &'a Dice,
    pub(crate) now: Timestamp,
}

pub(crate) enum After {
    /// Every recipient has its verdict, or none can get one in this attempt; or a transaction was taken, and those
    /// who were not in it have an attempt of their own.
    Settled,
    /// Go on with the next address.
    NextHost,
    /// A kept connection had gone stale: once more to the same address, on a fresh one.
    Stale,
    /// The session takes no more transactions (RFC 9422 MAILMAX) and recipients are left: on
    /// another one to the same address.
    Again,
    /// It was not this mail's turn at the host: if no recipient has a verdict, no attempt was made.
    Busy,
}

impl<S: QueueStore> Attempt<'_, S> {
    /// Walks the candidates. `held` is the worker's open session: used if it fits, replaced if not.
    pub(crate) async fn run(
        &self,
        candidates: &[Candidate],
        held: &mut Option<Session>,
    ) -> Findings {
        let mut found = Findings::new(self.leased.recipients.len(), self.requirement.weakened_by);
        let mut budget = self.max_addresses.max(2);
        let before = self.sessions.unknown.host(self.leased.id);
        let order = self.order(candidates, held.as_ref(), before.as_ref());
        for candidate in order.iter() {
            found.standing.clone_from(&candidate.standing);
            let assurance = match self.requirement.host(&candidate.name, &candidate.standing) {
                HostDecision::Connect(assurance) => assurance,
                HostDecision::Refuse {
                    reason,
                    case,
                    specifics,
                } => {
                    self.overlook(candidate, reason, &mut found);
                    found.fail(self.passed_over(candidate, (reason, case), &specifics));
                    continue;
                }
            };
            let addresses = match &candidate.addresses {
                Ok(addresses) => addresses,
                Err(why) => {
                    let case = match self.routed && why.definite {
                        true => Case::RouteHost,
                        false => Case::Usual,
                    };
                    found.fail(self.unreachable(candidate, (why.reason, case), &why.detail));
                    continue;
                }
            };
            let addresses = unknown::before_others(addresses, &candidate.name, before.as_ref());
            for (n, ip) in addresses.iter().enumerate() {
                if budget == 0 {
                    found.fail(not_reached(candidate, *ip));
                    break;
                }
                budget -= 1;
                let way = Way {
                    connector: self.connector,
                    name: &candidate.name,
                    tls_name: &candidate.tls_name,
                    address: SocketAddr::new(*ip, candidate.port),
                    standing: &candidate.standing,
                    records: self.requirement.records(&candidate.standing),
                    assurance,
                    impatient: addresses
                        .get(n + 1)
                        .is_some_and(|next| next.is_ipv4() != ip.is_ipv4()),
                };
                match self.address(&way, held, &mut found).await {
                    After::Settled => return self.end(found),
                    After::Busy => return self.crowded(&way, found),
                    After::NextHost | After::Stale | After::Again => {}
                }
            }
        }
        found.settle(self);
        self.end(found)
    }

    /// As many sessions to one address as it takes.
    async fn address(
        &self,
        way: &Way<'_>,
        held: &mut Option<Session>,
        found: &mut Findings,
    ) -> After {
        let mut source = Source::Any;
        found.turn();
        loop {
            match (self.visit(way, held, source, found).await, source) {
                (After::Stale, Source::Any) => source = Source::Fresh,
                // Each round has settled a recipient.
                (After::Again, _) => source = Source::Any,
                (after, _) => return after,
            }
        }
    }

    /// No place at this host in good time, or everything is to end. As long as no recipient has a verdict no attempt was made; after
    /// that the others wait for an attempt of their own: whoever has the mail must not get it again.
    fn crowded(&self, way: &Way<'_>, mut found: Findings) -> Findings {
        if found.verdicts.iter().all(Option::is_none) {
            found.busy = true;
            return found;
        }
        let why = if self.sessions.is_stopping() {
            "This relay was stopped before it could go on with"
        } else {
            "As many sessions from here as there may be are open to"
        };
        let detail = format!(
            "{why} {}; the other recipients have their answer.",
            way.name
        );
        let (ip, port) = (way.address.ip(), way.address.port());
        let failure = HostFailure::unreachable(way.name, Some(ip), port, Reason::Local, detail);
        found.all_open(&Verdict::Deferred(Arc::new(Failure::from(&failure))));
        found.fail(failure);
        self.end(found)
    }

    /// The outcome is known now, unless a host has kept it to itself.
    fn end(&self, found: Findings) -> Findings {
        if !found.unknown {
            self.sessions.unknown.settle(self.leased.id);
        }
        found
    }

    /// Preference order, equals shuffled (RFC 5321 section 5.1). Among equals the host whose session
    /// is at work comes first: it has just taken mail of this destination. Before all of them
    /// comes the host that may have this very message already (row E5-12).
    fn order<'c>(
        &self,
        candidates: &'c [Candidate],
        held: Option<&Session>,
        before: Option<&(HostName, IpAddr)>,
    ) -> Cow<'c, [Candidate]> {
        let mut order = Cow::Borrowed(candidates);
        if candidates.len() > 1 {
            let order = order.to_mut();
            shuffle_equals(order, |c| c.preference, |n| self.dice.below(n));
            if let Some(name) = held.filter(|s| !s.rested).map(|s| &s.connection.facts().mx)
                && let Some(at) = order.iter().position(|c| c.name == *name)
            {
                let preference = order[at].preference;
                let first = order.iter().position(|c| c.preference == preference);
                order[first.unwrap_or(at)..=at].rotate_right(1);
            }
            if let Some(at) =
                before.and_then(|(name, _)| order.iter().position(|c| c.name == *name))
            {
                order[..=at].rotate_right(1);
            }
        }
        order
    }

    /// As many transactions as it takes until one is taken (RFC 5321 section 4.5.3.1.10).
    pub(crate) async fn transactions(
        &self,
        way: &Way<'_>,
        session: &mut Session,
        source: Source,
        found: &mut Findings,
    ) -> After {
        found.decide(way, session);
        // Every round settles one recipient at least, or ends.
        for _ in 0..=self.leased.recipients.len() {
            let open: Vec<usize> = found
                .undecided()
                .take(self.per_transaction.max(1))
                .collect();
            if open.is_empty() {
                break;
            }
            if !session.connection.is_usable() {
                return After::Again;
            }
            let envelope = &self.leased.envelope;
            let recipients: Vec<&Recipient> = open
                .iter()
                .filter_map(|slot| self.recipient(*slot))
                .collect();
            let marked = orcpt::add(self.add_orcpt, envelope, &recipients);
            let recipients = marked.as_ref().map_or(recipients, |m| m.iter().collect());
            let transaction = Transaction {
                reverse_path: &envelope.reverse_path,
                recipients: &recipients,
                body: envelope.body,
                smtputf8: envelope.smtputf8,
                requiretls: self.requirement.requiretls(),
                ret: envelope.ret,
                envid: envelope.envid.as_deref(),
                submitter: envelope.arrival.submitter.as_ref(),
                size: self
                    .redacted
                    .as_ref()
                    .map_or(envelope.size, |r| r.len() as u64),
            };
            let opened = match &self.redacted {
                Some(redacted) => Ok(Body::from_chunks([redacted.clone()])),
                None => content::open(self.queue, self.leased).await,
            };
            let body = match opened {
                Ok(body) => body,
                Err(error) => {
                    found.ours = matches!(error, QueueError::Body { damaged: true, .. });
                    let more = match found.ours {
                        true => {
                            " No retry mends that: `sealpost queue bounce` returns it to its sender."
                        }
                        false => "",
                    };
                    let failure = Arc::new(Failure::new(
                        Reason::Local,
                        format!("The message cannot be read here: {error}.{more}"),
                    ));
                    found.all_open(&Verdict::Deferred(failure));
                    return After::Settled;
                }
            };
            if !self.sessions.pace(way.name).await {
                return After::Busy;
            }
            let reused = session.connection.transactions() > 0;
            match session.connection.transact(&transaction, body).await {
                Ok(outcomes) => {
                    let progress = self.note(way, session, &open, outcomes, found);
                    if !progress {
                        return self.refused_as_a_whole(way, &open, found);
                    }
                    // Whoever has it is in the books before others get it: after a crash or a stop nobody gets it
                    // twice, and who holds or cancels the rest is heard. The others are due as before, and this
                    // session is still at hand.
                    if found.has_gone_out() {
                        break;
                    }
                }
                Err(error) if reused && source == Source::Any && was_over(&error) => {
                    return After::Stale;
                }
                Err(error) => return self.broken(way, session, &open, error, found),
            }
        }
        found.push_tried(way, session);
        After::Settled
    }

    /// Notes what became of each recipient; false if MAIL was refused for now, so that another
    /// host may be asked.
    fn note(
        &self,
        way: &Way<'_>,
        session: &Session,
        open: &[usize],
        outcomes: Vec<RecipientOutcome>,
        found: &mut Findings,
    ) -> bool {
        found.alive = true;
        self.trace(
            way.name,
            session.address().0,
            session.connection.transcript(),
        );
        let dsn = session.connection.facts().extensions.dsn;
        let mut settled = false;
        let in_clear = session.connection.facts().tls.is_none();
        for (slot, outcome) in open.iter().zip(outcomes) {
            let verdict = match outcome {
                RecipientOutcome::Delivered(reply) => Verdict::Sent {
                    status: reply
                        .status()
                        .unwrap_or(mail_types::EnhancedStatus::success(0, 0)),
                    reply: reply.to_string().into(),
                    dsn,
                },
                // RFC 4954 section 6: a next hop of ours may want a login that we do not have; for everybody
                // else it is a refusal like any other.
                RecipientOutcome::Refused { stage, reply }
                    if reply.code() == AUTH_REQUIRED
                        && self.routed
                        && (!in_clear || wants_a_login(&reply)) =>
                {
                    let (ip, port) = session.address();
                    let cause = Cause::Auth(AuthFault::Wanted(reply));
                    let (about, name) = (self.about_cause(way, &cause), way.name);
                    HostFailure::from_cause(&about, name, ip, port, stage, &cause).deferred()
                }
                RecipientOutcome::Refused {
                    stage: Stage::Mail,
                    reply,
                } if reply.code() / 100 != 5 || (reply.code() == AUTH_REQUIRED && in_clear) => {
                    let failure = self.mail_refused(way, session, reply);
                    found.mail_refused.get_or_insert(failure);
                    continue;
                }
                RecipientOutcome::Refused { stage, reply } => {
                    let failure = Arc::new(Failure::refused(self.domain, way.name, stage, &reply));
                    if reply.code() / 100 == 5 {
                        Verdict::Bounced(failure)
                    } else {
                        Verdict::Deferred(failure)
                    }
                }
                RecipientOutcome::NextTransaction(_) => continue,
            };
            self.remember_verdict(way, session, &verdict);
            settled = true;
            if let Some(slot) = found.verdicts.get_mut(*slot) {
                *slot = Some(verdict);
            }
        }
        settled
    }

    /// MAIL was refused for now, or for want of TLS (RFC 3207 section 4): that concerns the host.
    fn mail_refused(&self, way: &Way<'_>, session: &Session, reply: Reply) -> HostFailure {
        let (ip, port) = session.address();
        let cause = Cause::Remote(reply);
        let about = self.about_cause(way, &cause);
        let mut failure = HostFailure::from_cause(&about, way.name, ip, port, Stage::Mail, &cause);
        if failure.reason == Reason::TlsRequiredByPeer {
            match session.without_tls() {
                Case::Usual => {}
                unmet => failure.without_tls(&about, unmet),
            }
            // The host offers TLS, and it failed: whoever stands between us may have made it fail.
            if let Some(reason) = session.fell_back() {
                failure.reason = reason;
                failure.case = Case::Usual;
                failure.status = reason.status();
                failure.weight = Weight::of_refusal(reason);
            }
        }
        let transcript = session.connection.transcript();
        self.remember(way.name, ip, failure.reason, transcript);
        failure
    }

    /// Keeps the dialogue for `queue show`: once per destination and cause.
    pub(crate) fn remember(
        &self,
        name: &HostName,
        ip: IpAddr,
        reason: Reason,
        transcript: &Transcript,
    ) {
        let peer = format!("{} [{ip}]", shown(name, Some(ip)));
        let destination = &self.leased.destination;
        let transcripts = &self.sessions.transcripts;
        let text = transcript.to_string();
        let id = self.leased.id;
        transcripts.keep(destination, reason, self.now, id, &peer, text);
    }

    fn remember_verdict(&self, way: &Way<'_>, session: &Session, verdict: &Verdict) {
        match verdict {
            Verdict::Sent { .. } => {}
            Verdict::Deferred(failure) | Verdict::Bounced(failure) | Verdict::Parked(failure) => {
                let (ip, _) = session.address();
                let transcript = session.connection.transcript();
                self.remember(way.name, ip, failure.reason, transcript);
            }
        }
    }

    fn refused_as_a_whole(&self, way: &Way<'_>, open: &[usize], found: &mut Findings) -> After {
        match found.mail_refused.take() {
            Some(failure) => {
                found.fail(failure);
                After::NextHost
            }
            None => {
                // "Too many recipients" without having taken one: nothing more to be had now.
                let detail = format!(
                    "{} took none of the recipients and asked for fewer.",
                    way.name
                );
                let failure = Arc::new(Failure::new(Reason::Remote4xx, detail));
                for slot in open {
                    if let Some(slot) = found.verdicts.get_mut(*slot) {
                        *slot = Some(Verdict::Deferred(Arc::clone(&failure)));
                    }
                }
                After::Settled
            }
        }
    }

    fn broken(
        &self,
        way: &Way<'_>,
        session: &Session,
        open: &[usize],
        error: TransactionError,
        found: &mut Findings,
    ) -> After {
        let decided = error.recipients;
        let some = decided.iter().any(Option::is_some);
        if some {
            let pairs: (Vec<usize>, Vec<RecipientOutcome>) = open
                .iter()
                .zip(decided)
                .filter_map(|(slot, o)| o.map(|o| (*slot, o)))
                .unzip();
            let _ = self.note(way, session, &pairs.0, pairs.1, found);
        }
        let (ip, port) = session.address();
        let about = self.about_cause(way, &error.cause);
        let mut failure =
            HostFailure::from_cause(&about, way.name, ip, port, error.stage, &error.cause);
        failure.tls = session.tls();
        found.ours |= matches!(error.cause, Cause::Local(_)); // damaged content
        found.begun |= error.stage != Stage::Mail;
        self.remember(way.name, ip, failure.reason, &error.transcript);
        self.trace(way.name, ip, &error.transcript);
        if error.after_final_dot {
            // The outcome is unknown (row E5-12): another host now would make a duplicate certain.
            failure
                .detail
                .push_str(" It may have taken the message: the next attempt may deliver it twice.");
            self.sessions.unknown.note(self.leased.id, way.name, ip);
            self.sessions
                .observer
                .possible_duplicate(&PossibleDuplicate {
                    queue_id: self.leased.id,
                    mx: way.name,
                    ip,
                    cause: &error.cause.to_string(),
                });
            let verdict = Verdict::Deferred(Arc::new(Failure::from(&failure)));
            found.unknown = true;
            found.all_open(&verdict);
            found.fail(failure);
            return After::Settled;
        }
        found.fail(failure);
        After::NextHost
    }

    fn recipient(&self, slot: usize) -> Option<&Recipient> {
        self.leased
            .envelope
            .recipients
            .get(self.leased.recipients.get(slot)?.index)
    }
}

/// Whether the peer had ended the session before this transaction, which says nothing about its mail: it
/// closed an idle connection just as we took it up again, said 421 because the session has carried as
/// many messages as it may, or what nothing had asked for. Not if it may have the whole message: then its outcome is unknown (row E5-12).
fn was_over(error: &TransactionError) -> bool {
    let says_so = match &error.cause {
        Cause::Lost(_) | Cause::Protocol(_) => error.unanswered,
        Cause::Remote(reply) => {
            reply.code() == 421 && (error.unanswered || error.stage == Stage::Mail)
        }
        _ => false,
    };
    says_so && !error.after_final_dot
}

/// Stands for what the limit on addresses leaves untried, so that nobody concludes that all hosts
/// have said no.
fn not_reached(candidate: &Candidate, ip: IpAddr) -> HostFailure {
    let detail = format!(
        "{} was not tried: delivery.max-addresses was reached.",
        candidate.name
    );
    HostFailure::unreachable(
        &candidate.name,
        Some(ip),
        candidate.port,
        Reason::Connect,
        detail,
    )
}

/// "Must issue a STARTTLS command first" (RFC 3207 section 4); inside TLS "authentication required"
/// (RFC 4954 section 6).
const AUTH_REQUIRED: u16 = 530;
