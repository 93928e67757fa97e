//! What is answered to a question.

use std::collections::HashMap;
use std::sync::Arc;

use hickory_server::net::runtime::Time;
use hickory_server::net::xfer::Protocol;
use hickory_server::proto::op::{Edns, Header, HeaderCounts, Metadata, ResponseCode};
use hickory_server::proto::rr::rdata::{NS, SOA};
use hickory_server::proto::rr::{Name, RData, Record, RecordType};
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo};
use hickory_server::zone_handler::MessageResponseBuilder;

use super::{QuerySeen, ZoneFault};
use crate::board::Board;

/// Records, faults, and the log.
pub(super) struct State {
    pub(super) records: Vec<Record>,
    pub(super) faults: HashMap<(Name, RecordType), ZoneFault>,
    pub(super) fault_all: Option<ZoneFault>,
    pub(super) queries: Vec<QuerySeen>,
    pub(super) ttl: u32,
    pub(super) negative_ttl: Option<u32>,
}

pub(super) struct Handler(pub(super) Arc<Board<State>>);

/// A response before it is written; `None` for no response.
struct Reply {
    code: ResponseCode,
    truncated: bool,
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

    fn reply(&self, name: &Name, kind: RecordType, tcp: bool) -> Option<Reply> {
        let fault = self
            .faults
            .get(&(name.clone(), kind))
            .copied()
            .or(self.fault_all);
        Some(match fault {
            None => self.answer(name, kind, true),
            Some(ZoneFault::CnameOnly) => self.answer(name, kind, false),
            Some(ZoneFault::Drop) => return None,
            Some(ZoneFault::TruncateWithoutTcp) if tcp => return None,
            Some(ZoneFault::Truncate) if tcp => self.answer(name, kind, true),
            Some(ZoneFault::Truncate | ZoneFault::TruncateWithoutTcp) => Reply {
                truncated: true,
                ..Reply::code(ResponseCode::NoError)
            },
            Some(ZoneFault::ServFail) => Reply::code(ResponseCode::ServFail),
            Some(ZoneFault::Refused) => Reply::code(ResponseCode::Refused),
            Some(ZoneFault::NxDomain) => self.denial(name, ResponseCode::NXDomain),
            Some(ZoneFault::NoData) => self.denial(name, ResponseCode::NoError),
            Some(ZoneFault::Referral) => Reply {
                authorities: vec![Record::from_rdata(
                    name.base_name(),
                    self.ttl,
                    RData::NS(NS(super::absolute("ns.elsewhere.test"))),
                )],
                ..Reply::code(ResponseCode::NoError)
            },
        })
    }

    fn answer(&self, name: &Name, kind: RecordType, follow: bool) -> Reply {
        let mut at = name.clone();
        let mut answers = Vec::new();
        for _ in 0..MAX_CHAIN {
            let here = |r: &&Record| r.name == at && r.record_type() == kind;
            let found: Vec<Record> = self.records.iter().filter(here).cloned().collect();
            if !found.is_empty() {
                answers.extend(found);
                return Reply {
                    answers,
                    ..Reply::code(ResponseCode::NoError)
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
                    ..Reply::code(ResponseCode::NoError)
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
        let soa = self.negative_ttl.map(|ttl| {
            let host = super::absolute("ns.test");
            let zone = name.trim_to(2);
            let soa = SOA::new(host.clone(), host, 1, 3600, 600, 86400, ttl);
            Record::from_rdata(zone, ttl, RData::SOA(soa))
        });
        Reply {
            authorities: soa.into_iter().collect(),
            ..Reply::code(code)
        }
    }
}

impl Reply {
    fn code(code: ResponseCode) -> Self {
        Self {
            code,
            truncated: false,
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
        let tcp = request.protocol() != Protocol::Udp;
        let reply = self.0.update(|s| {
            s.queries.push(QuerySeen {
                name: name.to_ascii().trim_end_matches('.').to_owned(),
                kind,
                tcp,
            });
            s.reply(&name, kind, tcp)
        });
        let Some(reply) = reply else { return unsent };
        metadata.response_code = reply.code;
        metadata.truncation = reply.truncated;
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
