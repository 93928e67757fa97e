//! One attempt: walks the hosts of the plan until every recipient has its verdict.
//!
//! RFC 5321 section 5.1 and RFC 8461 section 5.1: hosts in MX order, each address of each host; a
//! host that does not fit what is demanded counts as unreachable, and nothing is sorted out before.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use attempt::Reason;
use bytes::Bytes;
use mail_types::{Recipient, Timestamp};
use outbound_queue::{Leased, QueueStore};
use smtp_client::{
    Body, Cause, Connector, RecipientOutcome, Reply, Stage, Transaction, TransactionError,
};

use crate::content;
use crate::demand::{Evidence, HostDecision, Requirement, SessionDecision};
use crate::dice::Dice;
use crate::failure::{HostFailure, Weight};
use crate::findings::Findings;
use crate::plan::{Candidate, shuffle_equals};
use crate::sessions::{NoSession, Session, Sessions, Source, Way, refused_record, tls_record};
use crate::verdict::{Failure, Verdict};

/// What an attempt needs beside the message.
pub(crate) struct Attempt<'a, S> {
    pub(crate) queue: &'a S,
    pub(crate) sessions: &'a Sessions,
    pub(crate) connector: &'a Connector,
    pub(crate) requirement: &'a Requirement,
    pub(crate) leased: &'a Leased,
    /// The recipients' domain, for sentences.
    pub(crate) domain: &'a str,
    pub(crate) max_addresses: usize,
    pub(crate) per_transaction: usize,
    pub(crate) patience: Duration,
    /// Sent instead of the content in the queue.
    pub(crate) redacted: Option<Bytes>,
    pub(crate) dice: &'a Dice,
    pub(crate) now: Timestamp,
}

enum After {
    /// Every recipient has its verdict, or none can get one in this attempt.
    Settled,
    /// Go on with the next address.
    NextHost,
    /// A kept connection had gone stale: once more to the same address, on a fresh one.
    Stale,
    /// It was not this mail's turn at the host: no attempt was made.
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
        for candidate in &self.order(candidates, held.as_ref()) {
            let assurance = match self.requirement.host(&candidate.name) {
                HostDecision::Connect(assurance) => assurance,
                HostDecision::Refuse { reason, specifics } => {
                    let detail = reason.sentence(&attempt::Facts {
                        domain: self.domain,
                        mx: Some(candidate.name.as_str()),
                        specifics: Some(&specifics),
                    });
                    let mut failure = HostFailure::not_tried(
                        &candidate.name,
                        None,
                        candidate.port,
                        reason,
                        detail,
                    );
                    failure.ip = candidate
                        .addresses
                        .as_ref()
                        .ok()
                        .and_then(|a| a.first().copied());
                    found.fail(failure);
                    continue;
                }
            };
            let addresses = match &candidate.addresses {
                Ok(addresses) => addresses,
                Err(why) => {
                    let detail = why.reason.sentence(&attempt::Facts {
                        domain: self.domain,
                        mx: Some(candidate.name.as_str()),
                        specifics: Some(&why.detail),
                    });
                    found.fail(HostFailure::not_tried(
                        &candidate.name,
                        None,
                        candidate.port,
                        why.reason,
                        detail,
                    ));
                    continue;
                }
            };
            for ip in addresses {
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
                    assurance,
                };
                let mut after = self.host(&way, held, Source::Any, &mut found).await;
                if matches!(after, After::Stale) {
                    after = self.host(&way, held, Source::Fresh, &mut found).await;
                }
                match after {
                    After::Settled => return found,
                    After::Busy => {
                        found.busy = true;
                        return found;
                    }
                    After::NextHost | After::Stale => {}
                }
            }
        }
        found.settle(self);
        found
    }

    /// Preference order, equals shuffled (RFC 5321 section 5.1). Among equals the host whose session
    /// is already open comes first: it has just taken mail of this destination.
    fn order(&self, candidates: &[Candidate], held: Option<&Session>) -> Vec<Candidate> {
        let mut order = candidates.to_vec();
        if order.len() > 1 {
            shuffle_equals(&mut order, |c| c.preference, |n| self.dice.below(n));
            if let Some(name) = held.map(|s| &s.connection.facts().mx)
                && let Some(at) = order.iter().position(|c| c.name == *name)
            {
                let preference = order[at].preference;
                let first = order.iter().position(|c| c.preference == preference);
                order[first.unwrap_or(at)..=at].rotate_right(1);
            }
        }
        order
    }

    async fn host(
        &self,
        way: &Way<'_>,
        held: &mut Option<Session>,
        source: Source,
        found: &mut Findings,
    ) -> After {
        let began = Instant::now();
        let session = match held.take() {
            Some(session) if source == Source::Any && self.fits(&session, way) => Ok(session),
            other => {
                if let Some(session) = other {
                    self.sessions.keep(session);
                }
                self.sessions.open(way, source).await
            }
        };
        found.connect += began.elapsed();
        let mut session = match session {
            Ok(session) => session,
            Err(NoSession::Busy) => return After::Busy,
            Err(NoSession::Failed(error)) => {
                let (ip, port) = (way.address.ip(), way.address.port());
                let mut failure = HostFailure::from_cause(
                    self.domain,
                    way.name,
                    ip,
                    port,
                    error.stage,
                    &error.cause,
                );
                failure.tls = error
                    .tls
                    .as_deref()
                    .map(tls_record)
                    .or_else(|| refused_record(&error.cause));
                found.fail(failure);
                return After::NextHost;
            }
        };
        // The requirement is held against the session again before every MAIL FROM.
        if let SessionDecision::Refuse { reason, specifics } =
            self.requirement.session(way.name, &session.facts())
        {
            let detail = reason.sentence(&attempt::Facts {
                domain: self.domain,
                mx: Some(way.name.as_str()),
                specifics: Some(&specifics),
            });
            let mut failure = HostFailure::not_tried(
                way.name,
                Some(way.address.ip()),
                way.address.port(),
                reason,
                detail,
            );
            failure.evidence = Evidence::Session(session.facts().tls);
            failure.tls = session.tls();
            if reason == Reason::RequireTlsUnsupported {
                failure.weight = Weight::Missing;
                failure.evidence = Evidence::WithoutRequireTls;
            }
            found.fail(failure);
            *held = Some(session);
            return After::NextHost;
        }
        let began = Instant::now();
        let after = self.transactions(way, &mut session, source, found).await;
        found.transmit += began.elapsed();
        if session.connection.is_usable() {
            *held = Some(session);
        }
        after
    }

    fn fits(&self, session: &Session, way: &Way<'_>) -> bool {
        let facts = session.connection.facts();
        facts.mx == *way.name
            && session.connection.key().tls_name == *way.tls_name
            && facts.addr.port() == way.address.port()
            && session.connection.is_usable()
            && session.facts().assurance == way.assurance
            && facts.roots_generation
                == way
                    .connector
                    .pool_key(&way.peer(), facts.posture)
                    .roots_generation
    }

    /// As many transactions as the recipients need (RFC 5321 section 4.5.3.1.10).
    async fn transactions(
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
            let recipients: Vec<&Recipient> = open
                .iter()
                .filter_map(|slot| self.recipient(*slot))
                .collect();
            let envelope = &self.leased.envelope;
            let transaction = Transaction {
                reverse_path: &envelope.reverse_path,
                recipients: &recipients,
                body: envelope.body,
                smtputf8: envelope.smtputf8,
                requiretls: self.requirement.requiretls(),
                ret: envelope.ret,
                envid: envelope.envid.as_deref(),
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
                    let failure = Arc::new(Failure::new(
                        Reason::Local,
                        format!("The message cannot be read here: {error}."),
                    ));
                    found.all_open(&Verdict::Deferred(failure));
                    return After::Settled;
                }
            };
            self.sessions.pace(way.name).await;
            let reused = session.connection.transactions() > 0;
            match session.connection.transact(&transaction, body).await {
                Ok(outcomes) => {
                    let progress = self.note(way, session, &open, outcomes, found);
                    if !progress {
                        return self.refused_as_a_whole(way, &open, found);
                    }
                }
                // A peer that closes idle connections may do so just as we take one up again. Not if
                // it may have the whole message: then its outcome is unknown (row E5-12).
                Err(error)
                    if reused
                        && source == Source::Any
                        && error.unanswered
                        && !error.after_final_dot
                        && matches!(error.cause, Cause::Lost(_)) =>
                {
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
        let dsn = session.connection.facts().extensions.dsn;
        let mut settled = false;
        for (slot, outcome) in open.iter().zip(outcomes) {
            let verdict = match outcome {
                RecipientOutcome::Delivered(reply) => Verdict::Sent {
                    status: reply
                        .status()
                        .unwrap_or(mail_types::EnhancedStatus::success(0, 0)),
                    reply: reply.to_string().into(),
                    dsn,
                },
                RecipientOutcome::Refused {
                    stage: Stage::Mail,
                    reply,
                } if reply.code() / 100 != 5 || reply.code() == MUST_USE_TLS => {
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
        let mut failure =
            HostFailure::from_cause(self.domain, way.name, ip, port, Stage::Mail, &cause);
        // The host offers TLS, and it failed: whoever stands between us may have made it fail.
        if let Some(reason) = session
            .fell_back()
            .filter(|_| failure.reason == Reason::TlsRequiredByPeer)
        {
            failure.reason = reason;
            failure.status = reason.status();
            failure.weight = Weight::Unfit;
        }
        failure
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
        // A peer that closes idle connections may do so just as we take one up again.
        let (ip, port) = session.address();
        let mut failure =
            HostFailure::from_cause(self.domain, way.name, ip, port, error.stage, &error.cause);
        failure.tls = session.tls();
        if error.after_final_dot {
            // The outcome is unknown (row E5-12): another host now would make a duplicate certain.
            failure
                .detail
                .push_str(" It may have taken the message: the next attempt may deliver it twice.");
            tracing::warn!(queue_id = %self.leased.id, mx = %way.name, "smtp.out.dot_unknown: no reply to the end of the data");
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

/// Stands for what the limit on addresses leaves untried, so that nobody concludes that all hosts
/// have said no.
fn not_reached(candidate: &Candidate, ip: IpAddr) -> HostFailure {
    let detail = format!(
        "{} was not tried: delivery.max-addresses was reached.",
        candidate.name
    );
    HostFailure::not_tried(
        &candidate.name,
        Some(ip),
        candidate.port,
        Reason::Connect,
        detail,
    )
}

/// "Must issue a STARTTLS command first" (RFC 3207 section 4).
const MUST_USE_TLS: u16 = 530;
