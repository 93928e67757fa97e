//! `dns.dnssec = "validate"`: signatures followed down from the trust anchors.
//!
//! hickory's validator does the arithmetic. Around it stands what it leaves to its user:
//!
//! * a DS or DNSKEY record that could not be had makes its verdict "bogus"; here the failure is kept
//!   and the look-up is *temporary* (RFC 4035 section 4.3 calls such a name indeterminate);
//! * what no verdict may rest on never reaches it: see [`crate::prune`];
//! * "insecure" for a denial is believed only of a zone that the name lies in, and a record made
//!   from a wildcard only with the proof that nothing closer exists;
//! * each look-up has a validator of its own, so that no verdict outlives its question: the keys
//!   and delegations on the way are remembered as messages, and verified again from memory.
//!
//! "Bogus" is only said after everything was asked anew.

use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use futures_util::stream;
use hickory_resolver::ResponseCache;
use hickory_resolver::net::dnssec::DnssecDnsHandle;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::xfer::{DnsHandle, FirstAnswer};
use hickory_resolver::net::{DnsError as NetDnsError, NetError, NoRecords};
use hickory_resolver::proto::dnssec::Proof;
use hickory_resolver::proto::dnssec::rdata::DNSSECRData;
use hickory_resolver::proto::op::{DnsRequest, DnsResponse, Message, Query, ResponseCode};
use hickory_resolver::proto::rr::{RData, Record, RecordType};
use name_servers::{NameServers, Reply};
use parking_lot::Mutex;

use crate::anchors::Anchors;
use crate::diagnose::diagnose;
use crate::failure::Failure;
use crate::{dname, prune, wildcard};

/// Validates what the name servers say.
pub(crate) struct Validator {
    servers: NameServers,
    pub(crate) anchors: Anchors,
    /// DS, DNSKEY and NS records on the way down.
    chain: Option<ResponseCache>,
}

impl Validator {
    pub(crate) const fn new(
        servers: NameServers,
        anchors: Anchors,
        chain: Option<ResponseCache>,
    ) -> Self {
        Self {
            servers,
            anchors,
            chain,
        }
    }

    /// The answer or the denial, each record with the verdict on it.
    pub(crate) async fn query(&self, question: &Query) -> Result<Message, Failure> {
        match self.once(question, Memory::Use).await {
            Err(Failure::Bogus(_)) => self.once(question, Memory::Renew).await,
            other => other,
        }
    }

    /// The same, with nothing taken from memory.
    pub(crate) async fn once(&self, question: &Query, memory: Memory) -> Result<Message, Failure> {
        let asker = Asker {
            servers: self.servers.clone(),
            chain: self.chain.clone(),
            memory,
            trouble: Arc::default(),
        };
        let trouble = Arc::clone(&asker.trouble);
        let handle = DnssecDnsHandle::with_trust_anchor(asker, Arc::clone(&self.anchors.keys))
            .validation_cache_size(VERDICTS);
        let options = self.servers.options_with_do();
        let reply = handle
            .lookup(question.clone(), options)
            .first_answer()
            .await;
        let verdict = match reply {
            Ok(response) => judge(question, response.into_message()),
            // RFC 9276: more NSEC3 iterations than anybody needs are taken for unsigned.
            Err(NetError::Dns(NetDnsError::Nsec {
                response,
                proof: Proof::Insecure,
                ..
            })) => judge(question, unsigned(response.into_message())),
            Err(NetError::Dns(NetDnsError::Nsec { response, .. })) => {
                let message = response.into_message();
                if wildcard::is_proven(&message) {
                    judge(question, message)
                } else {
                    Verdict::Bogus(message)
                }
            }
            Err(error) => return Err(Failure::Net(error)),
        };
        let trouble = trouble.lock().take();
        match (verdict, trouble) {
            (Verdict::Bogus(_), Some((at, error))) => Err(Failure::Chain(Box::new((at, error)))),
            (Verdict::Bogus(message), None) => {
                Err(Failure::Bogus(diagnose(question, &message, now())))
            }
            (Verdict::Secure(message), _) => finish(question, message, Proof::Secure),
            (Verdict::Insecure(message), _) => finish(question, message, Proof::Insecure),
        }
    }
}

/// Whether the keys and delegations on the way may come from memory.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Memory {
    Use,
    /// They are asked for, and remembered.
    Renew,
}

#[must_use]
enum Verdict {
    Secure(Message),
    Insecure(Message),
    Bogus(Message),
}

/// What hickory's marks on the records say about the question.
fn judge(question: &Query, mut message: Message) -> Verdict {
    if message.answers.is_empty() {
        return judge_denial(question, message);
    }
    dname::vouch(&mut message.answers);
    let mut all_secure = true;
    for record in message.answers.iter().filter(|r| !is_signature(r)) {
        match record.proof {
            Proof::Secure => {}
            Proof::Insecure => all_secure = false,
            Proof::Bogus | Proof::Indeterminate => return Verdict::Bogus(message),
        }
    }
    // RFC 4035 section 5.3.4. hickory omits it where the authority section is insecure.
    let mut signatures = message.answers.iter().filter(|r| r.proof == Proof::Secure);
    if signatures.any(prune::is_wildcard_signature) && !has_secure_proof(&message) {
        return Verdict::Bogus(message);
    }
    if all_secure {
        Verdict::Secure(message)
    } else {
        Verdict::Insecure(message)
    }
}

/// What is secure in it counts as insecure; what is bogus stays so.
fn unsigned(mut message: Message) -> Message {
    for record in message.answers.iter_mut().chain(&mut message.authorities) {
        if record.proof == Proof::Secure {
            record.proof = Proof::Insecure;
        }
    }
    message
}

fn judge_denial(question: &Query, message: Message) -> Verdict {
    // With such a record hickory has verified that it denies the question, or ended in an error.
    if has_secure_proof(&message) {
        return Verdict::Secure(message);
    }
    let proofs = message.authorities.iter().filter(|r| !is_signature(r));
    let all_insecure = proofs.clone().all(|r| r.proof == Proof::Insecure);
    let any = proofs.clone().next().is_some();
    // An authority section of an unsigned zone somewhere else proves nothing about this name.
    let about_us = proofs.clone().any(|r| r.name.zone_of(question.name()));
    if any && all_insecure && !about_us {
        return Verdict::Bogus(message);
    }
    // Else hickory has found the delegation of the name itself to be insecure.
    Verdict::Insecure(message)
}

fn has_secure_proof(message: &Message) -> bool {
    message.authorities.iter().any(|r| {
        let is_proof = matches!(r.record_type(), RecordType::NSEC | RecordType::NSEC3);
        is_proof && r.proof == Proof::Secure
    })
}

fn is_signature(record: &Record) -> bool {
    matches!(&record.data, RData::DNSSEC(DNSSECRData::RRSIG(_)))
}

/// As the caller and its memory want it: signatures gone, one verdict on everything, a denial as
/// hickory's error.
fn finish(question: &Query, mut message: Message, proof: Proof) -> Result<Message, Failure> {
    message.additionals.clear();
    for section in [&mut message.answers, &mut message.authorities] {
        section.retain(|r| !is_signature(r));
    }
    if message.answers.is_empty() {
        for record in &mut message.authorities {
            record.proof = proof;
        }
        return Err(Failure::Net(denial(question, &message).into()));
    }
    // Links of a chain keep their own verdicts.
    message.authorities.clear();
    Ok(message)
}

fn denial(question: &Query, message: &Message) -> NoRecords {
    let mut denial = NoRecords::new(question.clone(), message.metadata.response_code);
    denial.negative_ttl = message.authorities.iter().find_map(|r| match &r.data {
        // RFC 2308 section 5.
        RData::SOA(soa) => Some(r.ttl.min(soa.minimum)),
        _ => None,
    });
    denial.authorities = Some(message.authorities.clone().into());
    denial
}

/// The validator's way to the name servers.
#[derive(Clone)]
struct Asker {
    servers: NameServers,
    chain: Option<ResponseCache>,
    memory: Memory,
    trouble: Arc<Mutex<Option<(Query, NetError)>>>,
}

impl DnsHandle for Asker {
    type Response = Reply;
    type Runtime = TokioRuntimeProvider;

    fn send(&self, request: DnsRequest) -> Self::Response {
        let asker = self.clone();
        Box::pin(stream::once(async move { asker.answer(request).await }))
    }
}

impl Asker {
    async fn answer(self, request: DnsRequest) -> Result<DnsResponse, NetError> {
        let Some(question) = request.queries.first().cloned() else {
            return Err(NetError::from("no question"));
        };
        let kind = question.query_type();
        let of_chain = matches!(kind, RecordType::NS | RecordType::DS | RecordType::DNSKEY);
        let chain = self.chain.as_ref().filter(|_| of_chain);
        if self.memory == Memory::Use
            && let Some(remembered) = chain.and_then(|c| c.get(&question, Instant::now()))
        {
            return remembered.and_then(|m| DnsResponse::from_message(m).map_err(NetError::from));
        }
        let reply = match kind {
            // Only where the cut is: a server that does not know is passed by, see below.
            RecordType::NS => self.servers.ask_once(&request).await,
            _ => self.servers.ask_unchecked(request).await,
        };
        let reply = reply.map(|response| prune::response(&question, response));
        let reply = reply.map_err(prune::denial);
        match &reply {
            Ok(response) => {
                if let Some(chain) = chain {
                    let message = (**response).clone();
                    chain.insert(question, Ok(message), Instant::now());
                }
            }
            Err(denial @ NetError::Dns(NetDnsError::NoRecordsFound(_))) => {
                if let Some(chain) = chain {
                    chain.insert(question, Err(denial.clone()), Instant::now());
                }
            }
            Err(error) => {
                self.trouble
                    .lock()
                    .get_or_insert_with(|| (question.clone(), error.clone()));
                // hickory looks for the zone by asking for NS records upwards from the name. Some
                // servers fail at names that are no zones; the zone above them decides, and if it
                // is signed an unsigned name below it is an error still.
                if kind == RecordType::NS && !question.name().is_root() {
                    let mut none = NoRecords::new(question.clone(), ResponseCode::NoError);
                    none.negative_ttl = Some(FAILING_SERVER);
                    if let Some(chain) = chain {
                        chain.insert(question, Err(none.clone().into()), Instant::now());
                    }
                    return Err(none.into());
                }
            }
        }
        reply
    }
}

pub(crate) fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_secs())
}

/// Seconds for which a server that fails when asked for NS records is not asked again.
const FAILING_SERVER: u32 = 30;
/// RRsets that one look-up has to do with, at most.
const VERDICTS: usize = 256;
