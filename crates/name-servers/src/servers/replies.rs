//! What a reply is, and what it shows about who gave it.

use dns_health::Conduct;
use hickory_resolver::net::{DnsError as NetDnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;

use super::Replied;
use crate::trouble::ours;

pub(super) fn is_servfail(reply: &Replied) -> bool {
    let Err(NetError::Dns(NetDnsError::ResponseCode(code))) = reply else {
        return false;
    };
    *code == ResponseCode::ServFail
}

/// Records, or that there are none.
pub(super) const fn has_reply(reply: &Replied) -> bool {
    matches!(
        reply,
        Ok(_) | Err(NetError::Dns(NetDnsError::NoRecordsFound(_)))
    )
}

/// What a reply shows about who gave it; `None` if nobody was asked.
pub(super) fn conduct(reply: &Replied) -> Option<Conduct> {
    let error = match reply {
        Ok(_) => return Some(Conduct::Answers),
        Err(error) if ours(error).is_some() => return None,
        Err(error) => error,
    };
    Some(match error {
        NetError::Dns(NetDnsError::ResponseCode(ResponseCode::Refused)) => Conduct::Refuses,
        NetError::Dns(NetDnsError::ResponseCode(code)) => Conduct::Fails((*code).into()),
        NetError::Dns(_) => Conduct::Answers,
        NetError::Truncated => Conduct::Cut,
        NetError::Proto(_) | NetError::ForeignClassRecord { .. } => Conduct::Unreadable,
        error if does_not_recurse(error) => Conduct::Refers,
        _ => Conduct::Silent,
    })
}

/// Something came back that another server may know better.
pub(super) fn may_be_one_servers(reply: &Replied) -> bool {
    let conduct = conduct(reply);
    conduct.is_some_and(|it| !matches!(it, Conduct::Answers | Conduct::Silent))
}

/// Of two replies to one question the one that says more: records or their denial, an error code, a referral, REFUSED,
/// what cannot be used, silence.
pub(super) fn better(one: Replied, other: Replied) -> Replied {
    let rank = |reply: &Replied| (!has_reply(reply), conduct(reply).unwrap_or(Conduct::Silent));
    std::cmp::min_by_key(one, other, rank)
}

/// RFC 2308 section 2.2: NS records without a SOA record are a referral, which hickory takes for a denial. Whoever
/// recurses gives none.
pub(super) fn told_from_denial(error: NetError) -> NetError {
    match error {
        NetError::Dns(NetDnsError::NoRecordsFound(denied))
            if denied.response_code == ResponseCode::NoError
                && denied.soa.is_none()
                && denied.ns.is_some() =>
        {
            NetError::Message(REFERRAL)
        }
        other => other,
    }
}

/// Whether the error is that of a server that only refers to others.
#[must_use]
pub fn does_not_recurse(error: &NetError) -> bool {
    matches!(error, NetError::Message(text) if *text == REFERRAL)
}

/// The name of an error code, as in RFC 1035 and the registry.
#[must_use]
pub fn code_name(code: ResponseCode) -> String {
    let name = match code {
        ResponseCode::FormErr => "FORMERR",
        ResponseCode::ServFail => "SERVFAIL",
        ResponseCode::NotImp => "NOTIMP",
        ResponseCode::Refused => "REFUSED",
        other => return other.to_string(),
    };
    name.to_owned()
}

const REFERRAL: &str = "it only refers to other servers";
