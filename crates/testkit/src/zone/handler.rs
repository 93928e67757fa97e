//! What is answered to a question.

use std::collections::HashMap;
use std::sync::Arc;

use hickory_server::net::runtime::Time;
use hickory_server::net::xfer::Protocol;
use hickory_server::proto::op::{Edns, Header, HeaderCounts, Metadata, ResponseCode};
use hickory_server::proto::rr::rdata::{NS, NULL, SOA};
use hickory_server::proto::rr::{Name, RData, Record, RecordType};
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo};
use hickory_server::zone_handler::MessageResponseBuilder;

use super::{QuerySeen, Verdict, ZoneFault};
use crate::board::Board;

/// Records, faults, and the log.
pub(super) struct State {
    pub(super) records: Vec<Record>,
    pub(super) faults: HashMap<(Name, RecordType), ZoneFault>,
    pub(super) fault_all: Option<ZoneFault>,
    pub(super) queries: Vec<QuerySeen>,
    pub(super) ttl: u32,
    pub(super) negative_ttl: Option<u32>,
    pub(super) verdicts: HashMap<Name, Verdict>,
}

pub(super) struct Handler(pub(super) Arc<Board<State>>);

/// A response before it is written; `None` for no response.
struct Reply {
    code: ResponseCode,
    truncated: bool,
    /// Everything in it is secure.
    authentic: bool,
    /// The name at the end of the CNAMEs, which the denial is about if it is one.
    end: Name,
    answers: Vec<Record>,
    authorities: Vec<Record>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            records: Vec::new(),
            faults: HashMap::new(),
            fault_all: None,
            queries: Vec::new(),
            ttl: 300,
            negative_ttl: Some(60),
            verdicts: HashMap::new(),
        }
    }
}

impl State {
    pub(super) fn count(&self, name: &str, kind: RecordType) -> usize {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        self.queries
            .iter()
            .filter(|q| q.name == name && q.kind == kind)
            .count()
    }

    /// As a validating resolver: the verdict on the whole answer is AD or SERVFAIL.
    fn validated(&self, name: &Name, kind: RecordType, asked: &QuerySeen) -> Option<Reply> {
        let asks_for_keys = name.is_root() && kind == RecordType::DNSKEY;
        if asks_for_keys && self.fault(name, kind).is_none() && !self.verdicts.is_empty() {
            return Some(self.root_key());
        }
        let mut reply = self.reply(name, kind, asked.tcp)?;
        let owners = reply.answers.iter().map(|r| &r.name);
        let denied = (!reply.authorities.is_empty()).then_some(&reply.end);
        let verdicts: Vec<Verdict> = owners.chain(denied).map(|n| self.verdict(n)).collect();
        if verdicts.contains(&Verdict::Bogus) && !asked.checking_disabled {
            return Some(Reply::code(ResponseCode::ServFail, name));
        }
        reply.authentic = !verdicts.is_empty() && verdicts.iter().all(|v| *v == Verdict::Secure);
        Some(reply)
    }

    fn verdict(&self, name: &Name) -> Verdict {
        let above = |zone: &&Name| zone.zone_of(name);
        let longest = self
            .verdicts
            .keys()
            .filter(above)
            .max_by_key(|n| n.num_labels());
        longest.map_or(Verdict::Insecure, |zone| self.verdicts[zone])
    }

    /// A resolver that has an opinion has the root's key. Nobody looks at what it is.
    fn root_key(&self) -> Reply {
        let data = RData::Unknown {
            code: RecordType::DNSKEY,
            rdata: NULL::with(vec![1, 1, 3, 15, 7, 7, 7, 7]),
        };
        Reply {
            answers: vec![Record::from_rdata(Name::root(), self.ttl, data)],
            authentic: self.verdicts.values().any(|v| *v == Verdict::Secure),
            ..Reply::code(ResponseCode::NoError, &Name::root())
        }
    }

    fn fault(&self, name: &Name, kind: RecordType) -> Option<ZoneFault> {
        let fault = self.faults.get(&(name.clone(), kind)).copied();
        fault.or(self.fault_all)
    }

    fn reply(&self, name: &Name, kind: RecordType, tcp: bool) -> Option<Reply> {
        Some(match self.fault(name, kind) {
            None => self.answer(name, kind, true),
            Some(ZoneFault::CnameOnly) => self.answer(name, kind, false),
            Some(ZoneFault::Drop) => return None,
            Some(ZoneFault::TruncateWithoutTcp) if tcp => return None,
            Some(ZoneFault::Truncate) if tcp => self.answer(name, kind, true),
            Some(ZoneFault::Truncate | ZoneFault::TruncateWithoutTcp) => Reply {
                truncated: true,
                ..Reply::code(ResponseCode::NoError, name)
            },
            Some(ZoneFault::ServFail) => Reply::code(ResponseCode::ServFail, name),
            Some(ZoneFault::FormErr) => Reply::code(ResponseCode::FormErr, name),
            Some(ZoneFault::Refused) => Reply::code(ResponseCode::Refused, name),
            Some(ZoneFault::NxDomain) => self.denial(name, ResponseCode::NXDomain),
            Some(ZoneFault::NoData) => self.denial(name, ResponseCode::NoError),
            Some(ZoneFault::Referral) => Reply {
                authorities: vec![Record::from_rdata(
                    name.base_name(),
                    self.ttl,
                    RData::NS(NS(super::absolute("ns.elsewhere.test"))),
                )],
                ..Reply::code(ResponseCode::NoError, name)
            },
        })
    }

    fn answer(&self, name: &Name, kind: RecordType, follow: bool) -> Reply {
        let is_top = name.num_labels() == 1 && self.records.iter().any(|r| name.zone_of(&r.name));
        if is_top && kind == RecordType::SOA {
            return Reply {
                answers: vec![soa(name, self.ttl, self.negative_ttl.unwrap_or(0))],
                ..Reply::code(ResponseCode::NoError, name)
            };
        }
        let mut at = name.clone();
        let mut answers = Vec::new();
        for _ in 0..MAX_CHAIN {
            let here = |r: &&Record| r.name == at && r.record_type() == kind;
            let found: Vec<Record> = self.records.iter().filter(here).cloned().collect();
            if !found.is_empty() {
                answers.extend(found);
                return Reply {
                    answers,
                    ..Reply::code(ResponseCode::NoError, name)
                };
            }
            let alias = self
                .records
                .iter()
                .find(|r| r.name == at && r.record_type() == RecordType::CNAME);
            let Some(alias) = alias else { break };
            answers.push(alias.clone());
            let RData::CNAME(target) = &alias.data else {
                break;
            };
            at = target.0.clone();
            if !follow {
                return Reply {
                    answers,
                    ..Reply::code(ResponseCode::NoError, name)
                };
            }
        }
        // A name exists if anything is at it or below it (RFC 8020).
        let code = if self.records.iter().any(|r| at.zone_of(&r.name)) {
            ResponseCode::NoError
        } else {
            ResponseCode::NXDomain
        };
        let denial = self.denial(&at, code);
        Reply { answers, ..denial }
    }

    fn denial(&self, name: &Name, code: ResponseCode) -> Reply {
        let soa = self.negative_ttl.map(|ttl| soa(&name.trim_to(2), ttl, ttl));
        Reply {
            authorities: soa.into_iter().collect(),
            ..Reply::code(code, name)
        }
    }
}

/// What every zone has.
fn soa(zone: &Name, ttl: u32, minimum: u32) -> Record {
    let host = super::absolute("ns.test");
    let soa = SOA::new(host.clone(), host, 1, 3600, 600, 86400, minimum);
    Record::from_rdata(zone.clone(), ttl, RData::SOA(soa))
}

impl Reply {
    fn code(code: ResponseCode, end: &Name) -> Self {
        Self {
            code,
            truncated: false,
            authentic: false,
            end: end.clone(),
            answers: Vec::new(),
            authorities: Vec::new(),
        }
    }
}

#[async_trait::async_trait]
impl RequestHandler for Handler {
    async fn handle_request<R: ResponseHandler, T: Time>(
        &self,
        request: &Request,
        mut responses: R,
    ) -> ResponseInfo {
        let mut metadata = Metadata::response_from_request(&request.metadata);
        metadata.recursion_available = true;
        let unsent = ResponseInfo::from(Header {
            metadata,
            counts: HeaderCounts::default(),
        });
        let Ok(info) = request.request_info() else {
            return unsent;
        };
        let name = Name::from(info.query.name().clone());
        let kind = info.query.query_type();
        let edns = request.edns.as_ref();
        let seen = QuerySeen {
            name: name.to_ascii().trim_end_matches('.').to_owned(),
            kind,
            tcp: request.protocol() != Protocol::Udp,
            dnssec_ok: edns.is_some_and(|e| e.flags().dnssec_ok),
            checking_disabled: request.metadata.checking_disabled,
        };
        // RFC 6840 section 5.8: AD goes to those that ask with DO or AD.
        let wants_ad = seen.dnssec_ok || request.metadata.authentic_data;
        let reply = self.0.update(|s| {
            let reply = s.validated(&name, kind, &seen);
            s.queries.push(seen);
            reply
        });
        let Some(reply) = reply else { return unsent };
        metadata.response_code = reply.code;
        metadata.truncation = reply.truncated;
        metadata.authentic_data = reply.authentic && wants_ad;
        let mut edns = Edns::new();
        edns.set_max_payload(request.max_payload());
        let mut builder = MessageResponseBuilder::from_message_request(request);
        if request.edns.is_some() {
            builder.edns(&edns);
        }
        let response = builder.build(metadata, &reply.answers, &reply.authorities, [], []);
        responses.send_response(response).await.unwrap_or(unsent)
    }
}

/// Longer chains, and loops, are answered up to here.
const MAX_CHAIN: usize = 64;
