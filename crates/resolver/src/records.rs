//! Records as the port shows them.

use hickory_resolver::proto::rr::rdata::{MX, TLSA, TXT};
use hickory_resolver::proto::rr::{Name, RData};
use mail_types::{HostName, MxRecord, TlsaRecord};

/// One MX record; what is no host name stays visible, so that the log can say what was skipped.
pub(crate) fn mx(data: &RData) -> Option<MxRecord> {
    let RData::MX(MX {
        preference,
        exchange,
        ..
    }) = data
    else {
        return None;
    };
    if exchange.is_root() {
        // RFC 7505 section 3.
        return Some(MxRecord::Null);
    }
    let text = printable(exchange);
    Some(match HostName::parse(&text) {
        Ok(exchange) => MxRecord::Host {
            preference: *preference,
            exchange,
        },
        Err(_) => MxRecord::Unusable {
            preference: *preference,
            exchange: text,
        },
    })
}

/// Without the trailing dot; what could be mistaken, or harm a log, as `\DDD` (RFC 1035 section 5.1).
pub(crate) fn printable(name: &Name) -> String {
    let mut text = String::new();
    for (i, label) in name.iter().enumerate() {
        if i > 0 {
            text.push('.');
        }
        for octet in label {
            match octet {
                b'.' | b'\\' | 0..=32 | 127.. => text.push_str(&format!("\\{octet:03}")),
                plain => text.push(char::from(*plain)),
            }
        }
    }
    text
}

/// RFC 8461 section 3.1: the strings of a record are joined without spaces.
pub(crate) fn txt(data: &RData) -> Option<Vec<u8>> {
    match data {
        RData::TXT(TXT { txt_data, .. }) => Some(txt_data.concat()),
        _ => None,
    }
}

/// RFC 6698 section 2.1.
pub(crate) fn tlsa(data: &RData) -> Option<TlsaRecord> {
    match data {
        RData::TLSA(TLSA {
            cert_usage,
            selector,
            matching,
            cert_data,
            ..
        }) => Some(TlsaRecord {
            usage: u8::from(*cert_usage),
            selector: u8::from(*selector),
            matching: u8::from(*matching),
            data: cert_data.clone(),
        }),
        _ => None,
    }
}

/// An address of either family.
pub(crate) fn address(data: &RData) -> Option<std::net::IpAddr> {
    match data {
        RData::A(a) => Some(a.0.into()),
        RData::AAAA(a) => Some(a.0.into()),
        _ => None,
    }
}
